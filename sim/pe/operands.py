"""Activations as a bit-serial PE sees them: signed significand and exponent field.

``value = significand * 2**(exponent - offset)``, where the exponent of zero and of subnormals is 1
and their hidden bit is 0, as the exponent-match stage takes them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...datatypes.base.errors import BitlatheError, unknown_name

Int32Array = npt.NDArray[np.int32]

DEVICES = ("cpu", "cuda")


def on_cuda(device: str) -> bool:
    """Return whether a device is the GPU.

    Raises
    ------
    BitlatheError
        If there is no such device.
    """
    if device not in DEVICES:
        raise BitlatheError(unknown_name("device", str(device), DEVICES))
    return device == "cuda"


def lies_there(values: Any) -> bool:
    """Return whether an operand lies on a GPU: of torch, numba, or what else has the interface."""
    if getattr(values, "requires_grad", False):  # torch shows such a tensor's place to no one
        values = values.detach()
    own = getattr(values, "__cuda_ndarray__", False)
    return bool(own) or hasattr(values, "__cuda_array_interface__")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationKind:
    """A kind of activation: widths of its fields.

    Parameters
    ----------
    name : str
        Name.
    exponent_bits : int
        Width of the exponent field; 0 for integers.
    significand_bits : int
        Width of the magnitude that enters the multiplier, the hidden bit included.
    bias : int
        Exponent bias.
    maximum : float
        Largest finite magnitude.
    """

    name: str
    exponent_bits: int
    significand_bits: int
    bias: int
    maximum: float

    @property
    def offset(self) -> int:
        """``value = significand * 2**(exponent - offset)``."""
        return self.bias + self.significand_bits - 1 if self.exponent_bits else 0

    @property
    def largest_exponent(self) -> int:
        """Largest exponent field of a finite value."""
        return _field(self.maximum, self) if self.exponent_bits else 0


def _field(magnitude: float, kind: ActivationKind) -> int:
    return int(np.frexp(magnitude)[1]) - 1 + kind.bias


# IEEE 754-2019 (FP16); Google's bfloat16; OCP 8-bit floating point 1.0 (2023), tables 1 and 2.
ACTIVATIONS: dict[str, ActivationKind] = {
    kind.name: kind
    for kind in (
        ActivationKind(name="fp16", exponent_bits=5, significand_bits=11, bias=15, maximum=65504.0),
        ActivationKind(
            name="bf16",
            exponent_bits=8,
            significand_bits=8,
            bias=127,
            maximum=float(255 * 2.0**120),
        ),
        ActivationKind(name="fp8_e4m3", exponent_bits=4, significand_bits=4, bias=7, maximum=448.0),
        ActivationKind(
            name="fp8_e5m2", exponent_bits=5, significand_bits=3, bias=15, maximum=57344.0
        ),
        ActivationKind(name="int8", exponent_bits=0, significand_bits=8, bias=0, maximum=128.0),
    )
}


def activation_kind(name: str | ActivationKind) -> ActivationKind:
    """Return a kind of activation by name.

    Raises
    ------
    BitlatheError
        If no such kind exists.
    """
    if isinstance(name, ActivationKind):
        return name
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise BitlatheError(unknown_name("activation format", str(name), ACTIVATIONS))
    return ACTIVATIONS[name]


def as_array(values: npt.ArrayLike, argument: str) -> npt.NDArray[Any]:
    """Return values (...) as an array.

    Raises
    ------
    BitlatheError
        For rows of different lengths, for masked arrays, whose mask would be lost, and for what
        lies on a GPU.
    """
    if lies_there(values):
        raise BitlatheError(
            f"{argument}: lies on a GPU and is not taken from there by this call; products of "
            "matrices, PEs' dot products and look-ups take it with device='cuda', beside others of "
            "theirs, else copy it to the host first"
        )
    if isinstance(values, np.ma.MaskedArray):
        raise BitlatheError(f"{argument}: masked arrays are not taken; fill the masked values in")
    try:
        return np.asarray(values)
    except ValueError:
        raise BitlatheError(f"{argument}: its rows differ in length, no array") from None


def first_index(mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the first index, in C order, at which a mask of any shape (...) is true."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def refuse_nonfinite(array: npt.NDArray[Any], argument: str) -> None:
    """Check that an array of any shape (...) is finite.

    Raises
    ------
    BitlatheError
        If it is not; the first NaN or infinity is named with its index.
    """
    bad = ~np.isfinite(array)
    if bad.any():
        index = first_index(bad)
        raise BitlatheError(
            f"{argument}: {array[index]} at index {index}; hardware would treat it as an ordinary "
            "number, so only finite values are taken"
        )


def pair_rows(
    activations: tuple[int, ...], weights: tuple[int, ...]
) -> tuple[tuple[int, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pair the rows of two operands whose leading axes broadcast, without copying either.

    Parameters
    ----------
    activations, weights : tuple of int
        Shapes; the last axis is the one summed over.

    Returns
    -------
    lead, rows, columns
        Leading shape of the result; for each of its elements, in C order, the flat row of the
        activations and that of the weights.

    Raises
    ------
    BitlatheError
        If the last axes differ or the leading axes do not broadcast.
    """
    if not activations or not weights:
        raise BitlatheError(
            "activations and weights need at least one axis, the group; got shapes "
            f"{activations} and {weights}"
        )
    if activations[-1] != weights[-1]:
        raise BitlatheError(
            f"activations of shape {activations} and weights of shape {weights}: the last axes, "
            "the group, must be equally long"
        )
    try:
        lead = np.broadcast_shapes(activations[:-1], weights[:-1])
    except ValueError:
        raise BitlatheError(
            f"activations of shape {activations} and weights of shape {weights}: the leading "
            "axes do not broadcast"
        ) from None

    def rows_of(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        index = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
        return np.ascontiguousarray(np.broadcast_to(index, lead).reshape(-1))

    return lead, rows_of(activations[:-1]), rows_of(weights[:-1])


def matrix(array: Any) -> Any:
    """Return an array (..., K) as a matrix (rows, K), also when the last axis is empty.

    What lies on a GPU stays there, and a number alone stays one.
    """
    shape = tuple(array.shape)
    if not shape:
        return array
    flat = array.reshape((int(np.prod(shape[:-1], dtype=np.int64)), shape[-1]))
    return flat if lies_there(array) else np.ascontiguousarray(flat)


def split_activations(
    activations: npt.ArrayLike, kind: ActivationKind, argument: str = "activations"
) -> tuple[Int32Array, Int32Array]:
    """Split activations into exponent field and signed significand.

    Parameters
    ----------
    activations : (...) array_like
        Values that the kind represents exactly (round them first).
    kind : ActivationKind
        Kind of activation.
    argument : str
        Name used in errors.

    Returns
    -------
    exponent, significand : ndarray of int32
        Exponent field (at least 1 for floats, 0 for integers) and significand with its sign.

    Raises
    ------
    BitlatheError
        If a value is NaN, infinite or not one of the kind; the first index is named.
    """
    array = as_array(activations, argument)
    if array.dtype == np.float16 and kind.name == "fp16":
        return _split_fp16(np.ascontiguousarray(array), argument)
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise BitlatheError(f"{argument}: real numbers are needed, got dtype {array.dtype}")
    values = array.astype(np.float64)
    refuse_nonfinite(values, argument)
    if not kind.exponent_bits:
        significand = values
        exponent = np.zeros(values.shape, dtype=np.int32)
        bad = (values != np.rint(values)) | (values < -kind.maximum) | (values >= kind.maximum)
    else:
        field = np.maximum(np.frexp(values)[1] - 1 + kind.bias, 1)
        exponent = np.where(values == 0, 1, field).astype(np.int32)
        significand = np.ldexp(values, kind.offset - exponent)
        bad = (significand != np.rint(significand)) | (np.abs(values) > kind.maximum)
    if bad.any():
        index = first_index(bad)
        raise BitlatheError(
            f"{argument}: {values[index]} at index {index} is not a value of {kind.name}; round "
            f"the activations to {kind.name} first"
        )
    return exponent, significand.astype(np.int32)


def _split_fp16(array: npt.NDArray[np.float16], argument: str) -> tuple[Int32Array, Int32Array]:
    from .bit_serial_kernels import split_fp16

    exponent = np.empty(array.shape, dtype=np.int32)
    significand = np.empty(array.shape, dtype=np.int32)
    bits = array.view(np.uint16).reshape(-1)
    if split_fp16(bits, exponent.reshape(-1), significand.reshape(-1)) >= 0:
        refuse_nonfinite(array, argument)
    return exponent, significand
