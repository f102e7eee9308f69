"""Write what classes of transformers make of an image and of a sound on their way to the text.

Gemma 3n, Gemma 4, Qwen2-Audio, Voxtral, Qwen2.5-Omni, Qwen3-Omni; images of InternVL,
LLaVA-OneVision, GLM-4V and LFM2-VL.

Needs transformers 5.24, timm 1.0 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.sounds [TYPE ...]
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    Gemma3nConfig,
    Gemma3nForConditionalGeneration,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vMoeConfig,
    Glm4vMoeForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    Lfm2VlConfig,
    Lfm2VlForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
)

from .images import write

TEXT = {
    "model_type": "gemma3n_text", "hidden_size": 32, "num_hidden_layers": 5, "vocab_size": 400,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48, "head_dim": 16,
    "num_kv_shared_layers": 0, "laurel_rank": 8, "vocab_size_per_layer_input": 300,
    "hidden_size_per_layer_input": 16,
    "layer_types": [*["sliding_attention"] * 4, "full_attention"],
    "activation_sparsity_pattern": [0.0] * 5,
}  # fmt: skip
CONFIGS = {
    "gemma3n-0": {"text_config": TEXT, "vision_config": {}, "audio_config": {}},
    "gemma3n-1": {
        "text_config": {**TEXT, "hidden_size": 48},
        "vision_config": {"vocab_size": 10, "vocab_offset": 300},
        "audio_config": {
            "hidden_size": 48, "conf_num_attention_heads": 4, "conf_num_hidden_layers": 2,
            "input_feat_size": 20, "vocab_size": 7, "vocab_offset": 310, "frames": 402,
            "conf_attention_chunk_size": 5, "conf_attention_context_left": 4,
            "conf_attention_context_right": 2, "conf_conv_kernel_size": 3,
            "conf_reduction_factor": 3, "sscp_conv_channel_size": [6, 4],
            "sscp_conv_kernel_size": [[3, 3], [5, 3]], "sscp_conv_stride_size": [[2, 2], [2, 1]],
        },
    },
}  # fmt: skip


TEXT_4 = {
    "model_type": "gemma4_text", "hidden_size": 32, "num_hidden_layers": 6, "vocab_size": 400,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48, "head_dim": 16,
    "global_head_dim": 16, "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 300,
    "hidden_size_per_layer_input": 16,
}  # fmt: skip
CONFIGS_4 = {
    "gemma4-0": {"text_config": TEXT_4, "vision_config": {}, "audio_config": {}},
    "gemma4-1": {
        "text_config": TEXT_4,
        "vision_config": {
            "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 40, "patch_size": 8,
            "pooling_kernel_size": 2, "position_embedding_size": 50, "image_size": 96,
        },
        "audio_config": {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "frames": 200,
            "subsampling_conv_channels": [16, 6], "conv_kernel_size": 3, "output_proj_dims": 20,
            "attention_chunk_size": 5, "attention_context_left": 4, "attention_context_right": 2,
        },
    },
}  # fmt: skip


TEXT_QWEN = {
    "model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 48, "vocab_size": 60,
}  # fmt: skip
CONFIGS_QWEN = {
    "qwen2_audio-0": {"text_config": TEXT_QWEN, "audio_config": {}},
    "qwen2_audio-1": {
        "text_config": TEXT_QWEN,
        "audio_config": {
            "num_mel_bins": 8, "encoder_layers": 3, "encoder_attention_heads": 4, "d_model": 24,
            "encoder_ffn_dim": 56, "max_source_positions": 30, "activation_function": "relu",
        },
    },
}  # fmt: skip


CONFIGS_VOXTRAL = {
    "voxtral-0": {"text_config": {}, "audio_config": {}},
    "voxtral-1": {
        "text_config": {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8,
            "num_key_value_heads": 2, "intermediate_size": 48, "vocab_size": 60,
        },
        "audio_config": {
            "num_mel_bins": 8, "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 24,
            "intermediate_size": 72, "max_source_positions": 30,
        },
    },
}  # fmt: skip
TEXT_OMNI = {**TEXT_QWEN, "model_type": "qwen2_5_omni_text"}
CONFIGS_OMNI = {
    "qwen2_5_omni_thinker-0": {
        "text_config": TEXT_OMNI,
        "vision_config": {
            "model_type": "qwen2_5_omni_vision_encoder", "depth": 3, "hidden_size": 32,
            "num_heads": 2, "intermediate_size": 40, "patch_size": 4, "out_hidden_size": 32,
            "window_size": 16, "image_size": [48, 40], "fullatt_block_indexes": [1],
        },
        "audio_config": {
            "num_mel_bins": 8, "encoder_layers": 2, "encoder_attention_heads": 4, "d_model": 24,
            "encoder_ffn_dim": 56, "max_source_positions": 30, "n_window": 6, "output_dim": 32,
            "frames": 48,
        },
    },
    "qwen2_5_omni_thinker-1": {
        "text_config": {"hidden_size": 3584, "num_hidden_layers": 1, "vocab_size": 60},
        "vision_config": {"depth": 1},
        "audio_config": {"encoder_layers": 1},
    },
}  # fmt: skip
EYE = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3,
    "image_size": 24, "patch_size": 6,
}  # fmt: skip
CONFIGS_INTERN = {
    "internvl-0": {"text_config": TEXT_QWEN, "vision_config": EYE},
    "internvl-1": {
        "text_config": TEXT_QWEN, "downsample_ratio": 0.25,
        "vision_config": {
            **EYE, "model_type": "internvl_vision", "norm_type": "rms_norm", "use_qk_norm": True,
            "attention_bias": True, "use_mask_token": True, "image_size": [24, 24],
        },
    },
}  # fmt: skip
CONFIGS_CHAT = {
    "internvl_chat-0": {
        "llm_config": {**TEXT_QWEN, "tie_word_embeddings": False},
        "vision_config": {
            **EYE, "model_type": "intern_vit_6b", "norm_type": "rms_norm", "qkv_bias": True,
            "qk_normalization": True,
        },
    },
}  # fmt: skip
CHAT_NAMES = {"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"}
EYE_SIGLIP = {**EYE, "model_type": "siglip_vision_model", "vision_use_head": False}
CONFIGS_ONE = {"llava_onevision-0": {"text_config": TEXT_QWEN, "vision_config": EYE_SIGLIP}}


TEXT_GLM = {
    "model_type": "glm4v_text", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 80,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48,
    "pad_token_id": 0,
    "rope_parameters": {
        "rope_theta": 1e4, "rope_type": "default", "mrope_section": [2, 1, 1],
        "partial_rotary_factor": 0.5,
    },
}  # fmt: skip
EYE_GLM = {
    "model_type": "glm4v_vision", "depth": 2, "hidden_size": 24, "num_heads": 3,
    "image_size": 40, "patch_size": 5, "out_hidden_size": 32, "intermediate_size": 56,
}  # fmt: skip
CONFIGS_GLM = {
    "glm4v-0": {"text_config": TEXT_GLM, "vision_config": EYE_GLM},
    "glm4v-1": {
        "text_config": TEXT_GLM,
        "vision_config": {
            **EYE_GLM, "attention_bias": True, "spatial_merge_size": 4, "in_channels": 2,
            "temporal_patch_size": 1,
        },
    },
}  # fmt: skip
CONFIGS_GLM_MOE = {
    "glm4v_moe-0": {
        "text_config": {
            **TEXT_GLM, "model_type": "glm4v_moe_text", "n_routed_experts": 4, "head_dim": 16,
            "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_shared_experts": 1,
        },
        "vision_config": {**EYE_GLM, "model_type": "glm4v_moe_vision"},
    },
}  # fmt: skip
CONFIGS_OMNI3 = {
    "qwen3_omni_moe_thinker-0": {
        "text_config": {
            "model_type": "qwen3_omni_moe_text", "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 80, "head_dim": 8,
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
            "mlp_only_layers": [0], "intermediate_size": 40,
        },
        "vision_config": {
            "model_type": "qwen3_omni_moe_vision_encoder", "depth": 3, "hidden_size": 32,
            "num_heads": 4, "intermediate_size": 48, "patch_size": 4, "out_hidden_size": 32,
            "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1], "image_size": 32,
        },
        "audio_config": {
            "num_mel_bins": 20, "encoder_layers": 2, "encoder_attention_heads": 2, "d_model": 24,
            "encoder_ffn_dim": 40, "max_source_positions": 64, "n_window": 50,
            "n_window_infer": 200, "output_dim": 32, "downsample_hidden_size": 6, "frames": 400,
        },
    },
}  # fmt: skip
TEXT_LFM = {
    "model_type": "lfm2", "hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 80,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48,
    "full_attn_idxs": [1], "block_multiple_of": 8,
}  # fmt: skip
EYE_LFM = {
    "model_type": "siglip2_vision_model", "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 3, "intermediate_size": 40, "patch_size": 4, "num_patches": 36,
    "image_size": 24,
}  # fmt: skip
CONFIGS_LFM = {
    "lfm2_vl-0": {
        "text_config": TEXT_LFM, "projector_hidden_size": 40,
        "vision_config": {**EYE_LFM, "vision_use_head": False},
    },
    "lfm2_vl-1": {
        "text_config": TEXT_LFM, "projector_hidden_size": 28, "downsample_factor": 3,
        "projector_bias": False, "projector_use_layernorm": False, "tie_word_embeddings": False,
        "vision_config": EYE_LFM,
    },
}  # fmt: skip
TEXT_ONE = {
    "model_type": "gemma4_unified_text", "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48, "head_dim": 16,
    "global_head_dim": 16, "vocab_size": 80, "pad_token_id": 0,
}  # fmt: skip
CONFIGS_UNIFIED = {
    "gemma4_unified-0": {
        "text_config": TEXT_ONE,
        "vision_config": {
            "patch_size": 4, "pooling_kernel_size": 2, "mm_embed_dim": 24, "mm_posemb_size": 12,
            "output_proj_dims": 24, "image_size": 48,
        },
        "audio_config": {"audio_embed_dim": 20, "frames": 11},
    },
}  # fmt: skip


def parameters(model: torch.nn.Module) -> int:
    """Return the elements of a model's parameters."""
    return sum(each.numel() for each in model.parameters())


def truth_voxtral(given: dict[str, Any]) -> dict[str, int]:
    """Return parameters, and the multiply-accumulates of a sound's way, of Voxtral."""
    config = VoxtralConfig(**json.loads(json.dumps(given)))
    own = config.audio_config
    with torch.device("meta"):
        model = VoxtralForConditionalGeneration(config).eval()
        heard = torch.empty(1, own.num_mel_bins, 2 * own.max_source_positions)
    macs = counted(lambda: model.get_audio_features(heard))
    return {"parameters": parameters(model), "audio_macs": macs}


def truth_omni(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of what understands in Qwen2.5-Omni, and of an image."""
    own = json.loads(json.dumps(given))
    side = own["vision_config"].pop("image_size", 448)
    frames = own["audio_config"].pop("frames", 3000)
    config = Qwen2_5OmniThinkerConfig(**own)
    image, sound = config.vision_config, config.audio_config
    for part in (config, config.text_config, image, sound):
        part._attn_implementation = "eager"
    model = Qwen2_5OmniThinkerForConditionalGeneration(config).eval()
    sides = side if isinstance(side, list) else [side, side]
    high, wide = (each // image.patch_size for each in sides)
    elements = image.in_channels * image.temporal_patch_size * image.patch_size**2
    pixels, grid = torch.zeros(high * wide, elements), torch.tensor([[1, high, wide]])
    heard, lengths = torch.zeros(sound.num_mel_bins, frames), torch.tensor([frames])
    return {
        "parameters": parameters(model),
        "vision_macs": counted(lambda: model.model.visual(pixels, grid_thw=grid)),
        "audio_macs": counted(
            lambda: model.model.audio_tower(heard, feature_lens=lengths, aftercnn_lens=lengths // 2)
        ),
    }


def truth_intern(given: dict[str, Any]) -> dict[str, int]:
    """Return parameters, and the multiply-accumulates of an image's way, of InternVL."""
    config = InternVLConfig(**json.loads(json.dumps(given)))
    config.vision_config._attn_implementation = "eager"
    model = InternVLForConditionalGeneration(config).eval()
    pixels = torch.zeros(1, 3, *config.vision_config.image_size)
    return {
        "parameters": parameters(model),
        "vision_macs": counted(lambda: model.model.get_image_features(pixels)),
    }


def truth_chat(given: dict[str, Any]) -> dict[str, int]:
    """Return the same under the names of InternVL's own files, of no class in transformers."""
    text, image = given["llm_config"], {**given["vision_config"], "model_type": "internvl_vision"}
    own = {CHAT_NAMES.get(key, key): value for key, value in image.items()}
    tied = text["tie_word_embeddings"]
    return truth_intern({"text_config": text, "vision_config": own, "tie_word_embeddings": tied})


def truth_one(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of LLaVA-OneVision, of an image that is one piece."""
    config = LlavaOnevisionConfig(**json.loads(json.dumps(given)))
    model = LlavaOnevisionForConditionalGeneration(config).eval()
    side, inner = config.vision_config.image_size, model.model
    pixels = torch.zeros(1, 3, side, side)
    return {
        "parameters": parameters(model),
        "vision_macs": counted(
            lambda: inner.multi_modal_projector(inner.vision_tower(pixels).last_hidden_state)
        ),
    }


def truth_omni3(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of what understands in Qwen3-Omni."""
    own = json.loads(json.dumps(given))
    side, frames = own["vision_config"].pop("image_size"), own["audio_config"].pop("frames")
    config = Qwen3OmniMoeThinkerConfig(**own)
    image, sound = config.vision_config, config.audio_config
    for part in (config, config.text_config, image, sound):
        part._attn_implementation = "eager"
    inner = Qwen3OmniMoeThinkerForConditionalGeneration(config).eval()
    grid = side // image.patch_size
    elements = image.in_channels * image.temporal_patch_size * image.patch_size**2
    pixels, places = torch.zeros(grid**2, elements), torch.tensor([[1, grid, grid]])
    heard, lengths = torch.zeros(sound.num_mel_bins, frames), torch.tensor([frames])
    model = inner.model
    return {
        "parameters": parameters(inner),
        "vision_macs": counted(lambda: model.visual(pixels, grid_thw=places)),
        "audio_macs": counted(lambda: model.audio_tower(heard, feature_lens=lengths)),
    }


def truth_glm(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of GLM-4V, with and without experts."""
    experts = given["text_config"]["model_type"] == "glm4v_moe_text"
    made = (Glm4vMoeConfig, Glm4vMoeForConditionalGeneration)
    make, kind = made if experts else (Glm4vConfig, Glm4vForConditionalGeneration)
    config = make(**json.loads(json.dumps(given)))
    own = config.vision_config
    own._attn_implementation = "eager"
    model = kind(config).eval()
    side = own.image_size // own.patch_size
    elements = own.in_channels * own.temporal_patch_size * own.patch_size**2
    pixels, grid = torch.zeros(side**2, elements), torch.tensor([[1, side, side]])
    return {
        "parameters": parameters(model),
        "vision_macs": counted(lambda: model.model.visual(pixels, grid_thw=grid)),
    }


def truth_lfm(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of LFM2-VL, whose class resizes positions by a product, which is left out."""
    own = json.loads(json.dumps(given))
    side = own["vision_config"].pop("image_size")
    config = Lfm2VlConfig(**own)
    config.vision_config._attn_implementation = "eager"
    model = Lfm2VlForConditionalGeneration(config).eval()
    patch = config.vision_config.patch_size
    grid = side // patch
    pixels, shapes = torch.zeros(1, grid**2, 3 * patch**2), torch.tensor([[grid, grid]])
    seen = torch.ones(1, grid**2, dtype=torch.long)
    resized = grid**2 * config.vision_config.num_patches * config.vision_config.hidden_size
    macs = counted(lambda: model.model.get_image_features(pixels, shapes, seen))
    return {"parameters": parameters(model), "vision_macs": macs - resized}


def truth_unified(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of the unified Gemma 4: a matrix for patches, one for pieces of sound."""
    own = json.loads(json.dumps(given))
    side, frames = own["vision_config"].pop("image_size"), own["audio_config"].pop("frames")
    config = Gemma4UnifiedConfig(**own)
    image = config.vision_config
    model = Gemma4UnifiedForConditionalGeneration(config).eval()
    patch = image.patch_size * image.pooling_kernel_size
    grid = torch.arange(side // patch)
    places = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).reshape(1, -1, 2)
    pixels = torch.zeros(1, places.shape[1], 3 * patch**2)
    heard = torch.zeros(1, frames, config.audio_config.audio_embed_dim)
    return {
        "parameters": parameters(model),
        "vision_macs": counted(lambda: model.model.embed_vision(pixels, places)),
        "audio_macs": counted(lambda: model.model.embed_audio(heard)),
    }


def truth_qwen(given: dict[str, Any]) -> dict[str, int]:
    """Return parameters, and the multiply-accumulates of a sound's way, of Qwen2-Audio."""
    sound = {"model_type": "qwen2_audio_encoder", **given["audio_config"]}
    config = Qwen2AudioConfig(text_config=given["text_config"], audio_config=sound)
    own = config.audio_config
    with torch.device("meta"):
        model = Qwen2AudioForConditionalGeneration(config).eval()
        heard = torch.empty(1, own.num_mel_bins, 2 * own.max_source_positions)
    inner = model.model
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "audio_macs": counted(
            lambda: inner.multi_modal_projector(inner.audio_tower(heard).last_hidden_state)
        ),
    }


def counted(run: Callable[[], Any]) -> int:
    """Return the multiply-accumulates of a run."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        run()
    return counter.get_total_flops() // 2


def truth_4(given: dict[str, Any]) -> dict[str, int]:
    """Return the same of Gemma 4, whose class pools patches by a product, which is left out."""
    own = json.loads(json.dumps(given))
    side = own["vision_config"].pop("image_size", 768)
    frames = own["audio_config"].pop("frames", 3000)
    config = Gemma4Config(**own)
    image, sound = config.vision_config, config.audio_config
    for part in (config, config.text_config, image, sound):
        part._attn_implementation = "eager"
    model = Gemma4ForConditionalGeneration(config).eval().model
    grid = torch.arange(side // image.patch_size)
    places = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).reshape(1, -1, 2)
    many = places.shape[1]
    pixels = torch.zeros(1, many, 3 * image.patch_size**2)
    heard = torch.zeros(1, frames, sound.subsampling_conv_channels[0])
    pooled = many // image.pooling_kernel_size**2 * many * image.hidden_size
    mask = torch.ones(1, frames, dtype=torch.bool)
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "vision_macs": counted(lambda: model.get_image_features(pixels, places)) - pooled,
        "audio_macs": counted(lambda: model.get_audio_features(heard, mask)),
    }


def truth(given: dict[str, Any]) -> dict[str, int]:
    """Return parameters, and the multiply-accumulates of an image's and of a sound's way."""
    own = json.loads(json.dumps(given))
    frames = own["audio_config"].pop("frames", 3000)
    config = Gemma3nConfig(**own)
    with torch.device("meta"):
        model = Gemma3nForConditionalGeneration(config).eval().model
        image = torch.empty(1, 3, 768, 768)
        sound = torch.empty(1, frames, config.audio_config.input_feat_size)
        heard = torch.ones(1, frames, dtype=torch.bool)
    found = {"parameters": sum(each.numel() for each in model.parameters())}
    runs = {
        "vision_macs": lambda: model.get_image_features(image),
        "audio_macs": lambda: model.get_audio_features(sound, ~heard),
    }
    for name, run in runs.items():
        found[name] = counted(run)
    return found


KINDS = (
    ("gemma3n", CONFIGS, truth),
    ("gemma4", CONFIGS_4, truth_4),
    ("qwen2_audio", CONFIGS_QWEN, truth_qwen),
    ("voxtral", CONFIGS_VOXTRAL, truth_voxtral),
    ("qwen2_5_omni_thinker", CONFIGS_OMNI, truth_omni),
    ("qwen3_omni_moe_thinker", CONFIGS_OMNI3, truth_omni3),
    ("internvl", CONFIGS_INTERN, truth_intern),
    ("internvl_chat", CONFIGS_CHAT, truth_chat),
    ("llava_onevision", CONFIGS_ONE, truth_one),
    ("glm4v", CONFIGS_GLM, truth_glm),
    ("glm4v_moe", CONFIGS_GLM_MOE, truth_glm),
    ("lfm2_vl", CONFIGS_LFM, truth_lfm),
    ("gemma4_unified", CONFIGS_UNIFIED, truth_unified),
)

if __name__ == "__main__":
    chosen = sys.argv[1:] or [kind for kind, _, _ in KINDS]
    write(
        "towers.json",
        {
            name: {"config": {"model_type": kind, **config}, **found(config)}
            for kind, configs, found in KINDS
            for name, config in configs.items()
            if kind in chosen
        },
    )
