"""Pareto fronts and the volume they dominate, for any number of objectives, in numpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...datatypes.base.errors import BitlatheError

Floats = NDArray[np.float64]


def _costs(values: ArrayLike, minimize: bool | Sequence[bool], argument: str) -> Floats:
    """Return values as an (N, D) array to be minimized."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise BitlatheError(
            f"{argument}: expected a table of N points by D objectives, not {table.ndim} axes."
        )
    if not np.isfinite(table).all():
        i, j = np.argwhere(~np.isfinite(table))[0]
        raise BitlatheError(
            f"{argument}[{i}, {j}] is {table[i, j]}; every objective must be a finite number: "
            "leave such points out."
        )
    if isinstance(minimize, bool):
        return table if minimize else -table
    if len(minimize) != table.shape[1]:
        raise BitlatheError(
            f"minimize: {len(minimize)} choices for {table.shape[1]} objectives; give one each."
        )
    return table * np.where(minimize, 1.0, -1.0)


def pareto_front(values: ArrayLike, minimize: bool | Sequence[bool] = True) -> NDArray[np.bool_]:
    """Tell which points no other point dominates.

    A point dominates another if it is no worse in every objective and better in one; equal points
    are therefore on the front together.

    Parameters
    ----------
    values : (N, D) array_like
        Objectives of each point.
    minimize : bool or sequence of bool
        Whether less is better, for all objectives or for each.

    Returns
    -------
    (N,) ndarray of bool
        Which points are on the front.

    Raises
    ------
    BitlatheError
        NaN or infinite values (the first is named), a wrong shape.

    Examples
    --------
    >>> pareto_front([[1, 5], [2, 2], [3, 3], [2, 2]]).tolist()
    [True, True, False, True]
    """
    costs = _costs(values, minimize, "values")
    count, objectives = costs.shape
    if count == 0 or objectives == 0:
        return np.ones(count, dtype=bool)
    distinct, inverse = np.unique(costs, axis=0, return_inverse=True)
    mask = _front_2d(distinct) if objectives == 2 else _front_any(distinct)
    return mask[inverse.reshape(-1)]


def _front_2d(points: Floats) -> NDArray[np.bool_]:
    """Front of distinct points in lexicographic order: the second cost must set a new record."""
    best = np.minimum.accumulate(points[:, 1])
    mask = np.ones(len(points), dtype=bool)
    mask[1:] = points[1:, 1] < best[:-1]
    return mask


def _front_any(points: Floats) -> NDArray[np.bool_]:
    """Front of distinct points in lexicographic order: the first that remains is on it."""
    mask = np.zeros(len(points), dtype=bool)
    left = np.arange(len(points))
    while left.size:
        first = left[0]
        mask[first] = True
        rest = left[1:]
        left = rest[(points[rest] < points[first]).any(axis=1)]
    return mask


def hypervolume(
    values: ArrayLike, reference: ArrayLike, minimize: bool | Sequence[bool] = True
) -> float:
    """Return the volume between a set of points and a reference point that is worse than them.

    Exact, by slicing along the last objective; points beyond the reference count nothing. Meant
    for fronts of up to a few thousand points in two objectives, a few hundred in four.

    Parameters
    ----------
    values : (N, D) array_like
        Objectives of each point; dominated points change nothing.
    reference : (D,) array_like
        The worst corner.
    minimize : bool or sequence of bool
        Whether less is better, for all objectives or for each.

    Returns
    -------
    float
        Volume in the product of the objectives' units; 0 without points.

    Raises
    ------
    BitlatheError
        NaN or infinite values, wrong shapes.

    Examples
    --------
    >>> hypervolume([[1, 3], [2, 1]], [4, 4])
    7.0
    """
    corner = np.asarray(reference, dtype=np.float64)
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 2 and corner.shape != (table.shape[1],):
        raise BitlatheError(
            f"reference: expected {table.shape[1]} numbers, one an objective, not {corner.shape}."
        )
    costs = _costs(table, minimize, "values")
    worst = _costs(corner.reshape(1, -1), minimize, "reference")[0]
    inside = costs[(costs < worst).all(axis=1)]
    return float(_volume(inside, worst))


def _volume(costs: Floats, worst: Floats) -> Any:
    if costs.size == 0:
        return 0.0
    front = np.unique(costs, axis=0)
    if costs.shape[1] == 1:
        return worst[0] - front[0, 0]
    if costs.shape[1] == 2:
        front = front[_front_2d(front)]
        ceilings = np.concatenate(([worst[1]], front[:-1, 1]))
        return ((worst[0] - front[:, 0]) * (ceilings - front[:, 1])).sum()
    levels = np.unique(front[:, -1])
    depths = np.diff(np.append(levels, worst[-1]))
    return sum(
        depth * _volume(front[front[:, -1] <= level, :-1], worst[:-1])
        for level, depth in zip(levels, depths, strict=True)
    )
