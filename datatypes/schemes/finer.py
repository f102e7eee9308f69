"""What elements stand for that are stored finer than their codes: those of M2XFP and MX+."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..formats.constructors import float_format
from ..formats.format import Format

MORE_BITS: Final = 2  # of a refined element of M2XFP


def finer(fmt: Format) -> Format:
    """Return the format with two mantissa bits more, whose codes are four times as fine."""
    mantissa = fmt.grid.top_mantissa_bits
    return float_format(fmt.bits - 1 - mantissa, mantissa + MORE_BITS)


def last_code(fmt: Format) -> int:
    """Return the code of the largest magnitude that a refined element may have."""
    return 4 * int(fmt.grid.codes[-1]) + 2  # of the largest value, which has no sign


def top_power(fmt: Format) -> float:
    """Return the power of two of a format's largest binade."""
    return float(2.0 ** (np.frexp(fmt.max)[1] - 1))


def refined_values(fmt: Format) -> NDArray[np.float64]:
    """Return every value of an element of M2XFP's activations, (n,), in units of the scale."""
    sizes = finer(fmt).values[: last_code(fmt) + 1]
    return np.unique(np.concatenate([sizes, -sizes]))


def plus_values(fmt: Format) -> NDArray[np.float64]:
    """Return every value of an element of MX+, (n,), in units of the scale.

    The largest of a block has all bits but the sign below the leading one.
    """
    steps = 1 << (fmt.bits - 1)
    sizes = top_power(fmt) * (1 + np.arange(steps) / steps)
    return np.unique(np.concatenate([fmt.grid.values, sizes, -sizes]))
