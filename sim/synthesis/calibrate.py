"""One constant of area and one of energy for each library: from its own units to 28 nm.

The four blocks of BitMoD's PE are written from the paper with the authors' widths
(``library/published_blocks.v``), mapped to the library, and compared with the authors' synthesis
sheet (TSMC 28HPC+, ssg, 0.9 V, -40 C, 1 GHz). The constants are those of the four together. A
register counts as the sheet's 2.69 um2: registers are larger against gates at 28 nm than in older
libraries.
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from ...arch.numerics import HPCA25
from ...arch.pe import BitSerialPE
from ...arch.priced import REGISTER_BIT_UM2
from ..pe.operands import ACTIVATIONS
from ..pe.weights import weight_decoder
from ..rtl.bit_serial import bit_serial_design
from ..rtl.verilog import Design, Port
from .energy import energy_pj
from .flow import synthesize
from .gates import circuit_of, run_gates
from .liberty import Library
from .operands import Bits, Source, operand_rows

# logic without registers, um2; power with registers, mW at 1 GHz: the authors' synthesis sheet
PUBLISHED = {
    "published_match": ("exponent match", 119.2, 0.136),
    "published_multiply": ("bit-serial multiply", 498.4, 0.185),
    "published_accumulate": ("group accumulate", 475.9, 0.195),
    "published_rescale": ("dequantize", 128.1, 0.070),
}
WARM_UP = 32  # clocks until all stages hold operands


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A published block: its logic in um2 at 28 nm, and in units of the library."""

    name: str
    published_um2: float
    units: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What turns figures of a library into those of 28 nm.

    Attributes
    ----------
    library : str
    units_per_um2 : float
        Area of logic in the library's units for 1 um2.
    pj_per_pj : float
        Energy in the library for 1 pJ.
    blocks : tuple of Block
    """

    library: str
    units_per_um2: float
    pj_per_pj: float
    blocks: tuple[Block, ...]

    def area_um2(self, logic: float, registers: int) -> float:
        """Return the area at 28 nm of logic in units of the library, and of registers."""
        return logic / self.units_per_um2 + registers * REGISTER_BIT_UM2

    @property
    def errors(self) -> dict[str, float]:
        """Relative error of each block's area under the one constant."""
        return {b.name: b.units / self.units_per_um2 / b.published_um2 - 1 for b in self.blocks}


def published_design(top: str) -> Design:
    """Return one of the published blocks, or ``published_pe`` with registers between them."""
    text = (files(__package__) / "library" / "published_blocks.v").read_text(encoding="utf-8")
    inputs = {"in_valid": 1, "in_first": 1, "field": 20, "term_exponent": 8, "significand": 44,
              "present": 4, "sign": 4, "significance": 3, "scale_bit": 1}  # fmt: skip
    return Design(
        top=top,
        modules={"published_blocks": text},
        inputs=tuple(Port(name=name, bits=bits) for name, bits in inputs.items()),
        ready=None,
        events=(),
    )


def _term_rows(given: Source) -> dict[str, Bits]:
    """Return rows of the published PE: INT8 weights as terms, FP16 activations as fields."""
    pe, decoder, kind = BitSerialPE(numerics=HPCA25), weight_decoder("int8"), ACTIVATIONS["fp16"]
    design = bit_serial_design(pe, "int8")
    chunks = operand_rows(pe, "int8", design, given)
    rows, streams = chunks["weights"].shape[:2]

    def numbers(name: str, bits: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        shaped = chunks[name].reshape(rows, streams, pe.lanes, bits).astype(np.int64)
        return np.asarray((shaped << np.arange(bits)).sum(-1))

    pattern = numbers("activations", 16)
    weights = numbers("weights", 8)
    index = np.where(weights > 127, weights - 256, weights) - decoder.low
    fraction_bits = kind.significand_bits - 1
    field = (pattern >> fraction_bits) & 31
    significand = (pattern & 1023) | np.where(field > 0, 1024, 0)
    found: dict[str, list[Bits]] = {}
    for term, significance in enumerate(decoder.schedule.bsig):
        man, exp = decoder.man[index, term], decoder.exp[index, term]
        one = np.ones((rows, streams, 1), np.int64)
        fields = {
            "in_valid": (one, 1),
            "in_first": (chunks["in_first"] * (term == 0), 1),
            "field": (np.maximum(field, 1), 5),
            "term_exponent": (exp.astype(np.int64), 2),
            "significand": (significand, 11),
            "present": ((man != 0).astype(np.int64), 1),
            "sign": ((man < 0) ^ (pattern >> 15 == 1), 1),
            "significance": (one * significance, 3),
            "scale_bit": (chunks["scale"][:, :, term : term + 1], 1),
        }
        for name, (value, bits) in fields.items():
            split = (np.asarray(value, np.int64)[..., None] >> np.arange(bits)) & 1
            found.setdefault(name, []).append(split.astype(np.uint8).reshape(rows, streams, -1))
    return {
        name: np.stack(parts, axis=1).reshape(-1, streams, parts[0].shape[2])
        for name, parts in found.items()
    }


def calibrate(library: Library, given: Source) -> Calibration:
    """Return the constants of a library, from the published blocks.

    Raises
    ------
    BitlatheError
        Yosys is not installed, or fails.
    """
    blocks = tuple(
        Block(
            name=name,
            published_um2=published,
            units=synthesize(published_design(top), library).logic_area(library),
        )
        for top, (name, published, _) in PUBLISHED.items()
    )
    design = published_design("published_pe")
    netlist = synthesize(design, library)
    circuit, rows = circuit_of(netlist, library), _term_rows(given)
    clocks = len(rows["in_valid"])
    seen = run_gates(circuit, netlist, library, design, rows, clocks=clocks, warm_up=WARM_UP)
    return Calibration(
        library=library.name,
        units_per_um2=sum(b.units for b in blocks) / sum(b.published_um2 for b in blocks),
        pj_per_pj=energy_pj(circuit, library, netlist, seen)
        / sum(power for _, _, power in PUBLISHED.values()),
        blocks=blocks,
    )
