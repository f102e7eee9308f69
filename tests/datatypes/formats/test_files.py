"""Formats from YAML files."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.formats.files import load_format
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors.tensor import QuantizedTensor
from quantized_cases import weights


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("values: [0, 1, 3, -1]", [0, 1, 3, -1]),
        ("values: [0, 1e-1]\nbits: 2", [0, 0.1, np.nan, np.nan]),
        ("exponent_bits: 2\nmantissa_bits: 0", [0, 1, 2, 4, 0, -1, -2, -4]),
        ("integer_bits: 2\nfull_range: true", [0, 1, -2, -1]),
        ("base: fp3_e2m0\nadd: [5]", [0, 1, 2, 4, 5, -1, -2, -4]),
    ],
)
def test_formats_come_from_yaml(tmp_path, text, values):
    path = tmp_path / "f.yaml"
    path.write_text(f"name: mine\n{text}\n")
    fmt = load_format(path)
    assert fmt.name == "mine"
    np.testing.assert_array_equal(fmt.values, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("values: [0, x]", r"f.yaml:1:13: values.1.*got 'x'"),
        ("values: [0, true]", "got True"),
        ("values: [0, .nan]", "finite number"),
        ("values: [-.INF, 1]", "finite number"),
        ("name: x", "exactly one of"),
        ("mixture: [int4, nf4]", "f.yaml:1:1: a mixture is the element of a scheme"),
        ("vaules: [0, 1]", "f.yaml:1:1: unknown key 'vaules'; did you mean 'values'"),
        ("values: [0, 1]\nbase: int4", "exactly one of"),
        ("values: [0, 1]\nbiass: 2", r"f.yaml:2.*unknown key 'biass'; did you mean 'bits'"),
        ("exponent_bits: two\nmantissa_bits: 1", "valid integer"),
        ("exponent_bits: 12\nmantissa_bits: 1", "f.yaml:1:1: float_format: e is 12"),
        ("exponent_bits: 2", "key 'mantissa_bits' is missing"),
        ("exponent_bits: 4\nmantissa_bits: 3\nspecials: ocp", "unknown specials"),
        ("base: bitmod_fp4\nadd: [1]", "is a mixture"),
        ("base: int44\nadd: [1]", "did you mean 'int4'"),
        ("base: int4_asym\nadd: [1]", "neither a -0 nor an unused code"),
        ("- 1", "table of keys"),
        ("values: []", "at least 1 item"),
    ],
)
def test_bad_format_files_name_the_place(tmp_path, text, message):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(bl.BitlatheError, match=message) as caught:
        load_format(path)
    assert str(caught.value).count("f.yaml") == 1


def test_a_file_stands_where_a_format_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My.yaml").write_text("name: mine\nvalues: [0, 1, 3, -1, -3]\n")
    x = weights((3, 16))
    q = bl.quantize(x, "My.yaml@G8/INT8+MSE")
    assert str(q.scheme) == "My.yaml@g8/int8+mse"
    assert Scheme.parse(str(q.scheme)) == q.scheme
    assert str(Scheme.parse(f"{tmp_path}/My.yaml/bf16")) == f"{tmp_path}/My.yaml@channel/bf16"
    assert Scheme.parse(f"{tmp_path}/My.yaml@g64").label == "mine@g64"
    assert Scheme.parse("bitmod_fp4@g64").label == "bitmod_fp4@g64"
    assert bl.format("My.yaml") == load_format("My.yaml")
    np.testing.assert_array_equal(
        bl.quantize(x, "My.yaml@g8").dequantize(),
        bl.quantize(x, Scheme.of(load_format("My.yaml"), "g8")).dequantize(),
    )
    q.save("q.safetensors")
    # another file of that name is read anew, the saved tensor keeps its own
    (tmp_path / "My.yaml").write_text("values: [0, 2, -2]\n")
    assert bl.quantize(x, "My.yaml@g8").scheme.element.max == 2
    back = QuantizedTensor.load("q.safetensors")
    np.testing.assert_array_equal(back.dequantize(), q.dequantize())
    with pytest.raises(bl.BitlatheError, match=r"absent.yaml: cannot read"):
        Scheme.parse("absent.yaml@g8")
    with pytest.raises(bl.BitlatheError) as caught:
        Scheme.parse("My.yaml@h8")
    assert str(caught.value).endswith("  My.yaml@h8\n          ^")
