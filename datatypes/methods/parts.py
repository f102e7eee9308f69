"""What may stand beside a layer's quantized matrix or in its place: numbers and their bits.

Each part gives back the (outputs, inputs) matrix that it means, in float64, and counts its bits;
``widths`` are the bits of its whole numbers, in which files hold them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from .task import Reals

FP16_BITS = 16


def bits_of_index(count: int) -> int:
    """Return the bits that tell so many things apart; 0 for one."""
    return max(count - 1, 0).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sparse:
    """Single weights in fp16 with their places; 0 elsewhere.

    Attributes
    ----------
    shape : (int, int)
        Outputs and inputs.
    places : (n,) int64
        output x inputs + input, ascending.
    values : (n,) float16
    """

    shape: tuple[int, ...]
    places: NDArray[np.int64]
    values: NDArray[np.float16]

    @classmethod
    def of(cls, weights: NDArray[np.floating], apart: NDArray[np.bool_]) -> "Sparse":
        """Take the marked ones of (outputs, inputs) weights.

        Raises
        ------
        BitlatheError
            Raised if one is beyond fp16.
        """
        places = np.flatnonzero(apart)
        with np.errstate(over="ignore"):
            values = weights.reshape(-1)[places].astype(np.float16)
        if not np.isfinite(values).all():
            raise BitlatheError("weights: an outlier is beyond fp16, whose largest is 65504")
        return cls(shape=weights.shape, places=places, values=values)

    @property
    def widths(self) -> dict[str, int]:
        """Bits of a place."""
        return {"places": bits_of_index(self.shape[0] * self.shape[1])}

    @property
    def total_bits(self) -> int:
        """Stored bits: each value and its place in the matrix."""
        return len(self.values) * (FP16_BITS + self.widths["places"])

    def matrix(self) -> Reals:
        """Return the (outputs, inputs) matrix."""
        found = np.zeros(self.shape[0] * self.shape[1])
        found[self.places] = self.values
        return found.reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorWeights:
    """A matrix of vectors along its outputs, each the sum of an entry of every codebook.

    Attributes
    ----------
    shape : (int, int)
        Outputs and inputs; the last vector of a column is cut where outputs do not divide.
    books : tuple of (entries, length) float16
        The first holds vectors, each further one what is left of them.
    indices : tuple of (vectors, inputs) int32
        Entry of each book; of inputs that are not apart.
    columns : (n,) int64 or None
        Inputs that have a book of their own, ascending.
    apart : VectorWeights or None
        The (outputs, n) vectors of these.
    """

    shape: tuple[int, ...]
    books: tuple[NDArray[np.float16], ...]
    indices: tuple[NDArray[np.int32], ...]
    columns: NDArray[np.int64] | None = None
    apart: "VectorWeights | None" = None

    @property
    def kept(self) -> NDArray[np.int64]:
        """Inputs that are not apart, ascending."""
        every = np.arange(self.shape[1])
        return every if self.columns is None else np.delete(every, self.columns)

    @property
    def widths(self) -> dict[str, int | tuple[int, ...]]:
        """Bits of an index of each book, and of the place of an input that is apart."""
        indices = tuple(bits_of_index(len(book)) for book in self.books)
        return {"indices": indices, "columns": bits_of_index(self.shape[1])}

    @property
    def index_bits(self) -> int:
        """Bits of all indices, whole ones, and of the places of inputs that are apart."""
        bits = sum(
            index.size * bits_of_index(len(book))
            for book, index in zip(self.books, self.indices, strict=True)
        )
        if self.columns is None or self.apart is None:
            return bits
        return bits + len(self.columns) * bits_of_index(self.shape[1]) + self.apart.index_bits

    @property
    def book_bits(self) -> int:
        """Bits of all codebooks, in fp16."""
        own = FP16_BITS * sum(book.size for book in self.books)
        return own + (0 if self.apart is None else self.apart.book_bits)

    @property
    def total_bits(self) -> int:
        """Stored bits: indices, places, and codebooks in fp16."""
        return self.index_bits + self.book_bits

    def part(self, number: int) -> Reals:
        """Return the (outputs, inputs) matrix of a book's entries alone; 0 in inputs apart."""
        index, book = self.indices[number], self.books[number].astype(np.float64)
        down, length = len(index), book.shape[1]
        vectors = book[index].swapaxes(1, 2).reshape(down * length, -1)[: self.shape[0]]
        found = np.zeros(self.shape)
        found[:, self.kept] = vectors
        return found

    def matrix(self) -> Reals:
        """Return the (outputs, inputs) matrix."""
        found = np.zeros(self.shape)
        for number in range(len(self.books)):
            found += self.part(number)
        if self.columns is not None and self.apart is not None:
            found[:, self.columns] = self.apart.matrix()
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookupWeights:
    """A matrix of codes in books of its outputs, under scales and minima of groups of inputs.

    Attributes
    ----------
    shape : (int, int)
        Outputs and inputs.
    bits, group : int
        Of a code; inputs that share a scale, the last group may be short.
    codes : (outputs, inputs) uint8
    books : (outputs or fewer, 2**bits) float16
        Each ascending.
    scales, minima : (outputs, groups) float16
        An element is entry x scale + minimum.
    shelf : (outputs,) int32 or None
        The book of each output, where several share one; None: each has its own.
    """

    shape: tuple[int, ...]
    bits: int
    group: int
    codes: NDArray[np.uint8]
    books: NDArray[np.float16]
    scales: NDArray[np.float16]
    minima: NDArray[np.float16]
    shelf: NDArray[np.int32] | None = None

    @property
    def widths(self) -> dict[str, int]:
        """Bits of a code, and of the number of a book."""
        return {"codes": self.bits, "shelf": bits_of_index(len(self.books))}

    @property
    def total_bits(self) -> int:
        """Stored bits: codes, books, scales and minima, and which book is an output's."""
        beside = self.books.size + self.scales.size + self.minima.size
        told = 0 if self.shelf is None else len(self.shelf) * self.widths["shelf"]
        return self.codes.size * self.bits + FP16_BITS * beside + told

    def matrix(self) -> Reals:
        """Return the (outputs, inputs) matrix."""
        place = np.arange(self.shape[1]) // self.group
        books = self.books if self.shelf is None else self.books[self.shelf]
        entries = np.take_along_axis(books, self.codes.astype(np.int64), axis=1)
        scaled = entries.astype(np.float64) * self.scales.astype(np.float64)[:, place]
        return np.asarray(scaled + self.minima.astype(np.float64)[:, place])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignStack:
    """A sum of sign planes, each times a matrix of low rank.

    Attributes
    ----------
    shape : (int, int)
        Outputs and inputs.
    signs : tuple of (bytes,) uint8
        A bit a weight, row by row, 1 for minus.
    left : tuple of (outputs, rank) float16
    right : tuple of (rank, inputs) float16
    """

    shape: tuple[int, ...]
    signs: tuple[NDArray[np.uint8], ...]
    left: tuple[NDArray[np.float16], ...]
    right: tuple[NDArray[np.float16], ...]

    @property
    def block_bits(self) -> tuple[int, ...]:
        """Stored bits of each block: a sign a weight, and its two thin matrices in fp16."""
        count = self.shape[0] * self.shape[1]
        return tuple(
            count + FP16_BITS * (u.size + v.size)
            for u, v in zip(self.left, self.right, strict=True)
        )

    @property
    def total_bits(self) -> int:
        """Stored bits."""
        return sum(self.block_bits)

    def first(self, blocks: int) -> "SignStack":
        """Return the stack of the first blocks."""
        return SignStack(
            shape=self.shape,
            signs=self.signs[:blocks],
            left=self.left[:blocks],
            right=self.right[:blocks],
        )

    def block(self, number: int) -> Reals:
        """Return the (outputs, inputs) matrix of a block."""
        count = self.shape[0] * self.shape[1]
        minus = np.unpackbits(self.signs[number], count=count).reshape(self.shape)
        product = self.left[number].astype(np.float64) @ self.right[number].astype(np.float64)
        return np.where(minus, -product, product)

    def matrix(self) -> Reals:
        """Return the (outputs, inputs) matrix."""
        found = np.zeros(self.shape)
        for number in range(len(self.signs)):
            found += self.block(number)
        return found
