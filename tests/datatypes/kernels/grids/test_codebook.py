"""Single codebooks of 2 to 256 values against plain loops and numpy, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.datatypes import kernels
from bitlathe.datatypes import quantize as module
from bitlathe.datatypes.coding import dispatch as fast
from bitlathe.datatypes.coding.coders import encode_fast
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.kernels.grids.longbook import starts_of
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from naive import quantize_naive as naive


def books(fmt, rounding="even"):
    t = fmt.grid
    return (kernels.make_book(t.values, t.codes, fmt.grid.tie_up(rounding), fmt.negative_zero),)


def random_format(rng, count):
    """Values of float32, some clustered within a 65536th of each other, with or without 0."""
    values = rng.standard_normal(count) * 10.0 ** rng.integers(-6, 3, count)
    cluster = rng.random(count) < 0.3
    values[cluster] = 1 + rng.integers(0, 1 << 20, cluster.sum()) * 2.0**-23
    if rng.random() < 0.5:
        values[0] = 0
    return codebook(f"random{count}", np.unique(values.astype(np.float32)).astype(float))


def near(fmt, scale):
    """Each value, each midpoint, and the float32 beside them, times a scale."""
    v = fmt.grid.values
    points = np.concatenate([v, (v[:-1] + v[1:]) / 2]).astype(np.float32)
    points = np.concatenate([points, np.nextafter(points, np.float32(-np.inf)),
                             np.nextafter(points, np.float32(np.inf)), [0.0, -0.0]])  # fmt: skip
    return np.clip(points, -fmt.max_abs, fmt.max_abs).astype(np.float32) * np.float32(scale)


@given(st.integers(2, 256), st.integers(0, 2**32), st.sampled_from([1.0, 0.5, 2.0**-100]))
@settings(max_examples=40, deadline=None)
def test_any_book_equals_loops(count, seed, scale):
    rng = np.random.default_rng(seed)
    fmt = random_format(rng, count)
    x = near(fmt, scale)
    x = rng.permutation(x)[:90].astype(np.float32)
    group = int(rng.integers(1, 100))
    rows = np.stack([x, np.zeros_like(x), rng.permutation(x)])
    found = kernels.codebooks(rows, books(fmt), group)
    values, codes = list(fmt.grid.values), [int(c) for c in fmt.grid.codes]
    for r, row in enumerate(rows):
        wanted_codes, wanted = [], []
        for part in naive.split(row, group):
            s = naive.scale_for(max(abs(v) for v in part), fmt.max_abs, "fp32")
            c, v = naive.code_group(part, values, codes, s)
            wanted_codes += c
            wanted += v
        np.testing.assert_array_equal(found.codes[r], wanted_codes)
        assert found.values[r].tobytes() == np.array(wanted, np.float32).tobytes()


@pytest.mark.parametrize("count", [3, 64])
def test_runs_of_groups_join_where_a_row_is_longer_than_the_scratch(count):
    fmt = codebook("squares", [k * abs(k) / 4096 for k in range(-count, count + 1)])
    x = np.random.default_rng(2).standard_normal((2, 5000)).astype(np.float32)
    for group in (48, 3000, 6000):
        found = kernels.codebooks(x, books(fmt), group)
        for start in range(0, 5000, group):
            part = np.ascontiguousarray(x[:, start : start + group])
            alone = kernels.codebooks(part, books(fmt), group)
            width = slice(start, start + part.shape[1])
            np.testing.assert_array_equal(found.codes[:, width], alone.codes)
            np.testing.assert_array_equal(found.values[:, width], alone.values)


def test_starts_count_the_cuts_below_every_float_of_a_half():
    cuts = np.array([-3.0, -1.5, -1.5 + 2.0**-20, 0.0, 2.0**-140, 1.0, 1.0 + 2.0**-20], np.float32)
    starts, steps = starts_of(cuts)
    y = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    y = np.concatenate([y, cuts, np.nextafter(cuts, np.float32(9)), np.array([-0.0], np.float32)])
    at = starts[y.view(np.uint32) >> 16].astype(int)
    below = (cuts < y[:, None]).sum(axis=1)
    assert (at <= below).all()
    assert (below <= at + steps).all()
    assert steps == 2


LONG = ["fp8_e4m3@g32", "fp8_e5m2@g64/fp32", "fp8_e3m4_ieee@g50", "fp6_e3m2@channel",
        "fp8_e4m3fnuz@g128/bf16", "fp8_e4m3@g128/int8", "fp6_e2m3@g64/pot"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*underflows in")
@pytest.mark.parametrize("rounding", ["even", "away", "down"])
@pytest.mark.parametrize("text", LONG)
def test_quantize_takes_long_books_through_the_kernel(text, rounding, monkeypatch):
    scheme = Scheme.parse(text)
    fmt = scheme.formats[0]
    rng = np.random.default_rng(1)
    x = (rng.standard_t(3, (8, 300)) * 0.02).astype(np.float32)
    x[0] = 0
    x[1, :200] = near(fmt, 2.0**-6)[:200]
    x[2] = -1e-38 if scheme.scale_format.outer == "none" else -1e-9
    monkeypatch.setattr(fast, "have_numba", lambda: False)
    plain = quantize(x, text, rounding=rounding)
    monkeypatch.undo()
    used = []

    def always(job):
        used.append(encode_fast(job, min_size=1))
        return used[-1]

    monkeypatch.setattr(module, "encode_fast", always)
    quick = quantize(x, text, rounding=rounding)
    if scheme.scale != "bf16":
        assert used[0] is not None, "no kernel was used"
    np.testing.assert_array_equal(quick.matrix, plain.matrix)
    np.testing.assert_array_equal(quick.raw, plain.raw)
    assert quick.dequantize().tobytes() == plain.dequantize().tobytes()


@pytest.mark.filterwarnings("ignore:.*underflows in")
def test_scales_that_underflow_are_left_to_numpy(monkeypatch):
    x = np.full((2, 64), 1e-42, np.float32)
    plain = quantize(x, "fp8_e5m2@g64/fp32")
    monkeypatch.setattr(module, "encode_fast", lambda job: encode_fast(job, min_size=1))
    quick = quantize(x, "fp8_e5m2@g64/fp32")
    np.testing.assert_array_equal(quick.matrix, plain.matrix)
    np.testing.assert_array_equal(quick.raw, plain.raw)
    assert quick.raw.all()
