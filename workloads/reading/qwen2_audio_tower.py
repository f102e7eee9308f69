"""Tower of Qwen2-Audio: Whisper's encoder for sounds, means of two tokens, and a projector.

Structure follows the classes of Qwen2-Audio in transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config import Config
from ..products import Products
from .built import Net, Value
from .listed_layers import check_keys

_NORM = ("layer_norm",)
_AUDIO: Mapping[str, Any] = {
    "num_mel_bins": 128, "encoder_layers": 32, "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120, "encoder_layerdrop": 0.0, "d_model": 1280, "dropout": 0.0,
    "attention_dropout": 0.0, "activation_function": "gelu", "activation_dropout": 0.0,
    "scale_embedding": False, "max_source_positions": 1500,
}  # fmt: skip


def read_qwen2_audio_tower(config: Config, hidden: int) -> tuple[dict[str, Products], list[str]]:
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
    if not isinstance(config.data.get("audio_config"), dict):
        return {}, []
    own = config.child("audio_config")
    check_keys(own, _AUDIO)
    return {"audio": _audio(replace(own, defaults={**_AUDIO, **own.defaults}), hidden)}, []


def _audio(config: Config, hidden: int) -> Products:
    wide, heads = config.integer("d_model"), config.integer("encoder_attention_heads")
    places, activation = config.integer("max_source_positions"), config.get("activation_function")
    if wide % heads:
        raise config.error(
            f"'encoder_attention_heads' is {heads}, which does not divide the 'd_model' of {wide}.",
            "encoder_attention_heads",
        )
    if activation not in ("gelu", "relu", "silu"):
        raise config.error(
            f"'activation_function' is {activation!r}; it must be 'gelu', 'relu' or 'silu'.",
            "activation_function",
        )
    if places % 2:
        raise config.error(
            f"'max_source_positions' is {places}; it must be even, as two tokens become one.",
            "max_source_positions",
        )
    net = Net()
    x = Value(channels=config.integer("num_mel_bins"), size=(2 * places, 1))
    for i in (1, 2):  # the second one halves the frames
        name = f"conv{i}"
        x = net.convolution(name, x, wide, (3, 1), stride=(i, 1), padding=(1, 0))
        x = net.each(f"{name}.act", ("gelu",), x)
    x = replace(x, size=(places,))
    net.vectors += places * wide
    x = net.each("positions", ("add",), x)
    for i in range(config.integer("encoder_layers")):
        where = f"layers.{i}"
        normed = net.norm(f"{where}.self_attn_layer_norm", _NORM, x)
        query, key, value = (
            net.linear(f"{where}.self_attn.{name}_proj", normed, wide, bias=name != "k")
            for name in ("q", "k", "v")
        )
        mix = net.attention(f"{where}.self_attn", query, key, value, heads)
        out = net.linear(f"{where}.self_attn.out_proj", mix, wide)
        x = net.each(f"{where}.self_attn.add", ("add",), out, x)
        normed = net.norm(f"{where}.final_layer_norm", _NORM, x)
        inner = net.linear(f"{where}.fc1", normed, config.integer("encoder_ffn_dim"))
        inner = net.each(f"{where}.act", (str(activation),), inner)
        x = net.each(f"{where}.add", ("add",), net.linear(f"{where}.fc2", inner, wide), x)
    x = net.pooled("avg_pooler", x, replace(x, size=(places // 2,)))
    x = net.norm("layer_norm", _NORM, x)
    x = net.linear("multi_modal_projector", x, hidden)
    return replace(net.products(x), tokens_left=x.places)
