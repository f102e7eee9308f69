"""Which layers see a window of the tokens, and which turn their heads by positions."""

from collections.abc import Callable, Mapping

from ..config import Config
from ..families.facts import AttentionFacts, Window
from .values import one_a_layer

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_SPELLED = {"global": FULL, "local": SLIDING}


def turned_layers(config: Config, facts: AttentionFacts, depth: int) -> list[bool]:
    """Return which layers turn their heads by positions."""
    if facts.rotary_layers == "thetas":
        thetas = one_a_layer(config, "layer_rope_theta", depth)
        return [bool(theta) for theta in thetas] or [True] * depth
    if facts.rotary_layers != "listed":
        return [True] * depth
    given = one_a_layer(config, "no_rope_layers", depth)
    each = config.integer("no_rope_layer_interval", default=4)
    return [bool(turn) for turn in given] or [(i + 1) % each != 0 for i in range(depth)]


def _types(config: Config, rule: Window, depth: int) -> list[object]:
    """Return the kind of each layer that a configuration names, empty where it names none."""
    key = rule.types
    if key is None or config.get(key) is None:
        return []
    given = list(config.items(key))
    named = len(given)
    if key == "attention_types":  # [[["global", "local"], 12]]
        try:
            named = sum(len(kinds) * times for kinds, times in given)
            turns = [(kinds, min(times, depth + 1)) for kinds, times in given]  # one is too many
            given = [kind for kinds, times in turns for _ in range(times) for kind in kinds]
        except (TypeError, ValueError):
            raise config.error(
                f"{key!r} must list kinds and how often they come, as [[['global'], 12]].", key
            ) from None
    if named != depth or len(given) != depth:
        raise config.error(f"{key!r} names {named} layers, but there are {depth}.", key)
    known = (FULL, CHUNKED if rule.chunked else SLIDING)
    kinds = [_SPELLED.get(kind, kind) if isinstance(kind, str) else kind for kind in given]
    for kind in kinds:
        if kind not in known:
            raise config.error(
                f"{key!r} names {kind!r}; only {known[0]!r} and {known[1]!r} are supported.", key
            )
    return kinds


def windows(
    config: Config, rule: Window | None, depth: int, turned: list[bool]
) -> list[int | None]:
    """Return the window of each layer, as the family's configuration class sets it.

    Parameters
    ----------
    config, rule
        The configuration, and the rule that it is read by.
    depth : int
        Number of layers.
    turned : list of bool
        Which layers turn their heads.
    """
    if rule is None:
        return [None] * depth
    types = _types(config, rule, depth)
    if rule.flag and not config.flag(rule.flag, default=False):
        return [None] * depth
    length = rule.default
    if rule.key in config.data:
        length = None if config.data[rule.key] is None else config.integer(rule.key)
    if rule.before is not None and config.get(rule.before) is not None:
        length = config.integer(rule.before, least=0) + 1
    if length is None:
        return [None] * depth
    if rule.both_ways:
        length = 2 * (length // 2) + 1
    if rule.layers == "but_each_and_last":
        kinds = types or [FULL if (i + 1) % rule.count == 0 else SLIDING for i in range(depth)]
        return [None if kind == FULL else length for kind in (*kinds[:-1], FULL)]
    if types:
        return [None if kind == FULL else length for kind in types]
    return [length if local else None for local in _by_rule(config, rule, depth, turned)]


def _by_rule(config: Config, rule: Window, depth: int, turned: list[bool]) -> list[bool]:
    """Return which layers have a window where no key names their kinds."""
    n = rule.count
    if rule.count_key:
        least = 0 if rule.layers in ("from", "even_below") else 1
        n = config.integer(rule.count_key, default=n, least=least)
    if rule.layers == "but_each_behind_dense":
        return [not full for full in _full_behind_dense(config, n, depth)]
    windowed = _WINDOWED[rule.layers]
    return [windowed(i, n, turned[i]) for i in range(depth)]


def _full_behind_dense(config: Config, each: int, depth: int) -> list[bool]:
    """Return which layers see all tokens: each so-manieth, counted anew behind the dense ones."""
    dense = min(depth, config.integer("first_k_dense_replace", default=0, least=0))
    ahead = config.integer("prefix_dense_sliding_window_pattern", default=1)
    behind = [(i + 1) % each == 0 for i in range(depth - dense)]
    return [*((i + 1) % ahead == 0 for i in range(dense)), *behind]


_WINDOWED: Mapping[str, Callable[[int, int, bool], bool]] = {
    "all": lambda i, n, turned: True,
    "none": lambda i, n, turned: False,
    "from": lambda i, n, turned: i >= n,
    "even_below": lambda i, n, turned: i % 2 == 0 and i < n,
    "but_each": lambda i, n, turned: (i + 1) % n != 0,
    "but_each_and_first": lambda i, n, turned: i > 0 and (i + 1) % n != 0,
    "behind_each": lambda i, n, turned: i % n != 0,
    "turned": lambda i, n, turned: turned,
    "unturned": lambda i, n, turned: not turned,
}
