"""The methods by name: one row each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..schemes.scheme import Scheme
from . import gptq, zeroquant_fp
from .awq import AwqOptions, awq
from .gptq import GptqOptions
from .layer import QuantizedLinear, rounded
from .outliers import OutlierOptions, llm_int8
from .rotated import RotationOptions, rotated
from .shiftadd import is_planes, shiftadd
from .smoothing import DgqOptions, SmoothquantOptions, dgq, is_dual_grain, smoothquant
from .task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """Options of a method that has none."""


def any_scheme(scheme: Scheme) -> str:
    """Return nothing: a method that goes with every scheme."""
    del scheme
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to calibrate a layer.

    Attributes
    ----------
    name : str
    summary : str
    source : str
    find : callable
        ``find(task, options)`` yields layers; the one of least error on the outputs is taken.
    options : type
        Dataclass of its options.
    misfit : callable
        Of a scheme of weights: why the method does not go with it; empty where it does.
    scheme : str
        Of weights, where the user names none.
    activation_scheme : str
        Of inputs, where the user names none; ``none``: not quantized.
    """

    name: str
    summary: str
    source: str
    find: Callable[[Task, Any], Iterator[QuantizedLinear]]
    options: type[Any] = NoOptions
    misfit: Callable[[Scheme], str] = any_scheme
    scheme: str = "int4_asym@g128"
    activation_scheme: str = "none"


def _rtn(task: Task, options: NoOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task by plain rounding."""
    del options
    yield rounded(task)


_LISTED = (
    Method(name="rtn", summary="round to nearest", source="-", find=_rtn),
    Method(
        name="gptq",
        summary="columns in turn, each making up for the errors before",
        source="arXiv 2210.17323",
        find=gptq.gptq,
        options=GptqOptions,
        misfit=gptq.goes_with,
    ),
    Method(
        name="awq",
        summary="finer weights for large inputs, ranges cut",
        source="arXiv 2306.00978",
        find=awq,
        options=AwqOptions,
    ),
    Method(
        name="smoothquant",
        summary="range of inputs moved into weights, both rounded",
        source="arXiv 2211.10438",
        find=smoothquant,
        options=SmoothquantOptions,
        scheme="int8@channel",
        activation_scheme="int8@channel",
    ),
    Method(
        name="hadamard",
        summary="signed Hadamard blocks spread outliers over columns",
        source="arXiv 2404.00456",
        find=rotated("hadamard"),
        options=RotationOptions,
        activation_scheme="int8@channel",
    ),
    Method(
        name="orthogonal",
        summary="a random rotation spreads outliers over columns",
        source="arXiv 2307.13304",
        find=rotated("orthogonal"),
        options=RotationOptions,
        activation_scheme="int8@channel",
    ),
    Method(
        name="llm_int8",
        summary="inputs with outliers in fp16, all others in 8 bits",
        source="arXiv 2208.07339",
        find=llm_int8,
        options=OutlierOptions,
        scheme="int8@channel",
        activation_scheme="int8@channel",
    ),
    Method(
        name="dgq",
        summary="4-bit groups in 8-bit channels, searched on outputs, large inputs brought down",
        source="arXiv 2310.04836",
        find=dgq,
        options=DgqOptions,
        misfit=is_dual_grain,
        scheme="dgq4",
        activation_scheme="int8@tensor",
    ),
    Method(
        name="zeroquant_fp",
        summary="FP4 under scales powers of two apart, errors carried on, a low-rank rest",
        source="arXiv 2307.09782",
        find=zeroquant_fp.zeroquant_fp,
        options=zeroquant_fp.ZeroquantFpOptions,
        misfit=zeroquant_fp.goes_with,
        scheme="fp4_e2m1@g128/m2",
        activation_scheme="fp8_e4m3@channel",
    ),
    Method(
        name="shiftadd",
        summary="sign planes under sums of powers of two, weighted by inputs, errors carried on",
        source="arXiv 2406.05981",
        find=shiftadd,
        options=GptqOptions,
        misfit=is_planes,
        scheme="bcq3@g128/pot3",
    ),
)
METHODS: Final = {method.name: method for method in _LISTED}
