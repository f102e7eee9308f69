"""What the coders share: the job they are given, what they hand back, errors and ranges."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from ..formats.format import Format
from ..schemes.layout import Layout
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats, Patterns
from .inputs import Inputs

# elements worked on at once: the temporaries of a slice stay in the cache
SLICE = 1 << 18
# fewer elements than a cast would compile its own kernel for
FEW = 1 << 15
# kernels that search among more members would take minutes to compile
MAX_BOOKS = 4
# by which a scale in float32 may fall short of what it should cover
ROUNDING = 2.0**-22
# searches below this many elements are done before a kernel would be compiled
SEARCH_MIN = 1 << 13


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedMatrix:
    """A matrix and its groups, which are cut once, when first used.

    Attributes
    ----------
    matrix : (rows, columns) float32 or float64
        Finite.
    layout : Layout
    importance : (columns,) float or None
        Weight of each column's errors.
    """

    matrix: Floats
    layout: Layout
    importance: Floats | None = None

    @cached_property
    def groups(self) -> Floats:
        """The (groups, size) elements; short groups filled with 0."""
        return self.layout.split(self.matrix)

    @cached_property
    def weights(self) -> Floats | None:
        """Weight of each element's error, (groups, size), 0 in the fill; None if all are equal."""
        if self.importance is not None:
            return self.layout.split(np.broadcast_to(self.importance, self.matrix.shape))
        mask = self.layout.mask()
        return None if mask is None else mask.astype(self.matrix.dtype)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A tensor, ready to be coded.

    Attributes
    ----------
    data : GroupedMatrix
    scheme : Scheme
    rounding : str
    seed : int or None
    inputs : Inputs or None
        Inputs of the layer whose outputs the errors are measured on.
    overflow : str
        What becomes of elements beyond a grid that has no scale; see `Format.encode`.
    """

    data: GroupedMatrix
    scheme: Scheme
    rounding: str = "even"
    seed: int | None = None
    inputs: Inputs | None = None
    overflow: str = "saturate"

    @property
    def matrix(self) -> Floats:
        """The (rows, columns) elements."""
        return self.data.matrix

    @property
    def layout(self) -> Layout:
        """How the matrix is cut into groups."""
        return self.data.layout

    @property
    def groups(self) -> Floats:
        """The (groups, size) elements; short groups filled with 0."""
        return self.data.groups

    @property
    def weights(self) -> Floats | None:
        """Weight of each element's error, (groups, size), 0 in the fill; None if all are equal."""
        return self.data.weights

    def lengths(self) -> NDArray[np.int64]:
        """Return how many elements of each group are real."""
        mask = self.layout.mask()
        count, size = self.groups.shape
        return np.asarray(np.full(count, size) if mask is None else mask.sum(axis=1), np.int64)

    def kernel_weights(self) -> Floats:
        """Return the (groups, size) weights for compiled kernels; (groups, 0) if all are equal."""
        equal = np.zeros((len(self.groups), 0), self.groups.dtype)
        return equal if self.weights is None else self.weights

    def slices(self, elements: int = SLICE) -> Iterator[slice]:
        """Cut the groups into slices of about so many elements, by default what fits the cache.

        Only one slice where a random draw must not be repeated from slice to slice.
        """
        count, size = self.groups.shape
        if self.rounding == "stochastic":
            yield slice(0, count)
            return
        step = max(1, elements // max(size, 1))
        for start in range(0, count, step):
            yield slice(start, start + step)

    def coded(
        self,
        codes: Codes,
        scales: Patterns,
        outer_scales: Patterns | None = None,
        zeros: NDArray[Any] | None = None,
        choices: NDArray[Any] | None = None,
    ) -> Coded:
        """Return the coded tensor that the job's codes and scales make.

        Parameters
        ----------
        codes : (rows, columns) unsigned
        scales : (groups,) or (groups, planes) uint32
        outer_scales : (k,) uint32, optional
        zeros, choices : (groups,) whole numbers, optional
        """
        return Coded(
            scheme=self.scheme,
            layout=self.layout,
            codes=np.ascontiguousarray(codes),
            scales=scales.reshape(self.layout.groups, -1),
            outer_scales=np.zeros(0, np.uint32) if outer_scales is None else outer_scales,
            zeros=None if zeros is None else zeros.reshape(-1).astype(np.uint8),
            choices=None if choices is None else choices.reshape(-1).astype(np.uint8),
        )


def least_error(
    parts: Sequence[slice],
    candidates: int,
    error: Callable[[int, slice], NDArray[np.float64]],
    least: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return which candidate has the least error, the first among equals.

    Parameters
    ----------
    parts : sequence of slice
        Groups (or rows) that are worked on together.
    candidates : int
    error : callable
        The errors of a candidate, by its number, in the groups of one part; NaN and infinity are
        never the least.
    least : (groups,) float64
        Errors to beat; lowered in place.

    Returns
    -------
    (groups,) int64
        -1 where no candidate's error is below `least`.
    """
    best = np.full(len(least), -1)
    # a value beyond the largest number, or an infinite scale: such a candidate is not taken
    with np.errstate(over="ignore", invalid="ignore"):
        for candidate in range(candidates):
            for part in parts:
                found = error(candidate, part)
                better = found < least[part]
                least[part] = np.where(better, found, least[part])
                best[part] = np.where(better, candidate, best[part])
    return best


def divide(x: Floats, scale: Floats) -> Floats:
    """Return (groups, size) x over the (groups,) scales; 0 where the scale is 0."""
    column = scale.astype(x.dtype)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        return np.divide(x, column, out=np.zeros_like(x), where=column > 0)


def worth_compiling(job: Job) -> bool:
    """Return whether a search goes through a compiled kernel: float32, large, not led by inputs."""
    plain = job.groups.dtype == np.float32 and job.inputs is None
    return plain and job.groups.size >= SEARCH_MIN and have_numba()


def group_error(job: Job, part: slice, approximation: Floats) -> NDArray[np.float64]:
    """Return the (n,) errors of some groups, in float64: what a search minimizes.

    The sum of the squared (absolute for ``mae``) differences, weighted by importance; of the
    squared differences they make in the layer's outputs where its inputs are known. The
    differences are taken in the precision of the groups.

    Parameters
    ----------
    job : Job
    part : slice
        The n groups.
    approximation : (n, size) float
        The values that stand for their elements.
    """
    x = job.groups[part]
    difference = (x - approximation).astype(np.float64)
    if job.inputs is not None:
        if job.weights is not None:
            difference *= job.weights[part]
        return job.inputs.block_errors(difference, part.start, job.layout)
    cost = np.abs(difference) if job.scheme.clip == "mae" else difference * difference
    if job.weights is not None:
        cost = cost * job.weights[part]
    return np.asarray(cost.sum(axis=1))


def magnitude_range(job: Job) -> Floats:
    """Return the range of each group's magnitudes that the grid should cover, (groups,).

    ``absmax``; the N-th percentile for ``pN``; the larger end of mean +- N sigma, at most absmax,
    for ``sigmaN``. For the searched clips this is the absmax they start from.
    """
    x, clip = job.groups, job.scheme.clip
    amax = np.abs(x).max(axis=1, initial=0.0)
    if clip.startswith("sigma"):
        mean, sigma = moments(job)
        reach = np.maximum(
            np.abs(mean + float(clip[5:]) * sigma), np.abs(mean - float(clip[5:]) * sigma)
        )
        # beyond the largest number there is nothing to cut
        return np.asarray(np.fmin(amax, reach).astype(x.dtype))
    if clip.startswith("p"):
        found = percentile(job, np.abs(x), float(clip[1:]))
        return np.asarray(np.where(found > 0, found, amax))
    return np.asarray(amax)


def member_ranges(job: Job) -> list[Floats]:
    """Return `magnitude_range` for each member of the scheme, (groups,) each.

    Under ``ends`` a magnitude on the side to which a member reaches less counts as much more: the
    side decides under which both ends of the group lie within the grid. Of -8..7 the largest
    positive element counts 8/7 of its length. Under ``mean`` it is the range whose scale is the
    mean magnitude (BitNet b1.58, arXiv 2402.17764).
    """
    if job.scheme.clip == "mean":
        mean = mean_magnitude(job)
        return [mean * job.groups.dtype.type(fmt.max_abs) for fmt in job.scheme.formats]
    if job.scheme.clip != "ends":
        return [magnitude_range(job)] * len(job.scheme.formats)
    x, found = job.groups, []
    high, low = x.max(axis=1, initial=0.0), -x.min(axis=1, initial=0.0)
    for fmt in job.scheme.formats:
        with np.errstate(over="ignore"):
            up = high * x.dtype.type(fmt.max_abs / fmt.max if fmt.max > 0 else 1)
            down = low * x.dtype.type(fmt.max_abs / -fmt.min if fmt.min < 0 else 1)
        found.append(np.maximum(up, down))
    return found


def mean_magnitude(job: Job) -> Floats:
    """Return the mean magnitude of each group, (groups,), fill left out; summed in float64."""
    with np.errstate(over="ignore"):
        total = np.abs(job.groups).sum(axis=1, dtype=np.float64)  # the fill is 0
    return np.asarray((total / np.maximum(job.lengths(), 1)).astype(job.groups.dtype))


def moments(job: Job) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each group, (groups,), fill left out."""
    x = job.groups.astype(np.float64)
    mask = job.layout.mask()
    count = np.full(x.shape[0], x.shape[1]) if mask is None else mask.sum(axis=1)
    with np.errstate(over="ignore"):
        mean = x.sum(axis=1) / count
    with np.errstate(over="ignore", invalid="ignore"):
        centered = x - mean[:, None]
        if mask is not None:
            centered = np.where(mask, centered, 0.0)
        return mean, np.sqrt((centered * centered).sum(axis=1) / count)


def percentile(job: Job, x: Floats, share: float) -> Floats:
    """Return the (groups,) percentiles of (groups, size) x without its fill, interpolated."""
    mask = job.layout.mask()
    shown = x if mask is None else np.where(mask, x, np.nan)
    find = np.percentile if mask is None else np.nanpercentile
    with np.errstate(over="ignore", invalid="ignore"):
        found = find(shown, share, axis=1)
    if not np.isfinite(found).all():  # two neighbors differ by more than the largest number
        found = find(shown / 4, share, axis=1) * 4
    return np.asarray(found.astype(x.dtype))


def grid_encode(job: Job, x: Floats, fmt: Format, scale: Floats) -> Codes:
    """Return the (n, size) codes of groups on a grid under given scales.

    Parameters
    ----------
    job : Job
        Whose rounding and overflow rules are followed.
    x : (n, size) float
    fmt : Format
    scale : (n,) float
    """
    y = divide(x, scale)
    codes: Codes = fmt.encode(
        y, rounding=job.rounding, overflow=job.overflow, nan="propagate", seed=job.seed
    )
    return codes


def grid_values(fmt: Format, codes: Codes, scale: Floats, dtype: Any) -> Floats:
    """Return value x scale, one rounding to the precision asked for.

    Parameters
    ----------
    fmt : Format
    codes : (n, size) unsigned integers
    scale : (n,) float
    dtype : numpy dtype

    Returns
    -------
    (n, size) float, of `dtype`
    """
    return np.asarray(fmt.grid.values_of(codes, np.dtype(dtype)) * scale.astype(dtype)[:, None])
