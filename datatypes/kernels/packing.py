"""Codes of any width from 1 to 16 bits packed to the last bit, the first code in the low bits."""

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def pack(codes: Any, bits: int, out: Any) -> None:
    """Write code i to bits ``i * bits`` and up of the byte string ``out`` (zeroed by the caller).

    Eight codes fill ``bits`` bytes exactly, so the loop goes by eights.
    """
    n = codes.size
    whole = n // 8
    mask = np.uint64((1 << bits) - 1)
    if bits <= 8:
        for j in range(whole):
            word = np.uint64(0)
            for i in range(8):
                word |= (np.uint64(codes[8 * j + i]) & mask) << np.uint64(i * bits)
            for i in range(bits):
                out[j * bits + i] = np.uint8((word >> np.uint64(8 * i)) & np.uint64(255))
        first = 8 * whole
    else:
        first = 0
    for i in range(first, n):
        at = i * bits
        value = (np.uint64(codes[i]) & mask) << np.uint64(at % 8)
        byte = at // 8
        while value:
            out[byte] |= np.uint8(value & np.uint64(255))
            value >>= np.uint64(8)
            byte += 1


@njit(nogil=True, cache=True)
def unpack(packed: Any, bits: int, out: Any) -> None:
    """Read ``out.size`` codes from a byte string."""
    n = out.size
    whole = n // 8 if bits <= 8 else 0
    mask = np.uint64((1 << bits) - 1)
    for j in range(whole):
        word = np.uint64(0)
        for i in range(bits):
            word |= np.uint64(packed[j * bits + i]) << np.uint64(8 * i)
        for i in range(8):
            out[8 * j + i] = (word >> np.uint64(i * bits)) & mask
    for i in range(8 * whole, n):
        at = i * bits
        value = np.uint64(0)
        for byte in range(at // 8, (at + bits - 1) // 8 + 1):
            value |= np.uint64(packed[byte]) << np.uint64(8 * (byte - at // 8))
        out[i] = (value >> np.uint64(at % 8)) & mask
