"""BitStack: weights as a sum of sign planes times matrices of low rank, cut off anywhere.

BitStack (arXiv 2410.23918): columns are scaled by the size of their inputs; of what is left each
block keeps the signs, a bit a weight, and the best product of a rank of the magnitudes; the next
takes the rest. Memory is given out block by block, each to the matrix to which it is worth most.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..base.errors import BitlatheError
from ..base.numbers import whole_number
from .layer import QuantizedLinear, rounded
from .low_rank import LowRank
from .options import check_flag
from .parts import SignStack
from .task import Reals, Task, positive_scales

RANK_MAX, BLOCKS_MAX = 4096, 64
LEAST = 1e-4  # of the largest column's scale


@dataclass(frozen=True, slots=True, kw_only=True)
class BitstackOptions:
    """Options of ``bitstack``.

    Attributes
    ----------
    blocks : int
    rank : int
        Of each block's magnitudes.
    scaled : bool
        Whether columns are scaled by their inputs.
    """

    blocks: int = 4
    rank: int = 16
    scaled: bool = True

    def __post_init__(self) -> None:
        whole_number("blocks", self.blocks, 1, BLOCKS_MAX)
        whole_number("rank", self.rank, 1, RANK_MAX)
        check_flag("scaled", self.scaled)


def stack(weights: Reals, blocks: int, rank: int) -> SignStack:
    """Return (outputs, inputs) weights as sign planes times magnitudes of a rank."""
    rest = weights.astype(np.float64)
    signs, left, right = [], [], []
    for _ in range(blocks):
        low = LowRank.of(np.abs(rest), rank)
        minus = np.signbit(rest)
        signs.append(np.packbits(minus))
        left.append(low.left)
        right.append(low.right)
        rest = rest - np.where(minus, -low.matrix(), low.matrix())
    return SignStack(shape=weights.shape, signs=tuple(signs), left=tuple(left), right=tuple(right))


def bitstack(task: Task, options: BitstackOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task as a stack, its columns scaled by their inputs."""
    found = rounded(task, "bitstack", f"{options.blocks} blocks of rank {options.rank}")
    weights, divisors = task.weights.astype(np.float64), None
    if options.scaled:
        size = np.sqrt(np.square(task.activations).mean(axis=0))
        divisors = positive_scales(np.maximum(size / size.max(), LEAST))
        weights = weights * divisors
    made = stack(weights, options.blocks, options.rank)
    yield replace(found, weights=made, divisors=divisors)


def first_blocks(layer: QuantizedLinear) -> Iterator[QuantizedLinear]:
    """Yield a stack cut behind its first block, its second and so on to the last."""
    weights = layer.weights
    if isinstance(weights, SignStack):
        for blocks in range(1, len(weights.signs) + 1):
            chosen = f"{blocks} blocks of rank {weights.left[0].shape[1]}"
            yield replace(layer, weights=weights.first(blocks), chosen=chosen)


def share_out(
    gains: Sequence[Sequence[float]], bits: Sequence[int], budget: int
) -> tuple[int, ...]:
    """Return how many blocks of each matrix a budget holds, the most valuable first.

    Blocks of a matrix come in their order. The last block that does not fit ends it, so that
    what is left is less than one block of the matrix that was next.

    Parameters
    ----------
    gains : sequence of sequences of float
        What each block of each matrix takes off the error.
    bits : sequence of int
        Of a block of each matrix.
    budget : int
        Bits of all blocks.

    Raises
    ------
    BitlatheError
        Raised if the sequences are not of the same length.
    """
    if len(gains) != len(bits):
        raise BitlatheError(f"bits: {len(gains)} matrices, {len(bits)} sizes of blocks")
    taken, left = [0] * len(gains), budget
    queue = [(-each[0] / bits[i], i) for i, each in enumerate(gains) if len(each)]
    heapq.heapify(queue)
    while queue:
        _, i = heapq.heappop(queue)
        if bits[i] > left:
            break
        left -= bits[i]
        taken[i] += 1
        if taken[i] < len(gains[i]):
            heapq.heappush(queue, (-gains[i][taken[i]] / bits[i], i))
    return tuple(taken)
