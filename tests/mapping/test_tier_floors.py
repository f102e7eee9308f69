"""Bounds below the first tier, on chips of three and four levels: what no mapping undercuts."""

import random
from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np
import pytest

from bitlathe.arch.hierarchy import Axis, Hierarchy, Memory, Port
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.bound_kernels import NONE, THIRD, _crossing, sums_again
from bitlathe.mapping.cost import cost
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.search import search
from bitlathe.mapping.space import Ways, storages, tiers_of
from bitlathe.mapping.step_energy import exact_bounds
from bitlathe.mapping.tier_floors import floors_of, tiles_of
from bitlathe.mapping.tuple_kernels import KINDS, SIZES, STEP_TILE, WINDOWS_OF
from bitlathe.mapping.unrolled import Unrolled, new_front, side_by_side
from map_cases import (
    deep_chip,
    every_mapping,
    least_of,
    one_order,
    random_bits,
    some_tiles,
)


def unrolled_case(rng: random.Random):
    """Return a layer on a deep chip, unrolled somehow, with a few tiles of each dimension."""
    while True:
        chip, bits = deep_chip(rng, large=True), random_bits(rng)
        layer = Loops.product(*(rng.randint(1, 60) for _ in range(3)), rng.choice([1, 1, 2]))
        packed, ways = Packed(layer, bits, chip, rng.choice(storages(chip))), Ways(layer, chip.axes)
        number = rng.randrange(len(ways))
        unrolled = Unrolled(packed, ways.way(number), 0, packed.units_pj(ways)[number])
        if all(len(each.tiles) for each in unrolled.chains):
            return layer, bits, chip, packed, ways, number, unrolled


@pytest.mark.parametrize("seed", range(3))
def test_no_mapping_moves_less_than_the_floors_of_its_tiers(seed: int) -> None:
    """Energy of all transfers between memories, and clocks of each port, tier by tier."""
    rng = random.Random(seed)
    compared = repeated = sums = 0
    while compared < 40:
        layer, bits, chip, packed, *_, unrolled = unrolled_case(rng)
        tiles = packed.tier_tiles(unrolled.step_tile.tolist())
        given = tiles, unrolled.plan, unrolled.layout, packed.rates(unrolled.plan)
        tables, plain = floors_of(*given), floors_of(*given, with_blocks=False)
        assert (plain[1] == tables[1]).all()
        assert not plain[2].size
        some_tiles(unrolled, rng, 1)
        places = side_by_side(unrolled.chains)[3][:, 0]
        tile = np.array([each.tiles[0] for each in unrolled.chains]).T
        move, more = sums_again(tile, unrolled.plan, unrolled.layout)
        one_order(unrolled, rng)
        front = new_front(0)
        if not unrolled.search(0, 1, front):
            continue
        found = cost(layer, bits, unrolled.mapping(front[1][0]), chip)
        busy = {(load.memory, load.port): load.busy for load in found.ports}
        moved = sum(found.energy_pj[memory.name] for memory in chip.memories)
        tiers = range(len(places[0]))
        # all tiers, with blocks and without; those inside each, twice
        rows = [tables[0][0], plain[0][0], *tables[1][0], *tables[1][1]]
        for tier, row in zip([0, 0, *tiers, *tiers], rows, strict=True):
            floor = row[:, places[0, tier], places[1, tier]]
            assert floor[0] <= moved * (1 + 1e-9)
            for clocks, port in zip(floor[1:], 2 * packed.ports, strict=True):
                assert clocks <= busy[port] * (1 + 1e-9)
        first = tables[0][0, 0, places[0, 0], places[1, 0]]
        repeated += first > 1.2 * packed.once_pj
        if more:
            mapping, child = unrolled.mapping(front[1][0]), packed.moves[move].child.name
            counted = {
                (each.kind, each.partial): each.parent_elements
                for each in accesses(layer, mapping, chip)
                if each.operand == "output" and each.child == child
            }
            assert counted["write", True] >= more
            assert counted["readback", True] >= more
            sums += 1
        floor_cycles, floor_pj = packed.floor
        assert floor_cycles <= found.cycles
        assert floor_pj <= moved * (1 + 1e-9)
        compared += 1
    assert repeated  # they say more than that each element moves once
    assert sums > 1  # and that some sums come again


@pytest.mark.parametrize("seed", range(4))
def test_nothing_undercuts_a_bound_on_deep_chips(seed: int) -> None:
    """Of any part of an unrolling: what bounds exclude is not better than the best."""
    rng = random.Random(100 + seed)
    compared = 0
    while compared < 20:
        _, _, _, packed, ways, number, unrolled = unrolled_case(rng)
        some_tiles(unrolled, rng, 6)
        one_order(unrolled, rng)
        # of those that are left, whose steps decide which tiles have floors
        others = rng.sample(range(len(ways)), min(len(ways), rng.choice([0, 2, 1 << 20])))
        left = np.array(sorted({number, *others}))
        at, (cycles, energy) = int(np.searchsorted(left, number)), packed.bounds(ways)
        bounds = [(cycles[left], energy[left])]
        for sharper in (Packed.floor_bounds, exact_bounds):
            bounds.append(sharper(packed, ways, left, *bounds[-1]))
        for objective in range(3):
            whole, bounded = new_front(objective), new_front(objective)
            unrolled.fixed[3] = 0
            unrolled.search(objective, 1 << 40, whole)
            unrolled.fixed[3] = 1
            unrolled.search(objective, 1 << 40, bounded)
            np.testing.assert_allclose(bounded[0][0], whole[0][0], rtol=1e-12)
            np.testing.assert_array_equal(bounded[1], whole[1])  # of equals the same
            whole[1][:, 0] = 1 << 20  # the first in the order is no other
            assert packed.hopeless_ways(ways, left[[at]], -int(number), objective, whole) == 0
            for cycles, energy in bounds:
                assert cycles[at] <= whole[0][0, 0]
                assert energy[at] <= whole[0][0, 1]
        compared += bool(whole[2][0])


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed else ()) for seed in range(12)]
)
def test_search_finds_the_best_of_every_mapping_of_deep_chips(seed: int) -> None:
    rng = random.Random(200 + seed)
    expected = None
    while expected is None:
        chip, bits = deep_chip(rng), random_bits(rng)
        layer = Loops.product(*rng.sample([1, 2, 2, 3], 3))
        if len(tiers_of(chip)) < 3 or len(storages(chip)) > 1:
            continue
        expected = least_of(layer, bits, chip, "edp", every_mapping(layer, chip))
    found = search(layer, bits, chip, "edp")
    assert found.optimal
    assert found.cost.edp == pytest.approx(expected.edp, rel=1e-9)


def crossing_walked(size: int, tiles: tuple[int, ...]) -> float:
    """Return the share of a dimension in blocks of which the innermost loop has one iteration."""
    innermost = max(i for i, tile in enumerate(tiles) if tile < min((size, *tiles[:i])))
    blocks = [size]
    for tile in tiles[:innermost]:
        blocks = [min(tile, block - at) for block in blocks for at in range(0, block, tile)]
    return sum(block for block in blocks if block <= tiles[innermost]) / size


@pytest.mark.parametrize("tier", [2, 3])
def test_no_tiles_cross_more_blocks_than_their_bound_says(tier: int) -> None:
    """All tiles of a dimension, walked; of one that is not known the worst of the smaller ones."""
    nearest = 0.0
    for size, step in ((22, 1), (17, 1), (16, 2), (19, 3)):
        plan: list[np.ndarray] = [np.zeros((0, 1), np.int64)] * (1 + max(SIZES, KINDS, WINDOWS_OF))
        plan[SIZES], plan[KINDS] = np.array([1, 1, size]), np.array([0, 1, 2])
        plan[STEP_TILE] = np.array([1, 1, step])
        worst = 0.0
        for some in combinations_with_replacement(range(1, size // step + 1), tier):
            tiles = tuple(step * tile for tile in reversed(some))
            if tiles[-1] >= size:
                continue
            table = np.array([[1, 1, tile] for tile in tiles])
            bound, found = _crossing(THIRD, tier, True, table, plan), crossing_walked(size, tiles)
            assert found <= bound * (1 + 1e-12)
            nearest, worst = max(nearest, found / bound), max(worst, found)
        whole = np.array([[1, 1, size]] * tier)
        assert worst <= _crossing(THIRD, tier, False, whole, plan)
    assert nearest > 0.99  # no bound could say less


def test_a_way_left_out_is_an_earlier_one_to_the_search() -> None:
    """Axes that are alike for all memories: the same arrays, of a way that has a lower number."""
    ports = (Port(direction="both", width_bits=Fraction(8)),)
    sizes = (("outer", None, ()), ("inner", 4096, ()), ("own", 64, ("c", "x", "y")))
    memories = tuple(
        Memory(name=name, holds=("weight", "input", "output"), size_bits=size, per=per, ports=ports)
        for name, size, per in sizes
    )
    axes = tuple(
        Axis(name=name, size=size, dims=dims)
        for name, size, dims in (("c", 2, ("n",)), ("x", 6, ("n", "k")), ("y", 4, ("n", "m")))
    )
    chip, layer = Hierarchy(memories=memories, axes=axes), Loops.product(5, 12, 7)
    bits = random_bits(random.Random(1))
    packed, ways = Packed(layer, bits, chip, storages(chip)[0]), Ways(layer, axes)
    kept = ways.distinct((*packed.pers, *chip.counted_units))
    left_out, units_pj = np.setdiff1d(np.arange(len(ways)), kept), packed.units_pj(ways)
    assert 20 < len(left_out) < len(ways) / 2
    for number in left_out.tolist():
        same = (ways.tiles == ways.tiles[number]).all(axis=1) & (units_pj == units_pj[number])
        tables, *plans = [
            Unrolled(packed, ways.way(way), way, 0.0).plan[4:8]
            for way in [number, *np.intersect1d(kept, np.flatnonzero(same)).tolist()]
            if way <= number
        ]
        assert any(all(map(np.array_equal, tables, plan)) for plan in plans), ways.way(number)


def test_tiles_are_the_least_of_their_number_of_blocks() -> None:
    assert tiles_of(10, 3) == (12, 6, 3)
    assert tiles_of(1, 4) == (4,)
    for size, step in ((7, 2), (60, 7), (31, 1)):
        blocks = [-(-size // tile) for tile in tiles_of(size, step)]
        assert blocks == sorted(set(blocks))
        assert {-(-size // (step * i)) for i in range(1, size + 1)} == set(blocks)


def test_what_has_no_room_has_no_floor_that_counts() -> None:
    """A pair of tiles that no third leaves room for is beyond all costs."""
    rng = random.Random(1)
    largest = 0.0
    while largest < NONE:
        *_, packed, _, _, unrolled = unrolled_case(rng)
        tiles = packed.tier_tiles(unrolled.step_tile.tolist())
        tables = floors_of(tiles, unrolled.plan, unrolled.layout, packed.rates(unrolled.plan))
        largest = float(tables[0][0].max(initial=0.0))
    assert largest >= NONE
