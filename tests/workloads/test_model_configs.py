"""A user's own config.json: what is read from it, and what errors say."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model
from bitlathe.workloads.transformer import Experts

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
}
MOE = {**LLAMA, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
       "moe_intermediate_size": 16, "num_hidden_layers": 5}  # fmt: skip


def write(folder, config):
    path = folder / "mine.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
    return path


def macs(gemms):
    return sum(gemm.macs * gemm.count for gemm in gemms)


def counts(model, **run):
    return {g.name: g.count for g in model.gemms(**run)}


def test_a_folder_and_its_file_give_the_same_model(tmp_path):
    folder = tmp_path / "My-Model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    model = load_model(folder)
    assert model == load_model(folder / "config.json") == load_model(str(folder))
    assert model.name == "My-Model"
    layer = 64 * (64 + 32 + 32 + 64 + 3 * 96) + 2 * 64
    assert model.parameter_count == 2 * layer + 2 * 6400 + 64


def test_explicit_head_dim_biases_and_tied_head(tmp_path):
    plain = load_model(write(tmp_path, {**LLAMA, "head_dim": 8}))
    assert [(g.n, g.k) for g in plain.gemms()][:3] == [(32, 64), (16, 64), (16, 64)]
    assert [(g.n, g.k) for g in plain.gemms() if g.name == "o_proj"] == [(64, 32)]
    biased = load_model(
        write(tmp_path, {**LLAMA, "head_dim": 8, "attention_bias": True, "mlp_bias": True})
    )
    extra = 2 * (32 + 16 + 16 + 64 + 96 + 96 + 64)
    assert biased.parameter_count == plain.parameter_count + extra
    tied = load_model(write(tmp_path, {**LLAMA, "head_dim": 8, "tie_word_embeddings": True}))
    assert tied.parameter_count == plain.parameter_count - 6400
    assert tied.weight_count == plain.weight_count


def test_dense_layers_among_experts(tmp_path):
    model = load_model(write(tmp_path, {**MOE, "mlp_only_layers": [0], "decoder_sparse_step": 2}))
    assert counts(model)["gate_proj"] == 3  # layers 0, 2 and 4; 1 and 3 are routed
    assert counts(model)["expert_gate_proj"] == 2 * 4
    assert counts(model)["q_proj"] == 5


def test_shared_expert(tmp_path):
    config = {**MOE, "model_type": "qwen2_moe", "shared_expert_intermediate_size": 40}
    sizes = {g.name: (g.n, g.k, g.count) for g in load_model(write(tmp_path, config)).gemms()}
    assert sizes["shared_expert_down_proj"] == (64, 40, 5)
    assert sizes["shared_expert_gate"] == (1, 64, 5)
    assert "gate_proj" not in sizes


def sizes_of(hidden, layers, heads, kv_heads, inner, vocabulary, **more):
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        **more,
    }


# Families without a shipped model, held to the safetensors totals of gemma-2b, gemma-2-2b and
# Qwen1.5-MoE-A2.7B on their Hugging Face pages.
OTHERS = {
    "gemma": (2_506_172_416, sizes_of(2048, 18, 8, 1, 16384, 256000)),
    "gemma2": (2_614_341_888, sizes_of(2304, 26, 8, 4, 9216, 256000, sliding_window=4096)),
    "qwen2_moe": (
        14_315_784_192,
        sizes_of(
            2048, 24, 16, 16, 5632, 151936, num_experts=60, num_experts_per_tok=4,
            moe_intermediate_size=1408, shared_expert_intermediate_size=5632,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", OTHERS)
def test_families_without_a_shipped_model(tmp_path, family):
    total, sizes = OTHERS[family]
    model = load_model(write(tmp_path, {"model_type": family, **sizes}))
    assert model.parameter_count == total


QWEN3_235B = sizes_of(
    4096, 94, 64, 4, 12288, 151936, head_dim=128, num_experts=128, num_experts_per_tok=8,
    moe_intermediate_size=1536,
)  # fmt: skip


def test_macs_of_mixtures_by_hand(tmp_path):
    """Tokens times the matrices that a token visits, plus the square of attention."""
    model = load_model(write(tmp_path, {"model_type": "qwen3_moe", **QWEN3_235B}))
    attention = 2 * 4096 * (64 + 4) * 128
    layer = attention + 4096 * 128 + 8 * 3 * 4096 * 1536
    by_hand = 1000 * (94 * layer + 151936 * 4096) + 94 * 2 * 64 * 128 * 1000**2
    assert macs(model.gemms(context=1000)) == by_hand == 23_107_731_456_000

    model = load_model(write(tmp_path, {"model_type": "qwen2_moe", **OTHERS["qwen2_moe"][1]}))
    layer = 4 * 2048**2 + 2048 * 61 + 3 * 2048 * (5632 + 4 * 1408)
    by_hand = 4096 * (24 * layer + 151936 * 2048) + 24 * 2 * 2048 * 4096**2
    assert macs(model.gemms(context=4096)) == by_hand == 11_388_575_547_392


# Multiply-accumulates of published models as torch counts them (FlopCounterMode of torch 2.13 over
# transformers 5.24, halved): it computes the full square of a prefill, windows or not.
QWEN3_06B = sizes_of(
    1024, 28, 16, 8, 3072, 151936, head_dim=128, tie_word_embeddings=True, max_window_layers=28,
)  # fmt: skip
PHI_3_MINI = sizes_of(3072, 32, 32, 32, 8192, 32064, sliding_window=2047)
COUNTED = [
    ("qwen3", QWEN3_06B, "decode", 1000, "all", 710_672_384),
    ("qwen3", QWEN3_06B, "decode", 4096, "all", 1_065_746_432),
    ("qwen3", QWEN3_06B, "prefill", 1000, "all", 710_672_384_000),
    ("qwen3", QWEN3_06B, "prefill", 4096, "last", 3_728_187_195_392),
    ("phi3", PHI_3_MINI, "decode", 4096, "all", 4_124_835_840),
    ("phi3", PHI_3_MINI, "prefill", 4096, "last", 18_142_040_358_912),
]


@pytest.mark.parametrize(("family", "sizes", "phase", "context", "logits", "counted"), COUNTED)
def test_macs_of_published_models(tmp_path, family, sizes, phase, context, logits, counted):
    model = load_model(write(tmp_path, {"model_type": family, **sizes}))
    found = macs(model.gemms(phase, context, logits=logits))
    if family == "phi3" and phase == "prefill":  # the square that torch computes, less the band
        window, layers, wide = 2047, 32, 2 * 32 * 96
        pairs = window * (window + 1) // 2 + (context - window) * window
        found += layers * wide * (context**2 - pairs)
    assert found == counted


def test_text_config_of_an_unknown_multimodal_model(tmp_path):
    nested = write(tmp_path, {"model_type": "llava", "text_config": LLAMA})
    assert load_model(nested).gemms() == load_model(write(tmp_path, LLAMA)).gemms()


def test_layer_types_decide_over_the_pattern(tmp_path):
    types = ["sliding_attention", "full_attention"]
    config = {**LLAMA, "model_type": "gemma2", "sliding_window": 8, "layer_types": types}
    found = counts(load_model(write(tmp_path, config)), phase="decode", context=64)
    assert (found["attention_qk_local"], found["attention_qk"]) == (1, 1)


def test_window_of_every_layer(tmp_path):
    config = {**LLAMA, "model_type": "mistral", "sliding_window": 8}
    sizes = {g.name: g.n for g in load_model(write(tmp_path, config)).gemms("decode", context=64)}
    assert sizes["attention_qk"] == 8


def changed(**change):
    return {key: value for key, value in {**LLAMA, **change}.items() if value != "GONE"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed(hidden_size="GONE"), ("required key 'hidden_size' is missing",)),
        (
            changed(hidden_size="GONE", hiden_size=64),
            (":8:2", "unknown key 'hiden_size'", "meant to be 'hidden_size'"),
        ),
        (changed(num_hidden_layers=2.5), (":4:2", "'num_hidden_layers' is 2.5", "an integer")),
        (changed(num_hidden_layers="2"), (":4:2", "'2'", "an integer")),
        (changed(num_hidden_layers=True), (":4:2", "True", "an integer")),
        (changed(num_hidden_layers=None), (":4:2", "is null")),
        (changed(vocab_size=-5), (":8:2", "'vocab_size' is -5", "from 1")),
        (changed(vocab_size=0), (":8:2", "'vocab_size' is 0")),
        (changed(vocab_size=10**15), (":8:2", "from 1 to")),
        (changed(num_hidden_layers=200_000), (":4:2", "at most 100000")),
        (changed(num_key_value_heads=3), (":6:2", "does not divide the 4 heads")),
        (changed(hidden_size=66), (":3:2", "the 4 heads", "'head_dim'")),
        (changed(head_dim=0), (":9:2", "'head_dim' is 0")),
        (changed(attention_bias="yes"), (":9:2", "true or false")),
        (changed(model_type="lama"), (":2:2", "did you mean 'llama'?", "falcon_h1")),
        (changed(model_type="GONE"), ("required key 'model_type'",)),
        (changed(model_type=7), (":2:2", "must be a string")),
        ({**MOE, "num_experts_per_tok": 5}, ("more than the 4 experts",)),
        ({**MOE, "mlp_only_layers": 3}, ("'mlp_only_layers' is 3", "a list")),
        ({**MOE, "num_experts": "GONE"}, ("'num_experts' is 'GONE'",)),
        (changed(model_type="gemma2", sliding_window=8, layer_types=["x"]), ("names 1",)),
        ({"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
          "intermediate_size": 8, "patch_size": 15}, (":7:2", "does not divide")),
        ('{"model_type": "llama",\n "hidden_size" 64}', (":2:16", "not valid JSON")),
        ('{"hidden_size": 1, "hidden_size": 2}', ("'hidden_size' stands twice",)),
        ('{"model_type": "llama", "hidden_size": NaN}', ("NaN is not a JSON number",)),
        ("[]", ("holds 'list' at its top",)),
        ("", ("the file is empty",)),
        ("[" * 200_000, ("not a usable JSON file",)),
        ('{"model_type": "llama", "hidden_size": ' + "9" * 5000 + "}", ("usable JSON",)),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_key(tmp_path, config, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(write(tmp_path, config))
    message = str(caught.value)
    assert "mine.json" in message
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_missing_places(tmp_path):
    with pytest.raises(BitlatheError, match="did you mean 'llama-2-7b'"):
        load_model("llama-2-7")
    with pytest.raises(BitlatheError, match="unknown model ''"):
        load_model("")
    with pytest.raises(BitlatheError, match=r"holds no config\.json"):
        load_model(tmp_path)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BitlatheError, match="not a text file"):
        load_model(tmp_path / "binary.json")


@st.composite
def small_models(draw):
    """A small decoder: grouped heads, windows of some layers, experts of some."""
    kv = draw(st.integers(1, 3))
    config = {
        "hidden_size": 8, "num_hidden_layers": draw(st.integers(1, 5)), "head_dim": 4,
        "num_attention_heads": kv * draw(st.integers(1, 3)), "num_key_value_heads": kv,
        "intermediate_size": 12, "vocab_size": 10, "model_type": "qwen2",
    }  # fmt: skip
    if draw(st.booleans()):
        config |= {
            "use_sliding_window": True,
            "sliding_window": draw(st.integers(1, 12)),
            "max_window_layers": draw(st.integers(0, 5)),
        }
    if draw(st.booleans()):
        experts = draw(st.integers(1, 9))
        config |= {
            "model_type": "qwen2_moe",
            "num_experts": experts,
            "num_experts_per_tok": draw(st.integers(1, experts)),
            "moe_intermediate_size": 3,
            "shared_expert_intermediate_size": draw(st.sampled_from([0, 5])),
            "decoder_sparse_step": draw(st.integers(1, 2)),
        }
    return config


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=small_models(), tokens=st.integers(1, 20), batch=st.integers(1, 3))
def test_decoding_token_by_token_is_the_causal_prefill(tmp_path, config, tokens, batch):
    """In multiply-accumulates, with the head on every token: windows, experts, grouped heads."""
    model = load_model(write(tmp_path, config))
    run = {"batch": batch, "logits": "all"}
    steps = sum(macs(model.gemms("decode", t, **run)) for t in range(1, tokens + 1))
    assert macs(model.gemms("prefill", tokens, causal=True, **run)) == steps
    last = macs(model.gemms("prefill", tokens, batch=batch, causal=True, logits="last"))
    assert steps - last == (tokens - 1) * batch * 8 * 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=small_models(), tokens=st.integers(1, 40))
def test_experts_in_use_are_possible(tmp_path, config, tokens):
    """As many rows as visits, no expert twice for one token, none without a row."""
    model = load_model(write(tmp_path, config))
    for phase, batch in (("prefill", 1), ("decode", tokens)):
        gemms = model.gemms(phase, tokens, batch)
        found = [(g.m, g.count) for g in gemms if g.name == "expert_down_proj"]
        routed = [count for part, count in model.shape.parts() if isinstance(part, Experts)]
        if not found:
            assert not routed
            continue
        part, depth = model.shape.only(Experts), sum(routed)
        used = sum(count for _, count in found)
        visits = tokens * part.active
        assert sum(m * count for m, count in found) == visits * depth
        assert all(1 <= m <= tokens for m, _ in found)
        assert max(m for m, _ in found) - min(m for m, _ in found) <= 1
        assert used % depth == 0
        assert part.active <= used // depth <= min(part.total, visits)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=small_models(), tokens=st.integers(1, 9), a=st.integers(1, 4), b=st.integers(1, 4))
def test_linear_layers_of_a_batch_are_one_stacked_product(tmp_path, config, tokens, a, b):
    model = load_model(write(tmp_path, config))
    for phase in ("prefill", "decode"):
        first, second, both = (
            [g for g in model.gemms(phase, tokens, n) if not g.name.startswith("expert_")]
            for n in (a, b, a + b)
        )
        for one, two, together in zip(first, second, both, strict=True):
            if one.kind == "linear":
                assert together.m == one.m + two.m
                assert together.weight_elements == one.weight_elements
                assert (together.batch, one.batch, two.batch) == (1, 1, 1)
            else:
                assert (together.m, together.batch) == (one.m, one.batch + two.batch)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NET = {"input": [3, 8, 8], "layers": [{"name": "a", "out_channels": 4, "kernel": 3}]}
LAYER_KEYS = ("name", "type", "from", "out_channels", "kernel", "stride", "padding", "dilation",
              "groups", "norm", "bias")  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=ANYTHING)
def test_any_value_gives_a_model_or_an_explained_error(tmp_path, data, value):
    base = data.draw(st.sampled_from([LLAMA, MOE, NET, {**LLAMA, "model_type": "vit"}]))
    extra = (
        *("mlp_only_layers", "layer_types", "sliding_window", "text_config", "image_size"),
        *("architectures", "id2label", "num_labels", "quantization_config", "kv_lora_rank"),
        *("max_window_layers", "vision_config", "num_key_value_head"),
    )
    if base is NET and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(LAYER_KEYS))
        config = {**NET, "layers": [{**NET["layers"][0], key: value}]}
    else:
        config = {**base, data.draw(st.sampled_from([*base, *extra])): value}
    path = write(tmp_path, config)
    with contextlib.suppress(BitlatheError):
        assert load_model(path).gemms()


@pytest.mark.parametrize("path", ["nowhere/config.json", "nowhere/model", "mine.yaml"])
def test_a_file_that_is_missing_is_no_unknown_model(path):
    with pytest.raises(BitlatheError, match=f"{path}: cannot read this model file: no such file"):
        load_model(path)


def test_paths_the_system_refuses():
    for text in ("a\0b", "x" * 5000):
        with pytest.raises(BitlatheError, match="unknown model"):
            load_model(text)
