"""Component tables: energy and area of PEs, SRAM banks and DRAM, with their sources."""

import csv
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field

from ..datatypes.errors import BitlatheError, unknown_name
from ..datatypes.yamlfile import Record, read_yaml

FOLDER = Path(__file__).parent / "components"


class PEComponent(Record):
    """Cost of one processing element: dynamic energy per clock in which it works, and area."""

    energy_pj: float = Field(ge=0)
    area_um2: float = Field(ge=0)
    node_nm: int = Field(gt=0)
    source: str


class DramComponent(Record):
    """Energy of one bit moved between DRAM and the chip."""

    energy_pj_per_bit: float = Field(ge=0)
    source: str


class SramTable(Record):
    """Where the costs of one kind of SRAM bank stand."""

    file: str
    nodes_nm: list[int]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SramCost:
    """Cost of one SRAM buffer (all banks together): energies per full-width access."""

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_um2: float
    access_ns: float
    cycle_ns: float


@cache
def _catalogue(kind: str) -> dict[str, Record]:
    records: dict[str, type[Record]] = {
        "pe": PEComponent,
        "dram": DramComponent,
        "sram": SramTable,
    }
    document = read_yaml(FOLDER / f"{kind}.yaml")
    return {name: records[kind].model_validate(data) for name, data in document.data.items()}


def component_names(kind: str) -> list[str]:
    """Return the names in a component table: ``kind`` is ``pe``, ``dram`` or ``sram``."""
    return sorted(_catalogue(kind))


def _component(kind: str, name: str) -> Record:
    table = _catalogue(kind)
    if name not in table:
        raise BitlatheError(unknown_name(f"{kind} component", name, table))
    return table[name]


def pe_component(name: str) -> PEComponent:
    """Return a PE's cost by name; raise BitlatheError with the near names if there is none."""
    found = _component("pe", name)
    assert isinstance(found, PEComponent)
    return found


def dram_component(name: str) -> DramComponent:
    """Return a DRAM's cost by name; raise BitlatheError with the near names if there is none."""
    found = _component("dram", name)
    assert isinstance(found, DramComponent)
    return found


_COSTS = ("read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns", "cycle_ns")


@cache
def _sram_points(name: str) -> dict[tuple[int, int, int], tuple[float, ...]]:
    """Return ``{(node_nm, bank_bytes, bus_bits): costs}`` of one SRAM table."""
    table = _component("sram", name)
    assert isinstance(table, SramTable)
    with (FOLDER / table.file).open(encoding="utf-8", newline="") as file:
        return {
            (int(row["tech_nm"]), int(row["bank_bytes"]), int(row["bus_bits"])): tuple(
                float(row[cost]) for cost in _COSTS
            )
            for row in csv.DictReader(file)
        }


@cache
def _axes(name: str, node_nm: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    points = _sram_points(name)
    nodes = sorted({node for node, _, _ in points})
    if node_nm not in nodes:
        raise BitlatheError(
            f"SRAM table {name!r} has no {node_nm} nm costs; it has {_listed(nodes)} nm."
        )
    sizes = sorted({size for node, size, _ in points if node == node_nm})
    buses = sorted({bus for node, _, bus in points if node == node_nm})
    return tuple(sizes), tuple(buses)


def _listed(values: Iterable[int]) -> str:
    return ", ".join(str(v) for v in values)


def _bracket(axis: tuple[int, ...], value: float) -> tuple[int, int, float]:
    """Return the neighbours of ``value`` on the axis and its logarithmic place between them."""
    i = min(bisect_right(axis, value) - 1, len(axis) - 2)
    low, high = axis[i], axis[i + 1]
    return low, high, math.log(value / low) / math.log(high / low)


@cache
def sram_cost(
    table: str, *, node_nm: int, size_bytes: int, banks: int, port_bits: float
) -> SramCost:
    """Return the cost of a buffer of equal SRAM banks that are all read or written at once.

    The table's points are exact. Between them the logarithm of a cost is bilinear in the
    logarithms of bank size and bus width, so along either axis a value always lies between its
    two neighbours (monotone between points; CACTI's own points are not monotone everywhere,
    because its optimiser changes the bank's internal division from one point to the next).

    Parameters
    ----------
    table : str
        Name of an SRAM table (`component_names`).
    node_nm : int
        Technology node.
    size_bytes, banks : int
        Size of the whole buffer and the number of banks it is divided into.
    port_bits : float
        Width of one access of the whole buffer; each bank gives ``port_bits / banks``.

    Raises
    ------
    BitlatheError
        Unknown table or node, or a bank size or bus width outside the table.
    """
    sizes, buses = _axes(table, node_nm)
    bank_bytes, bus_bits = size_bytes / banks, port_bits / banks
    if size_bytes < sizes[0]:
        raise BitlatheError(
            f"{size_bytes} bytes are less than the smallest bank of SRAM table {table!r}, "
            f"{sizes[0]} bytes; use at least that, or another table."
        )
    if not sizes[0] <= bank_bytes <= sizes[-1]:
        raise BitlatheError(
            f"{size_bytes} bytes in {banks} banks make banks of {bank_bytes:g} bytes, outside SRAM "
            f"table {table!r} ({sizes[0]} to {sizes[-1]} bytes); use between "
            f"{max(1, math.ceil(size_bytes / sizes[-1]))} and "
            f"{max(1, size_bytes // sizes[0])} banks."
        )
    if not buses[0] <= bus_bits <= buses[-1]:
        raise BitlatheError(
            f"a port of {port_bits:g} bits over {banks} banks makes a bus of {bus_bits:g} bits, "
            f"outside SRAM table {table!r} ({buses[0]} to {buses[-1]} bits); use a port of "
            f"{buses[0] * banks} to {buses[-1] * banks} bits, or another number of banks."
        )
    points = _sram_points(table)
    size_low, size_high, u = _bracket(sizes, bank_bytes)
    bus_low, bus_high, v = _bracket(buses, bus_bits)
    corners = (
        (points[node_nm, size_low, bus_low], (1 - u) * (1 - v)),
        (points[node_nm, size_low, bus_high], (1 - u) * v),
        (points[node_nm, size_high, bus_low], u * (1 - v)),
        (points[node_nm, size_high, bus_high], u * v),
    )
    exact = [costs for costs, weight in corners if weight == 1.0]
    read, write, leakage, area, access, cycle = (
        exact[0]
        if exact
        else [math.exp(math.fsum(w * math.log(c[i]) for c, w in corners if w)) for i in range(6)]
    )
    return SramCost(
        read_pj=read * banks,
        write_pj=write * banks,
        leakage_mw=leakage * banks,
        area_um2=area * banks * 1e6,
        access_ns=access,
        cycle_ns=cycle,
    )
