"""A systolic array clock by clock: operands move from PE to PE and are really multiplied.

It defines the `physical` timing, whose closed form is in `systolic.model`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....datatypes.base.errors import BitlatheError
from ..clocks import EventSink, detail_level, run_clocks
from ..counts import OperandCounts, check_matrix
from .model import lay_out
from .pe import WIDEST, Arithmetic, SystolicPE, pe_operands

if TYPE_CHECKING:
    from .kernels import Operands


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicRun:
    """What the array did: results, and everything counted on the way.

    Attributes
    ----------
    outputs : (M, N) ndarray
        int64 or float32; float64 values of the accumulator's format with an `FpMacPE`.
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
    check_matrix(name, array)
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


def _refuse_overflow(left: NDArray[Any], right: NDArray[Any]) -> None:
    """Raise where a sum of products of two int64 matrices could pass the widest accumulator."""
    reach = [max(abs(int(x.min())), abs(int(x.max()))) for x in (left, right)]
    if reach[0] * reach[1] * left.shape[1] >= 1 << (WIDEST - 1):
        raise BitlatheError(
            f"sums of {left.shape[1]} products as large as {reach[0]} * {reach[1]} do not "
            f"fit an accumulator of {WIDEST} bits, the widest there is"
        )


def check_operands(
    a: ArrayLike, b: ArrayLike, pe: SystolicPE | None = None
) -> tuple[NDArray[Any], NDArray[Any], Arithmetic]:
    """Return both operands of a product as matrices of one kind, and how their products add up.

    Parameters
    ----------
    a, b : (M, K) and (K, N) array_like
        As in `simulate_systolic`.
    pe : IntMacPE, FpMacPE, AntPE or OlivePE, optional

    Returns
    -------
    left, right : (M, K) and (K, N) ndarray
        int64, float32 or float64: what the PEs multiply.
    arithmetic : Arithmetic

    Raises
    ------
    BitlatheError
        Not matrices, empty, shapes that do not chain, mixed kinds, NaN or infinity, values that
        the PE does not take, or, without a PE, integers whose sums could pass 63 bits signed.
    """
    if pe is None:
        left, right = _operand("a", a), _operand("b", b)
        arithmetic = Arithmetic(whole=(WIDEST, False) if left.dtype == np.int64 else None)
    else:
        left, right, arithmetic = pe_operands(a, b, pe)
        for name, array in (("a", left), ("b", right)):
            check_matrix(name, array)
    if left.shape[1] != right.shape[0]:
        raise BitlatheError(
            f"a of shape {left.shape} and b of shape {right.shape} do not chain: "
            f"a has {left.shape[1]} columns, b has {right.shape[0]} rows"
        )
    if left.dtype != right.dtype:
        raise BitlatheError(
            f"a holds {left.dtype} and b holds {right.dtype}; both must be integers or float32"
        )
    if pe is None and left.dtype == np.int64:
        _refuse_overflow(left, right)
    return left, right, arithmetic


def _as_input_stationary(sink: EventSink) -> EventSink:
    """Rename the events of the transposed product: operands swap, matrix indices swap."""

    def rename(rows: NDArray[np.int64]) -> None:
        renamed = rows[:, [0, 1, 2, 3, 5, 4]]
        reads = renamed[:, 1] < 2
        renamed[reads, 1] = 1 - renamed[reads, 1]
        sink(renamed)

    return rename


def simulate_systolic(
    a: ArrayLike,
    b: ArrayLike,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    *,
    pe: SystolicPE | None = None,
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
        Inputs: integers or float32, or values of the PE's activations.
    b : (K, N) array_like
        Weights of the same kind, or values or codes of the PE's weights.
    rows, cols : int
        PEs of the array.
    dataflow : {"ws", "os", "is"}
        What stays in the PEs.
    pe : IntMacPE, FpMacPE, AntPE or OlivePE, optional
        Arithmetic of the PEs and of the adders that join partial sums. By default integers are
        exact, and float32 is rounded after each product and each sum.
    double_buffered_operand, drain_register, accumulator_buffer : bool
        As in `model.systolic`.
    sink : callable, optional
        Gets the clock-stamped events in blocks of bounded size.
    detail : {"edges", "pes"}
        Events at the array's edges only, or also every product and shift inside.

    Returns
    -------
    SystolicRun
        Outputs added in the array's order: along K from a cleared accumulator (os); down the rows
        of a fold from zero, then fold after fold with the partial sum read back (ws, is).

    Raises
    ------
    BitlatheError
        Operands, sizes or names that do not fit.
    """
    left, right, arithmetic = check_operands(a, b, pe)
    shape = lay_out(left.shape[0], right.shape[1], left.shape[1], rows, cols, dataflow)
    level = detail_level(detail, sink)
    swapped = shape.dataflow.stationary == "input"
    if swapped:
        left, right = right.T, left.T
        sink = None if sink is None else _as_input_stationary(sink)
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    operands = _operands(left, right)
    size = shape.rows, shape.columns
    if shape.dataflow.stationary == "output":
        control = _output_stationary(operands, size, arithmetic, drain_register, level, sink)
    else:
        registers = double_buffered_operand, accumulator_buffer
        control = _stationary(operands, size, arithmetic, registers, level, sink)
    return _report(control, operands.out, swapped)


def _operands(left: NDArray[Any], right: NDArray[Any]) -> "Operands":
    """Return a product as the kernels take it, with room for its results."""
    from .kernels import Operands

    return Operands(left, right, np.zeros((left.shape[0], right.shape[1]), left.dtype))


def _output_stationary(
    operands: "Operands",
    size: tuple[int, int],
    arithmetic: Arithmetic,
    register: bool,
    level: int,
    sink: EventSink | None,
) -> NDArray[np.int64]:
    """Make the registers of an output stationary array and run it; return its counters."""
    from . import kernels

    kind, mac = operands.a.dtype, tuple(arithmetic)
    state = kernels.SumsStay(
        x=np.zeros((2, *size), kind),
        xt=np.zeros((2, *size), np.int64),
        y=np.zeros((2, *size), kind),
        yt=np.zeros((2, *size), np.int64),
        acc=np.zeros(size, kind),
        drain=np.zeros(size, kind),
    )
    control = np.zeros(kernels.CONTROL_SLOTS, np.int64)
    step: Any = kernels.advance_output_stationary

    def advance(events: NDArray[np.int64]) -> int:
        return int(step(operands, state, mac, control, events, level, register))

    run_clocks(advance, control, kernels.DONE_ALL, 3 * (size[0] + 1) * (size[1] + 1), sink)
    return control


def _stationary(
    operands: "Operands",
    size: tuple[int, int],
    arithmetic: Arithmetic,
    registers: tuple[bool, bool],
    level: int,
    sink: EventSink | None,
) -> NDArray[np.int64]:
    """Make the registers of a weight stationary array and run it; return its counters.

    ``registers``: whether it has second operand registers, and an accumulator buffer.
    """
    from . import kernels

    kind, mac = operands.a.dtype, tuple(arithmetic)
    state = kernels.WeightsStay(
        x=np.zeros((2, *size), kind),
        xt=np.zeros((2, *size), np.int64),
        w=np.zeros(size, kind),
        shadow=np.zeros(size, kind),
        ps=np.zeros((2, *size), kind),
    )
    control = np.zeros(kernels.CONTROL_SLOTS, np.int64)
    step: Any = kernels.advance_stationary

    def advance(events: NDArray[np.int64]) -> int:
        return int(step(operands, state, mac, control, events, level, *registers))

    run_clocks(advance, control, kernels.DONE_ALL, 3 * (size[0] + 1) * (size[1] + 1), sink)
    return control


def _report(control: NDArray[np.int64], out: NDArray[Any], swapped: bool) -> SystolicRun:
    """Read the counters of a run into a record."""
    from . import kernels

    if control[kernels.MISMATCH]:
        raise RuntimeError("operands of different K met in a PE: the array is out of step")
    count = [int(value) for value in control]
    moving, fixed = count[kernels.READS_STREAM], count[kernels.READS_FIXED]
    reads = OperandCounts(
        input=fixed if swapped else moving,
        weight=moving if swapped else fixed,
        output=count[kernels.READS_BACK],
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
