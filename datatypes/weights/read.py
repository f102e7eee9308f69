"""Readers of weight files: .npy, .npz, .safetensors, .gguf; nothing is ever unpickled.

What a file claims to hold is compared with its size before anything is allocated. Arrays that
need no decoding are mapped from the file, read-only.
"""

import ast
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import descr_to_dtype
from numpy.typing import NDArray

from ..base.errors import BitlatheError, shown, to_install
from ..base.files import open_file, shown_path
from .gguf_header import GgufTensor, check_gguf_bytes, read_gguf_header
from .mapped import check_shape, mapped
from .safetensors_file import read_safetensors, read_stored

Tensors = dict[str, NDArray[Any]]

_NPY = b"\x93NUMPY"
_NPY_HEADER_MAX = 10_000  # characters; numpy's own limit of what is safe to evaluate
# an archive may unpack to the larger of the two: weights shrink to half at most, bombs to 1/1000
_UNPACKED_MAX = 256 << 20  # bytes
_UNPACKED_RATIO = 16
_AT_ONCE = 4 << 20  # bytes of a GGUF tensor that are dequantized at once
# ggml's numbers of types that are plain numbers
_GGUF_PLAIN = {0: "<f4", 1: "<f2", 24: "i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}

# what numpy, zipfile and its decoders raise at damaged files
_DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    SyntaxError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def read_tensors(path: str | Path) -> Tensors:
    """Read every tensor of a file, by name.

    Parameters
    ----------
    path : str or Path
        ``.npy`` (its one array is named after the file), ``.npz``, ``.safetensors`` or ``.gguf``
        (quantized tensors come dequantized, float32).

    Returns
    -------
    dict of str to array
        Read-only where they lie in the file. bfloat16 and FP8 tensors come widened to float32,
        exactly.

    Raises
    ------
    BitlatheError
        Raised if the file's ending is unknown, it is missing, damaged, a pipe or a device, an
        array would need unpickling or is larger than its file, or an archive would unpack to
        many times its size.
    """
    file = Path(path)
    place = shown_path(file)
    readers: dict[str, Callable[[Path], Tensors]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".safetensors": lambda file: read_safetensors(file)[0],
        ".gguf": _read_gguf,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise BitlatheError(
            f"{place}: unknown kind of file {shown(file.suffix)}; known: {', '.join(readers)}"
        )
    with explained(place):
        return reader(file)


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn what damaged files raise within into an error that names the file.

    Raises
    ------
    BitlatheError
        Raised if the file is damaged, or does not fit in memory.
    """
    try:
        yield
    except BitlatheError:
        raise
    except MemoryError:
        raise BitlatheError(f"{place}: cannot be read: it does not fit in memory") from None
    except _DAMAGED as problem:
        why = str(problem).partition("\n")[0] or type(problem).__name__
        raise BitlatheError(f"{place}: cannot be read: {why}") from None


def _read_npy(file: Path) -> Tensors:
    place = shown_path(file)
    with open_file(file, ".npy array") as stream:
        kind = _npy_kind(stream, place)
        return {file.stem: _npy_array(kind, mapped(stream), stream.tell(), place)}


_Kind = tuple[np.dtype[Any], tuple[int, ...], bool]  # type, shape, whether columns come first


def _npy_kind(stream: BinaryIO, place: str) -> _Kind:
    """Read the header of a .npy array: its type and its shape."""
    if stream.read(len(_NPY)) != _NPY:
        raise BitlatheError(f"{place}: cannot be read: it is not a .npy array")
    major = stream.read(2)[0]
    code, letters = ("<H", "latin-1") if major == 1 else ("<I", "utf-8")
    (length,) = struct.unpack(code, stream.read(struct.calcsize(code)))
    if length > _NPY_HEADER_MAX:
        raise BitlatheError(f"{place}: cannot be read: a header of {length:,} bytes")
    try:
        facts = ast.literal_eval(stream.read(length).decode(letters).strip())
        descr, shape, by_columns = (facts[key] for key in ("descr", "shape", "fortran_order"))
        dtype = descr_to_dtype(descr)
    except (*_DAMAGED, MemoryError):
        raise BitlatheError(
            f"{place}: cannot be read: its header does not state descr, fortran_order and shape"
        ) from None
    if dtype.hasobject:
        raise BitlatheError(
            f"{place}: cannot be read: arrays of Python objects are refused, save plain numbers"
        )
    if not dtype.itemsize:
        raise BitlatheError(f"{place}: cannot be read: its elements have no size ({dtype})")
    return dtype, check_shape(shape, place), bool(by_columns)


def _npy_array(kind: _Kind, data: Any, start: int, place: str) -> NDArray[Any]:
    """Return the array that takes all of ``data`` from its byte ``start``."""
    dtype, shape, by_columns = kind
    count = math.prod(shape)
    if count * dtype.itemsize != len(data) - start:
        raise BitlatheError(
            f"{place}: {dtype} {shape} takes {count * dtype.itemsize:,} bytes; the file has "
            f"{len(data) - start:,}"
        )
    flat = np.frombuffer(data, dtype, count, start) if count else np.zeros(0, dtype)
    return flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)


def _read_npz(file: Path) -> Tensors:
    place = shown_path(file)
    with open_file(file, ".npz archive") as stream:
        if stream.read(2) != b"PK":
            raise BitlatheError(f"{place}: cannot be read: it is not an .npz archive")
        with zipfile.ZipFile(stream) as archive:
            size = stream.seek(0, 2)
            members = archive.infolist()
            limit = max(_UNPACKED_MAX, _UNPACKED_RATIO * size)
            if (total := sum(member.file_size for member in members)) > limit:
                raise BitlatheError(
                    f"{place}: would unpack to {total:,} bytes, from {size:,}; at most {limit:,} "
                    "are read. Save each array as .npy"
                )
            found: Tensors = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                where = f"{place}: {shown(name)} in it"
                if name in found:
                    raise BitlatheError(f"{where} stands there twice; save the file again")
                if name == member.filename:
                    raise BitlatheError(f"{where} is not a .npy array")
                with archive.open(member) as inner:
                    kind = _npy_kind(inner, where)  # type: ignore[arg-type]
                    found[name] = _npy_array(kind, inner.read(), 0, where)
            return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor that lies in a file.

    Attributes
    ----------
    kind : str
        The name of its type in the file's format, such as ``BF16`` or ``Q4_1``.
    shape : tuple of int
    read : callable
        Gives its values, (*shape), as `read_tensors` does; nothing is read before.
    """

    kind: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


def open_tensors(path: str | Path) -> dict[str, StoredTensor]:
    """Return the tensors of a ``.safetensors`` or ``.gguf`` file by name, to be read one by one.

    Raises
    ------
    BitlatheError
        As `read_tensors` does; of a tensor that cannot be dequantized when it is read.
    """
    file = Path(path)
    with explained(shown_path(file)):
        if file.suffix.lower() == ".gguf":
            return _open_gguf(file)
        tensors, _ = read_stored(file)
        return {
            name: StoredTensor(
                kind=each.kind, shape=each.shape, read=partial(getattr, each, "values")
            )
            for name, each in tensors.items()
        }


def _read_gguf(file: Path) -> Tensors:
    return {name: each.read() for name, each in _open_gguf(file).items()}


def _open_gguf(file: Path) -> dict[str, StoredTensor]:
    place = shown_path(file)
    try:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError:
        raise BitlatheError(
            f"{place}: reading GGUF needs the gguf package: {to_install('gguf', 'weights')}"
        ) from None
    with open_file(file, "GGUF file") as stream:
        data = mapped(stream)
    blocks = {int(kind): block for kind, block in GGML_QUANT_SIZES.items()}
    found: dict[str, StoredTensor] = {}
    end, before = 0, ""
    for tensor in sorted(read_gguf_header(data, place).tensors, key=lambda t: t.start):
        where = f"{place}: tensor {shown(tensor.name)}"
        if tensor.kind not in blocks:
            raise BitlatheError(f"{where} has unknown type {tensor.kind}")
        length = check_gguf_bytes(tensor, blocks[tensor.kind], len(data), place)
        if tensor.start < end:
            raise BitlatheError(f"{where} overlaps {shown(before)}; save the file again")
        end, before = tensor.start + length, tensor.name
        raw = memoryview(data)[tensor.start : end]
        found[tensor.name] = StoredTensor(
            kind=GGMLQuantizationType(tensor.kind).name,
            shape=tuple(tensor.shape),
            read=partial(_gguf_values, tensor, raw, where),
        )
    return found


def _gguf_values(tensor: GgufTensor, raw: memoryview, where: str) -> NDArray[Any]:
    """Return the values of a tensor: mapped where they are plain numbers, else as float32."""
    from gguf import GGMLQuantizationType, dequantize

    if not raw:
        return np.zeros(tensor.shape, np.float32)
    if tensor.kind in _GGUF_PLAIN:
        return np.frombuffer(raw, _GGUF_PLAIN[tensor.kind]).reshape(tensor.shape)
    kind = GGMLQuantizationType(tensor.kind)
    rows = np.frombuffer(raw, np.uint8).reshape(math.prod(tensor.shape[:-1]), -1)
    values = np.empty((len(rows), tensor.shape[-1]), np.float32)
    some = max(1, _AT_ONCE // max(rows.shape[1], 1))  # what the library takes besides stays small
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a scale may be infinite or NaN
            for start in range(0, len(rows), some):
                values[start : start + some] = dequantize(rows[start : start + some], kind)
    except NotImplementedError:
        raise BitlatheError(f"{where}: {kind.name} cannot be dequantized") from None
    return values.reshape(tensor.shape)
