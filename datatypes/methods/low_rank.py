"""What rounding leaves of a matrix, as a product of two thin ones.

LoRC (ZeroQuant-V2, arXiv 2303.08302): of the error ``W - Q`` the leading singular vectors are kept,
the roots of the singular values shared between both sides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .task import Reals

EXTRA, ROUNDS = 10, 8  # vectors beside those wanted, rounds of subspace iteration
BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LowRank:
    """A product of two thin matrices that is added to a layer's weights.

    Attributes
    ----------
    left : (outputs, rank) float16
    right : (rank, inputs) float16
    """

    left: NDArray[np.float16]
    right: NDArray[np.float16]

    @classmethod
    def of(cls, rest: Reals, rank: int) -> "LowRank":
        """Return the best product of a rank for an (outputs, inputs) rest, nearly.

        Subspace iteration on the rest (Halko et al., arXiv 0909.4061, algorithm 4.4), then the
        singular vectors within the subspace; rounded to fp16.
        """
        wanted = min(rank, *rest.shape)
        width = min(wanted + EXTRA, *rest.shape)
        basis = rest @ np.random.default_rng(0).normal(size=(rest.shape[1], width))
        for _ in range(ROUNDS):
            other = np.linalg.qr(rest.T @ np.linalg.qr(basis)[0])[0]
            basis = rest @ other
        basis = np.linalg.qr(basis)[0]
        u, s, v = np.linalg.svd(basis.T @ rest, full_matrices=False)
        root = np.sqrt(s[:wanted])
        return cls(
            left=((basis @ u[:, :wanted]) * root).astype(np.float16),
            right=(root[:, None] * v[:wanted]).astype(np.float16),
        )

    @property
    def rank(self) -> int:
        """Number of vectors of each side."""
        return int(self.right.shape[0])

    @property
    def total_bits(self) -> int:
        """Stored bits."""
        return BITS * (self.left.size + self.right.size)

    def matrix(self) -> Reals:
        """Return the (outputs, inputs) product."""
        return np.asarray(self.left.astype(np.float64) @ self.right.astype(np.float64))

    def apply(self, x: Reals) -> Reals:
        """Return the (n, outputs) outputs of (n, inputs) x."""
        return np.asarray((x @ self.right.astype(np.float64).T) @ self.left.astype(np.float64).T)
