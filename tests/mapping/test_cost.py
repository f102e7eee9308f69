"""Clocks and accesses of mappings: a published setting worked out by hand, laws, hand cases."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from bitlathe.arch import load_arch
from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.cost import Cost, PortLoad, cost
from bitlathe.mapping.legal import footprints, problems
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping
from bitlathe.mapping.proof.record import ProofError
from bitlathe.mapping.proof.verify import check
from bitlathe.sim import simulate
from bitlathe.sim.cycle.nest.run import run_nest
from bitlathe.sim.map_certificate import write_certificate
from bitlathe.sim.map_layer import product_on
from bitlathe.workloads import Gemm
from worked_example import BITS, KIB, LAYER, chip, nest, port


def ports_of(found: Cost) -> dict[str, PortLoad]:
    return {load.name: load for load in found.ports}


def test_worked_example_with_ports_of_their_own() -> None:
    chosen = nest()
    assert problems(LAYER, BITS, chosen, chip(shared=False)) == ()
    found = cost(LAYER, BITS, chosen, chip(shared=False))
    assert found.compute_cycles == 4_194_304
    assert found.stall_cycles == 0
    assert (found.first_load_cycles, found.last_store_cycles) == (4_104, 2_049)
    assert found.cycles == 4_200_457
    assert found.lower_bound_cycles == 4_194_304
    ports = ports_of(found)
    assert ports["weights.0"].reads == 131_072
    assert ports["dram.0"].reads == 524_288 + 524_288  # weights once, inputs 16 times
    assert ports["dram.0"].writes == 32_768
    assert ports["register.1"].writes == 16_777_216


def test_worked_example_moves_what_is_published() -> None:
    rows = {
        (row.operand, row.kind, row.parent, row.child): row
        for row in accesses(LAYER, nest(), chip(shared=False))
    }
    register = rows["weight", "fetch", "weights", "register"]
    assert (register.visits, register.child_elements) == (16_384, 16_777_216)
    assert rows["weight", "fetch", "dram", "weights"].parent_elements == 4096 * 4096
    assert rows["input", "fetch", "dram", "io"].parent_elements == 16 * 256 * 4096
    assert ("output", "readback", "dram", "io") not in rows
    assert rows["output", "readback", "io", None].visits == 4_161_536


def test_worked_example_with_one_register() -> None:
    found = cost(LAYER, BITS, nest(registers=1), chip(shared=False))
    assert found.stall_cycles == ports_of(found)["weights.0"].stall == 114_681


def test_worked_example_with_shared_ports() -> None:
    found = cost(LAYER, BITS, nest(), chip(shared=True))
    assert found.stall_cycles == 4_169_214
    assert found.cycles == 8_369_671


def test_worked_example_fills_the_sram() -> None:
    held = {
        name: {operand: part.bits for operand, part in parts.items()}
        for name, parts in footprints(LAYER, BITS, nest(), chip(shared=True)).items()
    }
    assert held["io"] == {"input": 2 * 64 * KIB, "output": 256 * KIB}
    assert held["weights"] == {"weight": 2 * 64 * KIB}
    assert held["register"] == {"weight": 16}


def test_fractions_of_bits_sum_to_the_whole() -> None:
    """4.25 bits a weight: 16,777,216 of them are 71,303,168 bits; each tile is rounded to words."""
    bits = replace(BITS, weight=Fraction(17, 4))
    found = cost(LAYER, bits, nest(), chip(shared=False))
    weights = 16_777_216 * 17 // 4 // 256
    assert ports_of(found)["dram.0"].reads == weights + 524_288


def test_a_narrow_port_multiplies_accesses() -> None:
    wide = chip(shared=False)
    narrow = replace(
        wide,
        memories=tuple(
            replace(memory, ports=(port("read", 64), port("write", 64)))
            if memory.name == "weights"
            else memory
            for memory in wide.memories
        ),
    )
    loads = [ports_of(cost(LAYER, BITS, nest(), each))["weights.0"] for each in (wide, narrow)]
    assert loads[1].reads == 16 * loads[0].reads
    assert loads[1].stall == 0  # 128 clocks in a window of 256


@pytest.mark.parametrize(
    ("doubled", "latency", "stall"),
    [
        (False, 0, Fraction(0)),
        (False, 10, 3 * Fraction(10)),  # 1 + 10 clocks in a window of 1, the last of m
        (True, 5, Fraction(0)),  # 1 + 5 clocks in a window of 6
        (True, 10, 3 * Fraction(5, 2)),  # 11 in 6: two are on their way, half of 5 each
        (True, 20, 3 * Fraction(15, 2)),
    ],
)
def test_a_latency_must_fit_its_window(doubled: bool, latency: int, stall: Fraction) -> None:
    """4 weights of 1 clock each, for 6 steps each; inputs and sums pass through ports of their own.

    The machine takes as many clocks, but for half of a visit's wait: 4 visits have 3 transitions.
    """
    word = tuple(port(way, 8) for way in ("read", "write"))
    wide = tuple(port(way, 1024) for way in ("read", "write"))
    hierarchy = Hierarchy(
        memories=(
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=wide, latency_cycles=latency),
            Memory(name="rest", holds=("input", "output"), size_bits=1 << 20, ports=wide),
            Memory(name="weights", holds=("weight",), size_bits=16, ports=word),
        ),
        axes=(Axis(name="x", size=1, dims=("n",)),),
    )
    mapping = Mapping(
        levels=(
            Level(memory="dram", keeps=OPERANDS),
            Level(memory="rest", keeps=("input", "output"), loops=(Loop("n", 1),)),
            Level(
                memory="weights",
                keeps=("weight",),
                doubled=("weight",) if doubled else (),
                loops=(Loop("m", 1),),
            ),
        )
    )
    layer = Loops.product(6, 4, 1)
    found = cost(layer, BITS, mapping, hierarchy)
    assert found.stall_cycles == ports_of(found)["dram.0"].stall == stall
    played = run_nest(layer, BITS, mapping, hierarchy)
    assert 0 <= played.cycles - found.cycles <= stall / 3
    assert played.stalls.get("dram.latency weight", 0) >= stall


def test_a_transfer_is_whole_bursts() -> None:
    """One row of 3 x 40 weights of 17/4 bits, at 64 bits a clock, bursts of 512: by hand.

    Without: ceil(510 / 64) = 8 clocks; with: one burst, 8 clocks. Two tiles of 60: 255 bits, 4
    clocks each; two bursts, 8 clocks each. Inputs, 40 bytes: 5 clocks against 8.
    """
    port = Port(direction="both", width_bits=Fraction(64), burst_bits=512)
    assert port.clocks(120, Fraction(17, 4)) == 8
    assert replace(port, burst_bits=None).clocks(120, Fraction(17, 4)) == 8
    assert [replace(port, burst_bits=b).clocks(60, Fraction(17, 4)) for b in (None, 512)] == [4, 8]
    assert [replace(port, burst_bits=b).clocks(40, Fraction(8)) for b in (None, 512)] == [5, 8]
    slow = replace(port, width_bits=Fraction(1024, 5))
    assert slow.clocks(60, Fraction(17, 4)) == 3  # a burst of 2.5 clocks: whole ones
    assert slow.clocks(240, Fraction(17, 4)) == 5  # two of them


def test_a_chip_that_gives_bursts_pays_for_them_in_both_rungs(tmp_path: Path) -> None:
    plain, bursts = (load_arch("bitmod", more) for more in ({}, {"dram.burst_bits": 1 << 20}))
    assert plain.dram.burst_bits is None
    for rung in ("analytic", "cycle"):
        before, after = (
            simulate(chip, [Gemm(name="x", m=1, n=64, k=256)], fidelity=rung)
            for chip in (plain, bursts)
        )
        burst = (1 << 20) / 256
        assert before.cycles < burst < 3 * burst <= after.cycles  # weights, inputs, results
    asked = product_on(bursts, 1, 64, 256)
    path = tmp_path / "c.json"
    write_certificate(path, asked, asked.best(), "cycles", None)
    assert check(path.read_text()).value >= 3 * burst
    path.write_text(path.read_text().replace('"burst_bits": 1048576', '"burst_bits": null'))
    with pytest.raises(ProofError):
        check(path.read_text())
