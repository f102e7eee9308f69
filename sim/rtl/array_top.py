"""What the generated systolic arrays have in common: the ports of their buffers and the top."""

from collections.abc import Mapping, Sequence

from .verilog import Port, bits_to_hold

WORDS = 64  # of each buffer


def array_inputs(
    rows: int, columns: int, word_bits: tuple[int, int], flags: Sequence[str] = ()
) -> tuple[Port, ...]:
    """Return the inputs of an array: rows that load its buffers, and rows that run folds.

    Parameters
    ----------
    rows, columns : int
        PEs.
    word_bits : (int, int)
        Of an input and of a weight.
    flags : sequence of str
        Single bits that folds say beside.
    """
    address = bits_to_hold(WORDS - 1)
    wide = {
        "in_valid": 1, "load_input": 1, "load_weight": 1, "input_address": address,
        "weight_address": address, "length": bits_to_hold(WORDS),
        "used_rows": bits_to_hold(rows), "used_columns": bits_to_hold(columns),
        **dict.fromkeys(flags, 1),
        "activations": rows * word_bits[0], "weights": columns * word_bits[1],
    }  # fmt: skip
    return tuple(Port(name=name, bits=bits) for name, bits in wide.items())


def array_top(
    name: str,
    sides: tuple[int, int],
    inputs: Sequence[Port],
    shown: Sequence[Port],
    wires: Mapping[str, int],
    columns: Mapping[Port, str],
) -> str:
    """Return the top of an array: its results at ports of each column.

    Parameters
    ----------
    name : str
        The array is ``name_array``, the top ``name_top``.
    sides : (int, int)
        Rows and columns.
    inputs, shown : sequence of Port
        Of the array and of the top alike: inputs, and outputs as they are.
    wires : mapping of str to int
        The array's other outputs, and their bits.
    columns : mapping of Port to str
        The top's other outputs, and what each is of the wires.
    """
    (rows, across), outputs = sides, [*shown, *columns]
    declared = [f"    input  wire [{p.bits - 1}:0] {p.name}" for p in inputs]
    declared += [f"    output wire [{p.bits - 1}:0] {p.name}" for p in outputs]
    named = ["clk", "rst", *(port.name for port in (*inputs, *shown)), *wires]
    return "\n".join(
        [
            f"// {rows} rows and {across} columns; results of each column at ports of its own.",
            f"module {name}_top (",
            ",\n".join(["    input  wire clk", "    input  wire rst", *declared]),
            ");",
            *(f"    wire [{bits - 1}:0] {wire};" for wire, bits in wires.items()),
            f"    {name}_array pes (",
            ",\n".join(f"        .{each}({each})" for each in named),
            "    );",
            *(f"    assign {port.name} = {what};" for port, what in columns.items()),
            "endmodule\n",
        ]
    )
