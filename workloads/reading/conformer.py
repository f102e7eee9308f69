"""Layers of a conformer (arXiv:2005.08100), as the Universal Speech Model has them (2303.01037)."""

from dataclasses import dataclass, replace

from .built import OUTSIDE, Net, Value

NORM = ("rms_norm",)


def feed(net: Net, where: str, x: Value) -> Value:
    """Return two matrices, four times as wide within, between norms; half of it is added.

    Parameters
    ----------
    net : Net
    where : str
        The layer's path.
    x : Value
    """
    inner = net.norm(f"{where}.pre_layer_norm", NORM, x, shift=False)
    inner = net.linear(f"{where}.ffw_layer_1", inner, 4 * x.channels, bias=False)
    inner = net.each(f"{where}.act", ("silu",), inner)
    inner = net.linear(f"{where}.ffw_layer_2", inner, x.channels, bias=False)
    inner = net.norm(f"{where}.post_layer_norm", NORM, inner, shift=False)
    return net.each(f"{where}.add", ("multiply", "add"), inner, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """Attention of chunks of tokens to themselves, some before and some behind them.

    Attributes
    ----------
    heads, size, before, behind : int
        Heads, tokens of a chunk, and those that it sees beside its own.
    places : int
        Relative positions.
    """

    heads: int
    size: int
    before: int
    behind: int
    places: int

    @property
    def seen(self) -> int:
        """Tokens that a chunk sees."""
        return self.size + self.before + self.behind


def heard(net: Net, where: str, x: Value, chunks: Chunks) -> Value:
    """Return attention within chunks: scores of contents and of relative positions, added up.

    They are bounded by tanh.

    Parameters
    ----------
    net : Net
    where : str
        The layer's path.
    x : Value
    chunks : Chunks
    """
    heads, wide, count = chunks.heads, x.channels, -(-x.places // chunks.size)
    normed = net.norm(f"{where}.pre_attn_norm", NORM, x, shift=False)
    query, key, value = (
        net.linear(f"{where}.{name}_proj", normed, wide, bias=False) for name in ("q", "k", "v")
    )
    net.vectors += wide // heads  # a scale for each element of a query
    places = Value(channels=wide, size=(chunks.places,), origin=OUTSIDE)
    places = net.linear(f"{where}.pos_proj", places, wide, bias=False)
    query = replace(query, size=(count * chunks.size,))
    scores = net.scores(f"{where}.positions", query, places, heads)
    bounded = replace(scores, channels=heads * chunks.seen)
    net.each(f"{where}.bounded", ("add", "tanh", "multiply"), bounded)
    key, value = (replace(each, size=(count * chunks.seen,)) for each in (key, value))
    mix = net.attention(f"{where}.attn", query, key, value, heads, count)
    out = net.linear(f"{where}.post", replace(mix, size=x.size), wide, bias=False)
    out = net.norm(f"{where}.post_norm", NORM, out, shift=False)
    return net.each(f"{where}.add", ("add",), out, x)


def lightly(net: Net, where: str, x: Value, taps: int) -> Value:
    """Return a gate, and a convolution of single channels over time, between two matrices.

    Parameters
    ----------
    net : Net
    where : str
        The layer's path.
    x : Value
    taps : int
    """
    inner = net.norm(f"{where}.pre_layer_norm", NORM, x, shift=False)
    inner = net.linear(f"{where}.linear_start", inner, 2 * x.channels, bias=False)
    inner = net.each(f"{where}.gate", ("sigmoid", "multiply"), replace(inner, channels=x.channels))
    inner = replace(inner, size=(x.places + taps - 1, 1))  # zeros ahead of it
    inner = net.convolution(
        f"{where}.depthwise_conv1d", inner, x.channels, (taps, 1), bias=False, groups=x.channels
    )
    inner = replace(inner, size=x.size)
    inner = net.norm(f"{where}.conv_norm", (*NORM, "silu"), inner, shift=False)
    inner = net.linear(f"{where}.linear_end", inner, x.channels, bias=False)
    return net.each(f"{where}.add", ("add",), inner, x)


def layer(net: Net, where: str, x: Value, chunks: Chunks, taps: int) -> Value:
    """Return a layer of a conformer.

    Parameters
    ----------
    net : Net
    where : str
        Its path.
    x : Value
    chunks : Chunks
    taps : int
        Of its convolution.
    """
    x = feed(net, f"{where}.ffw_layer_start", x)
    x = heard(net, f"{where}.attention", x, chunks)
    x = lightly(net, f"{where}.lconv1d", x, taps)
    x = feed(net, f"{where}.ffw_layer_end", x)
    return net.norm(f"{where}.norm", NORM, x, shift=False)
