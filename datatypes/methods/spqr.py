"""SpQR: the weights that cost most are kept in fp16, all others go through GPTQ.

SpQR (arXiv 2306.03078): rounding weight j of a row costs ``(w - q)**2 / inverse(H)[j, j]`` where
later ones make up for it (OBQ's formula); weights that cost more than a threshold are outliers. Its
scales and zero points are themselves integers under scales of 16 groups, which nested scales say:
``uint3@g16/uint3@g256/fp16~uint3@g256/fp16``. Here the share of outliers is given instead of a
threshold, what is left of them in the matrix is 0, and scales are those of the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.numbers import share_of
from .gptq import GptqOptions, hessian_of, propagated
from .layer import QuantizedLinear, rounded
from .options import check_share
from .parts import Sparse
from .task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SpqrOptions(GptqOptions):
    """Options of ``spqr``: those of GPTQ, and how many weights are kept.

    Attributes
    ----------
    damping : float
        Added to the diagonal of the Hessian, in units of its mean.
    act_order : bool
        Whether columns of the largest inputs are rounded first.
    share : float
        Of the weights that are outliers.
    """

    share: float = 0.01

    def __post_init__(self) -> None:
        GptqOptions.__post_init__(self)
        check_share("share", self.share)


def costly(task: Task, base: QuantizedLinear, options: SpqrOptions) -> NDArray[np.bool_]:
    """Return which of the (outputs, inputs) weights cost most to round: a share of all."""
    inverse = np.linalg.pinv(hessian_of(task, options.damping), hermitian=True)
    squares = np.square(task.weights.astype(np.float64) - base.matrix())
    cost = squares / np.maximum(np.diag(inverse), np.finfo(np.float64).tiny)
    count = share_of(options.share, cost.size)
    found = np.zeros(cost.size, np.bool_)
    found[np.argsort(-cost.reshape(-1), kind="stable")[:count]] = True
    return found.reshape(cost.shape)


def spqr(task: Task, options: SpqrOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task with the costliest weights apart, the rest by GPTQ.

    Raises
    ------
    BitlatheError
        Raised if an outlier is beyond fp16, or the Hessian is singular.
    """
    apart = costly(task, rounded(task), options)
    if not apart.any() or apart.all():
        return
    kept = Sparse.of(task.weights, apart)
    rest = replace(task, weights=np.where(apart, 0, task.weights).astype(task.weights.dtype))
    base = rounded(rest, "spqr", f"{len(kept.values)} outliers")
    yield replace(propagated(rest, base, options), sparse=kept)
