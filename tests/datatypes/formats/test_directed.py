"""Rounding to one side, against exact fractions of every pair of neighbors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.rounding import round_integer

MODES = ("floor", "ceil", "truncate", "outward")
FORMATS = ("fp4_e2m1", "fp8_e4m3", "int4", "uint4", "nf3", "bitmod_fp4_ea_neg", "e8m0")


def expected(values, y, rounding):
    """The value that an exact number rounds to; the end of the grid beyond it."""
    below = [v for v in values if v <= y] or values[:1]
    above = [v for v in values if v >= y] or values[-1:]
    side = {"floor": -1, "ceil": 1, "truncate": -1 if y > 0 else 1, "outward": 1 if y > 0 else -1}
    return below[-1] if side[rounding] < 0 else above[0]


@given(name=st.sampled_from(FORMATS), rounding=st.sampled_from(MODES), y=st.floats(-500, 500))
def test_a_number_goes_to_its_neighbor_on_that_side(name, rounding, y):
    fmt = single(name)
    values = [Fraction(float(v)) for v in fmt.grid.values]
    inputs = [y, y / 64, *fmt.grid.values[:9], *fmt.grid.midpoints[:9]]
    for one, found in zip(inputs, fmt.round(inputs, rounding=rounding), strict=True):
        assert Fraction(float(found)) == expected(values, Fraction(float(one)), rounding)


@given(st.floats(-1e6, 1e6))
def test_integers_go_to_the_side_too(y):
    numpy = {"floor": np.floor, "ceil": np.ceil, "truncate": np.trunc}
    for rounding, function in numpy.items():
        assert round_integer(np.array(y), rounding) == function(y)
    assert round_integer(np.array(y), "outward") == np.copysign(np.ceil(abs(y)), y)
    odd = float(round_integer(np.array(y), "odd"))
    assert abs(Fraction(odd) - Fraction(y)) < 1
    assert odd == y or odd % 2 == 1


def test_what_overflows_is_as_in_ieee_754():
    fmt, x = single("fp8_e5m2"), [1e9, -1e9, 57344.0, 57345.0, -57345.0]
    inf = np.inf
    rows = {
        "floor": [57344, -inf, 57344, 57344, -inf],
        "ceil": [inf, -57344, 57344, inf, -57344],
        "truncate": [57344, -57344, 57344, 57344, -57344],
        "outward": [inf, -inf, 57344, inf, -inf],
    }
    for rounding, row in rows.items():
        assert fmt.round(x, rounding=rounding, overflow="inf").tolist() == row
        assert fmt.round(x, rounding=rounding).tolist() == np.clip(row, -57344, 57344).tolist()


@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize("scheme", ["int4@g16", "int4_asym@g16", "bitmod_fp4@g16", "nvfp4+mse"])
def test_tensors_are_rounded_to_the_side(scheme, rounding):
    x = np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)
    values = bl.quantize(x, scheme, rounding=rounding).dequantize().reshape(8, 16)
    groups = x.reshape(8, 16)
    # what is nearer to 0 than an end of the group was not cut off there
    inside = (values > values.min(1, keepdims=True)) & (values < values.max(1, keepdims=True))
    side = {"floor": -1, "ceil": 1, "truncate": -np.sign(groups), "outward": np.sign(groups)}
    assert inside.sum() > 80
    assert ((values - groups) * side[rounding] > -1e-6)[inside].all()
