"""Which design a chip's PE is, and the run that checks it, by kind of PE."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ...arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ...arch.pe_base import PEKind
from ...datatypes.base.errors import BitlatheError
from .bit_serial import Weight, bit_serial_design
from .bit_serial_tile import tile_case, tile_design
from .decoded import decoded_design
from .expected import Case, bit_serial_case
from .fp_mac import fp_mac_design
from .int_mac import int_mac_design
from .lut import lut_case, lut_design
from .mac_cases import ant_case, fp_mac_case, int_mac_case, olive_case
from .split import split_design, splits
from .split_case import split_case
from .stationary import stationary_case, stationary_design
from .systolic import systolic_case, systolic_design
from .verilog import Design


class Kind(NamedTuple):
    """How a kind of PE becomes hardware: its design and its run, for a weight format."""

    design: Callable[[Any, Weight], Design]
    case: Callable[[Any, Weight, int, int], Case]


def _mac(design: Callable[[Any], Design], case: Callable[[Any, int, int], Case]) -> Kind:
    """Return a kind whose hardware has no weight format of its own."""
    return Kind(
        lambda pe, _: split_design(pe) if splits(pe) else design(pe),
        lambda pe, _, rows, seed: (split_case if splits(pe) else case)(pe, rows, seed),
    )


KINDS: dict[str, Kind] = {
    BitSerialPE.kind: Kind(bit_serial_design, bit_serial_case),
    IntMacPE.kind: _mac(int_mac_design, int_mac_case),
    FpMacPE.kind: _mac(fp_mac_design, fp_mac_case),
    LutPE.kind: _mac(lut_design, lut_case),
    AntPE.kind: _mac(decoded_design, ant_case),
    OlivePE.kind: _mac(decoded_design, olive_case),
}


def pe_design(pe: PEKind, weight: Weight = "int8") -> Design:
    """Return the Verilog of a PE.

    Parameters
    ----------
    pe : PEKind
    weight : str, Format or Mixture
        Weight format that its decoder takes.

    Raises
    ------
    BitlatheError
        No hardware is generated for the PE's numerics, format or size.
    """
    return KINDS[pe.kind].design(pe, weight)


def pe_case(pe: PEKind, weight: Weight, rows: int, seed: int) -> Case:
    """Return a run of a PE: stimulus of ``rows`` rows, and what the bit rung says of it.

    Parameters
    ----------
    pe : PEKind
    weight : str, Format or Mixture
        Weight format.
    rows : int
        Rows of input: chunks of weights.
    seed : int
        Of the random numbers.

    Raises
    ------
    BitlatheError
        As `pe_design`.
    """
    return KINDS[pe.kind].case(pe, weight, rows, seed)


DATAFLOWS = ("os", "ws")


def _refuse_others(dataflow: str) -> None:
    if dataflow not in DATAFLOWS:
        raise BitlatheError(
            f"array.dataflow {dataflow!r}: systolic arrays are generated output stationary (os) "
            "and weight stationary (ws); of the others there is a simulation alone"
        )


def array_design(
    pe: PEKind, weight: Weight, sides: tuple[int, int], dataflow: str = "os"
) -> Design:
    """Return the Verilog of an array of PEs, ``sides`` its rows and columns.

    Bit-serial PEs make a tile array, which has no dataflow, others a systolic one.

    Parameters
    ----------
    pe : PEKind
    weight : str, Format or Mixture
        Weight format, of account for bit-serial PEs.
    sides : (int, int)
        Rows and columns of the array.
    dataflow : {"os", "ws"}
        Of a systolic array.

    Raises
    ------
    BitlatheError
        What `tile_design`, `systolic_design` and `stationary_design` refuse; other dataflows.
    """
    if isinstance(pe, BitSerialPE):
        return tile_design(pe, weight, *sides)
    _refuse_others(dataflow)
    return systolic_design(pe, *sides) if dataflow == "os" else stationary_design(pe, *sides)


def array_case(
    pe: PEKind,
    weight: Weight,
    sides: tuple[int, int],
    rows: int,
    seed: int,
    dataflow: str = "os",
) -> Case:
    """Return a run of an array of PEs, and what it must show.

    Parameters
    ----------
    pe : PEKind
    weight : str, Format or Mixture
        Weight format.
    sides : (int, int)
        Rows and columns of the array.
    rows, seed : int
        As `pe_case`.
    dataflow : {"os", "ws"}
        Of a systolic array.
    """
    if isinstance(pe, BitSerialPE):
        return tile_case(pe, weight, *sides, rows, seed)
    _refuse_others(dataflow)
    case = systolic_case if dataflow == "os" else stationary_case
    return case(pe, *sides, rows, seed)
