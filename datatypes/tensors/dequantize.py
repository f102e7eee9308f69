"""From codes to values: tables, zero points and scales by group.

Two paths give the same bits: numpy, and the compiled kernel for tensors that are worth it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from ..coding.coded import Coded, Floats
from ..coding.coder import Tables
from ..coding.coders import coder_of
from ..coding.levels import offsets_of, spread_columns
from ..coding.table import TABLE
from ..formats.grid import MAX_BITS
from ..schemes.patterns import bits_to_float
from .packing import MIN_SIZE

COMPILED = ("float32", "float64", "float16", "bfloat16")
THROUGH_HALF = ("float32", "float16")


def group_scales(coded: Coded) -> Floats:
    """Return the scales as used: (groups,), or (groups, planes) for sums of signed scales."""
    if coded.layout.groups == 0 and coded.scheme.scales_per_group == 1:
        return np.zeros(0, np.float32)
    return coder_of(coded.scheme).scales(coded)


def outer_scales(coded: Coded) -> NDArray[np.float32]:
    """Return the second-level scales that stored patterns stand for."""
    if coded.scheme.levels:
        return np.zeros(0, np.float32)
    if coded.scheme.scale_format.outer == "tensor":
        return coded.outer_scales.view(np.float32)
    return bits_to_float(coded.outer_scales, "fp16")


def values_of(coded: Coded, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of a tensor, in its shape.

    float64 is computed in float64, anything else in float32 and then rounded to `dtype`.
    """
    layout = coded.layout
    if _has_minima(coded, dtype):
        return layout.tensor(less_minima(coded, dtype))
    if fits(coded, dtype):
        return layout.tensor(compiled_values(coded, dtype))
    work = np.float64 if dtype == np.float64 else np.float32
    return layout.tensor(layout.join(group_values(coded, work))).astype(dtype, copy=False)


def _has_minima(coded: Coded, dtype: np.dtype[Any]) -> bool:
    """Return whether values are products, of which the kernel makes a tensor, less minima."""
    offset, rows = coded.scheme.offset, coded.scheme.granularity.rows
    own = offset is not None and offset.kind == "minimum" and rows == 1
    return own and dtype.name in COMPILED and coded.codes.size >= MIN_SIZE and have_numba()


def less_minima(coded: Coded, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the (rows, columns) values of a tensor with minima, products by the kernel."""
    work = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    minima = offsets_of(coded)
    assert minima is not None
    products = TABLE.tables(coded, group_scales(coded), work)
    with np.errstate(over="ignore", invalid="ignore"):
        values = _by_kernel(coded, products, work)
        values -= spread_columns(coded.layout, minima)
        return values.astype(dtype, copy=False)


def fits(coded: Coded, dtype: np.dtype[Any], min_size: int = MIN_SIZE) -> bool:
    """Return whether the compiled kernel can be used, and is worth compiling."""
    known = THROUGH_HALF if coder_of(coded.scheme).through_half else COMPILED
    tables = coder_of(coded.scheme).has_tables and coded.scheme.element_bits <= MAX_BITS
    return tables and dtype.name in known and coded.codes.size >= max(min_size, 1) and have_numba()


def group_values(coded: Coded, dtype: Any) -> Floats:
    """Return the (groups, block size) values, one rounding to `dtype` each, by numpy."""
    codes, kind = coded.layout.split(coded.codes), np.dtype(dtype)
    if coded.layout.groups == 0:
        return np.zeros(codes.shape, kind)
    coder = coder_of(coded.scheme)
    # what rounds up beyond the largest number of `dtype` is infinite there
    with np.errstate(over="ignore"):
        values = coder.values(coded, codes, group_scales(coded), kind)
        return values.astype(np.float16).astype(kind) if coder.through_half else values


def tables_of(coded: Coded, dtype: np.dtype[Any]) -> Tables:
    """Return a tensor's tables, scales, choices and zero points."""
    return coder_of(coded.scheme).tables(coded, group_scales(coded), dtype)


def compiled_values(coded: Coded, dtype: np.dtype[Any], threads: int | None = None) -> NDArray[Any]:
    """Return the (rows, columns) values by the compiled kernel."""
    found = tables_of(coded, np.dtype(np.float64 if dtype == np.float64 else np.float32))
    return _by_kernel(coded, found, dtype, threads)


def _by_kernel(
    coded: Coded, found: Tables, dtype: np.dtype[Any], threads: int | None = None
) -> NDArray[Any]:
    from ..kernels.streams.dequantize import dequantize

    return dequantize(
        coded.codes,
        found.tables,
        found.scales,
        coded.layout.block_columns,
        block_rows=max(coded.layout.block_rows, 1),
        choices=found.choices,
        zeros=found.zeros,
        pairs=found.pairs,
        dtype=dtype,
        through_half=coder_of(coded.scheme).through_half,
        threads=threads,
    )
