"""Runs of the MACs: sums of products with idle clocks between, and what they must show."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arch.pe import FLOAT_BITS, AntPE, FpMacPE, IntMacPE, OlivePE
from ..pe.mac import ant_dot, float_format, fp_mac_dot, int_mac_dot, olive_dot
from .expected import Case, by_size
from .rows import Events, Int64Array
from .stimulus import (
    Cut,
    activation_patterns,
    cut,
    flint_bits,
    float_kind,
    integers,
    pair_codes,
)

MAC_CLOCKS = 1  # from operands to their registered sum
Results = Callable[[Int64Array], tuple[Int64Array, ...]]
Floats = npt.NDArray[np.float64]


def mac_case(
    groups: Cut, ports: Mapping[str, Int64Array], run: Results, rng: np.random.Generator
) -> Case:
    """Return a run whose rows are offered one a clock, but for idle clocks here and there.

    Parameters
    ----------
    groups : Cut
        How the rows fall into sums.
    ports : mapping of str to (rows, ...) array of int
        Operands by input port.
    run : callable
        Sums by the (n, size) rows of n groups of one size.
    rng : numpy.random.Generator
    """
    rows = len(groups.first)
    sums = by_size(groups, run)
    when = np.cumsum(rng.random(rows) < 0.1) + np.arange(rows)
    wide = {"in_first": groups.first, "in_last": groups.last, **ports}
    # what lies at the ports of an idle clock is of any other row, and must not matter
    other = rng.integers(0, rows, int(when[-1]) + 1)
    fields: dict[str, Any] = {"in_valid": np.isin(np.arange(other.size), when)}
    for name, each in wide.items():
        fields[name] = each[other].astype(np.int64)
        fields[name][when] = each
    clock = when[groups.last] + MAC_CLOCKS
    return Case(fields, int(clock[-1]) + 2, {"sum_valid": Events(clock, sums)})


def _integers(bits: int, shape: tuple[int, int], rng: np.random.Generator) -> Int64Array:
    half = 1 << (bits - 1)
    return integers(np.arange(-half, half), shape[0] * shape[1], rng).reshape(shape)


def _lines(array: npt.NDArray[Any], index: Int64Array) -> npt.NDArray[Any]:
    """Return the rows of (n, size) groups as (n, size * lanes) operands of dot products."""
    return array[index].reshape(len(index), -1)


def int_mac_case(pe: IntMacPE, rows: int, seed: int) -> Case:
    """Return a run of an integer MAC."""
    rng = np.random.default_rng(seed)
    groups, shape = cut(rows, 1, rng), (rows, pe.lanes)
    acts, weights = (_integers(bits, shape, rng) for bits in (pe.activation_bits, pe.weight_bits))
    return mac_case(
        groups,
        {"activations": acts, "weights": weights},
        lambda index: (int_mac_dot(_lines(acts, index), _lines(weights, index), pe),),
        rng,
    )


def ant_case(pe: AntPE, rows: int, seed: int) -> Case:
    """Return a run of a flint decoder and its MAC."""
    rng = np.random.default_rng(seed)
    groups, shape = cut(rows, 1, rng), (rows, pe.lanes)
    acts = _integers(pe.mac.activation_bits, shape, rng)
    codes = rng.integers(0, 1 << flint_bits(pe), shape)
    return mac_case(
        groups,
        {"activations": acts, "codes": codes},
        lambda index: (ant_dot(_lines(acts, index), _lines(codes, index), pe),),
        rng,
    )


def olive_case(pe: OlivePE, rows: int, seed: int) -> Case:
    """Return a run of a pair decoder and its MAC; pairs start with their group."""
    rng = np.random.default_rng(seed)
    groups, shape = cut(rows, 1, rng), (rows, pe.lanes)
    acts = _integers(pe.mac.activation_bits, shape, rng)
    codes, partners = np.zeros(rows * pe.lanes, np.int64), np.zeros(rows * pe.lanes, np.int64)
    for start, size in zip(groups.starts.tolist(), groups.sizes.tolist(), strict=True):
        count = size * pe.lanes
        part = slice(start * pe.lanes, start * pe.lanes + count)
        codes[part] = pair_codes((1, count), rng)[0]
        padded = np.append(codes[part], [0] * (count % 2))  # the last one may be alone
        partners[part] = padded.reshape(-1, 2)[:, ::-1].reshape(-1)[:count]
    codes, partners = codes.reshape(shape), partners.reshape(shape)
    return mac_case(
        groups,
        {"activations": acts, "codes": codes, "partners": partners},
        lambda index: (olive_dot(_lines(acts, index), _lines(codes, index), pe),),
        rng,
    )


def float_events(values: Floats, name: str) -> tuple[Int64Array, ...]:
    """Return (n,) numbers of a format as patterns, infinity and NaN also as flags.

    Patterns of infinity and NaN are those that `float_pack` makes in any format.

    Parameters
    ----------
    values : (n,) ndarray of float64
    name : str
        Floating-point format.
    """
    bits, lowest, _ = float_format(name)
    exponent_bits = FLOAT_BITS[name] - bits
    finite = np.where(np.isfinite(values), values, 0.0)
    place = np.maximum(np.frexp(finite)[1] - bits, lowest)
    significand = np.ldexp(np.abs(finite), -place).astype(np.int64)
    normal = significand >> (bits - 1) == 1
    field = np.where(normal, place - lowest + 1, 0)
    pattern = (field << (bits - 1)) | (significand & ((1 << (bits - 1)) - 1))
    infinite, nan = np.isinf(values), np.isnan(values)
    largest_field = ((1 << exponent_bits) - 1) << (bits - 1)
    pattern = np.where(infinite | nan, largest_field, pattern)
    pattern = np.where(nan, pattern | 1 << (bits - 2), pattern)
    negative = (values < 0).astype(np.int64) << (FLOAT_BITS[name] - 1)
    return pattern | negative, infinite.astype(np.int64), nan.astype(np.int64)


def float_patterns(
    name: str, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Int64Array, Floats]:
    """Return patterns and values of a port of a floating-point MAC.

    Parameters
    ----------
    name : str
        Format; integer ports lack the lowest integer.
    shape : (int, int)
    rng : numpy.random.Generator

    Returns
    -------
    patterns, values : shape ndarrays of int64 and float64
    """
    kind = float_kind(name)
    patterns, values = activation_patterns(kind, shape[0] * shape[1], rng)
    if name not in FLOAT_BITS:  # symmetric ports lack the lowest integer
        low = -(1 << (kind.significand_bits - 1))
        patterns = np.where(values == low, (low + 1) & (-low * 2 - 1), patterns)
        values = np.where(values == low, low + 1, values)
    return patterns.reshape(shape), values.reshape(shape)


def fp_mac_case(pe: FpMacPE, rows: int, seed: int) -> Case:
    """Return a run of a floating-point MAC."""
    rng = np.random.default_rng(seed)
    groups, shape = cut(rows, 1, rng), (rows, pe.lanes)
    acts, a = float_patterns(pe.activation, shape, rng)
    weights, w = float_patterns(pe.weight, shape, rng)

    def run(index: Int64Array) -> tuple[Int64Array, ...]:
        sums = fp_mac_dot(_lines(a, index), _lines(w, index), pe)
        return float_events(sums, pe.accumulator)

    return mac_case(groups, {"activations": acts, "weights": weights}, run, rng)
