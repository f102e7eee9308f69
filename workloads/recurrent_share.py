"""A chip's share of a mixer that keeps a state: whole heads, or channels, as of attention.

Queries, keys and values, gates and results follow the heads of the state; heads that share keys
stay together where chips are no more than key heads. Matrices into a narrow width that all heads
read stay whole; one that reads channels is divided by rows, and its results are summed.
"""

from collections.abc import Mapping
from dataclasses import replace

from ..datatypes.base.errors import BitlatheError
from .slices import Slice
from .transformer import Recurrent

_MADE: Mapping[str, tuple[int, int, int]] = {
    "linear_in_proj_qkvz": (2, 2, 0),
    "linear_in_proj_qkv": (2, 1, 0),
    "linear_in_proj_ba": (0, 0, 2),
    "linear_in_proj_z": (0, 1, 0),
    "linear_in_proj_b": (0, 0, 1),
    "linear_in_proj_a": (0, 0, 1),
    "linear_q_proj": (1, 0, 0),
    "linear_k_proj": (1, 0, 0),
    "linear_v_proj": (0, 1, 0),
    "linear_g_proj": (0, 1, 0),
    "linear_b_proj": (0, 0, 1),
    "linear_a_proj": (0, 0, 1),
    "linear_g_b_proj": (0, 1, 0),
    "linear_f_b_proj": (1, 0, 0),
}
"""How many times all keys, all values and a number a head a matrix of the delta rule makes."""


def share_of(part: Recurrent, tensor: Slice) -> Recurrent:
    """Return a chip's share of a mixer.

    Raises
    ------
    BitlatheError
        If chips are more than heads or channels.
    """
    if part.rule == "convolution":
        return _channels(part, tensor)
    if part.rule == "selective_scan":
        return _scan(part, tensor)
    _enough(tensor, part.heads, "heads of a state")
    group = part.heads // part.key_heads
    if tensor.parts <= part.key_heads:
        key_heads = tensor.of(part.key_heads)
        heads = key_heads * group
    else:
        _enough(tensor, part.key_heads * group, "heads of a state")
        key_heads, heads = 1, _of_one_group(tensor, part.key_heads, group)
    if part.rule == "decayed_sum":
        wide = heads * part.value_dim
        qkv, gate = part.inputs
        inputs = (replace(qkv, outputs=3 * wide), replace(gate, outputs=wide))
        out = replace(part.out, inputs=wide)
        return replace(
            part, inputs=inputs, out=out, channels=3 * wide, heads=heads, key_heads=heads,
            vectors=wide,
        )  # fmt: skip
    return (
        _space(part, heads, key_heads)
        if part.rule == "state_space"
        else _delta(part, heads, key_heads)
    )


def _of_one_group(tensor: Slice, key_heads: int, group: int) -> int:
    """Return the heads of a chip where each key head has several chips."""
    each, more = divmod(tensor.parts, key_heads)
    few = (key_heads - more) * each  # chips of key heads that have fewer
    sharing = each if tensor.index < few else each + 1
    rank = (tensor.index if tensor.index < few else tensor.index - few) % sharing
    return Slice(index=rank, parts=sharing).of(group)


def _enough(tensor: Slice, most: int, what: str) -> None:
    if tensor.parts > most:
        raise BitlatheError(
            f"tensor is {tensor.parts}, but there are {most} {what}; use at most {most}."
        )


def _channels(part: Recurrent, tensor: Slice) -> Recurrent:
    """Return some channels of a gated short convolution."""
    _enough(tensor, part.channels, "channels of a convolution")
    mine = tensor.of(part.channels)
    (into,) = part.inputs
    return replace(
        part,
        inputs=(replace(into, outputs=3 * mine),),
        out=replace(part.out, inputs=mine),
        channels=mine,
        vectors=part.vectors // part.channels * mine,
    )


def _scan(part: Recurrent, tensor: Slice) -> Recurrent:
    """Return some channels of Mamba; norms of step sizes, B and C are on every chip."""
    _enough(tensor, part.heads, "channels of a state")
    mine = tensor.of(part.heads)
    (into,), ((steps, read), (rate, source)) = part.inputs, part.behind
    each = part.vectors // part.heads
    return replace(
        part,
        inputs=(replace(into, outputs=2 * mine),),
        behind=((replace(steps, inputs=mine), read), (replace(rate, outputs=mine), source)),
        out=replace(part.out, inputs=mine),
        channels=mine,
        heads=mine,
        vectors=each * mine + (part.vectors - each * part.heads),
    )


def _space(part: Recurrent, heads: int, groups: int) -> Recurrent:
    """Return some heads of Mamba-2, with the B and C of their groups."""
    whole, wide = part.heads * part.value_dim, heads * part.value_dim
    shared = 2 * groups * part.key_dim
    normed = part.gate_norm * whole
    each = (part.vectors - 3 * part.heads - normed) // part.channels  # taps, perhaps a bias
    (into,) = part.inputs
    return replace(
        part,
        inputs=(replace(into, outputs=2 * wide + shared + heads),),
        out=replace(part.out, inputs=wide),
        channels=wide + shared,
        heads=heads,
        key_heads=groups,
        vectors=each * (wide + shared) + 3 * heads + part.gate_norm * wide,
    )


def _delta(part: Recurrent, heads: int, key_heads: int) -> Recurrent:
    """Return some heads of a delta rule, with the queries and keys of their groups."""
    keys, values = key_heads * part.key_dim, heads * part.value_dim
    sizes = {name: k * keys + v * values + h * heads for name, (k, v, h) in _MADE.items()}
    channels = 2 * keys + values
    by_channel = part.rule == "channel_delta_rule"
    beside = keys + heads if by_channel else 2 * heads  # decays, and their biases
    return replace(
        part,
        inputs=tuple(replace(m, outputs=sizes.get(m.name, m.outputs)) for m in part.inputs),
        behind=tuple((replace(m, outputs=sizes[m.name]), read) for m, read in part.behind),
        out=replace(part.out, inputs=values),
        channels=channels,
        heads=heads,
        key_heads=key_heads,
        vectors=channels * part.taps + beside + part.value_dim,
        normed=2 * keys,
        norms=2 * key_heads,
    )
