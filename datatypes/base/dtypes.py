"""Names of floating-point dtypes, of numpy, ml_dtypes and torch alike."""

from contextlib import suppress
from typing import Any

import numpy as np

from .errors import BitlatheError, unknown_name

FLOATS = ("float16", "bfloat16", "float32", "float64")
# 8 bits and fewer, of ml_dtypes and torch: read as float32, which holds them exactly
_SMALL = ("float8_", "float6_", "float4_")


def is_torch(x: Any) -> bool:
    """Return whether something comes from torch, without importing torch."""
    return type(x).__module__.split(".")[0] == "torch"


def is_small_float(dtype: Any) -> bool:
    """Return whether a dtype of numpy or torch is a float of at most 8 bits."""
    return str(dtype).removeprefix("torch.").startswith(_SMALL)


def float_name(dtype: Any) -> str:
    """Return the name of a floating-point dtype of numpy, ml_dtypes or torch, one of `FLOATS`.

    Raises
    ------
    BitlatheError
        Raised for any other dtype; the message lists the known ones.

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
            "does not need it"
        ) from None
    found: np.dtype[Any] = np.dtype(bfloat16)
    return found
