"""Costs of SRAM buffers from tables of single banks, and how many banks meet a clock."""

import csv
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from ..datatypes.base.errors import BitlatheError
from .components import FOLDER, sram_table
from .scaling import factor

DEVICE, TEMPERATURE_K = "lop", 300
"""Defaults for a chip that names neither a device nor a temperature."""
_COSTS = ("read_pj", "write_pj", "area_mm2", "access_ns", "cycle_ns")
_PORTS = {"1r1w": 2, "1rw": 1}
_NAMES = {2: "a read and a write port", 1: "one port"}
_MOST_BANKS = 4096

Point = tuple[int, int]  # bank bytes, bus bits


@dataclass(frozen=True, slots=True, kw_only=True)
class SramCost:
    """Cost of one SRAM buffer (all banks together): energies per full-width access."""

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_um2: float
    access_ns: float
    cycle_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """A kind of SRAM bank: a table, and which of its devices, temperatures and ports."""

    table: str
    node_nm: int
    device: str
    temperature_k: int
    ports: int
    scaled_to_nm: int | None = None

    @classmethod
    def of(
        cls,
        table: str,
        *,
        node_nm: int,
        device: str | None = None,
        temperature_k: int | None = None,
        ports: int = 2,
        scaled: bool = False,
    ) -> "Macro":
        """Return a kind of bank; what is not given is the table's, or else the default.

        Parameters
        ----------
        table : str
            A row of components/sram.yaml.
        node_nm : int
        device : {"hp", "lop", "lstp"}, optional
        temperature_k : {300, 360}, optional
        ports : {2, 1}
            A read and a write port, or one port for both.
        scaled : bool
            Whether costs of the nearest node that the table has are scaled to this one
            (`arch.scaling`). Access times are not.

        Raises
        ------
        BitlatheError
            If the table was made for another device or temperature, or for one port and two are
            asked for.
        """
        own = sram_table(table)
        for key, asked, unit in (
            ("device", device, ""),
            ("temperature_k", temperature_k, " K"),
        ):
            known = getattr(own, key)
            if known is not None and asked not in (None, known):
                raise BitlatheError(
                    f"SRAM table {table!r} was made for {known}{unit}, the chip's "
                    f"technology.{key} is {asked}{unit}; use component: cacti7, or leave out "
                    f"technology.{key}."
                )
        if own.ports is not None and ports > own.ports:
            raise BitlatheError(
                f"SRAM table {table!r} was made for {_NAMES[own.ports]}, not for ports: {ports}; "
                f"use ports: {own.ports}, or component: cacti7."
            )
        target = None
        if scaled and node_nm not in (nodes := {each.node_nm for each in _points(table)}):
            target, node_nm = node_nm, min(nodes, key=lambda nm: abs(math.log(nm / node_nm)))
        return cls(
            table=table,
            scaled_to_nm=target,
            node_nm=node_nm,
            device=own.device or device or DEVICE,
            temperature_k=own.temperature_k or temperature_k or TEMPERATURE_K,
            ports=own.ports or ports,
        )


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


@cache
def _points(name: str) -> dict[Macro, dict[Point, tuple[float, ...]]]:
    """Return the costs of one table's banks: (read, write, area, access, cycle, leakage)."""
    table = sram_table(name)
    found: dict[Macro, dict[Point, tuple[float, ...]]] = {}
    with (FOLDER / table.file).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            point = int(row["bank_bytes"]), int(row["bus_bits"])
            costs = tuple(float(row[cost]) for cost in _COSTS)
            for kelvin in (table.temperature_k,) if table.temperature_k else (300, 360):
                suffix = "" if table.temperature_k else f"_{kelvin}k"
                macro = Macro(
                    table=name,
                    node_nm=int(row["tech_nm"]),
                    device=table.device or row["device"],
                    temperature_k=kelvin,
                    ports=table.ports or _PORTS[row["ports"]],
                )
                found.setdefault(macro, {})[point] = (*costs, float(row[f"leakage_mw{suffix}"]))
    return found


def _of(macro: Macro) -> dict[Point, tuple[float, ...]]:
    """Return the banks of one kind."""
    points, macro = _points(macro.table), replace(macro, scaled_to_nm=None)
    if macro not in points:
        nodes = sorted({each.node_nm for each in points})
        raise BitlatheError(
            f"SRAM table {macro.table!r} has no {macro.node_nm} nm costs; it has {_listed(nodes)} "
            "nm."
        )
    return points[macro]


@cache
def _sizes(macro: Macro) -> tuple[int, ...]:
    return tuple(sorted({size for size, _ in _of(macro)}))


@cache
def _buses(macro: Macro, size: int) -> tuple[int, ...]:
    return tuple(sorted(bus for each, bus in _of(macro) if each == size))


def _bracket(axis: tuple[int, ...], value: float) -> tuple[int, int, float]:
    """Return the neighbors of ``value`` on the axis and its logarithmic place between them."""
    i = min(bisect_right(axis, value) - 1, len(axis) - 2)
    low, high = axis[i], axis[i + 1]
    return low, high, math.log(value / low) / math.log(high / low)


@cache
def bank_cost(macro: Macro, bank_bytes: float, bus_bits: float) -> tuple[float, ...]:
    """Return (read, write, area, access, cycle, leakage) of one bank within the table.

    The table's points are exact. Between them the logarithm of a cost is bilinear in the
    logarithms of bank size and bus width, so along either axis a value always lies between its
    two neighbors (monotone between points; CACTI's own points are not monotone everywhere,
    because its optimizer changes the bank's internal division from one point to the next).
    """
    points = _of(macro)
    size_low, size_high, u = _bracket(_sizes(macro), bank_bytes)
    bus_low, bus_high, v = _bracket(_buses(macro, size_low if u < 1 else size_high), bus_bits)
    corners = [
        (points[size, bus], weight)
        for size, bus, weight in (
            (size_low, bus_low, (1 - u) * (1 - v)),
            (size_low, bus_high, (1 - u) * v),
            (size_high, bus_low, u * (1 - v)),
            (size_high, bus_high, u * v),
        )
        if weight
    ]
    if len(corners) == 1:
        return corners[0][0]
    return tuple(math.exp(math.fsum(w * math.log(c[i]) for c, w in corners)) for i in range(6))


def _bus_bits(macro: Macro, banks: int, port_bits: float) -> float:
    """Return the width of a bank's bus: its share of the port, or the narrowest that there is."""
    return max(_buses(macro, _sizes(macro)[0])[0], port_bits / banks)


def _outside(macro: Macro, size_bytes: int, banks: int, port_bits: float) -> str | None:
    """Return why a buffer lies outside its table and what lies inside, or None if it is inside."""
    sizes = _sizes(macro)
    bank_bytes, bus_bits = size_bytes / banks, _bus_bits(macro, banks, port_bits)
    if size_bytes < sizes[0]:
        return (
            f"{size_bytes} bytes are less than the smallest bank of SRAM table {macro.table!r}, "
            f"{sizes[0]} bytes; use at least that, or another table."
        )
    if size_bytes > _MOST_BANKS * sizes[-1]:
        return (
            f"{size_bytes} bytes are more than {_MOST_BANKS} of the largest banks of SRAM table "
            f"{macro.table!r}, {sizes[-1]} bytes each; use a smaller buffer."
        )
    if not sizes[0] <= bank_bytes <= sizes[-1]:
        return (
            f"{size_bytes} bytes in {banks} banks make banks of {bank_bytes:g} bytes, outside SRAM "
            f"table {macro.table!r} ({sizes[0]} to {sizes[-1]} bytes); use between "
            f"{max(1, math.ceil(size_bytes / sizes[-1]))} and "
            f"{min(_MOST_BANKS, max(1, size_bytes // sizes[0]))} banks."
        )
    buses = _buses(macro, max(size for size in sizes if size <= bank_bytes))
    if bus_bits > buses[-1]:
        return (
            f"a port of {port_bits:g} bits over {banks} banks makes a bus of {bus_bits:g} bits, "
            f"beyond SRAM table {macro.table!r} ({buses[-1]} bits for banks of {bank_bytes:g} "
            f"bytes); use a port of at most {buses[-1] * banks} bits, or more banks."
        )
    return None


def sram_cost(macro: Macro, *, size_bytes: int, banks: int, port_bits: float) -> SramCost:
    """Return the cost of a buffer of equal SRAM banks that are all read or written at once.

    Parameters
    ----------
    macro : Macro
        The kind of bank.
    size_bytes, banks : int
        Size of the whole buffer and the number of banks it is divided into.
    port_bits : float
        Width of one access of the whole buffer; each bank gives ``port_bits / banks``, or the
        table's narrowest bus, of which the port then leaves some unused.

    Raises
    ------
    BitlatheError
        Unknown node, or a bank size or bus width outside the table.
    """
    problem = _outside(macro, size_bytes, banks, port_bits)
    if problem:
        raise BitlatheError(problem)
    costs = bank_cost(macro, size_bytes / banks, _bus_bits(macro, banks, port_bits))
    read, write, area, access, cycle, leakage = costs
    to_nm = macro.scaled_to_nm or macro.node_nm
    energies = banks * factor("energy", macro.node_nm, to_nm)
    return SramCost(
        read_pj=read * energies,
        write_pj=write * energies,
        leakage_mw=leakage * energies,
        area_um2=area * banks * 1e6 * factor("area", macro.node_nm, to_nm),
        access_ns=access,
        cycle_ns=cycle,
    )


@cache
def least_banks(macro: Macro, *, size_bytes: int, port_bits: float, clock_ghz: float) -> int:
    """Return the fewest banks, of 1, 2, 4 ..., that take an access every clock.

    A power of two splits an address into bank and row without a divider.

    Parameters
    ----------
    macro : Macro
    size_bytes : int
        Size of the whole buffer.
    port_bits : float
        Width of one access of the whole buffer.
    clock_ghz : float

    Raises
    ------
    BitlatheError
        If no number of banks does; the error says how near the fastest comes, or why none exists.
    """
    first: str | None = None
    fastest: tuple[float, int] | None = None
    banks = 1
    while banks <= _MOST_BANKS:
        problem = _outside(macro, size_bytes, banks, port_bits)
        if problem is None:
            bus_bits = _bus_bits(macro, banks, port_bits)
            cycle_ns = bank_cost(macro, size_bytes / banks, bus_bits)[4]
            if cycle_ns * clock_ghz <= 1:
                return banks
            fastest = min(fastest or (cycle_ns, banks), (cycle_ns, banks))
        first = first or problem
        banks *= 2
    if fastest is None:
        raise BitlatheError(first or "")
    raise BitlatheError(
        f"no number of banks of device {macro.device!r} takes an access every "
        f"{1 / clock_ghz:.3g} ns; {fastest[1]} banks take {fastest[0]:.3g} ns, so use a clock of "
        f"at most {math.floor(1e3 / fastest[0]) / 1e3:g} GHz, or another technology.device (hp is "
        "the fastest)."
    )
