"""The PEs whose synthesis is shipped: those of the shipped chips, and what is free to choose."""

from typing import Any

from ...arch.numerics import ALIGNED, HPCA25, PENumerics
from ...arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ...arch.pe_base import PEKind

Subject = tuple[str, PEKind, Any]
"""What it shows, PE, weight format."""

SPLIT = IntMacPE(split_bits=4, split_over="axes")  # of the chips ant and olive

MACS: tuple[Subject, ...] = (
    ("FP16 x FP16 into FP16", FpMacPE(accumulator="fp16"), ""),
    ("FP16 x INT8 into FP16", FpMacPE(weight="int8", accumulator="fp16"), ""),
    ("FP16 x FP16 into FP32", FpMacPE(), ""),
    (
        "FP8 E4M3 x FP8 E4M3 into FP16",
        FpMacPE(activation="fp8_e4m3", weight="fp8_e4m3", accumulator="fp16"),
        "",
    ),
    (
        "FP8 E4M3 x FP8 E4M3 into FP32",
        FpMacPE(activation="fp8_e4m3", weight="fp8_e4m3"),
        "",
    ),
    (
        "FP4 E2M1 x FP4 E2M1, 16 lanes into FP32",
        FpMacPE(activation="fp4_e2m1", weight="fp4_e2m1", lanes=16),
        "",
    ),
    (
        "FP4 E2M1 x FP4 E2M1, 32 lanes into FP32",
        FpMacPE(activation="fp4_e2m1", weight="fp4_e2m1", lanes=32),
        "",
    ),
    ("INT8 x INT8 into INT32", IntMacPE(), ""),
    ("INT8 x INT8 into INT32, 8 lanes", IntMacPE(lanes=8), ""),
    ("INT8 x INT4 into INT32", IntMacPE(weight_bits=4), ""),
    ("INT4 x INT4 into INT32", IntMacPE(activation_bits=4, weight_bits=4), ""),
    ("INT4 x INT4, 4 lanes into INT32", IntMacPE(activation_bits=4, weight_bits=4, lanes=4), ""),
    ("INT6 x INT6 into INT32", IntMacPE(activation_bits=6, weight_bits=6), ""),
    ("ANT, flint4 x INT8 into INT32", AntPE(), ""),
    ("OliVe, pairs x INT8 into INT32", OlivePE(), ""),
    ("INT8 x INT8 that splits down to 2 bits", IntMacPE(split_bits=2), ""),
    ("INT8 x INT8 that splits down to 4 bits", IntMacPE(split_bits=4), ""),
    ("ANT, 8 x 8 that splits down to 4 bits", AntPE(mac=SPLIT), ""),
    ("OliVe, 8 x 8 that splits down to 4 bits", OlivePE(mac=SPLIT), ""),
    ("look-up of 8 inputs, sums in FP32", LutPE(), ""),
)

FLOOR = PENumerics(alignment="floor", rounding="floor", overflow="wrap", sum_bits=23)
UNGATED = PENumerics(gate_zero_terms=False)
NO_GUARD = PENumerics(guard_bits=0)
NARROW = PENumerics(accumulator_bits=11)
WIDE = PENumerics(accumulator_bits=21)

BIT_SERIAL: tuple[tuple[str, BitSerialPE, tuple[str, ...]], ...] = (
    ("hpca25", BitSerialPE(numerics=HPCA25), ("bitmod_fp4", "int8", "int6", "bitmod_fp3")),
    ("aligned", BitSerialPE(numerics=ALIGNED), ("bitmod_fp4", "int8", "int6", "bitmod_fp3")),
    ("zero terms not gated", BitSerialPE(numerics=UNGATED), ("bitmod_fp4", "int8")),
    ("floor, no sticky bit", BitSerialPE(numerics=FLOOR), ("bitmod_fp4", "int8")),
    ("no guard bits", BitSerialPE(numerics=NO_GUARD), ("bitmod_fp4", "int8")),
    ("accumulator of 11 bits", BitSerialPE(numerics=NARROW), ("bitmod_fp4", "int8")),
    ("accumulator of 21 bits", BitSerialPE(numerics=WIDE), ("bitmod_fp4", "int8")),
    ("term skipping", BitSerialPE(skip_zero_terms=True), ("bitmod_fp4", "int8")),
    ("2 lanes", BitSerialPE(lanes=2), ("bitmod_fp4", "int8")),
    ("8 lanes", BitSerialPE(lanes=8), ("bitmod_fp4", "int8")),
    ("no rescale unit", BitSerialPE(scale_bits=0), ("bitmod_fp4", "int8")),
    ("INT8 activations", BitSerialPE(activation="int8"), ("bitmod_fp4", "int8")),
    ("FP8 E4M3 activations", BitSerialPE(activation="fp8_e4m3"), ("bitmod_fp4", "int8")),
)

SHIPPED: tuple[Subject, ...] = MACS + tuple(
    (f"bit-serial, {name}", pe, weight) for name, pe, weights in BIT_SERIAL for weight in weights
)
