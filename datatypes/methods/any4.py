"""any4: groups brought to one range, then a book of 16 values for each output, learned.

any4 (arXiv 2507.04610): each group of a row is shifted and scaled to 0 .. 2**b - 1 by its least
and largest weight; the row's weights are then rounded to a book of 2**b values of its own. Here
the clusters are those of least error, weighted by what an element's error does to the outputs,
scale squared times mean square of its input, found by dynamic programming (`kernels.searches`);
the paper takes rounds of k-means.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..base.numbers import ceil_div, whole_number
from .layer import QuantizedLinear, rounded
from .parts import LookupWeights
from .task import Reals, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Any4Options:
    """Options of ``any4``.

    Attributes
    ----------
    bits : int
        Of a code: 2 to 8.
    group : int
        Inputs that share a scale and a minimum.
    """

    bits: int = 4
    group: int = 128

    def __post_init__(self) -> None:
        whole_number("bits", self.bits, 2, 8)
        whole_number("group", self.group, 1)


def any4(task: Task, options: Any4Options) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in books of its outputs."""
    squares = np.square(task.activations).mean(axis=0)
    made = looked_up(task.weights.astype(np.float64), squares, options)
    yield replace(rounded(task, "any4", "books"), weights=made)


def looked_up(weights: Reals, importance: Reals, options: Any4Options) -> LookupWeights:
    """Return (outputs, inputs) weights in any4.

    Parameters
    ----------
    weights : (outputs, inputs) float64
    importance : (inputs,) float64
        Mean square of each input.
    options : Any4Options

    Raises
    ------
    BitlatheError
        Raised if a minimum, a scale or an entry is beyond fp16.
    """
    from ..kernels.searches.clusters import best_means, nearest_entries

    starts = np.arange(ceil_div(weights.shape[1], options.group)) * options.group
    low = np.minimum.reduceat(weights, starts, axis=1)
    high = np.maximum.reduceat(weights, starts, axis=1)
    minima = _half(low)
    scales = _half((high - low) / ((1 << options.bits) - 1))
    place = np.arange(weights.shape[1]) // options.group
    wide, shift = scales.astype(np.float64)[:, place], minima.astype(np.float64)[:, place]
    scaled = np.divide(weights - shift, wide, out=np.zeros_like(weights), where=wide > 0)
    costs = np.square(wide) * importance
    costs[costs.sum(axis=1) == 0] = 1  # nothing says which elements matter
    order = np.argsort(scaled, axis=1, kind="stable")
    means = np.zeros((len(weights), 1 << options.bits))
    best_means(
        np.take_along_axis(scaled, order, axis=1), np.take_along_axis(costs, order, axis=1), means
    )
    books = np.sort(_half(means), axis=1)
    codes = np.zeros(weights.shape, np.uint8)
    nearest_entries(scaled, books.astype(np.float64), codes)
    return LookupWeights(
        shape=weights.shape,
        bits=options.bits,
        group=options.group,
        codes=codes,
        books=books,
        scales=scales,
        minima=minima,
    )


def _half(x: Reals) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        found = x.astype(np.float16)
    if not np.isfinite(found).all():
        raise BitlatheError("weights: any4's minima and scales are fp16, whose largest is 65504")
    return found
