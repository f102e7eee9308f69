"""Verilog of an array of bit-serial PEs, and the run that checks each of them.

The PEs of a row share terms, those of a column activations. Rows that skip leave out terms of their
own, and go from chunk to chunk together (scope ``array`` of the array's model).
"""

from dataclasses import replace

import numpy as np

from ...arch.pe import BitSerialPE
from ...datatypes.base.numbers import whole_number
from ..array.tile.model import TileArray, group_clocks
from ..pe.bit_serial import bitserial_dot
from ..pe.operands import activation_kind
from ..pe.rescale import rescale
from ..pe.weights import weight_decoder
from .bit_serial import Weight, bit_serial_design
from .expected import Case, handed_over
from .rows import Events, Int64Array
from .stimulus import activation_patterns, cut, integers
from .verilog import Design, Event, Port, with_parameters

MOST = 64  # PEs


def tile_design(pe: BitSerialPE, weight: Weight, rows: int, columns: int) -> Design:
    """Return the Verilog of an array, with ports of its own for each PE's results.

    Parameters
    ----------
    pe : BitSerialPE
    weight : str, Format or Mixture
        Weight format.
    rows, columns : int
        PEs, 64 at most.

    Raises
    ------
    BitlatheError
        No hardware of the PE, or an array beyond 64 PEs.
    """
    whole_number("rows", rows, 1, MOST)
    whole_number("columns", columns, 1, MOST // rows)
    one = bit_serial_design(pe, weight)
    inner = with_parameters(one.modules[one.top], {"ROWS": rows, "COLUMNS": columns})
    shares = {"weights": rows, "activations": columns, "scale": rows}
    inputs = tuple(replace(p, bits=p.bits * shares.get(p.name, 1)) for p in one.inputs)
    pes = range(rows * columns)
    events, wires, assigns = [], [], []
    for event in one.events:
        ports = []
        for port in event.values:
            wires.append(f"    wire [{rows * columns * port.bits - 1}:0] {port.name};")
            each = [replace(port, name=f"{port.name}_{at}") for at in pes]
            assigns += [
                f"    assign {p.name} = {port.name}[{at * p.bits} +: {p.bits}];"
                for at, p in enumerate(each)
            ]
            ports += each
        events.append(Event(valid=event.valid, values=tuple(ports)))
    outputs = [Port(name="in_ready", bits=1)]
    for event in events:
        outputs += [Port(name=event.valid, bits=1), *event.values]
    declared = [f"    input  wire [{p.bits - 1}:0] {p.name}" for p in inputs]
    declared += [f"    output wire [{p.bits - 1}:0] {p.name}" for p in outputs]
    named = [p.name for p in (*inputs, *one.outputs)]
    text = "\n".join(
        [
            f"// {rows} rows and {columns} columns, each PE's results at ports of its own.",
            "module bit_serial_tile (",
            ",\n".join(["    input  wire clk", "    input  wire rst", *declared]),
            ");",
            *wires,
            "    bit_serial_array pes (",
            ",\n".join(f"        .{name}({name})" for name in ("clk", "rst", *named)),
            "    );",
            *assigns,
            "endmodule\n",
        ]
    )
    return Design(
        top="bit_serial_tile",
        modules={**one.modules, one.top: inner, "bit_serial_tile": text},
        inputs=inputs,
        ready=one.ready,
        events=tuple(events),
    )


def tile_case(
    pe: BitSerialPE, weight: Weight, rows: int, columns: int, chunks: int, seed: int
) -> Case:
    """Return a run of an array: each PE's results by the bit rung, clocks by the array's model.

    Parameters
    ----------
    pe : BitSerialPE
    weight : str, Format or Mixture
        Weight format.
    rows, columns : int
        PEs.
    chunks : int
        Chunks of weights, in groups of 1 to 40.
    seed : int
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    kind, decoder, lanes = activation_kind(pe.activation), weight_decoder(weight), pe.lanes
    groups = cut(chunks, max(pe.scale_bits, 1), rng)
    patterns, values = activation_patterns(kind, chunks * columns * lanes, rng)
    weights = integers(decoder.grid[decoder.valid], chunks * rows * lanes, rng)
    weights, values = weights.reshape(chunks, rows, lanes), values.reshape(chunks, columns, lanes)
    scales = rng.integers(0, 1 << max(pe.scale_bits, 1), (chunks, rows))
    array = TileArray(
        rows=rows, cols=columns, lanes=lanes, group_size=None, rescale_cycles=pe.scale_bits,
        skip_zero_terms=pe.skip_zero_terms, scope="array",
    )  # fmt: skip
    issue: list[int] = []
    sums: list[Int64Array] = []
    scaled: list[Int64Array] = []
    for start, size in zip(groups.starts.tolist(), groups.sizes.tolist(), strict=True):
        part = slice(start, start + size)
        own = weights[part].transpose(1, 0, 2).reshape(rows, -1)
        acts = values[part].transpose(1, 0, 2).reshape(columns, -1)
        terms = decoder.man[decoder.rows(own)] != 0
        issue.append(int(group_clocks(terms, array)[0, 0, 0]))
        dot = bitserial_dot(
            np.tile(acts, (rows, 1)), np.repeat(own, columns, axis=0), weight, pe.numerics,
            lanes=lanes, activation=pe.activation, skip_zero_terms=pe.skip_zero_terms,
        )  # fmt: skip
        mantissa, exponent = np.asarray(dot.mantissa), np.asarray(dot.exponent)
        sums.append(np.concatenate([mantissa, exponent]))
        by_scale = np.repeat(scales[start + size - 1], columns)
        if pe.scale_bits:
            whole = rescale(mantissa, by_scale, pe.scale_bits)
            scaled.append(np.concatenate([whole, exponent]))
    clock = handed_over(np.array(issue), pe.scale_bits, pe.group_gap)
    expected = {"sum_valid": Events(clock, np.stack(sums))}
    if pe.scale_bits:
        expected["scaled_valid"] = Events(clock + pe.scale_bits, np.stack(scaled))
    fields = {
        "in_valid": np.ones(chunks, np.int64),
        "in_first": groups.first,
        "in_last": groups.last,
        "weights": weights.reshape(chunks, -1),
        "activations": patterns.reshape(chunks, -1),
        "scale": scales,
    }
    return Case(fields, int(clock[-1]) + pe.scale_bits + 4, expected)
