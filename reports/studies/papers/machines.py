"""Statements of papers on grids, arithmetic and machines: none needs a model's weights."""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

import numpy as np

from ....arch.components import pe_component
from ....arch.loader import load_arch
from ....datatypes.coding.olive import Pairs
from ....datatypes.formats.catalogue import element as format_of
from ....datatypes.formats.catalogue import single
from ....datatypes.formats.format import Mixture
from ....datatypes.methods.calibrate import calibrate
from ....datatypes.methods.parts import VectorWeights
from ....datatypes.quantize import quantize
from ....datatypes.terms.table import term_count
from ....sim import simulate
from ....sim.pe.bit_serial import bitserial_dot
from ....sim.pe.mac import lut_matmul
from ....sim.pe.products import dual_grain_matmul
from ....sim.pe.rescale import group_timing
from ....workloads.gemm import Gemm
from ..ant_micro22.study import figures as figures_of_ant
from ..ant_micro22.study import normalized, printed_means
from ..bitmod_hpca25 import reproduce as reproduce_bitmod
from ..shiftaddllm_energy.as_published import CHIP, Machine, token_mj
from ..shiftaddllm_energy.study import published as energies
from .ground import Claim, Figures, Ground

Found = tuple[Figures, bool]
FP4: Final = (0, 0.5, 1, 1.5, 2, 3, 4, 6)
# magnitudes and the value that a group may have more: BitMoD (arXiv 2411.11745), table II
GRIDS: Final = {
    "bitmod_fp3_er": ((0, 1, 2, 4), 3),
    "bitmod_fp3_ea": ((0, 1, 2, 4), 6),
    "bitmod_fp4_er": (FP4, 5),
    "bitmod_fp4_ea": (FP4, 8),
}
# clocks of a weight, the same paper, section IV
TERMS: Final = {**dict.fromkeys(GRIDS, 2), "int6": 3, "int8": 4}
# LLM-FP4 (arXiv 2310.16836), up to a power of two
FLOATS: Final = {
    "fp4_e3m0": (0, 2, 4, 8, 16, 32, 64, 128),
    "fp4_e2m1": (0, 1, 2, 3, 4, 6, 8, 12),
    "fp4_e1m2": (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5),
}
ABFLOAT: Final = (12, 16, 24, 32, 48, 64, 96)  # OliVe (arXiv 2304.07493), 4 bits
ENCODER_UM2: Final = 2419 / 64  # of BitMoD's tile, by PE: its tile table


def _members(name: str) -> list[list[float]]:
    """Return the values of a format, or of each that a group of a mixture may take."""
    found = format_of(name)
    each = found.formats if isinstance(found, Mixture) else (found,)
    return [sorted(set(fmt.values.tolist())) for fmt in each]


def _grids(ground: Ground) -> Found:
    del ground
    wrong = 0
    for name, (magnitudes, more) in GRIDS.items():
        base = {sign * v for v in magnitudes for sign in (1.0, -1.0)}
        wanted = [sorted(base | {more}), sorted(base | {-more})]
        wrong += sorted(_members(name)) != sorted(wanted)
    terms = {
        name: max(term_count(values) for values in _members(name))
        if name in GRIDS
        else term_count(single(name))
        for name in TERMS
    }
    figures = {"grids that differ": float(wrong), "most terms": float(max(terms.values()))}
    return figures, not wrong and terms == TERMS


def _simulator(ground: Ground) -> Found:
    del ground
    study = reproduce_bitmod()
    equal = sum(row["cycles"] == row["published_cycles"] for row in study.rows)
    speeds = [line for line in study.headlines if line["what"] == "speedup"][:6]
    figures = {
        f"{line['design']} over {line['baseline']}, {line['workload']}": line["reproduced"]
        for line in speeds
    }
    near = all(abs(line["reproduced"] - line["published"]) <= 0.01 for line in speeds)
    return {"clocks that agree": float(equal), **figures}, near and equal == len(study.rows) == 60


def _bit_serial(ground: Ground) -> Found:
    del ground
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 128)).astype(np.float16)
    apart, worst = 0, 0.0
    clocks = {}
    for name, unit in (("bitmod_fp3_ea", 1), ("bitmod_fp4_ea", 2)):
        grid = [int(v * unit) for v in _members(name)[0]]
        w = random.choice(grid, size=x.shape)
        exact = bitserial_dot(x, w, name, "exact").value
        found = bitserial_dot(x, w, name, "aligned")
        clocks[name] = int(found.cycles.max())
        for row in range(len(x)):
            pairs = zip(x[row].tolist(), w[row].tolist(), strict=True)
            products = [Fraction(a) * b for a, b in pairs]
            whole = sum(products, Fraction(0))
            apart += Fraction(float(exact[row])) != whole
            off = abs(Fraction(float(found.value[row])) - whole)
            worst = max(worst, float(off / sum(map(abs, products), Fraction(0))))
    stalls = max(group_timing(128, terms).stall_cycles for terms in (2, 3, 4))
    figures = {
        "sums that are not exact": float(apart),
        "largest difference of the 15-bit sum": worst,
        "clocks of a group": float(max(clocks.values())),
        "clocks that the rescale stalls": float(stalls),
    }
    return figures, not apart and worst < 2**-11 and set(clocks.values()) == {64} and not stalls


def _area(ground: Ground) -> Found:
    del ground
    whole, plain = (pe_component(name).area_um2 for name in ("bitmod_tile", "fp16_mac_tile"))
    ratio = (whole - ENCODER_UM2) / plain
    return {"area over FP16's": ratio}, abs(ratio - 0.762) <= 0.01


def _dual_grain_integers(ground: Ground) -> Found:
    del ground
    random = np.random.default_rng(1)
    q = quantize(random.normal(size=(16, 512)).astype(np.float32), "dgq4@g128")
    x = random.integers(-127, 128, size=(8, 512))
    assert q.zero_points is not None
    zeros = np.asarray(q.zero_points).reshape(16, 4)
    steps = np.asarray(q.raw).reshape(16, 4)
    found = dual_grain_matmul(x, q.matrix, zeros, steps)
    whole = (q.matrix.astype(np.int64).reshape(16, 4, 128) - zeros[..., None].astype(np.int64)) * (
        steps[..., None].astype(np.int64)
    )
    apart = int((found != x.astype(np.int64) @ whole.reshape(16, 512).T).sum())
    return {"products apart": float(apart)}, not apart


def _tables(ground: Ground) -> Found:
    """Look sums of quarters up: no rounding, so that all orders of addition agree."""
    del ground
    random = np.random.default_rng(2)
    x = random.integers(-64, 65, size=(4, 64)) / 4
    bits = random.integers(0, 2, size=(6, 3, 64))
    planes = (bits.reshape(6, 3, 8, 8) << np.arange(8)).sum(axis=-1)
    powers = random.integers(-3, 4, size=(6, 3))
    direct = np.einsum("mk,nqk,nq->mn", x, 2.0 * bits - 1, np.exp2(powers))
    apart = int((lut_matmul(x, planes, powers) != direct).sum())
    return {"look-ups apart": float(apart)}, not apart


def _energies(ground: Ground) -> Found:
    del ground
    study, machine = energies(), Machine.of(load_arch(CHIP))
    printed = study["energy_mj"]["opt-125m"]

    def found(model: str, method: str) -> float:
        return token_mj(study["methods"][method], study["models"][model], machine)

    names = ("fp16", "optq3", "lut_gemm3", "shiftadd3")
    of = {f"OPT-125M {name} mJ": found("opt-125m", name) for name in names}
    near = all(abs(found("opt-125m", name) / printed[name] - 1) <= 1e-3 for name in names)
    ratio = found("llama-2-7b", "fp16") / found("llama-2-7b", "shiftadd3")
    return {**of, "Llama-2-7B FP16 over 3 bits": ratio}, near and abs(ratio - 7.15) <= 0.1


def _floats(ground: Ground) -> Found:
    del ground
    wrong = 0
    for name, magnitudes in FLOATS.items():
        found = sorted(set(np.abs(single(name).values).tolist()))
        wrong += [v / found[-1] for v in found] != [v / magnitudes[-1] for v in magnitudes]
    return {"grids that differ": float(wrong)}, not wrong


def _pairs(ground: Ground) -> Found:
    del ground
    w = np.random.default_rng(3).normal(size=(64, 4096)).astype(np.float32)
    q = quantize(w, "olive4@channel")
    pairs = Pairs.of(4)
    codes = q.matrix.reshape(64, -1, 2)
    flagged = codes == pairs.flag
    victims = q.dequantize().reshape(64, -1, 2)[flagged]
    # two beyond the largest normal magnitude, side by side
    units = np.abs(w / np.asarray(q.scales, np.float64).reshape(64, -1)) > pairs.threshold
    both = float(units.reshape(64, -1, 2).all(axis=-1).mean())
    figures = {
        "bits a value": (q.total_bits - 64 * q.scheme.scale_bits) / w.size,
        "pairs with a victim": float(flagged.any(axis=-1).mean()),
        "pairs of two outliers": both,
    }
    levels = pairs.levels.tolist() == list(ABFLOAT)
    return figures, levels and not victims.any() and both < 1e-3


def _times(ground: Ground) -> Found:
    del ground
    found = {line["chip"]: line["time"] for line in printed_means(normalized(figures_of_ant()))}
    wanted = {"ANT-OS": 0.25, "BitFusion": 0.70, "OLAccel": 0.81, "AdaFloat": 1.0}
    figures = {f"time on {chip}": found[chip] for chip in wanted}
    return figures, all(round(found[chip], 2) == time for chip, time in wanted.items())


def _widths(ground: Ground) -> Found:
    """Compare the INT8 chip whose FP16 path takes outliers with FP16's, d x d layers in decode."""
    del ground
    faster = []
    for width in (64, 256, 1024, 4096):
        layer = Gemm(name="layer", m=1, n=width, k=width)
        int8, fp16 = (
            simulate(name, [layer], "decode", fidelity="analytic", mapper="whole-buffer").cycles
            for name in ("int8-outlier", "fp16")
        )
        if int8 < fp16:
            faster.append(width)
    return {"least width that gains": float(min(faster, default=0))}, faster[:1] == [64]


def _gathers(ground: Ground) -> Found:
    """Dot products of segments and centroids, gathered, beside gathered centroids multiplied."""
    del ground
    random = np.random.default_rng(4)
    w, x = random.normal(size=(32, 64)), random.normal(size=(96, 64))
    made = calibrate(w.astype(np.float32), x, "vptq", entries=16).weights
    assert isinstance(made, VectorWeights)
    whole = random.integers(-8, 9, size=(6, 64)).astype(np.float64)  # products are exact
    book, index = made.books[0].astype(np.float64), made.indices[0]
    tables = whole[:, :, None, None] * book  # of each input, all products with an entry
    looked_up = tables[:, np.arange(64), index].sum(axis=2)  # (tokens, vectors, length)
    apart = int((looked_up.reshape(6, -1) != whole @ made.matrix().T).sum())
    return {"look-ups apart": float(apart)}, not apart


def _claim(row: int, statement: str, check: Callable[[Ground], Found]) -> Claim:
    return Claim(row=row, statement=statement, check=check, weights=False)


MACHINES: Final = (
    _claim(1, "grids as published; at most 2 terms at 3 and 4 bits, 3 of INT6, 4 of INT8", _grids),
    _claim(
        2, "60 clock counts to the unit; speedups 1.99, 2.41, 1.72, 1.66, 1.56, 1.39", _simulator
    ),
    _claim(3, "exact sums are exact, 15-bit sums near; 64 clocks a group, no stall", _bit_serial),
    _claim(3, "a PE has 0.762 of the area of an FP16 multiply-add", _area),
    _claim(4, "products in 8 bits are those of whole numbers", _dual_grain_integers),
    _claim(6, "what is looked up are the direct sums", _tables),
    _claim(
        6, "OPT-125M takes 29.27, 13.77, 12.83, 11.69 mJ a token; Llama-2-7B saves 7.15", _energies
    ),
    _claim(7, "grids of E3M0, E2M1, E1M2 as published", _floats),
    _claim(
        10, "outliers are 12 to 96, victims 0, two outliers rarely meet on Gaussian weights", _pairs
    ),
    _claim(11, "times 0.25, 0.70, 0.81 of AdaFloat's", _times),
    _claim(
        12, "an INT8 array with an FP16 path beats an FP16 array from a width of 64 on", _widths
    ),
    _claim(16, "products looked up and added are those with gathered vectors", _gathers),
)
