"""Verilog of a look-up PE (shift-add), and the run that checks it.

One tree of adders fills a table, an entry a clock; then every clock looks up the sum of a run of
activations for one bit plane of the weights.
"""

import numpy as np

from ...arch.pe import FLOAT_BITS, LutPE
from ...datatypes.base.errors import BitlatheError
from ..pe.mac import float_format, lut_matmul
from .expected import Case
from .fp_mac import FLAGS, PARTS, WIDE, Netlist, Number, float_ports
from .mac_cases import float_events
from .rows import Events, Int64Array
from .stimulus import activation_patterns, float_kind
from .verilog import Design, Event, Port, library_modules

CHUNKS = 8  # tables that a PE holds: runs of activations along K
SCALE_BITS = 8  # of a plane's power of two
CLOCKS = 3  # from a look-up to the register of the sum: table, sum of the plane, sum of the planes
FP16_BITS = FLOAT_BITS["fp16"]


def _register(net: Netlist, name: str, bits: int, clear: str) -> Number:
    """Declare a register of a number; return its value, 0 where ``clear``."""
    old = net.wires(f"{name}_old", bits)
    net.lines += [
        f"    reg {', '.join(f'{name}_{flag}' for flag in FLAGS)};",
        f"    reg [{bits - 1}:0] {name};",
        f"    reg signed [{WIDE - 1}:0] {name}_exponent;",
        *(f"    assign {old.name}_{flag} = {name}_{flag} && !{clear};" for flag in FLAGS),
        f"    assign {old.name} = {clear} ? {bits}'d0 : {name};",
        f"    assign {old.name}_exponent = {clear} ? {WIDE}'d0 : {name}_exponent;",
    ]
    return old


def _load(net: Netlist, name: str, when: str, after: Number) -> None:
    """Give a register a number in clocks with ``when``."""
    net.lines += [
        "    always @(posedge clk)",
        f"        if ({when}) begin",
        *(f"            {name}_{flag} <= {after.name}_{flag};" for flag in FLAGS),
        f"            {name} <= {after.name};",
        f"            {name}_exponent <= {after.name}_exponent;",
        "        end",
    ]


def _check_table(pe: LutPE) -> None:
    """Check that a table has hardware, and that its entries are rounded to its format.

    Raises
    ------
    BitlatheError
        Tables of scaled inputs, of which a chunk has one a plane; a table of one input in a format
        that does not hold every FP16 number: nothing rounds it.
    """
    if pe.scale_inputs:
        raise BitlatheError(
            "pe.scale_inputs: no hardware is generated that scales inputs before a table, so "
            "synthesis does not price it; scale_inputs: false, or a component is right"
        )
    entry, leaf = float_format(pe.table), float_format("fp16")
    narrow = entry.significand_bits < leaf.significand_bits
    if pe.inputs == 1 and (narrow or entry.lowest_exponent > leaf.lowest_exponent):
        raise BitlatheError(
            f"pe.table: no hardware is generated for a table of 1 input in {pe.table}, to which "
            "nothing rounds it; fp16 or fp32, or 2..12 inputs (pe.lanes) is right"
        )


def _filling(net: Netlist, pe: LutPE) -> Number:
    """Add the tree that makes entry ``entry`` of the table, and its pattern ``filled``."""
    leaves = []
    for i in range(pe.inputs):
        source = f"activations[{FP16_BITS * i} +: {FP16_BITS}]"
        leaf = net.operand(f"a{i}", f"{{{source} ^ {{!entry[{i}], {FP16_BITS - 1}'d0}}}}", "fp16")
        leaves.append(leaf)
    if pe.inputs == 1:  # no tree: an entry is the activation, or its negative
        leaves.append(net.zero("nothing"))
    net.lines += ["", "    // neighbors are added, then their sums: an entry of the table"]
    found = net.tree("tree", leaves, pe.table, "inf")
    net.lines.append(f"    wire [{FLOAT_BITS[pe.table] - 1}:0] filled;")
    net.pack("filled", found, pe.table)
    return found


def _summing(net: Netlist, pe: LutPE) -> None:
    """Add what sums the entries ``looked_up`` of a plane, and the planes."""
    table, out = pe.table, pe.accumulator
    bits = float_format(out).significand_bits
    net.lines += ["", "    // the entry is added to the sum of its plane"]
    entry = net.operand("entry_1", f"looked_up[{FLOAT_BITS[table] - 1}:0]", table, "looked_up")
    old = _register(net, "plane", bits, "plane_first_1")
    _load(net, "plane", "looks_1", net.add("plane_next", old, entry, out, "inf"))
    net.lines += ["", "    // the plane's sum, times a power of two, to that of the planes"]
    shifted = net.wires("shifted", bits)
    net.lines += [
        *(f"    assign shifted_{flag} = plane_{flag};" for flag in FLAGS),
        "    assign shifted = plane, shifted_exponent = plane_exponent + scale_2;",
    ]
    old = _register(net, "total", bits, "first_2")
    _load(net, "total", "ends_2", net.add("total_next", old, shifted, out, "inf"))
    net.pack("sum", Number("total", bits), out)


def _ports(pe: LutPE) -> str:
    """Return the ports of a look-up, and of the sum that it ends in."""
    return f"""\
    input  wire [{pe.inputs - 1}:0] code,
    input  wire plane_first,                     // first look-up of a plane
    input  wire plane_last,
    input  wire in_first,                        // of the first plane of a sum
    input  wire in_last,                         // of the last plane of a sum
    input  wire signed [{SCALE_BITS - 1}:0] scale, // power of two of the plane, read with its last
"""


def _control(pe: LutPE) -> str:
    """Return what goes with a look-up: to the sum of its plane, then to that of all planes."""
    return f"""\
    // what goes with a look-up: to the sum of its plane, then to that of all planes
    reg looks_1, plane_first_1, plane_last_1, first_1, last_1, ends_2, first_2, last_2;
    reg signed [{SCALE_BITS - 1}:0] scale_1, scale_2;
    always @(posedge clk) begin
        looks_1 <= looks && !rst;
        plane_first_1 <= plane_first;
        plane_last_1 <= plane_last;
        first_1 <= in_first;
        last_1 <= in_last;
        scale_1 <= scale;
        ends_2 <= looks_1 && plane_last_1 && !rst;
        first_2 <= first_1;
        last_2 <= last_1;
        scale_2 <= scale_1;
        sum_valid <= ends_2 && last_2 && !rst;
    end
    assign sum_infinite = total_infinite, sum_nan = total_nan;
"""


def _counter(pe: LutPE, filling: str) -> str:
    """Return the counter of the entry that is filled."""
    n = pe.inputs
    return f"""\
    // which entry is filled
    reg  [{n - 1}:0] entry;
    always @(posedge clk)
        if (rst) entry <= {n}'d0;
        else if ({filling}) entry <= entry + 1'b1;
"""


PLANE_WIDTHS = {"plane_first": 1, "plane_last": 1, "in_first": 1, "in_last": 1,
                "scale": SCALE_BITS}  # fmt: skip


def _inputs(widths: dict[str, int]) -> tuple[Port, ...]:
    return tuple(Port(name=name, bits=wide) for name, wide in widths.items())


def lut_design(pe: LutPE) -> Design:
    """Return the Verilog of a look-up PE.

    Raises
    ------
    BitlatheError
        What `_check_table` refuses: scaled inputs, entries that nothing rounds.
    """
    _check_table(pe)
    n, table, out = pe.inputs, pe.table, pe.accumulator
    chunk_bits = (CHUNKS - 1).bit_length()
    entry_bits, sum_bits = FLOAT_BITS[table], FLOAT_BITS[out]
    net = Netlist()
    found = _filling(net, pe)
    net.lines += [
        f"    memory #(.WORDS({CHUNKS << n}), .BITS({entry_bits + 2})) tables (",
        "        .clk(clk), .write(filling), .write_address({chunk, entry}),",
        f"        .written({{{found.name}_nan, {found.name}_infinite, filled}}),",
        "        .read(looks), .read_address({chunk, code}), .word(looked_up)",
        "    );",
    ]
    _summing(net, pe)
    text = f"""\
// Look-up PE: {CHUNKS} tables in {table} of all signed sums of {n} activations, sums in {out}.
//
// A row with fill takes {1 << n} clocks, an entry of table `chunk` in each. Any other row looks one
// entry up: bit i of code is 1 where weight i of the plane is +1, 0 where it is -1.
module lut_pe (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire fill,
    input  wire [{chunk_bits - 1}:0] chunk,
    input  wire [{n * FP16_BITS - 1}:0] activations,   // of a row that fills
{_ports(pe)}\
    output wire in_ready,
    output reg  sum_valid,
    output wire [{sum_bits - 1}:0] sum,
    output wire sum_infinite,
    output wire sum_nan
);
    wire filling = in_valid && fill;
    wire looks = in_valid && !fill;
{_counter(pe, "filling")}\
    assign in_ready = !fill || entry == {{{n}{{1'b1}}}};

    wire [{entry_bits + 1}:0] looked_up;
{_control(pe)}
""" + "\n".join(net.lines)  # fmt: skip
    widths = {"in_valid": 1, "fill": 1, "chunk": chunk_bits, "activations": n * FP16_BITS,
              "code": n, **PLANE_WIDTHS}  # fmt: skip
    return Design(
        top="lut_pe",
        modules=library_modules(("memory", *PARTS)) | {"lut_pe": f"{text}\nendmodule\n"},
        inputs=_inputs(widths),
        ready="in_ready",
        events=(Event(valid="sum_valid", values=float_ports(sum_bits)),),
    )


def lut_parts(pe: LutPE) -> tuple[Design, Design]:
    """Return a table that a column of PEs shares, in registers, and a PE that looks up in it.

    Together they are the look-up PE with one table. Port ``entries`` holds bit b of entry e at
    b * 2**inputs + e; above the pattern an entry has a bit for infinity and one for NaN.

    Raises
    ------
    BitlatheError
        As `lut_design`.
    """
    _check_table(pe)
    n, count = pe.inputs, 1 << pe.inputs
    word_bits, sum_bits = FLOAT_BITS[pe.table] + 2, FLOAT_BITS[pe.accumulator]
    net = Netlist()
    found = _filling(net, pe)
    column = f"""\
// A look-up table in {pe.table} of all signed sums of {n} activations: a row of input takes {count}
// clocks, an entry in each.
module lut_column (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire [{n * FP16_BITS - 1}:0] activations,
    output wire in_ready,
    output wire [{word_bits * count - 1}:0] entries
);
{_counter(pe, "in_valid")}\
    assign in_ready = entry == {{{n}{{1'b1}}}};
""" + "\n".join(net.lines) + f"""
    wire [{word_bits - 1}:0] written = {{{found.name}_nan, {found.name}_infinite, filled}};
    genvar e, b;
    generate
        for (e = 0; e < {count}; e = e + 1) begin : each
            reg [{word_bits - 1}:0] word;
            always @(posedge clk) if (in_valid && entry == e) word <= written;
            for (b = 0; b < {word_bits}; b = b + 1) begin : each_bit
                assign entries[b*{count} + e] = word[b];
            end
        end
    endgenerate
"""  # fmt: skip
    net = Netlist()
    _summing(net, pe)
    look = f"""\
// A PE that looks a word of its column's table up each clock: sums in {pe.accumulator}.
module lut_look (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire [{word_bits * count - 1}:0] entries,
{_ports(pe)}\
    output reg  sum_valid,
    output wire [{sum_bits - 1}:0] sum,
    output wire sum_infinite,
    output wire sum_nan
);
    wire looks = in_valid;
    reg [{word_bits - 1}:0] looked_up;
    genvar b;
    generate
        for (b = 0; b < {word_bits}; b = b + 1) begin : each_bit
            wire [{count - 1}:0] line = entries[b*{count} +: {count}];
            always @(posedge clk) if (looks) looked_up[b] <= line[code];
        end
    endgenerate
{_control(pe)}
""" + "\n".join(net.lines)  # fmt: skip
    modules = library_modules(PARTS)
    widths = {"in_valid": 1, "entries": word_bits * count, "code": n, **PLANE_WIDTHS}
    return (
        Design(
            top="lut_column",
            modules=modules | {"lut_column": f"{column}endmodule\n"},
            inputs=_inputs({"in_valid": 1, "activations": n * FP16_BITS}),
            ready="in_ready",
            events=(),
        ),
        Design(
            top="lut_look",
            modules=modules | {"lut_look": f"{look}\nendmodule\n"},
            inputs=_inputs(widths),
            ready=None,
            events=(Event(valid="sum_valid", values=float_ports(sum_bits)),),
        ),
    )


def lut_case(pe: LutPE, rows: int, seed: int, tables: int = CHUNKS) -> Case:
    """Return a run of a look-up PE: tables filled, then planes looked up, over and over.

    Parameters
    ----------
    pe : LutPE
    rows : int
        Look-ups, at least.
    seed : int
        Of the random numbers.
    tables : int
        Tables that are used, at most.
    """
    rng = np.random.default_rng(seed)
    n = pe.inputs
    parts: list[dict[str, Int64Array]] = []
    sums: list[Int64Array] = []
    ends: list[Int64Array] = []
    clock = looked = 0
    while looked < rows:
        chunks = int(rng.integers(1, tables + 1))
        outputs, planes = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        patterns, values = activation_patterns(float_kind("fp16"), chunks * n, rng)
        codes = rng.integers(0, 1 << n, (outputs, planes, chunks))
        scales = rng.integers(-14, 6, (outputs, planes))
        found = lut_matmul(values.reshape(1, -1), codes, scales, pe)[0]
        sums.append(np.stack(float_events(found, pe.accumulator), axis=1))
        shape = codes.shape
        place = {name: np.zeros(shape, np.int64) for name in
                 ("plane_first", "plane_last", "in_first", "in_last")}  # fmt: skip
        place["plane_first"][:, :, 0] = place["plane_last"][:, :, -1] = 1
        place["in_first"][:, 0, :] = place["in_last"][:, -1, :] = 1
        looks = {name: each.reshape(-1) for name, each in place.items()}
        looks |= {"code": codes.reshape(-1), "chunk": np.tile(np.arange(chunks), outputs * planes)}
        looks["scale"] = np.repeat(scales.reshape(-1), chunks)
        size = codes.size
        idle = (rng.random(size) < 0.1).astype(np.int64)  # clocks before a look-up
        when = np.arange(size) + np.cumsum(idle)
        taken = clock + (chunks << n) + when
        ends.append(taken[looks["plane_last"] & looks["in_last"] == 1])
        # what lies at the ports of an idle clock is of any other row, and must not matter
        other = rng.integers(0, size, int(when[-1]) + 1)
        rows_of = {name: each[other] for name, each in looks.items()}
        for name, each in looks.items():
            rows_of[name][when] = each
        valid = np.isin(np.arange(other.size), when).astype(np.int64)
        stray = rng.integers(0, 1 << FP16_BITS, (other.size, n))
        rows_of |= {"in_valid": valid, "fill": np.zeros_like(valid), "activations": stray}
        fills = {name: rng.integers(0, 2, chunks) for name in place}
        fills |= {"in_valid": np.ones(chunks, np.int64), "fill": np.ones(chunks, np.int64)}
        fills |= {"chunk": np.arange(chunks), "activations": patterns.reshape(chunks, n)}
        fills |= {"code": rng.integers(0, 1 << n, chunks), "scale": rng.integers(-9, 9, chunks)}
        parts += [fills, rows_of]
        clock += (chunks << n) + other.size
        looked += size
    fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    events = Events(np.concatenate(ends) + CLOCKS, np.concatenate(sums))
    return Case(fields, clock + CLOCKS + 2, {"sum_valid": events})
