"""NaN and infinity carried through quantization: what becomes NaN for them.

The finest grain that can express it: an element where there are no scales and the format has a
NaN, the group by its scale, the row of groups by its second-level scale.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..schemes.levels import parents
from ..schemes.scheme import Scheme
from .coded import Coded


def grain(scheme: Scheme) -> str:
    """Return what becomes NaN together: ``element``, ``group``, ``row`` or ``level``.

    With nested scales that is a group of the innermost level whose format has a NaN.

    Raises
    ------
    BitlatheError
        Raised if the scheme cannot express a NaN.
    """
    if scheme.levels:
        if all(level.nan_pattern is None for level in scheme.levels):
            raise BitlatheError(
                f'nan="propagate": no scale of {scheme} can be NaN; clean the tensor, or take '
                "fp32, fp16, e8m0, e6m2 or fp8_e4m3 at one of its levels"
            )
        return "level"
    scale = scheme.scale_format
    if not scale.bits and len(scheme.formats) == 1 and scheme.formats[0].nan_codes:
        return "element"
    if scale.nan_pattern is not None:
        return "group"
    if scale.outer == "row":
        return "row"
    missing = f"scales stored as {scale.name}" if scale.bits else f"{scheme.name} without a scale"
    raise BitlatheError(
        f'nan="propagate": {missing} cannot be NaN; clean the tensor, or take scales of /fp16, '
        "/bf16 or /fp32 (sums of signed scales too), powers of two or integers (other formats), or "
        "fp16, bf16 or fp8_e4m3/none"
    )


def propagate(coded: Coded, array: NDArray[np.floating]) -> Coded:
    """Put NaN where a tensor was not finite, into what was coded with 0 in those places.

    Parameters
    ----------
    coded : Coded
    array : (...) float, of the tensor's shape
        As it was given. Without scales an infinity stays one where the format has it.

    Raises
    ------
    BitlatheError
        See `grain`.
    """
    layout, scheme = coded.layout, coded.scheme
    kind, pattern = grain(scheme), scheme.scale_format.nan_pattern
    elements = layout.matrix(array)
    lost = ~np.isfinite(elements)
    if kind == "element":
        fmt, codes = scheme.formats[0], coded.codes.copy()
        overflow = "inf" if len(fmt.inf_codes) == 2 else "nan"
        codes[lost] = fmt.encode(elements[lost], overflow=overflow, nan="propagate")
        return replace(coded, codes=codes)
    groups = np.asarray(layout.split(lost).any(axis=1))
    if kind == "level":
        return _at_level(coded, groups)
    if pattern is not None:
        return replace(coded, scales=np.where(groups[:, None], np.uint32(pattern), coded.scales))
    rows = groups.reshape(layout.down, layout.across).any(axis=1)
    outer = np.where(rows, np.float16(np.nan).view(np.uint16), coded.outer_scales)
    return replace(coded, outer_scales=outer.astype(np.uint32))


def _at_level(coded: Coded, lost: NDArray[np.bool_]) -> Coded:
    """Put NaN into the scales of the innermost level that can be NaN, over lost groups."""
    levels, layout = coded.scheme.levels, coded.layout
    k = next(i for i, level in enumerate(levels) if level.nan_pattern is not None)
    pattern = np.uint32(levels[k].nan_pattern or 0)
    if k == 0:
        return replace(coded, scales=np.where(lost[:, None], pattern, coded.scales))
    first, own = levels[0].granularity, levels[k].granularity
    over = parents(first, own, layout.rows, layout.columns)
    upper = [raw.copy() for raw in coded.upper_scales]
    upper[k - 1][over[lost]] = pattern
    return replace(coded, upper_scales=tuple(upper))
