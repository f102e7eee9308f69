"""Physical laws, on random chips and layers: nothing negative, nothing free, no port too fast."""

import itertools
import math
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.arch import Arch, load_arch
from bitlathe.arch.schema import LayerFormats
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.base.yamlfile import Document, validate
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.run import LayerRun
from bitlathe.workloads import Gemm

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

RUNGS = {"analytic": run_layer, "cycle": run_layer_cycle}
SHIPPED = ("bitmod", "bitmod-int6", "fp16", "ant", "olive")


def chip_of(data: dict) -> Arch:
    return validate(Arch, Document(source="chip", data=data, marks={}))


@st.composite
def chips(draw: st.DrawFn) -> Arch:
    """A chip of any kind, with prices of its own for PE and DRAM and CACTI's for SRAM."""
    flow = draw(st.sampled_from(["tile", "os", "ws", "is"]))
    serial = flow == "tile" and draw(st.booleans())
    array = {"kind": "tile" if flow == "tile" else "systolic", "rows": draw(st.integers(1, 12))}
    array |= {"columns": draw(st.integers(1, 12)), "dataflow": "os" if flow == "tile" else flow}
    accumulator = flow in ("ws", "is") and draw(st.booleans())
    lanes = draw(st.sampled_from([1, 2, 4])) if flow == "tile" else 1
    size = st.sampled_from([1, 2, 4, 16, 64])
    buffers = {
        name: {
            "size_kib": draw(size),
            "ports": draw(st.sampled_from([1, 2])),
            "double_buffered": draw(st.booleans()),
            "port_bits": draw(st.sampled_from(["auto", 64, 128])),
        }
        for name in draw(
            st.sampled_from([("weight", "io"), ("weight", "input", "output"), ("shared",)])
        )
    }
    if accumulator:
        buffers["accumulator"] = {"size_kib": draw(size)}
        array["accumulator_buffer"] = True
    kind = "bit_serial" if serial else "int_mac"
    pe = {"kind": kind, "lanes": lanes, "energy_pj": 0.3, "area_um2": 400.0}
    if serial:
        pe["activation"] = "int8"
    group = draw(st.sampled_from(["channel", "g8", "g32/fp16"]))
    if flow in ("ws", "is"):
        group = "channel"  # its columns add up several groups
    weight = f"{draw(st.sampled_from(['int8', 'int5', 'int4', 'int2']))}@{group}"
    formats = {"weight": weight, "input": "int8@tensor", "output": "int8@tensor"}
    return chip_of(
        {
            "title": "random",
            "technology": {"node_nm": 28, "clock_ghz": 0.2},
            "pe": pe,
            "array": array,
            "vector": {"lanes": draw(st.sampled_from([0, 2, 64])), "component": "fp16_lane"},
            "buffers": buffers,
            "dram": {
                "energy_pj_per_bit": 4.0,
                "bits_per_clock": draw(st.sampled_from([8.0, 64.0, 1000.0])),
                "latency_cycles": draw(st.sampled_from([0, 20])),
            },
            "formats": {"linear": formats, "attention": formats},
        }
    )


extents = st.integers(1, 90)


@st.composite
def layers(draw: st.DrawFn) -> Gemm:
    mask = draw(st.sampled_from([None, None, "n", "k"]))
    m, n, k = draw(extents), draw(extents), draw(extents)
    if mask is None:
        return Gemm(name="x", m=m, n=n, k=k, batch=draw(st.sampled_from([1, 3])))
    return Gemm(
        name="x", m=m, n=n, k=k, kind="attention_qk", causal=mask,
        window=draw(st.sampled_from([None, 5, 40])), rows_per_token=draw(st.sampled_from([1, 3])),
        batch=draw(st.sampled_from([1, 3])),
    )  # fmt: skip


def bits_of(arch: Arch, gemm: Gemm) -> LayerBits:
    return LayerBits.of(arch, arch.formats.linear, gemm, by_rows=True)


def built(arch: Arch) -> Chip:
    """The chip's prices; a buffer that CACTI's tables do not hold is no case."""
    try:
        return Chip.of(arch)
    except BitlatheError as err:
        assume("SRAM table" not in str(err))
        raise


def runs(arch: Arch, gemm: Gemm) -> dict[str, LayerRun]:
    """Both rungs; a chip too small for the layer is no case."""
    on, bits = built(arch), bits_of(arch, gemm)
    try:
        return {name: run(on, gemm, bits) for name, run in RUNGS.items()}
    except BitlatheError as err:
        assume("too small" not in str(err))
        raise


@settings(max_examples=300)
@given(chips(), layers())
def test_a_layer_obeys_the_laws(arch: Arch, gemm: Gemm) -> None:
    on, bits = built(arch), bits_of(arch, gemm)
    found = runs(arch, gemm)
    for run in found.values():
        parts = [value for part, value in run.energy_pj.items() if part != "total"]
        assert min(parts) >= 0
        assert run.energy_pj["total"] == pytest.approx(math.fsum(parts))
        assert run.cycles >= run.compute_cycles >= 1
        moved = sum(run.dram_bits.values())
        assert run.cycles >= math.ceil(moved / arch.dram_bits_per_clock)
        assert 0 < run.utilization <= 1
        # what is seen of every operand crosses once at least
        low, high = gemm.seen(0, gemm.m)
        keys = {"n": (high - low) * gemm.k, "k": gemm.n * (high - low)}
        seen = keys.get(gemm.causal or "", gemm.n * gemm.k)
        assert run.dram_bits["weight"] >= seen * bits.code_of("weight") * gemm.batch
        scores = gemm.macs // gemm.k if gemm.causal == "n" else gemm.m * gemm.n * gemm.batch
        assert run.dram_bits["output"] >= scores * bits.output
        for name in on.sram:
            ports = arch.buffers.named(name).ports
            reads = run.sram_accesses[f"{name}_read"]
            if ports == 1:
                reads += run.sram_accesses[f"{name}_scale_read"]
            assert reads <= run.cycles, (name, "a port reads its width a clock at most")
    assert found["cycle"].cycles >= found["analytic"].cycles


@settings(max_examples=200)
@given(chips(), layers())
def test_fills_results_and_sums_go_through_their_port(arch: Arch, gemm: Gemm) -> None:
    assume(gemm.causal is None)
    on, bits = built(arch), bits_of(arch, gemm)
    layout = arch.buffers.layout
    for run in runs(arch, gemm).values():
        for name, sram in on.sram.items():
            if name == "accumulator":
                continue
            filled = sum(  # scales go beside the port
                bits.codes_in_bytes(operand, run.dram_bits[operand] // 8)
                for operand in ("weight", "input")
                if layout[operand] == name
            )
            results = gemm.m * gemm.n * gemm.batch * bits.output
            written = filled + (results if layout["output"] == name else 0)
            if arch.buffers.named(name).ports == 2:
                assert run.cycles * sram.port_bits >= written
            else:
                read = run.sram_accesses[f"{name}_read"]
                assert run.cycles >= read + written // sram.port_bits


@settings(max_examples=200)
@given(chips(), extents, extents, st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_a_batch_costs_at_most_its_parts(
    arch: Arch, n: int, k: int, tokens: int, a: int, b: int
) -> None:
    """clocks(a + b) <= clocks(a) + clocks(b), DRAM bits too: stacked rows and apart products.

    Stacked rows on tile and os arrays whose ports keep up, for layers that fit the buffers in few
    pieces. Through a port that is narrower than a step, or that reads and writes share, 10 + 2
    columns may take more accesses than 6 + 6; where more rows make another operand stay, blocks
    are cut anew (docs/cycle.md, "What is left to a mapper").
    """
    wide = (arch.array.kind == "tile" or arch.array.dataflow == "os") and all(
        arch.buffers.named(name).ports == 2 and arch.buffers.named(name).port_bits == "auto"
        for name in arch.buffers.priced
    )

    def stacked(batch: int) -> Gemm:
        return Gemm(name="x", m=tokens * batch, n=n, k=k, sequences=batch)

    def apart(batch: int) -> Gemm:
        return Gemm(name="x", m=tokens, n=n, k=k, batch=batch)

    for layer in (stacked, apart) if wide else (apart,):
        first, second, both = (runs(arch, layer(batch))["analytic"] for batch in (a, b, a + b))
        assert both.cycles <= first.cycles + second.cycles
        for operand, bits in both.dram_bits.items():
            assert bits <= first.dram_bits[operand] + second.dram_bits[operand] or (
                sum(both.dram_bits.values())
                <= sum(first.dram_bits.values()) + sum(second.dram_bits.values())
            )
    one, many = runs(arch, apart(1)), runs(arch, apart(a + b))
    for rung in RUNGS:
        assert many[rung].cycles <= (a + b) * one[rung].cycles
        assert many[rung].dram_bits == {
            operand: (a + b) * bits for operand, bits in one[rung].dram_bits.items()
        }


@settings(max_examples=100)
@given(chips(), layers(), st.sampled_from([1.5, 4.0]))
def test_more_bandwidth_is_never_slower(arch: Arch, gemm: Gemm, factor: float) -> None:
    dram = arch.dram.model_copy(update={"bits_per_clock": arch.dram.bits_per_clock * factor})
    faster = arch.model_copy(update={"dram": dram})
    assert runs(faster, gemm)["analytic"].cycles <= runs(arch, gemm)["analytic"].cycles


@settings(max_examples=200)
@given(chips(), extents, extents, extents, st.sampled_from(["channel", "g8", "g32/fp16"]))
def test_fewer_bits_are_never_more_traffic_or_work(
    arch: Arch, m: int, n: int, k: int, group: str
) -> None:
    """On tile and os arrays: where K lies on the rows another operand may come to stay.

    No law of clocks: what stays is chosen by DRAM traffic, and may cost a port more.
    """
    assume(arch.array.flow.sums_stay)
    gemm = Gemm(name="x", m=m, n=n, k=k)
    moved, clocks = [], []
    for width in range(2, 9):
        weight = f"int{width}@{group}"
        formats = LayerFormats(weight=weight, input="int8@tensor", output="int8@tensor")
        bits = LayerBits.of(arch, formats, gemm, by_rows=True)
        try:
            run = run_layer(built(arch), gemm, bits)
        except BitlatheError as err:
            assume("too small" not in str(err))
            raise
        moved.append(sum(run.dram_bits.values()))
        clocks.append(run.compute_cycles)
    assert moved == sorted(moved)
    assert clocks == sorted(clocks)


@pytest.mark.parametrize("name", SHIPPED)
def test_one_area_in_all_phases_and_for_all_models(name: str) -> None:
    areas = {
        tuple(simulate(name, model, phase, fidelity="analytic").area_um2.items())
        for model, phase in itertools.product(
            ("opt-125m", "yi-6b", "llama-2-13b"), ("prefill", "decode")
        )
    }
    assert len(areas) == 1


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_shorter_context_is_never_slower(name: str, phase: str) -> None:
    chip = load_arch(name)
    clocks = [
        simulate(chip, "smollm2-135m", phase, context, fidelity="analytic").cycles
        for context in (1, 2, 16, 17, 100, 255, 256, 257, 511, 512, 513, 1000, 2048, 4096)
    ]
    assert clocks == sorted(clocks)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_a_causal_prefill_is_never_slower_and_moves_no_more(name: str, fidelity: str) -> None:
    """60 points: 5 chips, 4 models, 3 contexts; on each rung, layer by layer."""
    for model, context in itertools.product(
        ("smollm2-135m", "opt-125m", "qwen2.5-0.5b", "gemma-3-1b"), (128, 512, 2048)
    ):
        full, masked = (
            simulate(name, model, "prefill", context, fidelity=fidelity, causal=causal)
            for causal in (False, True)
        )
        for a, b in zip(full.layers, masked.layers, strict=True):
            assert b.cycles <= a.cycles, (model, context, a.name)
            assert sum(b.dram_bits.values()) <= sum(a.dram_bits.values())


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_tokens_a_second_do_not_fall_with_the_batch(fidelity: str) -> None:
    rates = []
    for batch in (1, 8, 16, 64):
        run = simulate("bitmod", "llama-2-7b", "decode", 2048, batch, fidelity)
        rates.append(Fraction(batch) / run.cycles)
    assert rates == sorted(rates)
