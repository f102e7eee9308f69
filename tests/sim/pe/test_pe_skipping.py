"""Term skipping on the analytic and the cycle rung, against the clock-by-clock tile array."""

import random
from dataclasses import replace

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.arch import Arch, load_arch
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.array.tile.clock import simulate_tile_array
from bitlathe.sim.array.tile.model import SCOPES, TileArray, group_clocks, tile_count_skipping
from bitlathe.sim.array.tile.skipping import pe_integers
from bitlathe.sim.array.tile.term_clocks import (
    StandInClocks,
    fold_clocks,
    sample_folds,
    skipping_array,
    stand_in_terms,
)
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.cycle.options import CycleOptions
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.workloads import Gemm
from cycle_cases import built
from naive.products_alone import alone

SIX_BITS = Scheme.parse("int6@g32/int8")
NO_MEMORY = CycleOptions(memory=False)
SKIPPING = {"pe.skip_zero_terms": True, "pe.unpriced": ["skip_zero_terms"]}
SCHEMES = ("int8@channel", "int6@g16/int8", "int4_asym@g8", "bitmod_fp4@g16/int8", "fp8_e4m3@g16")


def chip(**changes: object) -> Arch:
    """BitMoD with skipping on a small array, whose ports the SRAM tables would not hold."""
    settings = SKIPPING | {k.replace("__", "."): v for k, v in changes.items()}
    rows, columns = settings.pop("array.rows", 4), settings.pop("array.columns", 3)
    lanes = settings.pop("pe.lanes", 4)
    arch = load_arch("bitmod", settings)
    array = arch.array.model_copy(update={"rows": rows, "columns": columns})
    pe = arch.pe.model_copy(update={"lanes": lanes})
    return arch.model_copy(update={"array": array, "pe": pe})


def layer_of(arch: Arch, gemm: Gemm, weights: object = None) -> LayerBits:
    return LayerBits.of(arch, arch.formats.linear, gemm, weights)


def cases(count: int, seed: int):
    rng = random.Random(seed)
    for _ in range(count):
        scheme = rng.choice(SCHEMES)
        arch = chip(
            array__rows=rng.randint(1, 6),
            array__columns=rng.randint(1, 4),
            pe__lanes=rng.choice((1, 2, 4)),
            pe__skip_sync=rng.choice(SCOPES),
            pe__group_gap=rng.choice((0, 0, 3)),
            pe__skip_weights=rng.choice(("gaussian", "student_t")),
            formats__linear__weight=scheme,
        )
        yield rng, arch, scheme


def test_given_weights_take_the_clocks_of_the_array_clock_by_clock() -> None:
    """Issue and busy clocks always; the total where tiles have one order."""
    same = 0
    for rng, arch, scheme in cases(120, 1):
        m, n, k = rng.randint(1, 7), rng.randint(1, 14), rng.randint(1, 50)
        weights = np.random.default_rng(rng.randint(0, 999)).standard_t(3, (n, k))
        q = quantize(weights.astype(np.float32), scheme)
        gemm = Gemm(name="x", m=m, n=n, k=k)
        bits = layer_of(arch, gemm, q)
        run = run_layer_cycle(built(arch), gemm, bits, options=NO_MEMORY)
        integers, decoder = pe_integers(q)
        array = skipping_array(arch, Scheme.parse(scheme), bits.rescale_bits)
        count = tile_count_skipping(decoder.man[decoder.rows(integers)] != 0, array, m=m)
        assert run.compute_cycles == count.issue_cycles
        if count.row_folds == 1 or count.column_folds == 1:
            same += 1
            assert run.cycles == count.cycles
        if scheme.startswith("int") and "asym" not in scheme:
            name = scheme.split("@")[0]
            machine = simulate_tile_array(np.ones((m, k)), integers, array, name, "exact")
            assert run.compute_cycles == machine.issue_cycles
            if array.scope != "lane":
                energy = arch.accounting.layout_factor * arch.pe.clock_energy_pj
                assert run.energy_pj["pe"] == pytest.approx(energy * machine.busy_pe_cycles)
            assert count.cycles == machine.cycles
    assert same > 40


@pytest.mark.parametrize("sync", SCOPES)
def test_never_more_clocks_or_energy_than_without(sync: str) -> None:
    for rng, arch, _ in cases(40, 2):
        on = arch.model_copy(update={"pe": arch.pe.model_copy(update={"skip_sync": sync})})
        off = arch.model_copy(update={"pe": arch.pe.model_copy(update={"skip_zero_terms": False})})
        gemm = Gemm(name="x", m=rng.randint(1, 20), n=rng.randint(1, 20), k=rng.randint(1, 80))
        for rung in (run_layer, run_layer_cycle):
            skipped = rung(built(on), gemm, layer_of(on, gemm))
            dense = rung(built(off), gemm, layer_of(off, gemm))
            assert skipped.compute_cycles <= dense.compute_cycles
            assert skipped.energy_pj["pe"] <= dense.energy_pj["pe"]
            assert skipped.dram_bits == dense.dram_bits
            assert skipped.cycles == skipped.compute_cycles + skipped.stall_cycles


def test_the_rungs_agree_and_the_cycle_rung_is_never_below() -> None:
    for rng, arch, scheme in cases(60, 3):
        n, k = rng.randint(1, 40), rng.randint(1, 60)
        causal = rng.choice((None, "n", "k"))
        gemm = Gemm(
            name="x", m=rng.randint(1, 20), n=n, k=k, batch=rng.choice((1, 3)),
            kind="linear" if causal is None else "attention_qk", causal=causal,
        )  # fmt: skip
        small = {"weight": arch.buffers.weight, "io": arch.buffers.io}
        small = {
            key: b.model_copy(update={"size_kib": rng.choice((0.5, 1))}) for key, b in small.items()
        }
        tight = arch.model_copy(update={"buffers": arch.buffers.model_copy(update=small)})
        given = np.random.default_rng(0).standard_normal((n, k)).astype(np.float32)
        bits = layer_of(tight, gemm, rng.choice((None, given)))
        base = run_layer(built(tight), gemm, bits)
        run = run_layer_cycle(built(tight), gemm, bits)
        assert run.compute_cycles == base.compute_cycles
        assert run.cycles >= base.cycles
        ideal = CycleOptions(memory=False, pipeline=False, rescale=False)
        assert (
            run_layer_cycle(built(tight), gemm, bits, options=ideal).cycles == base.compute_cycles
        )
        unfolded = CycleOptions(fold=False)
        assert run == run_layer_cycle(built(tight), gemm, bits, options=unfolded), scheme


def test_clocks_of_many_folds_are_those_of_each_group() -> None:
    rng = np.random.default_rng(7)
    for case in range(60):
        folds, rows, k, terms = (int(v) for v in rng.integers(1, [5, 6, 40, 5]))
        array = TileArray(
            rows=rows, cols=1, lanes=int(rng.integers(1, 5)), scope=SCOPES[case % 4],
            group_size=int(rng.integers(1, 20)) if case % 3 else None, skip_zero_terms=True,
        )  # fmt: skip
        mask = rng.random((folds, rows, k, terms)) < rng.random()
        expected = group_clocks(mask.reshape(folds * rows, k, terms), array)[0]
        np.testing.assert_array_equal(fold_clocks(mask, array)[0], expected)


def test_expected_clocks_are_the_mean_of_the_sample() -> None:
    """The stand-in fed as weights, counted fold by fold, has the stand-in's expected clocks."""
    arch = chip(array__rows=8, formats__linear__weight="int6@g32/int8")
    array = skipping_array(arch, SIX_BITS, 8)
    stand_in = StandInClocks(scheme=SIX_BITS, k=128, distribution="gaussian", array=array)
    folds = sample_folds(8, 128)
    mask = stand_in_terms(SIX_BITS, 128, folds * 8, "gaussian")
    one = replace(array, rows=8, cols=1)
    total = tile_count_skipping(mask, one).issue_cycles
    assert stand_in.fold(0, 8, 128).issue == round(total / folds)
    assert stand_in.fold(0, 8, 64).issue < stand_in.fold(0, 8, 128).issue
    assert stand_in.fold(0, 1, 128).issue <= stand_in.fold(0, 8, 128).issue


def test_zero_weights_take_one_clock_a_chunk_and_no_pe_energy() -> None:
    arch = chip(formats__linear__weight="int8@channel")
    gemm = Gemm(name="x", m=3, n=4, k=40)
    run = run_layer(built(arch), gemm, layer_of(arch, gemm, np.zeros((4, 40), np.float32)))
    assert (run.compute_cycles, run.energy_pj["pe"]) == (10, 0.0)
    idle = chip(formats__linear__weight="int8@channel", accounting__idle_pes=True)
    all_pes = run_layer(built(idle), gemm, layer_of(idle, gemm, np.zeros((4, 40), np.float32)))
    energy = idle.accounting.layout_factor * idle.pe.clock_energy_pj
    assert all_pes.energy_pj["pe"] == pytest.approx(10 * 12 * energy)


def test_freer_synchronization_is_faster_and_heavy_tails_skip_more() -> None:
    cycles = {}
    for sync in SCOPES:
        for weights in ("gaussian", "student_t"):
            settings = SKIPPING | {"pe.skip_sync": sync, "pe.skip_weights": weights}
            arch = load_arch("bitmod", settings | {"formats.linear.weight": "int4@g128"})
            run = bl.simulate(arch, "opt-1.3b", "prefill", 64, fidelity="analytic")
            cycles[sync, weights] = sum(x.compute_cycles * x.count for x in run.layers)
    for weights in ("gaussian", "student_t"):
        lane, row, column, array = (cycles[sync, weights] for sync in SCOPES)
        assert lane < row <= column == array
    assert cycles["lane", "student_t"] < cycles["lane", "gaussian"]


def test_a_run_is_the_same_twice_and_takes_weights_by_layer_name() -> None:
    arch = alone("bitmod", SKIPPING | {"pe.skip_sync": "lane"})
    first, second = (bl.simulate(arch, "opt-1.3b", "decode", 64) for _ in range(2))
    assert first == second
    layer = first.layers[0]
    zeros = {layer.name: np.zeros((layer.n, layer.k), np.float32)}
    given = bl.simulate(arch, "opt-1.3b", "decode", 64, weights=zeros)
    assert given.layers[0].compute_cycles < layer.compute_cycles
    assert given.layers[1:] == first.layers[1:]
    with pytest.raises(BitlatheError, match="unknown layer 'q'"):
        bl.simulate(arch, "opt-1.3b", "decode", 64, weights={"q": zeros[layer.name]})
    with pytest.raises(BitlatheError, match=r"shape \(2, 2\), the layer's is"):
        bl.simulate(arch, "opt-1.3b", "decode", 64, weights={layer.name: np.zeros((2, 2))})
    wrong = quantize(zeros[layer.name], "int8@channel")
    with pytest.raises(BitlatheError, match="quantized as int8@channel"):
        bl.simulate(arch, "opt-1.3b", "decode", 64, weights={layer.name: wrong})


def test_skipping_off_changes_nothing() -> None:
    plain = bl.simulate("bitmod", "opt-1.3b", "decode", 64)
    off = load_arch("bitmod", {"pe.skip_zero_terms": False, "pe.skip_sync": "lane"})
    assert replace(bl.simulate(off, "opt-1.3b", "decode", 64), settings={}) == plain


def test_the_array_is_that_of_the_chip() -> None:
    arch = chip(pe__skip_sync="row", pe__group_gap=2)
    assert skipping_array(arch, Scheme.parse("int4@g64/int8"), 8) == TileArray(
        rows=4, cols=3, lanes=4, group_size=64, rescale_cycles=8, group_gap=2,
        skip_zero_terms=True, scope="row",
    )  # fmt: skip
