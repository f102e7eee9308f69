"""A testbench in plain Verilog, with its vectors: for Icarus Verilog, or any other simulator."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...datatypes.base.errors import BitlatheError
from .expected import Case
from .rows import Int64Array, Words, pack, words_of
from .tools import missing_for_iverilog, run_tool
from .verilog import Design, Event

CLOCK_BITS = 32
TEXT = """\
// Drives @TOP@ with the rows of rows.hex and compares what it shows with the bit-exact model:
// each event of expected_*.hex is a clock and the values that must be there in it.
`timescale 1ns / 1ps
module testbench;
    localparam ROWS = @ROWS@;
    localparam CLOCKS = @CLOCKS@;
    reg clk, rst;
    integer clock, row, differences;
    reg [@ROW_TOP@:0] rows [0:ROWS-1];
    wire [@ROW_TOP@:0] offered = row < ROWS ? rows[row] : {@ROW_BITS@{1'b0}};
@DECLARE@
    @TOP@ dut (
        .clk(clk), .rst(rst),
@CONNECT@
    );

    initial begin
        $readmemh("rows.hex", rows);
@READ@
        differences = 0;
        clock = 0;
        row = ROWS;
        rst = 1;
        clk = 0;
        #5 clk = 1;
        #5 clk = 0;
        rst = 0;
        row = 0;
        for (clock = 0; clock < CLOCKS; clock = clock + 1) begin
            #4;
@WATCH@
            if (row < ROWS && (!offered[0] || @READY@)) begin
                #1 clk = 1;
                #1 row = row + 1;
            end else
                #1 clk = 1;
            #5 clk = 0;
        end
        if (row != ROWS) begin
            differences = differences + 1;
            $display("%0d of %0d rows were taken", row, ROWS);
        end
@COUNT@
        if (differences == 0) $display("PASS");
        else $display("FAIL: %0d differences", differences);
        $finish;
    end
endmodule
"""
WATCH = """\
            if (@VALID@ !== 1'b0) begin
                if (at_@VALID@ >= @N@ || expected_@VALID@[at_@VALID@] !== seen_@VALID@) begin
                    differences = differences + 1;
                    if (differences <= 10)
                        $display("clock %0d: @VALID@ %h instead of %h", clock, seen_@VALID@,
                                 expected_@VALID@[at_@VALID@ < @N@ ? at_@VALID@ : 0]);
                end
                at_@VALID@ = at_@VALID@ + 1;
            end"""
COUNT = """\
        if (at_@VALID@ != @N@) begin
            differences = differences + 1;
            $display("@VALID@: %0d events instead of @N@", at_@VALID@);
        end"""


class Verdict(NamedTuple):
    """What a simulator said: whether all agreed, and its lines."""

    agree: bool
    text: str


def _filled(text: str, parts: Mapping[str, str | int]) -> str:
    for name, part in parts.items():
        text = text.replace(f"@{name}@", str(part))
    return text


def _declared(design: Design, counts: Mapping[str, int]) -> list[str]:
    lines = []
    for port in design.outputs:
        width = f"[{port.bits - 1}:0] " if port.bits > 1 else ""
        lines.append(f"    wire {width}{port.name};")
    for event in design.events:
        bits = CLOCK_BITS + sum(port.bits for port in event.values)
        names = ", ".join(port.name for port in reversed(event.values))
        valid, n = event.valid, max(counts[event.valid], 1)
        lines.append(f"    reg [{bits - 1}:0] expected_{valid} [0:{n - 1}];")
        lines.append(f"    wire [{bits - 1}:0] seen_{valid} = {{{names}, clock[31:0]}};")
        lines.append(f"    integer at_{valid};")
    return lines


def testbench(design: Design, rows: int, clocks: int, counts: Mapping[str, int]) -> str:
    """Return the text of a testbench.

    Parameters
    ----------
    design : Design
    rows, clocks : int
        Rows of input, and clocks to run.
    counts : mapping of str to int
        Events that must be, by valid port.
    """
    connect, first = [], 0
    for port in design.inputs:
        connect.append(f"        .{port.name}(offered[{first + port.bits - 1}:{first}])")
        first += port.bits
    connect += [f"        .{port.name}({port.name})" for port in design.outputs]
    events: list[dict[str, str | int]] = [
        {"VALID": event.valid, "N": counts[event.valid]} for event in design.events
    ]
    names = [event.valid for event in design.events]
    read = [f'        $readmemh("expected_{each}.hex", expected_{each});' for each in names]
    read += [f"        at_{event.valid} = 0;" for event in design.events]
    return _filled(
        TEXT,
        {
            "TOP": design.top,
            "ROWS": rows,
            "CLOCKS": clocks,
            "ROW_TOP": first - 1,
            "ROW_BITS": first,
            "DECLARE": "\n".join(_declared(design, counts)),
            "CONNECT": ",\n".join(connect),
            "READ": "\n".join(read),
            "WATCH": "\n".join(_filled(WATCH, event) for event in events),
            "READY": design.ready or "1'b1",
            "COUNT": "\n".join(_filled(COUNT, event) for event in events),
        },
    )


def _row_lines(design: Design, words: Words) -> str:
    """Return rows as hexadecimal lines, the first port in the lowest bits."""
    lines = []
    for row in words.tolist():
        whole, first, at = 0, 0, 0
        for port in design.inputs:
            for word in range(words_of(port.bits)):
                whole |= row[at] << (first + 32 * word)
                at += 1
            first += port.bits
        lines.append(f"{whole:x}")
    return "\n".join(lines) + "\n"


def _event_lines(event: Event, clocks: Int64Array, values: Int64Array) -> str:
    lines = []
    for clock, row in zip(clocks.tolist(), values.tolist(), strict=True):
        whole, first = clock, CLOCK_BITS
        for port, value in zip(event.values, row, strict=True):
            whole |= (value & ((1 << port.bits) - 1)) << first
            first += port.bits
        lines.append(f"{whole:x}")
    return "\n".join(lines or ["0"]) + "\n"


def files_of(design: Design, case: Case) -> dict[str, str]:
    """Return a design, its testbench and its vectors as texts by file name."""
    words = pack(design, case.fields)
    counts = {name: len(events.clocks) for name, events in case.expected.items()}
    found = {f"{name}.v": text for name, text in design.modules.items()}
    found["testbench.v"] = testbench(design, len(words), case.clocks, counts)
    found["rows.hex"] = _row_lines(design, words)
    for event in design.events:
        name = f"expected_{event.valid}.hex"
        found[name] = _event_lines(event, *case.expected[event.valid])
    return found


def run_iverilog(folder: Path) -> Verdict:
    """Compile and run the design and testbench of a folder with Icarus Verilog.

    Raises
    ------
    BitlatheError
        It is not installed, or refuses the text.
    """
    lacking = missing_for_iverilog()
    if lacking is not None:
        raise BitlatheError(f"the second simulation {lacking}")
    sources = sorted(path.name for path in folder.glob("*.v"))
    options = ["-g2005", "-s", "testbench", "-o", "sim.vvp"]
    run_tool("iverilog", ["iverilog", *options, *sources], folder)
    text = run_tool("vvp", ["vvp", "-n", "sim.vvp"], folder)
    return Verdict(text.rstrip().endswith("PASS"), text)


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts into a folder, which is made if it is not there.

    Raises
    ------
    BitlatheError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as err:
        raise BitlatheError(f"cannot write to {folder}: {err.strerror or err}.") from None


def cells(case: Case) -> int:
    """Return how many numbers a case compares: clocks and values of all events."""
    return int(sum(e.clocks.size + np.asarray(e.values).size for e in case.expected.values()))
