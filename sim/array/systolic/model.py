"""Closed forms of a systolic array: clocks, SRAM accesses and utilization of one product.

Plain Python integers, no loop over folds, no numba: a layer costs microseconds. The `physical`
timing equals the clock-by-clock simulator of `systolic.clock` on every size; the `scalesim`
timing equals what SCALE-Sim v3 (github.com/scalesim-project/SCALE-Sim) counts for the same
array, its printed clocks plus one.
"""

import operator
from dataclasses import dataclass

from ....arch.dataflow import SYSTOLIC, Dataflow
from ....datatypes.base.errors import BitlatheError, unknown_name
from ....datatypes.base.numbers import ceil_div, whole_number
from ..counts import OperandCounts, check_counter

TIMINGS = ("physical", "scalesim")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicShape:
    """A product laid on an array, fold by fold.

    Attributes
    ----------
    stationary_rows, stationary_columns, streamed : int
        The product's extents along the array's rows, its columns and in time (Sr, Sc, T).
    rows, columns : int
        PEs of the array (R, C).
    """

    dataflow: Dataflow
    stationary_rows: int
    stationary_columns: int
    streamed: int
    rows: int
    columns: int

    @property
    def row_folds(self) -> int:
        """ceil(Sr / R)."""
        return ceil_div(self.stationary_rows, self.rows)

    @property
    def column_folds(self) -> int:
        """ceil(Sc / C)."""
        return ceil_div(self.stationary_columns, self.columns)

    @property
    def folds(self) -> int:
        """Folds of the whole product."""
        return self.row_folds * self.column_folds

    @property
    def last_rows(self) -> int:
        """Rows used by the last row fold."""
        return self.stationary_rows - (self.row_folds - 1) * self.rows

    @property
    def last_columns(self) -> int:
        """Columns used by the last column fold."""
        return self.stationary_columns - (self.column_folds - 1) * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicCount:
    """What one product costs on a systolic array.

    Attributes
    ----------
    cycles : int
        Clocks from the first operand entering to the last result leaving.
    sram_reads, sram_writes : OperandCounts
        Elements read and written at the scratchpads; reads of ``output`` are partial sums.
    mapping_efficiency : float
        Mean over folds of used PEs / PEs.
    utilization : float
        macs / (cycles * PEs).
    exposed_load_cycles, exposed_drain_cycles : int
        Clocks in which the array only loads operands or only shifts results out.
    """

    m: int
    n: int
    k: int
    rows: int
    cols: int
    dataflow: str
    timing: str
    folds: int
    row_folds: int
    column_folds: int
    cycles: int
    macs: int
    exposed_load_cycles: int
    exposed_drain_cycles: int
    sram_reads: OperandCounts
    sram_writes: OperandCounts
    mapping_efficiency: float
    utilization: float

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain values for JSON."""
        plain: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        return plain | {"sram_reads": dict(self.sram_reads), "sram_writes": dict(self.sram_writes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSimReport:
    """The figures SCALE-Sim itself prints for a layer, its quirks included.

    Attributes
    ----------
    total_cycles : int
        Index of the last line of its trace: the clocks minus one.
    compute_utilization : float
        Mapping efficiency times T / L, with L + C - 1 for L where operands are preloaded.
    output_writes : int
        Its result count; for ``os`` it adds folds * (R + C), a defect kept here only.
    """

    total_cycles: int
    compute_utilization: float
    mapping_efficiency: float
    input_reads: int
    weight_reads: int
    output_writes: int


def lay_out(m: int, n: int, k: int, rows: int, cols: int, dataflow: str) -> SystolicShape:
    """Return how the product (m, k) x (k, n) lies on an array of ``rows`` x ``cols`` PEs.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `systolic`.

    Raises
    ------
    BitlatheError
        Unknown dataflow, or a size that is not a positive whole number.
    """
    if dataflow not in SYSTOLIC:
        raise BitlatheError(unknown_name("dataflow", str(dataflow), SYSTOLIC))
    flow = SYSTOLIC[dataflow]
    size = flow.extents(whole_number("m", m, 1), whole_number("n", n, 1), whole_number("k", k, 1))
    return SystolicShape(
        dataflow=flow,
        stationary_rows=size.rows,
        stationary_columns=size.columns,
        streamed=size.streamed,
        rows=whole_number("rows", rows, 1),
        columns=whole_number("cols", cols, 1),
    )


def scalesim_fold_cycles(shape: SystolicShape) -> int:
    """Return L, SCALE-Sim's clocks of one fold, full or partial.

    ``R + C + T - 2`` for output stationary, ``2R + C + T - 2`` with a preload of R clocks.
    """
    preload = 0 if shape.dataflow.stationary == "output" else shape.rows
    return preload + shape.rows + shape.columns + shape.streamed - 2


def _physical_stationary_output(shape: SystolicShape, drain_register: bool) -> tuple[int, int]:
    """Return (cycles, exposed drain cycles) of output stationary folds.

    Fold f streams for r_f + c_f + T - 2 clocks, then r_f clocks shift its results out. With a
    drain register fold f + 1 streams meanwhile, and waits at its end only for a drain still
    going on: max(r_{f+1} + c_{f+1} + T - 2, r_f). That exceeds the streaming time only where
    a full row fold is followed by a small last one.
    """
    folds, fr, fc = shape.folds, shape.row_folds, shape.column_folds
    rows_total = fc * shape.stationary_rows
    streaming = rows_total + fr * shape.stationary_columns + folds * (shape.streamed - 2)
    if not drain_register:
        return streaming + rows_total, rows_total
    exposed = shape.last_rows
    if fr > 1:
        spare = shape.rows - shape.last_rows - shape.streamed + 2
        exposed += (fc - 1) * max(0, spare - shape.columns) + max(0, spare - shape.last_columns)
    return streaming + exposed, exposed


def _physical_stationary_operand(shape: SystolicShape, double_buffered: bool) -> tuple[int, int]:
    """Return (cycles, exposed load cycles) of weight or input stationary folds.

    Fold f takes r_f clocks to load and T + r_f + c_f - 2 to stream. With a second operand
    register the next fold loads meanwhile: max(T + r_f + c_f - 2, r_{f+1}). The load is the
    longer only where the small last row fold is followed by a full one of the next column.
    """
    folds, fr, fc = shape.folds, shape.row_folds, shape.column_folds
    rows_total = fc * shape.stationary_rows
    streaming = rows_total + fr * shape.stationary_columns + folds * (shape.streamed - 2)
    if not double_buffered:
        return streaming + rows_total, rows_total
    exposed = min(shape.rows, shape.stationary_rows)
    if fr > 1:
        last = shape.streamed + shape.last_rows + shape.columns - 2
        exposed += (fc - 1) * max(0, shape.rows - last)
    return streaming + exposed, exposed


def _physical_cycles(
    shape: SystolicShape, double_buffered_operand: bool, drain_register: bool
) -> tuple[int, int, int]:
    """Return (cycles, exposed load, exposed drain) under causal timing."""
    if shape.dataflow.stationary == "output":
        cycles, drain = _physical_stationary_output(shape, drain_register)
        return cycles, 0, drain
    cycles, load = _physical_stationary_operand(shape, double_buffered_operand)
    return cycles, load, 0


def _scalesim_cycles(shape: SystolicShape) -> tuple[int, int, int]:
    """Return (cycles, exposed load, exposed drain): every fold costs the full length."""
    load = 0 if shape.dataflow.stationary == "output" else shape.folds * shape.rows
    return shape.folds * scalesim_fold_cycles(shape), load, 0


def _accesses(
    shape: SystolicShape, m: int, n: int, k: int, read_back: bool, sums_kept: bool
) -> tuple[OperandCounts, OperandCounts]:
    """Return (reads, writes) at the scratchpads in elements.

    The streamed operands are read once per fold across them; a stationary one once in all.
    Where the rows carry k, partial sums leave the array once per row fold, unless they are kept
    in a buffer at its edge; all but the first fold's are then read back.
    """
    fr, fc = shape.row_folds, shape.column_folds
    input_times, weight_times, output_times = {
        "output": (fc, fr, 1),
        "weight": (fc, 1, fr),
        "input": (1, fc, fr),
    }[shape.dataflow.stationary]
    if sums_kept:
        output_times = 1
    back = (output_times - 1) * m * n if read_back else 0
    reads = OperandCounts(input=m * k * input_times, weight=k * n * weight_times, output=back)
    return reads, OperandCounts(input=0, weight=0, output=m * n * output_times)


def systolic(
    m: int,
    n: int,
    k: int,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    timing: str = "scalesim",
    *,
    double_buffered_operand: bool = True,
    drain_register: bool = True,
    accumulator_buffer: bool = False,
) -> SystolicCount:
    """Count clocks and accesses of the product (m, k) x (k, n) on a systolic array.

    Parameters
    ----------
    m, n, k : int
        Tokens, outputs and inputs of the product.
    rows, cols : int
        PEs of the array.
    dataflow : {"ws", "os", "is"}
        What stays in the PEs: weights, outputs or inputs.
    timing : {"scalesim", "physical"}
        SCALE-Sim's clock count (every fold costs the full length), or that of causal hardware.
    double_buffered_operand : bool
        Physical ws and is: a second operand register hides loading behind the previous fold.
    drain_register : bool
        Physical os: results shift out beside the next fold.
    accumulator_buffer : bool
        Physical ws and is: partial sums stay in a buffer at the array's edge; without it each
        row fold writes them to the scratchpad and each but the first reads them back.

    Returns
    -------
    SystolicCount

    Raises
    ------
    BitlatheError
        Unknown dataflow or timing, sizes below 1, counters past 2^53.

    Examples
    --------
    >>> systolic(256, 256, 256, 32, 32).cycles
    22400
    >>> count = systolic(256, 256, 256, 32, 32, "ws", "physical")
    >>> count.cycles, count.sram_reads["output"], count.mapping_efficiency
    (20384, 458752, 1.0)
    """
    shape = lay_out(m, n, k, rows, cols, dataflow)
    if timing not in TIMINGS:
        raise BitlatheError(unknown_name("timing", str(timing), TIMINGS))
    m, n, k = operator.index(m), operator.index(n), operator.index(k)
    if timing == "physical":
        cycles, load, drain = _physical_cycles(shape, double_buffered_operand, drain_register)
    else:
        cycles, load, drain = _scalesim_cycles(shape)
    physical = timing == "physical"
    reads, writes = _accesses(shape, m, n, k, physical, physical and accumulator_buffer)
    pes = shape.rows * shape.columns
    for name, value in (("cycles", cycles), ("macs", m * n * k), ("SRAM reads", reads.total)):
        check_counter(f"{name} of the product {m} x {n} x {k}", value)
    check_counter(f"PE clocks of the product {m} x {n} x {k}", cycles * pes)
    return SystolicCount(
        m=m,
        n=n,
        k=k,
        rows=shape.rows,
        cols=shape.columns,
        dataflow=dataflow,
        timing=timing,
        folds=shape.folds,
        row_folds=shape.row_folds,
        column_folds=shape.column_folds,
        cycles=cycles,
        macs=m * n * k,
        exposed_load_cycles=load,
        exposed_drain_cycles=drain,
        sram_reads=reads,
        sram_writes=writes,
        mapping_efficiency=_mapping_efficiency(shape),
        utilization=m * n * k / (cycles * pes),
    )


def _mapping_efficiency(shape: SystolicShape) -> float:
    """Sr * Sc / (folds * R * C)."""
    used = shape.stationary_rows * shape.stationary_columns
    return used / (shape.folds * shape.rows * shape.columns)


def scalesim_report(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: str = "ws"
) -> ScaleSimReport:
    """Return what SCALE-Sim v3 prints for the product, for comparisons with its own files.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `systolic`.

    Examples
    --------
    >>> scalesim_report(256, 256, 256, 32, 32, "ws").total_cycles
    22399
    """
    count = systolic(m, n, k, rows, cols, dataflow, "scalesim")
    shape = lay_out(m, n, k, rows, cols, dataflow)
    length = scalesim_fold_cycles(shape)
    stationary_output = shape.dataflow.stationary == "output"
    busy = shape.streamed / (length if stationary_output else length + shape.columns - 1)
    defect = shape.folds * (shape.rows + shape.columns) if stationary_output else 0
    return ScaleSimReport(
        total_cycles=count.cycles - 1,
        compute_utilization=count.mapping_efficiency * busy,
        mapping_efficiency=count.mapping_efficiency,
        input_reads=count.sram_reads.input,
        weight_reads=count.sram_reads.weight,
        output_writes=count.sram_writes.output + defect,
    )
