"""Checkpoints of torchao: safetensors whose header says what each tensor is made of.

As torchao 0.18 writes them, ``M.weight`` is stored in parts named ``M._weight_qdata``,
``M._weight_scale`` and so on; the header's facts hold under ``M.weight`` a JSON object with the
class, ``_type``, and its settings, ``_data``, and under ``tensor_names`` all names.

============================ ================================================ ==================
class                        parts                                            scheme
============================ ================================================ ==================
``Float8Tensor``             codes, a scale for each block                    ``fp8_*@GROUP``
``Int8Tensor``               int8 codes, scales, zero points                  ``int8_full``,
                                                                              ``int8_asym``
``IntxUnpackedToInt8Tensor`` the same of 2 to 8 bits, each in a byte          ``intN_full``,
                                                                              ``intN_asym``
``Int4Tensor``               int4 codes two a byte, scales and zero points    ``int4_full@gN/S``,
                             to be added, by group and row                    ``...@gN/S-S``
``MXTensor``                 codes, of FP4 two a byte, scales of powers of 2  ``mxfp4``, ...
``NVFP4Tensor``              codes two a byte, E4M3 scales, one of the tensor ``nvfp4``
============================ ================================================ ==================

`torchao_parts` makes the same of our tensors. Its two other packings of four bits,
``Int4TilePackedTo4dTensor`` and ``Int4PlainInt32Tensor``, are in the order of one kernel.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, shown
from ..base.numbers import ceil_div
from ..schemes.granularity import Granularity
from ..tensors.tensor import QuantizedTensor
from ..weights.safetensors_file import Stored
from .compressed_tensors import part_of
from .torchao_parts import FLOATS, KINDS, PACKED4, SIXES

NAMES: Final = "tensor_names"
PLAIN: Final = "Tensor"
_FLOATS: Final = {kind: name for name, (kind, _) in FLOATS.items()}
_SCALES: Final = {kind: name for name, kind in KINDS.items()}
Parts = Mapping[str, Stored]
Facts = Mapping[str, Any]


def is_torchao(facts: Mapping[str, str]) -> bool:
    """Return whether the facts of a file's header say that torchao has written tensors in it."""
    return any(_class_of(facts, name) != PLAIN for name in _names(facts))


def read_torchao(
    tensors: dict[str, Stored], facts: Mapping[str, str]
) -> dict[str, QuantizedTensor]:
    """Return the quantized tensors of a file by name; their parts are taken off.

    Parameters
    ----------
    tensors : dict of str to Stored
    facts : mapping of str to str
        Of the file's header.

    Raises
    ------
    BitlatheError
        Raised if a class is not read, or a part is missing, of another type or shape; names the
        tensor.
    """
    found = {}
    for name in _names(facts):
        kind = _class_of(facts, name)
        if kind == PLAIN:
            continue
        module, _, own = name.rpartition(".")
        start = f"{module}._{own}_" if module else f"_{own}_"
        keys = [key for key in tensors if key.startswith(start)]
        if not keys:
            continue  # in another shard
        parts = {key.removeprefix(start): tensors.pop(key) for key in keys}
        try:
            if kind not in _READERS:
                raise BitlatheError(f"class {shown(kind)} is not read; {', '.join(_READERS)} are")
            if "act_pre_scale" in parts:
                raise BitlatheError("its inputs have scales of their own (act_pre_scale): not read")
            found[name] = _READERS[kind](parts, json.loads(facts[name]).get("_data"))
        except (LookupError, ValueError, TypeError, AttributeError) as problem:
            said = str(problem) if isinstance(problem, BitlatheError) else f"damaged: {problem!r}"
            raise BitlatheError(f"{shown(name)}: {said}") from None
    return found


def _names(facts: Mapping[str, str]) -> list[str]:
    """Return the names of a file's tensors; none where torchao has not written it."""
    try:
        names = json.loads(facts.get(NAMES, "[]"))
    except (ValueError, RecursionError):
        return []
    known = isinstance(names, list) and all(isinstance(n, str) and n in facts for n in names)
    return names if known else []


def _class_of(facts: Mapping[str, str], name: str) -> str:
    try:
        said = json.loads(facts[name])
    except (ValueError, RecursionError):
        return PLAIN
    return str(said.get("_type")) if isinstance(said, dict) else PLAIN


def _codes(part: Stored) -> NDArray[np.uint8]:
    """Return the (rows, columns) bytes of the codes."""
    if len(part.shape) != 2:
        raise BitlatheError(f"qdata is of shape {part.shape}; it must be a matrix")
    return np.frombuffer(part.data, np.uint8).reshape(part.shape)


def _unpacked(part: Stored) -> NDArray[np.uint8]:
    """Return (rows, columns) codes of which two lie in a byte, the first below."""
    both = _codes(part)
    return np.stack([both & 15, both >> 4], axis=2).reshape(len(both), -1)


def _groups(block: Any, shape: tuple[int, ...]) -> Granularity:
    """Return what shares a scale, of a block of rows and columns."""
    if not isinstance(block, list) or [type(n) for n in block] != [int, int] or min(block) < 1:
        raise BitlatheError(f"block_size is {shown(block)}; it must be rows and columns")
    rows, columns = block
    if columns >= shape[1] and (rows == 1 or rows >= shape[0]):
        return Granularity(rows=int(rows == 1 < shape[0]), columns=0)
    return Granularity(rows=rows, columns=columns)


def _scales(part: Stored, shape: Granularity, of: tuple[int, ...]) -> NDArray[Any]:
    """Return the scales of a matrix, by group."""
    wanted = shape.blocks(*of)
    if part.kind not in _SCALES or int(np.prod(part.shape)) != wanted[0] * wanted[1]:
        raise BitlatheError(
            f"scale is {part.kind} of shape {part.shape}; it must be {wanted} of "
            f"{' or '.join(_SCALES)}"
        )
    return part.values.reshape(wanted)


def _float8(parts: Parts, facts: Facts) -> QuantizedTensor:
    codes, scale = part_of(parts, "qdata", tuple(_FLOATS)), part_of(parts, "scale", ())
    shape = _groups(facts["block_size"], codes.shape)
    scheme = f"{_FLOATS[codes.kind]}@{shape}/{_SCALES.get(scale.kind, 'fp32')}"
    scales = _scales(scale, shape, codes.shape)
    return QuantizedTensor.of(_codes(codes), scales, scheme=scheme)


def _integers(parts: Parts, facts: Facts) -> QuantizedTensor:
    bits = 8
    if "target_dtype" in facts:
        name = str(facts["target_dtype"]["_data"])
        if name not in {f"int{b}" for b in range(2, 9)}:
            raise BitlatheError(f"target_dtype is {shown(name)}; int2 to int8 are read")
        bits = int(name.removeprefix("int"))
    codes, scale = part_of(parts, "qdata", ("I8",)), part_of(parts, "scale", ())
    shape, half = _groups(facts["block_size"], codes.shape), 1 << (bits - 1)
    scales = _scales(scale, shape, codes.shape)
    signed = _codes(codes).view(np.int8).astype(np.int64)
    zeros = None
    if "zero_point" in parts:
        point = part_of(parts, "zero_point", ("I8", "I32", "I64"))
        if point.values.size != scales.size:
            raise BitlatheError(f"zero_point is of shape {point.shape}; it must be {scales.shape}")
        zeros = point.values.reshape(scales.shape).astype(np.int64)
    stored = f"@{shape}/{_SCALES[scale.kind]}"
    if signed.size and (signed.min() < -half or signed.max() >= half):
        raise BitlatheError(f"qdata goes from {signed.min()} to {signed.max()}: not {bits} bits")
    if zeros is None or not zeros.any():
        own = signed & (2 * half - 1)
        return QuantizedTensor.of(own, scales, scheme=f"int{bits}_full{stored}")
    scheme = f"int{bits}_asym{stored}"
    return QuantizedTensor.of(signed + half, scales, scheme=scheme, zeros=zeros + half)


def _packed(parts: Parts, facts: Facts) -> QuantizedTensor:
    codes = _unpacked(part_of(parts, "qdata", ("I8", "U8")))
    block, shape = facts["block_size"], _groups(facts["block_size"], codes.shape)
    if block[0] != 1 or facts.get("shape") != list(codes.shape):
        raise BitlatheError(
            f"block_size is {block}, shape {shown(facts.get('shape'))}; they must be groups of a "
            f"row, and {list(codes.shape)}"
        )
    wanted = shape.blocks(*codes.shape)
    scale = part_of(parts, "scale", tuple(_SCALES))
    point = part_of(parts, "zero_point", (scale.kind,))
    for name, part in ("scale", scale), ("zero_point", point):
        if part.shape != wanted[::-1]:
            raise BitlatheError(f"{name} is of shape {part.shape}; it must be {wanted[::-1]}")
    stored = _SCALES[scale.kind]
    if not point.values.any():
        scheme = f"int4_full@{shape}/{stored}"
        return QuantizedTensor.of(codes, scale.values.T, scheme=scheme)
    scheme = f"int4_full@{shape}/{stored}-{stored}"
    return QuantizedTensor.of(codes, scale.values.T, scheme=scheme, zeros=-point.values.T)


def _block_scales(parts: Parts, facts: Facts, kind: str, codes: NDArray[Any]) -> NDArray[Any]:
    """Return the scales of blocks of 8-bit floats, (rows, blocks)."""
    part = part_of(parts, "scale", (kind,))
    wanted = Granularity(rows=1, columns=facts["block_size"]).blocks(*codes.shape)
    if facts.get("is_swizzled_scales"):
        return _unswizzled(part, wanted)
    if part.shape != wanted:
        raise BitlatheError(f"scale is of shape {part.shape}; it must be {wanted}")
    return part.values


def _unswizzled(part: Stored, wanted: tuple[int, int]) -> NDArray[Any]:
    """Return (rows, blocks) scales of tiles of 128 x 4, as tensor cores read them.

    A tile holds row r, block c at 16 (r mod 32) + 4 (r // 32) + c; tiles go along the rows.
    """
    down, across = ceil_div(wanted[0], 128), ceil_div(wanted[1], 4)
    flat = part.values.reshape(-1)
    if flat.size != down * across * 512:
        raise BitlatheError(
            f"scale is of shape {part.shape}; swizzled, {wanted} must fill {down * across} tiles "
            "of 512"
        )
    tiles = flat.reshape(down, across, 32, 4, 4).transpose(0, 3, 2, 1, 4)
    return tiles.reshape(128 * down, 4 * across)[: wanted[0], : wanted[1]]


def _mx(parts: Parts, facts: Facts) -> QuantizedTensor:
    name = facts["elem_dtype"]
    name = name if isinstance(name, str) else str(name["_data"])
    if name == PACKED4:
        element, codes = "fp4_e2m1", _unpacked(part_of(parts, "qdata", ("U8",)))
    elif name in SIXES:
        element, codes = name, _codes(part_of(parts, "qdata", ("U8",)))
    else:
        part = part_of(parts, "qdata", tuple(_FLOATS))
        element, codes = _FLOATS[part.kind], _codes(part)
    scales = _block_scales(parts, facts, "F8_E8M0", codes)
    mx, size = f"mx{element.removesuffix('_e2m1')}", facts["block_size"]
    scheme = mx if size == 32 else f"{element}@g{size}/e8m0"
    return QuantizedTensor.of(codes, scales, scheme=scheme)


def _nvfp4(parts: Parts, facts: Facts) -> QuantizedTensor:
    codes = _unpacked(part_of(parts, "qdata", ("U8",)))
    scales = _block_scales(parts, facts, "F8_E4M3", codes)
    group = f"fp4_e2m1@g{facts['block_size']}/fp8_e4m3"
    if "per_tensor_scale" not in parts:
        return QuantizedTensor.of(codes, scales, scheme=group)
    whole = part_of(parts, "per_tensor_scale", ("F32",)).values
    if whole.size != 1:
        raise BitlatheError(f"per_tensor_scale is of shape {whole.shape}; it must be one number")
    scheme = "nvfp4" if facts["block_size"] == 16 else f"{group}@tensor/fp32"
    return QuantizedTensor.of(codes, [scales, whole.reshape(1, 1)], scheme=scheme)


_READERS: Final = {
    "Float8Tensor": _float8,
    "Int8Tensor": _integers,
    "IntxUnpackedToInt8Tensor": _integers,
    "Int4Tensor": _packed,
    "MXTensor": _mx,
    "NVFP4Tensor": _nvfp4,
}
