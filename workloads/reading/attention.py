"""Attention: from the keys of a config.json to its part."""

from ..config import Config
from ..families.facts import AttentionFacts
from ..families.family import Family
from ..transformer import Attention
from .values import chosen, holds


def read_attention(config: Config, family: Family, facts: AttentionFacts, hidden: int) -> Attention:
    """Read the attention of a layer that sees all tokens and turns its heads.

    Parameters
    ----------
    config, family, facts
        The configuration, and the rules that it is read by.
    hidden : int
        The width of its input.

    Raises
    ------
    BitlatheError
        If heads and widths do not fit together.
    """
    key = chosen(config, family.keys.heads)
    heads = config.integer(key)
    kv_heads = _kv_heads(config, facts, heads)
    if heads % kv_heads:
        by_default = "" if facts.kv_heads in config.data else " by the class's default"
        raise config.error(
            f"{facts.kv_heads!r} is {kv_heads}{by_default}, which does not divide the {heads} "
            f"heads of {key!r}.",
            facts.kv_heads,
        )
    head_dim = _head_dim(config, family, facts, hidden, heads)
    normed = holds(config, facts.qk_norm)
    whole = {"head": head_dim, "each": head_dim, "all": heads * head_dim}[facts.qk_norm_over]
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=None if facts.value_dim is None else config.integer(facts.value_dim),
        projections=facts.projections,
        output=facts.output,
        qkv_bias=holds(config, facts.qkv_bias),
        output_bias=holds(config, facts.output_bias),
        key_bias=None if facts.key_bias is None else holds(config, facts.key_bias),
        gated=facts.gated,
        gate=facts.gate,
        suffix=facts.suffix,
        rotary_dim=_rotary_dim(config, facts, head_dim),
        qk_norm=family.norm if normed else None,
        qk_norm_width=whole if normed else 0,
        vectors=_attention_vectors(family, facts, heads, kv_heads, head_dim, normed=normed),
    )


def _kv_heads(config: Config, facts: AttentionFacts, heads: int) -> int:
    if facts.one_kv_head is not False and not holds(config, facts.many_kv_heads):
        return 1 if holds(config, facts.one_kv_head) else heads
    return heads if facts.kv_heads is None else config.integer(facts.kv_heads, default=heads)


def _head_dim(
    config: Config, family: Family, facts: AttentionFacts, hidden: int, heads: int
) -> int:
    key, keys = facts.head_dim, family.keys
    if not facts.uneven and (key is None or config.get(key) is None) and hidden % heads:
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
    family: Family,
    facts: AttentionFacts,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    normed: bool,
) -> int:
    """Return the parameters of attention's norms, and its sinks."""
    each = facts.qk_norm_vectors
    each = family.norm_vectors if each is None else each
    normed_heads = 2 if facts.qk_norm_over == "head" else heads + kv_heads
    vectors = each * normed_heads * head_dim if normed else 0
    if facts.sub_norm:
        vectors += family.norm_vectors * heads * head_dim
    return vectors + (heads if facts.sinks else 0)


def _rotary_dim(config: Config, facts: AttentionFacts, head_dim: int) -> int:
    """Return the elements of a head that are turned; the share may stand among rotary facts."""
    share, rules = facts.rotary, config.get("rope_parameters")
    if share is None or holds(config, facts.alibi):
        return 0
    if facts.turned_where_given and (not isinstance(rules, dict) or not rules.get("rope_theta")):
        return 0
    if (
        facts.turned_where is not None
        and config.get(facts.turned_where[0]) != facts.turned_where[1]
    ):
        return 0
    if (key := facts.rotary_key) is not None:
        inside = rules.get("partial_rotary_factor") if isinstance(rules, dict) else None
        given = config.get(key) if inside is None else inside
        if isinstance(given, int) and not isinstance(given, bool) and 1 < given <= head_dim:
            return given
        if given is not None:
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 1:
                raise config.error(f"{key!r} is {given!r}; it must be a share, as 0.5.", key)
            return int(given * head_dim)  # in floats, as the classes do
    return int(share * head_dim)
