"""The inputs of a layer, by which the error of its weights is measured on its outputs.

With inputs X (tokens, K) and weights W (rows, K), a change D of the weights changes the outputs
``X @ W.T`` by ``X @ D.T``. Only ``X.T @ X`` matters for the squared size of that, so X is
replaced by the triangular factor R of its QR decomposition, ``R.T @ R = X.T @ X``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..schemes.layout import Layout


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Inputs of a layer, reduced to what squared errors need.

    Attributes
    ----------
    factor : (t, columns) float64
        R, with at most as many rows as columns.
    block_columns : int
        Columns that share a scale.
    """

    factor: NDArray[np.float64]
    block_columns: int

    @classmethod
    def of(cls, activations: NDArray[Any], layout: Layout) -> "Inputs":
        """Reduce (..., columns) activations.

        Raises
        ------
        BitlatheError
            Raised if their last axis is not as long as the quantized one, or a value is not finite.
        """
        given = np.asarray(activations)
        if given.ndim < 2 or given.shape[-1] != layout.columns or given.size == 0:
            raise BitlatheError(
                f"activations: an array of shape (tokens, {layout.columns}) is needed, the last "
                f"axis as long as the quantized one, got {given.shape}"
            )
        x = given.reshape(-1, layout.columns).astype(np.float64)
        if not np.isfinite(x).all():
            raise BitlatheError("activations: NaN or infinity; pass finite inputs of the layer")
        return cls(factor=_reduced(x), block_columns=layout.block_columns)

    @cached_property
    def blocks(self) -> tuple[NDArray[np.float64], ...]:
        """The factor of each column block, (t, block_columns), short blocks filled with 0."""
        width, columns = self.block_columns, self.factor.shape[1]
        padded = np.pad(self.factor, ((0, 0), (0, -columns % width)))
        return tuple(_reduced(padded[:, a : a + width]) for a in range(0, padded.shape[1], width))

    def block_errors(
        self, difference: NDArray[np.float64], first: int, layout: Layout
    ) -> NDArray[np.float64]:
        """Return the squared change of the outputs that each group alone makes.

        Parameters
        ----------
        difference : (groups, block size) float64
            0 in the fill of short groups.
        first : int
            Number of the first group.
        layout : Layout
        """
        count = len(difference)
        found = np.zeros(count)
        for at, factor in enumerate(self.blocks):
            mine = np.arange((at - first) % layout.across, count, layout.across)
            rows = difference[mine].reshape(-1, layout.block_columns)
            outputs = rows @ factor.T
            found[mine] = (outputs * outputs).reshape(len(mine), -1).sum(axis=1)
        return found

    def row_errors(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the squared change of the outputs of (rows, columns) differences, by row."""
        outputs = difference @ self.factor.T
        return np.asarray((outputs * outputs).sum(axis=1))


def _reduced(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a matrix of at most as many rows as columns with the same ``x.T @ x``."""
    return np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x
