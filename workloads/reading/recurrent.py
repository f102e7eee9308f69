"""Layers without attention: from the keys of a config.json to their part, and which they are."""

from collections.abc import Callable, Mapping

from ..config import Config
from ..families.recurrent import (
    ATTENDING_KEYS,
    Attending,
    ConvolutionFacts,
    DecayFacts,
    DeltaFacts,
    RecurrentFacts,
    StateFacts,
)
from ..transformer import Matrix, Recurrent
from .values import holds, one_a_layer

_ATTEND = ("full_attention", "attention")
_KEEP = ("linear_attention", "mamba", "conv")
_DELTA_CHUNK = 64  # tokens, as in the classes of transformers and in the authors' kernels


def attending_layers(config: Config, facts: RecurrentFacts, depth: int) -> list[bool]:
    """Return which layers attend.

    Raises
    ------
    BitlatheError
        If a kind of layer is unknown, or their number is not that of the layers.
    """
    for key in ("layer_types", "layers_block_type"):
        if key not in ATTENDING_KEYS[facts.attending]:
            continue
        kinds = one_a_layer(config, key, depth)
        for kind in kinds:
            if kind not in (*_ATTEND, *_KEEP):
                raise config.error(
                    f"{key!r} names {kind!r}; it must be one of "
                    f"{', '.join(map(repr, (*_ATTEND, *_KEEP)))}.",
                    key,
                )
        if kinds:
            return [kind in _ATTEND for kind in kinds]
    return _BY_DEFAULT[facts.attending](config, depth)


def _intervals(config: Config, depth: int) -> list[bool]:
    each = config.integer("full_attention_interval", default=4)
    return [(i + 1) % each == 0 for i in range(depth)]


def _kimi(config: Config, depth: int) -> list[bool]:
    named = config.get("linear_attn_config")
    if isinstance(named, dict) and "full_attn_layers" in named:
        full = config.child("linear_attn_config").items("full_attn_layers")
        return [i + 1 in full for i in range(depth)]
    return [i > 0 and i % 4 == 0 for i in range(depth)]


def _fourths(config: Config, depth: int) -> list[bool]:
    found = [i % 4 == 3 for i in range(depth)]
    return found if any(found) else [*found[:-1], True]


def _periods(config: Config, depth: int) -> list[bool]:
    return periodic(config, "attn_layer_period", "attn_layer_offset", depth)


def periodic(config: Config, period: str, offset: str, depth: int) -> list[bool]:
    """Return which layers stand at an offset of each period.

    Parameters
    ----------
    config : Config
    period, offset : str
        The keys of both.
    depth : int
        Number of layers.

    Raises
    ------
    BitlatheError
        If the offset is not below the period.
    """
    each, at = config.integer(period), config.integer(offset, least=0)
    if at >= each:
        raise config.error(f"{offset!r} is {at}; it must be below {period!r}, {each}.", offset)
    return [i % each == at for i in range(depth)]


def _indices(config: Config, depth: int) -> list[bool]:
    given = config.items("attn_layer_indices")
    return [i in given for i in range(depth)]


def _listed(config: Config, depth: int) -> list[bool]:
    if config.get("full_attn_idxs") is None:
        return [True] * depth
    given = config.items("full_attn_idxs")
    return [i in given for i in range(depth)]


_BY_DEFAULT: Mapping[Attending, Callable[[Config, int], list[bool]]] = {
    "none": lambda config, depth: [False] * depth,
    "intervals": _intervals,
    "kimi": _kimi,
    "fourths": _fourths,
    "periods": _periods,
    "indices": _indices,
    "listed": _listed,
    "evens": lambda config, depth: [i % 2 == 0 for i in range(depth)],
    "typed": lambda config, depth: [False] * depth,
    "beside": lambda config, depth: [True] * depth,
}


def read_recurrent(config: Config, facts: RecurrentFacts, hidden: int) -> Recurrent:
    """Read the part of the layers that do not attend.

    Raises
    ------
    BitlatheError
        If a key is missing or a value impossible.
    """
    if isinstance(facts, ConvolutionFacts):
        return _convolution(config, facts, hidden)
    if isinstance(facts, DecayFacts):
        return _decayed(config, facts, hidden)
    if isinstance(facts, StateFacts):
        if facts.heads is None:
            return _selective_scan(config, facts, hidden)
        return _state_space(config, facts, hidden)
    return _delta(config, facts, hidden)


def _in(name: str, outputs: int, inputs: int, bias: bool = False) -> Matrix:
    return Matrix(stage="state", name=name, outputs=outputs, inputs=inputs, bias=bias)


def _out(name: str, outputs: int, inputs: int, bias: bool = False) -> Matrix:
    return Matrix(stage="state_out", name=name, outputs=outputs, inputs=inputs, bias=bias)


def _convolution(config: Config, facts: ConvolutionFacts, hidden: int) -> Recurrent:
    taps, bias = config.integer(facts.taps), holds(config, facts.bias)
    return Recurrent(
        inputs=(_in("conv_in_proj", 3 * hidden, hidden, bias),),
        out=_out("conv_out_proj", hidden, hidden, bias),
        rule="convolution",
        channels=hidden,
        taps=taps,
        vectors=hidden * (taps + bias),
    )


def _channels(config: Config, facts: StateFacts, hidden: int) -> int:
    """Return the channels: as many as a key says, or the hidden width some times."""
    if facts.channels is not None and config.get(facts.channels) is not None:
        return config.integer(facts.channels)
    if facts.expand is None:
        assert facts.heads is not None
        return config.integer(facts.heads) * config.integer(facts.head_dim)
    times = config.get(facts.expand)
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times <= 2**20:
        raise config.error(
            f"{facts.expand!r} is {times!r}; it must be a number, as 2.", facts.expand
        )
    return int(times * hidden)


def _selective_scan(config: Config, facts: StateFacts, hidden: int) -> Recurrent:
    """Read Mamba's mixer (arXiv:2312.00752, algorithm 2)."""
    wide, state = _channels(config, facts, hidden), config.integer(facts.state)
    taps, bias = config.integer(facts.taps), holds(config, facts.bias)
    assert facts.rank is not None
    automatic = config.get(facts.rank) == "auto"
    rank = -(-hidden // 16) if automatic else config.integer(facts.rank)
    normed = 0 if facts.normed == "no" else rank + 2 * state
    vectors = wide * (taps + holds(config, facts.conv_bias)) + wide * state + wide
    return Recurrent(
        inputs=(_in("in_proj", 2 * wide, hidden, bias),),
        behind=(
            (_in("x_proj", rank + 2 * state, wide), "in_proj"),
            (_in("dt_proj", wide, rank, True), "x_proj"),
        ),
        out=_out("out_proj", hidden, wide, _out_bias(config, facts, bias)),
        rule="selective_scan",
        channels=wide,
        taps=taps,
        heads=wide,
        key_dim=state,
        value_dim=1,
        key_heads=1,
        vectors=vectors + normed * (facts.normed == "scaled"),
        normed=normed,
        norms=3 if normed else 0,
    )


def _state_space(config: Config, facts: StateFacts, hidden: int) -> Recurrent:
    """Read Mamba-2's mixer (arXiv:2405.21060, section 7)."""
    assert facts.heads is not None
    wide, state = _channels(config, facts, hidden), config.integer(facts.state)
    heads, groups = config.integer(facts.heads), config.integer(facts.groups)
    given = config.get(facts.head_dim)
    head_dim = wide // heads if given in (None, "auto") else config.integer(facts.head_dim)
    if heads * head_dim != wide or heads % groups:
        raise config.error(
            f"{facts.heads!r} is {heads}: heads of {head_dim} channels must make up {wide} "
            f"channels ({_named(config, facts)}), in {groups} equal groups.",
            facts.heads,
        )
    taps, bias = config.integer(facts.taps), holds(config, facts.bias)
    normed = holds(config, facts.gate_norm)
    channels = wide + 2 * groups * state
    return Recurrent(
        inputs=(_in("in_proj", wide + channels + heads, hidden, bias),),
        out=_out("out_proj", hidden, wide, _out_bias(config, facts, bias)),
        rule="state_space",
        channels=channels,
        taps=taps,
        heads=heads,
        key_dim=state,
        value_dim=head_dim,
        key_heads=groups,
        chunk=config.integer(facts.chunk),
        vectors=channels * (taps + holds(config, facts.conv_bias)) + 3 * heads + wide * normed,
        gate_norm=normed,
    )


def _named(config: Config, facts: StateFacts) -> str:
    """Return where the number of channels comes from."""
    if facts.channels is not None and config.get(facts.channels) is not None:
        return repr(facts.channels)
    if facts.expand is None:
        return f"{facts.heads!r} times {facts.head_dim!r}"
    return f"{facts.expand!r} times the hidden width"


def _out_bias(config: Config, facts: StateFacts, bias: bool) -> bool:
    return bias if facts.out_bias is None else holds(config, facts.out_bias)


def _delta(config: Config, facts: DeltaFacts, hidden: int) -> Recurrent:
    """Read a mixer by the gated delta rule (arXiv:2412.06464, section 3.4)."""
    if facts.projections == "channels":
        return _channel_delta(config, hidden)
    of_keys, of_values = (
        config.integer("linear_num_key_heads"),
        config.integer("linear_num_value_heads"),
    )
    if of_values % of_keys:
        raise config.error(
            f"'linear_num_key_heads' is {of_keys}, which does not divide the {of_values} heads of "
            "'linear_num_value_heads'.",
            "linear_num_key_heads",
        )
    key_dim, value_dim = (
        config.integer("linear_key_head_dim"),
        config.integer("linear_value_head_dim"),
    )
    keys, values = of_keys * key_dim, of_values * value_dim
    taps, channels = config.integer("linear_conv_kernel_dim"), 2 * keys + values
    out = "o_proj" if facts.projections == "single" else "out_proj"
    return Recurrent(
        inputs=tuple(
            _in(f"linear_{name}", width, hidden)
            for name, width in _widths(facts, keys, values, of_values)
        ),
        out=_out(f"linear_{out}", hidden, values),
        rule="delta_rule",
        channels=channels,
        taps=taps,
        heads=of_values,
        key_dim=key_dim,
        value_dim=value_dim,
        key_heads=of_keys,
        chunk=_DELTA_CHUNK,
        vectors=channels * taps + 2 * of_values + value_dim,
        normed=2 * keys,
        norms=2 * of_keys,
    )


def _decayed(config: Config, facts: DecayFacts, hidden: int) -> Recurrent:
    """Read lightning attention (arXiv:2501.08313, section 2.2)."""
    heads = config.integer("num_attention_heads")
    head_dim = config.integer("head_dim", default=max(1, hidden // heads))
    wide = heads * head_dim
    return Recurrent(
        inputs=(_in("linear_qkv_proj", 3 * wide, hidden), _in("linear_output_gate", wide, hidden)),
        out=_out("linear_out_proj", hidden, wide),
        rule="decayed_sum",
        channels=3 * wide,
        taps=0,
        heads=heads,
        key_dim=head_dim,
        value_dim=head_dim,
        key_heads=heads,
        chunk=config.integer(facts.chunk),
        vectors=wide,
    )


def _widths(facts: DeltaFacts, keys: int, values: int, heads: int) -> list[tuple[str, int]]:
    """Return names and outputs of the matrices that read the hidden width."""
    if facts.projections == "fused":
        return [("in_proj_qkvz", 2 * (keys + values)), ("in_proj_ba", 2 * heads)]
    if facts.projections == "split":
        gates = [("in_proj_z", values), ("in_proj_b", heads), ("in_proj_a", heads)]
        return [("in_proj_qkv", 2 * keys + values), *gates]
    made = [("q_proj", keys), ("k_proj", keys), ("v_proj", values)]
    return [*made, ("g_proj", values), ("b_proj", heads), ("a_proj", heads)]


def _channel_delta(config: Config, hidden: int) -> Recurrent:
    """Read Kimi's mixer (arXiv:2510.26692, section 4)."""
    named = config.get("linear_attn_config")
    inner = config.child("linear_attn_config") if isinstance(named, dict) else None

    def size(key: str, old: str) -> int:
        return inner.integer(old) if inner and old in inner.data else config.integer(key)

    head, heads = size("linear_head_dim", "head_dim"), size("linear_num_heads", "num_heads")
    taps, wide = size("linear_conv_kernel_dim", "short_conv_kernel_size"), head * heads
    first = [(name, wide) for name in ("q_proj", "k_proj", "v_proj")]
    first += [("g_a_proj", head), ("f_a_proj", head), ("b_proj", heads)]
    return Recurrent(
        inputs=tuple(_in(f"linear_{name}", width, hidden) for name, width in first),
        behind=(
            (_in("linear_g_b_proj", wide, head), "linear_g_a_proj"),
            (_in("linear_f_b_proj", wide, head), "linear_f_a_proj"),
        ),
        out=_out("linear_o_proj", hidden, wide),
        rule="channel_delta_rule",
        channels=3 * wide,
        taps=taps,
        heads=heads,
        key_dim=head,
        value_dim=head,
        key_heads=heads,
        chunk=_DELTA_CHUNK,
        vectors=3 * wide * taps + wide + heads + head,
        normed=2 * wide,
        norms=2 * heads,
    )
