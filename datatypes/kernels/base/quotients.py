"""The elements of groups over scales of any sign, beside minima or zero points."""

from typing import Any, Final

import numpy as np

from ...base.compiled import compiled

# what stands beside a scale
KINDS: Final = {"": 0, "minimum": 1, "zero": 2}


@compiled(nogil=True)
def quotients_of(x: Any, group: int, scales: Any, shifts: Any, kind: int, out: Any) -> None:
    """Write x / scale of each group, (x + minimum) / scale, or x / scale + zero.

    One rounding to float32 an operation; under a scale of 0 the quotient is 0.
    """
    rows, k = x.shape
    for r in range(rows):
        for g in range(scales.shape[1]):
            a, b = g * group, min(k, (g + 1) * group)
            scale, shift = scales[r, g], shifts[r, g]
            if scale == 0:
                out[r, a:b] = shift if kind == 2 else np.float32(0)
            elif kind == 1:
                for i in range(a, b):
                    out[r, i] = (x[r, i] + shift) / scale
            elif kind == 2:
                for i in range(a, b):
                    out[r, i] = x[r, i] / scale + shift
            else:
                for i in range(a, b):
                    out[r, i] = x[r, i] / scale
