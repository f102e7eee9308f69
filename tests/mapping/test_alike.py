"""Transfers looked up by the extents of their blocks against those that follow every loop."""

import numpy as np
import pytest

from bitlathe.arch import load_arch
from bitlathe.mapping import alike_kernels, cost_kernels, nest_kernels
from bitlathe.mapping.frame import ORDERS
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.scratch_kernels import BOOK, LOOPS, NO_WINDOW, STACK, TILES, WORK
from bitlathe.mapping.space import storages, ways_of
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
    for d, chains in enumerate(unrolled.chain_lists):
        tile[:, d] = chains[int(rng.integers(len(chains)))]
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
        if not all(len(each) for each in unrolled.chain_lists):
            continue
        cuts, plan, scratch = random_nest(rng, unrolled), unrolled.plan, unrolled.packed.scratch
        (dims, tiles, groups), book, stack = scratch[LOOPS], scratch[BOOK], scratch[STACK]
        many, last = cuts[-1], len(cuts) - 1
        alike_kernels.prepare(0, 1, scratch[TILES], book, plan)
        alike_kernels.prepare(1, last, scratch[TILES], book, plan)
        for t, move in enumerate(plan[0].tolist()):
            tier = move[cost_kernels.TIER]
            if tier == last:
                continue
            for doubled in (False, True):
                found, right = np.full((2, *scratch[NO_WINDOW].shape), 7)
                pj = alike_kernels.transfer_cost(
                    t, many, doubled, (dims, groups), book, stack, found
                )
                nest = dims, tiles, many
                assert pj == cost_kernels.move_cost(
                    t, cuts[tier], doubled, nest, plan, scratch[WORK], stack, right
                )
                np.testing.assert_array_equal(found, right)
                seen += 1
            alike_kernels.edge_clocks_of(t, (dims, groups), book, found)
            cost_kernels.without_window(t, cuts[tier], nest, plan, scratch[WORK], right)
            busy = cost_kernels.BUSY
            np.testing.assert_array_equal(found[:, busy], right[:, busy])
