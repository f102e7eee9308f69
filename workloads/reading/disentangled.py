"""Disentangled attention (DeBERTa): from the keys of a file to its part and its positions."""

from ..config import Config
from ..families.facts import AttentionFacts
from ..families.family import Family
from ..transformer import Attention, DisentangledAttention, Table
from .values import chosen

_KINDS = ("c2p", "p2c")


def disentangled(config: Config, family: Family, heads: Attention) -> DisentangledAttention:
    """Return attention to contents, and to the relative positions that the file asks for.

    Raises
    ------
    BitlatheError
        If ``pos_att_type`` names another kind.
    """
    kinds = _kinds(config)
    return DisentangledAttention(
        heads=heads,
        positions=_positions(config, family),
        kinds=tuple(kind for kind in _KINDS if kind in kinds),
        shared=config.flag("share_att_key", default=False),
    )


def _kinds(config: Config) -> list[str]:
    key = "pos_att_type"
    given = config.get(key)
    kinds = given.lower().split("|") if isinstance(given, str) else config.items(key)
    found = [str(kind).strip() for kind in kinds]
    for kind in found:
        if kind not in _KINDS:
            raise config.error(f"{key!r} names {kind!r}; it must be 'c2p' or 'p2c'.", key)
    return found


def _positions(config: Config, family: Family) -> int:
    """Return the relative positions that are told apart, to both sides; 0 if none are."""
    if not config.flag("relative_attention", default=False):
        return 0
    for key in ("position_buckets", "max_relative_positions"):
        given = config.get(key)
        if given is not None and config.integer(key, least=-1) > 0:
            return 2 * config.integer(key)
    return 2 * config.integer(chosen(config, family.keys.positions))


def disentangled_positions(
    config: Config, family: Family, hidden: int
) -> tuple[tuple[Table, ...], int]:
    """Return the table of relative positions that all layers share, and parameters of its norm."""
    facts = family.attention
    if not isinstance(facts, AttentionFacts) or not facts.disentangled:
        return (), 0
    rows = _positions(config, family)
    named = config.get("norm_rel_ebd")
    normed = isinstance(named, str) and "layer_norm" in named.lower()
    tables = (Table(name="relative_positions", rows=rows, width=hidden),) if rows else ()
    return tables, 2 * hidden * normed
