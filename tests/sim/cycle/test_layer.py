"""The cycle rung: equal to a plain simulation of every tile, never below the analytic rung."""

import random
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest

import bitlathe as bl
from bitlathe.arch import resolve
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.array.systolic.model import systolic
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.dram import DramPort
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.cycle.lower import groups_of, layer_program
from bitlathe.sim.cycle.options import CycleOptions
from bitlathe.sim.cycle.program import moved_bytes
from bitlathe.sim.cycle.slices import cut
from bitlathe.sim.demand import Demand
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.layout import lay_out, layouts
from bitlathe.sim.policy import layer_bits
from bitlathe.workloads import Gemm, load_model
from cycle_cases import (
    FLOWS,
    NAMES,
    bits_of,
    built,
    chip_of,
    naive_chip,
    naive_layer,
    named,
    options_of,
    plain_chip,
    random_case,
    timing_layer,
)
from naive import cycle_naive, layout_naive, ports_naive
from naive.products_alone import alone

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

OPERANDS = ("weight", "input", "output")
IDEAL = CycleOptions(memory=False, pipeline=False, rescale=False)


@pytest.mark.parametrize(
    "seed", [*range(1), *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 30))]
)
def test_folded_equals_unfolded_equals_naive(seed: int) -> None:
    """Clocks, every cause, bytes, accesses; refused by both where half a buffer holds no group."""
    rng = random.Random(seed)
    refused = 0
    for _ in range(120):
        plain, gemm = random_case(rng)
        arch, bits, chip, layer = (
            chip_of(plain),
            bits_of(plain),
            naive_chip(plain),
            naive_layer(gemm),
        )
        on = built(arch)
        options = options_of(plain)
        try:
            cycles, stalls, total, ledger = cycle_naive.run(chip, layer)
        except layout_naive.Refused:
            refused += 1
            with pytest.raises(BitlatheError, match=r"too small: .* must hold .* larger buffer"):
                run_layer_cycle(on, gemm, bits, options=options)
            continue
        folded = run_layer_cycle(on, gemm, bits, options=options)
        assert folded == run_layer_cycle(on, gemm, bits, options=options_of(plain, fold=False))
        assert (folded.cycles, folded.stalls) == (cycles, stalls), (plain, gemm)
        assert folded.dram_bits == {
            name: 8 * size for name, size in zip(OPERANDS, total.values(), strict=True)
        }
        assert folded.sram_accesses == named(ledger.sram()), (plain, gemm)
        assert folded.stall_cycles == sum(folded.stalls.values())
        assert folded.cycles == folded.compute_cycles + folded.stall_cycles
        assert min(folded.stalls.values()) >= 0
        check_masked_or_not(on, gemm, bits, chip, layer)
        base = run_layer(on, gemm, bits)
        if gemm.causal is None:  # each rung takes the mask or not, as its own clocks say
            assert folded.cycles >= base.cycles
            assert folded.dram_bits == base.dram_bits
            assert folded.sram_accesses == base.sram_accesses
            ideal = run_layer_cycle(on, gemm, bits, options=IDEAL)
            assert ideal.cycles == base.compute_cycles
            assert ideal.stall_cycles == 0
    assert refused < 20


def check_masked_or_not(on: Chip, gemm: Gemm, bits: LayerBits, chip: dict, layer: dict) -> None:
    """Traffic, accesses, port clocks and DRAM bytes of a layer, with its mask and without."""
    plain_ways = layer, cycle_naive.unmasked(layer)
    for layout, plain in zip(layouts(on, gemm, bits, "whole-buffer"), plain_ways, strict=False):
        demand, lay, g = Demand.of(layout), layout_naive.lay_out(chip, plain), layout.gemm
        traffic = demand.layout.traffic
        assert (traffic.weight_reads, traffic.input_reads) == (lay.p, lay.q), (chip, g)
        assert demand.layout.stream[0] == lay.stream
        moved = traffic.weight_moved_bytes, traffic.input_moved_bytes, traffic.output_bytes
        assert moved == lay.moved()
        use = ports_naive.port_use(lay)
        for held, mine in use.items():
            found = demand.ports[NAMES[held]]
            assert mine == {
                "reads": found.reads, "writes": found.writes, "fills": found.fills,
                "scales": found.scale_reads, "drains": found.drain_reads, "banks": found.banks,
                "words": found.words,
            }, (chip, g, held)  # fmt: skip
        assert demand.port_cycles == ports_naive.port_clocks(lay, use)
        program = layer_program(layout, CycleOptions())
        each = tuple(size * g.batch for size in lay.moved())
        assert moved_bytes(program.nodes) == each


@pytest.mark.parametrize("timing", ["physical", "scalesim"])
@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_without_memory_a_systolic_layer_takes_the_closed_form(flow: str, timing: str) -> None:
    rng = random.Random(len(flow + timing))
    for _ in range(100):
        m, n, k = (rng.randint(1, 90) for _ in range(3))
        rows, cols, registers = rng.randint(1, 9), rng.randint(1, 9), rng.random() < 0.5
        chip = plain_chip(
            flow=flow, timing=timing, rows=rows, cols=cols, weight_bytes=2**20, io_bytes=2**20,
            registers=registers,
        )  # fmt: skip
        run = run_layer_cycle(
            built(chip_of(chip)),
            timing_layer(m, n, k),
            bits_of(chip),
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
    chip = resolve(alone(arch), phase=phase, model="opt-1.3b")
    on = Chip.of(chip)
    for gemm in load_model("opt-1.3b").gemms(phase=phase, context=256, batch=1, causal=False):
        bits = layer_bits(chip, gemm)
        base = run_layer(on, gemm, bits)
        run = run_layer_cycle(on, gemm, bits)
        assert run == run_layer_cycle(on, gemm, bits, options=CycleOptions(fold=False))
        # the faster the array, the more of the rule's loads show
        most = 1.3 if arch in ("ant", "olive") else 1.1
        assert base.cycles <= run.cycles < most * base.cycles
        assert run.dram_bits == base.dram_bits
        assert sum(run.stalls.values()) == run.stall_cycles
        assert run.energy_pj["leakage"] >= base.energy_pj["leakage"]


def test_the_first_tile_waits_for_its_operands_and_the_last_results_for_dram() -> None:
    """One 4 x 4 tile of 8 steps: 32 bytes of each operand at 8 bytes a clock, latency 5."""
    chip = plain_chip(latency=5)
    run = run_layer_cycle(built(chip_of(chip)), timing_layer(4, 4, 8), bits_of(chip))
    assert run.stalls == {
        "weights": 4 + 5, "inputs": 4, "outputs": 4, "bandwidth": 0, "rescale": 0,
        "pipeline": 1 + 4,
    }  # fmt: skip
    assert run.cycles == 9 + 4 + 8 + 5 + 4


def accesses_of(chip: dict, gemm: Gemm) -> dict[str, int]:
    arch = chip_of(chip)
    return run_layer(built(arch), gemm, bits_of(chip)).sram_accesses


def test_sums_wait_only_while_other_tiles_use_the_piece() -> None:
    """Weights of 4 outputs over K = 20 take 80 bytes: 3 pieces of 7, 7, 6 fit half of 64 bytes.

    One block of tokens: its tiles go on with the same sums, 3 blocks of outputs x 20 steps read
    inputs and nothing else. Two blocks: at each of 2 ends of a piece 9 rows of 4 and 9 of 1 sums
    of 32 bits go and return, a port of 128 bits gives a row an access.
    """
    chip = plain_chip(weight_bytes=64, io_port=128)
    one, two = (accesses_of(chip, timing_layer(m, 9, 20)) for m in (1, 5))
    assert (one["io_read"], two["io_read"]) == (60, 120 + 2 * 18)
    # results leave for DRAM through the same port; 20 (then 100) bytes of inputs come in, a word
    # of 64 bits each, 3 a row; 9 results of 16 bits a row are 3 words
    assert one["io_write_words"] == 3 + 3
    assert two["io_write_words"] == 5 * 3 + 5 * 3 + 2 * 9 * 5 * 32 // 64


def test_the_ends_of_groups_and_of_k_read_what_is_left() -> None:
    """K = 6 in chunks of 4 and 2: 48 bits of inputs a step, rows of 4 x 4 and 4 x 2 weights."""
    chip = plain_chip(flow="ws", lanes=4, weight_port=32, io_port=16)
    found = accesses_of(chip, timing_layer(5, 4, 6))
    assert found["io_read"] == 5 * 3
    assert found["weight_read"] == 128 // 32 + 64 // 32


def test_scales_are_read_once_a_group_and_block() -> None:
    """Inputs of 8 + 64 / 16 bits in groups of 16 along K = 32: 64 bits beside each group's codes.

    On ws they are read for each token and fold of outputs: 2 x 6 x 2 accesses. 256 bytes of weights
    stay; half of 96 bytes holds one token's 48, so tokens pass one at a time.
    """
    chip = plain_chip(
        flow="ws", bi=Fraction(12), ci=Fraction(8), input_group=16, io_bytes=96, io_port=64,
        accumulator=64,
    )  # fmt: skip
    assert accesses_of(chip, timing_layer(6, 8, 32))["io_scale_read"] == 2 * 6 * 2


def test_a_load_that_no_register_hides_is_waited_for_once() -> None:
    """4 rows of 4 weights through a port of 16 bits: 8 clocks, not 4, and 4 tokens pass by then."""
    runs = []
    for port in (32, 16):
        chip = plain_chip(flow="ws", registers=False, weight_port=port, rate=Fraction(10**6))
        arch = chip_of(chip)
        runs.append(run_layer_cycle(built(arch), timing_layer(4, 4, 4), bits_of(chip)))
    # 16 bytes of weights also take 8 clocks, not 4, to come in
    assert runs[1].cycles - runs[0].cycles == 4 + 4
    assert runs[0].stalls["bandwidth"] == runs[1].stalls["bandwidth"]


def test_what_nobody_sees_is_not_read() -> None:
    """3 tokens see 3 of 40 keys of 20 bytes; 4 tokens from position 9 on, 3 each, see 7 to 12."""
    arch, bits = chip_of(plain_chip()), bits_of(plain_chip())
    on = built(arch)
    few = Gemm(name="qk", m=3, n=40, k=20, kind="attention_qk", causal="n")
    assert run_layer(on, few, bits).dram_bits["weight"] == 3 * 20 * 8
    slid = replace(few, m=4, window=3, visible_before=9)
    assert run_layer(on, slid, bits).dram_bits["weight"] == 6 * 20 * 8


def test_scores_that_are_read_again_are_masked_once() -> None:
    """12 tokens x 12 scores of 8 bits: 78 are seen; values of 40 outputs come in buffers of 160.

    480 bytes of values and 78 of scores; 60 bytes of io hold neither: p = 2, q = 3, and
    2 x 480 + 78 > 3 x 78 + 480. Each third of the outputs needs every score that is seen.
    """
    chip = plain_chip(weight_bytes=160, io_bytes=60)
    gemm = Gemm(name="av", m=12, n=40, k=12, kind="attention_av", causal="k")
    traffic = lay_out(built(chip_of(chip)), gemm, bits_of(chip), "whole-buffer").traffic
    assert (traffic.weight_reads, traffic.input_reads) == (1, 3)
    assert (traffic.input_bytes, traffic.input_moved_bytes) == (78, 3 * 78)


def test_a_starved_layer_runs_at_the_pace_of_dram() -> None:
    chip = plain_chip(rate=Fraction(8), burst=8)
    run = run_layer_cycle(built(chip_of(chip)), timing_layer(4, 400, 32), bits_of(chip))
    assert run.dram_cycles <= run.cycles <= run.dram_cycles + 60
    assert run.stalls["weights"] > 0.5 * run.cycles


def test_small_groups_stall_on_the_rescale_unit() -> None:
    chip = plain_chip(serial=True, terms=2, lanes=4, group=8, rescale_bits=8)
    run = run_layer_cycle(built(chip_of(chip)), timing_layer(4, 4, 64), bits_of(chip))
    assert run.stalls["rescale"] == 7 * (8 - 2 * 2)  # the last group's is beside the drain


def test_a_narrow_port_stalls_every_step_and_every_transfer() -> None:
    """64 steps of two accesses; 256 bytes of weights come in 16, not 64, bits a clock."""
    wide = plain_chip()
    narrow = plain_chip(weight_port=16)  # 4 rows of 8 bits take two accesses
    a, b = (
        run_layer_cycle(built(chip_of(c)), timing_layer(4, 4, 64), bits_of(c))
        for c in (wide, narrow)
    )
    assert b.stalls["bandwidth"] - a.stalls["bandwidth"] == 64
    assert b.stalls["weights"] - a.stalls["weights"] == 256 * 8 // 16 - 256 * 8 // 64
    assert b.cycles - a.cycles == 64 + 96


def test_more_bandwidth_and_less_latency_never_hurt() -> None:
    for flow in FLOWS:
        runs = [
            run_layer_cycle(
                built(chip_of(c)), timing_layer(64, 80, 96), bits_of(c)
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
    run = run_layer_cycle(built(chip_of(chip)), timing_layer(2**22, 2**16, 512), bits_of(chip))
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
                built(chip_of(chip)),
                Gemm(name="x", m=m, n=n, k=k, batch=3),
                bits_of(chip),
                options=CycleOptions(fold=fold),
            )
            for fold in (True, False)
        )
        assert a == b


@pytest.mark.parametrize("arch", ["bitmod", "fp16"])
def test_a_causal_mask_saves_clocks_and_scores(arch: str) -> None:
    """Of 512 x 512 FP16 scores of each of 32 heads 512 x 513 / 2 are seen, stored and read."""
    chip = alone(arch, {"dram.bits_per_clock": 4096.0})
    full, masked = (simulate(chip, "opt-1.3b", context=512, causal=c) for c in (False, True))
    base = simulate(chip, "opt-1.3b", context=512, fidelity="analytic", causal=True)
    assert base.cycles <= masked.cycles < full.cycles
    scores = {False: 32 * 16 * 512 * 512, True: 32 * 16 * 512 * 513 // 2}
    cut = {"attention_qk": "output", "attention_av": "input"}
    for a, b in zip(full.layers, masked.layers, strict=True):
        expected = dict(a.dram_bits)
        if a.name in cut:
            assert a.dram_bits[cut[a.name]] == scores[False]
            expected[cut[a.name]] = scores[True]
        assert b.dram_bits == expected


def test_convolutions_run() -> None:
    for name in ("resnet-18", "mobilenet-v2"):
        run, base = (simulate(alone("bitmod"), name, fidelity=f) for f in ("cycle", "analytic"))
        for layer, other in zip(run.layers, base.layers, strict=True):
            assert layer.cycles >= other.cycles
            assert layer.dram_bits == other.dram_bits


def test_the_default_rung_tells_causes_and_the_run_adds_them_up() -> None:
    run = simulate(alone("bitmod"), "phi-2", "decode")
    assert run.fidelity == "cycle"
    compute = sum(layer.compute_cycles * layer.count for layer in run.layers)
    assert run.cycles == compute + sum(run.stalls.values())
    assert set(run.stalls) == {"weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline"}
    assert simulate(alone("bitmod"), "phi-2", "decode", fidelity="analytic").stalls == {}


@pytest.mark.parametrize(
    ("fidelity", "without"),
    [("analytic", "bitlathe.sim.cycle"), ("cycle", "bitlathe.sim.analytic")],
)
def test_each_rung_loads_none_of_the_others_modules(fidelity: str, without: str) -> None:
    code = (
        "import sys, bitlathe as bl; "
        f"bl.simulate('bitmod', 'phi-2', fidelity={fidelity!r}, mapper='whole-buffer');"
        "print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(out.stdout.split())
    assert not {name for name in modules if name.startswith(without)}
    assert {"analytic": "bitlathe.sim.analytic", "cycle": "bitlathe.sim.cycle.layer"}[
        fidelity
    ] in modules
    assert not modules & {"numba", "torch", "networkx", "bitlathe.datatypes.kernels"}


@pytest.mark.parametrize("name", ["prefetch_transfers", "output_tiles"])
@pytest.mark.parametrize("value", [1, 0, -3, 2.5, True])
def test_options_are_checked(name: str, value: object) -> None:
    with pytest.raises(BitlatheError, match=f"{name} .*at least 2"):
        CycleOptions(**{name: value})
