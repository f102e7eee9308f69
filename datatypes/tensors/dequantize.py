"""From a quantised tensor to its values: tables, zero points and scales by group.

Two paths give the same bits: numpy, and the compiled kernel for tensors that are worth it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from ..coding.asym import integer_values
from ..coding.bcq import plane_values, planes_effective
from ..coding.grid import MIN_SIZE
from ..coding.job import grid_values
from ..coding.olive import pair_values
from ..coding.scaling import bits_to_float, effective

if TYPE_CHECKING:
    from ..schemes.scheme import Scheme
    from .tensor import QuantizedTensor

Floats = NDArray[np.floating[Any]]

COMPILED = ("float32", "float64", "float16", "bfloat16")


def group_scales(q: "QuantizedTensor") -> Floats:
    """Return the scales as used: (groups,), or (groups, planes) for sums of signed scales."""
    scheme = q.scheme
    if scheme.coder == "bcq":
        return planes_effective(q.raw, scheme)
    if q.layout.groups == 0:
        return np.zeros(0, np.float32)
    raw = q.raw[:, 0]
    if scheme.coder == "dgq":
        return raw.astype(np.float32) * np.repeat(bits_to_float(q.outer, "fp16"), q.layout.across)
    return effective(raw, q.outer, scheme.formats[0], scheme.scale_format, q.layout)


def values_of(q: "QuantizedTensor", dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of a tensor, in its shape.

    float64 is worked out in float64, anything else in float32 and rounded to `dtype` then.
    """
    if fits(q, dtype):
        return q.layout.tensor(compiled_values(q, dtype))
    work = np.float64 if dtype == np.float64 else np.float32
    return q.layout.tensor(q.layout.join(group_values(q, work))).astype(dtype, copy=False)


def fits(q: "QuantizedTensor", dtype: np.dtype[Any], min_size: int = MIN_SIZE) -> bool:
    """Say whether the compiled kernel can be used, and is worth compiling."""
    through_half = ("float32", "float16")
    known = through_half if q.scheme.paper else COMPILED
    return dtype.name in known and q.size >= max(min_size, 1) and have_numba()


def group_values(q: "QuantizedTensor", dtype: Any) -> Floats:
    """Return the (groups, block size) values, one rounding to `dtype` each, by numpy."""
    codes, kind = q.layout.split(q.matrix), np.dtype(dtype)
    if q.layout.groups == 0:
        return np.zeros(codes.shape, kind)
    # what rounds up beyond the largest number of `dtype` is infinite there
    with np.errstate(over="ignore"):
        return _by_numpy(q, codes, kind)


def _by_numpy(q: "QuantizedTensor", codes: NDArray[Any], kind: np.dtype[Any]) -> Floats:
    scheme = q.scheme
    scale = group_scales(q)
    if scheme.coder == "bcq":
        return np.asarray(plane_values(codes, scale).astype(kind))
    if q.zero_points is not None:
        values = integer_values(codes, q.zero_points, scale, kind)
    elif scheme.coder == "olive":
        values = pair_values(codes, scheme.element_bits).astype(kind) * scale.astype(kind)[:, None]
    elif q.selectors is None:
        values = grid_values(scheme.formats[0], codes, scale, kind)
    else:
        index = q.selectors.astype(np.uint32) << np.uint32(scheme.element_bits)
        whole = _grids(scheme, kind).reshape(-1)[codes | index[:, None]]
        values = whole * scale.astype(kind)[:, None]
    if scheme.paper:
        values = values.astype(np.float16).astype(kind)
    return np.asarray(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What `kernels.dequantise.dequantize` wants to know of a tensor; see there."""

    tables: Floats
    scales: Floats
    choices: NDArray[Any] | None = None
    zeros: NDArray[Any] | None = None
    pairs: bool = False


def tables_of(q: "QuantizedTensor", kind: Any) -> Tables:
    """Return a tensor's tables, scales, choices and zero points."""
    scheme, scale = q.scheme, group_scales(q)
    count = 1 << scheme.element_bits
    if scheme.coder == "bcq":
        # a table for each group: the sums of its own signed scales
        every = np.broadcast_to(np.arange(count, dtype=np.uint8), (q.layout.groups, count))
        return Tables(
            tables=plane_values(every, scale).astype(kind),
            scales=np.ones(q.layout.groups, kind),
            choices=np.arange(q.layout.groups),
        )
    if q.zero_points is not None:
        whole = np.arange(count, dtype=kind)[None]
        return Tables(tables=whole, scales=scale, zeros=q.zero_points)
    if scheme.coder == "olive":
        here, beside = np.meshgrid(*2 * [np.arange(count, dtype=np.uint8)])
        both = np.stack([here.reshape(-1), beside.reshape(-1)], axis=1)
        # the neighbour only says what an element stands for: which of the two comes first is one
        return Tables(
            tables=pair_values(both, scheme.element_bits)[None, :, 0].astype(kind),
            scales=scale,
            pairs=True,
        )
    return Tables(tables=_grids(scheme, kind), scales=scale, choices=q.selectors)


def compiled_values(
    q: "QuantizedTensor", dtype: np.dtype[Any], threads: int | None = None
) -> NDArray[Any]:
    """Return the (rows, columns) values by the compiled kernel."""
    from ..kernels.streams.dequantize import dequantize

    found = tables_of(q, np.float64 if dtype == np.float64 else np.float32)
    return dequantize(
        q.matrix,
        found.tables,
        found.scales,
        q.layout.block_columns,
        block_rows=max(q.layout.block_rows, 1),
        choices=found.choices,
        zeros=found.zeros,
        pairs=found.pairs,
        dtype=dtype,
        through_half=q.scheme.paper,
        threads=threads,
    )


def _grids(scheme: "Scheme", kind: Any) -> Floats:
    return np.stack([f.values.astype(kind) for f in scheme.formats])
