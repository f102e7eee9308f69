"""Large plain jobs handed to the compiled kernels; the codes are those of the numpy path.

Anything the kernels do not cover, and small tensors for which loading numba would take longer than
the work, comes back as None and stays in numpy.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .coding import Coded, Codes, Job
from .format import Format
from .kernels.tables import Book
from .rounding import NEAREST
from .scaling import effective, float_bits, store

if TYPE_CHECKING:
    from . import kernels

MIN_VALUES = 1 << 20
# longer tables take long to compile: their chains of comparisons are unrolled
MAX_VALUES = 32
SPECIAL_PAIR = 4
FUSED: Final = ("fp32", "fp16")
# beyond these the float32 sums and scales of a kernel might differ from numpy's float64 ones
SCALE_LOW: Final = 1e-30
SCALE_HIGH: Final = 1e30


def encode_table(job: Job) -> Coded | None:
    """Code a job on its format or mixture, or return None where numpy must."""
    formats = job.scheme.formats
    if not _suits(job) or job.rounding not in NEAREST or any(f.bits > 8 for f in formats):
        return None
    if max(f.table.values.size for f in formats) > MAX_VALUES:
        return None
    if any(f.min >= 0 for f in formats) or not _evenly_filled(job, len(formats) > 1):
        return None
    from . import kernels

    stored = job.scheme.scale_format
    fused = job.scheme.scale if job.scheme.scale in FUSED else "fp32"
    if fused != job.scheme.scale and (len(formats) > 1 and stored.outer == "none"):
        return None
    books = tuple(_book(f, job.rounding) for f in formats)
    size = job.groups.shape[1]
    found = _search(job, books, size, fused)
    if _extreme(found.scales):
        return None
    real, choice = found.scales[:, 0], found.choices
    chosen = np.zeros(real.size, np.uint8) if choice is None else choice[:, 0]
    if fused == job.scheme.scale:
        raw, outer = float_bits(real, fused), np.zeros(0, np.uint32)
        codes: Codes = found.codes
    else:
        amax = np.abs(job.groups).max(axis=1, initial=0.0)
        raw, outer = store(real, amax, formats[0], stored, job.layout)
        used = effective(raw, outer, formats[0], stored, job.layout)
        given = kernels.codebooks_given(job.groups, books, size, used[:, None], chosen[:, None])
        codes = given.codes
    return Coded(
        codes=codes, raw=raw[:, None], outer=outer, choices=chosen if len(formats) > 1 else None
    )


def encode_asym(job: Job) -> Coded | None:
    """Code a job in unsigned integers with a zero point, or return None where numpy must."""
    if not _suits(job) or job.rounding != "even" or job.scheme.scale not in FUSED:
        return None
    from . import kernels

    made = kernels.asymmetric(
        job.groups, job.scheme.element_bits, job.groups.shape[1], job.scheme.scale
    )
    if _extreme(made.scales) or made.zeros is None:
        return None
    return Coded(
        codes=made.codes,
        raw=float_bits(made.scales[:, 0], job.scheme.scale)[:, None],
        outer=np.zeros(0, np.uint32),
        zeros=made.zeros[:, 0],
    )


def _search(job: Job, books: tuple[Book, ...], size: int, scale: str) -> "kernels.Groups":
    from . import kernels

    pair = _special_pairs(job.scheme.formats) if job.rounding == "even" else None
    if pair is None:
        return kernels.codebooks(job.groups, books, size, scale)
    return kernels.bitmod(job.groups, *pair, size, scale)


def _special_pairs(
    formats: tuple[Format, ...],
) -> tuple[NDArray[np.float64], tuple[float, float]] | None:
    """Return base magnitudes and specials if these are a base grid plus +a, -a, +b, -b."""
    if len(formats) != SPECIAL_PAIR:
        return None
    half = formats[0].values.size // 2
    base = formats[0].values[:half]
    special = [float(f.values[half]) for f in formats]
    alike = all(
        np.array_equal(f.values[:half], base) and np.array_equal(f.values[half + 1 :], -base[1:])
        for f in formats
    )
    a, b = special[0], special[2]
    rising = alike and base[0] == 0 and bool((np.diff(base) > 0).all())
    if not rising or special != [a, -a, b, -b] or not 0 < a < base[-1] < b or a in base:
        return None
    return base, (a, b)


def _suits(job: Job) -> bool:
    return (
        job.groups.dtype == np.float32
        and job.groups.size >= MIN_VALUES
        and job.scheme.clip == "absmax"
        and not job.scheme.paper
        and find_spec("numba") is not None
    )


def _evenly_filled(job: Job, searched: bool) -> bool:
    """Say whether no element's error weighs more than another's (fill is 0, and costs nothing)."""
    return not searched or job.weights is None


def _extreme(scales: NDArray[np.float32]) -> bool:
    positive = scales[scales > 0]
    if not positive.size:
        return False
    return bool(positive.min() < SCALE_LOW or positive.max() > SCALE_HIGH)


def _book(fmt: Format, rounding: str) -> Book:
    from . import kernels

    t = fmt.table
    return kernels.make_book(t.values, t.codes, fmt.tie_up(rounding), fmt.negative_zero)
