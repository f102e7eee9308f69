"""Which formats, scales, coders and options go together."""

import re
from typing import Final, Protocol

from ..base.errors import BitlatheError, unknown_name
from ..formats.catalogue import ENTRIES
from ..formats.format import Format, Mixture
from ..formats.grid import MAX_BITS
from .coders import CODERS
from .granularity import Granularity
from .levels import Level, Offset, find_level_problem, free_of_scales, zero_reaches
from .patterns import LAYOUTS
from .scales import SCALES

# clips that try several scales for each group
GRID_SEARCHES: Final = ("search", "4over6")
ENDS: Final = "ends"
MEAN: Final = "mean"  # the mean magnitude is the scale
SEARCHES: Final = ("mse", "mae", *GRID_SEARCHES)
_BEYOND: Final = (
    "{name} reaches beyond float32, so that scales of its range are 0 there; take it without a "
    "scale, or under the best power of two, as {name}@channel/pot+search"
)
_BASELINE: Final = "{name} is a baseline, whose values are as they are: it takes no scale"


class Facts(Protocol):
    """What the rules look at of a scheme; see `Scheme`."""

    @property
    def name(self) -> str:
        """The format's name."""

    @property
    def element(self) -> Format | Mixture:
        """The format itself."""

    @property
    def granularity(self) -> Granularity:
        """What shares a scale."""

    @property
    def scale(self) -> str:
        """Key of `SCALES`."""

    @property
    def coder(self) -> str:
        """Key of `CODERS`."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Nested scales; empty where the scale is one of `SCALES`."""

    @property
    def offset(self) -> Offset | None:
        """The minimum or zero point beside nested scales."""

    @property
    def file(self) -> str:
        """Path of the file that describes the whole scheme, or empty."""

    @property
    def clip(self) -> str:
        """How the range is chosen."""

    @property
    def paper(self) -> bool:
        """Whether the arithmetic is that of the released quantizer."""


class SchemeError(BitlatheError):
    """A scheme whose parts do not go together.

    Parameters
    ----------
    text : str
        The scheme.
    part : str
        The sign before the part at fault, ``@``, ``/`` or ``+``; "" where it is the format.
    problem : str
    """

    def __init__(self, text: str, part: str, problem: str) -> None:
        super().__init__(f"scheme '{text}': {problem}")
        self.part, self.problem = part, problem


def find_problem(s: Facts) -> tuple[str, str] | None:
    """Return what makes a scheme impossible, after the sign before the part at fault; or None."""
    return _nested(s) if s.levels else _unknown(s) or _conflict(s)


def _nested(s: Facts) -> tuple[str, str] | None:
    """Return what is wrong with a scheme of nested scales."""
    offset = s.offset
    if problem := find_level_problem(s.levels, s.granularity):
        return "/", problem
    if offset and (problem := find_level_problem(offset.levels, s.granularity, offset.kind)):
        return "-", problem
    formats = s.element.formats if isinstance(s.element, Mixture) else (s.element,)
    signed = s.levels[0].signed
    span = offset is not None and any(f.max == f.min for f in formats)
    first, fixed = str(s.levels[0]), free_of_scales(formats, offset)
    searched = len(formats) > 1 or any(level.search for level in s.levels)
    plain = len(s.levels) == 1 and offset is None and first in SCALES
    rules = (
        (plain, "/", f"one level of {first} is a plain scale; give it as scale={first!r}"),
        (s.coder != ("offset" if offset else "levels"), "", f"coder {s.coder!r} has no levels"),
        (s.paper, "+", "+paper is the BitMoD authors' quantizer, which has no levels of scales"),
        (
            s.clip in (*SEARCHES, ENDS, MEAN),
            "+",
            f"+{s.clip} is for a single scale; write _search after the scales to be searched",
        ),
        (s.clip != "absmax" and not is_clip(s.clip), "+", f"unknown clip {s.clip!r}"),
        (
            s.clip != "absmax" and (offset is not None or signed),
            "+",
            "a clip cuts the largest magnitude, not the ends of a range; leave it out",
        ),
        (signed and offset is not None, "/", "with a minimum or zero a scale needs no sign"),
        (
            offset is not None and not zero_reaches(formats, offset),
            "-",
            f"zero points of {offset and offset.levels[0].name} do not reach from "
            f"{min(f.min for f in formats):g} to {max(f.max for f in formats):g}, the ends of "
            f"{s.element.name}",
        ),
        (
            searched and offset is not None and len(offset.levels) > 1 and not fixed,
            "/",
            f"a search or a mixture takes a {offset and offset.kind} of one level, or minima "
            "under elements that start at 0, such as uint4",
        ),
        (all(f.max <= 0 for f in formats), "", "its format has no positive value"),
        (_tableless(formats), "/", _BASELINE.format(name=s.name)),
        (_beyond_float32(formats), "/", _BEYOND.format(name=s.name)),
        (span, "", "a minimum or zero needs a format of two values or more"),
    )
    return next(((part, problem) for wrong, part, problem in rules if wrong), None)


def _tableless(formats: tuple[Format, ...]) -> bool:
    """Return whether a format has too many values for a table of them: fp32."""
    return any(f.bits > MAX_BITS for f in formats)


def _beyond_float32(formats: tuple[Format, ...]) -> bool:
    """Return whether the largest element over the largest value is no scale in float32."""
    return any(f.max_abs > LAYOUTS["fp32"].max for f in formats)


def is_clip(text: str) -> bool:
    """Return whether a text names a clip: a search, ``ends``, ``mean``, ``pN`` or ``sigmaN``."""
    if text in (*SEARCHES, ENDS, MEAN):
        return True
    if found := re.fullmatch(r"p(\d{1,3}(?:\.\d{1,6})?)", text):
        return 0 < float(found[1]) <= 100
    if found := re.fullmatch(r"sigma(\d{1,3}(?:\.\d{1,6})?)", text):
        return float(found[1]) > 0
    return False


def _unknown(s: Facts) -> tuple[str, str] | None:
    """Return which part of a scheme does not exist, or does not go with its format."""
    if s.scale not in SCALES:
        return "/", unknown_name("scale", s.scale, SCALES)
    if s.coder not in CODERS:
        return "", unknown_name("coder", s.coder, CODERS)
    coder, bits = CODERS[s.coder], s.element.bits
    element = s.element
    integers = isinstance(element, Format) and element.grid.integers and bits <= 8
    signed = isinstance(element, Format) and element.signed
    rules = (
        (
            s.clip != "absmax" and not is_clip(s.clip),
            "+",
            f"unknown clip {s.clip!r}; known: absmax, {', '.join(SEARCHES)}, ends, mean, pN, "
            "sigmaN",
        ),
        (not isinstance(s.paper, bool), "+", f"paper is {s.paper!r}, must be True or False"),
        (
            coder.integers and not integers,
            "",
            f"coder {s.coder!r} is for integers of at most 8 bits",
        ),
        (bits < coder.least_bits, "", coder.least_rule),
        (coder.unsigned and signed, "", f"coder {s.coder!r} is for unsigned integers"),
    )
    return next(((part, problem) for wrong, part, problem in rules if wrong), None)


def _conflict(s: Facts) -> tuple[str, str] | None:
    """Return which parts of a scheme do not go together."""
    kind, coder, clipped = SCALES[s.scale].kind, CODERS[s.coder], s.clip != "absmax"
    base = ENTRIES.get(s.name)
    preset = base.scale if base and base.preset and not coder.integers else s.scale
    single = isinstance(s.element, Format)
    formats = s.element.formats if isinstance(s.element, Mixture) else (s.element,)
    scaled = kind != "none" and not (kind == "pot" and s.clip == "search")
    own_clip = base.clip if base else "absmax"
    rules = (
        (
            own_clip != "absmax" and s.clip not in SEARCHES,
            "+",
            f"{s.name} searches its scales; without a search it is "
            f"{s.element.name}@{s.granularity}/{s.scale}",
        ),
        (
            kind == "planes" and kind not in coder.scales,
            "/",
            f"scale {s.scale!r} is for bcq formats only",
        ),
        (kind not in coder.scales, "/", coder.scale_rule.format(scale=s.scale)),
        (
            kind != SCALES[preset].kind,
            "/",
            f"{s.name} is a whole scheme with scales such as {preset}"
            + (f"; with others it is {s.element.name}@{s.granularity}/{s.scale}")
            * (s.element.name != s.name),
        ),
        (kind == "bitmod_mx" and not single, "/", "mxbm scales are for single formats"),
        (
            bool(coder.whole) and f"@{s.granularity}/{s.scale}" != coder.whole,
            "@" if f"@{s.granularity}" != coder.whole.partition("/")[0] else "/",
            f"{s.name} is a whole scheme, of {coder.whole}; with other groups or scales it is "
            f"{s.element.name}",
        ),
        (
            coder.along_rows and s.granularity.rows != 1,
            "@",
            f"{s.name} works along a row: use @channel or @gN",
        ),
        (
            coder.clips is not None and s.clip not in coder.clips,
            "+",
            f"{s.name} searches its own range; leave +{s.clip} out",
        ),
        (
            s.clip in (*GRID_SEARCHES, ENDS, MEAN) and s.coder != "table",
            "+",
            f"+{s.clip} is for formats without a zero point; {s.name} takes +mse or +mae",
        ),
        (
            s.clip == "search" and kind == "float",
            "+",
            f"+search tries every scale: {s.scale} has too many, it takes +mse",
        ),
        (
            s.paper and s.scale not in coder.paper,
            "+",
            "+paper is the BitMoD authors' quantizer: grids and asymmetric integers with fp16 "
            "scales, and mx_bitmod_*",
        ),
        (s.paper and clipped, "+", "+paper does not clip"),
        (kind != "none" and _tableless(formats), "/", _BASELINE.format(name=s.name)),
        (scaled and _beyond_float32(formats), "/", _BEYOND.format(name=s.name)),
        (kind == "none" and clipped, "+", "without a scale there is no range to search"),
    )
    return next(((part, problem) for wrong, part, problem in rules if wrong), None)
