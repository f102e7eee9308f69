"""Registers of the PE and an accumulator buffer on systolic arrays: the analytic rung."""

import random

import pytest

from bitlathe.arch import Arch, load_arch
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.array.systolic.model import systolic
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.layout import lay_out
from bitlathe.sim.work import layer_work
from bitlathe.workloads import Gemm

MAC = {"kind": "int_mac", "energy_pj": 0.2, "area_um2": 400.0, "accumulator_bits": 24}
INT8 = {"weight": "int8@channel", "input": "int8@channel", "output": "int8@channel"}


OF_THE_ARRAY = ("accumulator_buffer", "timing")


def chip(flow: str, rows: int = 32, columns: int = 32, **changes: object) -> Arch:
    sums = {"buffers.accumulator": {"size_kib": 64}} if changes.get("accumulator_buffer") else {}
    arch = load_arch(
        "fp16",
        {
            "pe": MAC | {k: v for k, v in changes.items() if k not in OF_THE_ARRAY},
            "formats.linear": INT8,
            "formats.attention": INT8,
            **sums,
            "array": {
                "kind": "systolic",
                "dataflow": flow,
                "rows": 32,
                "columns": 32,
                **{k: v for k, v in changes.items() if k in OF_THE_ARRAY},
            },
        },
    )
    array = arch.array.model_copy(update={"rows": rows, "columns": columns})
    return arch.model_copy(update={"array": array})


def layer(arch: Arch, gemm: Gemm) -> LayerBits:
    return LayerBits.of(arch, arch.formats.linear, gemm)


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
@pytest.mark.parametrize("timing", ["physical", "scalesim"])
def test_exposed_clocks_and_partial_sums_are_those_of_the_systolic_model(
    flow: str, timing: str
) -> None:
    rng = random.Random(flow)
    for _ in range(60):
        m, n, k = (rng.randint(1, 70) for _ in range(3))
        rows, columns = rng.randint(1, 9), rng.randint(1, 9)
        registers, buffer = rng.random() < 0.5, rng.random() < 0.5
        arch = chip(
            flow, rows, columns, double_buffered_operand=registers, drain_register=registers,
            accumulator_buffer=buffer, timing=timing,
        )  # fmt: skip
        gemm = Gemm(name="x", m=m, n=n, k=k, batch=2)
        work = layer_work(lay_out(Chip.of(arch), gemm, layer(arch, gemm), "whole-buffer"))
        count = systolic(  # the accumulator buffer holds the same sums elsewhere
            m, n, k, rows, columns, flow, timing, double_buffered_operand=registers,
            drain_register=registers,
        )  # fmt: skip
        assert work.partial_reads == 2 * count.sram_reads["output"]
        assert work.partial_writes == 2 * (count.sram_writes["output"] - m * n)
        if timing == "physical":
            exposed = count.exposed_load_cycles + count.exposed_drain_cycles
            assert work.exposed_cycles == (0 if registers else 2 * exposed)


@pytest.mark.parametrize("flow", ["ws", "is"])
def test_partial_sums_are_counted_at_the_accumulators_width(flow: str) -> None:
    """64 x 96 x 100 on 32 x 32: four folds of K, between which 64 x 96 sums go and return 3 times.

    They go a row of 32 at a time, 3 x 64 x 96 / 32 = 576 rows of 768 bits, through the io port. It
    also gives 32 inputs a step, 4 x 3 x 64 steps (ws), or loads them, 100 rows in each of two
    folds of M (is), and takes 192 rows of 32 results and 6400 bytes of inputs.
    """
    gemm = Gemm(name="x", m=64, n=96, k=100)
    runs = []
    for buffer in (False, True):
        arch = chip(flow, accumulator_buffer=buffer)
        on = Chip.of(arch)
        runs.append((run_layer(on, gemm, layer(arch, gemm)), on.sram))
    (without, sram), (kept, own) = runs
    edge = own["accumulator"].cost  # a port of the sums' own width: one access of all its banks
    assert own["accumulator"].port_bits == 32 * 24
    port, banks = sram["io"].port_bits, sram["io"].banks
    rows, a_row = 576, -(-32 * 24 // port)
    reads = without.sram_accesses["io_read"] - kept.sram_accesses["io_read"]
    words = without.sram_accesses["io_write_words"] - kept.sram_accesses["io_write_words"]
    assert reads == rows * a_row
    assert words == rows * 32 * 24 // 64
    read_pj = without.energy_pj["sram_read"] - kept.energy_pj["sram_read"]
    of_a_bank = sram["io"].cost.read_pj / banks
    shared_pj = rows * -(-32 * 24 * banks // port) * of_a_bank
    assert read_pj == pytest.approx(shared_pj - rows * edge.read_pj)
    write_pj = without.energy_pj["sram_write"] - kept.energy_pj["sram_write"]
    shared_pj = rows * 32 * 24 / port * sram["io"].cost.write_pj
    assert write_pj == pytest.approx(shared_pj - rows * edge.write_pj)
    inputs = {"ws": 4 * 3 * 64, "is": 2 * 100}[flow] * -(-32 * 8 // port)
    given = inputs + rows * a_row
    taken = rows * a_row + 192 * -(-32 * 8 // port) + -(-6400 * 8 // port)
    taken += -(-64 * 16 // port)  # a scale for each row of results
    assert without.cycles == max(given, taken) > kept.cycles
    scalesim = chip(flow, timing="scalesim")  # sums go and never return
    plain = run_layer(Chip.of(scalesim), gemm, layer(scalesim, gemm)).sram_accesses
    assert plain["io_read"] == kept.sram_accesses["io_read"]
    assert plain["io_write_words"] == without.sram_accesses["io_write_words"]


def test_a_stationary_operand_is_read_once_a_fold() -> None:
    gemm = Gemm(name="x", m=64, n=96, k=100)
    accesses = {f: run_layer(Chip.of(chip(f)), gemm, layer(chip(f), gemm)) for f in ("os", "ws")}
    steps = 4 * 3 * 64
    assert accesses["ws"].sram_accesses["weight_read"] == 3 * 100  # rows loaded, three folds of N
    assert accesses["ws"].compute_cycles == steps
    assert accesses["os"].sram_accesses["weight_read"] == 2 * 3 * 100


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_registers_save_clocks_on_both_rungs(flow: str) -> None:
    gemm = Gemm(name="x", m=200, n=300, k=260)
    for rung in (run_layer, run_layer_cycle):
        cycles = []
        for registers in (True, False):
            arch = chip(
                flow, double_buffered_operand=registers, drain_register=registers,
                accumulator_buffer=flow != "os",
            )  # fmt: skip
            arch = arch.model_copy(
                update={"dram": arch.dram.model_copy(update={"bits_per_clock": 1e9})}
            )
            run = rung(Chip.of(arch), gemm, layer(arch, gemm))
            assert run.cycles == run.compute_cycles + run.stall_cycles
            cycles.append(run.cycles)
        assert cycles[0] < cycles[1]
