"""The search against every mapping of small spaces; the compiled cost against the plain one."""

import math
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from bitlathe.arch import load_arch, resolve
from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.arch.short_form import hierarchy_of
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES
from bitlathe.mapping.cost import cost
from bitlathe.mapping.legal import problems
from bitlathe.mapping.mapped import Asked
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.search import NO_LIMIT, search
from bitlathe.mapping.space import storages, tiers_of
from bitlathe.mapping.unrolled import Unrolled
from bitlathe.sim.map_layer import product_on
from map_cases import (
    compiled_and_plain,
    deep_chip,
    every_mapping,
    least_of,
    random_bits,
    random_chip,
    small_space,
    with_bursts,
)
from naive.chip_bits import operand_bits


@pytest.mark.parametrize("seed", range(20))
def test_compiled_cost_is_the_plain_one(seed: int) -> None:
    """Random tiles, orders, doublings and unrollings, of whatever fits."""
    rng = random.Random(seed)
    compared = 0
    while compared < 30:
        chip, bits = random_chip(rng, large=True), random_bits(rng)
        if seed % 4 == 1:
            chip = with_bursts(chip, 50)
        layer = Loops.product(*(rng.randint(1, 40) for _ in range(3)), rng.choice([1, 1, 2]))
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is None:
            continue
        mapping, cycles, energy_pj, plain = found
        assert cycles == plain.cycles, mapping.text(layer.sizes)
        assert energy_pj == pytest.approx(plain.total_pj, rel=1e-12)
        assert plain.cycles >= plain.lower_bound_cycles
        compared += 1


def test_what_comes_once_has_no_window() -> None:
    """Two tiles of which only one comes, beside others through a port of both directions."""
    rng = random.Random(2)
    compared = 0
    while compared < 30:
        chip, bits = deep_chip(rng, large=True), random_bits(rng)
        shared = (replace(each, ports=(replace(each.ports[0], direction="both"),)) for each in
                  chip.memories)  # fmt: skip
        chip = replace(chip, memories=tuple(shared))
        layer = Loops.product(*(rng.randint(1, 9) for _ in range(3)))
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is None:
            continue
        mapping, cycles, _, plain = found
        assert cycles == plain.cycles, mapping.text(layer.sizes)
        compared += 1


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(
            seed,
            marks=pytest.mark.slow
            if seed in (0, 3, 9, 10, 12) or (seed > 13 and seed not in (41, 43, 59))
            else (),
        )
        for seed in range(60)
    ],
)
def test_search_finds_the_best_of_every_mapping(seed: int) -> None:
    layer, bits, chip = small_space(seed)
    if seed % 4 == 1:
        chip = with_bursts(chip, 20 + seed)
    for objective in OBJECTIVES:
        expected = least_of(layer, bits, chip, objective, every_mapping(layer, chip))
        if expected is None:
            with pytest.raises(BitlatheError, match="too small"):
                search(layer, bits, chip, objective)
            continue
        found = search(layer, bits, chip, objective)
        assert found.optimal
        assert problems(layer, bits, found.mapping, chip) == ()
        at = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}[objective]
        assert getattr(found.cost, at) == pytest.approx(getattr(expected, at), rel=1e-9)
        if objective == "cycles":
            assert found.cost.total_pj == pytest.approx(expected.total_pj, rel=1e-9)


def test_a_limit_gives_the_best_of_what_was_tried() -> None:
    """More is never worse, and only the whole space is called optimal."""
    layer, bits, chip = small_space(8)
    whole = search(layer, bits, chip)
    cycles = []
    for limit in range(1, 12):
        found = search(layer, bits, chip, limit=limit)
        cycles.append(found.cost.cycles)
        assert found.mappings_evaluated <= limit
        assert found.optimal == (found.mappings_evaluated < limit)
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[-1] >= whole.cost.cycles


def test_a_budget_says_how_far_its_best_may_be_from_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More is never worse; what is not proven is no further off than it says."""
    asked = product_on(load_arch("int8-three-level"), 8, 48, 64)
    case, ended = (asked.layer, asked.bits, asked.hierarchies[0]), 0
    for objective, at in zip(OBJECTIVES, ("cycles", "total_pj", "edp"), strict=True):
        whole, before = search(*case, objective), math.inf
        with monkeypatch.context() as patched:
            patched.setattr("bitlathe.mapping.search.FIRST_TURN", 1 << 8)
            patched.setattr("bitlathe.mapping.part_search.FIRST_SLICE", 1 << 6)
            for budget in (1, 1 << 12, 1 << 14, 1 << 16, NO_LIMIT):
                found = search(*case, objective, budget=budget)
                costs, within = getattr(found.cost, at), found.within
                assert within is not None
                assert costs <= before
                assert costs <= getattr(whole.cost, at) * within * (1 + 1e-9)
                assert not found.optimal or within == 1.0
                before, ended = costs, ended + (not found.optimal)
        assert found.optimal
        assert found.mapping == whole.mapping
    assert ended > 3


def test_a_limit_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made of storages and unrollings that are not costed any more."""
    looked, made = list[Packed](), list[Packed]()
    asked = product_on(load_arch("int8-three-level"), 16, 32, 32)
    chip = asked.hierarchies[0]
    optional = tuple(replace(each, optional=each.holds) for each in chip.memories[1:2])
    chip = replace(chip, memories=(chip.memories[0], *optional, *chip.memories[2:]))
    assert len(storages(chip)) > 1

    class Counted(Packed):
        def __init__(self, *args: Any) -> None:
            made.append(self)
            super().__init__(*args)

    class Looked(Unrolled):
        def search(self, *args: Any) -> int:
            looked.append(self.packed)
            return super().search(*args)

    search(asked.layer, asked.bits, chip, limit=1)  # compiled before it is counted
    monkeypatch.setattr("bitlathe.mapping.search.Packed", Counted)
    monkeypatch.setattr("bitlathe.mapping.part_search.Unrolled", Looked)
    assert search(asked.layer, asked.bits, chip, limit=1).mappings_evaluated == 1
    assert (len(made), len(looked)) == (1, 1)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_siblings_and_axes_changes_nothing(seed: int, objective: str) -> None:
    rng = random.Random(seed)
    bits, layer = random_bits(rng), Loops.product(*(rng.randint(5, 40) for _ in range(3)))
    chip = random_chip(rng, large=True)
    while len(tiers_of(chip)[1]) < 2:
        chip = random_chip(rng, large=True)
    dram, one, two, *rest = chip.memories
    other = replace(chip, memories=(dram, two, one, *rest), axes=chip.axes[::-1])
    found = [search(layer, bits, each, objective) for each in (chip, other)]  # type: ignore[arg-type]
    assert found[0].mapping == found[1].mapping
    assert found[0].cost.cycles == found[1].cost.cycles
    assert found[0].cost.total_pj == found[1].cost.total_pj


def test_a_memory_too_small_is_named_with_the_least_size_that_works() -> None:
    ports = (Port(direction="both", width_bits=Fraction(8)),)
    chip = Hierarchy(
        memories=(
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports),
            Memory(name="sram", holds=OPERANDS, size_bits=39, ports=ports),
        ),
        axes=(Axis(name="x", size=2, dims=("n",)),),
    )
    bits = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(16), partial=24)
    layer = Loops.product(4, 4, 4)
    with pytest.raises(BitlatheError) as error:
        search(layer, bits, chip)
    assert str(error.value) == (
        "memory 'sram' is too small: one element of each operand it must hold (weight, input, "
        "output) takes 40 bits, and it has 39, 1 too few; give at least 40."
    )
    sram = replace(chip.memories[1], size_bits=40)
    search(layer, bits, replace(chip, memories=(chip.memories[0], sram)))


def test_bad_input_is_said() -> None:
    layer, bits, chip = small_space(8)
    with pytest.raises(BitlatheError, match="unknown objective 'cylces'; did you mean 'cycles'"):
        search(layer, bits, chip, "cylces")  # type: ignore[arg-type]
    with pytest.raises(BitlatheError, match="bits of weight: 0; they must be more than 0"):
        replace(bits, weight=Fraction(0))
    with pytest.raises(BitlatheError, match="dimension n is 0, must be a whole number"):
        Loops.product(1, 0, 1)
    with pytest.raises(BitlatheError, match=r"n is 268435457, but the search takes products of up"):
        search(Loops.product(1, 2**28 + 1, 2), bits, chip)
    with pytest.raises(BitlatheError, match="takes products, of dimensions m, n, k and b"):
        search(Loops(sizes={"p": 2}, indexes=dict.fromkeys(OPERANDS, ("p",))), bits, chip)


def test_long_layers_are_counted_exactly() -> None:
    """As many tokens as models take, and bits with large denominators, in 64-bit counters."""
    chip = resolve(load_arch("bitmod"), phase="prefill", model="llama-2-7b")
    layer, hierarchy = Loops.product(131_072, 4_096, 11_008), hierarchy_of(chip)
    bits = operand_bits(chip, chip.formats.linear, 131_072, 4_096, 11_008)
    rng = random.Random(0)
    found = (compiled_and_plain(rng, layer, bits, hierarchy) for _ in range(400))
    compared = [each for each in found if each is not None]
    for mapping, cycles, energy_pj, plain in compared:
        assert cycles == plain.cycles, mapping.text(layer.sizes)
        assert energy_pj == pytest.approx(plain.total_pj, rel=1e-12)
    assert len(compared) > 10


def test_bits_too_fine_for_counters_are_searched_rounded_and_counted_exactly() -> None:
    chip = resolve(load_arch("bitmod"), phase="prefill", model="llama-2-7b")
    layer, hierarchy = Loops.product(131_072, 4_096, 11_008), hierarchy_of(chip)
    fine = OperandBits(
        weight=Fraction(8) + Fraction(1, 2**22),
        input=Fraction(8) + Fraction(1, 43 * 2**20),
        output=Fraction(8) + Fraction(1, 307 * 2**20),
    )
    found = search(layer, fine, hierarchy)
    assert found.cost == cost(layer, fine, found.mapping, hierarchy)
    assert not found.optimal
    told = Asked(layer=layer, bits=fine, hierarchies=(hierarchy,)).best().lines()
    assert any("best of its space, searched in bits rounded up;" in line for line in told)
    wider = search(layer, fine.coarser(256), hierarchy)
    assert wider.optimal
    assert wider.cost.cycles * (1 - 2**-10) <= found.cost.cycles <= wider.cost.cycles
