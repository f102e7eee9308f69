"""PEs measured: gates of each part, run on real operands; their area, energy and longest path."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from ...arch.pe import BitSerialPE, LutPE
from ...arch.pe_base import PEKind
from ...arch.synthesized import (
    Block,
    Part,
    PartName,
    Results,
    SynthesizedLibrary,
    SynthesizedPE,
    kept_path,
    pe_key,
    weight_key,
    write_results,
)
from ...datatypes.base.numbers import ceil_div
from ...datatypes.formats import catalogue
from ..rtl.bit_serial import Weight, core_design, edge_designs
from ..rtl.generate import pe_design
from ..rtl.lut import lut_parts
from ..rtl.verilog import Design
from .calibrate import WARM_UP, Calibration, calibrate
from .energy import energy_pj
from .flow import blocks_of, synthesize
from .gates import Activity, circuit_of, run_gates
from .liberty import ZERO, Library
from .operands import Bits, Source, lut_rows, operand_rows, source

LEAST = 16  # clocks that are counted
MOST_FILLING = 512  # clocks of a table that is filled


class Measured(NamedTuple):
    """A part, and what its run showed."""

    part: Part
    activity: Activity


def register_ns(library: Library) -> float:
    """Return what a register takes of a clock: its delay with four loads, and its setup."""
    _, slew = library.fanout_of_4
    cell = library.register
    data = next(p for p in cell.pins.values() if not p.output and p.name != cell.clock)
    output = cell.outputs[0]
    delay = float(output.tables.get("delay", ZERO).at(4 * data.capacitance, slew))
    return delay + float(data.tables.get("setup", ZERO).at(slew, slew))


def measure_part(
    design: Design,
    library: Library,
    rows: Mapping[str, Bits],
    clocks: int,
    watch: tuple[str, ...] = (),
) -> Measured:
    """Return a design's gates measured on rows of operands.

    Parameters
    ----------
    design : Design
    library : Library
    rows : dict of str to (rows, streams, bits) ndarray of uint8
        See `gates.run_gates`.
    clocks : int
    watch : tuple of str
        Output ports to record.
    """
    netlist = synthesize(design, library)
    circuit = circuit_of(netlist, library)
    seen = run_gates(
        circuit, netlist, library, design, rows, clocks=clocks, warm_up=WARM_UP, watch=watch
    )
    part = Part(
        units=netlist.area(library),
        registers=netlist.registers(library),
        energy_pj=energy_pj(circuit, library, netlist, seen),
        path_ns=netlist.logic_ns + register_ns(library),
    )
    return Measured(part, seen)


def _blocks(designs: Iterable[Design], library: Library) -> dict[str, Block]:
    found: dict[str, Block] = {}
    for design in designs:
        for name, (units, registers) in blocks_of(design, library).items():
            old = found.get(name, Block(units=0, registers=0))
            found[name] = Block(units=old.units + units, registers=old.registers + registers)
    return found


def _bit_serial_parts(
    pe: BitSerialPE, weight: Weight, library: Library, rows: Mapping[str, Bits], clocks: int
) -> dict[PartName, Part]:
    """Return the parts of a bit-serial PE: what the edges put out is what the core takes."""
    terms, activations = edge_designs(pe, weight)
    given = {**rows, "scales": rows["scale"]}
    row_edge = measure_part(terms, library, given, clocks, tuple(p.name for p in terms.outputs))
    offered, index = rows["activations"], np.arange(rows["activations"].shape[1])
    held = {"activations": offered[np.minimum(row_edge.activity.taken, len(offered) - 1), index]}
    column_edge = measure_part(
        activations, library, held, clocks, tuple(p.name for p in activations.outputs)
    )
    seen, fields = row_edge.activity.seen, column_edge.activity.seen
    core = core_design(pe, weight)
    renamed = {
        "live": seen["live"], "sign": seen["sign"], "present": seen["present"],
        "term_exponent": seen["exponent"], "activation_sign": fields["sign"],
        "field": fields["field"], "significand": fields["significand"], "add": seen["add"],
        "add_first": seen["add_first"], "significance": seen["significance"],
        "sum_valid": seen["sum_valid"], "scale": seen["sum_scales"],
    }  # fmt: skip
    inside = measure_part(core, library, renamed, clocks)
    return {"pe": inside.part, "row_edge": row_edge.part, "column_edge": column_edge.part}


def measure_pe(pe: PEKind, weight: Weight, library: Library, given: Source) -> SynthesizedPE:
    """Return a PE's gates measured.

    Parameters
    ----------
    pe : PEKind
    weight : str, Format or Mixture
        Weight format; of no account for MACs.
    library : Library
    given : Source
        Operands.

    Raises
    ------
    BitlatheError
        No hardware is generated for it, or a tool is missing.
    """
    if isinstance(pe, LutPE):
        column, look = lut_parts(pe)
        filling, looking = lut_rows(pe, given)
        clocks = min(2 << pe.inputs, MOST_FILLING) + WARM_UP
        lut: dict[PartName, Part] = {
            "pe": measure_part(look, library, looking, len(looking["code"])).part,
            "column_edge": measure_part(column, library, filling, clocks).part,
        }
        blocks = _blocks((look, column), library)
        return SynthesizedPE(pe=pe_key(pe), weight="", parts=lut, blocks=blocks)
    design = pe_design(pe, weight)
    rows = operand_rows(pe, weight, design, given)
    clocks = len(rows["in_valid"])
    if isinstance(pe, BitSerialPE):
        parts = _bit_serial_parts(pe, weight, library, rows, min(clocks * 2, 192))
        element = catalogue.element(weight) if isinstance(weight, str) else weight
        blocks = _blocks((core_design(pe, weight), *edge_designs(pe, weight)), library)
        return SynthesizedPE(pe=pe_key(pe), weight=weight_key(element), parts=parts, blocks=blocks)
    # PEs of many lanes have few rows; the first ones only fill the registers
    again = ceil_div(WARM_UP + LEAST, clocks)
    rows = {name: np.tile(each, (again, 1, 1)) for name, each in rows.items()}
    part = measure_part(design, library, rows, min(again * clocks, 192)).part
    blocks = _blocks((design,), library)
    return SynthesizedPE(pe=pe_key(pe), weight="", parts={"pe": part}, blocks=blocks)


def library_of(library: Library, found: Calibration, operands: str) -> SynthesizedLibrary:
    """Return a library's constants as a record for the chips' floor."""
    return SynthesizedLibrary(
        name=library.name,
        units_per_um2=found.units_per_um2,
        pj_per_pj=found.pj_per_pj,
        fanout_of_4_ns=library.fanout_of_4[0],
        operands=operands,
    )


def measure(
    subjects: Iterable[tuple[str, PEKind, Any]], library: Library, *, keep: bool = True
) -> tuple[Calibration, Results]:
    """Return PEs measured with a library, and the library's calibration.

    Parameters
    ----------
    subjects : iterable of (name, PE, weight format)
    library : Library
    keep : bool
        Keep each result in the user's folder, where chips find it.
    """
    given = source()
    found = calibrate(library, given)
    constants = library_of(library, found, given.name)
    pes = []
    for _, pe, weight in subjects:
        pes.append(measure_pe(pe, weight, library, given))
        if keep:
            path = kept_path(pes[-1].pe, pes[-1].weight)
            one = Results(library=constants, pes=pes[-1:])
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{uuid4().hex[:16]}.part")
            part.write_text(write_results(one), encoding="utf-8")
            part.replace(path)  # readers see all of it or none
    return found, Results(library=constants, pes=pes)
