"""Layers: how many there are, and the parts of each kind of them."""

from dataclasses import replace

from ..config import Config
from ..families.facts import AttentionFacts, CompressedFacts, LatentFacts
from ..families.family import Family
from ..transformer import Attention, CrossAttention, Layers, Part, Pooling
from .attention import read_attention
from .blocks import read_blocks
from .compressed import connections, read_compressed
from .disentangled import disentangled
from .feeds import read_feeds, read_mlp, routed_layers
from .image_attention import crossed
from .images import image_windows
from .latent import read_latents
from .mixes import read_shared_blocks, read_time_mixes
from .recurrent import attending_layers, read_recurrent
from .streams import layers_that_share, read_beside
from .values import chosen, holds, norm_vectors
from .windows import turned_layers, windows


def read_layers(config: Config, family: Family, hidden: int) -> tuple[Layers, ...]:
    """Read the layers of a transformer, those alike once with their number.

    Raises
    ------
    BitlatheError
        If a required key is missing or a value is impossible; file, line and key are named.
    """
    if family.layout == "blocks":
        return read_blocks(config, family, hidden)
    depth = _depth(config, family)
    if family.layout == "shared_blocks":
        return read_shared_blocks(config, family, hidden, depth)
    if family.layout == "mixes":
        return read_time_mixes(config, family, hidden, depth)
    mixers = _mixers(config, family, hidden, depth)
    feeds = read_feeds(config, family, hidden, depth)
    before, between = connections(config, family, hidden)
    feeds = [(*between, *feed) for feed in feeds]
    parallel = holds(config, family.parallel)
    beside = read_beside(config, family, hidden)
    norms = [_norms(config, family, parallel=parallel) + beside.norms] * depth
    if family.experts is not None and family.experts.layers == "beside":
        norms = [n + 3 * (len(feed) > 1) for n, feed in zip(norms, feeds, strict=True)]
    if family.first_norms is not None:
        norms[0] = family.first_norms
    stored = _stored(config, family, depth)
    cross: tuple[Part, ...] = ()
    if family.cross is not None:
        cross = (CrossAttention(heads=read_attention(config, family, family.cross, hidden)),)
    alike: dict[tuple[tuple[Part, ...], tuple[Part, ...], int], list[int]] = {}
    for number, kind in enumerate(zip(mixers, feeds, norms, strict=True)):
        alike.setdefault(kind, []).append(number)
    found = [
        Layers(
            count=len(numbers),
            parts=(*before, *beside.ahead, *mixer, *cross, *feed, *beside.behind),
            abreast=len((*mixer, *feed)) if parallel else len(mixer),
            norm=family.norm,
            norm_count=normed,
            norm_parameters=(normed * norm_vectors(config, family) + family.layer_scales) * hidden,
            stored=stored,
            numbers=tuple(numbers),
        )
        for (mixer, feed, normed), numbers in alike.items()
    ]
    if holds(config, family.pooling):
        found.append(replace(_pooling(config, family, hidden), numbers=(depth,)))
    return tuple(found)


def _pooling(config: Config, family: Family, hidden: int) -> Layers:
    """Return the layer that pools all tokens, with its norm."""
    heads = config.integer(chosen(config, family.keys.heads))
    pool = Pooling(hidden=hidden, heads=heads, mlp=read_mlp(config, family, hidden))
    norms = norm_vectors(config, family) * hidden
    return Layers(count=1, parts=(pool,), norm=family.norm, norm_count=1, norm_parameters=norms)


def _stored(config: Config, family: Family, depth: int) -> int | None:
    """Return how many layers have weights of their own, None for all."""
    key = family.groups_key
    if key is None:
        return None
    groups = config.integer(key)
    if groups > depth:
        raise config.error(f"{key!r} is {groups}, more than the {depth} layers.", key)
    return groups


def _mixers(config: Config, family: Family, hidden: int, depth: int) -> list[tuple[Part, ...]]:
    """Return the part of each layer that mixes tokens, or both that do so side by side."""
    if family.recurrent is None:
        found = _attending(config, family, hidden, depth)
        return [(part,) for part in crossed(config, family, hidden, found)]
    if family.recurrent.attending == "beside":
        beside = read_recurrent(config, family.recurrent, hidden)
        return [(beside, part) for part in _attending(config, family, hidden, depth)]
    attends = attending_layers(config, family.recurrent, depth)
    found = []
    if not all(attends):
        found = [read_recurrent(config, family.recurrent, hidden)] * depth
    if any(attends):
        attending = _attending(config, family, hidden, depth)
        found = [attending[i] if attends[i] else found[i] for i in range(depth)]
    return [(part,) for part in found]


def _attending(config: Config, family: Family, hidden: int, depth: int) -> list[Part]:
    """Return the attention of each layer, as if all attended."""
    facts = family.attention
    assert facts is not None
    if isinstance(facts, CompressedFacts):
        return [*read_compressed(config, hidden, depth)]
    if isinstance(facts, LatentFacts):
        return [*read_latents(config, family, facts, hidden, depth)]
    if facts.disentangled:
        heads = read_attention(config, family, facts, hidden)
        return [disentangled(config, family, heads)] * depth
    return _attentions(config, family, facts, hidden, depth)


def _attentions(
    config: Config, family: Family, facts: AttentionFacts, hidden: int, depth: int
) -> list[Part]:
    if family.image_keys.window is not None:
        return _in_windows(config, family, facts, hidden, depth)
    turned = turned_layers(config, facts, depth)
    seen = windows(config, family.window, depth, turned)
    if facts.rotary_layers == "windowed":
        turned = [window is not None or not any(seen) for window in seen]
    if facts.rotary_layers == "windowed_or_dense":
        forced = config.integer("prefix_dense_sliding_window_pattern", default=1) == 1
        dense = [forced and not routed for routed in routed_layers(config, family, depth)]
        turned = [window is not None or d for window, d in zip(seen, dense, strict=True)]
    chunked = family.window is not None and family.window.chunked
    both_ways = family.window is not None and family.window.both_ways
    several = len(set(seen)) > 1
    whole = _bounded(config, family, facts, hidden)
    full = _unbounded(config, family, facts, hidden)
    kept = layers_that_share(config, facts, seen)
    found: list[Part] = []
    for length, turns, shares in zip(seen, turned, kept, strict=True):
        own = full if length is None else whole
        if shares:
            own = replace(own, made="none", vectors=own.vectors // 2)
        found.append(
            replace(
                own,
                window=None if chunked else length,
                chunk=length if chunked else None,
                ahead=length // 2 if both_ways and length is not None else 0,
                suffix="_local" if several and length is not None else own.suffix,
                rotary_dim=own.rotary_dim if turns else 0,
            )
        )
    return found


def _in_windows(
    config: Config, family: Family, facts: AttentionFacts, hidden: int, depth: int
) -> list[Part]:
    """Return the attention of layers that see an image window by window, but for some."""
    full = family.image_keys.full
    whole = read_attention(config, family, facts, hidden)
    local = replace(whole, pieces=image_windows(config, family), suffix="_local")
    seen = () if full is None else config.items(full)
    return [whole if i in seen else local for i in range(depth)]


def _bounded(config: Config, family: Family, facts: AttentionFacts, hidden: int) -> Attention:
    """Return the attention of layers with a window, which may have more heads, and sinks.

    Raises
    ------
    BitlatheError
        If they have more key/value heads than there are heads to share them.
    """
    whole = read_attention(config, family, facts, hidden)
    kv_heads = whole.kv_heads * facts.windowed_kv_times
    if whole.heads % kv_heads:
        raise config.error(
            f"{facts.kv_heads!r} is {whole.kv_heads}: layers with a window have {kv_heads}, which "
            f"do not divide the {whole.heads} heads.",
            facts.kv_heads,
        )
    sinks = whole.heads * facts.windowed_sinks
    return replace(whole, kv_heads=kv_heads, vectors=whole.vectors + sinks)


def _unbounded(config: Config, family: Family, facts: AttentionFacts, hidden: int) -> Attention:
    """Return the attention of layers without a window, whose heads may be of other sizes."""
    own = dict(config.data)
    keys_only = holds(config, facts.full_keys_only)
    pairs = [(facts.full_head_dim, facts.head_dim)]
    pairs += [(facts.full_kv_heads, facts.kv_heads)] if keys_only else []
    for key, general in pairs:
        if key is not None and general is not None and config.get(key) is not None:
            own[general] = config.integer(key)
    if facts.full_rotary is not None:
        facts = replace(facts, rotary=facts.full_rotary)
    found = read_attention(replace(config, data=own), family, facts, hidden)
    return replace(found, made="keys") if keys_only else found


def _norms(config: Config, family: Family, *, parallel: bool) -> int:
    """Return the norms of a layer."""
    if not parallel or family.parallel_norms is None:
        return family.norms + 2 * holds(config, family.norms_behind)
    most = 2 if holds(config, family.two_parallel_norms) else family.parallel_norms
    key = family.parallel_norms_key
    return most if key is None else config.integer(key, default=most)


def _depth(config: Config, family: Family) -> int:
    return family.layers_each * config.count(chosen(config, family.keys.layers))
