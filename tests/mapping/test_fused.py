"""Fused chains: costs against a walk of every block, the search against every tiling, laws."""

import math
import random
from dataclasses import asdict, replace
from typing import Any

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.fused.chain import Chain, Lanes, Mask
from bitlathe.mapping.fused.cost import FusedCost, cost
from bitlathe.mapping.fused.near import NearChip, near_chip
from bitlathe.mapping.fused.products import Asked, BlockProduct, block_product, floor_product
from bitlathe.mapping.fused.tiling import Tiling, needs, problem
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search as search_mapping
from fused_cases import (
    made_up,
    plain,
    random_chain,
    random_lanes,
    random_near,
    random_tiling,
)
from map_cases import with_bursts
from naive import fused_naive

CASES = 400


def unbounded(near: NearChip) -> NearChip:
    """Return a chip whose near memories hold all and have two places."""
    memories = [
        memory if memory.per or memory is near.whole.memories[0]
        else replace(memory, size_bits=1 << 40, words=None, double_buffered=True)
        for memory in near.whole.memories
    ]  # fmt: skip
    return near_chip(replace(near.whole, memories=tuple(memories)))


@pytest.mark.parametrize("seed", range(8))
def test_costs_are_those_of_a_walk_of_every_block(seed: int) -> None:
    rng = random.Random(f"fused {seed}")
    for _ in range(CASES // 8):
        near, lanes, chain = unbounded(random_near(rng)), random_lanes(rng), random_chain(rng)
        if rng.random() < 0.3:
            near = near_chip(with_bursts(near.whole, rng.choice([24, 50, 512])))
        tiling, product = random_tiling(rng, chain, lanes), made_up(rng, near)
        found = cost(chain, tiling, near, lanes, product)
        data = plain(chain, near, lanes, product)
        cycles, machine = fused_naive.run(data[0], asdict(tiling), data[1], data[2], data[3])
        assert found.cycles == cycles, (chain, tiling)
        assert found.lower_bound_cycles <= cycles, (chain, tiling)
        assert sum(found.waits) == machine.idle
        same_amounts(found, machine, near, cycles)


def same_amounts(found: FusedCost, machine: Any, near: NearChip, cycles: int) -> None:
    assert dict(found.outer_bits) == machine.bits
    assert found.busy_cycles["vector"] == machine.lane_clocks
    assert found.busy_cycles["array"] == math.ceil(machine.steps)
    for at, (reads, writes) in found.accesses.items():
        assert reads == machine.reads.get(at, 0), at
        assert writes == machine.writes.get(at, 0), at
    assert {at for at, count in machine.busy.items() if count} <= set(found.accesses)
    energy = found.energy_pj
    assert math.isclose(energy["vector"], machine.pj["vector"])
    assert math.isclose(energy["dram"], machine.pj["dram"])
    assert math.isclose(energy["array"], machine.pj["array"])
    assert math.isclose(energy["sram_read"] + energy["sram_write"], machine.pj["memories"])
    assert math.isclose(energy["static"], cycles * near.whole.static_pj)
    assert math.isclose(energy["total"], sum(energy.values()) - energy["total"])


def searched(chain: Chain, near: NearChip, asked: Asked) -> BlockProduct:
    best = search_mapping(asked.loops(chain), asked.bits(chain), near.inside)
    return block_product(best, near)


def test_no_floor_of_a_product_is_above_its_best_mapping() -> None:
    rng = random.Random("floors")
    for _ in range(40):
        near, chain = random_near(rng), random_chain(rng)
        rows, columns = rng.randint(1, 9), rng.randint(1, 9)
        asked = Asked(rng.random() < 0.5, rows, columns, rng.random() < 0.5)
        floor, best = floor_product(chain, near, asked), searched(chain, near, asked)
        assert floor.cycles <= best.cycles
        assert floor.step_cycles <= best.step_cycles
        assert floor.array_pj <= best.array_pj * (1 + 1e-12)
        assert floor.memory_pj <= best.memory_pj * (1 + 1e-12)
        for at, (reads, writes, busy) in floor.accesses.items():
            assert reads <= best.accesses[at][0], at
            assert writes <= best.accesses[at][1], at
            assert busy <= best.accesses[at][2], at


def test_a_tiling_fits_where_its_tiles_do() -> None:
    rng = random.Random("room")
    fits = 0
    for _ in range(300):
        near, lanes, chain = random_near(rng), random_lanes(rng), random_chain(rng)
        tiling = random_tiling(rng, chain, lanes)
        taken: dict[str, int] = {}
        doubled = set()
        for need in needs(chain, tiling):
            name = near.memory(need.operand).name
            taken[name] = taken.get(name, 0) + need.tiles * math.ceil(need.elements * need.bits)
            if need.tiles == 2:
                doubled.add(name)
        room = all(taken[name] <= (near.whole.memory(name).size_bits or 0) for name in taken)
        room &= all(near.whole.memory(name).double_buffered for name in doubled)
        assert (problem(chain, tiling, near) is None) == room
        fits += room
    assert 50 < fits < 250


WORKED = Chain(
    m=4,
    middle=8,
    out=2,
    inner=2,
    first=OperandBits(weight=8, input=16, output=16),
    second=OperandBits(weight=8, input=16, output=16, partial=32),
)


def test_needs_of_a_worked_example() -> None:
    streamed = {each.what: each[2:] for each in needs(WORKED, Tiling(rows=2, columns=4))}
    assert streamed == {
        "inputs": (4, 16, 1),
        "weights": (8, 8, 1),
        "weights of the second": (8, 8, 1),
        "middle": (8, 16, 1),
        "middle as input": (8, 16, 1),
        "results": (4, 16, 1),
        "a block's sums": (4, 32, 1),
        "sums": (4, 32, 1),
        "row state": (4, 32, 1),
    }
    alone = [each.what for each in needs(WORKED, Tiling(rows=2, columns=8))]
    assert "sums" not in alone
    held = {each.what: each[2:] for each in needs(WORKED, Tiling(rows=2, columns=4, held=1))}
    assert held["weights"] == (16, 8, 1)


@pytest.mark.parametrize(
    ("mask", "held", "bits"),
    [
        (None, 0, 2 * (16 + 16) * 8),  # keys and values once for each of two blocks of rows
        (None, 1, (16 + 16) * 8),  # once
        (Mask(before=0), 0, 2 * (8 + 8) * 8),  # no row sees the second of two blocks of columns
        (Mask(before=4), 0, 2 * (16 + 16) * 8),
        (Mask(before=4, window=1), 0, 2 * (8 + 8) * 8),  # all see the second only
    ],
)
def test_traffic_is_compulsory_plus_refetches(mask: Mask | None, held: int, bits: int) -> None:
    chain = replace(WORKED, mask=mask)
    rng = random.Random("traffic")
    near = unbounded(random_near(rng))
    tiling = Tiling(rows=2, columns=4, held=held)
    found = cost(chain, tiling, near, Lanes(lanes=4), made_up(rng, near))
    assert found.outer_bits == {"weight": bits, "input": 4 * 2 * 16, "output": 4 * 2 * 16}


def test_online_softmax_counts_what_its_formula_says() -> None:
    rng = random.Random("lanes")
    near, lanes = unbounded(random_near(rng)), Lanes(lanes=1, special_cycles=4)
    elements, rows, results = 4 * 8, 4, 4 * 2

    def clocks(columns: int) -> int:
        tiling = Tiling(rows=4, columns=columns)
        return cost(WORKED, tiling, near, lanes, made_up(rng, near)).busy_cycles["vector"]

    assert clocks(8) == elements * (3 + 1 + 4) + rows * 4
    later, finish = 7 * (rows * (3 + 1 + 4) + results * 2), results + rows * 4
    assert clocks(1) == elements * (3 + 4) + later + finish


def test_what_is_wrong_is_said() -> None:
    rng = random.Random("wrong")
    near = unbounded(random_near(rng))
    product = made_up(rng, near)
    with pytest.raises(BitlatheError, match=r"beside the array \(vector.overlap\)"):
        cost(
            WORKED,
            Tiling(rows=1, columns=1, ahead=True),
            near,
            Lanes(lanes=1, overlap=False),
            product,
        )
    with pytest.raises(BitlatheError, match="tiling: rows is 0"):
        Tiling(rows=0, columns=1)
    with pytest.raises(BitlatheError, match="two instances held and places 1"):
        Tiling(rows=1, columns=1, held=2)
    with pytest.raises(BitlatheError, match="chain: middle is 0"):
        replace(WORKED, middle=0)
    with pytest.raises(BitlatheError, match="no row sees any of the 8 columns"):
        cost(
            replace(WORKED, mask=Mask(before=99, window=1)),
            Tiling(rows=1, columns=1),
            near,
            Lanes(lanes=1),
            product,
        )
    with pytest.raises(BitlatheError, match="cut tokens of 2 rows"):
        cost(
            replace(WORKED, mask=Mask(rows_per_token=2)),
            Tiling(rows=1, columns=1),
            near,
            Lanes(lanes=1),
            product,
        )
