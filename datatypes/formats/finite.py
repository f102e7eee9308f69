"""Whether a tensor holds NaN or infinity, and where."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..base.jit import have_numba

# smaller tensors are done before a kernel would be compiled
MIN_SIZE = 1 << 18


def all_finite(x: NDArray[Any]) -> bool:
    """Return whether a (...) array holds neither NaN nor infinity, without a temporary array."""
    if x.dtype == np.float32 and x.size >= MIN_SIZE and x.flags.c_contiguous and have_numba():
        from .. import kernels  # loaded on use: casts of small arrays need none

        return kernels.all_finite(x)
    # NaN and infinity reach the ends
    return not x.size or bool(np.isfinite(x.min()) and np.isfinite(x.max()))


def refuse_nonfinite(x: NDArray[np.float64], name: str) -> None:
    """Refuse a (...) array that holds NaN or infinity.

    Raises
    ------
    BitlatheError
        Raised if it does; names the index of the first.
    """
    finite = np.isfinite(x)
    if finite.all():
        return
    where = np.unravel_index(int(np.argmin(finite)), x.shape)
    bad = x[where]
    place = f" at index {tuple(int(i) for i in where)}" if x.ndim else ""
    raise BitlatheError(
        f"{name}: {int((~finite).sum())} value(s) are not finite, the first is {bad}{place}; "
        'clean the tensor, or pass nan="propagate" to carry them through'
    )
