"""The blocks of a chain by kind: whether short in rows or columns, their place in their rows."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...datatypes.base.errors import BitlatheError
from .chain import Chain, Ints

ALONE, FIRST, LATER, LAST = range(4)
NONE = 2  # of rows, or columns, whose inputs, or weights, a block does not load


class Kind(NamedTuple):
    """A kind of block: of short rows, of short columns (0 or 1), where it stands in its rows."""

    rows: int
    columns: int
    place: int

    @property
    def alone(self) -> bool:
        """Whether it holds all that its rows see."""
        return self.place == ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks of one instance of a chain.

    Attributes
    ----------
    low, high, kinds : (R,) int64 array
        Of each block of rows that sees something: first block of columns, last + 1, and 1 where it
        is the short one.
    short : int
        The block of columns that is the short one; -1: none.
    rows, columns : (int, int)
        Sizes by kind: of a whole block, of the short one.
    """

    low: Ints
    high: Ints
    kinds: Ints
    short: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    @classmethod
    def of(cls, chain: Chain, rows: int, columns: int) -> "Blocks":
        """Return the blocks of a chain; those of columns lie on a grid, and some row sees each.

        Raises
        ------
        BitlatheError
            No row sees anything.

        Examples
        --------
        >>> from ..operands import OperandBits
        >>> from .chain import Mask
        >>> bits = OperandBits(weight=8, input=8, output=8)
        >>> chain = Chain(m=5, middle=6, out=1, inner=1, first=bits, second=bits, mask=Mask())
        >>> found = Blocks.of(chain, 2, 2)
        >>> found.low.tolist(), found.high.tolist()
        ([0, 0, 0], [1, 2, 3])
        """
        rows, columns = min(rows, chain.m), min(columns, chain.middle)
        at: Ints = np.arange(0, chain.m, rows, dtype=np.int64)
        last: Ints = np.minimum(at + rows, chain.m) - 1
        low, high = np.zeros_like(at), np.full_like(at, chain.middle)
        if chain.mask is not None:
            low, high = chain.mask.seen(at, last, chain.middle)
        sees, rest = low < high, chain.middle % columns
        if not sees.any():
            raise BitlatheError(
                f"chain: no row sees any of the {chain.middle} columns of the middle; its mask is "
                f"{chain.mask}: let before and window meet them."
            )
        return cls(
            low=low[sees] // columns,
            high=-(-high[sees] // columns),
            kinds=(last - at + 1 < rows).astype(np.int64)[sees],
            short=chain.middle // columns if rest else -1,
            rows=(rows, chain.m % rows or rows),
            columns=(columns, rest or columns),
        )

    def counted(self) -> Counter[Kind]:
        """Return the blocks by kind."""
        found: Counter[Kind] = Counter()
        ends = self.high == self.short + 1
        turns = np.bincount(2 * (2 * (self.high - self.low) + ends) + self.kinds)
        for key in np.flatnonzero(turns).tolist():
            count = int(turns[key])
            (blocks, short), rows = divmod(key // 2, 2), key % 2
            if blocks == 1:
                found[Kind(rows, short, ALONE)] += count
                continue
            found[Kind(rows, 0, FIRST)] += count
            found[Kind(rows, short, LAST)] += count
            found[Kind(rows, 0, LATER)] += count * (blocks - 2)
        return +found

    def columns_seen(self) -> Counter[int]:
        """Return the blocks of columns that any rows see, by kind."""
        end = int(self.high.max()) + 1
        turns = np.bincount(self.low, minlength=end) - np.bincount(self.high, minlength=end)
        seen = np.flatnonzero(np.cumsum(turns) > 0)
        short = int((seen == self.short).sum())
        return +Counter({0: len(seen) - short, 1: short})
