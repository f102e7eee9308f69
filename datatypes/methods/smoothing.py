"""Smoothing: part of the range of inputs is moved into the weights before both are rounded.

SmoothQuant (arXiv 2211.10438, equation 4): inputs are divided by ``max|x| ** a / max|w| ** (1-a)``
of their column. DGQ (arXiv 2310.04836): only the few largest columns are brought down to the
percentile of all columns' absmax.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.numbers import ceil_div
from ..quantize import quantize
from ..schemes.scheme import Scheme
from .layer import QuantizedLinear, rounded
from .options import check_flag, check_share, check_shares
from .task import Task, positive_scales

SAMPLED = 256  # outputs, by which smoothing is decided on
ALPHAS = tuple(i / 10 for i in range(1, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothquantOptions:
    """Options of ``smoothquant``.

    Attributes
    ----------
    alphas : tuple of float
        Migration strengths that are tried; 0.5 in most of the paper.
    """

    alphas: tuple[float, ...] = ALPHAS

    def __post_init__(self) -> None:
        check_shares("alphas", self.alphas)


def smoothquant(task: Task, options: SmoothquantOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task under each migration strength."""
    for alpha in options.alphas:
        divisors = migration(task, alpha)
        yield rounded(task, "smoothquant", f"alpha={alpha:g}", divisors=divisors)


def migration(task: Task, alpha: float) -> NDArray[np.float32]:
    """Return the (inputs,) divisors of a migration strength; 1 where inputs or weights are 0."""
    x = np.abs(task.activations).max(axis=0)
    w = np.abs(task.weights).max(axis=0).astype(np.float64)
    there = (x > 0) & (w > 0)
    ratio = np.where(there, x, 1.0) ** alpha / np.where(there, w, 1.0) ** (1 - alpha)
    return positive_scales(ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class DgqOptions:
    """Options of ``dgq``.

    Attributes
    ----------
    smooth : bool
        Whether inputs beyond the percentile are brought down to it.
    share : float
        Of the columns that lie beyond it (0.005 in the authors' code).
    """

    smooth: bool = True
    share: float = 0.005

    def __post_init__(self) -> None:
        check_flag("smooth", self.smooth)
        check_share("share", self.share)


def is_dual_grain(scheme: Scheme) -> str:
    """Return why DGQ does not go with a scheme; empty where it does."""
    return "" if scheme.coder == "dgq" else "dual grain is the format dgq4: dgq4@g128 and the like"


def dgq(task: Task, options: DgqOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in dual grain, searched on its outputs; smoothed where it pays."""
    divisors = clipped_percentile(task, options.share) if options.smooth else None
    weights, inputs = task.weights, task.activations
    if divisors is None or (divisors == 1).all() or not _pays(task, divisors):
        divisors = None
    else:
        weights = weights * divisors.astype(weights.dtype)
        inputs = inputs / divisors.astype(np.float64)
    yield QuantizedLinear(
        method="dgq",
        chosen="search" if divisors is None else "search, smooth",
        weights=quantize(weights, task.scheme, activations=inputs),
        activation_scheme=task.activation_scheme,
        divisors=divisors,
    )


def _pays(task: Task, divisors: NDArray[np.float32]) -> bool:
    """Return whether outputs err less behind divisors, by plain rounding of some of them.

    A search takes ten times as long as rounding; an output's weights are rounded by themselves.
    """
    few = replace(task, weights=task.weights[:: ceil_div(len(task.weights), SAMPLED)])
    plain, smooth = (
        rounded(few, divisors=each).forward(few.activations) for each in (None, divisors)
    )
    errors = [float(np.square(made - few.outputs).sum()) for made in (plain, smooth)]
    return errors[1] < errors[0]


def clipped_percentile(task: Task, share: float) -> NDArray[np.float32]:
    """Return the (inputs,) divisors, at least 1, that bring large inputs to the percentile.

    The percentile is the k-th largest absmax of a column, ``k = int(share * columns + 1.5)``.
    """
    amax = np.abs(task.activations).max(axis=0)
    k = min(int(share * len(amax) + 1.5), len(amax))
    top = np.sort(amax)[-k]
    return positive_scales(np.maximum(amax / top, 1.0) if top > 0 else np.ones_like(amax))
