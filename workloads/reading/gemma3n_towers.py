"""Towers of Gemma 3n: MobileNet-V5 for images, a conformer for sounds, and what joins them.

Structure follows the classes of Gemma 3n in transformers 5.24, and ``mobilenetv5_300m_enc`` of
timm 1.0 (arXiv:2404.10518 for its blocks, arXiv:2005.08100 and 2303.01037 for the conformer).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..config import Config
from ..products import Products
from .built import Net, Value
from .conformer import Chunks, layer
from .listed_layers import check_keys
from .listed_towers import ListedTower

_NORM = ("rms_norm",)
_IMAGE, _FRAMES = 768, 3000
_BACKBONE = "mobilenetv5_300m_enc"
_VISION: Mapping[str, Any] = {
    "architecture": _BACKBONE, "hidden_size": 2048, "vocab_size": 128, "vocab_offset": 262_144,
    "rms_norm_eps": 1e-6, "do_pooling": False, "model_args": None, "image_size": _IMAGE,
}  # fmt: skip
_AUDIO: Mapping[str, Any] = {
    "vocab_size": 128, "vocab_offset": 262_272, "input_feat_size": 128, "hidden_size": 1536,
    "rms_norm_eps": 1e-6, "gradient_clipping": 1e10, "conf_attention_chunk_size": 12,
    "conf_attention_context_left": 13, "conf_attention_context_right": 0,
    "conf_attention_logit_cap": 50.0, "conf_num_attention_heads": 8,
    "conf_num_hidden_layers": 12, "conf_conv_kernel_size": 5, "conf_reduction_factor": 4,
    "conf_residual_weight": 0.5, "sscp_conv_channel_size": [128, 32],
    "sscp_conv_group_norm_eps": 1e-3, "sscp_conv_kernel_size": [[3, 3], [3, 3]],
    "sscp_conv_stride_size": [[2, 2], [2, 2]], "frames": _FRAMES,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """Blocks of one resolution.

    Attributes
    ----------
    channels, first : int
        Of its results, and how much wider the first block is within, which halves the image.
    taps : tuple of int
        Of the depthwise convolutions ahead of all blocks but those without one.
    plain, pairs : int
        Blocks behind these that have no convolution over the image, and are no wider within; and
        pairs of attention and a block twice as wide within.
    heads, width, coarser : int
        Of this attention: of queries, of a head; how much coarser keys and values are.
    """

    channels: int
    first: int
    taps: tuple[int, ...]
    plain: int = 0
    pairs: int = 0
    heads: int = 0
    width: int = 0
    coarser: int = 1


_STEM, _FUSED, _JOINT = 64, (128, 3), (3840, 2048)
_STAGES = (
    _Stage(channels=256, first=6, taps=(3, 5, 3, 5, 3)),
    _Stage(channels=640, first=6, taps=(5,) * 8, plain=1, pairs=14, heads=12, width=64, coarser=2),
    _Stage(channels=1280, first=6, taps=(5,), pairs=19, heads=16, width=96),
)
_SIDE = 16  # of the tokens that an image becomes


def _seen(config: Config, hidden: int) -> Products | None:
    """Return the tower of images; None where it is of another architecture."""
    known = config.data.get("architecture", _BACKBONE) == _BACKBONE
    return _vision(config, hidden) if known else None


def _joined(net: Net, config: Config, x: Value, hidden: int) -> Products:
    """Return the tower with what brings its tokens to the text's width.

    Beside it stand words of its own, which begin and end an image or a sound, and their norm.
    """
    wide = config.integer("hidden_size")
    if x.channels != wide:
        raise config.error(
            f"'hidden_size' is {wide}; the tower leaves {x.channels} channels, and both must be "
            "the same.",
            "hidden_size",
        )
    net.vectors += config.integer("vocab_size") * wide + wide
    x = net.norm("embedder.soft_embedding_norm", _NORM, x, shift=False)
    x = net.linear("embedder.embedding_projection", x, hidden, bias=False)
    x = net.norm("embedder.post_projection_norm", _NORM, x, learned=False)
    return replace(net.products(x), tokens_left=x.places)


def _vision(config: Config, hidden: int) -> Products:
    check_keys(config, _VISION)
    config = replace(config, defaults={**_VISION, **config.defaults})
    side = config.integer("image_size")
    if side % (32 * _SIDE) and side != _IMAGE:
        raise config.error(
            f"'image_size' is {side}; it must be {_IMAGE}, or a multiple of {32 * _SIDE}.",
            "image_size",
        )
    net = Net()
    x = Value(channels=3, size=(side, side))
    x = _normed(net, "conv_stem", net.convolution("conv_stem", x, _STEM, 3, stride=2, padding=1))
    wide, count = _FUSED
    for i in range(count):
        x = _fused(net, f"blocks.0.{i}", x, wide, stride=1 + (not i))
    left: list[Value] = []
    for s, stage in enumerate(_STAGES, start=1):
        x = _stage(net, f"blocks.{s}", x, stage)
        left.append(x)
    fine, coarse = left[-2:]
    x = fine.beside(replace(coarse, size=fine.size))
    for name, channels in zip(("pw_exp", "pw_proj"), _JOINT, strict=True):
        x = net.convolution(f"msfa.ffn.{name}", x, channels, 1, bias=False)
        x = _normed(net, f"msfa.ffn.{name}", x, active=name == "pw_exp")
    pooled = replace(x, size=(_SIDE, _SIDE))
    x = net.pooled("msfa.pool", x, pooled)
    return _joined(net, config, _normed(net, "msfa", x, active=False), hidden)


def _normed(net: Net, name: str, x: Value, *, active: bool = True) -> Value:
    done = (*_NORM, "gelu") if active else _NORM
    return net.norm(f"{name}.norm", done, x, shift=False)


def _stage(net: Net, where: str, x: Value, stage: _Stage) -> Value:
    number = 0
    for i, taps in enumerate(stage.taps):
        ratio, middle = (4, 0) if i else (stage.first, 5)
        x = _inverted(net, f"{where}.{number}", x, stage.channels, ratio, taps, middle)
        number += 1
    for _ in range(stage.plain):
        x = _inverted(net, f"{where}.{number}", x, stage.channels, 1)
        number += 1
    for _ in range(stage.pairs):
        x = _attention(net, f"{where}.{number}", x, stage)
        x = _inverted(net, f"{where}.{number + 1}", x, stage.channels, 2)
        number += 2
    return x


def _fused(net: Net, where: str, x: Value, channels: int, stride: int) -> Value:
    """Return a block of two convolutions, the first over the image and four times as wide."""
    name = f"{where}.conv_exp"
    inner = net.convolution(name, x, 4 * x.channels, 3, stride=stride, padding=1, bias=False)
    inner = net.convolution(f"{where}.conv_pwl", _normed(net, name, inner), channels, 1, bias=False)
    inner = _normed(net, f"{where}.conv_pwl", inner, active=False)
    return inner if stride > 1 else net.each(f"{where}.add", ("add",), inner, x)


def _depthwise(net: Net, name: str, x: Value, taps: int, stride: int = 1) -> Value:
    ends, groups = taps // 2, x.channels
    return net.convolution(
        name, x, x.channels, taps, stride=stride, padding=ends, bias=False, groups=groups
    )


def _inverted(
    net: Net, where: str, x: Value, channels: int, ratio: int, taps: int = 0, middle: int = 0
) -> Value:
    """Return a universal inverted bottleneck: two matrices, and depthwise convolutions.

    ``taps`` ahead of the first one, ``middle`` between both, which halves the image; 0: none.
    """
    inner = x
    if taps:
        inner = _depthwise(net, f"{where}.dw_start", inner, taps)
        inner = _normed(net, f"{where}.dw_start", inner, active=False)
    inner = net.convolution(f"{where}.pw_exp", inner, ratio * x.channels, 1, bias=False)
    inner = _normed(net, f"{where}.pw_exp", inner)
    if middle:
        inner = _depthwise(net, f"{where}.dw_mid", inner, middle, stride=2)
        inner = _normed(net, f"{where}.dw_mid", inner)
    inner = net.convolution(f"{where}.pw_proj", inner, channels, 1, bias=False)
    inner = _normed(net, f"{where}.pw_proj", inner, active=False)
    return _scaled(net, where, inner, None if middle else x)


def _scaled(net: Net, where: str, inner: Value, x: Value | None) -> Value:
    """Return results times a learned scale of each channel, added to what came in."""
    net.vectors += inner.channels
    if x is None:
        return net.each(f"{where}.scale", ("multiply",), inner)
    return net.each(f"{where}.add", ("multiply", "add"), inner, x)


def _attention(net: Net, where: str, x: Value, stage: _Stage) -> Value:
    """Return attention of all pixels, whose heads share one of keys and of values."""
    normed = _normed(net, where, x, active=False)
    query = net.convolution(f"{where}.query", normed, stage.heads * stage.width, 1, bias=False)
    made: dict[str, Value] = {}
    for name in ("key", "value"):
        seen = normed
        if stage.coarser > 1:
            seen = _depthwise(net, f"{where}.{name}.down_conv", seen, 3, stride=stage.coarser)
            seen = _normed(net, f"{where}.{name}", seen, active=False)
        made[name] = net.convolution(f"{where}.{name}", seen, stage.width, 1, bias=False)
    mix = net.attention(
        f"{where}.attn", query, made["key"], made["value"], stage.heads, shared=stage.heads
    )
    return _scaled(
        net, where, net.convolution(f"{where}.output", mix, x.channels, 1, bias=False), x
    )


def _audio(config: Config, hidden: int) -> Products:
    check_keys(config, _AUDIO)
    config = replace(config, defaults={**_AUDIO, **config.defaults})
    net, wide = Net(), config.integer("hidden_size")
    x = Value(channels=1, size=(config.integer("frames"), config.integer("input_feat_size")))
    channels = config.items("sscp_conv_channel_size")
    kernels, strides = (_pairs(config, f"sscp_conv_{key}_size") for key in ("kernel", "stride"))
    for i, (taps, step) in enumerate(zip(kernels, strides, strict=True)):
        name = f"subsample.conv_{i}"
        ends = (taps[0] // 2, 1)  # as many results as the class's, which pads the end of time
        x = net.convolution(name, x, channels[i], taps, stride=step, padding=ends, bias=False)
        x = net.norm(f"{name}.norm", ("layer_norm", "relu"), x, x.size[0], shift=False)
    x = Value(channels=x.channels * x.size[1], size=x.size[:1], origin=x.origin)
    x = net.linear("subsample.input_proj", x, wide, bias=False)
    before = max(0, config.integer("conf_attention_context_left") - 1)
    behind = config.integer("conf_attention_context_right", least=0)
    chunks = Chunks(
        heads=config.integer("conf_num_attention_heads"),
        size=config.integer("conf_attention_chunk_size"),
        before=before,
        behind=behind,
        places=before + behind + 1,
    )
    for i in range(config.count("conf_num_hidden_layers")):
        x = layer(net, f"conformer.{i}", x, chunks, config.integer("conf_conv_kernel_size"))
    fewer = config.integer("conf_reduction_factor")
    return _joined(net, config, replace(x, size=(-(-x.places // fewer),)), hidden)


def _pairs(config: Config, key: str) -> list[tuple[int, int]]:
    """Return the sizes of both convolutions, in time and in frequency.

    Raises
    ------
    BitlatheError
        If there are not two of each.
    """
    given = config.items(key)
    if len(given) == 2 and all(
        isinstance(each, list | tuple)
        and len(each) == 2
        and all(type(n) is int and 0 < n < 2**16 for n in each)
        for each in given
    ):
        return [(each[0], each[1]) for each in given]
    raise config.error(f"{key!r} is {given!r}; it must be two pairs of integers.", key)


_IMAGES = f"images are taken as {_IMAGE} x {_IMAGE} pixels"
_SOUNDS = f"sounds are taken as {_FRAMES} frames, 30 seconds"
GEMMA3N_TOWERS = (
    ListedTower("vision", "vision_config", _seen, "image_size", _IMAGES),
    ListedTower("audio", "audio_config", _audio, "frames", _SOUNDS),
)
"""Towers of Gemma 3n: one image, and one sound."""
