"""Kernels that code groups: every matrix is float32 of shape (rows, k), cut along its rows.

Groups have ``group`` values, the last of a row being short where ``group`` does not divide k.
Values must be finite. A scale of 0 (of a group of zeros, or where the division underflows) stands
for a group of zeros; rounding makes no other scale 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...base.errors import BitlatheError, unknown_name
from ...base.numbers import whole_number
from ..base.tables import Book, extended_tables, float_constants, groups_of
from ..base.threads import over_rows

Matrix = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# values of scratch for what is not wanted: it stays in the second-level cache
STRIP = 1 << 15
# beyond this, a sum of float16 squares whose mean counts may not be exact in float64
MAX_PAPER_GROUP = 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What a group kernel makes of a matrix.

    Attributes
    ----------
    codes : (rows, k) uint8
    scales : (rows, groups) float32, or uint8 biased exponents for `mx` and `mx_integer`
    values : (rows, k) float32, or None if not wanted
        What codes and scales stand for.
    choices : (rows, groups) uint8 or None
        Index of the codebook each group took.
    zeros : (rows, groups) uint8 or None
        Zero points.
    """

    codes: Bytes
    scales: NDArray[Any]
    values: Matrix | None = None
    choices: Bytes | None = None
    zeros: Bytes | None = None


class Options(TypedDict, total=False):
    """What every kernel here takes beside its numbers.

    Attributes
    ----------
    threads : int or None
        All available cores by default. The result does not depend on it.
    out : Groups or None
        A result of the same call on a matrix of this shape, whose memory is overwritten: fresh
        memory costs about as much as the work.
    values : bool
        Whether the values that codes stand for are wanted (they are, by default); without, they
        never leave the cache.
    """

    threads: int | None
    out: Groups | None
    values: bool


def codebooks(
    x: Matrix,
    books: tuple[Book, ...],
    group: int,
    scale: str = "fp32",
    **options: Unpack[Options],
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
    **options : Options
    """
    from .codebook import search_kernel, single_kernel

    if len(books) == 1:
        return _coded(single_kernel(books[0]), x, group, (_mode(scale),), options)
    return _coded(search_kernel(books), x, group, (_mode(scale), True), options, beside="choices")


def codebooks_given(
    x: Matrix,
    books: tuple[Book, ...],
    group: int,
    scales: Matrix,
    choices: Bytes,
    **options: Unpack[Options],
) -> Groups:
    """Code each group with a given book under a given scale.

    Parameters
    ----------
    x : (rows, k) float32
        Finite.
    books : tuple of Book
    group : int
    scales : (rows, groups) float32
    choices : (rows, groups) uint8
        Index of each group's book.
    **options : Options
    """
    from .codebook import given_kernel

    return _given(given_kernel(books), len(books), x, group, scales, choices, options)


def errors_given(
    x: Matrix, book: Book, group: int, scales: Matrix, threads: int | None = None
) -> tuple[Bytes, NDArray[np.float64]]:
    """Code each group with a book under a given scale; return codes and squared errors.

    Parameters
    ----------
    x : (rows, k) float32
        Finite.
    book : Book
    group : int
    scales : (rows, groups) float32
    threads : int, optional

    Returns
    -------
    codes : (rows, k) uint8
    errors : (rows, groups) float64
        Sums in numpy's order, short groups filled with 0; of values, which are written to strips
        only.
    """
    from ..base.scaling import GIVEN
    from ..base.squares import squares_of
    from .codebook import single_kernel

    x, group = _checked(x, group)
    kernel, s = single_kernel(book), np.ascontiguousarray(scales, np.float32)
    codes, errors = np.empty(x.shape, np.uint8), np.zeros(s.shape, np.float64)
    beside, (rows, k) = np.zeros(s.shape, np.uint8), x.shape
    strip = max(1, STRIP // max(k, 1))

    def work(first: int, last: int) -> None:
        values = np.empty((min(strip, last - first), k), np.float32)
        for a in range(first, last, strip):
            b = min(a + strip, last)
            made = values[: b - a]
            kernel(x[a:b], group, (GIVEN,), s[a:b], beside[a:b], codes[a:b], made)
            squares_of(x[a:b], made, group, errors[a:b])

    if x.size:
        over_rows(work, rows, k, threads)
    return codes, errors


def codes_shifted(
    x: Matrix,
    book: Book,
    group: int,
    scales: Matrix,
    shifts: Matrix,
    kind: str,
    threads: int | None = None,
) -> Bytes:
    """Code each group with a book under a scale of any sign, beside a minimum or zero point.

    Parameters
    ----------
    x : (rows, k) float32
        Finite.
    book : Book
    group : int
    scales, shifts : (rows, groups) float32
    kind : str
        ``minimum``: x + shift is divided. ``zero``: the shift is added to the quotient. Empty:
        there is none.
    threads : int, optional

    Returns
    -------
    codes : (rows, k) uint8
    """
    from ..base.quotients import KINDS, quotients_of, whole_codes_of
    from ..base.scaling import GIVEN
    from ..base.tables import whole_steps
    from .codebook import single_kernel

    x, group = _checked(x, group)
    scales, shifts = (np.ascontiguousarray(beside, np.float32) for beside in (scales, shifts))
    codes, (rows, k), how = np.empty(x.shape, np.uint8), x.shape, KINDS[kind]
    steps = whole_steps(book)
    if steps is not None and x.size:

        def whole(a: int, b: int) -> None:
            whole_codes_of(x[a:b], group, scales[a:b], shifts[a:b], how, steps, codes[a:b])

        over_rows(whole, rows, k, threads)
        return codes
    kernel = single_kernel(book)
    strip = max(1, STRIP // max(k, 1))

    def work(first: int, last: int) -> None:
        size = min(strip, last - first)
        quotients, values = np.empty((size, k), np.float32), np.empty((size, k), np.float32)
        ones, beside = np.ones((size, 1), np.float32), np.zeros((size, 1), np.uint8)
        for a in range(first, last, strip):
            n = min(strip, last - a)
            y, z = quotients[:n], values[:n]
            quotients_of(x[a : a + n], group, scales[a : a + n], shifts[a : a + n], how, y)
            kernel(y, k, (GIVEN,), ones[:n], beside[:n], codes[a : a + n], z)

    if x.size:
        over_rows(work, rows, k, threads)
    return codes


def bitmod_given(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    scales: Matrix,
    choices: Bytes,
    **options: Unpack[Options],
) -> Groups:
    """Code each group as `bitmod` does, with a given choice under a given scale.

    Parameters
    ----------
    x, magnitudes, specials, group, **options
        As for `bitmod`.
    scales : (rows, groups) float32
    choices : (rows, groups) uint8
        Index in the order of `specials`.
    """
    from .extended import given_kernel

    kernel = given_kernel(*extended_tables(np.asarray(magnitudes, np.float64), specials))
    return _given(kernel, 4, x, group, scales, choices, options)


def bitmod_under(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    inner: Matrix,
    outer: Matrix,
    threads: int | None = None,
) -> tuple[Bytes, Bytes]:
    """Code each group with the best of `bitmod`'s candidates under given scales.

    Parameters
    ----------
    x, magnitudes, specials, group
        As for `bitmod`.
    inner, outer : (rows, groups) float32
        Scales of the candidates with the inner special values, and with the outer.
    threads : int, optional

    Returns
    -------
    codes : (rows, k) uint8
    choices : (rows, groups) uint8
        Index in the order of `specials`; the first of equals.
    """
    from .extended import under_kernel

    kernel = under_kernel(*extended_tables(np.asarray(magnitudes, np.float64), specials))
    x, group = _checked(x, group)
    given = np.stack([inner, inner, outer, outer], axis=-1).astype(np.float32)
    codes, choices = np.empty(x.shape, np.uint8), np.zeros(given.shape[:2], np.uint8)
    rows, k = x.shape
    strip = max(1, STRIP // max(k, 1))

    def work(first: int, last: int) -> None:
        values = np.empty((min(strip, last - first), k), np.float32)
        for a in range(first, last, strip):
            b = min(a + strip, last)
            kernel(x[a:b], group, given[a:b], choices[a:b], codes[a:b], values[: b - a])

    if x.size:
        over_rows(work, rows, k, threads)
    return codes, choices


def choose_book(
    x: Matrix, books: tuple[Book, ...], group: int, threads: int | None = None
) -> tuple[Matrix, Bytes]:
    """Return the float32 scales and the choices that `codebooks` would find, without codes."""
    from .codebook import search_kernel

    return _chosen(search_kernel(books), x, group, threads)


def choose_bitmod(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    threads: int | None = None,
) -> tuple[Matrix, Bytes]:
    """Return the float32 scales and the choices that `bitmod` would find, without codes."""
    return _chosen(_bitmod_kernel(magnitudes, specials), x, group, threads)


def bitmod(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    scale: str = "fp32",
    **options: Unpack[Options],
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
    group, scale, **options
        As for `codebooks`, with which it agrees bit for bit.
    """
    kernel, facts = _bitmod_kernel(magnitudes, specials), (_mode(scale), True)
    return _coded(kernel, x, group, facts, options, beside="choices")


def bitmod_paper(
    x: Matrix,
    magnitudes: ArrayLike,
    specials: tuple[float, float],
    group: int,
    unit: float = 1.0,
    **options: Unpack[Options],
) -> Groups:
    """Code each group as `bitmod` does, in the float16 arithmetic of the released quantizer.

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
    from .released import paper_kernel

    if min(group, x.shape[-1]) > MAX_PAPER_GROUP:
        raise BitlatheError(f"bitmod_paper: group is {group}, must be at most {MAX_PAPER_GROUP}")
    base = np.asarray(magnitudes, np.float64) / unit
    inner, outer = (float(v) / unit for v in specials)
    tables = extended_tables(base, (inner, outer), ties="zero")
    kernel = paper_kernel(*tables, np.float32(unit))
    return _coded(kernel, x, group, (), options, beside="choices")


def symmetric(
    x: Matrix,
    bits: int,
    group: int,
    scale: str = "fp32",
    **options: Unpack[Options],
) -> Groups:
    """Code groups in symmetric two's complement, +-(2**(bits-1) - 1), 2..8 bits."""
    from .integer import symmetric as kernel

    whole_number("symmetric: bits", bits, 2, 8)
    return _coded(kernel, x, group, (bits, _mode(scale)), options)


def asymmetric(
    x: Matrix,
    bits: int,
    group: int,
    scale: str = "fp32",
    **options: Unpack[Options],
) -> Groups:
    """Code groups in unsigned integers with a zero point, range stretched to contain 0."""
    from .integer import asymmetric as kernel

    whole_number("asymmetric: bits", bits, 1, 8)
    return _coded(kernel, x, group, (bits, _mode(scale)), options, beside="zeros")


def mx(
    x: Matrix,
    exponent_bits: int,
    mantissa_bits: int,
    bias: int,
    largest: float,
    group: int = 32,
    rule: str = "floor",
    **options: Unpack[Options],
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
    return _coded(mx_float, x, group, facts, options, scales=np.uint8)


def mx_integer(
    x: Matrix,
    group: int = 32,
    rule: str = "floor",
    **options: Unpack[Options],
) -> Groups:
    """Code blocks of MXINT8, 1.6 fixed point in -127/64..127/64 (OCP MX v1.0)."""
    from .floats import mx_integer as kernel

    return _coded(kernel, x, group, (_rule(rule),), options, scales=np.uint8)


def all_finite(x: Matrix, threads: int | None = None) -> bool:
    """Return whether a float32 array holds neither NaN nor infinity."""
    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    whole = flat.size // STRIP * STRIP
    parts = flat[:whole].reshape(-1, STRIP), flat[whole:].reshape(1, -1)
    return all(bool((absmax_groups(part, STRIP, threads) < np.inf).all()) for part in parts)


def absmax_groups(x: Matrix, group: int, threads: int | None = None) -> Matrix:
    """Return the largest magnitude of each group, (rows, groups) float32."""
    from ..base.scaling import absmax_of

    x, group = _checked(x, group)
    found = np.zeros((x.shape[0], groups_of(x.shape[1], group)), np.float32)
    if x.size:
        over_rows(lambda a, b: absmax_of(x[a:b], group, found[a:b]), *x.shape, threads)
    return found


def ends_groups(x: Matrix, group: int, threads: int | None = None) -> tuple[Matrix, Matrix]:
    """Return the least and the largest element of each group, (rows, groups) float32 each."""
    from ..base.ends import ends_of

    x, group = _checked(x, group)
    shape = (x.shape[0], groups_of(x.shape[1], group))
    low, high = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if x.size:
        over_rows(lambda a, b: ends_of(x[a:b], group, low[a:b], high[a:b]), *x.shape, threads)
    return low, high


def _bitmod_kernel(magnitudes: ArrayLike, specials: tuple[float, float]) -> Callable[..., None]:
    from .extended import bitmod_kernel

    return bitmod_kernel(*extended_tables(np.asarray(magnitudes, np.float64), specials))


def _coded(
    kernel: Callable[..., None],
    x: Matrix,
    group: int,
    facts: tuple[Any, ...],
    options: Options,
    scales: Any = np.float32,
    beside: str | None = None,
) -> Groups:
    """Call ``kernel(x, group, facts, scales, beside, codes, values)`` on blocks of rows.

    `scales` is the dtype of the scales; `beside` names the field of `Groups` that the kernel
    writes beside them, if any.
    """
    x, group = _checked(x, group)
    shape = (x.shape[0], groups_of(x.shape[1], group))
    codes, found, made = _outputs(x, shape, scales, options)
    more = np.zeros(shape, np.uint8)
    _run(kernel, x, group, facts, (found, more), codes, made, options.get("threads"))
    named = {} if beside is None else {beside: more}
    return Groups(codes=codes, scales=found, values=made, **named)


def _given(
    kernel: Callable[..., None],
    members: int,
    x: Matrix,
    group: int,
    scales: Matrix,
    choices: Bytes,
    options: Options,
) -> Groups:
    """Call a kernel on blocks of rows under scales and choices that are given."""
    from ..base.scaling import GIVEN

    x, group = _checked(x, group)
    s = np.ascontiguousarray(scales, np.float32)
    c = np.ascontiguousarray(choices, np.uint8)
    shape = (x.shape[0], groups_of(x.shape[1], group))
    if s.shape != shape or c.shape != shape:
        raise BitlatheError(
            f"kernels: scales {s.shape} and choices {c.shape} must have the shape {shape}, one "
            "for each group"
        )
    if c.size and int(c.max()) >= members:
        raise BitlatheError(f"kernels: choice {int(c.max())} of {members} members")
    codes, _, made = _outputs(x, shape, np.float32, options)
    _run(kernel, x, group, (GIVEN,), (s, c), codes, made, options.get("threads"))
    return Groups(codes=codes, scales=s, values=made, choices=c)


def _chosen(
    kernel: Callable[..., None], x: Matrix, group: int, threads: int | None
) -> tuple[Matrix, Bytes]:
    x, group = _checked(x, group)
    shape = (x.shape[0], groups_of(x.shape[1], group))
    scales, choices = np.empty(shape, np.float32), np.zeros(shape, np.uint8)
    _run(kernel, x, group, (_mode("fp32"), False), (scales, choices), None, None, threads)
    return scales, choices


def _checked(x: Matrix, group: int) -> tuple[Matrix, int]:
    if x.ndim != 2:
        raise BitlatheError(f"kernels: a (rows, k) matrix expected, got shape {x.shape}")
    if group < 1:
        raise BitlatheError(f"kernels: group is {group}, must be at least 1")
    return np.ascontiguousarray(x, np.float32), min(group, max(x.shape[1], 1))


def _outputs(
    x: Matrix, shape: tuple[int, int], scales: Any, options: Options
) -> tuple[Bytes, NDArray[Any], Matrix | None]:
    """Return codes, scales and, if wanted, values to write."""
    out, values = options.get("out"), options.get("values", True)
    if out is None:
        made = np.empty(x.shape, np.float32) if values else None
        return np.empty(x.shape, np.uint8), np.empty(shape, scales), made
    if out.codes.shape != x.shape or out.scales.shape != shape or (out.values is None) is values:
        raise BitlatheError(
            f"kernels: out holds codes {out.codes.shape} and scales {out.scales.shape}"
            f"{', no values' if out.values is None else ''}; {x.shape} and {shape} are needed"
            f"{' and values' if values else ', no values'}"
        )
    return out.codes, out.scales, out.values


def _run(
    kernel: Callable[..., None],
    x: Matrix,
    group: int,
    facts: tuple[Any, ...],
    beside: tuple[NDArray[Any], NDArray[Any]],
    codes: Bytes | None,
    values: Matrix | None,
    threads: int | None,
) -> None:
    """Call ``kernel(x, group, facts, *beside, codes, values)`` on blocks of rows.

    Codes or values that are None are written to scratch, a strip of rows at a time, that stays in
    the cache.
    """
    rows, k = x.shape
    strip = max(1, STRIP // max(k, 1)) if values is None else rows

    def work(first: int, last: int) -> None:
        step = min(strip, last - first)
        wide = np.empty((step, k), np.float32) if values is None else values
        narrow = np.empty((step, k), np.uint8) if codes is None else codes
        for a in range(first, last, strip):
            b = min(a + strip, last)
            cs = narrow[: b - a] if codes is None else codes[a:b]
            vs = wide[: b - a] if values is None else values[a:b]
            kernel(x[a:b], group, facts, *(t[a:b] for t in beside), cs, vs)

    if x.size:
        over_rows(work, rows, k, threads)


def _mode(scale: str) -> int:
    from ..base.scaling import SCALE_MODES

    if scale not in SCALE_MODES:
        raise BitlatheError(unknown_name("scale of a kernel", scale, SCALE_MODES))
    return SCALE_MODES[scale]


def _rule(rule: str) -> int:
    from .floats import RULES

    if rule not in RULES:
        raise BitlatheError(unknown_name("scale rule", rule, RULES))
    return RULES[rule]
