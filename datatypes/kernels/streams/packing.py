"""Codes of any width from 1 to 16 bits packed to the last bit, the first code in the low bits."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled


@compiled(nogil=True)
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


@njit(nogil=True)
def code_at(packed: Any, bits: int, i: int) -> Any:
    """Return code i of a byte string, at most 16 bits wide."""
    at = i * bits
    value = np.uint32(0)
    for byte in range(at // 8, (at + bits - 1) // 8 + 1):
        value |= np.uint32(packed[byte]) << np.uint32(8 * (byte - at // 8))
    return (value >> np.uint32(at % 8)) & np.uint32((1 << bits) - 1)


@njit(nogil=True)
def unpack_eights(packed: Any, bits: int, count: int, out: Any) -> None:
    """Read ``count`` runs of eight codes, at most 8 bits wide."""
    mask = np.uint64((1 << bits) - 1)
    for j in range(count):
        word = np.uint64(0)
        for i in range(bits):
            word |= np.uint64(packed[j * bits + i]) << np.uint64(8 * i)
        for i in range(8):
            out[8 * j + i] = (word >> np.uint64(i * bits)) & mask


@compiled(nogil=True)
def unpack(packed: Any, bits: int, out: Any) -> None:
    """Read ``out.size`` codes from a byte string."""
    n = out.size
    whole = n // 8 if bits <= 8 else 0
    # a width the compiler knows gives it loops to unroll
    if bits == 4:
        for j in range(4 * whole):
            byte = packed[j]
            out[2 * j] = byte & np.uint8(15)
            out[2 * j + 1] = byte >> np.uint8(4)
    elif bits == 3:
        unpack_eights(packed, 3, whole, out)
    elif bits == 6:
        unpack_eights(packed, 6, whole, out)
    else:
        unpack_eights(packed, bits, whole, out)
    for i in range(8 * whole, n):
        out[i] = code_at(packed, bits, i)


@njit(nogil=True)
def unpack_from(packed: Any, bits: int, first: int, out: Any) -> None:
    """Read ``out.size`` codes from code ``first`` on."""
    head = min(-first % 8, out.size)
    for i in range(head):
        out[i] = code_at(packed, bits, first + i)
    unpack(packed[(first + head) // 8 * bits :], bits, out[head:])
