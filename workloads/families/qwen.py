"""Families of Qwen: dense, mixtures, windows by a flag."""

from collections.abc import Mapping
from dataclasses import replace

from .facts import AttentionFacts, ExpertFacts, Window
from .family import Family, sizes
from .llama import ATTENTION

_WINDOW = Window(
    flag="use_sliding_window",
    types="layer_types",
    layers="from",
    count_key="max_window_layers",
    count=28,
)
_VL_WINDOW = replace(_WINDOW, default=None, count=80)
_NORMED = AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION, qk_norm=True)

QWEN: Mapping[str, Family] = {
    "qwen2": Family(
        attention=AttentionFacts(qkv_bias=True),
        window=_WINDOW,
        defaults={"num_key_value_heads": 32},
        sizes=sizes(4096, 32, 32, 22016, 151936),
    ),
    **dict.fromkeys(
        ("qwen2_vl_text", "qwen2_5_vl_text"),
        Family(
            attention=AttentionFacts(qkv_bias=True, head_dim=None),
            window=_VL_WINDOW,
            defaults={"num_key_value_heads": 8},
            sizes=sizes(8192, 80, 64, 29568, 152064),
        ),
    ),
    "qwen2_5_omni_text": Family(
        attention=AttentionFacts(qkv_bias=True, head_dim=None),
        window=replace(_WINDOW, default=32768),
        defaults={"num_key_value_heads": 4},
        sizes=sizes(3584, 28, 28, 18944, 152064),
    ),
    "qwen2_moe": Family(
        attention=AttentionFacts(qkv_bias=("qkv_bias", True)),
        window=replace(_WINDOW, layers="even_below"),
        experts=ExpertFacts(
            layers="stepped", shared_inner="shared_expert_intermediate_size", shared_gate=True
        ),
        defaults={
            "num_key_value_heads": 16,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
        },
    ),
    "qwen3": Family(
        attention=_NORMED,
        window=_WINDOW,
        defaults={"num_key_value_heads": 32, "head_dim": 128},
        sizes=sizes(4096, 32, 32, 22016, 151936),
    ),
    "qwen3_vl_text": Family(
        attention=_NORMED,
        defaults={"num_key_value_heads": 32, "head_dim": 128},
        sizes=sizes(4096, 32, 32, 22016, 151936),
    ),
    "qwen3_vl_moe_text": Family(
        attention=_NORMED,
        experts=ExpertFacts(layers="stepped"),
        defaults={
            "num_key_value_heads": 16,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
        },
        sizes=sizes(2048, 24, 16, 5632, 151936),
    ),
    "qwen3_omni_moe_text": Family(
        attention=replace(_NORMED, uneven=True),
        experts=ExpertFacts(layers="stepped"),
        plain=("sliding_window",),
        defaults={
            "num_key_value_heads": 4,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
        },
        sizes=sizes(2048, 28, 28, 18944, 3584),
    ),
    "qwen3_moe": Family(
        attention=_NORMED,
        window=Window(flag="use_sliding_window"),
        experts=ExpertFacts(layers="stepped"),
        defaults={
            "num_key_value_heads": 4,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
        },
    ),
}
