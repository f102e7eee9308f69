"""Families that read their whole input at once: text encoders and vision transformers."""

from collections.abc import Mapping

from .family import AttentionFacts, Family, MlpFacts
from .outputs import BERT, VIT

_MLP = MlpFacts(names=("intermediate", "output"), gated=False, bias=True, activation="gelu")

ENCODERS: Mapping[str, Family] = {
    "bert": Family(
        kind="encoder",
        attention=AttentionFacts(
            projections=("query", "key", "value"),
            output="dense",
            kv_heads=None,
            head_dim=None,
            rotary=None,
            qkv_bias=True,
            output_bias=True,
        ),
        mlp=_MLP,
        outputs=BERT,
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        final_norms=0,
        embedding_norms=1,
        positions_learned=True,
        token_types=True,
        refused=("is_decoder",),
        defaults={"type_vocab_size": 2},
    ),
    "vit": Family(
        kind="vision",
        attention=AttentionFacts(
            projections=("query", "key", "value"),
            output="dense",
            kv_heads=None,
            head_dim=None,
            rotary=None,
            qkv_bias=("qkv_bias", True),
            output_bias=True,
        ),
        mlp=_MLP,
        outputs=VIT,
        norm="layer_norm",
        norm_vectors=2,
        positions_learned=True,
        defaults={"image_size": 224, "patch_size": 16, "num_channels": 3},
    ),
}
