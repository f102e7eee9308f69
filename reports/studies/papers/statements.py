"""The statements: what each paper's method should do, and what tells whether it does.

A check returns figures and whether the statement holds on them. Weights are those of all linear
layers of MiniLM-L6, inputs those of one block's layers on random tokens.
"""

from typing import Final

import numpy as np

from ....datatypes.formats.catalogue import single
from ....datatypes.methods.calibrate import calibrate
from ....datatypes.methods.low_rank import LowRank
from ....datatypes.quantize import quantize
from .ground import Claim, Figures, Ground, ascending, ranked
from .searched import SEARCHED


def _scale_bits(ground: Ground) -> tuple[Figures, bool]:
    plain, stored = (ground.weight_error(f"bitmod_fp3@g128{s}") for s in ("/fp32", "/int8"))
    return {"ratio": stored / plain}, abs(stored / plain - 1) < 0.001


def _dual_grain(ground: Ground) -> tuple[Figures, bool]:
    """Check DGQ on two layers: its searches on outputs take seconds for each."""
    found, plain, most = [], [], 0
    for w, x in ground.layers[:2]:
        layer = calibrate(w, x, "dgq", "dgq4", activation_scheme="none", smooth=False)
        found.append(layer.relative_error)
        plain.append(calibrate(w, x, "rtn", "int4_asym@g128").relative_error)
        q = layer.tensor
        assert q.zero_points is not None
        steps = q.layout.split(q.matrix.astype(np.int64)) - q.zero_points[:, None].astype(np.int64)
        most = max(most, int(np.abs(steps * q.raw.astype(np.int64)).max()))
    error = {"dgq4": float(np.mean(found)), "rtn": float(np.mean(plain)), "largest": float(most)}
    return error, error["dgq4"] <= 0.75 * error["rtn"] and most <= 127


def _shifts(ground: Ground) -> tuple[Figures, bool]:
    del ground
    known = set(single("fp8_e4m3").values.tolist())
    shifted = [v * 2.0**r for v in single("fp4_e2m1").values for r in range(6)]
    missing = [v for v in shifted if v not in known]
    return {"missing": float(len(missing))}, not missing


def _low_rank(ground: Ground) -> tuple[Figures, bool]:
    before = after = 0.0
    for w in ground.weights:
        rest = w.astype(np.float64) - quantize(w, "fp4_e2m1@g128").dequantize(np.float64)
        before += float(np.square(rest).sum())
        after += float(np.square(rest - LowRank.of(rest, 8).matrix()).sum())
    return {"ratio": after / before}, after < before


def _three_powers(ground: Ground) -> tuple[Figures, bool]:
    ratio = ground.weight_error("bcq3@g128/pot3") / ground.weight_error("bcq3@g128/fp32")
    return {"ratio": ratio}, ratio <= 1.06


def _steps_of_awq(ground: Ground) -> tuple[Figures, bool]:
    scheme = "int3_asym@g128"
    return ascending(
        {
            "scale and clip": ground.output_error("awq", scheme),
            "scale": ground.output_error("awq", scheme, clip=False),
            "rtn": ground.output_error("rtn", scheme),
        }
    )


def _bitmod_under_awq(ground: Ground) -> tuple[Figures, bool]:
    schemes = ("bitmod_fp3@g128", "int3_asym@g128")
    return ascending({s: ground.output_error("awq", s) for s in schemes})


def _decomposed(ground: Ground) -> tuple[Figures, bool]:
    """Check LLM.int8() with three columns of the inputs made 60 at their largest."""
    found = np.zeros((len(ground.layers), 3))
    for i, (w, x) in enumerate(ground.layers):
        large = x.astype(np.float64)
        large[:, :3] *= 60 / np.abs(large[:, :3]).max(axis=0)
        threshold = max(6.0, 1.01 * float(np.abs(large[:, 3:]).max()))
        layer = calibrate(w, large, "llm_int8", threshold=threshold)
        plain = calibrate(w, large, "rtn", "int8@tensor", "int8@tensor")
        found[i] = layer.relative_error, layer.rounded_error, plain.relative_error
    apart, vectors, tensor = (float(v) for v in found.mean(axis=0))
    figures = {"decomposed": apart, "vector-wise": vectors, "per tensor": tensor}
    return figures, apart <= 0.1 * vectors and vectors <= 0.2 * tensor


CLAIMS: Final[tuple[Claim, ...]] = (
    Claim(
        paper="BitMoD",
        statement="3 bits: error of weights below INT3 asymmetric, ANT, INT3 symmetric",
        check=ranked("bitmod_fp3@g128", "int3_asym@g128", "ant3@g128", "int3@g128"),
    ),
    Claim(
        paper="BitMoD",
        statement="4 bits: error of weights below INT4 asymmetric, ANT",
        check=ranked("bitmod_fp4@g128", "int4_asym@g128", "ant4@g128"),
    ),
    Claim(
        paper="BitMoD",
        statement="scales in int8 change the error of weights by less than 0.1 %",
        check=_scale_bits,
    ),
    Claim(
        paper="DGQ",
        statement="error of outputs <= 0.75 of rounding's in groups of 128; integers within 127",
        check=_dual_grain,
    ),
    Claim(
        paper="ZeroQuant-FP",
        statement="every FP4 value shifted by 0 to 5 is a value of E4M3",
        check=_shifts,
    ),
    Claim(
        paper="ZeroQuant-FP",
        statement="error of weights under real scales below M2, nearest power of two, M1",
        check=ranked(
            "fp4_e2m1@g128", "fp4_e2m1@g128/m2", "fp4_e2m1@g128/pot", "fp4_e2m1@g128/pot_ceil"
        ),
    ),
    Claim(
        paper="ZeroQuant-FP",
        statement="a product of rank 8 lowers the error of weights",
        check=_low_rank,
    ),
    Claim(
        paper="ShiftAddLLM",
        statement="scales of three powers of two within 6 % of the error under real ones",
        check=_three_powers,
    ),
    Claim(
        paper="ShiftAddLLM",
        statement="3 bits: error of weights below INT3 asymmetric",
        check=ranked("bcq3@g128/pot3", "int3_asym@g128"),
    ),
    Claim(
        paper="ShiftAddLLM",
        statement="2 bits: error of weights below INT2 asymmetric",
        check=ranked("bcq2@g128/pot3", "int2_asym@g128"),
    ),
    Claim(
        paper="AWQ",
        statement="INT3: error of outputs falls from rounding to scales to cut ranges",
        check=_steps_of_awq,
    ),
    Claim(
        paper="AWQ",
        statement="3 bits: error of outputs under BitMoD below INT3",
        check=_bitmod_under_awq,
    ),
    Claim(
        paper="OliVe",
        statement="4 bits: error of weights BitMoD below INT4 asymmetric below OliVe below ANT",
        check=ranked("bitmod_fp4@g128", "int4_asym@g128", "olive4@g128", "ant4@g128"),
    ),
    Claim(
        paper="LLM.int8()",
        statement="three outlier columns: decomposed <= 0.1 vector-wise <= 0.2 per tensor",
        check=_decomposed,
    ),
    *SEARCHED,
)
