"""A layer whose weights were calibrated: what is stored, what it computes, what that costs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.arrays import as_float
from ..base.errors import BitlatheError
from ..quantize import quantize
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from .low_rank import LowRank
from .parts import LookupWeights, SignStack, Sparse, VectorWeights
from .rotations import Rotation
from .task import Reals, Task

DIVISOR_BITS = 32
OUTLIER_BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What a layer costs for one token.

    Attributes
    ----------
    products : int
        Multiply-accumulates of the quantized weights with the inputs.
    fp16_products : int
        Multiply-accumulates in fp16, of what is kept apart.
    input_multiplies, input_adds : int
        Of the inputs before the product: divisors and rotation, where the layer before has not
        taken them in.
    """

    products: int
    fp16_products: int = 0
    input_multiplies: int = 0
    input_adds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedLinear:
    """A linear layer with quantized weights, as `calibrate` makes it.

    It divides its inputs by `divisors`, rotates them, keeps `outliers` apart, rounds the rest in
    `activation_scheme` and multiplies with the weights.

    Attributes
    ----------
    method : str
    chosen : str
        What the method's search settled on; ``rtn`` where plain rounding was better.
    weights : QuantizedTensor, LookupWeights, VectorWeights or SignStack
        (outputs, inputs) or, with outliers, (outputs, inputs that are not).
    activation_scheme : Scheme or None
    activation_scale : float or None
        One for all inputs, fixed; None: that of the inputs themselves.
    divisors : (inputs,) float32 or None
    rotation : Rotation or None
    outliers : (n,) int64 or None
        Inputs that are multiplied in fp16, ascending.
    outlier_weights : (outputs, n) float16 or None
    low_rank : LowRank or None
        What is added to the weights, in fp16.
    sparse : Sparse or None
        Single weights that are added, in fp16.
    relative_error : float
        Squared error of the outputs on the calibration inputs, over the outputs' own squares.
    rounded_error : float
        The same of plain rounding in the same schemes.
    """

    method: str
    chosen: str
    weights: QuantizedTensor | LookupWeights | VectorWeights | SignStack
    activation_scheme: Scheme | None = None
    activation_scale: float | None = None
    divisors: NDArray[np.float32] | None = None
    rotation: Rotation | None = None
    outliers: NDArray[np.int64] | None = None
    outlier_weights: NDArray[np.float16] | None = None
    low_rank: LowRank | None = None
    sparse: Sparse | None = None
    relative_error: float = float("nan")
    rounded_error: float = float("nan")

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.weights.shape[1] + (0 if self.outliers is None else len(self.outliers))

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.weights.shape[0]

    @property
    def widths(self) -> dict[str, int]:
        """Bits of the place of an outlier, in which files hold it."""
        return {"outliers": max(self.inputs - 1, 1).bit_length()}

    @property
    def total_bits(self) -> int:
        """Stored bits of the weights: codes, scales, outliers with their places, what is added.

        Divisors and rotations are not in it: the layer before can take them in; see
        `transform_bits`.
        """
        bits = self.weights.total_bits
        if self.outliers is not None:
            bits += len(self.outliers) * (OUTLIER_BITS * self.outputs + self.widths["outliers"])
        bits += 0 if self.low_rank is None else self.low_rank.total_bits
        return bits + (0 if self.sparse is None else self.sparse.total_bits)

    @property
    def bits_per_element(self) -> float:
        """Stored bits per weight, everything in `total_bits` counted."""
        return self.total_bits / (self.inputs * self.outputs)

    @property
    def transform_bits(self) -> int:
        """Bits of divisors and rotation where the layer before cannot take them in."""
        bits = 0 if self.divisors is None else DIVISOR_BITS * self.inputs
        return bits + (0 if self.rotation is None else self.rotation.total_bits)

    @property
    def operations(self) -> Operations:
        """What one token costs, divisors and rotation at run time."""
        kept = 0 if self.outliers is None else len(self.outliers)
        rank = 0 if self.low_rank is None else self.low_rank.rank
        turn = self.rotation
        return Operations(
            products=self.outputs * self.weights.shape[1],
            fp16_products=self.outputs * kept
            + rank * (self.outputs + self.weights.shape[1])
            + (0 if self.sparse is None else len(self.sparse.values)),
            input_multiplies=(0 if self.divisors is None else self.inputs)
            + (0 if turn is None else turn.multiplies),
            input_adds=0 if turn is None else turn.adds,
        )

    def forward(self, x: Any) -> Reals:
        """Return the layer's outputs, (..., outputs), of (..., inputs) inputs, in float64.

        Codes and scales are those that are stored; products and sums are not rounded further than
        float64 rounds them, and exact where scales are powers of two.

        Raises
        ------
        BitlatheError
            Raised if the last axis is not as long as the layer has inputs.
        """
        given = as_float(x, "x")[0].astype(np.float64)
        if given.ndim < 1 or given.shape[-1] != self.inputs:
            raise BitlatheError(
                f"x: an array of shape (..., {self.inputs}) is needed, got {given.shape}"
            )
        flat = given.reshape(-1, self.inputs)
        if self.divisors is not None:
            flat = flat / self.divisors.astype(np.float64)
        if self.rotation is not None:
            flat = self.rotation.apply(flat)
        apart: Reals | float = 0.0
        if self.outliers is not None and self.outlier_weights is not None:
            apart = flat[:, self.outliers] @ self.outlier_weights.astype(np.float64).T
            flat = np.delete(flat, self.outliers, axis=1)
        if self.activation_scheme is not None and flat.size:
            flat = _rounded_inputs(flat, self.activation_scheme, self.activation_scale)
        if self.low_rank is not None:
            apart = apart + self.low_rank.apply(flat)
        if self.sparse is not None:
            apart = apart + flat @ self.sparse.matrix().T
        made = flat @ self.matrix().T + apart
        return np.asarray(made.reshape(*given.shape[:-1], self.outputs))

    @property
    def tensor(self) -> QuantizedTensor:
        """The weights, of methods that keep to a scheme.

        Raises
        ------
        BitlatheError
            Raised if they are books of outputs, vectors or sign planes.
        """
        if isinstance(self.weights, QuantizedTensor):
            return self.weights
        raise BitlatheError(f"{self.method}: its weights are no quantized tensor")

    def matrix(self) -> Reals:
        """Return the (outputs, inputs) quantized matrix alone, without what is added to it."""
        if isinstance(self.weights, QuantizedTensor):
            return np.asarray(self.weights.dequantize(np.float64))
        return self.weights.matrix()

    def dequantize(self) -> Reals:
        """Return the (outputs, inputs) weights that do to plain inputs what this layer does.

        The rounding of inputs is not in them.
        """
        found = self.matrix()
        if self.low_rank is not None:
            found = found + self.low_rank.matrix()
        if self.sparse is not None:
            found = found + self.sparse.matrix()
        if self.outliers is not None and self.outlier_weights is not None:
            whole = np.zeros((self.outputs, self.inputs))
            rest = np.delete(np.arange(self.inputs), self.outliers)
            whole[:, rest], whole[:, self.outliers] = found, self.outlier_weights
            found = whole
        if self.rotation is not None:
            found = self.rotation.undo(found)
        return np.asarray(found if self.divisors is None else found / self.divisors)


def _rounded_inputs(x: Reals, scheme: Scheme, scale: float | None) -> Reals:
    """Return (tokens, inputs) inputs in their scheme; errors say that they are the inputs'."""
    try:
        return np.asarray(quantize(x, scheme, scales=scale).dequantize(np.float64))
    except BitlatheError as problem:
        raise BitlatheError(f"inputs in {scheme}: {problem}") from None


def rounded(task: Task, method: str = "rtn", chosen: str = "rtn", **parts: Any) -> QuantizedLinear:
    """Return a task's layer by plain rounding, behind divisors or a rotation.

    Parameters
    ----------
    task : Task
    method, chosen : str
    **parts
        ``divisors`` and ``rotation`` of the layer.
    """
    weights: ArrayLike = task.weights
    if parts.get("divisors") is not None:
        weights = task.weights * parts["divisors"].astype(task.weights.dtype)
    if parts.get("rotation") is not None:
        weights = parts["rotation"].apply(np.asarray(weights)).astype(task.weights.dtype)
    return QuantizedLinear(
        method=method,
        chosen=chosen,
        weights=quantize(weights, task.scheme),
        activation_scheme=task.activation_scheme,
        **parts,
    )


def measured(layer: QuantizedLinear, task: Task) -> QuantizedLinear:
    """Return a layer with the error of its outputs on the task's inputs."""
    return replace(layer, relative_error=task.relative_error(layer.forward(task.activations)))
