"""VPTQ: vectors of weights from codebooks, columns in turn, and PV-Tuning's refinement of both.

VPTQ (arXiv 2409.17066): vectors run along the outputs of an input; centroids are those of k-means,
vectors weighted by the Hessian's diagonal; then columns are coded in turn, each making up for the
errors of those before, as in `gptq`. Further books code what the first leaves. PV-Tuning (arXiv
2405.14852) alternates continuous parameters and codes; here on the layer's outputs, both steps
exact: books by least squares under the Hessian (P), the codes of one column after the other (V);
the paper trains the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.numbers import whole_number
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
    damping : float
        Of the Hessian, see `gptq.GptqOptions`.
    seed : int
    """

    length: int = 4
    entries: int = 256
    books: int = 1
    rounds: int = 20
    refine: int = 0
    damping: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("length", self.length, 1, LENGTH_MAX)
        whole_number("entries", self.entries, 1, ENTRIES_MAX)
        whole_number("books", self.books, 1, BOOKS_MAX)
        whole_number("rounds", self.rounds, 0, ROUNDS_MAX)
        whole_number("refine", self.refine, 0, ROUNDS_MAX)
        whole_number("seed", self.seed, 0)
        check_share("damping", self.damping)


def vptq(task: Task, options: VptqOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in vectors; refined as well."""
    base = rounded(task, "vptq", "vectors")
    hessian = hessian_of(task, options.damping)
    weights = task.weights.astype(np.float64)
    books = _books(weights, np.diag(hessian), options)
    made = _propagated(weights, hessian, books, len(task.activations))
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


def _propagated(weights: Reals, hessian: Reals, books: list[Reals], tokens: int) -> VectorWeights:
    """Return weights coded column by column, largest inputs first, errors carried on."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    feedback = unit_feedback(hessian[np.ix_(order, order)], tokens)
    length = books[0].shape[1]
    down = -(-len(weights) // length)
    indices = [np.zeros((down, weights.shape[1]), np.int32) for _ in books]
    errors = np.zeros((len(order), len(weights)))
    for at, column in enumerate(order):
        wanted = weights[:, column] + feedback[:at, at] @ errors[:at]
        rest = vectors_of(wanted[:, None], length)[:, 0]
        made = np.zeros_like(rest)
        for book, index in zip(books, indices, strict=True):
            index[:, column] = nearest(rest - made, book)
            made += book[index[:, column]]
        errors[at] = weights[:, column] - made.reshape(-1)[: len(weights)]
    return VectorWeights(
        shape=weights.shape,
        books=tuple(book.astype(np.float16) for book in books),
        indices=tuple(indices),
    )


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
    own = replace(made, books=(book,), indices=(index,))
    target = vectors_of(weights - made.matrix() + own.matrix(), length)
    left = np.zeros((entries, entries))
    right = np.zeros((entries, length))
    for row, goal in zip(index, target, strict=True):
        place = np.zeros((len(row), entries))
        place[np.arange(len(row)), row] = 1
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
    for column in range(weights.shape[1]):
        if hessian[column, column] <= 0:
            continue
        step = rest @ hessian[:, column] / hessian[column, column]
        held = book[index[:, column]]
        wanted = vectors_of(step[:, None], book.shape[1])[:, 0] + held
        index[:, column] = nearest(wanted, book)
        change = (book[index[:, column]] - held).reshape(-1)[:rows]
        rest[:, column] -= change
    indices = tuple(index if i == number else each for i, each in enumerate(made.indices))
    tried = replace(made, indices=indices)
    better = hessian_error(weights, hessian, tried) < hessian_error(weights, hessian, made)
    return tried if better else made
