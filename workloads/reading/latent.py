"""Latent attention: from the keys of a config.json to its part, layer by layer."""

from dataclasses import replace

from ..config import Config
from ..families.facts import LatentFacts
from ..families.family import Family
from ..transformer import Indexer, LatentAttention
from .values import chosen, holds


def read_latents(
    config: Config, family: Family, facts: LatentFacts, hidden: int, depth: int
) -> list[LatentAttention]:
    """Read the latent attention of each layer.

    Parameters
    ----------
    config, family, facts
        The configuration, and the rules that it is read by.
    hidden : int
        The width of its input.
    depth : int
        Number of layers.
    """
    given = config.get("q_lora_rank")
    heads = config.integer(chosen(config, family.keys.heads))
    even = "v_head_dim" in config.defaults and config.defaults["v_head_dim"] is None
    own = LatentAttention(
        hidden=hidden,
        heads=heads,
        nope_dim=config.integer("qk_nope_head_dim"),
        rope_dim=config.integer("qk_rope_head_dim"),
        value_dim=config.integer("v_head_dim", default=hidden // heads if even else None),
        rank=config.integer("kv_lora_rank"),
        query_rank=0 if given is None else config.integer("q_lora_rank"),
        bias=holds(config, facts.bias),
        indexer=_indexer(config) if facts.indexed else None,
        turned=facts.turned,
    )
    if own.indexer is None:
        return [own] * depth
    other = replace(own, indexer=replace(own.indexer, shared=True))
    return [other if shared else own for shared in _shared_indexers(config, facts, depth)]


def _indexer(config: Config) -> Indexer:
    if config.get("q_lora_rank") is None:
        raise config.error(
            "'q_lora_rank' is null, but the indexer's queries are made of what it is the width of.",
            "q_lora_rank",
        )
    return Indexer(
        heads=config.integer("index_n_heads"),
        head_dim=config.integer("index_head_dim"),
        top=config.integer("index_topk"),
    )


def _shared_indexers(config: Config, facts: LatentFacts, depth: int) -> list[bool]:
    """Return which layers take the choice of the indexer of a layer before.

    Raises
    ------
    BitlatheError
        If the list of kinds has another length, or a kind is unknown.
    """
    if not facts.indexer_types:
        return [False] * depth
    kinds = config.items("indexer_types")
    if kinds and (len(kinds) != depth or not {"full", "shared"} >= set(map(str, kinds))):
        raise config.error(
            f"'indexer_types' must call each of the {depth} layers 'full' or 'shared'.",
            "indexer_types",
        )
    if kinds:
        return [kind == "shared" for kind in kinds]
    each = config.integer("index_topk_freq", default=1)
    first = config.integer("index_skip_topk_offset", default=2, least=0)
    return [max(i - first + 1, 0) % each != 0 for i in range(depth)]
