"""Layers of a convolution network as a file would list them: what several families have alike."""

from typing import Any

from ..config import Config

Layer = dict[str, Any]


def activation_of(config: Config) -> str:
    """Return the name of the activation, as lists of layers spell it."""
    name = config.string("hidden_act")
    return "gelu" if "gelu" in name else {"swish": "silu"}.get(name, name)


def classifier(config: Config) -> list[Layer]:
    """Return the pooling of all pixels, and the classifier if the class has one."""
    labels = config.get("id2label")
    named = str((config.items("architectures") or [""])[0])
    wanted = named.endswith("ForImageClassification")
    count = config.integer("num_labels", default=len(labels) if isinstance(labels, dict) else 2)
    pool: list[Layer] = [{"name": "pool", "type": "global_pool"}]
    if not wanted:
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
