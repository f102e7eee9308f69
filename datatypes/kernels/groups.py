"""Kernels that code groups: every matrix is float32 of shape (rows, k), cut along its rows.

Groups have ``group`` values, the last of a row being short where ``group`` does not divide k.
Values must be finite. A scale of 0 (of a group of zeros, or where the division underflows) stands
for a group of zeros; rounding makes no other scale 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BitlatheError, unknown_name
from .tables import Book, check_bits, extended_tables, float_constants, groups_of
from .threads import over_rows

Matrix = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# beyond this, a sum of float16 squares whose mean counts may not be exact in float64
MAX_PAPER_GROUP = 1 << 19


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

    mode = _mode(scale)
    if len(books) == 1:
        return _coded(single_kernel(books[0]), x, group, (mode,), threads, out)
    return _coded(search_kernel(books), x, group, (mode,), threads, out, beside="choices")


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
    codes, values = out.codes, out.values

    def work(a: int, b: int) -> None:
        kernel(x[a:b], group, s[a:b], c[a:b], codes[a:b], values[a:b])

    _run(x, threads, work)
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

    kernel = bitmod_kernel(*extended_tables(np.asarray(magnitudes, np.float64), specials))
    return _coded(kernel, x, group, (_mode(scale),), threads, out, beside="choices")


def bitmod_paper(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    unit: float = 1.0,
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code each group as `bitmod` does, in the float16 arithmetic of the released quantiser.

    Parameters
    ----------
    x : (rows, k) float32
        Rounded to float16 first.
    magnitudes, specials
        As for `bitmod`.
    group : int
        At most 2**19.
    unit : float
        The grid is worked with in multiples of this power of two, which matters for the clamps
        of the scale and for subnormals.

    Returns
    -------
    Groups
        A scale of 0 marks a group of zeros that no candidate took, an infinite one a group with
        magnitudes beyond float16.
    """
    from .paper import paper_kernel

    if min(group, x.shape[-1]) > MAX_PAPER_GROUP:
        raise BitlatheError(f"bitmod_paper: group is {group}, must be at most {MAX_PAPER_GROUP}")
    base = np.asarray(magnitudes, np.float64) / unit
    inner, outer = (float(v) / unit for v in specials)
    tables = extended_tables(base, (inner, outer), ties="zero")
    kernel = paper_kernel(*tables, np.float32(unit))
    return _coded(kernel, x, group, (), threads, out, beside="choices")


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

    check_bits("symmetric", bits, 2, 8)
    return _coded(kernel, x, group, (bits, _mode(scale)), threads, out)


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

    check_bits("asymmetric", bits, 1, 8)
    return _coded(kernel, x, group, (bits, _mode(scale)), threads, out, beside="zeros")


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
    from .floats import mx_float

    least, top, _ = float_constants(exponent_bits, mantissa_bits, bias, largest)
    facts = (least, mantissa_bits, top, 31 - exponent_bits - mantissa_bits, _rule(rule))
    return _coded(mx_float, x, group, facts, threads, out, scales=np.uint8)


def mx_integer(
    x: Matrix,
    group: int = 32,
    rule: str = "floor",
    threads: int | None = None,
    out: Groups | None = None,
) -> Groups:
    """Code blocks of MXINT8, 1.6 fixed point in -127/64..127/64 (OCP MX v1.0)."""
    from .floats import mx_integer as kernel

    return _coded(kernel, x, group, (_rule(rule),), threads, out, scales=np.uint8)


def _coded(
    kernel: Callable[..., None],
    x: Matrix,
    group: int,
    facts: tuple[Any, ...],
    threads: int | None,
    out: Groups | None,
    scales: Any = np.float32,
    beside: str | None = None,
) -> Groups:
    """Call ``kernel(x, group, *facts, codes, scales[, beside], values)`` on blocks of rows.

    `scales` is the dtype of the scales; `beside` names the field of `Groups` that the kernel
    writes beside them.
    """
    x, group, out = _prepare(x, group, scales, out)
    made: dict[str, Any] = {}
    if beside is not None:
        made[beside] = np.zeros(out.scales.shape, np.uint8)
    targets = (out.codes, out.scales, *made.values(), out.values)
    _run(x, threads, lambda a, b: kernel(x[a:b], group, *facts, *(t[a:b] for t in targets)))
    return replace(out, **made)


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


def _run(x: Matrix, threads: int | None, work: Callable[[int, int], None]) -> None:
    if x.size:
        over_rows(work, x.shape[0], x.shape[1], threads)


def _mode(scale: str) -> int:
    from .scaling import SCALE_MODES

    if scale not in SCALE_MODES:
        raise BitlatheError(unknown_name("scale of a kernel", scale, SCALE_MODES))
    return SCALE_MODES[scale]


def _rule(rule: str) -> int:
    from .floats import RULES

    if rule not in RULES:
        raise BitlatheError(unknown_name("scale rule", rule, RULES))
    return RULES[rule]
