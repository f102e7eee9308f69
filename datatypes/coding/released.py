"""The arithmetic of the BitMoD authors' released quantizer, for comparison with their numbers.

Every step is rounded to float16. Scales are clamped to [1e-5, 1e4]. Grids are multiplied by the
power of two that makes them integers (FP4 by 2), which matters for the clamp and for subnormals.
Ties go down. A candidate must have a mean squared error strictly below the best so far, and below
1000, to be taken: a group without one (overflow of float16) comes out as zeros.
Plain integers are rounded to even, as the authors' separate integer routine does, and the zero
point is clamped without stretching the range, so a group without both signs may fail.

Their MX routine (groups of 32) takes float16 weights, works in float32 and rounds to float16 at the
end: y = x / 2^e / (2 / max) with e = floor(log2 absmax), ties down, value * (2 / max) * 2^e.
Source: the quantizer's `quant_mx` in abdelfattah-lab/BitMoD-HPCA-25, bitmod_quant.
"""

import warnings
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..formats.format import Format
from ..schemes.patterns import float_bits
from . import asym, table
from .coded import Coded, Codes
from .coder import no_kernel
from .dispatch import coded_of, special_values
from .job import Job, divide

Half = NDArray[np.float16]

SCALE_MIN = np.float16(1e-5)
SCALE_MAX = np.float16(1e4)
ERROR_MAX = np.float16(1e3)


def _integer_unit(fmt: Format) -> float:
    """Return the power of two whose multiples all values of a grid are; 1 if there is none."""
    step = fmt.smallest_subnormal
    whole = fmt.grid.values / step
    exact = float(np.frexp(step)[0]) == 0.5 and (whole == np.rint(whole)).all()
    return step if exact else 1.0


def encode_grids(job: Job) -> Coded:
    """Code a job on its grid or mixture in the released quantizer's arithmetic."""
    for fmt in job.scheme.formats:
        table.refuse_negative(job, fmt)
    if job.scheme.scale_format.power:
        return _encode_mx(job)
    x = _half(job)
    formats = job.scheme.formats
    count = x.shape[0]
    best = np.full(count, ERROR_MAX)
    choice = np.zeros(count, np.uint8)
    raw = np.zeros(count, np.uint32)
    codes = np.zeros(x.shape, formats[0].code_dtype)
    taken = np.zeros(count, np.bool_)
    for member, fmt in enumerate(formats):
        scale, found = _one(x, fmt, ties="even" if _plain_integer(job) else "down")
        stored = float_bits(scale.astype(np.float32) / np.float32(_integer_unit(fmt)), "fp16")
        better = np.ones(count, np.bool_)
        if len(formats) > 1:
            error = _half_error(x, fmt, found, scale, job)
            better = error < best
            best = np.where(better, error, best)
        choice[better], raw[better] = member, stored[better]
        codes[better] = found[better]
        taken |= better
    _warn_of_zeros(int((~taken).sum()))
    return job.coded(job.layout.join(codes), raw, choices=choice if len(formats) > 1 else None)


def _warn_of_zeros(groups: int) -> None:
    """Warn of groups that no candidate took."""
    if groups:
        warnings.warn(
            f"{groups} group(s) came out as zeros: their error overflows float16, as in the "
            "released quantizer; leave +paper out to keep them",
            stacklevel=5,
        )


def _plain_integer(job: Job) -> bool:
    formats = job.scheme.formats
    return len(formats) == 1 and formats[0].grid.integers


def _half(job: Job) -> Half:
    with np.errstate(over="ignore"):
        x = job.groups.astype(np.float16)
    if np.isinf(x).any():
        raise BitlatheError(
            "+paper works in float16: the tensor has magnitudes above 65504; divide it first"
        )
    return x


def _one(x: Half, fmt: Format, ties: str) -> tuple[Half, Codes]:
    unit = _integer_unit(fmt)
    amax = np.abs(x).max(axis=1, initial=np.float16(0))
    scale = np.clip(amax / np.float16(fmt.max_abs / unit), SCALE_MIN, SCALE_MAX)
    with np.errstate(over="ignore"):
        y = (x / scale[:, None]).astype(np.float64) * unit
    return scale, fmt.encode(y, rounding=ties, nan="propagate")


def _half_error(x: Half, fmt: Format, codes: Codes, scale: Half, job: Job) -> Half:
    unit = _integer_unit(fmt)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        values = (fmt.values[codes] / unit).astype(np.float16) * scale[:, None]
        difference = values - x
        squares = difference * difference
        mask = job.layout.mask()
        count = x.shape[1] if mask is None else mask.sum(axis=1)
        total = squares.astype(np.float64).sum(axis=1).astype(np.float32)
        return np.asarray((total / np.asarray(count, np.float32)).astype(np.float16))


def _encode_mx(job: Job) -> Coded:
    """Code a job in the released quantizer's MX variant."""
    x = _half(job).astype(np.float32)
    fmt, scale = job.scheme.formats[0], job.scheme.scale_format
    amax = np.abs(x).max(axis=1, initial=0.0)
    raw, outer = scale.store(amax / np.float32(fmt.max_abs), amax, fmt.grid, job.layout)
    used = scale.read(raw, outer, fmt.grid, job.layout)
    codes = fmt.encode(divide(x, used), rounding="down")
    return job.coded(job.layout.join(codes), raw, outer)


def encode_asym(job: Job) -> Coded:
    """Code a job in unsigned integers with a zero point, in the released arithmetic."""
    x = _half(job)
    top = (1 << job.scheme.element_bits) - 1
    mask = job.layout.mask()
    low = np.min(x, axis=1, initial=np.float16(np.inf), where=True if mask is None else mask)
    high = np.max(x, axis=1, initial=np.float16(-np.inf), where=True if mask is None else mask)
    with np.errstate(over="ignore"):
        scale = np.clip((high - low) / np.float16(top), SCALE_MIN, SCALE_MAX)
        zero = np.clip(np.rint(-low / scale), 0, top)
        codes = np.clip(np.rint(x / scale[:, None]) + zero[:, None], 0, top)
    return job.coded(job.layout.join(codes.astype(np.uint8)), float_bits(scale, "fp16"), zeros=zero)


def encode_compiled(job: Job) -> Coded | None:
    """Code a large job of a BitMoD type with one kernel; None where it does not fit."""
    from .. import kernels

    special, group = special_values(job.scheme.formats), job.layout.block_columns
    if special is None or group > kernels.MAX_PAPER_GROUP:
        return None
    unit = _integer_unit(job.scheme.formats[0])
    found = kernels.bitmod_paper(job.matrix, *special, group, unit, values=False)
    if np.isinf(found.scales).any():  # a magnitude beyond float16: the numpy path refuses it
        return None
    _warn_of_zeros(int((found.scales == 0).sum()))
    return coded_of(job, found)


_OWN: Final[dict[str, Any]] = {
    "own_rounding": True,
    "measures_outputs": False,
    "through_half": True,
}
TABLE: Final = replace(table.TABLE, encode=encode_grids, compiled=encode_compiled, **_OWN)
ASYM: Final = replace(asym.ASYM, encode=encode_asym, compiled=no_kernel, **_OWN)
