"""Statements of papers that search grids, groups, vectors, ranks and bits."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....datatypes.formats.catalogue import single
from ....datatypes.methods.bitstack import share_out, stack
from ....datatypes.methods.budget import allocate, by_sort, shiftadd_importance
from ....datatypes.methods.calibrate import Way, calibrate
from ....datatypes.methods.curves import KINDS, Curve, bent
from ....datatypes.methods.granularity import choose_group
from ....datatypes.methods.layer import measured, rounded
from ....datatypes.methods.llm_fp4 import llm_fp4
from ....datatypes.methods.low_rank import LowRank
from ....datatypes.methods.lq_lora import alternate, stored_bits
from ....datatypes.methods.sparse import outliers
from ....datatypes.methods.task import Task
from ....datatypes.methods.vptq import kmeans, nearest, vectors_of
from ....datatypes.quantize import quantize
from ....datatypes.schemes.scheme import Scheme
from .ground import Claim, Figures, Ground, ascending, ranked

Found = tuple[Figures, bool]
Matrix = NDArray[np.float64]
# bits a weight of rows of 4,096: codes, scales, zero points, from the formats' own sources
CLOSED_FORMS: Final = {
    "int4@g128": 4 + 16 / 128,
    "int4_asym@g128": 4 + (16 + 4) / 128,
    "mxfp4": 4 + 8 / 32,
    "nvfp4": 4 + 8 / 16,
    "nf4@g64": 4 + 32 / 64,
}
FLINT4: Final = (0, 1, 2, 3, 4, 6, 8, 16)


def _errors(ground: Ground, of: Callable[[Matrix], list[float]]) -> list[float]:
    """Return squared errors summed over the layers, over the weights' squares."""
    whole = [w.astype(np.float64) for w, _ in ground.layers]
    power = sum(float(np.square(w).sum()) for w in whole)
    return [sum(each) / power for each in zip(*(of(w) for w in whole), strict=True)]


def _error(weights: Matrix, scheme: str) -> float:
    return float(np.square(quantize(weights, scheme).dequantize(np.float64) - weights).sum())


def _floats(ground: Ground) -> Found:
    found: list[list[float]] = [[], [], []]
    way = Way.of("llm_fp4", {"rounds": 2})
    for w, x in (ground.layers[0], ground.layers[-1]):  # a searched layer takes many seconds
        task = Task.of(w, x, way.scheme, way.activation_scheme)
        search, *shifts = (measured(each, task) for each in llm_fp4(task, way.options))
        found[0].append(min(layer.relative_error for layer in shifts))
        found[1].append(search.relative_error)
        found[2].append(measured(rounded(task), task).relative_error)
    shift, search_error, plain = (float(np.mean(each)) for each in found)
    figures = {"shift": shift, "search": search_error, "largest value": plain}
    return figures, plain >= 1.5 * search_error and search_error >= 1.5 * shift


def _isolated(ground: Ground) -> Found:
    apart, power = [0.0, 0.0], 0.0
    count = size = 0
    for w in ground.weights:
        marked = outliers(w, 3.0)
        count, size = count + int(marked.sum()), size + w.size
        power += float(np.square(w, dtype=np.float64).sum())
        kept = w.astype(np.float16).astype(np.float64)
        for i, scheme in enumerate(("int4@channel+mse", "int4@channel")):
            made = quantize(np.where(marked, 0, w), scheme).dequantize(np.float64)
            apart[i] += float(np.square(np.where(marked, kept, made) - w).sum())
    figures, falls = ascending(
        {
            "both": apart[0] / power,
            "isolation": apart[1] / power,
            "range": ground.weight_error("int4@channel+mse"),
            "rtn": ground.weight_error("int4@channel"),
        }
    )
    return {**figures, "outliers": count / size}, falls and count < 0.01 * size


def _dimensions(ground: Ground) -> Found:
    schemes = {"along inputs": "int3_asym@g128", "along outputs": "int3_asym@b128x1"}
    errors = {
        name: [calibrate(w, x, "rtn", s).relative_error for w, x in ground.layers]
        for name, s in schemes.items()
    }
    chosen = [calibrate(w, x, "adadim", "int3_asym@g128").relative_error for w, x in ground.layers]
    least = [min(pair) for pair in zip(*errors.values(), strict=True)]
    figures = {"chosen": chosen, **errors}
    means = {name: float(np.mean(each)) for name, each in figures.items()}
    return means, chosen == least and means["chosen"] < means["along inputs"]


def _low_ranks(ground: Ground) -> Found:
    falls: list[bool] = []

    def of(w: Matrix) -> list[float]:
        _, _, errors = alternate(w, Scheme.parse("nf3@g64"), 32, 10, np.ones(w.shape[1]))
        falls.append(all(b < a for a, b in pairwise(errors)))
        rest = w - quantize(w, "nf3@g64").dequantize(np.float64)
        alone = float(np.square(rest - LowRank.of(rest, 32).matrix()).sum())
        return [errors[-1], alone, float(np.square(rest).sum())]

    found = _errors(ground, of)
    figures = dict(zip(("alternating", "of the rest", "nf3"), found, strict=True))
    bits = [round(stored_bits(b, 8, 64, 32, 256), 3) for b in (3, 4)]
    return figures, all(falls) and found[0] < found[1] < found[2] and bits == [3.127, 4.127]


def _program(ground: Ground) -> Found:
    choices = []
    for w in ground.weights:
        bits = [(b * w.size, _error(w.astype(np.float64), f"nf{b}@g64")) for b in (3, 4)]
        choices.append([*bits, (8 * w.size, _error(w.astype(np.float64), "int8@g64"))])
    size = sum(w.size for w in ground.weights)
    limit = int(3.5 * size)
    taken = allocate(choices, limit)
    used = sum(each[t][0] for each, t in zip(choices, taken, strict=True)) / size
    return {"budget": 3.5, "used": used}, 3.49 <= used <= 3.5


def _vectors(ground: Ground) -> Found:
    def of(w: Matrix) -> list[float]:
        flat = vectors_of(w, 4).reshape(-1, 4)
        book = kmeans(flat, np.ones(len(flat)), 256, 20, 0).astype(np.float16).astype(np.float64)
        made = float(np.square(book[nearest(flat, book)] - flat).sum())
        return [made, _error(w, "bcq2@g128/fp32"), _error(w, "int2_asym@g128")]

    return ascending(dict(zip(("vectors", "bcq2", "int2"), _errors(ground, of), strict=True)))


def _refined(ground: Ground) -> Found:
    found = {"outputs, refined": 0.0, "outputs, vectors": 0.0}
    layers = ground.layers[:2]
    for w, x in layers:
        for name, rounds in (("outputs, refined", 3), ("outputs, vectors", 0)):
            layer = calibrate(w, x, "vptq", refine=rounds)
            found[name] += layer.relative_error / len(layers)
    return ascending(found)


def _blocks(ground: Ground) -> Found:
    gains: list[list[float]] = []
    bits: list[int] = []

    def of(w: Matrix) -> list[float]:
        whole = stack(w, 4, 4)
        errors = [float(np.square(w - whole.first(n).matrix()).sum()) for n in range(1, 5)]
        before = [float(np.square(w).sum()), *errors[:-1]]
        gains.append([a - b for a, b in zip(before, errors, strict=True)])
        bits.append(whole.block_bits[0])
        return errors

    found = _errors(ground, of)
    kept = True
    for limit in range(0, 4 * sum(bits), max(bits) // 3):
        taken = share_out(gains, bits, limit)
        left = limit - sum(n * b for n, b in zip(taken, bits, strict=True))
        kept &= 0 <= left < max(bits) or taken == (4,) * len(bits)
    figures = {f"{n} blocks": e for n, e in enumerate(found, 1)}
    closed = [w.size + 16 * 4 * sum(w.shape) for w, _ in ground.layers]
    figures["bits a weight of a block"] = sum(bits) / sum(w.size for w, _ in ground.layers)
    return figures, kept and bits == closed and all(b < a for a, b in pairwise(found))


def _powers(ground: Ground) -> Found:
    scheme, powers = Scheme.parse("int4@channel"), [i / 10 for i in range(3, 11)]
    found = [
        sum(_squared(w, bent(scheme, Curve(kind="power", strength=a))) for w in ground.weights)
        for a in powers
    ]
    turns = [b > a for a, b in pairwise(found)]
    best = powers[int(np.argmin(found))]
    gain = found[-1] / min(found)
    figures = {"best power": best, "gain over 1": gain}
    return figures, turns == sorted(turns) and 0.6 <= best <= 0.7 and gain > 1.3


def _squared(weights: NDArray[np.float32], scheme: Scheme) -> float:
    made = quantize(weights, scheme).dequantize(np.float64)
    return float(np.square(made - weights).sum())


def _groups(ground: Ground) -> Found:
    holds, sizes = True, []
    for w in ground.weights:
        scheme, errors = choose_group(w, Scheme.parse("int4@g64"), 0.2)
        within = max(size for size, e in errors.items() if e <= 1.2 * errors[min(errors)])
        size = scheme.granularity.columns or w.shape[1]
        holds &= size == within
        whole, _ = choose_group(w, Scheme.parse("int4@g64"), 1e9)
        holds &= str(whole.granularity) == "channel"
        sizes.append(size)
    return {"mean group": float(np.mean(sizes)), "largest": float(max(sizes))}, holds


def _curves(ground: Ground) -> Found:
    del ground
    x = np.linspace(-1, 1, 2001)
    worst = 0.0
    for kind in KINDS:
        for strength in (0.3, 0.7, 1.5, 4.0):
            curve = Curve(kind=kind, strength=strength)
            worst = max(worst, float(np.abs(curve.bend(curve.unbend(x)) - x).max()))
    return {"largest difference": worst}, worst < 1e-12


def _mixed_bits(ground: Ground) -> Found:
    errors, importance = [], []
    for w, x in ground.layers:
        wide, inputs = w.astype(np.float64), x.astype(np.float64)
        power = float(np.square(inputs @ wide.T).sum())
        made = [quantize(wide, f"bcq{b}@g128/pot3").dequantize(np.float64) for b in (2, 3, 4)]
        errors.append([float(np.square(inputs @ (m - wide).T).sum()) / power for m in made])
        importance.append(shiftadd_importance(wide, inputs))
    limit = int(2.5 * len(errors))
    choices = [[(b, e) for b, e in zip((2, 3, 4), each, strict=True)] for each in errors]
    program = sum(each[t] for each, t in zip(errors, allocate(choices, limit), strict=True))
    sort = by_sort(importance, 2, 3, 2.5)
    sorted_error = sum(each[b - 2] for each, b in zip(errors, sort, strict=True))
    even = sum(each[0] for each in errors)
    figures = {"program": program, "sort": sorted_error, "2 bits": even}
    return {k: v / len(errors) for k, v in figures.items()}, program <= sorted_error < even


def _closed_forms(ground: Ground) -> Found:
    del ground
    w = np.random.default_rng(0).normal(size=(128, 4096)).astype(np.float32)
    figures = {scheme: quantize(w, scheme).bits_per_element for scheme in CLOSED_FORMS}
    # a scale of the whole tensor, as NVFP4 has, is not in the closed forms
    return figures, all(abs(figures[s] - bits) < 1e-3 for s, bits in CLOSED_FORMS.items())


def _flint(ground: Ground) -> Found:
    del ground
    found = sorted(set(np.abs(single("flint4").values).tolist()))
    return {"magnitudes": float(len(found))}, found == list(FLINT4)


SEARCHED: Final = (
    Claim(
        row=6,
        statement="2.5 bits a layer: exact program errs no more than the sort, both less than 2",
        check=_mixed_bits,
    ),
    Claim(
        row=7,
        statement="W4A4: error falls 1.5 times by ranges searched, 1.5 again by channel exponents",
        check=_floats,
    ),
    Claim(
        row=13,
        statement="error of weights: rounding > range > isolation > both; outliers below 1 %",
        check=_isolated,
    ),
    Claim(
        row=14,
        statement="INT3: each layer's error is the less of groups along inputs and along outputs",
        check=_dimensions,
    ),
    Claim(
        row=15,
        statement="NF3, rank 32: error falls each round, below the rest's own; 3.127, 4.127 bits",
        check=_low_ranks,
    ),
    Claim(
        row=15,
        statement="the exact program over 3, 4, 8 bits meets a budget of 3.5 within 0.01",
        check=_program,
    ),
    Claim(
        row=16,
        statement="2 bits of indices: error of weights below binary planes below INT2",
        check=_vectors,
    ),
    Claim(
        row=16,
        statement="books and codes in turn lower the error of outputs of vectors",
        check=_refined,
    ),
    Claim(
        row=17,
        statement="1 + 16 k (m + n) / m n bits a block, each lowers the error, budgets are kept",
        check=_blocks,
    ),
    Claim(
        row=18,
        statement="4 bits: one least power, 0.6 to 0.7; over 1.3 times less error than power 1",
        check=_powers,
    ),
    Claim(
        row=19,
        statement="the largest groups within 20 % of the smallest's error; all allowed: channels",
        check=_groups,
    ),
    Claim(
        row=20,
        statement="each curve after its inverse is the identity (no published figure is matched)",
        check=_curves,
        weights=False,
    ),
    Claim(
        row=20,
        statement="4 bits: a book an output errs less than NF4, NF4 than INT4 (nothing published)",
        check=ranked("kmeans4@channel", "nf4@channel", "int4@channel"),
    ),
    Claim(
        row=9,
        statement="stored bits a weight are those of the closed forms",
        check=_closed_forms,
        weights=False,
    ),
    Claim(
        row=11,
        statement="magnitudes of flint4: 0, 1, 2, 3, 4, 6, 8, 16",
        check=_flint,
        weights=False,
    ),
)
