"""What a method is given: the weights and inputs of a layer, checked, and the schemes of both."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.arrays import as_float
from ..base.errors import BitlatheError
from ..formats.finite import refuse_nonfinite
from ..schemes.scheme import Scheme

Reals = NDArray[np.float64]


class NoOutputsError(BitlatheError):
    """The outputs of a layer on its inputs are all 0: nothing tells its roundings apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A layer to be quantized; it computes ``activations @ weights.T``.

    Attributes
    ----------
    weights : (outputs, inputs) float32 or float64
    activations : (tokens, inputs) float64
    scheme : Scheme
        Of the weights.
    activation_scheme : Scheme or None
        Of the inputs, groups along the inputs of a token; None where they are not quantized.
    """

    weights: NDArray[Any]
    activations: Reals
    scheme: Scheme
    activation_scheme: Scheme | None = None

    @classmethod
    def of(
        cls, weights: Any, activations: Any, scheme: Scheme, activation_scheme: Scheme | None
    ) -> "Task":
        """Check what a user hands over.

        Parameters
        ----------
        weights : (outputs, inputs) array_like or torch tensor
        activations : (..., inputs) array_like or torch tensor
        scheme : Scheme
        activation_scheme : Scheme or None

        Raises
        ------
        BitlatheError
            Raised if a shape is wrong or a value is not finite; a `NoOutputsError` if all outputs
            are 0.
        """
        matrix = as_float(weights, "weights")[0]
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise BitlatheError(
                "weights: a matrix of shape (outputs, inputs), both 1 or more, is needed, got "
                f"{matrix.shape}; reshape a convolution to (outputs, inputs x height x width)"
            )
        refuse_nonfinite(matrix, "weights")
        given = as_float(activations, "activations")[0]
        if given.ndim < 2 or given.shape[-1] != matrix.shape[1] or given.size == 0:
            raise BitlatheError(
                f"activations: an array of shape (tokens, {matrix.shape[1]}), of 1 token or more, "
                f"is needed, one column for each input of the weights, got {given.shape}"
            )
        refuse_nonfinite(given, "activations")
        inputs = given.reshape(-1, matrix.shape[1]).astype(np.float64)
        task = cls(
            weights=matrix,
            activations=inputs,
            scheme=scheme,
            activation_scheme=activation_scheme,
        )
        if task.energy == 0:
            raise NoOutputsError(
                "activations: the layer's outputs on them are all 0; pass inputs on which the "
                "layer's outputs can be compared"
            )
        if not np.isfinite(task.energy):
            raise BitlatheError(
                "activations: the layer's outputs on them are beyond float64; pass inputs on which "
                "the layer's outputs can be compared"
            )
        return task

    @cached_property
    def outputs(self) -> Reals:
        """The (tokens, outputs) outputs of the layer before quantization."""
        return np.asarray(self.activations @ self.weights.astype(np.float64).T)

    @cached_property
    def energy(self) -> float:
        """Sum of the squared outputs."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.square(self.outputs).sum())

    def relative_error(self, outputs: Reals) -> float:
        """Return the squared error of (tokens, outputs) outputs over the outputs' own squares."""
        return float(np.square(outputs - self.outputs).sum() / self.energy)


def positive_scales(scales: ArrayLike) -> NDArray[np.float32]:
    """Return (inputs,) positive factors as they are applied: float32, none 0 or infinite."""
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    return np.clip(np.asarray(scales, np.float64), tiny, huge).astype(np.float32)
