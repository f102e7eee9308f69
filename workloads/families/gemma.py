"""Families of Gemma: tied heads, four norms in a layer, windows in most layers."""

from collections.abc import Mapping

from .family import AttentionFacts, Family, MlpFacts, Window
from .llama import ATTENTION

_BOTH_WAYS = ("use_bidirectional_attention",)
_GELU = MlpFacts(activation="gelu", activation_keys=("hidden_activation", "hidden_act"))
_PLAIN = AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION)

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
}
