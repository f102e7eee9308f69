"""Families of decoders ahead of Llama: layer norms, MLPs of two matrices, biases."""

from collections.abc import Mapping
from fractions import Fraction

from .facts import AttentionFacts, Keys, MlpFacts, Window
from .family import Family
from .outputs import BIASED_DECODER

_ENABLED = ("enable_bias", True)
_FUNCTION = ("activation_function",)
_GPT_KEYS = Keys(
    hidden=("n_embd", "hidden_size"),
    layers=("n_layer", "num_hidden_layers"),
    heads=("n_head", "num_attention_heads"),
    inner="n_inner",
    positions=("n_positions", "max_position_embeddings"),
)
_GPT_MLP = MlpFacts(
    names=("c_fc", "mlp_c_proj"),
    gated=False,
    bias=True,
    factor=4,
    activation="gelu",
    activation_keys=_FUNCTION,
)
_GPT_POSITIONS = {"n_positions": 1024}
_FOUR_H = ("dense_h_to_4h", "dense_4h_to_h")

_GPT2 = Family(
    keys=_GPT_KEYS,
    attention=AttentionFacts(
        projections=("c_attn",),
        output="c_proj",
        kv_heads=None,
        head_dim=None,
        rotary=None,
        qkv_bias=True,
        output_bias=True,
    ),
    mlp=_GPT_MLP,
    tied=True,
    norm="layer_norm",
    norm_vectors=2,
    positions_learned=True,
    defaults=_GPT_POSITIONS,
)

EARLY: Mapping[str, Family] = {
    "opt": Family(
        keys=Keys(inner="ffn_dim"),
        attention=AttentionFacts(
            output="out_proj",
            kv_heads=None,
            head_dim=None,
            rotary=None,
            qkv_bias=_ENABLED,
            output_bias=_ENABLED,
        ),
        mlp=MlpFacts(
            names=("fc1", "fc2"),
            gated=False,
            bias=_ENABLED,
            activation="relu",
            activation_keys=_FUNCTION,
        ),
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        positions_learned=True,
        position_offset=2,
        narrow_embedding="word_embed_proj_dim",
        narrow_head=True,
        final_norm=("do_layer_norm_before", True),
        norm_scaled=("layer_norm_elementwise_affine", True),
        only={"_remove_final_layer_norm": False},
        defaults={"max_position_embeddings": 2048},
    ),
    "gpt2": _GPT2,
    "gpt-sw3": _GPT2,
    "gpt_bigcode": Family(
        keys=_GPT_KEYS,
        attention=AttentionFacts(
            projections=("c_attn",),
            output="c_proj",
            kv_heads=None,
            head_dim=None,
            one_kv_head=("multi_query", True),
            rotary=None,
            qkv_bias=True,
            output_bias=True,
        ),
        mlp=_GPT_MLP,
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        positions_learned=True,
        plain=("num_key_value_heads",),
        defaults=_GPT_POSITIONS,
    ),
    "gpt_neo": Family(
        keys=Keys(
            layers=("num_layers", "num_hidden_layers"), heads=("num_heads", "num_attention_heads")
        ),
        attention=AttentionFacts(
            output="out_proj", kv_heads=None, head_dim=None, rotary=None, output_bias=True
        ),
        mlp=MlpFacts(
            names=("c_fc", "c_proj"),
            gated=False,
            bias=True,
            factor=4,
            activation="gelu",
            activation_keys=_FUNCTION,
        ),
        window=Window(key="window_size", default=256, types="attention_types"),
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        positions_learned=True,
        plain=("attention_layers",),
        defaults={
            "attention_types": [[["global", "local"], 12]],
            "max_position_embeddings": 2048,
        },
    ),
    "gptj": Family(
        keys=_GPT_KEYS,
        attention=AttentionFacts(
            output="out_proj",
            kv_heads=None,
            head_dim=None,
            rotary_key="rotary_dim",
        ),
        mlp=MlpFacts(
            names=("fc_in", "fc_out"),
            gated=False,
            bias=True,
            factor=4,
            activation="gelu",
            activation_keys=_FUNCTION,
        ),
        outputs=BIASED_DECODER,
        norms=1,
        norm="layer_norm",
        norm_vectors=2,
        parallel=True,
        defaults={"rotary_dim": 64},
    ),
    "gpt_neox": Family(
        attention=AttentionFacts(
            projections=("query_key_value",),
            output="dense",
            kv_heads=None,
            head_dim=None,
            rotary=Fraction(1, 4),
            rotary_key="rotary_pct",
            qkv_bias=("attention_bias", True),
            output_bias=("attention_bias", True),
        ),
        mlp=MlpFacts(names=_FOUR_H, gated=False, bias=True, activation="gelu"),
        norm="layer_norm",
        norm_vectors=2,
        parallel=("use_parallel_residual", True),
    ),
    "falcon": Family(
        keys=Keys(
            hidden=("hidden_size", "n_embed"),
            layers=("num_hidden_layers", "n_layer"),
            heads=("num_attention_heads", "n_head"),
            inner="ffn_hidden_size",
        ),
        attention=AttentionFacts(
            projections=("query_key_value",),
            output="dense",
            kv_heads="num_kv_heads",
            head_dim=None,
            one_kv_head=("multi_query", True),
            many_kv_heads=("new_decoder_architecture", False),
            alibi=("alibi", False),
            qkv_bias=("bias", False),
            output_bias=("bias", False),
        ),
        mlp=MlpFacts(
            names=_FOUR_H,
            gated=False,
            bias=("bias", False),
            factor=4,
            activation="gelu",
            activation_keys=("activation",),
        ),
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        parallel=("parallel_attn", True),
        parallel_norms=1,
        parallel_norms_key="num_ln_in_parallel_attn",
        two_parallel_norms=("new_decoder_architecture", False),
    ),
    "bloom": Family(
        keys=Keys(
            hidden=("hidden_size", "n_embed"),
            layers=("n_layer", "num_hidden_layers"),
            heads=("n_head", "num_attention_heads"),
            inner=None,
        ),
        attention=AttentionFacts(
            projections=("query_key_value",),
            output="dense",
            kv_heads=None,
            head_dim=None,
            rotary=None,
            qkv_bias=True,
            output_bias=True,
        ),
        mlp=MlpFacts(names=_FOUR_H, gated=False, bias=True, factor=4, activation="gelu"),
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        embedding_norms=1,
    ),
    "mpt": Family(
        keys=Keys(
            hidden=("d_model", "hidden_size"),
            layers=("n_layers", "num_hidden_layers"),
            heads=("n_heads", "num_attention_heads"),
            inner=None,
        ),
        attention=AttentionFacts(
            projections=("Wqkv",), output="out_proj", kv_heads=None, head_dim=None, rotary=None
        ),
        mlp=MlpFacts(
            names=("up_proj", "down_proj"),
            gated=False,
            factor=4,
            activation="gelu",
            activation_keys=(),
        ),
        tied=True,
        norm="layer_norm",
    ),
    "phi": Family(
        attention=AttentionFacts(
            output="dense",
            rotary=Fraction(1, 2),
            rotary_key="partial_rotary_factor",
            qkv_bias=True,
            output_bias=True,
            qk_norm=("qk_layernorm", False),
        ),
        mlp=MlpFacts(names=("fc1", "fc2"), gated=False, bias=True, activation="gelu"),
        outputs=BIASED_DECODER,
        norms=1,
        norm="layer_norm",
        norm_vectors=2,
        parallel=True,
    ),
    "starcoder2": Family(
        attention=AttentionFacts(qkv_bias=("use_bias", True), output_bias=("use_bias", True)),
        mlp=MlpFacts(
            names=("c_fc", "c_proj"), gated=False, bias=("use_bias", True), activation="gelu"
        ),
        window=Window(default=None),
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        defaults={"num_key_value_heads": 2},
    ),
    "stablelm": Family(
        attention=AttentionFacts(
            head_dim=None,
            rotary=Fraction(1, 4),
            rotary_key="partial_rotary_factor",
            qkv_bias=("use_qkv_bias", False),
            qk_norm=("qk_layernorm", False),
            qk_norm_over="each",
            qk_norm_vectors=1,
        ),
        norm="layer_norm",
        norm_vectors=2,
        parallel=("use_parallel_residual", False),
        parallel_norms=1,
        defaults={"num_key_value_heads": 32},
    ),
}
