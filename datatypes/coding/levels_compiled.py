"""The coder of nested scales for large tensors: spans and codes by kernels, scales by numpy.

A scale serves many elements, so that what numpy takes for scales is little beside the elements.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coded import Coded
from .job import Job
from .level_scales import Tree
from .levels import Descent, Spans, offset_spans, refuse_negative, signs_of, spread_columns

# of shorter groups elements are divided by their scales before
SHORT = 8


def encode_compiled(job: Job) -> Coded | None:
    """Code a large job; None where no kernel fits: searches, mixtures, zero points, 9 bits up."""
    scheme, offset = job.scheme, job.scheme.offset
    searched = any(level.search for level in scheme.levels)
    if searched or len(scheme.formats) > 1 or (offset is not None and offset.kind == "zero"):
        return None
    if not scheme.formats[0].signed and offset is None:
        return None
    refuse_negative(job)
    tree = Tree.of(scheme.levels, job.layout)
    descent = Descent(job=job, tree=tree, spans=_spans(job, tree))
    found = descent.find(len(scheme.levels) - 1, None, measured=False)
    if not np.isfinite(found.scales).all():
        return None  # refused by the path of numpy
    raws, shift = descent.offsets(found.scales, 0)
    coded = job.coded(_codes(job, found.scales, shift), found.raws[0])
    return replace(coded, upper_scales=tuple(found.raws[1:]), offsets=tuple(raws))


def _spans(job: Job, tree: Tree) -> Spans:
    """Return what `levels.spans_of` does, the ends of groups found by a kernel."""
    from .. import kernels

    scheme, group = job.scheme, job.layout.block_columns
    if scheme.offset is None and not scheme.levels[0].signed:
        span = kernels.absmax_groups(job.matrix, group).reshape(-1)
        return Spans(by_level=tree.largest(span))
    low, high = (end.reshape(-1) for end in kernels.ends_groups(job.matrix, group))
    if scheme.offset is None:
        both, fmt = low == -high, scheme.formats[0]
        sign = (high < -low) == (fmt.max >= -fmt.min)
        if both.any():  # the first of the two decides
            sign[both] = signs_of(job.groups[both], fmt)
        return Spans(by_level=tree.largest(np.maximum(np.abs(low), np.abs(high))), sign=sign)
    return offset_spans(scheme, tree, low.astype(np.float64), high.astype(np.float64))


def _codes(job: Job, scales: NDArray[np.float32], shift: Any) -> NDArray[Any]:
    """Return the (rows, columns) codes under (groups,) scales, which may be negative."""
    from .. import kernels

    layout = job.layout
    shape, group = (layout.rows, layout.across), layout.block_columns
    x = job.matrix
    if shift is not None:
        x = x + spread_columns(layout, shift)
    if job.scheme.levels[0].signed:  # x / s is -x / -s
        x = x * spread_columns(layout, np.where(scales < 0, np.float32(-1), np.float32(1)))
    sizes = np.abs(scales).reshape(shape)
    if group < SHORT:  # a kernel would spend its time between groups
        column = spread_columns(layout, sizes)
        with np.errstate(over="ignore", under="ignore"):
            x = np.divide(x, column, out=np.zeros_like(x), where=column != 0)
        group, shape = layout.columns, (layout.rows, 1)
        sizes = np.ones(shape, np.float32)
    books = (job.scheme.formats[0].grid.book(job.rounding),)
    choice = np.zeros(shape, np.uint8)
    return kernels.codebooks_given(x, books, group, sizes, choice, values=False).codes
