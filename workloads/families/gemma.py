"""Families of Gemma: tied heads, four norms in a layer, windows in most layers."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .facts import AttentionFacts, ExpertFacts, MlpFacts, Window
from .family import Family, sizes
from .llama import ATTENTION

_BOTH_WAYS = ("use_bidirectional_attention",)
_GELU = MlpFacts(activation="gelu", activation_keys=("hidden_activation", "hidden_act"))
_PLAIN = AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION)

_LAST_FULL = Window(types="layer_types", layers="but_each_and_last", count=6, default=512)
_FOUR = Family(
    attention=AttentionFacts(
        qkv_bias=ATTENTION,
        output_bias=ATTENTION,
        qk_norm=True,
        kept_key="num_kv_shared_layers",
        full_head_dim="global_head_dim",
        full_kv_heads="num_global_key_value_heads",
        full_rotary=Fraction(1, 4),
        full_keys_only=("attention_k_eq_v", False),
    ),
    mlp=replace(_GELU, doubled=("use_double_wide_mlp", False)),
    experts=ExpertFacts(active="top_k_experts", layers="beside", scaled=True),
    tied=True,
    norms=4,
    layer_inputs=True,
    window=_LAST_FULL,
    only={"use_bidirectional_attention": "vision"},
    plain=("per_layer_config",),
    defaults={
        "head_dim": 256,
        "num_key_value_heads": 4,
        "global_head_dim": 512,
        "hidden_size_per_layer_input": 256,
        "vocab_size_per_layer_input": 262_144,
    },
    sizes=sizes(2304, 30, 8, 9216, 262_144),
)

GEMMA: Mapping[str, Family] = {
    "gemma": Family(
        attention=_PLAIN,
        mlp=_GELU,
        tied=True,
        refused=_BOTH_WAYS,
        defaults={"head_dim": 256, "num_key_value_heads": 16},
    ),
    "gemma2": Family(
        attention=_PLAIN,
        mlp=_GELU,
        tied=True,
        norms=4,
        window=Window(types="layer_types", layers="but_each", count=2),
        refused=_BOTH_WAYS,
        defaults={"head_dim": 256, "num_key_value_heads": 4},
    ),
    "vaultgemma": Family(
        attention=_PLAIN,
        mlp=_GELU,
        tied=True,
        window=Window(types="layer_types", layers="but_each", count=2),
        defaults={"head_dim": 256, "num_key_value_heads": 4},
        sizes=sizes(2304, 26, 8, 9216, 256000),
    ),
    "gemma3_text": Family(
        attention=AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION, qk_norm=True),
        mlp=_GELU,
        tied=True,
        norms=4,
        window=Window(
            types="layer_types", layers="but_each", count_key="sliding_window_pattern", count=6
        ),
        refused=_BOTH_WAYS,
        plain=("_sliding_window_pattern",),
        defaults={
            "head_dim": 256,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 262208,
        },
    ),
    "gemma3n_text": Family(
        attention=AttentionFacts(
            qkv_bias=ATTENTION,
            output_bias=ATTENTION,
            qk_norm=True,
            kept_key="num_kv_shared_layers",
        ),
        mlp=replace(_GELU, listed=True),
        tied=True,
        norms=4,
        streams=True,
        layer_inputs=True,
        window=Window(types="layer_types", layers="but_each", count=5, default=512),
        defaults={
            "head_dim": 256,
            "num_key_value_heads": 2,
            "num_kv_shared_layers": 15,
            "altup_num_inputs": 4,
            "laurel_rank": 64,
            "hidden_size_per_layer_input": 256,
            "vocab_size_per_layer_input": 262_144,
        },
        sizes=sizes(2048, 35, 8, 16_384, 262_400),
    ),
    "gemma4_text": _FOUR,
    "gemma4_unified_text": replace(
        _FOUR,
        experts=None,
        layer_inputs=False,
        window=replace(_LAST_FULL, default=1024),
        defaults={"head_dim": 256, "num_key_value_heads": 4, "global_head_dim": 512},
    ),
}
