"""VPTQ: vectors of weights from codebooks, columns in turn, and PV-Tuning's refinement of both.

VPTQ (arXiv 2409.17066): vectors run along the outputs of an input; centroids are those of k-means,
vectors weighted by the Hessian's diagonal; then columns are coded in turn, each making up for the
errors of those before, as in `gptq`. Further books code what the first leaves. PV-Tuning (arXiv
2405.14852) alternates continuous parameters and codes; here on the layer's outputs, both steps
exact: books by least squares under the Hessian (P), the codes of one column after the other (V);
the paper trains the model. Some inputs, those of the largest mean squares, may have a book of their
own (VPTQ's outliers); PV leaves that as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.numbers import share_of, whole_number
from .gptq import hessian_of, unit_feedback
from .layer import QuantizedLinear, rounded
from .options import check_share
from .parts import VectorWeights
from .task import Reals, Task

ENTRIES_MAX, LENGTH_MAX, BOOKS_MAX, ROUNDS_MAX = 1 << 16, 64, 4, 1000
CHUNK = 1 << 14  # vectors whose distances are in memory at once
RIDGE = 1e-9  # of the books' normal equations, beside their mean diagonal
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class VptqOptions:
    """Options of ``vptq``.

    Attributes
    ----------
    length : int
        Weights of a vector.
    entries : int
        Of each book.
    books : int
        1, or more for what is left.
    rounds : int
        Of k-means.
    refine : int
        Rounds of PV.
    outliers : float
        Share of the inputs that have a book of their own, rounded up.
    outlier_entries : int
        Of that book.
    damping : float
        Added to the diagonal of the Hessian, in units of its mean.
    seed : int
        Of the first entries of books.
    """

    length: int = 4
    entries: int = 256
    books: int = 1
    rounds: int = 20
    refine: int = 0
    outliers: float = 0.0
    outlier_entries: int = 256
    damping: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("length", self.length, 1, LENGTH_MAX)
        whole_number("entries", self.entries, 1, ENTRIES_MAX)
        whole_number("books", self.books, 1, BOOKS_MAX)
        whole_number("rounds", self.rounds, 0, ROUNDS_MAX)
        whole_number("refine", self.refine, 0, ROUNDS_MAX)
        whole_number("outlier_entries", self.outlier_entries, 1, ENTRIES_MAX)
        whole_number("seed", self.seed, 0)
        check_share("damping", self.damping)
        check_share("outliers", self.outliers)


def vptq(task: Task, options: VptqOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in vectors; refined as well."""
    base = rounded(task, "vptq", "vectors")
    hessian = hessian_of(task, options.damping)
    weights = task.weights.astype(np.float64)
    importance = np.diag(hessian)
    apart = _apart(importance, options)
    rest = np.delete(np.arange(len(importance)), apart)
    books = _books(weights[:, rest], importance[rest], options)
    own = replace(options, entries=options.outlier_entries, books=1)
    few = _books(weights[:, apart], importance[apart], own) if len(apart) else []
    made = _propagated(weights, hessian, (books, few), apart, len(task.activations))
    for _ in range(options.refine):
        yield replace(base, weights=made)
        better = refined(weights, hessian, made)
        if hessian_error(weights, hessian, better) >= hessian_error(weights, hessian, made):
            break
        made = better
    name = "vectors, refined" if options.refine else "vectors"
    yield replace(base, weights=made, chosen=name)


def hessian_error(weights: Reals, hessian: Reals, made: VectorWeights) -> float:
    """Return the squared error of the outputs of (outputs, inputs) weights, by their Hessian."""
    rest = weights - made.matrix()
    return float(np.einsum("ij,jk,ik->", rest, hessian, rest, optimize=True))


def vectors_of(weights: Reals, length: int) -> Reals:
    """Return (vectors, inputs, length) of (outputs, inputs) weights, filled with 0."""
    padded = np.pad(weights, ((0, -len(weights) % length), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, length, weights.shape[1]).swapaxes(1, 2))


def nearest(vectors: Reals, book: Reals) -> Ints:
    """Return the entry of a (entries, length) book nearest each of (n, length) vectors."""
    found = np.empty(len(vectors), np.int32)
    half = np.square(book).sum(axis=1) / 2
    for start in range(0, len(vectors), CHUNK):
        part = vectors[start : start + CHUNK]
        found[start : start + CHUNK] = np.argmin(half - part @ book.T, axis=1)
    return found


def kmeans(vectors: Reals, weights: Reals, entries: int, rounds: int, seed: int) -> Reals:
    """Return (entries, length) centroids of (n, length) vectors under (n,) weights.

    Lloyd's rounds from vectors drawn at random; an entry that nothing is near stays where it is.

    Parameters
    ----------
    vectors : (n, length) float64
    weights : (n,) float64
    entries, rounds, seed : int
    """
    random = np.random.default_rng(seed)
    count = min(entries, len(vectors))
    book = vectors[random.choice(len(vectors), count, replace=False)].copy()
    for _ in range(rounds):
        index = nearest(vectors, book)
        total = np.bincount(index, weights, count)
        there = total > 0
        for axis in range(book.shape[1]):
            sums = np.bincount(index, weights * vectors[:, axis], count)
            book[there, axis] = sums[there] / total[there]
    return book


def _books(weights: Reals, importance: Reals, options: VptqOptions) -> list[Reals]:
    """Return books of fp16 numbers, each fitted to what those before leave."""
    vectors = vectors_of(weights, options.length)
    each = np.broadcast_to(importance, vectors.shape[:2]).reshape(-1)
    rest, found = vectors.reshape(-1, options.length), []
    for number in range(options.books):
        book = kmeans(rest, each, options.entries, options.rounds, options.seed + number)
        book = book.astype(np.float16).astype(np.float64)
        found.append(book)
        rest = rest - book[nearest(rest, book)]
    return found


def _apart(importance: Reals, options: VptqOptions) -> NDArray[np.int64]:
    """Return the inputs that have a book of their own, ascending; at least one has none."""
    count = share_of(options.outliers, len(importance), up=True)
    return np.sort(np.argsort(-importance, kind="stable")[: min(count, len(importance) - 1)])


def _propagated(
    weights: Reals,
    hessian: Reals,
    given: tuple[list[Reals], list[Reals]],
    apart: NDArray[np.int64],
    tokens: int,
) -> VectorWeights:
    """Return weights coded column by column, largest inputs first, errors carried on.

    ``given``: the books, and those of the inputs that are apart.
    """
    order = np.argsort(-np.diag(hessian), kind="stable")
    feedback = unit_feedback(hessian[np.ix_(order, order)], tokens)
    length = given[0][0].shape[1]
    down = -(-len(weights) // length)
    every = [[np.zeros((down, weights.shape[1]), np.int32) for _ in books] for books in given]
    lone = np.isin(np.arange(weights.shape[1]), apart)
    errors = np.zeros((len(order), len(weights)))
    for at, column in enumerate(order):
        wanted = weights[:, column] + feedback[:at, at] @ errors[:at]
        rest = vectors_of(wanted[:, None], length)[:, 0]
        made = np.zeros_like(rest)
        own = int(lone[column])
        for book, index in zip(given[own], every[own], strict=True):
            index[:, column] = nearest(rest - made, book)
            made += book[index[:, column]]
        errors[at] = weights[:, column] - made.reshape(-1)[: len(weights)]

    def vectors(own: int, mine: NDArray[np.int64], **more: Any) -> VectorWeights:
        return VectorWeights(
            books=tuple(book.astype(np.float16) for book in given[own]),
            indices=tuple(index[:, mine] for index in every[own]),
            **more,
        )

    if not len(apart):
        return vectors(0, np.arange(weights.shape[1]), shape=weights.shape)
    few = vectors(1, apart, shape=(len(weights), len(apart)))
    kept = np.flatnonzero(~lone)
    return vectors(0, kept, shape=weights.shape, columns=apart, apart=few)


def refined(weights: Reals, hessian: Reals, made: VectorWeights) -> VectorWeights:
    """Return vectors after a round of PV: each book by least squares, then each column's codes."""
    for number in range(len(made.books)):
        made = _fitted(weights, hessian, made, number)
        made = _recoded(weights, hessian, made, number)
    return made


def _fitted(weights: Reals, hessian: Reals, made: VectorWeights, number: int) -> VectorWeights:
    """Return vectors with one book by least squares, in fp16; as they were where that is worse."""
    book, index = made.books[number], made.indices[number]
    entries, length = book.shape
    target = vectors_of(weights - made.matrix() + made.part(number), length)
    left = np.zeros((entries, entries))
    right = np.zeros((entries, length))
    for row, goal in zip(index, target, strict=True):
        place = np.zeros((len(hessian), entries))
        place[made.kept, row] = 1
        half = hessian @ place
        left += place.T @ half
        right += half.T @ goal
    left += RIDGE * np.mean(np.diag(left)) * np.eye(entries)
    right += RIDGE * np.mean(np.diag(left)) * book.astype(np.float64)
    found = np.linalg.solve(left, right).astype(np.float16)
    books = tuple(found if i == number else each for i, each in enumerate(made.books))
    tried = replace(made, books=books)
    better = hessian_error(weights, hessian, tried) < hessian_error(weights, hessian, made)
    return tried if better and np.isfinite(found).all() else made


def _recoded(weights: Reals, hessian: Reals, made: VectorWeights, number: int) -> VectorWeights:
    """Return vectors whose codes of one book are, column by column, the best beside the others."""
    book, index = made.books[number].astype(np.float64), made.indices[number].copy()
    rest = weights - made.matrix()  # (outputs, inputs), kept up to date
    rows = len(weights)
    for at, column in enumerate(made.kept):
        if hessian[column, column] <= 0:
            continue
        step = rest @ hessian[:, column] / hessian[column, column]
        held = book[index[:, at]]
        wanted = vectors_of(step[:, None], book.shape[1])[:, 0] + held
        index[:, at] = nearest(wanted, book)
        change = (book[index[:, at]] - held).reshape(-1)[:rows]
        rest[:, column] -= change
    indices = tuple(index if i == number else each for i, each in enumerate(made.indices))
    tried = replace(made, indices=indices)
    better = hessian_error(weights, hessian, tried) < hessian_error(weights, hessian, made)
    return tried if better else made
