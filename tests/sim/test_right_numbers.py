"""Values that commit 3dae14a got wrong, each with the derivation of the right one."""

import math
from functools import partial

import pytest

import bitlathe as bl
from bitlathe.arch import Arch, load_arch, resolve
from bitlathe.datatypes.base.yamlfile import Document, validate
from bitlathe.mapping.keep import _Lives, layer_counts
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.bandwidth import layer_bits_per_clock, required_bits_per_clock
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.layout import layouts
from bitlathe.sim.plan import plan_of
from bitlathe.sim.policy import layer_bits
from bitlathe.sim.run import LayerRun
from bitlathe.workloads import Gemm, load_model
from bitlathe.workloads.order import execution_order, steps_of

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

HEADS, HEAD_DIM, CONTEXT = 32, 128, 2048
V_BITS = HEADS * HEAD_DIM * (8 * CONTEXT + 16)  # int8@channel: a scale for each of 128 columns


def layer_of(run: bl.Run, name: str) -> LayerRun:
    return next(layer for layer in run.layers if layer.name == name)


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("batch", [1, 8, 16, 32, 64])
def test_decode_reads_each_cache_once_whatever_the_batch(fidelity: str, batch: int) -> None:
    """A head's V takes 262,400 bytes and its probabilities 4,096: both fit 512 KiB."""
    run = simulate("bitmod", "llama-2-7b", "decode", CONTEXT, batch, fidelity)
    assert V_BITS == 67_174_400
    assert layer_of(run, "attention_av").dram_bits["weight"] == batch * V_BITS


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_prefill_decides_for_each_head(fidelity: str) -> None:
    """V of a head fits up to 2048 tokens (262,400 of 524,288 bytes): once, not 512 times."""
    run = simulate("bitmod", "llama-2-7b", "prefill", CONTEXT, 1, fidelity)
    mix = layer_of(run, "attention_av")
    assert mix.dram_bits["weight"] == V_BITS
    assert mix.dram_bits["input"] == HEADS * CONTEXT * CONTEXT * 16
    assert mix.cycles <= HEADS * 532_590  # 32 runs of one head, each from an empty chip


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_heads_cost_their_number_times_one(fidelity: str) -> None:
    run_of = {"analytic": run_layer, "cycle": run_layer_cycle}[fidelity]
    chip = resolve(load_arch("bitmod"), phase="prefill", model="")
    on = Chip.of(chip)
    runs = []
    for batch in (1, 32):
        layer = Gemm(
            name="av", m=1000, n=128, k=1000, batch=batch, kind="attention_av",
            stationary="kv_cache",
        )  # fmt: skip
        runs.append(run_of(on, layer, layer_bits(chip, layer)))
    one, many = runs
    assert many.dram_bits == {operand: 32 * bits for operand, bits in one.dram_bits.items()}
    assert many.cycles <= 32 * one.cycles


@pytest.mark.parametrize(("fidelity", "most"), [("analytic", 8.27e9), ("cycle", 8.40e9)])
def test_prefill_of_2048_tokens(fidelity: str, most: float) -> None:
    """By hand, with the head on all tokens, DRAM-bound layers by their bits at 256 a clock.

    Array-bound: q, k, v, o 16,777,216 each, gate, up 45,088,768 each, both attention products
    16,777,216 each (of INT8's 4 terms: 32 heads x 64 x 64 tiles x 32 steps, and x 64 x 4 x 512),
    lm_head 131,072,000. down_proj reads its inputs of 45,088,768 bytes 44 times (q = ceil(W / S) =
    ceil(22,994,944 / 524,288)), its weights once and stores 16,777,216 bytes: 63,239,936 clocks.
    """
    chip = load_arch("bitmod", {"vector.lanes": 0})  # products alone
    run = simulate(chip, "llama-2-7b", "prefill", CONTEXT, 1, fidelity, logits="all")
    assert run.cycles <= most
    weight = 4096 * math.ceil(11008 * (4 + 2 / 128 + 8 / 128 + 16 / 11008) / 8)
    reads = math.ceil(weight / 524_288)
    inputs, outputs = 2048 * 11008 * 2, 2048 * 4096 * 2
    down = (weight + reads * inputs + outputs) * 8 / 256
    array = 32 * (6 * 16_777_216 + 2 * 45_088_768) + 131_072_000
    if fidelity == "analytic":
        assert (weight, reads) == (22_994_944, 44)
        assert run.cycles == array + 32 * down


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_a_model_runs_at_its_own_context(fidelity: str) -> None:
    """K, V and scores alone are 64 heads x 131072^2 x 16 bits x 2 x 80 layers > 2^51 bits."""
    run = simulate("bitmod", "llama-3.1-70b", "prefill", 131_072, 1, fidelity)
    moved = sum(sum(layer.dram_bits.values()) * layer.count for layer in run.layers)
    assert moved > 2 * 64 * 131_072**2 * 16 * 80
    assert isinstance(run.cycles, int)
    assert str(run.cycles) in run.to_json()


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_one_token_each_of_four_sequences_is_decoding_without_a_cache(fidelity: str) -> None:
    """The same products; the array's other shape in decode changes clocks, not the bits."""
    a, b = (
        simulate("bitmod", "opt-125m", phase, 1, 4, fidelity) for phase in ("prefill", "decode")
    )
    weights = [sum(x.dram_bits["weight"] * x.count for x in run.layers) for run in (a, b)]
    assert weights[0] == weights[1]
    assert a.cycles == pytest.approx(b.cycles, rel=2e-3)


INT8 = {
    "title": "int8",
    "technology": {"node_nm": 28, "clock_ghz": 1.0},
    "pe": {"kind": "int_mac", "area_um2": 100.0, "energy_pj": 1.0},
    "array": {"kind": "tile", "rows": 32, "columns": 32},
    "buffers": {"weight": {"size_kib": 512}, "io": {"size_kib": 512, "port_bits": 256}},
    "dram": {"component": "bitmod_ddr4", "bits_per_clock": 256.0},
    "formats": {
        "linear": {"weight": "int8@channel", "input": "int8", "output": "int8"},
        "attention": {
            "weight": {"scheme": "int8@channel", "calibrated": True},
            "input": "int8",
            "output": "int8",
        },
    },
}


def chip_of(data: dict) -> Arch:
    return validate(Arch, Document(source="chip", data=data, marks={}))


def test_a_port_of_exactly_the_arrays_width_does_not_stall() -> None:
    """32 columns x 8 bits of code; the scales of int8@channel travel beside."""
    run = simulate(chip_of(INT8), "opt-125m", "prefill", 256)
    assert run.stalls["bandwidth"] <= run.cycles / 1000  # DRAM's own turn-around only
    narrow = {**INT8, "buffers": {**INT8["buffers"], "io": {"size_kib": 512, "port_bits": 255}}}
    half = simulate(chip_of(narrow), "opt-125m", "prefill", 256)
    assert half.cycles > 1.9 * run.cycles  # every step takes two accesses


def array_of(**changes: object) -> Arch:
    """32 x 32 INT8 ws, buffers apart, no accumulator buffer."""
    data = {
        **INT8,
        "array": {"kind": "systolic", "rows": 32, "columns": 32, "dataflow": "ws"},
        "buffers": {
            "weight": {"size_kib": 1024},
            "input": {"size_kib": 8192},
            "output": {"size_kib": 512, **changes},
        },
    }
    return chip_of(data)


@pytest.mark.parametrize("run_of", [run_layer, run_layer_cycle])
@pytest.mark.parametrize(("port", "accesses"), [("auto", 4), (32, 32)])
def test_partial_sums_go_through_the_port_of_the_results(
    run_of: object, port: object, accesses: int
) -> None:
    """4096 x 512 x 1024: 31 of 32 folds of K read 32 sums of 32 bits a step, 16 folds of N.

    31 x 16 x 4096 steps x 1024 bits: 4 accesses of the automatic port (32 results of 8 bits), 32
    of a port of 32 bits: 8,126,464 and 65,011,712, where the array alone takes 2,097,152 clocks.
    """
    arch, layer = array_of(port_bits=port), Gemm(name="x", m=4096, n=512, k=1024)
    bits = LayerBits.of(arch, arch.formats.linear, layer)
    run = run_of(Chip.of(arch), layer, bits)  # type: ignore[operator]
    assert run.sram_accesses["output_read"] == 31 * 16 * 4096 * accesses
    assert run.cycles >= run.sram_accesses["output_read"]


def test_sums_need_room() -> None:
    """M x 32 sums of 4 bytes are 512 KiB at M = 4096: a small buffer cuts M and loads anew."""
    layer = Gemm(name="x", m=4096, n=512, k=1024)
    loads, clocks = [], []
    for size in (16, 64, 512):
        arch = array_of(size_kib=size)
        bits = LayerBits.of(arch, arch.formats.linear, layer)
        run = run_layer_cycle(Chip.of(arch), layer, bits)
        loads.append(run.sram_accesses["weight_read"])
        clocks.append(run.cycles)
    # 16 x 1024 rows of weights, once for every 16 KiB / 128 B = 128 rows of M, 512, 4096
    assert loads == [16 * 1024 * passes for passes in (32, 8, 1)]
    assert clocks[0] > clocks[1] > clocks[2]


def test_a_narrow_port_takes_more_accesses_of_the_same_step() -> None:
    """bitmod's step of 32 rows x 4 lanes x 4 bits = 512 bits: one access, or eight of 64 bits."""
    runs = [
        simulate(
            load_arch("bitmod", {"buffers.weight.port_bits": port} if port else None),
            "opt-1.3b", "prefill", 256, fidelity=fidelity,
        )
        for port in (None, 64)
        for fidelity in ("analytic", "cycle")
    ]  # fmt: skip
    for wide, narrow in zip(runs[:2], runs[2:], strict=True):
        a, b = layer_of(wide, "fc1"), layer_of(narrow, "fc1")
        assert a.sram_accesses["weight_read"] == 512 * 256 * 8  # K/4 x N/32 x M/32
        assert b.sram_accesses["weight_read"] == 8 * 512 * 256 * 8
        assert b.cycles >= b.sram_accesses["weight_read"]
        assert b.energy_pj["total"] > a.energy_pj["total"]


def test_decode_reads_the_inputs_of_the_tokens_it_has() -> None:
    """One token x 4 lanes x 16 bits = 64 bits a step: one bank of the port's, not all of them."""
    chip = resolve(load_arch("bitmod"), phase="decode", model="llama-2-7b")
    on = Chip.of(chip)
    run = layer_of(simulate("bitmod", "llama-2-7b", "decode"), "q_proj")
    steps = 4096 // 4 * (4096 // 64)
    assert run.sram_accesses["io_read"] == steps
    banks, port = on.sram["io"].banks, on.sram["io"].port_bits
    one = math.ceil(64 * banks / port)
    drained = math.ceil(4096 * 16 * banks / port)
    io = (steps * one + drained) * on.sram["io"].cost.read_pj / banks
    codes = steps * math.ceil(64 * 4 * 4 * on.sram["weight"].banks / on.sram["weight"].port_bits)
    scales = (
        64
        * 32
        * math.ceil(  # 64 folds of N, 32 groups: selector, scale, share of the row's
            math.ceil(64 * (2 + 8 + 16 / 32))
            * on.sram["weight"].banks
            / on.sram["weight"].port_bits
        )
    )
    weight = (codes + scales) * on.sram["weight"].cost.read_pj / on.sram["weight"].banks
    assert run.energy_pj["sram_read"] == pytest.approx(io + weight)


def test_keys_and_values_are_written_as_they_are_read() -> None:
    """K: 128 int8 and a 16-bit scale per token and head; V: int8 with a scale per channel."""
    run = simulate("bitmod", "llama-2-7b", "prefill", 256, fidelity="analytic")
    k, v = layer_of(run, "k_proj"), layer_of(run, "v_proj")
    assert k.dram_bits["output"] == 256 * 8 * math.ceil(4096 * (8 + 16 / 128) / 8)
    assert v.dram_bits["output"] == 256 * 8 * math.ceil(4096 * (8 + 16 / 256) / 8)
    assert layer_of(run, "attention_qk").dram_bits["weight"] == k.dram_bits["output"]
    assert layer_of(run, "q_proj").dram_bits["output"] == 256 * 4096 * 16


@pytest.mark.parametrize("size_kib", [128, 256, 512])
def test_slices_of_k_keep_the_double_buffer(size_kib: int) -> None:
    """DRAM binds decode; a weight buffer of 128 KiB took 1.85 times as long as it must."""
    chip = load_arch("ant-fp16", {"buffers.weight.size_kib": size_kib})
    run = simulate(chip, "llama-2-13b", "decode", 256)
    layer = layer_of(run, "up_proj")
    assert layer.dram_cycles <= layer.cycles <= 1.01 * layer.dram_cycles
    whole = simulate(chip, "llama-2-7b", "decode", 256)
    bound = simulate(chip, "llama-2-7b", "decode", 256, fidelity="analytic")
    assert whole.cycles <= 1.01 * bound.cycles


def test_a_buffer_that_holds_no_group_twice_is_refused() -> None:
    """Half of 4 KiB against 32 outputs x 128 weights of 4 and some bits: 2,089 bytes."""
    chip = load_arch("bitmod", {"buffers.weight.size_kib": 4})
    with pytest.raises(bl.BitlatheError, match=r"buffers.weight is too small: half of it, 2048 b"):
        simulate(chip, "opt-125m", "prefill", 256)


def test_results_that_stay_need_room_beside_the_inputs_of_others() -> None:
    """What a layer needs: the larger of its inputs and the results it reads, and all others'."""
    lives = _Lives(
        input_bytes=[10, 30, 40], output_bytes=[50, 20, 5], sources=[(), (0,), (1,)],
        last_reader=[1, 2, 2], barred=set(),
    )  # fmt: skip
    assert lives.demand_bytes(1, {0}) == 50  # the results it reads are larger than its inputs
    assert lives.demand_bytes(1, {0, 1}) == 50 + 20
    assert lives.demand_bytes(2, {0, 1}) == max(40, 20)
    assert 0 not in lives.staying(49)
    assert 0 in lives.staying(70)


def test_a_shared_buffer_gives_weights_and_inputs_of_a_step_together() -> None:
    """8 rows x 8 bits and 4 columns x 8 bits are 96 bits: one access of 96, two of 64."""
    for port, accesses in (("auto", 1), (64, 2)):
        arch = chip_of({
            **INT8,
            "array": {"kind": "tile", "rows": 8, "columns": 4},
            "buffers": {"shared": {"size_kib": 512, "port_bits": port}},
        })  # fmt: skip
        layer = Gemm(name="x", m=8, n=16, k=100)
        bits = LayerBits.of(arch, arch.formats.linear, layer)
        run = run_layer(Chip.of(arch), layer, bits)
        assert arch.port_bits("shared") == (96 if port == "auto" else 64)
        assert run.sram_accesses["shared_read"] == 100 * 2 * 2 * accesses


def test_the_bandwidth_needed_is_the_most_of_a_layers_ways() -> None:
    """Inputs that stayed need not come in: of a layer's ways the one that needs most is told."""
    chip = load_arch("bitmod", {"execution.keep_outputs": True})
    chip = resolve(chip, phase="prefill", model="opt-125m")
    order = execution_order(load_model("opt-125m"), "prefill", 64)

    bits = {step.gemm: layer_bits(chip, step.gemm) for step in steps_of(order)}
    plan, on = plan_of(chip, order, bits), Chip.of(chip)
    ways: dict[str, list[float]] = {}
    for gemm, kept in layer_counts(plan):
        rate = layer_bits_per_clock(layouts(on, gemm, bits[gemm], "whole-buffer", kept))
        ways.setdefault(gemm.name, []).append(rate)
    needed, most = required_bits_per_clock(on, plan, bits)
    assert needed == {name: max(rates) for name, rates in ways.items()}
    assert most == max(needed.values())
    assert any(rates[-1] < max(rates) for rates in ways.values())


def test_the_studys_chips_count_a_prefill_batchs_weights_once() -> None:
    """T = ceil(K/d) ceil(N/R) ceil(M/C) B; W once, I and O times B (opt-1.3b fc1, 3 x 37)."""
    run = simulate("hpca25/bitmod-lossy", "opt-1.3b", "prefill", 37, 3, "analytic")
    layer = layer_of(run, "fc1")
    assert run.mapper == "hpca25-whole-buffer"
    assert layer.compute_cycles == (2048 // 4) * (8192 // 32) * 2 * 3 * 2
    assert layer.dram_bits["weight"] == 8 * 8192 * math.ceil(2048 * 4.0625 / 8)
    assert layer.dram_bits["input"] == 3 * 37 * 2048 * 16


def test_chips_and_pages_say_which_mapper() -> None:
    for name in ("bitmod", "fp16"):
        assert simulate(name, "opt-125m", "decode").mapper == "whole-buffer"
    with pytest.raises(bl.BitlatheError, match="hpca25-whole-buffer"):
        simulate("bitmod", "opt-125m", mapper="hpca25")
    pooled = simulate("bitmod", "llama-2-7b", "decode", CONTEXT, 8, mapper="hpca25-whole-buffer")
    # 8 x 32 heads' probabilities are 1 MiB: V is read twice, as 3dae14a did
    assert layer_of(pooled, "attention_av").dram_bits["weight"] == 2 * 8 * V_BITS


def test_look_up_tables_are_filled() -> None:
    """8 x 16 x 4096 in 3 planes on 16 x 8 PEs: 512 chunks of 3 clocks, and their tables.

    A table of the sums of 8 inputs is made by a tree: 4 tables of 4 entries, 2 of 16, one of 256,
    304 additions, 19 clocks of a column's 16 PEs; 8 tokens x 512 chunks have one each.
    """
    arch = chip_of({
        **INT8,
        "pe": {
            "kind": "lut", "lanes": 8, "energy_pj": 1.0, "area_um2": 100.0,
            "table_addition_pj": 0.5,
        },
        "array": {"kind": "tile", "rows": 16, "columns": 8},
        "buffers": {"weight": {"size_kib": 512}, "io": {"size_kib": 512}},
        "formats": {
            kind: {"weight": "bcq3", "input": "fp16", "output": "fp16"}
            for kind in ("linear", "attention")
        },
        "accounting": {"layout_factor": 1.0},
    })  # fmt: skip
    layer = Gemm(name="x", m=8, n=16, k=4096)
    bits, on = LayerBits.of(arch, arch.formats.linear, layer), Chip.of(arch)
    run = run_layer(on, layer, bits)
    assert run.compute_cycles == 512 * 3
    assert run.cycles == 512 * (3 + 19)
    assert run.energy_pj["pe"] == pytest.approx(128 * 512 * 3 * 1.0 + 8 * 512 * 304 * 0.5)
    assert run_layer_cycle(on, layer, bits).cycles >= run.cycles
