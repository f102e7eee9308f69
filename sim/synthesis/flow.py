"""Designs as gates of a cell library: Yosys and its abc, results kept by content."""

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
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

    def logic_area(self, library: Library) -> float:
        """Return the area of the cells that are no registers, in units of the library."""
        plain = (library.cells[name] for name, _ in self.cells)
        return sum(cell.area for cell in plain if cell.next_state is None)


def content_key(design: Design, library: Library) -> str:
    """Return a hash of all that decides a netlist: Verilog, library, passes."""
    parts = (design.text, design.top, library.digest, *PASSES, PINS)
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


def synthesize(design: Design, library: Library) -> Netlist:
    """Return a design as gates of a library, made unless it is kept from before.

    Raises
    ------
    BitlatheError
        Yosys is not installed or fails, or leaves a cell that the library does not have.
    """
    folder = kept_folder() / "synthesis"
    done = folder / f"{content_key(design, library)}.json"
    if done.exists():
        kept = json.loads(done.read_text(encoding="utf-8"))
        return _netlist(kept["netlist"], design.top, kept["logic_ns"])
    folder.mkdir(parents=True, exist_ok=True)
    inverter = library.inverter
    load = 4 * next(pin.capacitance for pin in inverter.pins.values() if not pin.output)
    names = {"top": design.top, "liberty": str(library.path.resolve())}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        (place / "design.v").write_text(design.text, encoding="utf-8")
        pins = PINS.format(inverter=inverter.name, load_ff=1000 * load)
        (place / "pins.txt").write_text(pins, encoding="utf-8")
        log = run_yosys([each.format(**names) for each in PASSES], place)
        data = json.loads((place / "netlist.json").read_text(encoding="utf-8"))
        whole = {key: data["modules"][design.top][key] for key in ("ports", "cells")}
        for cell in whole["cells"].values():
            if cell["type"] not in library.cells:
                raise BitlatheError(
                    f"{library.name}: {design.top} needs a cell {cell['type']!r} that is not there"
                )
            for key in ("hide_name", "attributes", "parameters", "port_directions"):
                cell.pop(key, None)
        for port in whole["ports"].values():
            port.pop("upto", None)
        delays = DELAY.findall(COLOR.sub("", log))
        kept = {
            "netlist": {"modules": {design.top: whole}},
            "logic_ns": float(delays[-1]) / 1000 if delays else 0.0,
        }
        part = place / "kept.json"
        part.write_text(json.dumps(kept, separators=(",", ":")), encoding="utf-8")
        part.replace(done)
    return _netlist(kept["netlist"], design.top, float(kept["logic_ns"]))
