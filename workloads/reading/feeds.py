"""What follows attention in a layer: from the keys of a config.json to MLPs and experts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..config import Config
from ..families.facts import AttentionFacts, ExpertFacts, MlpFacts
from ..families.family import Family
from ..transformer import Experts, Mlp, Part
from ..transformer.part import Activation
from .recurrent import periodic
from .values import chosen, holds, one_a_layer


def read_feeds(config: Config, family: Family, hidden: int, depth: int) -> list[tuple[Part, ...]]:
    """Read what follows attention in each layer: an MLP, experts, both or nothing.

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden : int
        The width of their inputs.
    depth : int
        Number of layers.
    """
    facts = family.experts
    if facts is None:
        return [(mlp,) for mlp in _mlps(config, family, hidden, depth)] or [()] * depth
    if facts.layers == "beside":
        several = config.flag("enable_moe_block", default=False)
        beside = (read_experts(config, family, hidden),) if several else ()
        return [(mlp, *beside) for mlp in _mlps(config, family, hidden, depth)]
    if facts.layers == "even_beside":
        even, mlps = read_experts(config, family, hidden), _mlps(config, family, hidden, depth)
        return [(mlp, even) if i % 2 == 0 else (mlp,) for i, mlp in enumerate(mlps)]
    routed = routed_layers(config, family, depth)
    dense: Part | None = None if all(routed) else read_mlp(config, family, hidden)
    experts: Part | None = read_experts(config, family, hidden) if any(routed) else None
    found = (experts if with_experts else dense for with_experts in routed)
    return [(part,) for part in found if part is not None]


def routed_layers(config: Config, family: Family, depth: int) -> list[bool]:
    """Return which layers have experts in the place of an MLP.

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    depth : int
        Number of layers.
    """
    assert family.experts is not None
    return _ROUTED[family.experts.layers](config, depth)


def _mlps(config: Config, family: Family, hidden: int, depth: int) -> list[Mlp]:
    """Return the MLP of each layer; none where layers have no MLP."""
    facts = family.mlp
    if facts is None:
        return []
    if facts.listed:
        return _listed_mlps(config, family, hidden, depth)
    one = read_mlp(config, family, hidden)
    if not holds(config, facts.doubled) or not isinstance(family.attention, AttentionFacts):
        return [one] * depth
    key = family.attention.kept_key
    kept = 0 if key is None else config.integer(key, default=0, least=0)
    wide = replace(one, inner=2 * one.inner)
    return [wide if i >= depth - kept else one for i in range(depth)]


def _listed_mlps(config: Config, family: Family, hidden: int, depth: int) -> list[Mlp]:
    """Return the MLP of each layer, whose width and cut may stand in lists (Gemma 3n).

    The class cuts the gates of the first ten of more than ten layers where no list says which.
    """
    key = "intermediate_size"
    widths: list[Any] = [config.get(key)] * depth
    if isinstance(config.get(key), list):
        widths = one_a_layer(config, key, depth)
        if not widths:
            raise config.error(f"{key!r} names 0 layers, but there are {depth}.", key)
    cuts = one_a_layer(config, "activation_sparsity_pattern", depth)
    cuts = cuts or [0.95 * (depth > 10 and i < 10) for i in range(depth)]
    made: dict[tuple[Any, bool], Mlp] = {}
    for width, cut in zip(widths, cuts, strict=True):
        alone = replace(config, data={**config.data, key: width})
        if (alone.integer(key), bool(cut)) not in made:
            found = read_mlp(alone, family, hidden)
            made[width, bool(cut)] = replace(found, cut=bool(cut))
    return [made[width, bool(cut)] for width, cut in zip(widths, cuts, strict=True)]


def _stepped(config: Config, depth: int) -> list[bool]:
    step = config.integer("decoder_sparse_step", default=1)
    dense = config.items("mlp_only_layers")
    for number in dense:
        if isinstance(number, bool) or not isinstance(number, int):
            raise config.error(
                f"'mlp_only_layers' names {number!r}; it must be numbers of layers, from 0.",
                "mlp_only_layers",
            )
    return [i not in dense and (i + 1) % step == 0 for i in range(depth)]


def _after_first(config: Config, depth: int) -> list[bool]:
    kinds = one_a_layer(config, "mlp_layer_types", depth)
    for kind in kinds:
        if kind not in ("dense", "sparse"):
            raise config.error(
                f"'mlp_layer_types' names {kind!r}; it must be 'dense' or 'sparse'.",
                "mlp_layer_types",
            )
    first = config.integer("first_k_dense_replace", default=0, least=0)
    return [kind == "sparse" for kind in kinds] or [i >= first for i in range(depth)]


def _after_dense(config: Config, depth: int) -> list[bool]:
    first = config.integer("num_dense_layers", least=0)
    return [i >= first for i in range(depth)]


def _periods(config: Config, depth: int) -> list[bool]:
    several = config.integer("num_experts") > 1
    found = periodic(config, "expert_layer_period", "expert_layer_offset", depth)
    return [several and routed for routed in found]


def _interleaved(config: Config, depth: int) -> list[bool]:
    step = config.integer("interleave_moe_layer_step", default=1)
    given = config.get("moe_layers")
    routed = range(step - 1, depth, step) if given is None else config.items("moe_layers")
    return [i in routed for i in range(depth)]


def _any(config: Config, depth: int) -> list[bool]:
    return [config.integer("num_local_experts", least=0) > 0] * depth


def _between(config: Config, depth: int) -> list[bool]:
    first, last, each = (
        config.integer(f"moe_layer_{name}", default=default, least=least)
        for name, default, least in (
            ("start_index", 1, 0), ("end_index", -1, -1), ("interval", 1, 1),
        )
    )  # fmt: skip
    last = depth - 1 if last == -1 else last
    return [first <= i <= last and (i + 1) % each == 0 for i in range(depth)]


_ROUTED: Mapping[str, Callable[[Config, int], list[bool]]] = {
    "all": lambda config, depth: [True] * depth,
    "any": _any,
    "between": _between,
    "stepped": _stepped,
    "after_first": _after_first,
    "after_dense": _after_dense,
    "interleaved": _interleaved,
    "periods": _periods,
}


_ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "mish": "silu",
    "relu": "relu",
    "relu6": "relu",
    "leaky_relu": "relu",
    "relu2": "relu2",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "xielu": "xielu",
    "linear": "linear",
    "laplace": "gelu",
}


def _activation(config: Config, facts: MlpFacts) -> Activation:
    """Return the activation of an MLP; every name of a GELU is one."""
    key = next((key for key in facts.activation_keys if config.get(key) is not None), None)
    name = facts.activation if key is None else config.get(key)
    if isinstance(name, str) and "gelu" in name:
        return "gelu"
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise config.error(
            f"{key!r} is {name!r}; known are the GELUs and {', '.join(_ACTIVATIONS)}.", key
        )
    return _ACTIVATIONS[name]


def read_mlp(config: Config, family: Family, hidden: int) -> Mlp:
    """Read the MLP of dense layers."""
    facts, names = family.mlp, family.keys.inner
    assert facts is not None
    own = family.experts.dense_inner if family.experts is not None else None
    if own is not None and config.get(own) is not None:
        names = own
    inner = facts.factor * hidden if facts.factor else None
    if facts.ratio is not None:
        return _by_ratio(config, family, hidden, facts.ratio)
    if names is None:
        assert inner is not None
        return _mlp(config, family, hidden, inner)
    width = config.integer(chosen(config, names), default=inner)
    return _mlp(config, family, hidden, _adjusted(config, width) if facts.adjusted else width)


def _by_ratio(config: Config, family: Family, hidden: int, key: str) -> Mlp:
    """Return an MLP whose width is a multiple of the hidden width, perhaps gated (DINOv2)."""
    facts, times = family.mlp, config.get(key)
    assert facts is not None
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times <= 2**10:
        raise config.error(f"{key!r} is {times!r}; it must be a number above 0, as 4.", key)
    width = int(hidden * times)
    gated = facts.gated_flag is not None and config.flag(facts.gated_flag, default=False)
    if not gated:
        return _mlp(config, family, hidden, width)
    names = MlpFacts().names
    own = replace(facts, gated=True, names=names, activation="silu", activation_keys=())
    wide = -(-(2 * width // 3) // 8) * 8
    return _mlp(config, replace(family, mlp=own), hidden, wide)


def _adjusted(config: Config, width: int) -> int:
    """Return the width of an MLP of LFM2: two thirds, times a factor, up to a whole multiple."""
    if not config.flag("block_auto_adjust_ff_dim", default=True):
        return width
    width = 2 * width // 3
    times = config.get("block_ffn_dim_multiplier")
    if times is None:
        return width
    key = "block_ffn_dim_multiplier"
    if isinstance(times, bool) or not isinstance(times, int | float) or times <= 0:
        raise config.error(f"{key!r} is {times!r}; it must be a number above 0, as 1.0.", key)
    multiple = config.integer("block_multiple_of")
    return -(-int(times * width) // multiple) * multiple


def _mlp(config: Config, family: Family, hidden: int, inner: int) -> Mlp:
    assert family.mlp is not None
    facts = _gated_or_plain(config, family.mlp)
    activation = _activation(config, facts)
    normed = family.norm_vectors * inner if facts.sub_norm else 0
    return Mlp(
        hidden=hidden,
        inner=inner,
        names=facts.names,
        gated=facts.gated,
        bias=holds(config, facts.bias),
        activation=activation,
        vectors=normed + 2 * (activation == "xielu"),  # two learned slopes
    )


def _gated_or_plain(config: Config, facts: MlpFacts) -> MlpFacts:
    """Return facts with the gate, and the activation, that a key names: ``gated-gelu``, ``relu``.

    Raises
    ------
    BitlatheError
        If the key's value is no name.
    """
    key = facts.gated_key
    if key is None:
        return facts
    named = config.string(key)
    gate, _, activation = named.rpartition("-")
    if gate not in ("", "gated"):
        raise config.error(f"{key!r} is {named!r}; it must be as 'relu' or 'gated-gelu'.", key)
    if gate:
        return replace(facts, activation=activation, activation_keys=())
    return replace(
        facts, gated=False, names=facts.plain_names, activation=activation, activation_keys=()
    )


def read_experts(config: Config, family: Family, hidden: int) -> Experts:
    """Read the mixture of experts of routed layers.

    Raises
    ------
    BitlatheError
        If a token visits more experts than there are.
    """
    facts = family.experts
    assert facts is not None
    of_all, of_active = chosen(config, facts.total), chosen(config, facts.active)
    total, active = config.integer(of_all), _visited(config, of_active)
    idle = config.integer(facts.idle, default=0, least=0) if facts.idle else 0
    if active > total + idle:
        raise config.error(
            f"{of_active!r} is {active}, more than the {total} experts of {of_all!r}.", of_active
        )
    inner = config.integer(facts.inner)
    whole = _mlp(config, family, hidden, inner)
    wide = _shared_inner(config, facts, inner)
    return Experts(
        total=total,
        active=active,
        expert=replace(whole, bias=facts.bias),
        shared=replace(whole, inner=wide) if wide else None,
        shared_gate=facts.shared_gate and wide > 0,
        router_bias=facts.router_bias,
        vectors=(hidden + total) * facts.scaled + total * facts.choice_bias,
        idle=idle,
    )


def _visited(config: Config, key: str) -> int:
    """Return the experts that a token visits; a list of a number for each layer has one alone.

    Raises
    ------
    BitlatheError
        If layers differ, or it is not a number.
    """
    listed = config.get(key)
    if not isinstance(listed, list) or not listed:
        return config.integer(key)
    if listed.count(listed[0]) != len(listed):
        raise config.error(
            f"{key!r} differs from layer to layer; only one number for all layers is read.", key
        )
    return replace(config, data={**config.data, key: listed[0]}).integer(key)


def _shared_inner(config: Config, facts: ExpertFacts, inner: int) -> int:
    """Return the width of all shared experts together, 0 if there is none."""
    if facts.shared_inner:
        return config.integer(facts.shared_inner, default=0, least=0)
    count = facts.shared
    if facts.shared_count:
        count = config.integer(facts.shared_count, default=0, least=0)
    return count * inner
