"""Types of models that people have, each held to its class somewhere in these folders' truths."""

import json
from pathlib import Path

import pytest

from bitlathe.workloads import load_model

HERE = Path(__file__).parent
FILES = (
    "published_models.json",
    "small_models.json",
    "conv_models.json",
    "diffusion_models.json",
    "towers.json",
    "drawn/models.json",
)
TYPES = """
    gpt_oss deepseek_v3 deepseek_v2 deepseek_v32 deepseek_v4 glm_moe_dsa glm4_moe_lite minicpm3
    qwen2_5_vl qwen2_vl qwen3_vl llama4 qwen3_next qwen3_5 qwen3_5_moe kimi_linear olmo_hybrid glm4
    glm4_moe bitnet llava llava_next whisper t5 bart gemma3n gemma4_text ministral3 granite smollm3
    internlm3 seed_oss olmo2 olmo3 exaone4 cohere cohere2 phimoe minimax_m2 olmoe starcoder2
    stablelm apertus arcee gpt_neox falcon bloom mpt gptj gpt_neo gpt_bigcode mamba mamba2 jamba
    zamba2 granitemoehybrid lfm2 rwkv roberta distilbert modernbert deberta-v2 albert deit clip
    siglip dinov2 opt swin convnext resnet efficientnet mobilenet_v2 FluxTransformer2DModel
    UNet2DConditionModel SD3Transformer2DModel DiTTransformer2DModel ernie4_5_moe mllama
    mimo_v2_flash dots1 exaone_moe glm4v_moe_text glm4v_text helium hunyuan_v1_moe hyperclovax
    afmoe apertus1p5_text cohere2_moe gemma4_unified_text granite_swa hy_v3 longcat_flash minimax
    nanochat mellum sarvam_mla sarvam_moe solar_open internvl internvl_chat llava_onevision voxtral
    qwen2_5_omni_thinker glm4v glm4v_moe lfm2_vl gemma4_unified qwen3_omni_moe_thinker
""".split()  # noqa: SIM905


def held():
    found = {}
    for name in FILES:
        for truth in json.loads((HERE / name).read_text())["models"].values():
            config = truth["config"]
            kind = config.get("model_type", config.get("_class_name"))
            found.setdefault(kind, []).append(truth)
    return found


HELD = held()


@pytest.mark.parametrize("kind", TYPES)
def test_loads_and_is_held_to_its_class(kind):
    """The tests of these files compare each with what its class makes of it."""
    for truth in HELD[kind]:
        assert truth["parameters"] >= load_model(truth["config"]).weight_count // 2 > 0


def test_types_of_one_structure():
    """Kimi-K2 is DeepSeek-V3's structure, Gemma 4 a text model of its own type in another."""
    text = HELD["gemma4_text"][0]["config"]
    whole = load_model({"model_type": "gemma4", "text_config": text})
    assert whole.shape == load_model(text).shape
