"""A model's file: which family it is of, which part of it is read, and what is left out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .. import families
from ..config import Config
from ..conv import ConvNet, read_convnet
from ..families import AROUND_TEXT, FAMILIES
from ..families.around import THINKERS, Around
from ..products import Products
from ..transformer import Transformer
from .convolutions import CONV_FAMILIES, read_convolutions
from .diffusers import CLASS_KEY, read_diffusers
from .keys import check_keys, parts_left_out
from .quantization import Stored, read_stored
from .swin import read_swin
from .towers import read_towers
from .transformer import head_of, read_transformer
from .values import renamed

_TIED = "tie_word_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a file says.

    Attributes
    ----------
    family : str
        The ``model_type``, or "convnet".
    shape : Transformer, ConvNet or Products
        The model; of one with towers its text model.
    towers : mapping of str to (str, Transformer or Products)
        The towers beside it by name, each with its ``model_type``.
    notes : tuple of str
        What of the file is left out or not used, a sentence each.
    stored : Stored or None
        How its checkpoint stores weights, where it says so.
    """

    family: str
    shape: Transformer | ConvNet | Products
    towers: Mapping[str, tuple[str, Transformer | Products]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stored: Stored | None = None


def read_model(config: Config) -> Read:
    """Read a model from the object of its file.

    Raises
    ------
    BitlatheError
        If there is no such family or the file is wrong: file, line and key are named.
    """
    if "layers" in config.data and config.data.get("model_type", "convnet") == "convnet":
        return Read(family="convnet", shape=read_convnet(config))
    if CLASS_KEY in config.data and "model_type" not in config.data:
        made, said = read_diffusers(config)
        return Read(family=config.string(CLASS_KEY), shape=made, notes=tuple(said))
    kind = config.data.get("model_type")
    if isinstance(kind, str) and kind in CONV_FAMILIES:
        return Read(family=str(kind), shape=read_convolutions(config))
    if kind == "swin":
        return Read(family="swin", shape=read_swin(config))
    config, unread = _thinker(config)
    whole = config
    config = _text_part(config)
    family = config.string("model_type")
    if family not in FAMILIES:
        raise config.error(
            f"{_unknown_type(family)}. Correct a misspelled name only: a model under the name of "
            "another class is that class's model, with layers missing or wrong.",
            "model_type",
        )
    rules = FAMILIES[family]
    config = replace(config, defaults={**config.defaults, **rules.defaults})
    config = replace(config, data=renamed(config.data, rules.renamed))
    notes = [*unread, *check_keys(config, family, rules)]
    if config.get("architectures") and head_of(config, rules) is None:
        notes.append(
            f"the head of {config.items('architectures')[0]!r} ('architectures') is not known: "
            f"taken as a class that ends in {next(iter(rules.outputs))!r}."
        )
    shape = read_transformer(config, rules)
    stored, said = read_stored(config if "quantization_config" in config.data else whole, shape)
    notes += said
    if whole.data.get("model_type") in AROUND_TEXT:
        towers, shape, said = read_towers(whole, shape)
        notes += said
        key = AROUND_TEXT[whole.string("model_type")].key
        named = str((whole.items("architectures") or [""])[0])
        if named.endswith("ForImageClassification"):
            remark = f"the head of {named!r} ('architectures') is not read: all of the model is."
            notes.insert(0, remark)
        notes = [*parts_left_out(whole, key, towers), *notes]
        return Read(family=family, shape=shape, towers=towers, notes=tuple(notes), stored=stored)
    return Read(family=family, shape=shape, notes=tuple(notes), stored=stored)


def _thinker(config: Config) -> tuple[Config, list[str]]:
    """Return the configuration of what understands and answers in a model that speaks, too."""
    key = THINKERS.get(str(config.data.get("model_type")))
    if key is None or key not in config.data:
        return config, []
    own = config.child(key)
    others = [name for name in config.data if name.endswith("_config") and name != key]
    said = (
        f"of this model {key!r} is read, what understands and answers in words; left out, what "
        f"speaks: {', '.join(map(repr, others)) or 'nothing'}."
    )
    kind = own.data.get("model_type", f"{config.data['model_type']}_thinker")
    return replace(own, data={**own.data, "model_type": kind}), [said]


def _unknown_type(name: str) -> str:
    """Return that a model_type is unknown; only what may be a typing error gets a suggestion.

    The name of another class is none, nor is one that differs by a figure, as llama5 does.
    """
    known = sorted([*FAMILIES, *AROUND_TEXT, *CONV_FAMILIES, "convnet", "swin"])
    types = Path(families.__file__).with_name("model_types.json")
    if name in json.loads(types.read_text(encoding="utf-8"))["model_types"]:
        return f"model_type {name!r} is not supported; docs/workloads.md lists those that are"
    near = get_close_matches(name, known, n=1, cutoff=0.85)
    figures = [re.sub(r"\D", "", each) for each in (name, *near)]
    hint = f"; did you mean {near[0]!r}?" if near and len(set(figures)) == 1 else "."
    return f"unknown model_type {name!r}{hint} Supported: {', '.join(known)}"


def _text_part(config: Config) -> Config:
    """Return the configuration of the text model inside a multimodal one."""
    outer = config.data.get("model_type")
    if not isinstance(outer, str) or outer in FAMILIES:
        return config
    if outer not in AROUND_TEXT:
        for key in ("text_config", "llm_config", "language_config"):
            if isinstance(config.data.get(key), dict):
                raise config.error(
                    f"{_unknown_type(outer)}. To run the part under {key!r} alone, give that "
                    "object as a file of its own.",
                    "model_type",
                )
        return config
    around = AROUND_TEXT[outer]
    if around.key in config.data:
        text = config.child(around.key)
    elif around.flat:
        text = replace(config, data=_without_outer_class(config.data))
    else:
        raise config.missing(around.key)
    data = {key: value for key, value in text.data.items() if key not in around.plain}
    if text.data.get("model_type") in (None, outer):
        data["model_type"] = around.text
    tied = _tied(config.data, text.data, around)
    if tied is not None:
        data[_TIED] = tied
    text = replace(text, data=data)
    family = FAMILIES.get(text.string("model_type"))
    if family is not None and around.key in config.data:
        text = replace(text, defaults={**family.sizes, **around.sizes})
    return text


def _tied(outer: Mapping[str, Any], text: Mapping[str, Any], around: Around) -> object:
    """Return what a model around a text says of its head; None where the text's family says."""
    if around.tying == "outer":
        return outer.get(_TIED, around.tied)
    if around.tying == "text":
        return text.get(_TIED)
    if around.tying == "either" and outer.get(_TIED) is False:
        return text.get(_TIED)
    return outer.get(_TIED, text.get(_TIED))


def _without_outer_class(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a flat file that are the text model's: not the other parts'."""
    return {key: value for key, value in data.items() if not key.endswith("_config")}
