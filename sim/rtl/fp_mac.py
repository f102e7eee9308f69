"""Verilog of a floating-point multiply-accumulate: operands, exact products, a tree, the sum."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ...arch.pe import FLOAT_BITS, FpMacPE
from ..pe.mac import float_format
from .verilog import Design, Event, Port, library_modules

WIDE = 12  # bits of exponents: those of FP32 products lie in -298..256
PARTS = ("float_operand", "integer_operand", "float_add", "float_pack")
FLAGS = ("sign", "infinite", "nan")


class Number(NamedTuple):
    """Wires of a number: ``name`` its significand, beside it sign, flags and exponent."""

    name: str
    bits: int


def float_parameters(name: str) -> dict[str, int]:
    """Return the parameters of `float_add` that are a format's."""
    bits, lowest, largest = float_format(name)
    numerator, denominator = largest.as_integer_ratio()
    place = (numerator.bit_length() - denominator.bit_length() + 1) - bits
    return {
        "BITS": bits,
        "LOWEST": lowest,
        "LARGEST": int(largest / 2.0**place),
        "LARGEST_EXPONENT": place,
    }


def operand_bits(name: str) -> int:
    """Return the bits of a pattern on a port."""
    return FLOAT_BITS.get(name) or int(name.removeprefix("int"))


def _instance(module: str, name: str, parameters: dict[str, int], ports: dict[str, str]) -> str:
    set_ = ", ".join(f".{key}({value})" for key, value in parameters.items())
    joined = ", ".join(f".{key}({value})" for key, value in ports.items())
    return f"    {module} #({set_})\n    {name}_unit ({joined});"


@dataclass
class Netlist:
    """Lines of a module that works on numbers, each with its wires."""

    lines: list[str] = field(default_factory=list)

    def wires(self, name: str, bits: int) -> Number:
        """Declare the wires of a number."""
        self.lines.append(f"    wire {', '.join(f'{name}_{flag}' for flag in FLAGS)};")
        self.lines.append(f"    wire [{bits - 1}:0] {name};")
        self.lines.append(f"    wire signed [{WIDE - 1}:0] {name}_exponent;")
        return Number(name, bits)

    def operand(self, name: str, source: str, format: str, flags: str = "") -> Number:
        """Read a pattern.

        Parameters
        ----------
        name : str
            Of the number's wires.
        source, format : str
            The pattern, and its format.
        flags : str
            A word with infinity and NaN as its bits above the pattern; finite numbers have none.
        """
        kind = float_format(format)
        if format in FLOAT_BITS:
            bits, module = kind.significand_bits, "float_operand"
            parameters = {
                "EXPONENT_BITS": FLOAT_BITS[format] - bits,
                "SIGNIFICAND_BITS": bits,
                "LOWEST": kind.lowest_exponent,
                "WIDE": WIDE,
            }
        else:
            bits, module = operand_bits(format), "integer_operand"
            parameters = {"BITS": bits, "WIDE": WIDE}
        number = self.wires(name, bits)
        ports = {"bits": source, "sign": f"{name}_sign", "significand": name}
        ports["exponent"] = f"{name}_exponent"
        self.lines.append(_instance(module, name, parameters, ports))
        first = operand_bits(format)
        infinite, nan = (f"{flags}[{first + i}]" if flags else "1'b0" for i in range(2))
        self.lines.append(f"    assign {name}_infinite = {infinite}, {name}_nan = {nan};")
        return number

    def product(self, name: str, left: Number, right: Number) -> Number:
        """Multiply exactly."""
        number = self.wires(name, left.bits + right.bits)
        a, b = left.name, right.name
        self.lines += [
            f"    assign {name} = {a} * {b};",
            f"    assign {name}_exponent = {a}_exponent + {b}_exponent;",
            f"    assign {name}_sign = {a}_sign ^ {b}_sign;",
            f"    assign {name}_infinite = 1'b0, {name}_nan = 1'b0;",
        ]
        return number

    def zero(self, name: str) -> Number:
        """Return the number 0."""
        number = self.wires(name, 1)
        flags = ", ".join(f"{name}_{flag} = 1'b0" for flag in FLAGS)
        self.lines.append(f"    assign {name} = 1'b0, {name}_exponent = {WIDE}'d0, {flags};")
        return number

    def add(self, name: str, x: Number, y: Number, format: str, overflow: str) -> Number:
        """Add and round once.

        Parameters
        ----------
        name : str
            Of the sum's wires.
        x, y : Number
        format, overflow : str
            Of the sum.
        """
        parameters = {"X_BITS": x.bits, "Y_BITS": y.bits, **float_parameters(format)}
        parameters |= {"SATURATE": int(overflow == "saturate"), "WIDE": WIDE}
        number = self.wires(name, parameters["BITS"])
        ports: dict[str, str] = {}
        for key, each in (("x", x), ("y", y)):
            ports |= {f"{key}_{flag}": f"{each.name}_{flag}" for flag in FLAGS}
            ports |= {key: each.name, f"{key}_exponent": f"{each.name}_exponent"}
        ports |= {flag: f"{name}_{flag}" for flag in FLAGS}
        ports |= {"sum": name, "exponent": f"{name}_exponent"}
        self.lines.append(_instance("float_add", name, parameters, ports))
        return number

    def tree(self, name: str, parts: list[Number], format: str, overflow: str) -> Number:
        """Add neighbors, then their sums; an odd one out moves up unchanged.

        Parameters
        ----------
        name : str
            What the names of the sums' wires start with.
        parts : list of Number
        format, overflow : str
            Of each sum.
        """
        level = 0
        while len(parts) > 1:
            level += 1
            rest = parts[len(parts) // 2 * 2 :]
            parts = [
                self.add(f"{name}_{level}_{i // 2}", parts[i], parts[i + 1], format, overflow)
                for i in range(0, len(parts) - 1, 2)
            ] + rest
        return parts[0]

    def pack(self, name: str, number: Number, format: str) -> None:
        """Drive the wire or port ``name`` with the pattern of a number."""
        kind = float_format(format)
        parameters = {
            "EXPONENT_BITS": FLOAT_BITS[format] - kind.significand_bits,
            "BITS": kind.significand_bits,
            "LOWEST": kind.lowest_exponent,
            "WIDE": WIDE,
        }
        ports = {flag: f"{number.name}_{flag}" for flag in FLAGS}
        ports |= {"significand": number.name, "exponent": f"{number.name}_exponent", "bits": name}
        self.lines.append(_instance("float_pack", name, parameters, ports))


def _registers(name: str, bits: int) -> list[str]:
    return [
        f"    reg {', '.join(f'{name}_{flag}' for flag in FLAGS)};",
        f"    reg [{bits - 1}:0] {name};",
        f"    reg signed [{WIDE - 1}:0] {name}_exponent;",
    ]


def accumulator(net: Netlist, addend: Number, format: str, overflow: str) -> None:
    """Add the register ``total``, cleared by ``in_first``, that takes ``addend`` if in_valid.

    Parameters
    ----------
    net : Netlist
    addend : Number
    format, overflow : str
        Of the accumulator.
    """
    kind = float_format(format)
    bits = kind.significand_bits
    net.lines += ["", "    // the accumulator", *_registers("total", bits)]
    old = net.wires("old", bits)
    net.lines += [
        *(f"    assign old_{flag} = total_{flag} && !in_first;" for flag in FLAGS),
        f"    assign old = in_first ? {bits}'d0 : total;",
        "    assign old_exponent = total_exponent;",
    ]
    after = net.add("next", old, addend, format, overflow)
    clear = " ".join(f"total_{flag} <= 1'b0;" for flag in FLAGS)
    take = " ".join(f"total_{flag} <= next_{flag};" for flag in FLAGS)
    net.lines += [
        "    always @(posedge clk)",
        "        if (rst) begin",
        f"            {clear}",
        f"            total <= {bits}'d0;",
        f"            total_exponent <= {WIDE}'d0;",
        "        end else if (in_valid) begin",
        f"            {take}",
        f"            total <= {after.name};",
        "            total_exponent <= next_exponent;",
        "        end",
        "    reg ended;",
        "    always @(posedge clk) ended <= !rst && in_valid && in_last;",
        "    assign sum_valid = ended, sum_infinite = total_infinite, sum_nan = total_nan;",
    ]
    net.pack("sum", Number("total", bits), format)


def fp_mac_design(pe: FpMacPE) -> Design:
    """Return the Verilog of a floating-point MAC: operands, products, tree, accumulator."""
    lanes, a_bits, w_bits = pe.lanes, operand_bits(pe.activation), operand_bits(pe.weight)
    sum_bits = operand_bits(pe.accumulator)
    net = Netlist()
    zero = net.zero("nothing") if pe.product is not None else None
    parts = []
    for lane in range(lanes):
        net.lines += ["", f"    // lane {lane}"]
        a = net.operand(f"a{lane}", f"activations[{a_bits * lane} +: {a_bits}]", pe.activation)
        w = net.operand(f"w{lane}", f"weights[{w_bits * lane} +: {w_bits}]", pe.weight)
        part = net.product(f"p{lane}", a, w)
        if pe.product is not None and zero is not None:
            part = net.add(f"r{lane}", part, zero, pe.product, pe.overflow)
        parts.append(part)
    if lanes > 1:
        net.lines += ["", "    // neighbors are added, then their sums"]
    clock = net.tree("tree", parts, pe.accumulator, pe.overflow)
    accumulator(net, clock, pe.accumulator, pe.overflow)
    rounding = "exact" if pe.product is None else f"rounded to {pe.product}"
    text = f"""\
// MAC of {pe.activation} and {pe.weight}: products {rounding}, sums in {pe.accumulator}.
module fp_mac (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire in_first,                        // first clock of a sum
    input  wire in_last,                         // last clock of a sum
    input  wire [{lanes * a_bits - 1}:0] activations,
    input  wire [{lanes * w_bits - 1}:0] weights,
    output wire sum_valid,
    output wire [{sum_bits - 1}:0] sum,
    output wire sum_infinite,
    output wire sum_nan
);
""" + "\n".join(net.lines)  # fmt: skip
    return Design(
        top="fp_mac",
        modules=library_modules(PARTS) | {"fp_mac": f"{text}\nendmodule\n"},
        inputs=(
            Port(name="in_valid", bits=1),
            Port(name="in_first", bits=1),
            Port(name="in_last", bits=1),
            Port(name="activations", bits=lanes * a_bits),
            Port(name="weights", bits=lanes * w_bits),
        ),
        ready=None,
        events=(Event(valid="sum_valid", values=float_ports(sum_bits)),),
    )


def float_ports(bits: int) -> tuple[Port, ...]:
    """Return the ports of a floating-point sum: its pattern and its flags."""
    flags = (Port(name="sum_infinite", bits=1), Port(name="sum_nan", bits=1))
    return (Port(name="sum", bits=bits), *flags)
