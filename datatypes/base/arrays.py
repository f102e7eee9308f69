"""What users hand over, read as plain arrays of numbers, or refused."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BitlatheError, unknown_name

FLOATS = ("float16", "bfloat16", "float32", "float64")
# 8 bits and fewer, of ml_dtypes and torch: read as float32, which holds them exactly
_SMALL = ("float8_", "float6_", "float4_")


def is_torch(x: Any) -> bool:
    """Say whether something comes from torch, without importing torch."""
    return type(x).__module__.split(".")[0] == "torch"


def is_small_float(dtype: Any) -> bool:
    """Return whether a dtype of numpy or torch is a float of at most 8 bits."""
    return str(dtype).removeprefix("torch.").startswith(_SMALL)


def as_float(x: Any, what: str) -> tuple[NDArray[Any], str, str | None]:
    """Return a tensor as float32 or float64, the name of its own dtype, and its torch device.

    Parameters
    ----------
    x : array_like or torch tensor
        Real. Integers and booleans are read as float64, floats of 8 bits and fewer as float32.
    what : str
        What errors call it.

    Raises
    ------
    BitlatheError
        If it does not hold real numbers of a known width.
    """
    if is_torch(x):
        from .torch_bridge import from_torch

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


def float_name(dtype: Any) -> str:
    """Return the name of a floating-point dtype of numpy, ml_dtypes or torch, one of `FLOATS`.

    Raises
    ------
    BitlatheError
        For anything else; the message lists what is right.

    Examples
    --------
    >>> float_name(np.float16), float_name("bfloat16"), float_name(">f4")
    ('float16', 'bfloat16', 'float32')
    """
    name = str(dtype).removeprefix("torch.")
    if not is_torch(dtype) and name not in FLOATS:
        with suppress(TypeError, ValueError):
            name = np.dtype(dtype).name
    if name not in FLOATS:
        raise BitlatheError(unknown_name("floating-point dtype", name, FLOATS))
    return name


def numpy_float(name: str) -> np.dtype[Any]:
    """Return one of `FLOATS` as a numpy dtype.

    Raises
    ------
    BitlatheError
        For bfloat16, if the ml_dtypes package is missing.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise BitlatheError(
            "bfloat16 in numpy needs the ml_dtypes package: pip install ml_dtypes; a torch tensor "
            "needs none"
        ) from None
    found: np.dtype[Any] = np.dtype(bfloat16)
    return found


def flat_numbers(values: Any, what: str) -> NDArray[np.float64]:
    """Return a flat list of numbers as float64.

    Raises
    ------
    BitlatheError
        If it is none.
    """
    try:
        given = np.asarray(values if isinstance(values, np.ndarray) else list(values))
        if given.ndim != 1 or given.dtype.kind in "USc":
            raise TypeError
        return given.astype(np.float64)
    except (TypeError, ValueError):
        raise BitlatheError(f"{what}: a flat list of numbers is needed") from None


def check_whole(what: str, value: Any, low: int, high: int) -> None:
    """Refuse what is not a whole number within bounds.

    Raises
    ------
    BitlatheError
        Naming the value and the bounds.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise BitlatheError(f"{what} is {value!r}, must be a whole number {low}..{high}")
