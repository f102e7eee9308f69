"""Files in torchao's layout, made by hand: the numbers they stand for, what is refused."""

import json

import ml_dtypes
import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes import Rules, quantize_checkpoint, read_checkpoint
from bitlathe.datatypes.weights.safetensors_file import Stored, write_stored

RNG = np.random.default_rng(3)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
SCALES = RNG.uniform(0.1, 2, (4, 64)).astype(np.float32)


def wide(scales, columns=64):
    return np.repeat(scales, columns // scales.shape[1], axis=1)


def float8(kind="e4m3fn", name="F8_E4M3"):
    codes = RNG.normal(size=(4, 64)).astype(f"float8_{kind}")
    parts = {"qdata": Stored.of(codes.view(np.uint8), name), "scale": Stored.of(SCALES[:, :1])}
    values = codes.astype(np.float32) * SCALES[:, :1]
    return "Float8Tensor", parts, {"block_size": [1, 64]}, values


def blocks():
    codes = RNG.normal(size=(4, 64)).astype("float8_e5m2")
    parts = {
        "qdata": Stored.of(codes.view(np.uint8), "F8_E5M2"),
        "scale": Stored.of(SCALES[:2, :2]),
    }
    each = np.repeat(wide(SCALES[:2, :2]), 2, axis=0)
    return "Float8Tensor", parts, {"block_size": [2, 32]}, codes.astype(np.float32) * each


def integers(bits=4, zeros=False, kind="F32"):
    half = 1 << (bits - 1)
    codes = RNG.integers(-half, half, (4, 64)).astype(np.int8)
    point = RNG.integers(-half, half, (4, 2)).astype(np.int8) * zeros
    scale = SCALES[:, :2].astype({"F32": "<f4", "BF16": ml_dtypes.bfloat16}[kind])
    stored = Stored.of(scale) if kind == "F32" else Stored.of(scale.view(np.uint16), kind)
    parts = {"qdata": Stored.of(codes), "scale": stored, "zero_point": Stored.of(point)}
    facts = {"block_size": [1, 32], "target_dtype": {"_type": "torch.dtype", "_data": f"int{bits}"}}
    values = (codes.astype(np.float32) - wide(point)) * wide(scale.astype(np.float32))
    return "IntxUnpackedToInt8Tensor", parts, facts, values


def int8():
    codes = RNG.integers(-128, 128, (4, 64)).astype(np.int8)
    parts = {"qdata": Stored.of(codes), "scale": Stored.of(SCALES[:1, :1])}
    values = codes.astype(np.float32) * SCALES[0, 0]
    return "Int8Tensor", parts, {"block_size": [4, 64]}, values


def packed():
    codes = RNG.integers(0, 16, (4, 64)).astype(np.uint8)
    return codes, Stored.of(codes[:, ::2] | codes[:, 1::2] << 4)


def mx(elements="float4_e2m1fn_x2", size=32):
    exponents = RNG.integers(120, 130, (4, 64 // size)).astype(np.uint8)
    codes, qdata = packed()
    values = E2M1[codes]
    if elements != "float4_e2m1fn_x2":
        made = RNG.normal(size=(4, 64)).astype(elements)
        values, qdata = made.astype(np.float32), Stored.of(made.view(np.uint8), "F8_E4M3")
    parts = {"qdata": qdata, "scale": Stored.of(exponents, "F8_E8M0")}
    facts = {"elem_dtype": {"_data": elements}, "block_size": size, "is_swizzled_scales": False}
    return "MXTensor", parts, facts, values * wide(2.0 ** (exponents - 127.0))


def nvfp4(whole=True):
    codes, qdata = packed()
    scales = RNG.uniform(1, 400, (4, 4)).astype("float8_e4m3fn")
    parts = {"qdata": qdata, "scale": Stored.of(scales.view(np.uint8), "F8_E4M3")}
    used = scales.astype(np.float32)
    if whole:
        parts["per_tensor_scale"] = Stored.of(np.float32(0.003))
        used = used * np.float32(0.003)
    facts = {"block_size": 16, "is_swizzled_scales": False}
    return "NVFP4Tensor", parts, facts, E2M1[codes].astype(np.float32) * wide(used)


def written(folder, kind, parts, facts, other="norm.weight"):
    said = {"_type": kind, "_data": facts, "_tensor_data_names": list(parts)}
    header = {
        "a.b.weight": json.dumps(said),
        other: json.dumps({"_type": "Tensor"}),
        "tensor_names": json.dumps(["a.b.weight", other]),
    }
    tensors = {f"a.b._weight_{key}": part for key, part in parts.items()}
    tensors[other] = Stored.of(np.ones(3, np.float32))
    folder.mkdir(exist_ok=True)
    write_stored(tensors, header, folder / "model.safetensors")
    text = json.dumps({"quantization_config": {"quant_method": "torchao"}})
    (folder / "config.json").write_text(text)
    return folder


MADE = {
    "fp8_e4m3@channel/fp32": float8,
    "fp8_e5m2@b2x32/fp32": blocks,
    "int4_full@g32/fp32": integers,
    "int3_asym@g32/bf16": lambda: integers(3, True, "BF16"),
    "int8_full@tensor/fp32": int8,
    "mxfp4": mx,
    "mxfp8_e4m3": lambda: mx("float8_e4m3fn"),
    "fp4_e2m1@g16/e8m0": lambda: mx(size=16),
    "nvfp4": nvfp4,
    "fp4_e2m1@g16/fp8_e4m3": lambda: nvfp4(False),
}


@pytest.mark.parametrize("scheme", MADE)
def test_values_are_codes_times_scales(scheme, tmp_path):
    kind, parts, facts, values = MADE[scheme]()
    found = read_checkpoint(written(tmp_path / "m", kind, parts, facts))
    assert list(found) == ["a.b.weight", "norm.weight"]
    assert found["a.b.weight"].scheme == bl.Scheme.parse(scheme)
    np.testing.assert_array_equal(found["a.b.weight"].dequantize(), values.astype(np.float32))
    with pytest.raises(bl.BitlatheError, match="quantized"):
        quantize_checkpoint(tmp_path / "m", tmp_path / "out", Rules.of("int4"))
    with pytest.raises(bl.BitlatheError, match="it holds quantized tensors already"):
        quantize_checkpoint(tmp_path / "m/model.safetensors", tmp_path / "out", Rules.of("int4"))


FAULTS = {
    "class 'Int4Tensor' is not read; Float8Tensor": lambda k, p, f: ("Int4Tensor", p, f),
    "a.b.weight': scale is missing": lambda k, p, f: (k, {"qdata": p["qdata"]}, f),
    "block_size is 7": lambda k, p, f: (k, p, {**f, "block_size": 7}),
    "it must be (4, 4)": lambda k, p, f: (k, p, {**f, "block_size": [1, 16]}),
    "target_dtype is 'int9'": lambda k, p, f: (k, p, {**f, "target_dtype": {"_data": "int9"}}),
    "not 3 bits": lambda k, p, f: (k, p, {**f, "target_dtype": {"_data": "int3"}}),
    "damaged": lambda k, p, f: (k, p, None),
    "qdata is F32": lambda k, p, f: (k, {**p, "qdata": Stored.of(SCALES)}, f),
    "zero_point is of shape": lambda k, p, f: (k, {**p, "zero_point": Stored.of(np.int8([1]))}, f),
}


@pytest.mark.parametrize("said", FAULTS)
def test_faults_are_named(said, tmp_path):
    kind, parts, facts, _ = integers()
    kind, parts, facts = FAULTS[said](kind, parts, facts)
    with pytest.raises(bl.BitlatheError) as problem:
        read_checkpoint(written(tmp_path / "m", kind, parts, facts))
    assert said in str(problem.value)
    assert "model.safetensors: 'a.b.weight': " in str(problem.value)


def test_scales_in_a_kernels_order_are_refused(tmp_path):
    kind, parts, facts, _ = mx()
    with pytest.raises(bl.BitlatheError, match="swizzled for a GPU: not read"):
        read_checkpoint(written(tmp_path / "m", kind, parts, {**facts, "is_swizzled_scales": True}))
