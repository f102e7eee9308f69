"""JLCM: outputs that are alike share a book; books and who reads which are learned together.

JLCM (joint learning of codebook and mapping) groups similar neurons, reorders them, and learns a
small codebook for each group together with the codes. Here groups of inputs are brought to one
range as in any4, outputs start in the groups that k-means finds among books of their own, and two
steps go on in turn, neither of which can raise the error: each output goes to the book that costs
it least, and each entry becomes the weighted mean of the elements that are nearest to it. The
paper trains both by gradients through the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.numbers import whole_number
from .any4 import Any4Options, Ranged, half
from .layer import QuantizedLinear, rounded
from .task import Reals, Task
from .vptq import kmeans, nearest

STARTS = 20  # rounds of k-means over books
ROUNDS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class JlcmOptions(Any4Options):
    """Options of ``jlcm``, beside those of ``any4``.

    Attributes
    ----------
    bits, group : int
        See `any4.Any4Options`.
    books : int
        At most so many in a layer.
    rounds : int
        Of both steps; they end sooner where no output changes its book.
    seed : int
        Of the first groups.
    """

    books: int = 16
    rounds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        Any4Options.__post_init__(self)
        whole_number("books", self.books, 1)
        whole_number("rounds", self.rounds, 0, ROUNDS_MAX)
        whole_number("seed", self.seed, 0)


def jlcm(task: Task, options: JlcmOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in books that outputs share."""
    squares = np.square(task.activations).mean(axis=0)
    ranged = Ranged.of(task.weights.astype(np.float64), squares, options)
    books, shelf, _ = shared_books(ranged, options)
    made = ranged.coded(half(books), shelf)
    yield replace(rounded(task, "jlcm", f"{len(books)} books"), weights=made)


def shared_books(
    ranged: Ranged, options: JlcmOptions
) -> tuple[Reals, NDArray[np.int32], list[float]]:
    """Return books, the book of each output, and the error after each round.

    Parameters
    ----------
    ranged : Ranged
    options : JlcmOptions

    Returns
    -------
    (books, 2**bits) float64
        Ascending.
    (outputs,) int32
    list of float
        Costs times squared differences, summed over all elements; never rises.
    """
    own = ranged.best_books(options.bits)
    books = np.sort(kmeans(own, ranged.costs.sum(axis=1), options.books, STARTS, options.seed))
    shelf = nearest(own, books).astype(np.int32)
    books, errors = _refitted(ranged, books, shelf), []
    for _ in range(options.rounds):
        each = np.stack([_row_errors(ranged, book) for book in books])
        better = each.argmin(axis=0).astype(np.int32)
        errors.append(float(each[better, np.arange(len(better))].sum()))
        if (better == shelf).all() and len(errors) > 1 and errors[-1] == errors[-2]:
            break
        shelf = better
        books = _refitted(ranged, books, shelf)
    return books, shelf, errors


def _row_errors(ranged: Ranged, book: Reals) -> Reals:
    """Return what a (k,) book costs each output, (outputs,)."""
    codes = ranged.nearest(np.broadcast_to(book, (len(ranged.elements), len(book))))
    return np.asarray((ranged.costs * np.square(ranged.elements - book[codes])).sum(axis=1))


def _refitted(ranged: Ranged, books: Reals, shelf: NDArray[np.int32]) -> Reals:
    """Return books whose entries are the weighted means of what is nearest to them."""
    count = books.shape[1]
    place = shelf[:, None].astype(np.int64) * count + ranged.nearest(books[shelf])
    total = np.bincount(place.reshape(-1), ranged.costs.reshape(-1), books.size)
    sums = np.bincount(place.reshape(-1), (ranged.costs * ranged.elements).reshape(-1), books.size)
    means = np.divide(sums, total, out=books.reshape(-1).copy(), where=total > 0)
    return np.sort(means.reshape(books.shape), axis=1)
