"""Chips without their vector unit: what stands between products is not counted."""

from typing import Any

from bitlathe.arch import Arch, load_arch


def alone(chip: Any, settings: dict[str, Any] | None = None) -> Arch:
    """Return a chip on which matrix products alone take time and energy."""
    without = {} if load_arch(chip).vector is None else {"vector.lanes": 0}
    return load_arch(chip, {**without, **(settings or {})})
