"""Towers of Gemma 4: a transformer for images of any size, a conformer for sounds.

Structure follows the classes of Gemma 4 in transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config import Config
from ..products import Products
from .built import Net, Value
from .conformer import NORM, Chunks, layer
from .listed_layers import check_keys
from .listed_towers import ListedTower

_IMAGE, _FRAMES, _PIECES = 768, 3000, 750
_VISION: Mapping[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 16,
    "num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 64, "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131_072,
    "attention_bias": False, "attention_dropout": 0.0, "rope_parameters": None,
    "pooling_kernel_size": 3, "patch_size": 16, "position_embedding_size": 10_240,
    "use_clipped_linears": False, "standardize": False, "image_size": _IMAGE,
}  # fmt: skip
_AUDIO: Mapping[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 8, "hidden_act": "silu",
    "subsampling_conv_channels": [128, 32], "conv_kernel_size": 5, "residual_weight": 0.5,
    "attention_chunk_size": 12, "attention_context_left": 13, "attention_context_right": 0,
    "attention_logit_cap": 50.0, "attention_invalid_logits_value": -1e9,
    "use_clipped_linears": True, "rms_norm_eps": 1e-6, "gradient_clipping": 1e10,
    "output_proj_dims": 1536, "frames": _FRAMES,
}  # fmt: skip


_LARGE: Mapping[str, Any] = {
    "patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 3840, "mm_posemb_size": 1120,
    "output_proj_dims": 3840, "rms_norm_eps": 1e-6, "image_size": _IMAGE,
}  # fmt: skip
_PIECE: Mapping[str, Any] = {"audio_embed_dim": 640, "rms_norm_eps": 1e-6, "frames": _PIECES}


def _patched(config: Config, hidden: int) -> Products:
    """Return the matrix of large patches and its norms (`GEMMA4_EMBEDDERS`)."""
    check_keys(config, _LARGE)
    config = replace(config, defaults={**_LARGE, **config.defaults})
    patch = config.integer("patch_size") * config.integer("pooling_kernel_size")
    side, wide = config.integer("image_size"), config.integer("mm_embed_dim")
    if side % patch:
        raise config.error(
            f"'image_size' is {side}; it must be a multiple of 'patch_size' times "
            f"'pooling_kernel_size', {patch}.",
            "image_size",
        )
    _only(config, "output_proj_dims", wide)
    net, grid = Net(), side // patch
    x = net.norm("patch_ln1", ("layer_norm",), Value(channels=3 * patch**2, size=(grid, grid)))
    x = net.norm("patch_ln2", ("layer_norm",), net.linear("patch_dense", x, wide))
    net.vectors += 2 * config.integer("mm_posemb_size") * wide
    x = net.each("positions", ("add", "add"), x)
    return _joined(net, net.norm("pos_norm", ("layer_norm",), x), hidden)


def _pieces(config: Config, hidden: int) -> Products:
    """Return the matrix of pieces of a sound (`GEMMA4_EMBEDDERS`)."""
    check_keys(config, _PIECE)
    config = replace(config, defaults={**_PIECE, **config.defaults})
    pieces = Value(channels=config.integer("audio_embed_dim"), size=(config.integer("frames"),))
    return _joined(Net(), pieces, hidden)


def _joined(net: Net, x: Value, hidden: int) -> Products:
    x = net.norm("embedder.pre_projection_norm", NORM, x, learned=False)
    x = net.linear("embedder.embedding_projection", x, hidden, bias=False)
    return replace(net.products(x), tokens_left=x.places)


def _only(config: Config, key: str, value: object) -> None:
    """Refuse another value of a key than the one that is read.

    Raises
    ------
    BitlatheError
        If it is another.
    """
    if config.get(key) != value:
        raise config.error(f"{key!r} is {config.get(key)!r}; only {value!r} is read.", key)


def _vision(config: Config, hidden: int) -> Products:
    check_keys(config, _VISION)
    config = replace(config, defaults={**_VISION, **config.defaults})
    _only(config, "attention_bias", False)
    patch, pool = config.integer("patch_size"), config.integer("pooling_kernel_size")
    side, wide = config.integer("image_size"), config.integer("hidden_size")
    if side % (patch * pool):
        raise config.error(
            f"'image_size' is {side}; it must be a multiple of 'patch_size' times "
            f"'pooling_kernel_size', {patch * pool}.",
            "image_size",
        )
    net, grid = Net(), side // patch
    x = net.linear(
        "patch_embedder", Value(channels=3 * patch**2, size=(grid, grid)), wide, bias=False
    )
    net.vectors += 2 * config.integer("position_embedding_size") * wide
    x = net.each("patch_embedder.positions", ("add", "add"), x)
    for i in range(config.count("num_hidden_layers")):
        x = _attended(net, f"layers.{i}.self_attn", x, config)
        x = _fed(net, f"layers.{i}.mlp", x, config.integer("intermediate_size"))
    x = net.pooled("pooler", x, replace(x, size=(grid // pool, grid // pool)))
    return _joined(net, x, hidden)


def _attended(net: Net, where: str, x: Value, config: Config) -> Value:
    heads, held = (config.integer(f"num_{kind}_heads") for kind in ("attention", "key_value"))
    each = config.integer("head_dim")
    if heads % held:
        raise config.error(
            f"'num_key_value_heads' is {held}, which does not divide the {heads} heads of "
            "'num_attention_heads'.",
            "num_key_value_heads",
        )
    normed = net.norm(f"{where}.input_layernorm", NORM, x, shift=False)
    made = {
        name: net.linear(f"{where}.{name}_proj", normed, count * each, bias=False)
        for name, count in (("q", heads), ("k", held), ("v", held))
    }
    for name, value in made.items():
        done = NORM if name == "v" else (*NORM, "rotary")
        rows = value.elements // each
        net.norm(f"{where}.{name}_norm", done, value, rows, learned=False)
        net.vectors += each * (name != "v")
    mix = net.attention(
        f"{where}.attn", made["q"], made["k"], made["v"], heads, shared=heads // held
    )
    out = net.linear(f"{where}.o_proj", mix, x.channels, bias=False)
    out = net.norm(f"{where}.post_attention_layernorm", NORM, out, shift=False)
    return net.each(f"{where}.add", ("add",), out, x)


def _fed(net: Net, where: str, x: Value, inner: int) -> Value:
    normed = net.norm(f"{where}.pre_feedforward_layernorm", NORM, x, shift=False)
    gate = net.linear(f"{where}.gate_proj", normed, inner, bias=False)
    up = net.linear(f"{where}.up_proj", normed, inner, bias=False)
    made = net.each(f"{where}.act", ("gelu", "multiply"), up, gate)
    out = net.linear(f"{where}.down_proj", made, x.channels, bias=False)
    out = net.norm(f"{where}.post_feedforward_layernorm", NORM, out, shift=False)
    return net.each(f"{where}.add", ("add",), out, x)


def _audio(config: Config, hidden: int) -> Products:
    check_keys(config, _AUDIO)
    config = replace(config, defaults={**_AUDIO, **config.defaults})
    _only(config, "hidden_act", "silu")
    channels = config.items("subsampling_conv_channels")
    if len(channels) != 2 or any(type(n) is not int or not 0 < n < 2**20 for n in channels):
        raise config.error(
            f"'subsampling_conv_channels' is {channels!r}; it must be two integers.",
            "subsampling_conv_channels",
        )
    net, wide = Net(), config.integer("hidden_size")
    x = Value(channels=1, size=(config.integer("frames"), channels[0]))  # a bin for each channel
    for i, count in enumerate(channels):
        name = f"subsample.layer{i}"
        x = net.convolution(name, x, count, 3, stride=2, padding=1, bias=False)
        x = net.norm(f"{name}.norm", ("layer_norm", "relu"), x, shift=False)
    x = Value(channels=x.channels * x.size[1], size=x.size[:1], origin=x.origin)
    x = net.linear("subsample.input_proj", x, wide, bias=False)
    chunks = Chunks(
        heads=config.integer("num_attention_heads"),
        size=config.integer("attention_chunk_size"),
        before=config.integer("attention_context_left") - 1,
        behind=config.integer("attention_context_right", least=0),
        places=0,
    )
    chunks = replace(chunks, places=chunks.seen // 2 + 1)
    for i in range(config.count("num_hidden_layers")):
        x = layer(net, f"layers.{i}", x, chunks, config.integer("conv_kernel_size"))
    x = net.linear("output_proj", x, config.integer("output_proj_dims"))
    return _joined(net, x, hidden)


_IMAGES = f"images are taken as {_IMAGE} x {_IMAGE} pixels, as the class takes any"
_SOUNDS = f"sounds are taken as {_FRAMES} frames, 30 seconds"
_IN_PIECES = f"sounds are taken as {_PIECES} pieces, 30 seconds"
GEMMA4_TOWERS = (
    ListedTower("vision", "vision_config", _vision, "image_size", _IMAGES),
    ListedTower("audio", "audio_config", _audio, "frames", _SOUNDS),
)
"""Towers of Gemma 4: one image, and one sound."""
GEMMA4_EMBEDDERS = (
    ListedTower("vision", "vision_config", _patched, "image_size", _IMAGES),
    ListedTower("audio", "audio_config", _pieces, "frames", _IN_PIECES),
)
"""How the unified Gemma 4 takes images and sounds: by a matrix each, without a tower."""
