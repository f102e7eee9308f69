"""The statements: what each paper's method should do, and what tells whether it does.

A check returns figures and whether the statement holds on them. Weights are those of all linear
layers of MiniLM-L6, inputs those of one block's layers on random tokens.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....datatypes.formats.catalogue import single
from ....datatypes.methods.calibrate import calibrate
from ....datatypes.methods.low_rank import LowRank
from ....datatypes.quantize import quantize
from .ground import Claim, Figures, Ground, ascending, ranked
from .machines import MACHINES
from .searched import SEARCHED

Reals = NDArray[Any]


def _scale_bits(ground: Ground) -> tuple[Figures, bool]:
    plain, stored = (ground.weight_error(f"bitmod_fp3@g128{s}") for s in ("/fp32", "/int8"))
    return {"int8 over real scales": stored / plain}, abs(stored / plain - 1) < 0.001


def _dual_grain(ground: Ground) -> tuple[Figures, bool]:
    """Check DGQ on two layers: its searches on outputs take seconds for each."""
    found, plain, searched, most = [], [], [], 0
    bits = size = 0
    for w, x in ground.layers[:2]:
        layer = calibrate(w, x, "dgq", "dgq4", activation_scheme="none", smooth=False)
        found.append(layer.relative_error)
        bits, size = bits + layer.total_bits, size + w.size
        plain.append(calibrate(w, x, "rtn", "int4_asym@g128").relative_error)
        q = layer.tensor
        assert q.zero_points is not None
        steps = q.layout.split(q.matrix.astype(np.int64)) - q.zero_points[:, None].astype(np.int64)
        most = max(most, int(np.abs(steps * q.raw.astype(np.int64)).max()))
        searched.append(calibrate(w, x, "rtn", "int4_asym@g128+mse").relative_error)
    error = {
        "dgq4": float(np.mean(found)),
        "searched groups": float(np.mean(searched)),
        "rtn": float(np.mean(plain)),
        "largest": float(most),
        "bits": bits / size,
    }
    falls = error["dgq4"] <= min(0.75 * error["rtn"], 1.05 * error["searched groups"])
    return error, falls and most <= 127


def _shifts(ground: Ground) -> tuple[Figures, bool]:
    del ground
    known = set(single("fp8_e4m3").values.tolist())
    shifted = [v * 2.0**r for v in single("fp4_e2m1").values for r in range(6)]
    missing = [v for v in shifted if v not in known]
    return {"missing values": float(len(missing))}, not missing


def _low_rank(ground: Ground) -> tuple[Figures, bool]:
    before = after = 0.0
    for w in ground.weights:
        rest = w.astype(np.float64) - quantize(w, "fp4_e2m1@g128").dequantize(np.float64)
        before += float(np.square(rest).sum())
        after += float(np.square(rest - LowRank.of(rest, 8).matrix()).sum())
    return {"rank 8 over none": after / before}, after < before


def _three_powers(ground: Ground) -> tuple[Figures, bool]:
    ratio = ground.weight_error("bcq3@g128/pot3") / ground.weight_error("bcq3@g128/fp32")
    return {"three powers over real scales": ratio}, ratio <= 1.06


def _steps_of_awq(ground: Ground) -> tuple[Figures, bool]:
    scheme = "int3_asym@g128"
    return ascending(
        {
            "scale and clip": ground.output_error("awq", scheme),
            "scale": ground.output_error("awq", scheme, clip=False),
            "rtn": ground.output_error("rtn", scheme),
        }
    )


def _with_outliers(x: Reals) -> Reals:
    """Return inputs with the first three columns 60 at their largest."""
    large = x.astype(np.float64)
    large[:, :3] *= 60 / np.abs(large[:, :3]).max(axis=0)
    return large


def _gain_of_awq(ground: Ground) -> tuple[Figures, bool]:
    """Check AWQ's gain over rounding with three columns of the inputs made large."""
    found = [calibrate(w, _with_outliers(x), "awq", "int3_asym@g128") for w, x in ground.layers]
    errors = np.array([[layer.relative_error, layer.rounded_error] for layer in found])
    gain = float(errors[:, 1].mean() / errors[:, 0].mean())
    return {"gain with outliers": gain}, gain >= 3


def _per_token(ground: Ground) -> tuple[Figures, bool]:
    """Compare E4M3 and INT8, a scale a token, on the inputs with most and fewest outliers."""
    ordered = sorted(ground.inputs, key=_outlier_ratio)
    found = {}
    for words, x in (("most", ordered[-1]), ("fewest", ordered[0])):
        wide = x.astype(np.float64)
        e4m3, int8 = (
            float(np.square(quantize(wide, s).dequantize(np.float64) - wide).sum())
            for s in ("fp8_e4m3@channel", "int8@channel")
        )
        found[f"E4M3 over INT8, {words} outliers"] = e4m3 / int8
    most, fewest = found.values()
    return found, most < 1 < fewest


def _outlier_ratio(x: Reals) -> float:
    """Return the median over tokens of the largest magnitude over the root mean square."""
    return float(np.median(np.abs(x).max(axis=1) / np.sqrt(np.square(x).mean(axis=1))))


def _bitmod_under_awq(ground: Ground) -> tuple[Figures, bool]:
    schemes = ("bitmod_fp3@g128", "int3_asym@g128")
    return ascending({f"awq {s}": ground.output_error("awq", s) for s in schemes})


def _decomposed(ground: Ground) -> tuple[Figures, bool]:
    """Check LLM.int8() with three columns of the inputs made 60 at their largest."""
    found = np.zeros((len(ground.layers), 3))
    for i, (w, x) in enumerate(ground.layers):
        large = _with_outliers(x)
        threshold = max(6.0, 1.01 * float(np.abs(large[:, 3:]).max()))
        layer = calibrate(w, large, "llm_int8", threshold=threshold)
        plain = calibrate(w, large, "rtn", "int8@tensor", "int8@tensor")
        found[i] = layer.relative_error, layer.rounded_error, plain.relative_error
    apart, vectors, tensor = (float(v) for v in found.mean(axis=0))
    figures = {"decomposed": apart, "vector-wise": vectors, "per tensor": tensor}
    return figures, apart <= 0.1 * vectors and vectors <= 0.2 * tensor


CLAIMS: Final[tuple[Claim, ...]] = (
    Claim(
        row=1,
        statement="3 bits: error below FP3-EA, INT3 asymmetric, ANT, INT3 symmetric",
        check=ranked(
            *("bitmod_fp3@g128", "bitmod_fp3_ea@g128", "int3_asym@g128", "ant3@g128"), "int3@g128"
        ),
    ),
    Claim(
        row=1,
        statement="4 bits: error of weights below INT4 asymmetric, ANT",
        check=ranked("bitmod_fp4@g128", "int4_asym@g128", "ant4@g128"),
    ),
    Claim(
        row=1,
        statement="scales in int8 change the error of weights by less than 0.1 %",
        check=_scale_bits,
    ),
    Claim(
        row=4,
        statement="error of outputs <= 0.75 of rounding's in groups of 128; integers within 127",
        check=_dual_grain,
    ),
    Claim(
        row=5,
        statement="every FP4 value shifted by 0 to 5 is a value of E4M3",
        check=_shifts,
        weights=False,
    ),
    Claim(
        row=5,
        statement="error of weights under real scales below M2, nearest power of two, M1",
        check=ranked(
            "fp4_e2m1@g128", "fp4_e2m1@g128/m2", "fp4_e2m1@g128/pot", "fp4_e2m1@g128/pot_ceil"
        ),
    ),
    Claim(
        row=5,
        statement="a product of rank 8 lowers the error of weights",
        check=_low_rank,
    ),
    Claim(
        row=6,
        statement="scales of three powers of two within 6 % of the error under real ones",
        check=_three_powers,
    ),
    Claim(
        row=6,
        statement="3 bits: error of weights below INT3 asymmetric",
        check=ranked("bcq3@g128/pot3", "int3_asym@g128"),
    ),
    Claim(
        row=6,
        statement="2 bits: error of weights below INT2 asymmetric",
        check=ranked("bcq2@g128/pot3", "int2_asym@g128"),
    ),
    Claim(
        row=8,
        statement="INT3: error of outputs falls from rounding to scales to cut ranges",
        check=_steps_of_awq,
    ),
    Claim(
        row=8,
        statement="3 bits: error of outputs under BitMoD below INT3",
        check=_bitmod_under_awq,
    ),
    Claim(
        row=8,
        statement="three outlier columns, INT3: error of outputs three times less than rounding's",
        check=_gain_of_awq,
    ),
    Claim(
        row=5,
        statement="a scale a token: E4M3 errs less than INT8 where outliers are large, else more",
        check=_per_token,
    ),
    Claim(
        row=10,
        statement="4 bits: error of weights BitMoD below INT4 asymmetric below OliVe below ANT",
        check=ranked("bitmod_fp4@g128", "int4_asym@g128", "olive4@g128", "ant4@g128"),
    ),
    Claim(
        row=12,
        statement="three outlier columns: decomposed <= 0.1 vector-wise <= 0.2 per tensor",
        check=_decomposed,
    ),
    *SEARCHED,
    *MACHINES,
)

ROWS: Final = (
    "BitMoD's types",
    "BitMoD's simulator",
    "BitMoD's PE",
    "DGQ",
    "ZeroQuant-FP",
    "ShiftAddLLM",
    "LLM-FP4",
    "AWQ",
    "INT, MX, NF",
    "OliVe",
    "ANT",
    "LLM.int8()",
    "EasyQuant",
    "AdaDim",
    "LQ-LoRA",
    "VPTQ, PV-Tuning",
    "BitStack",
    "NUPES",
    "FineQuant",
    "JLCM, Weight Compander",
)
"""What the rows are about, from row 1."""
