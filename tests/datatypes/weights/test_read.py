"""Files of weights, sound and damaged."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import bitlathe as bl
from bitlathe.datatypes.weights.read import read_tensors
from quantized_cases import weights


def test_weight_files_are_read(tmp_path):
    x = weights((3, 5))
    np.save(tmp_path / "one.npy", x)
    np.savez(tmp_path / "two.npz", a=x, b=x.astype(np.float16))
    np.testing.assert_array_equal(read_tensors(tmp_path / "one.npy")["one"], x)
    assert read_tensors(tmp_path / "two.npz")["b"].dtype == np.float16
    brain = x.astype(ml_dtypes.bfloat16)
    eight = x.astype(ml_dtypes.float8_e4m3fn)
    save_file({"x": x, "n": np.arange(3)}, tmp_path / "s.safetensors")
    read = read_tensors(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(read["x"], x)
    assert read["n"].tolist() == [0, 1, 2]
    write_safetensors(tmp_path / "t.safetensors", {"b": ("BF16", brain), "e": ("F8_E4M3", eight)})
    read = read_tensors(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(read["b"], brain.astype(np.float32))
    np.testing.assert_array_equal(read["e"], eight.astype(np.float32))


def write_safetensors(path, tensors):
    facts, body = {}, b""
    for name, (kind, array) in tensors.items():
        data = array.tobytes()
        facts[name] = {
            "dtype": kind,
            "shape": array.shape,
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    header = json.dumps(facts).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)


def test_gguf_files_are_read(tmp_path):
    gguf = pytest.importorskip("gguf")
    x = weights((4, 32))
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "test")
    writer.add_tensor("plain", x)
    packed = gguf.quantize(x, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("eight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = read_tensors(tmp_path / "m.gguf")
    np.testing.assert_array_equal(read["plain"], x)
    assert read["eight"].shape == x.shape
    assert np.abs(read["eight"] - x).max() < 0.001


def test_bad_files_are_explained(tmp_path):
    cases = {
        "x.bin": (b"", "unknown kind of file"),
        "x.npy": (b"nonsense", r"cannot be read: it is not a \.npy array$"),
        "x.npz": (b"nonsense", r"cannot be read: it is not an \.npz archive$"),
        "y.npz": (b"PK nonsense", "cannot be read"),
        "x.safetensors": (b"abc", "too short"),
        "y.safetensors": (struct.pack("<Q", 1 << 60), "claims"),
        "z.safetensors": (struct.pack("<Q", 2) + b"[]", "not a table"),
        "w.safetensors": (struct.pack("<Q", 2) + b"{]", "cannot be read"),
        "x.gguf": (b"nonsense" * 9, "cannot be read"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(bl.BitlatheError, match=message):
            read_tensors(tmp_path / name)
    with pytest.raises(bl.BitlatheError, match="No such file"):
        read_tensors(tmp_path / "absent.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(bl.BitlatheError, match="objects are refused"):
        read_tensors(tmp_path / "o.npy")
    write_safetensors(tmp_path / "q.safetensors", {"t": ("Q4", weights((2, 2)))})
    with pytest.raises(bl.BitlatheError, match="unknown type 'Q4'"):
        read_tensors(tmp_path / "q.safetensors")
    write_safetensors(tmp_path / "r.safetensors", {"t": ("F64", weights((2, 2)))})
    with pytest.raises(bl.BitlatheError, match="does not fit its bytes"):
        read_tensors(tmp_path / "r.safetensors")
