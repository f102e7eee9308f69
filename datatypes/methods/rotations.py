"""Rotations of a layer's inputs: signed Hadamard blocks, and random orthogonal matrices.

With R orthogonal, ``x @ W.T = (x R) @ (W R).T``: outliers of inputs and weights are spread over
many columns (QuaRot, arXiv 2404.00456; QuIP, arXiv 2307.13304).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, check_name

KINDS: Final = ("hadamard", "orthogonal")
DENSE_MAX = 8192  # a dense rotation of more inputs takes minutes and gigabytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rotation:
    """An orthogonal change of basis of a layer's inputs.

    Attributes
    ----------
    signs : (inputs,) float64
        +1 or -1, applied first; all +1 beside a matrix.
    block : int
        Inputs that a Hadamard block mixes, the largest power of two that divides their number.
    matrix : (inputs, inputs) float64 or None
        Of a random orthogonal rotation.
    """

    signs: NDArray[np.float64]
    block: int = 1
    matrix: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, kind: str, inputs: int, seed: int) -> "Rotation":
        """Draw a rotation of so many inputs.

        Raises
        ------
        BitlatheError
            Raised if the kind is unknown, or there is none of that many inputs.
        """
        check_name("rotation", kind, KINDS)
        random = np.random.default_rng(seed)
        if kind == "hadamard":
            block = inputs & -inputs
            if block == 1:
                raise BitlatheError(
                    f"rotation: Hadamard blocks need an even number of inputs, got {inputs}; take "
                    "the method 'orthogonal'"
                )
            return cls(signs=random.choice([-1.0, 1.0], inputs), block=block)
        if inputs > DENSE_MAX:
            raise BitlatheError(
                f"rotation: dense rotations take at most {DENSE_MAX} inputs, got {inputs}; take "
                "the method 'hadamard'"
            )
        # uniform over all rotations: QR with the signs of R taken out (Mezzadri, math-ph/0609050)
        q, r = np.linalg.qr(random.normal(size=(inputs, inputs)))
        return cls(signs=np.ones(inputs), matrix=q * np.where(np.diag(r) < 0, -1.0, 1.0))

    def apply(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return the (n, inputs) rotated rows of (n, inputs) x, in float64."""
        rows = x.astype(np.float64)
        if self.matrix is not None:
            return np.asarray(rows @ self.matrix)
        return _hadamard(rows * self.signs, self.block)

    def undo(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return the (n, inputs) rows that `apply` would make (n, inputs) x of."""
        rows = x.astype(np.float64)
        if self.matrix is not None:
            return np.asarray(rows @ self.matrix.T)
        return np.asarray(_hadamard(rows, self.block) * self.signs)

    @property
    def total_bits(self) -> int:
        """Stored bits: a sign for each input; of a dense matrix fp16 numbers."""
        if self.matrix is not None:
            return 16 * self.matrix.size
        return int(self.signs.size)

    @property
    def multiplies(self) -> int:
        """Multiplications for one token; of Hadamard blocks one for each input, by 1/sqrt(block).

        Where the block is a power of four these are shifts.
        """
        if self.matrix is not None:
            return int(self.matrix.size)
        return int(self.signs.size)

    @property
    def adds(self) -> int:
        """Additions for one token."""
        if self.matrix is not None:
            return int(self.matrix.size)
        return int(self.signs.size) * (self.block.bit_length() - 1)


def _hadamard(x: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Return (n, inputs) rows times Sylvester's Hadamard matrix over sqrt(block), by block."""
    made, half = x.reshape(-1, block), 1
    while half < block:
        pairs = made.reshape(-1, 2, half)
        made = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        half *= 2
    return np.asarray(made.reshape(x.shape) / np.sqrt(block))
