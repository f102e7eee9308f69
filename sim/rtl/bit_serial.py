"""Verilog of a bit-serial PE: the library's stages, the numerics as parameters, a term encoder."""

from ...arch.pe import BitSerialPE
from ...datatypes.base.errors import BitlatheError
from ...datatypes.formats.format import Format, Mixture
from ...datatypes.terms.term import MAX_BSIG, MAX_EXP
from ..pe.bit_serial import kernel_parameters
from ..pe.operands import ActivationKind, activation_kind
from ..pe.weights import WeightDecoder, weight_decoder
from .verilog import Design, Event, Port, library, library_modules, literal, with_parameters

Weight = str | Format | Mixture

SHIFT_BITS = 3  # of a significance, 0..MAX_BSIG
STAGES = (
    "term_sequencer",
    "term_stage",
    "float_unpack",
    "integer_unpack",
    "activation_stage",
    "exponent_match",
    "bit_serial_multiply",
    "group_accumulate",
    "group_rescale",
    "bit_serial_core",
)


def weight_bits(decoder: WeightDecoder) -> int:
    """Return the two's complement width of the integers that a decoder knows."""
    low, high = int(decoder.grid[0]), int(decoder.grid[-1])
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


def activation_bits(kind: ActivationKind) -> int:
    """Return the width of an activation's pattern."""
    return kind.exponent_bits + kind.significand_bits


def _booth(decoder: WeightDecoder) -> dict[str, str]:
    offsets = [2 * i - b for i, b in enumerate(decoder.schedule.bsig)]
    parameters: dict[str, int | str] = {
        "WEIGHT_BITS": weight_bits(decoder),
        "TERMS": decoder.terms,
        "OFFSETS": literal(offsets, 2),
    }
    text = with_parameters(library("booth_encoder"), parameters)
    return {"term_encoder": text.replace("module booth_encoder", "module term_encoder")}


def _rows(decoder: WeightDecoder) -> str:
    """Return one line of a case for each integer the decoder knows."""
    bits, terms = weight_bits(decoder), decoder.terms
    lines = []
    for i in decoder.valid.nonzero()[0]:
        man, exp = decoder.man[i].tolist(), decoder.exp[i].tolist()
        sign = literal([int(m < 0) for m in man], 1)
        present = literal([int(m != 0) for m in man], 1)
        value = int(decoder.grid[i])
        code = f"{bits}'d{value % (1 << bits)}"
        fields = f"{{{sign}, {present}, {literal(exp, 2)}}}"
        lines.append(f"            {code}: fields = {fields};  // {value}")
    return "\n".join(lines) + f"\n            default: fields = {{{4 * terms}{{1'b0}}}};"


def _table(decoder: WeightDecoder) -> dict[str, str]:
    bits, terms = weight_bits(decoder), decoder.terms
    return {
        "term_encoder": f"""\
// Terms of the integers that {decoder.name} feeds to a bit-serial PE: {terms} clocks of
// significance {", ".join(map(str, decoder.schedule.bsig))}. Other integers have no terms.
module term_encoder (
    input  wire [{bits - 1}:0] weight,
    output wire [{terms - 1}:0] sign,          // 1: the term is subtracted
    output wire [{terms - 1}:0] present,       // 0: there is no term in this clock
    output wire [{2 * terms - 1}:0] exponent       // 0..3
);
    reg [{4 * terms - 1}:0] fields;
    always @*
        case (weight)
{_rows(decoder)}
        endcase
    assign {{sign, present, exponent}} = fields;
endmodule
"""
    }


def term_encoder(decoder: WeightDecoder) -> dict[str, str]:
    """Return the module that turns an integer into the terms of all clocks, by name."""
    return _booth(decoder) if decoder.schedule.rule == "booth" else _table(decoder)


def pe_parameters(pe: BitSerialPE, decoder: WeightDecoder) -> dict[str, int | str]:
    """Return the parameters of `bit_serial_array` for a PE and a weight format.

    Raises
    ------
    BitlatheError
        Exact numerics, whose sums have no width, and widths beyond the bit rung's.
    """
    rules, kind = pe.numerics, activation_kind(pe.activation)
    if rules.exact:
        raise BitlatheError(
            "pe.numerics: exact sums have no width, so no hardware; 'aligned', 'hpca25' or an "
            "accumulator_bits of 4..32 is right"
        )
    widths = kernel_parameters(rules, kind, pe.lanes, MAX_BSIG)
    return {
        "LANES": pe.lanes,
        "WEIGHT_BITS": weight_bits(decoder),
        "TERMS": decoder.terms,
        "SHIFT_BITS": SHIFT_BITS,
        "SIGNIFICANCES": literal(decoder.schedule.bsig, SHIFT_BITS),
        "SKIP": int(pe.skip_zero_terms),
        "GAP": pe.group_gap,
        "ACTIVATION_BITS": activation_bits(kind),
        "FIELD_BITS": kind.exponent_bits,
        "SIGNIFICAND_BITS": kind.significand_bits,
        "GUARD_BITS": rules.guard_bits,
        "EXPONENT_BITS": widths[7],
        "MANTISSA_BITS": rules.accumulator_bits,
        "ADDER_BITS": rules.sum_bits or 0,
        "MAX_SHIFT": MAX_BSIG,
        "GATE": int(rules.gate_zero_terms),
        "IN_REFERENCE": int(rules.reference == "lanes_and_accumulator"),
        "STICKY": int(rules.alignment == "sticky"),
        "NEAREST": int(rules.rounding == "nearest_even"),
        "SATURATE": int(rules.overflow == "saturate"),
        "RESCALE": int(pe.scale_bits > 0),
        "SCALE_BITS": max(pe.scale_bits, 1),
    }


def _check_terms(decoder: WeightDecoder, weight: Weight) -> None:
    if max(int(decoder.exp.max()), 0) > MAX_EXP or max(decoder.schedule.bsig) > MAX_BSIG:
        raise BitlatheError(f"weight format {weight!r}: its terms pass the PE's shifts")


def _set(module: str, parameters: dict[str, int | str]) -> str:
    """Return a module of the library with those parameters that it has."""
    text = library(module)
    known = {key: value for key, value in parameters.items() if f" {key} = " in text}
    return with_parameters(text, known)


def edge_designs(pe: BitSerialPE, weight: Weight = "int8") -> tuple[Design, Design]:
    """Return what lies at the edges of an array for one PE: terms of weights, and activations.

    Raises
    ------
    BitlatheError
        See `bit_serial_design`.
    """
    decoder = weight_decoder(weight)
    _check_terms(decoder, weight)
    sizes = pe_parameters(pe, decoder)
    lanes, scale_bits = pe.lanes, int(sizes["SCALE_BITS"])
    sizes |= {"UNIT": scale_bits if pe.scale_bits else 0, "SCALES_BITS": scale_bits}
    widths = {"live": 1, "sign": lanes, "present": lanes, "exponent": 2 * lanes, "add": 1,
              "add_first": 1, "significance": SHIFT_BITS, "sum_scales": scale_bits}  # fmt: skip
    terms = Design(
        top="term_stage",
        modules=term_encoder(decoder)
        | library_modules(("term_sequencer",))
        | {"term_stage": _set("term_stage", sizes)},
        inputs=(
            Port(name="in_valid", bits=1),
            Port(name="in_first", bits=1),
            Port(name="in_last", bits=1),
            Port(name="weights", bits=lanes * int(sizes["WEIGHT_BITS"])),
            Port(name="scales", bits=scale_bits),
        ),
        ready="in_ready",
        events=(
            Event(
                valid="sum_valid",
                values=tuple(Port(name=name, bits=bits) for name, bits in widths.items()),
            ),
        ),
    )
    field_bits = max(int(sizes["FIELD_BITS"]), 1)
    significand_bits = int(sizes["SIGNIFICAND_BITS"])
    fields = {"sign": lanes, "field": lanes * field_bits, "significand": lanes * significand_bits}
    ports = tuple(Port(name=name, bits=bits) for name, bits in fields.items())
    activations = Design(
        top="activation_stage",
        modules=library_modules(("float_unpack", "integer_unpack"))
        | {"activation_stage": _set("activation_stage", sizes)},
        inputs=(Port(name="activations", bits=lanes * int(sizes["ACTIVATION_BITS"])),),
        ready=None,
        events=(Event(valid="sign", values=ports),),
    )
    return terms, activations


def core_design(pe: BitSerialPE, weight: Weight = "int8") -> Design:
    """Return the PE behind the edges of its array.

    Raises
    ------
    BitlatheError
        See `bit_serial_design`.
    """
    sizes = pe_parameters(pe, weight_decoder(weight))
    lanes, field_bits = pe.lanes, max(int(sizes["FIELD_BITS"]), 1)
    widths = {
        "live": 1, "sign": lanes, "present": lanes, "term_exponent": 2 * lanes,
        "activation_sign": lanes, "field": lanes * field_bits,
        "significand": lanes * int(sizes["SIGNIFICAND_BITS"]), "add": 1, "add_first": 1,
        "significance": SHIFT_BITS, "sum_valid": 1, "scale": int(sizes["SCALE_BITS"]),
    }  # fmt: skip
    blocks = ("exponent_match", "bit_serial_multiply", "group_accumulate", "group_rescale")
    text = _set("bit_serial_core", sizes | {"E_BITS": field_bits})
    return Design(
        top="bit_serial_core",
        modules=library_modules(blocks) | {"bit_serial_core": text},
        inputs=tuple(Port(name=name, bits=bits) for name, bits in widths.items()),
        ready=None,
        events=(),
    )


def bit_serial_design(pe: BitSerialPE, weight: Weight = "int8") -> Design:
    """Return the Verilog of a bit-serial PE behind the term encoder of one weight format.

    Parameters
    ----------
    pe : BitSerialPE
    weight : str, Format or Mixture
        Weight format.

    Raises
    ------
    BitlatheError
        A format or numerics that no hardware of this kind has.
    """
    decoder = weight_decoder(weight)
    _check_terms(decoder, weight)
    parameters = pe_parameters(pe, decoder)
    width = {name: int(value) for name, value in parameters.items() if isinstance(value, int)}
    sums = (
        Port(name="mantissa", bits=width["MANTISSA_BITS"], signed=True),
        Port(name="exponent", bits=width["EXPONENT_BITS"]),
    )
    scaled_bits = width["MANTISSA_BITS"] + width["SCALE_BITS"]
    scaled = (
        Port(name="scaled", bits=scaled_bits, signed=True),
        Port(name="scaled_exponent", bits=width["EXPONENT_BITS"]),
    )
    events = [Event(valid="sum_valid", values=sums)]
    if pe.scale_bits:
        events.append(Event(valid="scaled_valid", values=scaled))
    top = with_parameters(library("bit_serial_array"), parameters)
    return Design(
        top="bit_serial_array",
        modules=library_modules(STAGES) | term_encoder(decoder) | {"bit_serial_array": top},
        inputs=(
            Port(name="in_valid", bits=1),
            Port(name="in_first", bits=1),
            Port(name="in_last", bits=1),
            Port(name="weights", bits=pe.lanes * width["WEIGHT_BITS"]),
            Port(name="activations", bits=pe.lanes * width["ACTIVATION_BITS"]),
            Port(name="scale", bits=width["SCALE_BITS"]),
        ),
        ready="in_ready",
        events=tuple(events),
    )
