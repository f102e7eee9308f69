"""Towers: the models of images beside a text model, and what joins them to it.

Facts follow the classes of the same names in Hugging Face transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Join = Literal[
    "two",
    "one",
    "shuffled",
    "folded",
    "unshuffled",
    "downsampled",
    "adapted",
    "pooled",
    "merged",
    "patched",
    "projected",
    "tiled",
    "none",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """Where a model holds the configuration of a tower, and how it joins the text.

    Attributes
    ----------
    key : str
        Key of its configuration.
    family : str
        Its ``model_type`` where it names none.
    join
        ``two`` matrices for each patch; ``one`` with a bias; ``one`` behind a square of
        ``scale_factor`` patches that become one token (``shuffled``); two with biases behind a norm
        of the square that ``downsample_ratio`` makes one token of (``folded``), or of one of
        ``downsample_factor`` patches, the first as wide as ``projector_hidden_size``
        (``unshuffled``); a convolution that makes one of a square of ``spatial_merge_size``
        patches, a matrix and a norm, and a gated MLP (``downsampled``); one behind a norm
        and the mean of patches, ``mm_tokens_per_image`` of them (``pooled``); two, behind a norm
        and a matrix that makes one of a square of ``spatial_merge_size`` patches (``merged``); two
        behind a norm, the first as wide as such a square, and the same for each layer that
        ``deepstack_visual_indexes`` names (``patched``); two and the projector behind patches
        that ``pixel_shuffle_ratio`` makes fewer (``adapted``); a matrix into a space that both
        share (``projected``); one that joins what several layers leave of an image in tiles, which
        layers of the text attend to (``tiled``); or nothing.
    width : str or None
        Key, in the tower's configuration, of the width that it leaves.
    newline : bool
        Whether a vector of the text's width ends each row of patches.
    scales : int
        Numbers that scale the agreement of image and text.
    selected : str
        Which tokens of an image are joined by ``two``, where ``vision_feature_select_strategy`` is
        left out.
    """

    key: str = "vision_config"
    family: str = "clip_vision_model"
    join: Join = "two"
    width: str | None = None
    newline: bool = False
    scales: int = 0
    selected: str = "default"


_TWO = Tower()
_SHUFFLED = Tower(family="smolvlm_vision", join="shuffled")
_PATCHED = Tower(family="qwen2_vl_vision", join="patched", width="hidden_size")
_OUT = replace(_PATCHED, family="qwen3_vl_vision", width="out_hidden_size")

TOWERS: Mapping[str, Tower] = {
    "llava": _TWO,
    "llava_next": replace(_TWO, newline=True),
    "llava_onevision": replace(_TWO, family="siglip_vision_model", newline=True, selected="full"),
    "internvl": Tower(family="internvl_vision", join="folded"),
    "internvl_chat": Tower(family="intern_vit_6b", join="folded"),
    "qwen2_5_omni_thinker": replace(
        _PATCHED, family="qwen2_5_omni_vision_encoder", width="out_hidden_size"
    ),
    "glm4v": Tower(family="glm4v_vision", join="downsampled"),
    "glm4v_moe": Tower(family="glm4v_moe_vision", join="downsampled"),
    "lfm2_vl": Tower(family="siglip2_vision_model", join="unshuffled"),
    "gemma3": Tower(family="siglip_vision_model", join="pooled"),
    "paligemma": Tower(family="siglip_vision_model", join="one"),
    "smolvlm": _SHUFFLED,
    "idefics3": replace(_SHUFFLED, family="idefics3_vision"),
    "mistral3": Tower(family="pixtral", join="merged"),
    "llama4": Tower(family="llama4_vision_model", join="adapted"),
    "mllama": Tower(family="mllama_vision_model", join="tiled"),
    "qwen2_vl": _PATCHED,
    "qwen2_5_vl": replace(_PATCHED, family="qwen2_5_vl_vision", width="out_hidden_size"),
    "qwen3_vl": _OUT,
    "qwen3_vl_moe": replace(_OUT, family="qwen3_vl_moe_vision"),
    "qwen3_omni_moe_thinker": replace(_OUT, family="qwen3_omni_moe_vision_encoder"),
    "qwen3_5": replace(_OUT, family="qwen3_5_vision"),
    "qwen3_5_moe": replace(_OUT, family="qwen3_5_moe_vision"),
    "clip": replace(_TWO, join="projected", scales=1),
    "siglip": Tower(family="siglip_vision_model", join="none", scales=2),
}
