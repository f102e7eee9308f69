"""Families that read images, and the text models that stand beside them in pairs."""

from collections.abc import Mapping
from dataclasses import replace

from .encoders import VISION
from .family import AttentionFacts, Family, MlpFacts, sizes
from .outputs import CLIP_TEXT, CLIP_VISION, DINO, SIGLIP_TEXT, SIGLIP_VISION

_ATTENTION = AttentionFacts(
    output="out_proj",
    kv_heads=None,
    head_dim=None,
    rotary=None,
    qkv_bias=True,
    output_bias=True,
)
_MLP = MlpFacts(names=("fc1", "fc2"), gated=False, bias=True, activation="gelu")
_SEEN = replace(VISION, attention=_ATTENTION, mlp=_MLP, whole_patches=False)
_READ = Family(
    kind="encoder",
    attention=_ATTENTION,
    mlp=_MLP,
    norm="layer_norm",
    norm_vectors=2,
    positions_learned=True,
    plain=("projection_dim",),
)
_CLIP_PLAIN = ("projection_dim", "vocab_size", "max_position_embeddings", "text_config_dict")

VISION_FAMILIES: Mapping[str, Family] = {
    "clip_vision_model": replace(
        _SEEN,
        outputs=CLIP_VISION,
        patch_bias=False,
        embedding_norms=1,
        plain=_CLIP_PLAIN,
        defaults={**VISION.defaults, "patch_size": 32, "projection_dim": 512},
        sizes=sizes(768, 12, 12, 3072, 0),
    ),
    "clip_text_model": replace(
        _READ,
        outputs=CLIP_TEXT,
        defaults={"max_position_embeddings": 77, "projection_dim": 512},
        sizes=sizes(512, 12, 8, 2048, 49408),
    ),
    "siglip_vision_model": replace(
        _SEEN,
        outputs=SIGLIP_VISION,
        other_tokens=0,
        pooling=("vision_use_head", True),
        plain=_CLIP_PLAIN,
        sizes=sizes(768, 12, 12, 3072, 0),
    ),
    **dict.fromkeys(
        ("smolvlm_vision", "idefics3_vision"),
        replace(
            _SEEN,
            outputs=SIGLIP_VISION,
            other_tokens=0,
            plain=(*_CLIP_PLAIN, "max_image_size", "size"),
            defaults={**VISION.defaults, "patch_size": 32},
            sizes=sizes(1152, 12, 16, 3072, 0),
        ),
    ),
    "pixtral": Family(
        kind="vision",
        attention=AttentionFacts(kv_heads=None),
        mlp=MlpFacts(activation="gelu"),
        outputs=SIGLIP_VISION,
        other_tokens=0,
        patch_bias=False,
        embedding_norms=1,
        final_norms=0,
        defaults={"image_size": 1024, "patch_size": 16, "num_channels": 3},
        sizes=sizes(1024, 24, 16, 4096, 0),
    ),
    "siglip_text_model": replace(
        _READ,
        outputs=SIGLIP_TEXT,
        defaults={"max_position_embeddings": 64},
        sizes=sizes(768, 12, 12, 3072, 32000),
    ),
    "dinov2": replace(
        VISION,
        attention=replace(
            _ATTENTION, output="o_proj", qkv_bias=("qkv_bias", True), output_bias=True
        ),
        mlp=replace(_MLP, ratio="mlp_ratio", gated_flag="use_swiglu_ffn"),
        outputs=DINO,
        mask_token=("use_mask_token", True),
        layer_scales=2,
        defaults={**VISION.defaults, "patch_size": 14, "mlp_ratio": 4},
        sizes=sizes(768, 12, 12, 3072, 0),
    ),
}
