"""What a certificate of a fused chain says, read strictly: sizes, steps, vector unit, tiling."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

from ..record import Count, Extent, Layer, Stored

Work = tuple[int, ...]
"""Additions, multiplications, special functions."""
Work6 = tuple[int, int, int, int, int, int]
"""Additions, multiplications, special functions of an element, and of a row."""
STEPS = ("alone", "first", "later", "carry", "finish", "quantize")


class Asked(NamedTuple):
    """A product of a block: whether it is the second, its sizes, whether its sums are finished."""

    second: bool
    rows: Count
    columns: Count
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Priced(Stored):
    """Bits of one product's operands, clocks of its steps, energy of a unit in a clock of these."""

    unit_pj: Fraction


class Mask(NamedTuple):
    """A row of token t sees columns up to before + t, the last ``window`` of them; None: all."""

    rows_per_token: Extent
    before: int
    window: Count | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """Two products with steps of the vector unit between them, in equal instances.

    ``matrices`` products of (m, inner) inputs make the (m, middle) middle, one makes (m, out).
    ``steps``: what the unit does, by name (`STEPS`); ``state``: numbers a row that it keeps between
    blocks; ``group``: elements of a row that share a scale where it quantizes, 0: all of a block.
    """

    m: Extent
    middle: Extent
    out: Extent
    inner: Extent
    instances: Extent
    matrices: Extent
    first: Priced
    second: Priced
    steps: Annotated[dict[str, Work6], STEPS]
    state: int
    group: int
    mask: Mask | None

    @property
    def products(self) -> tuple[Priced, Priced]:
        """Both products."""
        return self.first, self.second

    def layer(self, asked: Asked) -> Layer:
        """Return a product of a block; sums that others are added to are unfinished."""
        of: Stored = self.products[asked.second]
        if not asked.finished:
            own = {"output": of.partial_bits}
            of = replace(of, bits={**of.bits, **own}, code_bits={**of.code_bits, **own})
        between = (self.out, asked.columns) if asked.second else (asked.columns, self.inner)
        return Layer(
            dims=("m", "n", "k"),
            sizes=(asked.rows, *between),
            windows=(),
            of=of,
        )

    @property
    def token(self) -> int:
        """Rows that see the same columns."""
        return 1 if self.mask is None else min(self.mask.rows_per_token, self.m)

    @property
    def spills(self) -> bool:
        """Whether sums may leave the chip unfinished."""
        return self.mask is None and not self.state


class Lanes(NamedTuple):
    """A vector unit: lanes, clocks of a special function, energies, whether it works beside."""

    lanes: Count
    special_cycles: Count
    add_pj: Fraction
    multiply_pj: Fraction
    special_pj: Fraction
    overlap: bool

    def cycles(self, work: Work) -> int:
        """Return the clocks of some operations."""
        adds, multiplies, specials = work
        return -(-(adds + multiplies + specials * self.special_cycles) // self.lanes)

    def each(self) -> list[list[Any]]:
        """Return clocks and pJ of an operation of each kind; clocks of one beside an array's."""
        kinds = (1, 0, 0), (0, 1, 0), (0, 0, 1)
        return [*(list(self.figures(work, 1)) for work in kinds), [1 if self.overlap else 2]]

    def figures(self, work: Work, times: int) -> tuple[str, str]:
        """Return clocks, whole or not, and pJ of operations so many times, exactly."""
        adds, multiplies, specials = work
        every = adds + multiplies + specials * self.special_cycles
        pj = adds * self.add_pj + multiplies * self.multiply_pj + specials * self.special_pj
        return str(Fraction(every * times, self.lanes)), str(pj * times)


class Tiling(NamedTuple):
    """How a chain is cut, as docs/mapping.md says under Fused chains.

    Blocks of rows and columns; places of what comes, whether the array works ahead, instances whose
    weights stay, whether sums are spilled.
    """

    rows: Count
    columns: Count
    places: Annotated[int, 1, 2]
    ahead: bool
    held: int
    spilled: bool

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        if self.held > self.places:
            return f" holds {self.held} instances in {self.places} places; one a place at most."
        return (
            " holds weights and spills sums; it can do one." if self.held * self.spilled else None
        )
