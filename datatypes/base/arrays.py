"""What users hand over, read as plain arrays of numbers, or refused."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dtypes import is_small_float, is_torch
from .errors import BitlatheError
from .torch_bridge import from_torch


def as_float(x: Any, what: str) -> tuple[NDArray[Any], str, str | None]:
    """Return a tensor as float32 or float64, the name of its own dtype, and its torch device.

    Parameters
    ----------
    x : (...) array_like or torch tensor
        Real. Integers and booleans are read as float64, floats of 8 bits and fewer as float32.
    what : str
        What errors call it.

    Raises
    ------
    BitlatheError
        Raised if it does not hold real numbers of a known width.
    """
    if is_torch(x):
        return from_torch(x, what)
    try:
        array = np.asarray(x)
        name = array.dtype.name
        if array.dtype.kind in "iub":
            array, name = array.astype(np.float64), "float64"
        elif name in ("float16", "bfloat16"):
            array = array.astype(np.float32)
        elif is_small_float(name):
            array, name = array.astype(np.float32), "float32"
        elif array.dtype.kind != "f" or name not in ("float32", "float64"):
            raise TypeError
    except (TypeError, ValueError):
        raise BitlatheError(
            f"{what}: a tensor of real numbers is needed, got {type(x).__name__}"
            + (f" of {x.dtype}" if isinstance(x, np.ndarray) else "")
        ) from None
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    return array, name, None


def flat_numbers(values: Any, what: str) -> NDArray[np.float64]:
    """Return a flat list of numbers as (n,) float64.

    Raises
    ------
    BitlatheError
        Raised if it is not flat or holds anything but real numbers.
    """
    try:
        given = np.asarray(values if isinstance(values, np.ndarray) else list(values))
        if given.ndim != 1 or given.dtype.kind in "USc":
            raise TypeError
        return given.astype(np.float64)
    except (TypeError, ValueError):
        raise BitlatheError(f"{what}: a flat list of numbers is needed") from None
