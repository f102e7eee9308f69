"""Files in torchao's layout, made by hand: what they stand for, what is written, refused."""

import json

import ml_dtypes
import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes import Rules, quantize_checkpoint, read_checkpoint
from bitlathe.datatypes.checkpoints.torchao_parts import matrix_of
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


def int4(points=True):
    """Numbers in two's complement, two a byte; scales and what is added by (group, row)."""
    codes, qdata = packed()
    point = RNG.uniform(-1, 1, (4, 2)).astype(ml_dtypes.bfloat16)
    point = point if points else np.zeros_like(point)
    scale = SCALES[:, :2].astype(ml_dtypes.bfloat16)
    parts = {"qdata": Stored.of(np.frombuffer(qdata.data, np.int8).reshape(qdata.shape))}
    for name, part in ("scale", scale), ("zero_point", point):
        parts[name] = Stored.of(part.view(np.uint16).T, "BF16")
    signed = (codes ^ 8).astype(np.float32) - 8
    values = signed * wide(scale.astype(np.float32)) + wide(point.astype(np.float32))
    return "Int4Tensor", parts, {"block_size": [1, 32], "shape": [4, 64]}, values


def swizzled(made):
    """The same with scales in tiles of 128 x 4, of which each lies in 32 rows of 16."""
    kind, parts, facts, values = made
    scale = parts["scale"]
    rows, columns = scale.shape
    tile = np.zeros((-(-columns // 4), 32, 16), np.uint8)
    for r in range(rows):
        for c in range(columns):
            tile[c // 4, r % 32, r // 32 * 4 + c % 4] = scale.data[r * columns + c]
    parts = {**parts, "scale": Stored.of(tile.reshape(128, -1), scale.kind)}
    return kind, parts, {**facts, "is_swizzled_scales": True}, values


def mx(elements="float4_e2m1fn_x2", size=32):
    exponents = RNG.integers(120, 130, (4, 64 // size)).astype(np.uint8)
    codes, qdata = packed()
    values = E2M1[codes]
    if elements == "fp6_e3m2":
        made = RNG.normal(size=(4, 64)).astype(ml_dtypes.float6_e3m2fn)
        values, qdata = made.astype(np.float32), Stored.of(made.view(np.uint8))
    elif elements != "float4_e2m1fn_x2":
        made = RNG.normal(size=(4, 64)).astype(elements)
        values, qdata = made.astype(np.float32), Stored.of(made.view(np.uint8), "F8_E4M3")
    parts = {"qdata": qdata, "scale": Stored.of(exponents, "F8_E8M0")}
    name = elements if elements == "fp6_e3m2" else {"_type": "torch.dtype", "_data": elements}
    facts = {"elem_dtype": name, "block_size": size, "is_swizzled_scales": False}
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
    "int4_full@g32/bf16": lambda: int4(False),
    "int4_full@g32/bf16-bf16": int4,
    "mxfp4": mx,
    "mxfp6_e3m2": lambda: mx("fp6_e3m2"),
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
    if "@b" not in scheme:  # of which torchao has no configuration
        again = matrix_of(found["a.b.weight"])
        assert {name: again.parts[name] for name in parts} == parts
        assert {**again.settings, **facts} == again.settings
    with pytest.raises(bl.BitlatheError, match="quantized"):
        quantize_checkpoint(tmp_path / "m", tmp_path / "out", Rules.of("int4"))
    with pytest.raises(bl.BitlatheError, match="it holds quantized tensors already"):
        quantize_checkpoint(tmp_path / "m/model.safetensors", tmp_path / "out", Rules.of("int4"))


FAULTS = {
    "class 'Int3Tensor' is not read; Float8Tensor": lambda k, p, f: ("Int3Tensor", p, f),
    "its inputs have scales of their own": lambda k, p, f: (
        k,
        {**p, "act_pre_scale": p["scale"]},
        f,
    ),
    "they must be groups of a row, and [4, 128]": lambda k, p, f: ("Int4Tensor", p, f),
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


@pytest.mark.parametrize("make", [mx, nvfp4, lambda: mx(size=16)])
def test_scales_in_the_order_of_tensor_cores(make, tmp_path):
    kind, parts, facts, values = swizzled(make())
    found = read_checkpoint(written(tmp_path / "m", kind, parts, facts))["a.b.weight"]
    np.testing.assert_array_equal(found.dequantize(), values.astype(np.float32))
    parts["scale"] = Stored.of(np.zeros((64, 4), np.uint8), parts["scale"].kind)
    with pytest.raises(bl.BitlatheError, match=r"must fill 1 tiles of 512"):
        read_checkpoint(written(tmp_path / "m", kind, parts, facts))


REFUSED = {
    "nf4@g32": "nf4@g32: torchao has int2 to int8",
    "int4@tensor": "torchao has int2 to int8",
    "fp8_e4m3@b2x32/fp32": "torchao has int2 to int8",
    "int4@g32/int8": "torchao has int2 to int8",
    "uint4@g32/bf16-bf16": "torchao has int2 to int8",
    "int4_full@g32/fp16-fp16": "torchao has int2 to int8",
    "int8@input": "torchao has int2 to int8",
    "if4@g32/fp32": "torchao has int2 to int8",
    "q4_k": "torchao has int2 to int8",
    "mxfp4_plus": "torchao has int2 to int8",
    "int8@g48/fp32": r"torchao has whole groups: \(4, 64\) is not made of blocks of 1 x 48",
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scheme", REFUSED)
def test_what_torchao_does_not_have_is_not_written(scheme):
    with pytest.raises(bl.BitlatheError, match=REFUSED[scheme]):
        matrix_of(bl.quantize(SCALES, scheme))


def test_other_shapes_and_names_are_not_written(tmp_path):
    for shape in ((64,), (2, 3, 64), (0, 64)):
        with pytest.raises(bl.BitlatheError, match="has matrices scaled along their last axis"):
            matrix_of(bl.quantize(np.ones(shape), "int4@channel"))
    with pytest.raises(bl.BitlatheError, match="two codes a byte: 63 columns are an odd number"):
        matrix_of(bl.quantize(np.ones((2, 63)), "int4@g63/bf16"))
    write_stored({"w": Stored.of(SCALES)}, {}, tmp_path / "w.safetensors")
    with pytest.raises(bl.BitlatheError, match="torchao names weights MODULE"):
        quantize_checkpoint(tmp_path / "w.safetensors", tmp_path / "o", Rules.of("int4"), "torchao")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("scheme", "back"),
    [
        ("int3@g16", "int3_full@g16"),
        ("int8_asym@tensor/fp32", "int8_asym@tensor/fp32"),
        ("fp8_e5m2@g32/bf16", "fp8_e5m2@g32/bf16"),
        ("mxfp4/e8m0_ceil", "mxfp4"),
        ("nvfp4_4over6", "nvfp4"),
        ("fp4_e2m1@g16/fp8_e4m3@tensor/fp32", "nvfp4"),
    ],
)
def test_what_is_written_is_read(scheme, back, tmp_path):
    write_stored({"a.w": Stored.of(SCALES)}, {}, tmp_path / "w.safetensors")
    rules = Rules.of(scheme)
    quantize_checkpoint(tmp_path / "w.safetensors", tmp_path / "o", rules, "torchao")
    found, made = read_checkpoint(tmp_path / "o")["a.w"], bl.quantize(SCALES, scheme)
    assert str(found.scheme) == back
    assert found.total_bits == made.total_bits
    np.testing.assert_array_equal(found.dequantize(), made.dequantize())
