"""Published block formats by name: schemes of nested scales, each with its source."""

from dataclasses import dataclass
from typing import Final

LLAMA_CPP = "llama.cpp, ggml-common.h"
MICROSOFT_MX = "Shared microexponents, ISCA 2023, arXiv 2302.08007"
MSFP = "Microsoft Floating Point, NeurIPS 2020"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published block format.

    Attributes
    ----------
    scheme : str
        What its name stands for.
    source : str
    """

    scheme: str
    source: str


_LISTED: Final = (
    ("hif4", "s1p2@g4/e1m0@g8/e1m0@g64/e6m2", "HiF4, arXiv 2602.11287"),
    ("m2xfp", "fp4_e2m1@g8/e0m2_search@g32/e8m0_search", "M2XFP for weights, arXiv 2601.19213"),
    ("mx9", "s1p6@g2/e1m0@g16/e8m0", MICROSOFT_MX),
    ("mx6", "s1p3@g2/e1m0@g16/e8m0", MICROSOFT_MX),
    ("mx4", "s1p1@g2/e1m0@g16/e8m0", MICROSOFT_MX),
    ("msfp16", "s1p6@g16/e8m0", MSFP),
    ("msfp12", "s1p2@g16/e8m0", MSFP),
    ("razer", "bitmod_fp4@g16/ue3m3fn@tensor/fp32", "RaZeR for weights, arXiv 2501.04052"),
    (
        "razer_activation",
        "bitmod_fp4_er@g16/ue4m3fn@tensor/fp32",
        "RaZeR for activations, arXiv 2501.04052",
    ),
    ("nvif4", "if4@g16/ue4m3fn@tensor/fp32", "IF4, arXiv 2603.28765"),
    ("nvif4_two_scales", "if4_7@g16/ue4m3fn@tensor/fp32", "baseline in arXiv 2501.04052"),
    ("q4_0", "int4_full@g32/fp16_signed", LLAMA_CPP),
    ("q4_1", "uint4@g32/fp16-fp16", LLAMA_CPP),
    ("q5_0", "int5_full@g32/fp16_signed", LLAMA_CPP),
    ("q5_1", "uint5@g32/fp16-fp16", LLAMA_CPP),
    ("q2_k", "uint2@g16/uint4@g256/fp16-uint4@g256/fp16", LLAMA_CPP),
    ("q3_k", "int3_full@g16/int6_full_signed@g256/fp16", LLAMA_CPP),
    ("q4_k", "uint4@g32/uint6@g256/fp16-uint6@g256/fp16", LLAMA_CPP),
    ("q5_k", "uint5@g32/uint6@g256/fp16-uint6@g256/fp16", LLAMA_CPP),
    ("q6_k", "int6_full@g16/int8_full_signed@g256/fp16", LLAMA_CPP),
    ("iq4_nl", "iq4_nl@g32/fp16_signed", LLAMA_CPP),
)
PRESETS: Final = {name: Preset(scheme=text, source=source) for name, text, source in _LISTED}
BY_SCHEME: Final = {preset.scheme: name for name, preset in PRESETS.items()}
