"""A chain of layers: a product, what the vector unit does with its results, a product of those.

Attention is one (queries times keys, softmax, probabilities times values), and so is an MLP (gate
and up, activation, down). Between the products stand M x N1 results, which fused layers never send
to DRAM: they are made, worked on and used block by block.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.hashed import Hashed, hashed_once
from ...datatypes.base.numbers import ceil_div
from ...workloads.sizes import COUNTER_LIMIT, check_size
from ...workloads.vector_step import OPERATIONS, Operation, summed
from ..operands import OperandBits

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """What the rows of the middle see, as of `workloads.gemm.Gemm`.

    Attributes
    ----------
    rows_per_token : int
        Rows that belong to one token, one after another.
    before : int
        Columns ahead of the first token's own.
    window : int or None
        Columns that a token sees at most, up to its own; None: from the first.
    """

    rows_per_token: int = 1
    before: int = 0
    window: int | None = None

    def seen(self, first: Ints, last: Ints, columns: int) -> tuple[Ints, Ints]:
        """Return the columns ``low`` to ``high - 1`` that any of some rows sees.

        Parameters
        ----------
        first, last : int64 array
            Of each block its first row, and its last.
        columns : int
            Columns that there are.

        Examples
        --------
        >>> [each.item() for each in Mask(window=3).seen(np.int64(4), np.int64(5), 8)]
        [2, 6]
        """
        high = self.before + last // self.rows_per_token + 1
        low = np.zeros_like(first)
        if self.window is not None:
            low = self.before + first // self.rows_per_token - self.window + 1
        return np.clip(low, 0, columns), np.clip(high, 0, columns)


class Steps(NamedTuple):
    """What the vector unit does in a chain: operations on elements, and on their rows.

    Attributes
    ----------
    alone : Operation
        On a block of the middle that holds all that its rows see: the plain formula.
    first, later : Operation
        On the first of several blocks of the same rows, and on each of the others.
    carry : Operation
        On the sums of the rows, for each block but the first: what adds the block's to them.
    finish : Operation
        On the sums of the rows, after the last of several blocks.
    state : int
        Numbers a row that the unit keeps from block to block, each as an unfinished sum.
    quantize : Operation
        On the middle, where the second product takes it in another format than results have; a
        row is a group of ``group`` elements.
    group : int
        Elements of a row that share a scale; 0: all that a block has of the row.
    """

    alone: Operation
    first: Operation
    later: Operation
    carry: Operation
    finish: Operation = Operation()
    state: int = 0
    quantize: Operation = Operation()
    group: int = 0


SOFTMAX = Steps(
    alone=OPERATIONS["softmax"],
    # running maximum, difference, exponential, sum; the product with 1 / sum waits for the last
    first=Operation(adds=3, specials=1),
    # a row: its maximum so far, difference to it, exponential of that: the factor of what was
    # summed so far; product of the sum with it, and sum
    later=Operation(adds=3, specials=1, row_adds=3, row_multiplies=1, row_specials=1),
    # product of the sums of values with the row's factor, sum
    carry=Operation(adds=1, multiplies=1),
    # 1 / sum of the row; product
    finish=Operation(multiplies=1, row_specials=1),
    state=2,
)
"""Softmax with a running maximum and sum: FlashAttention, algorithm 1 (arXiv 2205.14135), with the
division after the last block (FlashAttention-2, arXiv 2307.08691, section 3.1.1)."""


def activation(operations: tuple[str, ...]) -> Steps:
    """Return the steps of operations on each element of the middle alone.

    Parameters
    ----------
    operations : tuple of str
        Of `workloads.vector_step.OPERATIONS`.

    Examples
    --------
    >>> activation(("silu", "multiply")).alone
    Operation(adds=1, multiplies=2, specials=2, row_adds=0, row_multiplies=0, row_specials=0)
    """
    each = summed(OPERATIONS[name] for name in operations)
    return Steps(alone=each, first=each, later=each, carry=Operation(adds=1))


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes(Hashed):
    """A vector unit as a chain finds it: its lanes, and the energy of their operations.

    Attributes
    ----------
    lanes : int
    special_cycles : int
        Clocks of a lane of a special function; other operations take one.
    add_pj, multiply_pj, special_pj : float
    overlap : bool
        Whether the unit works beside the array.
    """

    lanes: int
    special_cycles: int = 1
    add_pj: float = 0.0
    multiply_pj: float = 0.0
    special_pj: float = 0.0
    overlap: bool = True

    def __post_init__(self) -> None:
        for name in ("lanes", "special_cycles"):
            check_size(f"vector unit: {name}", getattr(self, name))

    def cycles(self, work: Operation) -> int:
        """Return the clocks of some elementary operations."""
        adds, multiplies, specials = _sums(work)
        return ceil_div(adds + multiplies + specials * self.special_cycles, self.lanes)

    def energy_pj(self, work: Operation) -> float:
        """Return the energy of some elementary operations."""
        adds, multiplies, specials = _sums(work)
        return adds * self.add_pj + multiplies * self.multiply_pj + specials * self.special_pj


def _sums(work: Operation) -> tuple[int, int, int]:
    return (
        work.adds + work.row_adds,
        work.multiplies + work.row_multiplies,
        work.specials + work.row_specials,
    )


def scaled(work: Operation, elements: int, rows: int) -> Operation:
    """Return the elementary operations of ``work`` on elements in rows."""
    return Operation(*(n * elements for n in work[:3]), *(n * rows for n in work[3:]))


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Hashed):
    """Two products with steps of the vector unit between them, in equal instances.

    Attributes
    ----------
    m : int
        Rows: tokens, or the queries of all heads that share keys and values.
    middle : int
        Columns of the first product's results, which the second sums over: keys, inner width.
    out : int
        Columns of the second product's results.
    inner : int
        What the first product sums over.
    instances : int
        Chains that share nothing, one after another: K/V heads of all sequences.
    matrices : int
        Products with the same inputs that make the middle: 2 for gate and up.
    first, second : OperandBits
        Stored bits of both products' operands, the clocks of their steps.
    first_pj, second_pj : float or None
        Energy of a unit of the array in a clock of a step of each; None: the chip's.
    steps : Steps
    mask : Mask or None
        Which columns of the middle a row sees; None: all.
    """

    m: int
    middle: int
    out: int
    inner: int
    instances: int = 1
    matrices: int = 1
    first: OperandBits
    second: OperandBits
    first_pj: float | None = None
    second_pj: float | None = None
    steps: Steps = SOFTMAX
    mask: Mask | None = None

    def __post_init__(self) -> None:
        for name in ("m", "middle", "out", "inner", "instances", "matrices"):
            object.__setattr__(self, name, check_size(f"chain: {name}", getattr(self, name)))
        macs = self.m * self.middle * (self.inner * self.matrices + self.out) * self.instances
        if macs >= COUNTER_LIMIT:
            raise BitlatheError(
                f"chain: {macs} multiply-accumulates do not fit the 64-bit counters; use fewer "
                "rows, columns or instances."
            )

    @property
    def spills(self) -> bool:
        """Whether its sums may leave the chip unfinished: rows see all, and the unit keeps none."""
        return self.mask is None and not self.steps.state

    @property
    def rows_per_token(self) -> int:
        """Rows that see the same columns: blocks of rows hold whole tokens."""
        return 1 if self.mask is None else min(self.mask.rows_per_token, self.m)
