"""What a certificate of a fused chain says, read strictly: sizes, steps, vector unit, tiling."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from ..record import (
    Layer,
    ProofError,
    bits_of,
    exact,
    extent,
    listed,
    short,
    take,
    truth,
    whole,
)

Work = tuple[int, ...]
"""Additions, multiplications, special functions of an element, and of a row."""
STEPS = ("alone", "first", "later", "carry", "finish", "quantize")


class Asked(NamedTuple):
    """A product of a block: whether it is the second, its sizes, whether its sums are finished."""

    second: bool
    rows: int
    columns: int
    finished: bool


class Stored(NamedTuple):
    """Bits of one product's operands, clocks of its steps, energy of a unit in a clock of these."""

    stored: dict[str, Fraction]
    code: dict[str, Fraction]
    partial: Fraction
    step_cycles: Fraction
    unit_pj: Fraction


class Mask(NamedTuple):
    """A row of token t sees columns up to before + t, the last ``window`` of them; None: all."""

    rows_per_token: int
    before: int
    window: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """Two products with steps of the vector unit between them, in equal instances.

    ``matrices`` products of (m, inner) inputs make the (m, middle) middle, one makes (m, out).
    ``steps``: what the unit does, by name (`STEPS`); ``state``: numbers a row that it keeps between
    blocks; ``group``: elements of a row that share a scale where it quantizes, 0: all of a block.
    """

    m: int
    middle: int
    out: int
    inner: int
    instances: int
    matrices: int
    products: tuple[Stored, Stored]
    steps: dict[str, Work]
    state: int
    group: int
    mask: Mask | None

    def layer(self, asked: Asked) -> Layer:
        """Return a product of a block; sums that others are added to are unfinished."""
        of = self.products[asked.second]
        own = {} if asked.finished else {"output": of.partial}
        between = (self.out, asked.columns) if asked.second else (asked.columns, self.inner)
        return Layer(
            dims=("m", "n", "k"),
            sizes=(asked.rows, *between),
            windows=(),
            stored={**of.stored, **own},
            code={**of.code, **own},
            partial=of.partial,
            step_cycles=of.step_cycles,
        )

    def pairs_seen(self) -> int:
        """Return the elements of the middle that some row sees, all rows together."""
        if self.mask is None:
            return self.m * self.middle
        found, mask = 0, self.mask
        for token in range(-(-self.m // self.token)):
            after = mask.before + token + 1
            first = 0 if mask.window is None else max(0, after - mask.window)
            rows = min(self.token, self.m - token * self.token)
            found += rows * max(0, min(after, self.middle) - min(first, self.middle))
        return found

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

    lanes: int
    special_cycles: int
    add_pj: Fraction
    multiply_pj: Fraction
    special_pj: Fraction
    overlap: bool

    def cycles(self, work: Work) -> int:
        """Return the clocks of some operations."""
        adds, multiplies, specials = work
        return -(-(adds + multiplies + specials * self.special_cycles) // self.lanes)

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

    rows: int
    columns: int
    places: int
    ahead: bool
    held: int
    spilled: bool


def chain_of(data: Any) -> Chain:
    """Return the chain of plain data.

    Raises
    ------
    ProofError
        It is something else.
    """
    sizes = "m middle out inner instances matrices"
    *counts, first, second, steps, state, group, mask = take(
        data, "chain", f"{sizes} first second steps state group mask"
    )
    m, middle, out, inner, instances, matrices = (
        extent(each, f"chain.{name}") for each, name in zip(counts, sizes.split(), strict=True)
    )
    works = {
        name: work_of(each, f"chain.steps.{name}")
        for name, each in zip(STEPS, take(steps, "chain.steps", " ".join(STEPS)), strict=True)
    }
    return Chain(
        m=m,
        middle=middle,
        out=out,
        inner=inner,
        instances=instances,
        matrices=matrices,
        products=(stored_of(first, "chain.first"), stored_of(second, "chain.second")),
        steps=works,
        state=whole(state, "chain.state"),
        group=whole(group, "chain.group"),
        mask=None if mask is None else _mask(mask),
    )


def work_of(data: Any, where: str) -> Work:
    """Return the operations on each element, and on each row, of plain data.

    Raises
    ------
    ProofError
        It is not six counts.
    """
    if len(listed(data, where)) != 6:
        raise ProofError(f"{where} is {short(data)}; it must have six counts.")
    return tuple(whole(each, where) for each in data)


def _mask(data: Any) -> Mask:
    rows, before, window = take(data, "chain.mask", "rows_per_token before window")
    return Mask(
        extent(rows, "chain.mask.rows_per_token"),
        whole(before, "chain.mask.before"),
        None if window is None else whole(window, "chain.mask.window", 1),
    )


def stored_of(data: Any, where: str) -> Stored:
    """Return the bits of a product's operands, and what its steps take, of plain data.

    Raises
    ------
    ProofError
        It is something else.
    """
    bits, code, partial, step, unit = take(
        data, where, "bits code_bits partial_bits step_cycles unit_pj"
    )
    return Stored(
        *bits_of(bits, code, where),
        exact(partial, f"{where}.partial_bits", positive=True),
        exact(step, f"{where}.step_cycles", positive=True),
        exact(unit, f"{where}.unit_pj"),
    )


def lanes_of(data: Any) -> Lanes:
    """Return the vector unit of plain data.

    Raises
    ------
    ProofError
        It is something else.
    """
    names = "lanes special_cycles add_pj multiply_pj special_pj overlap"
    lanes, special, add, multiply, other, overlap = take(data, "lanes", names)
    return Lanes(
        whole(lanes, "lanes.lanes", 1),
        whole(special, "lanes.special_cycles", 1),
        exact(add, "lanes.add_pj"),
        exact(multiply, "lanes.multiply_pj"),
        exact(other, "lanes.special_pj"),
        truth(overlap, "lanes.overlap"),
    )


def tiling_of(data: Any, where: str = "schedule.tiling") -> Tiling:
    """Return the tiling of plain data.

    Raises
    ------
    ProofError
        It is none.
    """
    rows, columns, places, ahead, held, spilled = take(data, where, " ".join(Tiling._fields))
    found = Tiling(
        whole(rows, f"{where}.rows", 1),
        whole(columns, f"{where}.columns", 1),
        whole(places, f"{where}.places", 1),
        truth(ahead, f"{where}.ahead"),
        whole(held, f"{where}.held"),
        truth(spilled, f"{where}.spilled"),
    )
    if found.places > 2 or found.held > found.places or (found.spilled and found.held):
        raise ProofError(
            f"{where}: there are 1 or 2 places, as many instances held at most, and none where "
            "sums are spilled."
        )
    return found


def asked_of(data: Any, where: str) -> Asked:
    """Return the product of a block of plain data.

    Raises
    ------
    ProofError
        It is none.
    """
    if len(listed(data, where)) != 4:
        raise ProofError(f"{where} is {short(data)}; it must have four entries.")
    second, rows, columns, finished = data
    return Asked(
        truth(second, where),
        whole(rows, where, 1),
        whole(columns, where, 1),
        truth(finished, where),
    )
