"""Transfers looked up by the extents of their blocks against those that follow every loop."""

import numpy as np
import pytest

from bitlathe.arch import load_arch
from bitlathe.mapping import (
    alike_kernels,
    cost_kernels,
    nest_kernels,
    pair_kernels,
    shared_kernels,
)
from bitlathe.mapping.frame import ORDERS
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.scratch_kernels import (
    BOOK,
    FILLED,
    LOOPS,
    NEST,
    NO_WINDOW,
    SLOT_PJ,
    SLOT_SUMS,
    STACK,
    TILES,
    WORK,
)
from bitlathe.mapping.space import storages, ways_of
from bitlathe.mapping.tuple_kernels import ENDS_OF, KINDS, SIZES
from bitlathe.mapping.unrolled import Unrolled
from bitlathe.sim.map_layer import product_on


def random_unrolled(rng: np.random.Generator, name: str) -> Unrolled:
    """Some way to unroll a small random product on a chip."""
    m, n, k = (int(x) for x in rng.integers(1, 90, 3))
    asked = product_on(load_arch(name), m, n, k, "prefill")
    layer = Loops.product(m, n, k, batch=int(rng.integers(1, 4)))
    chip, stored = asked.hierarchies[0], storages(asked.hierarchies[0])
    packed = Packed(layer, asked.bits, chip, stored[int(rng.integers(len(stored)))])
    ways = ways_of(layer, chip.axes)
    return Unrolled(packed, ways.way(int(rng.integers(len(ways)))), 0, 0.0)


def random_nest(rng: np.random.Generator, unrolled: Unrolled) -> list[int]:
    """Choose tiles and orders of loops; return how many loops are outside each tier."""
    scratch, (_, _, _, _, _, members) = unrolled.packed.scratch, unrolled.space
    tile, cuts = scratch[TILES], [0]
    for d, chain in enumerate(unrolled.chains):
        tile[:, d] = chain.tiles[int(rng.integers(len(chain.tiles)))]
    for g in range(len(tile)):
        args = members, tile, unrolled.packed.sizes, scratch[LOOPS]
        at = nest_kernels._append(g, 3, *args, cuts[-1])
        cuts.append(nest_kernels._order(g, ORDERS[int(rng.integers(6))], *args, at))
    return cuts


@pytest.mark.parametrize("name", ["bitmod", "int8-three-level", "edge-npu"])
def test_looked_up_as_followed(name: str) -> None:
    rng, seen = np.random.default_rng(len(name)), 0
    while seen < 60:
        unrolled = random_unrolled(rng, name)
        if not all(len(each.tiles) for each in unrolled.chains):
            continue
        cuts, plan, scratch = random_nest(rng, unrolled), unrolled.plan, unrolled.packed.scratch
        (dims, tiles, groups), book, stack = scratch[LOOPS], scratch[BOOK], scratch[STACK]
        many, last = cuts[-1], len(cuts) - 1
        ports = (plan[ENDS_OF][..., cost_kernels.PORT] >= 0).reshape(len(plan[0]), -1)
        alike_kernels.prepare(0, 1, scratch[TILES], book, plan)
        alike_kernels.prepare(1, last, scratch[TILES], book, plan)
        for t, move in enumerate(plan[0].tolist()):
            tier = move[cost_kernels.TIER]
            if tier == last:
                continue
            loops, edge = (dims, groups), pair_kernels.LONE
            pair_kernels.follow(t, 0, 0, tier - 1, cuts[tier], loops, book, stack)
            pair_kernels.follow(t, 5, tier - 1, tier, cuts[tier], loops, book, stack)
            pair_kernels.find_edge(t, edge, cuts[tier], loops, book)
            for doubled in (False, True):
                found, right = np.zeros((2, *scratch[NO_WINDOW].shape), np.int64)
                args = doubled, False, found, cuts[tier], many, loops, book, found
                pj = pair_kernels.weigh(t, (0, 5, edge), *args)
                nest = dims, tiles, many
                assert pj == cost_kernels.move_cost(
                    t, cuts[tier], doubled, nest, plan, scratch[WORK], stack, right
                )
                right[~ports[t], cost_kernels.WINDOWS] = 0
                np.testing.assert_array_equal(found, right)
                seen += 1
            pair_kernels.edge_clocks_of(t, edge, book, found)
            cost_kernels.without_window(t, cuts[tier], nest, plan, scratch[WORK], right)
            busy = cost_kernels.BUSY
            np.testing.assert_array_equal(found[:, busy], right[:, busy])


@pytest.mark.parametrize("name", ["bitmod", "int8-three-level", "eyeriss-like"])
def test_counted_once_for_orders_that_are_alike(name: str) -> None:
    """Slots as the search fills them, order by order, against loops that are followed anew."""
    rng, seen = np.random.default_rng(7), 0
    while seen < 150:
        unrolled = random_unrolled(rng, name)
        if not all(len(each.tiles) for each in unrolled.chains):
            continue
        random_nest(rng, unrolled)
        plan, scratch, members = unrolled.plan, unrolled.packed.scratch, unrolled.space[-1]
        tile, loops, (which, live, _, _) = scratch[TILES], scratch[LOOPS], scratch[NEST]
        filled, groups = scratch[FILLED], len(tile)
        alike_kernels.prepare(0, 1, tile, scratch[BOOK], plan)
        alike_kernels.prepare(1, groups, tile, scratch[BOOK], plan)
        for g in range(groups):
            live[g] = nest_kernels._live(g, tile, plan[SIZES], plan[KINDS])
        shared_kernels.forget_nest(filled)
        for first in (0, *rng.integers(groups, size=12)):  # orders change from there inwards
            cuts = [0]
            for g in range(first, groups):
                which[g] = rng.integers(len(ORDERS))
                shared_kernels.forget_below(g, plan, filled)
            for g in range(groups):
                at = nest_kernels._append(g, 3, members, tile, plan[SIZES], loops, cuts[-1])
                order = ORDERS[which[g]]
                cuts.append(nest_kernels._order(g, order, members, tile, plan[SIZES], loops, at))
            nest, right = (loops[0], loops[1], cuts[-1]), scratch[NO_WINDOW]
            for t, move in enumerate(plan[0].tolist()):
                tier = move[cost_kernels.TIER]
                if not 1 < tier < groups:
                    continue
                for two in (False, True):
                    slot = 0 if two else shared_kernels.slot_of(t, plan, ORDERS, which, live)
                    args = nest, cuts[tier], ORDERS, plan, scratch
                    shared_kernels.fill_slot(t, slot, two, 0, *args)
                    pj = cost_kernels.move_cost(
                        t, cuts[tier], two, nest, plan, scratch[WORK], scratch[STACK], right
                    )
                    assert scratch[SLOT_PJ][t, slot] == pj
                    ports = (plan[ENDS_OF][t, :, :, cost_kernels.PORT] >= 0).ravel()
                    np.testing.assert_array_equal(scratch[SLOT_SUMS][t, slot][ports], right[ports])
                    seen += 1
