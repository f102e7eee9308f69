"""A chip in rows and sentences: its memories, outermost first, its array, area and leakage."""

from typing import Any

from .hierarchies import hierarchies_of
from .hierarchy import Hierarchy, Memory, Port
from .schema import Arch
from .silicon import areas_um2, leakages_mw, unpriced

Rows = list[dict[str, Any]]


def shown_hierarchies(arch: Arch) -> list[tuple[str, Hierarchy]]:
    """Return each dataflow of a chip with its hierarchy; none of a study's chips."""
    if arch.published_accounting:
        return []
    return list(zip(arch.array.dataflows, hierarchies_of(arch), strict=True))


def memory_rows(hierarchy: Hierarchy) -> Rows:
    """Return a row for each memory: copies, operands, size, ports, energy of a bit."""
    return [
        {
            "memory": memory.name,
            "per": " x ".join(memory.per) or "chip",
            "holds": ", ".join(
                f"({name})" if name in memory.optional else name for name in memory.holds
            ),
            "size": _size(memory),
            "ports (bits)": ", ".join(map(_port, memory.ports)),
            "double_buffered": memory.double_buffered,
            "read_pj_per_bit": _bit_pj(memory.ports, "read"),
            "write_pj_per_bit": _bit_pj(memory.ports, "write"),
        }
        for memory in hierarchy.memories
    ]


def _size(memory: Memory) -> str:
    if memory.words is not None:
        return f"{memory.words:,} words"
    return "" if memory.size_bits is None else f"{memory.size_bits / 8192:,g} KiB"


def _port(port: Port) -> str:
    served = "" if len(port.operands) == 3 else f" {'+'.join(port.operands)}"
    return f"{port.direction} {float(port.width_bits):g}{served}"


def _bit_pj(ports: tuple[Port, ...], way: str) -> float | None:
    """Return the energy of a bit that the first port of a direction moves; None without one."""
    for port in ports:
        if port.direction in (way, "both"):
            return (port.read_pj if way == "read" else port.write_pj) / float(port.width_bits)
    return None


def chip_lines(arch: Arch) -> list[str]:
    """Return what stands beside the memories of a chip, a sentence each."""
    areas, leaks = areas_um2(arch), leakages_mw(arch)
    area = ", ".join(f"{name} {um2 / 1e6:,.4g}" for name, um2 in areas.items())
    leakage = ", ".join(f"{name} {mw:,.4g}" for name, mw in leaks.items())
    lanes = f"{arch.pe.lanes} {'lane' if arch.pe.lanes == 1 else 'lanes'}"
    lines = [
        f"array: {arch.array.kind}, {arch.pes:,} PEs of kind {arch.pe.kind}, {lanes} each, "
        f"{arch.technology.clock_ghz:g} GHz, {arch.technology.node_nm} nm",
        f"area (mm2): {area}; {sum(areas.values()) / 1e6:,.4g} in all",
        f"leakage (mW): {leakage}; {sum(leaks.values()):,.4g} in all",
        f"DRAM: {float(arch.dram_bits_per_clock):g} bits a clock, first bit after "
        f"{arch.dram_latency_cycles} clocks, read {arch.dram.read_bit_pj:g} and write "
        f"{arch.dram.write_bit_pj:g} pJ a bit, {arch.dram_background_mw:g} mW of background",
    ]
    missing, kept = unpriced(arch), figures_kept(arch)
    if kept:
        lines.append(
            f"not scaled, taken to be of {arch.technology.node_nm} nm: the file's own "
            f"{', '.join(kept)}"
        )
    return [*lines, *([f"not priced: {', '.join(missing)}"] if missing else [])]


def figures_kept(arch: Arch) -> tuple[str, ...]:
    """Return the keys of a PE's own figures, which stay where figures of components are scaled."""
    if not arch.technology.scaled:
        return ()
    own = ("energy_pj", "area_um2", "leakage_mw")
    return tuple(f"pe.{key}" for key in own if getattr(arch.pe, key) is not None)


def chip_dict(arch: Arch) -> dict[str, Any]:
    """Return a chip as plain data: a hierarchy for each dataflow, area, leakage, DRAM."""
    return {
        "name": arch.name,
        "title": arch.title,
        "dataflows": [
            {
                "dataflow": flow,
                "axes": [
                    {"axis": axis.name, "size": axis.size, "dims": list(axis.dims)}
                    for axis in hierarchy.axes
                ],
                "memories": memory_rows(hierarchy),
            }
            for flow, hierarchy in shown_hierarchies(arch)
        ],
        "pes": arch.pes,
        "area_um2": areas_um2(arch),
        "leakage_mw": leakages_mw(arch),
        "dram": arch.plain()["dram"],
        "unpriced": list(unpriced(arch)),
        "not_scaled": list(figures_kept(arch)),
    }
