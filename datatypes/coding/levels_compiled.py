"""The coder of nested scales for large tensors: spans, codes, errors by kernels, scales by numpy.

A scale serves many elements, so that what numpy takes for scales is little beside the elements.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.format import Format
from ..schemes.levels import FEW_VALUES, Level
from ..schemes.patterns import Raw
from .coded import Coded, Floats
from .dispatch import special_values
from .job import MAX_BOOKS, Job
from .level_scales import Tree, around, unit_of
from .levels import Descent, Found, Spans, offset_spans, refuse_negative, signs_of, spread_columns
from .trials import BATCH

# of shorter groups elements are divided by their scales before
SHORT = 8
# in place of a member, where codes are those of all
ALL = -1
# rules by which scales of few values are compared one by one
FEW_RULES = ("floor", "ceil", "even", "rceil")


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledDescent(Descent):
    """A job on its way from the outermost scales in, members and searched scales compared fast.

    Attributes
    ----------
    codes : dict of int to (rows, columns) uint8
        Of each member under its scales, as they are where no scale is searched; filled by `error`.
        Of `ALL` those of the members that were chosen, where they are found at once.
    """

    codes: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def error(self, scale: NDArray[np.float32], member: int) -> NDArray[np.float64]:
        """Return the (groups,) squared errors of a member under given scales."""
        job = self.job
        group = job.layout.block_columns
        if group < SHORT:
            return super().error(scale, member)
        from .. import kernels

        book = self.formats[member].grid.book(job.rounding)
        given = scale.reshape(job.layout.rows, -1)
        codes, errors = kernels.errors_given(job.matrix, book, group, given)
        if not any(level.search for level in self.levels):
            self.codes[member] = codes
        found = errors.reshape(-1)
        return np.where(np.isfinite(found), found, np.inf)

    def find(self, k: int, above: NDArray[np.float32] | None, measured: bool) -> Found:
        """Return the (groups,) scales of a level and those below; see `Descent.find`."""
        if k == 0 and self._special is not None and not measured:
            return self._best_special(above)
        kernel = self._ranged if k == 0 else None
        if kernel is None:
            return super().find(k, above, measured)
        level, x = self.levels[0], self.job.groups
        tried = around(level, self._base(above), self.spans.by_level[0])
        raw, scales = np.empty(len(x), np.uint32), np.empty(len(x), np.float32)
        least, step = np.full(len(x), np.inf), max(1, BATCH // len(tried))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            raws = np.stack([one[part] for one in tried], axis=1)
            with np.errstate(over="ignore"):
                every = level.decode(raws)
                every = every if above is None else every * above[part, None]
            best = kernel(x[part], every, least[part])
            rows = np.arange(len(best))
            raw[part], scales[part] = raws[rows, best], every[rows, best]
        member = np.zeros(len(x), np.int64)
        return Found(raws=[raw], scales=scales, member=member, error=least)

    @cached_property
    def _special(self) -> Any:
        """What `dispatch.special_values` tells of a mixture whose groups one kernel codes."""
        job, free = self.job, not any(level.search for level in self.levels)
        wide = job.layout.block_columns >= SHORT and job.rounding == "even"
        # the rule 'even' looks at an element's digits, in which +v and -v may differ
        alike = self.levels[0].rule != "even"
        return special_values(self.formats) if free and wide and alike else None

    def _best_special(self, above: NDArray[np.float32] | None) -> Found:
        """Return the scales of the least error among members with special values."""
        from .. import kernels

        level, rows = self.levels[0], self.job.layout.rows
        raws = [self.wanted(0, above, member) for member in (0, 2)]
        used = [level.decode(raw) for raw in raws]
        if above is not None:
            with np.errstate(over="ignore"):
                used = [scale * above for scale in used]
        inner, outer = (scale.reshape(rows, -1) for scale in used)
        x, group = self.job.matrix, self.job.layout.block_columns
        base, specials = self._special
        codes, choices = kernels.bitmod_under(x, base, specials, group, inner, outer)
        self.codes[ALL] = codes
        member = choices.reshape(-1).astype(np.int64)
        near = member < 2
        scales = np.where(near, used[0], used[1])
        return Found(
            raws=[np.where(near, raws[0], raws[1])], scales=scales, member=member, error=None
        )

    def _base(self, above: NDArray[np.float32] | None) -> Raw:
        """Return the (groups,) patterns around which the innermost scales are tried.

        Where every value is tried, only those of groups of zeros count; those of the outermost
        level may be refused.
        """
        level = self.levels[0]
        if above is None or len(level.positive[0]) > FEW_VALUES:
            return self.wanted(0, above, 0)
        return np.broadcast_to(_lost(level), above.shape)

    @cached_property
    def _ranged(self) -> Any:
        """What searches the innermost scales: takes elements, scales, errors; None if nothing."""
        job, fmt = self.job, self.formats[0]
        short = job.layout.block_columns < SHORT or job.layout.mask() is not None
        if short or len(self.formats) > 1 or not self.levels[0].search:
            return None
        from ..kernels.base.threads import on_rows
        from ..kernels.searches.table import ranged_kernel

        found = ranged_kernel(fmt.grid.book(job.rounding), False)
        if found is None:
            return None
        cuts = values = np.zeros(0, np.float32)  # the kernel's own are constants

        def search(
            x: Floats, scales: NDArray[np.float32], least: NDArray[np.float64]
        ) -> NDArray[np.int64]:
            weights, best = np.zeros((len(x), 0), np.float32), np.zeros(len(x), np.int64)
            by_row = (x, weights, scales, least, best)
            on_rows(found, by_row, (cuts, values), x.shape[1] * scales.shape[1])
            return best

        return search

    def wanted(self, k: int, above: NDArray[np.float32] | None, member: int | None) -> Raw:
        """Return the (groups,) patterns of a level's scales by its rule; see `Descent.find`."""
        level, span = self.levels[k], self.spans.by_level[k]
        few = level.rule in FEW_RULES and len(level.positive[0]) <= FEW_VALUES
        if not few or above is None or span.dtype != np.float32:
            return super().wanted(k, above, member)
        from ..kernels.base.few import few_scales
        from ..kernels.base.threads import on_rows

        values, codes = level.positive
        unit = unit_of(level, self.reach(k, member), self._mantissa_bits(member))
        raw, up = np.empty(len(span), np.uint32), level.rule in ("ceil", "rceil")
        shared = (unit, values, up, codes.astype(np.uint32), _lost(level))
        on_rows(
            lambda s, a, out: few_scales(s, a, *shared, out), (span, above, raw), (), len(values)
        )
        return raw


def _lost(level: Level) -> np.uint32:
    """Return the pattern of the scale of a group of zeros."""
    return np.uint32(level.nearest(np.zeros(1), np.zeros(1, np.bool_))[0])


def encode_compiled(job: Job) -> Coded | None:
    """Code a large job; None where no kernel fits.

    None does formats of 9 bits and more, searches and mixtures beside minima, zero points or under
    signed scales, and more members than kernels should be compiled for.
    """
    scheme, offset = job.scheme, job.scheme.offset
    several = len(scheme.formats) > 1 or any(level.search for level in scheme.levels)
    if several and (offset is not None or scheme.levels[0].signed):
        return None
    if len(scheme.formats) > MAX_BOOKS:
        return None
    if not all(f.signed for f in scheme.formats) and offset is None:
        return None
    refuse_negative(job)
    tree = Tree.of(scheme.levels, job.layout)
    descent = CompiledDescent(job=job, tree=tree, spans=_spans(job, tree))
    found = descent.find(len(scheme.levels) - 1, None, measured=False)
    if not np.isfinite(found.scales).all():
        return None  # refused by the path of numpy
    raws, shift = descent.offsets(found.scales, 0)
    if shift is not None and not np.isfinite(shift).all():
        return None
    codes = descent.codes.get(ALL)
    if codes is None:
        codes = _member_codes(descent, found, shift)
    choices = found.member if len(scheme.formats) > 1 else None
    coded = job.coded(codes, found.raws[0], choices=choices)
    return replace(coded, upper_scales=tuple(found.raws[1:]), offsets=tuple(raws))


def _member_codes(descent: CompiledDescent, found: Found, shift: Any) -> NDArray[np.uint8]:
    """Return the (rows, columns) codes of the members that were chosen."""
    job, formats = descent.job, descent.formats
    codes = descent.codes.get(0)
    if codes is None:
        codes = _codes(job, found.scales, shift, formats[0])
    for member, fmt in enumerate(formats[1:], 1):
        mine, made = found.member == member, descent.codes.get(member)
        if made is None:
            made = _codes(job, found.scales, shift, fmt)
        np.copyto(codes, made, where=spread_columns(job.layout, mine))
    return codes


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


def _codes(job: Job, scales: NDArray[np.float32], shift: Any, fmt: Format) -> NDArray[np.uint8]:
    """Return the (rows, columns) codes under (groups,) scales, which may be negative."""
    from .. import kernels
    from ..kernels.base.tables import whole_steps

    layout, offset, book = job.layout, job.scheme.offset, fmt.grid.book(job.rounding)
    given, group = scales.reshape(layout.rows, -1), layout.block_columns
    plain = shift is None and not job.scheme.levels[0].signed and group >= SHORT
    if plain and whole_steps(book) is None:
        first = np.zeros(given.shape, np.uint8)
        made = kernels.codebooks_given(job.matrix, (book,), group, given, first, values=False)
        return made.codes
    beside = np.zeros_like(given) if shift is None else shift.reshape(given.shape)
    kind = "" if offset is None else offset.kind
    return kernels.codes_shifted(job.matrix, book, group, given, beside, kind)
