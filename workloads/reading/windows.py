"""Which layers see a window of the tokens, and which turn their heads by positions."""

from collections.abc import Callable, Mapping

from ..config import Config
from ..families.facts import AttentionFacts, Window
from .values import one_a_layer

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_SPELLED = {"global": FULL, "local": SLIDING}


def turned_layers(config: Config, facts: AttentionFacts, depth: int) -> list[bool]:
    """Return which layers turn their heads by positions."""
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
    n = rule.count
    if rule.count_key:
        least = 1 if rule.layers in ("but_each", "but_each_and_first", "behind_each") else 0
        n = config.integer(rule.count_key, default=n, least=least)
    windowed = _WINDOWED[rule.layers]
    return [length if windowed(i, n, turned[i]) else None for i in range(depth)]


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
