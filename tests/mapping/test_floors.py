"""Floors of DRAM traffic against mappings on memories that are no larger than these need."""

import random
from dataclasses import replace
from fractions import Fraction
from math import sqrt

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.floors import (
    COMPULSORY,
    SEGMENTS,
    TILES,
    compulsory_bits,
    nest_floor_bits,
    traffic_bits,
    traffic_floor_bits,
)
from bitlathe.mapping.legal import footprints, problems
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from bitlathe.mapping.operands import OperandBits
from bitlathe.workloads.conv_shape import ConvShape

PORTS = (Port(direction="both", width_bits=Fraction(64)),)
GROUPS: list[list[tuple[str, ...]]] = [
    [OPERANDS],
    [("weight",), ("input", "output")],
    [("weight",), ("input",), ("output",)],
]


def memory(name: str, holds: tuple[str, ...], per: tuple[str, ...] = ()) -> Memory:
    size = None if name == "dram" else 1 << 40
    return Memory(name=name, holds=holds, size_bits=size, ports=PORTS, per=per)


def random_bits(rng: random.Random) -> OperandBits:
    return OperandBits(
        weight=Fraction(rng.choice([8, 17, 33, 64]), 4),
        input=Fraction(rng.choice([4, 8, 16])),
        output=Fraction(rng.choice([8, 16])),
        partial=rng.choice([16, 24, 32]),
    )


def random_mapping(rng: random.Random, layer: Loops) -> tuple[Mapping, Hierarchy]:
    """Any loops, with each operand in its buffers, and perhaps registers, at any depth."""
    axes = tuple(Axis(name=name, size=rng.randint(1, 4), dims=("m", "n", "k")) for name in "xy")
    spatial = tuple(
        Unroll(axis.name, rng.choice("mnk"), rng.randint(1, axis.size)) for axis in axes
    )
    least = {dim: Mapping(levels=(), spatial=spatial).unrolled(dim) for dim in layer.sizes}
    left = []
    for dim, size in layer.sizes.items():
        tiles = {rng.randint(least[dim], max(size, least[dim])) for _ in range(rng.randint(0, 3))}
        left.append([Loop(dim, tile) for tile in [*sorted(tiles, reverse=True), least[dim]]])
    nest = []
    while any(left):
        nest.append(rng.choice([some for some in left if some]).pop(0))
    memories = [memory("dram", OPERANDS)]
    memories += [memory(f"b{i}", some) for i, some in enumerate(rng.choice(GROUPS))]
    if rng.random() < 0.5:
        memories.append(memory("inner", (rng.choice(OPERANDS),), per=("x", "y")))
    chip = Hierarchy(memories=tuple(memories), axes=axes)
    placed: list[tuple[int, int, str, str]] = []
    for operand in OPERANDS:
        depths = sorted(rng.randint(0, len(nest)) for _ in chip.chain(operand)[1:])
        for i, (depth, each) in enumerate(zip(depths, chip.chain(operand)[1:], strict=True)):
            placed.append((depth, i, each.name, operand))
    levels, at = [Level(memory="dram", keeps=OPERANDS)], 0
    for depth, _, name, operand in [*sorted(placed), (len(nest), 9, "", "")]:
        levels[-1] = replace(levels[-1], loops=tuple(nest[at:depth]))
        at = depth
        if name:
            levels.append(Level(memory=name, keeps=(operand,)))
    return Mapping(levels=tuple(levels), spatial=spatial), chip


def fitted(layer: Loops, bits: OperandBits, mapping: Mapping, chip: Hierarchy) -> Hierarchy:
    """The chip with memories that have room for nothing but the mapping's tiles."""
    held = footprints(layer, bits, mapping, chip)
    memories = [chip.memories[0]]
    for each in chip.memories[1:]:
        parts = held[each.name].values()
        bits_of = sum(part.bits for part in parts)
        words = sum(part.elements for part in parts)
        size = (None, words) if each.per else (bits_of, None)
        memories.append(replace(each, size_bits=size[0], words=size[1]))
    return replace(chip, memories=tuple(memories))


@pytest.mark.parametrize("seed", range(10))
def test_no_mapping_moves_less_than_the_floors(seed: int) -> None:
    """500 mappings in the smallest memories that hold them."""
    rng, names = random.Random(seed), set()
    for _ in range(50):
        most = rng.choice([8, 60, 300])
        own, sharing = rng.choice([(1, 1), (1, 1), (2, 1), (1, 3), (2, 2)])
        sizes = (rng.randint(1, most) for _ in range(3))
        layer = Loops.batched(*sizes, own=own, sharing=sharing)
        bits = random_bits(rng)
        mapping, chip = random_mapping(rng, layer)
        chip = fitted(layer, bits, mapping, chip)
        assert problems(layer, bits, mapping, chip) == ()
        found = traffic_bits(layer, bits, mapping, chip)
        assert found >= compulsory_bits(layer, bits)
        for floor in (traffic_floor_bits, nest_floor_bits):
            least, name = floor(layer, bits, chip)
            assert found >= least, (name, mapping.text(layer.sizes))
            names.add(name)
    assert names >= {COMPULSORY, SEGMENTS, TILES["output"]}


def one_memory(size_bits: int) -> Hierarchy:
    sram = replace(memory("sram", OPERANDS), size_bits=size_bits)
    return Hierarchy(memories=(memory("dram", OPERANDS), sram), axes=())


def test_segments_of_equal_widths_are_the_bound_in_closed_form() -> None:
    """2 MACs / sqrt(S) - 2 S elements (Smith et al. 2019), as close as the grid of segments is."""
    eight = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8), partial=8)
    for m, n, k, s in [(512, 512, 512, 1024), (4096, 4096, 4096, 65536), (100, 3000, 900, 500)]:
        closed = 2 * m * n * k / sqrt(s) - 2 * s
        found, name = traffic_floor_bits(Loops.product(m, n, k), eight, one_memory(8 * s))
        assert name == SEGMENTS
        assert 0.999 * closed <= found / 8 <= 1.0001 * closed


@pytest.mark.parametrize(
    ("outermost", "loops", "bits"),
    [  # a tile that fills its buffer, in the best shape for the widths; the others step by step
        ("output", (("m", 32), ("n", 8)), (8, 2)),
        ("weight", (("n", 8), ("k", 16)), (8, 16)),
        ("input", (("m", 16), ("k", 32)), (16, 8)),
    ],
)
def test_a_nest_reaches_the_floor_of_nests(
    outermost: str, loops: tuple[tuple[str, int], ...], bits: tuple[int, int]
) -> None:
    width = OperandBits(
        weight=Fraction(bits[0]), input=Fraction(bits[1]), output=Fraction(8), partial=16
    )
    layer = Loops.product(64, 64, 64)
    (third,) = set("mnk") - {dim for dim, _ in loops}
    levels = [
        Level(memory="dram", keeps=OPERANDS, loops=tuple(Loop(*each) for each in loops)),
        Level(memory="b0", keeps=(outermost,), loops=(Loop(third, 1),)),
    ]
    first = "input" if outermost == "weight" else "weight"
    (second,) = set(OPERANDS) - {outermost, first}
    inner = next(dim for dim, _ in loops if dim not in layer.indexes[first])
    last = next(dim for dim, _ in loops if dim != inner)
    levels.append(Level(memory="b1", keeps=(first,), loops=(Loop(inner, 1),)))
    levels.append(Level(memory="b2", keeps=(second,), loops=(Loop(last, 1),)))
    mapping = Mapping(levels=tuple(levels))
    held = [(outermost,), (first,), (second,)]
    chip = Hierarchy(
        memories=(
            memory("dram", OPERANDS),
            *(memory(f"b{i}", some) for i, some in enumerate(held)),
        ),
        axes=(),
    )
    chip = fitted(layer, width, mapping, chip)
    assert problems(layer, width, mapping, chip) == ()
    found, name = nest_floor_bits(layer, width, chip)
    assert name == TILES[outermost]
    assert found == pytest.approx(float(traffic_bits(layer, width, mapping, chip)), abs=2)


def test_of_a_convolution_each_operand_moves_once() -> None:
    bits = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8))
    shape = ConvShape(in_channels=3, out_channels=5, size=(6, 6), kernel=(3, 3))
    layer = Loops.conv(shape)
    each = (3 * 5 * 9 + 3 * 36 + 5 * 16) * 8
    for floor in (traffic_floor_bits, nest_floor_bits):
        assert floor(layer, bits, one_memory(999)) == (each, COMPULSORY)
