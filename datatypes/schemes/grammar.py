"""The grammar of schemes, ``FORMAT[@GRANULARITY][/SCALE][+OPTION...]``, read and written."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..base.errors import BitlatheError, nearest
from ..base.yamlfile import Document
from ..formats.catalogue import ALIASES, ENTRIES, UNCLEAR, Entry, element, entry, entry_of
from ..formats.families import mixture_of_family, named, of_family
from ..formats.files import format_of
from ..formats.format import Format, Mixture
from .chains import is_chain, read_chain, write_chain
from .files import is_scheme, read_scheme_file, scheme_facts
from .granularity import DIGITS, GRANULARITIES, Granularity
from .presets import BY_SCHEME, PRESETS
from .rules import ENDS, MEAN, SEARCHES, Facts, is_clip
from .scales import SCALES

OPTIONS = (*SEARCHES, ENDS, MEAN, "paper", "pN (percentile)", "sigmaN (mean +- N sigma)")
_FILE = re.compile(r"(.*\.ya?ml)(?=[@/+]|$)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A scheme as it was read.

    Attributes
    ----------
    text : str
    parts : dict of str to list of (int, str)
        The words after ``@``, ``/`` and ``+``, each with its place in the text.
    facts : dict
        The arguments of `Scheme`.
    document : Document or None
        The file that describes all of it.
    """

    text: str
    parts: dict[str, list[tuple[int, str]]]
    facts: dict[str, Any]
    document: Document | None = None

    def refuse(self, part: str, problem: str) -> NoReturn:
        """Refuse the scheme where a part stands, in its text or its file.

        Raises
        ------
        BitlatheError
            Raised always.
        """
        if self.document is None or part == "+":
            fail(self.text, self.place(part), problem)
        beside = "minimum" if "minimum" in self.document.data else "zero"
        key = {"/": "scales", "@": "scales", "-": beside}.get(part, "element")
        raise BitlatheError(f"{self.document.where((key,))}: {problem}")

    def place(self, part: str) -> int:
        """Return where a part stands, or else where the scale or the options do."""
        found = self.parts.get(part) or self.parts["/"] or self.parts["+"]
        return found[0][0] if found else 0


def names_file(source: str) -> bool:
    """Return whether a scheme's format is the path of a YAML file."""
    return bool(_FILE.match(source.strip()))


def read_file_scheme(source: str) -> Reading:
    """Read a scheme whose format is the path of a YAML file; each time anew, as it may change.

    Raises
    ------
    BitlatheError
        With a caret under the place that is wrong; or naming the file and its line.
    """
    text = source.strip()
    found = _FILE.match(text)
    path = found[1] if found else text
    document = read_scheme_file(path)
    if is_scheme(document):
        return _file_of_scheme(path, text, document)
    made = format_of(document, Path(path).stem, path)
    return _assemble(path + text[len(path) :].lower(), path, made, base_entry(made))


def _file_of_scheme(path: str, text: str, document: Document) -> Reading:
    """Read a scheme that a file describes, with the options after its path."""
    rest = text[len(path) :].lower()
    if rest and not rest.startswith("+"):
        fail(text, len(path), f"{path} is a whole scheme; only options such as +p99 may follow")
    parts = _split(path + rest, len(path))
    paper, clip = _options(path + rest, parts["+"])
    facts = {**scheme_facts(document, path), "clip": clip, "paper": paper}
    return Reading(text=path + rest, parts=parts, facts=facts, document=document)


def read_scheme(source: str) -> Reading:
    """Read a scheme whose format is in the catalogue.

    Raises
    ------
    BitlatheError
        With a caret under the place that is wrong, and the nearest known names.
    """
    text = source.strip().lower()
    if not text:
        fail(source, 0, "empty; write a format, such as 'int4@g128'")
    found = re.match(r"[a-z0-9_.]*", text)
    name = text[: found.end() if found else 0]
    if not name:
        fail(text, 0, "a scheme starts with the name of a format, such as int4 or bitmod_fp4")
    rest = text[len(name) :]
    name = ALIASES.get(name, name)
    if name in UNCLEAR:
        fail(text, 0, f"unknown format {name!r}: {UNCLEAR[name]}")
    if name in ENTRIES:
        return _assemble(name + rest, name, element(name), entry(name))
    if preset := _preset(text, name):
        return read_scheme(preset)
    made = of_family(name) or mixture_of_family(name)
    if made is None:
        fail(text, 0, f"unknown format {name!r}{_hint(name, (*ENTRIES, *PRESETS))}")
    return _assemble(text, name, made, base_entry(made))


def _preset(text: str, name: str) -> str:
    """Return what a published block format stands for, its options after it; "" if it is none.

    Where its name is also that of its elements, what follows says which is meant.
    """
    rest = text[len(name) :]
    if name not in PRESETS or (rest and of_family(name)):
        return ""
    if rest and not rest.startswith("+"):
        written = PRESETS[name].scheme
        fail(text, len(name), f"{name} is a whole scheme; with other scales write {written}")
    return PRESETS[name].scheme + rest


def write_scheme(s: Facts) -> str:
    """Return the text of a scheme, what its format's name implies left out."""
    if s.file:
        return s.file + ("" if s.clip == "absmax" else f"+{s.clip}") + ("+paper" if s.paper else "")
    if s.levels:
        clip = "" if s.clip == "absmax" else f"+{s.clip}"
        text = f"{s.name}{write_chain(s.granularity, s.levels, s.offset)}"
        return BY_SCHEME.get(text, text) + clip
    base = ENTRIES.get(s.name)
    text = s.name
    standing = base is not None and (base.preset or base.scale == "none")
    if not (base and standing and Granularity.parse(base.granularity) == s.granularity):
        text += f"@{s.granularity}"
    if s.scale != (_default_scale(base, s.paper) if base else "fp16"):
        text += f"/{s.scale}"
    text = BY_SCHEME.get(text, text)
    if s.clip != (base.clip if base else "absmax"):
        text += f"+{s.clip}"
    return text + ("+paper" if s.paper else "")


def base_entry(made: Format | Mixture) -> Entry:
    """Return the catalogue's entry of a format, or what holds for a user-defined one."""
    return entry_of(made) or Entry(build=lambda: made)


def fail(text: str, position: int, message: str) -> NoReturn:
    """Refuse a scheme with a caret under a place in its text.

    Raises
    ------
    BitlatheError
        Raised always.
    """
    raise BitlatheError(f"scheme {text!r}: {message}\n  {text}\n  {' ' * position}^")


def _hint(word: str, known: tuple[str, ...]) -> str:
    near = nearest(word, known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


def _assemble(text: str, name: str, made: Format | Mixture, base: Entry) -> Reading:
    """Read what follows the name, whose format is known."""
    if is_chain(text[len(name) :]):
        return _assemble_chain(text, name, made, base)
    parts = _split(text, len(name))
    paper, clip = _options(text, parts["+"])
    facts: dict[str, Any] = {
        "name": name,
        "element": made,
        "granularity": _read_granularity(text, parts["@"], base),
        "scale": _read_scale(text, parts["/"], _default_scale(base, paper)),
        "coder": base.coder,
        "clip": base.clip if clip == "absmax" else clip,
        "paper": paper,
    }
    return Reading(text=text, parts=parts, facts=facts)


def _assemble_chain(text: str, name: str, made: Format | Mixture, base: Entry) -> Reading:
    """Read the levels of scales that follow the name."""
    if base.coder != "table" or base.preset:
        fail(text, 0, f"{name} has scales of its own; levels take a plain format, such as int4")
    default = Granularity.parse(base.granularity)
    assert default is not None
    chain = read_chain(text, len(name), default)
    paper, clip = _options(text, chain.options)
    facts: dict[str, Any] = {
        "name": name,
        "element": made,
        "granularity": chain.granularity,
        "scale": "levels",
        "levels": chain.levels,
        "offset": chain.offset,
        "coder": "offset" if chain.offset else "levels",
        "clip": clip,
        "paper": paper,
    }
    first = text.index("/", len(name)) + 1
    beside = [(text.find(sign, len(name)) + 1, "") for sign in "-~" if sign in text[len(name) :]]
    parts = {"@": [(len(name) + 1, "")], "/": [(first, "")], "-": beside, "+": chain.options}
    return Reading(text=text, parts=parts, facts=facts)


def _default_scale(base: Entry, paper: bool) -> str:
    return "fp16" if paper and base.scale == "fp32" else base.scale


def _split(text: str, start: int) -> dict[str, list[tuple[int, str]]]:
    """Cut what follows the name at ``@``, ``/`` and ``+``, keeping the place of each word."""
    parts: dict[str, list[tuple[int, str]]] = {"@": [], "/": [], "+": []}
    rank = {"@": 0, "/": 1, "+": 2}
    last, position = -1, start
    while position < len(text):
        sign = text[position]
        if sign not in parts:
            fail(text, position, f"unexpected {sign!r}; FORMAT[@GRANULARITY][/SCALE][+OPTION...]")
        if rank[sign] < last or (rank[sign] == last and sign != "+"):
            fail(text, position, f"{sign!r} out of place; FORMAT[@GRANULARITY][/SCALE][+OPTION...]")
        last = rank[sign]
        word = re.match(r"[a-z0-9_.]*", text[position + 1 :])
        length = word.end() if word else 0
        if length == 0:
            fail(text, position, f"nothing after {sign!r}")
        parts[sign].append((position + 1, text[position + 1 : position + 1 + length]))
        position += 1 + length
    return parts


def _read_granularity(text: str, found: list[tuple[int, str]], base: Entry) -> Granularity:
    position, word = found[0] if found else (0, base.granularity)
    shape = Granularity.parse(word)
    if shape is None:
        if re.fullmatch(r"g\d+|b\d+x\d+", word):
            fail(
                text,
                position,
                f"granularity {word!r}: lengths are whole numbers 1..{10**DIGITS - 1} without "
                "leading zeros; @channel takes a whole row, @tensor everything",
            )
        if word == "token":
            fail(text, position, "a row of inputs is a token: write @channel for a scale each")
        near = _hint(word, ("tensor", "channel", "input", "g128", "g64", "g32", "b128x128"))
        known = ", ".join(GRANULARITIES)
        fail(text, position, f"unknown granularity {word!r}{near} Known: {known}")
    return shape


def _read_scale(text: str, found: list[tuple[int, str]], default: str) -> str:
    if not found:
        return default
    position, word = found[0]
    if word not in SCALES:
        near = (
            f"; without a sign it is u{word}." if named(f"u{word}") else _hint(word, tuple(SCALES))
        )
        known = f"{', '.join(SCALES)}, or any format, such as ue5m3 or fp8_e4m3"
        fail(text, position, f"unknown scale {word!r}{near} Known: {known}")
    return word


def _options(text: str, found: list[tuple[int, str]]) -> tuple[bool, str]:
    paper, clip = False, "absmax"
    for position, word in found:
        if word == "paper" and not paper:
            paper = True
        elif is_clip(word) and clip == "absmax":
            clip = word
        elif is_clip(word) or word == "paper":
            fail(text, position, f"{word!r} follows another option of its kind")
        elif number := re.fullmatch(r"(p|sigma)\d[\d.]*", word):
            bound = "at most 100" if number[1] == "p" else "below 1000"
            fail(text, position, f"option {word!r}: N is above 0, {bound}, of at most 6 decimals")
        else:
            near = _hint(word, (*SEARCHES, ENDS, MEAN, "paper", "p99.9", "sigma3"))
            fail(text, position, f"unknown option {word!r}{near} Known: {', '.join(OPTIONS)}")
    return paper, clip
