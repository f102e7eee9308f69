"""The scales that a search tries, each as it would be stored.

Second-level scales stand before the search begins: they are those that the scheme has without
one. So whatever a group takes changes no other group, and as the scale that it has without a
search is among those tried, no group errs more than without.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..formats.format import Format
from ..schemes.patterns import Raw
from .coded import Floats
from .job import Job

# ranges over absmax, the widest first, so that equals keep the wider one
RATIOS: Final = tuple(round(1.5 - 0.0125 * i, 4) for i in range(101))
CLIP_RATIOS: Final = {
    "mse": RATIOS,
    "mae": RATIOS,
    "4over6": (1.0, 1.5),  # absmax over 6 or over 4 of E2M1; the first of equals
}
# scales tried at once: their temporaries stay in the cache
BATCH: Final = 1 << 18


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """What a scheme stores without a search.

    Attributes
    ----------
    raw : (groups,) uint32
        Patterns of the scales of groups.
    tops : (groups,) float32
        Second-level scale above each group.
    """

    raw: Raw
    tops: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """The scales tried of some groups.

    Attributes
    ----------
    raw : (n, t) uint32
        As they would be stored.
    scales : (n, t) float32
        What these stand for; infinite where a scale does not fit its format.
    """

    raw: Raw
    scales: NDArray[np.float32]


def is_searched(clip: str) -> bool:
    """Return whether a clip tries several scales for each group."""
    return clip in CLIP_RATIOS or clip == "search"


def count_of(job: Job) -> int:
    """Return how many scales are tried for each group and member."""
    clip = job.scheme.clip
    own = len(job.scheme.scale_format.every) if clip == "search" else len(ratios_of(clip))
    return own + 1


def ratios_of(clip: str) -> tuple[float, ...]:
    """Return the ranges over absmax that a clip tries, of one that does not try every scale."""
    return CLIP_RATIOS.get(clip, (1.0,))


def wanted_scale(fmt: Format, span: Floats) -> Floats:
    """Return the scales under which (...) magnitudes are the largest of a grid."""
    with np.errstate(over="ignore"):
        return np.asarray(span / span.dtype.type(fmt.max_abs))


def trials_of(
    job: Job, fmt: Format, part: slice, reach: Floats, standing: Standing | None
) -> Trials:
    """Return the scales tried of some groups for a member.

    Parameters
    ----------
    job : Job
    fmt : Format
        The member.
    part : slice
        The n groups.
    reach : (groups,) float
        Magnitudes that the grid should cover.
    standing : Standing or None
        What is stored without a search; its scale is tried, last of all, or where every scale is
        tried first. None where scales stand on their own: the ratio 1 is that scale.
    """
    scale, grid = job.scheme.scale_format, fmt.grid
    amax = reach[part]
    tops = np.ones(len(amax), np.float32) if standing is None else standing.tops[part]
    if job.scheme.clip == "search":
        raw = np.broadcast_to(scale.every, (len(amax), len(scale.every)))
        fit = np.ones(raw.shape, np.bool_)
    else:
        with np.errstate(over="ignore"):
            wide = amax[:, None] * np.array(ratios_of(job.scheme.clip), amax.dtype)
        wanted = wanted_scale(fmt, wide)
        fit = scale.fits(wanted, wide, grid)
        real, span = np.where(fit, wanted, 0).reshape(-1), np.where(fit, wide, 0).reshape(-1)
        raw = scale.patterns(real, span, np.repeat(tops, wide.shape[1]), grid).reshape(wide.shape)
    if standing is not None:
        own, always = standing.raw[part, None], np.ones((len(amax), 1), np.bool_)
        first = job.scheme.clip == "search"
        raw = np.hstack([own, raw] if first else [raw, own])
        fit = np.hstack([always, fit] if first else [fit, always])
    flat = np.ascontiguousarray(raw).reshape(-1)
    scales = scale.scales(flat, np.repeat(tops, raw.shape[1]), grid).reshape(raw.shape)
    return Trials(raw=raw, scales=np.where(fit, scales, np.float32(np.inf)))
