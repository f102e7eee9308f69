"""No floor of a part of the space is above a mapping of that part."""

import random
from typing import Any

import pytest

from bitlathe.arch.hierarchy import Axis
from bitlathe.mapping.certify import chip_data, layer_data
from bitlathe.mapping.nest import Loops, Mapping
from bitlathe.mapping.proof import record
from bitlathe.mapping.proof.bounds import Side, Unrolled
from bitlathe.mapping.proof.cost import cost
from bitlathe.mapping.proof.record import KINDS
from bitlathe.mapping.proof.space import storages, ways
from bitlathe.mapping.proof.tree import Part
from bitlathe.mapping.proof.ways import WayFloors
from map_cases import (
    compiled_and_plain,
    deeper_chip,
    random_bits,
    random_chip,
    random_conv,
    with_bursts,
    with_halos,
)


def tiles(layer: record.Layer, part: Unrolled, mapping: record.Nest) -> list[tuple[int, ...]]:
    """The tile of each dimension at each tier, outermost first."""
    found = [layer.sizes]
    block = list(layer.sizes)
    for tier in part.groups:
        names = [memory.name for memory in tier]
        for level in mapping.levels:
            for dim, tile in level.loops if level.memory in names else ():
                block[layer.dims.index(dim)] = tile
        found.append(tuple(block))
    return list(zip(*found, strict=True))


def innermost(layer: record.Layer, part: Unrolled, mapping: record.Nest, tier: int) -> int | None:
    names = [memory.name for memory in part.groups[tier]]
    loops = [dim for level in mapping.levels if level.memory in names for dim, _ in level.loops]
    return KINDS[loops[-1]] if loops and KINDS[loops[-1]] < 3 else None


def assert_below(layer: Any, bits: Any, chip: Any, mapping: Mapping, rng: random.Random) -> None:
    own = record.layer_of(layer_data(layer, bits))
    hardware = record.read(record.Chip, chip_data(chip), "chip")
    nest = record.read(record.Nest, mapping.to_dict(), "mapping")
    kept = {op: {level.memory for level in nest.levels if op in level.keeps} for op in "wio"}
    kept = {
        op: {level.memory for level in nest.levels if op in level.keeps}
        for op in ("weight", "input", "output")
    }
    storage = next(
        some for some in storages(hardware)
        if all({memory.name for memory in some[op]} == kept[op] for op in kept)
    )  # fmt: skip
    way = tuple(nest.spatial)
    assert way in ways(own, hardware)
    found = cost(own, hardware, nest)
    quick = WayFloors(own, hardware, storage).floor(way, energy=True)
    assert quick.cycles <= found.cycles
    assert quick.of("energy") <= found.total_pj
    unrolled = Unrolled(own, hardware, storage, way)
    part = Part(unrolled=unrolled, sides=unrolled.sides())
    chain = tiles(own, unrolled, nest)
    for _ in range(12):
        part = part.narrowed()
        for side, each in zip(part.sides, chain, strict=True):
            cut = [tuple(min(tile, own_tile[0]) for tile in own_tile) for own_tile in side.chains]
            assert each in cut
        floors = part.floors()
        outer = innermost(own, unrolled, nest, 0)
        inner = innermost(own, unrolled, nest, 1) if unrolled.deep else None
        applying = [pair for (x, y), pair in floors.items() if outer in (x, None) and y == inner]
        assert applying
        for pair in applying:
            assert pair.cycles <= found.cycles
            assert pair.of("energy") <= found.total_pj
        if part.single:
            break
        part = Part(unrolled=unrolled, sides=narrower(part.sides, chain, rng))


def narrower(
    sides: tuple[Side, ...], chain: list[tuple[int, ...]], rng: random.Random
) -> tuple[Side, ...]:
    """Some of the chains, among them those of a mapping."""
    found = []
    for side, each in zip(sides, chain, strict=True):
        some = tuple(
            own for own in side.chains
            if rng.random() < 0.6 or tuple(min(tile, own[0]) for tile in own) == each
        )  # fmt: skip
        found.append(Side.of(some))
    return tuple(found)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_no_floor_is_above_a_mapping(seed: int, deep: bool) -> None:
    """Random mappings, in the whole space and in ever smaller parts down to their own tiles."""
    rng, compared = random.Random(seed), 0
    for _ in range(200):
        chip = deeper_chip(rng) if deep else random_chip(rng, large=True)
        chip = with_bursts(chip, rng.choice([24, 256])) if rng.random() < 0.3 else chip
        bits = random_bits(rng)
        layer = Loops.product(*(rng.randint(1, 30) for _ in range(3)), rng.choice([1, 1, 2]))
        if compared % 2:
            chip = with_halos(chip) if rng.random() < 0.3 else chip
            layer = random_conv(rng, 5, padding=rng.choice([0, 2]))
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is not None:
            assert_below(layer, bits, chip, found[0], rng)
            compared += 1
        if compared == 8:
            break
    assert compared == 8


def test_an_axis_of_the_test_chips_unrolls_two_dimensions() -> None:
    """So that ways of two extents side by side are among those above."""
    axes = [axis for seed in range(10) for axis in random_chip(random.Random(seed)).axes]
    assert any(isinstance(axis, Axis) and len(axis.dims) == 2 for axis in axes)
