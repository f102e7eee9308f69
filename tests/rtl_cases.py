"""Configurations of hardware that tests run: PE, weight format."""

import pytest

from bitlathe.arch.numerics import HPCA25, PENumerics
from bitlathe.arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from bitlathe.arch.pe_base import PEKind
from bitlathe.sim.rtl.tools import missing_for_cxxrtl, missing_for_iverilog, yosys_folder

needs_iverilog = pytest.mark.skipif(
    missing_for_iverilog() is not None, reason=str(missing_for_iverilog())
)
needs_pyosys = pytest.mark.skipif(yosys_folder() is None, reason=str(missing_for_cxxrtl()))
needs_cxxrtl = pytest.mark.skipif(
    missing_for_cxxrtl() is not None, reason=str(missing_for_cxxrtl())
)

FLOOR = PENumerics(alignment="floor", rounding="floor", overflow="saturate", sum_bits=16,
                   accumulator_bits=12, exponent_bits=6)  # fmt: skip
NARROW = PENumerics(accumulator_bits=6, guard_bits=0, overflow="wrap", exponent_bits=6)
WIDE = PENumerics(reference="lanes_and_accumulator", accumulator_bits=21)
# exponents that pass their top: INT8 activations have none, lane sums of 19 bits become 3
SMALL = PENumerics(accumulator_bits=4, exponent_bits=4)
SMALL_WRAPS = PENumerics(accumulator_bits=4, exponent_bits=4, alignment="floor",
                         rounding="floor", overflow="wrap")  # fmt: skip
CONFIGURATIONS: dict[str, tuple[PEKind, str]] = {
    "bit-serial hpca25 int8": (BitSerialPE(numerics=HPCA25), "int8"),
    "bit-serial hpca25 fp4": (BitSerialPE(numerics=HPCA25, group_gap=1), "bitmod_fp4"),
    "bit-serial hpca25 fp3 skipping": (BitSerialPE(numerics=HPCA25, skip_zero_terms=True), "fp3"),
    "bit-serial hpca25 int8, twelve lanes": (BitSerialPE(numerics=HPCA25, lanes=12), "int8"),
    "bit-serial exponents that saturate": (
        BitSerialPE(numerics=SMALL, activation="int8"), "int8",
    ),
    "bit-serial exponents that wrap": (
        BitSerialPE(numerics=SMALL_WRAPS, activation="int8"), "int8",
    ),
    "bit-serial int8": (BitSerialPE(), "int8"),
    "bit-serial int4": (BitSerialPE(), "int4"),
    "bit-serial int6 skipping": (BitSerialPE(skip_zero_terms=True, group_gap=2), "int6"),
    "bit-serial fp4, one lane": (BitSerialPE(lanes=1, scale_bits=0), "bitmod_fp4"),
    "bit-serial nf4, bf16": (BitSerialPE(activation="bf16", lanes=5), "nf4"),
    "bit-serial fp6, fp8 e4m3": (BitSerialPE(activation="fp8_e4m3", lanes=2), "fp6_e2m3"),
    "bit-serial int5, fp8 e5m2": (BitSerialPE(activation="fp8_e5m2", scale_bits=3), "int5"),
    "bit-serial uint4, int8": (BitSerialPE(activation="int8", lanes=3), "uint4"),
    "bit-serial floor, saturating": (BitSerialPE(numerics=FLOOR, scale_bits=1), "int8"),
    "bit-serial narrow, wrapping": (BitSerialPE(numerics=NARROW, lanes=2), "int7"),
    "bit-serial wide, accumulator in reference": (BitSerialPE(numerics=WIDE), "int3"),
    "integer 8 x 8 into 32": (IntMacPE(), "int8"),
    "integer 8 x 8 into 18, four lanes": (IntMacPE(lanes=4, accumulator_bits=18), "int8"),
    "integer 5 x 3 into 7, wrapping": (
        IntMacPE(lanes=3, activation_bits=5, weight_bits=3, accumulator_bits=7, overflow="wrap"),
        "int3",
    ),
    "integer 4 x 1 into 4": (
        IntMacPE(activation_bits=4, weight_bits=1, accumulator_bits=4), "int1",
    ),
    "integer 16 x 16 into 62": (
        IntMacPE(activation_bits=16, weight_bits=16, accumulator_bits=62), "int16",
    ),
    "integer 8 x 8 that splits for 2": (IntMacPE(split_bits=2), ""),
    "integer 6 x 10 that splits for 2, two lanes, sums apart": (
        IntMacPE(split_bits=2, weight_bits=6, activation_bits=10, lanes=2, accumulator_bits=14,
                 overflow="wrap", split_over="axes"), "",
    ),
    "fp16 x fp16 into fp32": (FpMacPE(), ""),
    "fp16 x int8 into fp16, saturating": (
        FpMacPE(weight="int8", accumulator="fp16", overflow="saturate"), "",
    ),
    "fp8 x fp8 into fp16, three lanes": (
        FpMacPE(activation="fp8_e4m3", weight="fp8_e5m2", accumulator="fp16", lanes=3), "",
    ),
    "fp32 x fp32 into bf16, product rounded": (
        FpMacPE(activation="fp32", weight="fp32", product="fp16", accumulator="bf16"), "",
    ),
    "fp6 x fp4 into fp4, two lanes": (
        FpMacPE(activation="fp6_e2m3", weight="fp4_e2m1", accumulator="fp4_e2m1", lanes=2), "",
    ),
    "fp4 x int4 into fp32, five lanes": (
        FpMacPE(activation="fp4_e2m1", weight="int4", lanes=5), "",
    ),
    "look-up, four inputs": (LutPE(inputs=4), ""),
    "look-up, three inputs in bf16, sums in fp16": (
        LutPE(inputs=3, table="bf16", accumulator="fp16"), "",
    ),
    "look-up, one input, entries in fp32": (LutPE(inputs=1, table="fp32"), ""),
    "ant flint4": (AntPE(), ""),
    "ant flint4, three lanes into 10, wrapping": (
        AntPE(mac=IntMacPE(weight_bits=4, lanes=3, accumulator_bits=10, overflow="wrap")), "",
    ),
    "ant 8 x 8 that splits for 4": (
        AntPE(mac=IntMacPE(weight_bits=8, split_bits=4, split_over="axes")), "",
    ),
    "olive": (OlivePE(), ""),
    "olive, three lanes into 12": (
        OlivePE(mac=IntMacPE(weight_bits=4, lanes=3, accumulator_bits=12)), "",
    ),
    "olive 8 x 8 that splits for 2, three lanes": (
        OlivePE(mac=IntMacPE(weight_bits=8, split_bits=2, lanes=3, accumulator_bits=13)), "",
    ),
}  # fmt: skip
