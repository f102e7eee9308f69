"""Random small configurations of a model class of transformers: sizes, flags and keys left out."""

from random import Random

HEADS = (2, 3, 4, 6)
SPECIAL_TOKENS = (
    "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id",
    "forced_eos_token_id", "sep_token_id", "cls_token_id",
)  # fmt: skip
FLAGS = """
    attention_bias mlp_bias use_bias qkv_bias bias use_qk_norm qk_layernorm use_qkv_bias
    attention_out_bias lm_head_bias multi_query new_decoder_architecture parallel_attn
    use_parallel_residual alibi do_layer_norm_before enable_bias layer_norm_elementwise_affine
    mamba_proj_bias use_conv_bias mamba_conv_bias conv_bias projectors_bias mamba_rms_norm norm_bias
    decoder_bias classifier_bias use_mask_token use_swiglu_ffn vision_use_head tie_word_embeddings
    attention_k_eq_v enable_moe_block use_double_wide_mlp relative_attention position_biased_input
    share_att_key add_swa_attention_sink_bias add_full_attention_sink_bias
    use_shared_attention_adapter use_mem_rope add_bias_linear use_post_norm
""".split()  # noqa: SIM905
ALWAYS = (
    "num_key_value_heads", "num_experts", "n_routed_experts", "num_local_experts",
    "moe_num_experts", "n_groups",
)  # fmt: skip
"""Keys that are never left out, as the class's own number is too large."""


def divisors(number: int, most: int) -> list[int]:
    return [d for d in range(1, most + 1) if number % d == 0]


def sizes_of(rng: Random) -> dict[str, object]:
    """Return sizes that a file must state, under all their names."""
    heads, head = rng.choice(HEADS), rng.choice([8, 16])
    hidden, depth, inner = heads * head, rng.randint(1, 6), rng.choice([24, 32, 40, 48])
    words = rng.randint(50, 200)
    few = rng.randint(1, 4)
    return {
        **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embed_dim"), hidden),
        "attention_hidden_size": hidden,
        **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), depth),
        **dict.fromkeys(("depth", "encoder_layers"), depth),
        **dict.fromkeys(("decoder_layers", "num_decoder_layers"), few),
        **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), heads),
        "encoder_attention_heads": heads,
        "decoder_attention_heads": rng.choice(divisors(hidden, 8)),
        **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "hidden_dim"), inner),
        "encoder_ffn_dim": inner,
        "decoder_ffn_dim": rng.choice([24, 56]),
        **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size"), words),
    }


def options_of(rng: Random, sizes: dict[str, object]) -> dict[str, object]:
    """Return sizes that a file may leave out, under all their names."""
    heads, depth, hidden = (sizes[k] for k in ("n_head", "n_layer", "n_embd"))
    assert isinstance(heads, int)
    assert isinstance(depth, int)
    experts, active = rng.choice([2, 4, 6]), rng.randint(1, 2)
    kv_heads = rng.choice(divisors(heads, heads))
    return {
        **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), kv_heads),
        "num_global_key_value_heads": kv_heads,
        **dict.fromkeys(("head_dim", "d_kv"), rng.choice([8, 16, 24])),
        "global_head_dim": rng.choice([8, 16]),
        "ffn_hidden_size": sizes["d_ff"],
        "n_inner": rng.choice([None, 40]),
        "num_ln_in_parallel_attn": rng.choice([None, 1, 2]),
        "rotary_dim": 8,
        "embedding_size": rng.choice([16, hidden]),
        "word_embed_proj_dim": rng.choice([16, hidden]),
        "num_hidden_groups": rng.randint(1, depth),
        "max_position_embeddings": rng.choice([64, 100]),
        **dict.fromkeys(("n_positions", "max_seq_len"), 64),
        "max_source_positions": 20,
        "max_target_positions": 30,
        "num_mel_bins": rng.choice([6, 8]),
        "type_vocab_size": rng.randint(1, 3),
        "relative_attention_num_buckets": rng.choice([8, 16]),
        "feed_forward_proj": rng.choice(["relu", "gated-gelu", "gated-silu"]),
        **dict.fromkeys(
            ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), experts
        ),
        **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_k"), active),
        "top_k_experts": active,
        **experts_of(rng, depth),
        **windows_of(rng, depth),
        **states_of(rng),
        **latents_of(rng),
        **image_of(rng),
    }


def experts_of(rng: Random, depth: int) -> dict[str, object]:
    return {
        "moe_intermediate_size": rng.choice([16, 24]),
        "n_shared_experts": rng.randint(1, 3),
        "num_shared_experts": rng.randint(1, 2),
        "moe_num_shared_experts": rng.randint(0, 2),
        **dict.fromkeys(
            (
                *("shared_expert_intermediate_size", "shared_intermediate_size"),
                "moe_shared_expert_intermediate_size",
            ),
            rng.choice([16, 40]),
        ),
        "intermediate_size_mlp": rng.choice([16, 56]),
        **dict.fromkeys(("first_k_dense_replace", "num_dense_layers"), rng.randint(0, depth)),
        "decoder_sparse_step": rng.randint(1, 3),
        "mlp_only_layers": rng.choice([[], [0]]),
        "interleave_moe_layer_step": rng.randint(1, 3),
        "moe_layer_start_index": rng.randint(0, 1),
        "moe_layer_end_index": depth - 1,
        "moe_layer_interval": rng.randint(1, 2),
        "expert_layer_period": 2,
        "expert_layer_offset": rng.randint(0, 1),
        **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    }


def windows_of(rng: Random, depth: int) -> dict[str, object]:
    return {
        "sliding_window": rng.choice([3, 8, 30, None]),
        "attention_chunk_size": rng.randint(3, 30),
        "window_size": rng.choice([3, 8, 30]),
        "local_attention": rng.choice([4, 8, 30]),
        "max_window_layers": rng.randint(0, depth),
        "use_sliding_window": rng.random() < 0.6,
        "sliding_window_pattern": rng.randint(1, 5),
        "num_kv_shared_layers": rng.randint(0, max(0, depth - 1)),
    }


def states_of(rng: Random) -> dict[str, object]:
    return {
        "attn_layer_period": rng.choice([2, 3]),
        "attn_layer_offset": rng.randint(0, 1),
        "full_attention_interval": rng.randint(1, 4),
        "linear_conv_kernel_dim": rng.randint(2, 4),
        **dict.fromkeys(("linear_key_head_dim", "linear_head_dim"), 8),
        "linear_value_head_dim": rng.choice([8, 16]),
        "linear_num_key_heads": 2,
        **dict.fromkeys(("linear_num_value_heads", "linear_num_heads"), rng.choice([2, 4])),
        **dict.fromkeys(("expand", "mamba_expand"), rng.choice([1, 2])),
        **dict.fromkeys(("conv_kernel", "mamba_d_conv", "conv_L_cache"), rng.randint(2, 4)),
        **dict.fromkeys(("state_size", "mamba_d_state"), rng.choice([4, 8])),
        "ssm_state_size": 8,
        "time_step_rank": rng.choice([4, 8]),
        "mamba_dt_rank": rng.choice([4, "auto"]),
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "mamba_n_groups": 1,
        "n_groups": rng.choice([1, 2]),
        **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 8),
        "block_multiple_of": rng.choice([8, 16]),
        "block_auto_adjust_ff_dim": rng.random() < 0.5,
        "hidden_size_per_layer_input": rng.choice([8, 16]),
        "altup_num_inputs": rng.choice([2, 4]),
        "laurel_rank": 8,
    }


def latents_of(rng: Random) -> dict[str, object]:
    return {
        "kv_lora_rank": rng.choice([8, 16]),
        "q_lora_rank": rng.choice([8, 16]),
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": rng.choice([8, 16]),
        "v_head_dim": rng.choice([8, 16]),
        "index_topk": rng.randint(2, 30),
        "index_head_dim": 16,
        "index_n_heads": rng.choice([1, 2]),
    }


def image_of(rng: Random) -> dict[str, object]:
    return {
        "image_size": rng.choice([32, 48]),
        "patch_size": rng.choice([8, 16]),
        "num_channels": rng.choice([1, 3]),
        "mlp_ratio": rng.choice([2, 4]),
        **dict.fromkeys(("projection_dim", "projection_size"), 24),
    }


def draw(kind: str, known: dict[str, object], rng: Random) -> dict[str, object]:
    """Draw the keys of a file, of those that a class knows with its values for them.

    Parameters
    ----------
    kind : str
        The ``model_type``.
    known : dict
        Keys of the class, with their values where a file leaves them out.
    rng : random.Random
    """
    sizes = sizes_of(rng)
    drawn = {key: value for key, value in sizes.items() if key in known}
    for key, value in options_of(rng, sizes).items():
        if key in known and (key in ALWAYS or rng.random() < 0.85):
            drawn[key] = value
    for key in FLAGS:
        if key in known and rng.random() < 0.7:
            drawn[key] = rng.random() < 0.5
    depth = sizes["n_layer"]
    assert isinstance(depth, int)
    for key in ("layer_types", "mlp_layer_types", "layers_block_type"):
        kinds = known.get(key)
        if isinstance(kinds, list) and (key == "layers_block_type" or rng.random() < 0.5):
            drawn[key] = [rng.choice(kinds) for _ in range(depth)]
    if "no_rope_layers" in known and rng.random() < 0.5:
        drawn["no_rope_layers"] = [rng.randint(0, 1) for _ in range(depth)]
    for key in ("hidden_act", "hidden_activation", "activation_function", "activation"):
        if key in known and rng.random() < 0.3:
            drawn[key] = rng.choice(["silu", "gelu", "relu"])
    for key in SPECIAL_TOKENS:
        if key in known:
            drawn[key] = int(key != "pad_token_id")
    fit(drawn, known, rng)
    return {**drawn, **OF_KIND[kind](drawn, sizes, rng)} if kind in OF_KIND else drawn


def fit(drawn: dict[str, object], known: dict[str, object], rng: Random) -> None:
    """Make sizes fit that depend on each other, where one of them is the class's own."""
    actives = ("num_experts_per_tok", "num_experts_per_token", "moe_k")
    for total in ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"):
        for active in actives:
            own = known.get(active)
            if total in drawn and active not in drawn and isinstance(own, int):
                drawn[total] = own + rng.choice([0, 2])
    pair = ("linear_num_key_heads", "linear_num_value_heads")
    if set(pair) <= known.keys():
        keys, values = (drawn.get(key, known[key]) for key in pair)
        assert isinstance(keys, int)
        assert isinstance(values, int)
        if values % keys:
            drawn |= dict(zip(pair, (2, 4), strict=True))


def _state_heads(drawn, sizes, rng):
    wide = drawn.setdefault("mamba_expand", 2) * sizes["hidden_size"]
    return {"mamba_n_heads": wide // 8, "mamba_d_head": 8, "mamba_d_ssm": wide}


def _mamba2(drawn, sizes, rng):
    heads = 2 * sizes["hidden_size"] // 8
    return {"expand": 2, "num_heads": heads, "head_dim": 8, "n_groups": rng.choice([1, 2])}


def _gpt_neo(drawn, sizes, rng):
    each = rng.randint(1, 3)
    return {"num_layers": 2 * each, "attention_types": [[["global", "local"], each]]}


def _gptj(drawn, sizes, rng):
    return {"rotary_dim": 8, "n_embd": 16 * sizes["n_head"]}


def _olmo_hybrid(drawn, sizes, rng):
    types = [rng.choice(["linear_attention", "full_attention"]) for _ in range(sizes["n_layer"])]
    return {
        "linear_key_head_dim": 8, "linear_value_head_dim": 16, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "layer_types": [*types[1:], "full_attention"],
    }  # fmt: skip


def _lfm2_moe(drawn, sizes, rng):
    return {
        "layer_types": [rng.choice(["conv", "full_attention"]) for _ in range(sizes["n_layer"])]
    }


def _internlm3(drawn, sizes, rng):
    return dict.fromkeys(("attention_bias", "mlp_bias"), rng.random() < 0.5)


def _mimo(drawn, sizes, rng):
    return {"num_attention_heads": rng.choice([2, 4, 6]), "num_key_value_heads": 1}


def _zamba2(drawn, sizes, rng):
    wide = drawn.setdefault("mamba_expand", 2) * sizes["hidden_size"]
    kinds = [rng.choice(["linear_attention", "hybrid"]) for _ in range(sizes["n_layer"])]
    own = {
        "layers_block_type": kinds,
        "n_mamba_heads": wide // 8,
        "num_mem_blocks": rng.randint(1, 2),
    }
    own |= {"tie_word_embeddings": True}
    own["attention_hidden_size"] = 2 * sizes["hidden_size"]
    if drawn.get("use_shared_attention_adapter"):
        own["num_key_value_heads"] = sizes["n_head"]
    return {**own, "adapter_rank": rng.choice([4, 8])}


def _deepseek_v4(drawn, sizes, rng):
    fast, slow = "compressed_sparse_attention", "heavily_compressed_attention"
    heads, near = sizes["n_head"], rng.choice([3, 8, 30])
    kinds = [rng.choice([fast, slow, "sliding_attention"]) for _ in range(sizes["n_layer"])]
    own = {"layer_types": kinds} if rng.random() < 0.7 else {}
    return {
        **own,
        "sliding_window": near,
        "o_groups": rng.choice(divisors(heads, heads)),
        "o_lora_rank": rng.choice([8, 12]),
        "q_lora_rank": rng.choice([8, 12]),
        "compress_rates": {fast: rng.randint(2, 4), slow: rng.randint(3, 8)},
        "hc_mult": rng.randint(2, 4),
    }


def _deepseek_v2(drawn, sizes, rng):
    return {"num_experts_per_tok": rng.randint(1, 2), "q_lora_rank": rng.choice([None, 8])}


def _dots1(drawn, sizes, rng):
    return {"num_experts_per_tok": rng.randint(1, 2), "n_shared_experts": rng.randint(1, 3)}


def _hunyuan_moe(drawn, sizes, rng):
    return {
        "moe_topk": [rng.randint(1, 2)] * sizes["n_layer"],
        "head_dim": rng.choice([8, 16]),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }


def _helium(drawn, sizes, rng):
    return {"head_dim": sizes["hidden_size"] // sizes["n_head"]}


def _hyperclovax(drawn, sizes, rng):
    return {"head_dim": None}


def _minimax(drawn, sizes, rng):
    kinds = ["full_attention", "linear_attention"]
    listed = {"layer_types": [rng.choice(kinds) for _ in range(sizes["n_layer"])]}
    return {"block_size": rng.choice([4, 16]), **(listed if rng.random() < 0.5 else {})}


def _longcat(drawn, sizes, rng):
    return {
        "num_layers": rng.randint(1, 3),
        "ffn_hidden_size": rng.choice([24, 40]),
        "expert_ffn_hidden_size": rng.choice([16, 24]),
        "moe_topk": rng.randint(1, 2),
        "head_dim": 8,
        "qk_rope_head_dim": 8,
        "zero_expert_num": 0,  # the class holds matrices for these that no token reads
    }


def _cohere2_moe(drawn, sizes, rng):
    return {
        "first_k_dense_replace": rng.randint(0, sizes["n_layer"]),
        "prefix_dense_sliding_window_pattern": rng.randint(1, 3),
        "prefix_dense_intermediate_size": rng.choice([None, 24, 56]),
        "sliding_window": rng.choice([3, 8, 30]),
    }


def _apertus(drawn, sizes, rng):
    return {
        "tie_word_embeddings": False,
        "output_vocab_size": rng.choice([None, 40, sizes["vocab_size"]]),
    }


def _mellum(drawn, sizes, rng):
    return {"sliding_window": rng.choice([3, 8, 30])}


OF_KIND = {
    "dots1": _dots1,
    "hunyuan_v1_moe": _hunyuan_moe,
    "helium": _helium,
    "hyperclovax": _hyperclovax,
    "mellum": _mellum,
    "minimax": _minimax,
    "longcat_flash": _longcat,
    "cohere2_moe": _cohere2_moe,
    "apertus1p5_text": _apertus,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v4": _deepseek_v4,
    "zamba2": _zamba2,
    "mimo_v2_flash": _mimo,
    "bamba": _state_heads,
    "granitemoehybrid": _state_heads,
    "falcon_h1": _state_heads,
    "mamba2": _mamba2,
    "gpt_neo": _gpt_neo,
    "gptj": _gptj,
    "olmo_hybrid": _olmo_hybrid,
    "lfm2_moe": _lfm2_moe,
    "internlm3": _internlm3,
}
"""What sizes of single classes must have to do with each other."""
