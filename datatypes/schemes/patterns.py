"""Bit patterns of scales in fp32, fp16 and bf16, and the facts of those formats."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..formats.catalogue import FLOATS, single
from ..formats.floats import FloatLayout

Floats = NDArray[np.floating[Any]]
Raw = NDArray[np.uint32]


def _layout(exponent_bits: int, mantissa_bits: int) -> FloatLayout:
    bias = (1 << (exponent_bits - 1)) - 1
    return FloatLayout(
        exponent_bits=exponent_bits, mantissa_bits=mantissa_bits, bias=bias, specials="ieee"
    )


LAYOUTS: Final = {
    "fp32": _layout(8, 23),
    "fp16": _layout(*FLOATS["fp16"][:2]),
    "bf16": _layout(*FLOATS["bf16"][:2]),
}


def float_bits(real: Floats, name: str, wanted: NDArray[np.bool_] | None = None) -> Raw:
    """Return the bit patterns of scales rounded to nearest even, infinity from the limit on.

    Parameters
    ----------
    real : (...) float
    name : str
        Key of `LAYOUTS`.
    wanted : (...) bool, optional
        Where no scale may become 0, but takes the smallest positive number; by default where it
        is positive.

    Returns
    -------
    (...) uint32
    """
    wide = np.asarray(real)
    with np.errstate(over="ignore", under="ignore"):
        if name == "fp32":
            bits = wide.astype(np.float32).view(np.uint32)
        elif name == "fp16":
            bits = wide.astype(np.float16).view(np.uint16).astype(np.uint32)
        else:
            bits = np.asarray(single("bf16").encode(wide, overflow="inf", nan="propagate"))
    lost = (bits == 0) & (wide > 0 if wanted is None else wanted)
    return np.asarray(np.where(lost, 1, bits), np.uint32)


def bits_to_float(raw: Raw, name: str) -> NDArray[np.float32]:
    """Return the float32 values of (...) bit patterns; `name` is a key of `LAYOUTS`."""
    if name == "fp32":
        return raw.view(np.float32)
    if name == "fp16":
        return raw.astype(np.uint16).view(np.float16).astype(np.float32)
    return (raw << np.uint32(16)).view(np.float32)
