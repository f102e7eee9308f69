"""Many products of one shape on systolic arrays, clock by clock: all at once on a GPU.

Source of both: `systolic.clock`, whose kernel is the twin of the GPU's.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....datatypes.base.errors import BitlatheError
from ...pe.operands import on_cuda
from ..counts import OperandCounts
from .clock import SystolicRun, check_operands, simulate_systolic
from .model import lay_out
from .pe import SystolicPE


def simulate_stack(
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
    device: str = "cpu",
) -> list[SystolicRun]:
    """Multiply each ``a[t] @ b[t]`` on an array of its own, clock by clock.

    Parameters
    ----------
    a : (T, M, K) array_like of int
        Inputs.
    b : (T, K, N) array_like of int
        Weights, or their codes.
    rows, cols : int
        PEs of each array; the GPU takes at most 1,024.
    dataflow : {"ws", "os", "is"}
        What stays in the PEs.
    pe : IntMacPE, AntPE or OlivePE, optional
        Exact integers by default.
    double_buffered_operand, drain_register, accumulator_buffer : bool
        As in `model.systolic`.
    device : {"cpu", "cuda"}
        Both give the same results and counts. The GPU takes operands of up to 32 bits.

    Returns
    -------
    list of SystolicRun
        One for each product.

    Raises
    ------
    BitlatheError
        For stacks that are not of one length, what `clock.simulate_systolic` refuses, and on a GPU
        arrays too large and operands that are not integers of 32 bits.
    """
    left, right = np.asarray(a), np.asarray(b)
    if left.ndim != 3 or right.ndim != 3 or len(left) != len(right):
        raise BitlatheError(
            f"a (T, M, K) and b (T, K, N) are needed, got {left.shape} and {right.shape}"
        )
    options: dict[str, Any] = {
        "pe": pe,
        "double_buffered_operand": double_buffered_operand,
        "drain_register": drain_register,
        "accumulator_buffer": accumulator_buffer,
    }
    if not on_cuda(device):
        pairs = zip(left, right, strict=True)
        return [simulate_systolic(x, y, rows, cols, dataflow, **options) for x, y in pairs]
    if not len(left):
        return []
    checked = [check_operands(x, y, pe) for x, y in zip(left, right, strict=True)]
    whole = checked[0][2].whole
    if whole is None:
        raise BitlatheError("device 'cuda': the arrays of the GPU take integers")
    sides = _narrow([x for x, _, _ in checked]), _narrow([y for _, y, _ in checked])
    registers = double_buffered_operand, drain_register, accumulator_buffer
    return _on_cuda(*sides, (rows, cols), dataflow, whole, registers)


def _narrow(matrices: list[NDArray[Any]]) -> NDArray[np.int32]:
    """Return a stack of int64 matrices as int32."""
    wide = np.stack(matrices)
    info = np.iinfo(np.int32)
    if int(wide.min()) < info.min or int(wide.max()) > info.max:
        raise BitlatheError("device 'cuda': the arrays of the GPU take operands of up to 32 bits")
    return wide.astype(np.int32)


def _on_cuda(
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    size: tuple[int, int],
    dataflow: str,
    whole: tuple[int, bool],
    registers: tuple[bool, bool, bool],
) -> list[SystolicRun]:
    """Run all products on the GPU and read the counters into records."""
    from ...cuda import systolic_kernels as kernels

    doubled, register, kept = registers
    shape = lay_out(left.shape[1], right.shape[2], left.shape[2], *size, dataflow)
    if shape.rows * shape.columns > kernels.MOST_PES:
        raise BitlatheError(
            f"device 'cuda': an array of {shape.rows} x {shape.columns} PEs is too large; up to "
            f"{kernels.MOST_PES} are right"
        )
    swapped = shape.dataflow.stationary == "input"
    if swapped:
        left, right = (np.ascontiguousarray(each.transpose(0, 2, 1)) for each in (right, left))
    out = np.zeros((len(left), left.shape[1], right.shape[2]), np.int64)
    counters = np.zeros((len(left), kernels.COUNTERS), np.int64)
    array = shape.rows, shape.columns
    run: Any = kernels.weights_stay
    options: Any = (doubled, kept)
    if shape.dataflow.stationary == "output":
        run, options = kernels.sums_stay, register
    run(left, right, array, whole, options, out, counters)
    return [_report(*each, swapped) for each in zip(out, counters, strict=True)]


def _report(out: NDArray[np.int64], counters: NDArray[np.int64], swapped: bool) -> SystolicRun:
    """Read the counters of one array; see `clock.SystolicRun`."""
    from ...cuda import systolic_kernels as kernels

    if counters[kernels.MISMATCH]:
        raise RuntimeError("operands of different K met in a PE: the array is out of step")
    count = [int(value) for value in counters]
    moving, fixed = count[kernels.READS_STREAM], count[kernels.READS_FIXED]
    return SystolicRun(
        outputs=np.ascontiguousarray(out.T) if swapped else out,
        cycles=count[kernels.CLOCK],
        macs=count[kernels.MACS],
        pe_updates=count[kernels.UPDATES],
        exposed_cycles=count[kernels.EXPOSED],
        sram_reads=OperandCounts(
            input=fixed if swapped else moving,
            weight=moving if swapped else fixed,
            output=count[kernels.READS_BACK],
        ),
        sram_writes=OperandCounts(input=0, weight=0, output=count[kernels.WRITES]),
    )
