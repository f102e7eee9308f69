"""Families of Qwen: dense, mixtures, windows by a flag."""

from collections.abc import Mapping
from dataclasses import replace

from .family import AttentionFacts, ExpertFacts, Family, Window
from .llama import ATTENTION

_WINDOW = Window(
    flag="use_sliding_window", by_type=True, layers="from", count_key="max_window_layers", count=28
)
_NORMED = AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION, qk_norm=True)

QWEN: Mapping[str, Family] = {
    "qwen2": Family(
        attention=AttentionFacts(qkv_bias=True),
        window=_WINDOW,
        defaults={"num_key_value_heads": 32},
    ),
    "qwen2_moe": Family(
        attention=AttentionFacts(qkv_bias=("qkv_bias", True)),
        window=replace(_WINDOW, layers="even_below"),
        experts=ExpertFacts(shared_inner="shared_expert_intermediate_size"),
        defaults={"num_key_value_heads": 16, "shared_expert_intermediate_size": 5632},
    ),
    "qwen3": Family(
        attention=_NORMED,
        window=_WINDOW,
        defaults={"num_key_value_heads": 32, "head_dim": 128},
    ),
    "qwen3_moe": Family(
        attention=_NORMED,
        window=Window(flag="use_sliding_window"),
        experts=ExpertFacts(),
        defaults={"num_key_value_heads": 4},
    ),
}
