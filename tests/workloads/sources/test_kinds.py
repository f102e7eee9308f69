"""Files and names that are no model here: named for what they are, with what to give instead."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError


class Trap:
    """What a pickle may do when it is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def zipped(name):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(name, pickle.dumps(Trap()))
    return held.getvalue()


def array():
    held = io.BytesIO()
    np.save(held, np.ones(3))
    return held.getvalue()


PICKLE = "whose reading can run any program, is not read: give the config.json or a .safetensors"
FILES = {
    "pytorch_model.bin": (zipped("archive/data.pkl"), f"by its ending '.bin': a pickle, {PICKLE}"),
    "old.pt": (pickle.dumps(Trap()), f"by its ending '.pt': a pickle, {PICKLE}"),
    "x.ckpt": (b"anything", f"by its ending '.ckpt': a pickle, {PICKLE}"),
    "model.json": (pickle.dumps(Trap()), f"a Python pickle: a pickle, {PICKLE}"),
    "model.yaml": (zipped("data.pkl"), f"as torch.save writes it: a pickle, {PICKLE}"),
    "weights.npz": (zipped("a.npy"), "an archive of numpy arrays, not a model"),
    "weights.npy": (array(), "a numpy array, not a model"),
    "net.pt2": (zipped("a"), "an exported program, by its ending '.pt2'"),
    "net.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it"),
    "net.tflite": (b"\x1c\0\0\0TFL3", "a TensorFlow Lite file, which is not"),
    "net.pb": (b"\n\x08", "a TensorFlow graph, by its ending '.pb'"),
    "net.gz": (b"\x1f\x8b\x08", "a gzip archive; unpack it first"),
    "net.bin.old": (b"ggjt\x01\0\0\0", "a file of llama.cpp before GGUF"),
    "model.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "of Git LFS, not the"),
    "page.gguf": (b"<!DOCTYPE html><html>", "a web page, not the file itself; download"),
    "page.onnx": (b"<html>", "a web page, not the file itself; download the file"),
    "nothing.json": (b"", "the file is empty."),
    "net.py": (b"import torch", "a Python program; give the torch module that it makes to"),
    "scale.cfg": (b"[general]", "SCALE-Sim's layers stand in a topology's .csv"),
    "flax_model.msgpack": (b"\x81", "weights of Flax"),
    "notes.txt": (b"q_proj 4096", "files that end in '.txt' are not read; give one of .json"),
    "adapter_config.json": (b'{"peft_type": "LORA"}', "an adapter's configuration; give the"),
    "tokenizer.json": (b'{"added_tokens": [], "model": {}}', "a tokenizer; give the config"),
    "tokenizer_config.json": (b'{"tokenizer_class": "x"}', "a tokenizer's configuration"),
    "generation_config.json": (b'{"bos_token_id": 1, "transformers_version": "5"}', "settings of"),
    "chip.yaml": (b"array: {rows: 4}\npe: {kind: fp}", "a chip; give it as the chip (--arch)"),
    "sweep.yaml": (b"arch: bitmod\nmodels: [opt-1.3b]", "a sweep; run it with bitlathe sweep"),
    "step.yaml": (b"decode: [300]", "a step of a server; give it as the step (--step)"),
    "model_index.json": (
        b'{"_class_name": "FluxPipeline", "scheduler": ["diffusers", "x"]}',
        "a pipeline of diffusers; give the config.json of its transformer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named(tmp_path, name):
    content, words = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BitlatheError) as caught:
        bl.load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message


def test_an_index_of_pickles_is_refused(tmp_path):
    (tmp_path / "pytorch_model-1.bin").write_bytes(pickle.dumps(Trap()))
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "pytorch_model-1.bin"}}))
    with pytest.raises(BitlatheError, match=r"pytorch_model-1.bin: this is weights of PyTorch"):
        bl.load_model(index)


def test_what_a_file_is_does_not_hang_on_its_name(tmp_path):
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    path = tmp_path / "model.json"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(BitlatheError, match=r"model.json: the graph has no nodes"):
        bl.load_model(path)
    for name in ("config", "config.onnx"):
        path = tmp_path / name
        path.write_text('{"input": [3, 8, 8], "layers": [{"out_channels": 4, "kernel": 3}]}')
        assert bl.load_model(path).gemms()[0].n == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "meta-llama/Llama-3.1-8B",
            "no such file or folder; if it is the name of a model on a hub",
        ),
        (
            "https://huggingface.co/x/resolve/main/config.json",
            "nothing is fetched from the network",
        ),
        ("./mine", "no such file; give the path of a config.json"),
        ("a/b/c", "no such file; give the path of a config.json"),
        ("net.onnx", "net.onnx: cannot read this model file: no such file"),
        ("lama-2-7b", "did you mean 'llama-2-7b'"),
    ],
)
def test_names_that_are_nothing_here(name, words):
    with pytest.raises(BitlatheError) as caught:
        bl.load_model(name)
    assert words in str(caught.value)


def test_a_folder_without_a_configuration_names_what_it_holds(tmp_path):
    with pytest.raises(BitlatheError, match=r"the folder holds no config.json\.$"):
        bl.load_model(tmp_path)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(BitlatheError, match=r"no config.json, but m.gguf; give the path of the f"):
        bl.load_model(tmp_path)
