"""Models around a text model that is run alone: where its configuration stands in theirs."""

from collections.abc import Mapping

AROUND_TEXT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("audioflamingo3", "blip-2", "deepseek_vl", "fast_vlm", "gemma3", "glmasr"),
            *("got_ocr2", "idefics2", "idefics3", "instructblip", "internvl", "janus"),
            *("lighton_ocr", "llava", "llava_next", "llava_next_video", "llava_onevision"),
            *("mistral3", "musicflamingo", "ovis2", "paligemma", "perception_lm", "qwen2_audio"),
            *("qwen3_asr", "shieldgemma2", "smolvlm", "video_llama_3", "video_llava", "vipllava"),
            "voxtral",
        ),
        "text_config",
    ),
    "internvl_chat": "llm_config",
}
