"""Layers: how many, which of them have a window or experts, and the parts of each kind."""

from collections import Counter
from collections.abc import Callable, Mapping

from ..config import Config
from ..families.family import Family
from ..transformer import Layers, Part
from .parts import read_attention, read_experts, read_mlp

FULL, SLIDING = "full_attention", "sliding_attention"
_DEEPEST = 100_000


def read_layers(config: Config, family: Family, hidden: int) -> tuple[Layers, ...]:
    """Read the layers of a transformer, those alike once with their number.

    Raises
    ------
    BitlatheError
        If a required key is missing or a value is impossible; file, line and key are named.
    """
    depth = _depth(config, family)
    windows, routed = _windows(config, family, depth), _routed(config, family, depth)
    alike = Counter(zip(windows, routed, strict=True))
    several = len(set(windows)) > 1
    found = []
    for (window, with_experts), count in alike.items():
        suffix = "_local" if several and window is not None else ""
        parts: tuple[Part, ...] = (
            read_attention(config, family, hidden, window, suffix),
            read_experts(config, family, hidden)
            if with_experts
            else read_mlp(config, family, hidden),
        )
        found.append(
            Layers(
                count=count,
                parts=parts,
                parallel=family.parallel,
                norm=family.norm,
                norm_count=family.norms,
                norm_parameters=family.norms * family.norm_vectors * hidden,
            )
        )
    return tuple(found)


def _depth(config: Config, family: Family) -> int:
    key = family.keys.layers
    depth = config.integer(key)
    if depth > _DEEPEST:
        raise config.error(f"{key!r} is {depth}; at most {_DEEPEST} layers are supported.", key)
    return depth


def _routed(config: Config, family: Family, depth: int) -> list[bool]:
    """Return which layers have experts."""
    if family.experts is None or not family.experts.stepped:
        return [family.experts is not None] * depth
    step = config.integer("decoder_sparse_step", default=1)
    dense = config.items("mlp_only_layers")
    return [i not in dense and (i + 1) % step == 0 for i in range(depth)]


def _windows(config: Config, family: Family, depth: int) -> list[int | None]:
    """Return the window of each layer, as the family's configuration class sets it."""
    rule, types = family.window, config.items("layer_types")
    if rule is None:
        return [None] * depth
    if rule.by_type and types and len(types) != depth:
        raise config.error(
            f"'layer_types' names {len(types)} layers, but there are {depth}.", "layer_types"
        )
    for kind in types if rule.by_type else ():
        if kind not in (FULL, SLIDING):
            raise config.error(
                f"'layer_types' names {kind!r}; only {FULL!r} and {SLIDING!r} are supported.",
                "layer_types",
            )
    length = rule.default
    if config.data.get("sliding_window", rule.default) is None:
        length = None
    elif "sliding_window" in config.data:
        length = config.integer("sliding_window")
    if length is None or (rule.flag and not config.flag(rule.flag, default=False)):
        return [None] * depth
    if rule.by_type and types:
        return [length if kind == SLIDING else None for kind in types]
    n = rule.count
    if rule.count_key:
        least = 1 if rule.layers == "but_each" else 0
        n = config.integer(rule.count_key, default=n, least=least)
    return [length if _WINDOWED[rule.layers](i, n) else None for i in range(depth)]


_WINDOWED: Mapping[str, Callable[[int, int], bool]] = {
    "all": lambda i, n: True,
    "from": lambda i, n: i >= n,
    "even_below": lambda i, n: i % 2 == 0 and i < n,
    "but_each": lambda i, n: (i + 1) % n != 0,
}
