"""Families that read their whole input at once: text encoders and vision transformers."""

from collections.abc import Mapping
from dataclasses import replace

from .facts import AttentionFacts, Keys, MlpFacts, Window
from .family import Family, sizes
from .outputs import ALBERT, BERT, DEBERTA, DEIT, DISTILBERT, MODERNBERT, ROBERTA, VIT

_MLP = MlpFacts(names=("intermediate", "output"), gated=False, bias=True, activation="gelu")
_ATTENTION = AttentionFacts(
    projections=("query", "key", "value"),
    output="dense",
    kv_heads=None,
    head_dim=None,
    rotary=None,
    qkv_bias=True,
    output_bias=True,
)
_BERT = Family(
    kind="encoder",
    attention=_ATTENTION,
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
    defaults={"type_vocab_size": 2, "max_position_embeddings": 512},
    sizes=sizes(768, 12, 12, 3072, 30522),
)
_ROBERTA = replace(
    _BERT, outputs=ROBERTA, positions_unused=2, sizes=sizes(768, 12, 12, 3072, 50265)
)
VISION = Family(
    kind="vision",
    attention=replace(_ATTENTION, qkv_bias=("qkv_bias", True)),
    mlp=_MLP,
    outputs=VIT,
    norm="layer_norm",
    norm_vectors=2,
    positions_learned=True,
    defaults={"image_size": 224, "patch_size": 16, "num_channels": 3},
)
"""The family of the Vision Transformer (arXiv:2010.11929)."""

ENCODERS: Mapping[str, Family] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    **dict.fromkeys(("xlm-roberta", "camembert"), replace(_ROBERTA, sizes=_BERT.sizes)),
    "distilbert": Family(
        kind="encoder",
        keys=Keys(
            hidden=("dim", "hidden_size"),
            layers=("n_layers", "num_hidden_layers"),
            heads=("n_heads", "num_attention_heads"),
            inner="hidden_dim",
        ),
        attention=replace(_ATTENTION, projections=("q_lin", "k_lin", "v_lin"), output="out_lin"),
        mlp=MlpFacts(
            names=("lin1", "lin2"),
            gated=False,
            bias=True,
            activation="gelu",
            activation_keys=("activation",),
        ),
        outputs=DISTILBERT,
        tied=True,
        norm="layer_norm",
        norm_vectors=2,
        final_norms=0,
        embedding_norms=1,
        positions_learned=True,
        defaults={"max_position_embeddings": 512},
    ),
    "albert": replace(
        _BERT,
        outputs=ALBERT,
        narrow_embedding="embedding_size",
        narrow_bias=True,
        narrow_always=True,
        groups_key="num_hidden_groups",
        defaults={
            **_BERT.defaults,
            "embedding_size": 128,
            "num_hidden_groups": 1,
        },
        only={"inner_group_num": 1},
        sizes=sizes(4096, 12, 64, 16384, 30000),
    ),
    "deberta-v2": replace(
        _BERT,
        attention=replace(
            _ATTENTION,
            projections=("query_proj", "key_proj", "value_proj"),
            disentangled=True,
        ),
        outputs=DEBERTA,
        positions_learned=("position_biased_input", True),
        only={"conv_kernel_size": 0},
        plain=("pooler_hidden_size", "attention_head_size", "legacy"),
        defaults={"type_vocab_size": 0, "max_position_embeddings": 512},
        sizes=sizes(1536, 24, 24, 6144, 128100),
    ),
    "modernbert": Family(
        kind="encoder",
        attention=AttentionFacts(
            projections=("Wqkv",),
            output="Wo",
            kv_heads=None,
            head_dim=None,
            qkv_bias=("attention_bias", False),
            output_bias=("attention_bias", False),
        ),
        mlp=MlpFacts(
            names=("Wi", "mlp_Wo"),
            bias=("mlp_bias", False),
            activation="gelu",
            activation_keys=("hidden_activation",),
        ),
        window=Window(
            key="local_attention",
            default=128,
            both_ways=True,
            types="layer_types",
            layers="behind_each",
            count_key="global_attn_every_n_layers",
            count=3,
        ),
        outputs=MODERNBERT,
        tied=True,
        first_norms=1,
        embedding_norms=1,
        norm="layer_norm",
        norm_shift=("norm_bias", False),
        sizes=sizes(768, 22, 12, 1152, 50368),
    ),
    "vit": VISION,
    "deit": replace(VISION, outputs=DEIT, other_tokens=2),
}
