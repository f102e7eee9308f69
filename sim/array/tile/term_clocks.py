"""Clocks of a layer whose zero terms are skipped, row fold by row fold.

They depend on the weights: on those that are given (`CountedClocks`), or on a seeded stand-in of
the layer's shape, quantized by its scheme (`StandInClocks`). Either way the clocks of a group are
those of `model.group_clocks`, which equal the clock-by-clock array's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ....arch.schema import Arch
from ....datatypes.base.errors import BitlatheError
from ....datatypes.base.numbers import ceil_div
from ....datatypes.quantize import quantize
from ....datatypes.schemes.scheme import Scheme
from ....datatypes.tensors.tensor import QuantizedTensor
from ....workloads.gemm import Gemm
from .model import TileArray
from .skipping import pe_integers

SAMPLE_WEIGHTS, MOST_FOLDS = 1 << 19, 256  # of a stand-in, at most; at least one row fold
SEED = 20250301
STUDENT_T_FREEDOM = 4

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, int]], NDArray[Any]]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "student_t": lambda rng, shape: rng.standard_t(STUDENT_T_FREEDOM, shape),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldClocks:
    """Clocks of one row fold of outputs over K, for one column fold of tokens.

    Attributes
    ----------
    issue, first : int
        Clocks in which terms enter: all, and those of the first group.
    rescale : int
        Clocks between groups, and for which a group waits until the rescale unit is done with
        the one before it in the fold.
    busy : float
        PE clocks with a term, for one token: a PE that waits, or whose chunk is zero, is idle.
        With scope ``lane``, lane clocks over lanes.
    """

    issue: int
    first: int
    rescale: int
    busy: float


class TermClocks(Protocol):
    """Where the clocks of row folds come from.

    ``positional``: folds at different places differ.
    """

    @property
    def positional(self) -> bool:
        """Whether the place of a fold matters."""

    def fold(self, first: int, rows: int, k: int) -> FoldClocks:
        """Return the clocks of outputs ``first`` to ``first + rows`` over the first k inputs."""


def skipping_array(arch: Arch, scheme: Scheme, rescale_bits: int) -> TileArray:
    """Return a chip's array as the closed forms take it, for weights of a scheme.

    Groups are those of the scheme's scales along K; rows wait for each other at their ends.
    """
    pe = arch.pe.record
    return TileArray(
        rows=arch.array.rows,
        cols=arch.array.columns,
        lanes=pe.lanes,
        group_size=scheme.granularity.columns or None,
        rescale_cycles=rescale_bits,
        group_gap=pe.group_gap,
        skip_zero_terms=True,
        scope=pe.skip_sync,
    )


def nonzero_mask(q: QuantizedTensor) -> NDArray[np.bool_]:
    """Return (rows, columns, terms): which terms of each weight are not zero."""
    integers, decoder = pe_integers(q)
    return np.asarray(decoder.man[decoder.rows(integers)] != 0)


def sample_folds(rows: int, k: int) -> int:
    """Return how many row folds a stand-in has."""
    return max(1, min(MOST_FOLDS, SAMPLE_WEIGHTS // (rows * k)))


def fold_clocks(mask: NDArray[np.bool_], array: TileArray) -> tuple[NDArray[np.int64], float]:
    """Return the issue clocks of every group of many row folds, and their busy PE clocks.

    The clocks are those of `model.group_clocks`, all folds at once.

    Parameters
    ----------
    mask : (folds, rows, K, terms) ndarray of bool
        Which terms are not zero.
    array : TileArray
        Its lanes, group size and scope count.

    Returns
    -------
    clocks : (folds, groups) ndarray of int64
    busy : float
        PE clocks with a term, for one token, over all folds.
    """
    folds, rows, k, terms = mask.shape
    groups, size, _ = array.groups_of(k)
    clocks, busy = np.empty((folds, groups), np.int64), 0
    for g in range(groups):
        part = mask[:, :, g * size : (g + 1) * size]
        chunks = ceil_div(part.shape[2], array.lanes)
        short = chunks * array.lanes - part.shape[2]
        padded = np.pad(part, ((0, 0), (0, 0), (0, short), (0, 0)))
        need = padded.reshape(folds, rows, chunks, array.lanes, terms)
        if array.scope == "lane":
            alone = np.count_nonzero(need, axis=4)
            busy += int(alone.sum())
            clocks[:, g] = np.maximum(alone, 1).sum(axis=2).max(axis=(1, 2))
            continue
        slots = np.count_nonzero(need.any(axis=3), axis=3)  # folds, rows, chunks
        busy += int(slots.sum())
        taken = np.maximum(slots, 1)
        row = array.scope == "row"
        clocks[:, g] = taken.sum(axis=2).max(axis=1) if row else taken.max(axis=1).sum(axis=1)
    return clocks, busy / array.lanes if array.scope == "lane" else float(busy)


def _waits(clocks: NDArray[np.int64], array: TileArray) -> NDArray[np.int64]:
    """Return the clocks of each group but the first in which nothing enters (`array.groups`)."""
    wait: NDArray[np.int64] = np.maximum(array.rescale_cycles - clocks[:, 1:], array.group_gap)
    return wait


class CountedClocks:
    """Clocks of given weights.

    Parameters
    ----------
    mask : (N, K, terms) ndarray of bool
        Which terms are not zero.
    array : TileArray
    """

    positional = True

    def __init__(self, mask: NDArray[np.bool_], array: TileArray) -> None:
        self._mask = mask
        self._array = array
        self._kept: dict[tuple[int, int, int], FoldClocks] = {}

    @classmethod
    def of(cls, weights: Any, scheme: Scheme, array: TileArray, gemm: Gemm) -> "CountedClocks":
        """Quantize a layer's (N, K) weights by a scheme, unless they are already, and count.

        Parameters
        ----------
        weights : (N, K) array_like or QuantizedTensor
        scheme : Scheme
        array : TileArray
        gemm : Gemm
            The layer; its n and k are the shape that the weights must have.

        Raises
        ------
        BitlatheError
            Weights of another shape, or quantized by another scheme.
        """
        where = f"weights[{gemm.name!r}]"
        if tuple(weights.shape) != (gemm.n, gemm.k):
            raise BitlatheError(
                f"{where}: shape {tuple(weights.shape)}, the layer's is ({gemm.n}, {gemm.k})"
            )
        if not isinstance(weights, QuantizedTensor):
            weights = quantize(weights, scheme)
        elif weights.scheme != scheme:
            raise BitlatheError(f"{where}: quantized as {weights.scheme}, the chip has {scheme}")
        return cls(nonzero_mask(weights), array)

    def fold(self, first: int, rows: int, k: int) -> FoldClocks:
        """Return the clocks of outputs ``first`` to ``first + rows`` over the first k inputs."""
        place = (first, rows, k)
        if place not in self._kept:
            clocks, busy = fold_clocks(self._mask[None, first : first + rows, :k], self._array)
            self._kept[place] = FoldClocks(
                issue=int(clocks.sum()),
                first=int(clocks[0, 0]),
                rescale=int(_waits(clocks, self._array).sum()),
                busy=busy,
            )
        return self._kept[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInClocks:
    """Expected clocks: the mean over a seeded sample of row folds, rounded to whole clocks.

    Attributes
    ----------
    scheme : Scheme
    k : int
        Inputs of the layer.
    distribution : {"gaussian", "student_t"}
    array : TileArray
    """

    scheme: Scheme
    k: int
    distribution: str
    array: TileArray
    positional: bool = False

    def fold(self, first: int, rows: int, k: int) -> FoldClocks:
        """Return the expected clocks of a row fold; ``first`` does not matter."""
        return _expected(self.scheme, self.k, self.distribution, self.array, rows, k)


@lru_cache(maxsize=8)
def stand_in_terms(scheme: Scheme, k: int, rows: int, distribution: str) -> NDArray[np.bool_]:
    """Return which terms of seeded random weights in a scheme are not zero.

    Parameters
    ----------
    scheme : Scheme
    k, rows : int
        Shape of the weights: inputs and outputs.
    distribution : {"gaussian", "student_t"}

    Returns
    -------
    (rows, k, terms) ndarray of bool
    """
    rng = np.random.default_rng(SEED)
    sample = DISTRIBUTIONS[distribution](rng, (rows, k)).astype(np.float32)
    return nonzero_mask(quantize(sample, scheme))


@lru_cache(maxsize=4096)
def _expected(
    scheme: Scheme, layer_k: int, distribution: str, array: TileArray, rows: int, k: int
) -> FoldClocks:
    folds = sample_folds(array.rows, layer_k)
    mask = stand_in_terms(scheme, layer_k, folds * array.rows, distribution)
    part = mask.reshape(folds, array.rows, layer_k, -1)[:, :rows, :k]
    clocks, busy = fold_clocks(part, array)
    return FoldClocks(
        issue=_mean(int(clocks.sum()), folds),
        first=_mean(int(clocks[:, 0].sum()), folds),
        rescale=_mean(int(_waits(clocks, array).sum()), folds),
        busy=busy / folds,
    )


def _mean(total: int, count: int) -> int:
    """Return total / count to the nearest whole number."""
    return (2 * total + count) // (2 * count)
