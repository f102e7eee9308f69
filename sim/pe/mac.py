"""Bit-parallel PEs: integer and floating-point MACs, look-up tables, ANT and OliVe decoders.

Each function takes activations ``(..., K)`` and weights ``(..., K)`` whose leading axes broadcast,
and returns the accumulator of the PE after K products, in the order of the last axis:
those of ``lanes`` inputs a clock, zeros where the last clock has no inputs left.

Sources: ANT (MICRO 2022) for flint as mantissa and shift; OliVe (ISCA 2023, arXiv 2304.07493) for
the pair decoder; ShiftAddLLM (arXiv 2406.05981) for tables of activation sums.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ...arch.pe import AntPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ...datatypes.base.errors import BitlatheError, unknown_name
from ...datatypes.base.numbers import ceil_div
from ...datatypes.terms.table import term_table
from .operands import (
    as_array,
    first_index,
    lies_there,
    matrix,
    on_cuda,
    pair_rows,
    refuse_nonfinite,
)

PE = TypeVar("PE", IntMacPE, FpMacPE, LutPE, AntPE, OlivePE)

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


class FloatFormat(NamedTuple):
    """A floating-point format as the MAC kernels take it."""

    significand_bits: int
    lowest_exponent: int
    largest: float


# IEEE 754-2019; Google's bfloat16; OCP FP8 1.0 and MX 1.0. The exponent is that of the last place
# of a subnormal.
FLOAT_FORMATS: dict[str, FloatFormat] = {
    "fp32": FloatFormat(24, -149, float(np.finfo(np.float32).max)),
    "fp16": FloatFormat(11, -24, 65504.0),
    "bf16": FloatFormat(8, -133, float(255 * 2.0**120)),
    "fp8_e4m3": FloatFormat(4, -9, 448.0),
    "fp8_e5m2": FloatFormat(3, -16, 57344.0),
    "fp6_e2m3": FloatFormat(4, -3, 7.5),
    "fp6_e3m2": FloatFormat(3, -4, 28.0),
    "fp4_e2m1": FloatFormat(2, -1, 6.0),
    # integer weight ports of a floating-point MAC, +-(2**(bits - 1) - 1)
    "int8": FloatFormat(7, 0, 127.0),
    "int4": FloatFormat(3, 0, 7.0),
}


def float_format(name: str) -> FloatFormat:
    """Return a format that a floating-point MAC can take, by name.

    Raises
    ------
    BitlatheError
        If it cannot; the error lists those it can.
    """
    if name not in FLOAT_FORMATS:
        raise BitlatheError(
            unknown_name("format of a floating-point MAC", str(name), FLOAT_FORMATS)
        )
    return FLOAT_FORMATS[name]


def float_values(values: npt.ArrayLike, name: str, argument: str) -> Float64Array:
    """Return an array of any shape (...) as float64.

    Raises
    ------
    BitlatheError
        If a value is not a finite value of the format ``name``; the first index is named.
    """
    array = as_array(values, argument)
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise BitlatheError(f"{argument}: real numbers are needed, got {array.dtype}")
    array = array.astype(np.float64)
    refuse_nonfinite(array, argument)
    bits, lowest, largest = float_format(name)
    exponent = np.maximum(np.frexp(array)[1] - bits, lowest)
    scaled = np.ldexp(array, -exponent)
    bad = (scaled != np.rint(scaled)) | (np.abs(array) > largest)
    if bad.any():
        index = first_index(bad)
        raise BitlatheError(
            f"{argument}: {array[index]} at index {index} is not a value of {name}; round to it "
            "first"
        )
    return array


def integer_values(
    values: npt.ArrayLike, bits: int, argument: str, unsigned: bool = False
) -> Int64Array:
    """Return an array as int64.

    Parameters
    ----------
    values : (...) array_like of int
        Of any shape.
    bits : int
        Width, the sign included.
    argument : str
        Name used in errors.
    unsigned : bool
        Without a sign.

    Raises
    ------
    BitlatheError
        If a value is not an integer or does not fit the width; the first index is named.
    """
    array = as_array(values, argument)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise BitlatheError(f"{argument}: integers are needed, got {array.dtype}")
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    bad = (array < low) | (array > high)
    if bad.any():
        index = first_index(bad)
        raise BitlatheError(
            f"{argument}: {array[index]} at index {index} does not fit {bits} bits; {low}..{high} "
            "is right"
        )
    return array.astype(np.int64)


def _floats(values: Any, name: str, argument: str, device: str) -> Any:
    """Return values of a format: float64, or as they lie on the device."""
    if not (on_cuda(device) and lies_there(values)):
        return float_values(values, name, argument)
    from ..cuda.given_kernels import values_of

    values_of(matrix(values), name, float_format(name), argument)
    return values


def _integers(values: Any, bits: int, argument: str, device: str, unsigned: bool = False) -> Any:
    """Return integers of a width: int64, or as they lie on the device, int16."""
    if not (on_cuda(device) and lies_there(values)):
        return integer_values(values, bits, argument, unsigned)
    from ..cuda.given_kernels import shorts

    half = 1 << (bits - 1)
    low, high = (0, 2 * half - 1) if unsigned else (-half, half - 1)
    shorts(matrix(values), low, high, argument)
    return values


def _pe(given: PE | None, kind: type[PE]) -> PE:
    """Return the PE of a call, the kind's defaults if none is given."""
    if given is not None and not isinstance(given, kind):
        raise BitlatheError(f"pe: {kind.__name__} is needed, got {given!r}")
    return kind() if given is None else given


def _integer_dots(activations: Any, weights: Any, mac: IntMacPE, run: Callable[..., None]) -> Any:
    """Sum products by ``run(activations, weights, rows, columns, lanes, bits, saturate, out)``."""
    lead, rows, columns = pair_rows(tuple(activations.shape), tuple(weights.shape))
    out = np.zeros(rows.size, dtype=np.int64)
    rules = mac.lanes, mac.accumulator_bits, mac.overflow == "saturate"
    run(matrix(activations), matrix(weights), rows, columns, *rules, out)
    return out.reshape(lead)[()]


def _kernels(device: str) -> Any:
    """Return the module whose kernels run on a device."""
    if on_cuda(device):
        from ..cuda import mac_kernels as twins

        return twins
    from . import mac_kernels

    return mac_kernels


def int_mac_dot(
    activations: npt.ArrayLike,
    weights: npt.ArrayLike,
    pe: IntMacPE | None = None,
    *,
    device: str = "cpu",
) -> Any:
    """Sum integer products in an accumulator of fixed width.

    Parameters
    ----------
    activations, weights : (..., K) array_like of int
        Signed integers of the PE's widths.
    pe : IntMacPE, optional
        INT8 x INT8 into 32 bits, saturating, by default.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    ndarray of int64, or a scalar

    Raises
    ------
    BitlatheError
        If a value does not fit its width or the shapes do not match.

    Examples
    --------
    >>> int(int_mac_dot([100, 100], [100, 100], IntMacPE(accumulator_bits=14)))
    8191
    """
    mac = _pe(pe, IntMacPE)
    return _integer_dots(
        _integers(activations, mac.activation_bits, "activations", device),
        _integers(weights, mac.weight_bits, "weights", device),
        mac,
        _kernels(device).int_dots,
    )


def fp_rules(mac: FpMacPE) -> tuple[bool, tuple[Any, ...], tuple[Any, ...], bool]:
    """Return (product rounded, product format, accumulator format, saturate) for the kernels.

    Raises
    ------
    BitlatheError
        If the PE names a format or an overflow rule that does not exist.
    """
    accumulator = tuple(float_format(mac.accumulator))
    product = tuple(float_format(mac.product)) if mac.product else accumulator
    return mac.product is not None, product, accumulator, mac.overflow == "saturate"


def fp_mac_dot(
    activations: npt.ArrayLike,
    weights: npt.ArrayLike,
    pe: FpMacPE | None = None,
    *,
    device: str = "cpu",
) -> Any:
    """Sum floating-point products, each addition rounded to nearest even in the accumulator.

    Parameters
    ----------
    activations, weights : (..., K) array_like of float
        Values of the PE's formats.
    pe : FpMacPE, optional
        FP16 x FP16, fused, into FP32 by default.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    ndarray of float64, or a scalar
        Values of the accumulator's format; infinite after an overflow unless the PE saturates,
        and NaN where infinities of both signs meet, as IEEE 754 has it.

    Raises
    ------
    BitlatheError
        If a value is NaN, infinite or not of its format, or the shapes do not match.
    """
    fp_dots = _kernels(device).fp_dots
    mac = _pe(pe, FpMacPE)
    rules = fp_rules(mac)
    acts = _floats(activations, mac.activation, "activations", device)
    wts = _floats(weights, mac.weight, "weights", device)
    lead, rows, columns = pair_rows(tuple(acts.shape), tuple(wts.shape))
    out = np.zeros(rows.size, dtype=np.float64)
    fp_dots(matrix(acts), matrix(wts), rows, columns, mac.lanes, rules, out)
    return out.reshape(lead)[()]


def lut_tables(
    activations: npt.ArrayLike,
    pe: LutPE | None = None,
    *,
    device: str = "cpu",
) -> Float64Array:
    """Fill the tables of all signed sums of each run of activations.

    Parameters
    ----------
    activations : (M, K) array_like of float
        FP16 values.
    pe : LutPE, optional
        Eight inputs, FP16 entries by default.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    (M, ceil(K / inputs), 2**inputs) ndarray of float64
        Entry e adds activation i with a plus where bit i of e is 1, else with a minus; sums are
        rounded to the table's format at every node of a balanced tree.

    Raises
    ------
    BitlatheError
        If the activations are not a matrix of finite FP16 values.
    """
    build_tables = _kernels(device).build_tables
    lut = _pe(pe, LutPE)
    acts = _floats(activations, "fp16", "activations", device)
    if len(acts.shape) != 2:
        raise BitlatheError(f"activations: shape (M, K) is needed, got {tuple(acts.shape)}")
    chunks = ceil_div(acts.shape[1], lut.inputs)
    tables = np.zeros((acts.shape[0], chunks, 1 << lut.inputs), dtype=np.float64)
    build_tables(acts, lut.inputs, tuple(float_format(lut.table)), tables)
    return tables


def lut_matmul(
    activations: npt.ArrayLike,
    planes: npt.ArrayLike,
    scale_exponents: npt.ArrayLike,
    pe: LutPE | None = None,
    *,
    device: str = "cpu",
) -> Float64Array:
    """Multiply by sums of signed powers of two with look-ups and additions only.

    ``output[m, n] = sum over q of 2**scale[n, q] * sum over k of +-activation[m, k]``; the power
    of two is an addition to the exponent.

    Parameters
    ----------
    activations : (M, K) array_like of float
        FP16 values.
    planes : (N, Q, ceil(K / inputs)) array_like of int
        Table index of each run of weights: bit i is 1 where weight i of the plane is +1.
    scale_exponents : (N, Q) array_like of int
        Power of two of each plane, -64..64.
    pe : LutPE, optional
        Eight inputs, FP16 tables, FP32 accumulators by default.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    (M, N) ndarray of float64
        Values of the accumulator's format.

    Raises
    ------
    BitlatheError
        If shapes do not match, an activation is not an FP16 value, or an index or a scale is out
        of range.
    """
    lut_products = _kernels(device).lut_products
    lut = _pe(pe, LutPE)
    tables = lut_tables(activations, lut, device=device)
    codes = _integers(planes, lut.inputs, "planes", device, unsigned=True)
    scales = _integers(scale_exponents, 8, "scale_exponents", device)
    sides = tuple(codes.shape), tuple(scales.shape)
    if len(sides[0]) != 3 or sides[0][2] != tables.shape[1] or sides[1] != sides[0][:2]:
        raise BitlatheError(
            f"planes (N, Q, {tables.shape[1]}) and scale_exponents (N, Q) are needed for "
            f"{tables.shape[1]} tables of {lut.inputs} inputs, got {sides[0]} and {sides[1]}"
        )
    _refuse_far(scales, device)
    out = np.zeros((tables.shape[0], codes.shape[0]), dtype=np.float64)
    lut_products(tables, codes, scales, tuple(float_format(lut.accumulator)), out)
    return out


def _refuse_far(scales: Any, device: str) -> None:
    """Check that exponents of planes are in -64..64."""
    if on_cuda(device) and lies_there(scales):
        from ..cuda.given_kernels import shorts

        shorts(matrix(scales), -64, 64, "scale_exponents")
    elif scales.size and int(np.abs(scales).max()) > 64:
        raise BitlatheError("scale_exponents: -64..64 is right")


class Flint(NamedTuple):
    """A decoded flint: ``value = mantissa << shift``, the mantissa signed and odd or zero."""

    mantissa: Int64Array
    shift: Int64Array


def flint_decode(codes: npt.ArrayLike, format: str = "flint4") -> Flint:
    """Decode flint (or any grid of integers) into a mantissa and a shift, as ANT's decoder does.

    Parameters
    ----------
    codes : (...) array_like of int
        Codes of the format.
    format : str
        A format of the catalogue whose values are integers.

    Returns
    -------
    Flint

    Raises
    ------
    BitlatheError
        If the format is a mixture, wider than 8 bits or not of integers, or a code is not its.
    """
    table = _flint_table(format)
    array = integer_values(codes, table.mantissa.size.bit_length() - 1, "codes", unsigned=True)
    return Flint(table.mantissa[array], table.shift[array])


def _flint_table(format: str) -> Flint:
    """Return mantissas and shifts by code."""
    from ...datatypes.formats import catalogue
    from ...datatypes.formats.format import Format

    fmt = catalogue.element(format)
    if not isinstance(fmt, Format) or fmt.bits > 8:
        raise BitlatheError(f"format {format!r}: the decoder takes single formats up to 8 bits")
    table = term_table(fmt.values, fmt.bits)
    if not table.exact or table.unit < 1:
        raise BitlatheError(f"format {format!r}: the decoder takes formats of integers")
    value = table.grid * int(table.unit)
    lowest = value & -value
    shift = np.where(value == 0, 0, np.bitwise_count(np.maximum(lowest - 1, 0))).astype(np.int64)
    return Flint(value >> shift, shift)


def ant_dot(
    activations: npt.ArrayLike,
    codes: npt.ArrayLike,
    pe: AntPE | None = None,
    *,
    device: str = "cpu",
) -> Any:
    """Sum products of integer activations and flint codes: multiply by the mantissa, then shift.

    Parameters
    ----------
    activations : (..., K) array_like of int
        Integers of the MAC's activation width.
    codes : (..., K) array_like of int
        Codes of the PE's format.
    pe : AntPE, optional
        FLINT4 weights, INT8 activations, 32 bits saturating by default.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    ndarray of int64, or a scalar
    """
    ant = _pe(pe, AntPE)
    acts = _integers(activations, ant.mac.activation_bits, "activations", device)
    kernels = _kernels(device)
    if not on_cuda(device):
        flint = flint_decode(codes, ant.format)
        return _integer_dots(acts, flint.mantissa << flint.shift, ant.mac, kernels.int_dots)
    table = _flint_table(ant.format)
    run = partial(kernels.flint_dots, tables=table)
    if lies_there(codes):
        from ..cuda.given_kernels import codes as checked

        checked(matrix(codes), table.mantissa.size, "codes")
        return _integer_dots(acts, codes, ant.mac, run)
    flint_decode(codes, ant.format)  # refuses what is no code
    return _integer_dots(acts, as_array(codes, "codes"), ant.mac, run)


def olive_decode(codes: npt.ArrayLike) -> Int64Array:
    """Decode outlier-victim pairs of 4-bit codes into integers, with shifts and a multiplexer.

    A code 1000 marks a victim, which is 0, and makes its neighbor an outlier: sign, two exponent
    bits e, one mantissa bit m, value ``(2 + m) << (e + 2)``. Other pairs are two's complement.

    Parameters
    ----------
    codes : (..., K) array_like of int
        Codes; pairs are taken from the left, a last one without a partner is a plain integer.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    BitlatheError
        For two victims in a pair, and for an outlier code 0, which stands for nothing.

    Examples
    --------
    >>> olive_decode([8, 1, 15, 7]).tolist()
    [0, 12, -1, 7]
    """
    array = integer_values(codes, 4, "codes", unsigned=True)
    if array.ndim == 0:
        raise BitlatheError("codes: at least one axis is needed, the pairs run along the last")
    length = array.shape[-1]
    wide = np.zeros((*array.shape[:-1], length + length % 2), dtype=np.int64)
    wide[..., :length] = array
    pairs = wide.reshape(*array.shape[:-1], -1, 2)
    victim = pairs == 8
    outlier = victim[..., ::-1]
    magnitude = (2 + (pairs & 1)) << (((pairs >> 1) & 3) + 2)
    bad = outlier & (pairs & 7 == 0)
    if bad.any():
        raise BitlatheError(
            f"codes: the pair at index {first_index(bad)[:-1]} is {pairs[first_index(bad)[:-1]]}; "
            "beside a victim (8) an outlier code 1..7 or 9..15 is right"
        )
    normal = pairs - 16 * (pairs >> 3)
    value = np.where(outlier, np.where(pairs >> 3, -magnitude, magnitude), normal)
    return np.where(victim, 0, value).reshape(wide.shape)[..., :length]


def olive_dot(
    activations: npt.ArrayLike,
    codes: npt.ArrayLike,
    pe: OlivePE | None = None,
    *,
    device: str = "cpu",
) -> Any:
    """Sum products of integer activations and outlier-victim pairs.

    Parameters
    ----------
    activations : (..., K) array_like of int
        Integers of the MAC's activation width.
    codes : (..., K) array_like of int
        4-bit codes of the weights.
    pe : OlivePE, optional
        INT8 activations, 32 bits saturating by default.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits.

    Returns
    -------
    ndarray of int64, or a scalar
    """
    olive = _pe(pe, OlivePE)
    acts = _integers(activations, olive.mac.activation_bits, "activations", device)
    kernels = _kernels(device)
    if on_cuda(device) and lies_there(codes):
        from ..cuda.given_kernels import refuse_bad_pairs

        refuse_bad_pairs(matrix(codes))
        return _integer_dots(acts, codes, olive.mac, kernels.pair_dots)
    weights = olive_decode(codes)
    if not on_cuda(device):
        return _integer_dots(acts, weights, olive.mac, kernels.int_dots)
    return _integer_dots(acts, as_array(codes, "codes"), olive.mac, kernels.pair_dots)
