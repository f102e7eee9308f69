"""Numbers: whole ones in range, exact quotients rounded up, the middle of neighboring floats."""

import math
import operator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BitlatheError, shown

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# between these, sums and halves of float64 neither over- nor underflow
_LEAST, _LARGEST = 2.0**-1000, 2.0**1000


def whole_number(what: str, value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number in range as a Python int.

    Parameters
    ----------
    what : str
        What errors call it.
    value : int or numpy integer
        Booleans and floats are refused, whole ones too.
    low, high : int
        Bounds, both included; without `high` there is no upper one.

    Raises
    ------
    BitlatheError
        Naming the value and the bounds.

    Examples
    --------
    >>> whole_number("rows", np.int64(3), 1)
    3
    """
    if type(value) is int and low <= value and (high is None or value <= high):
        return value
    is_whole = hasattr(value, "__index__") and not isinstance(value, bool | np.bool_)
    try:
        number = operator.index(value) if is_whole else low - 1
    except TypeError:  # an array of several, or of floats
        number = low - 1
    if number < low or (high is not None and number > high):
        bounds = f"{low}..{high}" if high is not None else f"of at least {low}"
        raise BitlatheError(f"{what} is {shown(value)}, must be a whole number {bounds}")
    return number


def share_of(share: float, total: int, *, up: bool = False) -> int:
    """Return a share of a number, rounded down or up; within what floats lose of a whole one, it.

    Parameters
    ----------
    share : float
        0 to 1.
    total : int
    up : bool

    Examples
    --------
    >>> share_of(0.07, 100, up=True), share_of(0.29, 100), share_of(0.011, 100, up=True)
    (7, 29, 2)
    """
    found = share * total
    near = round(found)
    if abs(found - near) <= found * 2.0**-48:
        return near
    return math.ceil(found) if up else math.floor(found)


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up.

    Examples
    --------
    >>> ceil_div(7, 2), ceil_div(8, 2)
    (4, 4)
    """
    return -(-a // b)


def units_of(count: int, bits: Fraction, unit_bits: int = 8) -> int:
    """Return the bytes (units of ``unit_bits``) that ``count`` elements of ``bits`` bits fill.

    Examples
    --------
    >>> units_of(3, Fraction(17, 4)), units_of(3, Fraction(17, 4), 1)
    (2, 13)
    """
    return -(-count * bits.numerator // (bits.denominator * unit_bits))


def half_way(values: Floats) -> tuple[Floats, Bools]:
    """Return where the exact middle of neighboring values lies among float64 numbers.

    A float64 y is above the middle where ``y > midpoints``, and on it where ``y == midpoints`` and
    `exact`: comparisons with the exact middle, also where float64 cannot hold it.

    Parameters
    ----------
    values : (n,) float64
        Finite, ascending.

    Returns
    -------
    midpoints : (n - 1,) float64
        The largest float64 at most half-way between neighbors.
    exact : (n - 1,) bool
        Whether that is half-way itself.

    Examples
    --------
    >>> half_way(np.array([0.0, 1.0, 1.0 + 2.0**-52]))[1].tolist()
    [True, False]
    """
    low, high = np.asarray(values[:-1], np.float64), np.asarray(values[1:], np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        # Knuth's exact sum: low + high = total + rest
        total = low + high
        from_high = total - low
        rest = (low - (total - from_high)) + (high - from_high)
        near = total / 2
        midpoints = np.where(rest < 0, np.nextafter(near, -np.inf), near)
    exact = rest == 0
    sizes = np.abs([low, high])
    extreme = (sizes.max(axis=0) > _LARGEST) | (np.abs(total) < _LEAST)
    for at in np.flatnonzero(extreme & (total != 0)):
        midpoints[at], exact[at] = _fraction_floor((Fraction(low[at]) + Fraction(high[at])) / 2)
    return midpoints, exact


def _fraction_floor(middle: Fraction) -> tuple[float, bool]:
    """Return the largest float64 at most a fraction, and whether it is that."""
    near = float(middle)
    if Fraction(near) > middle:
        near = float(np.nextafter(near, -np.inf))
    return near, Fraction(near) == middle
