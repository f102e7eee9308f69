"""Rounding onto a finite sorted grid: the one place where ties are broken.

Every nearest mode is "count the midpoints below y", and the modes differ only in what a y that
*equals* a midpoint does. So a mode is a vector of booleans, one per midpoint (`tie_up`), and the
same vector drives the numpy path, the compiled kernels and the tests.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, check_name
from ..base.numbers import whole_number

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEAREST: Final = ("even", "away", "zero", "down", "up")
DIRECTED: Final = ("floor", "ceil", "truncate", "outward", "odd")
ROUNDINGS: Final = (*NEAREST, *DIRECTED, "stochastic")
OVERFLOWS: Final = ("saturate", "inf", "nan", "raise")
MIRRORED: Final = {"up": "down", "down": "up", "floor": "ceil", "ceil": "floor"}
NANS: Final = ("raise", "propagate")
SEED_MAX: Final = (1 << 63) - 1


def check_rounding(rounding: str, seed: int | None = None) -> None:
    """Refuse a rounding mode that does not exist, or an unusable seed.

    Raises
    ------
    BitlatheError
        Raised if `rounding` is not one of `ROUNDINGS`, if `seed` is not a whole number from 0, or
        if it is missing where ``stochastic`` needs it so that the result can be made again.
    """
    check_name("rounding mode", rounding, ROUNDINGS)
    if seed is not None:
        whole_number("seed", seed, 0, SEED_MAX)
    elif rounding == "stochastic":
        raise BitlatheError(
            "rounding='stochastic' needs a seed, so that the result can be made again: pass seed=0"
        )


def tie_goes_up(values: Floats, codes: Ints, rounding: str) -> Bools:
    """Return for each midpoint of neighboring values whether a tie goes to the upper one.

    Parameters
    ----------
    values : (n,) float64
        Distinct finite values, ascending.
    codes : (n,) int64
        Code of each value; ``even`` looks at its lowest bit. Where both neighbors are even or
        both odd (a special value put into a spare code) the tie goes toward zero.
    rounding : str
        One of ``even``, ``away``, ``zero``, ``down``, ``up``.

    Returns
    -------
    (n - 1,) bool
    """
    low, high = values[:-1], values[1:]
    smaller_is_high = np.abs(high) < np.abs(low)
    if rounding == "down":
        return np.zeros(low.shape, np.bool_)
    if rounding == "up":
        return np.ones(low.shape, np.bool_)
    if rounding == "zero":
        return smaller_is_high
    if rounding == "away":
        return np.asarray(~smaller_is_high)
    low_even, high_even = codes[:-1] % 2 == 0, codes[1:] % 2 == 0
    return np.asarray(np.where(low_even == high_even, smaller_is_high, high_even))


def nearest_index(y: Floats, midpoints: Floats, tie_up: Bools) -> Ints:
    """Return the index of the nearest value for each y, ties as `tie_up` says.

    Parameters
    ----------
    y : (...) float64
    midpoints : (n - 1,) float64
        As `numbers.half_way` returns them.
    tie_up : (n - 1,) bool
        False where the midpoint is not exact: no y lies on it.

    Returns
    -------
    (...) int64, in 0 .. n - 1
    """
    index = np.searchsorted(midpoints, y, side="left").astype(np.int64)
    if midpoints.size and bool(tie_up.any()):
        inside = np.minimum(index, midpoints.size - 1)
        index += (midpoints[inside] == y) & tie_up[inside]
    return index


def _bracket(y: Floats, values: Floats) -> tuple[Ints, Ints]:
    """Return the indices of the largest value <= y and of the smallest value >= y.

    Outside the grid both are the end of the grid.
    """
    last = values.size - 1
    low = np.clip(np.searchsorted(values, y, side="right") - 1, 0, last).astype(np.int64)
    high = np.clip(np.searchsorted(values, y, side="left"), 0, last).astype(np.int64)
    return low, high


def directed_index(y: Floats, values: Floats, codes: Ints, rounding: str) -> Ints:
    """Return the index after rounding to one side, or to the odd code.

    Parameters
    ----------
    y : (...) float64
    values : (n,) float64
        Distinct finite values, ascending.
    codes : (n,) int64
        Code of each value; ``odd`` looks at its lowest bit.
    rounding : str
        One of `DIRECTED`: ``floor`` (to the value below), ``ceil`` (above), ``truncate`` (toward
        zero), ``outward`` (away from zero), ``odd``.

    Returns
    -------
    (...) int64, in 0 .. n - 1
    """
    low, high = _bracket(y, values)
    if rounding == "floor":
        return low
    if rounding == "ceil":
        return high
    if rounding == "outward":
        return np.asarray(np.where(y < 0, low, high), np.int64)
    toward_zero = np.where(y < 0, high, low)
    if rounding == "truncate":
        return np.asarray(toward_zero, np.int64)
    low_odd, high_odd = codes[low] % 2 == 1, codes[high] % 2 == 1
    index = np.where(low_odd == high_odd, toward_zero, np.where(low_odd, low, high))
    return np.asarray(index, np.int64)


def draws_of(seed: int | None, shape: tuple[int, ...]) -> Floats:
    """Return the numbers in [0, 1) that stochastic rounding compares with; the same for a seed."""
    return np.random.default_rng(seed).random(shape)


def stochastic_index(y: Floats, values: Floats, seed: int | None) -> Ints:
    """Return the index after rounding up with probability (y - low) / (high - low).

    Parameters
    ----------
    y : (...) float64
    values : (n,) float64
        Distinct finite values, ascending.
    seed : int or None
        The same seed gives the same draw.

    Returns
    -------
    (...) int64, in 0 .. n - 1
    """
    low, high = _bracket(y, values)
    width = values[high] - values[low]
    share = np.where(width > 0, (y - values[low]) / np.where(width > 0, width, 1.0), 0.0)
    return np.asarray(np.where(draws_of(seed, y.shape) < share, high, low), np.int64)


def round_integer(y: Floats, rounding: str, seed: int | None = None) -> Floats:
    """Round to an unbounded grid of integers, whose even codes are the even integers.

    Parameters
    ----------
    y : (...) float64
    rounding : str
        One of `ROUNDINGS`.
    seed : int, optional
        For ``stochastic``.

    Returns
    -------
    (...) float64
    """
    if rounding == "even":
        return np.asarray(np.rint(y) + 0.0)  # -0.0 + 0.0 is 0.0
    low = np.floor(y)
    rest = y - low
    if rounding in DIRECTED:
        away = {
            "floor": np.zeros(y.shape, np.bool_),
            "ceil": np.ones(y.shape, np.bool_),
            "truncate": y < 0,
            "outward": y > 0,
            "odd": low % 2 == 0,
        }[rounding]
        return np.asarray(low + ((rest > 0) & away))
    if rounding == "stochastic":
        return np.asarray(low + (draws_of(seed, y.shape) < rest))
    tie = {
        "down": np.zeros(y.shape, np.bool_),
        "up": np.ones(y.shape, np.bool_),
        "zero": y < 0,
        "away": y > 0,
    }[rounding]
    return np.asarray(low + ((rest > 0.5) | ((rest == 0.5) & tie)))
