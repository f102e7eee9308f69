"""Attention to compressed tokens: from the keys of a config.json to its part, layer by layer."""

from collections.abc import Mapping
from dataclasses import replace

from ..config import Config
from ..families.family import Family
from ..transformer import Indexer, Part
from ..transformer.compressed import CompressedAttention, HyperConnection
from .values import one_a_layer

_NEAR = "sliding_attention"
_SPARSE, _HEAVY = "compressed_sparse_attention", "heavily_compressed_attention"
_RATES: Mapping[str, tuple[str, int]] = {
    _SPARSE: ("compress_rate_csa", 4),
    _HEAVY: ("compress_rate_hca", 128),
}
_TYPES = {0: _NEAR, 4: _SPARSE, 128: _HEAVY}  # by the ratios that files of DeepSeek list


def read_compressed(config: Config, hidden: int, depth: int) -> list[CompressedAttention]:
    """Read the attention of each layer: to a window, or to compressed tokens besides.

    Parameters
    ----------
    config : Config
    hidden, depth : int
        Width of what the layers read, and how many there are.

    Raises
    ------
    BitlatheError
        If sizes do not fit together, or a kind of layer is not known.
    """
    heads, head_dim = config.integer("num_attention_heads"), config.integer("head_dim")
    groups = config.integer("o_groups")
    if heads * head_dim % groups:
        raise config.error(
            f"'o_groups' is {groups}, which does not divide the {heads} heads of {head_dim}.",
            "o_groups",
        )
    near = CompressedAttention(
        hidden=hidden,
        heads=heads,
        head_dim=head_dim,
        query_rank=config.integer("q_lora_rank"),
        groups=groups,
        output_rank=config.integer("o_lora_rank"),
        window=config.integer("sliding_window"),
        rotary_dim=_turned(config, head_dim),
    )
    rates = _rates(config)
    indexer = Indexer(
        heads=config.integer("index_n_heads"),
        head_dim=config.integer("index_head_dim"),
        top=config.integer("index_topk"),
    )
    found = {
        _NEAR: near,
        _SPARSE: replace(near, rate=rates[_SPARSE], overlap=True, indexer=indexer),
        _HEAVY: replace(near, rate=rates[_HEAVY]),
    }
    return [found[kind] for kind in _kinds(config, depth, found)]


def _kinds(config: Config, depth: int, known: Mapping[str, object]) -> list[str]:
    """Return the kind of each layer; by default heavy ones first, then one after the other."""
    given = one_a_layer(config, "layer_types", depth)
    if not given:
        ratios = one_a_layer(config, "compress_ratios", depth)
        for ratio in ratios:
            if type(ratio) is not int or ratio not in _TYPES:
                raise config.error(
                    f"'compress_ratios' names {ratio!r}; it must be one of "
                    f"{', '.join(map(str, _TYPES))}.",
                    "compress_ratios",
                )
        given = [_TYPES[ratio] for ratio in ratios]
    for kind in given:
        if not isinstance(kind, str) or kind not in known:
            raise config.error(
                f"'layer_types' names {kind!r}; it must be one of {', '.join(known)}.",
                "layer_types",
            )
    return given or [_SPARSE if i > 1 and i % 2 else _HEAVY for i in range(depth)]


def _rates(config: Config) -> dict[str, int]:
    """Return the tokens that become one entry, by the kind of layer."""
    listed = config.get("compress_rates")
    if listed is not None and not isinstance(listed, dict):
        raise config.error(
            f"'compress_rates' is {listed!r}; it must be an object, as {{'{_SPARSE}': 4}}.",
            "compress_rates",
        )
    inside = None if listed is None else config.child("compress_rates")
    found = {}
    for kind, (key, default) in _RATES.items():
        own = default if inside is None else inside.integer(kind, default=default)
        found[kind] = config.integer(key, default=own)
    return found


def _turned(config: Config, head_dim: int) -> int:
    """Return the elements of a head that positions turn."""
    share = config.get("partial_rotary_factor")
    if share is None:
        return config.integer("qk_rope_head_dim", default=head_dim // 8)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise config.error(
            f"'partial_rotary_factor' is {share!r}; it must be a share, as 0.5.",
            "partial_rotary_factor",
        )
    return int(share * head_dim)


def connections(
    config: Config, family: Family, hidden: int
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return what stands ahead of attention and of the MLP where layers have several streams.

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden : int
        Width of a stream.
    """
    if not family.connected:
        return (), ()
    many, rounds = config.count("hc_mult"), config.count("hc_sinkhorn_iters")
    ahead, between = (
        HyperConnection(hidden=hidden, streams=many, rounds=rounds, name=name)
        for name in ("attn_hc", "ffn_hc")
    )
    return (ahead,), (between,)
