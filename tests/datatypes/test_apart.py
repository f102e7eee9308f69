"""Outliers apart: which they are, bits counted are bytes stored, bad input."""

import json

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.apart import ApartTensor, quantize_apart
from bitlathe.datatypes.tensors.store import checksum
from bitlathe.datatypes.weights.safetensors_file import Stored, read_stored, write_stored


def matrix(rows=6, columns=64, seed=0):
    return np.random.default_rng(seed).standard_t(3, size=(rows, columns)).astype(np.float32)


@pytest.mark.parametrize("scheme", ["int4@g16", "uint3@g8/uint3@g32/fp16~uint3@g32/fp16", "nvfp4"])
@pytest.mark.parametrize("kept", ["fp16", "bf16", "int8@g8", "fp8_e4m3@tensor/fp32"])
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 1])
def test_the_largest_are_kept_and_all_bits_stored(tmp_path, scheme, kept, share):
    x = matrix()
    q = quantize_apart(x, scheme, share=share, kept=kept)
    count = int(share * x.size)
    places = np.sort(np.argsort(-np.abs(x), axis=None, kind="stable")[:count])
    rest = x.copy()
    rest.flat[places] = 0
    rest, apart = bl.quantize(rest, scheme), bl.quantize(x.flat[places], kept)
    values = rest.dequantize()
    values.flat[places] = apart.dequantize()
    np.testing.assert_array_equal(q.places, places)
    np.testing.assert_array_equal(q.dequantize(), values)
    assert q.total_bits == rest.total_bits + apart.total_bits + count * 9  # of 384 places
    assert q.bits_per_element == q.total_bits / x.size
    q.save(file := tmp_path / "q.safetensors")
    header = int.from_bytes(file.read_bytes()[:8], "little")
    assert file.stat().st_size == 8 + header + q.nbytes
    assert 0 <= 8 * q.nbytes - q.total_bits < 8 * 8
    back = ApartTensor.load(file)
    np.testing.assert_array_equal(np.asarray(back), values)
    assert back.total_bits == q.total_bits


def test_a_threshold_and_weights_say_which():
    x = matrix(4, 32)
    q = quantize_apart(x, "int8@channel", threshold=2.5)
    np.testing.assert_array_equal(q.places, np.flatnonzero(np.abs(x) >= 2.5))
    weight = np.where(np.arange(32) == 5, 1e6, 1.0)
    q = quantize_apart(x, "int4@g16+mse", share=4 / 128, importance=weight)
    np.testing.assert_array_equal(q.places, 5 + 32 * np.arange(4))
    assert (
        repr(q) == "ApartTensor('int4@g16+mse', 4 in 'fp16', shape=(4, 32), 5.719 bits per element)"
    )
    assert quantize_apart([3.0], "int4", share=1).dequantize().tolist() == [3.0]


def test_what_cannot_be_is_said(tmp_path):
    x = matrix()
    for options, said in (
        ({"share": 2}, "share is 2, must be a number from 0 to 1"),
        ({"share": "all"}, "share is 'all', must be a number from 0 to 1"),
        ({"threshold": -1}, "threshold is -1, must be a number of 0 or more"),
        ({"share": 0.1, "threshold": 1}, "two ways; pass one"),
        ({"scales": 1}, "scales is of whole tensors; leave it out"),
        ({"axis": 0, "importance": np.ones(64)}, "axis is of whole tensors"),
        ({"importance": [1]}, "64 finite weights >= 0 are needed"),
        ({"kept": "fp17"}, "unknown format 'fp17'"),
    ):
        with pytest.raises(bl.BitlatheError, match=said):
            quantize_apart(x, "int4", **options)
    for wrong, said in ((x * 1e6, "beyond"), (x * np.nan, "not finite"), (x[:0], "got shape")):
        with pytest.raises(bl.BitlatheError, match=said):
            quantize_apart(wrong, "int4@g8/fp32")
    bl.quantize(x, "int4").save(tmp_path / "dense.safetensors")
    with pytest.raises(bl.BitlatheError, match="not a tensor with outliers of this version"):
        ApartTensor.load(tmp_path / "dense.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts, arrays: facts.update(rest="{"), "damaged: Expecting property name"),
        (lambda facts, arrays: arrays.update(places=np.zeros(2, np.uint8)), "not ascending"),
        (lambda facts, arrays: arrays.pop("places"), "takes? 2 bytes|take 2 bytes"),
        (lambda facts, arrays: arrays.update(places=np.array([0, 255], np.uint8)), "beyond 200"),
        (
            lambda facts, arrays: facts.update(
                kept=json.dumps({**json.loads(facts["kept"]), "shape": "[1, 2]", "axis": "[1]"})
            ),
            "not ascending|damaged",
        ),
    ],
)
def test_a_file_that_another_program_made_is_checked(tmp_path, change, said):
    file = tmp_path / "q.safetensors"
    quantize_apart(matrix(2, 100), "int4", share=0.01).save(file)
    stored, facts = read_stored(file)
    arrays = {name: part.values for name, part in stored.items()}
    write_stored(stored, {**facts, "more": "3"}, file)
    with pytest.raises(bl.BitlatheError, match="checksum"):
        ApartTensor.load(file)
    facts = dict(facts)
    change(facts, arrays)
    facts.pop("sha256")
    facts["sha256"] = checksum(facts, arrays)
    write_stored({name: Stored.of(a) for name, a in arrays.items()}, facts, file)
    with pytest.raises(bl.BitlatheError, match=said):
        ApartTensor.load(file)
