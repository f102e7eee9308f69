"""What calibrated layers compute beside their products, as keys of a chip's ``beside``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .layer import QuantizedLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Counts of some layers together.

    Divisors are left out: the layers before take them in (docs/methods.md).

    Attributes
    ----------
    inputs, weights : int
        Of the layers.
    outliers, single : int
        Inputs and weights that are multiplied apart.
    rank : int
        The largest of a product that is added.
    rotation : str
        Of inputs: ``none``, ``hadamard`` or ``dense``.
    """

    inputs: int = 0
    weights: int = 0
    outliers: int = 0
    single: int = 0
    rank: int = 0
    rotation: str = "none"

    @classmethod
    def of(cls, layer: QuantizedLinear) -> "Beside":
        """Return the counts of a layer."""
        turn = layer.rotation
        return cls(
            inputs=layer.inputs,
            weights=layer.inputs * layer.outputs,
            outliers=0 if layer.outliers is None else len(layer.outliers),
            single=0 if layer.sparse is None else len(layer.sparse.values),
            rank=0 if layer.low_rank is None else layer.low_rank.rank,
            rotation="none" if turn is None else "hadamard" if turn.matrix is None else "dense",
        )

    def __add__(self, other: "Beside") -> "Beside":
        """Return the counts of both."""
        return Beside(
            inputs=self.inputs + other.inputs,
            weights=self.weights + other.weights,
            outliers=self.outliers + other.outliers,
            single=self.single + other.single,
            rank=max(self.rank, other.rank),
            rotation=other.rotation if self.rotation == "none" else self.rotation,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of a chip's ``beside``; fractions are those of all layers together."""
        return {
            "outlier_fraction": self.outliers / max(self.inputs, 1),
            "sparse_fraction": self.single / max(self.weights, 1),
            "rank": self.rank,
            "rotation": self.rotation,
        }


def beside_of(layers: Iterable[QuantizedLinear]) -> dict[str, Any]:
    """Return what layers compute beside their products, as keys of a chip's ``beside``."""
    return sum(map(Beside.of, layers), start=Beside()).settings
