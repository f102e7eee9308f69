"""Dotted keys of a chip: setting one, and what conditional overrides set."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .schema import Override


def set_key(data: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return ``data`` with the value of one dotted key replaced; other branches are shared.

    Examples
    --------
    >>> set_key({"array": {"rows": 32, "columns": 8}}, "array.rows", 64)
    {'array': {'rows': 64, 'columns': 8}}
    """
    head, _, rest = dotted.partition(".")
    if not rest:
        return {**data, head: value}
    child = data.get(head)
    if isinstance(child, str) and rest in {"bits", "scheme"}:
        child = {"scheme": child}  # a scheme written as a plain string
    if isinstance(child, str) and head == "numerics":
        child = {"preset": child}
    return {**data, head: set_key(child if isinstance(child, dict) else {}, rest, value)}


def _models(rule: "Override") -> tuple[str, ...]:
    model = rule.when.model
    return () if model is None else (model,) if isinstance(model, str) else tuple(model)


def changes_of(overrides: Iterable["Override"], phase: str, model: str | None) -> dict[str, Any]:
    """Return what the overrides of a phase and model set, by dotted key; later ones win."""
    changes: dict[str, Any] = {}
    for rule in overrides:
        if rule.when.phase in (None, phase) and (rule.when.model is None or model in _models(rule)):
            changes |= rule.set
    return changes


def variants_of(overrides: Iterable["Override"]) -> list[dict[str, Any]]:
    """Return the different changes that any phase and any model brings."""
    rules = list(overrides)
    models = (None, *(model for rule in rules for model in _models(rule)))
    found: list[dict[str, Any]] = []
    for phase in ("prefill", "decode"):
        for model in models:
            changes = changes_of(rules, phase, model)
            if changes not in found:
                found.append(changes)
    return found
