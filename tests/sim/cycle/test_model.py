"""Layers that overlap, results that stay, kinds of buffers: equal to the plain simulation."""

import csv
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import pytest

import bitlathe as bl
from bitlathe.arch import Arch
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.keep import NOTHING, Kept, Placed, PlacedRepeat, Plan, keep_outputs
from bitlathe.mapping.whole_buffer import operand_bytes
from bitlathe.reports.explore import run_sweep
from bitlathe.reports.page.report import report
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.bandwidth import layer_bits_per_clock
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.cycle.model import PlanRunner, layouts_of, run_overlapped, run_plan
from bitlathe.sim.cycle.options import CycleOptions
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.layout import layouts
from bitlathe.sim.plan import plan_of
from bitlathe.sim.policy import layer_bits
from bitlathe.workloads import Gemm, load_model
from bitlathe.workloads.order import Repeat, Step, execution_order, steps_of
from cycle_cases import (
    bits_of,
    built,
    chip_of,
    naive_chip,
    naive_layer,
    named,
    options_of,
    plain_chip,
    random_chip,
    random_layer,
    timing_layer,
)
from naive import access_naive, cycle_naive, layout_naive
from naive.products_alone import alone

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search


def chip_for(rng: random.Random) -> tuple[dict, Arch, LayerBits]:
    """A random chip, plain and as the package has it."""
    chip = random_chip(rng)
    return chip, chip_of(chip), bits_of(chip)


def random_plan(rng: random.Random, room_bytes: int) -> Plan:
    """Layers that read some of those before; some results stay, some layers repeat.

    ``room_bytes``: of the buffer that results may stay in; none do where it is 0.
    """
    nodes: list[Placed | PlacedRepeat] = []
    names: list[str] = []
    for i in range(rng.randint(2, 4)):
        body = []
        for j in range(rng.choice((1, 1, 2))):
            gemm = replace(random_layer(rng), name=f"x{i}.{j}")
            inputs = tuple(rng.sample(names, min(len(names), rng.randint(0, 2))))
            weights = tuple(rng.sample(names, min(len(names), rng.choice((0, 0, 1)))))
            kept = Kept(
                input=bool(inputs) and rng.random() < 0.4,
                output=rng.random() < 0.4,
                kept_bytes=rng.choice((0, rng.randint(0, room_bytes))),
            )
            kept = kept if room_bytes else NOTHING
            body.append(Placed(step=Step(gemm=gemm, inputs=inputs, weights=weights), kept=kept))
            names.append(gemm.name)
        count = rng.choice((1, 1, 2, 7))
        nodes += body if count == 1 else [PlacedRepeat(count=count, body=tuple(body))]
    return tuple(nodes)


def unrolled(plan: Plan) -> list[Placed]:
    found: list[Placed] = []
    for node in plan:
        if isinstance(node, Placed):
            found.append(node)
        else:
            found += unrolled(node.body) * node.count
    return found


def same(bits: LayerBits) -> Mapping[Gemm, LayerBits]:
    """All layers in the same formats."""
    return defaultdict(lambda: bits)


def walk(arch: Arch, plan: Plan, bits: LayerBits, options: CycleOptions) -> PlanRunner:
    """Run a plan on one machine."""
    laid_out = layouts_of(built(arch), plan, same(bits), "whole-buffer", options)
    return run_plan(built(arch), plan, laid_out, options)


def naive_layers(plan: Plan, chip: dict) -> list[tuple]:
    """The layers of a plan for the plain simulation, with the latest layers they read."""
    latest: dict[str, int] = {}
    layers = []
    for i, placed in enumerate(unrolled(plan)):
        step, kept = placed.step, placed.kept
        stays = "i" * kept.input + "o" * kept.output
        lay = cycle_naive.way(chip, naive_layer(step.gemm), stays, kept.kept_bytes)
        layers.append(
            (lay, [latest[name] for name in step.weights], [latest[name] for name in step.inputs])
        )
        latest[step.gemm.name] = i
    return layers


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(s, marks=pytest.mark.slow) for s in range(2, 30))]
)
def test_overlapped_layers_equal_naive(seed: int) -> None:
    rng = random.Random(1000 + seed)
    refused = 0
    for _ in range(12):
        chip, arch, bits = chip_for(rng)
        plan = random_plan(rng, chip["bytes"].get("io", 0))
        try:
            layers = naive_layers(plan, naive_chip(chip))
            ledgers = [access_naive.Ledger(lay) for lay, _, _ in layers]
            shares, moved, exposed = cycle_naive.run_layers(naive_chip(chip), layers, ledgers)
        except layout_naive.Refused:
            refused += 1
            with pytest.raises(BitlatheError, match="too small"):
                walk(arch, plan, bits, options_of(chip))
            continue
        found = walk(arch, plan, bits, options_of(chip))
        plain = walk(arch, plan, bits, options_of(chip, fold=False))
        expected: dict = {}
        for placed, (cycles, stalls) in zip(unrolled(plan), shares, strict=True):
            what = (placed.step.gemm, placed.kept), (cycles, *stalls.values())
            expected[what] = expected.get(what, 0) + 1
        for each in (found, plain):
            counted: dict = {}
            for (what, share), times in each.counts.items():
                key = what, (share.cycles, *share.stalls[:-1])
                counted[key] = counted.get(key, 0) + times
            assert {key: times for key, times in counted.items() if times} == expected, (chip, plan)
            assert each.machine.exposed == exposed
        rows = run_overlapped(built(arch), plan, same(bits), options=options_of(chip))
        dram = [sum(r.dram_bits[x] * r.count for r in rows) for x in ("weight", "input", "output")]
        assert dram == [8 * size for size in moved.values()]
        accesses: Counter[str] = Counter()
        for ledger in ledgers:
            accesses.update(named(ledger.sram()))
        found_accesses: Counter[str] = Counter()
        for row in rows:
            found_accesses.update({x: n * row.count for x, n in row.sram_accesses.items()})
        assert found_accesses == accesses, (chip, plan)
    assert refused < 9


def test_one_layer_takes_the_same_clocks_alone_and_in_order() -> None:
    rng = random.Random(5)
    same_way = 0
    for _ in range(60):
        chip, arch, bits = chip_for(rng)
        gemm = random_layer(rng)
        plan = (Placed(step=Step(gemm=gemm)),)
        on = built(arch)
        try:
            alone = run_layer_cycle(on, gemm, bits, options=options_of(chip))
        except BitlatheError:
            continue
        (row,) = run_overlapped(on, plan, same(bits), options=options_of(chip))
        same_way += row == alone
        # a mask is kept or not for the clocks of the array; alone, for those of a port too
        assert row == alone or (gemm.causal and row.cycles >= alone.cycles)
    assert same_way > 50


def test_the_next_layers_weights_come_beside_the_layer_before() -> None:
    """Two products of one 4 x 4 tile each, 8 steps, DRAM of 8 bytes a clock, by hand.

    Weights 0-4, inputs 4-8, array 8-16; the second's weights 8-12, beside it, and its inputs,
    which the first does not make, 12-16: the array goes on at 16.
    """
    arch, bits = chip_of(plain_chip()), bits_of(plain_chip())
    first, second = (replace(timing_layer(4, 4, 8), name=name) for name in "ab")
    plan = Placed(step=Step(gemm=first)), Placed(step=Step(gemm=second))
    a, b = run_overlapped(built(arch), plan, same(bits))
    alone = run_layer_cycle(built(arch), first, bits)
    assert (a.cycles, a.stalls["weights"], a.stalls["inputs"]) == (16, 4, 4)
    assert b.stalls["weights"] == b.stalls["inputs"] == b.stalls["bandwidth"] == 0
    assert b.cycles == 8 + 5 + 4  # its results leave the array, then go to DRAM
    assert a.cycles + b.cycles == 2 * alone.cycles - 8 - 9


def test_what_a_layer_stored_is_read_after_it_was_stored() -> None:
    """As above, but the second reads what the first stores: out of the array at 16 + 1 + 4."""
    arch, bits = chip_of(plain_chip()), bits_of(plain_chip())
    first, second = (replace(timing_layer(4, 4, 8), name=name) for name in "ab")
    stored = Placed(step=Step(gemm=first)), Placed(step=Step(gemm=second, inputs=("a",)))
    _, b = run_overlapped(built(arch), stored, same(bits))
    assert (b.stalls["outputs"], b.stalls["inputs"]) == (5 + 4 + 4, 4)
    kept = (
        Placed(step=Step(gemm=first), kept=Kept(output=True, kept_bytes=32)),
        Placed(step=Step(gemm=second, inputs=("a",)), kept=Kept(input=True, kept_bytes=32)),
    )
    _, c = run_overlapped(built(arch), kept, same(bits))
    assert c.stalls["pipeline"] == 5 + 5  # results of the first, then its own, leave the array
    assert c.stalls["inputs"] == 0 == c.dram_bits["input"]
    assert c.cycles == 5 + 8 + 5 + 4


SHIPPED = [  # whether any results fit the buffer
    ("bitmod", "llama-2-7b", "decode", True),
    ("fp16", "opt-1.3b", "prefill", False),
    ("bitmod", "mixtral-8x7b", "decode", True),
    ("ant", "resnet-18", "prefill", True),
    ("bitmod", "mobilenet-v2", "prefill", True),
    ("olive", "phi-2", "decode", True),
]


@pytest.mark.parametrize(("chip", "model", "phase", "fits"), SHIPPED)
@pytest.mark.parametrize("keep", [False, True])
def test_models_overlapped(chip: str, model: str, phase: str, fits: bool, keep: bool) -> None:
    """Never below the bound of the whole model, never above layers one by one; the same bits."""
    settings = {"execution.keep_outputs": keep}
    apart = simulate(alone(chip, settings), model, phase)
    arch = alone(chip, settings | {"execution.overlap_layers": True})
    run = simulate(arch, model, phase)
    base = simulate(arch, model, phase, fidelity="analytic")
    bound = max(
        sum(layer.compute_cycles * layer.count for layer in base.layers),
        sum(layer.dram_cycles * layer.count for layer in base.layers),
    )
    assert bound <= run.cycles < apart.cycles
    assert totals(run) == totals(apart) == totals(base)
    assert run.cycles == sum(
        (layer.compute_cycles + sum(layer.stalls.values())) * layer.count for layer in run.layers
    )
    assert {layer.name for layer in run.layers} >= {layer.name for layer in base.layers}
    plain = simulate(alone(chip), model, phase)
    assert (totals(run)[1] < totals(plain)[1]) == (keep and fits)
    assert totals(run)[0] == totals(plain)[0]


def totals(run: bl.Run) -> tuple[int, int, int]:
    """Multiply-accumulates, DRAM bits, words written to SRAM, of a model."""
    return (
        sum(layer.m * layer.n * layer.k * layer.batch * layer.count for layer in run.layers),
        sum(sum(layer.dram_bits.values()) * layer.count for layer in run.layers),
        sum(
            count * layer.count
            for layer in run.layers
            for name, count in layer.sram_accesses.items()
            if name.endswith("words")
        ),
    )


def test_all_layers_of_a_model_fold_exactly() -> None:
    """A whole model with each tile and each layer played; slow DRAM with latency."""
    arch = alone(
        "bitmod",
        {
            "execution": {"overlap_layers": True, "keep_outputs": True},
            "dram.latency_cycles": 90,
            "dram.bits_per_clock": 300.0,
        },
    )
    order = execution_order(load_model("opt-1.3b"), "decode", 64)
    bits = {step.gemm: layer_bits(arch, step.gemm) for step in steps_of(order)}
    plan = plan_of(arch, order, bits)
    folded, plain = (
        run_overlapped(Chip.of(arch), plan, bits, options=CycleOptions(fold=fold))
        for fold in (True, False)
    )
    assert sorted(folded, key=repr) == sorted(plain, key=repr)


# -- what stays on the chip -------------------------------------------------------------------


def random_order(rng: random.Random) -> tuple[Step | Repeat, ...]:
    nodes: list[Step | Repeat] = []
    names: list[str] = []
    for i in range(rng.randint(1, 6)):
        body = []
        for j in range(rng.randint(1, 3)):
            gemm = replace(random_layer(rng), name=f"x{i}.{j}")
            inputs = tuple(rng.sample(names, min(len(names), rng.randint(0, 2))))
            weights = tuple(rng.sample(names, 1)) if names and rng.random() < 0.1 else ()
            parts = rng.choice((1, 1, 1, 4))
            body.append(Step(gemm=gemm, inputs=inputs, weights=weights, parts=parts))
            names.append(gemm.name)
        count = rng.choice((1, 1, 2, 5))
        nodes += body if count == 1 else [Repeat(count=count, body=tuple(body))]
    return tuple(nodes)


def test_what_stays_fits_and_everyone_finds_what_it_reads() -> None:
    """Every instance played in order, with the buffer as a set of results."""
    rng = random.Random(11)
    stayed = 0
    for _ in range(400):
        bits = chip_for(rng)[2]
        size = rng.choice((40, 400, 4000))
        sizes = cache(lambda g, b=bits: operand_bytes(g, b.weight, b.input, b.output))
        played = unrolled(keep_outputs(random_order(rng), sizes, size))
        latest: dict[str, int] = {}
        reads: list[tuple[list[int], list[int]]] = []
        for i, placed in enumerate(played):
            step = placed.step
            reads.append(([latest[x] for x in step.inputs], [latest[x] for x in step.weights]))
            latest[step.gemm.name] = i
        for i, placed in enumerate(played):
            inputs, weights = reads[i]
            assert not any(played[j].kept.output for j in weights)
            if placed.kept.input:
                assert inputs
                assert all(played[j].kept.output for j in inputs)
            else:  # what it reads is in DRAM
                assert not any(played[j].kept.output for j in inputs)
            there = {
                j
                for j in range(i + 1)
                if played[j].kept.output
                and (j == i or any(j in reads[k][0] for k in range(i, len(played))))
            }
            held = sum(sizes(played[j].step.gemm).output_bytes for j in there)
            assert held <= placed.kept.kept_bytes <= size
            needed = 0 if placed.kept.input else sizes(placed.step.gemm).input_bytes
            assert not there or held + needed <= size
            stayed += len(there)
    assert stayed > 500


def test_decode_keeps_all_activations_but_keys_and_values() -> None:
    run = simulate(alone("bitmod", {"execution.keep_outputs": True}), "llama-2-7b", "decode")
    stored = {layer.name for layer in run.layers if layer.dram_bits["output"]}
    fetched = [layer.name for layer in run.layers if layer.dram_bits["input"]]
    assert stored == {"k_proj", "v_proj", "lm_head"}
    assert sorted(fetched) == ["k_proj", "q_proj", "v_proj"]  # of the first layer: the embedding
    assert {layer.count for layer in run.layers if layer.dram_bits["input"]} == {1}
    plain = simulate(alone("bitmod"), "llama-2-7b", "decode")
    gone = totals(plain)[1] - totals(run)[1]
    wide = 31 * 3 + 1 + 32 * 8  # q, k, v but the first, lm_head; of q, o, down, av, qk, gate, up
    assert gone == 16 * (4096 * wide + 11008 * 32 * 3 + 32 * 256 * 32 * 2)


def test_scores_of_all_heads_stay_together_or_not_at_all() -> None:
    """Of 32 heads 256 x 256 FP16 scores are 4 MiB, and do not stay in 512 KiB; one head's would."""
    run = simulate(alone("bitmod", {"execution.keep_outputs": True}), "opt-1.3b", context=256)
    (scores,) = [layer for layer in run.layers if layer.name == "attention_qk"]
    assert scores.dram_bits["output"] == 32 * 256 * 256 * 16


def test_a_mask_never_slows_layers_that_overlap() -> None:
    """Each runs as if it had no mask where that is faster; a mask saves scores all the same."""
    for chip in ("olive", "bitmod"):
        arch = alone(chip, {"execution.overlap_layers": True})
        full, masked = (simulate(arch, "opt-125m", context=512, causal=c) for c in (False, True))
        assert masked.cycles <= full.cycles


# -- bandwidth, background power, buffers -----------------------------------------------------


def test_required_bandwidth_is_the_least_that_suffices() -> None:
    rng = random.Random(3)
    finite = 0
    for _ in range(12):
        chip, arch, bits = chip_for(rng)
        gemm = random_layer(rng)
        needed = layer_bits_per_clock(
            layouts(built(arch), gemm, bits, "whole-buffer"), options=options_of(chip)
        )

        def waits(rate: float, arch: Arch = arch, gemm: Gemm = gemm, chip: dict = chip) -> int:
            lay = cycle_naive.way(naive_chip(chip), naive_layer(gemm))
            given = naive_chip(chip) | {"rate": Fraction(rate), "dram_alone": True}
            return cycle_naive.run_layers(given, [(lay, (), ())])[2]

        if needed == math.inf:
            assert waits(2**40) > 0
            continue
        finite += 1
        assert waits(needed) == 0
        assert needed == 1 or waits(needed - 1) > 0
    assert finite > 4


def test_required_bandwidth_of_a_stream() -> None:
    """Weights of 8 bits for 4 rows a step, all else in place: 32 bits a clock and the ends."""
    chip = plain_chip(burst=1, weight_bytes=2**20, io_bytes=2**20, bo=Fraction(1))
    gemm = timing_layer(4, 4096, 1024)
    ways = layouts(built(chip_of(chip)), gemm, bits_of(chip), "whole-buffer")
    needed = layer_bits_per_clock(ways)
    assert 32 < needed <= 64
    starved = chip_of(chip | {"rate": Fraction(24)})
    run = run_layer_cycle(built(starved), gemm, bits_of(chip))
    assert run.stalls["weights"] > 0.2 * run.cycles


def test_simulate_tells_the_bandwidth_where_asked() -> None:
    at_once = {"dram.latency_cycles": 0}
    run = simulate(alone("bitmod", at_once), "opt-1.3b", "decode", bandwidth=True)
    plain = simulate(alone("bitmod"), "opt-1.3b", "decode")
    assert run.required_bits_per_clock == max(x.required_bits_per_clock for x in run.layers)
    assert "required_bits_per_clock" not in plain.to_dict()
    assert "required_bits_per_clock" not in plain.to_dict()["layers"][0]
    wide = alone("bitmod", at_once | {"dram.bits_per_clock": float(run.required_bits_per_clock)})
    assert simulate(wide, "opt-1.3b", "decode").stalls["bandwidth"] == 0
    never = alone("bitmod", {"dram.latency_cycles": 10**6})
    late = simulate(never, "opt-1.3b", "decode", bandwidth=True)
    assert late.required_bits_per_clock == math.inf
    assert late.to_dict()["required_bits_per_clock"] is None
    with pytest.raises(BitlatheError, match="bandwidth: only fidelity 'cycle'"):
        simulate(alone("bitmod"), "opt-1.3b", fidelity="analytic", bandwidth=True)


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("overlap", [False, True])
def test_background_power_runs_with_time(fidelity: str, overlap: bool) -> None:
    settings = {"execution.overlap_layers": overlap, "technology.clock_ghz": 0.5}
    arch = alone("bitmod", settings | {"dram.background_mw": 120.0})
    run, plain = (
        simulate(a, "opt-1.3b", "decode", fidelity=fidelity)
        for a in (arch, alone("bitmod", settings | {"dram.background_mw": 0.0}))
    )
    assert run.energy_pj["dram_background"] == pytest.approx(120e-3 * run.seconds * 1e12)
    assert run.energy_pj["total"] == pytest.approx(
        plain.energy_pj["total"] + run.energy_pj["dram_background"]
    )
    assert run.onchip_pj == pytest.approx(plain.onchip_pj)
    assert "dram_background" not in plain.energy_pj


def test_single_buffers_wait_for_the_array() -> None:
    """Eight tiles of 8 steps on 32 bytes of weights each: 4 clocks a piece, all exposed."""
    gemm = timing_layer(4, 32, 8)
    double = plain_chip(weight_bytes=64, bo=Fraction(1))
    single = double | {"single": "w"}
    a, b = (run_layer_cycle(built(chip_of(c)), gemm, bits_of(c)) for c in (double, single))
    assert a.stalls["weights"] == 4
    assert b.stalls["weights"] + b.stalls["bandwidth"] >= 8 * 4
    assert b.dram_bits == a.dram_bits


def test_one_port_gives_its_clocks_to_what_comes_in() -> None:
    """A tile of 8 steps reads its weights 8 times; 32 bytes through 32 bits take 8 more."""
    gemm = timing_layer(4, 32, 8)
    two = plain_chip(weight_port=32)
    one = two | {"one_port": ("w",)}
    a, b = (run_layer_cycle(built(chip_of(c)), gemm, bits_of(c)) for c in (two, one))
    assert b.stalls["bandwidth"] - a.stalls["bandwidth"] >= 8 * 8 - 8 * 4
    slow = one | {"serial": True, "terms": 4}  # a port that is free three clocks of four
    c = run_layer_cycle(built(chip_of(slow)), gemm, bits_of(slow))
    wide = run_layer_cycle(built(chip_of(slow | {"one_port": ()})), gemm, bits_of(slow))
    assert c.cycles == wide.cycles


BUFFERS = {
    "separate": {
        "weight": {"size_kib": 512},
        "input": {"size_kib": 256},
        "output": {"size_kib": 256},
    },
    "shared": {"shared": {"size_kib": 1024, "banks": 32}},
}


@pytest.mark.parametrize("layout", BUFFERS)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_other_layouts_of_buffers_run(layout: str, phase: str) -> None:
    arch = alone("bitmod", {"buffers": BUFFERS[layout]})
    run = simulate(arch, "opt-1.3b", phase)
    base = simulate(arch, "opt-1.3b", phase, fidelity="analytic")
    names = BUFFERS[layout]
    assert set(run.area_um2) == {"total", "pe_array", *(f"{name}_buffer" for name in names)}
    for a, b in zip(run.layers, base.layers, strict=True):
        assert a.cycles >= b.cycles
        assert a.dram_bits == b.dram_bits
        assert a.sram_accesses == b.sram_accesses
        assert {name.split("_")[0] for name in a.sram_accesses} == set(names)
    plain = simulate(alone("bitmod"), "opt-1.3b", phase)
    if layout == "shared":  # half and half is one of the shares tried
        assert totals(run)[1] <= totals(plain)[1]
    assert totals(run)[2] >= totals(base)[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"buffers": {"weight": {"size_kib": 8}}}, "give weight, io, or weight, input, output, or"),
        (
            {"buffers": BUFFERS["shared"], "execution.keep_outputs": True},
            "execution.keep_outputs needs the buffers weight and io",
        ),
        ({"buffers.weight.ports": 3}, "ports"),
        ({"dram.background_mw": -1.0}, "background_mw"),
        ({"execution.overlap_layer": True}, "overlap_layers"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(BitlatheError, match=said):
        alone("bitmod", changes)


def test_sweeps_and_reports_take_overlapped_runs(tmp_path: Path) -> None:
    """More rows than layers; a component of energy and buffers that the shipped chips lack."""
    (tmp_path / "sweep.yaml").write_text(
        "arch: bitmod\nmodels: [resnet-18]\nfidelity: cycle\nphases: [prefill]\n"
        "axes: {execution.overlap_layers: [false, true], execution.keep_outputs: [false, true],"
        " dram.background_mw: [0.0, 100.0]}\n"
    )
    run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in rows:
        background = float(row["energy_pj.dram_background"] or 0)
        power_mw = float(row["dram.background_mw"])
        assert background == pytest.approx(power_mw * float(row["seconds"]) * 1e9)
    assert any(path.suffix == ".html" for path in report(tmp_path / "out"))
