"""Towers: the models of images beside a text model, and what joins them to it.

Facts follow the classes of the same names in Hugging Face transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Join = Literal["two", "one", "shuffled", "pooled", "merged", "projected", "none"]


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
        ``scale_factor`` patches that become one token (``shuffled``); one behind a norm and the
        mean of patches, ``mm_tokens_per_image`` of them (``pooled``); two, behind a norm and a
        matrix that makes one of a square of ``spatial_merge_size`` patches (``merged``); a matrix
        into a space that both share (``projected``); or nothing.
    newline : bool
        Whether a vector of the text's width ends each row of patches.
    scales : int
        Numbers that scale the agreement of image and text.
    """

    key: str = "vision_config"
    family: str = "clip_vision_model"
    join: Join = "two"
    newline: bool = False
    scales: int = 0


_TWO = Tower()
_SHUFFLED = Tower(family="smolvlm_vision", join="shuffled")

TOWERS: Mapping[str, Tower] = {
    "llava": _TWO,
    "llava_next": replace(_TWO, newline=True),
    "gemma3": Tower(family="siglip_vision_model", join="pooled"),
    "paligemma": Tower(family="siglip_vision_model", join="one"),
    "smolvlm": _SHUFFLED,
    "idefics3": replace(_SHUFFLED, family="idefics3_vision"),
    "mistral3": Tower(family="pixtral", join="merged"),
    "clip": replace(_TWO, join="projected", scales=1),
    "siglip": Tower(family="siglip_vision_model", join="none", scales=2),
}
