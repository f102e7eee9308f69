"""The group rescale unit: products, clocks and the column accumulator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.pe.rescale import bitserial_matmul, group_timing, rescale
from naive import pe_naive


@given(st.lists(st.integers(-(2**14), 2**14 - 1), min_size=1), st.integers(0, 255))
def test_serial_product_is_the_product(mantissas, scale):
    assert rescale(mantissas, scale).tolist() == [m * scale for m in mantissas]


def test_every_scale_times_the_extreme_mantissas_fits_its_register():
    products = rescale(np.array([-(2**14), 2**14 - 1])[:, None], np.arange(256))
    assert np.abs(products).max() < 2 ** (15 + 8 - 1)


@pytest.mark.parametrize(
    ("group", "terms", "scale_bits", "compute", "stall"),
    [
        (128, 4, 8, 128, 0),
        (128, 2, 8, 64, 0),
        (8, 2, 8, 4, 4),
        (8, 4, 8, 8, 0),
        (7, 2, 8, 4, 4),
        (0, 2, 8, 0, 0),
        (8, 2, 0, 4, 0),
    ],
)
def test_stalls_only_when_the_group_is_shorter_than_the_scale(
    group, terms, scale_bits, compute, stall
):
    timing = group_timing(group, terms, scale_bits=scale_bits)
    assert (timing.compute_cycles, timing.stall_cycles) == (compute, stall)
    assert timing.latency_cycles == 5 + 1 + scale_bits
    assert timing.period_cycles == compute + stall


def test_a_gap_hides_stalls():
    assert group_timing(8, 2, group_gap=1).stall_cycles == 3
    assert group_timing(8, 2, group_gap=1).period_cycles == 8


def naive_matmul(activations, weights, scales, group, numerics):
    """Group by group, the float32 adder emulated on fractions."""
    out = np.zeros((len(activations), len(weights)))
    options = {
        "guard_bits": 3, "reference": "lanes", "gate_zero_terms": True, "alignment": "sticky",
        "sum_bits": None, "rounding": "nearest_even", "overflow": "saturate",
        "accumulator_bits": 15, "exponent_bits": 6,
    }  # fmt: skip
    for m, a in enumerate(activations):
        for n, w in enumerate(weights):
            total = pe_naive.Fraction(0)
            for g in range(0, len(a), group):
                man, exp, _, _ = pe_naive.bitserial_dot(
                    a[g : g + group].tolist(), w[g : g + group].tolist(), "int4", numerics,
                    options=options,
                )  # fmt: skip
                factor = int(scales[n][g // group])
                product = man * factor * pe_naive.Fraction(2) ** (exp - 28)
                total = pe_naive.round_float(total + product, "fp32")
            out[m, n] = float(total)
    return out


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
@pytest.mark.parametrize("length", [24, 20])  # 20: the last group of 8 is short
def test_matmul_equals_the_twin(numerics, length):
    rng = np.random.default_rng(1)
    activations = rng.standard_normal((3, length)).astype(np.float16)
    weights = rng.integers(-8, 8, (4, length))
    scales = rng.integers(0, 256, (4, 3))
    product = bitserial_matmul(
        activations, weights, scales, group=8, format="int4", numerics=numerics
    )
    expected = naive_matmul(activations, weights, scales, 8, numerics)
    np.testing.assert_array_equal(product.outputs, expected)
    last = 4 if length == 24 else 2  # clocks of the last group, hidden behind 8 scale bits
    assert last < 8
    assert np.all(product.cycles == 4 + 8 + 8 + 6 + 8)


def test_matmul_of_large_groups_never_waits():
    product = bitserial_matmul(
        np.ones((1, 256)), np.ones((1, 256)), np.ones((1, 2), int), format="int8"
    )
    assert product.outputs[0, 0] == 256.0
    assert product.cycles[0, 0] == 2 * 128 + 6 + 8


def test_matmul_without_scales_and_with_empty_inputs():
    product = bitserial_matmul(np.ones((2, 10)), np.ones((3, 10)), group=4, numerics="exact")
    assert product.outputs.tolist() == [[10.0] * 3] * 2
    assert product.cycles[0, 0] == 3 * 4 + 6
    empty = bitserial_matmul(np.ones((2, 0)), np.ones((3, 0)))
    assert empty.outputs.tolist() == [[0.0] * 3] * 2
    assert empty.cycles.tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rescale([1], [256]), r"0\.\.255 is right"),
        (lambda: rescale([1], [-1]), "index"),
        (lambda: rescale([1], [0.5]), "integers"),
        (lambda: rescale([1], [1], scale_bits=17), r"1\.\.16"),
        (lambda: rescale([2**31], [1]), "32 bits"),
        (lambda: group_timing(-1, 2), r"group is .*, must be a whole number of at least 0"),
        (lambda: group_timing(8, 0), r"terms is .*, must be a whole number of at least 1"),
        (lambda: bitserial_matmul([1.0], [[1]]), "activations .M, K."),
        (
            lambda: bitserial_matmul([[1.0]], [[1]], group=0),
            r"group is .*, must be a whole number of at least 1",
        ),
        (lambda: bitserial_matmul([[1.0]], [[1]], [[1, 2]]), r"shape \(1, 1\) is needed"),
        (lambda: bitserial_matmul([[1.0]], [[1]], [[1]], numerics="exact"), "no fixed width"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(BitlatheError, match=words):
        call()
