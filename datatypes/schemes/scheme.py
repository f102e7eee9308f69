"""Schemes: a format, what shares a scale, how the scale is stored, how the range is chosen.

A scheme is written ``FORMAT[@GRANULARITY][/SCALE][+OPTION...]``; `Scheme.parse` reads it and
``str`` writes it back. FORMAT is a name of the catalogue or the path of a YAML file that describes
a format of one's own (`userformat`).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NoReturn

from ..base.errors import BitlatheError, nearest, unknown_name
from ..base.numbers import whole_number
from ..formats.catalogue import CODERS, ENTRIES, Entry, element, entry, entry_of
from ..formats.files import load_format
from ..formats.format import Format, Mixture
from ..terms.table import term_count, term_table
from .scales import SCALES, ScaleFormat

GRANULARITIES = ("tensor", "channel", "input", "gN (groups of N)", "bRxC (blocks)")
# outlier-victim pairs search their range anyway; mse in finer steps
CLIPS_OF_PAIRS = ("absmax", "mse")
OPTIONS = ("mse", "mae", "paper", "pN (percentile)", "sigmaN (mean +- N sigma)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Granularity:
    """What shares a scale: blocks of `rows` x `columns`; 0 means the whole extent.

    Rows run over output channels (every axis but the quantised one), columns along the quantised
    axis: a channel is 1 x 0, a group of n is 1 x n, an input channel 0 x 1, the tensor 0 x 0.
    """

    rows: int
    columns: int

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            whole_number(f"granularity: {name}", getattr(self, name), 0, _LONGEST)

    def __str__(self) -> str:
        if (self.rows, self.columns) in _NAMED:
            return _NAMED[self.rows, self.columns]
        return f"g{self.columns}" if self.rows == 1 else f"b{self.rows}x{self.columns}"

    def blocks(self, rows: int, axis_length: int) -> tuple[int, int]:
        """Return how many blocks a rows x axis_length matrix has, the last ones may be short."""
        return _ceil_div(rows, self.rows or rows), _ceil_div(
            axis_length, self.columns or axis_length
        )


_LONGEST = 1 << 40
_DIGITS = 10
_LENGTH = rf"[1-9]\d{{0,{_DIGITS - 1}}}"
_NAMED = {(0, 0): "tensor", (1, 0): "channel", (0, 1): "input"}
_BY_NAME = {v: k for k, v in _NAMED.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a tensor is quantised, all of it.

    Attributes
    ----------
    name : str
        The format's name, in the catalogue or the user's, or the path of the user's file.
    element : Format or Mixture
    granularity : Granularity
    scale : str
        Key of `SCALES`.
    coder : str
        See `catalogue.Entry`.
    clip : str
        ``absmax``, ``mse``, ``mae``, ``pN`` or ``sigmaN``.
    paper : bool
        The arithmetic of the BitMoD authors' released quantiser: float16, ties down.
    """

    name: str
    element: Format | Mixture
    granularity: Granularity
    scale: str
    coder: str = "table"
    clip: str = "absmax"
    paper: bool = False

    def __post_init__(self) -> None:
        problem = _unknown(self) or _conflict(self)[1]
        if problem:
            raise BitlatheError(f"scheme '{self}': {problem}")

    @classmethod
    def parse(cls, given: "str | Scheme | Format | Mixture") -> "Scheme":
        """Read a scheme string; a format or mixture stands for what its name would say.

        Raises
        ------
        BitlatheError
            With a caret under the place that is wrong, and the nearest known names.

        Examples
        --------
        >>> str(Scheme.parse("bitmod_fp3@g128/int8"))
        'bitmod_fp3@g128/int8'
        >>> Scheme.parse("mxfp4").granularity
        Granularity(rows=1, columns=32)
        """
        if isinstance(given, Scheme):
            return given
        if isinstance(given, Format | Mixture):
            return cls.of(given)
        if not isinstance(given, str):
            raise BitlatheError(
                f"a scheme is a string such as 'int4@g128', got {type(given).__name__}"
            )
        return _parse_file(given) if _FILE.match(given.strip()) else _parse(given)

    @classmethod
    def of(
        cls, element: Format | Mixture, granularity: str | None = None, scale: str | None = None
    ) -> "Scheme":
        """Make a scheme of a format, which need not be in the catalogue.

        What is left out is what the catalogue says of its own formats; others are taken per
        channel with fp16 scales.

        Examples
        --------
        >>> from bitlathe.datatypes.formats.constructors import codebook
        >>> str(Scheme.of(codebook("ternary", [0, 1, -1]), "g64"))
        'ternary@g64'
        """
        base = _base(element)
        wanted = base.granularity if granularity is None else granularity
        shape = _granularity(wanted) if isinstance(wanted, str) else None
        if shape is None:
            raise BitlatheError(
                f"unknown granularity {wanted!r}; known: {', '.join(GRANULARITIES)}"
            )
        return cls(
            name=element.name,
            element=element,
            granularity=shape,
            scale=base.scale if scale is None else scale,
            coder=base.coder,
        )

    def __str__(self) -> str:
        base = ENTRIES.get(self.name)
        text = self.name
        standing = base is not None and (base.preset or base.scale == "none")
        if not (base and standing and _granularity(base.granularity) == self.granularity):
            text += f"@{self.granularity}"
        if self.scale != (_default_scale(base, self.paper) if base else "fp16"):
            text += f"/{self.scale}"
        if self.clip != "absmax":
            text += f"+{self.clip}"
        return text + ("+paper" if self.paper else "")

    @property
    def formats(self) -> tuple[Format, ...]:
        """The member formats, one unless the element is a mixture."""
        return self.element.formats if isinstance(self.element, Mixture) else (self.element,)

    @property
    def scale_format(self) -> ScaleFormat:
        """How a scale is stored."""
        return SCALES[self.scale]

    @property
    def element_bits(self) -> int:
        """Bits of one code."""
        return self.element.bits

    @property
    def scale_bits(self) -> int:
        """Bits of the stored scale(s) of one group, second level not counted."""
        return self.scale_format.bits * self.scales_per_group

    @property
    def scales_per_group(self) -> int:
        """Scales of one group: one, or one per bit plane in sums of signed scales."""
        return self.element_bits if self.coder == "bcq" else 1

    @property
    def zero_bits(self) -> int:
        """Bits of one group's zero point."""
        return self.element_bits if self.coder in ("asym", "dgq") else 0

    @property
    def selector_bits(self) -> int:
        """Bits of one group's choice among the members of a mixture."""
        return self.element.selector_bits if isinstance(self.element, Mixture) else 0

    def total_bits(self, axis_length: int, rows: int = 1) -> int:
        """Return the stored bits of a rows x axis_length matrix, everything counted.

        Codes, scales, zero points, selectors, and the second-level scales.
        """
        if axis_length < 0 or rows < 0:
            raise BitlatheError(f"bits of a {rows} x {axis_length} matrix: sizes must be >= 0")
        if axis_length == 0 or rows == 0:
            return 0
        down, across = self.granularity.blocks(rows, axis_length)
        per_group = self.scale_bits + self.zero_bits + self.selector_bits
        outer = {"none": 0, "row": down, "tensor": 1}[self.scale_format.outer]
        return (
            rows * axis_length * self.element_bits
            + down * across * per_group
            + outer * self.scale_format.outer_bits
        )

    def bits_per_element(self, axis_length: int, rows: int = 1) -> Fraction:
        """Return the stored bits per element, exactly.

        Parameters
        ----------
        axis_length : int
            Length of the quantised axis (a matrix's input channels).
        rows : int
            Product of the other axes. Matters only where something is shared between rows.

        Examples
        --------
        BitMoD at 3 bits, int8 scales (8 bits), selector (2 bits), a channel scale (16 bits):

        >>> Scheme.parse("bitmod_fp3@g128/int8").bits_per_element(4096)
        Fraction(789, 256)
        """
        count = rows * axis_length
        total = self.total_bits(axis_length, rows)
        return Fraction(total, count) if count else Fraction(0)

    @property
    def terms_per_weight(self) -> int:
        """Bit-serial terms of one weight: clocks a bit-serial PE spends per chunk of lanes.

        Integers take one radix-4 Booth digit per two bits; unsigned codes with a zero point are
        counted at the width of ``code - zero``, one bit more.
        """
        if self.zero_bits:
            return (self.element_bits + 2) // 2
        return max(term_count(f.values, f.bits) for f in self.formats)

    @property
    def term_error(self) -> float:
        """Largest change of a value of the format in becoming terms; 0 where they are exact.

        Formats that span more than the fixed point of a bit-serial PE (NF4, FP8) are rounded to
        it; see `terms.term_table`.
        """
        if self.zero_bits:
            return 0.0
        return max(term_table(f.values, f.bits).max_error for f in self.formats)


def _base(made: Format | Mixture) -> Entry:
    """Return the catalogue's entry of a format, or what holds for a format of one's own."""
    return entry_of(made) or Entry(build=lambda: made)


def _unknown(s: Scheme) -> str:
    """Return what of a scheme is not a thing there is, or does not go with its format."""
    for kind, name, known in (("scale", s.scale, SCALES), ("coder", s.coder, CODERS)):
        if name not in known:
            return unknown_name(kind, name, known)
    bits = s.element_bits
    integers = not isinstance(s.element, Mixture) and s.element.grid.integers and bits <= 8
    rules = (
        (
            s.clip != "absmax" and not _clip(s.clip),
            f"unknown clip {s.clip!r}; known: absmax, mse, mae, pN, sigmaN",
        ),
        (not isinstance(s.paper, bool), f"paper is {s.paper!r}, must be True or False"),
        (
            s.coder != "table" and not integers,
            f"coder {s.coder!r} is for integers of at most 8 bits",
        ),
        (s.coder == "olive" and bits < 3, "outlier-victim pairs take 3 bits or more"),
        (
            s.coder in ("asym", "bcq", "dgq") and s.formats[0].signed,
            f"coder {s.coder!r} is for unsigned integers",
        ),
    )
    return next((problem for wrong, problem in rules if wrong), "")


def _conflict(s: Any) -> tuple[str, str]:
    """Return what makes a scheme impossible, and the sign before the part at fault."""
    kind, coder, clipped = SCALES[s.scale].kind, s.coder, s.clip != "absmax"
    base = ENTRIES.get(s.name)
    preset = base.scale if base and base.preset and coder == "table" else s.scale
    no_zero_point = kind in ("none", "ocp", "bitmod_mx", "e4m3")
    paper_fits = coder in ("table", "asym") and s.scale == "fp16"
    paper_fits |= coder == "table" and kind == "bitmod_mx"
    rules = (
        (
            coder == "bcq" and kind not in ("planes", "float"),
            "/",
            "a sum of signed scales stores them as pot1, pot2, pot3, fp16, bf16 or fp32",
        ),
        (
            coder != "bcq" and kind == "planes",
            "/",
            f"scale {s.scale!r} is for bcq formats only",
        ),
        (
            coder == "dgq" and kind != "int",
            "/",
            "dual grain keeps its group scales as integers: int2 to int8",
        ),
        (
            coder == "olive" and kind in ("none", "bitmod_mx"),
            "/",
            "outlier-victim pairs need a scale of their searched range, such as fp16 or int8",
        ),
        (
            kind != SCALES[preset].kind,
            "/",
            f"{s.name} is a whole scheme with scales such as {preset}"
            + (f"; with others it is {s.element.name}@{s.granularity}/{s.scale}")
            * (s.element.name != s.name),
        ),
        (
            coder == "asym" and no_zero_point,
            "/",
            f"a zero point needs a real, power-of-two or integer scale, not {s.scale!r}",
        ),
        (
            isinstance(s.element, Mixture) and kind == "bitmod_mx",
            "/",
            "mxbm scales are for single formats",
        ),
        (
            coder in ("olive", "bcq", "dgq") and s.granularity.rows != 1,
            "@",
            f"{s.name} works along a row: use @channel or @gN",
        ),
        (
            (coder in ("bcq", "dgq") and clipped)
            or (coder == "olive" and s.clip not in CLIPS_OF_PAIRS),
            "+",
            f"{s.name} searches its own range; leave +{s.clip} out",
        ),
        (
            s.paper and not paper_fits,
            "+",
            "+paper is the BitMoD authors' quantiser: grids and asymmetric integers with fp16 "
            "scales, and mx_bitmod_*",
        ),
        (s.paper and clipped, "+", "+paper does not clip"),
        (kind == "none" and clipped, "+", "without a scale there is no range to search"),
    )
    return next(((part, problem) for wrong, part, problem in rules if wrong), ("", ""))


def _default_scale(base: Entry, paper: bool) -> str:
    return "fp16" if paper and base.scale == "fp32" else base.scale


def _granularity(text: str) -> Granularity | None:
    if text in _BY_NAME:
        rows, columns = _BY_NAME[text]
        return Granularity(rows=rows, columns=columns)
    if found := re.fullmatch(f"g({_LENGTH})", text):
        return Granularity(rows=1, columns=int(found[1]))
    if found := re.fullmatch(f"b({_LENGTH})x({_LENGTH})", text):
        return Granularity(rows=int(found[1]), columns=int(found[2]))
    return None


def _clip(text: str) -> bool:
    if text in ("mse", "mae"):
        return True
    if found := re.fullmatch(r"p(\d{1,3}(?:\.\d{1,6})?)", text):
        return 0 < float(found[1]) <= 100
    if found := re.fullmatch(r"sigma(\d{1,3}(?:\.\d{1,6})?)", text):
        return float(found[1]) > 0
    return False


def _fail(text: str, position: int, message: str) -> NoReturn:
    raise BitlatheError(f"scheme {text!r}: {message}\n  {text}\n  {' ' * position}^")


def _hint(word: str, known: tuple[str, ...]) -> str:
    near = nearest(word, known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


_FILE = re.compile(r"(.*\.ya?ml)(?=[@/+]|$)", re.IGNORECASE | re.DOTALL)


def _parse_file(source: str) -> Scheme:
    """Read a scheme whose format is the path of a YAML file; anew each time, as it may change."""
    text = source.strip()
    found = _FILE.match(text)
    path = found[1] if found else text
    made = load_format(path)
    return _assemble(path + text[len(path) :].lower(), path, made, _base(made))


@lru_cache(maxsize=1024)
def _parse(text: str) -> Scheme:
    source, text = text, text.strip().lower()
    if not text:
        _fail(source, 0, "empty; write a format, such as 'int4@g128'")
    found = re.match(r"[a-z0-9_.]*", text)
    end = found.end() if found else 0
    name = text[:end]
    if not name:
        _fail(text, 0, "a scheme starts with the name of a format, such as int4 or bitmod_fp4")
    if name not in ENTRIES:
        _fail(text, 0, f"unknown format {name!r}{_hint(name, tuple(ENTRIES))}")
    return _assemble(text, name, element(name), entry(name))


def _assemble(text: str, name: str, made: Format | Mixture, base: Entry) -> Scheme:
    """Make the scheme of a text that starts with a name, whose format is known."""
    parts = _split(text, len(name))
    paper, clip = _options(text, parts["+"])
    facts: dict[str, Any] = {
        "name": name,
        "element": made,
        "granularity": _read_granularity(text, parts["@"], base),
        "scale": _read_scale(text, parts["/"], _default_scale(base, paper)),
        "coder": base.coder,
        "clip": clip,
        "paper": paper,
    }
    part, problem = _conflict(SimpleNamespace(**facts))
    if problem:
        place = parts[part] or parts["/"] or parts["+"]
        _fail(text, place[0][0] if place else 0, problem)
    return Scheme(**facts)


def _split(text: str, start: int) -> dict[str, list[tuple[int, str]]]:
    """Cut what follows the name at ``@``, ``/`` and ``+``, keeping the place of each word."""
    parts: dict[str, list[tuple[int, str]]] = {"@": [], "/": [], "+": []}
    rank = {"@": 0, "/": 1, "+": 2}
    last, position = -1, start
    while position < len(text):
        sign = text[position]
        if sign not in parts:
            _fail(text, position, f"unexpected {sign!r}; FORMAT[@GRANULARITY][/SCALE][+OPTION...]")
        if rank[sign] < last or (rank[sign] == last and sign != "+"):
            _fail(
                text, position, f"{sign!r} out of place; FORMAT[@GRANULARITY][/SCALE][+OPTION...]"
            )
        last = rank[sign]
        word = re.match(r"[a-z0-9_.]*", text[position + 1 :])
        length = word.end() if word else 0
        if length == 0:
            _fail(text, position, f"nothing after {sign!r}")
        parts[sign].append((position + 1, text[position + 1 : position + 1 + length]))
        position += 1 + length
    return parts


def _read_granularity(text: str, found: list[tuple[int, str]], base: Entry) -> Granularity:
    position, word = found[0] if found else (0, base.granularity)
    shape = _granularity(word)
    if shape is None:
        if re.fullmatch(r"g\d+|b\d+x\d+", word):
            _fail(
                text,
                position,
                f"granularity {word!r}: lengths are whole numbers 1..{10**_DIGITS - 1} without "
                "leading zeros; @channel takes a whole row, @tensor everything",
            )
        near = _hint(word, ("tensor", "channel", "input", "g128", "g64", "g32", "b128x128"))
        known = ", ".join(GRANULARITIES)
        _fail(text, position, f"unknown granularity {word!r}{near} Known: {known}")
    return shape


def _read_scale(text: str, found: list[tuple[int, str]], default: str) -> str:
    if not found:
        return default
    position, word = found[0]
    if word not in SCALES:
        near = _hint(word, tuple(SCALES))
        _fail(text, position, f"unknown scale {word!r}{near} Known: {', '.join(SCALES)}")
    return word


def _options(text: str, found: list[tuple[int, str]]) -> tuple[bool, str]:
    paper, clip = False, "absmax"
    for position, word in found:
        if word == "paper" and not paper:
            paper = True
        elif _clip(word) and clip == "absmax":
            clip = word
        elif _clip(word) or word == "paper":
            _fail(text, position, f"{word!r} follows another option of its kind")
        elif number := re.fullmatch(r"(p|sigma)\d[\d.]*", word):
            bound = "at most 100" if number[1] == "p" else "below 1000"
            _fail(text, position, f"option {word!r}: N is above 0, {bound}, of at most 6 decimals")
        else:
            near = _hint(word, ("mse", "mae", "paper", "p99.9", "sigma3"))
            _fail(text, position, f"unknown option {word!r}{near} Known: {', '.join(OPTIONS)}")
    return paper, clip


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b) if b else 0
