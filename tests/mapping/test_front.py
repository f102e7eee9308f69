"""The front of clocks and energy against every mapping of small spaces; bounds are safe."""

import random

import numpy as np
import pytest

from bitlathe.mapping.cost import cost
from bitlathe.mapping.legal import problems
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.search import front, search
from bitlathe.mapping.search_kernels import array_pj
from bitlathe.mapping.space import Ways, storages
from bitlathe.mapping.step_energy import exact_bounds, taken_pj
from bitlathe.mapping.unrolled import Unrolled, new_front
from map_cases import (
    every_mapping,
    one_order,
    random_bits,
    random_chip,
    small_space,
    some_tiles,
)


def plain_front(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the points that no other is at least as good as, energies equal within rounding."""
    kept: list[tuple[int, float]] = []
    for cycles, energy in sorted(points):
        if not kept or energy < kept[-1][1] * (1 - 1e-12):
            kept.append((cycles, energy))
    return kept


@pytest.mark.parametrize("seed", [1, 4, 6, 8, 13, 43])
def test_front_is_that_of_every_mapping(seed: int) -> None:
    layer, bits, chip = small_space(seed)
    costs = [
        cost(layer, bits, mapping, chip)
        for mapping in every_mapping(layer, chip)
        if not problems(layer, bits, mapping, chip)
    ]
    if not costs:
        pytest.skip("nothing fits")
    found = front(layer, bits, chip)
    expected = plain_front([(each.cycles, each.total_pj) for each in costs])
    assert [each.cost.cycles for each in found] == [cycles for cycles, _ in expected]
    np.testing.assert_allclose(
        [each.cost.total_pj for each in found], [pj for _, pj in expected], rtol=1e-9
    )


@pytest.mark.parametrize("seed", range(3))
def test_its_ends_are_the_best_of_either(seed: int) -> None:
    rng = random.Random(seed)
    bits, chip = random_bits(rng), random_chip(rng, large=True)
    layer = Loops.product(*(rng.randint(5, 40) for _ in range(3)))
    found = front(layer, bits, chip)
    assert found[0].cost.cycles == search(layer, bits, chip, "cycles").cost.cycles
    least = search(layer, bits, chip, "energy").cost.total_pj
    assert found[-1].cost.total_pj == pytest.approx(least, rel=1e-9)
    product = min(each.cost.edp for each in found)
    assert product == pytest.approx(search(layer, bits, chip, "edp").cost.edp, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_undercuts_a_bound(seed: int) -> None:
    """Of an unrolling, and of any part of it: what bounds exclude is not better than the best."""
    rng = random.Random(seed)
    compared = 0
    while compared < 25:
        chip, bits = random_chip(rng, large=True), random_bits(rng)
        layer = Loops.product(*(rng.randint(1, 60) for _ in range(3)), rng.choice([1, 1, 2]))
        packed, ways = Packed(layer, bits, chip, rng.choice(storages(chip))), Ways(layer, chip.axes)
        number = rng.randrange(len(ways))
        unrolled = Unrolled(packed, ways.way(number), 0, packed.units_pj(ways)[number])
        if not all(len(each.tiles) for each in unrolled.chains):
            continue
        some_tiles(unrolled, rng, 4)
        one_order(unrolled, rng)
        # of those that are left, whose steps decide which tiles have floors
        others = rng.sample(range(len(ways)), min(len(ways), rng.choice([0, 2, 1 << 20])))
        left = np.array(sorted({number, *others}))
        at, (cycles, energy) = int(np.searchsorted(left, number)), packed.bounds(ways)
        bounds = [(cycles[left], energy[left])]
        for sharper in (Packed.floor_bounds, exact_bounds):
            bounds.append(sharper(packed, ways, left, *bounds[-1]))
        assert packed.floor[0] >= 0  # from here on cells are bounded first
        taken = array_pj(unrolled.plan, (0.0, 0.0), packed.scratch)
        assert taken_pj(packed, ways, left[[at]]) == pytest.approx(taken, rel=1e-12)
        for objective in range(3):
            whole, bounded = new_front(objective), new_front(objective)
            unrolled.fixed[3] = 0
            unrolled.search(objective, 1 << 40, whole)
            unrolled.fixed[3] = 1
            unrolled.search(objective, 1 << 40, bounded)
            np.testing.assert_allclose(bounded[0][0], whole[0][0], rtol=1e-12)
            np.testing.assert_array_equal(bounded[1], whole[1])  # of equals the same
            if whole[2][0]:  # whatever was known before that is as good, and later in the order
                known = new_front(objective)
                known[0][:], known[1][:, 0], known[2][:] = whole[0], 1 << 20, 1
                one, first = left[[at]], -int(number)  # this unrolling has number 0
                assert packed.hopeless_ways(ways, one, first, objective, known) == 0
                known[0][:] = 0.0
                assert packed.hopeless_ways(ways, one, first, objective, known) == 1
                known[0][:] = whole[0]
                unrolled.search(objective, 1 << 40, known)
                np.testing.assert_array_equal(known[1], whole[1])
            for cycles, energy in bounds:
                assert cycles[at] <= whole[0][0, 0]
                assert energy[at] <= whole[0][0, 1]
        compared += bool(whole[2][0])
