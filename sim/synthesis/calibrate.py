"""One constant of area and one of energy for each library: from its own units to 28 nm.

The four blocks of BitMoD's PE are written from the paper with the widths and registers of its
authors (``library/published_blocks.v``), mapped to the library, and compared with the authors'
synthesis sheet (TSMC 28HPC+, ssg, 0.9 V, -40 C, 1 GHz). The constant of area is that of the four
together without registers at their borders; with them, the sheet's other column, it is tried, not
fitted. The constant of energy is that of the four with them, as the sheet's power is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ...arch.numerics import HPCA25
from ...arch.pe import BitSerialPE
from ..pe.operands import ACTIVATIONS
from ..pe.weights import weight_decoder
from ..rtl.bit_serial import bit_serial_design
from ..rtl.rows import Int64Array
from ..rtl.verilog import Design, Port
from .energy import energy_pj
from .flow import synthesize
from .gates import circuit_of, run_gates
from .liberty import Library
from .operands import SUMS, Bits, Source, operand_rows

WARM_UP = 32  # clocks until all stages hold operands


class Published(NamedTuple):
    """A block of the sheet: um2 as it is and with registers at its border, mW at 1 GHz with them.

    ``inputs`` are widths of ports besides clear and enable, ``outputs`` what is handed on.
    """

    title: str
    um2: float
    held_um2: float
    power_mw: float
    inputs: dict[str, int]
    outputs: tuple[str, ...]


PUBLISHED = {
    "published_match": Published(
        "exponent match", 119.2, 306.9, 0.136,
        {"field": 20, "term_exponent": 8, "activation_sign": 4, "term_sign": 4},
        ("reference", "distance", "sign"),
    ),
    "published_multiply": Published(
        "bit-serial multiply", 498.4, 748.3, 0.185,
        {"significand": 44, "present": 4, "sign": 4, "distance": 24},
        ("sum",),
    ),
    "published_accumulate": Published(
        "group accumulate", 475.9, 546.1, 0.195,
        {"sum": 17, "significance": 3, "reference": 6},
        ("mantissa", "exponent", "negative"),
    ),
    "published_rescale": Published(
        "dequantize", 128.1, 192.4, 0.070,
        {"start": 1, "latch": 1, "scale_bit": 1, "scale_sign": 1, "mantissa": 15, "exponent": 6,
         "negative": 1},
        (),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A published block, and what its gates are in units and pJ of the library.

    ``um2`` and ``units`` are without registers at its border, ``held_um2`` and ``held_units`` with
    them, as are ``published_pj`` and ``pj`` of a clock.
    """

    name: str
    um2: float
    units: float
    held_um2: float
    held_units: float
    published_pj: float
    pj: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What turns figures of a library into those of 28 nm.

    Attributes
    ----------
    library : str
    units_per_um2 : float
        Area in the library's units for 1 um2.
    pj_per_pj : float
        Energy in the library for 1 pJ.
    blocks : tuple of Block
    """

    library: str
    units_per_um2: float
    pj_per_pj: float
    blocks: tuple[Block, ...]

    @property
    def errors(self) -> dict[str, float]:
        """Relative error of each block's area under the one constant."""
        return {b.name: b.units / self.units_per_um2 / b.um2 - 1 for b in self.blocks}

    @property
    def held_errors(self) -> dict[str, float]:
        """The same with registers at the borders, from which the constant is not."""
        return {b.name: b.held_units / self.units_per_um2 / b.held_um2 - 1 for b in self.blocks}

    @property
    def energy_errors(self) -> dict[str, float]:
        """Relative error of each block's energy under its one constant."""
        return {b.name: b.pj / self.pj_per_pj / b.published_pj - 1 for b in self.blocks}


def published_design(
    top: str, *, held: bool = False, changed: Mapping[str, int] | None = None
) -> Design:
    """Return one of the published blocks, with registers at its border where ``held``.

    Parameters
    ----------
    top : str
        Key of `PUBLISHED`.
    held : bool
    changed : dict of str to int, optional
        What the published block lacks: ``CLEARS`` and ``SHIFT_SUM`` of 1.
    """
    text = (files(__package__) / "library" / "published_blocks.v").read_text(encoding="utf-8")
    for name, value in (changed or {}).items():
        text = text.replace(f"parameter {name} = 0", f"parameter {name} = {value}")
    inputs = {"clear": 1, "enable": 1} | PUBLISHED[top].inputs
    return Design(
        top=f"{top}_held" if held else top,
        modules={"published_blocks": text},
        inputs=tuple(Port(name=name, bits=bits) for name, bits in inputs.items()),
        ready=None,
        events=(),
    )


def _ports(fields: dict[str, tuple[Int64Array, int]]) -> dict[str, Bits]:
    """Return (rows, streams, n) numbers of so many bits as (rows, streams, n * bits)."""
    found = {}
    for name, (value, bits) in fields.items():
        split = (value[..., None] >> np.arange(bits)) & 1
        found[name] = split.astype(np.uint8).reshape(*value.shape[:2], -1)
    return found


def _term_rows(given: Source) -> dict[str, Bits]:
    """Return rows of all blocks' inputs: INT8 weights as terms, FP16 activations as fields.

    A row is a term of a chunk of four; each group begins with a row in which sums are cleared.
    """
    pe, decoder, kind = BitSerialPE(numerics=HPCA25), weight_decoder("int8"), ACTIVATIONS["fp16"]
    chunks = operand_rows(pe, "int8", bit_serial_design(pe, "int8"), given)
    rows, streams = chunks["weights"].shape[:2]

    def numbers(name: str, bits: int) -> Int64Array:
        shaped = chunks[name].reshape(rows, streams, -1, bits).astype(np.int64)
        return np.asarray((shaped << np.arange(bits)).sum(-1))

    pattern, weights = numbers("activations", 16), numbers("weights", 8)
    index = np.where(weights > 127, weights - 256, weights) - decoder.low
    fraction_bits = kind.significand_bits - 1
    field = (pattern >> fraction_bits) & 31
    significand = (pattern & 1023) | np.where(field > 0, 1024, 0)
    one = np.ones((rows, streams, 1), np.int64)
    found: dict[str, list[Bits]] = {}
    for term, significance in enumerate(decoder.schedule.bsig):
        man, exp = decoder.man[index, term], decoder.exp[index, term]
        parts = _ports({
            "enable": (one, 1),
            "clear": (0 * one, 1),
            "field": (np.maximum(field, 1), 5),
            "term_exponent": (exp.astype(np.int64), 2),
            "activation_sign": (pattern >> 15, 1),
            "term_sign": ((man < 0).astype(np.int64), 1),
            "significand": (significand, 11),
            "present": ((man != 0).astype(np.int64), 1),
            "significance": (one * significance, 3),
            "start": (0 * one, 1),
            "latch": (0 * one, 1),
            "scale_bit": (numbers("scale", 1)[:, :, term : term + 1], 1),
            "scale_sign": (0 * one, 1),
        })  # fmt: skip
        for name, bits in parts.items():
            found.setdefault(name, []).append(bits)
    merged = {
        name: np.stack(parts, axis=1).reshape(SUMS, -1, streams, parts[0].shape[2])
        for name, parts in found.items()
    }
    spaced = {name: np.concatenate([each[:, :1], each], axis=1) for name, each in merged.items()}
    for name in ("clear", "start", "latch"):
        spaced[name][:, 0] = 1
    spaced["scale_bit"][:, 0] = 0
    return {name: each.reshape(-1, *each.shape[2:]) for name, each in spaced.items()}


def _later(rows: Bits, clocks: int) -> Bits:
    """Return rows so many clocks later, zeros before them."""
    return np.concatenate([np.zeros_like(rows[:clocks]), rows])[: len(rows)]


# clocks until a row is at a block, where the blocks with their registers follow each other
DELAYS = {"published_match": 0, "published_multiply": 2, "published_accumulate": 4,
          "published_rescale": 6}  # fmt: skip


def _energies(library: Library, given: Source) -> dict[str, float]:
    """Return the energy of a clock of each block with its registers, in the library's pJ."""
    rows, handed, found = _term_rows(given), dict[str, Bits](), {}
    clocks = len(rows["enable"])
    for top, published in PUBLISHED.items():
        design = published_design(top, held=True)
        given_rows = {
            port.name: handed[port.name]
            if port.name in handed
            else _later(rows[port.name], DELAYS[top])
            for port in design.inputs
        }
        netlist = synthesize(design, library)
        circuit = circuit_of(netlist, library)
        seen = run_gates(
            circuit, netlist, library, design, given_rows, clocks=clocks, warm_up=WARM_UP,
            watch=published.outputs,
        )  # fmt: skip
        handed |= seen.seen
        if top == "published_multiply":  # which the reference passes by
            handed["reference"] = _later(handed["reference"], 2)
        found[top] = energy_pj(circuit, library, netlist, seen)
    return found


def calibrate(library: Library, given: Source) -> Calibration:
    """Return the constants of a library, from the published blocks.

    Raises
    ------
    BitlatheError
        Yosys is not installed, or fails.
    """
    pj = _energies(library, given)
    blocks = tuple(
        Block(
            name=each.title,
            um2=each.um2,
            units=synthesize(published_design(top), library).area(library),
            held_um2=each.held_um2,
            held_units=synthesize(published_design(top, held=True), library).area(library),
            published_pj=each.power_mw,  # at 1 GHz
            pj=pj[top],
        )
        for top, each in PUBLISHED.items()
    )
    return Calibration(
        library=library.name,
        units_per_um2=sum(b.units for b in blocks) / sum(b.um2 for b in blocks),
        pj_per_pj=sum(b.pj for b in blocks) / sum(b.published_pj for b in blocks),
        blocks=blocks,
    )
