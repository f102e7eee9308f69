"""ShiftAddLLM: binary planes whose scales are sums of powers of two, fitted to the inputs.

ShiftAddLLM (arXiv 2406.05981): weights are sums of sign planes under scales that are shifts. The
planes are found with each column's errors weighted by the mean square of its inputs; then columns
make up for each other's errors, as in `gptq`. What shares scales is the scheme's: groups of a row
(``bcq3@g128/pot3``), of a column over many rows (``bcq3@b128x1/pot3``, the paper's form for
accuracy) or blocks of both (``bcq3@b512x8/pot3``, its form for latency).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..quantize import quantize
from ..schemes.scheme import Scheme
from . import gptq
from .layer import QuantizedLinear, rounded
from .task import Task


def is_planes(scheme: Scheme) -> str:
    """Return why the method does not go with a scheme; empty where it does."""
    if scheme.coder_facts.planes:
        return ""
    return "it needs sign planes under sums of powers of two: bcq2 to bcq4, such as bcq3/pot3"


def shiftadd(task: Task, options: gptq.GptqOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task by weighted planes, and with errors carried on."""
    plain = rounded(task, "shiftadd", "planes")
    importance = np.square(task.activations).mean(axis=0)
    if importance.max() > 0:  # as they go into single precision
        importance = importance / importance.max()
    found = quantize(task.weights, task.scheme, importance=importance)
    weighted = replace(plain, chosen="weighted", weights=found)
    yield weighted
    for base in (plain, weighted):
        layer = gptq.propagated(task, base, options)
        yield replace(layer, chosen=f"{base.chosen}, errors carried")
