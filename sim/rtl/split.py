"""Verilog of MACs whose multipliers split for narrow operands.

A mode of a side is how its digits fall into operands: the whole width is one, or several narrower
ones lie side by side. Each sum has a mode of either side. Where weights have a decoder, one more
mode of the weights takes codes in place of integers.
"""

from dataclasses import replace
from typing import NamedTuple, TypeGuard

from ...arch.pe import AntPE, IntMacPE, OlivePE
from ...arch.pe_base import PEKind
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div
from .decoded import Decoder, decoder_of
from .verilog import Design, Event, Port, bits_to_hold, library_modules

SplitPE = IntMacPE | AntPE | OlivePE
MOST = 64  # small multipliers of a lane


class Mode(NamedTuple):
    """How the digits of a side fall into operands."""

    digits: int  # of an operand
    parts: int  # operands side by side


class Shape(NamedTuple):
    """The multipliers of a lane: digits and modes of either side."""

    bits: int  # of a digit
    weights: tuple[Mode, ...]
    activations: tuple[Mode, ...]
    coded: Mode | None  # of weights behind a decoder
    joined: bool  # parts are added

    @property
    def sides(self) -> tuple[int, int]:
        """Digits of a weight and of an activation."""
        return self.weights[0].digits, self.activations[0].digits

    @property
    def small(self) -> int:
        """Small multipliers of a lane."""
        return self.sides[0] * self.sides[1]

    @property
    def weight_modes(self) -> tuple[Mode, ...]:
        """Modes of weights; the last one of them is of codes, if there is a decoder."""
        return self.weights if self.coded is None else (*self.weights, self.coded)

    @property
    def ports(self) -> tuple[int, int]:
        """Digits that come in each clock: one for each side, or for each small multiplier."""
        return (self.small, self.small) if self.joined else self.sides

    @property
    def codes(self) -> int:
        """Codes that come in each clock."""
        if self.coded is None:
            return 0
        return self.coded.parts * (self.sides[1] if self.joined else 1)


def splits(pe: PEKind) -> TypeGuard[SplitPE]:
    """Return whether the multipliers of a PE split for narrow operands."""
    return isinstance(pe, SplitPE) and pe.mac.split_bits is not None


def modes(bits: int, digit_bits: int) -> tuple[Mode, ...]:
    """Return the modes of a side, the whole operand first.

    Of operands that are as many side by side only the widest have a mode.

    Parameters
    ----------
    bits, digit_bits : int
        Of the port, and of a small multiplier.

    Examples
    --------
    >>> [tuple(mode) for mode in modes(8, 2)]
    [(4, 1), (2, 2), (1, 4)]
    """
    whole = bits // digit_bits
    widest = {whole // each: Mode(each, whole // each) for each in range(1, whole + 1)}
    return tuple(widest[parts] for parts in sorted(widest))


def _decoder(pe: SplitPE) -> Decoder | None:
    return None if isinstance(pe, IntMacPE) else decoder_of(pe)


def shape_of(pe: SplitPE) -> Shape:
    """Return the multipliers of a lane.

    Raises
    ------
    BitlatheError
        What a decoder makes is wider than the weight port, or there are too many of them.
    """
    mac, decoder, coded = pe.mac, _decoder(pe), None
    least = mac.split_bits or 1
    sides = modes(mac.weight_bits, least), modes(mac.activation_bits, least)
    small = sides[0][0].digits * sides[1][0].digits
    if small > MOST:
        raise BitlatheError(
            f"pe.split_bits is {least}: hardware is generated of multipliers of {MOST} small ones "
            f"at most, and these have {small}; give wider digits, or leave the key out"
        )
    if decoder is not None:
        taken = ceil_div(decoder.mantissa_bits, least)
        if taken > sides[0][0].digits:
            raise BitlatheError(
                f"pe.weight_bits is {mac.weight_bits}: the decoder makes integers of "
                f"{decoder.mantissa_bits} bits; give a port that takes them"
            )
        parts = sides[0][0].digits // taken
        coded = next(mode for mode in sides[0] if mode.parts == parts)
    return Shape(least, *sides, coded, mac.split_over == "lanes")


def _side_rows(name: str, modes_of: tuple[Mode, ...], digit_bits: int) -> tuple[list[str], int]:
    """Return the rows of a side's modes: lowest digit of each one's part, and top ones."""
    count = modes_of[0].digits
    wide, mode_bits = bits_to_hold(count - 1), bits_to_hold(len(modes_of) - 1)
    rows = []
    for number, mode in enumerate(modes_of):
        used = mode.digits * mode.parts
        low = [i - i % mode.digits if i < used else i for i in range(count)]
        top = sum(1 << i for i in range(used) if i % mode.digits == mode.digits - 1)
        lows = ", ".join(f"{wide}'d{each}" for each in reversed(low))
        rows.append(
            f"            {mode_bits}'d{number}: {{{name}_low, {name}_top}} = "
            f"{{{lows}, {count}'d{top}}};  // {mode.parts} of {mode.digits * digit_bits} bits"
        )
    default = f"{{{count * (wide + 1)}{{1'b0}}}}"
    rows.append(f"            default: {{{name}_low, {name}_top}} = {default};")
    return rows, wide


def _control(shape: Shape) -> str:
    """Return the module ``split_control``: what a mode of either side means for its digits."""
    declared, blocks = [], []
    for name, modes_of in (("weight", shape.weight_modes), ("activation", shape.activations)):
        rows, wide = _side_rows(name, modes_of, shape.bits)
        count = modes_of[0].digits
        declared += [f"    input  wire [{bits_to_hold(len(modes_of) - 1) - 1}:0] {name}_mode"]
        declared += [f"    output reg [{count * wide - 1}:0] {name}_low"]
        declared += [f"    output reg [{count - 1}:0] {name}_top"]
        blocks += ["    always @*", f"        case ({name}_mode)", *rows, "        endcase"]
    return "\n".join(
        [
            "// Which digits of a side are an operand: by mode, the lowest digit of the operand",
            "// that each is of, and whether it is the highest.",
            "module split_control (",
            ",\n".join(declared),
            ");",
            *blocks,
            "endmodule\n",
        ]
    )


def _spread(shape: Shape, shift_bits: int) -> str:
    """Return the module ``split_spread``: the digits that the small multipliers of a lane take.

    Where parts have sums of their own a digit goes to a row or a column of small multipliers.
    Where they are added, products are numbered, and each small multiplier takes digits of its own.
    """
    small, bits = shape.small, shape.bits
    ways = {"weights": bits, "activations": bits, "shifts": shift_bits}
    taken = dict(zip(ways, (*shape.ports, max(shape.codes, 1)), strict=True))
    wide = [bits_to_hold(len(each) - 1) for each in (shape.weight_modes, shape.activations)]
    declared = [
        f"    input  wire [{w - 1}:0] {n}_mode"
        for n, w in zip(("weight", "activation"), wide, strict=True)
    ]
    declared += [
        f"    input  wire [{taken[name] * each - 1}:0] {name}" for name, each in ways.items()
    ]
    declared += [f"    output reg [{small * each - 1}:0] {name}_out" for name, each in ways.items()]
    rows = []
    for w, weight in enumerate(shape.weight_modes):
        for a, activation in enumerate(shape.activations):
            coded = shape.coded is not None and w == len(shape.weights)
            rows.append(
                f"            {{{wide[0]}'d{w}, {wide[1]}'d{a}}}: begin  // "
                f"{weight.parts} x {activation.parts} products of "
                f"{weight.digits * bits} x {activation.digits * bits} bits"
            )
            for name, which in _taken(shape, weight, activation, coded).items():
                each = ways[name]
                parts = ", ".join(
                    f"{each}'d0" if at is None else f"{name}[{(at + 1) * each - 1}:{at * each}]"
                    for at in reversed(which)
                )
                rows.append(f"                {name}_out = {{{parts}}};")
            rows.append("            end")
    clear = "\n".join(
        f"        {name}_out = {{{small * each}{{1'b0}}}};" for name, each in ways.items()
    )
    body = [*rows, "            default: ;"]
    return "\n".join(
        [
            "// Digits and shifts for each small multiplier of a lane.",
            "module split_spread (",
            ",\n".join(declared),
            ");",
            "    always @* begin",
            clear,
            "        case ({weight_mode, activation_mode})",
            *body,
            "        endcase",
            "    end",
            "endmodule\n",
        ]
    )


def _taken(
    shape: Shape, weight: Mode, activation: Mode, coded: bool
) -> dict[str, list[int | None]]:
    """Return which digit, and which shift, each small multiplier takes; None takes zeros."""
    found: dict[str, list[int | None]] = {"weights": [], "activations": [], "shifts": []}
    for i in range(shape.sides[0]):
        for j in range(shape.sides[1]):
            part, other = i // weight.digits, j // activation.digits
            if part >= weight.parts or other >= activation.parts:
                product = places = None
            elif shape.joined:
                product = part * activation.parts + other
                places = (product * weight.digits + i % weight.digits,
                          product * activation.digits + j % activation.digits)  # fmt: skip
            else:
                product, places = part, (i, j)
            found["weights"].append(None if places is None else places[0])
            found["activations"].append(None if places is None else places[1])
            found["shifts"].append(product if coded else None)
    return found


def _decoded_text(shape: Shape, decoder: Decoder, lane_bits: int) -> list[str]:
    """Return the decoders of a lane ``n``, which make ``given`` and ``shift`` of codes."""
    assert shape.coded is not None
    code, wide = decoder.code_bits, shape.coded.digits * shape.bits
    shift_bits = decoder.shift_bits
    partner = f".partner(partners[(n*{shape.codes}+c)*{code} +: {code}]), "
    return [
        f"            wire [{lane_bits - 1}:0] decoded;",
        f"            for (c = 0; c < {shape.codes}; c = c + 1) begin : weight",
        f"                wire signed [{decoder.mantissa_bits - 1}:0] mantissa;",
        f"                wire signed [{wide - 1}:0] integer_of_code = mantissa;",
        f"                {decoder.module} decode (",
        f"                    .code(codes[(n*{shape.codes}+c)*{code} +: {code}]), "
        + (partner if decoder.partners else ""),
        f"                    .mantissa(mantissa), .shift(shift[c*{shift_bits} +: {shift_bits}])",
        "                );",
        f"                assign decoded[c*{wide} +: {wide}] = integer_of_code;",
        "            end",
        *(
            [f"            assign decoded[{lane_bits - 1}:{shape.codes * wide}] = 0;"]
            if shape.codes * wide < lane_bits
            else []
        ),
        f"            assign given = weight_mode == {len(shape.weights)} ? decoded"
        f" : weights[n*{lane_bits} +: {lane_bits}];",
    ]  # fmt: skip


def _top(mac: IntMacPE, shape: Shape, decoder: Decoder | None, design: Design) -> str:
    """Return the module at the top: modes, decoders, digits and sums."""
    shift_bits = 1 if decoder is None else decoder.shift_bits
    count = shape.ports[0], shape.ports[1]
    lane = count[0] * shape.bits, count[1] * shape.bits
    w, a = shape.sides
    given = [f"            wire [{lane[0] - 1}:0] given;",
             f"            wire [{max(shape.codes, 1) * shift_bits - 1}:0] shift;"]  # fmt: skip
    if decoder is None:
        given += ["            assign shift = 1'b0;",
                  f"            assign given = weights[n*{lane[0]} +: {lane[0]}];"]  # fmt: skip
    else:
        given += _decoded_text(shape, decoder, lane[0])
    ports = [f"    input  wire [{p.bits - 1}:0] {p.name}" for p in design.inputs]
    ports += ["    output wire sum_valid"]
    sums = design.events[0].values
    ports += [f"    output wire signed [{p.bits - 1}:0] {p.name}" for p in sums]
    names = [f"{side}_{each}" for side in ("weight", "activation") for each in ("low", "top")]
    widths = [w * bits_to_hold(w - 1), w, a * bits_to_hold(a - 1), a]
    small, digits_of = shape.small, shape.small * shape.bits
    accumulator = mac.accumulator_bits
    return "\n".join(
        [
            "// Multiply-accumulate of integers whose multipliers split for narrow operands.",
            f"module {design.top} (",
            ",\n".join(["    input  wire clk", "    input  wire rst", *ports]),
            ");",
            *(f"    wire [{bits - 1}:0] {n};" for n, bits in zip(names, widths, strict=True)),
            "    split_control control (",
            "        .weight_mode(weight_mode), .activation_mode(activation_mode),",
            "        " + ", ".join(f".{name}({name})" for name in names),
            "    );",
            f"    wire [{mac.lanes * digits_of - 1}:0] weight_digits, activation_digits;",
            f"    wire [{mac.lanes * small * shift_bits - 1}:0] shifts;",
            "    genvar n" + (";" if decoder is None else ", c;"),
            "    generate",
            f"        for (n = 0; n < {mac.lanes}; n = n + 1) begin : lane",
            *given,
            "            split_spread spread (",
            "                .weight_mode(weight_mode), .activation_mode(activation_mode),",
            "                .weights(given), .shifts(shift),",
            f"                .activations(activations[n*{lane[1]} +: {lane[1]}]),",
            f"                .weights_out(weight_digits[n*{digits_of} +: {digits_of}]),",
            f"                .activations_out(activation_digits[n*{digits_of} +: {digits_of}]),",
            f"                .shifts_out(shifts[n*{small * shift_bits} +: {small * shift_bits}])",
            "            );",
            "        end",
            "    endgenerate",
            f"    wire [{len(sums) * accumulator - 1}:0] sums;",
            "    split_mac #(",
            f"        .LANES({mac.lanes}), .WEIGHT_DIGITS({w}), .ACTIVATION_DIGITS({a}),",
            f"        .DIGIT_BITS({shape.bits}), .SHIFT_BITS({shift_bits}),",
            f"        .MAX_SHIFT({0 if decoder is None else decoder.most_shift}),",
            f"        .JOINED({int(shape.joined)}), .ACCUMULATOR_BITS({accumulator}),",
            f"        .SATURATE({int(mac.overflow == 'saturate')})",
            "    ) mac (",
            "        .clk(clk), .rst(rst), .in_valid(in_valid), .in_first(in_first), "
            ".in_last(in_last),",
            "        " + ", ".join(f".{name}({name})" for name in names[:2]) + ",",
            "        " + ", ".join(f".{name}({name})" for name in names[2:]) + ",",
            "        .activations(activation_digits), .weights(weight_digits), .shifts(shifts),",
            "        .sum_valid(sum_valid), .sums(sums)",
            "    );",
            *(
                f"    assign {port.name} = sums[{i * accumulator} +: {accumulator}];"
                for i, port in enumerate(sums)
            ),
            "endmodule\n",
        ]
    )


def split_design(pe: SplitPE) -> Design:
    """Return the Verilog of a MAC whose multipliers split.

    Raises
    ------
    BitlatheError
        It has more small multipliers a lane than `MOST`, or a decoder wider than its port.
    """
    mac, shape, decoder = pe.mac, shape_of(pe), _decoder(pe)
    (w, a), accumulator = shape.sides, mac.accumulator_bits
    places = [""] if shape.joined else [f"_{i}_{j}" for i in range(w) for j in range(a)]
    wide = {
        "in_valid": 1, "in_first": 1, "in_last": 1,
        "weight_mode": bits_to_hold(len(shape.weight_modes) - 1),
        "activation_mode": bits_to_hold(len(shape.activations) - 1),
        "activations": mac.lanes * shape.ports[1] * shape.bits,
        "weights": mac.lanes * shape.ports[0] * shape.bits,
    }  # fmt: skip
    modules = library_modules(("shift_mac", "split_mac"))
    shift_bits = 1
    if decoder is not None:
        wide["codes"] = mac.lanes * shape.codes * decoder.code_bits
        if decoder.partners:
            wide["partners"] = wide["codes"]
        modules |= decoder.modules
        shift_bits = decoder.shift_bits
    design = Design(
        top="splitting_mac",
        modules=modules
        | {"split_control": _control(shape), "split_spread": _spread(shape, shift_bits)},
        inputs=tuple(Port(name=name, bits=bits) for name, bits in wide.items()),
        ready=None,
        events=(
            Event(
                valid="sum_valid",
                values=tuple(
                    Port(name=f"sum{place}", bits=accumulator, signed=True) for place in places
                ),
            ),
        ),
    )
    top = _top(mac, shape, decoder, design)
    return replace(design, modules={**design.modules, design.top: top})
