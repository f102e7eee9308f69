"""Values of a configuration under rules, and under the one of several names that it uses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config import Config
from ..families.facts import Names
from ..families.family import Family
from ..families.outputs import Rule


def chosen(config: Config, names: Names) -> str:
    """Return the name that a configuration uses, the class's own where it uses none."""
    if isinstance(names, str):
        return names
    return next((name for name in names if name in config.data), names[0])


def holds(config: Config, rule: Rule) -> bool:
    """Return what a rule says of a configuration."""
    return rule if isinstance(rule, bool) else config.flag(rule[0], default=rule[1])


def one_a_layer(config: Config, key: str, depth: int) -> list[Any]:
    """Return a list of one value a layer, empty where it is left out.

    Raises
    ------
    BitlatheError
        If there are more or fewer values than layers.
    """
    given = list(config.items(key))
    if given and len(given) != depth:
        raise config.error(f"{key!r} names {len(given)} layers, but there are {depth}.", key)
    return given


def norm_vectors(config: Config, family: Family) -> int:
    """Return how many parameters a norm has for each element."""
    if not holds(config, family.norm_scaled):
        return 0
    return family.norm_vectors + holds(config, family.norm_shift)


def renamed(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the keys of a file under the names that are read."""
    found = {key: value for key, value in data.items() if key not in names}
    given = {name: data[key] for key, name in names.items() if key in data}
    return {**given, **found}


def with_norm(config: Config, family: Family) -> Family:
    """Return a family with the kind of norm that its key names, where it has such a key.

    Raises
    ------
    BitlatheError
        If there is no such kind.
    """
    if family.norm_key is None:
        return family
    kind = config.get(family.norm_key) or family.norm
    if kind not in ("layer_norm", "rms_norm"):
        raise config.error(
            f"{family.norm_key!r} is {kind!r}; it must be 'layer_norm' or 'rms_norm'.",
            family.norm_key,
        )
    return replace(family, norm=kind, norm_vectors=1 + (kind == "layer_norm"))
