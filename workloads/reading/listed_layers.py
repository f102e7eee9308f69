"""Networks of Hugging Face files that read images: what several families have alike."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ..config import Config

Layer = dict[str, Any]


def activation_of(config: Config) -> str:
    """Return the name of the activation, as lists of layers spell it."""
    name = config.string("hidden_act")
    return "gelu" if "gelu" in name else {"swish": "silu"}.get(name, name)


def check_keys(config: Config, known: Mapping[str, Any]) -> None:
    """Refuse a key that is nearly one of a class's own, where that one is left out.

    Parameters
    ----------
    config : Config
    known : mapping
        The class's keys.

    Raises
    ------
    BitlatheError
        If there is such a key.
    """
    absent = [key for key in known if key not in config.data]
    for key in config.data:
        near = get_close_matches(key, absent, n=1, cutoff=0.85)
        if near and key not in known:
            raise config.error(
                f"unknown key {key!r}. Is it meant to be {near[0]!r}, which is not given?", key
            )


def labels_of(config: Config) -> int:
    """Return the outputs of the classifier; 0 where the class has none."""
    labels = config.get("id2label")
    named = str((config.items("architectures") or [""])[0])
    count = config.integer("num_labels", default=len(labels) if isinstance(labels, dict) else 2)
    return count if named.endswith("ForImageClassification") else 0


def classifier(config: Config) -> list[Layer]:
    """Return the pooling of all pixels, and the classifier if the class has one."""
    count = labels_of(config)
    pool: list[Layer] = [{"name": "pool", "type": "global_pool"}]
    if not count:
        return pool
    return [*pool, {"name": "classifier", "type": "linear", "out_channels": count, "bias": True}]


def padding(size: int, kernel: int, stride: int, outputs: int) -> int:
    """Return the padding of both sides that gives so many outputs, where a class pads one more.

    Parameters
    ----------
    size, kernel, stride : int
        Pixels, taps and stride of one dimension.
    outputs : int
        Outputs that the class computes.
    """
    short = (outputs - 1) * stride + kernel - size
    return max(0, -(-short // 2))
