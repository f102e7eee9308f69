"""A bit-serial tile array clock by clock: terms enter, sums are rescaled, results drain.

The PEs compute in the arithmetic of `bitlathe.sim.pe`: for every group the mantissa and exponent
are those of `bitserial_dot` on the same operands, bit for bit.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....arch.numerics import PENumerics, numerics_of
from ....datatypes.base.errors import BitlatheError
from ...pe.bit_serial import kernel_parameters, term_exponents
from ...pe.operands import ActivationKind, activation_kind, split_activations
from ...pe.weights import WeightDecoder, weight_decoder
from ..clocks import EventSink, detail_level, run_clocks
from ..counts import OperandCounts, check_matrix
from .model import SCOPES, TileArray

if TYPE_CHECKING:
    from .kernels import Operands, Setup, State


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRun:
    """What the array did.

    Attributes
    ----------
    mantissa, exponent : (M, N, groups) ndarray of int64
        Sum of every group times its scale, as it leaves the rescale unit.
    outputs : (M, N) ndarray of float64
        Groups added in order, each sum rounded to float32 unless the numerics are exact; in
        units of the weight grid.
    cycles, issue_cycles, stall_cycles : int
        All clocks; those in which terms enter; those in which the pipeline stands still.
    busy_pe_cycles, waiting_pe_cycles : int
        PE clocks of issue with a term and without: the loss to synchronization and zero chunks.
    """

    mantissa: NDArray[np.int64]
    exponent: NDArray[np.int64]
    outputs: NDArray[np.float64]
    cycles: int
    issue_cycles: int
    stall_cycles: int
    busy_pe_cycles: int
    waiting_pe_cycles: int
    sram_reads: OperandCounts
    sram_writes: OperandCounts


@lru_cache(maxsize=64)
def _decoder(format: str) -> WeightDecoder:
    """Return the decoder of a named format; making one takes longer than a small tile."""
    return weight_decoder(format)


def nonzero_terms(weights: ArrayLike, format: str) -> NDArray[np.bool_]:
    """Return which terms of each weight are not zero, for `model.group_clocks`.

    Parameters
    ----------
    weights : (N, K) array_like of int
        Integers on the PE's grid, as `bitserial_dot` takes them.
    format : str
        Weight format.

    Returns
    -------
    (N, K, terms) ndarray of bool
    """
    decoder = _decoder(format)
    return np.asarray(decoder.man[decoder.rows(weights)] != 0)


def _matrices(activations: ArrayLike, weights: ArrayLike) -> tuple[NDArray[np.generic], ...]:
    """Return (M, K) activations and (N, K) weights, or say which shape is wrong."""
    a, w = np.asarray(activations), np.asarray(weights)
    for name, array in (("activations", a), ("weights", w)):
        check_matrix(name, array)
    if a.shape[1] != w.shape[1]:
        raise BitlatheError(
            f"activations of shape {a.shape} and weights of shape {w.shape}: both need K columns"
        )
    return a, w


def _scales(scales: ArrayLike | None, n: int, groups: int, array: TileArray) -> NDArray[np.int64]:
    """Return (N, groups) scales, ones where none are given."""
    if scales is None:
        return np.ones((n, groups), np.int64)
    given = np.asarray(scales)
    if given.shape != (n, groups) or given.dtype.kind not in "iu":
        raise BitlatheError(
            f"scales must be integers of shape ({n}, {groups}), one per output and group; "
            f"got {given.dtype} of shape {given.shape}"
        )
    top = (1 << array.rescale_cycles) - 1
    if array.rescale_cycles == 0:
        raise BitlatheError("scales need a rescale unit; rescale_cycles is 0")
    if given.min() < 0 or given.max() > top:
        raise BitlatheError(
            f"scales must be in 0..{top}, the {array.rescale_cycles} bits of rescale_cycles; "
            f"they reach from {given.min()} to {given.max()}"
        )
    return np.ascontiguousarray(given, dtype=np.int64)


def _check_exact(
    operands: "Operands", decoder: WeightDecoder, array: TileArray, lowest: int, scaled: bool
) -> None:
    """Refuse exact sums that could pass the 62 bits of the simulator."""
    size = array.groups_of(operands.exponent.shape[1])[1]
    scale = max((1 << array.rescale_cycles) - 1, 1) if scaled else 1
    span = int(operands.exponent.max()) - lowest
    reach = int(np.abs(operands.significand).max()) * int(np.abs(decoder.grid).max())
    if reach * size * scale << span >= 1 << 62:
        raise BitlatheError(
            "exact sums of these operands could pass 62 bits; use shorter groups, activations of "
            "smaller range, or numerics='aligned'"
        )


def simulate_tile_array(
    activations: ArrayLike,
    weights: ArrayLike,
    array: TileArray,
    format: str = "int8",
    numerics: str | PENumerics = "aligned",
    *,
    scales: ArrayLike | None = None,
    activation: str | ActivationKind = "fp16",
    sink: EventSink | None = None,
    detail: str = "edges",
) -> TileRun:
    """Multiply ``activations @ weights.T`` on a bit-serial tile array, clock by clock.

    Parameters
    ----------
    activations : (M, K) array_like
        Values of the activation format.
    weights : (N, K) array_like of int
        Integers on the PE's grid (`bitserial_dot`).
    array : TileArray
    format : str
        Weight format; it sets the terms.
    numerics : str or PENumerics
        Arithmetic of the PEs. With ``scope="lane"`` and skipping the lanes of a PE work on
        different significances, which only ``"exact"`` can add.
    scales : (N, groups) array_like of int, optional
        Unsigned scales of ``array.rescale_cycles`` bits; ones by default.
    activation : str
        Activation format.
    sink : callable, optional
        Gets the clock-stamped events in blocks of bounded size; `tile.trace` names them.
    detail : {"edges", "pes"}
        Events at the array's edges and stalls only, or also every PE's terms, waits and rescaling.

    Returns
    -------
    TileRun

    Raises
    ------
    BitlatheError
        Operands, scales or options that do not fit.
    """
    rules, kind = numerics_of(numerics), activation_kind(activation)
    if array.skip_zero_terms and array.scope == "lane" and not rules.exact:
        raise BitlatheError(
            "lanes that run alone (scope='lane') do not share a significance, which the PE's "
            f"{rules.name!r} adder needs; use scope='row', 'column' or 'array', or numerics='exact'"
        )
    level = detail_level(detail, sink)
    decoder = _decoder(format)
    operands = _operands(activations, weights, scales, array, kind, decoder, rules)
    lowest = 1 if kind.exponent_bits else 0
    if rules.exact:
        _check_exact(operands, decoder, array, lowest, scales is not None)
        parameters: tuple[int, ...] = (0,) * 9
    else:
        parameters = kernel_parameters(rules, kind, array.lanes, max(decoder.schedule.bsig))
    setup = _setup(array, operands, rules.exact, lowest, parameters)
    state, control = _advance_to_the_end(operands, setup, array, level, sink)
    if rules.exact:
        state.out_exp[:] = lowest + rules.guard_bits
    return _report(state, control, kind.offset + rules.guard_bits, rules.exact)


def _operands(
    activations: ArrayLike,
    weights: ArrayLike,
    scales: ArrayLike | None,
    array: TileArray,
    kind: ActivationKind,
    decoder: WeightDecoder,
    rules: PENumerics,
) -> "Operands":
    """Check the operands and split them as the PEs take them."""
    from .kernels import Operands

    acts, wts = _matrices(activations, weights)
    exponent, significand = split_activations(acts, kind)
    rows = np.ascontiguousarray(decoder.rows(wts))
    return Operands(
        exponent=np.ascontiguousarray(exponent),
        significand=np.ascontiguousarray(significand),
        weight=rows,
        scale=_scales(scales, rows.shape[0], array.groups_of(rows.shape[1])[0], array),
        term_exp=term_exponents(decoder, rules),
        man=decoder.man,
        bsig=np.array(decoder.schedule.bsig, np.int64),
        needed=((decoder.man != 0) | (not array.skip_zero_terms)) @ _term_bits(decoder),
    )


def _term_bits(decoder: WeightDecoder) -> NDArray[np.int64]:
    """Return bit t for each term t of a weight."""
    return 1 << np.arange(decoder.man.shape[1], dtype=np.int64)


def _setup(
    array: TileArray,
    operands: "Operands",
    exact: bool,
    lowest: int,
    parameters: tuple[int, ...],
) -> "Setup":
    """Return the sizes and options of an array as the kernel takes them."""
    from .kernels import Setup

    (tokens, inputs), (channels, groups) = operands.exponent.shape, operands.scale.shape
    return Setup(
        tokens=tokens,
        channels=channels,
        inputs=inputs,
        groups=groups,
        rows=array.rows,
        columns=array.cols,
        lanes=array.lanes,
        size=array.groups_of(inputs)[1],
        bits=array.rescale_cycles,
        gap=array.group_gap,
        register=array.drain_register,
        scope=SCOPES.index(array.scope),
        skip_zero=array.skip_zero_activations,
        idle=0 if array.skip_zero_terms else (1 << operands.man.shape[1]) - 1,
        exact=exact,
        lowest=lowest,
        parameters=parameters,
    )


def _registers(array: TileArray, m: int, n: int, groups: int) -> "State":
    """Return the cleared registers of an array, and room for its results."""
    from .kernels import State

    size, depth = (array.rows, array.cols), array.pipeline_cycles
    width = array.lanes if array.scope == "lane" else 1
    position, mask = np.zeros((2, *size, width), np.int64)
    acc_man, acc_exp, unit_man, unit_exp, product = np.zeros((5, *size), np.int64)
    return State(
        pipe=np.full((depth, *size, width), -1, np.int64),
        ends=np.full((depth, 2), -1, np.int64),
        position=position,
        mask=mask,
        row_read=np.zeros(array.rows, np.int64),
        column_read=np.zeros(array.cols, np.int64),
        acc_man=acc_man,
        acc_exp=acc_exp,
        unit_man=unit_man,
        unit_exp=unit_exp,
        product=product,
        out_man=np.zeros((m, n, groups), np.int64),
        out_exp=np.zeros((m, n, groups), np.int64),
    )


def _advance_to_the_end(
    operands: "Operands", setup: "Setup", array: TileArray, level: int, sink: EventSink | None
) -> tuple["State", NDArray[np.int64]]:
    """Make the registers of the array and run it; return them and its counters."""
    from . import kernels

    state = _registers(array, setup.tokens, setup.channels, setup.groups)
    control = np.zeros(kernels.CONTROL_SLOTS, np.int64)
    step: Any = kernels.advance_tile_array

    def advance(events: NDArray[np.int64]) -> int:
        return int(step(operands, setup, state, control, events, level))

    per_clock = (array.rows + 1) * (array.cols + 1) * (array.lanes + 1)
    run_clocks(advance, control, kernels.DONE_ALL, per_clock, sink)
    return state, control


def _report(state: "State", control: NDArray[np.int64], offset: int, exact: bool) -> TileRun:
    """Read results and counters into a record."""
    from . import kernels

    count = [int(v) for v in control]
    return TileRun(
        mantissa=state.out_man,
        exponent=state.out_exp,
        outputs=_add_groups(state.out_man, state.out_exp - offset, exact),
        cycles=count[kernels.CLOCK],
        issue_cycles=count[kernels.ISSUE],
        stall_cycles=count[kernels.STALL],
        busy_pe_cycles=count[kernels.BUSY],
        waiting_pe_cycles=count[kernels.IDLE],
        sram_reads=OperandCounts(
            input=count[kernels.READS_A], weight=count[kernels.READS_W], output=0
        ),
        sram_writes=OperandCounts(input=0, weight=0, output=count[kernels.WRITES]),
    )


def _add_groups(
    mantissa: NDArray[np.int64], exponent: NDArray[np.int64], exact: bool
) -> NDArray[np.float64]:
    """Add the groups in order, as the columns' accumulators do."""
    total = np.zeros(mantissa.shape[:2])
    for g in range(mantissa.shape[2]):
        total = total + np.ldexp(mantissa[:, :, g].astype(np.float64), exponent[:, :, g])
        if not exact:
            total = total.astype(np.float32).astype(np.float64)
    return total
