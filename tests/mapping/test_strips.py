"""Chains of convolutions in strips: against sets of rows and a list of jobs; the search; laws."""

import random
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Memory
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES, Best
from bitlathe.mapping.fused.chain import Lanes
from bitlathe.mapping.fused.near import NearChip, near_chip
from bitlathe.mapping.fused.products import BlockProduct, block_product, floor_of, inside_of
from bitlathe.mapping.fused.strip_cost import AskedRows, asked_of, cost, demand
from bitlathe.mapping.fused.strip_search import fused_cost, search, spilling
from bitlathe.mapping.fused.strips import Conv, ConvChain, StripTiling, needs, problem, strips
from bitlathe.mapping.mappers import ORDERS
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search as search_mapping
from bitlathe.sim.fused.conv_choose import divided
from bitlathe.workloads.conv_shape import ConvShape
from fused_cases import chip_ports, enlarged, made_up, random_lanes, random_near
from naive import strips_naive
from strip_cases import random_convs, random_strips, shared_near


def plain_layers(chain: ConvChain) -> list[dict[str, Any]]:
    found = []
    for layer in chain.layers:
        shape = layer.shape
        found.append({
            "rows": shape.output_size[0], "stride": shape.stride[0], "padding": shape.padding[0],
            "reach": (shape.kernel[0] - 1) * shape.dilation[0] + 1, "tall": shape.size[0],
            "wide": shape.in_channels * shape.size[1],
            "made": shape.out_channels * shape.output_size[1],
            "weights": shape.out_channels * (shape.in_channels // shape.groups)
            * shape.kernel[0] * shape.kernel[1],
            "work": layer.work, "groups": layer.groups,
            **{operand: Fraction(getattr(layer.bits, operand)) for operand in OPERANDS},
        })  # fmt: skip
    return found


def test_strips_equal_sets_of_rows_and_a_list_of_jobs() -> None:
    rng = random.Random("strips")
    again = 0
    for _ in range(250):
        near, lanes, chain = shared_near(rng), random_lanes(rng), random_convs(rng)
        tiling = random_strips(rng, chain)
        layers = plain_layers(chain)
        naive = strips_naive.strips(layers, tiling.rows, tiling.kept)
        found = strips(chain, tiling)
        assert [(s.loaded, *map(list, (s.there, s.made, s.border))) for s in found] == naive
        again += sum(sum(s.made) for s in found) > sum(each["rows"] for each in layers)
        made = made_up(rng, near)
        asked = demand(chain, tiling, near, lanes, made)
        cycles, count, steps = strips_naive.cost(
            layers, chain.images, chain.added, tiling.to_dict(), chip_ports(near),
            {**plain_lanes(lanes), "overlap": lanes.overlap},
            lambda *asked, made=made: plain_product(made(AskedRows(*asked))),
        )  # fmt: skip
        got = cost(chain, tiling, near, asked)
        assert got.cycles == cycles
        assert got.compute_cycles == steps
        assert got.lower_bound_cycles <= cycles
        both = {
            (at, way): n
            for at, pair in got.accesses.items()
            for way, n in zip(("read", "write"), pair, strict=True)
        }
        assert some(both) == some(count.accesses)
        assert some(got.outer_bits) == count.bits
        dynamic = got.total_pj - got.energy_pj["static"]
        assert dynamic == pytest.approx(count.pj, rel=1e-12)
    assert again > 20  # halos that are made again


def test_a_strip_s_product_reads_the_rows_that_lie_there() -> None:
    """Pixel by pixel: of a strip's outputs and taps those of the input, each once."""
    rng = random.Random("rows that lie there")
    bordered = 0
    for _ in range(60):
        chain = random_convs(rng)
        rows = rng.randint(1, chain.rows)
        tiling = StripTiling(rows=rows, kept=(False,) * len(chain.layers))
        top = 0
        for strip in strips(chain, tiling):
            asked, shape = asked_of(strip)[-1], chain.layers[-1].shape
            pixels = {
                tuple(
                    out * shape.stride[d] + tap * shape.dilation[d] - shape.padding[d]
                    for d, out, tap in ((0, p, r), (1, q, s))
                )
                for p in range(top, top + asked.rows)
                for q in range(shape.output_size[1])
                for r in range(shape.kernel[0])
                for s in range(shape.kernel[1])
            }
            inside = [
                (y, x) for y, x in pixels if y in range(shape.size[0]) and x in range(shape.size[1])
            ]
            loops = asked.loops(chain)
            assert loops.elements("input") == len(inside) * shape.in_channels
            bordered += len(inside) < len(pixels)
            top += asked.rows
    assert bordered > 20


def some(counts: Any) -> dict[Any, Any]:
    return {key: count for key, count in counts.items() if count}


def plain_product(made: BlockProduct) -> tuple[Any, ...]:
    return made.cycles, made.step_cycles, made.accesses, made.array_pj + made.memory_pj


def plain_lanes(lanes: Lanes) -> dict[str, Any]:
    names = ("lanes", "special_cycles", "add_pj", "multiply_pj", "special_pj")
    return {name: getattr(lanes, name) for name in names}


def found_once() -> Any:
    kept: dict[Any, Best] = {}

    def found(*asked: Any) -> Best:
        key = repr(asked)
        if key not in kept:
            kept[key] = search_mapping(*asked)
        return kept[key]

    return found


def every_cost(chain: ConvChain, near: NearChip, lanes: Lanes, objective: Any, kept: Any) -> Any:
    """The costs of all tilings of the space that fit, those with spilled sums looked at anew."""

    def mapped(asked: AskedRows) -> Best:
        layer = chain.layers[asked.layer]
        inside = inside_of(near, layer.unit_pj)
        return kept(asked.loops(chain), layer.bits, inside, objective)  # type: ignore[no-any-return]

    counts = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16}
    for rows in {-(-chain.rows // each) for each in counts}:
        for kept_halos in combinations([*range(len(chain.layers))] * 2, len(chain.layers)):
            flags = tuple(kept_halos.count(i) > 0 for i in range(len(chain.layers)))
            for places in (1, 2):
                for held in (False, True):
                    tiling = StripTiling(rows=rows, kept=flags, places=places, held=held)
                    spilled = spilling(chain, near, tiling, mapped)
                    if problem(chain, tiling, near, spilled) is None:
                        asked = demand(
                            chain, tiling, near, lanes, lambda a: block_product(mapped(a), near)
                        )
                        yield cost(chain, tiling, near, asked)


# seeds of chains whose best strips would not fit with the sums that their mappings leave unfinished
TOO_WIDE = (28, 192, 720, 960)


def spilling_case(seed: int) -> tuple[ConvChain, NearChip, Lanes]:
    rng = random.Random(f"spill {seed}")
    near, lanes, chain = shared_near(rng), random_lanes(rng), random_convs(rng, 7)
    return chain, near, lanes


@pytest.mark.parametrize("seed", TOO_WIDE)
def test_strips_have_room_for_unfinished_sums(seed: int) -> None:
    chain, near, lanes = spilling_case(seed)
    kept = found_once()
    found = search(chain, near, lanes, "cycles", map_product=kept)
    spilled = spilling(chain, near, found.tiling, found.products.__getitem__)
    assert problem(chain, found.tiling, near, spilled) is None
    best = min(each.cycles for each in every_cost(chain, near, lanes, "cycles", kept))
    assert fused_cost(chain, near, lanes, found).cycles == best


def test_strips_without_room_for_unfinished_sums_are_refused() -> None:
    chain, near, lanes = spilling_case(451)
    with pytest.raises(BitlatheError, match="unfinished sums of the strips' products do not fit"):
        search(chain, near, lanes, "cycles", map_product=found_once())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_search_finds_the_best_strips_of_all(objective: Any) -> None:
    rng = random.Random(f"strips {objective}")
    rank, cases = ORDERS[objective], 0
    while cases < 3:
        near, lanes, chain = shared_near(rng), random_lanes(rng), random_convs(rng, 7)
        kept = found_once()
        try:
            found = search(chain, near, lanes, objective, map_product=kept)
        except BitlatheError:  # too small for a row
            continue
        got = fused_cost(chain, near, lanes, found)
        every = every_cost(chain, near, lanes, objective, kept)
        best = min(rank(each.cycles, each.total_pj) for each in every)
        assert rank(got.cycles, got.total_pj) == pytest.approx(best)
        cases += 1


def test_no_floor_of_a_strip_is_above_its_best_mapping() -> None:
    rng = random.Random("floors of strips")
    for _ in range(60):
        near, chain = random_near(rng), random_convs(rng, 6)
        at = rng.randrange(len(chain.layers))
        layer = chain.layers[at]
        rows = rng.randint(1, min(3, layer.shape.output_size[0]))
        first = rng.randint(0, layer.shape.output_size[0] - rows)
        asked = AskedRows(at, rows, *layer.border(first, first + rows))
        loops = asked.loops(chain)
        try:
            best = block_product(search_mapping(loops, layer.bits, near.inside), near)
        except BitlatheError:
            continue
        least = floor_of(loops, layer.bits, near.inside, near)
        assert least.cycles <= best.cycles
        assert least.step_cycles <= best.step_cycles
        assert least.array_pj <= best.array_pj * (1 + 1e-12)
        assert least.memory_pj <= best.memory_pj * (1 + 1e-12)
        for at, (_, _, busy) in least.accesses.items():
            assert busy <= best.accesses[at][2]


def test_more_memory_is_no_worse_and_too_little_says_by_how_much() -> None:
    rng = random.Random("laws of strips")
    near, lanes, chain = None, random_lanes(rng), random_convs(rng, 7)
    while near is None or problem(chain, least_of(chain), near):
        near, chain = shared_near(rng), random_convs(rng, 7)
    kept = found_once()
    found = search(chain, near, lanes, "cycles", map_product=kept)
    before = fused_cost(chain, near, lanes, found)

    def larger(memory: Memory) -> Memory:
        bits = memory.size_bits
        return memory if bits is None else replace(memory, size_bits=3 * bits)

    more = near_chip(enlarged(near.whole, larger))
    after = fused_cost(chain, more, lanes, search(chain, more, lanes, "cycles", map_product=kept))
    assert after.cycles <= before.cycles
    used = sum(
        need.tiles * -(-need.elements * need.bits // 1)
        for need in needs(chain, least_of(chain), strips(chain, least_of(chain)))
        if near.memory(need.operand) is near.memory("input")
    )
    less = near_chip(enlarged(near.whole, lambda memory: of_size(memory, near, int(used) - 5)))
    words = f"take {int(used)} bits .* 5 too few. These are the least"
    with pytest.raises(BitlatheError, match=words):
        search(chain, less, lanes)


def least_of(chain: ConvChain) -> StripTiling:
    return StripTiling(rows=1, kept=(False,) * len(chain.layers), places=1, held=False)


def of_size(memory: Memory, near: NearChip, bits: int) -> Memory:
    if memory.name != near.memory("input").name:
        return memory
    return replace(memory, size_bits=bits)


def test_what_is_no_chain() -> None:
    bits = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8))
    shape = ConvShape(in_channels=2, out_channels=3, size=(4, 4), kernel=(1, 1))
    one = Conv(shape=shape, bits=bits)
    with pytest.raises(BitlatheError, match="one convolution is no chain; give two or more"):
        ConvChain(layers=(one,))
    with pytest.raises(BitlatheError, match=r"makes \(3, 4, 4\) .* reads \(2, 4, 4\); they must"):
        ConvChain(layers=(one, one))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_is_divided_as_the_best_of_all_divisions(objective: Any) -> None:
    rng, rank = random.Random(f"divide {objective}"), ORDERS[objective]
    for _ in range(40):
        spans = [(i, j) for i in range(6) for j in (i + 2, i + 3) if j <= 6 and rng.random() < 0.7]
        gains = {span: (rng.randint(-9, 4), float(rng.randint(-9, 4))) for span in spans}
        base = rng.randint(60, 90), float(rng.randint(60, 90))

        def total(some: Any, base: Any = base, gains: Any = gains) -> Any:
            cycles, pj = (base[at] + sum(gains[each][at] for each in some) for at in (0, 1))
            return rank(cycles, pj)

        every = [
            some
            for size in range(len(spans) + 1)
            for some in combinations(spans, size)
            if all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(some, 2))
        ]
        found = divided(gains, base, objective)
        assert total(found) == min(map(total, every))
