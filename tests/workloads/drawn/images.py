"""Write what classes of diffusers and transformers make of UNets, SD3, Swin and Llama 3.2 Vision.

Needs diffusers 0.42.1, transformers 5.24 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.images
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    MllamaConfig,
    MllamaForConditionalGeneration,
    SwinConfig,
    SwinForImageClassification,
    SwinModel,
)

HERE = Path(__file__).parent.parent
UNET, SD3 = "UNet2DConditionModel", "SD3Transformer2DModel"
PUBLISHED = {
    "unet-sd-1.5": {
        "_class_name": UNET, "attention_head_dim": 8, "cross_attention_dim": 768,
        "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "sample_size": 64,
        "max_sequence_length": 77,
    },
    "unet-sdxl": {
        "_class_name": UNET, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280],
        "cross_attention_dim": 2048, "projection_class_embeddings_input_dim": 2816,
        "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 2],
        "up_block_types": [*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"], "sample_size": 128,
        "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True,
        "max_sequence_length": 77,
    },
    "sd3-medium": {
        "_class_name": SD3, "num_layers": 24, "num_attention_heads": 24, "sample_size": 128,
        "caption_projection_dim": 1536, "pos_embed_max_size": 192, "max_sequence_length": 333,
    },
}  # fmt: skip
SMALL = {
    "unet-0": {
        "_class_name": UNET, "attention_head_dim": [2, 4], "block_out_channels": [16, 32],
        "cross_attention_dim": 24, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "layers_per_block": [1, 3],
        "norm_num_groups": 4, "sample_size": 12, "transformer_layers_per_block": [1, 2],
        "in_channels": 9, "conv_in_kernel": 5, "max_sequence_length": 11,
    },
    "unet-1": {
        "_class_name": UNET, "attention_head_dim": 4, "block_out_channels": [8, 8, 16],
        "cross_attention_dim": 12, "norm_num_groups": 2, "sample_size": 8, "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "mid_block_type": None, "use_linear_projection": True, "out_channels": 3,
        "max_sequence_length": 5,
    },
    "sd3-0": {
        "_class_name": SD3, "sample_size": 12, "num_layers": 3, "num_attention_heads": 2,
        "attention_head_dim": 8, "caption_projection_dim": 16, "joint_attention_dim": 20,
        "pooled_projection_dim": 24, "in_channels": 4, "out_channels": None,
        "dual_attention_layers": [0, 2], "qk_norm": "rms_norm", "pos_embed_max_size": 10,
        "max_sequence_length": 7,
    },
    "sd3-1": {
        "_class_name": SD3, "sample_size": 8, "num_layers": 2, "num_attention_heads": 3,
        "attention_head_dim": 4, "caption_projection_dim": 12, "joint_attention_dim": 20,
        "pooled_projection_dim": 24, "in_channels": 3, "out_channels": 6, "patch_size": 4,
        "pos_embed_max_size": 10, "max_sequence_length": 5,
    },
}  # fmt: skip
SWIN = {
    "swin-tiny": {"architectures": ["SwinForImageClassification"], "num_labels": 1000},
    "swin-0": {
        "architectures": ["SwinModel"], "image_size": 51, "patch_size": 3, "embed_dim": 24,
        "depths": [1, 3], "num_heads": [2, 3], "window_size": 4, "mlp_ratio": 2.5,
        "qkv_bias": False, "use_absolute_embeddings": True,
    },
    "swin-1": {
        "architectures": ["SwinForImageClassification"], "num_labels": 7, "image_size": 54,
        "embed_dim": 16, "depths": [2, 1, 1], "num_heads": [1, 2, 4], "window_size": 3,
    },
}  # fmt: skip
MLLAMA = {
    "mllama-0": {
        "text_config": {
            "model_type": "mllama_text_model", "hidden_size": 32, "num_hidden_layers": 5,
            "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
            "vocab_size": 60, "cross_attention_layers": [1, 3], "pad_token_id": 0,
        },
        "vision_config": {
            "model_type": "mllama_vision_model", "hidden_size": 24, "num_hidden_layers": 3,
            "num_global_layers": 2, "attention_heads": 3, "intermediate_size": 40,
            "vision_output_dim": 72, "image_size": 28, "patch_size": 7,
            "intermediate_layers_indices": [0, 2],
        },
    },
    "mllama-1": {
        "text_config": {
            "model_type": "mllama_text_model", "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24,
            "vocab_size": 30, "cross_attention_layers": [0], "pad_token_id": 0,
        },
        "vision_config": {
            "model_type": "mllama_vision_model", "hidden_size": 16, "num_hidden_layers": 2,
            "num_global_layers": 1, "attention_heads": 2, "intermediate_size": 20,
            "vision_output_dim": 32, "image_size": 30, "patch_size": 10, "max_num_tiles": 2,
            "supported_aspect_ratios": [[1, 1], [1, 2]], "intermediate_layers_indices": [1],
        },
    },
}  # fmt: skip


def counted(module: torch.nn.Module, run: Callable[[], Any]) -> dict[str, Any]:
    """Return a module's parameters, its matrices and the multiply-accumulates of a run."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        run()
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    weights = [each.weight for each in module.modules() if isinstance(each, kinds)]
    matrices = Counter((w.shape[0], w[0].numel()) for w in weights)
    return {
        "parameters": sum(each.numel() for each in module.parameters()),
        "matrices": sorted([n, k, count] for (n, k), count in matrices.items()),
        "macs": counter.get_total_flops() // 2,
    }


def of_diffusers(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a class of diffusers makes of a configuration."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    name, tokens = given.pop("_class_name"), given.pop("max_sequence_length")
    with torch.device("meta"):
        module = {UNET: UNet2DConditionModel, SD3: SD3Transformer2DModel}[name](**given).eval()
        sizes = module.config
        image = torch.empty(1, sizes.in_channels, sizes.sample_size, sizes.sample_size)
        time = torch.zeros(1)
        if name == SD3:
            text = torch.empty(1, tokens, sizes.joint_attention_dim)
            pooled = torch.empty(1, sizes.pooled_projection_dim)
            return counted(module, lambda: module(image, text, pooled, time))
        text, added = torch.empty(1, tokens, sizes.cross_attention_dim), None
        if sizes.addition_embed_type:
            width = sizes.projection_class_embeddings_input_dim - 6 * sizes.addition_time_embed_dim
            added = {"text_embeds": torch.empty(1, width), "time_ids": torch.empty(1, 6)}
        return counted(module, lambda: module(image, time, text, added_cond_kwargs=added))


def of_swin(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a class of transformers makes of a configuration of Swin."""
    kinds = {each.__name__: each for each in (SwinModel, SwinForImageClassification)}
    module = kinds[config["architectures"][0]](SwinConfig(**config)).eval()
    side, channels = module.config.image_size, module.config.num_channels
    return counted(module, lambda: module(torch.zeros(1, channels, side, side)))


def of_mllama(config: dict[str, Any], tokens: int = 5) -> dict[str, Any]:
    """Return what the class makes of a model: an image's way, and a text of some tokens after it.

    The class multiplies the image's mask by itself, a number for each pair of its tokens; this is
    no product of the model, and left out.
    """
    module = MllamaForConditionalGeneration(MllamaConfig(**config)).eval()
    module.set_attn_implementation("eager")
    sizes, wide = module.config.vision_config, module.config.text_config.hidden_size
    tiles, side = sizes.max_num_tiles, sizes.image_size
    found: list[torch.Tensor] = []

    def see() -> None:
        image = torch.zeros(1, 1, tiles, sizes.num_channels, side, side)
        ids = torch.ones(1, 1, dtype=torch.long)
        left = module.model.vision_model(image, ids, torch.ones(1, 1, tiles, dtype=torch.long))
        joined = module.model.multi_modal_projector(left.last_hidden_state)
        found.append(joined.reshape(1, -1, wide))

    def read() -> None:
        ids = torch.zeros(1, tokens, dtype=torch.long)
        module.lm_head(module.model.language_model(ids, cross_attention_states=found[0])[0])

    image = counted(module, see)
    patches = (side // sizes.patch_size) ** 2 + 1
    mask = (tiles * -(-patches // 8) * 8) ** 2
    text = counted(module, read)["macs"]
    return {
        "parameters": image["parameters"],
        "vision_macs": image["macs"] - mask,
        "text_macs": {str(tokens): text},
    }


def write(name: str, truths: dict[str, Any]) -> None:
    """Put truths into a file, a line each, in the place of those of the same name."""
    path = HERE / name
    held = json.loads(path.read_text())
    models = {**held["models"], **truths}
    lines = ",\n".join(
        f"{json.dumps(n)}: {json.dumps(models[n], separators=(',', ':'))}" for n in models
    )
    path.write_text(f'{{"about": {json.dumps(held["about"])},\n"models": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    write(
        "diffusion_models.json",
        {
            name: {"config": config, **of_diffusers(config)}
            for name, config in {**SMALL, **PUBLISHED}.items()
        },
    )
    write(
        "conv_models.json",
        {
            name: {"config": {"model_type": "swin", **config}, **of_swin(config)}
            for name, config in SWIN.items()
        },
    )
    write(
        "towers.json",
        {
            name: {"config": {"model_type": "mllama", **config}, **of_mllama(config)}
            for name, config in MLLAMA.items()
        },
    )
