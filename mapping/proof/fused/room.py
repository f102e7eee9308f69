"""Which tilings a certificate of a chain is about, written down anew, and which of them fit.

* Blocks of rows, whole tokens, and of columns that are the least for 1 to 8, 12, 16, 24, 32 ...
  blocks.
* One place or two of what comes and leaves; the array ahead of the vector unit or not.
* Weights of no instance stay, of one, or, with two places and several instances, of two; or sums
  are spilled. Neither where one block has all rows.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import product
from math import ceil

from ..record import OPERANDS
from .near import Near
from .record import Chain, Lanes, Tiling

Need = tuple[str, int, Fraction, int]
"""An operand's near memory, elements of a tile, bits of each, tiles."""


def sizes(size: int) -> list[int]:
    """Return the sizes of blocks, the largest first.

    Examples
    --------
    >>> sizes(100)
    [100, 50, 34, 25, 20, 17, 15, 13, 9, 7, 5, 4, 3, 2, 1]
    """
    counts = list(range(1, 9))
    while counts[-1] < size:
        counts += [counts[-1] * 3 // 2, counts[-1] * 2]
    return sorted({-(-size // blocks) for blocks in counts}, reverse=True)


def tilings(chain: Chain) -> Iterator[Tiling]:
    """Yield every tiling of the space, whether it fits the chip or not."""
    tokens = -(-chain.m // chain.token)
    for many, columns in product(sizes(tokens), sizes(chain.middle)):
        rows = min(many * chain.token, chain.m)
        several = rows < chain.m
        for places, ahead in product((1, 2), (False, True)):
            most = places if several else 0
            stays = [(held, False) for held in range(most + 1)]
            stays += [(0, True)] if several and chain.spills and columns < chain.middle else []
            for held, spilled in stays:
                if held < 2 or chain.instances > 1:
                    yield Tiling(rows, columns, places, ahead, held, spilled)


def needs(chain: Chain, tiling: Tiling, unfinished: frozenset[bool]) -> Iterator[Need]:
    """Yield the tiles that lie in the near memories.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
    unfinished : frozenset of bool
        Whether the first product (False), the second (True) leave sums there before their results.
    """
    rows, columns = min(tiling.rows, chain.m), min(tiling.columns, chain.middle)
    first, second = chain.products
    places, beside = tiling.places, 1 + tiling.ahead
    stay, sets = (chain.middle, tiling.held) if tiling.held else (columns, places)
    sums, whole = second.partial_bits, columns == chain.middle
    middle, results = first.bits["output"], second.bits["output"]
    if False in unfinished:
        middle = max(middle, first.partial_bits)
    if tiling.spilled or (True in unfinished and whole):
        results = max(results, sums)
    yield "input", rows * chain.inner, first.bits["input"], places
    yield "weight", chain.matrices * stay * chain.inner, first.bits["weight"], sets
    yield "weight", stay * chain.out, second.bits["weight"], sets
    yield "output", chain.matrices * rows * columns, middle, beside
    yield "input", rows * columns, second.bits["input"], beside
    yield "output", rows * chain.out, results, places
    if tiling.spilled or not whole:
        yield "output", rows * chain.out, sums, beside
    if not tiling.spilled and not whole:
        yield "output", rows * chain.out, sums, 1
        if chain.state:
            yield "output", rows * chain.state, sums, beside


def problem(chain: Chain, tiling: Tiling, lanes: Lanes) -> str | None:
    """Return what keeps a tiling from running on a chip, room aside, in a sentence, or None."""
    if tiling.rows > chain.m or tiling.columns > chain.middle:
        return "its blocks have more rows or columns than the chain."
    if tiling.rows % chain.token and tiling.rows < chain.m:
        return f"blocks of {tiling.rows} rows cut tokens of {chain.token} rows."
    if tiling.ahead and not lanes.overlap:
        return "the array is ahead of a vector unit that does not work beside it."
    if tiling.spilled and (not chain.spills or tiling.columns >= chain.middle):
        return "its sums are spilled, which have no other block to wait for, or rows with a state."
    return None


def overfull(some: Iterable[Need], near: Near) -> str | None:
    """Return which near memory does not hold some tiles, in a sentence, or None."""
    every = list(some)
    for operand, _, _, tiles in every:
        memory = near.memories[operand]
        if tiles == 2 and not memory.double_buffered:
            return f"memory {memory.name!r} holds one tile of {operand}s, not two."
    held = taken(every, near)
    for memory in near.memories.values():
        for size, used in zip((memory.size_bits, memory.words), held[memory.name], strict=True):
            if size is not None and used > size:
                return f"memory {memory.name!r} has {size} of the {used} that the blocks take."
    return None


def taken(some: Iterable[Need], near: Near) -> dict[str, list[int]]:
    """Return the bits, and the elements, that some tiles take of each near memory."""
    found = {near.memories[operand].name: [0, 0] for operand in OPERANDS}
    for operand, elements, bits, tiles in some:
        both = found[near.memories[operand].name]
        both[0] += tiles * ceil(elements * bits)
        both[1] += tiles * elements
    return found
