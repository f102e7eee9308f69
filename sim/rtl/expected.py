"""What hardware must show, computed by the bit rung: every output, and the clock it is there in."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.pe import BitSerialPE
from ..pe.bit_serial import bitserial_dot
from ..pe.operands import activation_kind
from ..pe.rescale import PIPELINE_CLOCKS, rescale
from ..pe.weights import weight_decoder
from .bit_serial import Weight
from .rows import Events, Int64Array
from .stimulus import Cut, activation_patterns, cut, integers


class Case(NamedTuple):
    """A run of a design: fields of its input ports by row, clocks to run, events that must be."""

    fields: Mapping[str, npt.ArrayLike]
    clocks: int
    expected: Mapping[str, Events]


def by_size(groups: Cut, run: Callable[[Int64Array], tuple[Int64Array, ...]]) -> Int64Array:
    """Return (groups, results); ``run`` takes the (n, size) rows of n groups of one size."""
    found: list[tuple[Int64Array, tuple[Int64Array, ...]]] = []
    for size in np.unique(groups.sizes).tolist():
        which = np.flatnonzero(groups.sizes == size)
        found.append((which, run(groups.starts[which][:, None] + np.arange(size))))
    out = np.zeros((len(groups.starts), len(found[0][1])), np.int64)
    for which, columns in found:
        out[which] = np.stack(columns, axis=1)
    return out


def handed_over(issue_clocks: Int64Array, unit_clocks: int, gap_clocks: int) -> Int64Array:
    """Return the clock at which each group's sum is handed to the rescale unit.

    ``h_i = max(h_{i-1} + T_i + gap, h_{i-1} + unit)``, ``h_0 = T_0 + pipeline``: the recursion of
    `sim.array.tile.model.tile_cycles` for one PE.

    Parameters
    ----------
    issue_clocks : (groups,) ndarray of int64
        Clocks in which a group's terms enter.
    unit_clocks, gap_clocks : int
        Clocks of the rescale unit, and between groups.
    """
    apart = np.maximum(issue_clocks + gap_clocks, unit_clocks)
    apart[0] = issue_clocks[0] + PIPELINE_CLOCKS
    return np.cumsum(apart)


LOWEST = np.array([-8188, -8188, -7, -0.75], np.float16)  # its sum rounds to -2^14


def _to_the_lowest(
    pe: BitSerialPE, groups: Cut, operands: tuple[Int64Array, npt.NDArray[np.float64], Int64Array]
) -> None:
    """Bring a group to the lowest mantissa of 15 bits, -2^14, which rounding alone reaches.

    Chunks of zeros follow, which must leave it as it is.
    """
    patterns, acts, weights = operands
    long = np.flatnonzero(groups.sizes > len(LOWEST))
    if pe.activation != "fp16" or pe.numerics.accumulator_bits != 15 or not len(long):
        return
    first, size = groups.starts[long[0]], groups.sizes[long[0]]
    rows = slice(first, first + len(LOWEST))
    weights[first : first + size] = 0
    weights[rows, 0] = 1
    patterns[rows, 0], acts[rows, 0] = LOWEST.view(np.uint16), LOWEST


def bit_serial_case(pe: BitSerialPE, weight: Weight, rows: int, seed: int) -> Case:
    """Return groups of chunks for a bit-serial PE, and what it must show.

    Parameters
    ----------
    pe : BitSerialPE
    weight : str, Format or Mixture
        Weight format.
    rows : int
        Chunks.
    seed : int
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    kind, decoder = activation_kind(pe.activation), weight_decoder(weight)
    groups = cut(rows, max(pe.scale_bits, 1), rng)
    patterns, values = activation_patterns(kind, rows * pe.lanes, rng)
    weights = integers(decoder.grid[decoder.valid], rows * pe.lanes, rng).reshape(rows, -1)
    acts, patterns = values.reshape(rows, -1), patterns.reshape(rows, -1)
    _to_the_lowest(pe, groups, (patterns, acts, weights))

    def run(index: Int64Array) -> tuple[Int64Array, ...]:
        dot = bitserial_dot(
            acts[index].reshape(len(index), -1),
            weights[index].reshape(len(index), -1),
            weight,
            pe.numerics,
            lanes=pe.lanes,
            activation=pe.activation,
            skip_zero_terms=pe.skip_zero_terms,
        )
        return dot.mantissa, dot.exponent, dot.cycles

    mantissa, exponent, issue = by_size(groups, run).T
    idle = ~groups.first & (rng.random(rows) < 0.05)  # nothing is offered before these rows
    waits = np.add.reduceat(idle.astype(np.int64), groups.starts)
    clock = handed_over(issue + waits, pe.scale_bits, pe.group_gap)
    expected = {"sum_valid": Events(clock, np.stack([mantissa, exponent], axis=1))}
    if pe.scale_bits:
        scaled = rescale(mantissa, groups.scale[groups.last], pe.scale_bits)
        values_of = np.stack([scaled, exponent], axis=1)
        expected["scaled_valid"] = Events(clock + pe.scale_bits, values_of)
    given = {
        "in_first": groups.first,
        "in_last": groups.last,
        "weights": weights,
        "activations": patterns,
        "scale": groups.scale,
    }
    # what lies at the ports of an idle clock is of any other row, and must not matter
    when = np.arange(rows) + np.cumsum(idle)
    other = rng.integers(0, rows, int(when[-1]) + 1)
    fields: dict[str, Any] = {"in_valid": np.isin(np.arange(other.size), when)}
    for name, each in given.items():
        fields[name] = each[other].astype(np.int64)
        fields[name][when] = each
    return Case(fields, int(clock[-1]) + pe.scale_bits + 4, expected)
