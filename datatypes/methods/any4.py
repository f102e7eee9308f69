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
        Raised if books have more entries than outputs weights, or a minimum, a scale or an entry
        is beyond fp16.
    """
    found = Ranged.of(weights, importance, options)
    return found.coded(half(found.best_books(options.bits)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranged:
    """Weights whose groups are brought to one range, and what an element's error costs.

    Attributes
    ----------
    elements, costs : (outputs, inputs) float64
        Numbers from 0 to 2**bits - 1, but for roundings of the scale; scale squared times mean
        square of the input.
    scales, minima : (outputs, groups) float16
    group : int
    """

    elements: Reals
    costs: Reals
    scales: NDArray[np.float16]
    minima: NDArray[np.float16]
    group: int

    @classmethod
    def of(cls, weights: Reals, importance: Reals, options: Any4Options) -> "Ranged":
        """Shift and scale the groups of (outputs, inputs) weights under (inputs,) importance.

        Raises
        ------
        BitlatheError
            Raised if books have more entries than outputs weights, or a minimum or a scale is
            beyond fp16.
        """
        inputs = weights.shape[1]
        if inputs < 1 << options.bits:
            raise BitlatheError(
                f"bits: a book of {1 << options.bits} entries is larger than the {inputs} "
                "weight(s) of an output that it is learned from; pass fewer bits"
            )
        starts = np.arange(ceil_div(weights.shape[1], options.group)) * options.group
        low = np.minimum.reduceat(weights, starts, axis=1)
        high = np.maximum.reduceat(weights, starts, axis=1)
        minima = half(low)
        scales = half((high - low) / ((1 << options.bits) - 1))
        place = np.arange(weights.shape[1]) // options.group
        wide, shift = scales.astype(np.float64)[:, place], minima.astype(np.float64)[:, place]
        elements = np.divide(weights - shift, wide, out=np.zeros_like(weights), where=wide > 0)
        costs = np.square(wide) * importance
        costs[costs.sum(axis=1) == 0] = 1  # nothing says which elements matter
        return cls(
            elements=elements, costs=costs, scales=scales, minima=minima, group=options.group
        )

    def best_books(self, bits: int) -> Reals:
        """Return the (outputs, 2**bits) books of least error, ascending."""
        from ..kernels.searches.clusters import best_means

        order = np.argsort(self.elements, axis=1, kind="stable")
        means = np.zeros((len(order), 1 << bits))
        best_means(
            np.take_along_axis(self.elements, order, axis=1),
            np.take_along_axis(self.costs, order, axis=1),
            means,
        )
        return means

    def nearest(self, books: Reals) -> NDArray[np.uint8]:
        """Return the (outputs, inputs) places of the nearest entries of (outputs, k) books."""
        from ..kernels.searches.clusters import nearest_entries

        codes = np.zeros(self.elements.shape, np.uint8)
        nearest_entries(self.elements, np.ascontiguousarray(books), codes)
        return codes

    def coded(
        self, books: NDArray[np.float16], shelf: NDArray[np.int32] | None = None
    ) -> LookupWeights:
        """Return the weights in (outputs, k) books, or in the (books, k) that a shelf names."""
        books = np.sort(books, axis=1)
        own = books if shelf is None else books[shelf]
        return LookupWeights(
            shape=self.elements.shape,
            bits=books.shape[1].bit_length() - 1,
            group=self.group,
            codes=self.nearest(own.astype(np.float64)),
            books=books,
            scales=self.scales,
            minima=self.minima,
            shelf=shelf,
        )


def half(x: Reals) -> NDArray[np.float16]:
    """Return (...) numbers in fp16.

    Raises
    ------
    BitlatheError
        Raised if one is beyond it.
    """
    with np.errstate(over="ignore"):
        found = x.astype(np.float16)
    if not np.isfinite(found).all():
        raise BitlatheError("weights: minima, scales and books are fp16, whose largest is 65504")
    return found
