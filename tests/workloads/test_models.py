"""Totals of the shipped models against totals published elsewhere."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model, model_names
from bitlathe.workloads.transformer.routing import experts_in_use

# Parameter totals as other programs count them. The text models: the total of the safetensors
# files (Hugging Face model pages, "Model size"), general.parameter_count of the models' GGUF
# files, or num_parameters() of transformers (OPT). BERT: the encoder with its pooler, as
# transformers' BertModel counts it. ViT and the convolution networks: "num_params" in
# torchvision's catalogue of weights.
PARAMETERS = {
    "opt-125m": 125_239_296,
    "opt-1.3b": 1_315_758_080,
    "phi-2": 2_779_683_840,
    "yi-6b": 6_061_035_520,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-8b": 8_190_735_360,
    "qwen3-30b-a3b": 30_532_122_624,
    "gemma-3-1b": 999_885_952,
    "mistral-7b-v0.3": 7_248_023_552,
    "mixtral-8x7b": 46_702_792_704,
    "phi-4": 14_659_507_200,
    "smollm2-135m": 134_515_008,
    "gpt2": 124_439_808,
    "bert-base": 109_482_240,
    "vit-base": 86_567_656,
    "resnet-18": 11_689_512,
    "resnet-50": 25_557_032,
    "mobilenet-v2": 3_504_872,
}

# Giga multiply-accumulates per 224x224 image, "_ops" in torchvision's catalogue of weights
# (three decimals).
IMAGE_GMACS = {"resnet-18": 1.814, "resnet-50": 4.089, "mobilenet-v2": 0.301}

# nn.Linear shapes of BitMoD's six models (HPCA 2025): outputs, inputs -> layers.
BITMOD_SHAPES = {
    "opt-1.3b": {(2048, 2048): 96, (8192, 2048): 24, (2048, 8192): 24, (50272, 2048): 1},
    "phi-2": {(2560, 2560): 128, (10240, 2560): 32, (2560, 10240): 32, (51200, 2560): 1},
    "yi-6b": {
        (4096, 4096): 64, (512, 4096): 64, (11008, 4096): 64, (4096, 11008): 32, (64000, 4096): 1,
    },
    "llama-2-7b": {(4096, 4096): 128, (11008, 4096): 64, (4096, 11008): 32, (32000, 4096): 1},
    "llama-2-13b": {(5120, 5120): 160, (13824, 5120): 80, (5120, 13824): 40, (32000, 5120): 1},
    "llama-3-8b": {
        (4096, 4096): 64, (1024, 4096): 64, (14336, 4096): 64, (4096, 14336): 32,
        (128256, 4096): 1,
    },
}  # fmt: skip
BITMOD_HEADS = {
    "opt-1.3b": (24, 32, 32, 64), "phi-2": (32, 32, 32, 80), "yi-6b": (32, 32, 4, 128),
    "llama-2-7b": (32, 32, 32, 128), "llama-2-13b": (40, 40, 40, 128),
    "llama-3-8b": (32, 32, 8, 128),
}  # fmt: skip


def macs(gemms):
    return sum(gemm.macs * gemm.count for gemm in gemms)


def test_every_shipped_model_has_its_total_checked():
    assert set(model_names()) == {*PARAMETERS, "gemma-3-4b"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_match_the_published_total(name):
    assert load_model(name).parameter_count == PARAMETERS[name]


def test_gemma_3_4b_and_its_vision_tower_make_the_published_total():
    wide, layers, inner = 1152, 27, 4304  # the SigLIP tower and projector, not simulated
    layer = 4 * (wide**2 + wide) + 2 * wide * inner + inner + wide + 4 * wide
    tower = 3 * 14 * 14 * wide + wide + (896 // 14) ** 2 * wide + layers * layer + 2 * wide
    projector = wide * 2560 + wide
    assert load_model("gemma-3-4b").parameter_count + tower + projector == 4_300_079_472


@pytest.mark.parametrize("name", IMAGE_GMACS)
def test_macs_of_an_image_match_the_published_total(name):
    model = load_model(name)
    assert round(macs(model.gemms()) / 1e9, 3) == IMAGE_GMACS[name]
    assert macs(model.gemms(batch=3)) == 3 * macs(model.gemms())


def test_vit_macs_in_closed_form():
    # patches, 12 layers of 4 projections + 2 MLP matrices + attention, the head
    layer = 197 * (4 * 768**2 + 2 * 768 * 3072) + 2 * 12 * 197 * 197 * 64
    assert macs(load_model("vit-base").gemms()) == 196 * 768 * 768 + 12 * layer + 768 * 1000


@pytest.mark.parametrize("name", BITMOD_SHAPES)
def test_the_six_models_of_the_bitmod_study(name):
    model = load_model(name)
    shapes = {}
    for gemm in model.gemms():
        if gemm.kind == "linear":
            assert (gemm.m, gemm.batch) == (256, 1)
            shapes[gemm.n, gemm.k] = shapes.get((gemm.n, gemm.k), 0) + gemm.count
    assert shapes == BITMOD_SHAPES[name]
    assert model.weight_count == sum(n * k * count for (n, k), count in shapes.items())

    layers, heads, kv, dim = BITMOD_HEADS[name]
    for phase, queries in (("prefill", 512), ("decode", 1)):
        qk, av = (g for g in model.gemms(phase, context=512, batch=3) if g.stationary == "kv_cache")
        rows = heads // kv * queries
        assert (qk.m, qk.n, qk.k, qk.batch, qk.count) == (rows, 512, dim, 3 * kv, layers)
        assert (av.m, av.n, av.k, av.batch, av.count) == (rows, dim, 512, 3 * kv, layers)
        assert (qk.kind, av.kind) == ("attention_qk", "attention_av")
        assert qk.rows_per_token == av.rows_per_token == heads // kv
        assert qk.visible_before == av.visible_before == (0 if phase == "prefill" else 511)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_prefill_touches_every_dense_weight_once(name):
    model = load_model(name)
    gemms = model.gemms()
    weights = sum(g.weight_elements * g.count for g in gemms if g.stationary == "weight")
    assert weights == model.weight_count  # 256 tokens reach all experts of a mixture too
    assert len({gemm.name for gemm in gemms}) == len(gemms)


def test_linear_layers_share_their_weights_over_a_batch():
    model = load_model("llama-2-7b")
    prefill = model.gemms("prefill", context=64, batch=5)[0]
    decode = model.gemms("decode", context=64, batch=5)[0]
    assert (prefill.m, prefill.sequences, prefill.batch) == (64 * 5, 5, 1)
    assert (decode.m, decode.sequences, decode.batch) == (5, 1, 1)


@pytest.mark.parametrize("name", model_names())
def test_a_batch_stacks_rows_and_leaves_weights_alone(name):
    """Batch 5 is batch 2 and batch 3: the rows of both, the weights of either."""
    parts = [load_model(name).gemms(batch=batch) for batch in (2, 3, 5)]
    for two, three, five in zip(*parts, strict=True):
        if two.name.startswith("expert_"):
            continue  # which experts are in use depends on all tokens
        if two.stationary == "kv_cache":
            assert five.batch == two.batch + three.batch
            assert (five.m, five.sequences) == (two.m, 1)
            continue
        assert five.m == two.m + three.m
        assert five.weight_elements == two.weight_elements == three.weight_elements
        assert (two.sequences, three.sequences, five.sequences) == (2, 3, 5)
        images = two.distinct_input_elements + three.distinct_input_elements
        assert five.distinct_input_elements == images


@pytest.mark.parametrize("name", model_names())
def test_prompts_of_one_token_are_a_step_of_decoding(name):
    """The same products: one token of each of 4 sequences, nothing cached."""
    model = load_model(name)
    if model.has_decode:
        prefill, decode = (
            [replace(g, sequences=1, causal=None, window=None) for g in model.gemms(phase, 1, 4)]
            for phase in ("prefill", "decode")
        )
        assert prefill == decode


def test_the_head_works_on_the_last_token_where_that_is_wanted():
    model = load_model("gemma-3-1b")
    everything, last = (
        {g.name: g for g in model.gemms(context=1000, batch=3, logits=logits)}
        for logits in ("all", "last")
    )
    assert everything == {g.name: g for g in model.gemms(context=1000, batch=3)}
    assert (everything["lm_head"].m, everything["lm_head"].sequences) == (3000, 3)
    assert (last.pop("lm_head").m, everything.pop("lm_head").m) == (3, 3000)
    assert last == everything
    assert model.gemms("decode", batch=3) == model.gemms("decode", batch=3, logits="last")


def test_causal_prefill_equals_decoding_token_by_token():
    model = load_model("yi-6b")
    tokens = 33
    steps = sum(macs(model.gemms("decode", context=t)) for t in range(1, tokens + 1))
    assert macs(model.gemms("prefill", context=tokens, causal=True)) == steps
    assert macs(model.gemms("prefill", context=tokens)) > steps


def experts_of(model, **run):
    return [(g.m, g.count) for g in model.gemms(**run) if g.name == "expert_gate_proj"]


def test_experts_compute_for_routed_tokens_only():
    model = load_model("mixtral-8x7b")
    decode = {g.name: g for g in model.gemms("decode")}
    assert (decode["expert_gate_proj"].m, decode["expert_gate_proj"].count) == (1, 32 * 2)
    # 12.9 billion parameters are used per token (mistral.ai, "Mixtral of experts")
    used = sum(g.weight_elements * g.count for g in decode.values() if g.stationary == "weight")
    assert round((used + 32000 * 4096) / 1e9, 1) == 12.9
    # 101 tokens visit 8 experts 202 times: 2 of them 26 times, 6 of them 25 times
    assert experts_of(model, context=101) == [(26, 32 * 2), (25, 32 * 6)]
    assert {g.name: g for g in model.gemms("prefill", context=101)}["router"].n == 8


# E (1 - (1 - k/E)^t) by hand, of t tokens that visit k of E experts each
IN_USE = {
    "qwen3-30b-a3b": {1: 8, 2: 16, 4: 29, 8: 52, 16: 82, 17: 85, 32: 112, 64: 126, 256: 128},
    "mixtral-8x7b": {1: 2, 2: 4, 4: 5, 8: 7, 16: 8, 32: 8},
}


@pytest.mark.parametrize("name", IN_USE)
def test_experts_in_use_are_the_mean_of_uniform_routing(name):
    model = load_model(name)
    for tokens, busy in IN_USE[name].items():
        for run in ({"phase": "decode", "batch": tokens}, {"context": tokens}):
            found = experts_of(model, **run)
            assert sum(count for _, count in found) == busy * model.shape.depth
    assert experts_of(model, context=3, batch=4) == experts_of(model, context=12)


def test_17_tokens_make_136_visits_a_layer():
    found = experts_of(load_model("qwen3-30b-a3b"), context=17)
    assert found == [(2, 48 * 51), (1, 48 * 34)]
    assert sum(m * count for m, count in found) == 48 * 136


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 5000))
def test_experts_in_use_are_a_possible_number(experts, active, tokens):
    """At least those of one token, no more than there are or than visits, and exactly rounded."""
    active = min(active, experts)
    used = experts_in_use(experts, active, tokens)
    assert active <= used <= min(experts, tokens * active)
    mean = experts * (1 - (1 - Fraction(active, experts)) ** tokens)
    assert abs(mean - used) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_more_experts_than_floats_tell_apart():
    assert experts_in_use(1_093_969_462_896, 1, 10_000) == 10_000  # rounded in floats: 10,001


def test_experts_in_use_by_drawing_routes():
    """The mean number of experts that random routes reach, within four standard errors."""
    import numpy as np

    rng = np.random.default_rng(0)
    for experts, active, tokens in ((8, 2, 3), (60, 4, 20), (128, 8, 16)):
        routes = rng.permuted(np.tile(np.arange(experts), (400, tokens, 1)), axis=2)
        reached = [len(np.unique(each[:, :active])) for each in routes]
        error = np.std(reached) / np.sqrt(len(reached))
        found = experts_in_use(experts, active, tokens)
        assert abs(np.mean(reached) - found) < 0.5 + 4 * error


def test_sliding_window_shortens_decode_in_local_layers():
    gemms = {g.name: g for g in load_model("gemma-3-1b").gemms("decode", context=4096)}
    assert (gemms["attention_qk_local"].n, gemms["attention_qk_local"].count) == (512, 22)
    assert (gemms["attention_av"].k, gemms["attention_av"].count) == (4096, 4)


def test_sliding_window_is_a_band_in_prefill():
    """22 local layers of gemma-3-1b: 4 heads of 256, window 512."""
    model = load_model("gemma-3-1b")
    tokens, window = 4096, 512
    pairs = window * (window + 1) // 2 + (tokens - window) * window
    for causal in (False, True):
        gemms = {g.name: g for g in model.gemms(context=tokens, causal=causal)}
        for name in ("attention_qk_local", "attention_av_local"):
            assert gemms[name].count == 22
            assert gemms[name].macs == 4 * pairs * 256
        square = 4 * 256 * (tokens * (tokens + 1) // 2 if causal else tokens**2)
        assert gemms["attention_qk"].macs == square
    assert 4 * pairs * 256 == 2_013_528_064


def test_identical_convolutions_appear_once():
    gemms = load_model("resnet-18").gemms()
    assert [g.count for g in gemms if (g.n, g.k, g.m) == (64, 576, 3136)] == [4]
    assert sum(g.count for g in gemms) == 21


@pytest.mark.parametrize("name", model_names())
def test_graph_is_acyclic_and_ends_in_the_head(name):
    import networkx as nx

    graph = load_model(name).graph()
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.is_weakly_connected(graph)
    last = {node.name for node in graph if graph.out_degree(node) == 0}
    assert last <= {"lm_head", "pooler", "classifier", "fc"}


def test_graph_of_a_residual_block():
    graph = load_model("resnet-18").graph()
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["layer1.1.conv1"] == {"conv1", "layer1.0.conv2"}
    assert into["layer2.1.conv1"] == {"layer2.0.conv2", "layer2.0.downsample"}


def test_graph_of_attention():
    graph = load_model("llama-3-8b").graph("decode")
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["attention_qk"] == {"q_proj", "k_proj"}
    assert into["attention_av"] == {"attention_qk", "v_proj"}
    assert into["down_proj"] == {"gate_proj", "up_proj"}


@pytest.mark.parametrize("name", ["Llama-2-7B", "llama_2_7b", " LLAMA 2 7b "])
def test_names_are_forgiving(name):
    assert load_model(name) == load_model("llama-2-7b")


@pytest.mark.parametrize(
    ("name", "run", "words"),
    [
        ("bert-base", {"phase": "decode"}, "encoder-only"),
        ("vit-base", {"phase": "decode"}, "vision-only"),
        ("resnet-18", {"phase": "decode"}, "convolution network"),
        ("vit-base", {"context": 256}, "197 tokens"),
        ("resnet-18", {"context": 256}, "no tokens"),
        ("resnet-18", {"causal": True}, "causal=True"),
        ("gpt2", {"logits": "lst"}, "unknown logits 'lst'; did you mean 'last'?"),
        ("bert-base", {"causal": True}, "attends both ways"),
        ("bert-base", {"context": 513}, "512 tokens only"),
        ("opt-1.3b", {"context": 2049}, "2048 tokens only"),
        ("gpt2", {"context": 1025}, "1024 tokens only"),
        ("gpt2", {"context": 0}, "context is 0"),
        ("gpt2", {"context": -1}, "context is -1"),
        ("gpt2", {"context": 1.5}, "context is 1.5"),
        ("gpt2", {"batch": 0}, "batch is 0"),
        ("gpt2", {"phase": "Decode"}, "did you mean 'decode'?"),
        ("llama-2-7b", {"context": 2**62}, "64-bit counters"),
        ("llama-2-7b", {"context": 2**64}, "2^63"),
        ("llama-2-7b", {"batch": 2**31}, "do not fit"),
    ],
)
def test_runs_a_model_cannot_make(name, run, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(name).gemms(**run)
    assert words in str(caught.value)


def test_context_of_a_run():
    assert load_model("gpt2").context_of() == 256
    assert load_model("gpt2").context_of(7) == 7
    assert load_model("vit-base").context_of() == 197
    assert load_model("resnet-18").context_of() is None


def test_reading_a_model_needs_no_heavy_library():
    code = (
        "import sys, bitlathe.workloads as w; w.load_model('llama-2-7b').gemms();"
        "print(sorted({'networkx', 'pydantic', 'torch', 'numba', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
