"""Fronts and volumes by comparing all pairs and counting unit cells."""

from itertools import product


def front(points: list[tuple[int, ...]]) -> list[bool]:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return [not any(dominates(other, point) for other in points) for point in points]


def cells(points: list[tuple[int, ...]], worst: tuple[int, ...]) -> int:
    """Count unit cells of [0, worst) that some point with whole coordinates dominates."""
    return sum(
        any(all(x <= c for x, c in zip(point, cell, strict=True)) for point in points)
        for cell in product(*(range(side) for side in worst))
    )
