"""LQ-LoRA: weights as a quantized matrix and one of low rank, each fitted to what the other leaves.

LQ-LoRA (arXiv 2311.12023, algorithm 1): the low-rank part is that of ``W - Q``, Q the rounded ``W
- L``, in turn until the error no longer falls. Columns are weighted by the root mean square of
their inputs, in the place of the paper's Fisher information. The paper trains L afterwards; that
is not done here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..base.numbers import whole_number
from ..quantize import quantize
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from .layer import QuantizedLinear, rounded
from .low_rank import LowRank
from .options import check_flag
from .task import Reals, Task

RANK_MAX = ROUNDS_MAX = 4096
LEAST = 1e-4  # of the largest weight of a column


@dataclass(frozen=True, slots=True, kw_only=True)
class LqLoraOptions:
    """Options of ``lq_lora``.

    Attributes
    ----------
    rank : int
    rounds : int
        At most so many.
    weighted : bool
        Whether columns are weighted by their inputs.
    """

    rank: int = 64
    rounds: int = 100
    weighted: bool = True

    def __post_init__(self) -> None:
        whole_number("rank", self.rank, 1, RANK_MAX)
        whole_number("rounds", self.rounds, 1, ROUNDS_MAX)
        check_flag("weighted", self.weighted)


def alternate(
    weights: Reals, scheme: Scheme, rank: int, rounds: int, columns: Reals
) -> tuple[QuantizedTensor, LowRank, list[float]]:
    """Return the best pair of a quantized and a low-rank matrix, and the error of each round.

    Parameters
    ----------
    weights : (outputs, inputs) float64
    scheme : Scheme
    rank, rounds : int
    columns : (inputs,) float64
        Weights of errors, above 0.

    Returns
    -------
    QuantizedTensor
    LowRank
    list of float
        Weighted squared errors, the last one that of the pair unless rounds came to an end before
        the error rose.
    """
    errors: list[float] = []
    low = _low_rank(weights, rank, columns)
    best: tuple[QuantizedTensor, LowRank] | None = None
    for _ in range(rounds):
        made = quantize((weights - low.matrix()).astype(np.float32), scheme)
        rest = weights - made.dequantize(np.float64)
        low = _low_rank(rest, rank, columns)
        error = float(np.square((rest - low.matrix()) * columns).sum())
        if errors and error >= errors[-1]:
            break
        errors.append(error)
        best = made, low
    assert best is not None
    return *best, errors


def _low_rank(rest: Reals, rank: int, columns: Reals) -> LowRank:
    found = LowRank.of(rest * columns, rank)
    return replace(found, right=(found.right / columns).astype(np.float16))


def lq_lora(task: Task, options: LqLoraOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task as a quantized matrix and a low-rank one."""
    columns = np.ones(task.weights.shape[1])
    if options.weighted:
        size = np.sqrt(np.square(task.activations).mean(axis=0))
        columns = np.maximum(size / size.max(), LEAST)
    weights = task.weights.astype(np.float64)
    made, low, errors = alternate(weights, task.scheme, options.rank, options.rounds, columns)
    name = f"rank={low.rank}, {len(errors)} rounds"
    yield replace(rounded(task, "lq_lora", name), weights=made, low_rank=low)


def stored_bits(bits: int, scale_bits: int, block: int, outer_bits: int, outer: int) -> float:
    """Return LQ-LoRA's bits a weight: ``b + b0 / B0 + b1 / (B0 B1)``, scales of scales counted.

    Parameters
    ----------
    bits, scale_bits, outer_bits : int
        Of a weight, of a scale, of a scale of scales.
    block, outer : int
        Weights that share a scale, scales that share a scale of theirs.

    Examples
    --------
    >>> round(stored_bits(4, 8, 64, 32, 256), 3)
    4.127
    """
    return bits + scale_bits / block + outer_bits / (block * outer)
