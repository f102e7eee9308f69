"""The grammar of nested scales, ``FORMAT@GROUP/SCALE@GROUP/SCALE...``, read and written.

Read aloud: "fp4_e2m1 in groups of 16, over fp8_e4m3 for the tensor, over fp32" is
``fp4_e2m1@g16/fp8_e4m3@tensor/fp32``. Every group is given in elements. After the scales may stand
``-`` and how the minimum of each group is stored, or ``~`` and its zero point, either with levels
of its own: ``uint4@g32/uint6@g256/fp16-uint6@g256/fp16``. A scale's name may be followed by its
rule (``_floor``, ``_ceil``, ``_even``, ``_rceil``, ``_significand``, ``_nearest``), ``_search`` and
``_signed``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ..base.errors import BitlatheError, nearest
from ..formats.catalogue import ENTRIES
from ..formats.families import KNOWN, named
from ..formats.format import Format
from .granularity import GRANULARITIES, Granularity
from .levels import RULES, Level, Offset
from .scales import SCALES

FORM: Final = "FORMAT@GROUP/SCALE[@GROUP/SCALE...][-MINIMUM or ~ZERO][+OPTION...]"
_SIGNS: Final = {"-": "minimum", "~": "zero"}
_WORDS: Final = (*RULES, "search", "signed")
_TOKEN = re.compile(r"([@/~+-])([a-z0-9_.]*)")
# what today's names of scales mean as levels
_PLAIN: Final = {
    "e4m3": "fp8_e4m3@tensor/fp32",
    **{f"int{b}": f"uint{b}@channel/fp16" for b in range(2, 9)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The levels of a scheme as they were read.

    Attributes
    ----------
    granularity : Granularity or None
        Of the elements; None where it was left out.
    levels : tuple of Level
    offset : Offset or None
    options : list of (int, str)
        The words after ``+``, each with its place.
    """

    granularity: Granularity
    levels: tuple[Level, ...]
    offset: Offset | None
    options: list[tuple[int, str]]


def is_chain(rest: str) -> bool:
    """Return whether what follows a format's name is written as levels."""
    body = rest.partition("+")[0]
    if "-" in body or "~" in body or body.count("/") > 1:
        return True
    group, sign, scale = body.partition("/")
    nested = bool(group) and "@" in scale
    stem = scale.rpartition("_")[0]  # whose rule may be misspelled
    level = _level_parts(scale) is not None or (stem not in SCALES and bool(named(stem)))
    return bool(sign) and scale not in SCALES and (nested or level)


def read_chain(text: str, start: int, default: Granularity) -> Chain:
    """Read the levels of a scheme.

    Parameters
    ----------
    text : str
    start : int
        Where the format's name ends.
    default : Granularity
        Of the elements, if it is left out.

    Raises
    ------
    BitlatheError
        With a caret under the place that is wrong.
    """
    tokens = _tokens(text, start)
    granularity = default
    if tokens and tokens[0][1] == "@":
        granularity = _granularity(text, tokens.pop(0))
    levels = _levels(text, tokens, granularity)
    offset = None
    if tokens and tokens[0][1] in _SIGNS:
        place, sign, word = tokens[0]
        tokens[0] = (place, "/", word)
        offset = Offset(kind=_SIGNS[sign], levels=_levels(text, tokens, granularity))
    options = [(place, word) for place, sign, word in tokens if sign == "+"]
    if len(options) != len(tokens):
        place, sign, _ = next(t for t in tokens if t[1] != "+")
        refuse(text, place - 1, f"{sign!r} out of place; {FORM}")
    return Chain(granularity=granularity, levels=levels, offset=offset, options=options)


def write_chain(granularity: Granularity, levels: tuple[Level, ...], offset: Offset | None) -> str:
    """Return what follows the format's name."""
    text = f"@{granularity}{_written(levels)}"
    if offset is None:
        return text
    sign = next(s for s, kind in _SIGNS.items() if kind == offset.kind)
    return text + sign + _written(offset.levels)[1:]


def levels_of(given: Sequence[tuple[str, str | Format] | Level]) -> tuple[Level, ...]:
    """Return levels of pairs of what shares a scale and its format, or its name with a rule.

    Raises
    ------
    BitlatheError
        Raised if a name is unknown.
    """
    levels = []
    for one in given:
        if isinstance(one, Level):
            levels.append(one)
            continue
        if not isinstance(one, tuple | list) or len(one) != 2:
            raise BitlatheError(f"a level is a pair such as ('g16', 'fp8_e4m3'), got {one!r}")
        shape = Granularity.parse(one[0]) if isinstance(one[0], str) else None
        if shape is None:
            raise BitlatheError(
                f"unknown granularity {one[0]!r}; known: {', '.join(GRANULARITIES)}"
            )
        if isinstance(one[1], Format):
            levels.append(Level.of(shape, one[1]))
            continue
        parts = _level_parts(one[1]) if isinstance(one[1], str) else None
        if parts is None:
            raise BitlatheError(f"unknown scale {one[1]!r}{_hint(str(one[1]))}")
        levels.append(Level.of(shape, parts[0], **parts[1]))
    return tuple(levels)


def refuse(text: str, position: int, message: str) -> NoReturn:
    """Refuse a scheme with a caret under a place in its text.

    Raises
    ------
    BitlatheError
        Raised always.
    """
    raise BitlatheError(f"scheme {text!r}: {message}\n  {text}\n  {' ' * position}^")


def _written(levels: tuple[Level, ...]) -> str:
    first, *rest = levels
    return f"/{first}" + "".join(f"@{level.granularity}/{level}" for level in rest)


def _tokens(text: str, start: int) -> list[tuple[int, str, str]]:
    """Cut what follows the name; of each part the place of its word, its sign and the word."""
    found, position = [], start
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            refuse(text, position, f"unexpected {text[position]!r}; {FORM}")
        if not token[2]:
            refuse(text, position, f"nothing after {token[1]!r}")
        found.append((position + 1, token[1], token[2]))
        position = token.end()
    return found


def _levels(
    text: str, tokens: list[tuple[int, str, str]], granularity: Granularity
) -> tuple[Level, ...]:
    """Read scales and their groups from the front of the tokens, which are taken off."""
    levels: list[Level] = []
    while tokens and tokens[0][1] in ("/", "@"):
        if tokens[0][1] == "@":
            at = tokens.pop(0)
            granularity = _granularity(text, at)
            if not levels:
                refuse(text, at[0] - 1, f"'@' out of place; {FORM}")
            if not tokens or tokens[0][1] != "/":
                refuse(text, at[0] + len(at[2]) - 1, f"a '/' and a scale must follow {at[2]!r}")
        elif levels:
            place, _, word = tokens[0]
            refuse(
                text,
                place - 1,
                f"what shares the scale {word!r} must stand before it, as @gN or @tensor",
            )
        place, _, word = tokens.pop(0)
        levels.append(_level(text, place, word, granularity))
        if tokens and tokens[0][1] == "/":
            continue
    if not levels:
        place = tokens[0][0] - 1 if tokens else len(text) - 1
        refuse(text, place, f"a scale must stand here; {FORM}")
    return tuple(levels)


def _granularity(text: str, token: tuple[int, str, str]) -> Granularity:
    place, _, word = token
    found = Granularity.parse(word)
    if found is None:
        refuse(text, place, f"unknown granularity {word!r}; known: {', '.join(GRANULARITIES)}")
    return found


def _level(text: str, place: int, word: str, granularity: Granularity) -> Level:
    parts = _level_parts(word)
    if parts is None:
        refuse(text, place, f"unknown scale {word!r}{_hint(word)}")
    name, options = parts
    return Level.of(granularity, name, **options)


def _hint(word: str) -> str:
    if word in _PLAIN:
        return f"; among levels it is written {_PLAIN[word]}"
    scale = word.rpartition("_")[0]
    if scale == "fp32" or (scale and named(scale)):
        return f"; after {scale} may stand {', '.join(f'_{rule}' for rule in _WORDS)}"
    known = (*ENTRIES, *KNOWN, "fp32")
    near = nearest(word, known)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; a scale is fp32, a format of the catalogue, or one such as {', '.join(KNOWN)}"


def _level_parts(word: str) -> tuple[str, dict[str, Any]] | None:
    """Take the rule, ``search`` and ``signed`` off the end of a scale's word."""
    options: dict[str, Any] = {}
    while word != "fp32" and named(word) is None:
        rest, _, last = word.rpartition("_")
        key = last if last in ("search", "signed") else "rule"
        if not rest or last not in _WORDS or key in options:
            return None
        options[key] = last if key == "rule" else True
        word = rest
    return word, options
