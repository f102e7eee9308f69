"""Reader and writer of .safetensors: every byte belongs to one tensor, or the file is refused.

Layout: 8 bytes of header length, a JSON object (name -> dtype, shape, data_offsets), the data.
The format asks for tensors without holes or overlap (github.com/huggingface/safetensors).
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, shown
from ..base.files import open_file, shown_path, writing
from ..base.jsonfile import parse_json
from ..formats.catalogue import single
from .mapped import check_shape, mapped

# names of types -> numpy's; BF16 is widened to float32, F8 types to float32
_KINDS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_FLOAT8 = {"F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2", "F8_E8M0": "e8m0"}
HEADER_MAX = 32 << 20  # bytes: about 200,000 tensors


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors of a file by name, mapped where they need no widening, and its facts.

    Raises
    ------
    BitlatheError
        Raised if the file is missing or damaged, tensors overlap, or bytes belong to no tensor.
    """
    header, facts, data = _opened(path)
    tensors = {}
    for name, entry in header.items():
        where = f"{shown_path(path)}: tensor {shown(name)}"
        tensors[name] = _tensor(*_entry(entry, where), data, where)
    return tensors, facts


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, str], memoryview]:
    """Return the table of a file's tensors, its facts, and its data, of which all is claimed."""
    place = shown_path(path)
    with open_file(path, "safetensors file") as file:
        header, base = _header(file, place)
        data = mapped(file)
    facts = header.pop("__metadata__", {})
    if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
        raise BitlatheError(f"{place}: its __metadata__ is not a table of strings")
    spans: dict[str, tuple[int, int]] = {}
    for name, entry in header.items():
        where = f"{place}: tensor {shown(name)}"
        kind, shape, spans[name] = _entry(entry, where)
        _check_size(kind, shape, spans[name], len(data) - base, where)
    _check_spans(spans, len(data) - base, place)
    return header, facts, memoryview(data)[base:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor as it lies in a file.

    Attributes
    ----------
    kind : str
        The format's name of its type, such as ``BF16``.
    shape : tuple of int
    data : bytes-like
        Its elements in C order, little-endian.
    """

    kind: str
    shape: tuple[int, ...]
    data: bytes | memoryview

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return memoryview(self.data).nbytes

    @property
    def values(self) -> NDArray[Any]:
        """The elements; BF16 and FP8 widened to float32, exactly."""
        whole = memoryview(self.data)
        return _tensor(self.kind, self.shape, (0, whole.nbytes), whole, "a tensor")

    @classmethod
    def of(cls, array: NDArray[Any], kind: str = "") -> "Stored":
        """Return a (...) array as it is written.

        Parameters
        ----------
        array : (...) array
        kind : str, optional
            What its elements are the bits of; by default its own type.

        Raises
        ------
        BitlatheError
            Raised if the format has no such type.
        """
        plain = np.ascontiguousarray(array)
        wanted = plain.dtype.newbyteorder("<")
        own = {np.dtype(v): k for k, v in _KINDS.items() if k != "BF16"}
        found = kind or own.get(wanted, "")
        if not found:
            raise BitlatheError(f"safetensors has no type for {array.dtype}")
        return cls(kind=found, shape=array.shape, data=plain.astype(wanted).tobytes())


def read_stored(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return the tensors of a file as they lie in it, by name, and its facts.

    Raises
    ------
    BitlatheError
        See `read_safetensors`.
    """
    header, facts, data = _opened(path)
    found = {}
    for name, entry in header.items():
        kind, shape, (start, stop) = _entry(entry, f"{shown_path(path)}: tensor {shown(name)}")
        found[name] = Stored(kind=kind, shape=shape, data=data[start:stop])
    return found, facts


def write_stored(tensors: Mapping[str, Stored], facts: Mapping[str, str], path: Path) -> None:
    """Write tensors into a safetensors file, those of wide elements first, so that all are aligned.

    Raises
    ------
    BitlatheError
        Raised if it cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(facts)} if facts else {}
    at = 0
    ordered = sorted(tensors.items(), key=lambda item: -_each(item[1].kind))
    for name, tensor in ordered:
        size = tensor.nbytes
        header[name] = {
            "dtype": tensor.kind,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    # what lies in the file that is replaced may be mapped: it is not written over
    with writing(path) as part, part.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in ordered:
            file.write(tensor.data)


def safetensors_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of the tensors of a file, by name; of the file only its header is read.

    Raises
    ------
    BitlatheError
        Raised if the file is missing, or its header damaged.
    """
    place = shown_path(path)
    with open_file(path, "safetensors file") as file:
        header, _ = _header(file, place)
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        where = f"{place}: tensor {shown(name)}"
        kind, shape, span = _entry(entry, where)
        _check_size(kind, shape, span, span[1], where)  # the data may not be there
        found[name] = (kind, shape)
    return found


def _header(file: BinaryIO, place: str) -> tuple[dict[str, Any], int]:
    """Return the table at the start of a file, and where its data begins."""
    start = file.read(8)
    if len(start) < 8:
        raise BitlatheError(f"{place}: too short for a safetensors file")
    (length,) = struct.unpack("<Q", start)
    if length > HEADER_MAX:
        raise BitlatheError(
            f"{place}: its header claims {length:,} bytes; at most {HEADER_MAX:,} are read"
        )
    text = file.read(length)
    if len(text) < length:
        raise BitlatheError(f"{place}: its header claims {length:,} bytes, more than there are")
    header = parse_json(text, f"{place}: cannot be read: its header")
    if not isinstance(header, dict):
        raise BitlatheError(f"{place}: its header is not a table of tensors")
    return header, 8 + length


def _entry(entry: Any, where: str) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """Return type, shape and span of a tensor, each of the right kind."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BitlatheError(f"{where}: dtype, shape and data_offsets are its facts, no others")
    kind = entry["dtype"]
    if not isinstance(kind, str) or kind not in _KINDS | _FLOAT8:
        raise BitlatheError(f"{where} has unknown type {shown(kind)}")
    shape = check_shape(entry["shape"], where)
    span = entry["data_offsets"]
    if not isinstance(span, list) or len(span) != 2 or any(type(n) is not int for n in span):
        raise BitlatheError(f"{where}: data_offsets is {shown(span)}; it must be two integers")
    return kind, shape, (span[0], span[1])


def _tensor(
    kind: str, shape: tuple[int, ...], span: tuple[int, int], data: memoryview, where: str
) -> NDArray[Any]:
    _check_size(kind, shape, span, data.nbytes, where)
    dtype, count, start = np.dtype(_KINDS.get(kind, "u1")), math.prod(shape), span[0]
    flat = np.frombuffer(data, dtype, count, start) if count else np.zeros(0, dtype)
    flat = flat.reshape(shape)
    if kind == "BF16":
        return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind in _FLOAT8:
        return np.asarray(single(_FLOAT8[kind]).values.astype(np.float32)[flat])
    return flat


def _each(kind: str) -> int:
    """Return the bytes of an element."""
    return np.dtype(_KINDS.get(kind, "u1")).itemsize


def _check_size(
    kind: str, shape: tuple[int, ...], span: tuple[int, int], size: int, where: str
) -> None:
    """Refuse a tensor whose bytes are not in the file, or not as many as it takes."""
    start, stop = span
    each = _each(kind)
    if stop - start != math.prod(shape) * each or not 0 <= start <= stop <= size:
        raise BitlatheError(f"{where}: {kind} {shape} does not fit its bytes {start} to {stop}")


def _check_spans(spans: Mapping[str, tuple[int, int]], size: int, place: str) -> None:
    """Refuse bytes that two tensors claim, or that no tensor does."""
    at, before = 0, ""
    for name, (start, stop) in sorted(spans.items(), key=lambda item: item[1]):
        if start < at:
            raise BitlatheError(
                f"{place}: tensors {shown(before)} and {shown(name)} overlap: both claim byte "
                f"{start}; save the file again"
            )
        if start > at:
            raise BitlatheError(
                f"{place}: no tensor claims bytes {at} to {start}; save the file again"
            )
        at, before = stop, name
    if at != size:
        raise BitlatheError(
            f"{place}: {size - at:,} bytes follow the last tensor; save the file again"
        )
