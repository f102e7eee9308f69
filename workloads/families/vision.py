"""Families that read images, and the text models that stand beside them in pairs."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .encoders import VISION
from .facts import AttentionFacts, ImageKeys, Keys, MlpFacts
from .family import Family, sizes
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

_QWEN_IMAGE = ImageKeys(channels="in_channels", frames="temporal_patch_size", side=448)
_QWEN_SIZES = {"depth": 32, "num_heads": 16}
_QWEN_ATTENTION = AttentionFacts(
    projections=("qkv",),
    output="proj",
    kv_heads=None,
    head_dim=None,
    qkv_bias=True,
    output_bias=True,
)
_QWEN2_VL = Family(
    kind="vision",
    keys=Keys(
        hidden="embed_dim",
        layers=("depth", "num_hidden_layers"),
        heads=("num_heads", "num_attention_heads"),
        inner=None,
    ),
    attention=_QWEN_ATTENTION,
    mlp=replace(_MLP, ratio="mlp_ratio"),
    outputs=SIGLIP_VISION,
    norm="layer_norm",
    norm_vectors=2,
    final_norms=0,
    other_tokens=0,
    patch_bias=False,
    image_keys=_QWEN_IMAGE,
    plain=("in_chans", "spatial_patch_size", "hidden_size", "tokens_per_second", "embed_dim"),
    defaults={
        "in_channels": 3,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "mlp_ratio": 4,
        "embed_dim": 1280,
        "hidden_size": 3584,
    },
    sizes=_QWEN_SIZES,
)
_QWEN3_VL = replace(
    _QWEN2_VL,
    keys=replace(_QWEN2_VL.keys, hidden="hidden_size", inner="intermediate_size"),
    mlp=replace(_MLP, names=("linear_fc1", "linear_fc2")),
    patch_bias=True,
    image_keys=replace(_QWEN_IMAGE, positions="num_position_embeddings"),
    plain=("in_chans", "spatial_patch_size", "deepstack_visual_indexes"),
    defaults={
        "in_channels": 3,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "out_hidden_size": 3584,
        "num_position_embeddings": 2304,
    },
    sizes={"depth": 27, "num_heads": 16, "hidden_size": 1152, "intermediate_size": 4304},
)

_QWEN2_5_VL = replace(
    _QWEN3_VL,
    mlp=MlpFacts(bias=True),
    norm="rms_norm",
    norm_vectors=1,
    patch_bias=False,
    image_keys=replace(_QWEN_IMAGE, window="window_size", full="fullatt_block_indexes"),
    plain=("in_chans", "spatial_patch_size", "tokens_per_second"),
    defaults={
        "in_channels": 3,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "out_hidden_size": 3584,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    sizes={**_QWEN_SIZES, "hidden_size": 3584, "intermediate_size": 3420},
)
_INTERN = replace(
    _SEEN,
    attention=replace(
        _ATTENTION,
        output="projection_layer",
        qkv_bias=("attention_bias", False),
        qk_norm=("use_qk_norm", False),
        qk_norm_over="all",
        qk_norm_vectors=1,
    ),
    outputs=SIGLIP_VISION,
    norm_key="norm_type",
    final_norms=0,
    layer_scales=2,
    positions_learned=("use_absolute_position_embeddings", True),
    mask_token=("use_mask_token", False),
    only={"use_mean_pooling": True},
    defaults={"image_size": 448, "patch_size": 14, "num_channels": 3},
    sizes=sizes(1024, 24, 16, 4096, 0),
)

VISION_FAMILIES: Mapping[str, Family] = {
    "qwen2_vl_vision": _QWEN2_VL,
    "qwen2_5_vl_vision": _QWEN2_5_VL,
    **dict.fromkeys(
        ("glm4v_vision", "glm4v_moe_vision"),
        replace(
            _QWEN2_5_VL,
            keys=replace(_QWEN2_5_VL.keys, inner="out_hidden_size"),
            attention=replace(
                _QWEN_ATTENTION, qkv_bias=("attention_bias", False), output_bias=False
            ),
            mlp=MlpFacts(),
            embedding_norms=1,
            final_norms=1,
            patch_bias=True,
            positions_learned=True,
            image_keys=ImageKeys(channels="in_channels", frames="temporal_patch_size"),
            plain=(),
            defaults={
                "in_channels": 3,
                "image_size": 336,
                "patch_size": 14,
                "temporal_patch_size": 2,
                "spatial_merge_size": 2,
                "out_hidden_size": 4096,
                "intermediate_size": 13696,
            },
            sizes={"depth": 24, "num_heads": 12, "hidden_size": 1536},
        ),
    ),
    "qwen2_5_omni_vision_encoder": replace(
        _QWEN2_5_VL, attention=replace(_QWEN_ATTENTION, projections=("q", "k", "v"))
    ),
    "internvl_vision": _INTERN,
    "intern_vit_6b": replace(
        _INTERN, renamed={"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"}
    ),
    **dict.fromkeys(("qwen3_5_vision", "qwen3_5_moe_vision"), _QWEN3_VL),
    **dict.fromkeys(
        ("qwen3_vl_vision", "qwen3_vl_moe_vision", "qwen3_omni_moe_vision_encoder"),
        replace(
            _QWEN3_VL,
            defaults={**_QWEN3_VL.defaults, "deepstack_visual_indexes": [8, 16, 24]},
        ),
    ),
    "llama4_vision_model": replace(
        _SEEN,
        attention=replace(_ATTENTION, output="o_proj", rotary=Fraction(1)),
        outputs=SIGLIP_VISION,
        patch_bias=False,
        embedding_norms=1,
        plain=("multi_modal_projector_bias",),
        defaults={
            "image_size": 448,
            "patch_size": 14,
            "num_channels": 3,
            "pixel_shuffle_ratio": 0.5,
            "projector_input_dim": 4096,
            "projector_output_dim": 4096,
            "vision_output_dim": 7680,
        },
        sizes=sizes(768, 34, 16, 5632, 0),
    ),
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
    "siglip2_vision_model": replace(
        _SEEN,
        outputs=SIGLIP_VISION,
        other_tokens=0,
        pooling=("vision_use_head", True),
        image_keys=ImageKeys(positions="num_patches", side=256),
        plain=_CLIP_PLAIN,
        defaults={"patch_size": 16, "num_channels": 3, "num_patches": 256},
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
        attention=AttentionFacts(kv_heads=None, head_dim=None),
        mlp=MlpFacts(activation="gelu"),
        outputs=SIGLIP_VISION,
        other_tokens=0,
        patch_bias=False,
        embedding_norms=1,
        final_norms=0,
        plain=("head_dim",),
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
        whole_patches=False,
        layer_scales=2,
        defaults={**VISION.defaults, "patch_size": 14, "mlp_ratio": 4},
        sizes=sizes(768, 12, 12, 3072, 0),
    ),
}
