"""The ends of the range: values that come back as infinity, scales that lose their digits.

Where a scheme loses more than the format's own rounding does, a warning names the group and what
would help. Scales that overflow are refused before (`schemes.scale_format.ScaleFormat.store`).
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..coding.coded import Coded
from ..coding.coders import coder_of
from ..coding.levels import offsets_of
from ..schemes.levels import parents
from ..schemes.patterns import LAYOUTS
from ..schemes.scales import BIAS, IntScale, PlaneScale
from ..schemes.scheme import Scheme
from .dequantize import group_scales, outer_scales, values_of

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

# what rounds to infinity in the type that values come back in
BEYOND = {
    "float16": LAYOUTS["fp16"].limit,
    "bfloat16": LAYOUTS["bf16"].limit,
    "float32": LAYOUTS["fp32"].limit,
    "float64": np.inf,
}
# the ends of float32's magnitudes
FP32 = np.array([2.0**-149, LAYOUTS["fp32"].max])
# patterns below these are multiples of the smallest number
NORMAL = {"fp16": 1 << 10, "bf16": 1 << 7, "fp32": 1 << 23}
# rounding a scale of so few multiples may change it by a quarter ...
FEW = 2
# ... and of so many to a step of the grid may move the end of a group by three steps
STEPS = 6
# under a scale of the tensor from here on, no block has a subnormal one: E4M3 starts at 2^-9
FAR = 2.0**-110
# sums of powers of two whose first has a field up to this lack terms, or are 0
PLANE_FIELD = 3


def check_ends(coded: Coded, array: Floats, dtype: str, device: str | None, explicit: bool) -> None:
    """Warn of values that come back as infinity, and of what small scales and cuts lose.

    Parameters
    ----------
    coded : Coded
    array : (...) float, of the tensor's shape
        What was quantized; finite.
    dtype : str
        Of the tensor as it was given.
    device : str or None
        Torch device it came from: to torch, values come back in their own dtype.
    explicit : bool
        Whether the user chose what elements beyond a grid without scales become.

    Raises
    ------
    BitlatheError
        Raised if the scales of two levels together are infinite; names the group.
    """
    if coded.layout.groups == 0 or coded.scheme.paper:
        return
    if not coded.scheme.scale_format.bits:
        if not explicit:
            _warn_of_cut(coded.scheme, array)
        return
    work = "float64" if dtype == "float64" else "float32"
    _look_for_infinities(coded, array, np.dtype(work), dtype if device else work)
    _look_for_lost_digits(coded, array, np.dtype(work))


def near_ends(coded: Coded, dtype: str, device: str | None) -> bool:
    """Return whether `check_ends` has to look at a tensor's elements, in its words.

    Parameters
    ----------
    coded : Coded
    dtype : str
    device : str or None
    """
    if not coded.scheme.scale_format.bits:
        return True
    name = dtype if device else "float32"
    return 2 * _largest_value(coded) >= BEYOND[name] or bool(_small_scales(coded).any())


def _look_for_infinities(coded: Coded, array: Floats, work: np.dtype[Any], name: str) -> None:
    """Look for values beyond the type, of that name, that they come back in."""
    with np.errstate(over="ignore", invalid="ignore"):
        # twice, as products are rounded
        if 2 * _largest_value(coded) < BEYOND[name]:
            return
        scales = np.abs(group_scales(coded).reshape(coded.layout.groups, -1)).max(axis=1)
        lost = _groups(coded, ~(np.abs(values_of(coded, work)) < BEYOND[name])).any(axis=1)
    if not lost.any():
        return
    at = int(np.argmax(lost))
    top = float(np.abs(_groups(coded, array)[at]).max())
    what = f"{coded.scheme}: group {at}, up to {top:g}, comes back as infinity in {name}"
    if np.isinf(scales[at]):
        raise BitlatheError(f"{what}; divide the tensor by a constant first")
    wider = "float32" if name in ("float16", "bfloat16") else "float64"
    _warn(f"{what}; take dequantize({wider!r}), or divide the tensor by a constant first")


def _largest_value(coded: Coded) -> float:
    """Return a bound of the magnitudes of all values."""
    reach = coder_of(coded.scheme).ends(coded.scheme)[0]
    offset, beside = coded.scheme.offset, offsets_of(coded)
    if offset is None or beside is None:
        return _largest_scale(coded) * reach
    most = float(np.abs(beside).max())
    if offset.kind == "zero":
        return _largest_scale(coded) * (reach + most)
    return _largest_scale(coded) * reach + most


def _level_bounds(coded: Coded) -> tuple[float, float]:
    """Return what no positive scale of nested levels is below, and none is above."""
    levels = coded.scheme.levels
    last = coded.upper_scales[-1] if coded.upper_scales else coded.scales
    top = np.abs(levels[-1].decode(last).astype(np.float64))
    grids = [level.format.grid.values if level.format else FP32 for level in levels[:-1]]
    sizes = [np.abs(values[values != 0]) for values in grids]
    least = float(np.min(top, where=top > 0, initial=np.inf))
    most = float(top.max())
    for size in sizes:
        least, most = least * float(size.min()), most * float(size.max())
    return least, most


def _small_level_scales(coded: Coded) -> Bools:
    """Return which groups' scales of nested levels are at the lower end of what is stored."""
    levels, layout = coded.scheme.levels, coded.layout
    small = np.zeros(layout.groups, np.bool_)
    if _level_bounds(coded)[0] < FAR:
        small |= np.abs(group_scales(coded)) < FAR
    last = coded.upper_scales[-1] if coded.upper_scales else coded.scales[:, 0]
    top = np.abs(levels[-1].decode(last))
    fmt = levels[-1].format
    least = FP32[0] if fmt is None else fmt.smallest_subnormal
    if (low := top <= FEW * least).any():
        first, outer = levels[0].granularity, levels[-1].granularity
        small |= low[parents(first, outer, layout.rows, layout.columns)]
    return small


def _largest_scale(coded: Coded) -> float:
    """Return a bound of the scales of all groups, from the largest of their patterns."""
    coder, outer = coder_of(coded.scheme), coded.scheme.scale_format.outer
    if coded.scheme.levels:
        return _level_bounds(coded)[1]
    if coded.scheme.scales_per_group > 1:
        return float(np.abs(group_scales(coded)).max())
    if outer == "row":
        steps = float(coded.scales.max()) if coder.outer_is_step else 1.0
        return steps * float(outer_scales(coded).max())
    top = coded.scales.max(axis=0, keepdims=True)  # patterns of positive numbers order as they do
    return float(coder.scales(replace(coded, scales=top))[0])


def _look_for_lost_digits(coded: Coded, array: Floats, work: np.dtype[Any]) -> None:
    index = np.flatnonzero(_small_scales(coded))
    if not index.size:
        return
    x = _groups(coded, array)[index]
    amax = np.abs(x).max(axis=1).astype(np.float64)
    lossy = amax > 0
    if coded.scheme.scale_format.power:
        # under a larger scale than wanted, the upper half of the grid is not used
        lossy &= amax <= coded.scheme.formats[0].max_abs * 2.0 ** (-BIAS - 1)
    if coded.scheme.levels:
        used = np.abs(group_scales(coded)[index]).astype(np.float64)
        reach = used * max(f.max_abs for f in coded.scheme.formats)
        lossy &= (2 * amax <= reach) | (used < FAR)
    if lossy.any():
        lossy &= (_groups(coded, values_of(coded, work))[index] != x).any(axis=1)
    if not lossy.any():
        return
    at, more = int(index[np.argmax(lossy)]), int(lossy.sum()) - 1
    stored = float(np.abs(group_scales(coded)[at]).max())
    also = f", and of {more} more," if more else ""
    where, remedy = _where_stored(coded.scheme)
    _warn(
        f"{coded.scheme}: the scale of group {at}{also} underflows in {where}: stored as "
        f"{stored:.3g}, it costs the group's values digits or all; {remedy}multiply the tensor by "
        "a constant first"
    )


def _small_scales(coded: Coded) -> Bools:
    """Return which groups have a scale that may have lost digits; among them those of zeros."""
    coder, scale, raw = coder_of(coded.scheme), coded.scheme.scale_format, coded.scales
    if coded.scheme.levels:
        return _small_level_scales(coded)
    if scale.power:
        return np.asarray(raw[:, 0] == 0)
    if isinstance(scale, PlaneScale):
        return np.asarray((raw & 127).max(axis=1) <= PLANE_FIELD)
    name, pattern = scale.name, raw[:, 0]
    if scale.outer == "row":
        name, pattern = "fp16", np.repeat(coded.outer_scales, coded.layout.across)
    elif scale.outer == "tensor":
        if outer_scales(coded)[0] >= FAR:
            return np.zeros(len(raw), np.bool_)
        # the block's own scale makes up for digits that that of the tensor lacks
        name, pattern = "fp32", np.ascontiguousarray(group_scales(coded)).view(np.uint32)
    planes = coded.scheme.scales_per_group > 1  # signed scales, 0 among them
    if planes:
        pattern = (raw & (0x7FFFFFFF if name == "fp32" else 0x7FFF)).max(axis=1)
    few = min(max(FEW, coder.ends(coded.scheme)[1] / STEPS), NORMAL[name] - 1)
    # the product of two levels may be 0
    small = (pattern <= few) & ((pattern > 0) | planes | (scale.outer == "tensor"))
    if isinstance(scale, IntScale):
        # as many multiples of the row's unit as it takes make up for digits that the unit lacks
        most = np.inf if coder.outer_is_step else scale.levels
        small &= (raw[:, 0] <= few) | (raw[:, 0] >= most)
    return np.asarray(small)


def _where_stored(scheme: Scheme) -> tuple[str, str]:
    """Return where a scale of a scheme is stored, and which formats would reach smaller ones."""
    scale = scheme.scale_format
    if scheme.levels:
        return scheme.levels[-1].name, ""
    where = {"row": "the fp16 scale of its row", "tensor": "float32"}.get(scale.outer, scale.name)
    wider = {"fp32": "", "bf16": "/fp32"}.get(scale.name, "/bf16 or /fp32")
    if coder_of(scheme).outer_is_step or scale.power or scale.outer == "tensor":
        wider = ""
    return where, f"store scales as {wider}, or " if wider else ""


def _warn_of_cut(scheme: Scheme, array: Floats) -> None:
    formats = scheme.formats
    low, high = min(f.min for f in formats), max(f.max for f in formats)
    if not array.size or (float(array.min()) >= low and float(array.max()) <= high):
        return
    cut = np.logical_and.reduce([f.grid.overflows(array) for f in formats])
    if cut.any():
        at = np.unravel_index(int(np.argmax(cut)), array.shape)
        _warn(
            f"{scheme}: {int(cut.sum())} value(s) lie beyond {low:g}..{high:g} and were cut to "
            f"that, the first is {array[at]:g} at index {tuple(int(i) for i in at)}; divide the "
            "tensor, take a scheme with scales, or pass overflow='saturate'"
        )


def _groups(coded: Coded, x: NDArray[Any]) -> NDArray[Any]:
    """Return the (groups, block size) elements of an array of the tensor's shape."""
    return coded.layout.split(coded.layout.matrix(x))


def _warn(message: str) -> None:
    """Warn at the place that called `quantize`."""
    warnings.warn(message, stacklevel=5)
