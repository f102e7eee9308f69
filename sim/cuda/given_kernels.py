"""Operands that lie on the device already: taken as they are, and checked there by kernels.

Each kernel leaves in ``found`` how far from the end the first wrong element is, 0 for none; see
`kernels.cuda.checks`.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import DTypeLike, NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.kernels.cuda.checks import first, first_infinite
from ...datatypes.kernels.cuda.floats import round_to
from ...datatypes.kernels.cuda.launch import empty, require_device, to_device


@cuda.jit
def bytes_kernel(values, mask, high, found):
    """Find the first byte of which the masked bits are above ``high``."""
    across = values.shape[1]
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        if (values[i // across, i % across] & mask) > high:
            cuda.atomic.max(found, 0, np.int64(values.size - i))


@cuda.jit
def shorts_kernel(values, low, high, found):
    """Find the first int16 that is not in a range."""
    across = values.shape[1]
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        value = values[i // across, i % across]
        if value < low or value > high:
            cuda.atomic.max(found, 0, np.int64(values.size - i))


@cuda.jit
def grains_kernel(codes, zeros, steps, group, found):
    """Find the first weight ``(code - zero) * step`` that does not fit 8 bits."""
    across = codes.shape[1]
    for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
        n, k = i // across, i % across
        weight = np.int64(codes[n, k]) - np.int64(zeros[n, k // group])
        weight *= np.int64(steps[n, k // group])
        if weight < -128 or weight > 127:
            cuda.atomic.max(found, 0, np.int64(codes.size - i))


@cuda.jit
def pairs_kernel(codes, found):
    """Find the first code that OliVe's decoder does not take beside its neighbor."""
    across = codes.shape[1]
    for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
        row, k = i // across, i % across
        code, other = np.int64(codes[row, k]), np.int64(0)
        if (k ^ 1) < across:
            other = np.int64(codes[row, k ^ 1])
        elif code == 8:  # a victim without an outlier
            other = code
        if code > 15 or (other == 8 and code & 7 == 0):
            cuda.atomic.max(found, 0, np.int64(codes.size - i))


@cuda.jit
def values_kernel(values, bits, lowest, largest, found):
    """Find the first float32 that is not a finite value of a format."""
    across = values.shape[1]
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        value = np.float64(values[i // across, i % across])
        if not (value == round_to(value, bits, lowest, largest, True) and abs(value) <= largest):
            cuda.atomic.max(found, 0, np.int64(values.size - i))


@cuda.jit
def split_kernel(bits, exponents, significands, found):
    """Split FP16 patterns into exponent field and signed significand; find infinities and NaN."""
    across = bits.shape[1]
    for i in range(cuda.grid(1), bits.size, cuda.gridsize(1)):
        row, k = i // across, i % across
        pattern = np.int32(bits[row, k])
        field = (pattern >> 10) & 31
        if field == 31:
            cuda.atomic.max(found, 0, np.int64(bits.size - i))
        significand = pattern & 1023
        if field > 0:
            significand |= 1024
        else:
            field = np.int32(1)
        exponents[row, k] = field
        significands[row, k] = -significand if pattern >> 15 else significand


@cuda.jit
def rows_kernel(weights, valid, low, rows, found):
    """Turn integers on the PE's grid into the decoder's rows; find the first one off the grid."""
    across = weights.shape[1]
    for i in range(cuda.grid(1), weights.size, cuda.gridsize(1)):
        n, k = i // across, i % across
        row = np.int64(weights[n, k]) - low
        right = row >= 0 and row < valid.size
        if right:
            right = valid[row] != 0
        if not right:
            row = np.int64(0)
            cuda.atomic.max(found, 0, np.int64(weights.size - i))
        rows[n, k] = row


def taken(values: Any, kind: DTypeLike, argument: str) -> Any:
    """Return an array on the device as kernels take it, a matrix of so a type.

    Raises
    ------
    BitlatheError
        It has another type, another number of axes, or gaps.
    """
    require_device()
    array, dtype = to_device(values), np.dtype(kind)
    if array.dtype != dtype or len(array.shape) != 2 or not array.is_c_contiguous():
        raise BitlatheError(
            f"{argument}: on the device a matrix of {dtype} without gaps is needed, got "
            f"{tuple(array.shape)} of {array.dtype}; convert it there"
        )
    return array


def _refuse(array: Any, index: int, argument: str, words: str) -> None:
    place = divmod(index, array.shape[1])
    raise BitlatheError(f"{argument}: {array[place]} at index {place} {words}")


def codes(values: Any, count: int, argument: str) -> Any:
    """Return (rows, K) codes on the device, uint8 and below ``count``."""
    array = taken(values, np.uint8, argument)
    wrong = first(bytes_kernel, array.size, (array,), (255, count - 1))
    if wrong is not None:
        _refuse(array, wrong, argument, f"is out of range; 0..{count - 1} is right")
    return array


def byte_floats(values: Any, largest: int, argument: str) -> Any:
    """Return (rows, K) codes of a floating-point format of a byte on the device, all numbers."""
    array = taken(values, np.uint8, argument)
    wrong = first(bytes_kernel, array.size, (array,), (127, largest))
    if wrong is not None:
        _refuse(array, wrong, argument, "stands for NaN or infinity; numbers are needed")
    return array


def shorts(values: Any, low: int, high: int, argument: str) -> Any:
    """Return a matrix of int16 on the device, in a range."""
    array = taken(values, np.int16, argument)
    wrong = first(shorts_kernel, array.size, (array,), (low, high))
    if wrong is not None:
        _refuse(array, wrong, argument, f"is out of range; {low}..{high} is right")
    return array


def reals(values: Any, argument: str) -> Any:
    """Return a matrix of finite float32 on the device."""
    array = taken(values, np.float32, argument)
    wrong = first_infinite(array)
    if wrong is not None:
        _refuse(array, wrong, argument, "is not finite")
    return array


def values_of(values: Any, name: str, rules: tuple[int, int, float], argument: str) -> None:
    """Check that a matrix of float32 on the device holds values of a format.

    Parameters
    ----------
    values : (rows, K) float32
    name : str
        The format's.
    rules : (int, int, float)
        Bits of its significand, exponent of its lowest place, its largest value.
    argument : str
        Name used in errors.

    Raises
    ------
    BitlatheError
        One is infinite, NaN or not of the format, or they are no such matrix.
    """
    array = taken(values, np.float32, argument)
    wrong = first(values_kernel, array.size, (array,), rules)
    if wrong is not None:
        _refuse(array, wrong, argument, f"is not a value of {name}; round to it first")


def refuse_bad_pairs(values: Any) -> None:
    """Check that a matrix of uint8 on the device holds outlier-victim pairs.

    Raises
    ------
    BitlatheError
        One is none, or they are no such matrix.
    """
    array = taken(values, np.uint8, "codes")
    wrong = first(pairs_kernel, array.size, (array,), ())
    if wrong is not None:
        words = (
            "is no code of its pair; 0..15 is right, beside a victim (8) an outlier code 1..7 or "
            "9..15"
        )
        _refuse(array, wrong, "codes", words)


def refuse_wide_grains(code: Any, zeros: Any, steps: Any, group: int) -> None:
    """Check that dual-grain weights on the device fit 8 bits.

    Raises
    ------
    BitlatheError
        One does not.
    """
    wrong = first(grains_kernel, code.size, (code, zeros, steps), (group,))
    if wrong is not None:
        n, k = divmod(wrong, code.shape[1])
        raise BitlatheError(f"codes: the weight at index ({n}, {k}) does not fit 8 bits")


def split_halves(values: Any, argument: str) -> list[Any]:
    """Return exponent fields and signed significands of (rows, K) float16 on the device, int32."""
    array = taken(values, np.float16, argument)
    made = [empty(tuple(array.shape), np.int32) for _ in range(2)]
    wrong = first(split_kernel, array.size, (array.view(np.uint16),), (), made)
    if wrong is not None:
        _refuse(array, wrong, argument, "is not finite")
    return made


def decoder_rows(values: Any, low: int, valid: NDArray[np.bool_], argument: str) -> Any:
    """Return the decoder's rows, int32, of (rows, K) int8 weights on the device."""
    array = taken(values, np.int8, argument)
    made = empty(tuple(array.shape), np.int32)
    inputs = array, np.asarray(valid, np.uint8)
    wrong = first(rows_kernel, array.size, inputs, (low,), (made,))
    if wrong is not None:
        _refuse(array, wrong, argument, "is not on the PE's grid")
    return made


def room(shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Return an array on the device for a result, which holds anything."""
    return empty(shape, dtype)
