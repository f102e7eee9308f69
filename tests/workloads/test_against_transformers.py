"""Configurations against the model classes of Hugging Face transformers: published and small ones.

The truths stand in published_models.json and small_models.json, which name their source.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import bitlathe
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.request import simulate_request
from bitlathe.workloads import load_model
from bitlathe.workloads.conv import ConvNet
from bitlathe.workloads.families import FAMILIES
from bitlathe.workloads.families.towers import TOWERS as KNOWN_TOWERS
from bitlathe.workloads.reading.towers import LISTED as LISTED_TOWERS
from bitlathe.workloads.sharding import Place, shard
from bitlathe.workloads.slices import slices
from bitlathe.workloads.transformer import Attention, LatentAttention, Transformer

HERE = Path(__file__).parent
PUBLISHED = json.loads((HERE / "published_models.json").read_text())["models"]
SMALL = json.loads((HERE / "small_models.json").read_text())["models"]
SMALL |= json.loads((HERE / "drawn" / "models.json").read_text())["models"]
TOWERS = json.loads((HERE / "towers.json").read_text())["models"]

WITH_TOWERS = [
    *("gemma-3-27b", "mistral-small-3.1-24b", "smolvlm-2.2b-text", "paligemma-3b-224"),
    *("llava-1.5-7b", "clip-vit-large-14", "llama-4-scout-17b-16e", "qwen2.5-vl-7b", "qwen3.5-9b"),
]

DIFFUSION = {"flux.1-dev-transformer"}  # test_diffusion.py
READ = sorted(PUBLISHED.keys() - DIFFUSION)


def square_macs(gemms):
    """Multiply-accumulates where no mask spares any: what torch counts of eager attention."""
    return sum(gemm.m * gemm.n * gemm.k * gemm.batch * gemm.count for gemm in gemms)


def matrices_of(shape):
    """Count the matrices by their outputs and inputs: experts apart from all others."""
    if shape.encoder is not None:
        here, there = matrices_of(replace(shape, encoder=None)), matrices_of(shape.encoder)
        return tuple(a + b for a, b in zip(here, there, strict=True))
    found, experts = Counter(), Counter()
    for part, layers in shape.stored_parts():
        for matrix, instances in part.matrices():
            kind = experts if matrix.stage.startswith("experts") else found
            kind[matrix.outputs, matrix.inputs] += instances * layers
    for matrix in (*shape.ahead, *(head.matrix for head in shape.heads)):
        found[matrix.outputs, matrix.inputs] += 1
    return found, experts


def window_of(part):
    return part.window or part.chunk


def cache_of_the_framework(model, context):
    """Return the elements that the library keeps, where it chooses otherwise than bitlathe.

    Its cache keeps a window of w without the newest token; GPT-Neo keeps what no window shows,
    Falcon keys and values once for each head that shares one of several. Keys of an
    indexer lie elsewhere.
    """
    kept = 0
    for part, layers in model.shape.parts():
        if isinstance(part, LatentAttention):
            kept += layers * context * part.cached_dim
        if not isinstance(part, Attention):
            continue
        short = part.window is not None and context >= part.window
        tokens = min(context, part.window - 1) if short and model.family != "gpt_neo" else context
        copied = model.family == "falcon" and part.kv_heads > 1
        copies = part.heads // part.kv_heads if copied else 1
        kept += layers * replace(part, window=None).cache_elements(tokens) * copies
    return kept


@pytest.mark.parametrize("name", READ)
def test_parameters_of_published_models(name):
    model = load_model(PUBLISHED[name]["config"])
    assert not any("only the text part" in note for note in model.notes)
    model = model.part("text") if name == "internvl3-8b" else model  # as its truth is
    assert model.parameter_count == PUBLISHED[name]["parameters"]


@pytest.mark.parametrize("name", READ)
def test_matrices_of_published_models(name):
    model = load_model(PUBLISHED[name]["config"])
    expected = Counter()
    for outputs, inputs, count, part, fused in PUBLISHED[name]["matrices"]:
        if part == "text":
            expected[outputs // (1 + fused), inputs] += count * (1 + fused)
    if isinstance(model.shape, ConvNet):  # convolutions are no linear modules
        found = Counter((g.n * g.batch, g.k) for g in model.shape.gemms(1))
        assert expected
        assert not expected - found
        return
    found, experts = matrices_of(model.shape)
    assert found + experts == expected


@pytest.mark.parametrize("name", WITH_TOWERS)
def test_matrices_of_published_towers(name):
    tower = load_model(PUBLISHED[name]["config"]).part("vision")
    expected = Counter()
    for outputs, inputs, count, part, _ in PUBLISHED[name]["matrices"]:
        if part in ("vision", "projector"):
            expected[outputs, inputs] += count
    found, _ = matrices_of(tower.shape)
    patch = tower.shape.patch_matrix
    if patch.name == "patch_embedding" and (patch.outputs, patch.inputs) in expected:
        found[patch.outputs, patch.inputs] += 1  # a linear module in Llama 4
    assert found == expected


def test_matrices_of_a_conformer():
    """Gemma 3n's: linear modules of the class, the projector with them."""
    name, expected = "gemma-3n-e2b", Counter()
    for outputs, inputs, count, part, _ in PUBLISHED[name]["matrices"]:
        if part == "audio" or (part == "projector" and inputs == 1536):
            expected[outputs, inputs] += count
    gemms = load_model(PUBLISHED[name]["config"]).part("audio").gemms()
    found = Counter()
    for gemm in gemms:
        if gemm.kind == "linear":
            found[gemm.n, gemm.k] += gemm.count
    assert found == expected


@pytest.mark.parametrize("name", TOWERS)
def test_small_models_with_towers(name):
    """Parameters of the whole, and the multiply-accumulates of an image's way to the text."""
    model = load_model(TOWERS[name]["config"])
    assert model.parameter_count == TOWERS[name]["parameters"]
    for part in ("vision", "audio"):
        if (macs := TOWERS[name].get(f"{part}_macs")) is not None:
            tower = model.part(part)
            assert square_macs(tower.gemms()) == macs
            assert square_macs(tower.gemms(batch=2)) == 2 * macs
    for tokens, macs in TOWERS[name].get("text_macs", {}).items():
        assert square_macs(model.gemms(context=int(tokens))) == macs
    # sizes that no key says
    stated = {"mllama-0", "mllama-1", "gemma3n-0", "gemma3n-1", "gemma4-0"}
    stated.add("qwen2_5_omni_thinker-1")
    assert bool(model.notes) == (name in stated)


def test_a_classifier_of_images_around_two_towers_is_told():
    config = {**TOWERS["clip-0"]["config"], "architectures": ["CLIPForImageClassification"]}
    assert (
        "'CLIPForImageClassification' ('architectures') is not read" in load_model(config).notes[0]
    )


def test_of_what_speaks_the_part_that_understands_is_read():
    inner = TOWERS["qwen2_5_omni_thinker-0"]["config"]
    outer = {"model_type": "qwen2_5_omni", "thinker_config": inner, "talker_config": {}}
    model = load_model(outer)
    assert model.parameter_count == TOWERS["qwen2_5_omni_thinker-0"]["parameters"]
    assert model.part("audio").parameter_count > 0
    assert "left out, what speaks: 'talker_config'" in model.notes[0]


def test_an_image_is_read_once():
    """A prompt makes the image's keys and values; what decodes after it reads them."""
    model = load_model(TOWERS["mllama-0"]["config"])
    image, kv = 4 * 17, 2 * (32 // 4) * 2  # tokens; keys and values of a token
    assert model.part("vision").image_tokens == 1  # a placeholder in the prompt
    assert model.state_elements == 2 * image * kv
    assert model.cache_elements(9) == 3 * 9 * kv
    step = model.step(prefill=[(4, 0), (4, 4)], decode=[9, 9])
    made = [(g.m, g.count) for g in step if g.name == "cross_k_proj"]
    assert made == [(image, 2)]
    seen = {(g.m, g.n, g.batch) for g in step if g.name == "attention_qk_cross"}
    assert seen == {(2 * 4, image, 2), (2, image, 2 * 2)}
    each = [model.gemms("decode", c, logits="all") for c in (1, 2, 3)]
    whole = model.gemms("prefill", 3, causal=True)
    assert sum(g.macs * g.count for g in whole) == sum(g.macs * g.count for p in each for g in p)


def test_a_text_alone_skips_layers_that_see_images():
    model = load_model(TOWERS["mllama-0"]["config"])
    text = model.part("text")
    assert (text.state_elements, text.towers, text.sees_images) == (0, (), False)
    assert text.depth == model.depth - 2
    stages = [shard(text, Place(stage=each)).depth for each in slices(2)]
    assert stages == [2, 1]
    assert load_model(TOWERS["llava-0"]["config"]).part("text").towers == ()
    request = simulate_request(
        "bitmod", model, 4, answer=2, fidelity="analytic", mapper="whole-buffer"
    )
    assert (request.model, len(request.phases)) == (model.name, 2)
    names = {layer.name for phase in request.phases for run in phase.runs for layer in run.layers}
    assert "q_proj" in names
    assert not {name for name in names if "cross" in name}
    every = {**TOWERS["mllama-0"]["config"]["text_config"]}
    every["cross_attention_layers"] = list(range(every["num_hidden_layers"]))
    with pytest.raises(BitlatheError, match="nothing runs without one"):
        load_model(every).part("text")


def test_every_tower_is_held_to_its_class():
    held = {each["config"]["model_type"] for each in TOWERS.values()}
    assert held == {*KNOWN_TOWERS, *LISTED_TOWERS}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("llava-0", {"vision_feature_select_strategy": "some"}, "must be 'default', which drops"),
        ("smolvlm-0", {"scale_factor": 3}, "whose square does not divide the 16 patches"),
        ("mistral3-0", {"spatial_merge_size": 0}, "'spatial_merge_size' is 0"),
        ("gemma3-0", {"mm_tokens_per_image": "all"}, "'mm_tokens_per_image' is 'all'"),
        ("clip-0", {"vision_config": {"hidden_sizes": 64}}, "unknown key 'hidden_sizes'"),
        ("qwen2_5_vl-1", {"vision_config": {"window_size": 27}}, "less than a square of patches"),
        ("qwen2_5_vl-1", {"vision_config": {"image_size": 42}}, "the image has 3 x 3 patches"),
        ("llama4-0", {"vision_config": {"pixel_shuffle_ratio": 0.3}}, "must be a share, as 0.5"),
        ("mllama-0", {"vision_config": {"vision_output_dim": 70}}, "indices' leave 7680"),
        ("mllama-0", {"vision_config": {"attention_heads": 7}}, "the 7 heads of 'attention_heads'"),
        ("mllama-0", {"vision_config": {"patch_size": 9}}, "does not divide the 'image_size' of"),
        ("mllama-0", {"text_config": {"cross_attention_layers": [-1]}}, "numbers of layers, from"),
        ("gemma3n-0", {"vision_config": {"hidden_size": 64}}, "the tower leaves 2048 channels"),
        ("gemma3n-0", {"vision_config": {"image_size": 500}}, "it must be 768, or a multiple of"),
        ("gemma4-0", {"vision_config": {"image_size": 500}}, "must be a multiple of 'patch_size'"),
        ("gemma4-0", {"vision_config": {"num_key_value_heads": 5}}, "does not divide the 12 heads"),
        ("gemma4-0", {"audio_config": {"hidden_act": "relu"}}, "'relu'; only 'silu' is read"),
        ("qwen2_audio-1", {"audio_config": {"encoder_attention_heads": 7}}, "divide the 'd_model'"),
        ("qwen2_audio-1", {"audio_config": {"max_source_positions": 9}}, "it must be even"),
        ("voxtral-1", {"audio_config": {"intermediate_size": 7}}, "as wide as an MLP, 7"),
        ("qwen2_5_omni_thinker-0", {"audio_config": {"output_dim": 7}}, "the text is 32 wide"),
        ("qwen2_5_omni_thinker-1", {"audio_config": {"frames": 9}}, "a multiple of 200"),
        ("internvl-0", {"downsample_ratio": 0.3}, "must be a share, as 0.5, whose inverse"),
        ("internvl-0", {"vision_config": {"norm_type": "batch"}}, "'layer_norm' or 'rms_norm'"),
        ("gemma3n-0", {"audio_config": {"frame": 9}}, "unknown key 'frame'. Is it meant to be"),
        ("gemma3n-0", {"audio_config": {"sscp_conv_stride_size": [2]}}, "two pairs of integers"),
    ],
)
def test_towers_that_cannot_be(name, change, words):
    with pytest.raises(BitlatheError) as caught:
        load_model({**TOWERS[name]["config"], **change})
    assert words in str(caught.value)


def test_parts_are_named():
    model = load_model(TOWERS["llava-0"]["config"])
    with pytest.raises(BitlatheError, match=r"no part 'visoin'; parts it has: 'text', 'vision'"):
        model.part("visoin")
    with pytest.raises(BitlatheError, match="parts it has: none"):
        load_model("llama-3.1-8b").part("vision")
    assert load_model(PUBLISHED["llava-1.5-7b"]["config"]).part("vision").image_tokens == 576
    other = {**TOWERS["llava-0"]["config"], "vision_config": {"model_type": "swin"}}
    assert "left out: vision_config (swin)" in load_model(other).notes[0]


@pytest.mark.parametrize("name", [name for name in READ if "macs" in PUBLISHED[name]])
def test_multiply_accumulates_of_published_models(name):
    model = load_model(PUBLISHED[name]["config"])
    for run, counted in PUBLISHED[name]["macs"].items():
        phase, _, context = run.partition("@")
        if int(context) > (model.shape.longest_context or int(context)):
            continue  # torch counts on where positions end
        logits = "last" if "last_token" in phase else "all"
        gemms = model.gemms(phase.partition("_")[0], int(context), logits=logits)
        assert square_macs(gemms) == counted, run


@pytest.mark.parametrize("name", [name for name in READ if "cache" in PUBLISHED[name]])
def test_cache_of_published_models(name):
    model = load_model(PUBLISHED[name]["config"])
    for context, kept in PUBLISHED[name]["cache"].items():
        assert cache_of_the_framework(model, int(context)) == kept


@pytest.mark.parametrize("name", SMALL)
def test_small_models(name):
    truth = SMALL[name]
    model = load_model(truth["config"])
    assert model.parameter_count == truth["parameters"]
    found, experts = matrices_of(model.shape)
    expected = Counter({(n, k): count for n, k, count in truth["matrices"]})
    routers = found - expected  # no linear module in the classes
    assert not expected - found
    assert sum(n * k * count for (n, k), count in experts.items()) == truth["expert_elements"]
    assert all(experts or not count for count in routers.values())
    if "windows" in truth:
        seen = Counter()
        for part, layers in model.shape.parts():
            if isinstance(part, Attention):
                seen[window_of(part)] += layers
        assert seen == Counter(truth["windows"])


@pytest.mark.parametrize("name", [name for name, each in SMALL.items() if "macs" in each])
def test_runs_of_small_models(name):
    truth = SMALL[name]
    model = load_model(truth["config"])
    if "source" in truth:  # two lengths
        tokens, more = truth["context"], {"source": truth["source"]}
        assert square_macs(model.gemms("prefill", tokens, **more)) == truth["macs"]["prefill"]
        assert square_macs(model.gemms("decode", tokens + 1, **more)) == truth["macs"]["decode"]
        assert model.cache_elements(tokens, **more) == truth["cache"]
        return
    prefill = square_macs(model.gemms("prefill", None if model.kind == "vision" else 24))
    for part, layers in model.shape.parts():
        if isinstance(part, LatentAttention) and part.indexer and not part.indexer.shared:
            prefill += layers * part.indexer.heads * 24**2  # heads weighed and added up
    assert prefill == truth["macs"]["prefill"]
    latent = any(isinstance(part, LatentAttention) for part, _ in model.shape.parts())
    if model.has_decode and not latent:  # the classes make all keys and values anew
        if model.family == "gpt_neo":  # the class reads what its window hides
            model = load_model({**truth["config"], "window_size": 25})
        assert square_macs(model.gemms("decode", 25)) == truth["macs"]["decode"]
        assert cache_of_the_framework(model, 24) == truth["cache"]
    assert model.state_elements == truth.get("state", 0)


def test_every_family_is_held_to_its_class():
    held = {load_model(PUBLISHED[name]["config"]).family for name in READ}
    held |= {truth["config"]["model_type"] for truth in SMALL.values()}
    parts = ("vision_config", "text_config")
    held |= {t["config"].get(key, {}).get("model_type") for t in TOWERS.values() for key in parts}
    held |= {"bert", "vit"}  # tests of published totals
    held |= {"internlm3", "kimi_k2"}  # no class in the library
    assert held >= FAMILIES.keys()


def test_chunks_by_hand():
    """Llama 4: of 48 layers 36 see their own chunk of 8192 tokens, 8 K/V heads of 128."""
    model = load_model(PUBLISHED["llama-4-scout-17b-16e"]["config"])
    assert isinstance(model.shape, Transformer)
    one = 8 * 128 * 2
    assert model.cache_elements(8192) == 48 * 8192 * one == 805_306_368
    assert model.cache_elements(8193) == (12 * 8193 + 36 * 1) * one == 201_424_896
    local = [g for g in model.gemms("decode", 8193) if g.name == "attention_qk_local"]
    assert [(g.n, g.count) for g in local] == [(1, 36)]
    pieces = [g for g in model.gemms(context=20_000) if g.name == "attention_qk_local"]
    assert [(g.m // 5, g.n, g.batch) for g in pieces] == [(8192, 8192, 16), (3616, 3616, 8)]
    assert all(g.causal == "n" for g in pieces)


def latent_macs(part, pairs, keys, queries):
    """Multiply-accumulates of latent attention: expanded, and absorbed."""
    lifted = part.rank * (part.nope_dim + part.value_dim)
    expanded = keys * lifted + pairs * (part.nope_dim + part.rope_dim + part.value_dim)
    absorbed = queries * lifted + pairs * (2 * part.rank + part.rope_dim)
    return part.heads * expanded, part.heads * absorbed


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v2-lite"])
def test_latent_attention_by_hand(name):
    """The projections of the new tokens, and the cheaper of the two forms."""
    model = load_model(PUBLISHED[name]["config"])
    part = model.shape.only(LatentAttention)
    projections = sum(m.elements for m, _ in part.matrices()) - part.expansion.elements
    rest = {m.name for feed, _ in model.shape.parts() for m, _ in feed.matrices()}
    rest -= {m.name for m, _ in part.matrices()}
    rest |= {"lm_head"}

    def attention(gemms):
        return sum(g.macs * g.count for g in gemms if g.name not in rest) // model.shape.depth

    expanded, absorbed = latent_macs(part, 4096, 4096, 1)
    assert absorbed < expanded
    assert attention(model.gemms("decode", 4096)) == projections + absorbed
    expanded, absorbed = latent_macs(part, 100**2, 100, 100)
    assert expanded < absorbed
    assert attention(model.gemms("prefill", 100)) == 100 * projections + expanded
    pairs = 50 * 51 // 2 + 50 * 100
    forms = latent_macs(part, pairs, 150, 50)
    assert attention(model.step(prefill=[(50, 100)])) == 50 * projections + min(forms)
    mixed = model.step(prefill=[(50, 100)], decode=[4096])
    both = attention(model.step(prefill=[(50, 100)])) + attention(model.gemms("decode", 4096))
    assert attention(mixed) == both


def test_latents_are_cached():
    """DeepSeek-V3: 61 layers of 512 + 64 elements, 71.1 times fewer than keys and values."""
    model = load_model(PUBLISHED["deepseek-v3"]["config"])
    assert model.cache_elements(1) == 61 * 576 == 35_136
    assert model.cache_elements(4096) == 143_917_056
    indexed = load_model(PUBLISHED["deepseek-v3.2"]["config"])
    assert indexed.cache_elements(1) == 61 * (576 + 128)


def test_an_indexer_bounds_what_is_seen():
    """DeepSeek-V3.2 sees 2048 tokens, chosen by 64 heads that look at all of them."""
    model = load_model(PUBLISHED["deepseek-v3.2"]["config"])
    gemms = {g.name: g for g in model.gemms("decode", 10_000)}
    assert (gemms["index_scores"].m, gemms["index_scores"].n, gemms["index_scores"].k) == (
        64, 10_000, 128,
    )  # fmt: skip
    assert (gemms["attention_qk"].m, gemms["attention_qk"].n, gemms["attention_qk"].k) == (
        128, 2048, 576,
    )  # fmt: skip


KIMI_K2 = {
    "model_type": "kimi_k2", "hidden_size": 7168, "num_hidden_layers": 61, "vocab_size": 163840,
    "num_attention_heads": 64, "num_key_value_heads": 64, "intermediate_size": 18432,
    "moe_intermediate_size": 2048, "n_routed_experts": 384, "num_experts_per_tok": 8,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "q_lora_rank": 1536, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
}  # fmt: skip


def test_kimi_k2_is_built_as_deepseek_v3():
    """1026 billion parameters, as the class of DeepSeek-V3 counts them (transformers 5.24)."""
    model = load_model(KIMI_K2)
    assert round(model.parameter_count / 1e9) == 1026
    assert model.shape == load_model({**KIMI_K2, "model_type": "deepseek_v3"}).shape


def test_the_documentation_names_every_family():
    page = Path(bitlathe.__file__).with_name("docs") / "workloads.md"
    rows = [row for row in page.read_text().splitlines() if re.match(r"\| `\w+\.py` \|", row)]
    named = {name.strip() for row in rows for name in row.split("|")[2].split(",")}
    assert named == set(FAMILIES)


def test_whisper_by_hand():
    """Large: 1500 tokens of 3000 steps of 128 bands, 32 and 32 layers of 1280."""
    model = load_model(PUBLISHED["whisper-large-v3"]["config"])
    wide, sound, layers, heads = 1280, 1500, 32, 20
    stem = 2 * sound * wide * 3 * 128 + sound * wide * 3 * wide
    matrices = 4 * wide**2 + 2 * wide * 4 * wide
    encoder = layers * (sound * matrices + 2 * sound**2 * wide)
    source = layers * 2 * sound * wide**2  # keys and values of the source, once
    prompt, words = 4, 51866
    decoder = prompt * (matrices + 2 * wide**2) + 2 * wide * (prompt**2 + prompt * sound)
    total = stem + encoder + source + layers * decoder + prompt * words * wide
    assert square_macs(model.gemms("prefill", prompt)) == total
    token = layers * (matrices + 2 * wide**2 + 2 * wide * (100 + sound)) + words * wide
    assert square_macs(model.gemms("decode", 100)) == token
    assert model.cache_elements(100) == layers * 2 * wide * (100 + sound)
    conv2 = next(g for g in model.gemms("prefill", prompt, batch=3) if g.name == "conv2")
    assert (conv2.m, conv2.k, conv2.input_elements) == (3 * 1500, 3 * 1280, 3 * 3000 * 1280)
    scores = next(g for g in model.gemms("decode", 9) if g.name == "attention_qk_cross")
    assert (scores.m, scores.n, scores.batch, scores.count) == (1, 1500, heads, layers)


def test_a_source_is_read_once():
    """Prompts with nothing cached read theirs; sequences that decode find it in the cache."""
    model = load_model(PUBLISHED["t5-base"]["config"])
    step = model.step(prefill=[(3, 0), (2, 5)], decode=[40] * 4, source=50)
    rows = {g.name: g.m for g in step}
    assert (rows["encoder_q"], rows["cross_k"], rows["cross_q"]) == (50, 50, 3 + 2 + 4)
    alone = [model.step(prefill=[(3, 0)], source=50), model.step(prefill=[(2, 5)], source=50)]
    alone += [model.gemms("decode", 40, 4, source=50)]
    assert sum(g.macs * g.count for g in step) == sum(
        g.macs * g.count for gemms in alone for g in gemms
    )


@pytest.mark.parametrize(
    ("name", "run", "words"),
    [
        ("whisper-large-v3", {"source": 1400}, "source is 1400, but a sound has 1500 tokens"),
        ("whisper-large-v3", {"context": 449}, "448 tokens only"),
        ("t5-base", {"source": 0}, "source is 0"),
        ("gemma-2-2b", {"source": 5}, "has no encoder"),
    ],
)
def test_sources_a_model_cannot_read(name, run, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(PUBLISHED[name]["config"]).gemms(**run)
    assert words in str(caught.value)


def test_a_graph_joins_encoder_and_decoder():
    graph = load_model(PUBLISHED["t5-base"]["config"]).graph()
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["cross_k"] == into["cross_v"] == {"encoder_wo"}
    assert into["cross_q"] == {"o"}
    assert into["attention_av_cross"] == {"attention_qk_cross", "cross_v"}
    assert into["lm_head"] == {"wo"}


def test_the_last_layers_of_gemma_3n_keep_nothing():
    """30 layers, of which the last 10 take keys and values of layers 18 (local) and 19."""
    model = load_model(PUBLISHED["gemma-3n-e2b"]["config"])
    one = 2 * 2 * 256
    assert model.cache_elements(4096) == (4 * 4096 + 16 * 512) * one
    names = {g.name: g.count for g in model.gemms("decode", 4096)}
    assert (names["q_proj"], names["k_proj"], names["attention_qk"]) == (30, 20, 6)
    assert names["altup_router"] == 60  # ahead of each layer and behind it
    found = model.vector_steps(model.staged("decode", 4096))
    steps = {step.name: step for step in found}
    assert steps["layer_embedding"].elements == 30 * 256
    assert steps["altup_predict_streams"].elements == 4 * 4 * 2048
    assert sum(s.count for s in found if "cutoff" in s.operations) == 10


def test_gemma_4_by_its_class():
    """Heads of layers without a window are wider; a window ends at the last layer."""
    config = {**SMALL["gemma4_text-0"]["config"], "attention_k_eq_v": True}
    config |= {"head_dim": 8, "global_head_dim": 24, "num_global_key_value_heads": 2}
    config |= {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention"] * 6}
    config |= {"num_hidden_layers": 6, "num_key_value_heads": 4}
    model = load_model(config)
    sizes = {(p.window is None, p.head_dim, p.kv_heads, p.made): n for p, n in model.shape.parts()
             if isinstance(p, Attention)}  # fmt: skip
    assert sizes == {(False, 8, 4, "all"): 5, (True, 24, 2, "keys"): 1}


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("gemma3n_text-0", {"num_kv_shared_layers": 99}, "'num_kv_shared_layers' is 99 of"),
        ("gemma3n_text-0", {"intermediate_size": [8]}, "names 1 layers, but there are"),
        ("gemma3n_text-0", {"intermediate_size": []}, "names 0 layers, but there are"),
        ("gemma3n_text-0", {"intermediate_size": {}}, "'intermediate_size' is {}"),
        ("gpt_neo-0", {"attention_types": [[["global"], 10**12]]}, "names 1000000000000 layers"),
        ("gemma3n_text-0", {"laurel_rank": 0}, "'laurel_rank' is 0"),
        ("gemma4_text-0", {"use_bidirectional_attention": "all"}, "only 'vision' is supported"),
        ("gemma4_text-1", {"top_k_experts": 99}, "more than the"),
    ],
)
def test_values_that_no_layer_can_have(name, more, words):
    with pytest.raises(BitlatheError) as caught:
        load_model({**SMALL[name]["config"], **more})
    assert words in str(caught.value)


def test_deberta_by_hand():
    """DeBERTa-v3-base: 12 heads of 64, 256 positions to each side, which share the matrices."""
    config = {"model_type": "deberta-v2", "hidden_size": 768, "num_hidden_layers": 12,
              "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 128_100,
              "relative_attention": True, "position_buckets": 256, "share_att_key": True,
              "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
              "norm_rel_ebd": "layer_norm", "architectures": ["DebertaV2Model"]}  # fmt: skip
    model = load_model(config)
    assert model.parameter_count == 183_831_552
    gemms = {g.name: g for g in model.gemms("prefill", 100, 2)}
    for name in ("attention_c2p", "attention_p2c"):
        assert (gemms[name].m, gemms[name].n, gemms[name].k) == (100, 512, 64)
        assert gemms[name].batch == 2 * 12
    assert gemms["pos_key_proj"].m == 512  # once a pass, however many sequences
    steps = [s for s in model.vector_steps(model.staged("prefill", 100, 2)) if "p" in s.name]
    assert {s.elements for s in steps if s.name.endswith("c_sum")} == {2 * 12 * 100 * 100}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"pos_att_type": ["c2q"]}, "'pos_att_type' names 'c2q'; it must be 'c2p' or 'p2c'"),
        ({"conv_kernel_size": 3}, "'conv_kernel_size' is 3; of deberta-v2 models only 0"),
        ({"position_buckets": "many"}, "'position_buckets' is 'many'"),
        ({"relative_attention": 1}, "'relative_attention' is 1; it must be true or false"),
    ],
)
def test_debertas_that_cannot_be(more, words):
    with pytest.raises(BitlatheError) as caught:
        load_model({**SMALL["DebertaV2Model-0"]["config"], "relative_attention": True, **more})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("nemotron_h-0", {"layers_block_type": ["mamba", "rnn"]}, "names 'rnn'; it must be one of"),
        ("nemotron_h-0", {"layers_block_type": []}, "names 0 layers"),
        ("nemotron_h-0", {"layers_block_type": None}, "'layers_block_type' is missing"),
        ("nemotron_h-1", {"hybrid_override_pattern": "M-Q"}, "names 'Q'; it must be one of 'M'"),
        ("nemotron_h-0", {"moe_latent_size": 8}, "of nemotron_h models only None is supported"),
        ("falcon_h1-1", {"mamba_d_ssm": 60}, "must make up 60 channels ('mamba_d_ssm')"),
        ("granitemoehybrid-0", {"num_local_experts": 1}, "more than the 1 experts"),
    ],
)
def test_hybrids_that_cannot_be(name, change, words):
    with pytest.raises(BitlatheError) as caught:
        load_model({**SMALL[name]["config"], **change})
    assert words in str(caught.value)


def test_parts_side_by_side():
    """Falcon-H1: both mixers read the layer's input, the MLP what both leave."""
    model = load_model(SMALL["falcon_h1-0"]["config"])
    graph = model.graph()
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["gate_proj"] == {"out_proj", "o_proj"}
    assert into["in_proj"] == into["q_proj"] == set()
    adds = [s for s in model.vector_steps(model.staged("decode", 9)) if "add" in s.operations]
    assert {s.name: s.operations.count("add") for s in adds} == {
        "o_proj_residual": 2, "down_proj_residual": 1,
    }  # fmt: skip


def test_images_of_any_size():
    """Qwen2.5-VL: 448 x 448 pixels where no key says otherwise: 16 windows of 64 patches."""
    config = PUBLISHED["qwen2.5-vl-7b"]["config"]
    model = load_model(config)
    assert "images are taken as 448 x 448 pixels" in model.notes[-1]
    scores = [g for g in model.part("vision").gemms(batch=3) if g.name == "attention_qk_local"]
    assert [(g.m, g.n, g.k, g.batch, g.count) for g in scores] == [(64, 64, 80, 3 * 16 * 16, 28)]
    wide = {**config, "vision_config": {**config["vision_config"], "image_size": [280, 420]}}
    model = load_model(wide)
    assert not model.notes
    assert model.part("vision").image_tokens == 10 * 15
    scores = [g for g in model.part("vision").gemms() if g.name == "attention_qk_local"]
    # squares of 2 x 2 patches: 10 x 15 in windows of 4 x 4, so 2 + 1 by 3 + 1 of them
    assert {(g.m, g.batch // 16): g.count for g in scores} == {
        (64, 6): 28, (48, 2): 28, (32, 3): 28, (24, 1): 28,
    }  # fmt: skip


ALWAYS_BUT_FALSE = {(None, True), (None, False), (True, True), (True, False)}
OUTER, TEXT = {(True, True), (True, False)}, {(None, True), (True, True), (False, True)}
TIED_IN = {
    **dict.fromkeys(("gemma3", "mistral3", "paligemma"), ALWAYS_BUT_FALSE),
    **dict.fromkeys(("idefics3", "llava_next", "smolvlm", "qwen3_vl", "qwen3_vl_moe"), OUTER),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe"), OUTER),
    "llama4": TEXT,
    **dict.fromkeys(("llava", "qwen2_vl", "qwen2_5_vl"), TEXT | {(True, False)}),
}
"""In which classes the head is the embedding, by what the whole model and its text say (None: \
nothing): parameters counted as those of towers.json."""


@pytest.mark.parametrize("kind", TIED_IN)
def test_whose_word_ties_the_head(kind):
    config = TOWERS[f"{kind}-0"]["config"]
    tied = set()
    for outer in (None, True, False):
        for text in (True, False):
            own = {**config, "text_config": {**config["text_config"], "tie_word_embeddings": text}}
            model = load_model(own if outer is None else {**own, "tie_word_embeddings": outer})
            tied |= {(outer, text)} if model.shape.tied else set()
    assert tied == TIED_IN[kind]


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("glm4v-0", "vision_config", {"model_type": []}, "'model_type' is []"),
        ("qwen2_5_omni_thinker-0", "audio_config", {"encoder_layers": 10**9}, "at most"),
        ("gemma4-0", "vision_config", {"num_hidden_layers": 10**9}, "at most"),
        ("qwen3_omni_moe_thinker-0", "audio_config", {"frames": 50}, "a multiple of 'n_window_inf"),
        ("gemma4_unified-0", "vision_config", {"output_proj_dims": 9}, "only 24 is read"),
        ("llama4-0", "vision_config", {"pixel_shuffle_ratio": float("nan")}, "must be a share"),
        ("lfm2_vl-0", "vision_config", {"image_size": 20}, "'downsample_factor' is 2, whose squ"),
    ],
)
def test_values_that_no_tower_can_have(name, place, value, words):
    config = TOWERS[name]["config"]
    with pytest.raises(BitlatheError) as caught:
        load_model({**config, place: {**config[place], **value}})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
