"""Counters of an array: accesses by operand, sizes that stay exact, shapes of operands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError

COUNTER_LIMIT = 2**53
"""Counters stay exact in JSON numbers and float64 up to here; past it the count is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperandCounts(Mapping[str, int]):
    """Accesses per operand in elements, as a mapping of ``input``, ``weight`` and ``output``.

    ``counts["total"]``, ``counts.total`` and ``int(counts)`` are their sum, which also is what a
    comparison with a number takes.

    Examples
    --------
    >>> counts = OperandCounts(input=2, weight=3, output=5)
    >>> dict(counts), counts["total"], counts == 10
    ({'input': 2, 'weight': 3, 'output': 5}, 10, True)
    """

    input: int
    weight: int
    output: int

    @property
    def total(self) -> int:
        """Sum over the three operands."""
        return self.input + self.weight + self.output

    def __getitem__(self, key: str) -> int:
        if key not in ("input", "weight", "output", "total"):
            raise KeyError(key)
        return int(getattr(self, key))

    def __iter__(self) -> Iterator[str]:
        return iter(("input", "weight", "output"))

    def __len__(self) -> int:
        return 3

    def __int__(self) -> int:
        return self.total

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else self.total == other

    def __hash__(self) -> int:
        return hash(self.total)  # as a number that it equals


def check_counter(name: str, value: int) -> int:
    """Return a counter's value.

    Raises
    ------
    BitlatheError
        If it is past 2^53, which a float64 or a JSON number may not represent exactly.
    """
    if value > COUNTER_LIMIT:
        raise BitlatheError(
            f"{name} would be {value}, past 2^53 = {COUNTER_LIMIT}, the largest count kept "
            "exactly; split the product into smaller ones and add their results"
        )
    return value


def check_matrix(name: str, array: NDArray[Any]) -> None:
    """Check that an array is an (M, N) matrix with at least one element.

    Raises
    ------
    BitlatheError
        If it is not; the error names the shape.
    """
    if array.ndim != 2:
        raise BitlatheError(f"{name} must be a matrix, not an array of shape {array.shape}")
    if 0 in array.shape:
        raise BitlatheError(f"{name} is empty: its shape is {array.shape}")
