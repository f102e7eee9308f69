"""Elements of MX blocks that are stored finer: those of M2XFP's activations, and of MX+.

What is refined, and how, is told in `coding.finer`.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import float_bits
from ..base.scaling import MAGNITUDE, absmax

EIGHT: Final = 8
FINE: Final = 4  # finer codes in a step
# the top bit of each byte of a word; two bytes of it, and one
TOPS: Final = np.uint64(0x8080808080808080)
LOW: Final = np.uint64(0xFFFF)
BYTE: Final = np.uint64(0xFF)


@njit(nogil=True, forceinline=True)
def _larger(a: Any, b: Any) -> Any:
    """Return the larger of each pair of bytes, all below 128, of two words."""
    above = ((a | TOPS) - b) & TOPS  # a top bit where a is not below b
    whole = np.uint64(above - (above >> np.uint64(7))) | above
    return (a & whole) | (b & ~whole)


@njit(nogil=True)
def _write_leaders(codes: Any, mask: Any, ranks: Any, leaders: Any) -> None:
    """Write of each eight codes of a row the largest magnitude, and 7 less its place, as 8 a + b.

    ``ranks`` is scratch, 8 bytes for each of ``leaders``; what it has beyond the codes counts as 0.
    """
    for i in range(codes.size):
        ranks[i] = np.uint8(((codes[i] & mask) << np.uint8(3)) | np.uint8(7 - (i & 7)))
    words = ranks.view(np.uint64)
    for e in range(leaders.size):
        word = words[e]
        word = _larger(word, word >> np.uint64(32))
        word = _larger(word & LOW, (word >> np.uint64(16)) & LOW)
        leaders[e] = np.uint8(_larger(word & BYTE, (word >> np.uint64(8)) & BYTE))


@njit(nogil=True, forceinline=True)
def _steps(y: Any, size: Any, cuts: Any) -> Any:
    """Return how many of the three cuts of a magnitude code a quotient is above."""
    first, found = size << np.uint32(2), np.uint32(0)
    for j in range(FINE - 1):
        found += np.uint32(y > cuts[first + np.uint32(j)])
    return found


@compiled(nogil=True)
def refined_of(
    x: Any, group: int, scales: Any, codes: Any, mask: Any, cuts: Any, extra: Any
) -> None:
    """Write two bits for the largest of each 8 elements: its place among four finer codes.

    Parameters
    ----------
    x : (rows, k) float32
    group : int
        8, 16, 24 or 32 elements; of a single group in a row, any number up to 32.
    scales : (rows, groups) float32
        Positive.
    codes : (rows, k) uint8
    mask : uint8
        Of the magnitude of a code, which has at most 4 bits.
    cuts : (4 n,) float32
        Of each magnitude code the three cuts between its finer codes, and one more; a finer code
        is above a cut.
    extra : (rows, groups) uint8
        Of eights that a short group lacks the bits of a zero.
    """
    rows, k = x.shape
    across, eights = scales.shape[1], -(-group // EIGHT)
    leaders = np.zeros(across * eights, np.uint8)
    ranks = np.zeros(EIGHT * leaders.size, np.uint8)
    zero = _steps(np.float32(0), np.uint32(0), cuts)
    for r in range(rows):
        _write_leaders(codes[r], mask, ranks, leaders)
        for g in range(across):
            found = np.uint32(0)
            for eight in range(eights):
                e, shift = g * eights + eight, np.uint32(2 * eight)
                place = EIGHT * e + 7 - (leaders[e] & 7)
                if EIGHT * e < k:
                    y = abs(x[r, place]) / scales[r, g]
                    found |= _steps(y, np.uint32(leaders[e] >> 3), cuts) << shift
                else:
                    found |= zero << shift
            extra[r, g] = np.uint8(found)


@compiled(nogil=True)
def plus_of(
    x: Any, group: int, scales: Any, leading: Any, power: Any, known: Any, codes: Any, extra: Any
) -> None:
    """Write the places of the largest elements, the first of equals, and their finer codes.

    Parameters
    ----------
    x : (rows, k) float32
    group : int
    scales : (rows, groups) float32
        Positive.
    leading : int
        The bit above those of the magnitude: as many steps has the largest binade.
    power : float
        The power of two of that binade, in scales.
    known : (rows, groups) bool
        Of other groups nothing is finer.
    codes : (rows, k) uint8
        Written at these places.
    extra : (rows, groups) uint8
    """
    rows, k = x.shape
    for r in range(rows):
        for g in range(scales.shape[1]):
            a, b = g * group, min(k, (g + 1) * group)
            xs, at = x[r, a:b], 0
            if not known[r, g]:
                extra[r, g] = 0
                continue
            top = float_bits(absmax(xs))
            while np.uint32(float_bits(xs[at]) & MAGNITUDE) != top:
                at += 1
            steps = np.rint(np.float64(abs(xs[at]) / scales[r, g]) / power * leading)
            size = np.int64(min(max(steps, leading), 2 * leading - 1)) - leading
            codes[r, a + at] = np.uint8(size + (leading if xs[at] < 0 else 0))
            extra[r, g] = np.uint8(at)
