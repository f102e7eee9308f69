"""Schemes: a format, what shares a scale, how the scale is stored, how the range is chosen.

A scheme is written ``FORMAT[@GRANULARITY][/SCALE][+OPTION...]``; `Scheme.parse` reads it and
``str`` writes it back. FORMAT is a name of the catalogue or the path of a YAML file that describes
a user-defined format (see `formats.files`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from ..base.errors import BitlatheError
from ..base.notebook import frame, html
from ..base.numbers import ceil_div
from ..formats.families import named, named_element
from ..formats.format import Format, Mixture
from ..terms.table import TermTable, term_table
from .chains import levels_of
from .coders import CODERS, CoderFacts
from .grammar import (
    Reading,
    base_entry,
    names_file,
    read_file_scheme,
    read_scheme,
    write_scheme,
)
from .granularity import GRANULARITIES, Granularity
from .levels import Level, Offset, level_bits, scale_of
from .rules import SchemeError, find_problem
from .scale_format import ScaleFormat
from .scales import SCALES


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a tensor is quantized, all of it.

    Attributes
    ----------
    name : str
        The format's name, in the catalogue or the user's, or the path of the user's file.
    element : Format or Mixture
    granularity : Granularity
    scale : str
        Key of `SCALES`.
    coder : str
        Key of `CODERS`.
    clip : str
        ``absmax``, ``mse``, ``mae``, ``search``, ``4over6``, ``ends``, ``mean``, ``pN`` or
        ``sigmaN``.
    paper : bool
        The arithmetic of the BitMoD authors' released quantizer: float16, ties down.
    levels : tuple of Level
        Nested scales, the innermost first; empty where the scale is one of `SCALES`.
    offset : Offset or None
        The minimum or zero point beside nested scales.
    file : str
        Path of the YAML file that describes all of it, which is then how it is written.
    """

    name: str
    element: Format | Mixture
    granularity: Granularity
    scale: str
    coder: str = "table"
    clip: str = "absmax"
    paper: bool = False
    levels: tuple[Level, ...] = ()
    offset: Offset | None = None
    file: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if problem := find_problem(self):
            raise SchemeError(str(self), *problem)

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
        return _made(read_file_scheme(given)) if names_file(given) else _parse(given)

    @classmethod
    def of(
        cls, element: Format | Mixture, granularity: str | None = None, scale: str | None = None
    ) -> "Scheme":
        """Make a scheme of a format, which need not be in the catalogue.

        What is left out is what the catalogue says of its own formats; a user-defined format
        defaults to one fp16 scale per channel.

        Raises
        ------
        BitlatheError
            Raised if the granularity is unknown, or the parts do not go together.

        Examples
        --------
        >>> from bitlathe.datatypes.formats.constructors import codebook
        >>> str(Scheme.of(codebook("ternary", [0, 1, -1]), "g64"))
        'ternary@g64'
        """
        base = base_entry(element)
        wanted = base.granularity if granularity is None else granularity
        shape = Granularity.parse(wanted) if isinstance(wanted, str) else None
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
            clip=base.clip,
        )

    @classmethod
    def nested(
        cls,
        element: str | Format | Mixture,
        scales: Sequence[tuple[str, str | Format] | Level],
        minimum: Sequence[tuple[str, str | Format] | Level] = (),
        zero: Sequence[tuple[str, str | Format] | Level] = (),
    ) -> "Scheme":
        """Make a scheme of nested scales, in which any format may be the user's own.

        Parameters
        ----------
        element : str, Format or Mixture
        scales : sequence of (str, str or Format) or Level
            The innermost first: what shares a scale, and its format, by name with its rule
            (``e8m0_ceil``) or as a format. `Level.of` gives a format of the user's a rule.
        minimum, zero : sequence of (str, str or Format) or Level
            How minima or zero points are stored; at most one of the two.

        Raises
        ------
        BitlatheError
            Raised if a name is unknown, or the parts do not go together.

        Examples
        --------
        >>> str(Scheme.nested("fp4_e2m1", [("g16", "fp8_e4m3"), ("tensor", "fp32")]))
        'fp4_e2m1@g16/fp8_e4m3@tensor/fp32'
        """
        if minimum and zero:
            raise BitlatheError("a group has a minimum or a zero point, not both")
        made = named_element(element) if isinstance(element, str) else element
        kind = "minimum" if minimum else "zero"
        beside = levels_of(minimum or zero)
        levels = levels_of(scales)
        if not levels:
            raise BitlatheError("scales: at least one level is needed, such as ('g32', 'fp16')")
        return cls(
            name=made.name,
            element=made,
            granularity=levels[0].granularity,
            scale="levels",
            coder="offset" if beside else "levels",
            levels=levels,
            offset=Offset(kind=kind, levels=beside) if beside else None,
        )

    def __hash__(self) -> int:
        # caches ask often; equal schemes have equal names
        return hash((self.name, self.scale, self.clip))

    def __str__(self) -> str:
        return write_scheme(self)

    @property
    def label(self) -> str:
        """Its text for tables and pictures: a format of a file by the name that stands in it.

        `str` has the path in that place, and is what `parse` reads.
        """
        own, text = self.element.name, str(self)
        if self.file or not own or not text.startswith(self.name):
            return text
        return own + text.removeprefix(self.name)

    def __repr__(self) -> str:
        return f"Scheme({str(self)!r})"

    def _repr_html_(self) -> str:
        facts = {
            "formats": ", ".join(fmt.name for fmt in self.formats),
            "bits of a code": self.element_bits,
            "bits per element of 4096 in a row": float(self.bits_per_element(4096)),
        }
        return html(f"Scheme {self}", facts)

    def to_frame(self) -> Any:
        """Return a pandas data frame of codes and their values, by format.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        return frame([{"format": x.name, **row} for x in self.formats for row in x.rows()])

    @property
    def formats(self) -> tuple[Format, ...]:
        """The member formats, one unless the element is a mixture."""
        return self.element.formats if isinstance(self.element, Mixture) else (self.element,)

    @property
    def unsaid(self) -> list[tuple[object, ...]]:
        """What the text of a scheme does not say: scales of a file, levels of one's own formats.

        For keys of what is kept of a measure; empty where the text says all.
        """
        if self.file and not self.levels:
            return [(str(self.granularity), self.scale)]
        beside = self.offset.levels if self.offset else ()
        return [
            (str(x.granularity), x.name, x.rule, x.search, x.signed, x.format and x.format.listed)
            for x in (*self.levels, *beside)
            if self.file or (x.format is not None and named(x.name) != x.format)
        ]

    @property
    def scale_format(self) -> ScaleFormat:
        """How a scale is stored."""
        return scale_of(self.levels, self.offset) if self.levels else SCALES[self.scale]

    @property
    def coder_facts(self) -> CoderFacts:
        """What the coder takes, and what it stores beside the codes."""
        return CODERS[self.coder]

    @property
    def element_bits(self) -> int:
        """Bits of one code."""
        return self.element.bits

    @property
    def code_bits(self) -> Fraction:
        """Bits of one code as it is stored: a fraction where codes share bytes as digits."""
        digits = self.element.digits
        return Fraction(8, digits[1]) if digits else Fraction(self.element_bits)

    def _codes(self, count: int) -> int:
        """Return the bits that so many codes are stored in."""
        digits = self.element.digits
        return 8 * ceil_div(count, digits[1]) if digits else count * self.element_bits

    @property
    def scale_bits(self) -> int:
        """Bits of the stored scale(s) of one group, second level not counted."""
        return self.scale_format.bits * self.scales_per_group

    @property
    def scale_shapes(self) -> tuple[Granularity, ...]:
        """What shares a scale, a minimum or a zero point, at each level; none without scales.

        Examples
        --------
        >>> [str(shape) for shape in Scheme.parse("nvfp4").scale_shapes]
        ['g16', 'tensor']
        """
        if self.levels:
            beside = self.offset.levels if self.offset else ()
            return tuple(level.granularity for level in (*self.levels, *beside))
        if not self.scale_bits:
            return ()
        outer = {"none": (), "row": ("channel",), "tensor": ("tensor",)}[self.scale_format.outer]
        return (self.granularity, *filter(None, map(Granularity.parse, outer)))

    @property
    def scales_per_group(self) -> int:
        """Scales of one group: one, or one per bit plane in sums of signed scales, or per code."""
        if self.coder_facts.entries:
            return 1 << self.element_bits
        return self.element_bits if self.coder_facts.planes else 1

    @property
    def zero_bits(self) -> int:
        """Bits of one group's zero point."""
        return self.element_bits if self.coder_facts.zero_point else 0

    @property
    def selector_bits(self) -> int:
        """Bits of one group's choice among the members of a mixture, or of its finer elements."""
        own = self.element.selector_bits if isinstance(self.element, Mixture) else 0
        return own + self.coder_facts.extra_bits

    def total_bits(self, axis_length: int, rows: int = 1) -> int:
        """Return the stored bits of a rows x axis_length matrix, everything counted.

        Codes, scales, zero points, selectors, and the second-level scales.

        Raises
        ------
        BitlatheError
            Raised if a size is negative.
        """
        if axis_length < 0 or rows < 0:
            raise BitlatheError(f"bits of a {rows} x {axis_length} matrix: sizes must be >= 0")
        if axis_length == 0 or rows == 0:
            return 0
        down, across = self.granularity.blocks(rows, axis_length)
        if self.levels:
            offsets = self.offset.levels if self.offset else ()
            scales = level_bits((*self.levels, *offsets), rows, axis_length)
            return self._codes(rows * axis_length) + scales + down * across * self.selector_bits
        per_group = self.scale_bits + self.zero_bits + self.selector_bits
        outer = {"none": 0, "row": down, "tensor": 1}[self.scale_format.outer]
        return (
            self._codes(rows * axis_length)
            + down * across * per_group
            + outer * self.scale_format.outer_bits
        )

    def row_bits(self, axis_length: int, rows: int = 1) -> Fraction:
        """Return the mean bits per element of the rows of a matrix, without what it has once.

        A scale that several rows share is counted in parts; one of the whole tensor is not.

        Parameters
        ----------
        axis_length, rows : int
            As in `bits_per_element`.

        Raises
        ------
        BitlatheError
            Raised if a size is not positive.

        Examples
        --------
        >>> Scheme.parse("nvfp4").row_bits(64), Scheme.parse("int8@tensor").row_bits(64)
        (Fraction(9, 2), Fraction(8, 1))
        """
        if axis_length <= 0 or rows <= 0:
            raise BitlatheError(f"bits of a row of {rows} x {axis_length}: sizes must be above 0")

        def groups(shape: Granularity) -> Fraction:
            down, across = shape.blocks(rows, axis_length)
            whole = not (shape.rows or shape.columns)
            return Fraction(0 if whole else down * across, rows)

        own, selectors = groups(self.granularity), self.selector_bits
        if self.levels:
            levels = (*self.levels, *(self.offset.levels if self.offset else ()))
            beside = sum((each.bits * groups(each.granularity) for each in levels), Fraction(0))
            beside += own * selectors
        else:
            beside = own * (self.scale_bits + self.zero_bits + selectors)
            if self.scale_format.outer == "row":
                down = self.granularity.blocks(rows, axis_length)[0]
                beside += Fraction(down * self.scale_format.outer_bits, rows)
        return (self._codes(axis_length) + beside) / axis_length

    def bits_per_element(self, axis_length: int, rows: int = 1) -> Fraction:
        """Return the stored bits per element, exactly.

        Parameters
        ----------
        axis_length : int
            Length of the quantized axis (a matrix's input channels).
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
        counted at the width of ``code - zero``, one bit more. Elements that are stored finer than
        their codes count with all values that they may have.
        """
        if self.zero_bits:
            return (self.element_bits + 2) // 2
        return max(table.count for table in self._term_tables())

    @property
    def term_error(self) -> float:
        """Largest change of a value of the format in becoming terms; 0 where they are exact.

        Formats that span more than the fixed point of a bit-serial PE (NF4, FP8) are rounded to
        it; see `datatypes.terms.table.term_table`.
        """
        if self.zero_bits:
            return 0.0
        return max(table.max_error for table in self._term_tables())

    def _term_tables(self) -> list[TermTable]:
        """Return the terms of every value an element may have, by member."""
        elements = self.coder_facts.elements
        if elements is not None:
            return [term_table(elements(f)) for f in self.formats]
        return [term_table(f.values, f.bits) for f in self.formats]


@lru_cache(maxsize=1024)
def _parse(text: str) -> Scheme:
    return _made(read_scheme(text))


def _made(reading: Reading) -> Scheme:
    """Return the scheme of a reading; what does not go together is refused where it stands."""
    try:
        return Scheme(**reading.facts)
    except SchemeError as problem:
        reading.refuse(problem.part, problem.problem)
