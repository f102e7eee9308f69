"""The search for tilings of fused chains: against every tiling of the space; its laws."""

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES, Best, Objective
from bitlathe.mapping.fused.chain import Chain, Lanes, activation
from bitlathe.mapping.fused.cost import FusedCost, bound_of, cost, cost_of
from bitlathe.mapping.fused.demand import demand
from bitlathe.mapping.fused.floors import Floors, places_of
from bitlathe.mapping.fused.near import NearChip, near_chip, why_not
from bitlathe.mapping.fused.products import Asked, BlockProduct, block_product, floor_product
from bitlathe.mapping.fused.search import costed, extents, search, spilling, tilings
from bitlathe.mapping.fused.tiling import Tiling, problem
from bitlathe.mapping.mappers import ORDERS
from bitlathe.mapping.operands import OperandBits
from fused_cases import (
    enlarged,
    every_tiling,
    found_once,
    random_chain,
    random_lanes,
    random_near,
    sizes,
)


def best_cost(
    chain: Chain, near: NearChip, lanes: Lanes, objective: Objective = "cycles"
) -> FusedCost:
    found = search(chain, near, lanes, objective, map_product=found_once())
    return cost_of(chain, found.tiling, near, costed(chain, near, lanes, found))


def has_room(
    chain: Chain, tiling: Tiling, near: NearChip, lanes: Lanes, objective: Objective, kept: Any
) -> bool:
    """Whether a tiling fits, with the sums that its products' mappings leave in the near memory."""
    products: dict[Asked, Best] = {}

    def product(asked: Asked) -> BlockProduct:
        products[asked] = kept(asked.loops(chain), asked.bits(chain), near.inside, objective)
        return block_product(products[asked], near)

    asked = demand(chain, tiling, near, lanes, product)
    return problem(chain, tiling, near, spilling(chain, near, asked, products)) is None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_search_finds_the_best_of_every_tiling(objective: Any) -> None:
    rng = random.Random(f"search {objective}")
    cases = better = 0
    while cases < 3:
        near, lanes, chain = random_near(rng), random_lanes(rng), random_chain(rng)
        kept = found_once()
        some = [each for each in every_tiling(chain, lanes) if problem(chain, each, near) is None]
        if not some:
            with pytest.raises(BitlatheError, match="too small to fuse"):
                search(chain, near, lanes, objective, map_product=kept)
            continue

        def product(
            asked: Asked, chain: Chain = chain, near: NearChip = near, kept: Any = kept
        ) -> BlockProduct:
            best = kept(asked.loops(chain), asked.bits(chain), near.inside, objective)
            return block_product(best, near)

        rank = ORDERS[objective]
        some = [each for each in some if has_room(chain, each, near, lanes, objective, kept)]
        if not some:
            continue
        costs = [cost(chain, each, near, lanes, product) for each in some]
        least = min(rank(each.cycles, each.total_pj) for each in costs)
        found = search(chain, near, lanes, objective, map_product=kept)
        mapped = {each: block_product(best, near) for each, best in found.products.items()}
        again = cost(chain, found.tiling, near, lanes, mapped.__getitem__)
        assert rank(again.cycles, again.total_pj) == pytest.approx(least, rel=1e-12)
        assert again == cost_of(chain, found.tiling, near, costed(chain, near, lanes, found))
        assert found.tilings_costed <= found.tilings
        better += found.tilings_costed < found.tilings
        cases += 1
    assert better


def test_sums_are_spilled_where_weights_are_more_than_fits_and_rows_few() -> None:
    """Half of the weights fit, and few rows: spilled, each weight comes once."""
    ports = (Port(direction="both", width_bits=Fraction(8), read_pj=9.0, write_pj=9.0),)
    cheap = (Port(direction="both", width_bits=Fraction(64), read_pj=0.1, write_pj=0.1),)
    memories = (
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports),
        Memory(name="weights", holds=("weight",), size_bits=1500, ports=cheap),
        Memory(name="io", holds=("input", "output"), size_bits=1200, ports=cheap),
    )
    axis = Axis(name="rows", size=4, dims=("n",))
    near = near_chip(Hierarchy(memories=memories, axes=(axis,), units=("rows",), unit_pj=0.1))
    bits = OperandBits(weight=8, input=8, output=8, partial=32)
    chain = Chain(m=32, middle=32, out=4, inner=4, first=bits, second=bits,
                  steps=activation(("relu",)))  # fmt: skip
    lanes = Lanes(lanes=8)
    found = search(chain, near, lanes, "energy", map_product=found_once())
    assert found.tiling.spilled
    spilled = cost_of(chain, found.tiling, near, costed(chain, near, lanes, found))
    blocks = -(-32 // found.tiling.columns)
    assert spilled.outer_bits == {
        "weight": 32 * (4 + 4) * 8,
        "input": blocks * 32 * 4 * 8,
        "output": 32 * 4 * 8 + 2 * (blocks - 1) * 32 * 4 * 32,
    }
    kept = found_once()
    products = {
        each: cost(
            chain, each, near, lanes,
            lambda asked: block_product(
                kept(asked.loops(chain), asked.bits(chain), near.inside, "energy"), near
            ),
        ).total_pj
        for each in every_tiling(chain, lanes)
        if has_room(chain, each, near, lanes, "energy", kept)
    }  # fmt: skip
    assert min(products.values()) == pytest.approx(spilled.total_pj, rel=1e-12)
    assert min(pj for each, pj in products.items() if not each.spilled) > spilled.total_pj


def test_sums_of_a_block_that_are_not_finished_take_room() -> None:
    """A row of inputs of 8 bits, the middle and results as sums of 32, the middle as input of 8."""
    ports = (Port(direction="both", width_bits=Fraction(8), read_pj=9.0, write_pj=9.0),)
    bits = OperandBits(weight=8, input=8, output=8, partial=32)
    chain = Chain(m=4, middle=4, out=4, inner=4, first=bits, second=bits,
                  steps=activation(("relu",)))  # fmt: skip

    def found(size: int) -> tuple[int, int]:
        memories = (
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports),
            Memory(name="weights", holds=("weight",), size_bits=4096, ports=ports),
            Memory(name="io", holds=("input", "output"), size_bits=size, ports=ports),
        )
        axis = Axis(name="rows", size=4, dims=("n",))
        near = near_chip(Hierarchy(memories=memories, axes=(axis,), units=("rows",)))
        tiling = search(chain, near, Lanes(lanes=8), "energy", map_product=found_once()).tiling
        return tiling.rows, tiling.columns

    row = 4 * (8 + 32 + 8 + 32)  # fewer columns take more: sums of a block beside those of all
    assert found(row) == (1, 4)
    with pytest.raises(BitlatheError, match="unfinished sums of the blocks' products do not fit"):
        found(row - 1)


def test_no_floor_of_all_tilings_is_above_a_bound_of_one() -> None:
    rng = random.Random("floors of all")
    close = cases = 0
    while cases < 40:
        near, lanes, chain = random_near(rng), random_lanes(rng), random_chain(rng)
        some = [*tilings(chain, near, lanes)]
        assert {*some} == {
            each
            for each in every_tiling(chain, lanes)
            if each.held < (1 if each.rows == chain.m else 2 if chain.instances == 1 else 3)
            if not (each.spilled and each.rows == chain.m)
            if problem(chain, each, near) is None
        }
        if not some:
            continue
        sizes_of = sorted({each.rows for each in some}), sorted({each.columns for each in some})
        floors = Floors(chain, near, lanes, *sizes_of)
        for tiling in rng.sample(some, min(8, len(some))):
            asked = demand(chain, tiling, near, lanes, partial(floor_product, chain, near))
            cycles, energy_pj = bound_of(chain, tiling, near, asked)
            ((floor,), (floor_pj,)) = floors.of(places_of([tiling], *sizes_of))
            assert floor <= cycles
            assert floor_pj <= energy_pj
            close += floor_pj > 0.7 * energy_pj
        cases += 1
    assert close > 100


def test_extents_are_the_least_for_their_number_of_blocks() -> None:
    for size in range(1, 130):
        assert set(extents(size)) == sizes(size)


def wider(memory: Memory) -> Memory:
    ports = (replace(port, width_bits=port.width_bits * 2) for port in memory.ports)
    return replace(memory, ports=tuple(ports))


def larger(memory: Memory) -> Memory:
    return memory if memory.size_bits is None else replace(memory, size_bits=2 * memory.size_bits)


def faster(memory: Memory) -> Memory:
    if memory.size_bits is not None or memory.words is not None:
        return memory
    return replace(wider(memory), latency_cycles=0)


def as_it_is(lanes: Lanes) -> Lanes:
    return lanes


def more_lanes(lanes: Lanes) -> Lanes:
    return replace(lanes, lanes=2 * lanes.lanes)


@pytest.mark.parametrize(
    ("memories", "unit"),
    [(wider, as_it_is), (larger, as_it_is), (faster, as_it_is), (None, more_lanes)],
)
def test_more_of_a_chip_is_never_slower(
    memories: Callable[[Memory], Memory] | None, unit: Callable[[Lanes], Lanes]
) -> None:
    rng = random.Random(f"laws {memories} {unit}".partition(" at ")[0])
    cases = 0
    while cases < 2:
        near, lanes, chain = random_near(rng), random_lanes(rng), random_chain(rng)
        more: Hierarchy = enlarged(near.whole, memories) if memories else near.whole
        try:
            before = best_cost(chain, near, lanes)
        except BitlatheError:
            continue
        after = best_cost(chain, near_chip(more), unit(lanes))
        assert after.cycles <= before.cycles, (chain, near.whole)
        cases += 1


def test_larger_buffers_and_faster_dram_are_never_costlier() -> None:
    rng = random.Random("energy")
    cases = 0
    while cases < 2:
        near, lanes, chain = random_near(rng), random_lanes(rng), random_chain(rng)
        near = near_chip(replace(near.whole, static_pj=0.0))
        try:
            before = best_cost(chain, near, lanes, "energy")
        except BitlatheError:
            continue
        after = best_cost(chain, near_chip(enlarged(near.whole, larger)), lanes, "energy")
        assert after.total_pj <= before.total_pj * (1 + 1e-12)
        cases += 1


def test_a_chip_without_near_memory_of_an_operand_is_refused() -> None:
    rng = random.Random("near")
    whole = random_near(rng).whole
    bare = replace(
        whole, memories=(whole.memories[0], *(m for m in whole.memories if "weight" not in m.holds))
    )
    assert why_not(bare) == (
        "weights pass from 'dram' to the array with no memory between that all units share, so "
        "that no block of them can wait on the chip"
    )
    with pytest.raises(BitlatheError, match="give each operand a memory right behind 'dram'"):
        near_chip(bare)


def test_a_near_memory_behind_that_of_another_operand_is_refused() -> None:
    port = Port(direction="both", width_bits=Fraction(32))
    outer, first, inner = (
        Memory(name=name, holds=holds, size_bits=size, ports=(port,))
        for name, holds, size in (
            ("dram", OPERANDS, None),
            ("first", ("weight", "input"), 2**16),
            ("inner", ("input", "output"), 2**16),
        )
    )
    axis = Axis(name="rows", size=4, dims=("n",))
    assert why_not(Hierarchy(memories=(outer, first, inner), axes=(axis,))) == (
        "inputs pass through 'first' and then 'inner', in which blocks of outputs wait, so that "
        "the two do not stand side by side"
    )
