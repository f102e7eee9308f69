"""Random chips and bits for the search, and what every mapping of a space costs."""

import random
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.accesses import outermost_bits, transfers
from bitlathe.mapping.blocks import Nest
from bitlathe.mapping.cost import Cost, cost
from bitlathe.mapping.counted import counted_cost
from bitlathe.mapping.legal import problems
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.search import counts_all
from bitlathe.mapping.space import Ways, searchable, storages, tiers_of
from bitlathe.mapping.staying import leaves_unfinished
from bitlathe.mapping.unrolled import Unrolled, new_front
from bitlathe.workloads.conv_shape import ConvShape
from naive import mapping_naive


def random_ports(rng: random.Random) -> tuple[Port, ...]:
    def port(direction: str) -> Port:
        return Port(
            direction=direction,  # type: ignore[arg-type]
            width_bits=Fraction(rng.choice([8, 12, 32, 100]), rng.choice([1, 1, 3])),
            read_pj=rng.choice([0.5, 1.25, 4.0]),
            write_pj=rng.choice([0.5, 1.5, 4.0]),
        )

    return (port("both"),) if rng.random() < 0.4 else (port("read"), port("write"))


def random_chip(rng: random.Random, *, large: bool = False) -> Hierarchy:
    """Random buffers (shared, or two), registers of one operand or none, one or two axes."""
    dims = ["m", "n", "k"]
    axes = tuple(
        Axis(name=name, size=rng.randint(1, 3), dims=tuple(rng.sample(dims, rng.choice([1, 1, 2]))))
        for name in ("x", "y")[: rng.choice([1, 2])]
    )
    scale = 60 if large else 1
    groups = rng.choice([[OPERANDS], [("weight",), ("input", "output")], [("input", "output")]])
    ports = random_ports(rng)  # a DRAM of one port is late
    late = 9 if len(ports) == 1 else 0
    memories = [
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports, latency_cycles=late)
    ]
    memories += [
        Memory(
            name=f"buffer{i}",
            holds=holds,
            size_bits=rng.randint(60, 400) * scale,
            ports=random_ports(rng),
            double_buffered=rng.random() < 0.7,
            optional=tuple(op for op in holds if rng.random() < 0.15),
            latency_cycles=rng.choice([0, 0, 3]),
            decode_pj=0.6 if "weight" in holds else 0.0,
        )
        for i, holds in enumerate(groups)
    ]
    if rng.random() < 0.6:
        memories.append(
            Memory(
                name="register",
                holds=(rng.choice(OPERANDS),),
                size_bits=None,
                words=rng.choice([1, 2]),
                ports=random_ports(rng),
                per=tuple(axis.name for axis in axes),
                double_buffered=rng.random() < 0.5,
            )
        )
    return Hierarchy(
        memories=tuple(memories),
        axes=axes,
        units=("x",),
        unit_pj=0.75,
        static_pj=rng.choice([0.0, 2.0]),
        fill_cycles=rng.choice([0, 2]),
    )


def with_bursts(chip: Hierarchy, bits: int) -> Hierarchy:
    """The outermost memory moves whole bursts."""
    first, *others = chip.memories
    ports = tuple(replace(port, burst_bits=bits) for port in first.ports)
    return replace(chip, memories=(replace(first, ports=ports), *others))


def deeper_chip(rng: random.Random) -> Hierarchy:
    """A chip with one more tier: registers of two or three operands, or a second buffer."""
    chip = random_chip(rng, large=True)
    axes = tuple(axis.name for axis in chip.axes)
    inner = [memory for memory in chip.memories if not memory.per]
    registers = tuple(
        Memory(
            name=f"own{operand}", holds=(operand,), size_bits=None, words=rng.choice([1, 4, 9]),
            ports=random_ports(rng), per=axes, double_buffered=rng.random() < 0.5,
        )
        for operand in rng.sample(["weight", "input", "output"], rng.choice([2, 3]))
    )  # fmt: skip
    if rng.random() < 0.5:
        middle = Memory(
            name="middle", holds=("weight", "input", "output"), size_bits=rng.randint(4000, 20000),
            ports=random_ports(rng), double_buffered=rng.random() < 0.5,
        )  # fmt: skip
        inner.insert(1, middle)
    return Hierarchy(
        memories=(*inner, *registers), axes=chip.axes, units=chip.units, unit_pj=chip.unit_pj,
        static_pj=chip.static_pj, fill_cycles=chip.fill_cycles,
    )  # fmt: skip


def with_halos(chip: Hierarchy) -> Hierarchy:
    """The same chip, whose memories keep the pixels of the tile ahead."""
    outermost, *rest = chip.memories
    kept = (replace(each, keep_halo="input" in each.holds) for each in rest)
    return replace(chip, memories=(outermost, *kept))


def random_bits(rng: random.Random) -> OperandBits:
    return OperandBits(
        weight=Fraction(rng.choice([4, 17, 33]), rng.choice([1, 4])),
        input=Fraction(8),
        output=Fraction(rng.choice([8, 16])),
        partial=24,
        step_cycles=Fraction(rng.choice([1, 1, 3]), rng.choice([1, 2])),
        input_code=Fraction(rng.choice([8, 7])),
    )


def some_tiles(unrolled: Unrolled, rng: random.Random, most: int) -> None:
    """Leave a few of the tiles of each dimension."""
    unrolled.chains = tuple(
        each.some(sorted(rng.sample(range(many), min(many, rng.randint(1, most)))))
        for each in unrolled.chains
        for many in (len(each.tiles),)
    )


def one_order(unrolled: Unrolled, rng: random.Random) -> None:
    """Leave one order of each group's loops, by which dimensions have one."""
    unrolled.allowed = unrolled.allowed.copy()
    for by_live in unrolled.allowed:
        for live in range(8):
            some = np.flatnonzero(by_live[:, live])
            by_live[:, live] = False
            by_live[rng.choice(some), live] = True


def mapping_of(holds, way, nest, two) -> Mapping:
    levels: list[Level] = []
    for tier, loops in zip(holds, nest, strict=True):
        for name, ops in tier:
            doubled = tuple(op for op in ops if (name, op) in two)
            if ops:
                levels.append(Level(memory=name, keeps=ops, doubled=doubled))
        levels[-1] = replace(levels[-1], loops=levels[-1].loops + tuple(Loop(*x) for x in loops))
    return Mapping(levels=tuple(levels), spatial=tuple(Unroll(*each) for each in way))


def random_conv(rng: random.Random, most: int, *, padding: int = 0) -> Loops:
    """A convolution of sizes up to ``most``: strides, dilations, groups, images."""
    while True:
        groups = rng.choice([1, 1, 2])
        try:
            shape = ConvShape(
                in_channels=groups * rng.randint(1, most),
                out_channels=groups * rng.randint(1, most),
                size=(rng.randint(1, 2 * most), rng.randint(1, 2 * most)),
                kernel=(rng.randint(1, min(3, most)), rng.randint(1, min(3, most))),
                stride=(rng.randint(1, 3), rng.randint(1, 2)),
                dilation=(rng.randint(1, 2), rng.randint(1, 2)),
                padding=(rng.randint(0, padding), rng.randint(0, padding)),
                groups=groups,
            )
        except BitlatheError:
            continue
        return Loops.conv(shape, rng.choice([1, 1, 2]))


def least_of(
    layer: Loops, bits: OperandBits, chip: Hierarchy, objective: str, mappings: Iterable[Mapping]
) -> Cost | None:
    """Return what the best of some mappings costs, or None if none is legal."""
    key = {
        "cycles": lambda c: (c.cycles, c.total_pj),
        "energy": lambda c: (c.total_pj, c.cycles),
        "edp": lambda c: (c.edp, c.cycles),
    }[objective]
    costs = [
        cost(layer, bits, mapping, chip)
        for mapping in mappings
        if not problems(layer, bits, mapping, chip)
    ]
    return min(costs, key=key, default=None)


def every_mapping(layer: Loops, chip: Hierarchy):
    """Every mapping of the space of products, legal or not."""
    axes = [(axis.name, axis.size, axis.dims) for axis in chip.axes]
    yield from mappings_of(layer, chip, axes, mapping_naive.tilings, mapping_naive.nests)


def every_convolution(layer: Loops, chip: Hierarchy):
    """Every mapping of the space of convolutions, legal or not."""
    axes = list(mapping_naive.conv_axes((axis.name, axis.size, axis.dims) for axis in chip.axes))
    copied = [bool(tier[0].per) for tier in tiers_of(chip)[1:]]

    def tilings(sizes, way, kept):
        return mapping_naive.conv_tilings(sizes, way, kept, copied)

    return mappings_of(layer, chip, axes, tilings, mapping_naive.conv_nests)


def mappings_of(layer: Loops, chip: Hierarchy, axes, tilings, nests):
    """Every choice of memories, ways to unroll over axes, tiles, orders of loops and doubled tiles.

    ``tilings(sizes, way, kept)`` gives groups of loops, ``nests(sizes, groups)`` their orders.
    """
    tiers = tiers_of(chip)
    for storage in storages(chip):
        holds = [
            [(m.name, tuple(op for op in OPERANDS if m in storage[op])) for m in tier]
            for tier in tiers
        ]
        kept = [
            {dim for _, ops in tier for op in ops for dim in layer.indexes[op]}
            for tier in holds[1:]
        ]
        places = [
            (name, op)
            for tier in holds[1:]
            for name, ops in tier
            for op in ops
            if chip.memory(name).double_buffered
        ]
        for way in mapping_naive.unrollings(layer.sizes, axes):
            for groups in tilings(layer.sizes, way, kept):
                for nest in nests(layer.sizes, groups):
                    for many in range(len(places) + 1):
                        for two in combinations(places, many):
                            yield mapping_of(holds, way, nest, two)


def compiled_and_plain(
    rng: random.Random, layer: Loops, bits: OperandBits, chip: Hierarchy
) -> tuple[Mapping, float, float, Cost] | None:
    """A random mapping, its clocks and energy as the compiled search has them, and its plain cost.

    Random memories, unrolling, tiles, orders and doublings; None where they do not fit.
    """
    packed = Packed(searchable(layer), bits, chip, rng.choice(storages(chip)))
    ways = Ways(packed.layer, chip.axes)
    number = rng.randrange(len(ways))
    unrolled = Unrolled(packed, ways.way(number), 0, packed.units_pj(ways)[number])
    if not all(len(each.tiles) for each in unrolled.chains):
        return None
    some_tiles(unrolled, rng, 1)
    one_order(unrolled, rng)
    unrolled.fixed[2] &= rng.getrandbits(8)
    front = new_front(0, max(4, len(packed.dims)))
    if not unrolled.search(0, 1, front):
        return None
    mapping = unrolled.mapping(front[1][0])
    assert problems(layer, bits, mapping, chip) == ()
    outermost = transfers(Nest(layer, mapping), {chip.memories[0].name})
    unfinished = any(move.operand == "output" and move.partial for move in outermost)
    assert leaves_unfinished(layer, mapping, chip) == unfinished
    plain = cost(layer, bits, mapping, chip)
    if counts_all(layer, chip):  # every figure of the record, from what was counted
        found = counted_cost(packed, ways, number)
        assert found == (plain, outermost_bits(layer, bits, mapping, chip))
    return mapping, *front[0][0], plain


def small_space(seed: int) -> tuple[Loops, OperandBits, Hierarchy]:
    rng = random.Random(seed)
    chip, bits = random_chip(rng), random_bits(rng)
    return Loops.product(*rng.sample([1, 2, 3, 3], 3)), bits, chip


def deep_chip(rng: random.Random, *, large: bool = False) -> Hierarchy:
    """Two or three tiers of memories between the DRAM and the array; units may have copies."""
    chip = random_chip(rng, large=large)
    outer, *inner = chip.memories
    per = (chip.axes[0].name,) if rng.random() < 0.5 else ()
    kept = [memory for memory in inner if memory.name == "register"]
    middle = [
        Memory(
            name=f"middle{i}",
            holds=holds,
            size_bits=rng.randint(40, 160) * (20 if large else 1),
            ports=random_ports(rng),
            per=per,
            double_buffered=rng.random() < 0.7,
            latency_cycles=rng.choice([0, 0, 2]),
        )
        for i, holds in enumerate(
            rng.choice([[OPERANDS], [("weight",), ("input", "output")], [("input",), ("output",)]])
        )
    ]
    outers = [memory for memory in inner if memory.name != "register"]
    return replace(chip, memories=(outer, *outers, *middle, *kept))
