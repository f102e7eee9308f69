"""The search of convolutions against every mapping of small spaces, and the plain cost."""

import random

import pytest

from bitlathe.arch.hierarchy import Hierarchy
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES
from bitlathe.mapping.cost import cost
from bitlathe.mapping.legal import problems
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search
from bitlathe.mapping.space import searchable
from bitlathe.sim.cycle.nest.run import run_nest
from map_cases import (
    compiled_and_plain,
    every_convolution,
    least_of,
    random_bits,
    random_chip,
    random_conv,
)


@pytest.mark.parametrize("seed", range(20))
def test_compiled_cost_of_a_convolution_is_the_plain_one(seed: int) -> None:
    """Random tiles, orders, doublings and unrollings, of whatever fits; no border."""
    rng = random.Random(seed)
    compared = 0
    while compared < 15:
        chip, bits = random_chip(rng, large=True), random_bits(rng)
        layer = random_conv(rng, 6)
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


@pytest.mark.parametrize("seed", range(20))
def test_a_border_costs_no_more_than_if_it_were_stored(seed: int) -> None:
    """The search counts it; what the mapping costs does not."""
    rng = random.Random(100 + seed)
    layer = random_conv(rng, 4, padding=2)
    bits, chip = random_bits(rng), random_chip(rng, large=True)
    stored = searchable(layer)
    found = search(layer, bits, chip)
    assert found.mapping == search(stored, bits, chip).mapping
    assert problems(layer, bits, found.mapping, chip) == ()
    assert found.cost == cost(layer, bits, found.mapping, chip)
    whole = cost(stored, bits, found.mapping, chip)
    assert found.cost.cycles <= whole.cycles
    assert found.cost.total_pj <= whole.total_pj


def test_the_machine_of_a_mapping_takes_convolutions() -> None:
    """Its ports are in use as long as the counts say, the border stored (`run_nest` asserts it)."""
    rng = random.Random(3)
    for _ in range(10):
        layer, bits = random_conv(rng, 3, padding=1), random_bits(rng)
        chip = random_chip(rng, large=True)
        mapping = search(layer, bits, chip).mapping
        run = run_nest(layer, bits, mapping, chip)
        ports = cost(layer.bordered(), bits, mapping, chip).ports
        assert run.busy == {port.name: port.busy for port in ports}
        assert run.cycles >= cost(layer, bits, mapping, chip).compute_cycles
