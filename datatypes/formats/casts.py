"""Values to codes and back on a grid, under named rules of rounding, overflow and NaN.

A search among the values of a grid; `fast_casts` gives the same codes of large arrays faster.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.arrays import as_float
from ..base.dtypes import is_torch
from ..base.errors import BitlatheError, check_name
from . import fast_casts
from . import rounding as rd
from .finite import refuse_nonfinite
from .grid import Grid

Codes = NDArray[np.unsignedinteger[Any]]


def encode(
    grid: Grid,
    x: ArrayLike,
    rounding: str = "even",
    overflow: str = "saturate",
    nan: str = "raise",
    seed: int | None = None,
    name: str = "grid",
) -> Codes:
    """Return the codes of the values nearest to an array.

    Parameters
    ----------
    grid : Grid
    x : (...) array_like, real
    rounding, overflow, nan, seed
        See `Format.encode`.
    name : str
        What errors call the grid.

    Returns
    -------
    (...) unsigned integers, of `Grid.code_dtype`

    Raises
    ------
    BitlatheError
        See `Format.encode`.
    """
    rd.check_rounding(rounding, seed)
    check_name("overflow rule", overflow, rd.OVERFLOWS)
    check_name("nan rule", nan, rd.NANS)
    compiled = fast_casts.encode(grid, x, rounding, overflow, seed)
    if compiled is not None:
        return np.asarray(compiled)
    y = _as_float64(x, name)
    finite = np.isfinite(y)
    if nan == "raise":
        refuse_nonfinite(y, name)
    safe = np.where(np.isnan(y), grid.min, y)
    codes = grid.codes_of(safe, rounding, seed)
    if overflow != "saturate":
        codes = _overflowed(grid, safe, codes, rounding, overflow, name)
    if not finite.all():
        bad = np.isnan(y)
        codes = np.where(bad, _nan_codes_for(grid, y, name), codes) if bad.any() else codes
    return np.asarray(codes.astype(grid.code_dtype))[()]


def decode(grid: Grid, codes: ArrayLike, dtype: np.dtype[Any], name: str = "grid") -> NDArray[Any]:
    """Return the values of codes.

    Parameters
    ----------
    grid : Grid
    codes : (...) array_like of int
    dtype : numpy dtype
        Of the result, a float.
    name : str
        What errors call the grid.

    Raises
    ------
    BitlatheError
        Raised if a code is outside the table.
    """
    c = checked_codes(grid, codes, name)
    compiled = fast_casts.decode(grid, c, dtype)
    if compiled is not None:
        return np.asarray(compiled)
    return grid.values_of(c, dtype)[()]


def checked_codes(grid: Grid, codes: ArrayLike, name: str = "grid") -> NDArray[Any]:
    """Return (...) codes as an array.

    Raises
    ------
    BitlatheError
        Raised if one is not an integer, or is outside the table.
    """
    top = (1 << grid.bits) - 1
    try:
        c = np.asarray(codes)
    except (TypeError, ValueError):
        c = np.asarray(None)
    if c.size and c.dtype.kind not in "iu":
        raise BitlatheError(
            f"format {name!r}: codes must be integers 0..{top}, got "
            f"{type(codes).__name__ if c.dtype.kind == 'O' else c.dtype}"
        )
    if c.size and (c.min() < 0 or c.max() > top):
        raise BitlatheError(
            f"format {name!r}: codes must be integers 0..{top}, got {c.dtype} from "
            f"{c.min()} to {c.max()}"
        )
    return c


def _overflowed(
    grid: Grid,
    y: NDArray[np.float64],
    codes: NDArray[np.int64],
    rounding: str,
    overflow: str,
    name: str,
) -> NDArray[np.int64]:
    """Return codes in which those of values beyond the grid follow the overflow rule."""
    above, below = grid.above(y, rounding), grid.below(y, rounding)
    if not (above.any() or below.any()):
        return codes
    if overflow == "raise":
        where = np.unravel_index(int(np.argmax(above | below)), y.shape)
        raise BitlatheError(
            f"format {name!r}: {y[where]} at index {tuple(int(i) for i in where)} is "
            f'beyond {grid.min:g}..{grid.max:g}; scale it, or pass overflow="saturate"'
        )
    if overflow == "nan":
        return np.where(above | below, _nan_codes_for(grid, y, name), codes)
    signs = grid.values_of(np.array(grid.inf_codes, np.int64), np.dtype(np.float64))
    plus = [c for c, v in zip(grid.inf_codes, signs, strict=True) if v > 0]
    minus = [c for c, v in zip(grid.inf_codes, signs, strict=True) if v < 0]
    if (above.any() and not plus) or (below.any() and not minus):
        raise BitlatheError(
            f'format {name!r} has no infinity for overflow="inf"; use "saturate"'
            + (', or "nan"' if grid.nan_codes else "")
        )
    codes = np.where(above, plus[0] if plus else 0, codes)
    return np.where(below, minus[0] if minus else 0, codes)


def _nan_codes_for(grid: Grid, y: NDArray[np.float64], name: str) -> NDArray[np.int64]:
    """Return the NaN code with the sign of each y (the quiet one of all ones if any)."""
    if grid.quiet_nans is None:
        raise BitlatheError(
            f'format {name!r} has no NaN: clean the input, or choose overflow="saturate"'
        )
    plus, minus = grid.quiet_nans
    return np.where(np.signbit(y), minus, plus).astype(np.int64)


def _as_float64(x: Any, name: str) -> NDArray[np.float64]:
    if is_torch(x):
        return as_float(x, f"format {name!r}")[0].astype(np.float64)
    try:
        a = np.asarray(x)
        if a.dtype.kind in "USc":
            raise TypeError
        return a.astype(np.float64)
    except (TypeError, ValueError):
        kind = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise BitlatheError(f"format {name!r}: numbers expected, got {kind}") from None
