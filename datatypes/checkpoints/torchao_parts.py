"""Quantized matrices as torchao stores them: its class, its settings, its parts.

The table of `torchao` says which class is for which scheme. Integers of four bits in groups under
bfloat16 scales go two into a byte (``Int4Tensor``), all others one. Every number that is stored
is ours; torchao computes values in the type of the scales. It multiplies MX matrices only by
inputs that it quantizes alike, with OCP's floor: so their settings say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from ..weights.safetensors_file import Stored

WRITES: Final = (
    "torchao has int2 to int8, their _full and _asym, fp8_e4m3 and fp8_e5m2 by row or group (of 8 "
    "bits also by tensor) under fp16, bf16 or fp32 scales, int4_full@gN/bf16-bf16, FP4, FP6 and "
    "FP8 under e8m0 scales, and nvfp4"
)
DTYPES: Final = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
KINDS: Final = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
FLOATS: Final = {"fp8_e4m3": ("F8_E4M3", "float8_e4m3fn"), "fp8_e5m2": ("F8_E5M2", "float8_e5m2")}
PACKED4: Final = "float4_e2m1fn_x2"
SIXES: Final = ("fp6_e2m3", "fp6_e3m2")
_INTEGERS: Final = {f"int{n}{end}" for n in range(2, 9) for end in ("", "_full", "_asym")}
_E4M3: Final = ("e4m3", "e4m3_256", "fp8_e4m3")


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchaoMatrix:
    """A matrix as torchao stores it.

    Attributes
    ----------
    kind : str
        Its class.
    settings : dict
        What is not a tensor, as JSON.
    parts : dict of str to Stored
        By their names within the class.
    config : dict
        The configuration of torchao that makes such matrices.
    """

    kind: str
    settings: Mapping[str, Any]
    parts: Mapping[str, Stored]
    config: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """What the header of a file says of it."""
        return {
            "_type": self.kind,
            "_data": dict(self.settings),
            "_tensor_data_names": list(self.parts),
        }


def matrix_of(q: QuantizedTensor) -> TorchaoMatrix:
    """Return a quantized matrix as torchao stores it.

    Raises
    ------
    BitlatheError
        Raised if torchao has no such scheme or shape, or groups are cut short.
    """
    if len(q.shape) != 2 or q.axis != 1 or not q.size:
        raise BitlatheError(
            f"torchao has matrices scaled along their last axis, not {q.shape} along {q.axis}"
        )
    make, shape = _maker(q.scheme), q.scheme.granularity
    block = [shape.rows or q.shape[0], shape.columns or q.shape[1]]
    if q.shape[0] % block[0] or q.shape[1] % block[1]:
        raise BitlatheError(
            f"torchao has whole groups: {q.shape} is not made of blocks of {block[0]} x {block[1]}"
        )
    return make(q, block)


def _maker(scheme: Scheme) -> Callable[[QuantizedTensor, list[int]], TorchaoMatrix]:
    """Return what makes the parts of a scheme."""
    name, scale, shape = scheme.formats[0].name, scheme.scale_format, scheme.granularity
    rows = shape.rows == 1
    if len(scheme.formats) == 1 and (rows or not shape.columns):
        if scheme.coder in ("table", "asym") and scale.name in DTYPES and name in _INTEGERS:
            packed = name in ("int4", "int4_full") and scale.name == "bf16"
            if packed and shape.columns:
                return _packed
            if rows or scheme.element_bits == 8:
                return _integers
        if scheme.coder == "offset" and name == "int4_full" and _minimum(scheme) and shape.columns:
            return _packed
        if scheme.coder == "table" and scale.name in DTYPES and name in FLOATS:
            return _float8
    if len(scheme.formats) == 1 and scheme.coder == "table":
        known = name == "fp4_e2m1" or name in FLOATS or name in SIXES
        if known and scale.name.startswith("e8m0") and rows and shape.columns:
            return _mx
    if name == "fp4_e2m1" and rows and shape.columns and _is_nvfp4(scheme):
        return _nvfp4
    raise BitlatheError(f"{scheme}: {WRITES}")


def _minimum(scheme: Scheme) -> bool:
    """Return whether scales and minima are one level each, of bfloat16."""
    offset = scheme.offset
    if offset is None or offset.kind != "minimum" or len(scheme.levels) != 1:
        return False
    return [level.name for level in (*scheme.levels, *offset.levels)] == ["bf16", "bf16"]


def _is_nvfp4(scheme: Scheme) -> bool:
    """Return whether scales are E4M3, under none or a float32 of the tensor."""
    if scheme.offset or len(scheme.formats) > 1:
        return False
    if not scheme.levels:
        return scheme.coder == "table" and scheme.scale_format.name in _E4M3
    first, *rest = scheme.levels
    whole = [(level.name, level.granularity.rows, level.granularity.columns) for level in rest]
    return first.name in _E4M3 and whole in ([], [("fp32", 0, 0)])


def _dtype(name: str) -> dict[str, str]:
    return {"_type": "torch.dtype", "_data": name}


def _config(kind: str, version: int, **data: Any) -> dict[str, Any]:
    return {"_type": kind, "_version": version, "_data": data}


def _shared(q: QuantizedTensor, block: list[int], *, axis: bool = False) -> dict[str, Any]:
    """Return what shares a scale, as configurations say it."""
    if block[0] > 1:
        return _config("PerTensor", 1)
    if block[1] < q.shape[1]:
        return _config("PerGroup", 1, group_size=block[1])
    return _config("PerAxis", 1, axis=0) if axis else _config("PerRow", 1, dim=-1)


def _scales(q: QuantizedTensor, name: str, block: list[int]) -> Stored:
    """Return the (rows, columns) scales of blocks as their bits."""
    raw = q.raw[:, 0].astype(np.uint32 if name == "fp32" else np.uint16)
    return Stored.of(raw.reshape(_blocks(q, block)), KINDS[name])


def _blocks(q: QuantizedTensor, block: list[int]) -> tuple[int, int]:
    return q.shape[0] // block[0], q.shape[1] // block[1]


def _signed(codes: NDArray[Any], bits: int) -> NDArray[np.int8]:
    """Return the numbers that codes in two's complement stand for."""
    half = 1 << (bits - 1)
    return ((codes.astype(np.int16) ^ half) - half).astype(np.int8)


def _halves(codes: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 4-bit codes two in a byte, the first below."""
    low: NDArray[np.uint8] = codes[:, ::2].astype(np.uint8)
    high: NDArray[np.uint8] = codes[:, 1::2].astype(np.uint8) << np.uint8(4)
    if low.shape != high.shape:
        raise BitlatheError(
            f"torchao packs two codes a byte: {codes.shape[1]} columns are an odd number"
        )
    return low | high


def _integers(q: QuantizedTensor, block: list[int]) -> TorchaoMatrix:
    """Return integers, a byte each."""
    bits, scale = q.scheme.element_bits, q.scheme.scale_format.name
    if q.zero_points is None:
        codes, zeros = _signed(q.codes, bits), np.zeros(_blocks(q, block), np.int8)
    else:
        half = 1 << (bits - 1)
        codes = (q.codes.astype(np.int16) - half).astype(np.int8)
        zeros = (q.zero_points.astype(np.int16) - half).astype(np.int8).reshape(_blocks(q, block))
    parts = {"qdata": Stored.of(codes), "scale": _scales(q, scale, block)}
    parts["zero_point"] = Stored.of(zeros)
    data: dict[str, Any] = {"block_size": block, "dtype": _dtype(DTYPES[scale])}
    if bits == 8:
        data |= {"act_quant_kwargs": None, "reduce_range": False}
        config = _config("Int8WeightOnlyConfig", 2, granularity=_shared(q, block))
        return TorchaoMatrix(kind="Int8Tensor", settings=data, parts=parts, config=config)
    data |= {"target_dtype": _dtype(f"int{bits}"), "activation_quantization": None}
    config = _config(
        "IntxWeightOnlyConfig",
        2,
        weight_dtype=_dtype(f"int{bits}"),
        granularity=_shared(q, block, axis=True),
    )
    return TorchaoMatrix(kind="IntxUnpackedToInt8Tensor", settings=data, parts=parts, config=config)


def _packed(q: QuantizedTensor, block: list[int]) -> TorchaoMatrix:
    """Return integers two in a byte, values code x scale + zero point; scales by (group, row)."""
    shape = _blocks(q, block)
    scales = q.raw[:, 0].astype(np.uint16).reshape(shape)
    minima = np.zeros_like(scales)
    if q.scheme.offset:  # which is subtracted: its sign is turned
        minima = q.coded.offsets[0].astype(np.uint16).reshape(shape) ^ np.uint16(1 << 15)
    parts = {
        "qdata": Stored.of(_halves(q.codes).view(np.int8)),
        "scale": Stored.of(scales.T, "BF16"),
        "zero_point": Stored.of(minima.T, "BF16"),
    }
    data = {"block_size": block, "shape": list(q.shape), "activation_dtype": _dtype("bfloat16")}
    config = _config("Int4WeightOnlyConfig", 2, group_size=block[1])
    return TorchaoMatrix(kind="Int4Tensor", settings=data, parts=parts, config=config)


def _float8(q: QuantizedTensor, block: list[int]) -> TorchaoMatrix:
    kind, dtype = FLOATS[q.scheme.formats[0].name]
    scale = q.scheme.scale_format.name
    parts = {"qdata": Stored.of(q.codes.astype(np.uint8), kind), "scale": _scales(q, scale, block)}
    data = {
        "block_size": block,
        "mm_config": None,
        "act_quant_kwargs": None,
        "kernel_preference": {"_type": "KernelPreference", "_data": "AUTO"},
        "dtype": _dtype(DTYPES[scale]),
    }
    config = _config(
        "Float8WeightOnlyConfig", 2, weight_dtype=_dtype(dtype), granularity=_shared(q, block)
    )
    return TorchaoMatrix(kind="Float8Tensor", settings=data, parts=parts, config=config)


def _mx(q: QuantizedTensor, block: list[int]) -> TorchaoMatrix:
    name = q.scheme.formats[0].name
    codes = q.codes.astype(np.uint8)
    element: str | dict[str, str] = name
    if name == "fp4_e2m1":
        qdata, element = Stored.of(_halves(codes)), _dtype(PACKED4)
    elif name in FLOATS:
        qdata, element = Stored.of(codes, FLOATS[name][0]), _dtype(FLOATS[name][1])
    else:
        qdata = Stored.of(codes)
    raw = q.raw[:, 0].astype(np.uint8).reshape(_blocks(q, block))
    alike = {
        "elem_dtype": element,
        "block_size": block[1],
        "kernel_preference": {"_type": "KernelPreference", "_data": "EMULATED"},
        "is_swizzled_scales": False,
    }
    scaling = {"scaling_mode": {"_type": "ScaleCalculationMode", "_data": "FLOOR"}}
    inputs = {"_type": "QuantizeTensorToMXKwargs", "_data": {**alike, **scaling}}
    data = {**alike, "orig_dtype": _dtype("float32"), "act_quant_kwargs": inputs}
    config = _config(
        "MXDynamicActivationMXWeightConfig",
        1,
        block_size=block[1],
        weight_dtype=element,
        activation_dtype=element,
    )
    parts = {"qdata": qdata, "scale": Stored.of(raw, "F8_E8M0")}
    return TorchaoMatrix(kind="MXTensor", settings=data, parts=parts, config=config)


def _nvfp4(q: QuantizedTensor, block: list[int]) -> TorchaoMatrix:
    raw = q.raw[:, 0].astype(np.uint8).reshape(_blocks(q, block))
    parts = {"qdata": Stored.of(_halves(q.codes)), "scale": Stored.of(raw, "F8_E4M3")}
    whole = q.level_scales[1:] if q.scheme.levels else [q.outer_scales]
    if whole:
        parts["per_tensor_scale"] = Stored.of(whole[0].reshape(()).astype(np.float32))
    data = {
        "block_size": block[1],
        "orig_dtype": _dtype("float32"),
        "is_swizzled_scales": False,
        "use_triton_kernel": False,
        "act_quant_kwargs": None,
    }
    config = _config("NVFP4WeightOnlyConfig", 1, use_dynamic_per_tensor_scale=bool(whole))
    return TorchaoMatrix(kind="NVFP4Tensor", settings=data, parts=parts, config=config)
