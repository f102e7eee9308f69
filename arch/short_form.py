"""The hierarchy of memories that a chip's short form means.

``buffers: {weight: ..., io: ...}`` and an array of a dataflow: DRAM, the buffers, registers or
accumulators of one word in the PEs, and axes that unroll what the dataflow says.
"""

from fractions import Fraction

from ..datatypes.base.errors import BitlatheError
from .hierarchy import OPERANDS, Axis, Direction, Hierarchy, Memory, Port, port_width
from .memories import BufferName
from .schema import Arch

PES = ("rows", "columns")


def hierarchy_of(arch: Arch) -> Hierarchy:
    """Return the memories and axes of a chip that gives buffers and an array.

    Sums stay in accumulators of the PEs (``tile``, ``os``) or pass through them to the buffer of
    outputs, or of partial sums (``ws``, ``is``, which keep one weight or input a lane). PEs of a
    tile, those with a drain register or a second operand register have two words, the others one.

    Parameters
    ----------
    arch : Arch
        The chip, resolved for a phase where it differs by phase.

    Raises
    ------
    BitlatheError
        A chip that counts as a study does, or gives memories (`hierarchies.hierarchies_of`).
    """
    if arch.memories:
        raise BitlatheError(
            f"chip {arch.name!r} gives memories, not buffers: it has a hierarchy a dataflow."
        )
    if arch.published_accounting:
        raise BitlatheError(
            f"chip {arch.name!r} counts accesses as the study {arch.accounting.study} does; use a "
            "chip without accounting.study."
        )
    flow, array = arch.array.flow, arch.array
    memories = [dram_of(arch)]
    memories += [_buffer(arch, name) for name in arch.buffers.names]
    if arch.buffers.accumulator is not None:
        memories.append(_buffer(arch, "accumulator"))
    memories.append(_words(arch))
    leakage = sum(arch.sram_cost(name).leakage_mw for name in arch.buffers.priced)
    power = arch.dram_background_mw
    if arch.accounting.leakage:
        power += leakage + arch.pe_leakage_mw + arch.vector_leakage_mw
    skewed = array.kind == "systolic"
    return Hierarchy(
        memories=tuple(memories),
        axes=(
            Axis(name="rows", size=array.rows, dims=(flow.rows,)),
            Axis(name="columns", size=array.columns, dims=(flow.columns,)),
            Axis(name="lanes", size=arch.pe.lanes, dims=(flow.lanes,)),
        ),
        units=() if arch.accounting.idle_pes else PES,
        unit_pj=unit_pj(arch),
        table_cycles=arch.table_fill_cycles,
        table_units=("columns",),
        table_pj=arch.accounting.layout_factor * arch.table_fill_pj,
        static_pj=power / arch.technology.clock_ghz,
        fill_cycles=array.rows + array.columns - 2 if skewed else 0,
    )


def unit_pj(arch: Arch) -> float:
    """Return the energy of a PE in a clock of work, or of all of them where idle ones count too."""
    one = arch.accounting.layout_factor * arch.pe_costs.energy_pj
    return one * arch.phase_pes if arch.accounting.idle_pes else one


def dram_of(arch: Arch) -> Memory:
    """Return the outermost memory of a chip: one port of the DRAM's rate, both ways.

    Transfers are whole bursts where the chip gives ``dram.burst_bits``.
    """
    width = port_width(arch.dram_bits_per_clock)
    return Memory(
        name=arch.dram.name,
        holds=OPERANDS,
        size_bits=None,
        ports=(
            Port(
                direction="both",
                width_bits=width,
                read_pj=float(width) * arch.dram.read_bit_pj,
                write_pj=float(width) * arch.dram.write_bit_pj,
                burst_bits=arch.dram.burst_bits,
            ),
        ),
        latency_cycles=arch.dram_latency_cycles,
    )


def _buffer(arch: Arch, name: BufferName) -> Memory:
    part, layout = arch.buffers.named(name), arch.buffers.layout
    return Memory(
        name=name,
        holds=tuple(op for op in layout if layout[op] == name) or ("output",),
        size_bits=8 * part.size_bytes,
        ports=_ports(arch, name),
        double_buffered=part.double_buffered,
    )


def _ports(arch: Arch, name: BufferName) -> tuple[Port, ...]:
    """Return the ports of a buffer.

    One access of a shared buffer whose ports follow the array gives weights and inputs of a step:
    banks of weights and banks of the rest, each as wide as its need, at that part of the energy.
    """
    cost, whole = arch.sram_cost(name), Fraction(arch.port_bits(name))
    shares: dict[tuple[str, ...], Fraction] = {OPERANDS: whole}
    if name == "shared" and arch.buffers.named(name).port_bits == "auto":
        weight, rest = (Fraction(arch.widest_port(side)) for side in ("weight", "io"))
        shares = {("weight",): weight, ("input", "output"): rest}
    two = arch.buffers.named(name).ports == 2
    ways: tuple[Direction, ...] = ("read", "write") if two else ("both",)
    return tuple(
        Port(
            direction=way,
            width_bits=width,
            read_pj=float(width / whole) * cost.read_pj,
            write_pj=float(width / whole) * cost.write_pj,
            operands=operands,
        )
        for operands, width in shares.items()
        for way in ways
    )


def _words(arch: Arch) -> Memory:
    """Return what the PEs keep from step to step; its energy is part of theirs."""
    flow, pe = arch.array.flow, arch.pe
    if flow.loaded is None:
        two, words = arch.array.kind == "tile" or pe.drain_register, 1
        width = pe.record.partial_sum_bits
    else:
        two, words = pe.double_buffered_operand, pe.lanes
        width = 64 * pe.lanes  # all of a PE's registers at once
    return Memory(
        name="register" if flow.loaded else "sums",
        holds=(flow.loaded or "output",),
        size_bits=None,
        words=words * (2 if two else 1),
        ports=(
            Port(direction="read", width_bits=Fraction(width)),
            Port(direction="write", width_bits=Fraction(width)),
        ),
        per=PES,
        double_buffered=two,
    )
