"""Swin (arXiv:2103.14030): attention in windows, of patches that are merged from stage to stage.

Structure follows the class of that name in transformers 5.24.
"""

from dataclasses import dataclass, replace
from functools import partial

from ...datatypes.base.errors import unknown_name
from ..config import Config
from ..conv import ACTIVATIONS
from ..products import Products
from ..slices import Slice
from .built import Net, Value, divisible
from .listed_layers import activation_of, check_keys, labels_of

_NORM = ("layer_norm",)
_DEFAULTS = {
    "image_size": 224,
    "patch_size": 4,
    "num_channels": 3,
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "hidden_act": "gelu",
    "use_absolute_embeddings": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """What the layers of all stages have alike: side of a window, MLP, biases, activation."""

    net: Net
    window: int
    ratio: float
    bias: bool
    activation: str

    def of(self, where: str, x: Value, heads: int) -> Value:
        """Return attention within windows, and an MLP.

        Parameters
        ----------
        where : str
            The layer's path.
        x : Value
        heads : int
        """
        net, wide = self.net, x.channels
        side = min(*x.size, self.window)
        padded = tuple(-(-length // side) * side for length in x.size)
        normed = net.norm(f"{where}.layernorm_before", _NORM, x)
        seen = replace(normed, size=padded)
        query, key, value = (
            net.linear(f"{where}.attention.{name}_proj", seen, wide, bias=self.bias, apart=heads)
            for name in ("q", "k", "v")
        )
        windows = seen.places // side**2
        mix = net.attention(f"{where}.attention", query, key, value, heads, windows)
        distances = (2 * self.window - 1) ** 2  # of two pixels: a bias for each
        net.vectors += distances * net.tensor.of(heads)
        out = net.linear(f"{where}.attention.o_proj", mix, wide, summed=True)
        x = net.each(f"{where}.attention.add", ("add",), replace(out, size=x.size), x)
        normed = net.norm(f"{where}.layernorm_after", _NORM, x)
        many = int(self.ratio * wide)
        inner = net.linear(f"{where}.mlp.fc1", normed, many, apart=many)
        inner = net.each(f"{where}.mlp.act", (self.activation,), inner)
        out = net.linear(f"{where}.mlp.fc2", inner, wide, summed=True)
        return net.each(f"{where}.mlp.add", ("add",), out, x)


def read_swin(config: Config) -> Products:
    """Read a Swin: one image of ``image_size``.

    Raises
    ------
    BitlatheError
        If a key looks mistyped, or a value is impossible.
    """
    check_keys(config, _DEFAULTS)
    config = replace(config, defaults={**_DEFAULTS, **config.defaults})
    return divisible(partial(_built, config))


def _built(config: Config, tensor: Slice) -> Products:
    """Return one chip's share of a Swin.

    Raises
    ------
    BitlatheError
        If a value is impossible, or chips are more than heads.
    """
    net, patch = Net(tensor), config.integer("patch_size")
    side = config.integer("image_size")
    grid = -(-side // patch)
    image = Value(channels=config.integer("num_channels"), size=(grid * patch, grid * patch))
    wide = config.integer("embed_dim")
    stages = _stages(config, wide, grid)
    x = net.convolution("embeddings.projection", image, wide, patch, stride=patch)
    x = net.norm("embeddings.norm", _NORM, x)
    if config.flag("use_absolute_embeddings", default=False):
        if side % patch:
            raise config.error(
                f"'patch_size' is {patch}, which does not divide the 'image_size' of {side}, as "
                "positions that are learned ask for.",
                "patch_size",
            )
        net.vectors += (side // patch) ** 2 * wide
        x = net.each("embeddings.position", ("add",), x)
    layer = _Layer(
        net=net,
        window=config.integer("window_size"),
        ratio=_ratio(config),
        bias=config.flag("qkv_bias", default=True),
        activation=_activation(config),
    )
    for s, (depth, heads) in enumerate(stages):
        if s:
            x = _merged(net, f"encoder.layers.{s - 1}.downsample", x)
        for i in range(depth):
            x = layer.of(f"encoder.layers.{s}.blocks.{i}", x, heads)
    x = net.mean("pooler", net.norm("layernorm", _NORM, x))
    labels = labels_of(config)
    return net.products(net.linear("classifier", x, labels) if labels else x)


def _merged(net: Net, where: str, x: Value) -> Value:
    """Return squares of four patches as one of twice as many channels."""
    high, wide = (-(-length // 2) for length in x.size)
    four = replace(x, channels=4 * x.channels, size=(high, wide))
    normed = net.norm(f"{where}.norm", _NORM, four)
    return net.linear(f"{where}.reduction", normed, 2 * x.channels, bias=False)


def _stages(config: Config, wide: int, grid: int) -> list[tuple[int, int]]:
    """Return the layers and heads of each stage.

    Raises
    ------
    BitlatheError
        If lists are not as long as each other, heads do not divide the width, or a window is wider
        than the patches of a stage.
    """
    found = []
    for key in ("depths", "num_heads"):
        given = config.items(key)
        if not given or any(type(n) is not int or n < 1 for n in given) or sum(given) > 2**20:
            raise config.error(f"{key!r} is {given!r}; it must list an integer a stage.", key)
        found.append(given)
    if len(found[0]) != len(found[1]):
        raise config.error(
            f"'depths' lists {len(found[0])} stages, 'num_heads' {len(found[1])}; they must be as "
            "many.",
            "depths",
        )
    window = config.integer("window_size")
    for s, heads in enumerate(found[1]):
        channels, left = wide * 2**s, -(-grid // 2**s)
        if channels % heads:
            raise config.error(
                f"'num_heads' names {heads}, which does not divide the {channels} channels of its "
                "stage.",
                "num_heads",
            )
        if left < window:
            raise config.error(
                f"'window_size' is {window}, but stage {s} has {left} x {left} patches; it must "
                "hold a window.",
                "window_size",
            )
    return list(zip(*found, strict=True))


def _activation(config: Config) -> str:
    """Return the activation of the MLPs.

    Raises
    ------
    BitlatheError
        If it is not known.
    """
    name = activation_of(config)
    if name not in ACTIVATIONS:
        raise config.error(unknown_name("activation", name, ACTIVATIONS), "hidden_act")
    return name


def _ratio(config: Config) -> float:
    """Return how much wider the MLP is.

    Raises
    ------
    BitlatheError
        If it is no positive number.
    """
    given = config.get("mlp_ratio")
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 2**16:
        raise config.error(f"'mlp_ratio' is {given!r}; it must be a positive number.", "mlp_ratio")
    return given
