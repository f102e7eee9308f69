"""Designs as gates of a cell library: Yosys and its abc, results kept by content."""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.user_folder import kept_folder
from ..rtl.tools import run_yosys
from ..rtl.verilog import Design
from .liberty import Library

PASSES = (
    "read_verilog -defer design.v",
    "synth -flatten -booth -top {top}",  # Booth multipliers: a quarter to a third smaller
    "dfflibmap -liberty {liberty}",
    "abc -liberty {liberty} -constr pins.txt -D 1",  # buffers and sizes for speed
    "opt_clean -purge",
    "write_json netlist.json",
)
MOST_SHARED = 24  # floating-point adders of a design whose operators Yosys may share
TIMEOUT_S = 7200.0  # dozens of floating-point adders take minutes
PINS = "set_driving_cell {inverter}\nset_load {load_ff:.3f} [all_outputs]\n"
DELAY = re.compile(r"Delay = *([\d.]+) ps")
COLOR = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Netlist:
    """A design as gates.

    Attributes
    ----------
    top : str
    ports : dict of str to (direction, bits)
        Bits are numbers of nets, or '0' and '1'.
    cells : list of (cell name, pin to bit)
    logic_ns : float
        Delay of the longest path between registers, or ports.
    """

    top: str
    ports: dict[str, tuple[str, list[Any]]]
    cells: list[tuple[str, dict[str, Any]]]
    logic_ns: float

    def count(self, library: Library) -> dict[str, int]:
        """Return how many cells of each kind it has."""
        found: dict[str, int] = {}
        for name, _ in self.cells:
            found[name] = found.get(name, 0) + 1
        return dict(sorted(found.items()))

    def area(self, library: Library) -> float:
        """Return the area of all its cells, in units of the library."""
        return sum(library.cells[name].area for name, _ in self.cells)

    def registers(self, library: Library) -> int:
        """Return how many registers it has."""
        return sum(library.cells[name].next_state is not None for name, _ in self.cells)


def passes_of(design: Design) -> tuple[str, ...]:
    """Return the passes that map a design.

    Yosys asks a SAT solver of every pair of shifters whether one would do for both. In a tree of
    many floating-point adders each question holds most of the tree, and there is no end to them.
    """
    adders = len(re.findall(r"^ *float_add\b", design.text, re.M))
    if adders <= MOST_SHARED:
        return PASSES
    return tuple(each.replace("synth ", "synth -noshare ") for each in PASSES)


def content_key(design: Design, library: Library) -> str:
    """Return a hash of all that decides a netlist: Verilog, library, passes."""
    parts = (design.text, design.top, library.digest, *passes_of(design), PINS)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _netlist(data: dict[str, Any], top: str, logic_ns: float) -> Netlist:
    module = data["modules"][top]
    return Netlist(
        top=top,
        ports={name: (p["direction"], p["bits"]) for name, p in module["ports"].items()},
        cells=[
            (cell["type"], {pin: bits[0] for pin, bits in cell["connections"].items()})
            for cell in module["cells"].values()
        ],
        logic_ns=logic_ns,
    )


def _mapped(design: Design, library: Library, place: Path) -> tuple[dict[str, Any], str]:
    """Return the modules of a design as gates, and what Yosys printed."""
    inverter = library.inverter
    load = 4 * next(pin.capacitance for pin in inverter.pins.values() if not pin.output)
    names = {"top": design.top, "liberty": str(library.path.resolve())}
    (place / "design.v").write_text(design.text, encoding="utf-8")
    pins = PINS.format(inverter=inverter.name, load_ff=1000 * load)
    (place / "pins.txt").write_text(pins, encoding="utf-8")
    log = run_yosys([each.format(**names) for each in passes_of(design)], place, TIMEOUT_S)
    modules: dict[str, Any] = json.loads((place / "netlist.json").read_text("utf-8"))["modules"]
    for module in modules.values():
        for cell in module["cells"].values():
            if cell["type"] not in library.cells and cell["type"] not in modules:
                raise BitlatheError(
                    f"{library.name}: {design.top} needs a cell {cell['type']!r} that is not there"
                )
    return modules, log


def _kept(design: Design, library: Library, make: Callable[[Path], Any]) -> Any:
    """Return what ``make`` finds in an empty folder, or what is kept of it from before."""
    folder = kept_folder() / "synthesis"
    done = folder / f"{content_key(design, library)}.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        found = make(Path(name))
        part = Path(name) / "kept.json"
        part.write_text(json.dumps(found, separators=(",", ":")), encoding="utf-8")
        part.replace(done)
    return found


def synthesize(design: Design, library: Library) -> Netlist:
    """Return a design as gates of a library, made unless it is kept from before.

    Raises
    ------
    BitlatheError
        Yosys is not installed or fails, or leaves a cell that the library does not have.
    """

    def make(place: Path) -> Any:
        modules, log = _mapped(design, library, place)
        whole = {key: modules[design.top][key] for key in ("ports", "cells")}
        for cell in whole["cells"].values():
            for key in ("hide_name", "attributes", "parameters", "port_directions"):
                cell.pop(key, None)
        for port in whole["ports"].values():
            port.pop("upto", None)
        delays = DELAY.findall(COLOR.sub("", log))
        return {
            "netlist": {"modules": {design.top: whole}},
            "logic_ns": float(delays[-1]) / 1000 if delays else 0.0,
        }

    kept = _kept(design, library, make)
    return _netlist(kept["netlist"], design.top, float(kept["logic_ns"]))


def blocks_of(design: Design, library: Library) -> dict[str, tuple[float, int]]:
    """Return area in the library's units and registers of the modules right below the top.

    They are mapped apart, their own modules dissolved in them; all copies of a module together.
    Gates that blocks would share count in each.

    Raises
    ------
    BitlatheError
        As `synthesize`.
    """
    text = design.modules[design.top]
    apart = [name for name in design.modules if re.search(rf"^ *{name}\s+(#|\w+ )\(", text, re.M)]
    if not apart:
        return {}
    modules = {
        name: each.replace(f"\nmodule {name} ", f"\n(* keep_hierarchy *)\nmodule {name} ", 1)
        if name in apart
        else each
        for name, each in design.modules.items()
    }
    marked = replace(design, modules=modules)

    def make(place: Path) -> Any:
        mapped, _ = _mapped(marked, library, place)
        found: dict[str, list[float]] = {}
        for cell in mapped[design.top]["cells"].values():
            if cell["type"] in library.cells:
                continue
            name = next(part for part in cell["type"].split("\\") if part in apart)
            inside = [library.cells[c["type"]] for c in mapped[cell["type"]]["cells"].values()]
            area, registers = found.setdefault(name, [0.0, 0])
            found[name] = [
                area + sum(gate.area for gate in inside),
                registers + sum(gate.next_state is not None for gate in inside),
            ]
        return found

    kept = _kept(marked, library, make)
    return {name: (float(area), int(registers)) for name, (area, registers) in kept.items()}
