"""What codes stand for, looked up in a table and written in the type that is asked for."""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic, overload

from .intrinsics import float_bits


def _half_bits(_typing: Any, x: Any) -> Any:
    """Return the bits of a float32 rounded to float16, ties to even."""
    signature = types.uint16(types.float32)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return signature, codegen


half_bits: Any = intrinsic(_half_bits)


@njit(nogil=True)
def bfloat16_bits(x: Any) -> Any:
    """Return the bits of a float32 rounded to bfloat16, ties to even."""
    bits = float_bits(x)
    # numba widens sums of uint32 to 64 bits; narrow again, or half of each vector is idle
    odd = np.uint32((bits >> np.uint32(16)) & np.uint32(1))
    up = np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + odd) >> np.uint32(16)
    nan = ((bits >> np.uint32(16)) & np.uint32(0x8000)) | np.uint32(0x7FC0)
    return nan if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000) else up


def _stored(value, out):
    raise NotImplementedError("compiled only")


# A float16 is written to an array of uint16, a bfloat16 to one of int16: a choice by type costs
# nothing inside the loop.
@overload(_stored)
def _stored_overload(value, out):
    if out.dtype == types.uint16:
        return lambda value, out: half_bits(value)
    if out.dtype == types.int16:
        return lambda value, out: np.int16(bfloat16_bits(value))
    return lambda value, out: value


@njit(nogil=True)
def look_up(codes: Any, table: Any, zero: Any, scale: Any, out: Any) -> None:
    """Write the values of one row of a block."""
    mask = np.uint32(table.size - 1)
    for i in range(codes.size):
        out[i] = _stored((table[np.uint32(codes[i]) & mask] - zero) * scale, out)
