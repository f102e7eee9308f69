"""Pareto fronts and hypervolumes against all-pairs loops and counted cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore.pareto import hypervolume, pareto_front
from naive import pareto_naive


def tables(objectives: int, most: int = 30) -> st.SearchStrategy[list[tuple[int, ...]]]:
    return st.lists(st.tuples(*[st.integers(0, 6)] * objectives), min_size=1, max_size=most)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_front_is_that_of_all_pairs(objectives: int) -> None:
    @given(tables(objectives))
    def check(points: list[tuple[int, ...]]) -> None:
        assert pareto_front(points).tolist() == pareto_naive.front(points)
        flipped = [(-p[0], *p[1:]) for p in points]
        mask = pareto_front(flipped, [False] + [True] * (objectives - 1))
        assert mask.tolist() == pareto_naive.front(points)

    check()


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_volume_is_the_number_of_cells(objectives: int) -> None:
    worst = (5,) * objectives

    @given(tables(objectives, most=8))
    def check(points: list[tuple[int, ...]]) -> None:
        assert hypervolume(points, worst) == pareto_naive.cells(points, worst)

    check()


def test_maximizing_mirrors() -> None:
    points = np.array([[1.0, 5.0], [2.0, 2.0], [0.5, 6.0]])
    assert pareto_front(-points, False).tolist() == pareto_front(points).tolist()
    assert hypervolume(-points, [-9, -9], False) == hypervolume(points, [9, 9])


def test_empty_sets() -> None:
    assert pareto_front(np.empty((0, 2))).shape == (0,)
    assert pareto_front(np.empty((3, 0))).tolist() == [True] * 3
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0.0


def test_large_set_of_two_objectives() -> None:
    x = np.linspace(0, 1, 100_000)
    points = np.column_stack([x, 1 - x])
    assert pareto_front(points).all()
    assert hypervolume(points, [1, 1]) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_named(bad: float) -> None:
    with pytest.raises(BitlatheError, match=r"values\[1, 0\]"):
        pareto_front([[1.0, 2.0], [bad, 0.0]])
    with pytest.raises(BitlatheError, match=r"reference\[0, 1\]"):
        hypervolume([[1.0, 2.0]], [1.0, bad])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(BitlatheError, match="N points by D objectives"):
        pareto_front([1.0, 2.0])
    with pytest.raises(BitlatheError, match="one each"):
        pareto_front([[1.0, 2.0]], [True])
    with pytest.raises(BitlatheError, match="one an objective"):
        hypervolume([[1.0, 2.0]], [1.0])
