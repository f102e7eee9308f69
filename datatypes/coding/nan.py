"""NaN and infinity carried through quantization: what becomes NaN for them.

The finest grain that can express it: an element where there are no scales and the format has a
NaN, the group by its scale, the row of groups by its second-level scale.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..schemes.scheme import Scheme
from .coded import Coded


def grain(scheme: Scheme) -> str:
    """Return what becomes NaN together: ``element``, ``group`` or ``row``.

    Raises
    ------
    BitlatheError
        Raised if the scheme cannot express a NaN.
    """
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
    if pattern is not None:
        return replace(coded, scales=np.where(groups[:, None], np.uint32(pattern), coded.scales))
    rows = groups.reshape(layout.down, layout.across).any(axis=1)
    outer = np.where(rows, np.float16(np.nan).view(np.uint16), coded.outer_scales)
    return replace(coded, outer_scales=outer.astype(np.uint32))
