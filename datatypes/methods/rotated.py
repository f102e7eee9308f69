"""Methods that rotate inputs and weights before both are rounded; see `rotations`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..base.numbers import whole_number
from .layer import QuantizedLinear, rounded
from .rotations import Rotation
from .task import Task

TRIES_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOptions:
    """Options of ``hadamard`` and ``orthogonal``.

    Attributes
    ----------
    seed : int
        Of the first rotation.
    tries : int
        Rotations that are drawn, each from the next seed.
    """

    seed: int = 0
    tries: int = 1

    def __post_init__(self) -> None:
        whole_number("seed", self.seed, 0)
        whole_number("tries", self.tries, 1, TRIES_MAX)


Finder = Callable[[Task, RotationOptions], Iterator[QuantizedLinear]]


def rotated(kind: str) -> Finder:
    """Return the method that rotates by one kind of rotation."""

    def find(task: Task, options: RotationOptions) -> Iterator[QuantizedLinear]:
        for seed in range(options.seed, options.seed + options.tries):
            rotation = Rotation.of(kind, task.weights.shape[1], seed)
            yield rounded(task, kind, f"seed={seed}", rotation=rotation)

    return find
