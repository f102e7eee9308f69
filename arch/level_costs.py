"""What the memories of a chip cost: SRAM from tables of banks, registers by the bit."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

from ..datatypes.base.errors import BitlatheError
from .components import RegisterComponent, component_names, name_of, register_component
from .levels import CORES, ROWS, Level
from .scaling import factor
from .schema import Arch
from .sram import Macro, least_banks, sram_cost

SRAM = "cacti7"
"""The table of memories that name no component."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelCost:
    """Cost of one copy of a memory.

    Attributes
    ----------
    read_bit_pj, write_bit_pj : float
        Energy of a bit of an access, read or written.
    leakage_mw, area_um2 : float
    banks : int
    copies : int
        Copies on the chip.
    unpriced : tuple of str
        What of it has no known cost: ``energy``, ``area``, ``leakage``.
    device : tuple of (str, int) or None
        Transistors and temperature of SRAM.
    """

    read_bit_pj: float = 0.0
    write_bit_pj: float = 0.0
    leakage_mw: float = 0.0
    area_um2: float = 0.0
    banks: int = 1
    copies: int = 1
    unpriced: tuple[str, ...] = ()
    device: tuple[str, int] | None = None


def level_costs(arch: Arch, widths: dict[str, tuple[Fraction, Fraction]]) -> dict[str, LevelCost]:
    """Return the cost of each memory of a chip, by name.

    Parameters
    ----------
    arch : Arch
    widths : dict of str to (Fraction, Fraction)
        Bits that the ports of each memory read and write in a clock, all ports together.

    Raises
    ------
    BitlatheError
        A table has no such node, size or width, or the banks are too slow; it names the entry.
    """
    found = {}
    for level in arch.memories:
        try:
            cost = _cost(arch, level, *widths[level.name])
        except BitlatheError as err:
            raise BitlatheError(f"memories.{level.name}: {err}") from None
        found[level.name] = replace(cost, copies=copies(arch, level))
    _check_devices(found)
    return found


def copies(arch: Arch, level: Level) -> int:
    """Return how many copies of a memory there are."""
    rows = max(array.rows for array, _ in arch.variants)
    columns = max(array.columns for array, _ in arch.variants)
    if {ROWS, "columns"} <= set(level.axes):
        pes = max(array.rows * array.columns for array, _ in arch.variants)
        return pes * (arch.cores.size if CORES in level.axes else 1)
    sizes = {CORES: arch.cores.size, ROWS: rows, "columns": columns}
    return prod(sizes[axis] for axis in level.axes)


def word_bits(arch: Arch, level: Level) -> int:
    """Return the bits of a word: given, or those of the widest operand that the memory holds."""
    if level.bits is not None:
        return level.bits
    widest = [arch.pe.record.partial_sum_bits] if "output" in level.holds else []
    for operand in level.holds:
        if operand != "output":
            for _, formats in arch.variants:
                widest += [getattr(layer, operand).payload_bits for layer in formats.layers]
    return max(widest)


def _cost(arch: Arch, level: Level, read_bits: Fraction, write_bits: Fraction) -> LevelCost:
    if level.figures is not None:
        read, write, leakage, area = level.figures
        return LevelCost(read_bit_pj=read, write_bit_pj=write, leakage_mw=leakage, area_um2=area)
    if level.unpriced:
        return LevelCost(unpriced=("energy", "area", "leakage"))
    if level.of_pe:
        return LevelCost()
    own = isinstance(level.component, RegisterComponent)
    if own or level.component in component_names("registers") or level.words is not None:
        return _registers(arch, level)
    return _sram(arch, level, max(read_bits, write_bits))


def _registers(arch: Arch, level: Level) -> LevelCost:
    part, node_nm = register_component(level.component or ""), arch.technology.node_nm
    scaled = arch.technology.scaled
    if part.read_pj_per_bit is not None and part.node_nm != node_nm and not scaled:
        raise BitlatheError(
            f"component {name_of(level.component)!r} has energies at {part.node_nm} nm, the chip "
            f"is at {node_nm} nm; use a component of that node, or give costs of its own"
        )
    size = level.size_bits or (level.words or 0) * word_bits(arch, level)
    priced = part.read_pj_per_bit is not None and part.write_pj_per_bit is not None
    energy, area = 1.0, (node_nm / part.node_nm) ** 2
    if scaled:
        energy, area = (factor(figure, part.node_nm, node_nm) for figure in ("energy", "area"))
    return LevelCost(
        read_bit_pj=(part.read_pj_per_bit or 0.0) * energy,
        write_bit_pj=(part.write_pj_per_bit or 0.0) * energy,
        area_um2=size * part.area_um2_per_bit * area,
        unpriced=("leakage",) if priced else ("energy", "leakage"),
    )


def _sram(arch: Arch, level: Level, port_bits: Fraction) -> LevelCost:
    """Return the cost of SRAM whose banks together move ``port_bits``: one access of all ports.

    A port enables its share of the banks. Ports for both directions alone are those of 1rw banks.
    """
    technology, width, size = arch.technology, float(port_bits), (level.size_bits or 0) // 8
    single = not isinstance(level.ports, str) and all(port.way == "both" for port in level.ports)
    macro = Macro.of(
        level.component if isinstance(level.component, str) else SRAM,
        node_nm=technology.node_nm,
        device=technology.device,
        temperature_k=technology.temperature_k,
        ports=1 if single else 2,
        scaled=technology.scaled,
    )
    clock = technology.clock_ghz
    banks, given = level.banks, not isinstance(level.banks, str)
    if isinstance(banks, str):
        banks = least_banks(macro, size_bytes=size, port_bits=width, clock_ghz=clock)
    cost = sram_cost(macro, size_bytes=size, banks=banks, port_bits=width)
    if given and cost.cycle_ns * clock > 1:
        enough = least_banks(macro, size_bytes=size, port_bits=width, clock_ghz=clock)
        raise BitlatheError(
            f"a bank takes {cost.cycle_ns:.3g} ns per access, the clock gives {1 / clock:.3g} ns; "
            f"use {enough} banks, or banks: auto"
        )
    return LevelCost(
        read_bit_pj=cost.read_pj / width,
        write_bit_pj=cost.write_pj / width,
        leakage_mw=cost.leakage_mw,
        area_um2=cost.area_um2,
        banks=banks,
        device=(macro.device, macro.temperature_k),
    )


def _check_devices(costs: dict[str, LevelCost]) -> None:
    kinds = {cost.device: name for name, cost in costs.items() if cost.device is not None}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise BitlatheError(
            f"memories.{second}: device {other[0]} at {other[1]} K beside {one[0]} at {one[1]} K "
            f"in memories.{first}; use one SRAM table for all memories"
        )
