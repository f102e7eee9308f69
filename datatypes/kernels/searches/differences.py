"""What groups lose under one scale with a zero point: their differences, element by element."""

from typing import Any

import numpy as np

from ...base.compiled import compiled


@compiled(nogil=True)
def differences(
    x: Any, scales: Any, zeros: Any, low: Any, high: Any, out: Any
) -> None:  # fmt: skip
    """Write ``x - (code - zero) * scale`` of each element, the code nearest within its ends.

    Parameters
    ----------
    x : (groups, size) float32
    scales, zeros, low, high : (groups,) float32
        ``low`` and ``high`` are the ends of the codes; a scale of 0 stands for a group of zeros.
    out : (groups, size) float64
    """
    for g in range(x.shape[0]):
        scale, zero, least, most = scales[g], zeros[g], low[g], high[g]
        if scale > 0:
            for i in range(x.shape[1]):
                q = min(max(np.rint(x[g, i] / scale) + zero, least), most)
                out[g, i] = np.float64(x[g, i] - (q - zero) * scale)
        else:
            for i in range(x.shape[1]):
                out[g, i] = np.float64(x[g, i])
