"""Checkpoints: shards in, shards out, by patterns of names; whole or not at all."""

import json
import os

import numpy as np
import pytest
from safetensors import safe_open

import bitlathe as bl
from bitlathe.datatypes import Rules, quantize_checkpoint, read_checkpoint
from bitlathe.datatypes.checkpoints import checkpoint as module
from bitlathe.datatypes.checkpoints.folder import INDEX, shards_of, writing_folder
from bitlathe.datatypes.weights.safetensors_file import Stored, read_stored, write_stored

SHAPES = {
    "model-00001-of-00002.safetensors": {
        "embed.weight": (16, 32),
        "layers.0.q.weight": (24, 32),
        "layers.0.q.bias": (24,),
    },
    "model-00002-of-00002.safetensors": {
        "layers.0.down.weight": (16, 64),
        "conv.weight": (4, 2, 3, 3),
        "steps": (3,),
    },
}
RULES = Rules.of("int4@g32/bf16", [("*down*", "int8@channel")], exclude=["embed*"])


@pytest.fixture
def source(tmp_path):
    folder, rng = tmp_path / "model", np.random.default_rng(0)
    folder.mkdir()
    for file, shapes in SHAPES.items():
        tensors = {}
        for name, shape in shapes.items():
            x = rng.normal(size=shape).astype(np.float32)
            bits = (x.view(np.uint32) >> 16).astype(np.uint16)
            steps = Stored.of(np.arange(3))
            tensors[name] = steps if name == "steps" else Stored.of(bits, "BF16")
        write_stored(tensors, {"format": "pt"}, folder / file)
    where = {name: file for file, shapes in SHAPES.items() for name in shapes}
    (folder / INDEX).write_text(json.dumps({"weight_map": where}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def test_a_written_file_is_read_by_the_library(source):
    file = source / "model-00001-of-00002.safetensors"
    ours, facts = read_stored(file)
    with safe_open(file, "pt") as theirs:
        assert theirs.metadata() == facts == {"format": "pt"}
        for name in theirs.keys():  # noqa: SIM118  (no mapping)
            assert np.array_equal(theirs.get_tensor(name).float().numpy(), ours[name].values)


@pytest.mark.parametrize("layout", ["bitlathe", "compressed-tensors", "torchao"])
def test_shards_in_shards_out(source, tmp_path, layout):
    out = tmp_path / "out"
    rules = (
        RULES if layout == "bitlathe" else Rules.of(*rules_of(RULES), exclude=["embed*", "con*"])
    )
    rows = quantize_checkpoint(source, out, rules, layout)
    plain = {n: t.values for f in SHAPES for n, t in read_stored(source / f)[0].items()}
    assert sorted(p.name for p in out.iterdir()) == sorted([*SHAPES, INDEX, "config.json"])
    found = read_checkpoint(out)
    assert set(found) == set(plain)
    assert [row.tensor for row in rows if row.scheme] == [
        name for name in plain if isinstance(found[name], bl.QuantizedTensor)
    ]
    for name, x in plain.items():
        scheme = rules.of_tensor(name)
        if scheme is None or x.ndim < 2:
            assert np.array_equal(found[name], x)
            assert found[name].dtype == x.dtype
        else:
            own = bl.quantize(x, scheme)
            assert np.array_equal(found[name].dequantize(), own.dequantize())
            assert found[name].total_bits == own.total_bits
    kept = read_stored(out / next(iter(SHAPES)))[0]["embed.weight"]
    assert kept == read_stored(source / next(iter(SHAPES)))[0]["embed.weight"]
    index = json.loads((out / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(row.nbytes for row in rows)
    for name, file in index["weight_map"].items():
        tensors, facts = read_stored(out / file)
        assert name in tensors
        if layout == "torchao":  # transformers takes the names of whichever shard it reads last
            assert json.loads(facts["tensor_names"]) == [name for name in plain if "." in name]


def rules_of(rules):
    return rules.scheme, rules.by_name


def test_a_convolution_is_taken_along_all_its_inputs(source, tmp_path):
    quantize_checkpoint(source, tmp_path / "out", RULES)
    q = read_checkpoint(tmp_path / "out")["conv.weight"]
    x = read_stored(source / list(SHAPES)[1])[0]["conv.weight"].values
    flat = bl.quantize(x.reshape(4, 18), "int4@g32/bf16")
    assert np.array_equal(q.dequantize().reshape(4, 18), flat.dequantize())


def test_the_configuration_says_how_each_module_is_stored(source, tmp_path):
    rules = Rules.of("nvfp4", [("*down*", "int8@channel")], exclude=["embed*", "conv*"])
    quantize_checkpoint(source, tmp_path / "out", rules, "compressed-tensors")
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    own = said["quantization_config"]
    assert (said["model_type"], own["format"]) == ("llama", "mixed-precision")
    targets = {g["format"]: g["targets"] for g in own["config_groups"].values()}
    assert targets == {
        "nvfp4-pack-quantized": ["layers.0.q"],
        "pack-quantized": ["layers.0.down"],
    }
    assert own["ignore"] == ["embed"]
    for old, new in (('"layers.0.q"', '"re:.*q$"'), ('"layers.0.q"', '"Linear"')):
        file = tmp_path / "out" / "config.json"
        file.write_text(json.dumps(said).replace(old, new))
        assert str(read_checkpoint(tmp_path / "out")["layers.0.q.weight"].scheme) == "nvfp4"
    file.write_text(json.dumps(said).replace('"layers.0.q"', '"other"'))
    with pytest.raises(bl.BitlatheError, match=r"'layers.0.q.weight': no group of config.json"):
        read_checkpoint(tmp_path / "out")
    with pytest.raises(bl.BitlatheError, match="it is quantized already"):
        quantize_checkpoint(tmp_path / "out", tmp_path / "o", Rules.of("int4"))


def test_nothing_is_left_of_what_fails(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with pytest.raises(bl.BitlatheError, match=r"^tensor 'conv.weight': compressed-tensors has m"):
        quantize_checkpoint(source, out, RULES, "compressed-tensors")
    calls = []

    def failing(*given):
        calls.append(given)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write_stored(*given)

    monkeypatch.setattr(module, "write_stored", failing)
    with pytest.raises(bl.BitlatheError, match="out: cannot be written: No space left on device"):
        quantize_checkpoint(source, out, RULES)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_holds_something_is_not_written_over(source, tmp_path):
    with pytest.raises(bl.BitlatheError, match="it is a folder with files; give the path of a new"):
        quantize_checkpoint(source, source, RULES)
    (tmp_path / "file").write_text("")
    for path, said in (("file", "it is a file"), ("file/out", "Not a directory"), ("a\0b", "null")):
        with (
            pytest.raises(bl.BitlatheError, match=said),
            writing_folder(os.path.join(tmp_path, path)),
        ):
            pass
    (tmp_path / "empty").mkdir()
    quantize_checkpoint(source, tmp_path / "empty", RULES)
    assert (tmp_path / "empty" / INDEX).exists()
    (tmp_path / "link").symlink_to("later")
    quantize_checkpoint(source, tmp_path / "link", RULES)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "later" / INDEX).exists()


def test_what_is_quantized_is_not_quantized_again(source, tmp_path):
    quantize_checkpoint(source, tmp_path / "out", Rules.of("int4", include=["*q.weight"]))
    with pytest.raises(bl.BitlatheError, match=r"00001.*: it holds quantized tensors already"):
        quantize_checkpoint(tmp_path / "out", tmp_path / "o", Rules.of("int4", include=["embed*"]))


def test_a_tensor_that_only_the_index_has_is_missed(source, tmp_path):
    where = json.loads((source / INDEX).read_text())
    where["weight_map"]["lm_head.weight"] = next(iter(SHAPES))
    (source / INDEX).write_text(json.dumps(where))
    with pytest.raises(bl.BitlatheError, match=r"index.json: tensor 'lm_head.weight', which it na"):
        quantize_checkpoint(source, tmp_path / "out", RULES)
    assert not (tmp_path / "out").exists()


def test_a_changed_shard_is_noticed(source, tmp_path):
    quantize_checkpoint(source, tmp_path / "out", RULES)
    file = tmp_path / "out" / next(iter(SHAPES))
    tensors, facts = read_stored(file)
    codes = tensors["layers.0.q.weight.codes"]
    tensors["layers.0.q.weight.codes"] = Stored(
        kind="U8", shape=codes.shape, data=bytes(codes.data)[::-1]
    )
    write_stored(tensors, facts, file)
    with pytest.raises(bl.BitlatheError, match="its content does not have its checksum"):
        read_checkpoint(tmp_path / "out")
    write_stored(tensors, {**facts, "version": "0"}, file)
    with pytest.raises(bl.BitlatheError, match="written by another version"):
        read_checkpoint(tmp_path / "out")


def test_what_cannot_be_done_is_said(source, tmp_path):
    out = tmp_path / "out"
    for rules, said in (
        (Rules.of("int4", include=["layer.*"]), r"pattern 'layer.\*' matches no tensor; there are"),
        (Rules.of("int4", include=["steps"]), "no tensor is left to quantize"),
        (Rules.of(None, [("*bias", "int4")]), "no tensor is left to quantize"),
        (Rules.of("uint4"), r"tensor 'embed.weight': format 'uint4' is unsigned"),
    ):
        with pytest.raises(bl.BitlatheError, match=said):
            quantize_checkpoint(source, out, rules)
    with pytest.raises(bl.BitlatheError, match="unknown layout 'gptq'"):
        quantize_checkpoint(source, out, RULES, "gptq")
    for path, said in (
        (tmp_path / "x.npy", "a checkpoint is a folder"),
        (tmp_path, "has no .safe"),
    ):
        with pytest.raises(bl.BitlatheError, match=said):
            shards_of(path)
    (source / list(SHAPES)[1]).unlink()
    with pytest.raises(
        bl.BitlatheError, match=r"00002-of-00002.safetensors, which it names, is mi"
    ):
        read_checkpoint(source)
    (source / INDEX).write_text('{"weight_map": {"a": "../b.safetensors"}}')
    with pytest.raises(
        bl.BitlatheError, match=r"it must be the name of a .safetensors file beside"
    ):
        read_checkpoint(source)
    (source / INDEX).unlink()
    with pytest.raises(bl.BitlatheError, match=r"00002-of-00002.safetensors is missing, of 2"):
        read_checkpoint(source)
    (source / next(iter(SHAPES))).rename(source / "model.safetensors")
    write_stored({"embed.weight": Stored.of(np.zeros(2))}, {}, source / "z.safetensors")
    with pytest.raises(bl.BitlatheError, match=r"tensor 'embed.weight' is in model.safet"):
        read_checkpoint(source)


@pytest.mark.parametrize(
    ("target", "said"),
    [("re:(", r"group_0: target 're:\(': no regular expression"), (1, "target 1: a text is need")],
)
def test_a_target_that_is_none_is_refused(source, tmp_path, target, said):
    out = tmp_path / "out"
    quantize_checkpoint(source, out, Rules.of(None, [("*q*", "int4")]), "compressed-tensors")
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["targets"] = [target]
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(bl.BitlatheError, match=said):
        read_checkpoint(out)


def test_a_header_that_is_nested_without_end_is_refused(source):
    facts = {"kind": "bitlathe.checkpoint", "version": "1", "tensors": "[" * 100_000}
    write_stored({}, facts, source / next(iter(SHAPES)))
    with pytest.raises(bl.BitlatheError, match="damaged: its header cannot be read: maximum recur"):
        read_checkpoint(source)


def test_a_text_is_one_pattern():
    rules = Rules.of("int4", include="*.weight", exclude="embed*")
    assert (rules.include, rules.exclude) == (("*.weight",), ("embed*",))
    assert rules.of_tensor("norm") is None
