"""Bit-serial tile arrays: the PE's bits, the naive clocks, the closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.quantize import quantize
from bitlathe.sim.array.tile.clock import nonzero_terms, simulate_tile_array
from bitlathe.sim.array.tile.model import (
    SCOPES,
    TileArray,
    group_clocks,
    tile_count,
    tile_count_skipping,
    tile_cycles,
)
from bitlathe.sim.array.tile.skipping import pe_integers, skipping_gain
from bitlathe.sim.pe.bit_serial import bitserial_dot
from naive import tile_naive as naive

FORMATS = {"int8": (-128, 128), "int6": (-32, 32), "int4": (-8, 8), "int3": (-4, 4)}


def random_array(rng):
    """Return a small array with every option drawn at random, skipping left out."""
    return TileArray(
        rows=int(rng.integers(1, 7)),
        cols=int(rng.integers(1, 4)),
        lanes=int(rng.integers(1, 5)),
        group_size=[None, 1, 3, 4, 8][rng.integers(5)],
        rescale_cycles=[0, 1, 3, 8, 12][rng.integers(5)],
        pipeline_cycles=int(rng.integers(1, 8)),
        group_gap=int(rng.integers(0, 3)),
        drain_register=bool(rng.integers(2)),
    )


def random_operands(rng, format, m, n, k):
    """Return int8-valued FP16 activations with zeros, and weights with many zeros."""
    acts = (rng.integers(-9, 10, (m, k)) * rng.integers(0, 2, (m, k))).astype(np.float16)
    low, high = FORMATS[format]
    weights = rng.integers(low, high, (n, k)) >> rng.integers(0, 8, (n, k))
    return acts, weights


def test_closed_form_equals_the_machine_on_5000_random_cases():
    rng = np.random.default_rng(5)
    for case in range(5000):
        array = random_array(rng)
        m, n, k = (int(v) for v in rng.integers(1, [8, 18, 14]))
        format = list(FORMATS)[case % 4]
        acts, weights = random_operands(rng, format, m, n, k)
        run = simulate_tile_array(acts, weights, array, format, "exact")
        count = tile_count(m, n, k, array, nonzero_terms(weights[:1, :1], format).shape[2])
        assert run.cycles == count.cycles
        assert run.issue_cycles == count.issue_cycles
        assert run.sram_reads == count.sram_reads
        assert run.sram_writes == count.sram_writes
        assert run.waiting_pe_cycles == 0


def test_clocks_of_skipping_equal_the_machine_on_1500_random_cases():
    rng = np.random.default_rng(6)
    for case in range(1500):
        array = replace(
            random_array(rng),
            skip_zero_terms=True,
            skip_zero_activations=bool(rng.integers(2)),
            scope=SCOPES[case % 4],
        )
        m, n, k = (int(v) for v in rng.integers(1, [8, 14, 14]))
        format = list(FORMATS)[rng.integers(4)]
        acts, weights = random_operands(rng, format, m, n, k)
        run = simulate_tile_array(acts, weights, array, format, "exact")
        terms = nonzero_terms(weights, format)
        clocks = group_clocks(terms, array, acts != 0, m)
        cycles, stalls = tile_cycles(clocks, n, array)
        assert (run.cycles, run.stall_cycles) == (cycles, stalls)
        count = tile_count_skipping(terms, array, acts != 0)
        assert (run.cycles, run.issue_cycles) == (count.cycles, count.issue_cycles)
        assert run.sram_reads == count.sram_reads
        np.testing.assert_array_equal(run.outputs, acts.astype(float) @ weights.T)


@settings(max_examples=120)
@given(
    st.integers(0, 10**6),
    st.sampled_from(SCOPES),
    st.sampled_from(list(FORMATS)),
    st.booleans(),
    st.booleans(),
)
def test_machine_equals_its_naive_twin(seed, scope, format, skip, skip_zero):
    rng = np.random.default_rng(seed)
    array = replace(
        random_array(rng),
        skip_zero_terms=skip,
        skip_zero_activations=skip and skip_zero,
        scope=scope,
    )
    m, n, k = (int(v) for v in rng.integers(1, [6, 10, 12]))
    acts, weights = random_operands(rng, format, m, n, k)
    run = simulate_tile_array(acts, weights, array, format, "exact")
    mask = nonzero_terms(weights, format)
    sets = [[{t for t, on in enumerate(w) if on} for w in row] for row in mask.tolist()]
    slow = naive.tile_array(
        acts.tolist(), sets, array.rows, array.cols, array.lanes, array.group_size or k,
        array.rescale_cycles, array.pipeline_cycles, array.group_gap, array.drain_register,
        None if skip else mask.shape[2], array.skip_zero_activations, scope,
    )  # fmt: skip
    assert run.cycles == slow
    expected = [[naive.dot(a, w) for w in weights.tolist()] for a in acts.tolist()]
    np.testing.assert_array_equal(run.outputs, expected)


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
@pytest.mark.parametrize("format", ["int8", "int6", "fp4", "fp3"])
@pytest.mark.parametrize("skip", [False, True])
def test_groups_have_the_bits_of_the_pe(numerics, format, skip):
    rng = np.random.default_rng(3)
    acts = rng.standard_normal((5, 40)).astype(np.float16)
    grid = {"fp4": [0, 1, 2, 3, 4, 6, 8, 12, -10, 16], "fp3": [0, 1, 2, 4, -3, 6]}.get(
        format, list(range(*FORMATS.get(format, (0, 1))))
    )
    weights = rng.choice(grid, (7, 40))
    scales = rng.integers(0, 256, (7, 3))
    array = TileArray(rows=3, cols=2, group_size=16, skip_zero_terms=skip, scope="row")
    run = simulate_tile_array(acts, weights, array, format, numerics, scales=scales)
    for g, part in enumerate((slice(0, 16), slice(16, 32), slice(32, 40))):
        dot = bitserial_dot(
            acts[:, None, part], weights[None, :, part], format, numerics, skip_zero_terms=skip
        )
        np.testing.assert_array_equal(run.mantissa[:, :, g], dot.mantissa * scales[None, :, g])
        np.testing.assert_array_equal(run.exponent[:, :, g], dot.exponent)


def test_one_tile_takes_the_clocks_of_the_specification():
    # 128 INT8 weights on 4 lanes: 32 chunks of 4 terms; ready 5 + 1 + 8 clocks after the last
    # term; 8 rows leave in 8 clocks
    array = TileArray(rows=8, cols=8)
    assert tile_count(8, 8, 128, array, 4).cycles == 128 + 5 + 1 + 8 + 8


def test_the_rescale_unit_stalls_only_short_groups():
    acts, weights = np.ones((1, 64), np.float16), np.ones((1, 64), int)
    for size, stalls in ((8, 7 * (8 - 4)), (16, 0)):
        array = TileArray(rows=1, cols=1, group_size=size)
        run = simulate_tile_array(acts, weights, array, "int4")
        assert run.stall_cycles == stalls


def test_free_scopes_never_lose_to_bound_ones():
    rng = np.random.default_rng(8)
    weights = np.clip(np.rint(rng.standard_normal((32, 256)) * 24), -127, 127).astype(int)
    terms = nonzero_terms(weights, "int8")
    base = TileArray(rows=8, cols=4, skip_zero_terms=True)
    issue = {
        scope: int(group_clocks(terms, replace(base, scope=scope), m=4).sum()) for scope in SCOPES
    }
    dense = int(group_clocks(terms, replace(base, skip_zero_terms=False), m=4).sum())
    assert issue["lane"] < issue["row"] < issue["array"] <= dense
    assert issue["column"] == issue["array"]  # equal unless zero activations are skipped


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lanes": 17}, r"lanes is 17, must be a whole number 1\.\.16"),
        ({"rows": 0}, "rows is 0, must be a whole number of at least 1"),
        ({"scope": "rows"}, "did you mean 'row'"),
        ({"rescale_cycles": -1}, "rescale_cycles is -1, must be a whole number"),
        ({"skip_zero_activations": True}, "needs skip_zero_terms"),
        ({"group_size": 0}, "group_size is 0, must be a whole number of at least 1"),
    ],
)
def test_bad_arrays_are_told(change, words):
    with pytest.raises(BitlatheError, match=words):
        TileArray(**({"rows": 2, "cols": 2} | change))


def test_bad_operands_are_told():
    array = TileArray(rows=2, cols=2)
    good, weights = np.ones((2, 4), np.float16), np.ones((2, 4), int)
    cases = [
        ((np.ones(4), weights), {}, "activations must be a matrix"),
        ((good, np.ones((2, 5), int)), {}, "both need K columns"),
        ((good, np.ones((0, 4), int)), {}, "weights is empty"),
        ((good * np.float16(np.nan), weights), {}, "nan at index"),
        ((good, weights), {"scales": np.ones((2, 2), int)}, r"shape \(2, 1\)"),
        ((good, weights), {"scales": np.full((2, 1), 256)}, r"scales must be in 0\.\.255"),
    ]
    for operands, options, words in cases:
        with pytest.raises(BitlatheError, match=words):
            simulate_tile_array(*operands, array, **options)
    alone = replace(array, skip_zero_terms=True, scope="lane")
    with pytest.raises(BitlatheError, match="do not share a significance"):
        simulate_tile_array(good, weights, alone)
    with pytest.raises(BitlatheError, match="depend on the weights"):
        tile_count(2, 2, 4, alone, 4)


@pytest.mark.parametrize("scheme", ["int6@g16", "int4_asym@g16", "bitmod_fp4@g16", "fp3_e2m0@g16"])
def test_integers_of_a_quantized_tensor_are_its_values_over_the_scale(scheme):
    weights = np.random.default_rng(4).standard_normal((6, 40)).astype(np.float32)
    q = quantize(weights, scheme)
    integers, decoder = pe_integers(q)
    assert decoder.rows(integers).shape == (6, 40)
    values = q.dequantize().astype(np.float64)
    for row in range(6):
        for g in range(3):
            part = slice(16 * g, min(16 * g + 16, 40))
            whole = integers[row, part]
            ratio = values[row, part][whole != 0] / whole[whole != 0]
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
            assert (values[row, part][whole == 0] == 0).all()


def test_gains_are_ordered_by_how_much_waits():
    q = quantize(np.random.default_rng(4).standard_normal((40, 96)).astype(np.float32), "int6@g32")
    gain = skipping_gain(q, TileArray(rows=8, cols=8, lanes=1, group_size=32))
    assert gain.terms == 3
    assert gain.ideal >= gain.lane >= gain.row > gain.array >= 1
    assert gain.ideal == pytest.approx(1 / (1 - gain.zero_terms))
    assert (
        skipping_gain(
            quantize(np.zeros((4, 8), np.float32), "int8@channel"), TileArray(rows=4, cols=4)
        ).array
        == 4.0
    )
    with pytest.raises(BitlatheError, match="no bit-serial terms"):
        pe_integers(quantize(np.ones((4, 8), np.float32), "bcq2@channel"))
