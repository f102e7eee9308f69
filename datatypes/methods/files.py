"""Calibrated layers on disk: one safetensors file each, all facts in its header.

Weights are the packed streams of `datatypes.tensors.store`; codes, indices and places of methods'
own parts are packed likewise, in the bits that they are counted by (``widths``). Divisors,
rotations and what is in fp16 stand beside them as they are computed with. A checksum covers facts
and tensors.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..base.files import shown_path
from ..schemes.scheme import Scheme
from ..tensors.packing import pack, streams_of, unpack
from ..tensors.store import (
    assemble,
    checksum,
    header_of,
    read_scheme,
    scheme_facts,
    write_checked,
)
from ..tensors.tensor import QuantizedTensor
from ..weights.read import explained
from ..weights.safetensors_file import read_safetensors
from .layer import QuantizedLinear
from .low_rank import LowRank
from .parts import LookupWeights, SignStack, Sparse, VectorWeights
from .rotations import Rotation

KIND, VERSION = "bitlathe.QuantizedLinear", "1"
PARTS: Final[tuple[type[Any], ...]] = (
    QuantizedLinear,
    LookupWeights,
    LowRank,
    Rotation,
    SignStack,
    Sparse,
    VectorWeights,
)
# what may stand in a layer, by the name that headers give it
KNOWN: Final[dict[str, Callable[..., Any]]] = {part.__name__: part for part in PARTS}
Arrays = dict[str, NDArray[Any]]


def save_layer(layer: QuantizedLinear, path: str | Path, notes: Mapping[str, str]) -> str:
    """Write a calibrated layer, whole or not at all.

    Parameters
    ----------
    layer : QuantizedLinear
    path : str or Path
    notes : mapping of str to str
        Further facts for the header, such as the layer's name.

    Returns
    -------
    str
        The SHA-256 of what was written.

    Raises
    ------
    BitlatheError
        Raised if safetensors is not installed, or the file cannot be written.
    """
    arrays: Arrays = {}
    facts = {"kind": KIND, "version": VERSION, "layer": json.dumps(_plain(layer, "", arrays))}
    facts |= {f"note.{name}": text for name, text in notes.items()}
    return write_checked(path, facts, arrays)


def load_layer(path: str | Path) -> tuple[QuantizedLinear, dict[str, str]]:
    """Read a calibrated layer and the notes of its header; ``sha256`` is among them.

    Raises
    ------
    BitlatheError
        Raised if the file is missing, has changed since it was written, or is no calibrated layer.
    """
    place = shown_path(path)
    with explained(place):
        arrays, facts = read_safetensors(Path(path))
    if facts.get("kind") != KIND or facts.get("version") != VERSION:
        raise BitlatheError(
            f"{place}: not a calibrated layer of this version; make it with `bitlathe calibrate`"
        )
    if facts.get("sha256") != checksum(facts, arrays):
        raise BitlatheError(
            f"{place}: damaged: its content does not have its checksum; delete the file and run "
            "`bitlathe calibrate` again"
        )
    try:
        layer = _object(json.loads(facts["layer"]), arrays)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise BitlatheError(f"{place}: damaged: {problem}") from None
    if not isinstance(layer, QuantizedLinear):
        raise BitlatheError(f"{place}: damaged: it holds a {type(layer).__name__}, no layer")
    notes = {k.removeprefix("note."): v for k, v in facts.items() if k.startswith("note.")}
    return layer, {**notes, "sha256": facts["sha256"]}


def _plain(value: Any, path: str, arrays: Arrays) -> Any:
    """Return a value as plain data; what it holds in (...) arrays goes to ``arrays`` by path."""
    made: Any = value
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value)
        made = {"array": path}
    elif isinstance(value, QuantizedTensor):
        streams = streams_of(value.coded)
        arrays.update({f"{path}.{name}": stream for name, stream in streams.items()})
        made = {"tensor": path, "header": header_of(value.coded, value.dtype)}
    elif isinstance(value, Scheme):
        made = {"scheme": scheme_facts(value)}
    elif isinstance(value, float):
        made = {"float": value.hex()}
    elif is_dataclass(value):
        widths = getattr(value, "widths", {})
        inner = {}
        for name in (field.name for field in fields(value)):
            own, place = getattr(value, name), f"{path}.{name}".strip(".")
            whole = name in widths and own is not None
            inner[name] = (
                _packed(own, widths[name], place, arrays) if whole else _plain(own, place, arrays)
            )
        made = {"part": type(value).__name__, "fields": inner}
    elif isinstance(value, tuple):
        made = {"tuple": [_plain(each, f"{path}.{i}", arrays) for i, each in enumerate(value)]}
    return made


def _packed(value: Any, bits: int | tuple[int, ...], path: str, arrays: Arrays) -> Any:
    """Return whole numbers as plain data, packed to the last bit; or a tuple of such arrays."""
    if isinstance(bits, tuple):
        each = enumerate(zip(value, bits, strict=True))
        return {"tuple": [_packed(one, some, f"{path}.{i}", arrays) for i, (one, some) in each]}
    codes = value if value.dtype == np.uint8 else value.astype(np.uint32)
    arrays[path] = pack(codes, bits) if bits else np.zeros(0, np.uint8)
    return {"packed": path, "bits": bits, "shape": list(value.shape), "dtype": value.dtype.name}


def _unpacked(path: str, data: dict[str, Any], arrays: Arrays) -> NDArray[Any]:
    """Return what `_packed` wrote."""
    shape, bits = tuple(data["shape"]), data["bits"]
    if not bits:
        return np.zeros(shape, data["dtype"])
    found = unpack(arrays[path], bits, math.prod(shape))
    return found.astype(data["dtype"]).reshape(shape)


def _object(data: Any, arrays: Arrays) -> Any:
    """Return what `_plain` wrote."""
    if not isinstance(data, dict):
        return data
    kind, value = next(iter(data.items()))
    return _READERS[kind](value, data, arrays)


def _tensor(path: str, data: dict[str, Any], arrays: Arrays) -> QuantizedTensor:
    start = f"{path}."
    streams = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
    coded, dtype = assemble(data["header"], streams)
    return QuantizedTensor(coded=coded, dtype=dtype)


def _part(name: str, data: dict[str, Any], arrays: Arrays) -> Any:
    return KNOWN[name](**{k: _object(v, arrays) for k, v in data["fields"].items()})


_READERS: Final[dict[str, Callable[[Any, dict[str, Any], Arrays], Any]]] = {
    "array": lambda path, _, arrays: arrays[path],
    "packed": _unpacked,
    "tensor": _tensor,
    "scheme": lambda facts, _, __: read_scheme(facts),
    "float": lambda text, _, __: float.fromhex(text),
    "tuple": lambda each, _, arrays: tuple(_object(one, arrays) for one in each),
    "part": _part,
}
