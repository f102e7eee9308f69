"""Convolution networks of Hugging Face files: from the keys of a config.json to a list of layers.

Structures follow the classes of the same names in transformers 5.24; the layers are those that a
file of one's own would list (`conv.read_convnet`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import Config
from ..conv import ConvNet, read_convnet
from .listed_layers import Layer, activation_of, check_keys, classifier
from .mobile import efficientnet, mobilenet_v2


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvFamily:
    """How the networks of one ``model_type`` are listed.

    ``layers`` lists them; ``defaults`` are the class's values of all keys that it is read from.
    """

    layers: Callable[[Config], list[Layer]]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _widths(config: Config) -> list[tuple[int, int]]:
    """Return the channels and the layers of each stage.

    Raises
    ------
    BitlatheError
        If the two lists are not as long as each other, or hold other than positive integers.
    """
    found = []
    for key in ("hidden_sizes", "depths"):
        given = config.items(key)
        if not given or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in given):
            raise config.error(f"{key!r} is {given!r}; it must list an integer a stage.", key)
        if sum(given) > 2**20:
            raise config.error(f"{key!r} adds up to {sum(given)}; it must be at most 2^20.", key)
        found.append(given)
    if len(found[0]) != len(found[1]):
        raise config.error(
            f"'depths' lists {len(found[1])} stages, 'hidden_sizes' {len(found[0])}; they must be "
            "as many.",
            "depths",
        )
    return list(zip(*found, strict=True))


def _resnet(config: Config) -> list[Layer]:
    """List a residual network (arXiv:1512.03385), its stride in the 3 x 3 convolution."""
    act = activation_of(config)
    stem = config.integer("embedding_size")
    layers: list[Layer] = [
        {"name": "embedder", "out_channels": stem, "kernel": 7, "stride": 2, "padding": 3,
         "norm": True, "activation": act},
        {"name": "pooler", "type": "pool", "kernel": 3, "stride": 2, "padding": 1},
    ]  # fmt: skip
    before, last = stem, "pooler"
    first = config.flag("downsample_in_first_stage", default=False)
    for s, (width, depth) in enumerate(_widths(config)):
        for i in range(depth):
            stride = 2 if i == 0 and (s > 0 or first) else 1
            where = f"stages.{s}.layers.{i}"
            layers += _block(config, where, last, before, width, stride)
            before, last = width, f"{where}.sum"
    return [*layers, *classifier(config)]


def _block(
    config: Config, where: str, last: str, before: int, width: int, stride: int
) -> list[Layer]:
    """List a residual block.

    Parameters
    ----------
    config : Config
    where, last : str
        Its name, and that of the layer it reads.
    before, width, stride : int
        Channels that it reads and leaves, and its stride.
    """
    act, kind = activation_of(config), config.string("layer_type")
    if kind not in ("basic", "bottleneck"):
        raise config.error(
            f"'layer_type' is {kind!r}; it must be 'basic' or 'bottleneck'.", "layer_type"
        )
    early = config.flag("downsample_in_bottleneck", default=False)
    narrow = width // 4
    sizes = [(width, 3, stride), (width, 3, 1)]
    if kind == "bottleneck":
        strides = (stride, 1) if early else (1, stride)
        sizes = [(narrow, 1, strides[0]), (narrow, 3, strides[1]), (width, 1, 1)]
    made: list[Layer] = []
    for i, (channels, kernel, step) in enumerate(sizes):
        layer: Layer = {
            "name": f"{where}.layer.{i}", "out_channels": channels, "kernel": kernel,
            "stride": step, "padding": kernel // 2, "norm": True,
        }  # fmt: skip
        made.append({**layer, "activation": act} if i < len(sizes) - 1 else layer)
    made[0]["from"] = last
    around = last
    if before != width or stride != 1:
        around = f"{where}.shortcut"
        made.append({"name": around, "from": last, "out_channels": width, "kernel": 1,
                     "stride": stride, "norm": True})  # fmt: skip
    joined = [f"{where}.layer.{len(sizes) - 1}", around]
    return [*made, {"name": f"{where}.sum", "type": "add", "from": joined, "activation": act}]


def _convnext(config: Config) -> list[Layer]:
    """List a ConvNeXt (arXiv:2201.03545); norms count where the input they scale is made."""
    act, patch = activation_of(config), config.integer("patch_size")
    stages = _widths(config)
    scaled = (config.get("layer_scale_init_value") or 0) > 0
    layers: list[Layer] = [
        {"name": "patch_embeddings", "out_channels": stages[0][0], "kernel": patch,
         "stride": patch, "bias": True, "norm": True},
    ]  # fmt: skip
    last = "patch_embeddings"
    for s, (width, depth) in enumerate(stages):
        if s:
            last = f"stages.{s}.downsampling"
            layers.append({"name": last, "out_channels": width, "kernel": 2, "stride": 2,
                           "bias": True})  # fmt: skip
        for i in range(depth):
            where = f"stages.{s}.layers.{i}"
            layers += [
                {"name": f"{where}.dwconv", "from": last, "out_channels": width, "kernel": 7,
                 "padding": 3, "groups": width, "bias": True, "norm": True},
                {"name": f"{where}.pwconv1", "out_channels": 4 * width, "kernel": 1, "bias": True,
                 "activation": act},
                {"name": f"{where}.pwconv2", "out_channels": width, "kernel": 1, "bias": True,
                 "scale": scaled, "norm": i == depth - 1},
                {"name": f"{where}.sum", "type": "add", "from": [f"{where}.pwconv2", last]},
            ]  # fmt: skip
            last = f"{where}.sum"
    return [*layers, *classifier(config)]


CONV_FAMILIES: Mapping[str, ConvFamily] = {
    "mobilenet_v2": ConvFamily(
        layers=mobilenet_v2,
        defaults={
            "num_channels": 3,
            "depth_multiplier": 1.0,
            "depth_divisible_by": 8,
            "min_depth": 8,
            "expand_ratio": 6.0,
            "output_stride": 32,
            "first_layer_is_expansion": True,
            "finegrained_output": True,
            "hidden_act": "relu6",
            "tf_padding": True,
            "image_size": 224,
        },
    ),
    "efficientnet": ConvFamily(
        layers=efficientnet,
        defaults={
            "num_channels": 3,
            "width_coefficient": 2.0,
            "depth_coefficient": 3.1,
            "depth_divisor": 8,
            "kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
            "in_channels": [32, 16, 24, 40, 80, 112, 192],
            "out_channels": [16, 24, 40, 80, 112, 192, 320],
            "depthwise_padding": [],
            "strides": [1, 2, 2, 2, 1, 2, 1],
            "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
            "expand_ratios": [1, 6, 6, 6, 6, 6, 6],
            "squeeze_expansion_ratio": 0.25,
            "hidden_act": "swish",
            "image_size": 600,
        },
    ),
    "resnet": ConvFamily(
        layers=_resnet,
        defaults={
            "num_channels": 3,
            "embedding_size": 64,
            "hidden_sizes": [256, 512, 1024, 2048],
            "depths": [3, 4, 6, 3],
            "layer_type": "bottleneck",
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
            "downsample_in_bottleneck": False,
            "image_size": 224,
        },
    ),
    "convnext": ConvFamily(
        layers=_convnext,
        defaults={
            "num_channels": 3,
            "patch_size": 4,
            "num_stages": 4,
            "hidden_sizes": [96, 192, 384, 768],
            "depths": [3, 3, 9, 3],
            "hidden_act": "gelu",
            "layer_scale_init_value": 1e-6,
            "image_size": 224,
        },
    ),
}
"""Networks by ``model_type``."""


def read_convolutions(config: Config) -> ConvNet:
    """Read a convolution network of transformers; its image is ``image_size`` wide, 224 by default.

    Raises
    ------
    BitlatheError
        A key that looks mistyped, or a value that is impossible.
    """
    family = CONV_FAMILIES[config.string("model_type")]
    check_keys(config, family.defaults)
    config = replace(config, defaults={**family.defaults, **config.defaults})
    side = config.integer("image_size")
    listed = {
        "input": [config.integer("num_channels"), side, side],
        "layers": family.layers(config),
    }
    made = replace(config, data=listed, loc=(), place=config.where())
    return read_convnet(made)
