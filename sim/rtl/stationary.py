"""Verilog of a weight stationary systolic array with its control and buffers, and its run."""

from typing import Any

import numpy as np

from ...arch.pe import AntPE, FpMacPE, IntMacPE, OlivePE
from ...arch.pe_base import PEKind
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div
from ..array.systolic.clock import simulate_systolic
from ..array.systolic.kernels import WRITE
from .array_top import WORDS, array_inputs, array_top
from .decoded import decoder_of
from .expected import Case
from .rows import Events, Int64Array
from .split import splits
from .systolic import Mac, Side, check_sides, checked, lanes_of, loads, operands, side
from .verilog import (
    Design,
    Event,
    Port,
    bits_to_hold,
    library,
    library_modules,
    with_parameters,
)

LATER = 2  # clocks from a word asked for to what its product is part of


def _checked(pe: PEKind) -> IntMacPE | AntPE | OlivePE:
    """Return a PE that a weight stationary array can be made of.

    Raises
    ------
    BitlatheError
        As `systolic.checked`, and for floating point, several lanes, and multipliers that split.
    """
    mac = checked(pe)
    if lanes_of(mac) != 1:
        raise BitlatheError(
            f"pe.lanes is {lanes_of(mac)}: PEs of the generated weight stationary array make one "
            "product a clock; use lanes: 1, or array.dataflow: os"
        )
    if splits(mac):
        raise BitlatheError(
            "pe.split_bits: no weight stationary array is generated of multipliers that split; use "
            "array.dataflow: os, or leave the key out for an array of whole ones"
        )
    if isinstance(mac, FpMacPE):
        raise BitlatheError(
            "pe.kind: no weight stationary array is generated of 'fp_mac' PEs, only an output "
            "stationary one; give array.dataflow: os, or integer PEs"
        )
    return mac


def _pe(pe: IntMacPE | AntPE | OlivePE) -> tuple[dict[str, str], int]:
    """Return the modules of a PE, ``stationary_pe`` last, and the bits of what stays in it."""
    mac = pe.mac
    if isinstance(pe, IntMacPE):
        held, modules, width, most = mac.weight_bits, dict[str, str](), mac.weight_bits, 0
        decode = "    assign mantissa = weight, shift = 1'b0;"
    else:
        of = decoder_of(pe)
        modules, width, most, code = of.modules, of.mantissa_bits, of.most_shift, of.code_bits
        held = code * (1 + of.partners)
        taken = f".code(weight[{code - 1}:0])"
        taken += f", .partner(weight[{held - 1}:{code}])" * of.partners
        decode = f"    {of.module} decode ({taken}, .mantissa(mantissa), .shift(shift));"
    shift_bits = bits_to_hold(most)
    text = f"""\
// A PE of a weight stationary array: its product joins the sum from above.
module stationary_pe (
    input  wire clk,
    input  wire in_valid,
    input  wire [{mac.activation_bits - 1}:0] activation,
    input  wire [{held - 1}:0] weight,
    input  wire [{mac.accumulator_bits - 1}:0] above,
    output wire [{mac.accumulator_bits - 1}:0] sum
);
    wire signed [{width - 1}:0] mantissa;
    wire [{shift_bits - 1}:0] shift;
{decode}
    stationary_mac #(
        .ACTIVATION_BITS({mac.activation_bits}), .MANTISSA_BITS({width}),
        .SHIFT_BITS({shift_bits}), .MAX_SHIFT({most}),
        .ACCUMULATOR_BITS({mac.accumulator_bits}), .SATURATE({int(mac.overflow == "saturate")})
    ) mac (
        .clk(clk), .in_valid(in_valid), .activation(activation), .mantissa(mantissa),
        .shift(shift), .above(above), .sum(sum)
    );
endmodule
"""
    return modules | library_modules(("bounded_add", "stationary_mac")) | {
        "stationary_pe": text
    }, held


def stationary_design(pe: PEKind, rows: int, columns: int) -> Design:
    """Return the Verilog of a weight stationary array: PEs, buffers as memories, and control.

    Parameters
    ----------
    pe : IntMacPE, AntPE or OlivePE
        Of one lane.
    rows, columns : int
        PEs, 64 at most.

    Raises
    ------
    BitlatheError
        Another kind of PE, several lanes, multipliers that split, or an array beyond 64 PEs.
    """
    check_sides(rows, columns)
    one = _checked(pe)
    modules, held = _pe(one)
    mac = one.mac
    parameters = {"ROWS": rows, "COLUMNS": columns, "ACTIVATION_BITS": mac.activation_bits,
                  "WEIGHT_BITS": held, "SUM_BITS": mac.accumulator_bits,
                  "SATURATE": int(mac.overflow == "saturate"), "WORDS": WORDS}  # fmt: skip
    word_bits, wide = (mac.activation_bits, held), mac.accumulator_bits
    inputs = array_inputs(rows, columns, word_bits, ("in_first", "in_shown"))
    ready = Port(name="in_ready", bits=1)
    results: dict[Port, str] = {}
    events = []
    for c in range(columns):
        total = Port(name=f"sum_{c}", bits=wide, signed=True)
        events.append(Event(valid=f"sum_valid_{c}", values=(total,)))
        results[Port(name=events[-1].valid, bits=1)] = f"sum_valid[{c}]"
        results[total] = f"sums[{c * wide} +: {wide}]"
    wires = {"sum_valid": columns, "sums": columns * wide}
    return Design(
        top="stationary_top",
        modules={
            **modules,
            **library_modules(("memory", "delay")),
            "stationary_array": with_parameters(library("stationary_array"), parameters),
            "stationary_top": array_top(
                "stationary", (rows, columns), inputs, (ready,), wires, results
            ),
        },
        inputs=inputs,
        ready=ready.name,
        events=tuple(events),
    )


def _runs(
    left: Side, right: Side, sizes: tuple[int, int], kept: bool, rng: np.random.Generator
) -> dict[str, Int64Array]:
    """Return the rows that run all folds, and idle ones until the last sum has left."""
    m, k = sizes
    row_folds, folds = len(left.used), []
    for j, columns in enumerate(right.used):
        done = 0
        for i, rows in enumerate(left.used):
            last = not kept or i == row_folds - 1
            folds.append((1, i * m, j * k + done, m, rows, columns, i == 0, last))
            done += rows
    idle = [(0,) * 8] * (m + left.words.shape[1] + right.words.shape[1] + 2)
    names = ("in_valid", "input_address", "weight_address", "length", "used_rows", "used_columns",
             "in_first", "in_shown")  # fmt: skip
    rows_of = dict(zip(names, np.array(folds + idle, np.int64).T, strict=True))
    count = len(folds) + len(idle)
    rows_of |= dict.fromkeys(("load_input", "load_weight"), np.zeros(count, np.int64))
    for port, each in (("activations", left), ("weights", right)):  # of no account here
        rows_of[port] = each.words[rng.integers(0, len(each.words), count)]
    return rows_of


def _columns(
    pe: Mac, a: Any, b: Any, sides: tuple[int, int], kept: bool
) -> tuple[list[Events], int]:
    """Return what leaves each column, clock by clock, and the clocks of the product."""
    seen: list[Int64Array] = []

    def keep(events: Int64Array) -> None:
        seen.append(events[events[:, 1] == WRITE].copy())

    run = simulate_systolic(a, b, *sides, "ws", pe=pe, accumulator_buffer=kept, sink=keep)
    clock, _, _, column, i, j = np.concatenate(seen).T
    parts = _unfinished(pe, a, b, sides[0]) if not kept else None
    found = []
    for c in range(sides[1]):
        here = column == c
        if parts is None:
            values = run.outputs[i[here], j[here]]
        else:  # the nth time that a result is written it is the sum of n row folds
            place = i[here] * run.outputs.shape[1] + j[here]
            order = np.argsort(place, kind="stable")
            _, start = np.unique(place[order], return_index=True)
            turn = np.empty(len(place), np.int64)
            turn[order] = np.arange(len(place)) - np.repeat(
                start, np.diff(np.append(start, len(place)))
            )
            values = parts[turn, i[here], j[here]]
        found.append(Events(clock[here], values.astype(np.int64).reshape(-1, 1)))
    return found, run.cycles


def _unfinished(pe: Mac, a: Any, b: Any, rows: int) -> Int64Array:
    """Return (row folds, M, N) results after each row fold, each by a product of its own."""
    k = a.shape[1]
    ends = [min(k, rows * (fold + 1)) for fold in range(ceil_div(k, rows))]
    return np.stack(
        [simulate_systolic(a[:, :end], b[:end], rows, 1, "ws", pe=pe).outputs for end in ends]
    ).astype(np.int64)


def stationary_case(pe: PEKind, rows: int, columns: int, chunks: int, seed: int) -> Case:
    """Return a run of an array: whole products, their sums and clocks by the array's rung.

    Each product is loaded, then runs fold after fold with no clock between. In some of them the
    sums of all row folds are shown, in others only results.

    Parameters
    ----------
    pe : IntMacPE, AntPE or OlivePE
    rows, columns : int
        PEs.
    chunks : int
        Rows of input, at least; matrices have up to three folds a side.
    seed : int
        Of the random numbers.
    """
    mac, rng = _checked(pe), np.random.default_rng(seed)
    parts: list[dict[str, Int64Array]] = []
    events: list[list[Events]] = []
    clock = count = 0
    while count < chunks:
        m = 1 if rng.random() < 0.3 else int(rng.integers(1, WORDS // 3 + 1))
        k = int(rng.integers(1, min(3 * rows, WORDS // 3) + 1))
        if isinstance(mac, OlivePE):
            k = max(k - k % 2, 2)  # whole pairs
        n = int(rng.integers(1, 3 * columns + 1))
        kept = bool(rng.integers(0, 2)) or isinstance(mac, OlivePE)  # folds may cut a pair
        (given_a, a), (given_b, b) = operands(mac, m, n, k, rng)
        left, right = side(given_a.T, rows), side(given_b.T, columns)
        filled = loads(left, right)
        filled |= dict.fromkeys(("in_first", "in_shown"), np.zeros_like(filled["in_valid"]))
        runs = _runs(left, right, (m, k), kept, rng)
        found, cycles = _columns(mac, a, b, (rows, columns), kept)
        clock += len(filled["in_valid"])
        events.append([Events(each.clocks + clock + LATER, each.values) for each in found])
        last = m + left.used[-1] + right.used[-1] - 2  # the row is taken before its fold streams
        clock += cycles - last + len(runs["in_valid"]) - len(left.used) * len(right.used)
        parts += [filled, runs]
        count += len(filled["in_valid"]) + len(runs["in_valid"])
    return Case(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        clock + 2,
        {
            f"sum_valid_{c}": Events(
                *(np.concatenate(each) for each in zip(*(e[c] for e in events), strict=True))
            )
            for c in range(columns)
        },
    )
