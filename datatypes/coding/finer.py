"""Groups of which some elements are stored finer: M2XFP's activations, MX+.

Both are MX blocks, 32 elements under a power of two by OCP's floor rule, and a byte more:

* M2XFP for activations (arXiv 2601.19213): of each 8 elements the one of the largest magnitude
  code, the first of equals, is refined by two bits. It becomes a float with two mantissa bits more
  whose code, of i four times as fine, is one of 4 i - 1 to 4 i + 2 and not below 0: the nearest.
  Which one it is follows from the codes.
* MX+ (arXiv 2510.14557): the exponent of the largest element is known, so that all bits of its
  code but the sign are mantissa; the byte names its place in 5 bits, 3 are 0. A block under the
  least scale, whose largest element may be small, is an MX block. The idea is the paper's; what it
  does at ties, under the least scale and with the 3 bits is as stated here, not taken from it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..formats.format import Format
from ..schemes.finer import MORE_BITS, finer, last_code, top_power
from ..schemes.patterns import Raw
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Integers, Tables
from .dispatch import MIN_SIZE, grids, plain
from .job import Job, divide, grid_encode
from .table import TABLE

EIGHT: Final = 8
PLACE_BITS: Final = 5  # of MX+
Index = NDArray[np.int64]
Units = Callable[[Coded, Codes, slice], Floats]


def _plain(job: Job) -> tuple[Coded, Codes, Floats]:
    """Return a job as MX blocks; its (groups, size) codes and (groups,) scales."""
    fmt, scale = job.scheme.formats[0], job.scheme.scale_format
    amax = np.abs(job.groups).max(axis=1, initial=0.0)
    raw, _ = scale.store(amax / amax.dtype.type(fmt.max_abs), amax, fmt.grid, job.layout)
    used = _scales(job, raw)
    codes = np.zeros(job.groups.shape, fmt.code_dtype)
    for part in job.slices():
        codes[part] = grid_encode(job, job.groups[part], fmt, used[part])
    return job.coded(job.layout.join(codes), raw), codes, used


def _scales(job: Job, raw: Raw) -> Floats:
    """Return the (groups,) scales of stored patterns, which have no second level."""
    fmt, none = job.scheme.formats[0], np.zeros(0, np.uint32)
    return job.scheme.scale_format.read(raw, none, fmt.grid, job.layout)


def _at(job: Job, places: Index, scales: Floats) -> Floats:
    """Return the elements at (groups, n) places over the scales of their groups."""
    return divide(np.take_along_axis(job.groups, places, axis=1), scales)


def _largest(job: Job) -> Index:
    """Return the (groups,) places of the largest elements, the first of equals."""
    found = np.zeros(len(job.groups), np.int64)
    for part in job.slices():
        found[part] = np.abs(job.groups[part]).argmax(axis=1)
    return found


def _magnitudes(fmt: Format, codes: Codes) -> Codes:
    """Return codes without their signs."""
    return np.asarray(codes & codes.dtype.type((1 << (fmt.bits - 1)) - 1))


def _leaders(fmt: Format, codes: Codes) -> Index:
    """Return the (groups, eights) places of what is refined in (groups, size) codes."""
    sizes = _magnitudes(fmt, codes)
    eights = np.pad(sizes, ((0, 0), (0, -sizes.shape[1] % EIGHT))).reshape(len(sizes), -1, EIGHT)
    return np.asarray(eights.argmax(axis=2) + EIGHT * np.arange(eights.shape[1]), np.int64)


def encode_refined(job: Job) -> Coded:
    """Code a job in M2XFP for activations."""
    if (large := _large(job)) is not None:
        return _refined_large(job, *large)
    coded, codes, scales = _plain(job)
    fmt = job.scheme.formats[0]
    places = np.minimum(_leaders(fmt, codes), codes.shape[1] - 1)
    y = np.abs(_at(job, places, scales))
    coarse = np.take_along_axis(_magnitudes(fmt, codes), places, axis=1).astype(np.int64)
    wanted = finer(fmt).encode(y).astype(np.int64)
    least = 4 * coarse - 1
    steps = np.clip(wanted, np.maximum(least, 0), least + 3) - least
    extra = (steps << (MORE_BITS * np.arange(places.shape[1]))).sum(axis=1)
    return replace(coded, choices=extra.astype(np.uint8))


def _large(job: Job) -> tuple[Coded, NDArray[np.float32]] | None:
    """Return a large job as MX blocks, and the (rows, groups) scales; None where no kernel fits."""
    coded = grids(job) if plain(job, MIN_SIZE) else None
    if coded is None:
        return None
    scales = _scales(job, coded.scales[:, 0]).astype(np.float32)
    return coded, scales.reshape(job.layout.rows, -1)


def _refined_large(job: Job, coded: Coded, scales: NDArray[np.float32]) -> Coded:
    """Refine elements of MX blocks as `encode_refined` does."""
    from ..kernels.base.threads import on_rows
    from ..kernels.grids.finer import refined_of

    fmt = job.scheme.formats[0]
    book, extra = finer(fmt).grid.book("even"), np.zeros(scales.shape, np.uint8)
    # nothing lies below 0, so that all are above the first; the last of four is not looked at
    cuts = np.array([-1, *book.cuts[book.values.index(0) :], *[np.inf] * 4], np.float32)
    group, mask = job.layout.block_columns, np.uint8((1 << (fmt.bits - 1)) - 1)

    def refine(x: Any, scale: Any, codes: Any, more: Any) -> None:
        refined_of(x, group, scale, codes, mask, cuts, more)

    on_rows(refine, (job.matrix, scales, coded.codes, extra), (), job.layout.columns)
    return replace(coded, choices=extra.reshape(-1))


def _plus_large(job: Job, coded: Coded, scales: NDArray[np.float32]) -> Coded:
    """Write finer codes into MX blocks as `encode_plus` does."""
    from ..kernels.base.threads import on_rows
    from ..kernels.grids.finer import plus_of

    fmt, extra = job.scheme.formats[0], np.zeros(scales.shape, np.uint8)
    known = (coded.scales > 0).reshape(scales.shape)
    group, leading, power = job.layout.block_columns, 1 << (fmt.bits - 1), top_power(fmt)

    def refine(x: Any, scale: Any, k: Any, codes: Any, more: Any) -> None:
        plus_of(x, group, scale, leading, power, k, codes, more)

    on_rows(refine, (job.matrix, scales, known, coded.codes, extra), (), job.layout.columns)
    return replace(coded, choices=extra.reshape(-1))


def _refined_units(coded: Coded, codes: Codes, part: slice) -> Floats:
    """Return what the (n, size) codes of a slice of groups stand for, in units of the scales."""
    fmt = coded.scheme.formats[0]
    values = fmt.values[codes]
    places = np.minimum(_leaders(fmt, codes), codes.shape[1] - 1)
    extra = _extra(coded)[part, None] >> (MORE_BITS * np.arange(places.shape[1]))
    own = np.take_along_axis(codes, places, axis=1)
    fine = np.maximum(4 * _magnitudes(fmt, own).astype(np.int64) - 1 + extra % 4, 0)
    negative = own >> (fmt.bits - 1) > 0
    sizes = finer(fmt).values[fine]
    np.put_along_axis(values, places, np.where(negative, -sizes, sizes), axis=1)
    return np.asarray(values)


def encode_plus(job: Job) -> Coded:
    """Code a job in MX+."""
    if (large := _large(job)) is not None:
        return _plus_large(job, *large)
    coded, codes, scales = _plain(job)
    fmt = job.scheme.formats[0]
    places = _largest(job)[:, None]
    top = _at(job, places, scales).astype(np.float64)
    leading = 1 << (fmt.bits - 1)
    steps = np.rint(np.abs(top) / top_power(fmt) * leading).astype(np.int64)
    fine = np.clip(steps, leading, 2 * leading - 1) - leading + leading * np.signbit(top)
    known = (coded.scales > 0).reshape(-1, 1)
    own = np.where(known, fine, np.take_along_axis(codes, places, axis=1))
    np.put_along_axis(codes, places, own.astype(codes.dtype), axis=1)
    extra = np.where(known, places, 0)[:, 0].astype(np.uint8)
    return replace(coded, codes=np.ascontiguousarray(job.layout.join(codes)), choices=extra)


def _plus_units(coded: Coded, codes: Codes, part: slice) -> Floats:
    """Return what the (n, size) codes of a slice of groups stand for, in units of the scales."""
    fmt = coded.scheme.formats[0]
    values = fmt.values[codes]
    place = _extra(coded)[part] & ((1 << PLACE_BITS) - 1)
    known = np.flatnonzero((coded.scales[part, 0] > 0) & (place < codes.shape[1]))
    own = codes[known, place[known]]
    sizes = top_power(fmt) * (1 + _magnitudes(fmt, own) / float(1 << (fmt.bits - 1)))
    values[known, place[known]] = np.where(own >> (fmt.bits - 1) > 0, -sizes, sizes)
    return np.asarray(values)


def _extra(coded: Coded) -> Index:
    """Return the (groups,) bytes beside the codes."""
    assert coded.choices is not None
    return coded.choices.astype(np.int64)


def _scaled(units: Units) -> Callable[[Coded, Codes, Floats, np.dtype[Any]], Floats]:
    """Return what makes values of codes, their units told; see `Coder.values`."""

    def values(coded: Coded, codes: Codes, scales: Floats, dtype: np.dtype[Any]) -> Floats:
        found = units(coded, codes, slice(None))
        return np.asarray(found.astype(dtype) * scales.astype(dtype)[:, None])

    return values


def _seen(units: Units) -> Callable[[Coded], list[Integers]]:
    """Return what tells the numbers a bit-serial PE is fed; see `Coder.integers`."""

    def integers(coded: Coded) -> list[Integers]:
        elements = coded.scheme.coder_facts.elements
        assert elements is not None
        every = elements(coded.scheme.formats[0])

        def places(codes: Codes, part: slice) -> Index:
            return np.searchsorted(every, units(coded, codes, part))

        return [Integers(values=every, places=places, bits=(every.size - 1).bit_length())]

    return integers


def _no_tables(coded: Coded, scales: Floats, dtype: np.dtype[Any]) -> Tables:
    """Refuse: what a code stands for hangs on its neighbors; see `Coder.tables`."""
    del scales, dtype
    raise NotImplementedError(f"{coded.scheme}: no tables")


def _plus_ends(scheme: Scheme) -> tuple[float, float]:
    """Return the ends of MX+; see `Coder.ends`."""
    fmt = scheme.formats[0]
    return top_power(fmt) * (2 - 2.0 ** (1 - fmt.bits)), TABLE.ends(scheme)[1]


def _refined_ends(scheme: Scheme) -> tuple[float, float]:
    """Return the ends of M2XFP's activations; see `Coder.ends`."""
    fmt = scheme.formats[0]
    return float(finer(fmt).values[last_code(fmt)]), TABLE.ends(scheme)[1]


REFINED: Final = Coder(
    encode=encode_refined,
    values=_scaled(_refined_units),
    tables=_no_tables,
    integers=_seen(_refined_units),
    ends=_refined_ends,
    own_rounding=True,
    measures_outputs=False,
    has_tables=False,
)
PLUS: Final = Coder(
    encode=encode_plus,
    values=_scaled(_plus_units),
    tables=_no_tables,
    integers=_seen(_plus_units),
    ends=_plus_ends,
    own_rounding=True,
    measures_outputs=False,
    has_tables=False,
)
