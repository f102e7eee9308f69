"""The methods by name: one row each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..schemes.scheme import Scheme
from . import gptq
from .awq import AwqOptions, awq
from .gptq import GptqOptions
from .layer import QuantizedLinear, rounded
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
        Of inputs, where the user names none; empty: not quantized.
    needs_activations : bool
        Whether inputs must be quantized for the method to mean anything.
    """

    name: str
    summary: str
    source: str
    find: Callable[[Task, Any], Iterator[QuantizedLinear]]
    options: type[Any] = NoOptions
    misfit: Callable[[Scheme], str] = any_scheme
    scheme: str = "int4_asym@g128"
    activation_scheme: str = ""
    needs_activations: bool = False


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
)
METHODS: Final = {method.name: method for method in _LISTED}
