"""Layers under mappings: what they ask of a chip, laws of whole models, sums that must agree."""

import math
from fractions import Fraction

import pytest

import bitlathe as bl
from bitlathe.arch import load_arch, resolve
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.read import mapping_of
from bitlathe.sim.chip import Chip
from bitlathe.sim.mapped import fold_cycles, nest_bits, parts_of, ways_of
from bitlathe.sim.mappers import why_no_search
from bitlathe.sim.nest_bandwidth import parts_bits_per_clock
from bitlathe.sim.policy import layer_bits
from bitlathe.workloads import Gemm

SKIPPING = {"pe.skip_zero_terms": True, "pe.component": None}


def run(chip, model, *how, mapper="search-cycles", **more):
    return bl.simulate(chip, model, *how, fidelity="analytic", mapper=mapper, **more)


@pytest.fixture(scope="module")
def bitmod():
    return Chip.of(resolve(load_arch("bitmod"), phase="prefill", model="x"))


@pytest.fixture(scope="module")
def small():
    """A chip whose buffers hold little: what is kept where matters."""
    settings = {"array.rows": 8, "array.columns": 8, "buffers.weight.size_kib": 16}
    settings |= {"vector.lanes": 0}
    return load_arch("bitmod", {**settings, "buffers.io.size_kib": 16})


def test_a_layer_moves_and_costs_what_its_mapping_says(small):
    found = run(small, "opt-125m", "prefill", 64)
    for layer in found.layers:
        (plain,) = layer.mapping
        mapping, chip = (
            mapping_of(plain["nest"]),
            Chip.of(resolve(small, phase="prefill", model="opt-125m")),
        )
        gemm = Gemm(name="x", m=layer.m, n=layer.n, k=layer.k, batch=layer.batch)
        (part,) = parts_of(chip, gemm, layer_bits(chip.arch, gemm), "search-cycles")
        moved = {"weight": 0, "input": 0, "output": 0}
        for row in accesses(part.loops, mapping, part.hierarchy):
            if row.parent == "dram":
                width = part.bits.of(row.operand, partial=row.partial)
                moved[row.operand] += row.parent_elements * width
        if layer.name in ("q_proj", "out_proj", "fc1", "fc2"):  # others: formats of their own
            assert layer.dram_bits == {op: math.ceil(bits) for op, bits in moved.items()}
        assert layer.cycles >= plain["lower_bound_cycles"]
        assert layer.energy_pj["total"] == pytest.approx(
            sum(v for k, v in layer.energy_pj.items() if k != "total")
        )


def test_clocks_and_energy_are_those_of_the_cost(bitmod):
    gemm = Gemm(name="x", m=128, n=512, k=512)
    (part,) = parts_of(bitmod, gemm, layer_bits(bitmod.arch, gemm), "search")
    from bitlathe.sim.analytic import time_of_nest
    from bitlathe.sim.mapped import mapped_run

    layer = mapped_run(bitmod, gemm, [part], time_of_nest, count=1)
    assert layer.cycles == part.best.cost.cycles
    assert layer.energy_pj["total"] == pytest.approx(part.best.cost.total_pj)


def test_a_masked_layer_is_never_slower_or_costlier_than_whole(bitmod):
    for cut, n, k in (("n", 256, 64), ("k", 64, 256)):
        for window in (None, 40):
            masked = Gemm(name="x", m=256, n=n, k=k, causal=cut, window=window,
                          kind="attention_qk" if cut == "n" else "attention_av")  # fmt: skip
            whole = Gemm(name="x", m=256, n=n, k=k, kind=masked.kind)
            for mapper, figure in (("search-cycles", "cycles"), ("search-energy", "total_pj")):
                one, other = (
                    sum(
                        getattr(part.best.cost, figure) * part.times
                        for part in parts_of(bitmod, gemm, layer_bits(bitmod.arch, gemm), mapper)
                    )
                    for gemm in (masked, whole)
                )
                assert one <= other


def test_the_blocks_of_a_mask_hold_all_that_is_seen(bitmod):
    masked = Gemm(name="x", m=300, n=300, k=64, causal="n", kind="attention_qk")
    seen = masked.macs
    counts = []
    for way in ways_of(bitmod, masked):
        counts.append(sum(m * n * k * times for (m, n, k), times in way.items()))
    assert counts[0] == 300 * 300 * 64
    assert counts == sorted(counts, reverse=True)
    assert all(count >= seen for count in counts)
    assert len(counts) > 2


@pytest.mark.parametrize("mapper", ["search-cycles", "search"])
def test_more_sequences_never_cost_tokens_a_second(mapper):
    rates = [
        batch / run("bitmod", "opt-125m", "decode", 128, batch, mapper=mapper).cycles
        for batch in (1, 2, 8)
    ]
    assert rates == sorted(rates)


def test_two_batches_never_take_longer_together(small):
    one, three, four = (run(small, "opt-125m", "prefill", 32, batch).cycles for batch in (1, 3, 4))
    assert four <= one + three


@pytest.mark.parametrize("name", ["cycles", "total"])
def test_each_search_is_least_in_what_it_seeks(small, name):
    runs = {
        mapper: run(small, "opt-125m", "prefill", 64, mapper=mapper)
        for mapper in ("search", "search-cycles", "search-energy")
    }
    figure = {
        mapper: found.cycles if name == "cycles" else found.energy_pj["total"]
        for mapper, found in runs.items()
    }
    least = "search-cycles" if name == "cycles" else "search-energy"
    assert figure[least] <= min(figure.values()) * (1 + 1e-12)
    edp = {m: found.cycles * found.energy_pj["total"] for m, found in runs.items()}
    # layer by layer, so of the whole only nearly
    assert edp["search"] <= min(edp.values()) * 1.05


def test_clocks_of_a_step_are_the_terms(bitmod):
    gemm = Gemm(name="x", m=4, n=64, k=512)
    bits = layer_bits(bitmod.arch, gemm)
    assert nest_bits(bitmod, gemm, bits).step_cycles == bits.terms


def test_groups_that_end_inside_a_chunk_take_a_chunk_of_their_own():
    arch = load_arch("bitmod", {"formats.linear.weight": "bitmod_fp4@g6/int8"})
    chip = Chip.of(resolve(arch, phase="prefill", model="x"))
    gemm = Gemm(name="x", m=4, n=64, k=18)
    bits = layer_bits(chip.arch, gemm)
    # three groups of 4 + 2 weights, each of which the scale's 8 bits hold up where it is shorter
    group = max(2 * bits.terms, bits.rescale_bits)
    assert fold_cycles(chip, 18, bits) == 2 * group + 2 * bits.terms
    assert nest_bits(chip, gemm, bits).step_cycles == Fraction(fold_cycles(chip, 18, bits), 5)


def test_dram_bandwidth_needed_is_the_least_that_spares_waits(bitmod):
    gemm = Gemm(name="x", m=64, n=512, k=1024)
    parts = parts_of(bitmod, gemm, layer_bits(bitmod.arch, gemm), "search-cycles")
    needed = parts_bits_per_clock(parts)
    from bitlathe.sim.nest_bandwidth import _waits

    assert not _waits(parts[0], needed)
    assert _waits(parts[0], needed - 1)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"execution.overlap_layers": True}, "execution.overlap_layers"),
        (
            {"execution.overlap_layers": True, "execution.keep_outputs": True},
            "execution.overlap_layers",
        ),
    ],
)
def test_what_a_mapping_does_not_describe_is_named(settings, key):
    chip = load_arch("bitmod", settings)
    assert key in why_no_search(chip)
    with pytest.raises(BitlatheError, match=rf"{key}.*use mapper 'whole-buffer'"):
        run(chip, "opt-125m", "decode", 16)
    found = bl.simulate(chip, "opt-125m", "decode", 16)
    assert found.mapper == "whole-buffer"
    assert found.to_dict()["no_search"] == why_no_search(chip)
    asked = bl.simulate(chip, "opt-125m", "decode", 16, mapper="whole-buffer")
    assert asked.no_search is None


def test_idle_pes_take_energy_in_all_clocks_of_work():
    chip = load_arch("bitmod", {"accounting.idle_pes": True})
    every_clock_pj = chip.pes * chip.pe.clock_energy_pj * chip.accounting.layout_factor
    for layer in run(chip, "opt-125m", "prefill", 16).layers:
        assert layer.energy_pj["pe"] == pytest.approx(every_clock_pj * layer.compute_cycles)


def test_the_published_study_keeps_its_mapper():
    found = bl.simulate("hpca25/bitmod-lossy", "opt-1.3b", "decode", 16)
    assert found.mapper == "hpca25-whole-buffer"
