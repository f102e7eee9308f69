"""Layers: how many, which of them have a window or experts, and the parts of each kind."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..config import Config
from ..families.family import Family, Window
from ..transformer import Attention, Layers, Part
from .parts import read_attention, read_experts, read_mlp
from .values import chosen, holds

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_SPELLED = {"global": FULL, "local": SLIDING}
_DEEPEST = 100_000


def read_layers(config: Config, family: Family, hidden: int) -> tuple[Layers, ...]:
    """Read the layers of a transformer, those alike once with their number.

    Raises
    ------
    BitlatheError
        If a required key is missing or a value is impossible; file, line and key are named.
    """
    depth = _depth(config, family)
    turned = _turned(config, family, depth)
    windows = _windows(config, family, depth, turned)
    if family.attention.rotary_layers == "windowed":
        turned = [window is not None or not any(windows) for window in windows]
    alike = Counter(zip(windows, turned, _routed(config, family, depth), strict=True))
    parallel = holds(config, family.parallel)
    norms = _norms(config, family, parallel=parallel)
    whole = read_attention(config, family, hidden)
    found = []
    for (window, turns, routed), count in alike.items():
        attention = _seeing(whole, family, window, alone=len(set(windows)) == 1)
        parts: tuple[Part, ...] = (
            attention if turns else replace(attention, rotary_dim=0),
            (read_experts if routed else read_mlp)(config, family, hidden),
        )
        found.append(
            Layers(
                count=count,
                parts=parts,
                parallel=parallel,
                norm=family.norm,
                norm_count=norms,
                norm_parameters=norms * family.norm_vectors * hidden,
            )
        )
    return tuple(found)


def _norms(config: Config, family: Family, *, parallel: bool) -> int:
    """Return the norms of a layer."""
    if not parallel or family.parallel_norms is None:
        return family.norms
    most = 2 if holds(config, family.two_parallel_norms) else family.parallel_norms
    key = family.parallel_norms_key
    return most if key is None else config.integer(key, default=most)


def _seeing(attention: Attention, family: Family, length: int | None, *, alone: bool) -> Attention:
    """Return attention that sees a window, or a chunk, of a length."""
    if length is None:
        return attention
    suffix = "" if alone else "_local"
    if family.window and family.window.chunked:
        return replace(attention, chunk=length, suffix=suffix)
    return replace(attention, window=length, suffix=suffix)


def _depth(config: Config, family: Family) -> int:
    key = chosen(config, family.keys.layers)
    depth = config.integer(key)
    if depth > _DEEPEST:
        raise config.error(f"{key!r} is {depth}; at most {_DEEPEST} layers are supported.", key)
    return depth


def _listed(config: Config, key: str, depth: int) -> list[object]:
    """Return a list of one value a layer, empty where it is left out."""
    given = list(config.items(key))
    if given and len(given) != depth:
        raise config.error(f"{key!r} names {len(given)} layers, but there are {depth}.", key)
    return given


def _turned(config: Config, family: Family, depth: int) -> list[bool]:
    """Return which layers turn their heads by positions."""
    if family.attention.rotary_layers != "listed":
        return [True] * depth
    given = _listed(config, "no_rope_layers", depth)
    each = config.integer("no_rope_layer_interval", default=4)
    return [bool(turn) for turn in given] or [(i + 1) % each != 0 for i in range(depth)]


def _routed(config: Config, family: Family, depth: int) -> list[bool]:
    """Return which layers have experts."""
    if family.experts is None:
        return [False] * depth
    return _ROUTED[family.experts.layers](config, depth)


def _stepped(config: Config, depth: int) -> list[bool]:
    step = config.integer("decoder_sparse_step", default=1)
    dense = config.items("mlp_only_layers")
    return [i not in dense and (i + 1) % step == 0 for i in range(depth)]


def _after_first(config: Config, depth: int) -> list[bool]:
    kinds = _listed(config, "mlp_layer_types", depth)
    for kind in kinds:
        if kind not in ("dense", "sparse"):
            raise config.error(
                f"'mlp_layer_types' names {kind!r}; it must be 'dense' or 'sparse'.",
                "mlp_layer_types",
            )
    first = config.integer("first_k_dense_replace", default=0, least=0)
    return [kind == "sparse" for kind in kinds] or [i >= first for i in range(depth)]


def _interleaved(config: Config, depth: int) -> list[bool]:
    step = config.integer("interleave_moe_layer_step", default=1)
    given = config.get("moe_layers")
    routed = range(step - 1, depth, step) if given is None else config.items("moe_layers")
    return [i in routed for i in range(depth)]


_ROUTED: Mapping[str, Callable[[Config, int], list[bool]]] = {
    "all": lambda config, depth: [True] * depth,
    "stepped": _stepped,
    "after_first": _after_first,
    "interleaved": _interleaved,
}


def _types(config: Config, rule: Window, depth: int) -> list[object]:
    """Return the kind of each layer that a configuration names, empty where it names none."""
    key = rule.types
    if key is None or config.get(key) is None:
        return []
    given = list(config.items(key))
    if key == "attention_types":  # [[["global", "local"], 12]]
        try:
            given = [kind for kinds, times in given for _ in range(times) for kind in kinds]
        except (TypeError, ValueError):
            raise config.error(
                f"{key!r} must list kinds and how often they come, as [[['global'], 12]].", key
            ) from None
    if len(given) != depth:
        raise config.error(f"{key!r} names {len(given)} layers, but there are {depth}.", key)
    known = (FULL, CHUNKED if rule.chunked else SLIDING)
    kinds = [_SPELLED.get(kind, kind) if isinstance(kind, str) else kind for kind in given]
    for kind in kinds:
        if kind not in known:
            raise config.error(
                f"{key!r} names {kind!r}; only {known[0]!r} and {known[1]!r} are supported.", key
            )
    return kinds


def _windows(config: Config, family: Family, depth: int, turned: list[bool]) -> list[int | None]:
    """Return the window of each layer, as the family's configuration class sets it."""
    rule = family.window
    if rule is None:
        return [None] * depth
    types = _types(config, rule, depth)
    length = rule.default
    if rule.key in config.data:
        length = None if config.data[rule.key] is None else config.integer(rule.key)
    if length is None or (rule.flag and not config.flag(rule.flag, default=False)):
        return [None] * depth
    if types:
        return [None if kind == FULL else length for kind in types]
    n = rule.count
    if rule.count_key:
        least = 1 if rule.layers == "but_each" else 0
        n = config.integer(rule.count_key, default=n, least=least)
    windowed = _WINDOWED[rule.layers]
    return [length if windowed(i, n, turned[i]) else None for i in range(depth)]


_WINDOWED: Mapping[str, Callable[[int, int, bool], bool]] = {
    "all": lambda i, n, turned: True,
    "from": lambda i, n, turned: i >= n,
    "even_below": lambda i, n, turned: i % 2 == 0 and i < n,
    "but_each": lambda i, n, turned: (i + 1) % n != 0,
    "turned": lambda i, n, turned: turned,
    "unturned": lambda i, n, turned: not turned,
}
