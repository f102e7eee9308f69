"""How a tensor of any shape is cut into the blocks that share a scale.

The quantized axis goes last and the others are flattened, which gives a (rows, columns) matrix;
the matrix is cut into blocks, the last ones of a row or column may be short.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from .granularity import Granularity

Axis = int | tuple[int, ...] | None
# a tensor of so many axes is taken for the weights of a convolution, (out, in, height, width)
CONVOLUTION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the elements of a tensor stand in its blocks.

    Attributes
    ----------
    shape : tuple of int
        Shape of the tensor.
    axis : int
        The quantized axis, 0 .. ndim - 1; the first of several.
    axes : int
        How many axes, one after the other, are quantized as one.
    rows, columns : int
        Of the matrix; `columns` is the length of the quantized axes together.
    block_rows, block_columns : int
        Size of a full block.
    down, across : int
        Number of blocks in a column and in a row.
    """

    shape: tuple[int, ...]
    axis: int
    rows: int
    columns: int
    block_rows: int
    block_columns: int
    down: int
    across: int
    axes: int = 1

    @classmethod
    def of(cls, shape: tuple[int, ...], axis: Axis, granularity: Granularity) -> "Layout":
        """Cut a tensor of `shape`.

        Parameters
        ----------
        shape : tuple of int
        axis : int, tuple of int or None
            Several axes must follow one another. None: the last one; of four axes or more all but
            the first, as the (out, in, height, width) of a convolution.
        granularity : Granularity

        Raises
        ------
        BitlatheError
            Raised if the tensor has no axes, or not those.
        """
        if not shape:
            raise BitlatheError(
                "quantize: a scalar has no axis to group along; pass an array of one element or "
                "more dimensions, such as x.reshape(1)"
            )
        first, axes = _span(shape, axis)
        columns = int(np.prod(shape[first : first + axes], dtype=np.int64))
        rows = int(np.prod(shape[:first] + shape[first + axes :], dtype=np.int64))
        down, across = granularity.blocks(rows, columns)
        empty = rows == 0 or columns == 0
        return cls(
            shape=tuple(int(n) for n in shape),
            axis=first,
            axes=axes,
            rows=rows,
            columns=columns,
            block_rows=min(granularity.rows or rows, max(rows, 1)),
            block_columns=min(granularity.columns or columns, max(columns, 1)),
            down=0 if empty else down,
            across=0 if empty else across,
        )

    @property
    def quantized(self) -> int | tuple[int, ...]:
        """The quantized axis; a tuple where several are quantized as one."""
        return self.axis if self.axes == 1 else tuple(self._quantized)

    @property
    def others(self) -> tuple[int, ...]:
        """Lengths of the axes that are not quantized."""
        return self.shape[: self.axis] + self.shape[self.axis + self.axes :]

    @property
    def groups(self) -> int:
        """Number of blocks."""
        return self.down * self.across

    @property
    def block_size(self) -> int:
        """Elements of a full block."""
        return self.block_rows * self.block_columns

    @property
    def ragged(self) -> bool:
        """Whether some blocks are short."""
        return self.groups * self.block_size != self.rows * self.columns

    def matrix(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return a tensor, of `shape`, as its (rows, columns) matrix."""
        return np.moveaxis(x, self._quantized, self._last).reshape(self.rows, self.columns)

    def tensor(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return a (rows, columns) matrix as the tensor."""
        own = self.shape[self.axis : self.axis + self.axes]
        return np.moveaxis(matrix.reshape(*self.others, *own), self._last, self._quantized)

    @property
    def _quantized(self) -> list[int]:
        return list(range(self.axis, self.axis + self.axes))

    @property
    def _last(self) -> list[int]:
        return list(range(-self.axes, 0))

    def split(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return the (groups, block_size) elements of a matrix, short blocks filled with 0."""
        if self.groups == 0:
            return np.zeros((0, self.block_size), matrix.dtype)
        if self.block_rows == 1:
            wide = self.across * self.block_columns
            if wide != self.columns:
                matrix = np.pad(matrix, ((0, 0), (0, wide - self.columns)))
            return np.ascontiguousarray(matrix).reshape(self.groups, self.block_columns)
        tall, wide = self.down * self.block_rows, self.across * self.block_columns
        padded = np.pad(matrix, ((0, tall - self.rows), (0, wide - self.columns)))
        cut = padded.reshape(self.down, self.block_rows, self.across, self.block_columns)
        return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(self.groups, -1)

    def join(self, groups: NDArray[Any]) -> NDArray[Any]:
        """Return the (rows, columns) matrix of (groups, block_size) elements."""
        if self.groups == 0:
            return np.zeros((self.rows, self.columns), groups.dtype)
        if self.block_rows == 1:
            return groups.reshape(self.rows, -1)[:, : self.columns]
        cut = groups.reshape(self.down, self.across, self.block_rows, self.block_columns)
        padded = cut.transpose(0, 2, 1, 3).reshape(self.down * self.block_rows, -1)
        return padded[: self.rows, : self.columns]

    def mask(self) -> NDArray[np.bool_] | None:
        """Return which of the (groups, block_size) slots are filled; None when all are."""
        if not self.ragged:
            return None
        return np.asarray(self.split(np.ones((self.rows, self.columns), np.bool_)))


def _span(shape: tuple[int, ...], axis: Axis) -> tuple[int, int]:
    """Return the first of the quantized axes, and how many there are."""
    count = len(shape)
    if axis is None:
        return (1, count - 1) if count >= CONVOLUTION else (count - 1, 1)
    asked = axis if isinstance(axis, tuple) else (axis,)
    for one in asked:
        whole = isinstance(one, int | np.integer) and not isinstance(one, bool)
        if not whole or not -count <= one < count:
            raise BitlatheError(
                f"quantize: axis is {axis!r}, but a tensor of shape {shape} has axes "
                f"{-count} to {count - 1}"
            )
    found = [int(one) % count for one in asked]
    if not found or found != list(range(found[0], found[0] + len(found))):
        raise BitlatheError(
            f"quantize: axis is {axis!r}; several axes must follow one another, such as (1, 2, 3)"
        )
    return found[0], len(found)
