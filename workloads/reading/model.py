"""A model's file: which family it is of, which part of it is read, and what is left out."""

from dataclasses import replace
from difflib import get_close_matches

from ..config import Config
from ..conv import ConvNet, read_convnet
from ..families import AROUND_TEXT, FAMILIES
from ..transformer import Transformer
from .keys import check_keys, parts_left_out
from .transformer import head_of, read_transformer


def read_model(config: Config) -> tuple[str, Transformer | ConvNet, tuple[str, ...]]:
    """Read a model from the object of its file.

    Returns
    -------
    family : str
        The ``model_type``, or "convnet".
    shape : Transformer or ConvNet
    notes : tuple of str
        What of the file is left out or not used, a sentence each.

    Raises
    ------
    BitlatheError
        If there is no such family or the file is wrong: file, line and key are named.
    """
    if "layers" in config.data and config.data.get("model_type", "convnet") == "convnet":
        return "convnet", read_convnet(config), ()
    config, notes = _text_part(config)
    family = config.string("model_type")
    if family not in FAMILIES:
        raise config.error(
            f"{_unknown_type(family)}. Correct a misspelled name only: a model under the name of "
            "another class is that class's model, with layers missing or wrong.",
            "model_type",
        )
    rules = FAMILIES[family]
    config = replace(config, defaults=rules.defaults)
    notes += check_keys(config, family, rules)
    if config.get("architectures") and head_of(config, rules) is None:
        notes.append(
            f"the head of {config.items('architectures')[0]!r} ('architectures') is not known: "
            f"taken as a class that ends in {next(iter(rules.outputs))!r}."
        )
    return family, read_transformer(config, rules), tuple(notes)


def _unknown_type(name: str) -> str:
    """Return that a model_type is unknown; only names as near as a typing error are suggested."""
    known = sorted([*FAMILIES, "convnet"])
    near = get_close_matches(name, known, n=1, cutoff=0.85)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown model_type {name!r}{hint} Known: {', '.join(known)}"


def _text_part(config: Config) -> tuple[Config, list[str]]:
    """Return the configuration of the text model inside a multimodal one, and what is left out."""
    outer = config.data.get("model_type")
    if not isinstance(outer, str) or outer in FAMILIES:
        return config, []
    if outer not in AROUND_TEXT:
        for key in ("text_config", "llm_config", "language_config"):
            if isinstance(config.data.get(key), dict):
                raise config.error(
                    f"{_unknown_type(outer)}. To run the part under {key!r} alone, give that "
                    "object as a file of its own.",
                    "model_type",
                )
        return config, []
    key = AROUND_TEXT[outer]
    if key not in config.data:
        raise config.missing(key)
    return config.child(key), [parts_left_out(config, key)]
