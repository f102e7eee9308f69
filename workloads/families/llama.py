"""Families of the shape of Llama: RMS norms, gated MLPs, grouped heads; its mixtures too."""

from collections.abc import Mapping

from .family import AttentionFacts, ExpertFacts, Family, MlpFacts, Window

ATTENTION = ("attention_bias", False)
"""The rule of many classes: ``attention_bias``, false where it is left out."""

LLAMA: Mapping[str, Family] = {
    "llama": Family(
        attention=AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION),
        mlp=MlpFacts(bias=("mlp_bias", False)),
    ),
    "mistral": Family(window=Window(), defaults={"num_key_value_heads": 8}),
    "mixtral": Family(
        window=Window(default=None),
        experts=ExpertFacts(
            total="num_local_experts",
            other_total="num_experts",
            inner="intermediate_size",
            stepped=False,
        ),
        defaults={"num_key_value_heads": 8},
    ),
    "phi3": Family(
        attention=AttentionFacts(projections=("qkv_proj",), rotary_key="partial_rotary_factor"),
        mlp=MlpFacts(names=("gate_up_proj", "down_proj")),
        window=Window(default=None),
    ),
}
