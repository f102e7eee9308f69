"""Dispatch to the compiled kernels: the same numbers as the numpy path, at memory speed.

`encode_fast` returns None wherever no kernel fits; then the numpy path does the work. What fits is
decided by the shape of a grid, never by its name.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from ..formats.constructors import int_format
from ..formats.format import Format
from ..formats.rounding import NEAREST
from .job import MAX_BOOKS, Coded, Job
from .released import integer_unit, warn_of_zeros
from .scaling import effective, store

if TYPE_CHECKING:
    from ..kernels import Book, Groups

# smaller tensors are done before a kernel would be compiled
MIN_SIZE = 1 << 18
# beyond these magnitudes float32 error sums may under- or overflow where numpy's float64 does not
LEAST, LARGEST = 1e-15, 1e15
# the search among books compares with every threshold; mixtures of longer ones are left to numpy
MAX_BOOK = 32


def encode_fast(job: Job, min_size: int = MIN_SIZE) -> Coded | None:
    """Code a job with a compiled kernel, or return None where none fits."""
    scheme = job.scheme
    plain = (
        job.groups.dtype == np.float32
        and job.layout.block_rows == 1
        and scheme.clip == "absmax"
        and (scheme.paper or job.rounding in NEAREST)
        and job.overflow == "saturate"
        and scheme.element_bits <= 8
        and job.groups.size >= max(min_size, 1)
        and have_numba()
    )
    # a mask alone marks the fill of short groups; the kernels know short groups themselves
    if not plain or (job.weights is not None and not job.masked_only):
        return None
    if scheme.paper:
        return _paper(job)
    if scheme.coder == "asym":
        return _asymmetric(job)
    if scheme.coder == "table" and all(f.signed for f in scheme.formats):
        return _table(job)
    return None


def _moderate(scales: NDArray[np.float32]) -> bool:
    """Say whether all scales but those of groups of zeros have moderate exponents."""
    return bool(((scales == 0) | ((scales > LEAST) & (scales < LARGEST))).all())


def _matrix(job: Job) -> NDArray[np.float32]:
    return np.ascontiguousarray(job.layout.join(job.groups), np.float32)


def _asymmetric(job: Job) -> Coded | None:
    from .. import kernels

    if job.rounding != "even" or job.scheme.scale not in ("fp16", "fp32"):
        return None
    found = kernels.asymmetric(
        _matrix(job),
        job.scheme.element_bits,
        job.layout.block_columns,
        job.scheme.scale,
        values=False,
    )
    return _coded(job, found, found.zeros)


def _table(job: Job) -> Coded | None:
    from .. import kernels

    scheme, group = job.scheme, job.layout.block_columns
    fmt, scale = scheme.formats[0], scheme.scale_format
    single = len(scheme.formats) == 1
    if scale.name in ("fp16", "fp32"):
        if single and job.rounding == "even" and fmt.bits <= 8 and _is_symmetric(fmt):
            made = kernels.symmetric(_matrix(job), fmt.bits, group, scale.name, values=False)
            return _coded(job, made)
        return _searched(job, scale.name)
    if single and scale.kind == "ocp" and job.rounding == "even":
        found = _mx(job, fmt, group, scale.rule)
        if found is not None:
            return found
    if scale.kind in ("int", "e4m3", "step", "ocp", "pot", "bitmod_mx"):
        return _given(job)
    return None


def _searched(job: Job, scale: str) -> Coded | None:
    from .. import kernels

    formats, group = job.scheme.formats, job.layout.block_columns
    special = _special_values(formats)
    if special is not None and job.rounding == "even":
        base, pair = special
        found = kernels.bitmod(_matrix(job), base, pair, group, scale, values=False)
    else:
        books = books_of(formats, job.rounding)
        if books is None:
            return None
        found = kernels.codebooks(_matrix(job), books, group, scale, values=False)
    if len(formats) > 1 and not _moderate(found.scales):
        return None
    return _coded(job, found)


def _paper(job: Job) -> Coded | None:
    from .. import kernels

    special = _special_values(job.scheme.formats)
    if special is None or job.layout.block_columns > kernels.MAX_PAPER_GROUP:
        return None
    unit = integer_unit(job.scheme.formats[0])
    base, pair = special
    group = job.layout.block_columns
    found = kernels.bitmod_paper(_matrix(job), base, pair, group, unit, values=False)
    # a magnitude beyond float16: the numpy path says so
    if np.isinf(found.scales).any():
        return None
    warn_of_zeros(int((found.scales == 0).sum()))
    return _coded(job, found)


def _given(job: Job) -> Coded | None:
    """Choose members under the real scale, store the scales, then code under what was stored."""
    from .. import kernels

    formats, scale, layout = job.scheme.formats, job.scheme.scale_format, job.layout
    books = books_of(formats, job.rounding)
    if books is None or (len(formats) > 1 and scale.outer == "none"):
        return None
    x, group = _matrix(job), layout.block_columns
    special = _special_values(formats) if job.rounding == "even" else None
    amax = kernels.absmax_groups(x, group)
    choice = np.zeros(amax.shape, np.uint8)
    scales = amax / np.float32(formats[0].max_abs)
    if special is not None:
        scales, choice = kernels.choose_bitmod(x, *special, group)
    elif len(formats) > 1:
        scales, choice = kernels.choose_book(x, books, group)
    if len(formats) > 1 and not _moderate(scales):
        return None
    real, amax = scales.reshape(-1), amax.reshape(-1)
    if (real[amax > 0] == 0).any():
        return None
    raw, outer = store(real, amax, formats[0], scale, layout)
    used = effective(raw, outer, formats[0], scale, layout).reshape(scales.shape)
    if special is not None:
        found = kernels.bitmod_given(x, *special, group, used, choice, values=False)
    else:
        found = kernels.codebooks_given(x, books, group, used, choice, values=False)
    return Coded(
        codes=layout.split(found.codes),
        raw=raw[:, None],
        outer=outer,
        choices=choice.reshape(-1) if len(formats) > 1 else None,
    )


def _mx(job: Job, fmt: Format, group: int, rule: str) -> Coded | None:
    from .. import kernels

    if fmt.bits == 8 and np.array_equal(fmt.values, int_format(8).values / 64, equal_nan=True):
        found = kernels.mx_integer(_matrix(job), group, rule, values=False)
    else:
        parameters = fmt.grid.float_parameters
        if parameters is None:
            return None
        found = kernels.mx(_matrix(job), *parameters, fmt.max, group, rule, values=False)
    return Coded(
        codes=job.layout.split(found.codes),
        raw=found.scales.reshape(-1, 1).astype(np.uint32),
        outer=np.zeros(0, np.uint32),
    )


def _coded(job: Job, found: "Groups", zeros: NDArray[np.uint8] | None = None) -> Coded | None:
    scales = found.scales.reshape(-1)
    none = scales == 0
    if np.isinf(scales).any() or (none.any() and job.groups[none].any()):
        # one overflowed, which the numpy path tells of, or underflowed, where it stores the
        # smallest there is
        return None
    raw, _ = store(scales, scales, job.scheme.formats[0], job.scheme.scale_format, job.layout)
    return Coded(
        codes=job.layout.split(found.codes),
        raw=raw[:, None],
        outer=np.zeros(0, np.uint32),
        zeros=None if zeros is None else zeros.reshape(-1),
        choices=None if found.choices is None else found.choices.reshape(-1),
    )


def books_of(formats: tuple[Format, ...], rounding: str) -> "tuple[Book, ...] | None":
    """Return formats as the kernels want them; None where a search among them is not for those."""
    longest = max(f.grid.values.size for f in formats)
    if len(formats) > MAX_BOOKS or (len(formats) > 1 and longest > MAX_BOOK):
        return None
    return tuple(f.grid.book(rounding) for f in formats)


@cache
def _is_symmetric(fmt: Format) -> bool:
    return bool(np.array_equal(fmt.values, int_format(fmt.bits).values, equal_nan=True))


@cache
def _special_values(formats: tuple[Format, ...]) -> tuple[Any, tuple[float, float]] | None:
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
