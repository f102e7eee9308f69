"""Write what the classes of Gemma 3n, Gemma 4 and Qwen2-Audio make of an image and of a sound.

Needs transformers 5.24, timm 1.0 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.sounds
"""

import json
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
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
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


if __name__ == "__main__":
    write(
        "towers.json",
        {
            name: {"config": {"model_type": "gemma3n", **config}, **truth(config)}
            for name, config in CONFIGS.items()
        }
        | {
            name: {"config": {"model_type": "gemma4", **config}, **truth_4(config)}
            for name, config in CONFIGS_4.items()
        }
        | {
            name: {"config": {"model_type": "qwen2_audio", **config}, **truth_qwen(config)}
            for name, config in CONFIGS_QWEN.items()
        },
    )
