"""The layout of compressed-tensors: a weight as several tensors, told by a configuration.

========================== ========================================== ===========================
format                     schemes                                    parts beside ``weight_scale``
========================== ========================================== ===========================
``pack-quantized``         ``intN``, ``intN_full``, ``intN_asym``     ``weight_packed`` (int32),
                                                                      ``weight_shape``,
                                                                      ``weight_zero_point``
``int-quantized``          ``int8_full``, ``int8_asym`` (read only)   ``weight``,
                                                                      ``weight_zero_point``
``float-quantized``        ``fp8_e4m3``                               ``weight``
``nvfp4-pack-quantized``   ``nvfp4``                                  ``weight_packed`` (uint8),
                                                                      ``weight_global_scale``
``mxfp4-pack-quantized``   ``mxfp4``                                  ``weight_packed`` (uint8)
``mxfp6-pack-quantized``   ``mxfp6_e2m3``                             ``weight_packed`` (uint8)
``mxfp8-quantized``        ``mxfp8_e4m3``                             ``weight``
========================== ========================================== ===========================

Integers lie offset by half their range, bit after bit in words of 32; zero points likewise, down
the rows. The scale of an NVFP4 tensor is stored as its reciprocal. Source: compressed-tensors 0.20
(github.com/vllm-project/compressed-tensors), ``compressors``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, unknown_name
from ..base.numbers import ceil_div
from ..formats.catalogue import single
from ..schemes.granularity import Granularity
from ..schemes.scheme import Scheme
from ..tensors.packing import pack, unpack
from ..tensors.tensor import QuantizedTensor
from ..weights.safetensors_file import Stored

Codes = NDArray[Any]
PACKED, INTS, FLOATS = "pack-quantized", "int-quantized", "float-quantized"
NVFP4, MXFP4 = "nvfp4-pack-quantized", "mxfp4-pack-quantized"
MXFP6, MXFP8 = "mxfp6-pack-quantized", "mxfp8-quantized"
FORMATS: Final = (PACKED, INTS, FLOATS, NVFP4, MXFP4, MXFP6, MXFP8)
WRITES: Final = (
    "compressed-tensors has intN, intN_full, intN_asym and fp8_e4m3 by tensor, row, group or block "
    "under fp16, bf16 or fp32 scales, nvfp4, mxfp4, mxfp6_e2m3 and mxfp8_e4m3"
)
# how a scale is stored, by the name of ours
_SCALES: Final = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
_DTYPES: Final = {kind: name for name, kind in _SCALES.items()}
# floats under scales of their own: scheme, group, bits
_BLOCKS: Final = {
    NVFP4: ("nvfp4", 16, 4),
    MXFP4: ("mxfp4", 32, 4),
    MXFP6: ("mxfp6_e2m3", 32, 6),
    MXFP8: ("mxfp8_e4m3", 32, 8),
}
_BESIDE: Final = ("scale", "zero_point", "shape", "global_scale", "packed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a configuration says of quantized weights, its ``weights`` in a group.

    Attributes
    ----------
    format : str
        One of `FORMATS`.
    bits : int
    symmetric : bool
    shape : Granularity
        What shares a scale.
    """

    format: str
    bits: int
    symmetric: bool
    shape: Granularity

    @classmethod
    def of(cls, scheme: Scheme) -> "Weights":
        """Return what tells a scheme.

        Raises
        ------
        BitlatheError
            Raised if compressed-tensors has no such scheme.
        """
        name, shape, plain = scheme.name, scheme.granularity, scheme.scale in _SCALES
        bits = scheme.element_bits
        known = {f"int{bits}": True, f"int{bits}_full": True, f"int{bits}_asym": False}
        found = {f"{own}@g{size}": kind for kind, (own, size, _) in _BLOCKS.items()}
        own = "" if scheme.levels or scheme.file else f"{name}@{shape}"
        if own in found and scheme.scale_format.name in ("e4m3", *_MX_SCALES):
            return cls(format=found[own], bits=bits, symmetric=True, shape=shape)
        if own and plain and name in known and shape.rows < 2 and (shape.rows or not shape.columns):
            return cls(format=PACKED, bits=bits, symmetric=known[name], shape=shape)
        if own and plain and name == "fp8_e4m3" and (shape.rows or not shape.columns):
            return cls(format=FLOATS, bits=8, symmetric=True, shape=shape)
        raise BitlatheError(f"{scheme}: {WRITES}")

    @classmethod
    def read(cls, facts: Mapping[str, Any], kind: str) -> "Weights":
        """Return what a configuration says.

        Raises
        ------
        BitlatheError
            Raised if a key is missing or what it says is not known.
        """
        if kind not in FORMATS:
            raise BitlatheError(unknown_name("format of compressed-tensors", kind, FORMATS))
        try:
            strategy, size = facts.get("strategy") or "tensor", facts.get("group_size")
            shapes = {
                "tensor": (0, 0),
                "channel": (1, 0),
                "group": (1, size),
                "tensor_group": (1, size),
                "block": tuple(facts.get("block_structure") or ()),
            }
            rows, columns = shapes[strategy]
            shape = Granularity(rows=rows, columns=columns)
            bits, symmetric = facts.get("num_bits", 8), facts.get("symmetric", True)
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            raise BitlatheError(
                f"its strategy cannot be read: {problem}; known: tensor, channel, group, block"
            ) from None
        if type(bits) is not int or not 2 <= bits <= 8 or not isinstance(symmetric, bool):
            raise BitlatheError(f"num_bits {bits!r}, symmetric {symmetric!r}: 2 to 8 bits are read")
        return cls(format=kind, bits=bits, symmetric=symmetric, shape=shape)

    @property
    def facts(self) -> dict[str, Any]:
        """The same as a configuration says it."""
        rows, columns = self.shape.rows, self.shape.columns
        facts: dict[str, Any] = {
            "num_bits": self.bits,
            "type": "int" if self.format in (PACKED, INTS) else "float",
            "symmetric": self.symmetric,
            "dynamic": False,
            "strategy": {(0, 0): "tensor", (1, 0): "channel"}.get((rows, columns), "group"),
        }
        if rows == 1 and columns:
            facts["group_size"] = columns
        elif rows and columns:
            facts |= {"strategy": "block", "block_structure": [rows, columns]}
        if self.format == NVFP4:
            return facts | {"strategy": "tensor_group", "scale_dtype": "torch.float8_e4m3fn"}
        return facts | ({"scale_dtype": "torch.uint8"} if self.format in _BLOCKS else {})

    def scheme(self, scale: str) -> Scheme:
        """Return the scheme, its scales stored as named."""
        if self.format in _BLOCKS:
            return Scheme.parse(_BLOCKS[self.format][0])
        kind = "full" if self.symmetric else "asym"
        name = "fp8_e4m3" if self.format == FLOATS else f"int{self.bits}_{kind}"
        return Scheme.parse(f"{name}@{self.shape}/{scale}")


_MX_SCALES: Final = ("e8m0", "e8m0_ceil", "e8m0_even", "e8m0_rceil")


def parts_of(q: QuantizedTensor) -> dict[str, Stored]:
    """Return the tensors that a quantized matrix is stored as, by what follows its module's name.

    Raises
    ------
    BitlatheError
        Raised if compressed-tensors has no such scheme, or groups are cut short.
    """
    weights = Weights.of(q.scheme)
    if len(q.shape) != 2 or q.axis != 1:
        raise BitlatheError(
            f"compressed-tensors has matrices scaled along their last axis, not {q.shape} along "
            f"{q.axis}"
        )
    (rows, columns), group = q.shape, weights.shape.columns
    if not q.size:
        raise BitlatheError(f"compressed-tensors has no empty matrices, such as {q.shape}")
    if group and columns % group and weights.shape.rows == 1:
        raise BitlatheError(
            f"compressed-tensors has whole groups: {columns} is no multiple of {group}"
        )
    if weights.format in _BLOCKS:
        return _block_parts(q, weights.format)
    down, across = weights.shape.blocks(rows, columns)
    scales = _scales_as_stored(q).reshape((1,) if down == across == 1 else (down, across))
    parts = {"weight_scale": Stored.of(scales, _SCALES[q.scheme.scale_format.name])}
    if weights.format == FLOATS:
        return {"weight": Stored.of(q.codes, "F8_E4M3"), **parts}
    half = 1 << (weights.bits - 1)
    codes = q.codes if not weights.symmetric else q.codes ^ half
    parts["weight_packed"] = Stored.of(_words(codes, weights.bits))
    parts["weight_shape"] = Stored.of(np.array(q.shape, np.int64))
    if q.zero_points is not None:
        zeros = q.zero_points.reshape(down, across)
        if weights.shape.rows:
            parts["weight_zero_point"] = Stored.of(_words(zeros.T, weights.bits).T)
        else:
            parts["weight_zero_point"] = Stored.of(
                (zeros.reshape(1).astype(int) - half).astype("i1")
            )
    return parts


def _block_parts(q: QuantizedTensor, kind: str) -> dict[str, Stored]:
    """Return the parts of floats in blocks: each row's bits one after the other."""
    scales = q.raw.reshape(q.shape[0], -1).astype(np.uint8)
    if kind == MXFP8:
        return {"weight": Stored.of(q.codes, "F8_E4M3"), "weight_scale": Stored.of(scales)}
    packed = pack(q.codes, _BLOCKS[kind][2]).reshape(q.shape[0], -1)
    parts = {"weight_packed": Stored.of(packed)}
    if kind != NVFP4:
        return {**parts, "weight_scale": Stored.of(scales)}
    with np.errstate(over="ignore"):
        whole = np.float32(1) / q.outer_scales
    if not np.isfinite(whole).all():
        if scales.any():
            raise BitlatheError(
                f"compressed-tensors stores 1 / {q.outer_scales[0]:g}, the scale of the tensor, in "
                "float32, which has no such number; multiply the tensor by a constant first"
            )
        whole = np.ones(1, np.float32)  # all elements are 0
    return {
        **parts,
        "weight_scale": Stored.of(scales, "F8_E4M3"),
        "weight_global_scale": Stored.of(whole.astype(np.float32)),
    }


def _scales_as_stored(q: QuantizedTensor) -> NDArray[Any]:
    """Return the bits of the (groups,) scales in words of their width."""
    wide = q.scheme.scale_format.bits == 32
    return q.raw[:, 0].astype(np.uint32 if wide else np.uint16)


def tensor_of(parts: Mapping[str, Stored], weights: Weights) -> QuantizedTensor:
    """Return the quantized matrix that tensors stand for.

    Parameters
    ----------
    parts : mapping of str to Stored
        By what follows the module's name, as `parts_of` returns them.
    weights : Weights

    Raises
    ------
    BitlatheError
        Raised if a part is missing, of another type or shape, or has numbers that its format lacks.
    """
    scale = part_of(parts, "weight_scale", ())
    if "weight_g_idx" in parts:
        raise BitlatheError("its columns are in an order of their own (weight_g_idx): not read")
    if weights.format in _BLOCKS:
        return _read_blocks(parts, weights)
    if scale.kind not in _DTYPES:
        raise BitlatheError(f"weight_scale is {scale.kind}; it must be one of {', '.join(_DTYPES)}")
    half, zeros = 1 << (weights.bits - 1), None
    if weights.format == PACKED:
        packed, shape = part_of(parts, "weight_packed", ("I32",)), _shape_of(parts)
        codes = _from_words(packed, weights.bits, shape)
    else:
        stored = part_of(parts, "weight", ("F8_E4M3",) if weights.format == FLOATS else ("I8",))
        codes, shape = np.frombuffer(stored.data, np.uint8).reshape(stored.shape), stored.shape
        codes = codes if weights.format == FLOATS else codes ^ half
    if len(shape) != 2:
        raise BitlatheError(f"weight is of shape {shape}; it must be a matrix")
    down, across = weights.shape.blocks(*shape)
    if not weights.symmetric:
        point = part_of(parts, "weight_zero_point", ("I32", "I8"))
        zeros = _zeros_of(point, weights, (down, across))
    elif weights.format != FLOATS:
        codes = codes ^ half  # from offset to two's complement
    values = _shaped(scale, (down, across), "weight_scale")
    scheme = weights.scheme(_DTYPES[scale.kind])
    return QuantizedTensor.of(codes, values, scheme=scheme, zeros=zeros)


def _read_blocks(parts: Mapping[str, Stored], weights: Weights) -> QuantizedTensor:
    name, group, bits = _BLOCKS[weights.format]
    if (weights.shape.rows, weights.shape.columns) != (1, group):
        raise BitlatheError(f"{name} has groups of {group}, not {weights.shape}")
    own, kind = ("weight", "F8_E4M3") if weights.format == MXFP8 else ("weight_packed", "U8")
    packed = part_of(parts, own, (kind,))
    if len(packed.shape) != 2 or packed.shape[1] * 8 % (group * bits):
        raise BitlatheError(
            f"{own} is of shape {packed.shape}; it must be a matrix of groups of {group}"
        )
    raw, shape = (
        np.frombuffer(packed.data, np.uint8),
        (packed.shape[0], packed.shape[1] * 8 // bits),
    )
    codes = unpack(raw, bits, shape[0] * shape[1]).reshape(shape).astype(np.uint8)
    scale = part_of(parts, "weight_scale", ("F8_E4M3",) if name == "nvfp4" else ("U8", "F8_E8M0"))
    wanted = weights.shape.blocks(*codes.shape)
    if scale.shape != wanted:
        raise BitlatheError(f"weight_scale is of shape {scale.shape}; it must be {wanted}")
    stored = single("fp8_e4m3" if name == "nvfp4" else "e8m0")
    numbers = stored.decode(np.frombuffer(scale.data, np.uint8), np.float32)
    scales: list[NDArray[Any]] = [numbers.reshape(wanted)]
    if name == "nvfp4":
        whole = part_of(parts, "weight_global_scale", ("F32",)).values
        if whole.size != 1 or not np.isfinite(whole).all() or not (whole > 0).all():
            raise BitlatheError("weight_global_scale must be one positive number")
        scales.append((np.float32(1) / whole).reshape(1, 1))
    return QuantizedTensor.of(codes, scales if name == "nvfp4" else scales[0], scheme=name)


def part_of(parts: Mapping[str, Stored], name: str, kinds: tuple[str, ...]) -> Stored:
    """Return a part of a tensor, of one of the given types; of any where none are given.

    Raises
    ------
    BitlatheError
        Raised if it is missing, or of another type.
    """
    found = parts.get(name)
    if found is None:
        raise BitlatheError(
            f"{name} is missing; there are {', '.join(sorted(parts)) or 'no parts'}"
        )
    if kinds and found.kind not in kinds:
        raise BitlatheError(f"{name} is {found.kind}; it must be {' or '.join(kinds)}")
    return found


def _shape_of(parts: Mapping[str, Stored]) -> tuple[int, ...]:
    found = part_of(parts, "weight_shape", ("I64", "I32"))
    shape = tuple(int(n) for n in found.values.reshape(-1))
    if len(shape) != 2 or min(shape) < 1:
        raise BitlatheError(f"weight_shape says {shape}; it must be rows and columns of a matrix")
    return shape


def _shaped(stored: Stored, wanted: tuple[int, int], name: str) -> NDArray[Any]:
    values = stored.values
    if values.size != wanted[0] * wanted[1] or (values.ndim == 2 and values.shape != wanted):
        raise BitlatheError(f"{name} is of shape {stored.shape}; it must be {wanted}")
    return values.reshape(wanted)


def _zeros_of(point: Stored, weights: Weights, wanted: tuple[int, int]) -> Codes:
    """Return zero points, counted from the least code."""
    half = 1 << (weights.bits - 1)
    if point.kind == "I32":
        turned = Stored.of(point.values.T) if len(point.shape) == 2 else point
        return _from_words(turned, weights.bits, wanted[::-1]).T
    return _shaped(point, wanted, "weight_zero_point").astype(np.int64) + half


def _words(codes: Codes, bits: int) -> NDArray[np.int32]:
    """Return (rows, columns) codes as words of 32 bits, each row's bits one after the other."""
    rows, columns = codes.shape
    words = ceil_div(columns * bits, 32)
    padded = np.zeros((rows, ceil_div(words * 32, bits)), np.uint8)
    padded[:, :columns] = codes
    stream = np.stack([pack(row, bits)[: 4 * words] for row in padded])
    return stream.view("<i4")


def _from_words(packed: Stored, bits: int, shape: tuple[int, ...]) -> Codes:
    """Return the (rows, columns) codes in words of 32 bits."""
    words = packed.values
    if words.shape != (shape[0], ceil_div(shape[1] * bits, 32)):
        raise BitlatheError(
            f"weight_packed is of shape {packed.shape}, which does not hold {shape}"
        )
    stream = np.ascontiguousarray(words.astype("<i4")).view(np.uint8).reshape(shape[0], -1)
    length = ceil_div(shape[1] * bits, 8)
    rows = [unpack(np.ascontiguousarray(row[:length]), bits, shape[1]) for row in stream]
    return np.stack(rows).astype(np.uint8)
