"""Values of a configuration under rules, and under the one of several names that it uses."""

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
