"""Dispatch to the compiled kernels: the same numbers as the numpy path, at memory speed.

Each function here returns None where no kernel fits; then the numpy path does the work. The shape
of a grid, never its name, decides which kernel fits.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from ..formats.constructors import int_format
from ..formats.format import Format
from ..formats.rounding import NEAREST
from ..schemes.scales import OcpScale
from .coded import Coded
from .job import MAX_BOOKS, Job

if TYPE_CHECKING:
    from ..kernels import Book, Groups

# smaller tensors are done before a kernel would be compiled
MIN_SIZE = 1 << 18
# beyond these magnitudes float32 error sums may under- or overflow where numpy's float64 does not
LEAST, LARGEST = 1e-15, 1e15
# the search among books compares with every threshold; mixtures of longer ones are left to numpy
MAX_BOOK = 32


def plain(job: Job, min_size: int) -> bool:
    """Return whether kernels may code a job: float32, large, no search of ranges, no weights."""
    return (
        job.matrix.dtype == np.float32
        and job.layout.block_rows == 1
        and job.scheme.clip == "absmax"
        and job.rounding in NEAREST
        and job.overflow == "saturate"
        and job.inputs is None
        # a mask alone marks the fill of short groups; the kernels know short groups themselves
        and job.data.importance is None
        and job.scheme.element_bits <= 8
        and all(f.thresholds is None for f in job.scheme.formats)
        and job.matrix.size >= max(min_size, 1)
        and have_numba()
    )


def moderate(scales: NDArray[np.float32]) -> bool:
    """Return whether all (groups,) scales but those of groups of zeros have moderate exponents."""
    return bool(((scales == 0) | ((scales > LEAST) & (scales < LARGEST))).all())


def grids(job: Job) -> Coded | None:
    """Code a grid, or a mixture of grids."""
    from .. import kernels

    if not all(f.signed for f in job.scheme.formats):
        return None
    scheme, group = job.scheme, job.layout.block_columns
    fmt, scale = scheme.formats[0], scheme.scale_format
    single = len(scheme.formats) == 1
    if scale.name in ("fp16", "fp32"):
        if single and job.rounding == "even" and fmt.bits <= 8 and _is_symmetric(fmt):
            made = kernels.symmetric(job.matrix, fmt.bits, group, scale.name, values=False)
            return coded_of(job, made)
        return _searched(job, scale.name)
    if single and isinstance(scale, OcpScale) and job.rounding == "even":
        found = _mx(job, fmt, group, scale.rule)
        if found is not None:
            return found
    if scale.power or scale.outer != "none":
        return _given(job)
    return None


def _searched(job: Job, scale: str) -> Coded | None:
    from .. import kernels

    formats, group = job.scheme.formats, job.layout.block_columns
    special = special_values(formats)
    if special is not None and job.rounding == "even":
        base, pair = special
        found = kernels.bitmod(job.matrix, base, pair, group, scale, values=False)
    else:
        books = books_of(formats, job.rounding)
        if books is None:
            return None
        found = kernels.codebooks(job.matrix, books, group, scale, values=False)
    if len(formats) > 1 and not moderate(found.scales):
        return None
    return coded_of(job, found)


def _given(job: Job) -> Coded | None:
    """Choose members under the real scale, store the scales, then code under what was stored."""
    from .. import kernels

    formats, scale, layout = job.scheme.formats, job.scheme.scale_format, job.layout
    books = books_of(formats, job.rounding)
    if books is None or (len(formats) > 1 and scale.outer == "none"):
        return None
    x, group = job.matrix, layout.block_columns
    special = special_values(formats) if job.rounding == "even" else None
    amax = kernels.absmax_groups(x, group)
    choice = np.zeros(amax.shape, np.uint8)
    scales = amax / np.float32(formats[0].max_abs)
    if special is not None:
        scales, choice = kernels.choose_bitmod(x, *special, group)
    elif len(formats) > 1:
        scales, choice = kernels.choose_book(x, books, group)
    if len(formats) > 1 and not moderate(scales):
        return None
    real, amax = scales.reshape(-1), amax.reshape(-1)
    if (real[amax > 0] == 0).any():
        return None
    raw, outer = scale.store(real, amax, formats[0].grid, layout)
    used = scale.read(raw, outer, formats[0].grid, layout).reshape(scales.shape)
    if special is not None:
        found = kernels.bitmod_given(x, *special, group, used, choice, values=False)
    else:
        found = kernels.codebooks_given(x, books, group, used, choice, values=False)
    return job.coded(found.codes, raw, outer, choices=choice if len(formats) > 1 else None)


def _mx(job: Job, fmt: Format, group: int, rule: str) -> Coded | None:
    from .. import kernels

    if fmt.bits == 8 and np.array_equal(fmt.values, int_format(8).values / 64, equal_nan=True):
        found = kernels.mx_integer(job.matrix, group, rule, values=False)
    else:
        parameters = fmt.grid.float_parameters
        if parameters is None:
            return None
        found = kernels.mx(job.matrix, *parameters, fmt.max, group, rule, values=False)
    return job.coded(found.codes, found.scales.astype(np.uint32))


def coded_of(job: Job, found: "Groups") -> Coded | None:
    """Return what a kernel made of a job; None where a scale left the range of its format."""
    from .. import kernels

    scales = found.scales.reshape(-1)
    zero = scales == 0
    if np.isinf(scales).any():  # one overflowed: the numpy path refuses it
        return None
    if zero.any():
        if not isinstance(job.matrix, np.ndarray):  # on a device: whether all of a group are 0
            return None
        amax = kernels.absmax_groups(job.matrix, job.layout.block_columns).reshape(-1)
        if amax[zero].any():  # one underflowed: the numpy path stores the smallest there is
            return None
    grid = job.scheme.formats[0].grid
    raw, _ = job.scheme.scale_format.store(scales, scales, grid, job.layout)
    return job.coded(found.codes, raw, zeros=found.zeros, choices=found.choices)


def books_of(formats: tuple[Format, ...], rounding: str) -> "tuple[Book, ...] | None":
    """Return formats as the kernels take them; None where the kernels do not search among them."""
    longest = max(f.grid.values.size for f in formats)
    if len(formats) > MAX_BOOKS or (len(formats) > 1 and longest > MAX_BOOK):
        return None
    return tuple(f.grid.book(rounding) for f in formats)


@cache
def _is_symmetric(fmt: Format) -> bool:
    return bool(np.array_equal(fmt.values, int_format(fmt.bits).values, equal_nan=True))


@cache
def special_values(formats: tuple[Format, ...]) -> tuple[Any, tuple[float, float]] | None:
    """Return base magnitudes and (inner, outer) special values of a BitMoD-like mixture, or None.

    Its four formats are one grid plus +inner, -inner, +outer, -outer in the code of -0.
    """
    if len(formats) != 4:
        return None
    bits = formats[0].bits
    code = 1 << (bits - 1)
    rest = np.arange(1 << bits) != code
    first = formats[0].values
    inner, outer = float(first[code]), float(formats[2].values[code])
    wanted = (inner, -inner, outer, -outer)
    if not np.isfinite(first).all() or any(
        f.values[code] != w or not np.array_equal(f.values[rest], first[rest])
        for f, w in zip(formats, wanted, strict=True)
    ):
        return None
    base = first[:code]
    mirrored = np.array_equal(first[code + 1 :], -base[1:])
    rising = base[0] == 0 and bool((np.diff(base) > 0).all())
    if not (mirrored and rising and 0 < inner < base[-1] < outer) or inner in base:
        return None
    return base, (inner, outer)
