"""The methods by name: one row each."""

import re
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields
from typing import Any, Final

from ..base.errors import BitlatheError
from ..schemes.scheme import Scheme
from . import gptq, zeroquant_fp
from .any4 import Any4Options, any4
from .awq import AwqOptions, awq
from .bitstack import BitstackOptions, bitstack, first_blocks
from .curves import CompanderOptions, NupesOptions, compander, nupes, uniform
from .gptq import GptqOptions
from .granularity import AdadimOptions, FinequantOptions, adadim, both_ways, by_columns, finequant
from .jlcm import JlcmOptions, jlcm
from .layer import QuantizedLinear, rounded
from .llm_fp4 import LlmFp4Options, is_float, llm_fp4
from .lq_lora import LqLoraOptions, lq_lora
from .outliers import OutlierOptions, llm_int8
from .rotated import RotationOptions, rotated
from .shiftadd import ShiftaddOptions, is_planes, shiftadd
from .smoothing import DgqOptions, SmoothquantOptions, dgq, is_dual_grain, smoothquant
from .sparse import EasyquantOptions, easyquant
from .spqr import SpqrOptions, spqr
from .task import Task
from .vptq import VptqOptions, vptq


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
    own_codes : bool
        Whether weights are stored in codes of the method's own: the scheme is only what it is
        compared with, and its layer is taken where plain rounding errs less, too.
    trades_bits : bool
        Whether its layer is taken where plain rounding errs less, as it may take fewer bits.
    shorter : callable or None
        Of its layer: layers that are a part of what it stores, the shortest first, itself the last.
    """

    name: str
    summary: str
    source: str
    find: Callable[[Task, Any], Iterator[QuantizedLinear]]
    options: type[Any] = NoOptions
    misfit: Callable[[Scheme], str] = any_scheme
    scheme: str = "int4_asym@g128"
    activation_scheme: str = "none"
    own_codes: bool = False
    trades_bits: bool = False
    shorter: Callable[[QuantizedLinear], Iterator[QuantizedLinear]] | None = None

    @property
    def settings(self) -> tuple["Setting", ...]:
        """Its options, as a user is told of them."""
        return tuple(_setting(self.options, field) for field in fields(self.options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An option of a method.

    Attributes
    ----------
    name, text : str
        The name, and what it is.
    default : object
    takes : str
        Which values are taken, in the words of the check that refuses others.
    """

    name: str
    text: str
    default: Any
    takes: str


def _setting(options: type[Any], field: Field[Any]) -> Setting:
    """Return an option; its check is asked, with nothing, what it takes."""
    takes = ""
    try:
        options(**{field.name: None})
    except BitlatheError as problem:
        said = re.search(r"(?:must be|:) (.*?)(?:,? (?:is|are) needed.*)?$", str(problem))
        takes = said[1] if said else ""
    texts = (_attribute(each, field.name) for each in options.__mro__)
    return Setting(
        name=field.name,
        text=next((text for text in texts if text), ""),
        default=field.default,
        takes=takes,
    )


def _attribute(options: type[Any], name: str) -> str:
    """Return what the docstring of a class says of an attribute, in one line."""
    said = re.search(
        rf"^    {name} : .*\n(?:    \w+ : .*\n)*((?:        .*\n|\n)*)",
        f"{options.__doc__ or ''}\n",
        re.MULTILINE,
    )
    return " ".join(said[1].split()) if said else ""


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
        options=ShiftaddOptions,
        misfit=is_planes,
        scheme="bcq3@g128/pot3",
    ),
    Method(
        name="llm_fp4",
        summary="exponent bits and ranges searched, exponents of input channels in the weights",
        source="arXiv 2310.16836",
        find=llm_fp4,
        options=LlmFp4Options,
        misfit=is_float,
        scheme="fp4_e2m1@channel",
        activation_scheme="fp4_e2m1@tensor",
    ),
    Method(
        name="easyquant",
        summary="weights far from the mean in fp16, ranges of the rest searched",
        source="arXiv 2403.02775",
        find=easyquant,
        options=EasyquantOptions,
        scheme="int4@channel+mse",
    ),
    Method(
        name="spqr",
        summary="the weights that cost most in fp16, the rest by GPTQ under scales of scales",
        source="arXiv 2306.03078",
        find=spqr,
        options=SpqrOptions,
        misfit=gptq.goes_with,
        scheme="uint3@g16/uint3@g256/fp16~uint3@g256/fp16",
    ),
    Method(
        name="adadim",
        summary="groups along inputs or along outputs, whichever errs less",
        source="arXiv 2309.15531",
        find=adadim,
        options=AdadimOptions,
        misfit=both_ways,
        scheme="int3_asym@g128",
    ),
    Method(
        name="finequant",
        summary="the largest groups that err little more than the smallest",
        source="arXiv 2308.09723",
        find=finequant,
        options=FinequantOptions,
        misfit=by_columns,
        scheme="int4@g64",
        trades_bits=True,
    ),
    Method(
        name="nupes",
        summary="integers of a power of the weights, the power searched",
        source="arXiv 2308.05600",
        find=nupes,
        options=NupesOptions,
        misfit=uniform,
        scheme="int4@channel",
    ),
    Method(
        name="compander",
        summary="integers behind a bounded curve, its slope searched",
        source="arXiv 2306.16993",
        find=compander,
        options=CompanderOptions,
        misfit=uniform,
        scheme="int4@channel",
    ),
    Method(
        name="lq_lora",
        summary="a quantized and a low-rank matrix, in turn fitted to what the other leaves",
        source="arXiv 2311.12023",
        find=lq_lora,
        options=LqLoraOptions,
        scheme="nf4@g64",
    ),
    Method(
        name="any4",
        summary="groups brought to one range, a learned book for each output",
        source="arXiv 2507.04610",
        find=any4,
        options=Any4Options,
        scheme="int4_asym@g128",
        own_codes=True,
    ),
    Method(
        name="jlcm",
        summary="groups brought to one range, books that outputs alike share, learned with them",
        source="JLCM",
        find=jlcm,
        options=JlcmOptions,
        scheme="int4_asym@g128",
        own_codes=True,
    ),
    Method(
        name="vptq",
        summary="vectors from codebooks, errors carried on; refined as in PV-Tuning",
        source="arXiv 2409.17066, 2405.14852",
        find=vptq,
        options=VptqOptions,
        scheme="int2_asym@g128",
        own_codes=True,
    ),
    Method(
        name="bitstack",
        summary="sign planes times matrices of low rank, cut off anywhere",
        source="arXiv 2410.23918",
        find=bitstack,
        options=BitstackOptions,
        scheme="int4_asym@g128",
        own_codes=True,
        shorter=first_blocks,
    ),
)
METHODS: Final = {method.name: method for method in _LISTED}
