"""GGUF files of quantized tensors, read and written: blocks as they are, never dequantized.

Layout: see `weights.gguf_header`. Written are version 3, one fact (``general.architecture``) and
data aligned to 32 bytes.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.dtypes import is_torch
from ..base.errors import BitlatheError, shown
from ..base.files import open_file, shown_path, writing
from ..base.numbers import ceil_div
from ..weights.gguf_header import GgufTensor, check_gguf_bytes, read_gguf_header
from ..weights.mapped import mapped
from ..weights.read import explained
from .gguf_blocks import BLOCKS, BY_KIND, block_of, read_blocks, write_blocks
from .tensor import QuantizedTensor

ALIGNMENT: Final = 32
# ggml's numbers of plain numbers
PLAIN: Final = {0: "<f4", 1: "<f2", 24: "i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}
_KINDS: Final = {np.dtype(name): kind for kind, name in PLAIN.items()}
Tensors = Mapping[str, QuantizedTensor | NDArray[Any]]


def read_gguf(path: str | Path) -> dict[str, QuantizedTensor | NDArray[Any]]:
    """Read the tensors of a GGUF file, quantized ones as they are stored.

    Returns
    -------
    dict of str to QuantizedTensor or array
        Arrays where a tensor holds plain numbers.

    Raises
    ------
    BitlatheError
        Raised if the file is missing or damaged, or has a type without a scheme here, which
        `read_tensors` reads as float32.
    """
    place = shown_path(path)
    with explained(place), open_file(Path(path), "GGUF file") as stream:
        data = mapped(stream)
        header = read_gguf_header(data, place)
        return {t.name: _tensor(t, data, place) for t in header.tensors}


def _tensor(tensor: GgufTensor, data: Any, place: str) -> QuantizedTensor | NDArray[Any]:
    where = f"{place}: tensor {shown(tensor.name)}"
    if tensor.kind in PLAIN:
        dtype = np.dtype(PLAIN[tensor.kind])
        length = check_gguf_bytes(tensor, (1, dtype.itemsize), len(data), place)
        raw = memoryview(data)[tensor.start : tensor.start + length]
        return np.frombuffer(raw, dtype).reshape(tensor.shape)
    block = BY_KIND.get(tensor.kind)
    if block is None:
        known = ", ".join(BLOCKS)
        raise BitlatheError(
            f"{where} has type {tensor.kind}; known: {known}. read_tensors reads it as float32"
        )
    length = check_gguf_bytes(tensor, (block.elements, block.size), len(data), place)
    raw = memoryview(data)[tensor.start : tensor.start + length]
    try:
        return QuantizedTensor(coded=read_blocks(block, raw, tensor.shape))
    except BitlatheError as problem:
        raise BitlatheError(f"{where}: {problem}") from None


def write_gguf(path: str | Path, tensors: Tensors, architecture: str = "bitlathe") -> None:
    """Write tensors to a GGUF file, each in the block format that stores its scheme.

    Parameters
    ----------
    path : str or Path
    tensors : dict of str to QuantizedTensor or array
        Arrays of float16, float32, float64 or signed integers are stored as they are.
    architecture : str
        What the file says its model is.

    Raises
    ------
    BitlatheError
        Raised if no block format stores a scheme, a tensor has more than four axes, a name is not
        a text, or the file cannot be written.
    """
    if not isinstance(tensors, Mapping):
        raise BitlatheError(
            f"tensors: a dict of names to tensors is needed, got {type(tensors).__name__}"
        )
    parts = [_part(name, tensor) for name, tensor in tensors.items()]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(parts), 1)
    head += _string("general.architecture") + struct.pack("<I", 8) + _string(architecture)
    offset = 0
    for name, shape, kind, raw in parts:
        head += _string(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, offset)
        offset += _aligned(len(raw))
    body = b"".join(raw.ljust(_aligned(len(raw)), b"\0") for *_, raw in parts)
    with writing(path) as file:
        file.write_bytes(head.ljust(_aligned(len(head)), b"\0") + body)


def _part(
    name: str, tensor: QuantizedTensor | NDArray[Any]
) -> tuple[str, tuple[int, ...], int, bytes]:
    """Return a tensor's name, shape, type and bytes."""
    if not isinstance(tensor, QuantizedTensor):
        tensor = _array(name, tensor)
    shape = tuple(tensor.shape)
    if not 1 <= len(shape) <= 4 or math.prod(shape) == 0:
        raise BitlatheError(
            f"tensor {shown(name)}: GGUF has 1 to 4 axes of 1 and more, got {shape}"
        )
    if isinstance(tensor, QuantizedTensor):
        try:
            block = block_of(tensor.scheme)
            return name, shape, block.kind, write_blocks(block, tensor.coded).tobytes()
        except BitlatheError as problem:
            raise BitlatheError(f"tensor {shown(name)}: {problem}") from None
    kind = _KINDS.get(tensor.dtype.newbyteorder("<"))
    if kind is None:
        raise BitlatheError(f"tensor {shown(name)}: GGUF does not store {tensor.dtype}")
    return name, shape, kind, tensor.astype(PLAIN[kind]).tobytes()


def _array(name: str, given: Any) -> NDArray[Any]:
    """Return plain numbers as an array, those of torch as well."""
    try:
        return np.asarray(given.detach().cpu() if is_torch(given) else given)
    except (TypeError, ValueError, RuntimeError):  # bfloat16 of torch, lists that are no array
        raise BitlatheError(
            f"tensor {shown(name)}: a quantized tensor or an array is needed, of float16, float32, "
            f"float64 or signed integers, got {type(given).__name__}"
        ) from None


def _string(text: str) -> bytes:
    try:
        raw = text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise BitlatheError(
            f"name {shown(text)}: GGUF names tensors and architectures by text in UTF-8"
        ) from None
    return struct.pack("<Q", len(raw)) + raw


def _aligned(size: int) -> int:
    return ceil_div(size, ALIGNMENT) * ALIGNMENT
