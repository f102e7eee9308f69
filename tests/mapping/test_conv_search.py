"""The search of convolutions against every mapping of small spaces, and the plain cost."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES
from bitlathe.mapping.cost import cost
from bitlathe.mapping.legal import problems
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.search import search
from bitlathe.mapping.space import Ways, searchable, storages
from bitlathe.mapping.unrolled import Unrolled, new_front
from bitlathe.sim.cycle.nest.run import run_nest
from bitlathe.workloads.conv_shape import ConvShape
from map_cases import (
    compiled_and_plain,
    deep_chip,
    every_convolution,
    least_of,
    one_order,
    random_bits,
    random_chip,
    random_conv,
    some_tiles,
)


@pytest.mark.parametrize("seed", range(20))
def test_compiled_cost_of_a_convolution_is_the_plain_one(seed: int) -> None:
    """Random tiles, orders, doublings and unrollings, of whatever fits; borders."""
    rng = random.Random(seed)
    compared = 0
    while compared < 15:
        chip, bits = random_chip(rng, large=True), random_bits(rng)
        layer = random_conv(rng, 6, padding=3)
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is None:
            continue
        mapping, cycles, energy_pj, plain = found
        assert cycles == plain.cycles, mapping.text(layer.sizes)
        assert energy_pj == pytest.approx(plain.total_pj, rel=1e-12)
        compared += 1


def small_space(seed: int) -> tuple[Loops, OperandBits, Hierarchy]:
    rng = random.Random(seed)
    chip, bits = random_chip(rng), random_bits(rng)
    while True:
        layer = random_conv(rng, 2)
        if 4 <= layer.macs <= 32:
            return layer, bits, chip


SLOW = (5, 10, 12, 15, 20, 31, 34, 35, 36, 38, 39)  # 3 to 26 s each


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=pytest.mark.slow if seed in SLOW else ()) for seed in range(40)],
)
def test_search_finds_the_best_of_every_mapping(seed: int) -> None:
    layer, bits, chip = small_space(seed)
    for objective in OBJECTIVES:
        expected = least_of(layer, bits, chip, objective, every_convolution(layer, chip))
        if expected is None:
            with pytest.raises(BitlatheError, match=r"too small|no mapping of the layer fits"):
                search(layer, bits, chip, objective)
            continue
        found = search(layer, bits, chip, objective)
        assert problems(layer, bits, found.mapping, chip) == ()
        at = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}[objective]
        assert getattr(found.cost, at) == pytest.approx(getattr(expected, at), rel=1e-9)


@pytest.mark.parametrize("seed", [5, 8, 11, 13, 28, 46, 57])
def test_search_finds_the_best_of_every_mapping_with_a_border(seed: int) -> None:
    """Pixels of the border are neither stored nor moved: not by the search either."""
    rng = random.Random(1000 + seed)
    chip, bits = random_chip(rng), random_bits(rng)
    while True:
        chip, bits = random_chip(rng), random_bits(rng)
        layer = random_conv(rng, 2, padding=2)
        border = layer.elements("input") < layer.bordered().elements("input")
        if 4 <= layer.macs <= 24 and border and len(storages(chip)) <= 2:
            break
    for objective in OBJECTIVES:
        expected = least_of(layer, bits, chip, objective, every_convolution(layer, chip))
        assert expected is not None
        found = search(layer, bits, chip, objective)
        assert found.optimal
        at = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}[objective]
        assert getattr(found.cost, at) == pytest.approx(getattr(expected, at), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_no_bound_excludes_the_best_of_a_part_with_a_border(seed: int) -> None:
    """On chips of three and four levels: with bounds, and without, the same mapping is found."""
    rng = random.Random(seed)
    compared = 0
    while compared < 8:
        chip, bits = deep_chip(rng, large=True), random_bits(rng)
        layer = random_conv(rng, rng.choice([3, 8]), padding=3)
        packed = Packed(searchable(layer), bits, chip, rng.choice(storages(chip)))
        ways = Ways(packed.layer, chip.axes)
        number = rng.randrange(len(ways))
        unrolled = Unrolled(packed, ways.way(number), 0, packed.units_pj(ways)[number])
        if not all(len(each.tiles) for each in unrolled.chains):
            continue
        some_tiles(unrolled, rng, 4)
        one_order(unrolled, rng)
        bounds = [packed.bounds(ways)]
        bounds.append(packed.floor_bounds(ways, np.arange(len(ways)), *bounds[0]))
        for objective in range(3):
            every, bounded = (new_front(objective, len(packed.dims)) for _ in range(2))
            for front, with_bounds in ((every, 0), (bounded, 1)):
                unrolled.fixed[3] = with_bounds
                unrolled.search(objective, 1 << 40, front)
            np.testing.assert_allclose(bounded[0][0], every[0][0], rtol=1e-12)
            np.testing.assert_array_equal(bounded[1], every[1])
            for cycles, energy in bounds:
                assert cycles[number] <= every[0][0, 0]
                assert energy[number] <= every[0][0, 1]
        compared += bool(every[2][0])


def test_the_least_size_that_is_named_works_at_a_border() -> None:
    """A row of outputs in the middle reads more than the first, of which two rows are border."""
    shape = ConvShape(
        in_channels=1, out_channels=1, size=(5, 3), kernel=(5, 1), padding=(2, 0)
    )  # fmt: skip
    layer, bits = Loops.conv(shape), OperandBits(
        weight=Fraction(8), input=Fraction(8), output=Fraction(8), partial=32
    )  # fmt: skip
    ports = (Port(direction="both", width_bits=Fraction(64)),)
    memories = [Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports)]
    memories.append(Memory(name="buffer", holds=("input",), size_bits=119, ports=ports))
    axes = (Axis(name="x", size=1, dims=("n",)),)
    with pytest.raises(BitlatheError, match="takes 120 bits, and it has 119, 1 too few"):
        search(layer, bits, Hierarchy(memories=tuple(memories), axes=axes))
    memories[1] = replace(memories[1], size_bits=120)
    search(layer, bits, Hierarchy(memories=tuple(memories), axes=axes))


def test_the_machine_of_a_mapping_takes_convolutions() -> None:
    """Its ports are in use as long as the counts say, borders moved by neither.

    Whether what comes again is played once or not changes nothing.
    """
    rng = random.Random(3)
    for _ in range(10):
        layer, bits = random_conv(rng, 3, padding=2), random_bits(rng)
        chip = random_chip(rng, large=True)
        mapping = search(layer, bits, chip).mapping
        run = run_nest(layer, bits, mapping, chip)
        found = cost(layer, bits, mapping, chip)
        assert run.busy == {port.name: port.busy for port in found.ports}
        assert run.cycles >= found.cycles
        assert run == run_nest(layer, bits, mapping, chip, fold=False)
