"""llama.cpp's block formats: which bit of a block is which bit of a code or a scale.

Every type is a table of positions: bit b of element e stands at bit ``codes[e, b]`` of the block,
counted from the lowest bit of the first byte; scales and minima likewise. Reading gathers these
bits, writing scatters them. Where a type stores ``q + 2**(n-1)`` for a two's complement q, the top
bit is flipped; a minimum that is added rather than taken away has its sign flipped.

The layouts are those of ggml-common.h and gguf-py 0.19.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..coding.coded import Coded
from ..schemes.layout import Layout
from ..schemes.scheme import Scheme

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]
# blocks worked on at once: a bit takes a byte meanwhile
SLICE = 1 << 12
_FP16_SIGN = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """Numbers of a block: the place of each bit, (numbers, bits), and which bits are flipped."""

    places: Places
    flip: int = 0

    def read(self, bits: Bytes) -> NDArray[np.uint32]:
        """Return the (blocks, numbers) numbers of (blocks, n) bits."""
        weights = np.uint32(1) << np.arange(self.places.shape[1], dtype=np.uint32)
        found = (bits[:, self.places].astype(np.uint32) * weights).sum(axis=2, dtype=np.uint32)
        return np.asarray(found ^ np.uint32(self.flip))

    def write(self, numbers: NDArray[np.uint32], bits: Bytes) -> None:
        """Put (blocks, numbers) numbers into (blocks, n) bits."""
        shifts = np.arange(self.places.shape[1], dtype=np.uint32)
        bits[:, self.places] = ((numbers ^ np.uint32(self.flip))[..., None] >> shifts) & 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A block format.

    Attributes
    ----------
    name : str
    kind : int
        ggml's number of the type.
    elements, size : int
        Elements and bytes of a block.
    scheme : str
    codes : Field or None
        None where codes are packed in powers of three.
    scales, offsets : tuple of Field
        By level, the innermost first.
    also : tuple of str
        Schemes that are stored the same.
    """

    name: str
    kind: int
    elements: int
    size: int
    scheme: str
    codes: Field | None
    scales: tuple[Field, ...]
    offsets: tuple[Field, ...] = ()
    also: tuple[str, ...] = ()


def _whole(start: int, count: int, bits: int) -> Places:
    """Return the places of numbers one after the other, the first at a byte."""
    return 8 * start + np.arange(count * bits).reshape(count, bits)


def _pieces(byte: Any, bit: Any, width: int) -> Places:
    """Return the places of numbers of `width` bits that each lie within a byte."""
    first = 8 * np.asarray(byte) + np.asarray(bit)
    return np.asarray(first[:, None] + np.arange(width))


def _nibbles(start: int, count: int) -> Places:
    """Return the places of nibbles: the low halves of all bytes, then the high ones."""
    e = np.arange(count)
    return _pieces(start + e % (count // 2), 4 * (e // (count // 2)), 4)


def _parts(*parts: Places) -> Places:
    """Return numbers made of pieces, the lowest bits first."""
    return np.concatenate(parts, axis=1)


def _halves(start: int) -> Places:
    """Return the places of 256 pairs of bits: 32 bytes serve 4 x 32 elements, two bits each."""
    e = np.arange(256)
    return _pieces(start + e // 128 * 32 + e % 32, 2 * (e % 128 // 32), 2)


def _legacy(name: str, kind: int, bits: int, minimum: bool) -> Block:
    """Return Q4_0, Q4_1, Q5_0 or Q5_1."""
    start = 4 if minimum else 2
    e = np.arange(32)
    codes = _nibbles(start + 4 * (bits == 5), 32)
    if bits == 5:
        codes = _parts(codes, _pieces(start + e // 8, e % 8, 1))
    full = f"int{bits}_full@g32/fp16_signed"
    return Block(
        name=name,
        kind=kind,
        elements=32,
        size=start + 4 * bits,
        scheme=f"uint{bits}@g32/fp16-fp16" if minimum else full,
        codes=Field(places=codes, flip=0 if minimum else 1 << (bits - 1)),
        scales=(Field(places=_whole(0, 1, 16)),),
        offsets=(Field(places=_whole(2, 1, 16), flip=_FP16_SIGN),) if minimum else (),
    )


def _k_scales(start: int) -> tuple[Places, Places]:
    """Return the places of the eight 6-bit scales and minima in the 12 bytes of Q4_K and Q5_K."""
    i = np.arange(4)
    low = _pieces(start + i, 0 * i, 6), _pieces(start + 4 + i, 0 * i, 6)
    high = (
        _parts(_pieces(start + 8 + i, 0 * i, 4), _pieces(start + i, 0 * i + 6, 2)),
        _parts(_pieces(start + 8 + i, 0 * i + 4, 4), _pieces(start + 4 + i, 0 * i + 6, 2)),
    )
    return np.concatenate([low[0], high[0]]), np.concatenate([low[1], high[1]])


def _k45(name: str, kind: int, bits: int) -> Block:
    """Return Q4_K or Q5_K."""
    e, start = np.arange(256), 16 + 32 * (bits == 5)
    codes = _pieces(start + e // 64 * 32 + e % 32, 4 * (e % 64 // 32), 4)
    if bits == 5:
        codes = _parts(codes, _pieces(16 + e % 32, e // 32, 1))
    scales, minima = _k_scales(4)
    return Block(
        name=name,
        kind=kind,
        elements=256,
        size=start + 128,
        scheme=f"uint{bits}@g32/uint6@g256/fp16-uint6@g256/fp16",
        codes=Field(places=codes),
        scales=(Field(places=scales), Field(places=_whole(0, 1, 16))),
        offsets=(Field(places=minima), Field(places=_whole(2, 1, 16))),
    )


def _q2_k() -> Block:
    i = np.arange(16)
    return Block(
        name="Q2_K",
        kind=10,
        elements=256,
        size=84,
        scheme="uint2@g16/uint4@g256/fp16-uint4@g256/fp16",
        codes=Field(places=_halves(16)),
        scales=(Field(places=_pieces(i, 0 * i, 4)), Field(places=_whole(80, 1, 16))),
        offsets=(Field(places=_pieces(i, 0 * i + 4, 4)), Field(places=_whole(82, 1, 16))),
    )


def _q3_k() -> Block:
    e, i = np.arange(256), np.arange(16)
    top = _pieces(e % 32, e // 32, 1)
    scales = _parts(_pieces(96 + i % 8, 4 * (i // 8), 4), _pieces(104 + i % 4, 2 * (i // 4), 2))
    return Block(
        name="Q3_K",
        kind=11,
        elements=256,
        size=110,
        scheme="int3_full@g16/int6_full_signed@g256/fp16",
        codes=Field(places=_parts(_halves(32), top), flip=4),
        scales=(Field(places=scales, flip=32), Field(places=_whole(108, 1, 16))),
    )


def _q6_k() -> Block:
    e = np.arange(256)
    half, quarter, lane = e // 128, e % 128 // 32, e % 32
    low = _pieces(64 * half + 32 * (quarter % 2) + lane, 4 * (quarter // 2), 4)
    return Block(
        name="Q6_K",
        kind=14,
        elements=256,
        size=210,
        scheme="int6_full@g16/int8_full_signed@g256/fp16",
        codes=Field(places=_parts(low, _pieces(128 + 32 * half + lane, 2 * quarter, 2)), flip=32),
        scales=(Field(places=_whole(192, 16, 8)), Field(places=_whole(208, 1, 16))),
    )


def _nvfp4() -> Block:
    e = np.arange(64)
    codes = _pieces(4 + e // 16 * 8 + e % 8, 4 * (e % 16 // 8), 4)
    return Block(
        name="NVFP4",
        kind=40,
        elements=64,
        size=36,
        scheme="fp4_e2m1@g16/fp8_e4m3",
        codes=Field(places=codes),
        scales=(Field(places=_whole(0, 4, 8)),),
    )


def _simple(name: str, kind: int, scheme: str, codes: Field | None, **facts: Any) -> Block:
    """Return a block whose scale stands before or after its codes."""
    scale = Field(places=_whole(facts.pop("scale_at"), 1, facts.pop("scale_bits", 16)))
    return Block(name=name, kind=kind, scheme=scheme, codes=codes, scales=(scale,), **facts)


_LISTED: Final = (
    _legacy("Q4_0", 2, 4, minimum=False),
    _legacy("Q4_1", 3, 4, minimum=True),
    _legacy("Q5_0", 6, 5, minimum=False),
    _legacy("Q5_1", 7, 5, minimum=True),
    _simple(
        "Q8_0", 8, "int8_full@g32/fp16", Field(places=_whole(2, 32, 8)), elements=32, size=34,
        scale_at=0, also=("int8@g32",),
    ),
    _q2_k(),
    _q3_k(),
    _k45("Q4_K", 12, 4),
    _k45("Q5_K", 13, 5),
    _q6_k(),
    _simple(
        "IQ4_NL", 20, "iq4_nl@g32/fp16_signed", Field(places=_nibbles(2, 32)), elements=32,
        size=18, scale_at=0,
    ),
    _simple("TQ1_0", 34, "ternary@g256/fp16", None, elements=256, size=54, scale_at=52),
    _simple(
        "TQ2_0", 35, "trit@g256/fp16", Field(places=_halves(0)), elements=256, size=66,
        scale_at=64,
    ),
    _simple(
        "MXFP4", 39, "mxfp4", Field(places=_nibbles(1, 32)), elements=32, size=17, scale_at=0,
        scale_bits=8,
    ),
    _nvfp4(),
)  # fmt: skip
BLOCKS: Final = {block.name: block for block in _LISTED}
BY_KIND: Final = {block.kind: block for block in _LISTED}


def read_blocks(block: Block, raw: Any, shape: Sequence[int]) -> Coded:
    """Return the coded tensor that blocks hold.

    Parameters
    ----------
    block : Block
    raw : bytes or (n,) uint8
    shape : sequence of int
        Of the tensor; blocks run along its last axis.

    Raises
    ------
    BitlatheError
        Raised if the bytes are not those of the shape, or a code or a scale stands for nothing.
    """
    scheme, layout = _layout(block, shape)
    flat = np.frombuffer(raw, np.uint8)
    count = layout.rows * layout.columns // block.elements
    if flat.size != count * block.size:
        raise BitlatheError(
            f"{block.name}: {tuple(shape)} takes {count * block.size:,} bytes, got {flat.size:,}"
        )
    codes, scales, offsets = _gathered(block, flat.reshape(count, block.size))
    if block.name == "NVFP4":
        scales[0] = _unsigned_e4m3(scales[0])
    unused = np.isin(codes, scheme.formats[0].unused)
    if unused.any():
        raise BitlatheError(f"{block.name}: code {codes[unused][0]} stands for nothing")
    return Coded(
        scheme=scheme,
        layout=layout,
        codes=codes.astype(scheme.formats[0].code_dtype).reshape(layout.rows, layout.columns),
        scales=scales[0].reshape(-1, 1),
        outer_scales=np.zeros(0, np.uint32),
        upper_scales=tuple(raw.reshape(-1) for raw in scales[1:]),
        offsets=tuple(raw.reshape(-1) for raw in offsets),
    )


def write_blocks(block: Block, coded: Coded) -> Bytes:
    """Return the bytes of a tensor in a block format.

    Raises
    ------
    BitlatheError
        Raised if the tensor is in another scheme, or not in whole blocks along its last axis.
    """
    known = (block.scheme, *block.also)
    if all(Scheme.parse(text) != coded.scheme for text in known):
        raise BitlatheError(
            f"{block.name} stores tensors in {' or '.join(known)}, this one is in {coded.scheme}"
        )
    _, layout = _layout(block, coded.layout.shape)
    if coded.layout.quantized != layout.quantized:
        raise BitlatheError(f"{block.name}: blocks run along the last axis; quantize with axis=-1")
    count = layout.rows * layout.columns // block.elements
    codes = coded.codes.reshape(count, block.elements)
    scales = [raw.reshape(count, -1) for raw in (coded.scales, *coded.upper_scales)]
    offsets = [raw.reshape(count, -1) for raw in coded.offsets]
    out = np.zeros((count, block.size), np.uint8)
    for start in range(0, count, SLICE):
        part = slice(start, start + SLICE)
        bits = np.zeros((len(codes[part]), 8 * block.size), np.uint8)
        pairs = [*zip(block.scales, scales, strict=True), *zip(block.offsets, offsets, strict=True)]
        if block.codes is not None:
            pairs.append((block.codes, codes.astype(np.uint32)))
        for field, numbers in pairs:
            field.write(numbers[part], bits)
        out[part] = np.packbits(bits, axis=1, bitorder="little")
        if block.codes is None:
            out[part, : _trits()[1].max() + 1] = _trits_to_bytes(codes[part])
    return out.reshape(-1)


def _unsigned_e4m3(raw: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return scales of E4M3 as ggml reads them: without their sign, the code of NaN as 0."""
    if (raw == 0xFF).any():  # 480 to ggml, which E4M3 has not
        raise BitlatheError("NVFP4: the scale 0xFF is beyond 448, the largest of E4M3")
    return np.where(raw == 0x7F, 0, raw & 0x7F).astype(np.uint32)


def block_of(scheme: Scheme) -> Block:
    """Return the block format that stores a scheme.

    Raises
    ------
    BitlatheError
        Raised if there is none.
    """
    for block in _LISTED:
        if any(Scheme.parse(text) == scheme for text in (block.scheme, *block.also)):
            return block
    known = ", ".join(f"{block.scheme} ({block.name})" for block in _LISTED)
    raise BitlatheError(f"no block format of GGUF stores {scheme}; known: {known}")


def _layout(block: Block, shape: Sequence[int]) -> tuple[Scheme, Layout]:
    scheme = Scheme.parse(block.scheme)
    layout = Layout.of(tuple(shape), len(shape) - 1, scheme.granularity)
    if layout.columns % block.elements:
        raise BitlatheError(
            f"{block.name}: rows of {layout.columns} are not whole blocks of {block.elements}"
        )
    return scheme, layout


def _gathered(
    block: Block, blocks: Bytes
) -> tuple[NDArray[np.uint32], list[NDArray[np.uint32]], list[NDArray[np.uint32]]]:
    """Return the codes, scales and minima of (n, size) blocks."""
    fields = [*block.scales, *block.offsets]
    codes = np.zeros((len(blocks), block.elements), np.uint32)
    found = [np.zeros((len(blocks), len(field.places)), np.uint32) for field in fields]
    for start in range(0, len(blocks), SLICE):
        part = slice(start, start + SLICE)
        bits = np.unpackbits(blocks[part], axis=1, bitorder="little")
        for field, numbers in zip(fields, found, strict=True):
            numbers[part] = field.read(bits)
        own = block.codes
        codes[part] = _bytes_to_trits(blocks[part]) if own is None else own.read(bits)
    return codes, found[: len(block.scales)], found[len(block.scales) :]


@cache
def _trits() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the power and the byte of each element of a TQ1_0 block: five trits a byte."""
    e = np.arange(256)
    power = np.where(e < 160, e // 32, np.where(e < 240, (e - 160) // 16, (e - 240) // 4))
    byte = np.where(e < 160, e % 32, np.where(e < 240, 32 + (e - 160) % 16, 48 + (e - 240) % 4))
    return power, byte


def _bytes_to_trits(blocks: Bytes) -> NDArray[np.uint32]:
    """Return the (n, 256) codes: a byte is a fraction of 256, its digits to base three."""
    power, byte = _trits()
    shifted = (blocks[:, byte].astype(np.uint32) * (3**power).astype(np.uint32)) & 255
    return np.asarray((shifted * 3) >> 8, np.uint32)


def _trits_to_bytes(codes: NDArray[Any]) -> Bytes:
    """Return the (n, 52) bytes of (n, 256) codes: the least fraction with these digits."""
    power, byte = _trits()
    total = np.zeros((len(codes), byte.max() + 1), np.uint32)
    np.add.at(total.T, byte, (codes.astype(np.uint32) * (3 ** (4 - power)).astype(np.uint32)).T)
    return np.asarray((total * 256 + 242) // 243, np.uint8)
