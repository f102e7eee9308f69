"""A systolic array clock by clock: operands move from PE to PE and are really multiplied.

This machine defines the `physical` timing; `systolic_model` holds its closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...datatypes.errors import BitlatheError
from .systolic_model import OperandCounts, lay_out

EventSink = Callable[[NDArray[np.int64]], None]
"""Takes rows of (clock, kind, row, column, first index, second index); must not keep them."""

EVENT_ROWS = 1 << 16
DETAILS = {"none": 0, "edges": 1, "pes": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicRun:
    """What the machine did: results, and everything it counted while doing it.

    Attributes
    ----------
    outputs : (M, N) ndarray, int64 or float32
    cycles : int
    macs : int
        Products made; bubbles do not count.
    pe_updates : int
        PE clocks simulated, used PEs of streaming folds only.
    exposed_cycles : int
        Clocks spent only loading (ws, is) or only draining (os).
    sram_reads, sram_writes : OperandCounts
        Elements that crossed the edges of the array.
    """

    outputs: NDArray[Any]
    cycles: int
    macs: int
    pe_updates: int
    exposed_cycles: int
    sram_reads: OperandCounts
    sram_writes: OperandCounts


def _operand(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return a two-dimensional int64 or float32 array, or say what is wrong with it."""
    array = np.asarray(values)
    if array.ndim != 2:
        raise BitlatheError(f"{name} must be a matrix, not an array of shape {array.shape}")
    if 0 in array.shape:
        raise BitlatheError(f"{name} is empty: its shape is {array.shape}")
    if np.issubdtype(array.dtype, np.integer):
        if array.dtype == np.uint64 and int(array.max()) > np.iinfo(np.int64).max:
            raise BitlatheError(f"{name} holds integers past 2^63 - 1")
        return np.ascontiguousarray(array, dtype=np.int64)
    if array.dtype != np.float32:
        raise BitlatheError(f"{name} must hold integers or float32, not {array.dtype}")
    bad = ~np.isfinite(array)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise BitlatheError(f"{name} holds {array[at]} at index {at}; operands must be finite")
    return np.ascontiguousarray(array)


def check_operands(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both operands of a product as matrices of one kind that cannot overflow.

    Raises
    ------
    BitlatheError
        Not matrices, empty, shapes that do not chain, mixed kinds, NaN or infinity, or integers
        whose sums could pass 63 bits.
    """
    left, right = _operand("a", a), _operand("b", b)
    if left.shape[1] != right.shape[0]:
        raise BitlatheError(
            f"a of shape {left.shape} and b of shape {right.shape} do not chain: "
            f"a has {left.shape[1]} columns, b has {right.shape[0]} rows"
        )
    if left.dtype != right.dtype:
        raise BitlatheError(
            f"a holds {left.dtype} and b holds {right.dtype}; both must be integers or float32"
        )
    if left.dtype == np.int64:
        reach = [max(abs(int(x.min())), abs(int(x.max()))) for x in (left, right)]
        if reach[0] * reach[1] * left.shape[1] >= 2**63:
            raise BitlatheError(
                f"sums of {left.shape[1]} products as large as {reach[0]} * {reach[1]} do not "
                "fit a 64-bit accumulator"
            )
    return left, right


def _as_input_stationary(sink: EventSink) -> EventSink:
    """Rename the events of the transposed product: operands swap, matrix indices swap."""

    def rename(rows: NDArray[np.int64]) -> None:
        renamed = rows[:, [0, 1, 2, 3, 5, 4]]
        reads = renamed[:, 1] < 2
        renamed[reads, 1] = 1 - renamed[reads, 1]
        sink(renamed)

    return rename


def _run(
    advance: Callable[[NDArray[np.int64]], int],
    control: NDArray[np.int64],
    done: int,
    pes: int,
    sink: EventSink | None,
) -> None:
    """Call ``advance`` until the machine is done, handing each full event buffer to ``sink``."""
    rows = EVENT_ROWS + 8 * pes if sink is not None else 8 * pes + 64
    events = np.empty((rows, 6), np.int64)
    while not control[done]:
        count = advance(events)
        if sink is not None and count:
            sink(events[:count])


def simulate_systolic(
    a: ArrayLike,
    b: ArrayLike,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    *,
    double_buffered_operand: bool = True,
    drain_register: bool = True,
    accumulator_buffer: bool = False,
    sink: EventSink | None = None,
    detail: str = "edges",
) -> SystolicRun:
    """Multiply ``a @ b`` on a systolic array, clock by clock.

    Parameters
    ----------
    a : (M, K) array_like
        Inputs, integers or float32.
    b : (K, N) array_like
        Weights, of the same kind.
    rows, cols : int
        PEs of the array.
    dataflow : {"ws", "os", "is"}
        What stays in the PEs.
    double_buffered_operand, drain_register, accumulator_buffer : bool
        As in `systolic_model.systolic`.
    sink : callable, optional
        Gets the clock-stamped events in blocks of bounded size.
    detail : {"edges", "pes"}
        Events at the array's edges only, or also every product and shift inside.

    Returns
    -------
    SystolicRun
        Integers exact; float32 rounded after each product and each sum, in the array's order:
        down the rows of a fold, then fold after fold (ws, is), or along K (os).

    Raises
    ------
    BitlatheError
        Operands, sizes or names that do not fit.
    """
    left, right = check_operands(a, b)
    shape = lay_out(left.shape[0], right.shape[1], left.shape[1], rows, cols, dataflow)
    if detail not in DETAILS:
        raise BitlatheError(f"detail must be 'none', 'edges' or 'pes', not {detail!r}")
    level = DETAILS[detail] if sink is not None else 0
    swapped = shape.dataflow.stationary == "input"
    if swapped:
        left, right = np.ascontiguousarray(right.T), np.ascontiguousarray(left.T)
        sink = None if sink is None else _as_input_stationary(sink)
    out = np.zeros((left.shape[0], right.shape[1]), left.dtype)
    operands = (left, right, out)
    if shape.dataflow.stationary == "output":
        control = _output_stationary(
            operands, shape.rows, shape.columns, drain_register, level, sink
        )
    else:
        control = _stationary(
            operands, shape.rows, shape.columns, double_buffered_operand, level, sink
        )
    return _report(control, out, swapped, accumulator_buffer)


def _output_stationary(
    operands: tuple[NDArray[Any], ...],
    rows: int,
    cols: int,
    register: bool,
    level: int,
    sink: EventSink | None,
) -> NDArray[np.int64]:
    """Make the registers of an output stationary array and run it; return its counters."""
    from . import systolic_kernels as kernels

    kind = operands[0].dtype
    x, y = np.zeros((2, rows, cols), kind), np.zeros((2, rows, cols), kind)
    xt, yt = np.zeros((2, rows, cols), np.int64), np.zeros((2, rows, cols), np.int64)
    acc, drain = np.zeros((rows, cols), kind), np.zeros((rows, cols), kind)
    control = np.zeros(kernels.CONTROL_SLOTS, np.int64)
    step: Any = kernels.advance_output_stationary

    def advance(events: NDArray[np.int64]) -> int:
        return int(step(*operands, x, xt, y, yt, acc, drain, control, events, level, register))

    _run(advance, control, kernels.DONE_ALL, (rows + 1) * (cols + 1), sink)
    return control


def _stationary(
    operands: tuple[NDArray[Any], ...],
    rows: int,
    cols: int,
    double_buffered: bool,
    level: int,
    sink: EventSink | None,
) -> NDArray[np.int64]:
    """Make the registers of a weight stationary array and run it; return its counters."""
    from . import systolic_kernels as kernels

    kind = operands[0].dtype
    x, ps = np.zeros((2, rows, cols), kind), np.zeros((2, rows, cols), kind)
    xt = np.zeros((2, rows, cols), np.int64)
    w, shadow = np.zeros((rows, cols), kind), np.zeros((rows, cols), kind)
    control = np.zeros(kernels.CONTROL_SLOTS, np.int64)
    step: Any = kernels.advance_stationary

    def advance(events: NDArray[np.int64]) -> int:
        return int(step(*operands, x, xt, w, shadow, ps, control, events, level, double_buffered))

    _run(advance, control, kernels.DONE_ALL, (rows + 1) * (cols + 1), sink)
    return control


def _report(
    control: NDArray[np.int64], out: NDArray[Any], swapped: bool, accumulator_buffer: bool
) -> SystolicRun:
    """Read the machine's counters into a record."""
    from . import systolic_kernels as kernels

    if control[kernels.MISMATCH]:
        raise RuntimeError("operands of different K met in a PE: the array is out of step")
    count = [int(value) for value in control]
    moving, fixed = count[kernels.READS_STREAM], count[kernels.READS_FIXED]
    back = 0 if accumulator_buffer else count[kernels.READS_BACK]
    reads = OperandCounts(
        input=fixed if swapped else moving, weight=moving if swapped else fixed, output=back
    )
    return SystolicRun(
        outputs=np.ascontiguousarray(out.T) if swapped else out,
        cycles=count[kernels.CLOCK],
        macs=count[kernels.MACS],
        pe_updates=count[kernels.UPDATES],
        exposed_cycles=count[kernels.EXPOSED],
        sram_reads=reads,
        sram_writes=OperandCounts(input=0, weight=0, output=count[kernels.WRITES]),
    )
