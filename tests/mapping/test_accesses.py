"""Counts of a mapping against a walk of its loop nest: every step, every unit, every element."""

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.blocks import Nest
from bitlathe.mapping.legal import footprints, problems
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from bitlathe.mapping.operands import OperandBits
from bitlathe.workloads.conv_shape import ConvShape
from naive import nest_naive

BITS = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8))
PORTS = (Port(direction="both", width_bits=Fraction(64)),)


def memory(
    name: str, holds: tuple[str, ...], per: tuple[str, ...] = (), *, keep_halo: bool = False
) -> Memory:
    size = None if name == "dram" else 1 << 30
    return Memory(name=name, holds=holds, size_bits=size, ports=PORTS, per=per, keep_halo=keep_halo)


def random_case(rng: random.Random) -> tuple[Loops, Mapping, Hierarchy]:
    """A product, a mapping with imperfect tiles in any order, and memories at random places."""
    batch = rng.choice([1, 1, 2])
    layer = Loops.product(*(rng.randint(1, 7) for _ in range(3)), batch)
    return layer, *random_mapping(rng, layer)


def random_conv(rng: random.Random) -> Loops:
    """A convolution of at most 500 multiply-accumulates: strides, dilations, borders, groups."""
    while True:
        groups = rng.choice([1, 1, 1, 2, 3])
        try:
            shape = ConvShape(
                in_channels=groups * rng.choice([1, 1, 2]),
                out_channels=groups * rng.choice([1, 1, 2]),
                size=(rng.randint(1, 8), rng.randint(1, 6)),
                kernel=(rng.randint(1, 4), rng.randint(1, 3)),
                stride=(rng.randint(1, 3), rng.randint(1, 2)),
                padding=(rng.randint(0, 3), rng.randint(0, 2)),
                dilation=(rng.randint(1, 3), rng.randint(1, 2)),
                groups=groups,
            )
        except BitlatheError:
            continue
        layer = Loops.conv(shape, rng.choice([1, 1, 2]))
        if layer.macs <= 500:
            return layer


def random_mapping(rng: random.Random, layer: Loops) -> tuple[Mapping, Hierarchy]:
    """A mapping with imperfect tiles in any order, and memories at random places."""
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
        most = max(7, least)
        tiles = sorted({rng.randint(least, most) for _ in range(rng.randint(0, 2))}, reverse=True)
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
        halo = bool(layer.windows) and rng.random() < 0.5
        memories.append(memory(f"m{i}", kept, per, keep_halo=halo))
        names.append(f"m{i}")
    for i, each in enumerate(memories):
        inside = tuple(nest[bounds[i] : bounds[i + 1]])
        levels.append(Level(memory=each.name, keeps=each.holds, loops=inside))
    alone = rng.choice(["x", "y", None])
    if all(alone in each.per for each in memories if each.per):
        axes = [replace(axis, multicast=axis.name != alone) for axis in axes]
    hierarchy = Hierarchy(memories=tuple(memories), axes=tuple(axes))
    return Mapping(levels=tuple(levels), spatial=tuple(spatial)), hierarchy


def walked(layer: Loops, mapping: Mapping):
    chains = {op: [place.outside for place in mapping.chain(op)] for op in OPERANDS}
    stays = nest_naive.walk(
        dict(layer.sizes),
        layer.indexes,
        [(loop.dim, loop.tile) for loop in mapping.loops],
        [(each.axis, each.dim, each.size) for each in mapping.spatial],
        chains,
        [(w.out, w.tap, w.size, w.stride, w.dilation, w.padding) for w in layer.windows],
    )
    return chains, stays


def assert_counts_are_those_of_the_walk(
    layer: Loops, mapping: Mapping, hierarchy: Hierarchy
) -> None:
    chains, stays = walked(layer, mapping)
    places = {
        (op, i): hierarchy.memory(place.memory)
        for op in OPERANDS
        for i, place in enumerate(mapping.chain(op))
    }
    expected = nest_naive.moved(
        stays,
        chains,
        {place: each.per for place, each in places.items()},
        hierarchy.axis_names,
        apart={axis.name for axis in hierarchy.axes if not axis.multicast},
        halos={i for (op, i), each in places.items() if op == "input" and each.keep_halo},
        dims=layer.indexes["input"],
        outs=[window.out for window in layer.windows],
    )
    found = {}
    for row in accesses(layer, mapping, hierarchy):
        names = [place.memory for place in mapping.chain(row.operand)]
        place = len(names) if row.child is None else names.index(row.child)
        key = (row.operand, row.kind, row.partial, place)
        found[key] = [row.visits, row.parent_elements, row.child_elements]
    assert found == expected, (layer, mapping.text(layer.sizes))


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_the_walk(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        assert_counts_are_those_of_the_walk(*random_case(rng))


@pytest.mark.parametrize("seed", range(5))
def test_what_one_memory_moves_is_its_part_of_all(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        case = random_case(rng)
        whole = accesses(*case)
        for parent in {row.parent for row in whole}:
            own = tuple(row for row in whole if row.parent == parent)
            assert accesses(*case, {parent}) == own


@pytest.mark.parametrize("seed", range(20))
def test_counts_of_convolutions_are_those_of_the_walk(seed: int) -> None:
    """Strides, dilations, borders, groups, kept halos; pixels of every step and unit."""
    rng = random.Random(2000 + seed)
    for _ in range(50):
        layer = random_conv(rng)
        assert_counts_are_those_of_the_walk(layer, *random_mapping(rng, layer))


@pytest.mark.parametrize("seed", range(10))
def test_counts_of_shared_batches_are_those_of_the_walk(seed: int) -> None:
    rng = random.Random(3000 + seed)
    for _ in range(30):
        m, n, k = (rng.randint(1, 5) for _ in range(3))
        layer = Loops.batched(m, n, k, own=rng.randint(1, 3), sharing=rng.randint(1, 3))
        assert_counts_are_those_of_the_walk(layer, *random_mapping(rng, layer))


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


@pytest.mark.parametrize("seed", range(10))
def test_memories_hold_what_the_walk_says(seed: int) -> None:
    """Of each operand what the copy with most touches of a tile; pixels of the border nowhere."""
    rng = random.Random(4000 + seed)
    for _ in range(30):
        layer = random_conv(rng)
        mapping, hierarchy = random_mapping(rng, layer)
        chains, stays = walked(layer, mapping)
        held = footprints(layer, BITS, mapping, hierarchy)
        for op in OPERANDS:
            for i in range(len(chains[op])):
                place = mapping.chain(op)[i].memory
                per = hierarchy.memory(place).per
                share = nest_naive.largest_share(stays, op, i, per)
                assert held[place][op].elements == share, (layer, mapping.text(layer.sizes))


@pytest.mark.parametrize("keep_halo", [False, True])
def test_a_row_stationary_array_shares_inputs_along_diagonals(keep_halo: bool) -> None:
    """Kernel rows on y, output rows on x: x + y names the input row, 6 of them for 4 x 3 units."""
    shape = ConvShape(
        in_channels=1, out_channels=1, size=(8, 8), kernel=(3, 3), padding=(1, 1), stride=(1, 1)
    )
    layer = Loops.conv(shape)
    mapping = Mapping(
        levels=(
            Level(memory="dram", keeps=OPERANDS, loops=(Loop("p", 4),)),
            Level(memory="pad", keeps=("input",), loops=(Loop("q", 1), Loop("s", 1))),
        ),
        spatial=(Unroll("x", "p", 4), Unroll("y", "r", 3)),
    )
    hierarchy = Hierarchy(
        memories=(
            memory("dram", OPERANDS),
            memory("pad", ("input",), ("x", "y"), keep_halo=keep_halo),
        ),
        axes=(Axis(name="x", size=4, dims=("m",)), Axis(name="y", size=3, dims=("k",))),
    )
    assert problems(layer, BITS, mapping, hierarchy) == ()
    fetch = next(row for row in accesses(layer, mapping, hierarchy) if row.child == "pad")
    # two visits: rows 0 to 4 and 3 to 7 of 8, of rows -1 to 4 and 3 to 8; 12 units with a row each
    # but one of the border: 11. A unit goes on by 4 rows: it has none of the next.
    assert (fetch.visits, fetch.parent_elements, fetch.child_elements) == (2, 2 * 5 * 8, 2 * 11 * 8)
    array = [row for row in accesses(layer, mapping, hierarchy) if row.child is None]
    assert {row.operand: row.parent_elements for row in array}["weight"] == 9 * 2 * 8


def test_a_buffer_that_keeps_halos_fetches_each_row_once() -> None:
    """Blocks of 2 of 8 rows, kernel 3: 4 rows of 10 a visit, or 4 and then 2 new ones."""
    shape = ConvShape(in_channels=2, out_channels=2, size=(10, 10), kernel=(3, 3))
    layer = Loops.conv(shape)
    dims = ("p", "q", "c", "r", "s", "n")
    mapping = Mapping(
        levels=(
            Level(memory="dram", keeps=OPERANDS, loops=(Loop("p", 2),)),
            Level(memory="sram", keeps=OPERANDS, loops=tuple(Loop(dim, 1) for dim in dims)),
        )
    )
    moved = {}
    for keep_halo in (False, True):
        sram = memory("sram", OPERANDS, keep_halo=keep_halo)
        hierarchy = Hierarchy(memories=(memory("dram", OPERANDS), sram), axes=())
        moved[keep_halo] = accesses(layer, mapping, hierarchy)[2].parent_elements
    assert moved == {False: 4 * 4 * 10 * 2, True: (4 + 3 * 2) * 10 * 2}
    assert moved[True] == layer.elements("input")


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
