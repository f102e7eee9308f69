"""Codes of large arrays by the compiled kernels: the same as `casts` finds by search.

The grid, never its name, decides which kernel fits; the result is None where no kernel does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from .finite import all_finite
from .grid import MAX_BITS, Grid
from .rounding import NEAREST, draws_of

Codes = NDArray[np.uint8]

# smaller arrays are done before a kernel would be compiled
MIN_SIZE = 1 << 16
NARROW = ("float16", "bfloat16", "float32")
# of the kernel of small floats
LARGEST = 2.0**100
# values of a row, where an array is handed over as a matrix
ROW = 1 << 12


def encode(
    grid: Grid,
    x: Any,
    rounding: str,
    overflow: str,
    seed: int | None = None,
    min_size: int = MIN_SIZE,
) -> Any:
    """Return the codes of a finite array, beyond the grid those of its ends; None without a kernel.

    Parameters
    ----------
    grid : Grid
    x : object
        Coded only if it is a float array of `min_size` elements or more.
    rounding, overflow : str
        See `Format.encode`; nearest and stochastic rounding that saturate are compiled, nothing
        else.
    seed : int, optional
        For ``stochastic``.
    min_size : int
        Smallest number of elements for which a kernel is compiled.

    Returns
    -------
    unsigned integers of the shape of x, or None
    """
    fits = (
        isinstance(x, np.ndarray)
        and (x.dtype.name in NARROW or x.dtype == np.float64)
        and x.dtype.isnative
        and x.size >= max(min_size, 1)
        and rounding in (*NEAREST, "stochastic")
        and overflow == "saturate"
        and have_numba()
    )
    fits = fits and (rounding == "even" or grid.bits <= MAX_BITS)
    if fits and (rounding == "stochastic" or grid.thresholds is not None):
        return _bisected(grid, x, rounding, seed) if all_finite(x) else None
    parameters = grid.float_parameters if fits and rounding == "even" else None
    if parameters in WIDE:
        return WIDE[parameters](x, grid.max) if all_finite(x) else None
    if not fits or grid.bits > 8:
        return None
    bare = grid.unsigned_float_parameters if rounding == "even" else None
    if grid.max >= LARGEST:
        parameters = bare = None
    if x.dtype != np.float64:
        single = np.ascontiguousarray(x, np.float32)
    elif parameters or bare:
        single = to_odd(x)
    else:
        return None
    return _small(grid, single, rounding, parameters, bare) if all_finite(single) else None


def _small(
    grid: Grid,
    single: NDArray[np.float32],
    rounding: str,
    signed: tuple[int, int, int] | None,
    bare: tuple[int, int, int] | None,
) -> Any:
    """Return codes of at most 8 bits, by arithmetic for floats whose facts are given."""
    from .. import kernels  # loaded on use: casts of small arrays need none

    if bare is not None:
        return kernels.encode_float(np.where(single > 0, single, np.float32(0)), *bare, grid.max)
    if signed is not None:
        return kernels.encode_float(single, *signed, grid.max)
    return _nearest(grid, single, rounding)


def to_odd(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round (...) float64 to float32, to the odd neighbor where it is between two.

    Rounding that to a float of at most 22 digits gives the same as rounding once. NaN and
    infinity stay what they are.
    """
    with np.errstate(over="ignore"):
        near = x.astype(np.float32)
    wide = near.astype(np.float64)
    bits = near.view(np.uint32)
    bits -= np.abs(wide) > np.abs(x)
    bits |= (wide != x) & np.isfinite(x)
    return near


def _half(x: NDArray[Any], largest: float) -> NDArray[np.uint16]:
    """Return the bits of float16; numpy rounds float64 to it in one step."""
    half: NDArray[np.float16] = np.clip(x, -largest, largest).astype(np.float16)
    return half.view(np.uint16)


def _bfloat16(x: NDArray[Any], largest: float) -> NDArray[np.uint16]:
    """Return the bits of bfloat16, ties to even."""
    single = to_odd(x) if x.dtype == np.float64 else x.astype(np.float32)
    bits = np.clip(single, np.float32(-largest), np.float32(largest)).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    bits += np.uint32(0x7FFF)
    bits += odd
    return (bits >> np.uint32(16)).astype(np.uint16)


def _single(x: NDArray[Any], largest: float) -> NDArray[np.uint32]:
    """Return the bits of float32; numpy rounds float64 to it in one step."""
    cut = np.clip(x, -largest, largest) if x.dtype == np.float64 else x
    return cut.astype(np.float32).view(np.uint32)


# by (exponent bits, mantissa bits, bias)
WIDE = {(5, 10, 15): _half, (8, 7, 127): _bfloat16, (8, 23, 127): _single}


def _nearest(grid: Grid, x: NDArray[np.float32], rounding: str) -> Codes:
    """Return the codes of the nearest values, the cuts between them compared one by one."""
    from .. import kernels

    books = (grid.book(rounding),)
    flat = x.reshape(-1)
    out = np.empty(flat.size, np.uint8)
    whole = flat.size // ROW * ROW
    for a, b, width in ((0, whole, ROW), (whole, flat.size, flat.size - whole)):
        if a < b:
            part = flat[a:b].reshape(-1, width)
            ones, first = np.ones((len(part), 1), np.float32), np.zeros((len(part), 1), np.uint8)
            found = kernels.codebooks_given(part, books, width, ones, first, values=False)
            out[a:b] = found.codes.reshape(-1)
    return out.reshape(x.shape)


def _bisected(grid: Grid, x: NDArray[Any], rounding: str, seed: int | None) -> NDArray[Any]:
    """Return codes found by bisection: of drawn values, of a grid with thresholds of its own.

    The draws are those of `rounding.stochastic_index`.
    """
    from ..kernels.base.threads import on_rows
    from ..kernels.streams.drawn import draw, part

    y = np.ascontiguousarray(x, np.float64 if x.dtype == np.float64 else np.float32).reshape(-1)
    out = np.empty(y.size, grid.code_dtype)
    minus = -1 if grid.negative_zero is None else grid.negative_zero
    shared = (grid.values, grid.codes.astype(grid.code_dtype), minus)
    if rounding == "stochastic":
        on_rows(draw, (y, draws_of(seed, y.shape), out), shared, 1)
    else:
        on_rows(part, (y, out), (grid.midpoints, grid.tie_up(rounding), *shared), 1)
    return out.reshape(x.shape)


def decode(grid: Grid, codes: NDArray[Any], dtype: np.dtype[Any], min_size: int = MIN_SIZE) -> Any:
    """Return the values of codes as floats; None if no kernel fits.

    Parameters
    ----------
    grid : Grid
    codes : (...) unsigned integers
        Within the table.
    dtype : numpy dtype
        Of the result; float32 and float64 are compiled.
    min_size : int
        Smallest number of elements for which a kernel is compiled.
    """
    large = codes.size >= max(min_size, 1) and grid.bits <= MAX_BITS
    if not large or codes.dtype != grid.code_dtype or not have_numba():
        return None
    if dtype not in (np.float32, np.float64):
        return None
    from ..kernels.streams.dequantize import dequantize  # numba is imported on use

    width = codes.size if codes.size % ROW else ROW
    matrix = codes.reshape(-1, width)
    found = dequantize(
        matrix, grid.by_code[None], np.ones(1), width, block_rows=len(matrix), dtype=dtype
    )
    return found.reshape(codes.shape)
