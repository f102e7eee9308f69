"""LLM-FP4: exponent bits and ranges searched, exponents of input channels in the weights.

LLM-FP4 (arXiv 2310.16836): a q-bit float has E exponent bits and a real bias, which is a real
scale: one for each output of the weights, one for all inputs. Inputs of small channels are raised
by a power of two, 2^0 to 2^(2^E - 1), which the weights take back (the pre-shifted exponent bias),
towards the largest input or less. Format and range of weights and inputs are
searched in turn by the squared error of the outputs. The paper tries biases from 0.01 to 1.2 of
the first one, which ends where that is 0 or less; here ranges from 2^-1.2 to 2^0.2 of the largest
value. Searches are in float32.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..base.numbers import whole_number
from ..formats.catalogue import ENTRIES
from ..quantize import quantize
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from .layer import QuantizedLinear
from .options import check_flag
from .task import Reals, Task, positive_scales

Singles = NDArray[np.float32]
EXPONENTS = np.arange(-6, 2) / 5  # of two, the shares of the range that are tried
LOWER = (0.0, 0.5, 1.0, 2.0)  # of two, how far below the largest input channels are raised to
ROUNDS_MAX = 20
_FLOAT = re.compile(r"fp(\d+)_e(\d+)m(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shift:
    """Powers of two by which channels of inputs are raised.

    Attributes
    ----------
    exponent_bits : int
    lower : float
        See `exponents_of`.
    steps : (inputs,) int64
    """

    exponent_bits: int
    lower: float
    steps: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmFp4Options:
    """Options of ``llm_fp4``.

    Attributes
    ----------
    rounds : int
        Of searches over weights, then inputs.
    shift : bool
        Whether channels of inputs have exponents of their own.
    """

    rounds: int = 3
    shift: bool = True

    def __post_init__(self) -> None:
        whole_number("rounds", self.rounds, 1, ROUNDS_MAX)
        check_flag("shift", self.shift)


def is_float(scheme: Scheme) -> str:
    """Return why the method does not go with a scheme; empty where it does."""
    if _FLOAT.fullmatch(scheme.name) and not scheme.levels and str(scheme.granularity) == "channel":
        return ""
    return "it needs a float with one scale an output, such as fp4_e2m1@channel"


def floats_like(scheme: Scheme) -> dict[int, Scheme]:
    """Return the floats of as many bits by their exponent bits, in the scheme's granularity.

    Raises
    ------
    BitlatheError
        Raised if the scheme is of another kind of format.
    """
    own = _FLOAT.fullmatch(scheme.name)
    if own is None:
        raise BitlatheError(f"llm_fp4: {scheme} is no float such as fp4_e2m1")
    bits, found = int(own[1]), {}
    for exponent in range(1, bits):
        name = f"fp{bits}_e{exponent}m{bits - 1 - exponent}"
        if name in ENTRIES:
            found[exponent] = Scheme.parse(f"{name}@{scheme.granularity}/fp32")
    return found


def exponents_of(activations: Reals, exponent_bits: int, lower: float = 0) -> NDArray[np.int64]:
    """Return the (inputs,) powers of two, from 0 to 2^E - 1, by which small channels are raised.

    Parameters
    ----------
    activations : (tokens, inputs) float64
    exponent_bits : int
        E.
    lower : float
        How many powers of two below the largest value channels are raised to; larger ones stay.
    """
    size = np.abs(activations).max(axis=0)
    top, most = float(size.max()) / 2.0**lower, (1 << exponent_bits) - 1
    steps = np.full(len(size), most, np.int64)
    there = size > 0
    steps[there] = np.clip(np.rint(np.log2(top / size[there])), 0, most)
    return steps


def llm_fp4(task: Task, options: LlmFp4Options) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task in searched floats, and with channels' exponents in the weights."""
    yield _searched(task, options, None, "search")
    if options.shift and task.activation_scheme is not None:
        for exponent, lower in product(floats_like(task.activation_scheme), LOWER):
            steps = exponents_of(task.activations, exponent, lower)
            if steps.any():
                shift = Shift(exponent_bits=exponent, lower=lower, steps=steps)
                yield _searched(task, options, shift, "search, shift")


def _searched(
    task: Task,
    options: LlmFp4Options,
    shift: Shift | None,
    name: str,
) -> QuantizedLinear:
    """Return the layer whose formats and ranges err least; inputs in the shift's format if any."""
    divisors = None
    weights, inputs = task.weights.astype(np.float32), task.activations.astype(np.float32)
    if shift is not None:
        divisors = positive_scales(2.0**-shift.steps)
        weights, inputs = weights * divisors, inputs / divisors
    given, scheme, scale = inputs, task.activation_scheme, None
    for _ in range(options.rounds if scheme is not None else 1):
        made = _weights(weights, task, given)
        if scheme is not None:
            kinds = floats_like(scheme)
            tried = list(kinds.values()) if shift is None else [kinds[shift.exponent_bits]]
            top = float(np.abs(task.activations).max()) / 2.0 ** (
                0 if shift is None else shift.lower
            )
            scheme, scale, given = _inputs(inputs, task, made, tried, top)
    return QuantizedLinear(
        method="llm_fp4",
        chosen=f"{name}: {made.scheme.name}" + (f", {scheme.name}" if scheme else ""),
        weights=made,
        activation_scheme=scheme,
        activation_scale=scale,
        divisors=divisors,
    )


def _weights(weights: Singles, task: Task, given: Singles) -> QuantizedTensor:
    """Return (outputs, inputs) weights in the format of least error, a range for each output."""
    best: tuple[float, QuantizedTensor] | None = None
    top, outputs = np.abs(weights).max(axis=1), task.outputs.astype(np.float32)
    for scheme in floats_like(task.scheme).values():
        largest = float(np.nanmax(np.abs(scheme.formats[0].values)))
        least, kept = np.full(len(weights), np.inf), np.ones(len(weights), np.float32)
        for exponent in EXPONENTS:
            scales = positive_scales(np.where(top > 0, top, 1.0) / largest * 2.0**exponent)
            values = quantize(weights, scheme, scales=scales[:, None]).dequantize(np.float32)
            error = np.square(given @ values.T - outputs).sum(axis=0)
            better = error < least
            least[better], kept[better] = error[better], scales[better]
        if best is None or least.sum() < best[0]:
            best = float(least.sum()), quantize(weights, scheme, scales=kept[:, None])
    assert best is not None
    return best[1]


def _inputs(
    inputs: Singles, task: Task, made: QuantizedTensor, schemes: list[Scheme], top: float
) -> tuple[Scheme, float, Singles]:
    """Return the format and scale of least error for (tokens, inputs) inputs, and them rounded."""
    values, outputs = made.dequantize(np.float32), task.outputs.astype(np.float32)
    best: tuple[float, Scheme, float] | None = None
    for scheme in schemes:
        one = Scheme.parse(f"{scheme.name}@tensor/fp32")
        largest = float(np.nanmax(np.abs(one.formats[0].values)))
        for exponent in EXPONENTS:
            scale = float(positive_scales(top / largest * 2.0**exponent))
            rounded = quantize(inputs, one, scales=scale).dequantize(np.float32)
            error = float(np.square(rounded @ values.T - outputs).sum())
            if best is None or error < best[0]:
                best = error, one, scale
    assert best is not None
    _, scheme, scale = best
    return scheme, scale, quantize(inputs, scheme, scales=scale).dequantize(np.float32)
