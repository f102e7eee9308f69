"""ZeroQuant-FP with its low-rank rest, and ShiftAddLLM."""

from itertools import product

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.low_rank import LowRank
from bitlathe.datatypes.methods.shiftadd import greedy_planes
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme


def layer(seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(96, 64)) @ random.normal(size=(64, 64)) / 8
    return random.normal(size=(48, 64)).astype(np.float32), x


@pytest.mark.parametrize("shape", [(48, 64), (64, 5), (1, 9)])
def test_low_rank_is_nearly_the_best_of_its_rank(shape):
    rest = np.random.default_rng(1).normal(size=shape)
    found = LowRank.of(rest, 8)
    s = np.linalg.svd(rest, compute_uv=False)
    best = np.square(s[8:]).sum()
    error = np.square(rest - found.matrix()).sum()
    assert best * (1 - 1e-3) - 1e-4 <= error <= best * 1.02 + 1e-4
    assert found.rank == min(8, *shape)
    assert found.total_bits == 16 * found.rank * sum(shape)
    x = np.random.default_rng(2).normal(size=(3, shape[1]))
    assert found.apply(x) == pytest.approx(x @ found.matrix().T)


def test_a_low_rank_rest_lowers_the_error_and_is_counted():
    w, x = layer()
    none, some = (calibrate(w, x, "zeroquant_fp", "fp4_e2m1@g16/m2", rank=r) for r in (0, 8))
    assert none.low_rank is None
    assert some.low_rank is not None
    assert some.relative_error < none.relative_error < none.rounded_error
    assert some.total_bits == none.total_bits + 16 * 8 * (48 + 64)
    assert some.operations.fp16_products == 8 * (48 + 64)
    exact = some.weights.dequantize(np.float64) + some.low_rank.matrix()
    np.testing.assert_allclose(some.dequantize(), exact)


def test_codes_of_fp4_and_shifts_are_numbers_of_fp8():
    values = set(single("fp8_e4m3").values.tolist())
    for v, r in product(single("fp4_e2m1").values, range(6)):
        assert v * 2.0**r in values
    w, x = layer()
    q = calibrate(w, x, "zeroquant_fp", "fp4_e2m1@g16/m2", rank=0).weights
    top = q.scales.max(axis=1, keepdims=True)
    shifts = np.log2(top / q.scales)
    np.testing.assert_array_equal(shifts, np.rint(shifts))


def test_weighted_planes_are_those_of_importance_and_scales_are_shifts():
    w, x = layer(2)
    x[:, 3] *= 10
    found = calibrate(w, x, "shiftadd", "bcq2@g16/pot2")
    assert "errors carried" in found.chosen
    exact = x @ w.astype(float).T
    q = quantize(w, "bcq2@g16/pot2", importance=np.square(x).mean(axis=0))
    weighted = np.square(x @ q.dequantize(np.float64).T - exact).sum() / np.square(exact).sum()
    assert found.relative_error < weighted
    scales = np.abs(found.weights.scales.astype(np.float64)).reshape(-1)
    for scale in scales[scales > 0]:
        mantissa = int(np.frexp(scale)[0] * 2**53)
        # at most two signed powers of two: digits of the canonical form
        assert bin(mantissa ^ (3 * mantissa)).count("1") <= 2


def test_greedy_planes_are_the_signs_of_what_is_left():
    """Group by group in plain loops; a scale is that of `quantize` for one plane of magnitudes."""
    w, x = layer(4)
    found = calibrate(w, x, "shiftadd", "bcq3@g20/pot2", greedy=True)
    assert found.chosen in ("weighted greedy", "greedy, errors carried",
                            "weighted greedy, errors carried")  # fmt: skip
    made = greedy_planes(w, Scheme.parse("bcq3@g20/pot2"))
    wanted = np.zeros(w.shape)
    for row in range(len(w)):
        for start in range(0, w.shape[1], 20):
            rest = w[row, start : start + 20].astype(np.float64)
            for _ in range(3):
                alpha = np.abs(rest).mean()
                first = 2.0 ** np.rint(np.log2(alpha))
                left = alpha - first
                alpha = first + np.sign(left) * 2.0 ** np.rint(np.log2(abs(left)))
                signs = np.where(rest >= 0, 1.0, -1.0)
                wanted[row, start : start + 20] += alpha * signs
                rest = rest - alpha * signs
    np.testing.assert_allclose(made.dequantize(np.float64), wanted, rtol=1e-6)
    turns = quantize(w, "bcq3@g20/pot2")
    assert made.total_bits == turns.total_bits
    errors = [np.square(q.dequantize(np.float64) - w).sum() for q in (turns, made)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("rows", [6, 24, 5])
@pytest.mark.parametrize("columns", [1, 8])
def test_planes_of_blocks_are_those_of_their_elements_in_a_row(rows, columns):
    """Scales of a column over many rows, and of blocks of both; the last blocks are short."""
    w, x = layer(3)
    scheme = f"bcq2@b{rows}x{columns}/pot2"
    q = quantize(w, scheme)
    wanted = np.zeros(w.shape)
    for i in range(0, w.shape[0], rows):
        for j in range(0, w.shape[1], columns):
            block = w[i : i + rows, j : j + columns]
            alone = quantize(block.reshape(1, -1), "bcq2@channel/pot2").dequantize(np.float64)
            wanted[i : i + rows, j : j + columns] = alone.reshape(block.shape)
    np.testing.assert_array_equal(q.dequantize(np.float64), wanted)
    blocks = -(-w.shape[0] // rows) * -(-w.shape[1] // columns)
    assert q.total_bits == 2 * w.size + 2 * 16 * blocks
    found = calibrate(w, x, "shiftadd", scheme)
    assert found.relative_error < found.rounded_error


def test_schemes_that_do_not_go_are_refused():
    w, x = layer()
    with pytest.raises(
        BitlatheError, match=r"zeroquant_fp does not go with fp4_e2m1@g16: its scal"
    ):
        calibrate(w, x, "zeroquant_fp", "fp4_e2m1@g16")
    with pytest.raises(BitlatheError, match="shiftadd does not go with int4@g16: it needs sign"):
        calibrate(w, x, "shiftadd", "int4@g16")
    with pytest.raises(BitlatheError, match="rank is -1"):
        calibrate(w, x, "zeroquant_fp", rank=-1)
