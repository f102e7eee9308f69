"""Which weights share a scale, chosen: AdaDim turns the groups, FineQuant makes them fewer.

AdaDim (arXiv 2309.15531): groups run along the inputs of an output, or along the outputs of an
input, so that one large input spoils no other's scale; per layer whichever changes the outputs
less. FineQuant (arXiv 2308.09723) starts at a scale a channel and halves groups while they err too
much; here the measure is the squared error beside that of the smallest groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..quantize import quantize
from ..schemes.granularity import Granularity
from ..schemes.scheme import Scheme
from . import gptq
from .layer import QuantizedLinear, rounded
from .options import check_flag, check_number
from .task import Task

LEAST = 64  # columns of the smallest group that is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class AdadimOptions:
    """Options of ``adadim``.

    Attributes
    ----------
    gptq : bool
        Whether GPTQ finds the codes.
    """

    gptq: bool = False

    def __post_init__(self) -> None:
        check_flag("gptq", self.gptq)


def by_columns(scheme: Scheme) -> str:
    """Return why groups of a scheme cannot be chosen; empty where they can."""
    if scheme.granularity.rows == 1 and not scheme.levels and not scheme.coder_facts.mixed:
        return ""
    return "its groups are those of single outputs under one level of scales: @gN or @channel"


def both_ways(scheme: Scheme) -> str:
    """Return why groups of a scheme cannot run along outputs too; empty where they can."""
    if why := by_columns(scheme):
        return why
    try:
        turned(scheme)
    except BitlatheError:
        return "its groups cannot run along outputs (@bNx1)"
    return ""


def turned(scheme: Scheme) -> Scheme:
    """Return a scheme whose groups run along outputs: ``@gN`` as ``@bNx1``, channel as input."""
    size = scheme.granularity
    wide = Granularity(rows=size.columns, columns=1)
    return replace(scheme, granularity=wide, file="")


def adadim(task: Task, options: AdadimOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task with groups along inputs, and along outputs."""
    for name, scheme in (("along inputs", task.scheme), ("along outputs", turned(task.scheme))):
        own = replace(task, scheme=scheme)
        found = rounded(own, "adadim", name)
        yield found
        if options.gptq:
            layer = gptq.propagated(own, found, gptq.GptqOptions())
            yield replace(layer, chosen=f"{name}, gptq")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinequantOptions:
    """Options of ``finequant``.

    Attributes
    ----------
    tolerance : float
        By which share the squared error of weights may exceed that of the smallest groups.
    """

    tolerance: float = 0.1

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, 0, float("inf"))


def choose_group(
    weights: NDArray[np.floating], scheme: Scheme, tolerance: float, least: int = LEAST
) -> tuple[Scheme, dict[int, float]]:
    """Return the scheme of the largest groups that err little more than the smallest.

    Groups are halved from a whole row down to ``least`` columns.

    Parameters
    ----------
    weights : (outputs, inputs) float
    scheme : Scheme
        Its groups are replaced.
    tolerance : float
        See `FinequantOptions`.
    least : int

    Returns
    -------
    Scheme
    dict of int to float
        Squared error of each number of columns that was tried, the largest first.
    """
    sizes = [weights.shape[1]]
    while sizes[-1] // 2 >= least:
        sizes.append(sizes[-1] // 2)
    errors = {}
    for size in sizes:
        made = quantize(weights, _grouped(scheme, size, weights.shape[1])).dequantize(np.float64)
        errors[size] = float(np.square(made - weights).sum())
    most = errors[sizes[-1]] * (1 + tolerance)
    chosen = next(size for size in sizes if errors[size] <= most)
    return _grouped(scheme, chosen, weights.shape[1]), errors


def _grouped(scheme: Scheme, size: int, columns: int) -> Scheme:
    return replace(
        scheme, granularity=Granularity(rows=1, columns=0 if size == columns else size), file=""
    )


def finequant(task: Task, options: FinequantOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in the groups that are chosen."""
    scheme, _ = choose_group(task.weights, task.scheme, options.tolerance)
    yield rounded(replace(task, scheme=scheme), "finequant", f"@{scheme.granularity}")
