"""How a chain is cut into blocks, and whether they fit the near memories.

For blocks of rows, for blocks of columns of the middle: the first product's tile of weights (K, or
gate and up) and the second's (V, or down) come from the outermost memory unless they are there;
the array makes the block of the middle, the vector unit does its steps, the array makes the block's
part of the results, and the unit adds it to the rows' sums. The inputs (Q) come with the first
block of their rows, the results leave after the last.

Or, where sums are spilled, for blocks of columns, for blocks of rows: weights come once for all
rows, with the first of them; inputs come with every block; the sums of its rows come back before
they are added to, but for the first block of columns, and leave after.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from ...arch.hierarchy import OPERANDS
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import units_of, whole_number
from .chain import Chain
from .near import NearChip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Blocks of a chain, and what lies twice in the near memories.

    Attributes
    ----------
    rows, columns : int
        Of a block of the middle: whole tokens; the last ones may be short.
    places : int
        1, or 2 where what comes next from the outermost memory, inputs and weights, has a place of
        its own while the block before it is worked on, and results one while they leave.
    ahead : bool
        Whether the array makes the next block of the middle while the vector unit works on one:
        the middle and the unfinished sums have two places.
    held : int
        Instances whose weights (K and V) stay whole: 0, tiles come anew for each block of rows; 1,
        each instance starts when the one before has ended; 2, the next one's come beside it.
    spilled : bool
        Whether blocks of columns are outermost: unfinished sums go to the outermost memory.
    """

    rows: int
    columns: int
    places: int = 1
    ahead: bool = False
    held: int = 0
    spilled: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rows", 1, None),
            ("columns", 1, None),
            ("places", 1, 2),
            ("held", 0, 2),
        ):
            whole_number(f"tiling: {name}", getattr(self, name), low, high)
        if self.places < 2 <= self.held:
            raise BitlatheError("tiling: two instances held and places 1; it needs places 2.")
        if self.spilled and self.held:
            raise BitlatheError(
                "tiling: sums are spilled and weights held; spilled, weights come once: held is 0."
            )

    @property
    def mode(self) -> tuple[int, ...]:
        """All but the sizes of blocks."""
        return self.places, self.ahead, self.held, self.spilled

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class Need(NamedTuple):
    """A tile in a near memory: whose, what of, its elements, bits of each, how many tiles."""

    operand: str
    what: str
    elements: int
    bits: Fraction
    tiles: int


def needs(chain: Chain, tiling: Tiling, spilling: frozenset[bool] = frozenset()) -> Iterator[Need]:
    """Yield the tiles that a tiling keeps in the near memories, none of them empty.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
    spilling : frozenset of bool
        Products whose finished results the near memory has as sums before: False the first, True
        the second.
    """
    rows, columns = min(tiling.rows, chain.m), min(tiling.columns, chain.middle)
    places, beside = tiling.places, 2 if tiling.ahead else 1
    first, second = chain.first, chain.second
    kept = chain.middle if tiling.held else columns
    sets = tiling.held or places
    sums = Fraction(second.partial)
    middle, results = Fraction(first.output), Fraction(second.output)
    if False in spilling:
        middle = max(middle, Fraction(first.partial))
    if True in spilling and columns >= chain.middle:
        results = max(results, sums)
    yield Need("input", "inputs", rows * chain.inner, first.input, places)
    yield Need("weight", "weights", chain.matrices * kept * chain.inner, first.weight, sets)
    yield Need("weight", "weights of the second", kept * chain.out, second.weight, sets)
    block = rows * columns
    yield Need("output", "middle", chain.matrices * block, middle, beside)
    yield Need("input", "middle as input", block, second.input, beside)
    if tiling.spilled:
        widest = max(sums, Fraction(second.output))
        yield Need("output", "sums or results", rows * chain.out, widest, places)
        yield Need("output", "a block's sums", rows * chain.out, sums, beside)
        return
    yield Need("output", "results", rows * chain.out, results, places)
    if columns < chain.middle:
        yield Need("output", "a block's sums", rows * chain.out, sums, beside)
        yield Need("output", "sums", rows * chain.out, sums, 1)
        if chain.steps.state:
            yield Need("output", "row state", chain.steps.state * rows, sums, beside)


def problem(
    chain: Chain, tiling: Tiling, near: NearChip, spilling: frozenset[bool] = frozenset()
) -> str | None:
    """Return what keeps a tiling from running on a chip, in a sentence; None if nothing does.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
    near : NearChip
    spilling : frozenset of bool
        As of `needs`.
    """
    if tiling.rows % chain.rows_per_token and tiling.rows < chain.m:
        return (
            f"blocks of {tiling.rows} rows cut tokens of {chain.rows_per_token} rows; give a "
            "multiple."
        )
    if tiling.spilled and not chain.spills:
        return (
            "sums are spilled under a mask, or beside numbers that the vector unit keeps of each "
            "row; set spilled off."
        )
    if tiling.spilled and tiling.columns >= chain.middle:
        return (
            f"sums are spilled between blocks of columns, and one block of {tiling.columns} has "
            f"all {chain.middle}; set spilled off."
        )
    blocks = f"blocks of {tiling.rows} x {tiling.columns}"
    return overfull(needs(chain, tiling, spilling), near, blocks)


def overfull(some: Iterable[Need], near: NearChip, blocks: str) -> str | None:
    """Return which near memory cannot hold what a tiling keeps, in a sentence; None: all can.

    Parameters
    ----------
    some : iterable of Need
    near : NearChip
    blocks : str
        What the tiling cuts, in words.
    """
    taken: dict[str, list[Need]] = {}
    memories = {operand: near.memory(operand) for operand in OPERANDS}
    for need in some:
        memory = memories[need.operand]
        if need.tiles == 2 and not memory.double_buffered:
            return (
                f"memory {memory.name!r} is not double-buffered; it holds one tile of {need.what}."
            )
        taken.setdefault(memory.name, []).append(need)
    for memory in memories.values():
        mine = taken.pop(memory.name, [])
        size = memory.size_bits if memory.words is None else memory.words
        parts = [each.tiles * _taken(each, memory.words is None) for each in mine]
        needed = sum(parts)
        if size is not None and needed > size:
            unit = "bits" if memory.words is None else "words"
            listed = ", ".join(f"{e.what} {part}" for e, part in zip(mine, parts, strict=True))
            return (
                f"memory {memory.name!r} is too small to fuse: {blocks} take {needed} {unit} "
                f"({listed}), and it has {size}, "
                f"{needed - size} too few."
            )
    return None


def _taken(need: Need, in_bits: bool) -> int:
    return units_of(need.elements, need.bits, 1) if in_bits else need.elements
