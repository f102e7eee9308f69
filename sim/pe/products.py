"""Matrix products of quantized operands: dual grain, FP4 shifted into FP8, blocks with scales."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div, whole_number
from .dequantize import result
from .mac import integer_values
from .operands import as_array, lies_there, on_cuda, refuse_nonfinite

Float32Array = npt.NDArray[np.float32]

# largest K whose sum of products of 8 bits fits 32
MAX_LENGTH = (2**31 - 1) // (128 * 128)


class ByteFloat(NamedTuple):
    """A floating-point format of a byte: what an exponent may be, and which bytes are numbers."""

    mantissa_bits: int
    bias: int
    lowest: int
    highest: int
    largest_code: int


# OCP 8-bit floating point 1.0 (2023), table 1. The shifts keep 0.5 .. 6 normal and finite.
BYTE_FLOATS = {
    "fp8_e4m3": ByteFloat(3, 7, -5, 6, 0x7E),
    "fp8_e5m2": ByteFloat(2, 15, -13, 13, 0x7B),
}


def _kernels(cuda: bool) -> Any:
    """Return the module whose kernels run on a device."""
    if cuda:
        from ..cuda import products_kernels as twins

        return twins
    from . import products_kernels

    return products_kernels


def _values(format: str) -> Float32Array:
    """Return the values of a format of the catalogue, by code."""
    from ...datatypes.formats import catalogue

    return np.asarray(catalogue.single(format).values, np.float32)


def _there(values: Any, cuda: bool) -> bool:
    """Return whether an operand is taken from the GPU as it is."""
    return cuda and lies_there(values)


def _codes(values: Any, count: int, argument: str, cuda: bool = False) -> Any:
    if _there(values, cuda):
        from ..cuda.given_kernels import codes

        return codes(values, count, argument)
    array = as_array(values, argument)
    if array.size and array.dtype.kind not in "iu":
        raise BitlatheError(f"{argument}: integers are needed, got {array.dtype}")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < count:
        raise BitlatheError(
            f"{argument}: {array.min()}..{array.max()} is out of range; 0..{count - 1} is right"
        )
    return np.ascontiguousarray(array, np.uint8)


def _scales(values: Any, shape: tuple[int, int], argument: str, cuda: bool = False) -> Any:
    there = _there(values, cuda)
    array = values if there else as_array(values, argument)
    if tuple(array.shape) != shape:
        raise BitlatheError(
            f"{argument}: shape {shape} is needed, one per group, got {tuple(array.shape)}"
        )
    if there:
        from ..cuda.given_kernels import reals

        return reals(array, argument)
    if array.size and array.dtype.kind not in "iuf":
        raise BitlatheError(f"{argument}: real numbers are needed, got {array.dtype}")
    array = np.ascontiguousarray(array, np.float32)
    refuse_nonfinite(array, argument)
    return array


def _matched(left: Any, right: Any) -> None:
    shapes = tuple(left.shape), tuple(right.shape)
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][1] != shapes[1][1]:
        raise BitlatheError(
            f"activations (M, K) and codes (N, K) are needed, got {shapes[0]} and {shapes[1]}"
        )


def dual_grain_matmul(
    activations: npt.ArrayLike,
    codes: npt.ArrayLike,
    zeros: npt.ArrayLike,
    steps: npt.ArrayLike,
    *,
    group: int = 128,
    device: str = "cpu",
) -> npt.NDArray[np.int32]:
    """Multiply INT8 activations by unsigned 4-bit codes that become INT8 on the way.

    ``out[m, n] = sum_k a[m, k] * (code[n, k] - zero[n, g]) * step[n, g]``: an integer product, to
    be multiplied by the scales of the channel and of the activations.

    Parameters
    ----------
    activations : (M, K) array_like of int
        -128..127.
    codes : (N, K) array_like of int
        0..15.
    zeros, steps : (N, ceil(K / group)) array_like of int
        Zero points, 0..15, and integer scales, 1..127, of the groups.
    group : int
        Weights per group along K; the last group may be short.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    (M, N) ndarray of int32

    Raises
    ------
    BitlatheError
        For shapes that do not match, values out of range, weights beyond 8 bits, or a K whose
        sums might pass 32 bits.

    References
    ----------
    .. [1] DGQ, arXiv:2310.04836: the search keeps ``(code - zero) * step`` within -127..127.

    Examples
    --------
    >>> dual_grain_matmul([[1, 2]], [[15, 0]], [[8]], [[10]]).tolist()
    [[-90]]
    """
    cuda = on_cuda(device)
    group = whole_number("group", group, 1)
    if _there(activations, cuda):
        from ..cuda.given_kernels import taken

        acts = taken(activations, np.int8, "activations")
    else:
        acts = integer_values(activations, 8, "activations").astype(np.int8)
    code = _codes(codes, 16, "codes", cuda)
    _matched(acts, code)
    if acts.shape[1] > MAX_LENGTH:
        raise BitlatheError(f"K = {acts.shape[1]}: sums fit 32 bits up to K = {MAX_LENGTH}")
    shape = (code.shape[0], ceil_div(code.shape[1], group))
    zero, step = _codes(zeros, 16, "zeros", cuda), _codes(steps, 128, "steps", cuda)
    if tuple(zero.shape) != shape or tuple(step.shape) != shape:
        raise BitlatheError(
            f"zeros and steps: shape {shape} is needed, one per group of {group}; got "
            f"{tuple(zero.shape)} and {tuple(step.shape)}"
        )
    if any(map(lies_there, (code, zero, step))):
        from ..cuda.given_kernels import refuse_wide_grains

        refuse_wide_grains(code, zero, step, group)
    else:
        _refuse_wide_weights(code, zero, step, group)
    sides = [activations, codes, zeros, steps]
    out: npt.NDArray[np.int32] = result((acts.shape[0], code.shape[0]), np.int32, sides)
    _kernels(cuda).dual_grain_products(acts, code, zero, step, group, out)
    return out


def _refuse_wide_weights(
    code: npt.NDArray[np.uint8],
    zero: npt.NDArray[np.uint8],
    step: npt.NDArray[np.uint8],
    group: int,
) -> None:
    """Raise where a weight does not fit 8 bits: at the ends of its group's codes."""
    if not code.size:
        return
    starts = np.arange(0, code.shape[1], group)
    for ends in (np.minimum.reduceat(code, starts, axis=1), np.maximum.reduceat(code, starts, 1)):
        weight = (ends.astype(np.int32) - zero) * step
        bad = np.argwhere((weight < -128) | (weight > 127))
        if bad.size:
            n, g = (int(i) for i in bad[0])
            raise BitlatheError(
                f"codes: group {g} of row {n} has the weight {weight[n, g]}, -128..127 is right"
            )


def shifted_fp4_matmul(
    activations: npt.ArrayLike,
    codes: npt.ArrayLike,
    shifts: npt.ArrayLike,
    scales: npt.ArrayLike,
    *,
    activation_scales: npt.ArrayLike | None = None,
    group: int = 128,
    format: str = "fp8_e4m3",
    device: str = "cpu",
) -> Float32Array:
    """Multiply FP8 activations by FP4 weights that become FP8 by an addition to their exponent.

    ``out[m, n] = (sum_k a[m, k] * fp4[n, k] * 2**shift[n, g]) * act_scale[m] * scale[n]``, summed
    in float32 in the order of K, each product unrounded.

    Parameters
    ----------
    activations : (M, K) array_like of int
        Codes of the activations' format.
    codes : (N, K) array_like of int
        Codes of FP4 E2M1, 0..15.
    shifts : (N, ceil(K / group)) array_like of int
        What is added to the exponents of a group: -5..6 for E4M3, -13..13 for E5M2, so that every
        weight is a normal number.
    scales : (N,) array_like of float
        Scale of each channel; rounded to float32.
    activation_scales : (M,) array_like of float, optional
        Scale of each token, 1 by default; rounded to float32, as is its product with the sum.
    group : int
        Weights per shift along K; the last group may be short.
    format : {'fp8_e4m3', 'fp8_e5m2'}
        Of activations and shifted weights.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    (M, N) ndarray of float32

    Raises
    ------
    BitlatheError
        For an unknown format, shapes that do not match, codes out of range or of NaN or infinity,
        shifts out of range.

    References
    ----------
    .. [1] ZeroQuant-FP, arXiv:2307.09782: scales of groups as powers of two below their row's.

    Examples
    --------
    >>> shifted_fp4_matmul([[56, 56]], [[1, 15]], [[1]], [1.0]).tolist()  # 1 * 0.5 * 2 - 1 * 6 * 2
    [[-11.0]]
    """
    cuda = on_cuda(device)
    group = whole_number("group", group, 1)
    if format not in BYTE_FLOATS:
        raise BitlatheError(f"format {format!r}: {' or '.join(BYTE_FLOATS)} is right")
    facts = BYTE_FLOATS[format]
    if _there(activations, cuda):
        from ..cuda.given_kernels import byte_floats

        acts = byte_floats(activations, facts.largest_code, "activations")
    else:
        acts = _codes(activations, 256, "activations")
        if ((acts & 127) > facts.largest_code).any():
            raise BitlatheError("activations: a code stands for NaN or infinity; give numbers")
    code = _codes(codes, 16, "codes", cuda)
    _matched(acts, code)
    rows, columns = acts.shape[0], code.shape[0]
    groups = ceil_div(code.shape[1], group)
    there = _there(shifts, cuda)
    shift: Any = shifts if there else as_array(shifts, "shifts")
    if tuple(shift.shape) != (columns, groups) or not (
        there or not shift.size or shift.dtype.kind in "iu"
    ):
        raise BitlatheError(f"shifts: integers of shape {(columns, groups)} are needed")
    if there:
        from ..cuda.given_kernels import shorts

        shift = shorts(shift, facts.lowest, facts.highest, "shifts")
    elif shift.size and not facts.lowest <= int(shift.min()) <= int(shift.max()) <= facts.highest:
        raise BitlatheError(f"shifts: {facts.lowest}..{facts.highest} is right for {format}")
    wide = _scales(_column(scales, cuda, "scales"), (columns, 1), "scales", cuda)
    tokens = np.ones(rows) if activation_scales is None else activation_scales
    name = "activation_scales"
    act_scale = _scales(_column(tokens, cuda, name), (rows, 1), name, cuda)
    given = [activations, codes, shifts, scales]
    given += [] if activation_scales is None else [activation_scales]
    out: Float32Array = result((rows, columns), np.float32, given)
    if cuda:
        each = shift if there else shift.astype(np.int16)
        _kernels(cuda).shifted_products(acts, act_scale, code, each, wide, group, facts[:2], out)
        return out
    fp4 = _values("fp4_e2m1")
    values = _values(format)
    powers = np.repeat(shift, group, axis=1)[:, : code.shape[1]]
    weights = np.ldexp(fp4[code], powers).astype(np.float32)
    _kernels(cuda).scaled_products(
        values[acts], act_scale, weights, wide, max(code.shape[1], 1), out
    )
    return out


def _column(values: Any, cuda: bool, argument: str) -> Any:
    """Return scales as a matrix of one column, where they lie."""
    if _there(values, cuda):
        return values.reshape((-1, 1))
    return as_array(values, argument).reshape(-1, 1)


class Blocks(NamedTuple):
    """An operand of `block_scaled_matmul`.

    Attributes
    ----------
    codes : (rows, K) array_like of int
    scales : (rows, ceil(K / group)) array_like of float
        Of the blocks; rounded to float32.
    grids : (T,) or (members, T) array_like of float
        Values by code, one row per member of a mixture; rounded to float32.
    choices : (rows, ceil(K / group)) array_like of int or None
        Member of each block, such as the value that stands for -0; 0 by default.
    """

    codes: npt.ArrayLike
    scales: npt.ArrayLike
    grids: npt.ArrayLike
    choices: npt.ArrayLike | None = None


class _Checked(NamedTuple):
    """An operand as the kernels take it."""

    codes: npt.NDArray[np.uint8]
    grids: Float32Array
    choices: npt.NDArray[np.int16]
    scales: Float32Array

    def values(self, group: int) -> Float32Array:
        """Return what the codes stand for, without the scales: (rows, K)."""
        wide = np.repeat(self.choices, group, axis=1)[:, : self.codes.shape[1]]
        return self.grids[wide, self.codes]


def _checked(given: Blocks, group: int, argument: str, cuda: bool) -> _Checked:
    grids = np.atleast_2d(np.ascontiguousarray(given.grids, np.float32))
    if grids.ndim != 2 or grids.shape[1] > 256:
        raise BitlatheError(f"{argument}.grids: (members, up to 256 codes) is needed")
    codes = _codes(given.codes, grids.shape[1], f"{argument}.codes", cuda)
    if len(codes.shape) != 2:
        raise BitlatheError(f"{argument}.codes: shape (rows, K) is needed, got {codes.shape}")
    shape = (codes.shape[0], ceil_div(codes.shape[1], group))
    scales = _scales(given.scales, shape, f"{argument}.scales", cuda)
    choices: Any = np.zeros(shape, np.int16)
    if _there(given.choices, cuda):
        from ..cuda.given_kernels import shorts

        choices = shorts(given.choices, 0, grids.shape[0] - 1, f"{argument}.choices")
    elif given.choices is not None:
        choices = _codes(given.choices, grids.shape[0], f"{argument}.choices").astype(np.int16)
    if tuple(choices.shape) != shape:
        raise BitlatheError(f"{argument}.choices: shape {shape} is needed, one per block")
    return _Checked(codes, grids, choices, scales)


def block_scaled_matmul(
    activations: Blocks, weights: Blocks, *, group: int = 32, device: str = "cpu"
) -> Float32Array:
    """Multiply two matrices of codes in blocks with scales: MXFP4, NVFP4, RaZeR.

    ``out[m, n] = sum_g (sum_(k in g) a[m, k] * w[n, k]) * act_scale[m, g] * scale[n, g]``: sums in
    float32 in the order of K, each product unrounded; the sum of a block times the scale of the
    activations is rounded to float32.

    Parameters
    ----------
    activations, weights : Blocks
        Of M and N rows.
    group : int
        Elements of a block along K; the last may be short.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    (M, N) ndarray of float32

    Raises
    ------
    BitlatheError
        For shapes that do not match, codes or choices out of range, scales that are not finite.

    Examples
    --------
    >>> fp4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    >>> side = Blocks(codes=[[7, 1]], scales=[[2.0]], grids=fp4)
    >>> block_scaled_matmul(side, side).tolist()  # (36 + 0.25) * 4
    [[145.0]]
    """
    cuda = on_cuda(device)
    group = whole_number("group", group, 1)
    left = _checked(activations, group, "activations", cuda)
    right = _checked(weights, group, "weights", cuda)
    _matched(left.codes, right.codes)
    sides = (activations, weights)
    given = [each for side in sides for each in (side.codes, side.scales, side.choices)]
    shape = left.codes.shape[0], right.codes.shape[0]
    out: Float32Array = result(shape, np.float32, [each for each in given if each is not None])
    if cuda:
        _kernels(cuda).block_products(left, right, group, out)
        return out
    host = left.values(group), left.scales, right.values(group), right.scales
    _kernels(cuda).scaled_products(*host, group, out)
    return out
