"""Parts of a layer: from the keys of a config.json to attention, MLP and experts."""

from collections.abc import Mapping
from fractions import Fraction

from ..config import Config
from ..families.family import AttentionFacts, ExpertFacts, Family, MlpFacts, Rule
from ..transformer import Attention, Experts, Mlp
from ..transformer.part import Activation


def flag_of(config: Config, rule: Rule) -> bool:
    """Return what a rule says of a configuration."""
    return rule if isinstance(rule, bool) else config.flag(rule[0], default=rule[1])


def read_attention(
    config: Config, family: Family, hidden: int, window: int | None, suffix: str
) -> Attention:
    """Read the attention of layers with a window, or with none.

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden : int
        The width of its input.
    window : int or None
        Tokens in view.
    suffix : str
        Behind the names of scores and mix.

    Raises
    ------
    BitlatheError
        If heads and widths do not fit together.
    """
    keys, facts = family.keys, family.attention
    heads = config.integer(keys.heads)
    kv_heads = config.integer("num_key_value_heads", default=heads) if facts.grouped else heads
    if heads % kv_heads:
        by_default = "" if "num_key_value_heads" in config.data else " by the class's default"
        raise config.error(
            f"'num_key_value_heads' is {kv_heads}{by_default}, which does not divide the {heads} "
            f"heads of {keys.heads!r}.",
            "num_key_value_heads",
        )
    head_dim = _head_dim(config, family, hidden, heads)
    normed = flag_of(config, facts.qk_norm)
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        projections=facts.projections,
        output=facts.output,
        window=window,
        qkv_bias=flag_of(config, facts.qkv_bias),
        output_bias=flag_of(config, facts.output_bias),
        rotary_dim=_rotary_dim(config, facts, head_dim),
        qk_norm=family.norm if normed else None,
        qk_norm_width=head_dim if normed else 0,
        vectors=2 * head_dim * family.norm_vectors if normed else 0,
        suffix=suffix,
    )


def _head_dim(config: Config, family: Family, hidden: int, heads: int) -> int:
    grouped, keys = family.attention.grouped, family.keys
    given = config.get("head_dim") if grouped else None
    if given is None and hidden % heads:
        raise config.error(
            f"{keys.hidden!r} is {hidden}, which the {heads} heads of {keys.heads!r} do not "
            "divide; change one of them or give 'head_dim'.",
            keys.hidden,
        )
    even = max(hidden // heads, 1)
    return config.integer("head_dim", default=even) if grouped else even


def _rotary_dim(config: Config, facts: AttentionFacts, head_dim: int) -> int:
    """Return the elements of a head that are turned; the share may stand among rotary facts."""
    share = facts.rotary
    if share is None:
        return 0
    if (key := facts.rotary_key) is not None:
        rules = config.get("rope_parameters")
        inside = rules.get(key) if isinstance(rules, dict) else None
        given = config.get(key) if inside is None else inside
        if given is not None:
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 1:
                raise config.error(f"{key!r} is {given!r}; it must be a share, as 0.5.", key)
            share = Fraction(given)
    return int(share * head_dim)


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
    if name not in _ACTIVATIONS:
        raise config.error(
            f"{key!r} is {name!r}; known are the GELUs and {', '.join(_ACTIVATIONS)}.", key
        )
    return _ACTIVATIONS[name]


def read_mlp(config: Config, family: Family, hidden: int) -> Mlp:
    """Read the MLP of dense layers."""
    facts, key = family.mlp, family.keys.inner
    default = facts.factor * hidden if facts.factor else None
    return _mlp(config, family, hidden, config.integer(key, default=default))


def _mlp(config: Config, family: Family, hidden: int, inner: int, *, bias: bool = True) -> Mlp:
    facts = family.mlp
    return Mlp(
        hidden=hidden,
        inner=inner,
        names=facts.names,
        gated=facts.gated,
        bias=bias and flag_of(config, facts.bias),
        activation=_activation(config, facts),
    )


def total_key(config: Config, facts: ExpertFacts) -> str:
    """Return the key under which a configuration gives the number of its experts."""
    return facts.other_total if facts.other_total in config.data else facts.total


def read_experts(config: Config, family: Family, hidden: int) -> Experts:
    """Read the mixture of experts of routed layers.

    Raises
    ------
    BitlatheError
        If a token visits more experts than there are.
    """
    facts = family.experts
    assert facts is not None
    of_all = total_key(config, facts)
    total, active = config.integer(of_all), config.integer(facts.active)
    if active > total:
        raise config.error(
            f"{facts.active!r} is {active}, more than the {total} experts of {of_all!r}.",
            facts.active,
        )
    key = facts.shared_inner
    shared = config.integer(key, default=0, least=0) if key else 0
    return Experts(
        total=total,
        active=active,
        expert=_mlp(config, family, hidden, config.integer(facts.inner), bias=False),
        shared=_mlp(config, family, hidden, shared, bias=False) if shared else None,
        shared_gate=bool(shared),
    )
