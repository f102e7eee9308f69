"""The reader of .safetensors: every byte belongs to exactly one tensor, or the file is refused.

Layout: 8 bytes of header length, a JSON object (name -> dtype, shape, data_offsets), the data.
The format asks for tensors without holes or overlap (github.com/huggingface/safetensors).
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, shown
from ..base.files import open_file, shown_path
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
_FLOAT8 = {"F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2"}
HEADER_MAX = 32 << 20  # bytes: about 200,000 tensors


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors of a file by name, mapped where they need no widening, and its facts.

    Raises
    ------
    BitlatheError
        Raised if the file is missing or damaged, tensors overlap, or bytes belong to no tensor.
    """
    place = shown_path(path)
    with open_file(path, "safetensors file") as file:
        header, base = _header(file, place)
        data = mapped(file)
    facts = header.pop("__metadata__", {})
    if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
        raise BitlatheError(f"{place}: its __metadata__ is not a table of strings")
    spans: dict[str, tuple[int, int]] = {}
    tensors = {}
    for name, entry in header.items():
        where = f"{place}: tensor {shown(name)}"
        kind, shape, spans[name] = _entry(entry, where)
        tensors[name] = _tensor(kind, shape, spans[name], memoryview(data)[base:], where)
    _check_spans(spans, len(data) - base, place)
    return tensors, facts


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
    entries = (
        (name, _entry(entry, f"{place}: tensor {shown(name)}")) for name, entry in header.items()
    )
    return {name: (kind, shape) for name, (kind, shape, _) in entries}


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
    dtype = np.dtype(_KINDS.get(kind, "u1"))
    count, (start, stop) = math.prod(shape), span
    if stop - start != count * dtype.itemsize or not 0 <= start <= stop <= len(data):
        raise BitlatheError(f"{where}: {kind} {shape} does not fit its bytes {start} to {stop}")
    flat = np.frombuffer(data, dtype, count, start) if count else np.zeros(0, dtype)
    flat = flat.reshape(shape)
    if kind == "BF16":
        return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind in _FLOAT8:
        return np.asarray(single(_FLOAT8[kind]).values.astype(np.float32)[flat])
    return flat


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
