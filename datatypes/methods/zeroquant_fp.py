"""ZeroQuant-FP: FP4 weights whose scales are powers of two apart, and what they leave.

ZeroQuant-FP (arXiv 2307.09782): GPTQ under scales that are powers of two (M1: `pot_ceil`) or the
largest of a row over one (M2: `m2`), so that a weight becomes FP8 by adding to its exponent; inputs
are FP8, a scale for each token; a low-rank product makes up for part of the error (LoRC).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..base.numbers import whole_number
from ..schemes.scheme import Scheme
from . import gptq
from .layer import QuantizedLinear, rounded
from .low_rank import LowRank
from .options import check_flag, check_share
from .task import Task

RANK_MAX = 4096
KINDS = ("pot", "step")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroquantFpOptions:
    """Options of ``zeroquant_fp``.

    Attributes
    ----------
    rank : int
        Of the low-rank product; 0: none.
    damping : float
        Added to the diagonal of the Hessian, in units of its mean.
    act_order : bool
        Whether columns of the largest inputs are rounded first.
    """

    rank: int = 8
    damping: float = 0.01
    act_order: bool = True

    def __post_init__(self) -> None:
        whole_number("rank", self.rank, 0, RANK_MAX)
        check_share("damping", self.damping)
        check_flag("act_order", self.act_order)


def goes_with(scheme: Scheme) -> str:
    """Return why the method does not go with a scheme; empty where it does."""
    if scheme.levels or scheme.scale_format.kind not in KINDS:
        return (
            "its scales are powers of two apart: pot_ceil (M1), pot, pot_floor, or m2 (M2), "
            "such as fp4_e2m1@g128/m2"
        )
    return gptq.goes_with(scheme)


def zeroquant_fp(task: Task, options: ZeroquantFpOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task by GPTQ, then with what it leaves as a low-rank product."""
    own = gptq.GptqOptions(damping=options.damping, act_order=options.act_order)
    plain = rounded(task, "zeroquant_fp", "gptq")
    layer = gptq.propagated(task, plain, own)
    for base in (layer, plain):
        yield base
        if options.rank:
            rest = task.weights.astype(np.float64) - base.matrix()
            name = f"{'gptq' if base is layer else 'rtn'}, rank={options.rank}"
            yield replace(base, chosen=name, low_rank=LowRank.of(rest, options.rank))
