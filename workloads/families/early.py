"""Families of decoders ahead of Llama: learned positions, layer norms, MLPs of two matrices."""

from collections.abc import Mapping
from fractions import Fraction

from .family import AttentionFacts, Family, Keys, MlpFacts
from .outputs import BIASED_DECODER

_ENABLED = ("enable_bias", True)
_FUNCTION = ("activation_function",)

EARLY: Mapping[str, Family] = {
    "opt": Family(
        keys=Keys(inner="ffn_dim"),
        attention=AttentionFacts(
            output="out_proj",
            grouped=False,
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
    ),
    "gpt2": Family(
        keys=Keys(
            hidden="n_embd",
            layers="n_layer",
            heads="n_head",
            inner="n_inner",
            positions="n_positions",
        ),
        attention=AttentionFacts(
            projections=("c_attn",),
            output="c_proj",
            grouped=False,
            rotary=None,
            qkv_bias=True,
            output_bias=True,
        ),
        mlp=MlpFacts(
            names=("c_fc", "mlp_c_proj"),
            gated=False,
            bias=True,
            factor=4,
            activation="gelu",
            activation_keys=_FUNCTION,
        ),
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        positions_learned=True,
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
}
