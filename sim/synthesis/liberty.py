"""Cell libraries in the Liberty format: areas, functions, capacitances, energies and delays.

Liberty User Guides and Reference Manual Suite, volume 1 (Synopsys, 2017): lookup tables of
one and two axes, by load and slew.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import read_text, shown_path
from .liberty_text import Group, Tree, parse_function, parse_group

Floats = npt.NDArray[np.float64]
LOADS = ("total_output_net_capacitance", "output_net_length")


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """A lookup table: (loads, slews) values; an axis of one is constant along it."""

    loads: Floats
    slews: Floats
    values: Floats

    def at(self, load: float | Floats, slew: float) -> Floats:
        """Return values at (n,) loads and a slew, interpolated, constant beyond the ends."""
        by_load = [float(np.interp(slew, self.slews, row)) for row in self.values]
        return np.asarray(np.interp(load, self.loads, by_load))


ZERO = Table(np.zeros(1), np.zeros(1), np.zeros((1, 1)))


class Pin(NamedTuple):
    """A pin: direction, capacitance, function (outputs), and its tables by kind.

    ``tables`` holds ``energy`` (of one transition, mean of rise and fall and of the pins that
    cause it), ``delay``, ``transition`` and ``setup`` (means, too), those that the file has.
    """

    name: str
    output: bool
    capacitance: float
    function: Tree | None
    tables: dict[str, Table]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Cell:
    """A cell; ``next_state`` and ``clock`` of registers, ``state`` the name of what they keep."""

    name: str
    area: float
    leakage: float
    pins: dict[str, Pin]
    state: tuple[str, ...] = ()
    next_state: Tree | None = None
    clock: str = ""

    @property
    def outputs(self) -> list[Pin]:
        """Its output pins that have a function."""
        return [pin for pin in self.pins.values() if pin.output and pin.function is not None]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Library:
    """A cell library; capacitances in pF, times in ns, energies in pJ.

    Attributes
    ----------
    name : str
    path : Path
    digest : str
        SHA-256 of the file.
    voltage : float
    cells : dict of str to Cell
    """

    name: str
    path: Path
    digest: str
    voltage: float
    cells: dict[str, Cell]

    @property
    def inverter(self) -> Cell:
        """The smallest inverter.

        Raises
        ------
        BitlatheError
            It has none.
        """
        found = [c for c in self.cells.values() if [p.function for p in c.outputs] and
                 len(c.pins) == 2 and (c.outputs[0].function or ("",))[0] == "not" and c.area and
                 any(not pin.output and pin.capacitance for pin in c.pins.values())]  # fmt: skip
        if not found:
            raise BitlatheError(
                f"{self.name}: no inverter with an area and a capacitance among its cells"
            )
        return min(found, key=lambda cell: cell.area)

    @property
    def register(self) -> Cell:
        """The smallest register with data, a clock, and nothing else.

        Raises
        ------
        BitlatheError
            It has none.
        """
        found = [c for c in self.cells.values() if c.next_state is not None and
                 sum(not pin.output for pin in c.pins.values()) == 2 and c.area]  # fmt: skip
        if not found:
            raise BitlatheError(f"{self.name}: no D flip-flop with an area among its cells")
        return min(found, key=lambda cell: cell.area)

    @property
    def fanout_of_4(self) -> tuple[float, float]:
        """Delay of an inverter that drives four such inverters, and the slew there, in ns."""
        cell = self.inverter
        output = cell.outputs[0]
        load = 4 * next(pin.capacitance for pin in cell.pins.values() if not pin.output)
        slew = 0.0
        for _ in range(50):  # the slew that comes out is that which goes in
            slew = float(output.tables.get("transition", ZERO).at(load, slew))
        return float(output.tables.get("delay", ZERO).at(load, slew)), slew


def _axes(group: Group, templates: dict[str, Group]) -> Table:
    """Return a table group with its axes in order (load, slew)."""
    rows = [[float(v) for v in re.split(r"[,\s]+", row.strip(" ,"))]
            for row in group.values.get("values", ())]  # fmt: skip
    template = templates.get(group.arguments[0] if group.arguments else "")
    kinds, axes = [], []
    for number in ("1", "2"):
        kind = template.text(f"variable_{number}") if template else ""
        index = group.values.get(f"index_{number}") or (
            template.values.get(f"index_{number}") if template else None
        )
        if index:
            kinds.append(kind)
            axes.append(np.array([float(v) for v in re.split(r"[,\s]+", index[0].strip(" ,"))]))
    values = np.array(rows)
    if not axes:
        return Table(np.zeros(1), np.zeros(1), values.reshape(1, 1))
    if len(axes) == 1:
        by_load = kinds[0] in LOADS
        shaped = values.reshape(-1, 1) if by_load else values.reshape(1, -1)
        empty = np.zeros(1)
        return Table(axes[0], empty, shaped) if by_load else Table(empty, axes[0], shaped)
    values = values.reshape(len(axes[0]), len(axes[1]))
    if kinds[0] in LOADS or kinds[1] not in LOADS:
        return Table(axes[0], axes[1], values)
    return Table(axes[1], axes[0], values.T)


def _table(group: Group, templates: dict[str, Group]) -> Table:
    """Return a table group, or raise what is wrong with it."""
    try:
        found = _axes(group, templates)
    except ValueError:
        raise BitlatheError(
            f"{group.place}: its indices and values are no table of numbers; one value for each "
            "pair of the indices is right"
        ) from None
    if not all(np.isfinite(each).all() for each in (found.loads, found.slews, found.values)):
        raise BitlatheError(f"{group.place}: a value is not finite")
    return found


def _mean(tables: list[Table]) -> Table:
    """Return the mean of tables, on the axes of the first."""
    first = tables[0]
    values = [
        np.stack([table.at(first.loads, float(slew)) for slew in first.slews], axis=1)
        for table in tables
    ]
    return Table(first.loads, first.slews, np.mean(values, axis=0))


KINDS = {
    "energy": ("rise_power", "fall_power", "power"),
    "delay": ("cell_rise", "cell_fall"),
    "transition": ("rise_transition", "fall_transition"),
    "setup": ("rise_constraint", "fall_constraint"),
}


def _pin(group: Group, templates: dict[str, Group], scale: tuple[float, float]) -> Pin:
    """Return a pin; ``scale`` is what capacitances and times are multiplied with."""
    to_pf, to_ns = scale
    found: dict[str, list[Table]] = {}
    for part in (*group.named("internal_power"), *group.named("timing")):
        if part.text("timing_type").startswith("hold"):
            continue
        for kind, names in KINDS.items():
            for table in part.groups:
                if table.kind in names:
                    one = _table(table, templates)
                    unit = to_pf if kind == "energy" else to_ns
                    # constraints have slews of clock and data as axes
                    loads = one.loads * (to_ns if kind == "setup" else to_pf)
                    made = Table(loads, one.slews * to_ns, one.values * unit)
                    found.setdefault(kind, []).append(made)
    function = group.text("function")
    return Pin(
        name=group.name,
        output=group.text("direction") == "output",
        capacitance=group.number("capacitance") * to_pf,
        function=_function(function, group) if function else None,
        tables={kind: _mean(tables) for kind, tables in found.items()},
    )


def _unit(group: Group, key: str, otherwise: str, base: dict[str, float]) -> float:
    """Return a unit such as '1ns' or (1, pf) in the base units."""
    text = "".join(group.values.get(key, (otherwise,))).lower()
    match = re.fullmatch(r"([\d.e+-]*?)\s*([a-z]+)", text)
    if match is None or match.group(2) not in base:
        raise BitlatheError(
            f"{group.place}: {key}: {text!r}; a number of one of {', '.join(base)} is right"
        )
    return float(match.group(1) or 1) * base[match.group(2)]


def _function(text: str, group: Group) -> Tree:
    """Return a function of pins that a group has, or raise what is wrong with it."""
    try:
        return parse_function(text)
    except BitlatheError as problem:
        raise BitlatheError(f"{group.place}: {problem}") from None


def _cell(group: Group, templates: dict[str, Group], scale: tuple[float, float]) -> Cell:
    pins = [_pin(pin, templates, scale) for pin in group.named("pin")]
    ff = next(group.named("ff"), None)
    clock = ff.text("clocked_on") if ff else ""
    plain = ff is not None and re.fullmatch(r"\(?\w+\)?", clock) is not None
    plain = plain and not {"clear", "preset"} & set(ff.values if ff else ())
    return Cell(
        name=group.name,
        area=group.number("area"),
        leakage=group.number("cell_leakage_power"),
        pins={pin.name: pin for pin in pins},
        state=ff.arguments if ff and plain else (),
        next_state=_function(ff.text("next_state"), ff) if ff and plain else None,
        clock=clock.strip("()"),
    )


def read_library(path: str | Path) -> Library:
    """Return the cell library in a Liberty file.

    Raises
    ------
    BitlatheError
        The file cannot be read, is no Liberty, or its cells are no library for synthesis.
    """
    place = Path(path)
    return _read(place, place.stat().st_mtime_ns if place.is_file() else 0)


@lru_cache(maxsize=8)
def _read(path: Path, _: int) -> Library:
    text = read_text(path)
    try:
        group = parse_group(text)
    except ValueError as problem:
        raise BitlatheError(
            f"{shown_path(path)}: no cell library in the Liberty format: {problem}"
        ) from None
    try:
        return _library(group, path, text)
    except (ValueError, IndexError) as problem:
        raise BitlatheError(f"{shown_path(path)}: {problem}") from None


def _library(group: Group, path: Path, text: str) -> Library:
    to_ns = _unit(group, "time_unit", "1ns", {"ns": 1.0, "ps": 1e-3, "fs": 1e-6})
    to_pf = _unit(group, "capacitive_load_unit", "1pf", {"pf": 1.0, "ff": 1e-3})
    kinds = ("lu_table_template", "power_lut_template")
    templates = {t.arguments[0]: t for kind in kinds for t in group.named(kind) if t.arguments}
    cells = [_cell(each, templates, (to_pf, to_ns)) for each in group.named("cell")]
    library = Library(
        name=group.arguments[0] if group.arguments else path.stem,
        path=path,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        voltage=group.number("nom_voltage", 1.0),
        cells={cell.name: cell for cell in cells},
    )
    _ = library.inverter, library.register  # without them nothing can be mapped
    return library


DEFAULT_LIBRARY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
TO_INSTALL = "apt-get install qflow-tech-osu018, or name a Liberty file of your own"


def default_library() -> Path:
    """Return the open 180 nm library of Oklahoma State University, as Debian packages it.

    Raises
    ------
    BitlatheError
        It is not installed.
    """
    if not DEFAULT_LIBRARY.is_file():
        raise BitlatheError(f"no cell library: {TO_INSTALL}")
    return DEFAULT_LIBRARY
