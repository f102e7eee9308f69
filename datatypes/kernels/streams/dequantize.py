"""From codes to values: one table look-up and one product an element, whatever the format.

A value is ``(table[code] - zero) * scale``, rounded once to the type it is computed in. What
differs between formats is data: which table a group reads (that of its choice, or its own), its
zero point, its scale. Outlier-victim pairs read a table of (code, neighbor's code).
"""

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from ...base.compiled import compiled
from ...base.errors import BitlatheError
from ..base.intrinsics import round_half
from ..base.lookup import look_up
from ..base.tables import groups_of
from ..base.threads import over_rows
from .packing import unpack_from

# codes unpacked at once: they stay in the first-level cache
CHUNK: Final = 2048
# what a type is written as
WRITTEN: Final = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.uint16,
    "bfloat16": np.int16,
}


def dequantize(
    codes: NDArray[np.unsignedinteger[Any]],
    tables: NDArray[np.floating[Any]],
    scales: NDArray[np.floating[Any]],
    group: int,
    *,
    block_rows: int = 1,
    choices: NDArray[np.integer[Any]] | None = None,
    zeros: NDArray[np.integer[Any]] | None = None,
    packed: tuple[int, tuple[int, int]] | None = None,
    pairs: bool = False,
    dtype: DTypeLike = "float32",
    through_half: bool = False,
    threads: int | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the (rows, k) values that codes stand for.

    Parameters
    ----------
    codes : (rows, k) uint8 or uint16, or (bytes,) uint8
        Codes, or the packed stream of them (see `packed`).
    tables : (tables, n) float
        Value of each code, n a power of two; bits of a code beyond n are ignored.
    scales : (groups,) float
        Groups are numbered along a row, rows of blocks one after the other.
    group : int
        Columns of a block; the last of a row may be short.
    block_rows : int
        Rows of a block; the last may be short.
    choices : (groups,) int, optional
        Table of each group; table 0 by default.
    zeros : (groups,) int, optional
        Zero points; 0 by default.
    packed : (bits, (rows, k)), optional
        Width of the codes, 1..16, and shape of the matrix where `codes` is a packed stream, first
        code lowest.
    pairs : bool
        Elements go in pairs from the left of each group; a table has n * n entries, by the code
        plus n times the code of the other one of the pair (0 for an element without one).
    dtype : numpy dtype
        float32, float64 (computed in float64), float16 or bfloat16 (computed in float32, then
        rounded to nearest even).
    through_half : bool
        Round to float16 before `dtype`; for float32 and float16.
    threads : int, optional
        All available cores by default. The result does not depend on it.
    out : (rows, k) array, optional
        Written to and returned.

    Raises
    ------
    BitlatheError
        Shapes that do not fit each other, or a dtype that is not among the four.
    """
    wanted = np.dtype(dtype)
    work = np.dtype(np.float64 if wanted == np.float64 else np.float32)
    bits, (rows, k) = packed or (8 * codes.dtype.itemsize, _matrix_shape(codes))
    table = np.ascontiguousarray(tables, work)
    count = -(-rows // max(block_rows, 1)) * groups_of(k, max(group, 1))
    index = np.zeros(count, np.int64) if choices is None else choices.astype(np.int64)
    zero = np.zeros(count, work) if zeros is None else zeros.astype(work)
    scale = np.ascontiguousarray(scales, work)
    _check_blocks(table, (index, zero, scale), count, group, block_rows, pairs)
    target = _target(out, (rows, k), wanted, through_half)
    facts = (min(group, max(k, 1)), block_rows, table, index, zero, scale)
    # a width of 8 or 16 bits needs no unpacking, but pairs are put together where it is done
    width = table.shape[1].bit_length() // 2 if pairs else 0
    stream = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
    _check_stream(stream, bits, rows * k)
    straight = bits in (8, 16) and not pairs
    if straight:
        matrix = stream[: rows * k * bits // 8].view(f"<u{bits // 8}").reshape(rows, k)

    def part(first: int, last: int) -> None:
        if straight:
            from_codes(matrix, first, *facts, target[first:last])
        else:
            from_stream(stream, bits, width, first, *facts, target[first:last])
        if through_half and wanted == np.float32:
            round_through_half(target[first:last])

    if rows * k:
        over_rows(part, rows, k, threads)
    return target.view(wanted)


def _matrix_shape(codes: NDArray[Any]) -> tuple[int, int]:
    if codes.ndim != 2:
        raise BitlatheError(
            f"dequantize: codes of shape {codes.shape}; a (rows, k) matrix is needed, or a packed "
            "stream with packed=(bits, (rows, k))"
        )
    return codes.shape[0], codes.shape[1]


def _check_blocks(
    table: NDArray[Any],
    by_group: tuple[NDArray[Any], ...],
    count: int,
    group: int,
    block_rows: int,
    pairs: bool,
) -> None:
    """Refuse what the kernels would read past the end of."""
    if group < 1 or block_rows < 1:
        raise BitlatheError(f"dequantize: blocks of {block_rows} x {group}, must be 1 x 1 or more")
    if any(a.shape != (count,) for a in by_group):
        raise BitlatheError(
            f"dequantize: choices, zeros and scales have shapes {[a.shape for a in by_group]}, but "
            f"there are {count} groups"
        )
    n = table.shape[-1]
    if table.ndim != 2 or not n or n & (n - 1) or (pairs and n.bit_length() % 2 == 0):
        raise BitlatheError(
            f"dequantize: tables of shape {table.shape}; (tables, {'4' if pairs else '2'}**bits) "
            "is needed"
        )
    index = by_group[0]
    if count and not 0 <= int(index.min()) <= int(index.max()) < table.shape[0]:
        raise BitlatheError(
            f"dequantize: choices {int(index.min())}..{int(index.max())}, there are "
            f"{table.shape[0]} tables"
        )


def _check_stream(stream: NDArray[np.uint8], bits: int, size: int) -> None:
    if not 1 <= bits <= 16 or stream.size < (size * bits + 7) // 8:
        raise BitlatheError(
            f"dequantize: {size} codes of {bits} bits (1..16) need {(size * bits + 7) // 8} bytes, "
            f"got {stream.size}"
        )


def _target(
    out: NDArray[Any] | None, shape: tuple[int, int], dtype: np.dtype[Any], through_half: bool
) -> NDArray[Any]:
    """Return the array to write, as the type it is written as."""
    if dtype.name not in WRITTEN or (through_half and dtype.name not in ("float32", "float16")):
        raise BitlatheError(
            f"dequantize: dtype {dtype.name}{' through float16' if through_half else ''}; float32, "
            "float16, or without through_half float64 or bfloat16 is needed"
        )
    made = np.empty(shape, dtype) if out is None else out
    if made.shape != shape or made.dtype != dtype or not made.flags.c_contiguous:
        raise BitlatheError(
            f"dequantize: out is {made.dtype} {made.shape}; contiguous {dtype} {shape} is needed"
        )
    return made.view(WRITTEN[dtype.name])


@njit(nogil=True)
def by_pairs(codes: Any, bits: int) -> None:
    """Put the code of its neighbor above each code of one row of a block, in place."""
    even = codes.size // 2 * 2
    for i in range(0, even, 2):
        left, right = codes[i], codes[i + 1]
        codes[i] = left | (right << np.uint16(bits))
        codes[i + 1] = right | (left << np.uint16(bits))


@compiled(nogil=True)
def from_codes(
    codes: Any, first: int, group: int, block_rows: int, tables: Any, index: Any, zeros: Any,
    scales: Any, out: Any,
) -> None:  # fmt: skip
    """Write rows ``first`` and up of a matrix of codes."""
    k = codes.shape[1]
    across = -(-k // group)
    for r in range(out.shape[0]):
        for j in range(across):
            a = j * group
            b = min(k, a + group)
            g = (first + r) // block_rows * across + j
            look_up(codes[first + r, a:b], tables[index[g]], zeros[g], scales[g], out[r, a:b])


@compiled(nogil=True)
def from_stream(
    stream: Any, bits: int, width: int, first: int, group: int, block_rows: int, tables: Any,
    index: Any, zeros: Any, scales: Any, out: Any,
) -> None:  # fmt: skip
    """Write rows ``first`` and up of a matrix whose codes are packed to the last bit.

    ``width`` is that of the codes of pairs, 0 where elements stand alone.
    """
    k = out.shape[1]
    across = -(-k // group)
    step = max(1, CHUNK // group)
    scratch = np.zeros(step * group, np.uint16)
    for r in range(out.shape[0]):
        for start in range(0, across, step):
            base = start * group
            count = min(step * group, k - base)
            unpack_from(stream, bits, (first + r) * k + base, scratch[:count])
            for j in range(start, min(start + step, across)):
                a = j * group
                b = min(k, a + group)
                codes = scratch[a - base : b - base]
                if width:
                    by_pairs(codes, width)
                g = (first + r) // block_rows * across + j
                look_up(codes, tables[index[g]], zeros[g], scales[g], out[r, a:b])


@compiled(nogil=True)
def round_through_half(x: Any) -> None:
    """Round a float32 matrix to float16 in place."""
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[r, i] = round_half(x[r, i])
