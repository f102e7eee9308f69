"""Parts of a layer: from the keys of a config.json to attention, MLP and experts."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from ..config import Config
from ..families.family import AttentionFacts, ExpertFacts, Family, MlpFacts
from ..transformer import Attention, Experts, Mlp
from ..transformer.part import Activation
from .values import chosen, holds


def read_attention(config: Config, family: Family, hidden: int) -> Attention:
    """Read the attention of a layer that sees all tokens and turns its heads.

    Raises
    ------
    BitlatheError
        If heads and widths do not fit together.
    """
    facts, key = family.attention, chosen(config, family.keys.heads)
    heads = config.integer(key)
    kv_heads = _kv_heads(config, facts, heads)
    if heads % kv_heads:
        by_default = "" if facts.kv_heads in config.data else " by the class's default"
        raise config.error(
            f"{facts.kv_heads!r} is {kv_heads}{by_default}, which does not divide the {heads} "
            f"heads of {key!r}.",
            facts.kv_heads,
        )
    head_dim = _head_dim(config, family, hidden, heads)
    normed = holds(config, facts.qk_norm)
    whole = {"head": head_dim, "each": head_dim, "all": heads * head_dim}[facts.qk_norm_over]
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        projections=facts.projections,
        output=facts.output,
        qkv_bias=holds(config, facts.qkv_bias),
        output_bias=holds(config, facts.output_bias),
        rotary_dim=_rotary_dim(config, facts, head_dim),
        qk_norm=family.norm if normed else None,
        qk_norm_width=whole if normed else 0,
        vectors=_attention_vectors(family, heads, kv_heads, head_dim, normed=normed),
    )


def _kv_heads(config: Config, facts: AttentionFacts, heads: int) -> int:
    if facts.one_kv_head is not False and not holds(config, facts.many_kv_heads):
        return 1 if holds(config, facts.one_kv_head) else heads
    return heads if facts.kv_heads is None else config.integer(facts.kv_heads, default=heads)


def _head_dim(config: Config, family: Family, hidden: int, heads: int) -> int:
    key, keys = family.attention.head_dim, family.keys
    if (key is None or config.get(key) is None) and hidden % heads:
        wide, many = chosen(config, keys.hidden), chosen(config, keys.heads)
        instead = f" or give {key!r}" if key else ""
        raise config.error(
            f"{wide!r} is {hidden}, which the {heads} heads of {many!r} do not divide; change one "
            f"of them{instead}.",
            wide,
        )
    even = max(hidden // heads, 1)
    return even if key is None else config.integer(key, default=even)


def _attention_vectors(
    family: Family, heads: int, kv_heads: int, head_dim: int, *, normed: bool
) -> int:
    """Return the parameters of attention's norms, and its sinks."""
    facts = family.attention
    each = facts.qk_norm_vectors
    each = family.norm_vectors if each is None else each
    normed_heads = 2 if facts.qk_norm_over == "head" else heads + kv_heads
    vectors = each * normed_heads * head_dim if normed else 0
    if facts.sub_norm:
        vectors += family.norm_vectors * heads * head_dim
    return vectors + (heads if facts.sinks else 0)


def _rotary_dim(config: Config, facts: AttentionFacts, head_dim: int) -> int:
    """Return the elements of a head that are turned; the share may stand among rotary facts."""
    share = facts.rotary
    if share is None or holds(config, facts.alibi):
        return 0
    if (key := facts.rotary_key) is not None:
        rules = config.get("rope_parameters")
        inside = rules.get("partial_rotary_factor") if isinstance(rules, dict) else None
        given = config.get(key) if inside is None else inside
        if isinstance(given, int) and not isinstance(given, bool) and 1 < given <= head_dim:
            return given
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
    facts, names = family.mlp, family.keys.inner
    if family.experts is not None and family.experts.dense_inner is not None:
        names = family.experts.dense_inner
    inner = facts.factor * hidden if facts.factor else None
    if names is None:
        assert inner is not None
        return _mlp(config, family, hidden, inner)
    return _mlp(config, family, hidden, config.integer(chosen(config, names), default=inner))


def _mlp(config: Config, family: Family, hidden: int, inner: int) -> Mlp:
    facts = family.mlp
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
    total, active = config.integer(of_all), config.integer(of_active)
    if active > total:
        raise config.error(
            f"{of_active!r} is {active}, more than the {total} experts of {of_all!r}.", of_active
        )
    inner = config.integer(facts.inner)
    expert = replace(_mlp(config, family, hidden, inner), bias=facts.bias)
    wide = _shared_inner(config, facts, inner)
    return Experts(
        total=total,
        active=active,
        expert=expert,
        shared=replace(expert, inner=wide) if wide else None,
        shared_gate=facts.shared_gate and wide > 0,
        router_bias=facts.router_bias,
    )


def _shared_inner(config: Config, facts: ExpertFacts, inner: int) -> int:
    """Return the width of all shared experts together, 0 if there is none."""
    if facts.shared_inner:
        return config.integer(facts.shared_inner, default=0, least=0)
    count = facts.shared
    if facts.shared_count:
        count = config.integer(facts.shared_count, default=0, least=0)
    return count * inner
