"""Compiled kernels of the datatypes room: arrays in, arrays out, at about the speed of memory.

These functions check shapes, allocate outputs, compile what is needed on first use and spread the
rows over threads. They know nothing of names: grids come as arrays. numba is imported on use.

Every matrix is float32 of shape (rows, k), cut along its rows into groups of ``group`` values, the
last of a row being short where ``group`` does not divide k. Values must be finite (the casts take
NaN and infinity). A scale of 0 (of a group of zeros, or where the
division underflows) stands for a group of zeros; rounding makes no other scale 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BitlatheError, unknown_name
from .tables import Book, cuts_of, groups_of, make_book
from .threads import over_rows

Matrix = NDArray[np.float32]
Bytes = NDArray[np.uint8]

__all__ = [
    "Book",
    "Groups",
    "asymmetric",
    "bitmod",
    "codebooks",
    "codebooks_given",
    "decode_float",
    "encode_float",
    "make_book",
    "mx",
    "mx_integer",
    "pack",
    "pack_e2m1",
    "symmetric",
    "unpack",
    "unpack_e2m1",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What a group kernel makes of a matrix.

    Attributes
    ----------
    codes : (rows, k) uint8
    scales : (rows, groups) float32, or uint8 biased exponents for `mx` and `mx_integer`
    values : (rows, k) float32
        What codes and scales stand for.
    choices : (rows, groups) uint8 or None
        Index of the codebook each group took.
    zeros : (rows, groups) uint8 or None
        Zero points.
    """

    codes: Bytes
    scales: NDArray[Any]
    values: Matrix
    choices: Bytes | None = None
    zeros: Bytes | None = None


def codebooks(
    x: Matrix,
    books: tuple[Book, ...],
    group: int,
    scale: str = "fp32",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code each group with the book of least squared error; scale = absmax / top of the book.

    Parameters
    ----------
    x : (rows, k) float32
        Finite.
    books : tuple of Book
        The first wins among equals.
    group : int
    scale : str
        What scales are rounded to before use: ``fp32`` or ``fp16``.
    threads : int, optional
        All available cores by default. The result does not depend on it.
    out : Groups, optional
        A result of the same call on a matrix of this shape, whose memory is written anew: fresh
        memory costs about as much as the work.
    """
    from .codebook import search_kernel, single_kernel
    from .intrinsics import padded

    mode = _mode(scale)
    x, group, out = _prepare(x, group, np.float32, out)
    if len(books) == 1:
        kernel = single_kernel(books[0])
        _run(
            x,
            threads,
            lambda r: kernel(x[r], group, mode, out.codes[r], out.scales[r], out.values[r]),
        )
        return out
    choices = np.zeros(out.scales.shape, np.uint8)
    search, width = search_kernel(books), padded(group)
    _run(
        x,
        threads,
        lambda r: search(
            x[r], group, width, mode, out.codes[r], out.scales[r], choices[r], out.values[r]
        ),
    )
    return Groups(codes=out.codes, scales=out.scales, values=out.values, choices=choices)


def codebooks_given(
    x: Matrix,
    books: tuple[Book, ...],
    group: int,
    scales: Matrix,
    choices: Bytes,
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code each group with a given book under a given scale (both (rows, groups))."""
    from .codebook import given_kernel

    x, group, out = _prepare(x, group, np.float32, out)
    s = np.ascontiguousarray(scales, np.float32)
    c = np.ascontiguousarray(choices, np.uint8)
    if s.shape != out.scales.shape or c.shape != s.shape:
        raise BitlatheError(
            f"codebooks_given: scales {s.shape} and choices {c.shape} must have the shape "
            f"{out.scales.shape}, one for each group"
        )
    if c.size and int(c.max()) >= len(books):
        raise BitlatheError(f"codebooks_given: choice {int(c.max())} of {len(books)} books")
    kernel = given_kernel(books)
    _run(x, threads, lambda r: kernel(x[r], group, s[r], c[r], out.codes[r], out.values[r]))
    return Groups(codes=out.codes, scales=s, values=out.values, choices=c)


def bitmod(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    scale: str = "fp32",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code each group with the best of a base grid plus one of +-inner, +-outer.

    Parameters
    ----------
    x : (rows, k) float32
    magnitudes : (n,) float
        The base grid's magnitudes by code, from 0 up; the sign is the next bit, and the code of
        -0 stands for the special value.
    specials : (inner, outer)
        Special magnitudes, searched in the order +inner, -inner, +outer, -outer. `inner` lies
        within the base grid, `outer` beyond it.
    group, scale, threads
        As for `codebooks`, with which it agrees bit for bit.
    """
    from .extended import bitmod_kernel
    from .intrinsics import padded

    mode = _mode(scale)
    x, group, out = _prepare(x, group, np.float32, out)
    cuts, values, intervals = _bitmod_tables(np.asarray(magnitudes, np.float64), specials)
    kernel, width = bitmod_kernel(cuts, values, *intervals), padded(group)
    choices = np.zeros(out.scales.shape, np.uint8)
    _run(
        x,
        threads,
        lambda r: kernel(
            x[r], group, width, mode, out.codes[r], out.scales[r], choices[r], out.values[r]
        ),
    )
    return Groups(codes=out.codes, scales=out.scales, values=out.values, choices=choices)


def symmetric(
    x: Matrix,
    bits: int,
    group: int,
    scale: str = "fp32",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code groups in symmetric two's complement, +-(2**(bits-1) - 1), 2..8 bits."""
    from .integer import symmetric as kernel

    _check_bits("symmetric", bits, 2, 8)
    mode = _mode(scale)
    x, group, out = _prepare(x, group, np.float32, out)
    _run(
        x,
        threads,
        lambda r: kernel(x[r], group, bits, mode, out.codes[r], out.scales[r], out.values[r]),
    )
    return out


def asymmetric(
    x: Matrix,
    bits: int,
    group: int,
    scale: str = "fp32",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code groups in unsigned integers with a zero point, range stretched to contain 0."""
    from .integer import asymmetric as kernel

    _check_bits("asymmetric", bits, 1, 8)
    mode = _mode(scale)
    x, group, out = _prepare(x, group, np.float32, out)
    zeros = np.zeros(out.scales.shape, np.uint8)
    _run(
        x,
        threads,
        lambda r: kernel(
            x[r], group, bits, mode, out.codes[r], out.scales[r], zeros[r], out.values[r]
        ),
    )
    return Groups(codes=out.codes, scales=out.scales, values=out.values, zeros=zeros)


def mx(
    x: Matrix,
    exponent_bits: int,
    mantissa_bits: int,
    bias: int,
    largest: float,
    group: int = 32,
    rule: str = "floor",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code blocks of small floats under a shared E8M0 scale (OCP MX v1.0).

    Parameters
    ----------
    x : (rows, k) float32
    exponent_bits, mantissa_bits, bias : int
        Of the element.
    largest : float
        Largest element; larger ones saturate.
    group : int
    rule : str
        Rounding of the scale: ``floor`` (OCP), ``ceil``, ``even`` or ``rceil``.

    Returns
    -------
    Groups
        ``scales`` holds biased exponents: the scale is ``2**(scales - 127)``.
    """
    from .floats import RULES, mx_float

    _check_rule(rule, RULES)
    x, group, out = _prepare(x, group, np.uint8, out)
    least, top, unit, sign = _float_constants(exponent_bits, mantissa_bits, bias, largest)
    number = RULES[rule]
    _run(
        x,
        threads,
        lambda r: mx_float(
            x[r], group, least, mantissa_bits, top, unit, sign, number,
            out.codes[r], out.scales[r], out.values[r],
        ),
    )  # fmt: skip
    return out


def mx_integer(
    x: Matrix,
    group: int = 32,
    rule: str = "floor",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code blocks of MXINT8, 1.6 fixed point in -127/64..127/64 (OCP MX v1.0)."""
    from .floats import RULES
    from .floats import mx_integer as kernel

    _check_rule(rule, RULES)
    x, group, out = _prepare(x, group, np.uint8, out)
    number = RULES[rule]
    _run(
        x,
        threads,
        lambda r: kernel(x[r], group, number, out.codes[r], out.scales[r], out.values[r]),
    )
    return out


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
    from .floats import encode

    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    target = _target(out, flat.size, np.uint8)
    least, top, unit, sign = _float_constants(exponent_bits, mantissa_bits, bias, largest)
    last = int(float(largest) / 2.0 ** (_exponent(largest) - mantissa_bits))
    full = ((_exponent(largest) + 127 - least) << mantissa_bits) + last
    del unit
    # half a step beyond the largest value; a tie leaves the grid where that value's code is odd
    edge = np.float32(largest + 2.0 ** (_exponent(largest) - mantissa_bits - 1))
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
    from .floats import decode

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
    from .floats import pack_e2m1 as kernel

    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    target = _target(out, (flat.size + 1) // 2, np.uint8)
    _pairs(flat.size, threads, lambda r, h: kernel(flat[r], target[h]))
    return target


def unpack_e2m1(
    packed: Bytes, count: int, threads: int | None = None, out: Matrix | None = None
) -> Matrix:
    """Return ``count`` float32 values from packed FP4 E2M1."""
    from .floats import unpack_e2m1 as kernel

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

    _check_bits("pack", bits, 1, 16)
    flat = np.ascontiguousarray(codes).reshape(-1)
    out = np.zeros((flat.size * bits + 7) // 8, np.uint8)
    _eights(flat.size, bits, threads, lambda r, h: kernel(flat[r], bits, out[h]))
    return out


def unpack(packed: Bytes, bits: int, count: int, threads: int | None = None) -> NDArray[Any]:
    """Return ``count`` codes of ``bits`` bits: uint8 up to 8 bits, uint16 above."""
    from .packing import unpack as kernel

    _check_bits("unpack", bits, 1, 16)
    raw = np.ascontiguousarray(packed, np.uint8).reshape(-1)
    if raw.size < (count * bits + 7) // 8:
        raise BitlatheError(
            f"unpack: {count} codes of {bits} bits need {(count * bits + 7) // 8} bytes, "
            f"got {raw.size}"
        )
    out = np.empty(count, np.uint8 if bits <= 8 else np.uint16)
    _eights(count, bits, threads, lambda r, h: kernel(raw[h], bits, out[r]))
    return out


def _prepare(
    x: Matrix, group: int, scale_dtype: Any, out: Groups | None
) -> tuple[Matrix, int, Groups]:
    if x.ndim != 2:
        raise BitlatheError(f"kernels: a (rows, k) matrix expected, got shape {x.shape}")
    if group < 1:
        raise BitlatheError(f"kernels: group is {group}, must be at least 1")
    x = np.ascontiguousarray(x, np.float32)
    rows, k = x.shape
    shape = (rows, groups_of(k, group))
    if out is None:
        out = Groups(
            codes=np.empty(x.shape, np.uint8),
            scales=np.empty(shape, scale_dtype),
            values=np.empty(x.shape, np.float32),
        )
    elif out.codes.shape != x.shape or out.scales.shape != shape:
        raise BitlatheError(
            f"kernels: out holds codes {out.codes.shape} and scales {out.scales.shape}, but "
            f"{x.shape} and {shape} are needed"
        )
    return x, min(group, max(k, 1)), out


def _target(out: NDArray[Any] | None, size: int, dtype: Any) -> NDArray[Any]:
    if out is None:
        return np.empty(size, dtype)
    if out.size != size or out.dtype != dtype or not out.flags.c_contiguous:
        raise BitlatheError(
            f"kernels: out must be {size} contiguous values of {np.dtype(dtype)}, got "
            f"{out.size} of {out.dtype}"
        )
    return out.reshape(-1)


def _run(x: Matrix, threads: int | None, work: Any) -> None:
    if x.size:
        over_rows(lambda a, b: work(slice(a, b)), x.shape[0], x.shape[1], threads)


def _flat(size: int, threads: int | None, work: Any, unit: int = 1 << 12) -> None:
    blocks = -(-size // unit)
    if size:
        over_rows(lambda a, b: work(slice(a * unit, min(b * unit, size))), blocks, unit, threads)


def _pairs(size: int, threads: int | None, work: Any) -> None:
    _flat(size, threads, lambda r: work(r, slice(r.start // 2, (r.stop + 1) // 2)))


def _eights(size: int, bits: int, threads: int | None, work: Any) -> None:
    _flat(size, threads, lambda r: work(r, slice(r.start * bits // 8, (r.stop * bits + 7) // 8)))


def _mode(scale: str) -> int:
    from .scaling import SCALE_MODES

    if scale not in SCALE_MODES:
        raise BitlatheError(unknown_name("scale of a kernel", scale, SCALE_MODES))
    return SCALE_MODES[scale]


def _check_bits(name: str, bits: int, low: int, high: int) -> None:
    if not low <= bits <= high:
        raise BitlatheError(f"{name}: bits is {bits}, must be {low}..{high}")


def _check_rule(rule: str, known: Any) -> None:
    if rule not in known:
        raise BitlatheError(unknown_name("scale rule", rule, known))


def _exponent(value: float) -> int:
    return int(np.frexp(value)[1]) - 1


def _float_constants(
    exponent_bits: int, mantissa_bits: int, bias: int, largest: float
) -> tuple[int, int, np.float32, int]:
    sign = 1 << (exponent_bits + mantissa_bits)
    top = int(np.float32(largest).view(np.uint32))
    return 128 - bias, top, np.float32(2.0 ** (127 - bias)), sign


def _bitmod_tables(magnitudes: NDArray[np.float64], specials: tuple[float, float]) -> Any:
    """Return cuts, magnitudes and the intervals of the special values, ties to the even code.

    A tie between two even codes (the special value's code is even) goes toward zero.
    """
    inner, outer = float(specials[0]), float(specials[1])
    count = magnitudes.size
    rising = count > 1 and magnitudes[0] == 0 and bool((np.diff(magnitudes) > 0).all())
    if not rising or not 0 < inner < magnitudes[-1] < outer:
        raise BitlatheError(
            f"bitmod: magnitudes {magnitudes.tolist()} must rise from 0, and the specials "
            f"{specials} lie one within and one beyond them"
        )
    cuts = cuts_of(magnitudes, np.arange(1, count) % 2 == 0)
    intervals = []
    for v in (inner, outer):
        at = int(np.searchsorted(magnitudes, v))
        # the special value is taken on a tie with an odd neighbour
        low = cuts_of(np.array([magnitudes[at - 1], v]), np.array([(at - 1) % 2 == 1]))[0]
        high = np.float32(np.inf)
        if at < count:
            high = cuts_of(np.array([v, magnitudes[at]]), np.array([False]))[0]
        intervals.append((np.float32(v), low, high))
    return (
        tuple(np.float32(c) for c in cuts),
        tuple(np.float32(m) for m in magnitudes),
        tuple(intervals),
    )
