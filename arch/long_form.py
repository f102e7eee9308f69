"""The hierarchies of a chip that gives ``memories``: one for each dataflow of its array."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from math import prod

from ..datatypes.base.errors import BitlatheError
from .dataflow import FlowName
from .formats import LayerFormats
from .hierarchy import Axis, Hierarchy, Memory, Port
from .level_checks import LANES
from .level_costs import LevelCost, level_costs, word_bits
from .levels import COLUMNS, CORES, ROWS, Level, Way
from .schema import Arch
from .short_form import dram_of, unit_pj

INDEXES = {
    "weight": frozenset("nkbgcrs"),
    "input": frozenset("mkbhgcpqrs"),
    "output": frozenset("mnbhgpq"),
}
"""Dimensions that index each operand in some layer; those of a convolution's taps move inputs."""

Widths = list[tuple[Way, Fraction, tuple[str, ...]]]


def long_hierarchies(arch: Arch) -> tuple[Hierarchy, ...]:
    """Return the hierarchies of a chip that gives memories, in the order of its dataflows.

    Raises
    ------
    BitlatheError
        Memories that cannot feed the array, or have no cost; it names the entry.
    """
    costs = memory_costs(arch)
    static = arch.dram_background_mw
    if arch.accounting.leakage:
        static += math.fsum(cost.leakage_mw * cost.copies for cost in costs.values())
        static += arch.pe_leakage_mw + arch.vector_leakage_mw
    return tuple(_hierarchy(arch, flow, costs, static) for flow in arch.array.dataflows)


def memory_costs(arch: Arch) -> dict[str, LevelCost]:
    """Return the cost of each memory of a chip that gives them, by name.

    Raises
    ------
    BitlatheError
        As `long_hierarchies`.
    """
    widths = {}
    for level in arch.memories:
        ports = _widest(arch, level)
        widths[level.name] = (_moved(ports, "read"), _moved(ports, "write"))
    return level_costs(arch, widths)


def _moved(ports: Widths, way: Way) -> Fraction:
    return sum((width for has, width, _ in ports if has in (way, "both")), Fraction(0))


def _widest(arch: Arch, level: Level) -> Widths:
    """Return the ports that serve a memory in all dataflows that use it.

    One that no dataflow uses, because another was set, stays on the chip as it is.
    """
    found: dict[tuple[Way, tuple[str, ...]], Fraction] = {}
    used = tuple(flow for flow in arch.array.dataflows if level.used_in(flow))
    for flow in used or level.dataflow:
        for way, width, operands in _widths(arch, level, flow):
            found[way, operands] = max(found.get((way, operands), Fraction(0)), width)
    return [(way, width, operands) for (way, operands), width in found.items()]


def axes_of(arch: Arch, flow: FlowName) -> tuple[Axis, ...]:
    """Return the axes of a chip that gives memories, in one dataflow."""
    array = arch.array
    rows, columns = array.dims_of(flow)
    shared = arch.cores.multicast
    cores = Axis(name=CORES, size=arch.cores.size, dims=arch.cores.dims, multicast=shared)
    return (
        *((cores,) if arch.cores.size > 1 else ()),
        Axis(name=ROWS, size=array.rows, dims=rows),
        Axis(name=COLUMNS, size=array.columns, dims=columns),
        Axis(name=LANES, size=arch.pe.lanes, dims=(array.flow_of(flow).lanes,)),
    )


def _hierarchy(
    arch: Arch, flow: FlowName, costs: dict[str, LevelCost], static_mw: float
) -> Hierarchy:
    axes, array = axes_of(arch, flow), arch.array
    names = tuple(axis.name for axis in axes)
    levels = [level for level in arch.memories if level.used_in(flow)]
    return Hierarchy(
        memories=(
            dram_of(arch),
            *(_memory(arch, level, costs[level.name], names) for level in levels),
        ),
        axes=axes,
        units=() if arch.accounting.idle_pes else tuple(x for x in names if x != LANES),
        unit_pj=unit_pj(arch),
        table_cycles=arch.table_fill_cycles,
        table_units=tuple(name for name in names if name in (CORES, COLUMNS)),
        table_pj=arch.accounting.layout_factor * arch.table_fill_pj,
        static_pj=static_mw / arch.technology.clock_ghz,
        fill_cycles=array.rows + array.columns - 2 if array.kind == "systolic" else 0,
    )


def _memory(arch: Arch, level: Level, cost: LevelCost, axes: tuple[str, ...]) -> Memory:
    words = level.capacity_words
    return Memory(
        name=level.name,
        holds=level.holds,
        size_bits=level.size_bits if words is None else None,
        words=words,
        ports=tuple(
            Port(
                direction=way,
                width_bits=width,
                read_pj=float(width) * cost.read_bit_pj,
                write_pj=float(width) * cost.write_bit_pj,
                operands=operands,
            )
            for way, width, operands in _widest(arch, level)
        ),
        per=tuple(axis for axis in level.axes if axis in axes),
        double_buffered=level.double_buffered,
        optional=level.bypass,
        keep_halo=level.keep_halo,
    )


def _widths(arch: Arch, level: Level, flow: FlowName) -> Widths:
    """Return direction, width and operands of each port: given, or as the array needs."""
    if not isinstance(level.ports, str):
        return [
            (port.way, Fraction(port.width_bits), port.operands or level.holds)
            for port in level.ports
        ]
    if level.words is not None:  # registers: all lanes at once
        width = Fraction(word_bits(arch, level) * arch.pe.lanes)
        return [(way, width, (operand,)) for operand in level.holds for way in ("read", "write")]
    return [
        (way, Fraction(_need(arch, level, operand, flow)), (operand,))
        for operand in level.holds
        for way in ("read", "write")
    ]


def _below(arch: Arch, level: Level, operand: str, flow: FlowName) -> Level | None:
    """Return the memory that an operand passes next, or None: the array."""
    levels: Sequence[Level] = arch.memories[arch.memories.index(level) + 1 :]
    return next((x for x in levels if operand in x.holds and x.used_in(flow)), None)


def _need(arch: Arch, level: Level, operand: str, flow: FlowName) -> int:
    """Return the bits of an operand that a memory before the array moves in a clock.

    Each element that a step takes from one copy, over the clocks of the step; what stands in
    registers of the PEs comes and goes a row of the array a clock.
    """
    below = _below(arch, level, operand, flow)
    if below is not None and below.words is None:
        raise BitlatheError(
            f"memories.{level.name}.ports: 'auto' is as wide as the array needs, and {operand} "
            f"goes on to {below.name!r}; give its ports, e.g. [{{read: 256}}, {{write: 256}}]"
        )
    apart = set(level.axes) | ({ROWS} if below is not None and ROWS in below.axes else set())
    sums = operand == "output" and (below is None or level.bits is not None)
    needs = []
    for _, formats in arch.variants:
        for layer in formats.layers:
            count = prod(
                axis.size
                for axis in axes_of(_split_for(arch, layer), flow)
                if axis.name not in apart and INDEXES[operand] & set(axis.dims)
            )
            if sums:
                needs.append(count * (level.bits or arch.pe.record.partial_sum_bits))
                continue
            streams = below is None and operand != "output"
            one = streams and arch.pe.record.skip_zero_terms
            clocks = arch.pe.record.step_clocks(layer.weight) if streams and not one else 1
            needs.append(math.ceil(Fraction(count * getattr(layer, operand).payload_bits, clocks)))
    return max(needs)


def _split_for(arch: Arch, layer: LayerFormats) -> Arch:
    """Return a chip as it is for a kind of layer, of one that may be split for another."""
    return arch.split_for(arch.unsplit.pe.record.split(layer.weight, layer.input))


def check_feeds(arch: Arch) -> None:
    """Check that a chip's memories have a cost, feed its array, and have room for each operand.

    Raises
    ------
    BitlatheError
        It names the entry and says what would do.
    """
    for level in arch.memories:
        _check_room(arch, level)
    try:
        long_hierarchies(arch)
    except BitlatheError as err:  # of the hierarchy as a whole, which names a memory
        named = re.match(r"memory '(\w+)'(?: is| has|:)", str(err))
        raise BitlatheError(f"memories.{named[1]}: {err}") if named else err from None


def _check_room(arch: Arch, level: Level) -> None:
    """Check that a memory has room for one element of each operand that must pass it."""
    held = [operand for operand in level.holds if operand not in level.bypass]
    words, size, unit = level.capacity_words, level.size_bits, "bits"
    if words is not None:
        needs, size, unit = len(held), words, "words"
    else:
        needs = sum(getattr(arch.formats.linear, operand).payload_bits for operand in held)
    if size is not None and size < needs:
        raise BitlatheError(
            f"memories.{level.name}: no room for one element of each operand it must hold "
            f"({', '.join(held)}): {needs} {unit}, and it has {size}; give at least {needs}, or "
            "name some in bypass"
        )
