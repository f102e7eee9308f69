"""What keeps a mapping, or a hierarchy, from being one; how a nest's bounds are told."""

from dataclasses import replace
from fractions import Fraction

import pytest

from bitlathe.arch.hierarchy import Axis, Hierarchy, Memory, Port
from bitlathe.arch.loader import load_arch
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.legal import problems
from bitlathe.mapping.nest import Bound, Level, Loop, Loops, Mapping
from bitlathe.mapping.operands import OperandBits
from bitlathe.sim.map_layer import product_on
from naive.chip_bits import operand_bits

ALL = ("weight", "input", "output")
BITS = OperandBits(
    **{operand: Fraction(8) for operand in ALL},
    **{f"{operand}_code": Fraction(8) for operand in ALL},
    partial=32,
    step_cycles=Fraction(1),
)
PORTS = (Port(direction="both", width_bits=Fraction(64)),)
DRAM = Memory(name="dram", holds=ALL, size_bits=None, ports=PORTS)
SRAM = Memory(name="sram", holds=ALL, size_bits=1 << 20, ports=PORTS, double_buffered=False)
ROWS = Axis(name="rows", size=2, dims=("n",))
LOOPS = (Loop("m", 4), Loop("n", 3), Loop("m", 1), Loop("n", 1), Loop("k", 1))


def nest(*doubled: str) -> Mapping:
    outer, inner = LOOPS[:2], LOOPS[2:]
    return Mapping(
        levels=(
            Level(memory="dram", keeps=ALL, loops=outer),
            Level(memory="sram", keeps=ALL, loops=inner, doubled=doubled),
        )
    )


def test_bounds_tell_blocks_tiles_and_the_short_last_one():
    """10 rows in blocks of 4, the last of 2; 6 columns in 2 blocks of 3, none of them short."""
    sizes = {"m": 10, "n": 6, "k": 5}
    assert nest().bounds(sizes) == (
        Bound(3, 4, 2),
        Bound(2, 3, 3),
        Bound(4, 1, 1),
        Bound(3, 1, 1),
        Bound(5, 1, 1),
    )
    told = [row.detail for row in nest().rows(sizes) if row.what.startswith("for")]
    assert told == ["3 x 4, the last of 2", "2 x 3", "4 x 1", "3 x 1", "5 x 1"]


def test_the_loops_of_a_mapped_product_say_the_same():
    mapped = product_on(load_arch("bitmod"), 10, 7, 300).best()
    bounds = mapped.mapping.bounds(mapped.layer.sizes)
    loops = mapped.to_dict()["loops"]
    assert [(row["bound"], row["tile"], row["last"]) for row in loops] == list(bounds)
    assert all(1 <= row["last"] <= row["tile"] for row in loops)


def test_a_memory_that_is_not_double_buffered_holds_one_tile():
    layer = Loops.product(10, 6, 5)
    plain = Hierarchy(memories=(DRAM, SRAM), axes=(ROWS,))
    assert problems(layer, BITS, nest(), plain) == ()
    (said,) = problems(layer, BITS, nest("input"), plain)
    assert said == "memory 'sram' is not double-buffered; it holds one tile of inputs."
    doubled = Hierarchy(memories=(DRAM, replace(SRAM, double_buffered=True)), axes=(ROWS,))
    assert problems(layer, BITS, nest("input"), doubled) == ()


def test_a_memory_inside_one_of_each_unit_is_of_each_unit_too():
    local = replace(SRAM, name="local", per=("rows",))
    Hierarchy(memories=(DRAM, SRAM, local), axes=(ROWS,))
    with pytest.raises(BitlatheError, match=r"'sram' is inside 'local'.*needs those axes in `per`"):
        Hierarchy(memories=(DRAM, local, SRAM), axes=(ROWS,))


def test_the_array_reads_codes_and_memories_hold_what_is_stored():
    """BitMoD at 4 bits, groups of 128: selector of 2, scale of 8 bits, FP16 over the channel."""
    chip = load_arch("bitmod")
    bits = operand_bits(chip, chip.formats.linear, m=8, n=64, k=4096)
    assert bits.weight == 4 + Fraction(2 + 8, 128) + Fraction(16, 4096)
    assert bits.weight_code == 4
    assert (bits.input, bits.input_code, bits.partial) == (16, 16, 21)
