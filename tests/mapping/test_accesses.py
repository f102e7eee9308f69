"""Counts of a mapping against a walk of its loop nest: every step, every unit, every element."""

import random
from collections import Counter
from fractions import Fraction

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.blocks import Nest
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from naive import nest_naive

PORTS = (Port(direction="both", width_bits=Fraction(64)),)


def memory(name: str, holds: tuple[str, ...], per: tuple[str, ...] = ()) -> Memory:
    size = None if name == "dram" else 1 << 30
    return Memory(name=name, holds=holds, size_bits=size, ports=PORTS, per=per)


def random_case(rng: random.Random) -> tuple[Loops, Mapping, Hierarchy]:
    """A layer, a mapping with imperfect tiles in any order, and memories at random places."""
    batch = rng.choice([1, 1, 2])
    layer = Loops.product(*(rng.randint(1, 7) for _ in range(3)), batch)
    dims = list(layer.sizes)
    axes = [Axis(name=name, size=4, dims=tuple(dims)) for name in ("x", "y")]
    spatial = []
    for axis in axes:
        for dim in rng.sample(dims, rng.choice([0, 1, 1, 2])):
            spatial.append(Unroll(axis.name, dim, rng.choice([1, 2])))
    rng.shuffle(spatial)
    together = Mapping(levels=(), spatial=tuple(spatial))
    loops = []
    for dim in dims:
        least = together.unrolled(dim)
        tiles = sorted({rng.randint(least, 7) for _ in range(rng.randint(0, 2))}, reverse=True)
        loops.append([Loop(dim, tile) for tile in [*tiles, least]])
    nest = []
    while any(loops):
        nest.append(rng.choice([some for some in loops if some]).pop(0))
    memories, levels = [memory("dram", OPERANDS)], []
    pieces = sorted(rng.randint(0, len(nest)) for _ in range(rng.randint(0, 3)))
    per: tuple[str, ...] = ()
    bounds = [0, *pieces, len(nest)]
    names = ["dram"]
    for i in range(len(pieces)):
        per = tuple(sorted({*per, *rng.sample(["x", "y"], rng.choice([0, 0, 1]))}))
        kept = tuple(op for op in OPERANDS if rng.random() < 0.6) or ("weight",)
        memories.append(memory(f"m{i}", kept, per))
        names.append(f"m{i}")
    for i, each in enumerate(memories):
        inside = tuple(nest[bounds[i] : bounds[i + 1]])
        levels.append(Level(memory=each.name, keeps=each.holds, loops=inside))
    hierarchy = Hierarchy(memories=tuple(memories), axes=tuple(axes))
    return layer, Mapping(levels=tuple(levels), spatial=tuple(spatial)), hierarchy


def walked(layer: Loops, mapping: Mapping):
    chains = {op: [place.outside for place in mapping.chain(op)] for op in OPERANDS}
    stays = nest_naive.walk(
        dict(layer.sizes),
        layer.indexes,
        [(loop.dim, loop.tile) for loop in mapping.loops],
        [(each.axis, each.dim, each.size) for each in mapping.spatial],
        chains,
    )
    return chains, stays


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_the_walk(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        layer, mapping, hierarchy = random_case(rng)
        chains, stays = walked(layer, mapping)
        per = {
            (op, i): hierarchy.memory(place.memory).per
            for op in OPERANDS
            for i, place in enumerate(mapping.chain(op))
        }
        expected = nest_naive.moved(stays, chains, per, hierarchy.axis_names)
        found = {}
        for row in accesses(layer, mapping, hierarchy):
            names = [place.memory for place in mapping.chain(row.operand)]
            place = len(names) if row.child is None else names.index(row.child)
            key = (row.operand, row.kind, row.partial, place)
            found[key] = [row.visits, row.parent_elements, row.child_elements]
        assert found == expected, mapping.text(layer.sizes)


@pytest.mark.parametrize("seed", range(10))
def test_tiles_and_their_stays_are_those_of_the_walk(seed: int) -> None:
    """How many elements each visit has, how many steps it lasts, how much one unit has of it."""
    rng = random.Random(1000 + seed)
    for _ in range(30):
        layer, mapping, hierarchy = random_case(rng)
        chains, stays = walked(layer, mapping)
        nest = Nest(layer, mapping)
        for op in OPERANDS:
            relevant = nest.relevant(op)
            dims = [nest.dims.index(dim) for dim in layer.indexes[op]]
            for i, outside in enumerate(chains[op]):
                expected = Counter(
                    (tuple(high - low for low, high in stay.key), stay.steps)
                    for stay in stays[op, i]
                )
                visits = nest.visits(relevant, outside)
                found: Counter[tuple[tuple[int, ...], int]] = Counter()
                for visit, count in visits.items():
                    found[tuple(visit.block[dim] for dim in dims), visit.steps] += count
                assert found == expected, mapping.text(layer.sizes)
                per = hierarchy.memory(mapping.chain(op)[i].memory).per
                share = 1
                for dim in dims:
                    block = mapping.tile(layer.sizes, outside)[nest.dims[dim]]
                    share *= nest.share(per, dim, outside, block)
                assert share == nest_naive.largest_share(stays, op, i, per)


def test_a_last_pass_is_the_stay_over_the_loops_that_use_all_of_it_again() -> None:
    """Perfect tiles: the loops that do not index the operand next to the cut, on either side."""
    layer = Loops.product(8, 8, 8)
    loops = [("n", 4), ("k", 4), ("m", 4), ("k", 2), ("k", 1), ("n", 1), ("m", 1)]
    mapping = Mapping(
        levels=(
            Level(memory="dram", keeps=OPERANDS, loops=tuple(Loop(*x) for x in loops[:2])),
            Level(memory="sram", keeps=OPERANDS, loops=tuple(Loop(*x) for x in loops[2:])),
        )
    )
    nest = Nest(layer, mapping)
    passes = {
        op: {(visit.steps, visit.last_pass) for visit in nest.visits(nest.relevant(op), 2)}
        for op in OPERANDS
    }
    # weights (4, 4) stay for two turns of m; sums (8, 4) through k, which is not the innermost
    assert passes == {
        "weight": {(128, 64)},
        "input": {(128, 128)},
        "output": {(256, 128)},
    }
