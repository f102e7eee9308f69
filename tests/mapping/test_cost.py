"""Clocks and accesses of mappings: a published setting worked out by hand, laws, hand cases."""

from dataclasses import replace
from fractions import Fraction

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.cost import Cost, PortLoad, cost
from bitlathe.mapping.legal import footprints, problems
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from bitlathe.mapping.operands import OperandBits

LAYER = Loops.product(256, 4096, 4096)
BITS = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8), partial=32)
KIB = 8 * 1024


def port(direction: str, width: int, *operands: str) -> Port:
    return Port(
        direction=direction,  # type: ignore[arg-type]
        width_bits=Fraction(width),
        operands=operands or OPERANDS,
    )


def chip(*, shared: bool) -> Hierarchy:
    """32x32 INT8 MACs, 512 KiB for weights, 512 KiB for inputs and outputs, 256 bits a clock."""
    sides = [("read", "write")] if shared else [("read", "write")] * 2
    groups = [OPERANDS] if shared else [("input",), ("output",)]
    io_ports = tuple(
        port(direction, 1024, *operands)
        for directions, operands in zip(sides, groups, strict=True)
        for direction in directions
    )
    weight_ports = (port("read", 1024), port("write", 1024))
    return Hierarchy(
        memories=(
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=(port("both", 256),)),
            Memory(name="weights", holds=("weight",), size_bits=512 * KIB, ports=weight_ports),
            Memory(name="io", holds=("input", "output"), size_bits=512 * KIB, ports=io_ports),
            Memory(
                name="register",
                holds=("weight",),
                size_bits=16,
                ports=(port("read", 8), port("write", 8)),
                per=("rows", "columns"),
            ),
        ),
        axes=(Axis(name="rows", size=32, dims=("k",)), Axis(name="columns", size=32, dims=("n",))),
    )


def nest(*, registers: int = 2) -> Mapping:
    """N16 {outputs} K16 {weights, inputs} K8 N8 {weight register} M256."""
    return Mapping(
        levels=(
            Level(memory="dram", keeps=OPERANDS, loops=(Loop("n", 256),)),
            Level(memory="io", keeps=("output",), loops=(Loop("k", 256),)),
            Level(memory="weights", keeps=("weight",), doubled=("weight",)),
            Level(
                memory="io",
                keeps=("input",),
                doubled=("input",),
                loops=(Loop("k", 32), Loop("n", 32)),
            ),
            Level(
                memory="register",
                keeps=("weight",),
                doubled=("weight",) if registers == 2 else (),
                loops=(Loop("m", 1),),
            ),
        ),
        spatial=(Unroll("rows", "k", 32), Unroll("columns", "n", 32)),
    )


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
