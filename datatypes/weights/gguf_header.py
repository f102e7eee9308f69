"""The header of a .gguf file: its facts, and where its tensors lie; checked against the file.

Layout (GGUF versions 2 and 3, little-endian; docs/gguf.md of ggml): "GGUF", version, number of
tensors, number of facts; facts (key, type, value); tensors (name, dimensions with the quickest
first, type, offset); then, aligned, the data.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, shown
from ..base.numbers import ceil_div
from .mapped import check_shape

# types of facts -> numpy's
_SCALARS = {
    0: "u1",
    1: "i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY = 8, 9
_ARRAYS_MAX = 4  # of arrays in one another; known files have one


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """Where a tensor lies.

    Attributes
    ----------
    name : str
    shape : tuple of int
        In numpy's order, the quickest dimension last.
    kind : int
        ggml's number of its type.
    start : int
        Its first byte in the file.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What stands before the data; facts are numbers, strings, arrays and lists of them."""

    facts: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]


class _Cursor:
    """Reads a file from its start, never beyond its end."""

    def __init__(self, data: memoryview, place: str) -> None:
        self.data, self.at, self.place = data, 0, place

    def take(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise BitlatheError(
                f"{self.place}: cannot be read: it ends at byte {len(self.data):,}, within "
                f"{size:,} bytes that start at {self.at:,}"
            )
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, code: str) -> int:
        return int(struct.unpack(code, self.take(struct.calcsize(code)))[0])

    def string(self) -> str:
        # bytes that are not UTF-8 stay as they are: vocabularies contain parts of letters
        return bytes(self.take(self.number("<Q"))).decode("utf-8", "surrogateescape")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.scalars(kind, 1).tolist()[0]
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            raise BitlatheError(f"{self.place}: cannot be read: a fact of unknown type {kind}")
        if depth == _ARRAYS_MAX:
            raise BitlatheError(
                f"{self.place}: cannot be read: arrays nested more than {_ARRAYS_MAX} deep"
            )
        inner, count = self.number("<I"), self.number("<Q")
        if inner in _SCALARS:
            return self.scalars(inner, count)
        # each item takes eight bytes or more, so the file's end ends this
        return [self.value(inner, depth + 1) for _ in range(count)]

    def scalars(self, kind: int, count: int) -> NDArray[Any]:
        dtype = np.dtype(_SCALARS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize), dtype)


def read_gguf_header(data: Any, place: str) -> GgufHeader:
    """Return the header of a file.

    Parameters
    ----------
    data : bytes or mmap
        The whole file.
    place : str
        Its name, for errors.

    Raises
    ------
    BitlatheError
        Raised if it is not a GGUF file of version 2 or 3, ends too early, or gives a name twice.
    """
    cursor = _Cursor(memoryview(data), place)
    if bytes(cursor.data[:4]) != b"GGUF":
        raise BitlatheError(f"{place}: cannot be read: it is not a GGUF file")
    cursor.at = 4
    version = cursor.number("<I")
    if version not in (2, 3):
        kind = "big-endian" if version % (1 << 16) == 0 else f"of version {version}"
        raise BitlatheError(f"{place}: it is {kind}; GGUF 2 and 3, little-endian, are read")
    tensors, count = cursor.number("<Q"), cursor.number("<Q")
    facts: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.string()
        if key in facts:
            raise BitlatheError(f"{place}: cannot be read: it states {shown(key)} twice")
        facts[key] = cursor.value(cursor.number("<I"))
    stated = [_stated(cursor) for _ in range(tensors)]
    align = facts.get("general.alignment", 32)
    if type(align) is not int or align < 1 or align & (align - 1):
        raise BitlatheError(f"{place}: its alignment is {shown(align)}; it must be a power of two")
    base = ceil_div(cursor.at, align) * align
    names: set[str] = set()
    for name, *_ in stated:
        if name in names:
            raise BitlatheError(f"{place}: cannot be read: two tensors are named {shown(name)}")
        names.add(name)
    return GgufHeader(
        facts=facts,
        tensors=tuple(
            GgufTensor(name=name, shape=shape, kind=kind, start=base + offset)
            for name, shape, kind, offset in stated
        ),
    )


def _stated(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.string()
    where = f"{cursor.place}: tensor {shown(name)}"
    dimensions = cursor.number("<I")
    if not 1 <= dimensions <= 4:
        raise BitlatheError(f"{where} has {dimensions} dimensions; GGUF has 1 to 4")
    lengths = [cursor.number("<Q") for _ in range(dimensions)]
    shape = check_shape(lengths[::-1], where)
    return name, shape, cursor.number("<I"), cursor.number("<Q")


def check_gguf_bytes(tensor: GgufTensor, block: tuple[int, int], size: int, place: str) -> int:
    """Return the number of bytes of a tensor in a file of ``size`` bytes.

    Parameters
    ----------
    tensor : GgufTensor
    block : (int, int)
        Elements and bytes of a block of its type.
    size : int
    place : str

    Raises
    ------
    BitlatheError
        Raised if its rows are not whole blocks, or it does not lie in the file.
    """
    elements, width = block
    if tensor.shape[-1] % elements:
        raise BitlatheError(
            f"{place}: tensor {shown(tensor.name)}: rows of {tensor.shape[-1]} are not whole "
            f"blocks of {elements}"
        )
    length = math.prod(tensor.shape) // elements * width
    if tensor.start + length > size:
        raise BitlatheError(
            f"{place}: tensor {shown(tensor.name)}: {tensor.shape} does not fit its bytes"
        )
    return length
