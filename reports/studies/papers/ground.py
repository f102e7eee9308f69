"""What statements are checked on, and what a statement is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....datatypes.methods.calibrate import calibrate
from ....datatypes.quantize import quantize

Figures = dict[str, float]
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What statements are checked on.

    Attributes
    ----------
    weights : list of (outputs, inputs) float32 arrays
    layers : list of pairs of (outputs, inputs) weights and (tokens, inputs) inputs
        Those that are calibrated.
    inputs : list of (tokens, inputs) float32 arrays
        Of all layers.
    """

    weights: list[NDArray[np.float32]]
    layers: list[Pair]
    inputs: list[NDArray[np.float32]] = field(default_factory=list)

    @cached_property
    def _power(self) -> float:
        return sum(float(np.square(w, dtype=np.float64).sum()) for w in self.weights)

    def weight_error(self, scheme: str) -> float:
        """Return the squared error of all weights over their squares."""
        made = (quantize(w, scheme).dequantize(np.float64) - w for w in self.weights)
        return sum(float(np.square(d).sum()) for d in made) / self._power

    def output_error(self, method: str, scheme: str, **options: Any) -> float:
        """Return the mean over layers of a method's relative error of outputs."""
        found = [calibrate(w, x, method, scheme, **options) for w, x in self.layers]
        return float(np.mean([layer.relative_error for layer in found]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A statement and its check.

    Attributes
    ----------
    row : int
        Of `statements.ROWS`, to which it belongs.
    statement : str
    check : callable
        Of a `Ground`; returns figures by name, and whether the statement holds.
    weights : bool
        Whether it is checked on the ground's weights.
    """

    row: int
    statement: str
    check: Callable[[Ground], tuple[Figures, bool]]
    weights: bool = True


def ascending(figures: Figures) -> tuple[Figures, bool]:
    """Return figures, and whether each is less than the next."""
    found = list(figures.values())
    return figures, all(a < b for a, b in pairwise(found))


def ranked(*schemes: str) -> Callable[[Ground], tuple[Figures, bool]]:
    """Return the check that errors of weights ascend in the order of schemes."""
    return lambda ground: ascending({s: ground.weight_error(s) for s in schemes})
