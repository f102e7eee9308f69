"""Weights kept apart one by one, in fp16 with their places, and EasyQuant, which isolates them.

EasyQuant (arXiv 2403.02775, sections 3.1 and 3.2): weights whose distance from the matrix's mean
reaches n standard deviations stay in fp16; the rest is rounded under ranges that make its squared
error least. No inputs are looked at. The paper descends along the range's gradient; here the
scheme's own search (``+mse``, ``+search``) finds the range.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..quantize import quantize
from .layer import QuantizedLinear, rounded
from .options import check_number
from .parts import Sparse
from .task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyquantOptions:
    """Options of ``easyquant``.

    Attributes
    ----------
    sigmas : float
        Standard deviations from the mean at which a weight is kept apart.
    """

    sigmas: float = 3.0

    def __post_init__(self) -> None:
        check_number("sigmas", self.sigmas, 0, float("inf"))


def outliers(weights: NDArray[np.floating], sigmas: float) -> NDArray[np.bool_]:
    """Return which of the (outputs, inputs) weights lie so many standard deviations off the mean.

    The deviation is that of the whole matrix; none do where all weights are equal.
    """
    w = weights.astype(np.float64)
    spread = float(w.std())
    if spread == 0:
        return np.zeros(w.shape, np.bool_)
    return np.asarray(np.abs(w - w.mean()) >= sigmas * spread)


def easyquant(task: Task, options: EasyquantOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task with outliers among its weights apart; nothing without any.

    Raises
    ------
    BitlatheError
        Raised if every weight is an outlier, or one is beyond fp16.
    """
    apart = outliers(task.weights, options.sigmas)
    if not apart.any():
        return
    if apart.all():
        raise BitlatheError(
            f"sigmas: every weight lies {options.sigmas:g} standard deviations off the mean, so "
            "that nothing is left to quantize; pass more"
        )
    kept = Sparse.of(task.weights, apart)
    rest = quantize(np.where(apart, 0, task.weights), task.scheme)
    found = rounded(task, "easyquant", f"{len(kept.values)} outliers")
    yield replace(found, weights=rest, sparse=kept)
