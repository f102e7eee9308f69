"""Keys of a config.json that decide what a model is, as Hugging Face's classes take them.

Windows, defaults and heads are those of transformers 5.24; each was compared once with the
classes themselves (660 configurations with windows, 136 with parameter totals).
"""

import json

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model
from bitlathe.workloads.transformer import Attention, Experts, Mlp

DENSE = {
    "hidden_size": 64,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}
MIXED = {**DENSE, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
FULL, SLIDING = "full_attention", "sliding_attention"


def model_of(folder, model_type, base=DENSE, **keys):
    merged = {"model_type": model_type, **base, **keys}
    (folder / "mine.json").write_text(json.dumps(merged, indent=1))
    return load_model(folder / "mine.json")


def kv_heads_of(model):
    (heads,) = {part.kv_heads for part, _ in model.shape.parts() if isinstance(part, Attention)}
    return heads


def windows(model):
    """Layers by window, as decode at a long context shows them: None reads all of it."""
    scores = (g for g in model.gemms("decode", 100_000) if g.kind == "attention_qk")
    return {None if g.n == 100_000 else g.n: g.count for g in scores}


HALF = [SLIDING, FULL] * 16
WINDOWS = [
    # a class without the key attends to everything
    ("llama", {"sliding_window": 4096}, {None: 32}),
    ("gemma", {"sliding_window": 4096}, {None: 32}),
    # no key: 4096 in MistralConfig, none in MixtralConfig and Phi3Config
    ("mistral", {}, {4096: 32}),
    ("mistral", {"sliding_window": None}, {None: 32}),
    ("mistral", {"sliding_window": 8, "layer_types": HALF}, {8: 32}),
    ("mixtral", {"num_local_experts": 4}, {None: 32}),
    ("mixtral", {"num_local_experts": 4, "sliding_window": 8}, {8: 32}),
    ("phi3", {}, {None: 32}),
    ("phi3", {"sliding_window": 2047}, {2047: 32}),
    # max_window_layers is 28 where it is left out; the window 4096
    ("qwen2", {"use_sliding_window": True, "sliding_window": 4096}, {None: 28, 4096: 4}),
    ("qwen2", {"use_sliding_window": True}, {None: 28, 4096: 4}),
    ("qwen3", {"use_sliding_window": True, "max_window_layers": 0}, {4096: 32}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": None}, {None: 32}),
    ("qwen2", {"sliding_window": 8, "max_window_layers": 2}, {None: 32}),
    # without the flag, layer_types name a window that is None
    ("qwen2", {"use_sliding_window": False, "sliding_window": 8, "layer_types": HALF}, {None: 32}),
    ("qwen2", {"use_sliding_window": True, "layer_types": HALF}, {None: 16, 4096: 16}),
    # Qwen2MoeConfig: even layers below max_window_layers
    ("qwen2_moe", {"use_sliding_window": True, "sliding_window": 8}, {None: 18, 8: 14}),
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 8}, {8: 32}),
    # each second layer is full in Gemma 2, each sixth in Gemma 3: 5 of 32
    ("gemma2", {}, {None: 16, 4096: 16}),
    ("gemma2", {"sliding_window_pattern": 4}, {None: 16, 4096: 16}),
    ("gemma3_text", {}, {None: 5, 4096: 27}),
    ("gemma3_text", {"sliding_window": 8, "sliding_window_pattern": 4}, {None: 8, 8: 24}),
]


@pytest.mark.parametrize(("family", "keys", "expected"), WINDOWS)
def test_windows_are_those_of_the_class(tmp_path, family, keys, expected):
    base = {**MIXED, "num_experts": 4} if family in ("qwen2_moe", "qwen3_moe") else DENSE
    base = {**base, "num_experts_per_tok": 2} if family == "mixtral" else base
    assert windows(model_of(tmp_path, family, base, **keys)) == expected


@pytest.mark.parametrize(
    ("family", "kv_heads"), [("mistral", 8), ("mixtral", 8), ("llama", 32), ("gemma2", 4)]
)
def test_key_value_heads_where_the_key_is_left_out(tmp_path, family, kv_heads):
    base = {key: value for key, value in DENSE.items() if key != "num_key_value_heads"}
    base |= {"num_local_experts": 4, "num_experts_per_tok": 2} if family == "mixtral" else {}
    assert kv_heads_of(model_of(tmp_path, family, base)) == kv_heads
    assert kv_heads_of(model_of(tmp_path, family, base, num_key_value_heads=None)) == 32


def test_a_default_that_does_not_fit_is_named(tmp_path):
    base = {key: value for key, value in DENSE.items() if key != "num_key_value_heads"}
    with pytest.raises(BitlatheError, match="is 8 by the class's default, which does not divide"):
        model_of(tmp_path, "mistral", {**base, "num_attention_heads": 4})


@pytest.mark.parametrize("key", ["num_experts", "num_local_experts"])
@pytest.mark.parametrize("family", ["qwen2_moe", "qwen3_moe", "mixtral"])
def test_the_number_of_experts_has_two_names(tmp_path, family, key):
    """Qwen3MoeConfig reads the one and writes the other (transformers 5)."""
    base = {**DENSE, "num_experts_per_tok": 2} if family == "mixtral" else MIXED
    assert model_of(tmp_path, family, base, **{key: 6}).shape.only(Experts).total == 6
    with pytest.raises(BitlatheError, match=f"more than the 1 experts of '{key}'"):
        model_of(tmp_path, family, base, **{key: 1})


def test_qk_layernorm_of_phi(tmp_path):
    """Two norms of head_dim 80 with scale and shift in each of 32 layers: 10,240."""
    base = {**DENSE, "hidden_size": 2560}
    plain, normed = (
        model_of(tmp_path, "phi", base, qk_layernorm=flag).parameter_count for flag in (False, True)
    )
    assert normed - plain == 2 * 2 * 80 * 32 == 10_240


@pytest.mark.parametrize(
    ("family", "keys", "activation"),
    [
        ("llama", {}, "silu"),
        ("llama", {"hidden_act": "gelu_pytorch_tanh"}, "gelu"),
        ("gemma", {"hidden_activation": None, "hidden_act": "quick_gelu"}, "gelu"),
        ("opt", {"ffn_dim": 96, "max_position_embeddings": 64}, "relu"),
        ("phi", {"hidden_act": "relu2"}, "relu2"),
    ],
)
def test_activations_have_one_name(tmp_path, family, keys, activation):
    assert model_of(tmp_path, family, **keys).shape.only(Mlp).activation == activation


def test_an_unknown_activation_is_named(tmp_path):
    with pytest.raises(BitlatheError, match=r"mine\.json:\d+:2: 'hidden_act' is 'xyz'; known"):
        model_of(tmp_path, "llama", hidden_act="xyz")


@pytest.mark.parametrize("activation", [["relu"], {"relu": 1}, 3])
def test_an_activation_that_is_no_name_is_named(tmp_path, activation):
    with pytest.raises(BitlatheError, match=r"'hidden_act' is .* known are the GELUs and"):
        model_of(tmp_path, "llama", hidden_act=activation)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"model_type": "llama", **DENSE}, "num_hidden_layers"),
        ({"_class_name": "FluxTransformer2DModel"}, "num_single_layers"),
        ({"_class_name": "DiTTransformer2DModel"}, "num_layers"),
        ({"model_type": "gemma3n_text", **DENSE}, "altup_num_inputs"),
    ],
)
def test_more_layers_than_can_be_told_are_refused(config, key):
    with pytest.raises(BitlatheError, match=rf"'{key}' is 1099511627776; at most 100000 are"):
        load_model({**config, key: 2**40})


@pytest.mark.parametrize(
    ("family", "keys", "turned"),
    [
        ("llama", {"head_dim": 96}, 96),
        ("phi", {}, 32),
        ("phi", {"partial_rotary_factor": 0.25}, 16),
        ("phi", {"rope_parameters": {"partial_rotary_factor": 0.75}}, 48),
        ("bert", {"max_position_embeddings": 64}, 0),
    ],
)
def test_the_share_of_a_head_that_is_turned(tmp_path, family, keys, turned):
    base = {**DENSE, "hidden_size": 2048}
    assert model_of(tmp_path, family, base, **keys).shape.only(Attention).rotary_dim == turned


def test_qkv_bias_of_qwen2_moe(tmp_path):
    plain, biased = (
        model_of(tmp_path, "qwen2_moe", MIXED, num_experts=4, qkv_bias=flag).parameter_count
        for flag in (False, True)
    )
    assert biased - plain == 32 * 3 * 64


VIT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}


@pytest.mark.parametrize(
    ("image", "patch", "patches", "inputs"),
    [([224, 224], 16, 14 * 14, 768), ([32, 64], [8, 16], 4 * 4, 3 * 8 * 16)],
)
def test_an_image_may_be_given_by_its_sides(tmp_path, image, patch, patches, inputs):
    model = model_of(tmp_path, "vit", VIT, image_size=image, patch_size=patch)
    embedding = model.gemms(batch=3)[0]
    assert (embedding.m, embedding.k, embedding.sequences) == (3 * patches, inputs, 3)
    assert model.context_of() == patches + 1


@pytest.mark.parametrize("sides", [[224], [224, "a"], [0, 224], [224, 220]])
def test_sides_that_are_none(tmp_path, sides):
    with pytest.raises(BitlatheError, match=r"mine\.json:.*image_size"):
        model_of(tmp_path, "vit", VIT, image_size=sides)


BERT_LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "vocab_size": 30522, "max_position_embeddings": 512,
    "type_vocab_size": 2,
}  # fmt: skip


def macs(gemms):
    return sum(gemm.macs * gemm.count for gemm in gemms)


def test_bert_for_masked_words_has_a_head_for_every_token(tmp_path):
    """BertForMaskedLM: 335,174,458 parameters (transformers), 512 (1024^2 + 30522 x 1024) MACs."""
    masked = model_of(tmp_path, "bert", BERT_LARGE, architectures=["BertForMaskedLM"])
    plain = model_of(tmp_path, "bert", BERT_LARGE, architectures=["BertModel"])
    assert (masked.parameter_count, plain.parameter_count) == (335_174_458, 335_141_888)
    body = macs(g for g in plain.gemms(context=512) if g.name != "pooler")
    assert macs(masked.gemms(context=512)) - body == 512 * (1024**2 + 30522 * 1024)
    assert "pooler" not in {g.name for g in masked.gemms()}
    flow = {a.name: b.name for a, b in masked.graph().edges if b.name.startswith("mlm_")}
    assert flow == {"output": "mlm_transform", "mlm_transform": "mlm_decoder"}


@pytest.mark.parametrize(
    ("family", "architecture", "heads"),
    [
        ("llama", "LlamaForCausalLM", [("lm_head", 60, 100)]),
        ("llama", "LlamaModel", []),
        ("llama", "LlamaForSequenceClassification", [("score", 3, 5)]),
        ("llama", "LlamaForTokenClassification", [("score", 60, 5)]),
        ("bert", "BertForPreTraining", [
            ("pooler", 3, 64), ("mlm_transform", 60, 64), ("mlm_decoder", 60, 100),
            ("seq_relationship", 3, 2),
        ]),
        ("bert", "BertForSequenceClassification", [("pooler", 3, 64), ("classifier", 3, 5)]),
        ("bert", "BertForTokenClassification", [("classifier", 60, 5)]),
        ("bert", "BertForQuestionAnswering", [("qa_outputs", 60, 5)]),
        ("vit", "ViTModel", [("pooler", 3, 64)]),
        ("vit", "ViTForImageClassification", [("classifier", 3, 5)]),
    ],
)  # fmt: skip
def test_heads_follow_the_class_of_the_file(tmp_path, family, architecture, heads):
    labels = {str(i): str(i) for i in range(5)}
    base = VIT if family == "vit" else DENSE
    model = model_of(tmp_path, family, base, architectures=[architecture], id2label=labels)
    assert not [note for note in model.notes if "architectures" in note]
    context = None if family == "vit" else 20
    found = [(g.name, g.m, g.n) for g in model.gemms(context=context, batch=3)]
    last = "output" if family != "llama" else "down_proj"
    assert found[[name for name, _, _ in found].index(last) + 1 :] == heads


def test_two_labels_where_a_class_is_named_without_them(tmp_path):
    model = model_of(tmp_path, "vit", VIT, architectures=["ViTForImageClassification"])
    assert model.gemms()[-1].n == 2


def test_an_unknown_head_is_noted(tmp_path):
    model = model_of(tmp_path, "bert", BERT_LARGE, architectures=["BertForWriting"])
    assert len(model.notes) == 1
    assert "'BertForWriting'" in model.notes[0]
    assert model.gemms()[-1].name == "pooler"


@pytest.mark.parametrize(
    ("family", "keys", "words"),
    [
        ("llama", {"sliding_window": 8}, "'sliding_window' is ignored"),
        ("llama", {"layer_types": HALF}, "'layer_types' is ignored"),
        ("mistral", {"attention_bias": True}, "'attention_bias' is ignored"),
        ("vit", {"head_dim": 32}, "'head_dim' is ignored"),
        (
            "llama",
            {"quantization_config": {"quant_method": "mxfp4"}},
            "(mxfp4): weights are stored as mxfp4",
        ),
    ],
)
def test_what_a_model_does_not_use_is_noted(tmp_path, family, keys, words):
    base = VIT if family == "vit" else DENSE
    plain, noted = model_of(tmp_path, family, base), model_of(tmp_path, family, base, **keys)
    assert plain.notes == ()
    assert len(noted.notes) == 1
    assert words in noted.notes[0]
    assert noted.gemms() == plain.gemms()
    assert noted.parameter_count == plain.parameter_count


@pytest.mark.parametrize(
    "keys",
    [
        {"sliding_window": None, "attention_bias": False, "layer_types": [FULL] * 32},
        {"max_position_embeddings": 9, "rope_theta": 1e4, "torch_dtype": "float16", "x": 1},
        {"num_local_experts": 0, "is_encoder_decoder": False},
    ],
)
def test_what_says_nothing_is_not_noted(tmp_path, keys):
    assert model_of(tmp_path, "llama", **keys).notes == ()


@pytest.mark.parametrize(
    ("family", "keys"),
    [  # as transformers 5 writes them
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
        ("gemma3_text", {"_sliding_window_pattern": 6, "layer_types": HALF}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 0}),
    ],
)
def test_files_of_the_library_itself_are_read_without_a_word(tmp_path, family, keys):
    assert model_of(tmp_path, family, **keys).notes == ()


def test_a_prompt_of_paligemma_may_attend_both_ways(tmp_path):
    text = {"model_type": "gemma", **DENSE, "use_bidirectional_attention": True}
    assert model_of(tmp_path, "paligemma", {}, text_config=text).family == "gemma"


@pytest.mark.parametrize(
    ("family", "old", "new", "near"),
    [
        ("llama", "num_key_value_heads", "num_key_value_head", "num_key_value_heads"),
        ("llama", None, "tie_word_embedings", "tie_word_embeddings"),
        ("llama", None, "head_dims", "head_dim"),
        ("mistral", None, "sliding_windows", "sliding_window"),
        ("qwen2", None, "max_window_layer", "max_window_layers"),
    ],
)
def test_a_mistyped_key_is_an_error(tmp_path, family, old, new, near):
    base = {key: value for key, value in DENSE.items() if key != old}
    with pytest.raises(BitlatheError) as caught:
        model_of(tmp_path, family, base, **{new: 4})
    line = len(base) + 3
    assert f"mine.json:{line}:2: unknown key {new!r}. Is it meant to be {near!r}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("family", "key", "value", "words"),
    [
        ("llama", "num_local_experts", 8, "a mixture of experts"),
        ("llama", "kv_lora_rank", 512, "latent attention"),
        ("qwen3", "full_attention_interval", 4, "layers other than attention"),
        ("llama", "num_kv_heads", 4, "another name than 'num_key_value_heads'"),
        ("gpt2", "add_cross_attention", True, "another part"),
        ("bert", "is_decoder", True, "a decoder"),
        ("gemma3_text", "use_bidirectional_attention", True, "both ways"),
        ("qwen2", "layer_types", ["linear_attention"] * 32, "'linear_attention'; only"),
    ],
)
def test_a_key_of_another_structure_is_an_error(tmp_path, family, key, value, words):
    base = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 9, "vocab_size": 9}
    with pytest.raises(BitlatheError) as caught:
        model_of(tmp_path, family, base if family == "gpt2" else DENSE, **{key: value})
    assert f"{key!r}" in str(caught.value)
    assert words in str(caught.value)
    assert "mine.json:" in str(caught.value)


def test_a_decoder_may_say_that_it_is_one(tmp_path):
    assert model_of(tmp_path, "llama", is_decoder=True).notes == ()


TEXT = {"model_type": "gemma3_text", **DENSE}


def test_what_is_left_out_of_a_multimodal_model_is_named(tmp_path):
    vision = {"model_type": "swin", "hidden_size": 1152}
    model = model_of(tmp_path, "gemma3", {}, text_config=TEXT, vision_config=vision)
    (note,) = model.notes
    assert "gemma3" in note
    assert "'text_config'" in note
    assert "vision_config (swin)" in note
    assert load_model("gemma-3-4b").notes  # its file does not say what it leaves out


def test_a_text_model_may_stand_under_another_key(tmp_path):
    model = model_of(tmp_path, "internvl_chat", {}, llm_config={"model_type": "qwen2", **DENSE})
    assert (model.family, len(model.notes)) == ("qwen2", 1)
    with pytest.raises(BitlatheError, match="required key 'llm_config' is missing"):
        model_of(tmp_path, "internvl_chat", {}, text_config=TEXT)


def test_an_unknown_model_around_a_text_model_is_refused(tmp_path):
    with pytest.raises(BitlatheError) as caught:
        model_of(tmp_path, "xlstm", {}, text_config={"model_type": "llama", **DENSE})
    assert "mine.json:2:2: model_type 'xlstm' is not supported" in str(caught.value)
    assert "give that object as a file of its own" in str(caught.value)


@pytest.mark.parametrize("name", ["xlstm", "swinv2", "llama5", "qwen4", "mistral2", "xlnet"])
def test_another_architecture_is_not_taken_for_a_typing_error(tmp_path, name):
    with pytest.raises(BitlatheError) as caught:
        model_of(tmp_path, name)
    assert "did you mean" not in str(caught.value)
    assert "Correct a misspelled name only" in str(caught.value)


def test_a_config_in_the_current_folder_has_the_folders_name(tmp_path, monkeypatch):
    folder = tmp_path / "my-llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **DENSE}))
    monkeypatch.chdir(folder)
    assert load_model("config.json").name == "my-llama"
    assert load_model(".").name == "my-llama"


def test_a_snapshot_of_the_hub_has_the_models_name(tmp_path):
    """A cache holds links: models--owner--name/snapshots/revision/config.json to a blob."""
    repository = tmp_path / "models--meta-llama--Llama-3.1-8B"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "12ab").write_text(json.dumps({"model_type": "llama", **DENSE}))
    snapshot = repository / "snapshots" / "d04e592bb4f6aa9c"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/12ab")
    assert load_model(snapshot).name == "Llama-3.1-8B"
    assert load_model(snapshot / "config.json").name == "Llama-3.1-8B"


def test_the_command_says_what_is_left_out():
    from click.testing import CliRunner

    from bitlathe.cli import main

    command = ["simulate", "--arch", "bitmod", "--model", "gemma-3-4b", "--context", "4",
               "--fidelity", "analytic", "--json"]  # fmt: skip
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert "Note: gemma-3-4b: of this gemma3 model only the text part" in result.stderr
    assert json.loads(result.stdout)["model"] == "gemma-3-4b"


@pytest.mark.parametrize(
    ("family", "keys", "words"),
    [
        ("llama", {"id2label": [1], "architectures": ["LlamaForSequenceClassification"]},
         "'id2label' is [1]; it must be an object of labels"),
        ("llama", {"quantization_config": [1]}, "'quantization_config' is [1]; it must be an"),
        ("qwen3_moe", {"mlp_only_layers": ["a"]}, "'mlp_only_layers' names 'a'"),
        ("zamba2", {}, "required key 'layers_block_type' is missing"),
        ("zamba2", {"layers_block_type": ["mamba", "x"] * 16}, "names 'x'; it must be one of"),
        ("zamba2", {"layer_types": ["hybrid"] * 32, "n_mamba_heads": 8,
                    "attention_hidden_size": 64}, "beside the words, 128 elements"),
        ("rwkv", {"attention_hidden_size": 0}, "'attention_hidden_size' is 0"),
        ("mimo_v2_flash", {}, "layers with a window have 64, which do not divide the 32 heads"),
        ("mimo_v2_flash", {"sliding_window_size": -1}, "'sliding_window_size' is -1"),
        ("opt", {"ffn_dim": 8, "_remove_final_layer_norm": True}, "only False is supported"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_named(tmp_path, family, keys, words):
    with pytest.raises(BitlatheError) as caught:
        model_of(tmp_path, family, **keys)
    assert words in str(caught.value)
    assert "mine.json:" in str(caught.value)


def test_a_null_is_not_missing(tmp_path):
    with pytest.raises(BitlatheError, match="'model_type' is None; it must be a string"):
        model_of(tmp_path, None)


def test_what_zamba2_and_rwkv_keep():
    """Blocks are stored once, keys and values kept by each layer; RWKV keeps five numbers."""
    shared = {
        "model_type": "zamba2", "hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 10,
        "num_attention_heads": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "n_mamba_heads": 8, "intermediate_size": 96, "adapter_rank": 8,
    }  # fmt: skip
    one, two = (load_model({**shared, "num_mem_blocks": n}) for n in (1, 2))
    block = 4 * 128 * 128 - 128 * 64 + 3 * 64 * 96 + 3 * 64
    assert two.parameter_count - one.parameter_count == block
    assert one.cache_elements(10) == 2 * 10 * 2 * 128
    assert [g.count for g in one.gemms("decode", 10) if g.name == "q_proj"] == [2]
    graph = one.graph()
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["down_proj"] == {"gate_up_proj", "gate_up_proj_adapter_right"}
    assert into["linear"] == {"down_proj"}
    keys = {"model_type": "rwkv", "hidden_size": 64, "num_hidden_layers": 3, "vocab_size": 10}
    model = load_model({**keys, "attention_hidden_size": 48})
    assert model.state_elements == 3 * (2 * 64 + 3 * 48)
    assert model.cache_elements(100) == 0
