"""Calibrated models on disk: written, gone on with, measured, simulated, refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.arch.stored import runnable
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods.files import load_layer, save_layer
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.workloads.accuracy import accuracy
from bitlathe.workloads.calibration import calibrate_model
from bitlathe.workloads.lm.calibration import read_calibration
from bitlathe.workloads.lm.formats import Formats
from naive import tiny_lm

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
CONFIG = tiny_lm.CONFIGS["llama3"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("calibrated")
    tiny_lm.write(made / "model", CONFIG)
    rng = np.random.default_rng(5)
    (made / "words.txt").write_text(" ".join(rng.choice(tiny_lm.WORDS, 600)))
    return made


def calibrated(root, method="gptq", scheme="int4@g8", out="gptq", **more):
    given = {"tokens": 120, "context": 13, "text": root / "words.txt"} | more
    return calibrate_model(root / "model", method, scheme, out=root / out, **given)


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_is_read_as_it_was_written(method, tmp_path):
    random = np.random.default_rng(0)
    w, x = random.normal(size=(6, 32)).astype(np.float32), random.normal(size=(40, 32))
    x[:, 3] *= 30
    layer = bl.calibrate(w, x, method, **({"outliers": 0.1} if method == "vptq" else {}))
    digest = save_layer(layer, tmp_path / "layer.safetensors", {"name": "up"})
    raw = (tmp_path / "layer.safetensors").read_bytes()
    header = int.from_bytes(raw[:8], "little")
    tensors = json.loads(raw[8 : 8 + header])
    moved = sum(  # each stream ends on a whole byte; what is done to inputs is counted apart
        np.subtract(*reversed(each["data_offsets"]))
        for name, each in tensors.items()
        if name != "__metadata__" and not name.startswith(("divisors", "rotation"))
    )
    assert 0 <= 8 * moved - layer.total_bits < 8 * len(tensors)
    again, notes = load_layer(tmp_path / "layer.safetensors")
    assert notes == {"name": "up", "sha256": digest}
    np.testing.assert_array_equal(again.forward(x), layer.forward(x))
    np.testing.assert_array_equal(again.dequantize(), layer.dequantize())
    assert (again.total_bits, again.transform_bits) == (layer.total_bits, layer.transform_bits)
    assert (again.chosen, again.relative_error) == (layer.chosen, layer.relative_error)
    data = bytearray((tmp_path / "layer.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "layer.safetensors").write_bytes(data)
    with pytest.raises(BitlatheError, match="damaged"):
        load_layer(tmp_path / "layer.safetensors")


def test_a_layer_of_zeros_is_rounded_and_stops_nothing(root, tmp_path):
    """No output tells one rounding of them from another."""
    model = tiny_lm.write(tmp_path / "model", CONFIG)
    from safetensors.numpy import load_file, save_file

    (path,) = model.glob("*.safetensors")
    weights = load_file(path)
    for name in ("0.self_attn.o_proj", "1.mlp.up_proj"):
        weights[f"model.layers.{name}.weight"][:] = 0
    save_file(weights, path)
    given = {"tokens": 120, "context": 13, "text": root / "words.txt", "out": tmp_path / "out"}
    made = calibrate_model(model, "gptq", "int4_asym@g8", **given)
    silent = ["0.self_attn.o_proj", "1.mlp.up_proj"]
    for name, row in made.facts["layers"].items():
        assert (row["relative_error"] == 0) is (name in silent), name
    for name in silent:
        assert not made.layer(name).dequantize().any()


def test_blocks_are_calibrated_on_what_the_calibrated_ones_before_hand_on(root):
    made = calibrated(root)
    ids = [tiny_lm.WORDS.index(w) for w in (root / "words.txt").read_text().split()]
    assert len(made.files) == 14
    weights = tiny_lm.tensors(CONFIG)
    for name in made.files:  # the first block as calibrated, the second as it was
        if name.startswith("0."):
            weights[f"model.layers.{name}.weight"] = (
                made.layer(name).dequantize().astype(np.float32)
            )
    from bitlathe.workloads.lm import find_checkpoint
    from bitlathe.workloads.lm.decoder import load_decoder

    decoder = load_decoder(find_checkpoint(root / "model"))
    state = {k.removeprefix("model."): torch.from_numpy(v) for k, v in weights.items()}
    decoder.load_state_dict(state, strict=False)
    seen = []
    layer = decoder.layers[1].mlp.up_proj
    layer.register_forward_pre_hook(lambda _, x: seen.append(x[0].numpy()))
    with torch.inference_mode():
        for start in made.starts:
            decoder(torch.tensor(ids[start : start + 13]))
    wanted = bl.calibrate(
        weights["model.layers.1.mlp.up_proj.weight"], np.concatenate(seen), "gptq", "int4@g8"
    )
    found = made.layer("1.mlp.up_proj")
    assert found.relative_error == pytest.approx(wanted.relative_error, rel=1e-3)
    assert found.weights.codes.tolist() == wanted.weights.codes.tolist()


def test_a_run_that_was_cut_off_goes_on(root, monkeypatch):
    whole = calibrated(root)
    files = sorted((root / "gptq" / "layers").iterdir())
    times = {f.name: f.stat().st_mtime_ns for f in files}
    facts = json.loads((root / "gptq" / "calibration.json").read_text())
    layers = facts.pop("layers")
    (root / "gptq" / "calibration.json").unlink()
    (root / "gptq" / "calibration.unfinished.json").write_text(json.dumps(facts))
    files[-1].write_bytes(files[-1].read_bytes()[:100])  # damaged as it was written
    assert calibrated(root) == whole
    assert json.loads((root / "gptq" / "calibration.json").read_text())["layers"] == layers
    again = {f.name: f.stat().st_mtime_ns for f in (root / "gptq" / "layers").iterdir()}
    assert {k for k in times if again[k] != times[k]} == {files[-1].name}
    monkeypatch.setattr(
        "bitlathe.workloads.lm.calibrate.open_decoder", lambda *_: pytest.fail("ran again")
    )
    assert calibrated(root) == whole
    monkeypatch.undo()
    files[0].unlink()  # of a folder that was whole
    assert calibrated(root) == whole
    assert files[0].exists()
    with pytest.raises(BitlatheError, match="holds another calibration \\(its 'method' differs"):
        calibrated(root, method="rtn")


def test_what_was_calibrated_is_measured_as_its_weights_are(root):
    made = calibrated(root)
    options = {"tokens": 50, "context": 12, "text": root / "words.txt", "cache": root / "kept"}
    _, row = accuracy(root / "model", calibrated=[root / "gptq"], **options)
    weights = tiny_lm.tensors(CONFIG)
    for name in made.files:
        weights[f"model.layers.{name}.weight"] = made.layer(name).dequantize()
    ids = [tiny_lm.WORDS.index(w) for w in (root / "words.txt").read_text().split()]
    nll = []
    for w in range(5):
        window = ids[w * 600 // 5 :][:12]
        logits = tiny_lm.logits(CONFIG, weights, window)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nll.append(-np.mean([x[t] for x, t in zip(logs, window[1:], strict=False)]))
    np.testing.assert_allclose(row.window_nll, nll, rtol=1e-4)
    assert row.scheme == "gptq: int4@g8"
    assert row.bits_per_weight == 6.0
    own = {t for w in range(5) for t in range(w * 120, w * 120 + 12)}
    assert row.seen_tokens == sum(t in own for s in made.starts for t in range(s, s + 13))
    again = accuracy(root / "model", calibrated=[root / "gptq"], **options)
    assert again[1] == row


def test_keys_and_values_have_schemes_beside_calibrated_layers(root):
    """Layers that were rounded, and keys and values: the run of formats that say the same."""
    calibrated(root, "rtn", "int4@g8", "rounded")
    options = {"tokens": 50, "context": 12, "text": root / "words.txt", "cache": root / "kept"}
    folders, said = [root / "rounded"], {"keys": "int3@channel", "values": "int3@g4"}
    by = {"keys_by": "channel"}
    formats = Formats.of("int4@g8", **said, **by)
    _, wanted, found = accuracy(
        root / "model", [formats], calibrated=folders, kv=formats.cache, **options
    )
    assert found.window_nll == wanted.window_nll
    assert found.scheme == "rtn: int4@g8; keys int3@channel by channel, values int3@g4 by token"
    assert accuracy(root / "model", calibrated=folders, **options)[1].kl_nats != found.kl_nats


def test_methods_that_change_inputs_run_in_the_model(root):
    calibrated(root, "smoothquant", None, "smooth")
    options = {"tokens": 50, "context": 12, "text": root / "words.txt", "cache": root / "kept"}
    _, row = accuracy(root / "model", calibrated=[root / "smooth"], **options)
    assert row.scheme == "smoothquant: int8@channel, inputs int8@channel"
    assert 0 < row.kl_nats < 0.01
    assert 0 < row.output_error < 0.02


def test_a_calibrated_folder_is_a_model_to_simulate(root):
    calibrated(root, "smoothquant", None, "smooth")
    model = bl.load_model(str(root / "smooth"))
    plain = bl.load_model(str(root / "model"))
    assert model.parameter_count == plain.parameter_count
    assert model.stored_formats["formats.linear.weight"] == "int8@channel"
    assert model.stored_formats["formats.linear.input"] == "int8@channel"


FP16 = {"fp16_multiply": 1, "fp16_add": 1}


@pytest.mark.parametrize(
    ("method", "options", "operators"),
    [
        ("vptq", {"entries": 8, "books": 2}, {"lut8_query": 2, "fp16_add": 1}),
        ("bitstack", {"blocks": 2, "rank": 3}, {"fp16_multiply": 6, "fp16_add": 5}),
        ("any4", {"bits": 2}, {"lut8_query": 1, **FP16}),
        ("jlcm", {"books": 2}, {"lut8_query": 1, **FP16}),
        ("nupes", {}, {"lut8_query": 1}),
        ("compander", {}, {"lut8_query": 1}),
        ("finequant", {}, None),
        ("adadim", {}, None),
    ],
)
def test_a_folder_in_codes_of_its_own_runs_on_a_chip(root, method, options, operators):
    """All stored bits are read from DRAM in decode; what makes weights of codes stands beside."""
    scheme = {"finequant": "int4@g3", "adadim": "int3_asym@g8"}.get(method)
    made = calibrated(root, method, scheme, f"{method}-run", options=options)
    model = bl.load_model(str(root / f"{method}-run"))
    stored = model.stored_formats
    assert stored.get("pe.decoder", {}).get("operators") == operators
    chip = bl.load_arch("codebook", runnable(bl.load_arch("codebook"), stored)[0])
    run = bl.simulate(chip, model, "decode", 16, fidelity="analytic", mapper="whole-buffer")
    products = [each for each in run.layers if each.name.endswith("_proj")]
    moved = sum(each.dram_bits["weight"] * each.count for each in products)
    layers = [made.layer(name) for name in made.files]
    beyond = moved - sum(layer.total_bits for layer in layers)
    assert 0 <= beyond < 64 * sum(layer.outputs for layer in layers)  # rows end on whole words
    if operators is None:
        told = {rule["weight"] for rule in stored["formats.rules"]} - {"fp16"}
        told.add(stored["formats.linear.weight"])
        assert told == {str(layer.tensor.scheme) for layer in layers}
        return
    with pytest.raises(BitlatheError, match=r"bitmod: a PE .* which a decoder .* codebook, fp16$"):
        runnable(bl.load_arch("bitmod"), stored)


@pytest.mark.parametrize(
    ("method", "scheme", "keys"),
    [
        ("zeroquant_fp", "fp4_e2m1@g128/m2", {"beside.rank"}),
        ("easyquant", "int4@channel+mse", {"beside.sparse_fraction"}),
        ("llm_int8", "int8@channel", {"beside.outlier_fraction"}),
        ("hadamard", "int4_asym@g128", {"beside.rotation"}),
    ],
)
def test_a_folder_tells_what_stands_beside_its_codes(root, method, scheme, keys):
    """The scheme of the codes, the mean bits of all that is stored, what is computed with it."""
    options = {"threshold": 2.0} if method == "llm_int8" else {}
    made = calibrated(root, method, scheme, f"{method}-beside", options=options)
    told = bl.load_model(str(root / f"{method}-beside")).stored_formats
    assert {key for key in told if key.startswith("beside.")} == keys
    layers = [made.layer(name) for name in made.files]
    size = sum(layer.inputs * layer.outputs for layer in layers)
    bits, weight = sum(layer.total_bits for layer in layers) / size, told["formats.linear.weight"]
    if method == "hadamard":
        assert weight == scheme
        assert told["beside.rotation"] == "hadamard"
    else:
        assert weight == {"scheme": scheme, "bits": pytest.approx(bits)}
    if method == "llm_int8":
        apart = sum(0 if layer.outliers is None else len(layer.outliers) for layer in layers)
        share = apart / sum(layer.inputs for layer in layers)
        assert told["beside.outlier_fraction"] == pytest.approx(share)


PLANES, INTEGERS = ["bcq2@g8/pot2", "bcq3@g8/pot2"], ["int4@g8", "int3@g8"]


@pytest.mark.parametrize(
    ("method", "choices", "budget", "rule", "options"),
    [
        ("rtn", INTEGERS, "5.4", "program", {}),
        ("shiftadd", PLANES, "7.4", "sort", {}),
        ("bitstack", None, "9500B", "program", {"rank": 2, "blocks": 3}),
        ("bitstack", None, "9500B", "sort", {"rank": 2, "blocks": 3}),
    ],
)
def test_bits_are_shared_out_within_a_budget(root, method, choices, budget, rule, options):
    out = root / f"{method}-{rule}"
    asked = ("calibrate", root / "model", "--method", method, "--out", out, "--tokens", 120,
             "--context", 13, "--text", root / "words.txt", "--budget", budget,
             "--allocation", rule)  # fmt: skip
    asked += sum((("--scheme", each) for each in choices or ()), ())
    asked += sum((("--set", f"{k}={v}") for k, v in options.items()), ())
    result = run(*asked, "--json")
    assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {"config.json", "calibration.json", "layers"}
    made = read_calibration(out)
    layers = [made.layer(name) for name in made.files]
    bits, size = (
        sum(n) for n in zip(*((x.total_bits, x.inputs * x.outputs) for x in layers), strict=True)
    )
    limit = 9500 * 8 if choices is None else float(budget) * size
    step = {"shiftadd": 3, "bitstack": 4.67, "rtn": 1}[method] * 960  # of the largest layer
    assert limit - step < bits <= limit
    kinds = [x.chosen if choices is None else str(x.tensor.scheme) for x in layers]
    assert len(set(kinds)) == 2


def test_choices_that_were_measured_are_not_measured_again(root, monkeypatch):
    asked = {"scheme": INTEGERS, "budget": 5.4}
    whole = calibrated(root, "rtn", out="again", **asked)
    facts = json.loads((root / "again" / "calibration.json").read_text())
    del facts["layers"]
    (root / "again" / "calibration.json").unlink()
    (root / "again" / "calibration.unfinished.json").write_text(json.dumps(facts))
    monkeypatch.setattr("bitlathe.workloads.lm.calibrate.share", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        calibrated(root, "rtn", out="again", **asked)
    monkeypatch.undo()
    monkeypatch.setattr("bitlathe.workloads.lm.calibrate.Choices.of", lambda *_: 1 / 0)
    assert calibrated(root, "rtn", out="again", **asked) == whole


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command(root):
    options = ("--tokens", 120, "--context", 13, "--text", root / "words.txt")
    command = ("calibrate", root / "model", "--method", "awq", "--scheme", "int3@g8")
    result = run(*command, "--out", root / "awq", "--option", "alphas=[0, 0.5]", *options, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["options"]["alphas"] == [0, 0.5]
    assert [row["layer"] for row in facts["layers"]][:2] == [
        "0.self_attn.q_proj",
        "0.self_attn.k_proj",
    ]
    assert all(row["relative_error"] <= row["rounded_error"] for row in facts["layers"])
    table = run(*command, "--out", root / "awq", "--option", "alphas=[0, 0.5]", *options)
    assert "awq: int3@g8" in table.stdout


def test_methods_are_listed_with_their_settings():
    """Every setting says what it is, which values it takes, and its default."""
    result = run("calibrate", "--methods")
    assert result.exit_code == 0
    for method in METHODS.values():
        assert f"{method.name}: {method.summary} [{method.scheme}" in result.stdout
        for each in method.settings:
            assert each.text.endswith("."), (method.name, each)
            assert each.takes, (method.name, each)
    assert "    blocks=4 (a whole number 1..64)" in result.stdout
    assert "    alphas=[0.1, 0.2, " in result.stdout
    rows = json.loads(run("calibrate", "--methods", "--json").stdout)
    assert [row["name"] for row in rows] == list(METHODS)
    damping = next(row for row in rows if row["name"] == "gptq")["settings"][0]
    assert (damping["name"], damping["default"]) == ("damping", 0.01)
    assert "0 to 1" in damping["takes"]


def test_options_of_schemes_are_not_dropped_beside_what_was_calibrated(root):
    calibrated(root)
    start = ("accuracy", "--model", root / "model", "--calibrated", root / "gptq")
    result = run(*start, "--keys-by", "channel")
    assert result.exit_code == 2
    assert "give the scheme of keys too" in result.stderr
    for option in ("--rule", "0=int8"), ("--static",):
        result = run(*start, *option)
        assert result.exit_code == 2
        assert f"{option[0]} goes with --scheme" in result.stderr
    more = ("--scheme", "int4", "--activations", "int8@channel", "--percentile", 99)
    result = run(*start, *more)
    assert result.exit_code == 2
    assert "--percentile: layers of --calibrated find scales of their inputs" in result.stderr


def test_inputs_have_a_scheme_beside_calibrated_layers(root):
    """Weights of plain rounding: the same layers as calibrated with these inputs."""
    inputs = "int4@channel"
    calibrated(root, "rtn", "int4@g8", "rounded")
    calibrated(root, "rtn", "int4@g8", "with-inputs", activation_scheme=inputs)
    options = {"tokens": 50, "context": 12, "text": root / "words.txt", "cache": root / "kept"}
    folders = [root / "rounded", root / "with-inputs"]
    _, found, wanted = accuracy(root / "model", calibrated=folders, inputs=inputs, **options)
    assert found.window_nll == wanted.window_nll
    assert found.scheme == wanted.scheme == "rtn: int4@g8, inputs int4@channel"
    assert accuracy(root / "model", calibrated=folders[:1], **options)[1].kl_nats != found.kl_nats
    start = ("accuracy", "--model", root / "model", "--calibrated", folders[1])
    result = run(*start, "--activations", "int8@tensor")
    assert result.exit_code == 2
    assert "calibrated with inputs in int4@channel, not int8@tensor" in result.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--method", "gtpq"), "unknown method 'gtpq'; did you mean 'gptq'"),
        (("--method", "dgq", "--scheme", "int4@g8"), "dgq does not go with int4@g8"),
        (("--method", "gptq", "--option", "damping"), "--option 'damping': write KEY=VALUE"),
        (("--method", "gptq", "--option", "damping=1", "--option", "damping=0"), "given twice"),
        (("--method", "gptq", "--option", "model=1"), "option 'model'"),
        (("--method", "gptq", "--option", "damping=high"), "damping: a number from 0 to 1"),
        (("--method", "gptq", "--budget", "3"), "leaves nothing to choose; give two schemes or"),
        (("--method", "gptq", "--scheme", "int3@g8", "--scheme", "int4@g8"), "give a budget as"),
        (("--method", "gptq", "--scheme", "int3@g8", "--scheme", "int4@g8", "--budget", "3"),
         "the fewest that the choices take are 51,840, 5 a weight"),
        (("--method", "bitstack", "--budget", "3 miles"), "write bits a weight, such as 2.5, or a"),
        (("--method", "gptq", "--allocation", "sort"), "--allocation: it is how a budget is"),
        (("--method", "gptq", "--tokens", 6000), "the text has 600 tokens"),
        (("--method", "gptq", "--scheme", "int4@g8", "--option", "damping=0", "--tokens", 12,
          "--context", 13), "layer '0.self_attn.q_proj': activations: 13 tokens do not tell 24"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(change, said, root, tmp_path):
    start = ("calibrate", root / "model", "--out", tmp_path / "out", "--text", root / "words.txt")
    result = run(*start, "--tokens", 120, "--context", 13, *change)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "out" / "calibration.json").exists()


def test_other_folders_are_left_alone_and_nothing_is_left_behind(root, tmp_path):
    config = (root / "model" / "config.json").read_bytes()
    with pytest.raises(
        BitlatheError, match=r"--out: .*model holds other files; give the path of a"
    ):
        calibrated(root, out="model")
    assert (root / "model" / "config.json").read_bytes() == config
    with pytest.raises(BitlatheError, match=r"layer '0\.self_attn\.q_proj'"):
        calibrated(root, out=tmp_path / "new", tokens=12, options={"damping": 0})
    assert not list(tmp_path.iterdir())


def test_folders_that_hold_no_calibration_are_refused(root, tmp_path):
    with pytest.raises(BitlatheError, match=r"holds no calibration.json; make one with"):
        accuracy(root / "model", calibrated=[tmp_path], text=root / "words.txt", cache=tmp_path)
    calibrated(root)
    other = tiny_lm.write(tmp_path / "other", CONFIG, seed=1)
    with pytest.raises(BitlatheError, match="model was calibrated, not this other"):
        accuracy(other, calibrated=[root / "gptq"], text=root / "words.txt", cache=tmp_path)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(BitlatheError, match=r"calibration\.json: no calibration: 'kind'"):
        accuracy(root / "model", calibrated=[tmp_path], text=root / "words.txt", cache=tmp_path)


def test_a_layer_that_the_library_cannot_write_is_a_user_error(tmp_path, monkeypatch):
    safetensors = pytest.importorskip("safetensors")

    def full(*_, **__):
        raise safetensors.SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    x = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    layer = bl.calibrate(x, x, "rtn")
    with pytest.raises(BitlatheError, match=r"a\.layer: cannot be written: No space left"):
        save_layer(layer, tmp_path / "a.layer", {})
    assert list(tmp_path.iterdir()) == []
