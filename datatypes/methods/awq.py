"""AWQ: inputs that are large are given finer weights, then the ends of groups are cut.

AWQ (arXiv 2306.00978, section 3.2, and the authors' code): weights are multiplied, inputs divided
by ``s = mean|x| ** a`` over ``sqrt(max s * min s)``, a from a grid; then each group's range is
cut to the share that changes its outputs least. Weights are cut before they are rounded, so that
any scheme does the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..coding.inputs import Inputs
from ..quantize import quantize
from ..schemes.layout import Layout
from .layer import QuantizedLinear, rounded
from .options import check_flag, check_shares
from .task import Reals, Task, positive_scales

ALPHAS = tuple(i / 20 for i in range(20))
CLIPS = tuple(1 - i / 20 for i in range(10))
LEAST = 1e-4  # of s before it is normalized, as in the authors' code


@dataclass(frozen=True, slots=True, kw_only=True)
class AwqOptions:
    """Options of ``awq``.

    Attributes
    ----------
    alphas : tuple of float
        Exponents that are tried.
    clip : bool
        Whether ranges are cut.
    clips : tuple of float
        Shares of the range that are tried.
    """

    alphas: tuple[float, ...] = ALPHAS
    clip: bool = True
    clips: tuple[float, ...] = CLIPS

    def __post_init__(self) -> None:
        check_shares("alphas", self.alphas)
        check_flag("clip", self.clip)
        check_shares("clips", self.clips)


def awq(task: Task, options: AwqOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task with the best scales, and with its ranges cut as well."""
    alpha, divisors = _search_scales(task, options.alphas)
    layer = rounded(task, "awq", f"alpha={alpha:g}", divisors=divisors)
    yield layer
    if options.clip:
        scaled = task.weights * divisors.astype(task.weights.dtype)
        cut = _cut(task, scaled, task.activations / divisors.astype(np.float64), options.clips)
        chosen = f"alpha={alpha:g}, clip"
        yield replace(layer, weights=quantize(cut, task.scheme), chosen=chosen)


def input_scales(task: Task, alpha: float) -> NDArray[np.float32]:
    """Return the (inputs,) factors that an exponent gives."""
    raw = np.maximum(np.abs(task.activations).mean(axis=0) ** alpha, LEAST)
    return positive_scales(raw / np.sqrt(raw.max() * raw.min()))


def _search_scales(task: Task, alphas: tuple[float, ...]) -> tuple[float, NDArray[np.float32]]:
    """Return the exponent of least error of the outputs, the first among equals, and its factors.

    The errors are taken in float32.
    """
    inputs = task.activations.astype(np.float32)
    weights = task.weights.astype(np.float32)
    best = (np.inf, alphas[0], input_scales(task, alphas[0]))
    for alpha in alphas:
        scales = input_scales(task, alpha)
        made = quantize(weights * scales, task.scheme).dequantize(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            made /= scales
            made -= weights
            error = float(np.square(inputs @ made.T).sum(dtype=np.float64))
        if error < best[0]:
            best = (error, alpha, scales)
    return best[1], best[2]


def _cut(
    task: Task, weights: NDArray[np.floating], inputs: Reals, clips: tuple[float, ...]
) -> NDArray[np.floating]:
    """Return the (outputs, inputs) weights, each group cut to its best share of its absmax."""
    layout = Layout.of(weights.shape, -1, task.scheme.granularity)
    known = Inputs.of(inputs, layout)
    groups = layout.split(weights)
    amax = np.abs(groups).max(axis=1, keepdims=True)
    least, kept = np.full(len(groups), np.inf), np.ones((len(groups), 1), weights.dtype)
    for clip in clips:
        ends = amax * weights.dtype.type(clip)
        tried = layout.join(np.clip(groups, -ends, ends))
        made = quantize(tried, task.scheme).dequantize(weights.dtype)
        difference = layout.split((weights - made).astype(np.float64))
        error = known.block_errors(difference, 0, layout)
        better = error < least
        least[better], kept[better] = error[better], clip
    ends = amax * kept
    return layout.join(np.clip(groups, -ends, ends))
