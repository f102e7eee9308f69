"""Stimulus and results as arrays: rows of input words, and events with their clocks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div
from .verilog import Design, Port

Int64Array = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
WORD = 32


class Events(NamedTuple):
    """When an event was there, and its values: (n,) clocks and (n, values) integers."""

    clocks: Int64Array
    values: Int64Array


def words_of(bits: int) -> int:
    """Return the 32-bit words that a port takes."""
    return ceil_div(bits, WORD)


def pack_port(port: Port, fields: npt.ArrayLike) -> Words:
    """Return the words of a port, row by row.

    Parameters
    ----------
    port : Port
    fields : (rows,) or (rows, fields) array_like of int
        Fields of equal width, the first one in the lowest bits; negative ones in two's complement.

    Raises
    ------
    BitlatheError
        The fields do not share the port's bits equally, or one does not fit.
    """
    array = np.asarray(fields, dtype=np.int64)
    array = array.reshape(len(array), -1)
    width, rest = divmod(port.bits, array.shape[1])
    if rest or width > 63:
        raise BitlatheError(
            f"port {port.name} of {port.bits} bits: no {array.shape[1]} equal fields"
        )
    if array.size and not (-(1 << (width - 1)) <= array.min() and array.max() < 1 << width):
        raise BitlatheError(f"port {port.name}: a field does not fit {width} bits")
    bits = (array[:, :, None] >> np.arange(width)) & 1
    padded = np.zeros((len(array), words_of(port.bits) * WORD), np.uint8)
    padded[:, : port.bits] = bits.reshape(len(array), -1)
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def pack(design: Design, fields: Mapping[str, npt.ArrayLike]) -> Words:
    """Return (rows, words) of input, the ports in the design's order, from fields by port."""
    return np.ascontiguousarray(
        np.concatenate([pack_port(port, fields[port.name]) for port in design.inputs], axis=1)
    )


def unpack(ports: Sequence[Port], words: Words) -> Int64Array:
    """Return the (n, ports) integers in (n, words) words, sign-extended where a port is signed."""
    out, first = np.zeros((len(words), len(ports)), np.int64), 0
    for column, port in enumerate(ports):
        part = words[:, first : first + words_of(port.bits)].astype(np.uint64)
        whole = part[:, 0].copy()
        if part.shape[1] > 1:
            whole |= part[:, 1] << np.uint64(WORD)
        value = whole.astype(np.int64)
        if port.signed and port.bits < 64:
            value = ((value + (1 << (port.bits - 1))) & ((1 << port.bits) - 1)) - (
                1 << (port.bits - 1)
            )
        out[:, column] = value
        first += words_of(port.bits)
    return out


def differences(expected: Events, seen: Events) -> dict[str, Any]:
    """Compare two lists of events: how many agree, and the first that does not."""
    shared = min(len(expected.clocks), len(seen.clocks))
    same = (expected.clocks[:shared] == seen.clocks[:shared]) & (
        expected.values[:shared] == seen.values[:shared]
    ).all(axis=1)
    longest = max(len(expected.clocks), len(seen.clocks))
    first = None if same.all() and shared == longest else int(np.argmin(np.append(same, False)))
    return {"events": longest, "agree": int(same.sum()), "first": first}
