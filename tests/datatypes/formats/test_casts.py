"""Compiled casts of large arrays against the search among a format's values."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.formats import fast_casts
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.constructors import float_format
from bitlathe.datatypes.formats.families import named
from bitlathe.datatypes.formats.rounding import NEAREST

FORMATS = [
    "fp8_e4m3", "fp8_e5m2", "fp8_e4m3fnuz", "fp6_e2m3", "fp6_e3m2", "fp5_e3m1", "fp4_e2m1",
    "fp4_e3m0", "fp3_e2m0", "nf4", "int8", "int4", "uint4", "flint4", "pot4",
    "bitmod_fp4_er_pos",
]  # fmt: skip


def every_half():
    half = np.arange(65536, dtype=np.uint16).view(np.float16)
    return half[np.isfinite(half)]


def around(fmt, dtype):
    """Return midpoints and values of a format, their neighbors, and extremes."""
    at = np.concatenate([fmt.grid.midpoints, fmt.grid.values]).astype(dtype)
    beside = [np.nextafter(at, dtype(end)) for end in (-np.inf, np.inf)]
    top = np.finfo(dtype).max
    ends = np.array([0.0, -0.0, top, -top, np.finfo(dtype).smallest_subnormal], dtype)
    return np.concatenate([at, *beside, ends, -ends])


@pytest.fixture
def searched(monkeypatch):
    """Return `Format.encode` without the compiled kernels."""

    def encode(fmt, x, rounding, **options):
        with monkeypatch.context() as patch:
            patch.setattr(fast_casts, "have_numba", lambda: False)
            return fmt.encode(x, rounding, **options)

    return encode


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rounding", sorted(NEAREST))
def test_codes_are_those_of_the_search(name, rounding, searched):
    fmt = single(name)
    inputs = [every_half(), every_half().astype(np.float32), around(fmt, np.float32)]
    for x in inputs:
        found = fast_casts.encode(fmt.grid, x, rounding, "saturate", min_size=1)
        assert found is not None
        np.testing.assert_array_equal(found, searched(fmt, x, rounding))


@pytest.mark.parametrize(
    "name", ["fp8_e4m3", "fp8_e5m2", "fp6_e3m2", "fp4_e2m1", "ue4m3fn", "ue5m3", "ue3m3", "ue7m1"]
)
def test_float64_is_rounded_once(name, searched):
    fmt = named(name)
    near = around(fmt, np.float64)
    # beyond what float32 tells apart, on both sides of a tie
    close = np.concatenate(
        [fmt.grid.midpoints * (1 + s * 2.0**-k) for s in (-1, 1) for k in (30, 50)]
    )
    x = np.concatenate([near, close, every_half().astype(np.float64)])
    found = fast_casts.encode(fmt.grid, x, "even", "saturate", min_size=1)
    np.testing.assert_array_equal(found, searched(fmt, x, "even"))
    assert fast_casts.encode(single("nf4").grid, x, "even", "saturate", min_size=1) is None


def test_floats_beyond_a_kernel_are_coded_too(searched):
    fmt = float_format(4, 3, bias=-100)  # up to 8e34
    x = around(fmt, np.float32)
    found = fast_casts.encode(fmt.grid, x, "even", "saturate", min_size=1)
    np.testing.assert_array_equal(found, searched(fmt, x, "even"))
    assert fast_casts.encode(fmt.grid, x.astype(float), "even", "saturate", min_size=1) is None


@pytest.mark.parametrize("name", ["fp16", "bf16"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sixteen_bits_are_rounded_once(name, dtype, searched):
    fmt = single(name)
    x = np.concatenate([around(fmt, dtype), every_half().astype(dtype)])
    x = x[np.isfinite(x)]
    found = fast_casts.encode(fmt.grid, x, "even", "saturate", min_size=1)
    np.testing.assert_array_equal(found, searched(fmt, x, "even"))


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3", "nf4"])
def test_bfloat16_input_is_bounded_by_the_format(name, searched):
    bits = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16)
    x = bits[np.isfinite(bits.astype(np.float32))]  # some round to 65536, beyond float16
    fmt = single(name)
    found = fast_casts.encode(fmt.grid, x, "even", "saturate", min_size=1)
    np.testing.assert_array_equal(found, searched(fmt, x, "even"))


@given(st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=20))
def test_rounding_to_odd_is_that_of_its_definition(numbers):
    x = np.array(numbers)
    found = fast_casts.to_odd(x)
    with np.errstate(over="ignore"):
        near = x.astype(np.float32)
    exact = near.astype(np.float64) == x
    np.testing.assert_array_equal(found[exact], near[exact])
    rest, wanted = found[~exact], x[~exact]
    assert (rest.view(np.uint32) & 1).all()
    # between its neighbors, of which none is odd
    with np.errstate(over="ignore"):
        ends = [np.nextafter(rest, np.float32(end)).astype(np.float64) for end in (-np.inf, np.inf)]
    assert ((ends[0] < wanted) & (wanted < ends[1])).all()


@pytest.mark.parametrize("name", [*FORMATS, "bf16", "fp16", "e8m0"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_those_of_the_table(name, dtype):
    fmt = single(name)
    codes = np.arange(1 << fmt.bits).astype(fmt.code_dtype)
    found = fast_casts.decode(fmt.grid, codes, np.dtype(dtype), min_size=1)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, fmt.values.astype(dtype))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(fmt.values))


def test_large_arrays_take_the_kernels_and_what_does_not_fit_the_search():
    fmt, x = single("fp8_e4m3"), np.linspace(-500, 500, fast_casts.MIN_SIZE, dtype=np.float32)
    assert fast_casts.encode(fmt.grid, x, "even", "saturate") is not None
    np.testing.assert_array_equal(fmt.encode(x), fast_casts.encode(fmt.grid, x, "even", "saturate"))
    np.testing.assert_array_equal(fmt.round(x)[::7], fmt.round(x[::7]))
    for unfit in (x[:100], x[::-1].astype(">f4"), x.astype(np.int32), np.append(x, np.inf)):
        assert fast_casts.encode(fmt.grid, unfit, "even", "saturate") is None
    for rule in (("truncate", "saturate"), ("stochastic", "nan"), ("even", "nan")):
        assert fast_casts.encode(fmt.grid, x, *rule) is None


@pytest.mark.parametrize(
    "name", ["fp4_e2m1", "fp8_e4m3", "nf4", "uint4", "bitmod_fp4_ea_neg", "fp16"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_are_those_of_the_search(name, dtype, searched):
    fmt = single(name)
    x = np.concatenate([around(fmt, dtype), np.linspace(fmt.min, fmt.max, 999).astype(dtype)])
    for seed in range(3):
        found = fast_casts.encode(fmt.grid, x, "stochastic", "saturate", seed, min_size=1)
        expected = searched(fmt, x, "stochastic", seed=seed)
        np.testing.assert_array_equal(found, expected)
