"""Lists of products: one list through every door, what a run makes of it, what is refused."""

import json
import re
from dataclasses import asdict

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import read_results, run_sweep
from bitlathe.workloads import Gemm, load_model
from bitlathe.workloads.order import Repeat, execution_order, steps_of

ENTRIES = [
    {"name": "q", "m": 16, "n": 64, "k": 128, "count": 3},
    {"name": "qk", "m": 16, "n": 16, "k": 64, "batch": 4, "kind": "attention_qk",
     "stationary": "kv_cache", "causal": "n", "from": "q"},
    {"name": "conv", "c": 16, "h": 15, "w": 14, "k": 32, "r": 3, "s": 1, "stride": [2, 1],
     "padding": 1, "groups": 4, "n": 2},
]  # fmt: skip
TABLE = """name,m,n,k,batch,count,kind,stationary,causal,from,c,h,w,r,s,stride,padding,groups
q,16,64,128,,3,,,,,,,,,,,,
qk,16,16,64,4,,attention_qk,kv_cache,n,q,,,,,,,,
# a remark
conv,,2,32,,,,,,,16,15,14,3,1,2 1,1,4
"""


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_one_list_through_every_door(tmp_path):
    models = [
        load_model(written(tmp_path, "l.yaml", yaml.safe_dump({"products": ENTRIES}))),
        load_model(written(tmp_path, "l.json", json.dumps({"products": ENTRIES}))),
        load_model(written(tmp_path, "l.csv", TABLE)),
        load_model(ENTRIES),
        load_model({"products": ENTRIES}),
    ]
    assert [model.name for model in models] == ["l", "l", "l", "products", "products"]
    assert len({model.shape for model in models}) == 1
    q, qk, conv = models[0].gemms()
    assert q == Gemm(name="q", m=16, n=64, k=128, count=3)
    assert qk.macs == 4 * 64 * (16 * 17 // 2)
    # floor((15 + 2 - 3)/2) + 1 = 8 high, 14 + 2 - 1 + 1 = 16 wide, 2 images
    assert (conv.m, conv.n, conv.k, conv.batch) == (2 * 8 * 16, 8, 12, 4)
    assert models[0].weight_count == 3 * 64 * 128 + 32 * 4 * 3
    assert models[0].parameter_count == models[0].weight_count
    assert {(a.name, b.name) for a, b in models[0].graph().edges} == {("q", "qk")}


@pytest.mark.parametrize("name", ["opt-1.3b", "mixtral-8x7b", "gemma-3-1b", "resnet-18"])
def test_the_products_of_a_model_cost_what_the_model_costs(name):
    model = load_model(name)
    context = 32 if model.has_decode else None
    gemms = model.gemms(context=context, logits="last")
    whole = bl.simulate("bitmod", model, context=context, fidelity="analytic", fusion=False)
    alone = bl.simulate("bitmod", gemms, fidelity="analytic", mapper="auto")
    products = {gemm.name for gemm in gemms}  # what stands between them is not in the list
    assert alone.layers == tuple(layer for layer in whole.layers if layer.name in products)
    assert (alone.formats, alone.area_um2["pe_array"]) == (
        whole.formats,
        whole.area_um2["pe_array"],
    )


def test_a_gemm_is_an_entry():
    gemm = load_model("llama-3.1-8b").gemms("prefill", 8)[4]
    plain = {key: value for key, value in asdict(gemm).items() if value is not None}
    assert load_model([plain]).gemms() == (gemm,)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.sampled_from(["w", "kv", "c"]))
def test_inputs_at_once_share_weights_but_no_cache(batch, own, images, kind):
    entry = {
        "w": {"m": 6, "n": 4, "k": 5, "batch": own, "sequences": 2},
        "kv": {"m": 6, "n": 4, "k": 5, "batch": own, "stationary": "kv_cache"},
        "c": {"c": 2 * own, "h": 5, "w": 5, "k": own, "r": 3, "s": 3, "groups": own, "n": images},
    }[kind]
    model = load_model([{"name": "x", **entry}])
    (one,), (many,) = model.gemms(), model.gemms(batch=batch)
    assert many.macs == batch * one.macs
    assert many.output_elements == batch * one.output_elements
    assert many.distinct_input_elements == batch * one.distinct_input_elements
    caches = batch if kind == "kv" else 1
    assert many.weight_elements == caches * one.weight_elements
    assert many.m // many.sequences == one.m // one.sequences


def test_a_row_for_each_token():
    model = load_model([{"name": "up", "m": "tokens", "n": 64, "k": 32}, {"m": 2, "n": 3, "k": 4}])
    assert [g.m for g in model.gemms()] == [256, 2]
    assert [g.m for g in model.gemms("prefill", 10, 3)] == [30, 6]
    assert [g.m for g in model.gemms("decode", 10, 3)] == [3, 6]
    assert model.context_of(10) == 10
    assert bl.simulate("bitmod", model, context=8, fidelity="analytic").context == 8


def test_products_run_in_their_order_with_what_they_read():
    order = execution_order(load_model(ENTRIES))
    assert isinstance(order[0], Repeat)
    assert order[0].count == 3
    steps = list(steps_of(order))
    assert [(s.gemm.name, s.gemm.count, s.inputs) for s in steps] == [
        ("q", 1, ()), ("qk", 1, ("q",)), ("conv", 1, ())
    ]  # fmt: skip
    overlapped = {"execution.overlap_layers": True}
    run = bl.simulate(bl.load_arch("bitmod", overlapped), ENTRIES, mapper="whole-buffer")
    assert sum(layer.count for layer in run.layers) == 5


def test_a_configuration_as_keys_or_as_an_object():
    class Configured:
        def to_dict(self):
            return {**keys, "id2label": {0: "a", 1: "b"}, "_name_or_path": "owner/tiny"}

    keys = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100,
            "num_attention_heads": 4, "intermediate_size": 128}  # fmt: skip
    model, same = load_model(keys), load_model(Configured())
    assert (model.name, same.name) == ("llama", "tiny")
    assert model.shape == same.shape
    assert bl.simulate("bitmod", keys, context=4, fidelity="analytic").model == "llama"
    net = {"input": [3, 8, 8], "layers": [{"out_channels": 4, "kernel": 3}]}
    assert load_model(net).gemms()[0].m == 36


def test_from_file_to_table(tmp_path):
    path = written(tmp_path, "mine.csv", TABLE)
    done = CliRunner().invoke(main, ["simulate", "--arch", "bitmod", "--model", str(path)])
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()[4:7]] == ["q", "qk", "conv"]
    asked = ["map", "--arch", "bitmod", "--model", str(path), "--layer", "q"]
    assert "q of mine" in CliRunner().invoke(main, asked).output


def test_a_sweep_walks_a_list(tmp_path):
    written(tmp_path, "mine.csv", TABLE)
    text = """arch: bitmod
models: [mine.csv]
phases: [prefill, decode]
contexts: [null]
batches: [1, 2]
axes: {array.rows: [16, 32]}
fidelity: analytic
"""
    done = run_sweep(written(tmp_path, "s.yaml", text), tmp_path / "out", jobs=1)
    assert (done.points, done.failed) == (8, False)
    rows = list(read_results(tmp_path / "out"))
    for row in rows:
        chip = bl.load_arch("bitmod", {"array.rows": row["array.rows"]})
        path, phase, batch = tmp_path / "mine.csv", row["phase"], row["batch"]
        run = bl.simulate(chip, path, phase, batch=batch, fidelity="analytic")
        assert row["cycles"] == run.cycles
    assert len(rows) == 8


WRONG = {
    "products: []": ":1:1: the list of products is empty",
    "products: 3": ":1:1: 'products' is 3; it must be a list",
    "products: [3]": ":1:12: 3 stands where an object of keys and values belongs",
    "products: [{n: 2, k: 3}]": ":1:12: required key 'm' is missing",
    "products: [{m: 0, n: 2, k: 3}]": ":1:13: 'm' is 0; it must be from 1",
    "products: [{m: -4, n: 2, k: 3}]": ":1:13: 'm' is -4; it must be from 1",
    "products: [{m: 1.5, n: 2, k: 3}]": ":1:13: 'm' is 1.5; it must be an integer",
    "products: [{m: rows, n: 2, k: 3}]": ":1:13: 'm' is 'rows'; it must be an integer",
    "products: [{m: 1, n: 2, k: 3, kount: 2}]": "unknown key 'kount' of a product. Did you mean",
    "products: [{m: 1, n: 2, k: 3, kind: dense}]": "layer 'layer0': kind is 'dense'; it must be",
    "products: [{m: 3, n: 2, k: 3, sequences: 2}]": ":1:12: layer 'layer0': sequences is 2, which",
    "products: [{m: 3, n: 2, k: 3, from: up}]": "not an earlier product. No product has that name.",
    "products: [{name: a, m: 1, n: 1, k: 1, from: a}]": "in a circle, which no order runs: a reads",
    "products: [{name: a, m: 1, n: 1, k: 1, from: c}, {name: b, m: 1, n: 1, k: 1, from: a}, "
    "{name: c, m: 1, n: 1, k: 1, from: b}]": "a reads c reads b reads a; take one out",
    "products: [{name: a, m: 1, n: 1, k: 1, from: c}, {name: c, m: 1, n: 1, k: 1}]": (
        "'from' names 'c', which stands further down; put each behind those"
    ),
    "products: [{m: 3, c: 2, k: 3}]": "'m' belongs to a product, but this entry is a convolution",
    "products: [{c: 2, k: 3, h: 4, w: 4, r: 3}]": "required key 's' is missing",
    "products: [{c: 2, k: 3, h: 4, w: 4, r: 5, s: 1}]": "larger than the padded input",
    "products: [{c: 2, k: 3, h: 4, w: 4, r: 1, s: 1, stride: [1]}]": "'stride' is [1]; give one",
    "products: [{m: tokens, n: 2, k: 3, stationary: kv_cache}]": "which is for products with wei",
    "products: [{m: 1, n: 2, k: 3}]\nphase: both": ":2:1: 'phase' is 'both'; it must be",
    "products: [{m: 1, n: 2, k: 3}]\nphases: prefill": ":2:1: unknown key 'phases' of a list",
    "products: [{m: 99999999999, n: 99999999999, k: 3}]": "do not fit the 64-bit counters",
    "- {m: 1, n: 2, k: 3}": "holds 'list' at its top; a model's file holds an object with",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_a_list_may_not_say(tmp_path, text):
    path = written(tmp_path, "l.yaml", text)
    with pytest.raises(BitlatheError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:1:" if ":2:" not in WRONG[text] else f"{path}:2:")
    assert WRONG[text] in message
    assert "\n" not in message


WRONG_TABLES = {
    "": "l.csv: the file is empty; its first line names the columns",
    "name,m,n,k\n": "l.csv: the list of products is empty",
    "name,m,n,q\nx,1,2,3": "l.csv:1: unknown column 'q' of a list of products",
    "name,m,n,k,k\nx,1,2,3,3": "l.csv:1: column 'k' stands twice",
    "name,m,n,k\nx,1,2,": "l.csv:2: required key 'k' is missing",
    "name,m,n,k\nx,1,2,3,4": "l.csv:2: 5 cells under 4 columns: '4' has none",
    "name,m,n,k\n\nx,1,2,three": "l.csv:3: 'k' is 'three'; it must be an integer",
    'name,m,n,k\n"x,1,2,3': "l.csv:2: not valid CSV",
}


@pytest.mark.parametrize("text", WRONG_TABLES)
def test_what_a_table_may_not_say(tmp_path, text):
    with pytest.raises(BitlatheError) as caught:
        load_model(written(tmp_path, "l.csv", text))
    assert WRONG_TABLES[text] in str(caught.value)


def test_what_a_run_of_a_list_may_not_ask(tmp_path):
    model = load_model(ENTRIES)
    decoding = load_model({"products": ENTRIES, "phase": "decode"})
    assert (model.has_decode, decoding.has_decode) == (True, True)
    for asked, ask, words in (
        (model, {"context": 8}, "context is 8, but a list of products has the sizes that it"),
        (model, {"causal": True}, "in a list of products each states its own mask"),
        (model, {"batch": 0}, "batch is 0, must be a whole number of at least 1"),
        (model, {"phase": "both"}, "unknown phase 'both'"),
        (model, {"batch": 2**60}, "must be below 2^63, the range of a counter"),
        (decoding, {}, "phase is 'prefill', but its products are listed for decode"),
    ):
        with pytest.raises(BitlatheError, match=re.escape(words)):
            asked.gemms(**ask)
    for source, words in (
        ([], "the list of products is empty"),
        ([3], r"model\[0\]: 3 stands where a product belongs"),
        ([{"m": 1, "n": 2}], r"model\[0\]: required key 'k' is missing"),
        ([{"m": 1, "n": 2, "k": 3}, {"m": "x", "n": 2, "k": 3}], r"model\[1\]: 'm' is 'x'"),
        ({"model_type": "llama"}, "model: required key 'hidden_size' is missing"),
        (3.5, "model is 3.5; give a shipped name, the path of a file, a dict"),
    ):
        with pytest.raises(BitlatheError, match=words):
            load_model(source)
