"""Towers of sounds on Whisper's encoder: Qwen2-Audio's, Voxtral's, Qwen2.5-Omni's and Qwen3-Omni's.

Structure follows the classes of these names in transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config import Config
from ..products import Products
from .built import Net, Value
from .listed_layers import check_keys
from .listed_towers import Towers

_NORM = ("layer_norm",)
_AUDIO: Mapping[str, Any] = {
    "num_mel_bins": 128, "encoder_layers": 32, "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120, "encoder_layerdrop": 0.0, "d_model": 1280, "dropout": 0.0,
    "attention_dropout": 0.0, "activation_function": "gelu", "activation_dropout": 0.0,
    "scale_embedding": False, "max_source_positions": 1500,
}  # fmt: skip
_WINDOWED: Mapping[str, Any] = {**_AUDIO, "n_window": 100, "output_dim": 3584, "frames": 0}
_CHUNKED: Mapping[str, Any] = {
    **{key: value for key, value in _AUDIO.items() if key != "encoder_layerdrop"},
    "n_window": 50, "n_window_infer": 800, "output_dim": 3584, "conv_chunksize": 500,
    "downsample_hidden_size": 480, "frames": 0,
}  # fmt: skip
_NAMES: Mapping[str, str] = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
    "layerdrop": "encoder_layerdrop",
}
"""Voxtral's names of Whisper's keys; its older files have Whisper's."""


def read_qwen2_audio_tower(config: Config, hidden: int) -> Towers:
    """Read the tower of one sound, of as many frames as the encoder has positions for.

    Parameters
    ----------
    config : Config
        That of the whole model.
    hidden : int
        The width of the text.

    Returns
    -------
    towers : dict of str to Products
    notes : list of str
        Of what the file does not say: nothing.

    Raises
    ------
    BitlatheError
        If a key looks mistyped, or a value is impossible.
    """
    own = _own(config, _AUDIO)
    if own is None:
        return {}, []
    places = _even_places(own)
    net, x = _encoder(own, 2 * places, positions=True)
    x = net.pooled("avg_pooler", x, replace(x, size=(places // 2,)))
    x = net.norm("layer_norm", _NORM, x)
    return _made(net, net.linear("multi_modal_projector", x, hidden)), []


def read_voxtral_tower(config: Config, hidden: int) -> Towers:
    """Read the same of Voxtral: neighbors become one token, as wide as the encoder's MLPs.

    Parameters and results are those of `read_qwen2_audio_tower`.

    Raises
    ------
    BitlatheError
        If a key looks mistyped, or a value is impossible.
    """
    own = _own(config, _AUDIO, _NAMES)
    if own is None:
        return {}, []
    places, wide = own.integer("max_source_positions"), own.integer("d_model")
    joint = own.integer("encoder_ffn_dim")
    if places * wide % joint:
        raise own.error(
            f"the {places} tokens of a sound, {wide} wide, do not make up tokens as wide as an "
            f"MLP, {joint}.",
            "intermediate_size",
        )
    net, x = _encoder(own, 2 * places, positions=True)
    x = net.norm("layer_norm", _NORM, x)
    x = Value(channels=joint, size=(places * wide // joint,), origin=x.origin)
    x = net.linear("multi_modal_projector.linear_1", x, hidden, bias=False)
    x = net.each("multi_modal_projector.act", ("gelu",), x)
    return _made(net, net.linear("multi_modal_projector.linear_2", x, hidden, bias=False)), []


def read_qwen2_5_omni_tower(config: Config, hidden: int) -> Towers:
    """Read the same of Qwen2.5-Omni, whose sounds are read in windows of ``n_window`` frames twice.

    Parameters and results are those of `read_qwen2_audio_tower`, but that a note says how many
    frames are taken.

    Raises
    ------
    BitlatheError
        If a key looks mistyped, or a value is impossible.
    """
    own = _own(config, _WINDOWED)
    if own is None:
        return {}, []
    window, left = 2 * own.integer("n_window"), _as_wide(own, hidden)
    given = own.integer("frames", least=0)
    frames = given or 2 * _even_places(own) // window * window
    if not frames or frames % window or window % 4:
        raise own.error(
            f"'frames' is {frames}; it must be a multiple of {window}, twice 'n_window', which "
            "must be even.",
            "frames",
        )
    net, x = _encoder(own, frames, windows=frames // window)
    net.vectors += 2 * left  # what stands ahead of a sound, and behind it
    x = net.pooled("avg_pooler", x, replace(x, size=(frames // 4,)))
    x = net.norm("ln_post", _NORM, x)
    return _made(net, net.linear("proj", x, left)), [] if given else [_taken(frames)]


def read_qwen3_omni_tower(config: Config, hidden: int) -> Towers:
    """Read the same of Qwen3-Omni: chunks of twice ``n_window`` frames through three convolutions.

    Layers see ``n_window_infer`` frames at once. Parameters and results are those of
    `read_qwen2_5_omni_tower`.

    Raises
    ------
    BitlatheError
        If a key looks mistyped, or a value is impossible.
    """
    own = _own(config, _CHUNKED)
    if own is None:
        return {}, []
    chunk, window = 2 * own.integer("n_window"), own.integer("n_window_infer")
    given, left = own.integer("frames", least=0), _as_wide(own, hidden)
    frames = given or 2 * own.integer("max_source_positions") // window * window
    if not frames or window % chunk or frames % window:
        raise own.error(
            f"'frames' is {frames}; it must be a multiple of 'n_window_infer', {window}, and this "
            f"of twice 'n_window', {chunk}.",
            "frames",
        )
    net, chunks = Net(), frames // chunk
    x = Value(channels=1, size=(own.integer("num_mel_bins"), chunk))
    for i in (1, 2, 3):
        name, inner = f"conv2d{i}", own.integer("downsample_hidden_size")
        x = net.convolution(name, x, inner, 3, stride=2, padding=1, pieces=chunks)
        all_of_it = net.each(f"{name}.act", ("gelu",), replace(x, size=(chunks, *x.size)))
        x = replace(all_of_it, size=x.size)
    x = Value(channels=x.channels * x.size[0], size=(chunks * x.size[1],), origin=x.origin)
    wide = own.integer("d_model")
    x = net.each("positions", ("add",), net.linear("conv_out", x, wide, bias=False))
    x = net.norm("ln_post", _NORM, _layers(own, net, x, frames // window, key_bias=True))
    x = net.each("act", (_activation(own),), net.linear("proj1", x, wide))
    return _made(net, net.linear("proj2", x, left)), [] if given else [_taken(frames)]


def _taken(frames: int) -> str:
    return (
        f"a sound is taken as {frames} frames of 10 ms, as the model takes any: 'frames' in "
        "'audio_config' is of others."
    )


def _as_wide(config: Config, hidden: int) -> int:
    """Return the width that a tower leaves, which must be the text's."""
    left = config.integer("output_dim")
    if left != hidden:
        raise config.error(
            f"'output_dim' is {left}, but the text is {hidden} wide; these must be the same.",
            "output_dim",
        )
    return left


def _own(
    config: Config, known: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> Config | None:
    """Return the tower's configuration under the names that are read; None without one."""
    if not isinstance(config.data.get("audio_config"), dict):
        return None
    own = config.child("audio_config")
    if names is not None:
        data = {names.get(key, key): value for key, value in own.data.items()}
        own = replace(own, data={**data, **{k: v for k, v in own.data.items() if k in known}})
    check_keys(own, known)
    return replace(own, defaults={**known, **own.defaults})


def _even_places(config: Config) -> int:
    places = config.integer("max_source_positions")
    if places % 2:
        raise config.error(
            f"'max_source_positions' is {places}; it must be even, as two tokens become one.",
            "max_source_positions",
        )
    return places


def _made(net: Net, x: Value) -> dict[str, Products]:
    return {"audio": replace(net.products(x), tokens_left=x.places)}


def _encoder(
    config: Config, frames: int, *, positions: bool = False, windows: int = 1
) -> tuple[Net, Value]:
    """Return Whisper's encoder of so many frames, up to its last layer.

    ``positions``: whether it holds a table of them. Windows see nothing of each other.
    """
    wide, net = config.integer("d_model"), Net()
    x = Value(channels=config.integer("num_mel_bins"), size=(frames, 1))
    for i in (1, 2):  # the second one halves the frames
        name = f"conv{i}"
        x = net.convolution(name, x, wide, (3, 1), stride=(i, 1), padding=(1, 0))
        x = net.each(f"{name}.act", ("gelu",), x)
    x = replace(x, size=(frames // 2,))
    net.vectors += frames // 2 * wide * positions
    x = net.each("positions", ("add",), x)
    return net, _layers(config, net, x, windows)


def _activation(config: Config) -> str:
    activation = config.get("activation_function")
    if activation not in ("gelu", "relu", "silu"):
        raise config.error(
            f"'activation_function' is {activation!r}; it must be 'gelu', 'relu' or 'silu'.",
            "activation_function",
        )
    return str(activation)


def _layers(config: Config, net: Net, x: Value, windows: int, *, key_bias: bool = False) -> Value:
    """Return what the encoder's layers leave; ``windows`` see nothing of each other."""
    wide, heads = config.integer("d_model"), config.integer("encoder_attention_heads")
    activation = _activation(config)
    if wide % heads:
        raise config.error(
            f"'encoder_attention_heads' is {heads}, which does not divide the 'd_model' of {wide}.",
            "encoder_attention_heads",
        )
    for i in range(config.count("encoder_layers")):
        where = f"layers.{i}"
        normed = net.norm(f"{where}.self_attn_layer_norm", _NORM, x)
        query, key, value = (
            net.linear(f"{where}.self_attn.{name}_proj", normed, wide, bias=key_bias or name != "k")
            for name in ("q", "k", "v")
        )
        mix = net.attention(f"{where}.self_attn", query, key, value, heads, windows)
        out = net.linear(f"{where}.self_attn.out_proj", mix, wide)
        x = net.each(f"{where}.self_attn.add", ("add",), out, x)
        normed = net.norm(f"{where}.final_layer_norm", _NORM, x)
        inner = net.linear(f"{where}.fc1", normed, config.integer("encoder_ffn_dim"))
        inner = net.each(f"{where}.act", (activation,), inner)
        x = net.each(f"{where}.add", ("add",), net.linear(f"{where}.fc2", inner, wide), x)
    return x
