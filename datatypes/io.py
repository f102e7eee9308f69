"""Readers of weight files: .npy, .npz, .safetensors, .gguf; nothing is ever unpickled."""

import json
import math
import mmap
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BitlatheError

Tensors = dict[str, NDArray[Any]]

# safetensors names -> numpy dtypes; BF16 is widened to float32, F8 types to float32
_SAFETENSORS = {
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
_HEADER_MAX = 100 << 20


def read_tensors(path: str | Path) -> Tensors:
    """Read every tensor of a file, by name.

    Parameters
    ----------
    path : str or Path
        ``.npy`` (its one array is named after the file), ``.npz``, ``.safetensors`` or ``.gguf``
        (quantised tensors come dequantised, float32).

    Returns
    -------
    dict of str to array
        bfloat16 and FP8 tensors come widened to float32, exactly.

    Raises
    ------
    BitlatheError
        Unknown ending, missing or damaged file, an array that would need unpickling.
    """
    file = Path(path)
    readers: dict[str, Callable[[Path], Tensors]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
        ".gguf": _read_gguf,
    }
    if file.suffix.lower() not in readers:
        raise BitlatheError(
            f"{file}: unknown kind of file {file.suffix!r}; known: {', '.join(readers)}"
        )
    if not file.is_file():
        raise BitlatheError(f"{file}: no such file")
    try:
        return readers[file.suffix.lower()](file)
    except BitlatheError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as problem:
        why = str(problem)
        if "pickle" in why.lower():  # numpy would tell to allow it
            why = "arrays of Python objects are refused, save plain numbers"
        raise BitlatheError(f"{file}: cannot be read: {why}") from None


def _read_npy(file: Path) -> Tensors:
    _refuse_unless(file, b"\x93NUMPY", "a .npy array")
    return {file.stem: np.load(file, allow_pickle=False)}


def _read_npz(file: Path) -> Tensors:
    _refuse_unless(file, b"PK", "an .npz archive")
    with np.load(file, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise BitlatheError(f"{file}: {name!r} in it is not a .npy array")
    return found


def _refuse_unless(file: Path, start: bytes, what: str) -> None:
    """Refuse a file that does not start as its kind does; numpy would take it for a pickle."""
    with file.open("rb") as handle:
        if handle.read(len(start)) != start:
            raise BitlatheError(f"{file}: cannot be read: it is not {what}")


def _read_safetensors(file: Path) -> Tensors:
    with file.open("rb") as handle:
        start = handle.read(8)
        if len(start) < 8:
            raise BitlatheError(f"{file}: too short for a safetensors file")
        (length,) = struct.unpack("<Q", start)
        if length > min(_HEADER_MAX, file.stat().st_size - 8):
            raise BitlatheError(f"{file}: its header claims {length} bytes, more than there are")
        header = json.loads(handle.read(length))
        if not isinstance(header, dict):
            raise BitlatheError(f"{file}: its header is not a table of tensors")
        if file.stat().st_size == 8 + length:
            data: Any = b""
        else:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: _tensor(file, name, facts, data, 8 + length)
        for name, facts in header.items()
        if name != "__metadata__"
    }


def _tensor(file: Path, name: str, facts: Any, data: Any, base: int) -> NDArray[Any]:
    kind, shape = facts["dtype"], tuple(facts["shape"])
    start, stop = facts["data_offsets"]
    dtype = np.dtype("u1" if kind in _FLOAT8 else _SAFETENSORS.get(kind, "V1"))
    if dtype.kind == "V":
        raise BitlatheError(f"{file}: tensor {name!r} has unknown type {kind!r}")
    count = math.prod(shape)
    if stop - start != count * dtype.itemsize or start < 0 or (count and base + stop > len(data)):
        raise BitlatheError(f"{file}: tensor {name!r}: {kind} {shape} does not fit its bytes")
    if not count:
        return np.zeros(shape, np.float32 if kind == "BF16" or kind in _FLOAT8 else dtype)
    flat = np.frombuffer(data, dtype, count, base + start).reshape(shape)
    if kind == "BF16":
        return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind in _FLOAT8:
        from .catalogue import single

        grid = single(_FLOAT8[kind])
        return grid.values.astype(np.float32)[flat]
    return flat


def _read_gguf(file: Path) -> Tensors:
    try:
        from gguf import GGUFReader, dequantize
    except ImportError:
        raise BitlatheError(
            f"{file}: reading GGUF needs the gguf package: pip install 'bitlathe[weights]'"
        ) from None
    try:
        found: Tensors = {}
        for tensor in GGUFReader(str(file)).tensors:
            shape = tuple(int(n) for n in reversed(tensor.shape))
            values = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
            found[tensor.name] = values.reshape(shape)
        return found
    except (IndexError, NotImplementedError, AssertionError, AttributeError) as problem:
        raise BitlatheError(f"{file}: not a readable GGUF file: {problem!r}") from None
