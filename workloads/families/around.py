"""Models around a text model that is run alone: where its configuration stands in theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .family import sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Where a model holds the configuration of its text model.

    ``key`` leads to it. ``text`` is its ``model_type`` where it names none. ``flat``: where there
    is no such key, the text model's keys stand beside the outer ones. ``plain`` are keys of the
    text that say nothing about sizes: PaliGemma's prompt attends both ways. ``tying``: whose
    ``tie_word_embeddings`` says that the head is the embedding: that of the outer model, with
    ``tied`` where it is left out; the text's; that of either; or the outer one where it is
    ``given``, else the text's. ``sizes`` are the outer class's for the text, where they are not
    those of the text's class.
    """

    text: str
    key: str = "text_config"
    flat: bool = False
    plain: tuple[str, ...] = ()
    tying: Literal["given", "outer", "text", "either"] = "given"
    tied: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


THINKERS: Mapping[str, str] = {
    "qwen2_5_omni": "thinker_config",
    "qwen3_omni_moe": "thinker_config",
}
"""Models that answer in words and in sound, by ``model_type``: the key of what finds the words."""

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "llama": (
        *("deepseek_vl", "deepseek_vl_hybrid", "glmasr", "janus", "llava_next_video"),
        *("omniasr", "perception_lm"),
        *("video_llava", "vipllava"),
    ),
    "mistral": ("idefics2",),
    "opt": ("blip-2", "instructblip", "instructblipvideo"),
    "qwen2": (
        *("audioflamingo3", "fast_vlm", "got_ocr2"),
        *("musicflamingo", "ovis2", "pp_chart2table", "qwen2_audio", "vibevoice"),
        *("vibevoice_asr", "video_llama_3"),
    ),
    "qwen3": ("fun_asr_nano", "lighton_ocr", "moss_transcribe_diarize", "qianfan_ocr", "qwen3_asr"),
    "clip_text_model": ("clip",),
    "siglip_text_model": ("siglip",),
    "gemma3n_text": ("gemma3n",),
    "gemma4_text": ("gemma4",),
    "gemma4_unified_text": ("gemma4_unified",),
    "gemma3_text": ("shieldgemma2",),
    "cohere2": ("aya_vision", "cohere2_vision"),
    "deepseek_v3": ("kimi_k25",),
    "exaone4": ("exaone4_5",),
    "granite": ("granite_speech", "granite_speech_plus"),
}

AROUND_TEXT: Mapping[str, Around] = {
    **{outer: Around(text=text) for text, outers in _TEXTS.items() for outer in outers},
    **{
        outer: Around(text=text, tying="outer")
        for outer, text in {
            "idefics3": "llama",
            "llava_next": "llama",
            "smolvlm": "llama",
            "qwen3_vl": "qwen3_vl_text",
            "qwen3_vl_moe": "qwen3_vl_moe_text",
            "glm4v": "glm4v_text",
            "glm4v_moe": "glm4v_moe_text",
            "qwen3_5": "qwen3_5_text",
            "qwen3_5_moe": "qwen3_5_moe_text",
        }.items()
    },
    "llava": Around(text="llama", tying="either"),
    "llava_onevision": Around(text="qwen2", tying="either"),
    "internvl": Around(text="qwen2", tying="outer", tied=True),
    "qwen2_5_omni_thinker": Around(text="qwen2_5_omni_text", tying="outer"),
    "qwen3_omni_moe_thinker": Around(text="qwen3_omni_moe_text", tying="outer"),
    "voxtral": Around(
        text="llama",
        sizes={
            **sizes(3072, 30, 32, 8192, 131072),
            "num_key_value_heads": 8,
            "head_dim": 128,
        },
    ),
    "apertus1p5": Around(text="apertus1p5_text", tying="outer"),
    "phi4_multimodal": Around(text="phi3", flat=True),
    "llama4": Around(text="llama4_text", tying="text"),
    "mllama": Around(text="mllama_text_model", tying="text"),
    "gemma3": Around(text="gemma3_text", tying="outer", tied=True),
    "lfm2_vl": Around(text="lfm2", tying="outer", tied=True),
    "qwen2_vl": Around(text="qwen2_vl_text", flat=True, tying="either"),
    "qwen2_5_vl": Around(text="qwen2_5_vl_text", flat=True, tying="either"),
    "mistral3": Around(text="mistral", tying="outer", tied=True),
    "paligemma": Around(
        text="gemma", plain=("use_bidirectional_attention",), tying="outer", tied=True
    ),
    "internvl_chat": Around(text="qwen2", key="llm_config"),
}
