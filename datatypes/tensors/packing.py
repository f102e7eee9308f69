"""Packing to the last bit: streams of little-endian bits, the first code lowest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..base.jit import have_numba
from ..base.numbers import ceil_div
from ..coding.coded import Coded
from ..schemes.layout import Layout
from ..schemes.scheme import Scheme

Bytes = NDArray[np.uint8]

# fewer codes are done before a kernel would be compiled
MIN_SIZE = 1 << 18


def stream_sizes(scheme: Scheme, layout: Layout) -> dict[str, tuple[int, int]]:
    """Return the streams a tensor is stored in: bits of an item, and how many items."""
    if scheme.levels:
        return _level_sizes(scheme, layout)
    scale = scheme.scale_format
    outer = {"none": 0, "row": layout.down, "tensor": min(layout.groups, 1)}[scale.outer]
    sizes = {
        "codes": _code_stream(scheme, layout),
        "scales": (scale.bits, layout.groups * scheme.scales_per_group),
        "outer": (scale.outer_bits, outer),
        "zeros": (scheme.zero_bits, layout.groups),
        "choices": (scheme.selector_bits, layout.groups),
    }
    return {name: (bits, count) for name, (bits, count) in sizes.items() if bits}


def _code_stream(scheme: Scheme, layout: Layout) -> tuple[int, int]:
    """Return bits and number of codes; where codes share bytes as digits, of these bytes."""
    count, digits = layout.rows * layout.columns, scheme.element.digits
    return (8, ceil_div(count, digits[1])) if digits else (scheme.element_bits, count)


def _level_sizes(scheme: Scheme, layout: Layout) -> dict[str, tuple[int, int]]:
    """Return the streams of nested scales: ``scales``, ``scales1``, ..., ``offsets``, ..."""
    sizes = {"codes": _code_stream(scheme, layout)}
    offsets = scheme.offset.levels if scheme.offset else ()
    for kind, levels in (("scales", scheme.levels), ("offsets", offsets)):
        for k, level in enumerate(levels):
            down, across = level.granularity.blocks(layout.rows, layout.columns)
            count = down * across if layout.groups else 0
            sizes[f"{kind}{k or ''}"] = (level.bits, count)
    if scheme.selector_bits:
        sizes["choices"] = (scheme.selector_bits, layout.groups)
    return sizes


def stored_bytes(scheme: Scheme, layout: Layout) -> int:
    """Return the bytes of the packed streams; each ends on a whole byte."""
    return sum(packed_size(count, bits) for bits, count in stream_sizes(scheme, layout).values())


def streams_of(coded: Coded) -> dict[str, Bytes]:
    """Return the streams of a tensor, each packed to the last bit."""
    digits = coded.scheme.element.digits
    parts: dict[str, Any] = {
        "codes": to_bytes(coded.codes, *digits) if digits else coded.codes,
        "scales": coded.scales,
        "outer": coded.outer_scales,
        "zeros": coded.zeros,
        "choices": coded.choices,
        **{f"scales{k}": raw for k, raw in enumerate(coded.upper_scales, 1)},
        **{f"offsets{k or ''}": raw for k, raw in enumerate(coded.offsets)},
    }
    sizes = stream_sizes(coded.scheme, coded.layout)
    return {name: pack(parts[name], bits) for name, (bits, _) in sizes.items()}


def to_bytes(codes: NDArray[Any], base: int, per_byte: int) -> Bytes:
    """Return (...) codes as bytes, each a number with so many digits, the first lowest.

    Examples
    --------
    >>> to_bytes(np.array([2, 1, 0, 0, 1, 2]), 3, 5).tolist()
    [86, 2]
    """
    flat = np.zeros(ceil_div(codes.size, per_byte) * per_byte, np.int64)
    flat[: codes.size] = codes.reshape(-1)
    return np.asarray(flat.reshape(-1, per_byte) @ base ** np.arange(per_byte), np.uint8)


def from_bytes(stream: Bytes, base: int, per_byte: int, count: int) -> NDArray[np.uint32]:
    """Return the (count,) codes that are digits of the bytes of a stream.

    Parameters
    ----------
    stream : (bytes,) uint8
    base, per_byte : int
        Of the digits.
    count : int

    Raises
    ------
    BitlatheError
        Raised if a byte is no number of so many digits, or digits after the last code are not 0.
    """
    if stream.size and int(stream.max()) >= base**per_byte:
        at = int(np.argmax(stream >= base**per_byte))
        raise BitlatheError(
            f"codes: byte {at} is {stream[at]}; {per_byte} digits of base {base} make numbers "
            f"below {base**per_byte}"
        )
    digits = stream[:, None].astype(np.uint32) // base ** np.arange(per_byte, dtype=np.uint32)
    codes = (digits % np.uint32(base)).reshape(-1)
    if codes[count:].any():
        raise BitlatheError("codes: digits after the last code must be 0")
    return codes[:count]


def packed_size(count: int, bits: int) -> int:
    """Return the bytes that `count` codes of `bits` bits take."""
    return ceil_div(count * bits, 8)


def _compiled(count: int, bits: int) -> bool:
    """Return whether the compiled kernel is worth it: whole bytes need little work."""
    return bits < 16 and bits != 8 and count >= MIN_SIZE and have_numba()


def pack(codes: NDArray[Any], bits: int) -> Bytes:
    """Pack unsigned codes into ``ceil(count * bits / 8)`` bytes.

    Parameters
    ----------
    codes : (count,) unsigned integers below 2**bits
    bits : int
        1..32.

    Raises
    ------
    BitlatheError
        Raised if a code does not fit `bits` bits.

    Examples
    --------
    >>> pack(np.array([1, 2, 3], np.uint8), 3).tolist()
    [209, 0]
    """
    flat = np.ascontiguousarray(codes).reshape(-1)
    if flat.size and int(flat.max()) >> bits:
        raise BitlatheError(f"pack: code {int(flat.max())} does not fit {bits} bits")
    if bits == 8:
        return flat.astype(np.uint8)
    if _compiled(flat.size, bits):
        from .. import kernels

        return kernels.pack(flat, bits)
    if bits < 8:
        return _pack_narrow(flat, bits)
    wide = flat.astype("<u4").view(np.uint8).reshape(-1, 4)
    if bits % 8 == 0:
        return np.ascontiguousarray(wide[:, : bits // 8]).reshape(-1)
    each = np.unpackbits(wide, axis=1, bitorder="little")[:, :bits]
    return np.packbits(each.reshape(-1), bitorder="little")


def _pack_narrow(flat: NDArray[Any], bits: int) -> Bytes:
    """Pack eight codes at a time into `bits` bytes."""
    padded = np.zeros(ceil_div(flat.size, 8) * 8, np.uint64)
    padded[: flat.size] = flat
    eights = padded.reshape(-1, 8)
    words = np.zeros(eights.shape[0], "<u8")
    for i in range(8):
        words |= eights[:, i] << np.uint64(bits * i)
    out = words.view(np.uint8).reshape(-1, 8)[:, :bits]
    return np.ascontiguousarray(out).reshape(-1)[: packed_size(flat.size, bits)]


def unpack(stream: Bytes, bits: int, count: int) -> NDArray[np.uint32]:
    """Return the (count,) codes of a packed stream.

    Raises
    ------
    BitlatheError
        Raised if the stream is not as long as it should be.
    """
    if stream.size != packed_size(count, bits):
        raise BitlatheError(
            f"unpack: {count} codes of {bits} bits take {packed_size(count, bits)} bytes, "
            f"the stream has {stream.size}"
        )
    if _compiled(count, bits):
        from .. import kernels

        return np.asarray(kernels.unpack(stream, bits, count), np.uint32)
    if bits > 8 and bits % 8:
        each = np.unpackbits(stream, count=count * bits, bitorder="little").reshape(count, bits)
        weights = np.uint32(1) << np.arange(bits, dtype=np.uint32)
        return np.asarray(each.astype(np.uint32) @ weights, np.uint32)
    if bits >= 8:
        wide = np.zeros((count, 4), np.uint8)
        wide[:, : bits // 8] = stream.reshape(count, bits // 8)
        return wide.view("<u4").reshape(-1).astype(np.uint32)
    padded = np.zeros((ceil_div(count, 8), 8), np.uint8)
    whole = np.zeros(padded.shape[0] * bits, np.uint8)
    whole[: stream.size] = stream
    padded[:, :bits] = whole.reshape(-1, bits)
    words = padded.view("<u8").reshape(-1)
    mask = np.uint64((1 << bits) - 1)
    eights = np.stack([(words >> np.uint64(bits * i)) & mask for i in range(8)], axis=1)
    return np.asarray(eights.reshape(-1)[:count], np.uint32)
