"""256 x 4096 x 4096 on 32x32 INT8 MACs, worked out by hand: layer, chip and mapping."""

from fractions import Fraction

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
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
