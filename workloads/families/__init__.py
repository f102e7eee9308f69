"""Catalogue of the transformer families: what a ``model_type`` stands for.

Facts follow the model and configuration classes of the same names in Hugging Face transformers
5.24 (key names, defaults, windows, biases, normalizations, heads); ``defaults`` are its values for
keys that config.json files leave out. Every family is tested against the parameter total of a
published model.
"""

from collections.abc import Mapping

from .around import AROUND_TEXT
from .early import EARLY
from .encoders import ENCODERS
from .family import Family
from .gemma import GEMMA
from .hybrids import HYBRIDS
from .latent import LATENT
from .llama import LLAMA
from .mixtures import MIXTURES
from .qwen import QWEN
from .seq2seq import SEQ2SEQ_FAMILIES
from .vision import VISION_FAMILIES

FAMILIES: Mapping[str, Family] = {
    **EARLY,
    **LLAMA,
    **MIXTURES,
    **LATENT,
    **QWEN,
    **GEMMA,
    **HYBRIDS,
    **ENCODERS,
    **VISION_FAMILIES,
    **SEQ2SEQ_FAMILIES,
}

__all__ = ["AROUND_TEXT", "FAMILIES", "Family"]
