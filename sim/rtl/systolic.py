"""Verilog of an output stationary systolic array with its control and buffers, and its run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.pe import AntPE, FpMacPE, IntMacPE, OlivePE
from ...arch.pe_base import PEKind
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div, whole_number
from ..array.systolic.clock import simulate_systolic
from ..array.systolic.kernels import WRITE
from ..pe.mac import ant_dot, fp_mac_dot, int_mac_dot, olive_dot
from .array_top import WORDS, array_inputs, array_top
from .decoded import decoded_design
from .expected import Case
from .fp_mac import fp_mac_design
from .int_mac import int_mac_design
from .mac_cases import float_events, float_patterns
from .rows import Events, Int64Array
from .split import split_design, splits
from .split_array import ports_of, split_product
from .stimulus import flint_bits, integers, pair_codes
from .verilog import Design, Event, Port, library, library_modules, with_parameters

MOST = 64  # PEs
START = 1  # clocks from a fold's first word asked for to its first product
Matrix = npt.NDArray[np.generic]
Mac = IntMacPE | FpMacPE | AntPE | OlivePE
Sides = tuple[Int64Array, Matrix]
"""What lies at ports, and what the array clock by clock takes."""


def checked(pe: PEKind) -> Mac:
    """Return a PE that an output stationary array can be made of.

    Raises
    ------
    BitlatheError
        Another kind.
    """
    if not isinstance(pe, IntMacPE | FpMacPE | AntPE | OlivePE):
        raise BitlatheError(
            f"pe.kind: no systolic array is generated of {pe.kind!r} PEs, only of 'int_mac', "
            "'fp_mac', 'ant' and 'olive' ones; a tile array is of 'bit_serial' ones, of others one "
            "PE is written"
        )
    return pe


def lanes_of(pe: Mac) -> int:
    """Return how many products a PE makes in a clock, whole operands."""
    return pe.lanes if isinstance(pe, FpMacPE) else pe.mac.lanes


def check_sides(rows: int, columns: int) -> None:
    """Check that an array is of 1 to 64 PEs.

    Raises
    ------
    BitlatheError
        It is not.
    """
    whole_number("rows", rows, 1, MOST)
    whole_number("columns", columns, 1, MOST // rows)


def _one(pe: Mac) -> Design:
    """Return the MAC of a PE; behind three inputs of control it takes activations and weights."""
    if splits(pe) and not isinstance(pe, FpMacPE):
        return split_design(pe)
    if isinstance(pe, IntMacPE):
        return int_mac_design(pe)
    if isinstance(pe, FpMacPE):
        return fp_mac_design(pe)
    return decoded_design(pe)


def _pe_text(one: Design) -> str:
    """Return the module ``systolic_pe``: a MAC whose outputs are one word."""
    sides = ports_of(one.inputs)
    wide = [sum(port.bits for port in side) for side in sides]
    taken = ", ".join(
        f".{port.name}({name}[{sum(p.bits for p in side[:i])} +: {port.bits}])"
        for name, side in zip(("activation", "weight"), sides, strict=True)
        for i, port in enumerate(side)
    )
    values = one.events[0].values
    bits = sum(port.bits for port in values)
    word = ", ".join(port.name for port in reversed(values))
    wires = "\n".join(f"    wire [{port.bits - 1}:0] {port.name}_wire;" for port in values)
    joined = ", ".join(f".{port.name}({port.name}_wire)" for port in values)
    return f"""\
// A PE of a systolic array: its sum of products, and what is said of it, as one word.
module systolic_pe (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire in_first,
    input  wire [{wide[0] - 1}:0] activation,
    input  wire [{wide[1] - 1}:0] weight,
    output wire [{bits - 1}:0] sum
);
{wires}
    {one.top} mac (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_first(in_first), .in_last(1'b0),
        {taken}, .sum_valid(),
        {joined}
    );
    assign sum = {{{word.replace(",", "_wire,")}_wire}};
endmodule
"""


def systolic_design(pe: PEKind, rows: int, columns: int) -> Design:
    """Return the Verilog of an output stationary array: PEs, buffers as memories, and control.

    Parameters
    ----------
    pe : IntMacPE, FpMacPE, AntPE or OlivePE
    rows, columns : int
        PEs, 64 at most.

    Raises
    ------
    BitlatheError
        Another kind of PE, multipliers that split too far, or an array beyond 64 PEs.
    """
    check_sides(rows, columns)
    one = _one(checked(pe))
    word_bits = [sum(port.bits for port in side) for side in ports_of(one.inputs)]
    values = one.events[0].values
    bits = sum(port.bits for port in values)
    parameters = {"ROWS": rows, "COLUMNS": columns, "ACTIVATION_BITS": word_bits[0],
                  "WEIGHT_BITS": word_bits[1], "SUM_BITS": bits, "WORDS": WORDS}  # fmt: skip
    inputs = array_inputs(rows, columns, (word_bits[0], word_bits[1]))
    ready, row = (Port(name=name, bits=1) for name in ("in_ready", "row_valid"))
    results: dict[Port, str] = {}
    first = 0
    for column in range(columns):
        for port in values:
            own = replace(port, name=f"{port.name}_{column}")
            results[own] = f"sums[{first} +: {port.bits}]"
            first += port.bits
    return Design(
        top="systolic_top",
        modules={
            **one.modules,
            "systolic_pe": _pe_text(one),
            **library_modules(("memory", "delay")),
            "systolic_array": with_parameters(library("systolic_array"), parameters),
            "systolic_top": array_top(
                "systolic", (rows, columns), inputs, (ready, row), {"sums": first}, results
            ),
        },
        inputs=inputs,
        ready=ready.name,
        events=(Event(valid=row.name, values=tuple(results)),),
    )


def operands(pe: Mac, m: int, n: int, k: int, rng: np.random.Generator) -> tuple[Sides, Sides]:
    """Return (m, k) inputs and (k, n) weights.

    Parameters
    ----------
    pe : IntMacPE, FpMacPE, AntPE or OlivePE
    m, n, k : int
        Sizes of the product.
    rng : numpy.random.Generator
    """

    def whole(bits: int, shape: tuple[int, int]) -> Sides:
        half = 1 << (bits - 1)
        found = integers(np.arange(-half, half), shape[0] * shape[1], rng).reshape(shape)
        return found, found

    if isinstance(pe, FpMacPE):
        return float_patterns(pe.activation, (m, k), rng), float_patterns(pe.weight, (k, n), rng)
    if isinstance(pe, AntPE):
        codes = rng.integers(0, 1 << flint_bits(pe), (k, n))
        return whole(pe.mac.activation_bits, (m, k)), (codes, codes)
    if isinstance(pe, OlivePE):
        codes = pair_codes((n, k), rng).T  # pairs lie along K
        partners = codes.reshape(-1, 2, n)[:, ::-1].reshape(k, n)
        return whole(pe.mac.activation_bits, (m, k)), (codes | partners << 4, codes)
    return whole(pe.activation_bits, (m, k)), whole(pe.weight_bits, (k, n))


class Side(NamedTuple):
    """A side of the array: (words, PEs) operands of its buffer, and PEs that each fold uses."""

    words: Int64Array
    used: list[int]


def words(matrix: Int64Array, lanes: int, pairs: bool = False) -> Int64Array:
    """Return (extent, K) operands as (extent, words, fields): so many to a word, zeros behind.

    Parameters
    ----------
    matrix : (extent, K) ndarray of int64
    lanes : int
        Operands of a word.
    pairs : bool
        Each operand is a code of 4 bits and its partner's above; a word has all codes first.
    """
    extent, length = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -length % lanes)))
    cut = padded.reshape(extent, -1, lanes)
    return np.concatenate([cut & 15, cut >> 4], axis=2) if pairs else cut


def side(operands: Int64Array, pes: int) -> Side:
    """Cut (extent, K) operands, or their words, into folds of so many PEs.

    Parameters
    ----------
    operands : (extent, K) or (extent, K, fields) ndarray of int64
    pes : int
        Fold f has the words from f * K on.
    """
    fields = operands.reshape(*operands.shape[:2], -1)
    folds = ceil_div(len(fields), pes)
    padded = np.zeros((folds * pes, *fields.shape[1:]), np.int64)
    padded[: len(fields)] = fields
    cut = padded.reshape(folds, pes, *fields.shape[1:]).transpose(0, 2, 1, 3)
    made = cut.reshape(folds * fields.shape[1], -1)
    return Side(made, [min(pes, len(fields) - fold * pes) for fold in range(folds)])


def loads(left: Side, right: Side) -> dict[str, Int64Array]:
    """Return the rows that fill both buffers."""
    count = max(len(left.words), len(right.words))
    rows = dict.fromkeys(("length", "used_rows", "used_columns"), np.ones(count, np.int64))
    rows["in_valid"] = np.ones(count, np.int64)
    for name, port, side in (("input", "activations", left), ("weight", "weights", right)):
        rows[port] = np.zeros((count, side.words.shape[1]), np.int64)
        rows[port][: len(side.words)] = side.words
        rows[f"load_{name}"] = (np.arange(count) < len(side.words)).astype(np.int64)
        rows[f"{name}_address"] = np.arange(count)
    return rows


def _runs(
    left: Side, right: Side, k: int, rows_of_pes: int, rng: np.random.Generator
) -> dict[str, Int64Array]:
    """Return the rows that run all folds, and idle ones until the last result has left."""
    folds = [
        (1, i * k, j * k, k, rows, columns)
        for j, columns in enumerate(right.used)
        for i, rows in enumerate(left.used)
    ]
    idle = [(0,) * 6] * (rows_of_pes + 1)
    names = ("in_valid", "input_address", "weight_address", "length", "used_rows", "used_columns")
    rows = dict(zip(names, np.array(folds + idle, np.int64).T, strict=True))
    count = len(folds) + len(idle)
    rows |= dict.fromkeys(("load_input", "load_weight"), np.zeros(count, np.int64))
    for port, side in (("activations", left), ("weights", right)):  # of no account here
        rows[port] = side.words[rng.integers(0, len(side.words), count)]
    return rows


DOTS: dict[str, Callable[..., Any]] = {
    IntMacPE.kind: int_mac_dot,
    FpMacPE.kind: fp_mac_dot,
    AntPE.kind: ant_dot,
    OlivePE.kind: olive_dot,
}


def _sums(pe: Mac, a: Matrix, b: Matrix) -> Int64Array:
    """Return (m, n, values) results of a PE of several lanes."""
    found = DOTS[pe.kind](a[:, None], b.T[None], pe)
    flat: tuple[npt.NDArray[Any], ...] = (found.reshape(-1),)
    if isinstance(pe, FpMacPE):
        flat = float_events(flat[0], pe.accumulator)
    return np.stack(flat, axis=1).reshape(*found.shape, -1)


def _rows(sums: Int64Array, words: int, sides: tuple[int, int]) -> tuple[Events, int]:
    """Return the rows that leave the array clock by clock, and the clocks of the product.

    Parameters
    ----------
    sums : (m, n, values) ndarray of int64
    words : int
        Clocks of a sum: the array's clocks are those of a PE of one lane that takes so many.
    sides : (int, int)
        Rows and columns of PEs.
    """
    seen: list[Int64Array] = []

    def keep(events: Int64Array) -> None:
        seen.append(events[events[:, 1] == WRITE].copy())

    one, other = np.ones((len(sums), words), np.int64), np.ones((words, sums.shape[1]), np.int64)
    run = simulate_systolic(one, other, *sides, "os", sink=keep)
    clock, _, _, column, i, j = np.concatenate(seen).T
    clocks, which = np.unique(clock, return_inverse=True)
    out = np.zeros((len(clocks), sides[1], sums.shape[2]), np.int64)
    out[which, column] = sums[i, j]
    return Events(clocks, out.reshape(len(clocks), -1)), run.cycles


def _product(
    pe: Mac, m: int, n: int, length: int, rng: np.random.Generator
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return (m, words, fields) and (n, words, fields) operands and (m, n, values) sums."""
    if splits(pe) and not isinstance(pe, FpMacPE):
        return split_product(pe, m, n, length, rng)
    lanes, pairs = lanes_of(pe), isinstance(pe, OlivePE)
    k = length * lanes - int(rng.integers(0, lanes))
    if pairs:
        k = max(k - k % 2, 2)  # whole pairs
    (given_a, a), (given_b, b) = operands(pe, m, n, k, rng)
    left, right = words(given_a, lanes), words(given_b.T, lanes, pairs)
    if lanes == 1:  # the array's own arithmetic
        run = simulate_systolic(a, b, m, n, "os", pe=pe)
        flat: tuple[npt.NDArray[Any], ...] = (run.outputs.reshape(-1),)
        if isinstance(pe, FpMacPE):
            flat = float_events(flat[0], pe.accumulator)
        return left, right, np.stack(flat, axis=1).reshape(m, n, -1)
    return left, right, _sums(pe, a, b)


def systolic_case(pe: PEKind, rows: int, columns: int, chunks: int, seed: int) -> Case:
    """Return a run of an array: whole products, their results and clocks by the array's rung.

    Each product is loaded, then runs fold after fold with no clock between. The first fills the
    buffers.

    Parameters
    ----------
    pe : IntMacPE, FpMacPE, AntPE or OlivePE
    rows, columns : int
        PEs.
    chunks : int
        Rows of input, at least; matrices have up to three folds a side.
    seed : int
        Of the random numbers.
    """
    mac, rng = checked(pe), np.random.default_rng(seed)
    parts: list[dict[str, Int64Array]] = []
    events: list[Events] = []
    clock = count = 0
    while count < chunks:
        length = 1 if rng.random() < 0.3 else int(rng.integers(1, WORDS // 3 + 1))
        m, n = int(rng.integers(1, 3 * rows + 1)), int(rng.integers(1, 3 * columns + 1))
        if not count:  # every word of both buffers
            length, m, n = WORDS // 2, 2 * rows, 2 * columns
        given, taken, sums = _product(mac, m, n, length, rng)
        left, right = side(given, rows), side(taken, columns)
        filled, runs = loads(left, right), _runs(left, right, given.shape[1], rows, rng)
        found, cycles = _rows(sums, given.shape[1], (rows, columns))
        clock += len(filled["in_valid"])
        events.append(Events(found.clocks + clock + START, found.values))
        clock += cycles - left.used[-1] + rows + 1  # the last fold is taken before its rows leave
        parts += [filled, runs]
        count += len(filled["in_valid"]) + len(runs["in_valid"])
    return Case(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        clock + 2,
        {"row_valid": Events(*(np.concatenate(each) for each in zip(*events, strict=True)))},
    )
