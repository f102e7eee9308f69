"""Accuracy of a language model, on tiny random ones: forward pass, figures, what is kept."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads.accuracy import UNQUANTIZED, Accuracy, accuracy
from bitlathe.workloads.lm import find_checkpoint
from bitlathe.workloads.lm.text import cut_windows, read_text
from naive import tiny_lm

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytestmark = pytest.mark.usefixtures("one_thread")

GOLDEN = json.loads((Path(__file__).parent / "lm_logits.json").read_text())
NAMES = sorted(tiny_lm.CONFIGS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: tiny_lm.write(root / name, config) for name, config in tiny_lm.CONFIGS.items()}


@pytest.fixture
def text(tmp_path) -> Path:
    rng = np.random.default_rng(5)
    path = tmp_path / "words.txt"
    path.write_text(" ".join(rng.choice(tiny_lm.WORDS, 200)))
    return path


def decoder(folder: Path):
    from bitlathe.workloads.lm.decoder import load_decoder

    return load_decoder(find_checkpoint(folder))


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_transformers(folders, name):
    with torch.inference_mode():
        ours = decoder(folders[name])(torch.tensor(GOLDEN["ids"])).numpy()
    np.testing.assert_allclose(ours[GOLDEN["rows"]], GOLDEN["logits"][name], atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_the_slow_twin(folders, name):
    config, ids = tiny_lm.CONFIGS[name], GOLDEN["ids"][:23]
    with torch.inference_mode():
        ours = decoder(folders[name])(torch.tensor(ids)).numpy()
    slow = tiny_lm.logits(config, tiny_lm.tensors(config), ids)
    np.testing.assert_allclose(ours, slow, atol=2e-5)


def quantized(weights, scheme):
    """Return the weights with the linear layers of the blocks quantized."""
    return {
        name: bl.quantize(w, scheme).dequantize() if ".layers." in name and w.ndim == 2 else w
        for name, w in weights.items()
    }


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_every_figure_equals_its_definition(folders, text, tmp_path):
    scheme, config = "int4@g8", tiny_lm.CONFIGS["qwen3"]
    base, row = accuracy(
        folders["qwen3"], [scheme], tokens=50, context=12, text=text, cache=tmp_path
    )
    ids = [tiny_lm.WORDS.index(w) for w in text.read_text().split()]
    windows = [ids[w * 200 // 5 :][:12] for w in range(5)]
    plain = tiny_lm.tensors(config)
    changed = quantized(plain, scheme)
    before = [log_softmax(tiny_lm.logits(config, plain, w))[:-1] for w in windows]
    after = [log_softmax(tiny_lm.logits(config, changed, w))[:-1] for w in windows]

    def nll(logs):
        return [
            -np.mean([x[t] for x, t in zip(rows, w[1:], strict=True)])
            for rows, w in zip(logs, windows, strict=True)
        ]

    assert base.tokens == row.tokens == 55
    np.testing.assert_allclose(base.perplexity, np.exp(np.mean(nll(before))), rtol=1e-5)
    np.testing.assert_allclose(row.perplexity, np.exp(np.mean(nll(after))), rtol=1e-5)
    difference = np.subtract(nll(after), nll(before))
    np.testing.assert_allclose(row.loss_nats, difference.mean(), rtol=1e-4)
    np.testing.assert_allclose(row.loss_se_nats, difference.std(ddof=1) / 5**0.5, rtol=1e-4)
    b, a = np.concatenate(before), np.concatenate(after)
    np.testing.assert_allclose(row.kl_nats, (np.exp(b) * (b - a)).sum(-1).mean(), rtol=1e-4)
    assert row.top1_agreement == pytest.approx((b.argmax(-1) == a.argmax(-1)).mean())
    noise = sum(((changed[n] - plain[n]).astype(float) ** 2).sum() for n in plain)
    power = sum((plain[n].astype(float) ** 2).sum() for n in plain if changed[n] is not plain[n])
    np.testing.assert_allclose(row.weight_error, (noise / power) ** 0.5, rtol=1e-5)
    assert row.bits_per_weight == pytest.approx(4 + 16 / 8)
    assert asdict(base) | {"bits_per_weight": None, "kl_nats": 0.0} == asdict(base)
    assert (base.scheme, base.loss_nats, base.weight_error) == (UNQUANTIZED, 0.0, 0.0)


def test_output_error_of_a_layer_is_that_of_its_activations(folders, text, tmp_path):
    from bitlathe.datatypes.schemes.scheme import Scheme
    from bitlathe.workloads.lm.evaluate import run_baseline, run_formats
    from bitlathe.workloads.lm.formats import Formats

    model, scheme = decoder(folders["llama"]), Scheme.parse("int3@g8")
    seen: dict[str, list[np.ndarray]] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, x, name=name: seen.setdefault(name, []).append(x[0].numpy())
        )
        for name, layer in model.layers.named_modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    windows = cut_windows(find_checkpoint(folders["llama"]).encode(text.read_text()), 30, 11)
    with torch.inference_mode():
        for window in windows:
            model(torch.tensor(window))
    for hook in hooks:
        hook.remove()
    base = run_baseline(model, windows, lambda items, _: items)
    errors = []
    for name, inputs in seen.items():
        w, x = model.layers.get_submodule(name).weight.numpy(), np.concatenate(inputs)
        d = bl.quantize(w, scheme).dequantize() - w
        errors.append(((x @ d.T) ** 2).sum() / ((x @ w.T) ** 2).sum())
    made = run_formats(base, Formats(weights=scheme), lambda items, _: items)
    assert len(errors) == 14
    np.testing.assert_allclose(made.output_error, np.mean(errors) ** 0.5, rtol=1e-4)


def test_more_bits_cost_less(folders, text, tmp_path):
    rows = accuracy(
        folders["llama"],
        ["int8@channel", "int4@g8", "int3@g8"],
        tokens=150,
        context=16,
        text=text,
        cache=tmp_path,
    )
    for name in ("kl_nats", "weight_error", "output_error"):
        values = [getattr(row, name) for row in rows]
        assert values == sorted(values), name
        assert values[1] > 0


def test_fp32_weights_lose_nothing(folders, text, tmp_path):
    rows = accuracy(folders["llama"], ["fp16"], tokens=40, context=16, text=text, cache=tmp_path)
    assert rows[1].weight_error < 3e-4
    assert abs(rows[1].loss_nats) < 1e-3


def test_a_second_run_runs_nothing(folders, text, tmp_path, monkeypatch):
    kwargs = {"tokens": 40, "context": 16, "text": text, "cache": tmp_path / "kept"}
    first = accuracy(folders["llama"], ["int4@g8", "int3@g8"], **kwargs)
    monkeypatch.setattr(
        "bitlathe.workloads.lm.evaluate.run_baseline", lambda *_: pytest.fail("ran again")
    )
    assert accuracy(folders["llama"], ["int3@g8", "int4@g8"], **kwargs) == [
        first[0],
        first[2],
        first[1],
    ]
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_what_is_kept_is_found_by_content(folders, text, tmp_path):
    kept = tmp_path / "kept"

    def files(**changed):
        kwargs = {"model": folders["llama"], "tokens": 40, "context": 16, "text": text}
        kwargs |= changed
        model = kwargs.pop("model")
        accuracy(model, ["int4@g8"], cache=kept, **kwargs)
        return len(list(kept.iterdir()))

    other = tmp_path / "other.txt"
    other.write_text(text.read_text() + " a")
    moved = tiny_lm.write(tmp_path / "llama", tiny_lm.CONFIGS["llama"])
    reweighted = tiny_lm.write(tmp_path / "seed" / "llama", tiny_lm.CONFIGS["llama"], seed=1)
    assert files() == 2
    assert files(model=moved) == 2
    assert files(tokens=41) == 4
    assert files(context=17) == 6
    assert files(text=other) == 8
    assert files(model=reweighted) == 10


def test_a_spoilt_file_is_measured_again(folders, text, tmp_path):
    kwargs = {"tokens": 40, "context": 16, "text": text, "cache": tmp_path / "kept"}
    first = accuracy(folders["llama"], ["int4@g8"], **kwargs)
    for file in (tmp_path / "kept").iterdir():
        file.write_text(file.read_text()[:50])
    again = accuracy(folders["llama"], ["int4@g8"], **kwargs)
    assert again[1].perplexity == pytest.approx(first[1].perplexity, rel=1e-6)


def test_paired_difference_of_two_schemes(folders, text, tmp_path):
    _, a, b = accuracy(
        *(folders["llama"], ["int3@g8", "int4@g8"]),
        tokens=40,
        context=16,
        text=text,
        cache=tmp_path,
    )
    mean, error = a.paired(b)
    gaps = np.subtract(a.window_nll, b.window_nll)
    assert mean == pytest.approx(gaps.mean())
    assert error == pytest.approx(gaps.std(ddof=1) / len(gaps) ** 0.5)
    assert mean == pytest.approx(a.loss_nats - b.loss_nats)
    other = Accuracy(**{**asdict(b), "context": 15, "window_nll": b.window_nll})
    with pytest.raises(BitlatheError, match="not of the same model and windows"):
        a.paired(other)


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command(folders, text, tmp_path):
    options = ("--tokens", 40, "--context", 16, "--text", text, "--cache", tmp_path)
    command = ("accuracy", "--model", folders["llama"], "--scheme", "int4@g8", *options)
    table = run(*command)
    assert table.exit_code == 0, table.output
    assert "perplexity" in table.stdout
    assert "45 tokens of words.txt, context 16" in table.stdout
    rows = json.loads(run(*command, "--json").stdout)
    assert [row["scheme"] for row in rows] == ["unquantized", "int4@g8"]
    direct = accuracy(
        folders["llama"], ["int4@g8"], tokens=40, context=16, text=text, cache=tmp_path
    )
    assert rows[1]["perplexity"] == direct[1].perplexity


def spoil(folder: Path, **changes) -> Path:
    made = tiny_lm.write(folder, tiny_lm.CONFIGS["llama"])
    config = {**tiny_lm.CONFIGS["llama"], **changes}
    (made / "config.json").write_text(json.dumps(config, indent=1))
    return made


MISTAKES = {
    "no such model": (lambda f: f / "nothing", "unknown model"),
    "no weights": (lambda f: _without(f, "model.safetensors"), "no *.safetensors"),
    "no tokenizer": (lambda f: _without(f, "tokenizer.json"), "no tokenizer.json"),
    "bad tokenizer": (lambda f: _with(f, "tokenizer.json", "{}"), "not a tokenizer"),
    "other family": (
        lambda f: spoil(f, model_type="opt"),
        "config.json:14:2: model_type 'opt' cannot be run",
    ),
    "other sizes": (lambda f: spoil(f, intermediate_size=41), "the configuration says"),
    "more layers": (lambda f: spoil(f, num_hidden_layers=3), "(9 are missing)"),
    "fewer layers": (lambda f: spoil(f, num_hidden_layers=1), "has no place"),
    "other scaling": (
        lambda f: spoil(f, rope_scaling={"rope_type": "yarn", "factor": 2.0}),
        "'yarn'",
    ),
    "other activation": (lambda f: spoil(f, hidden_act="gelu"), "hidden_act 'gelu'"),
}


def _without(folder: Path, name: str) -> Path:
    (tiny_lm.write(folder, tiny_lm.CONFIGS["llama"]) / name).unlink()
    return folder


def _with(folder: Path, name: str, text: str) -> Path:
    (tiny_lm.write(folder, tiny_lm.CONFIGS["llama"]) / name).write_text(text)
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_with_status_2_and_a_word(mistake, text, tmp_path):
    make, words = MISTAKES[mistake]
    model = make(tmp_path / "model")
    options = ("--tokens", 40, "--context", 16, "--text", text, "--cache", tmp_path / "kept")
    result = run("accuracy", "--model", model, "--scheme", "int4@g8", *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--scheme", "int4@g8", "--tokens", 4000), "the text has 200 tokens"),
        (("--scheme", "int4@g8", "--context", 1), "a context of at least 2"),
        (("--scheme", "int44@g8"), "int44"),
        (
            ("--scheme", "int4@g8", "--text", "missing.txt"),
            "missing.txt: cannot read this text: No such file",
        ),
    ],
)
def test_wrong_options(options, words, folders, text, tmp_path):
    result = run(
        *("accuracy", "--model", folders["llama"], "--cache", tmp_path / "kept"),
        *("--text", text, "--tokens", 40, "--context", 16, *options),
    )
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_a_cache_that_cannot_be_written(folders, text, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(BitlatheError, match="BITLATHE_CACHE"):
        accuracy(folders["llama"], ["int4@g8"], text=text, cache=blocked)


def test_windows_do_not_overlap():
    windows = cut_windows(range(1000), tokens=90, context=10)
    assert len(windows) == 10
    flat = [i for w in windows for i in w]
    assert flat == sorted(set(flat))


def test_the_default_text_names_its_python():
    assert read_text().title.startswith("pydoc_data.topics of Python 3.")
    assert len(read_text().content) > 400_000


def test_smollm2_as_shipped_has_its_published_size():
    # 134,515,008: the total of safetensors on the model's page at Hugging Face
    assert bl.load_model("smollm2-135m").parameter_count == 134_515_008
