"""Networks of inverted residuals: MobileNet V2 (arXiv:1801.04381), EfficientNet (arXiv:1905.11946).

Structures follow the classes of the same names in transformers 5.24.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any

from ..config import Config
from .listed_layers import Layer, activation_of, classifier, padding

_MOBILE = (
    (16, 2), (24, 1), (24, 2), (32, 1), (32, 1), (32, 2), (64, 1), (64, 1), (64, 1), (64, 1),
    (96, 1), (96, 1), (96, 2), (160, 1), (160, 1), (160, 1), (320, 1),
)  # fmt: skip
"""Channels of each block of MobileNet V2, and the stride of the block behind it."""


@dataclass(slots=True, kw_only=True)
class _List:
    """Layers listed so far, with the channels and the side of what the last one leaves."""

    act: str
    channels: int
    side: int
    layers: list[Layer] = field(default_factory=list)
    last: str = "input"

    def conv(
        self,
        name: str,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        depthwise: bool = False,
        outputs: int | None = None,
        activated: bool = True,
    ) -> None:
        """List a convolution with its norm.

        Parameters
        ----------
        name : str
        channels, kernel, stride, dilation : int
        depthwise : bool
            Whether each channel has a filter of its own.
        outputs : int or None
            Pixels of a side that it leaves; None: as many as strides fit, as of padding "same".
        activated : bool
            Whether an activation follows.
        """
        left = -(-self.side // stride) if outputs is None else outputs
        wide = dilation * (kernel - 1) + 1
        layer: Layer = {
            "name": name, "from": self.last, "out_channels": channels, "kernel": kernel,
            "stride": stride, "padding": padding(self.side, wide, stride, left),
            "dilation": dilation, "norm": True,
        }  # fmt: skip
        more = {"groups": channels} if depthwise else {}
        self.layers.append({**layer, **more, **({"activation": self.act} if activated else {})})
        self.channels, self.side, self.last = channels, left, name

    def join(self, name: str, kind: str, *sources: str) -> None:
        """List a sum or a product of earlier results."""
        self.layers.append({"name": name, "type": kind, "from": list(sources)})
        self.last = name


def _number(config: Config, key: str) -> float:
    """Return a number above 0.

    Raises
    ------
    BitlatheError
        If it is none.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 2**10:
        raise config.error(f"{key!r} is {value!r}; it must be a number above 0, as 1.0.", key)
    return float(value)


def _divisible(value: float, by: int, least: int) -> int:
    """Return a multiple near a value, not more than a tenth below it."""
    found = max(least, int(value + by / 2) // by * by)
    return found + by if found < 0.9 * value else found


def mobilenet_v2(config: Config) -> list[Layer]:
    """List a MobileNet V2; one side's odd padding is counted as even, with the same outputs."""
    times, by = _number(config, "depth_multiplier"), config.integer("depth_divisible_by")
    least, ratio = config.integer("min_depth"), _number(config, "expand_ratio")
    made = _List(
        act=activation_of(config),
        channels=config.integer("num_channels"),
        side=config.integer("image_size"),
    )

    def scaled(channels: int) -> int:
        return _divisible(round(channels * times), by, least)

    made.conv("conv_stem.first_conv", scaled(32), 3, stride=2)
    if not config.flag("first_layer_is_expansion", default=True):
        made.conv("conv_stem.expand_1x1", scaled(32))
    made.conv("conv_stem.conv_3x3", scaled(32), 3, depthwise=True)
    made.conv("conv_stem.reduce_1x1", scaled(16), activated=False)
    reached, dilation, most = 2, 1, config.integer("output_stride")
    for i, ((_, step), (channels, _)) in enumerate(pairwise(_MOBILE)):
        wider_filters = reached == most  # in the place of smaller maps
        spread, stride = (dilation, 1) if wider_filters else (1, step)
        dilation *= step if wider_filters else 1
        reached *= stride
        before, entry, where = made.channels, made.last, f"layer.{i}"
        inner, left = _divisible(round(before * ratio), by, least), scaled(channels)
        made.conv(f"{where}.expand_1x1", inner)
        made.conv(f"{where}.conv_3x3", inner, 3, stride=stride, dilation=spread, depthwise=True)
        made.conv(f"{where}.reduce_1x1", left, activated=False)
        if stride == 1 and left == before:
            made.join(f"{where}.sum", "add", made.last, entry)
    fine = config.flag("finegrained_output", default=True) and times < 1
    made.conv("conv_1x1", 1280 if fine else scaled(1280))
    return [*made.layers, *classifier(config)]


def _whole(config: Config, key: str) -> list[int]:
    """Return a list of integers above 0.

    Raises
    ------
    BitlatheError
        If it holds others, or very many.
    """
    given = [*config.items(key)]
    bad = [n for n in given if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= 2**16]
    if bad or not given:
        raise config.error(f"{key!r} is {given!r}; it must list an integer a stage.", key)
    return given


def _stages(config: Config) -> list[dict[str, Any]]:
    """Return the stages of an EfficientNet, before they are scaled.

    Raises
    ------
    BitlatheError
        If one list is longer than another.
    """
    keys = (
        "in_channels", "out_channels", "strides", "kernel_sizes", "expand_ratios",
        "num_block_repeats",
    )  # fmt: skip
    columns = {key: _whole(config, key) for key in keys}
    for key, column in columns.items():
        if len(column) != len(columns[keys[0]]):
            raise config.error(
                f"{key!r} lists {len(column)} stages, {keys[0]!r} {len(columns[keys[0]])}; they "
                "must be as many.",
                key,
            )
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(keys, row, strict=True)) for row in rows]


def efficientnet(config: Config) -> list[Layer]:
    """List an EfficientNet; one side's odd padding is counted as even, with the same outputs.

    Raises
    ------
    BitlatheError
        If a key is missing, a value impossible, or a stage does not read what the last one leaves.
    """
    by, wider = config.integer("depth_divisor"), _number(config, "width_coefficient")
    deeper = _number(config, "depth_coefficient")
    made = _List(
        act=activation_of(config),
        channels=config.integer("num_channels"),
        side=config.integer("image_size"),
    )

    def scaled(channels: int) -> int:
        return _divisible(channels * wider, by, by)

    made.conv("embeddings", scaled(32), 3, stride=2, outputs=(made.side - 2) // 2 + 1)
    number = 0
    for stage in _stages(config):
        for repeat in range(ceil(deeper * stage["num_block_repeats"])):
            inputs = scaled(stage["out_channels" if repeat else "in_channels"])
            if inputs != made.channels:
                raise config.error(
                    f"'in_channels' makes {inputs} channels where {made.channels} come in.",
                    "in_channels",
                )
            _block(config, made, f"blocks.{number}", stage, scaled(stage["out_channels"]), repeat)
            number += 1
    made.conv("top_conv", scaled(1280))
    return [*made.layers, *classifier(config)]


def _block(
    config: Config, made: _List, where: str, stage: dict[str, Any], left: int, repeat: int
) -> None:
    """List a block: wider, each channel by itself, weighed, narrower.

    Parameters
    ----------
    config, made
        The configuration, and the list so far.
    where : str
        The block's name.
    stage : dict
        Its stage.
    left : int
        Channels that it leaves.
    repeat : int
        Its number within the stage.
    """
    entry, before = made.last, made.channels
    stride = 1 if repeat else stage["strides"]
    inner, kernel = before * stage["expand_ratios"], stage["kernel_sizes"]
    if inner != before:
        made.conv(f"{where}.expand_conv", inner)
    even = int(where.rpartition(".")[2]) in config.items("depthwise_padding")
    outputs = made.side if stride == 1 else (made.side - 2 + even) // stride + 1
    made.conv(
        f"{where}.depthwise_conv", inner, kernel, stride=stride, depthwise=True, outputs=outputs
    )
    narrow = max(1, int(before * _number(config, "squeeze_expansion_ratio")))
    wide, weighed = made.last, f"{where}.squeeze"
    made.layers += [
        {"name": weighed, "type": "global_pool"},
        {"name": f"{where}.reduce", "out_channels": narrow, "kernel": 1, "bias": True,
         "activation": made.act},
        {"name": f"{where}.expand", "out_channels": inner, "kernel": 1, "bias": True,
         "activation": "sigmoid"},
    ]  # fmt: skip
    made.join(f"{where}.scale", "multiply", wide, f"{where}.expand")
    made.conv(f"{where}.project_conv", left, activated=False)
    if repeat:
        made.join(f"{where}.sum", "add", made.last, entry)
