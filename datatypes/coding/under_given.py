"""Codes under scales, zero points and choices that come from outside."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.format import Format
from .asym import integer_codes, zeros_of
from .coded import Coded
from .given import Stored, refuse_unfit, scales_of, store_choices, store_scales, store_zeros
from .job import Job
from .level_scales import Tree, product
from .levels import Descent, Spans, element_codes, refuse_negative, spans_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a caller fixes; see `quantize`.

    Attributes
    ----------
    scales : array_like or list of array_like
    zeros : array_like, list of array_like or None
    choices : array_like or None
    """

    scales: Any
    zeros: Any = None
    choices: Any = None


def encode_under(job: Job, given: Given) -> Coded:
    """Code a job under given scales, which are rounded as its scheme stores them.

    Where the scheme has zero points or minima and none are given, they are those of the groups
    under these scales; where it has members and no choices are given, the member of least error.

    Raises
    ------
    BitlatheError
        Raised if the scheme finds its own scales, or what is given does not go with it.
    """
    scheme, layout = job.scheme, job.layout
    refuse_unfit(scheme, "scales")
    found = store_scales(scheme, layout, given.scales, exact=False)
    used = scales_of(scheme, layout, found)
    fixed = None if given.choices is None else store_choices(scheme, layout, given.choices)
    if scheme.coder == "asym":
        return _integers(job, found, used, given)
    raws = () if given.zeros is None else store_zeros(scheme, layout, given.zeros, exact=False)
    refuse_negative(job)
    tree = Tree.single(layout)
    spans = Spans(by_level=[]) if scheme.offset is None else spans_of(job, tree)
    descent = Descent(job=job, tree=tree, spans=spans)
    member = _members(descent, used) if fixed is None else fixed.astype(np.int64)
    shift = None
    if scheme.offset is not None and raws:
        shift = product(scheme.offset.levels, raws, layout)
    elif scheme.offset is not None:
        raws, shift = descent.offsets(used, member)
    codes = _codes(job, used, member, shift)
    choices = member if len(scheme.formats) > 1 else None
    coded = job.coded(layout.join(codes), found.scales, found.outer_scales, choices=choices)
    return replace(coded, upper_scales=found.upper_scales, offsets=tuple(raws))


def _members(descent: Descent, used: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the member of least error of each group, the first among equals."""
    formats = descent.formats
    if len(formats) == 1:
        return np.zeros(len(used), np.int64)
    errors = np.stack([descent.error(used, member) for member in range(len(formats))])
    return np.asarray(np.argmin(errors, axis=0))


def _codes(
    job: Job, used: NDArray[np.float32], member: NDArray[np.int64], shift: Any
) -> NDArray[Any]:
    formats: tuple[Format, ...] = job.scheme.formats
    codes = np.zeros(job.groups.shape, formats[0].code_dtype)
    for part in job.slices():
        own = None if shift is None else shift[part]
        for index in np.unique(member[part]):
            made = element_codes(job, part, formats[index], used[part], own)
            codes[part] = np.where((member[part] == index)[:, None], made, codes[part])
    return codes


def _integers(job: Job, found: Stored, used: NDArray[np.float32], given: Given) -> Coded:
    """Code integers with a zero point."""
    scheme = job.scheme
    low = np.minimum(job.groups.min(axis=1, initial=0.0), 0).astype(used.dtype)
    if given.zeros is None:
        zeros = zeros_of(used, low, (1 << scheme.element_bits) - 1)
    else:
        zeros = store_zeros(scheme, job.layout, given.zeros, exact=False).astype(used.dtype)
    codes = np.zeros(job.groups.shape, np.uint8)
    for part in job.slices():
        codes[part] = integer_codes(job, part, used[part].astype(job.groups.dtype), zeros[part])
    return job.coded(job.layout.join(codes), found.scales, found.outer_scales, zeros=zeros)
