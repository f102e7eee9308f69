"""Element casts between float32 and small floats, and the packing of codes to the last bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import BitlatheError
from ...base.numbers import whole_number
from ..base.tables import float_constants, power_of
from ..base.threads import over_rows

Matrix = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def encode_float(
    x: Matrix,
    exponent_bits: int,
    mantissa_bits: int,
    bias: int,
    largest: float,
    over: int | None = None,
    nan: int = 0,
    threads: int | None = None,
    out: Bytes | None = None,
) -> Bytes:
    """Cast float32 of any shape to codes of a small float, ties to even.

    Parameters
    ----------
    x : float32, any shape
    exponent_bits, mantissa_bits, bias : int
    largest : float
        Largest finite value of the format.
    over : int, optional
        Magnitude code of what rounds beyond `largest` (that of infinity or NaN); saturates by
        default, infinity included.
    nan : int
        Magnitude code given to NaN.

    Returns
    -------
    uint8 of the shape of x
    """
    from ..grids.floats import encode

    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    target = _target(out, flat.size, np.uint8)
    least, top, sign = float_constants(exponent_bits, mantissa_bits, bias, largest)
    last = int(float(largest) / 2.0 ** (power_of(largest) - mantissa_bits))
    full = ((power_of(largest) + 127 - least) << mantissa_bits) + last
    # half a step beyond the largest value; a tie leaves the grid where that value's code is odd
    edge = np.float32(largest + 2.0 ** (power_of(largest) - mantissa_bits - 1))
    limit = int(edge.view(np.uint32)) - full % 2
    beyond = full if over is None else over
    _flat(
        flat.size,
        threads,
        lambda r: encode(flat[r], least, mantissa_bits, top, limit, beyond, nan, sign, target[r]),
    )
    return target.reshape(np.shape(x))


def decode_float(
    codes: Bytes,
    exponent_bits: int,
    mantissa_bits: int,
    bias: int,
    special: int | None = None,
    inf: int | None = None,
    threads: int | None = None,
    out: Matrix | None = None,
) -> Matrix:
    """Cast codes of a small float to float32.

    Parameters
    ----------
    codes : uint8, any shape
    exponent_bits, mantissa_bits, bias : int
    special : int, optional
        Magnitude codes from here on are NaN, except `inf`.
    inf : int, optional
        Magnitude code of infinity.
    """
    from ..grids.floats import decode

    flat = np.ascontiguousarray(codes, np.uint8).reshape(-1)
    target = _target(out, flat.size, np.float32)
    unit = np.float32(2.0 ** (127 - bias))
    sign = 1 << (exponent_bits + mantissa_bits)
    first = sign if special is None else special
    infinity = 0xFFFF if inf is None else inf
    _flat(
        flat.size,
        threads,
        lambda r: decode(flat[r], mantissa_bits, unit, first, infinity, sign, target[r]),
    )
    return target.reshape(np.shape(codes))


def pack_e2m1(x: Matrix, threads: int | None = None, out: Bytes | None = None) -> Bytes:
    """Cast float32 to FP4 E2M1, saturating, ties to even, two codes a byte, first one low.

    The elements are taken in C order; an odd count leaves the last half byte 0.
    """
    from ..grids.floats import pack_e2m1 as kernel

    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    target = _target(out, (flat.size + 1) // 2, np.uint8)
    _pairs(flat.size, threads, lambda r, h: kernel(flat[r], target[h]))
    return target


def unpack_e2m1(
    packed: Bytes, count: int, threads: int | None = None, out: Matrix | None = None
) -> Matrix:
    """Return ``count`` float32 values from packed FP4 E2M1."""
    from ..grids.floats import unpack_e2m1 as kernel

    raw = np.ascontiguousarray(packed, np.uint8).reshape(-1)
    if raw.size < (count + 1) // 2:
        raise BitlatheError(
            f"unpack_e2m1: {count} values need {(count + 1) // 2} bytes, got {raw.size}"
        )
    target = _target(out, count, np.float32)
    _pairs(count, threads, lambda r, h: kernel(raw[h], target[r]))
    return target


def pack(codes: NDArray[Any], bits: int, threads: int | None = None) -> Bytes:
    """Pack codes, in C order, to the last bit: ``ceil(size * bits / 8)`` bytes, low bits first.

    Parameters
    ----------
    codes : uint8 or uint16, any shape
        Bits above ``bits`` are dropped.
    bits : int
        1..16.
    """
    from .packing import pack as kernel

    whole_number("pack: bits", bits, 1, 16)
    flat = np.ascontiguousarray(codes).reshape(-1)
    out = np.zeros((flat.size * bits + 7) // 8, np.uint8)
    _eights(flat.size, bits, threads, lambda r, h: kernel(flat[r], bits, out[h]))
    return out


def unpack(packed: Bytes, bits: int, count: int, threads: int | None = None) -> NDArray[Any]:
    """Return ``count`` codes of ``bits`` bits: uint8 up to 8 bits, uint16 above."""
    from .packing import unpack as kernel

    whole_number("unpack: bits", bits, 1, 16)
    raw = np.ascontiguousarray(packed, np.uint8).reshape(-1)
    if raw.size < (count * bits + 7) // 8:
        raise BitlatheError(
            f"unpack: {count} codes of {bits} bits need {(count * bits + 7) // 8} bytes, "
            f"got {raw.size}"
        )
    out = np.empty(count, np.uint8 if bits <= 8 else np.uint16)
    _eights(count, bits, threads, lambda r, h: kernel(raw[h], bits, out[r]))
    return out


def _target(out: NDArray[Any] | None, size: int, dtype: Any) -> NDArray[Any]:
    if out is None:
        return np.empty(size, dtype)
    if out.size != size or out.dtype != dtype or not out.flags.c_contiguous:
        raise BitlatheError(
            f"kernels: out must be {size} contiguous values of {np.dtype(dtype)}, got "
            f"{out.size} of {out.dtype}"
        )
    return out.reshape(-1)


def _flat(size: int, threads: int | None, work: Any, unit: int = 1 << 12) -> None:
    blocks = -(-size // unit)
    if size:
        over_rows(lambda a, b: work(slice(a * unit, min(b * unit, size))), blocks, unit, threads)


def _pairs(size: int, threads: int | None, work: Any) -> None:
    _flat(size, threads, lambda r: work(r, slice(r.start // 2, (r.stop + 1) // 2)))


def _eights(size: int, bits: int, threads: int | None, work: Any) -> None:
    _flat(size, threads, lambda r: work(r, slice(r.start * bits // 8, (r.stop * bits + 7) // 8)))
