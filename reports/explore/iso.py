"""Iso: the value of one key of a chip at which a resource comes closest to a target from below."""

from collections.abc import Callable
from itertools import pairwise

from ...datatypes.base.errors import BitlatheError
from .sweepfile import Iso


def solve(resource: Callable[[float], float], iso: Iso, *, whole: bool) -> float:
    """Return the value at which a resource comes closest to its target from below.

    The range is walked by factors of two; values that the chip refuses are skipped; between two
    neighbors that have the target between them, bisection. A resource that is not monotone has
    several such places: the first one is taken.

    Parameters
    ----------
    resource : callable
        The resource at a value; raises BitlatheError where the chip is impossible.
    iso : Iso
        Target and range.
    whole : bool
        Whether the value is a whole number; else it is found to one part in 10^6.

    Raises
    ------
    BitlatheError
        The target is not reached anywhere in the range.
    """

    def attempt(value: float) -> float | None:
        try:
            return resource(value)
        except BitlatheError:
            return None

    grid = _walk(iso, whole=whole)
    seen = _extended([(v, r) for v in grid if (r := attempt(v)) is not None], grid, attempt, whole)
    for value, found in seen:
        if found == iso.target:
            return value
    for (low, at_low), (high, at_high) in pairwise(seen):
        if (at_low < iso.target) != (at_high < iso.target):
            rising = at_low < iso.target

            def keeps_side(value: float, rising: bool = rising) -> bool:
                found = attempt(value)
                return found is not None and (found <= iso.target) == rising

            below, above = _bisect(low, high, keeps_side, whole=whole)
            return below if rising else above
    if not seen:
        resource(iso.low)  # raises with the chip's own reason
    reached = [r for _, r in seen]
    raise BitlatheError(
        f"iso: {iso.resource} cannot be {iso.target:g}: it runs from {min(reached):g} to "
        f"{max(reached):g} while {iso.solve} goes from {seen[0][0]:g} to {seen[-1][0]:g}; choose a "
        "target between or a wider from..to."
    )


def _walk(iso: Iso, *, whole: bool) -> list[float]:
    values, value = [], iso.low
    while value < iso.high:
        values.append(value)
        value *= 2
    values.append(iso.high)
    return sorted({float(int(v)) for v in values}) if whole else values


def _extended(
    seen: list[tuple[float, float]],
    grid: list[float],
    attempt: Callable[[float], float | None],
    whole: bool,
) -> list[tuple[float, float]]:
    """Add the last possible values before the range of impossible ones on both sides."""
    if not seen:
        return seen
    out = list(seen)
    before = [v for v in grid if v < seen[0][0]]
    after = [v for v in grid if v > seen[-1][0]]
    if before:
        edge = _bisect(before[-1], seen[0][0], lambda v: attempt(v) is None, whole=whole)[1]
        out.insert(0, (edge, attempt(edge) or 0.0))
    if after:
        edge = _bisect(seen[-1][0], after[0], lambda v: attempt(v) is not None, whole=whole)[0]
        out.append((edge, attempt(edge) or 0.0))
    return out


def _bisect(
    low: float, high: float, holds: Callable[[float], bool], *, whole: bool
) -> tuple[float, float]:
    """Narrow ``[low, high]`` where ``holds`` turns from true to false; return both sides."""
    while (high - low > 1) if whole else (high - low > 1e-6 * high):
        middle = (low + high) / 2
        if whole:
            middle = float(int(middle))
        if holds(middle):
            low = middle
        else:
            high = middle
    return low, high
