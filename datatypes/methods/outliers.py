"""LLM.int8(): inputs with outliers are multiplied in fp16, all others in the scheme.

LLM.int8() (arXiv 2208.07339): a column of the inputs that holds a magnitude of 6 or more is kept
apart with its weights; the rest is quantized, a scale for each token and each output.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..base.errors import BitlatheError
from ..quantize import quantize
from .layer import QuantizedLinear, rounded
from .options import check_number
from .task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierOptions:
    """Options of ``llm_int8``.

    Attributes
    ----------
    threshold : float
        Least magnitude of an outlier.
    """

    threshold: float = 6.0

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0, float("inf"))


def llm_int8(task: Task, options: OutlierOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task with outliers apart; nothing where there are none.

    Raises
    ------
    BitlatheError
        Raised if every input is an outlier, or weights of one are beyond fp16.
    """
    apart = (np.abs(task.activations) >= options.threshold).any(axis=0)
    if not apart.any():
        return
    if apart.all():
        least = float(np.abs(task.activations).max(axis=0).min())
        raise BitlatheError(
            f"threshold: every input reaches {options.threshold:g}, so that nothing is left to "
            f"quantize; pass one above {least:g}"
        )
    columns = np.flatnonzero(apart)
    with np.errstate(over="ignore"):
        kept = task.weights[:, columns].astype(np.float16)
    if not np.isfinite(kept).all():
        raise BitlatheError("weights: those of an outlier are beyond fp16, whose largest is 65504")
    rest = quantize(task.weights[:, ~apart], task.scheme)
    yield replace(
        rounded(task, "llm_int8", f"{len(columns)} outliers"),
        weights=rest,
        outliers=columns,
        outlier_weights=kept,
    )
