"""Transformers: from the keys of a config.json to sizes."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from .config import Config
from .families import Family, Output
from .keys import FULL, SLIDING, total_key
from .sizes import check_size
from .transformer import Layers, Transformer


def read_transformer(config: Config, family: Family) -> Transformer:
    """Read the sizes of a transformer from the object of its config.json.

    Raises
    ------
    BitlatheError
        If a required key is missing or a value is impossible; file, line and key are named.
    """
    keys = family.keys
    hidden = config.integer(keys.hidden)
    heads = config.integer(keys.heads)
    kv_heads = config.integer("num_key_value_heads", default=heads) if family.grouped else heads
    if heads % kv_heads:
        by_default = "" if "num_key_value_heads" in config.data else " by the class's default"
        raise config.error(
            f"'num_key_value_heads' is {kv_heads}{by_default}, which does not divide the {heads} "
            f"heads of {keys.heads!r}.",
            "num_key_value_heads",
        )
    given_dim = config.get("head_dim") if family.grouped else None
    if given_dim is None and hidden % heads:
        raise config.error(
            f"{keys.hidden!r} is {hidden}, which the {heads} heads of {keys.heads!r} do not "
            "divide; change one of them or give 'head_dim'.",
            keys.hidden,
        )
    even_dim = max(hidden // heads, 1)
    head_dim = config.integer("head_dim", default=even_dim) if family.grouped else even_dim
    factor = family.inner_factor
    experts = family.experts
    layers = _read_layers(config, family)
    needs_inner = any(not group.routed for group in layers)
    width = config.integer(keys.inner, default=factor * hidden if factor else None) if (
        needs_inner or experts is None or experts.inner == keys.inner
    ) else 0  # fmt: skip
    outputs = _outputs(config, family)
    return Transformer(
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=width,
        tied=config.flag("tie_word_embeddings", default=family.tied),
        qkv_bias=_flag(config, family.qkv_bias),
        output_bias=_flag(config, family.output_bias),
        mlp_bias=_flag(config, family.mlp_bias),
        qk_norm=_flag(config, family.qk_norm),
        outputs=outputs,
        labels=_labels(config) if any(each.outputs == "labels" for each in outputs) else 0,
        **_embeddings(config, family, hidden),
        **_expert_sizes(config, family, any(group.routed for group in layers)),
    )


def _flag(config: Config, rule: bool | tuple[str, bool]) -> bool:
    return rule if isinstance(rule, bool) else config.flag(rule[0], default=rule[1])


def head_of(config: Config, family: Family) -> str | None:
    """Return the known ending of the class that ``architectures`` names, None if there is none."""
    named = config.items("architectures")
    known = sorted(family.heads, key=len, reverse=True)
    return next((end for end in known if named and str(named[0]).endswith(end)), None)


def _outputs(config: Config, family: Family) -> tuple[Output, ...]:
    return family.heads[head_of(config, family) or next(iter(family.heads))]


def _labels(config: Config) -> int:
    """Return the number of classes; the class's default is 2, none where no class is named."""
    named = config.get("id2label")
    known = len(named) if isinstance(named, dict) else 2 if config.items("architectures") else 0
    return config.integer("num_labels", default=known, least=0)


def _side(config: Config, key: str) -> tuple[int, int]:
    """Read a height and width: one integer for both, or a list of two."""
    value = config.get(key)
    if not isinstance(value, list):
        one = config.integer(key)
        return one, one
    if len(value) != 2 or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
        raise config.error(f"{key!r} is {value!r}; give one integer or two [height, width].", key)
    high, wide = (check_size(f"{config.where(key)}: {key!r}", part) for part in value)
    return high, wide


def _embeddings(config: Config, family: Family, hidden: int) -> dict[str, Any]:
    if family.kind == "vision":
        channels = config.integer("num_channels")
        sides, patches = _side(config, "image_size"), _side(config, "patch_size")
        for side, patch in zip(sides, patches, strict=True):
            if patch > side or side % patch:
                raise config.error(
                    f"'patch_size' is {patch}, which does not divide the 'image_size' of {side}.",
                    "patch_size",
                )
        tokens = (sides[0] // patches[0]) * (sides[1] // patches[1]) + 1
        return {"image": (channels, *sides, *patches), "positions": tokens}
    if key := family.narrow_embedding:
        narrow = config.integer(key, default=hidden)
        if narrow != hidden:
            raise config.error(
                f"{key!r} is {narrow}; only {hidden}, the hidden size, is supported.", key
            )
    learned = family.positions_learned
    positions = config.integer(family.keys.positions) + family.position_offset if learned else 0
    types = config.integer("type_vocab_size", least=0) if family.token_types else 0
    return {
        "vocabulary": config.integer("vocab_size"),
        "positions": positions,
        "token_types": types,
    }


def _expert_sizes(config: Config, family: Family, routed: bool) -> dict[str, Any]:
    keys = family.experts
    if keys is None or not routed:
        return {}
    of_all = total_key(config, family)
    total, active = config.integer(of_all), config.integer(keys.active)
    if active > total:
        raise config.error(
            f"{keys.active!r} is {active}, more than the {total} experts of {of_all!r}.",
            keys.active,
        )
    shared = keys.shared_inner
    return {
        "experts": total,
        "active_experts": active,
        "expert_inner": config.integer(keys.inner),
        "shared_inner": config.integer(shared, default=0, least=0) if shared else 0,
    }


def _read_layers(config: Config, family: Family) -> tuple[Layers, ...]:
    """Group the layers by attention window and by dense or routed MLP."""
    depth = config.integer(family.keys.layers)
    if depth > 100_000:
        raise config.error(
            f"{family.keys.layers!r} is {depth}; at most 100000 layers are supported.",
            family.keys.layers,
        )
    windows = _windows(config, family, depth)
    if family.experts is None or not family.experts.stepped:
        routed = [family.experts is not None] * depth
    else:
        step = config.integer("decoder_sparse_step", default=1)
        dense = config.items("mlp_only_layers")
        routed = [i not in dense and (i + 1) % step == 0 for i in range(depth)]
    alike = Counter(zip(windows, routed, strict=True))
    return tuple(Layers(count=c, window=w, routed=r) for (w, r), c in alike.items())


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
