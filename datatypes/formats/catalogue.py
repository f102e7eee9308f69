"""The formats that exist by name: pure data, each with its source.

An `Entry` says what a name means in a scheme string: its element format and the granularity,
scale and coder it takes when the string does not say. Names flagged `preset` (mxfp4, nvfp4,
olive4, ...) are whole schemes; the others are formats or mixtures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from ..base.errors import BitlatheError, unknown_name
from .constructors import (
    bidirectional_format,
    codebook,
    float_format,
    int_format,
    sign_magnitude,
    with_special,
)
from .format import Format, Mixture
from .tapered import (
    HIF8,
    LNS,
    POSIT,
    TAKUM,
    hifloat_format,
    log_format,
    posit_format,
    takum_format,
)
from .wide import IEEE, binary32


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a format name stands for in a scheme.

    Attributes
    ----------
    build : callable
        Makes the element format or mixture; called once.
    granularity, scale : str
        Defaults, in the grammar of scheme strings.
    coder : str
        How codes are found, a name in `schemes.coders`: ``table`` (nearest value of the grid),
        ``asym`` (unsigned integers with a zero point), ``olive`` (outlier-victim pairs), ``bcq``
        (sums of signed scales), ``kmeans`` (entries of learned books), ``dgq`` (integer groups
        inside integer channels).
    clip : str
        Search that the name stands for; see `schemes.rules.SEARCHES`.
    preset : bool
        Whether the name is a whole scheme rather than a format.
    source : str
    """

    build: Callable[[], Format | Mixture]
    granularity: str = "channel"
    scale: str = "fp16"
    coder: str = "table"
    clip: str = "absmax"
    preset: bool = False
    source: str = ""


OCP_MX = "OCP Microscaling Formats (MX) v1.0"
OCP_FP8 = "OCP 8-bit Floating Point (OFP8) v1.0"
FNUZ = "Noune et al., 8-bit Numerical Formats for Deep Neural Networks, arXiv 2206.02915"
BITMOD = "BitMoD, HPCA 2025, arXiv 2411.11745, section III"
ANT = "ANT, MICRO 2022, arXiv 2208.14286"
BITNET = "BitNet b1.58, arXiv 2402.17764; five codes to a byte"
NF = "QLoRA, arXiv 2305.14314; 3 bits: LQ-LoRA, arXiv 2311.12023"
BBFP = "BBAL, arXiv 2504.15721; groups of 32 and exponents of 8 bits are ours"
FOUR_OVER_SIX = "Four over six, arXiv 2512.02010"
LLM_FP4 = "LLM-FP4, arXiv 2310.16836"

# (exponent bits, mantissa bits, bias or None, special codes, source)
FLOATS: dict[str, tuple[int, int, int | None, str, str]] = {
    "fp3_e2m0": (2, 0, None, "none", BITMOD),
    "fp4_e2m1": (2, 1, None, "none", OCP_MX),
    "fp4_e1m2": (1, 2, None, "none", LLM_FP4),
    "fp4_e3m0": (3, 0, None, "none", LLM_FP4),
    "fp5_e2m2": (2, 2, None, "none", BITMOD),
    "fp5_e3m1": (3, 1, None, "none", BITMOD),
    "fp6_e2m3": (2, 3, None, "none", OCP_MX),
    "fp6_e3m2": (3, 2, None, "none", OCP_MX),
    "fp8_e4m3": (4, 3, None, "fn", OCP_FP8),
    "fp8_e5m2": (5, 2, None, "ieee", OCP_FP8),
    "fp8_e4m3fnuz": (4, 3, None, "fnuz", FNUZ),
    "fp8_e5m2fnuz": (5, 2, None, "fnuz", FNUZ),
    "fp8_e4m3b11fnuz": (4, 3, 11, "fnuz", "ml_dtypes"),
    "fp8_e4m3_ieee": (4, 3, None, "ieee", "ml_dtypes float8_e4m3"),
    "fp8_e3m4_ieee": (3, 4, None, "ieee", "ml_dtypes float8_e3m4"),
    "fp16": (5, 10, None, "ieee", "IEEE 754 binary16"),
    "bf16": (8, 7, None, "ieee", "bfloat16"),
}

# magnitudes in code order; the sign is the top bit
MAGNITUDES: dict[str, tuple[tuple[float, ...], str]] = {
    "flint3": ((0, 1, 2, 4), ANT),
    "flint4": ((0, 1, 2, 3, 4, 6, 8, 16), ANT),
    "pot4": ((0, 1, 2, 4, 8, 16, 32, 64), ANT),
    "apot4": ((0, 1, 2, 3, 4, 6, 8, 10), "APoT, ICLR 2020, arXiv 1909.13144, 3-bit magnitudes"),
}

NF4_VALUES = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip

# the special value put into the code of -0, in the order of BitMoD's search
SPECIALS: dict[str, dict[str, float]] = {
    "fp3": {"er_pos": 3.0, "er_neg": -3.0, "ea_pos": 6.0, "ea_neg": -6.0},
    "fp4": {"er_pos": 5.0, "er_neg": -5.0, "ea_pos": 8.0, "ea_neg": -8.0},
}
BITMOD_BASE = {"fp3": "fp3_e2m0", "fp4": "fp4_e2m1"}


def normal_float(bits: int, offset: float = 0.9677083) -> tuple[float, ...]:
    """Return the normal-float grid: quantiles of N(0, 1), zero included, scaled to [-1, 1].

    ``2**(bits-1)`` positive and ``2**(bits-1) - 1`` negative quantiles evenly spaced in
    probability between `offset` and 1/2 (LQ-LoRA, arXiv 2311.12023).
    """
    inverse = NormalDist().inv_cdf
    half = 1 << (bits - 1)

    def quantiles(count: int) -> list[float]:
        return [inverse(offset + (0.5 - offset) * i / count) for i in range(count)]

    positive, negative = quantiles(half), quantiles(half - 1)
    top = positive[0]
    return tuple([-v / top for v in negative] + [0.0] + [v / top for v in reversed(positive)])


def _float(name: str) -> Format:
    e, m, bias, specials, source = FLOATS[name]
    return float_format(e, m, bias, specials, name=name, source=source)


def _e8m0() -> Format:
    values = [2.0**k for k in range(-127, 128)] + [float("nan")]
    return Format(name="e8m0", bits=8, values=values, overflow_value=2.0**128, source=OCP_MX)  # type: ignore[arg-type]


def _mxint8() -> Format:
    base = int_format(8)
    return Format(name="mxint8", bits=8, values=base.values / 64, unused=base.unused, source=OCP_MX)


def _bitmod_one(width: str, kind: str) -> Format:
    name = f"bitmod_{width}_{kind}"
    made = with_special(single(BITMOD_BASE[width]), SPECIALS[width][kind], name)
    return Format(name=name, bits=made.bits, values=made.values, source=BITMOD)


def single(name: str) -> Format:
    """Return the format of a name.

    Raises
    ------
    BitlatheError
        Raised if the name is unknown, or that of a mixture.
    """
    made = element(name)
    if not isinstance(made, Format):
        raise BitlatheError(f"{name!r} is a mixture, a single format is needed")
    return made


def _mixture(name: str, members: tuple[str, ...], source: str) -> Mixture:
    return Mixture(name=name, formats=tuple(single(m) for m in members), source=source)


def _as(name: str, base: str) -> Callable[[], Format | Mixture]:
    del name
    return lambda: element(base)


def _entries() -> dict[str, Entry]:
    known: dict[str, Entry] = {}
    for bits in range(2, 9):
        known[f"int{bits}"] = Entry(build=lambda b=bits: int_format(b))  # type: ignore[misc]
    for bits in range(2, 9):
        known[f"int{bits}_asym"] = Entry(
            build=lambda b=bits: int_format(b, signed=False, name=f"int{b}_asym"),  # type: ignore[misc]
            coder="asym",
            granularity="g128",
        )
    for bits in range(1, 9):
        known[f"uint{bits}"] = Entry(build=lambda b=bits: int_format(b, signed=False))  # type: ignore[misc]
    for name, spec in FLOATS.items():
        known[name] = Entry(build=lambda n=name: _float(n), source=spec[4])  # type: ignore[misc]
    for name in ("fp16", "bf16"):
        known[name] = Entry(build=lambda n=name: _float(n), granularity="tensor", scale="none")  # type: ignore[misc]
    known["fp32"] = Entry(build=binary32, granularity="tensor", scale="none", source=IEEE)
    known["e8m0"] = Entry(build=_e8m0, granularity="tensor", scale="none", source=OCP_MX)
    known["nf3"] = Entry(
        build=lambda: codebook("nf3", normal_float(3), source=NF), granularity="g64", scale="fp32"
    )
    known["nf4"] = Entry(
        build=lambda: codebook("nf4", NF4_VALUES, source=NF), granularity="g64", scale="fp32"
    )
    known["ternary"] = Entry(
        build=lambda: codebook("ternary", (-1, 0, 1), source=BITNET, per_byte=5), source=BITNET
    )
    for name, (magnitudes, source) in MAGNITUDES.items():
        known[name] = Entry(
            build=lambda n=name, m=magnitudes, s=source: sign_magnitude(n, m, s),  # type: ignore[misc]
            source=source,
        )
    known.update(_tapered_entries())
    known.update(_bitmod_entries())
    known.update(_preset_entries())
    return known


def _tapered_entries() -> dict[str, Entry]:
    known: dict[str, Entry] = {}
    for bits in (8, 16):
        for name, build, source in (
            (f"posit{bits}", lambda b=bits: posit_format(b), POSIT),
            (f"takum{bits}", lambda b=bits: takum_format(b), TAKUM),
        ):
            known[name] = Entry(build=build, granularity="tensor", scale="none", source=source)
    for m, o in ((4, 2), (6, 3)):
        known[f"bbfp{m}_{o}"] = Entry(
            build=lambda m=m, o=o: bidirectional_format(m, o),  # type: ignore[misc]
            granularity="g32",
            scale="e8m0",
            source=BBFP,
        )
    known["hif8"] = Entry(build=hifloat_format, granularity="tensor", scale="none", source=HIF8)
    known["lns4"] = Entry(build=lambda: log_format(4, 1), source=LNS)
    known["lns8"] = Entry(build=lambda: log_format(8, 3, zero=False), source=LNS)
    return known


def _bitmod_entries() -> dict[str, Entry]:
    known: dict[str, Entry] = {}
    for width, kinds in SPECIALS.items():
        single = [f"bitmod_{width}_{kind}" for kind in kinds]
        for name, kind in zip(single, kinds, strict=True):
            known[name] = Entry(
                build=lambda w=width, k=kind: _bitmod_one(w, k),  # type: ignore[misc]
                granularity="g128",
                scale="fp32",
                source=BITMOD,
            )
        for suffix, kept in (("_er", single[:2]), ("_ea", single[2:]), ("", single)):
            name = f"bitmod_{width}{suffix}"
            known[name] = Entry(
                build=lambda n=name, m=tuple(kept): _mixture(n, m, BITMOD),  # type: ignore[misc]
                granularity="g128",
                scale="fp32",
                source=BITMOD,
            )
    for name, members in (("ant3", ("int3", "fp3_e2m0")), ("ant4", ("int4", "flint4"))):
        known[name] = Entry(
            build=lambda n=name, m=members: _mixture(n, m, f"{BITMOD} (baseline)"),  # type: ignore[misc]
            granularity="g128",
            source=f"{ANT}, per group as in {BITMOD}",
        )
    return known


def _preset_entries() -> dict[str, Entry]:
    known: dict[str, Entry] = {}
    mx = {
        "mxfp4": "fp4_e2m1",
        "mxfp6_e2m3": "fp6_e2m3",
        "mxfp6_e3m2": "fp6_e3m2",
        "mxfp8_e4m3": "fp8_e4m3",
        "mxfp8_e5m2": "fp8_e5m2",
    }
    for name, base in mx.items():
        known[name] = Entry(
            build=_as(name, base), granularity="g32", scale="e8m0", preset=True, source=OCP_MX
        )
    known["mxint8"] = Entry(
        build=_mxint8, granularity="g32", scale="e8m0", preset=True, source=OCP_MX
    )
    bitmod_mx = {"fp3": "fp3_e2m0", "fp4": "fp4_e2m1", "int3": "int3", "int4": "int4"}
    for short, base in bitmod_mx.items():
        known[f"mx_bitmod_{short}"] = Entry(
            build=_as(short, base),
            granularity="g32",
            scale="mxbm",
            preset=True,
            source=f"{BITMOD} (released quantizer's MX baseline)",
        )
    known["m2xfp_activation"] = Entry(
        build=_as("m2xfp_activation", "fp4_e2m1"),
        granularity="g32",
        scale="e8m0",
        coder="refined",
        preset=True,
        source="M2XFP for activations, arXiv 2601.19213",
    )
    for name, base in {"mxfp4": "fp4_e2m1", "mxfp6": "fp6_e2m3", "mxfp8": "fp8_e4m3"}.items():
        known[f"{name}_plus"] = Entry(
            build=_as(f"{name}_plus", base),
            granularity="g32",
            scale="e8m0",
            coder="plus",
            preset=True,
            source="MX+, arXiv 2510.14557",
        )
    known["nvfp4"] = Entry(
        build=_as("nvfp4", "fp4_e2m1"),
        granularity="g16",
        scale="e4m3",
        preset=True,
        source="NVIDIA, Pretraining LLMs with NVFP4, arXiv 2509.25149",
    )
    for name, scale in (("nvfp4_4over6", "e4m3_256"), ("nvfp4_4over6_448", "e4m3")):
        known[name] = Entry(
            build=_as(name, "fp4_e2m1"),
            granularity="g16",
            scale=scale,
            clip="4over6",
            preset=True,
            source=FOUR_OVER_SIX + ("; as a baseline of RaZeR, 2501.04052" * (scale == "e4m3")),
        )
    for bits in (3, 4):
        known[f"olive{bits}"] = Entry(
            build=_as(f"olive{bits}", f"int{bits}"),
            granularity="g128",
            coder="olive",
            preset=True,
            source="OliVe, ISCA 2023, arXiv 2304.07493; levels of the authors' quantizer",
        )
    for bits in (2, 3, 4):
        known[f"bcq{bits}"] = Entry(
            build=lambda b=bits: int_format(b, signed=False),  # type: ignore[misc]
            granularity="g128",
            scale="pot3",
            coder="bcq",
            preset=True,
            source="ShiftAddLLM, arXiv 2406.05981",
        )
    for bits in range(2, 7):
        known[f"kmeans{bits}"] = Entry(
            build=lambda b=bits: int_format(b, signed=False),  # type: ignore[misc]
            coder="kmeans",
            preset=True,
            source="a book learned for each row, as SqueezeLLM's, arXiv 2306.07629",
        )
    known["dgq4"] = Entry(
        build=_as("dgq4", "uint4"),
        granularity="g128",
        scale="int8",
        coder="dgq",
        preset=True,
        source="DGQ, arXiv 2310.04836",
    )
    return known


ENTRIES: dict[str, Entry] = _entries()


# names of other libraries for formats of the catalogue: torch, ml_dtypes, OCP MX
ALIASES: dict[str, str] = {
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8_e4m3",
    "fp8_e4m3fn": "fp8_e4m3",
    "e4m3": "fp8_e4m3",
    "e4m3fn": "fp8_e4m3",
    "float8_e5m2": "fp8_e5m2",
    "e5m2": "fp8_e5m2",
    "float8_e4m3fnuz": "fp8_e4m3fnuz",
    "float8_e5m2fnuz": "fp8_e5m2fnuz",
    "float8_e4m3b11fnuz": "fp8_e4m3b11fnuz",
    "float8_e4m3": "fp8_e4m3_ieee",
    "float8_e3m4": "fp8_e3m4_ieee",
    "float8_e8m0fnu": "e8m0",
    "float6_e2m3fn": "fp6_e2m3",
    "e2m3": "fp6_e2m3",
    "float6_e3m2fn": "fp6_e3m2",
    "e3m2": "fp6_e3m2",
    "hifloat8": "hif8",
    "float4_e2m1fn": "fp4_e2m1",
    "float4_e2m1fn_x2": "fp4_e2m1",
    "e2m1": "fp4_e2m1",
}
_LLAMA_CPP = "llama.cpp's is written"
_METHOD = "it is a method, not a format: bl.calibrate(w, x,"
# those of `methods.table`, under the names that are looked for
_METHODS = (
    *("gptq", "awq", "smoothquant", "hadamard", "orthogonal", "llm_int8", "dgq", "zeroquant_fp"),
    *("shiftadd", "llm_fp4", "easyquant", "spqr", "adadim", "finequant", "nupes", "compander"),
    *("lq_lora", "any4", "jlcm", "vptq", "bitstack"),
)
# names that say too little, or mean what is written otherwise: what may be meant
UNCLEAR: dict[str, str] = {
    "fp4": "is it fp4_e2m1 (OCP), fp4_e1m2 or fp4_e3m0; mxfp4 or nvfp4 with their scales?",
    "fp6": "is it fp6_e2m3 or fp6_e3m2 (both OCP)?",
    "fp8": "is it fp8_e4m3 or fp8_e5m2 (both OCP)?",
    "float8": "is it fp8_e4m3 or fp8_e5m2 (both OCP)?",
    "float4": "is it fp4_e2m1 (OCP)?",
    "fp64": "float64 values are as they are; the widest format is fp32",
    "float64": "float64 values are as they are; the widest format is fp32",
    "posit": "is it posit8 or posit16?",
    "fp3": "is it fp3_e2m0, or bitmod_fp3 with a value of each group's own?",
    "e5m3": "as a scale it has no sign: ue5m3",
    "q8_0": f"{_LLAMA_CPP} int8@g32",
    "tq1_0": f"{_LLAMA_CPP} ternary@g256",
    "tq2_0": f"{_LLAMA_CPP} ternary@g256, and stored in two bits where a GGUF file is written",
    "mxif4": "it is written if4@g32/e8m0_ceil; of equal errors that takes E2M1",
    "mxint4": "it is written int4@g32/e8m0",
    "nvint4": "it is written int4@g16/ue4m3fn@tensor/fp32",
    "hifloat4": "it is written hif4",
    "four_over_six": "it is written nvfp4_4over6",
    "4over6": "it is written nvfp4_4over6",
    "m2xfp_weight": "it is written m2xfp",
    "razer_weight": "it is written razer",
    "mx": "is it mxfp4, mxfp6_e2m3, mxfp8_e4m3 or mxint8 (OCP), mx9, mx6, mxfp4_plus?",
    "mxplus": "is it mxfp4_plus, mxfp6_plus or mxfp8_plus?",
    **{f"msfp{n}": f"it is written s1p{n - 10}@g16/e8m0" for n in (11, 13, 14, 15)},
    "bfp16": "is it bf16, or block floating point such as msfp16 or s1p6@g16/e8m0?",
    "anda": "it is written s1p5@g64/e5m0, with rounding='truncate'",
    "bitnet": "the weights of BitNet b1.58 are written ternary@tensor+mean",
    "hqq": "its integers are written uint4@g64/fp16~fp16",
    **dict.fromkeys(
        ("oas", "mxfp4_oas"),
        "it is written fp4_e2m1@g16/e8m0_even@g128/e0m8_significand, with rounding='away'",
    ),
    "m_ant": "a mixture of 16 books, made by Mixture(name=, formats=); members may be codebooks",
    "squeezellm": "a learned book of each row is kmeans3 or kmeans4",
    "llm.int8": f"{_METHOD} 'llm_int8')",
    **{name: f"{_METHOD} {name!r})" for name in _METHODS},
}


def names() -> tuple[str, ...]:
    """Return every name the catalogue knows, in its own order."""
    return tuple(ENTRIES)


def canonical(name: str) -> str:
    """Return a name as the catalogue writes it: in small letters, of other libraries' names ours.

    Raises
    ------
    BitlatheError
        Unknown name; the message lists the nearest ones.
    """
    if not isinstance(name, str):
        raise BitlatheError(
            f"a format has a name, such as 'bitmod_fp4', got {type(name).__name__} {name!r}"
        )
    found = name.strip().lower()
    found = ALIASES.get(found, found)
    if found in UNCLEAR:
        raise BitlatheError(f"unknown format {name!r}: {UNCLEAR[found]}")
    if found not in ENTRIES:
        raise BitlatheError(unknown_name("format", name, ENTRIES))
    return found


def entry(name: str) -> Entry:
    """Return the catalogue's entry of a name; see `canonical`."""
    return ENTRIES[canonical(name)]


def element(name: str) -> Format | Mixture:
    """Return the element format or mixture of a name (for ``mxfp4`` that is ``fp4_e2m1``)."""
    return _element(canonical(name))


@cache
def _element(name: str) -> Format | Mixture:
    return ENTRIES[name].build()


def entry_of(made: Format | Mixture) -> Entry | None:
    """Return the entry whose format this is; None for a user-defined format."""
    known = made.name in ENTRIES and _element(made.name) == made
    return ENTRIES[made.name] if known else None


def is_file(name: object) -> bool:
    """Return whether a format is named by the path of its YAML file."""
    return isinstance(name, str) and name.strip().lower().endswith((".yaml", ".yml"))
