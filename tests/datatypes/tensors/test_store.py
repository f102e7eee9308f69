"""Tensors saved and loaded: the same numbers, and damage that is named."""

import errno
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import bitlathe as bl
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors import store
from bitlathe.datatypes.tensors.tensor import QuantizedTensor
from quantized_cases import weights


@pytest.mark.parametrize(
    "text",
    [
        "bitmod_fp3@g20/int8",
        "int4_asym@g9",
        "mxfp4",
        "nvfp4",
        "bcq3@g16",
        "int4@b3x7/int6",
        "fp16",
        "dgq4@g16",
        "olive4@g11",
        "olive3@g11",
        "bitmod_fp4@g16+paper",
        "ant3@g8/m2",
    ],
)
@pytest.mark.parametrize("shape", [(5, 33), (0, 4)])
def test_a_saved_tensor_loads_as_the_same_numbers(text, shape, tmp_path):
    q = quantize(weights(shape).astype(np.float64), text)
    q.save(tmp_path / "q.safetensors")
    back = QuantizedTensor.load(tmp_path / "q.safetensors")
    assert (back.scheme, back.shape, back.axis) == (q.scheme, q.shape, q.axis)
    assert back.dequantize().tobytes() == q.dequantize().tobytes()
    assert back.dequantize().dtype == np.float64
    raw = (tmp_path / "q.safetensors").read_bytes()
    (header,) = struct.unpack("<Q", raw[:8])
    assert len(raw) - 8 - header == q.nbytes


def test_a_format_of_ones_own_travels_in_the_file(tmp_path):
    own = codebook("mine", [0, 1, 3, -1, -3])
    q = quantize(weights((3, 8)), Scheme.of(own, "g4"))
    q.save(tmp_path / "q.safetensors")
    back = QuantizedTensor.load(tmp_path / "q.safetensors")
    assert back.scheme.element == own
    np.testing.assert_array_equal(back.dequantize(), q.dequantize())


def test_damaged_files_are_explained(tmp_path):
    path = tmp_path / "q.safetensors"
    with pytest.raises(bl.BitlatheError, match="No such file"):
        QuantizedTensor.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(bl.BitlatheError, match=r"at most [\d,]+ are read"):
        QuantizedTensor.load(path)
    save_file({"w": weights((2, 2))}, path)
    with pytest.raises(bl.BitlatheError, match="plain tensors"):
        QuantizedTensor.load(path)
    q = quantize(weights((2, 8)), "int4@g4")
    q.save(path)
    raw = path.read_bytes().replace(b"[2, 8]", b"[2, 9]")
    path.write_bytes(raw)
    with pytest.raises(bl.BitlatheError, match="damaged"):
        QuantizedTensor.load(path)
    with pytest.raises(bl.BitlatheError, match="cannot be written"):
        q.save(tmp_path / "absent" / "q.safetensors")


def test_a_device_stays_a_device_and_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    q = quantize(weights((2, 8)), "int4@g4")
    pipe, path = tmp_path / "pipe", tmp_path / "q.safetensors"
    os.mkfifo(pipe)
    for place, kind in ((pipe, "a pipe"), (tmp_path, "a folder"), (Path("/dev/null"), "a device")):
        with pytest.raises(bl.BitlatheError, match=f"cannot be written: it is {kind}"):
            q.save(place)
    assert pipe.is_fifo()
    (tmp_path / "usual").touch()
    q.save(path)
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(bl.BitlatheError, match="cannot be written: No space left on device"):
        q.save(path)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pipe", "q.safetensors", "usual"]


def rewritten(path, text, change):
    """Save a tensor with its streams and its header changed; return what loading says."""
    quantize(weights((4, 16)), text).save(path)
    with safe_open(path, framework="numpy") as file:
        facts, streams = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    scheme = json.loads(facts["scheme"])
    change(facts, scheme, streams)
    facts["scheme"] = json.dumps(scheme)
    facts["sha256"] = store.checksum(facts, streams)  # as if it had been written like that
    save_file(streams, path, metadata=facts)
    with pytest.raises(bl.BitlatheError, match=r"q\.safetensors: damaged: ") as caught:
        QuantizedTensor.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "change", "says"),
    [
        ("int4@g8/int8", lambda f, s, t: t.pop("outer"), "'outer' of int4@g8/int8 is missing"),
        ("nvfp4", lambda f, s, t: t.pop("outer"), "'outer' of nvfp4 is missing"),
        ("int4@g8", lambda f, s, t: t.pop("codes"), "'codes'.*missing"),
        ("int4_asym@g8", lambda f, s, t: t.pop("zeros"), "'zeros'.*missing"),
        ("int4@g8", lambda f, s, t: s.update(scale="e4m3"), "'scales'.*takes 8 bytes"),
        (
            "int4@g8",
            lambda f, s, t: s.update(scale="fp32"),
            r"'scales'.*takes 32 bytes.*uint8\[16\]",
        ),
        ("int4@g8/int8", lambda f, s, t: s.update(scale="fp16"), "no stream 'outer'"),
        ("int4@g8", lambda f, s, t: s.update(granularity=[1, 4]), "'scales'.*takes 32 bytes"),
        ("int4@g8", lambda f, s, t: s.update(granularity=[1, -4]), "columns is -4"),
        ("int4@g8", lambda f, s, t: s.update(scale="fp17"), "unknown scale 'fp17'"),
        ("int4@g8", lambda f, s, t: s.update(coder="asym"), "unsigned integers"),
        ("int4@g8", lambda f, s, t: s.update(coder="tabel"), "did you mean 'table'"),
        ("int4@g8", lambda f, s, t: s.update(clip="most"), "unknown clip"),
        ("int4@g8", lambda f, s, t: s.update(name="int44"), "unknown format"),
        ("int4@g8", lambda f, s, t: s.update(formats=[], mixture=False), "its header"),
        ("int4@g8", lambda f, s, t: s.pop("clip"), "its header lacks 'clip'"),
        ("int4@g8", lambda f, s, t: f.pop("axis"), "its header lacks 'axis'"),
        ("int4@g8", lambda f, s, t: f.update(axis="x"), "header cannot be read"),
        ("int4@g8", lambda f, s, t: f.update(dtype="int8"), "dtype 'int8'"),
        ("int4@g8", lambda f, s, t: f.update(shape="[4, 16.5]"), "length of its shape is 16.5"),
        ("int4@g8", lambda f, s, t: f.update(shape=f"[{1 << 40}, 1]"), "'codes'.*takes"),
        ("int4@g8", lambda f, s, t: t.update(codes=t["codes"][:-1]), r"takes 32 bytes.*\[31\]"),
        ("int4@g8", lambda f, s, t: t.update(codes=t["codes"].astype("f4")), "float32"),
        ("bitmod_fp3_er@g8", lambda f, s, t: f.update(shape="[4, 15]"), "'codes'.*takes"),
    ],
)
def test_a_damaged_tensor_says_at_load_what_is_wrong(tmp_path, text, change, says):
    assert re.search(says, rewritten(tmp_path / "q.safetensors", text, change))


def test_what_is_no_path_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (None, 3):
        with pytest.raises(bl.BitlatheError, match="cannot be written: expected str"):
            bl.quantize(np.ones((1, 4)), "int4@g4").save(path)
    assert not list(tmp_path.iterdir())
