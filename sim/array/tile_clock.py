"""A bit-serial tile array clock by clock: terms enter, sums are rescaled, results drain.

The PEs compute in the arithmetic of `bitlathe.sim.pe`: for every group the mantissa and exponent
are those of `bitserial_dot` on the same operands, bit for bit.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...datatypes.errors import BitlatheError
from ..pe.bit_serial import kernel_parameters
from ..pe.numerics import PENumerics, numerics_of
from ..pe.operands import ActivationKind, activation_kind, split_activations
from ..pe.weights import WeightDecoder, weight_decoder
from .systolic_model import OperandCounts
from .tile_model import SCOPES, TileArray


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
        PE clocks of issue with a term and without: the loss to synchronisation and zero chunks.
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
    """Return which terms of each weight are not zero, for `tile_model.group_clocks`.

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
        if array.ndim != 2:
            raise BitlatheError(f"{name} must be a matrix, not an array of shape {array.shape}")
        if 0 in array.shape:
            raise BitlatheError(f"{name} is empty: its shape is {array.shape}")
    if a.shape[1] != w.shape[1]:
        raise BitlatheError(
            f"activations of shape {a.shape} and weights of shape {w.shape}: both need K columns"
        )
    return a, w


def _scales(
    scales: ArrayLike | None, n: int, groups: int, array: TileArray
) -> tuple[NDArray[np.int64], int]:
    """Return (N, groups) scales and the bits the rescale unit takes for them."""
    if scales is None:
        return np.ones((n, groups), np.int64), array.rescale_cycles
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
    return np.ascontiguousarray(given, dtype=np.int64), array.rescale_cycles


def _check_exact(
    exponent: NDArray[np.int32],
    significand: NDArray[np.int32],
    decoder: WeightDecoder,
    size: int,
    scale: int,
    lowest: int,
) -> None:
    """Refuse exact sums that could pass the 62 bits of the simulator."""
    span = int(exponent.max()) - lowest
    largest = int(np.abs(significand).max()) * int(np.abs(decoder.grid).max()) * size * scale
    if largest << span >= 1 << 62:
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

    Returns
    -------
    TileRun

    Raises
    ------
    BitlatheError
        Operands, scales or options that do not fit.
    """
    from . import tile_kernels as kernels

    acts, wts = _matrices(activations, weights)
    rules, kind = numerics_of(numerics), activation_kind(activation)
    decoder = _decoder(format)
    if array.skip_zero_terms and array.scope == "lane" and not rules.exact:
        raise BitlatheError(
            "lanes that run alone (scope='lane') do not share a significance, which the PE's "
            f"{rules.name!r} adder needs; use scope='row', 'column' or 'array', or numerics='exact'"
        )
    exponent, significand = split_activations(acts, kind)
    rows = np.ascontiguousarray(decoder.rows(wts))
    (m, k), n = exponent.shape, rows.shape[0]
    groups, size, _ = array.groups_of(k)
    scale, bits = _scales(scales, n, groups, array)
    lowest = 1 if kind.exponent_bits else 0
    if rules.exact:
        top = (1 << bits) - 1 if scales is not None else 1
        _check_exact(exponent, significand, decoder, size, max(top, 1), lowest)
        parameters: tuple[int, ...] = (0,) * 9
    else:
        parameters = kernel_parameters(rules, kind, array.lanes, max(decoder.schedule.bsig))
    R, C, lanes = array.rows, array.cols, array.lanes
    pipe = np.full((array.pipeline_cycles, R, C, lanes), -1, np.int64)
    end_tag = np.full((array.pipeline_cycles + 1, 2), -1, np.int64)
    end_tag[-1] = 0
    position, mask = (np.zeros((R, C, lanes), np.int64) for _ in range(2))
    registers = [np.zeros((R, C), np.int64) for _ in range(5)]
    out_man, out_exp = (np.zeros((m, n, groups), np.int64) for _ in range(2))
    control = np.zeros(kernels.CONTROL_SLOTS, np.int64)
    run: Any = kernels.run_tile_array
    run(
        np.ascontiguousarray(exponent),
        np.ascontiguousarray(significand),
        rows,
        scale,
        decoder.exp,
        decoder.man,
        np.array(decoder.schedule.bsig, np.int64),
        lanes,
        size,
        bits,
        array.group_gap,
        array.drain_register,
        SCOPES.index(array.scope),
        array.skip_zero_terms,
        array.skip_zero_activations,
        rules.exact,
        lowest,
        parameters,
        pipe,
        end_tag,
        position,
        mask,
        *registers,
        out_man,
        out_exp,
        control,
    )
    if rules.exact:
        out_exp[:] = lowest + rules.guard_bits
    count = [int(v) for v in control]
    return TileRun(
        mantissa=out_man,
        exponent=out_exp,
        outputs=_add_groups(out_man, out_exp - kind.offset - rules.guard_bits, rules.exact),
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
