"""ShiftAddLLM: binary planes whose scales are sums of powers of two, fitted to the inputs.

ShiftAddLLM (arXiv 2406.05981): weights are sums of sign planes under scales that are shifts. The
planes are found with each column's errors weighted by the mean square of its inputs; then columns
make up for each other's errors, as in `gptq`. What shares scales is the scheme's: groups of a row
(``bcq3@g128/pot3``), of a column over many rows (``bcq3@b128x1/pot3``, the paper's form for
accuracy) or blocks of both (``bcq3@b512x8/pot3``, its form for latency). Signs and scales are found
in turn, or greedily, as a first plane and then planes of what is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.arrays import as_float
from ..base.errors import BitlatheError
from ..coding.job import GroupedMatrix, Job
from ..quantize import quantize
from ..schemes.layout import Layout
from ..schemes.scales import SignedScale
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from . import gptq
from .layer import QuantizedLinear, rounded
from .options import check_flag
from .task import Task


def is_planes(scheme: Scheme) -> str:
    """Return why the method does not go with a scheme; empty where it does."""
    if scheme.coder_facts.planes:
        return ""
    return "it needs sign planes under sums of powers of two: bcq2 to bcq4, such as bcq3/pot3"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftaddOptions(gptq.GptqOptions):
    """Options of ``shiftadd``.

    Attributes
    ----------
    greedy : bool
        Whether each plane is the signs and the mean magnitude of what those before it leave, with
        no further rounds of signs and scales in turn.
    """

    greedy: bool = False

    def __post_init__(self) -> None:
        gptq.GptqOptions.__post_init__(self)
        check_flag("greedy", self.greedy)


def greedy_planes(weights: NDArray[Any], scheme: Scheme, importance: Any = None) -> QuantizedTensor:
    """Return (outputs, inputs) weights as planes found one after the other.

    ``alpha_i = mean |r|``, rounded as it is stored, ``b_i = sign(r)``, ``r -= alpha_i b_i``.

    Parameters
    ----------
    weights : (outputs, inputs) float
    scheme : Scheme
        Of sign planes.
    importance : (inputs,) array_like, optional
        Weights of the means.

    Raises
    ------
    BitlatheError
        Raised if the scheme is not one of sign planes, or a scale does not fit.
    """
    array, dtype, _ = as_float(weights, "weights")
    layout = Layout.of(array.shape, None, scheme.granularity)
    led = None if importance is None else np.asarray(importance, array.dtype)
    data = GroupedMatrix(matrix=layout.matrix(array), layout=layout, importance=led)
    job = Job(data=data, scheme=scheme)
    scale = scheme.scale_format
    if not isinstance(scale, SignedScale):
        raise BitlatheError(f"{scheme}: {is_planes(scheme)}")
    rest = job.groups.astype(np.float64)
    mask = layout.mask()
    real = np.ones_like(rest) if mask is None else mask.astype(np.float64)
    counted = real if job.weights is None else job.weights.astype(np.float64)
    total = np.maximum(counted.sum(axis=1), np.finfo(np.float64).tiny)
    raw = np.zeros((len(rest), scheme.element_bits), np.uint32)
    codes = np.zeros(rest.shape, scheme.formats[0].code_dtype)
    for i in range(scheme.element_bits):
        alpha = ((counted * np.abs(rest)).sum(axis=1) / total)[:, None]
        if not (fits := scale.fits_signed(alpha)[:, 0]).all():
            at = int(np.argmin(fits))
            scale.refuse(at, float(alpha[at, 0]))
        raw[:, i : i + 1] = scale.store_signed(alpha)
        up = rest >= 0
        codes |= up.astype(codes.dtype) << i
        rest -= np.where(up, 1.0, -1.0) * scale.read_signed(raw[:, i : i + 1])
    return QuantizedTensor(coded=job.coded(layout.join(codes), raw), dtype=dtype)


def shiftadd(task: Task, options: ShiftaddOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task by weighted planes, and with errors carried on."""
    plain = rounded(task, "shiftadd", "planes")
    importance = np.square(task.activations).mean(axis=0)
    if importance.max() > 0:  # as they go into single precision
        importance = importance / importance.max()
    if options.greedy:
        plain = replace(plain, chosen="greedy", weights=greedy_planes(task.weights, task.scheme))
        found, name = greedy_planes(task.weights, task.scheme, importance), "weighted greedy"
    else:
        found, name = quantize(task.weights, task.scheme, importance=importance), "weighted"
    weighted = replace(plain, chosen=name, weights=found)
    yield weighted
    for base in (plain, weighted):
        layer = gptq.propagated(task, base, options)
        yield replace(layer, chosen=f"{base.chosen}, errors carried")
