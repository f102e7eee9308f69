"""Stochastic rounding: the element itself on average, whatever is searched before the draw."""

import numpy as np
import pytest

from bitlathe.datatypes.coding import job as coding
from bitlathe.datatypes.coding.asym import covering_scale, covering_zeros
from bitlathe.datatypes.quantize import quantize

SEEDS = 200


def gaussian(shape=(64, 128)):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def draws(x, scheme):
    """Return (seeds, ...) errors."""
    found = [
        quantize(x, scheme, rounding="stochastic", seed=seed).dequantize().astype(np.float64) - x
        for seed in range(SEEDS)
    ]
    return np.array(found)


@pytest.mark.parametrize("search", ["numpy", "compiled"])
@pytest.mark.parametrize(
    "scheme",
    ["fp4_e2m1@g128/fp32", "bitmod_fp4@g128/fp32", "bitmod_fp3@g32/fp32", "ant4@g32/fp32",
     "int4_asym@g128/fp32", "int2_asym@g32/fp32", "int3_asym@g7/fp32", "bitmod_fp4@g128/e8m0_ceil"],
)  # fmt: skip
def test_the_mean_of_many_draws_is_the_element(scheme, search, monkeypatch):
    """No element is cut off, and mean errors, in their own standard errors, show no bias."""
    monkeypatch.setattr(coding, "SEARCH_MIN", 0 if search == "compiled" else 1 << 60)
    x = gaussian((32, 128))
    q = quantize(x, scheme, rounding="stochastic", seed=0)
    low, high = ends(q)
    assert (low * (1 + 1e-6) <= x).all()
    assert (x <= high * (1 + 1e-6)).all()
    errors = draws(x, scheme)
    mean, variance = errors.mean(axis=0), errors.var(axis=0, ddof=1) / SEEDS
    assert abs(mean.sum()) < 4 * np.sqrt(variance.sum())
    assert abs((x * mean).sum()) < 4 * np.sqrt((x.astype(np.float64) ** 2 * variance).sum())


@pytest.mark.parametrize(
    "scheme",
    ["int4@g32/fp32+mse", "bitmod_fp4@g32/fp32+mse", "int4_asym@g32/fp32+mae", "nf4@g32/e4m3+mse",
     "if4@g32/ue4m3fn_search@tensor/fp32"],
)  # fmt: skip
def test_searches_cut_nothing_off_before_a_draw(scheme):
    x = gaussian((8, 64))

    def cut(rounding):
        low, high = ends(quantize(x, scheme, rounding=rounding, seed=0))
        return np.maximum(np.maximum(x - high, low - x), 0).max()

    assert cut("even") > 0.1  # what a search gives away otherwise
    assert cut("stochastic") < 1e-6


@pytest.mark.parametrize(
    "scheme",
    ["uint4@g32/fp16~uint4", "uint4@g32/uint6@g64/fp16~uint4", "if4@g16/fp16~int6", "q4_k", "q2_k",
     "fp4_e2m1@g16/ue4m3fn@tensor/fp32~int6", "uint4@g32/fp16-fp8_e4m3"],
)  # fmt: skip
def test_nested_zero_points_and_minima_cut_nothing_off_before_a_draw(scheme):
    x = gaussian((8, 128)) + np.float32(0.7)
    even, drawn = quantize(x, scheme), quantize(x, scheme, rounding="stochastic", seed=0)

    def cut(q):
        low, high = ends(q)
        return np.maximum(np.maximum(x - high, low - x), 0).max()

    assert cut(even) > 0.01
    assert cut(drawn) < 1e-5
    # a group is widened by what its steps take, not more
    assert np.median(drawn.scales / even.scales) < 1.2
    assert (drawn.scales < 2.1 * even.scales).all()


def ends(q):
    """Return the least and the largest value that each element's group has codes for."""
    members = np.zeros(q.scales.shape, int) if q.choices is None else q.choices
    low = np.array([f.min for f in q.scheme.formats])[members]
    high = np.array([f.max for f in q.scheme.formats])[members]
    stored = q.offsets if q.zeros is None else q.zeros
    shift = 0.0 if stored is None else stored.astype(float)
    size, scale = q.layout.block_columns, q.scales.astype(float)
    minimum = q.scheme.offset is not None and q.scheme.offset.kind == "minimum"
    both = (end * scale - shift * (1 if minimum else scale) for end in (low, high))
    return (np.repeat(end, size, axis=1)[:, : q.shape[1]] for end in both)


@pytest.mark.parametrize(
    "scheme",
    ["bitmod_fp4@g32", "ant4@g32+mse", "int4@g32+mse", "int4@g32+mae", "int4_asym@g32+mse",
     "bitmod_fp3@g32/int8", "nvfp4+mse", "dgq4@g32"],
)  # fmt: skip
def test_nothing_drawn_decides_member_range_or_zero_point(scheme):
    x = gaussian((8, 96))
    first = quantize(x, scheme, rounding="stochastic", seed=0)
    for seed in range(1, 5):
        other = quantize(x, scheme, rounding="stochastic", seed=seed)
        assert (other.codes != first.codes).any()
        for field in ("raw", "outer", "zero_points", "selectors"):
            np.testing.assert_array_equal(getattr(first, field), getattr(other, field))


def test_a_member_that_cuts_an_end_off_is_passed_over():
    """+8 once and -6 at most: EA+ covers both ends; mirrored, EA- does, and EA+ would cut to -6."""
    x = np.array([[8.0, -6, 5, 3, 0, 1, -2, 4]], np.float32)
    assert quantize(x, "bitmod_fp4_ea@g8", rounding="stochastic", seed=0).choices.tolist() == [[0]]
    assert quantize(-x, "bitmod_fp4_ea@g8", rounding="stochastic", seed=0).choices.tolist() == [[1]]
    both = np.array([[8.0, -8, 5, 3, 0, 1, -2, 4]], np.float32)
    # neither of two one-sided members does: the one of least error is left
    q = quantize(both, "bitmod_fp4_ea@g8", rounding="stochastic", seed=0)
    assert q.choices.tolist() == quantize(both, "bitmod_fp4_ea@g8").choices.tolist()


@pytest.mark.parametrize("top", [3, 15, 255])
def test_the_covering_scale_is_the_least_with_a_whole_zero_point(top):
    """Brute force over all zero points: max(-low / z, high / (top - z)) at least."""
    rng = np.random.default_rng(top)
    low, high = -rng.exponential(size=200), rng.exponential(size=200)
    low[:20], high[20:40] = 0, 0
    every = np.arange(top + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.where(low[:, None] < 0, -low[:, None] / every, 0)
        up = np.where(high[:, None] > 0, high[:, None] / (top - every), 0)
    scale = covering_scale(low, high, top)
    np.testing.assert_allclose(scale, np.maximum(down, up).min(axis=1), rtol=1e-15)
    zero = covering_zeros(scale, low, high, top)
    assert ((zero >= 0) & (zero <= top)).all()
    assert (-low / scale <= zero * (1 + 1e-12)).all()
    assert (high / scale <= (top - zero) * (1 + 1e-12)).all()
