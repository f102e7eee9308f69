"""How a tensor of any shape is cut into the blocks that share a scale.

The quantised axis goes last and the others are flattened, which gives a (rows, columns) matrix;
the matrix is cut into blocks, the last ones of a row or column may be short.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BitlatheError
from .scheme import Granularity


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the elements of a tensor stand in its blocks.

    Attributes
    ----------
    shape : tuple of int
        Shape of the tensor.
    axis : int
        The quantised axis, 0 .. ndim - 1.
    rows, columns : int
        Of the matrix; `columns` is the length of the axis.
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

    @classmethod
    def of(cls, shape: tuple[int, ...], axis: int, granularity: Granularity) -> "Layout":
        """Cut a tensor of `shape`.

        Raises
        ------
        BitlatheError
            If the tensor has no axes or not that one.
        """
        if not shape:
            raise BitlatheError(
                "quantize: a scalar has no axis to group along; pass an array of one element or "
                "more dimensions, such as x.reshape(1)"
            )
        whole = isinstance(axis, int | np.integer) and not isinstance(axis, bool)
        if not whole or not -len(shape) <= axis < len(shape):
            raise BitlatheError(
                f"quantize: axis is {axis!r}, but a tensor of shape {shape} has axes "
                f"{-len(shape)} to {len(shape) - 1}"
            )
        at = int(axis) % len(shape)
        columns = int(shape[at])
        rows = int(np.prod([n for i, n in enumerate(shape) if i != at], dtype=np.int64))
        down, across = granularity.blocks(rows, columns)
        empty = rows == 0 or columns == 0
        return cls(
            shape=tuple(int(n) for n in shape),
            axis=at,
            rows=rows,
            columns=columns,
            block_rows=min(granularity.rows or rows, max(rows, 1)),
            block_columns=min(granularity.columns or columns, max(columns, 1)),
            down=0 if empty else down,
            across=0 if empty else across,
        )

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
        """Return a tensor as its (rows, columns) matrix."""
        return np.moveaxis(x, self.axis, -1).reshape(self.rows, self.columns)

    def tensor(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return a (rows, columns) matrix as the tensor."""
        others = [n for i, n in enumerate(self.shape) if i != self.axis]
        return np.moveaxis(matrix.reshape(*others, self.columns), -1, self.axis)

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
