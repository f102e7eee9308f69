"""Stimulus for PEs: groups of operands, directed ones first, then random ones from a seed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.pe import FLOAT_BITS, AntPE
from ..pe.mac import FLOAT_FORMATS
from ..pe.operands import ActivationKind

Int64Array = npt.NDArray[np.int64]


class Cut(NamedTuple):
    """How rows fall into groups: (rows,) flags of a group's first and last row, and its scale."""

    first: npt.NDArray[np.bool_]
    last: npt.NDArray[np.bool_]
    scale: Int64Array

    @property
    def starts(self) -> Int64Array:
        """First row of each group."""
        return np.flatnonzero(self.first)

    @property
    def sizes(self) -> Int64Array:
        """Rows of each group."""
        return np.flatnonzero(self.last) - self.starts + 1


def activation_patterns(
    kind: ActivationKind, count: int, rng: np.random.Generator
) -> tuple[Int64Array, npt.NDArray[np.float64]]:
    """Return patterns of finite activations, and their values.

    Parameters
    ----------
    kind : ActivationKind
    count : int
        How many.
    rng : numpy.random.Generator

    Returns
    -------
    patterns : (count,) ndarray of int64
    values : (count,) ndarray of float64
    """
    fraction_bits = kind.significand_bits - 1
    if not kind.exponent_bits:
        half = 1 << fraction_bits
        whole = rng.integers(-half, half, count)
        edges = rng.choice(np.array([-half, half - 1, 0, 1, -1]), count)
        whole = np.where(rng.random(count) < 0.25, edges, whole)
        return whole & (2 * half - 1), whole.astype(np.float64)
    # runs of 64 share a window of exponents, so that lanes overlap as well as miss each other
    top = kind.largest_exponent
    windows = -(-count // 64)
    least = rng.random(windows) < 0.1  # the smallest numbers among themselves
    center = np.repeat(np.where(least, 0, rng.integers(0, top + 1, windows)), 64)[:count]
    spread = rng.choice(np.array([1, 4, 12, top]), windows)
    width = np.repeat(np.where(least, 1, spread), 64)[:count]
    field = np.clip(center + np.rint(rng.uniform(-1, 1, count) * width), 0, top).astype(np.int64)
    fraction = rng.integers(0, 1 << fraction_bits, count)
    edges = rng.choice(np.array([0, 1, (1 << fraction_bits) - 1]), count)
    fraction = np.where(rng.random(count) < 0.3, edges, fraction)
    special = rng.random(count)
    field = np.where(special < 0.06, 0, field)  # subnormals
    fraction = np.where(special < 0.03, 0, fraction)  # and zeros
    field = np.where(special > 0.98, top, field)
    largest = round(kind.maximum * 2.0 ** (kind.offset - top)) - (1 << fraction_bits)
    fraction = np.where(field == top, np.minimum(fraction, largest), fraction)
    negative = rng.integers(0, 2, count)
    patterns = (negative << (kind.exponent_bits + fraction_bits)) | (field << fraction_bits)
    significand = fraction + (np.where(field > 0, 1, 0) << fraction_bits)
    values = np.ldexp(significand.astype(np.float64), np.maximum(field, 1) - kind.offset)
    return patterns | fraction, np.where(negative == 1, -values, values)


def integers(values: Int64Array, count: int, rng: np.random.Generator) -> Int64Array:
    """Return a choice of (n,) sorted values: any, the ends and zero often, zeros in runs."""
    chosen = rng.choice(values, count)
    ends = rng.choice(np.array([values[0], values[-1], 0]), count)
    chosen = np.where(rng.random(count) < 0.2, ends, chosen)
    runs = np.repeat(rng.random(-(-count // 16)) < 0.15, 16)[:count]
    return np.where(runs & (0 in values), 0, chosen).astype(np.int64)


def float_kind(name: str) -> ActivationKind:
    """Return the fields of a floating-point format, or of an integer weight port."""
    significand, lowest, largest = FLOAT_FORMATS[name]
    if name not in FLOAT_BITS:
        bits = significand + 1
        return ActivationKind(
            name=name, exponent_bits=0, significand_bits=bits, bias=0, maximum=largest + 1
        )
    exponent_bits = FLOAT_BITS[name] - significand
    bias = 1 - (significand - 1) - lowest
    return ActivationKind(
        name=name,
        exponent_bits=exponent_bits,
        significand_bits=significand,
        bias=bias,
        maximum=largest,
    )


def flint_bits(pe: AntPE) -> int:
    """Return the bits of a code of an ANT PE's format."""
    from ...datatypes.formats import catalogue

    bits: int = catalogue.element(pe.format).bits
    return bits


def pair_codes(shape: tuple[int, int], rng: np.random.Generator) -> Int64Array:
    """Return (n, K) codes of outlier-victim pairs, every fourth pair with an outlier."""
    codes = rng.integers(0, 16, shape)
    codes = np.where(codes == 8, 7, codes)
    pairs = codes[:, : shape[1] // 2 * 2].reshape(shape[0], -1, 2)
    outlier = rng.random(pairs.shape[:2]) < 0.25
    side = rng.integers(0, 2, pairs.shape[:2])
    code = rng.choice(np.array([*range(1, 8), *range(9, 16)]), pairs.shape[:2])
    for at in (0, 1):
        pairs[:, :, at] = np.where(outlier, np.where(side == at, 8, code), pairs[:, :, at])
    codes[:, : shape[1] // 2 * 2] = pairs.reshape(shape[0], -1)
    return codes


SIZES = (1, 2, 3, 4, 8, 12, 32, 40)


def cut(rows: int, scale_bits: int, rng: np.random.Generator) -> Cut:
    """Cut rows into groups of 1 to 40, the first of one; a scale for each group."""
    sizes, left = [1], rows - 1  # right after the reset, the shortest
    while left > 0:
        sizes.append(min(int(rng.choice(SIZES, p=[0.3] + [0.1] * 7)), left))
        left -= sizes[-1]
    last = np.zeros(rows, np.bool_)
    last[np.cumsum(sizes) - 1] = True
    scale = rng.integers(0, 1 << scale_bits, rows)
    scale = np.where(rng.random(rows) < 0.2, (1 << scale_bits) - 1, scale)
    return Cut(np.concatenate([[True], last[:-1]]), last, np.where(last, scale, 0))
