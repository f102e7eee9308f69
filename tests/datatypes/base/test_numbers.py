"""Whole numbers in range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.base.numbers import whole_number


@given(value=st.integers(), low=st.integers(), high=st.none() | st.integers())
def test_a_whole_number_comes_back_if_it_is_in_range(value, low, high):
    if value >= low and (high is None or value <= high):
        assert whole_number("n", value, low, high) == value
        return
    with pytest.raises(BitlatheError, match=f"^n .*{low}"):
        whole_number("n", value, low, high)


@pytest.mark.parametrize("value", [np.int8(3), np.uint64(3), np.array(3)])
def test_integers_of_numpy_become_those_of_python(value):
    assert type(whole_number("n", value, 0, 3)) is int


@pytest.mark.parametrize(
    "value", [True, np.True_, 1.0, np.float64(1), "1", None, [1], np.array([1, 1]), np.array(1.0)]
)
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(BitlatheError, match="whole number"):
        whole_number("n", value, 0)
