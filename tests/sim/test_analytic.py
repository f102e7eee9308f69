"""The analytic rung against a plain rendering of the study's model, and against simple truths."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.arch import load_arch, resolve
from bitlathe.arch.components import FOLDER
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping import Capacity, Traffic, output_tiled, whole_buffer
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.chip import Chip
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.layout import lay_out
from bitlathe.sim.work import Work, layer_work
from bitlathe.workloads import Gemm
from naive import hpca25_naive

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

CASES = [
    *((c, m, p, 256, 1) for c in hpca25_naive.CHIPS for m in hpca25_naive.SHAPES
      for p in ("prefill", "decode")),
    *((c, m, p, n, b) for c in hpca25_naive.CHIPS for m in ("opt-1.3b", "yi-6b", "llama-3-8b")
      for p in ("prefill", "decode") for n, b in ((1, 1), (37, 3), (2048, 8))),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "model", "phase", "context", "batch"), CASES)
def test_equals_the_study_with_correct_attention(
    chip: str, model: str, phase: str, context: int, batch: int
) -> None:
    run = simulate(f"hpca25/{chip}", model, phase, context, batch, "analytic")
    table = FOLDER / "sram_cacti7_hp.csv"
    cycles, onchip, total = hpca25_naive.run(chip, model, phase, context, batch, table)
    assert run.cycles == cycles
    assert run.onchip_pj == pytest.approx(onchip, rel=1e-12)
    assert run.energy_pj["total"] == pytest.approx(total, rel=1e-12)


def speedup(design: str, baseline: str, steps: int) -> float:
    """Mean over the models of baseline / design clocks, ``steps`` decode steps after prefill."""

    def clocks(chip: str, model: str) -> int:
        runs = [
            simulate(f"hpca25/{chip}", model, phase, 256, fidelity="analytic").cycles
            for phase in ("prefill", "decode")
        ]
        return runs[0] + steps * runs[1]

    models = hpca25_naive.SHAPES
    return sum(clocks(baseline, m) / clocks(design, m) for m in models) / len(models)


@pytest.mark.parametrize(
    ("design", "baseline", "prefill", "generative"),
    [
        ("bitmod-lossless", "fp16", 2.078, 2.460),
        ("bitmod-lossy", "ant", 1.786, 1.668),
        ("bitmod-lossy", "olive", 1.598, 1.439),
    ],
)
def test_means_of_the_studys_artifact(
    design: str, baseline: str, prefill: float, generative: float
) -> None:
    """Correct-attention means measured on the authors' July 2025 artifact."""
    assert speedup(design, baseline, 0) == pytest.approx(prefill, abs=6e-4)
    assert speedup(design, baseline, 20) == pytest.approx(generative, abs=6e-4)


def chip(**changes: object) -> bl.Arch:
    return load_arch("bitmod", {k.replace("__", "."): v for k, v in changes.items()})


def cost(arch: bl.Arch, gemm: Gemm) -> bl.sim.LayerRun:
    bits = LayerBits.of(arch, arch.formats.linear, gemm)
    return run_layer(Chip.of(arch), gemm, bits)


def work_of(arch: bl.Arch, gemm: Gemm, bits: LayerBits) -> Work:
    return layer_work(lay_out(Chip.of(arch), gemm, bits, "whole-buffer"))


sizes = st.integers(1, 300)


@settings(max_examples=200)
@given(sizes, sizes, sizes, st.sampled_from(["os", "ws", "is"]))
def test_array_never_does_more_than_its_peak(m: int, n: int, k: int, flow: str) -> None:
    for kind in ("tile", "systolic"):
        arch = chip(array__kind=kind, array__dataflow="os" if kind == "tile" else flow)
        run = cost(arch, Gemm(name="x", m=m, n=n, k=k))
        assert 0 < run.utilization <= 1
        assert run.cycles == run.compute_cycles + run.stall_cycles
        layer = Gemm(name="x", m=m, n=n, k=k)
        work = work_of(arch, layer, LayerBits.of(arch, arch.formats.linear, layer))
        pes = arch.array.rows * arch.array.columns
        assert -(-m * n * k // 4) <= work.busy_pe_cycles / 2 <= pes * work.steps


@settings(max_examples=100)
@given(st.integers(1, 90), st.integers(1, 9), st.integers(1, 40), st.integers(0, 50))
def test_causal_steps_equal_a_count_block_by_block(
    tokens: int, group: int, head: int, before: int
) -> None:
    arch = chip(
        array__rows=8, array__columns=6, pe__lanes=2, pe__energy_pj=0.3, pe__area_um2=800.0,
        pe__component=None,
    )  # fmt: skip
    length = before + tokens
    gemm = Gemm(
        name="qk", kind="attention_qk", stationary="kv_cache", m=tokens * group, n=length, k=head,
        causal="n", rows_per_token=group, visible_before=before,
    )  # fmt: skip
    bits = LayerBits.of(arch, arch.formats.attention, gemm)
    steps = 0
    for first in range(0, tokens * group, 6):
        for column in range(0, length, 8):
            rows = range(first, min(first + 6, tokens * group))
            if any(before + r // group >= column for r in rows):
                steps += -(-head // 2)
    assert work_of(arch, gemm, bits).steps == steps
    assert steps <= work_of(arch, replace(gemm, causal=None), bits).steps


@given(st.integers(1, 10**8), st.integers(1, 10**8), st.integers(1, 10**6))
def test_refetch_takes_the_cheaper_side(weight: int, inputs: int, size: int) -> None:
    once = Traffic(weight_bytes=weight, input_bytes=inputs, output_bytes=1)
    moved = whole_buffer(once, Capacity(weight=size, input=size))
    if weight <= size or inputs <= size:
        assert (moved.weight_reads, moved.input_reads) == (1, 1)
    else:
        choices = (
            -(-inputs // size) * weight + inputs,
            -(-weight // size) * inputs + weight,
        )
        assert moved.total_bits == 8 * (min(choices) + 1)


@settings(max_examples=60)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4000))
def test_output_tiling_equals_brute_force(m: int, n: int, k: int) -> None:
    gemm = Gemm(name="x", m=m, n=n, k=k)
    once = Traffic(weight_bytes=n * k, input_bytes=m * k, output_bytes=m * n)
    size = 8 * 100  # a tile of 100 partial sums
    best = min(
        -(-m // tm) * once.weight_bytes + -(-n // tn) * once.input_bytes
        for tm in range(1, m + 1)
        for tn in range(1, n + 1)
        if tm * tn <= 100
    )
    moved = output_tiled(once, gemm, io_buffer_bytes=size)
    reads = moved.weight_reads * once.weight_bytes + moved.input_reads * once.input_bytes
    assert reads == best


def test_leakage_and_idle_pes_only_add() -> None:
    gemm = Gemm(name="x", m=1, n=4096, k=4096)
    plain = cost(chip(accounting__leakage=False), gemm).energy_pj
    leaky = cost(chip(), gemm).energy_pj
    idle = cost(chip(accounting__idle_pes=True), gemm).energy_pj
    assert plain["leakage"] == 0
    leaking = [chip().sram_cost(name).leakage_mw for name in ("weight", "io")]
    leaking += [1024 * chip().pe.cell_leakage_mw, chip().vector_leakage_mw]
    # mW x ns = pJ, at 1 GHz one clock is one ns
    assert leaky["leakage"] == pytest.approx(sum(leaking) * cost(chip(), gemm).cycles)
    assert leaky["pe"] * 32 == pytest.approx(idle["pe"])
    assert {k: v for k, v in leaky.items() if k not in {"leakage", "total"}} == {
        k: v for k, v in plain.items() if k not in {"leakage", "total"}
    }


def test_energy_and_area_add_up() -> None:
    run = simulate("bitmod", "llama-2-7b", "decode", fidelity="analytic")
    for parts in (run.energy_pj, run.area_um2, *(layer.energy_pj for layer in run.layers)):
        assert parts["total"] == pytest.approx(sum(v for k, v in parts.items() if k != "total"))
    assert run.seconds == run.cycles / 1e9
    arch = resolve(load_arch("bitmod"), phase="decode", model="llama-2-7b")
    assert run.area_um2["pe_array"] == 64 * 16 * arch.pe.cell_area_um2


def test_json_has_the_promised_keys() -> None:
    data = simulate("bitmod", "phi-2", "prefill", fidelity="analytic").to_dict()
    top = "arch model phase context batch fidelity mapper cycles seconds energy_pj area_um2 layers"
    assert set(top.split()) <= set(data)
    layer = (
        "name count m n k batch compute_cycles dram_cycles stall_cycles cycles utilization "
        "dram_bits energy_pj"
    )
    assert set(layer.split()) <= set(data["layers"][0])
    assert set(data["layers"][0]["dram_bits"]) == {"weight", "input", "output"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"phase": "decoding"}, "decode"),
        ({"context": 0}, "context"),
        ({"batch": -1}, "batch"),
        ({"fidelity": "analytical"}, "did you mean 'analytic'"),
        ({"mapper": "whole_buffer"}, "did you mean 'whole-buffer'"),
        ({"model": "lama-2-7b"}, "did you mean 'llama-2-7b'"),
        ({"batch": 2**50}, "64-bit"),
        ({"arch": "fp16", "context": 2**22}, "2\\^63"),
    ],
)
def test_bad_arguments(changes: dict[str, object], says: str) -> None:
    good = {"arch": "bitmod", "model": "llama-2-7b", "phase": "prefill", "fidelity": "analytic"}
    with pytest.raises(BitlatheError, match=says):
        simulate(**(good | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fidelity", "key", "value", "says"),
    [
        ("analytic", "dram.bits_per_clock", 1e-16, r"10\^2\d clocks.*bits_per_clock 1e-16"),
        ("cycle", "dram.bits_per_clock", 1e-16, r"10\^2\d clocks.*bits_per_clock 1e-16"),
        ("cycle", "dram.latency_cycles", 10**400, r"10\^40\d clocks.*latency_cycles 10{400}"),
    ],
    ids=["analytic", "cycle", "latency"],
)
def test_clocks_past_any_float_are_refused_with_their_cause(
    fidelity: str, key: str, value: float, says: str
) -> None:
    slow = load_arch("bitmod", {key: value})
    with pytest.raises(BitlatheError, match=f"layer 'c_attn' takes about {says}"):
        simulate(slow, "gpt2", fidelity=fidelity)


def test_utilization_of_full_tiles_is_one_and_falls_with_empty_columns() -> None:
    full = cost(chip(), Gemm(name="x", m=256, n=4096, k=4096))
    assert full.stall_cycles == 0
    assert full.utilization == 1
    one_token = cost(chip(dram__bits_per_clock=2**20), Gemm(name="x", m=1, n=4096, k=4096))
    assert one_token.utilization == 1 / 32
