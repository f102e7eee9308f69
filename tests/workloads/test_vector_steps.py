"""What stands between products: elements and traffic of models, by hand."""

import pytest

from bitlathe.workloads import load_model
from bitlathe.workloads.vector_step import OPERATIONS


def _steps(model, *how, **more):
    network = load_model(model)
    return {step.name: step for step in network.vector_steps(network.staged(*how, **more))}


def test_a_llama_layer_by_hand():
    """32 layers of 4,096, 32 heads of 128, an MLP of 11,008; 2 sequences of 10 tokens."""
    steps = _steps("llama-2-7b", "prefill", 10, 2)
    tokens = 20
    assert {name: step.count for name, step in steps.items()} == {
        "embedding": 1, "rotary": 32, "kv_cache": 32, "softmax": 32, "o_proj_residual": 32,
        "o_proj_norm": 32, "activation": 32, "down_proj_residual": 32, "down_proj_norm": 32,
        "final_norm": 1,
    }  # fmt: skip
    assert steps["rotary"].elements == tokens * 2 * 4096
    assert steps["kv_cache"].elements == tokens * 2 * 4096
    softmax = steps["softmax"]
    assert (softmax.rows, softmax.elements) == (tokens * 32, tokens * 32 * 10)
    assert softmax.pieces == 2 * 32
    assert [each.elements for each in (*softmax.reads, *softmax.writes)] == [6400, 6400]
    activation = steps["activation"]
    assert activation.operations == ("silu", "multiply")
    assert activation.elements == activation.reads[0].elements == tokens * 11008
    assert steps["o_proj_norm"].operations == ("rms_norm",)
    assert steps["o_proj_norm"].elements == steps["o_proj_residual"].elements == tokens * 4096


def test_masks_windows_and_heads_of_decode():
    causal = _steps("llama-2-7b", "prefill", 10, 2, causal=True)["softmax"]
    assert causal.elements == 2 * 32 * (10 * 11 // 2)
    decode = _steps("llama-3.1-8b", "decode", 100, 3)
    assert decode["softmax"].elements == 3 * 32 * 100
    assert decode["kv_cache"].elements == 3 * 2 * 8 * 128
    gemma = _steps("gemma-3-1b", "decode", 2000, 1)
    assert gemma["softmax_local"].elements == 4 * 512
    assert gemma["softmax"].elements == 4 * 2000


def test_final_norm_is_of_the_tokens_that_the_head_takes():
    assert _steps("llama-2-7b", "prefill", 10, 2, logits="last")["final_norm"].rows == 2
    assert _steps("llama-2-7b", "prefill", 10, 2, logits="all")["final_norm"].rows == 20


def test_norms_of_other_families():
    gemma = _steps("gemma-3-1b", "prefill", 8)
    assert gemma["o_proj_norms"].operations == ("add", "rms_norm", "rms_norm")
    assert gemma["qk_norm"].elements == 8 * (4 + 1) * 256
    phi = _steps("phi-2", "prefill", 8)
    assert [name for name in phi if "residual" in name or name.endswith("_norm")] == [
        "fc2_residual", "fc2_norm", "final_norm",
    ]  # fmt: skip
    assert phi["fc2_residual"].operations == ("add", "add")
    assert phi["rotary"].elements == 8 * 2 * 32 * 32  # 0.4 of a head of 80
    gpt2 = _steps("gpt2", "prefill", 8)
    assert "rotary" not in gpt2
    assert gpt2["activation"].operations == ("gelu",)
    assert gpt2["c_proj_norm"].operations == ("layer_norm",)


def test_experts_work_on_their_visits():
    steps = _steps("mixtral-8x7b", "prefill", 10)
    assert steps["expert_activation"].elements == 20 * 14336
    assert steps["experts_sum"].elements == 20 * 4096
    assert steps["router_softmax"].elements == 10 * 8


def test_a_convolution_network_by_hand():
    steps = _steps("resnet-18", batch=2)
    assert steps["conv1.relu"].elements == 2 * 64 * 112 * 112
    assert steps["conv1.relu"].streams
    pool = steps["maxpool"]
    assert pool.elements == 2 * 64 * 56 * 56 * 9
    assert (pool.reads[0].elements, pool.writes[0].elements) == (2 * 802816, 2 * 200704)
    assert steps["layer1.0.add"].operations == ("add", "relu")
    assert steps["layer1.0.add"].count == 2  # layer1.1 is alike
    assert steps["avgpool"].elements == 2 * 512 * 7 * 7


@pytest.mark.parametrize("model", ["resnet-18", "mobilenet-v2", "llama-2-7b", "qwen3-30b-a3b"])
def test_steps_stand_behind_products_that_run(model):
    network = load_model(model)
    staged = network.staged()
    names = {gemm.name for gemm in network.products(staged)}
    for step in network.vector_steps(staged):
        assert set(step.after) <= names
        assert set(step.operations) <= set(OPERATIONS)


def test_latent_attention_by_hand():
    """Heads of 16 on latents of 32 + 8: expanded in prefill, absorbed in decode."""
    config = {
        "model_type": "deepseek_v3", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "kv_lora_rank": 32, "q_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "v_head_dim": 16, "vocab_size": 100, "first_k_dense_replace": 2, "n_routed_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
        "n_group": 1, "topk_group": 1,
    }  # fmt: skip
    for how, queries, seen in ((("prefill", 10, 3), 10, 10), (("decode", 50, 3), 1, 50)):
        steps = _steps(config, *how)
        tokens = 3 * queries
        assert steps["softmax"].elements == 4 * tokens * seen
        assert steps["softmax"].rows == 4 * tokens
        assert steps["rotary"].elements == tokens * (4 + 1) * 8
        assert steps["latent_norm"].elements == tokens * 32
        assert steps["query_latent_norm"].elements == tokens * 24
        assert steps["kv_cache"].elements == tokens * 40
    assert steps["softmax"].pieces == 3  # absorbed: all heads of a sequence meet its latents


def test_an_encoder_and_its_decoder():
    """Whisper: 20 heads, 1500 tokens of sound, 5 of text; 32 layers each."""
    whisper = {
        "model_type": "whisper", "d_model": 1280, "encoder_layers": 32, "decoder_layers": 32,
        "encoder_attention_heads": 20, "decoder_attention_heads": 20, "encoder_ffn_dim": 5120,
        "decoder_ffn_dim": 5120, "vocab_size": 51866, "num_mel_bins": 128,
    }  # fmt: skip
    steps = _steps(whisper, "prefill", 5)
    assert steps["softmax_encoder"].elements == 20 * 1500**2
    assert steps["softmax_cross"].elements == 20 * 5 * 1500
    assert steps["softmax"].elements == 20 * 5**2
    assert "softmax_encoder" not in _steps(whisper, "decode", 5)


@pytest.mark.parametrize("name", ["llama-2-7b", "qwen3-8b", "gemma-3-1b", "gpt2", "deepseek"])
def test_norms_read_all_that_they_hold(name):
    """Whatever is neither a matrix, a bias nor an embedding: the scales and shifts of norms."""
    model = load_model(DEEPSEEK if name == "deepseek" else name)
    steps, shape = model.vector_steps(model.staged("decode", 9)), model.shape
    biases = sum(
        (matrix.parameters - matrix.elements) * count * layers
        for part, layers in shape.stored_parts()
        for matrix, count in part.matrices()
    )
    tables = sum(table.elements for table in shape.tables)
    head = 0 if shape.tied else shape.heads[0].matrix.parameters
    left = model.parameter_count - biases - tables - head
    left -= sum(
        matrix.elements * count * layers
        for part, layers in shape.stored_parts()
        for matrix, count in part.matrices()
    )
    assert sum(step.learned * step.count for step in steps) == left > 0


DEEPSEEK = {
    "model_type": "deepseek_v2", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 50,
    "num_attention_heads": 2, "intermediate_size": 40, "first_k_dense_replace": 2,
}  # fmt: skip
