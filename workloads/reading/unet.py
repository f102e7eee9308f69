"""UNets of diffusers (0.42.1): residual blocks of convolutions, and attention to a text between."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..config import Config
from ..products import Products
from ..slices import Slice
from .built import Net, Value, divisible

_CROSS = "CrossAttn"
_TOKENS = 77  # of CLIP's text encoders
_NORM = ("layer_norm",)
_MOST_BLOCKS = 2000  # residual blocks and transformer blocks of one way through all levels
_DEFAULTS = {
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "use_linear_projection": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "act_fn": "silu",
}
_ONLY: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish"),
    "addition_embed_type": (None, "text_time"),
    "attention_type": ("default",),
    "class_embed_type": (None,),
    "class_embeddings_concat": (False,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim_type": (None,),
    "encoder_hid_dim": (None,),
    "mid_block_only_cross_attention": (None, False),
    "num_attention_heads": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_time_scale_shift": ("default",),
    "reverse_transformer_layers_per_block": (None,),
    "time_cond_proj_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
}
"""Values that are read of keys that ask for another structure; the first is the class's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """What the blocks of one resolution are made of; ``attends`` on the way down, and up."""

    channels: int
    layers: int
    attends: tuple[bool, bool]
    heads: int
    depth: int
    text: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """Blocks as they are built into a network."""

    net: Net
    groups: int
    linear: bool
    time: Value
    tokens: int

    def residual(self, where: str, x: Value, channels: int) -> Value:
        """Return two convolutions, each behind a norm, with the time between, and what they read.

        Parameters
        ----------
        where : str
            The block's path.
        x : Value
        channels : int
            That it leaves.
        """
        net = self.net
        inner = net.norm(f"{where}.norm1", _NORM, x, self.groups)
        inner = net.each(f"{where}.norm1.silu", ("silu",), inner)
        inner = net.convolution(f"{where}.conv1", inner, channels, 3, padding=1, apart=self.groups)
        time = net.each(f"{where}.time.silu", ("silu",), self.time)
        time = net.linear(f"{where}.time_emb_proj", time, channels, apart=self.groups)
        inner = net.each(f"{where}.time.add", ("add",), inner, time)
        inner = net.norm(f"{where}.norm2", _NORM, inner, net.tensor.of(self.groups))
        inner = net.each(f"{where}.norm2.silu", ("silu",), inner)
        inner = net.convolution(f"{where}.conv2", inner, channels, 3, padding=1, summed=True)
        if x.channels != channels:
            x = net.convolution(f"{where}.conv_shortcut", x, channels, 1)
        return net.each(f"{where}.add", ("add",), inner, x)

    def transformer(self, where: str, x: Value, level: _Level) -> Value:
        """Return attention of the pixels to each other and to the text, and an MLP, in turn.

        Parameters
        ----------
        where : str
            The transformer's path.
        x : Value
        level : _Level
        """
        net = self.net
        inner = net.norm(f"{where}.norm", _NORM, x, self.groups)
        inner = self._project(f"{where}.proj_in", inner)
        for i in range(level.depth):
            block = f"{where}.transformer_blocks.{i}"
            text = Value(channels=level.text, size=(self.tokens,))
            for number, seen in ((1, None), (2, text)):
                normed = net.norm(f"{block}.norm{number}", _NORM, inner)
                made = self._attend(f"{block}.attn{number}", normed, seen or normed, level.heads)
                inner = net.each(f"{block}.attn{number}.add", ("add",), made, inner)
            normed = net.norm(f"{block}.norm3", _NORM, inner)
            wide = 4 * inner.channels
            both = net.linear(f"{block}.ff.proj", normed, 2 * wide, apart=wide)
            half = replace(both, channels=both.channels // 2)
            gated = net.each(f"{block}.ff.gelu", ("gelu", "multiply"), half)
            made = net.linear(f"{block}.ff.out", gated, inner.channels, summed=True)
            inner = net.each(f"{block}.ff.add", ("add",), made, inner)
        return net.each(f"{where}.add", ("add",), self._project(f"{where}.proj_out", inner), x)

    def _project(self, name: str, x: Value) -> Value:
        if self.linear:
            return self.net.linear(name, x, x.channels)
        return self.net.convolution(name, x, x.channels, 1)

    def _attend(self, where: str, x: Value, seen: Value, heads: int) -> Value:
        net, wide = self.net, x.channels
        query, key, value = (
            net.linear(f"{where}.to_{name}", read, wide, bias=False, apart=heads)
            for name, read in (("q", x), ("k", seen), ("v", seen))
        )
        mix = net.attention(where, query, key, value, heads)
        return net.linear(f"{where}.to_out", mix, wide, summed=True)


def read_unet(config: Config) -> tuple[Products, list[str]]:
    """Read ``UNet2DConditionModel``, and what is taken that the file does not say.

    Raises
    ------
    BitlatheError
        If a value is impossible or not read.
    """
    config = replace(config, defaults={**{k: v[0] for k, v in _ONLY.items()}, **_DEFAULTS})
    for key, known in _ONLY.items():
        if config.get(key) not in known:
            said = " or ".join(map(repr, known))
            raise config.error(f"{key!r} is {config.get(key)!r}; only {said} is supported.", key)
    _, notes = _side(config)
    return divisible(partial(_built, config)), notes


def _built(config: Config, tensor: Slice) -> Products:
    """Return one chip's share of the network.

    Raises
    ------
    BitlatheError
        If a value is impossible, or chips are more than heads or groups of channels.
    """
    side, _ = _side(config)
    levels = _levels(config, side)
    net, groups = Net(tensor), config.integer("norm_num_groups")
    for level in levels:
        if level.channels % groups or level.channels % level.heads:
            raise config.error(
                f"'block_out_channels' names {level.channels}, which 'norm_num_groups' ({groups}) "
                f"and the number of heads ({level.heads}) must divide.",
                "block_out_channels",
            )
    blocks = _Blocks(
        net=net,
        groups=groups,
        linear=config.flag("use_linear_projection", default=False),
        time=_time(config, net, levels[0].channels),
        tokens=config.integer("max_sequence_length", default=_TOKENS),
    )
    image = Value(channels=config.integer("in_channels"), size=(side, side))
    kernel = config.integer("conv_in_kernel")
    x = net.convolution("conv_in", image, levels[0].channels, kernel, padding=(kernel - 1) // 2)
    x, skips = _down(blocks, levels, x)
    if config.get("mid_block_type") is not None:
        x = blocks.residual("mid_block.resnets.0", x, x.channels)
        x = blocks.transformer("mid_block.attentions.0", x, levels[-1])
        x = blocks.residual("mid_block.resnets.1", x, x.channels)
    x = _up(blocks, levels, x, skips)
    x = net.norm("conv_norm_out", _NORM, x, groups)
    x = net.each("conv_norm_out.silu", ("silu",), x)
    kernel, left = config.integer("conv_out_kernel"), config.integer("out_channels")
    made = net.convolution("conv_out", x, left, kernel, padding=(kernel - 1) // 2)
    return net.products(made)


def _down(blocks: _Blocks, levels: list[_Level], x: Value) -> tuple[Value, list[Value]]:
    """Return what the blocks on the way down leave, and what each of their layers does."""
    skips = [x]
    for i, level in enumerate(levels):
        where = f"down_blocks.{i}"
        for j in range(level.layers):
            x = blocks.residual(f"{where}.resnets.{j}", x, level.channels)
            if level.attends[0]:
                x = blocks.transformer(f"{where}.attentions.{j}", x, level)
            skips.append(x)
        if i < len(levels) - 1:
            name = f"{where}.downsamplers.0.conv"
            x = blocks.net.convolution(name, x, level.channels, 3, stride=2, padding=1)
            skips.append(x)
    return x, skips


def _up(blocks: _Blocks, levels: list[_Level], x: Value, skips: list[Value]) -> Value:
    """Return what the blocks on the way up leave; each layer reads one of the way down, too."""
    for i, level in enumerate(reversed(levels)):
        where = f"up_blocks.{i}"
        for j in range(level.layers + 1):
            x = blocks.residual(f"{where}.resnets.{j}", x.beside(skips.pop()), level.channels)
            if level.attends[1]:
                x = blocks.transformer(f"{where}.attentions.{j}", x, level)
        if i < len(levels) - 1:
            x = replace(x, size=skips[-1].size)  # the nearest pixel, twice along each axis
            name = f"{where}.upsamplers.0.conv"
            x = blocks.net.convolution(name, x, level.channels, 3, padding=1)
    return x


def _time(config: Config, net: Net, channels: int) -> Value:
    """Return what the time, and of SDXL sizes and the text as a whole, make of a step."""
    wide, one = 4 * channels, Value(channels=channels, size=(1,))
    found = _embedded(net, "time_embedding", one, wide)
    if config.get("addition_embed_type") is None:
        return found
    added = Value(channels=config.integer("projection_class_embeddings_input_dim"), size=(1,))
    more = _embedded(net, "add_embedding", added, wide)
    return net.each("add_embedding.add", ("add",), more, found)


def _embedded(net: Net, name: str, x: Value, wide: int) -> Value:
    first = net.linear(f"{name}.linear_1", x, wide, apart=wide)
    inner = net.each(f"{name}.silu", ("silu",), first)
    return net.linear(f"{name}.linear_2", inner, wide, summed=True)


def _levels(config: Config, side: int) -> list[_Level]:
    """Return the resolutions, the finest first.

    Raises
    ------
    BitlatheError
        If lists do not fit together, or a block is not read.
    """
    widths = list(_each(config, "block_out_channels", None))
    down, up = config.items("down_block_types"), list(reversed(config.items("up_block_types")))
    for key, given, kind in (("down_block_types", down, "Down"), ("up_block_types", up, "Up")):
        known = (f"{kind}Block2D", f"{_CROSS}{kind}Block2D")
        if len(given) != len(widths) or any(name not in known for name in given):
            raise config.error(
                f"{key!r} is {config.get(key)!r}; it must name {' or '.join(known)} for each of "
                f"the {len(widths)} 'block_out_channels'.",
                key,
            )
    if config.get("mid_block_type") not in (None, _DEFAULTS["mid_block_type"]):
        raise config.error(
            f"'mid_block_type' is {config.get('mid_block_type')!r}; it must be "
            f"{_DEFAULTS['mid_block_type']!r} or null.",
            "mid_block_type",
        )
    if side % 2 ** (len(widths) - 1):
        raise config.error(
            f"'sample_size' is {side}; it must be a multiple of {2 ** (len(widths) - 1)}, as it "
            f"is halved {len(widths) - 1} times.",
            "sample_size",
        )
    listed = (
        _each(config, key, len(widths))
        for key in (
            "layers_per_block",
            "attention_head_dim",  # of which the class makes the number of heads
            "transformer_layers_per_block",
            "cross_attention_dim",
        )
    )
    levels = [
        _Level(
            channels=width,
            layers=layers,
            attends=(a.startswith(_CROSS), b.startswith(_CROSS)),
            heads=heads,
            depth=depth,
            text=text,
        )
        for width, a, b, layers, heads, depth, text in zip(widths, down, up, *listed, strict=True)
    ]
    blocks = sum(level.layers * (1 + level.depth) for level in levels)
    if blocks > _MOST_BLOCKS:
        raise config.error(
            f"the levels hold {blocks:,} blocks ('layers_per_block', "
            f"'transformer_layers_per_block'); at most {_MOST_BLOCKS:,} are supported.",
            "layers_per_block",
        )
    return levels


def _each(config: Config, key: str, count: int | None) -> Iterator[int]:
    """Yield the positive integers of a list, or one for all of ``count``."""
    given = config.get(key)
    if count is not None and not isinstance(given, list):
        yield from [config.integer(key)] * count
        return
    listed = config.items(key)
    right = all(type(n) is int and n > 0 for n in listed) and sum(listed) <= 2**20
    if not right or not listed or len(listed) != (count or len(listed)):
        many = "some" if count is None else f"{count}"
        raise config.error(f"{key!r} is {listed!r}; it must list {many} positive integers.", key)
    yield from listed


def _side(config: Config) -> tuple[int, list[str]]:
    """Return the side of the latent image, and what is taken of a step.

    Raises
    ------
    BitlatheError
        If it is no positive integer.
    """
    notes = []
    if config.get("max_sequence_length") is None:
        notes.append(
            f"a pass is one step of denoising; taken are texts of {_TOKENS} tokens, as the class "
            "takes any: 'max_sequence_length' of the file is of others."
        )
    if config.get("sample_size") is None:
        notes.append("taken are latents of 64 x 64, as the file names no 'sample_size'.")
        return 64, notes
    return config.integer("sample_size"), notes
