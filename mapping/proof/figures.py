"""What follows from layer, chip and mapping, so that each of their numbers shows in another one.

A certificate states these figures and the checker derives them again: what operands take, what a
chip has in all copies of its memories, what a mapping's loops and units take. Where the cost does
not depend on a number of the file, one of these does.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from .record import OPERANDS, Chip, Layer, Nest


class Work(NamedTuple):
    """A layer of a certificate, and the energy of a unit in a clock of its steps."""

    layer: Layer
    unit_pj: Fraction


def layer_figures(work: Work) -> dict[str, Any]:
    """Return what follows from a layer.

    Of each operand elements (of an input with windows all pixels), their bits and those of their
    codes, and of outputs while they are unfinished; of each window the first pixel past those of
    the outputs' first tap, and the pixels to behind the last tap; steps of one unit in clocks, and
    their energy.
    """
    layer = work.layer
    pixels = prod(window.size for window in layer.windows)
    many = {
        op: prod(layer.sizes[d] for d in layer.plain(own)) * (pixels if layer.slid(own) else 1)
        for op in OPERANDS
        for own in [layer.indexed(op)]
    }
    steps = prod(layer.sizes) * layer.step_cycles
    return {
        "operands": [
            [op, n, str(n * layer.stored[op]), str(n * layer.of.code_bits[op])]
            for op, n in many.items()
        ],
        "unfinished_bits": str(many["output"] * layer.partial),
        "windows": [
            [layer.sizes[w.out] * w.stride - w.padding, layer.sizes[w.tap] * w.dilation]
            for w in layer.windows
        ],
        "step_cycles": str(steps),
        "units_pj": str(steps * work.unit_pj),
    }


def chip_figures(works: Sequence[Work], chip: Chip) -> dict[str, Any]:
    """Return what follows from a chip for some layers.

    Clocks of all layers where every unit always works, and pJ of a clock of it; of each axis its
    dimensions, places along it and those before, and of how much (units, tables, memories) each
    unit of it has its own; of each memory the operands that it must keep, and in all copies tiles
    of an operand, bits, words, clocks of latency, halos, pJ to decode a weight; of each port there
    bits a clock and pJ of an access, what is read and what is written, and the clocks of a burst.
    """
    size = {axis.name: axis.size for axis in chip.axes}
    units, tables = (prod(size[name] for name in some) for some in (chip.units, chip.table_units))
    steps = sum(prod(work.layer.sizes) * work.layer.step_cycles for work in works)
    own = chip.units, chip.table_units, *(memory.per for memory in chip.memories)
    memories = []
    for memory in chip.memories:
        copies = prod(size[name] for name in memory.per)
        every = memory.size_bits, memory.words, memory.latency_cycles
        memories.append({
            "memory": memory.name,
            "must_keep": [op for op in memory.holds if op not in memory.optional],
            "tiles": copies * (1 + memory.double_buffered),
            "bits_words_latency": [n if n is None else n * copies for n in every],
            "halos": copies * memory.keep_halo,
            "decode_pj": str(copies * memory.decode_pj),
            "ports": [
                [str(copies * n) for n in (port.width_bits, port.read_pj, port.write_pj)]
                + [list(port.serves(reads=reads)) for reads in (True, False)]
                for port in memory.ports
            ],
            "burst_cycles": [
                str(port.burst_bits / port.width_bits) if port.burst_bits else None
                for port in memory.ports
            ],
        })  # fmt: skip
    return {
        "full_cycles": str(steps / units + chip.fill_cycles),
        "full_clock_pj": str(chip.static_pj + units * chip.unit_pj),
        "table_cycles": tables * chip.table_cycles,
        "table_pj": str(tables * chip.table_pj),
        "places": [
            [
                axis.name,
                "".join(axis.dims),
                prod(each.size for each in chip.axes[: i + 1]),
                sum(axis.name in each for each in own),
            ]
            for i, axis in enumerate(chip.axes)
        ],
        "memories": memories,
    }


def mapping_figures(layer: Layer, chip: Chip, nest: Nest) -> dict[str, Any]:
    """Return what follows from a mapping.

    Of each loop, outermost first, iterations of a whole block, and what as many whole tiles have;
    of each unrolling idle units of its axis, and steps that the dimension takes at least; tiles of
    each operand in each memory.
    """
    sizes = dict(zip(layer.dims, layer.sizes, strict=True))
    size, block, loops = {axis.name: axis.size for axis in chip.axes}, dict(sizes), list[Any]()
    for level in nest.levels:
        for dim, tile in level.loops:
            times = -(-block[dim] // tile)
            loops.append([level.memory, dim, times, times * tile])
            block[dim] = min(tile, block[dim])
    idle = [[axis, dim, size[axis] - n, -(-sizes[dim] // n)] for axis, dim, n in nest.spatial]
    tiles = [
        [level.memory, op, 1 + (op in level.doubled)] for level in nest.levels for op in level.keeps
    ]
    return {"loops": loops, "unrolled": idle, "tiles": tiles}
