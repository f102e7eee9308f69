"""The cycle rung: equal to a plain simulation of every tile, never below the analytic rung."""

import random
import subprocess
import sys
from fractions import Fraction

import pytest

import bitlathe as bl
from bitlathe.arch import load_arch, resolve
from bitlathe.datatypes.errors import BitlatheError
from bitlathe.sim.analytic import run_layer, traffic_of
from bitlathe.sim.array.systolic_model import systolic
from bitlathe.sim.cycle import run_layer_cycle
from bitlathe.sim.cycle_schedule import Scheduler, cut, groups_of, moved_bytes, program_of
from bitlathe.sim.energy import ChipCosts
from bitlathe.sim.engine import layer_bits
from bitlathe.sim.memory import CycleOptions, DramPort
from bitlathe.workloads import Gemm, load_model
from cycle_cases import (
    CHIP,
    FLOWS,
    bits_of,
    chip_of,
    naive_layer,
    naive_traffic,
    plain_chip,
    random_case,
    timing_layer,
)
from naive import cycle_naive

COSTS = ChipCosts.of(CHIP)
IDEAL = CycleOptions(memory=False, pipeline=False, rescale=False)


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(s, marks=pytest.mark.slow) for s in range(5, 30))]
)
def test_folded_equals_unfolded_equals_naive(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        chip, gemm = random_case(rng)
        arch, bits = chip_of(chip), bits_of(chip)
        traffic = traffic_of(arch, gemm, bits, "whole-buffer")
        moved = naive_traffic(traffic)
        options = CycleOptions(
            prefetch_transfers=chip["prefetch"], output_tiles=chip["output_tiles"]
        )
        folded = run_layer_cycle(arch, gemm, bits, COSTS, options=options)
        plain = CycleOptions(
            prefetch_transfers=chip["prefetch"], output_tiles=chip["output_tiles"], fold=False
        )
        assert folded == run_layer_cycle(arch, gemm, bits, COSTS, options=plain)
        cycles, stalls, total = cycle_naive.run(chip, naive_layer(gemm), moved)
        assert (folded.cycles, folded.stalls) == (cycles, stalls), (chip, gemm)
        assert [8 * x for x in total.values()] == list(folded.dram_bits.values())
        base = run_layer(arch, gemm, bits, COSTS)
        assert folded.cycles >= base.cycles
        assert folded.stall_cycles == sum(folded.stalls.values())
        assert folded.cycles == folded.compute_cycles + folded.stall_cycles
        assert min(folded.stalls.values()) >= 0
        assert folded.dram_bits == base.dram_bits
        program = program_of(Scheduler(arch, bits, options, traffic), gemm)
        assert [8 * x for x in moved_bytes(program.nodes)] == list(base.dram_bits.values())
        ideal = run_layer_cycle(arch, gemm, bits, COSTS, options=IDEAL)
        assert ideal.cycles == base.compute_cycles
        assert ideal.stall_cycles == 0


@pytest.mark.parametrize("timing", ["physical", "scalesim"])
@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_without_memory_a_systolic_layer_takes_the_closed_form(flow: str, timing: str) -> None:
    rng = random.Random(len(flow + timing))
    for _ in range(300):
        m, n, k = (rng.randint(1, 90) for _ in range(3))
        rows, cols, registers = rng.randint(1, 9), rng.randint(1, 9), rng.random() < 0.5
        chip = plain_chip(
            flow=flow, timing=timing, rows=rows, cols=cols, weight_bytes=2**20, io_bytes=2**20,
            registers=registers,
        )  # fmt: skip
        run = run_layer_cycle(
            chip_of(chip),
            timing_layer(m, n, k),
            bits_of(chip),
            COSTS,
            options=CycleOptions(memory=False),
        )
        count = systolic(
            m, n, k, rows, cols, flow, timing,
            double_buffered_operand=registers, drain_register=registers,
        )  # fmt: skip
        assert run.cycles == count.cycles


@pytest.mark.parametrize("arch", ["bitmod", "fp16", "ant", "olive", "hpca25/bitmod-lossy"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_whole_models_on_shipped_chips(arch: str, phase: str) -> None:
    chip = resolve(load_arch(arch), phase=phase, model="opt-1.3b")
    costs = ChipCosts.of(chip)
    for gemm in load_model("opt-1.3b").gemms(phase=phase, context=256, batch=1, causal=False):
        bits = layer_bits(chip, gemm)
        base = run_layer(chip, gemm, bits, costs)
        run = run_layer_cycle(chip, gemm, bits, costs)
        assert run == run_layer_cycle(chip, gemm, bits, costs, options=CycleOptions(fold=False))
        assert base.cycles <= run.cycles < 1.1 * base.cycles
        assert run.dram_bits == base.dram_bits
        assert sum(run.stalls.values()) == run.stall_cycles
        assert run.energy_pj["leakage"] >= base.energy_pj["leakage"]


def test_the_first_tile_waits_for_its_operands_and_the_last_results_for_dram() -> None:
    """One 4 x 4 tile of 8 steps: 32 bytes of each operand at 8 bytes a clock, latency 5."""
    chip = plain_chip(latency=5)
    run = run_layer_cycle(chip_of(chip), timing_layer(4, 4, 8), bits_of(chip), COSTS)
    assert run.stalls == {
        "weights": 4 + 5, "inputs": 4, "outputs": 4, "bandwidth": 0, "rescale": 0,
        "pipeline": 1 + 4,
    }  # fmt: skip
    assert run.cycles == 9 + 4 + 8 + 5 + 4


def test_a_starved_layer_runs_at_the_pace_of_dram() -> None:
    chip = plain_chip(rate=Fraction(8), burst=8)
    run = run_layer_cycle(chip_of(chip), timing_layer(4, 400, 32), bits_of(chip), COSTS)
    assert run.dram_cycles <= run.cycles <= run.dram_cycles + 60
    assert run.stalls["weights"] > 0.5 * run.cycles


def test_small_groups_stall_on_the_rescale_unit() -> None:
    chip = plain_chip(serial=True, terms=2, lanes=4, group=8, rescale_bits=8)
    run = run_layer_cycle(chip_of(chip), timing_layer(4, 4, 64), bits_of(chip), COSTS)
    assert run.stalls["rescale"] == 7 * (8 - 2 * 2)  # the last group's is beside the drain


def test_a_narrow_port_stalls_every_step() -> None:
    wide = plain_chip()
    narrow = plain_chip(port_w=16)  # 4 rows of 8 bits take two accesses
    a, b = (
        run_layer_cycle(chip_of(c), timing_layer(4, 4, 64), bits_of(c), COSTS)
        for c in (wide, narrow)
    )
    assert b.stalls["bandwidth"] - a.stalls["bandwidth"] == 64
    assert b.cycles - a.cycles == 64


def test_more_bandwidth_and_less_latency_never_hurt() -> None:
    for flow in FLOWS:
        runs = [
            run_layer_cycle(
                chip_of(c), timing_layer(64, 80, 96), bits_of(c), COSTS
            ).cycles
            for c in (
                plain_chip(flow=flow, rate=Fraction(rate), latency=latency, weight_bytes=1024)
                for rate, latency in ((8, 90), (8, 10), (16, 10), (64, 10), (64, 0), (512, 0))
            )
        ]  # fmt: skip
        assert runs == sorted(runs, reverse=True)
        assert runs[0] > runs[-1]


def test_work_done_does_not_grow_with_the_layer() -> None:
    """Time is independent of the number of clocks: 2^40 of them in a fraction of a second."""
    chip = plain_chip(rows=32, cols=32, weight_bytes=2**19, io_bytes=2**19)
    run = run_layer_cycle(chip_of(chip), timing_layer(2**22, 2**16, 512), bits_of(chip), COSTS)
    assert run.cycles > 2**37


def test_cuts_and_groups_cover_the_dimension() -> None:
    for extent in range(1, 40):
        for block in range(1, 12):
            assert sum(count * size for count, size in cut(extent, block)) == extent
            for parts in range(1, 12):
                groups = groups_of(extent, block, parts)
                assert sum(g.count * g.extent for g in groups) == extent
                assert sum(g.count * g.fetches for g in groups) == max(
                    parts, min(parts, -(-extent // block))
                )


@pytest.mark.parametrize(("size_bytes", "clocks"), [(1, 2), (64, 2), (65, 4), (128, 4), (1280, 40)])
def test_transfers_take_whole_bursts_and_clocks(size_bytes: int, clocks: int) -> None:
    port = DramPort(bits_per_clock=Fraction(256), latency_cycles=0, burst_bits=512)
    assert port.transfer_cycles(size_bytes) == clocks


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("rate", [4, 16, 19.7, 64, 300])
def test_long_loops_fold_exactly(flow: str, rate: float) -> None:
    """Thousands of tiles, starved of inputs, of weights and of room for results."""
    for m, n, k in ((60, 900, 16), (900, 60, 16), (300, 300, 5), (90, 90, 300)):
        chip = plain_chip(flow=flow, rate=Fraction(rate), latency=40, burst=64, bo=Fraction(32))
        a, b = (
            run_layer_cycle(
                chip_of(chip),
                Gemm(name="x", m=m, n=n, k=k, batch=3),
                bits_of(chip),
                COSTS,
                options=CycleOptions(fold=fold),
            )
            for fold in (True, False)
        )
        assert a == b


@pytest.mark.parametrize("arch", ["bitmod", "fp16"])
def test_a_causal_mask_saves_clocks_and_moves_the_same_bits(arch: str) -> None:
    """Where DRAM keeps up; the mapper moves what the mask hides as well."""
    chip = load_arch(arch, {"dram.bits_per_clock": 4096.0})
    full, masked = (bl.simulate(chip, "opt-1.3b", context=512, causal=c) for c in (False, True))
    base = bl.simulate(chip, "opt-1.3b", context=512, fidelity="analytic", causal=True)
    assert base.cycles <= masked.cycles < full.cycles
    for a, b in zip(full.layers, masked.layers, strict=True):
        assert a.dram_bits == b.dram_bits


def test_convolutions_run() -> None:
    for name in ("resnet-18", "mobilenet-v2"):
        run, base = (bl.simulate("bitmod", name, fidelity=f) for f in ("cycle", "analytic"))
        for layer, other in zip(run.layers, base.layers, strict=True):
            assert layer.cycles >= other.cycles
            assert layer.dram_bits == other.dram_bits


def test_the_default_rung_tells_causes_and_the_run_adds_them_up() -> None:
    run = bl.simulate("bitmod", "phi-2", "decode")
    assert run.fidelity == "cycle"
    compute = sum(layer.compute_cycles * layer.count for layer in run.layers)
    assert run.cycles == compute + sum(run.stalls.values())
    assert set(run.stalls) == {"weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline"}
    assert bl.simulate("bitmod", "phi-2", "decode", fidelity="analytic").stalls == {}


@pytest.mark.parametrize(
    ("fidelity", "loaded"), [("analytic", set()), ("cycle", {"bitlathe.sim.cycle"})]
)
def test_each_rung_loads_only_its_own_module(fidelity: str, loaded: set[str]) -> None:
    code = (
        f"import sys, bitlathe as bl; bl.simulate('bitmod', 'phi-2', fidelity={fidelity!r});"
        "print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(out.stdout.split())
    assert {m for m in modules if m == "bitlathe.sim.cycle"} == loaded
    assert not modules & {"numba", "torch", "networkx"}


@pytest.mark.parametrize("name", ["prefetch_transfers", "output_tiles"])
@pytest.mark.parametrize("value", [1, 0, -3, 2.5, True])
def test_options_are_checked(name: str, value: object) -> None:
    with pytest.raises(BitlatheError, match=f"{name} .*at least 2"):
        CycleOptions(**{name: value})
