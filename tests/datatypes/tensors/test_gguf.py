"""llama.cpp's block formats: bit for bit what gguf-py dequantizes; files that it reads."""

import gguf
import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.formats.catalogue import UNCLEAR
from bitlathe.datatypes.tensors.gguf_blocks import BLOCKS, block_of, read_blocks, write_blocks
from bitlathe.datatypes.tensors.gguf_file import read_gguf, write_gguf
from bitlathe.datatypes.tensors.tensor import QuantizedTensor

SHAPE = (6, 512)


def blocks_of(block, seed):
    """Random bytes that are a tensor: finite scales, codes that stand for something."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (np.prod(SHAPE) // block.elements, block.size), dtype=np.uint8)
    for field in (*block.scales, *block.offsets):
        if field.places.shape[1] == 16:  # exponents of float16 below that of infinity
            raw[:, field.places[:, 0] // 8 + 1] &= 0xBF
    if block.name == "TQ2_0":
        raw[:, :64] &= 0x55 if seed else 0xAA
    if block.name == "NVFP4":
        raw[:, :4][raw[:, :4] == 0xFF] = 0x81  # the sign is read over
        raw[:, 0] = 0x7F  # read as 0
    if block.name == "MXFP4":
        raw[:, 0] = np.minimum(raw[:, 0], 254)  # 255 is NaN in OCP MX
    return raw


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_what_gguf_dequantizes(name, seed):
    block = BLOCKS[name]
    raw = blocks_of(block, seed)
    with np.errstate(over="ignore"):
        wanted = gguf.dequantize(raw, gguf.GGMLQuantizationType(block.kind)).reshape(SHAPE)
    q = QuantizedTensor(coded=read_blocks(block, raw.tobytes(), SHAPE))
    np.testing.assert_array_equal(q.dequantize(), wanted)
    sizes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(block.kind)]
    assert (block.elements, block.size) == sizes
    if name != "TQ1_0":  # whose last byte of 52 holds four trits
        assert q.nbytes == raw.size
        assert q.bits_per_element == 8 * block.size / block.elements
    again = write_blocks(block, q.coded)
    assert np.array_equal(again, raw.reshape(-1)) or name in ("TQ1_0", "NVFP4")
    back = QuantizedTensor(coded=read_blocks(block, again.tobytes(), SHAPE))
    np.testing.assert_array_equal(back.codes, q.codes)
    np.testing.assert_array_equal(back.dequantize(), wanted)


@pytest.mark.parametrize("name", ["TQ1_0", "TQ2_0", "MXFP4"])
def test_tensors_are_quantized_as_gguf_does(name):
    x = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    block = BLOCKS[name]
    q = bl.quantize(x, block.scheme)
    kind = gguf.GGMLQuantizationType(block.kind)
    wanted = gguf.quantize(x, kind)
    if name == "MXFP4":  # where gguf writes +0 for -0
        np.testing.assert_array_equal(q.dequantize(), gguf.dequantize(wanted, kind))
    else:
        np.testing.assert_array_equal(write_blocks(block, q.coded), wanted.reshape(-1))


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_scales_are_those_of_gguf_and_codes_err_no_more(name):
    x = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)
    block = BLOCKS[name]
    scheme = block.also[0] if block.also else block.scheme
    kind = gguf.GGMLQuantizationType(block.kind)
    theirs = gguf.quantize(x, kind)
    other = QuantizedTensor(coded=read_blocks(block, theirs.tobytes(), SHAPE))
    q = bl.quantize(x, scheme)
    np.testing.assert_array_equal(q.scales, other.scales)
    hint = UNCLEAR.get(name.lower())
    assert hint is None or hint.endswith(f"written {scheme}")
    if q.offsets is not None:
        np.testing.assert_array_equal(q.offsets, other.offsets)
    np.testing.assert_array_less(
        np.abs(q.dequantize() - x), np.abs(other.dequantize() - x) * (1 + 1e-5) + 1e-7
    )


def test_files_are_read_and_written(tmp_path):
    x = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    schemes = ("q4_0", "q4_1", "q5_0", "q5_1", "int8@g32", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k")
    tensors = {text: bl.quantize(x, text) for text in (*schemes, "iq4_nl@g32/fp16_signed", "mxfp4")}
    tensors |= {"norm": x[0], "half": x.astype(np.float16)}
    path = tmp_path / "model.gguf"
    write_gguf(path, tensors)
    theirs = {t.name: t for t in gguf.GGUFReader(path).tensors}
    for name, tensor in read_gguf(path).items():
        values = np.asarray(tensors[name])
        np.testing.assert_array_equal(np.asarray(tensor), values)
        found = gguf.dequantize(theirs[name].data, theirs[name].tensor_type)
        np.testing.assert_array_equal(found.reshape(values.shape), values.astype(np.float32))
    assert read_gguf(path)["q4_k"].scheme == bl.Scheme.parse("q4_k")
    plain = bl.datatypes.read_tensors(path)
    np.testing.assert_array_equal(plain["q6_k"], np.asarray(tensors["q6_k"]))


def test_what_does_not_fit_is_named(tmp_path):
    x = np.ones((2, 96), np.float32)
    path = tmp_path / "x.gguf"
    refused = {
        "tensor 'w': no block format of GGUF stores nvfp4": bl.quantize(x, "nvfp4"),
        "tensor 'w': Q4_K: rows of 96 are not whole blocks of 256": bl.quantize(x, "q4_k"),
        "tensor 'w': Q4_0: blocks run along the last axis": bl.quantize(x[:, :32], "q4_0", axis=0),
        "tensor 'w': GGUF does not store complex64": x.astype(np.complex64),
        "tensor 'w': GGUF has 1 to 4 axes": x[:0],
        "tensor 'w': GGUF does not store object": [None],
        "tensor 'w': a quantized tensor or an array is needed": [[1, 2], [3]],
    }
    for sentence, tensor in refused.items():
        with pytest.raises(bl.BitlatheError) as problem:
            write_gguf(path, {"w": tensor})
        assert sentence in str(problem.value)
    for sentence, call in {
        "tensors: a dict of names to tensors is needed, got list": (path, [x]),
        "name 7: GGUF names tensors": (path, {7: x}),
        r"name '\ud800': GGUF names tensors": (path, {"\ud800": x}),
        "cannot be written: embedded null byte": ("a\0b", {"w": x}),
        "None: cannot be written": (None, {"w": x}),
    }.items():
        with pytest.raises(bl.BitlatheError) as problem:
            write_gguf(*call)
        assert sentence in str(problem.value)
    assert not path.exists()
    with pytest.raises(bl.BitlatheError, match="the scale 0xFF is beyond 448"):
        read_blocks(BLOCKS["NVFP4"], b"\xff" * 36, (1, 64))
    with pytest.raises(bl.BitlatheError, match="Q4_0 stores tensors in int4_full"):
        write_blocks(BLOCKS["Q4_0"], bl.quantize(x, "q4_1").coded)
    with pytest.raises(bl.BitlatheError, match=r"Q4_0: \(2, 96\) takes 108 bytes, got 8"):
        read_blocks(BLOCKS["Q4_0"], bytes(8), (2, 96))
    with pytest.raises(bl.BitlatheError, match="TQ2_0: code 3 stands for nothing"):
        read_blocks(BLOCKS["TQ2_0"], b"\xff" * 66, (1, 256))
    assert block_of(bl.Scheme.parse("trit@g256/fp16")).name == "TQ2_0"
    assert block_of(bl.Scheme.parse("ternary@g256/fp16")).name == "TQ1_0"
