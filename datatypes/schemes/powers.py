"""Exponents of powers of two for scales, from ``frexp``: exact at every power of two.

A floating-point logarithm is wrong just below powers of two.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.grid import Grid

Floats = NDArray[np.floating[Any]]


def exponent_of(x: Floats) -> NDArray[np.int64]:
    """Return floor(log2(x)) of (...) x > 0, exactly; 0 gives -1."""
    return np.asarray(np.frexp(x)[1], np.int64) - 1


def ocp_exponent(amax: Floats, grid: Grid, rule: str) -> NDArray[np.int64]:
    """Return the shared exponent of a block under a named E8M0 rule.

    Parameters
    ----------
    amax : (groups,) float
        Largest magnitude of each block.
    grid : Grid
    rule : str
        ``floor``: that of amax less the format's own (OCP MX v1.0, 6.3). ``ceil``: rounded up to
        a power of two. ``even``: amax rounded half up to the format's mantissa first. ``rceil``:
        the least exponent at which nothing clips.

    Returns
    -------
    (groups,) int64
    """
    mantissa, exponent = np.frexp(amax)
    own_mantissa, own_exponent = np.frexp(grid.max_abs)
    found = exponent.astype(np.int64) - int(own_exponent)
    if rule == "rceil":
        return np.asarray(found + (mantissa > own_mantissa))
    if rule == "ceil":
        return np.asarray(found + (mantissa > 0.5))
    if rule == "even":
        return np.asarray(found + (2 * mantissa >= 2 - 2.0 ** -(grid.top_mantissa_bits + 1)))
    return np.asarray(found)


def power_of_two(real: Floats, rule: str) -> NDArray[np.int64]:
    """Return the exponent of (groups,) real scales rounded in the log domain.

    The rules are ``floor``, ``ceil`` and ``nearest``, which splits at sqrt(2).
    """
    mantissa, exponent = np.frexp(real)
    lower = exponent.astype(np.int64) - 1
    up = {
        "floor": np.zeros(real.shape, np.bool_),
        "ceil": mantissa > 0.5,
        "nearest": mantissa >= np.sqrt(0.5),
    }[rule]
    return np.asarray(lower + up)
