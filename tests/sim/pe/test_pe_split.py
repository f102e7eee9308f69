"""Multipliers that split: from small multipliers, against plain integers and bit strings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.arch.pe import IntMacPE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.pe.mac import int_mac_dot
from bitlathe.sim.pe.split import digits, split_mac_dot
from naive import pe_naive


def _range(bits: int) -> np.ndarray:
    return np.arange(-(1 << (bits - 1)), 1 << (bits - 1))


@pytest.mark.parametrize("split_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("bits", [(8, 8), (8, 4), (3, 8), (5, 5), (2, 1), (1, 1)])
def test_every_product_is_right(split_bits: int, bits: tuple[int, int]) -> None:
    a, w = (_range(each) for each in bits)
    pe = IntMacPE(split_bits=split_bits)
    found = split_mac_dot(a[:, None, None], w[None, :, None], *bits, pe)
    np.testing.assert_array_equal(found, np.multiply.outer(a, w))


def test_every_product_of_small_multipliers_is_that_of_bit_strings() -> None:
    for a in (-128, -77, -1, 0, 1, 85, 127):
        for w in range(-8, 8):
            assert pe_naive.small_product(a, w, 8, 4, 2) == a * w


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1, 2, 4, 8]),
    bits=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    length=st.integers(0, 9),
    accumulator=st.integers(6, 20),
    overflow=st.sampled_from(["wrap", "saturate"]),
    lanes=st.integers(1, 3),
    over=st.sampled_from(["lanes", "axes"]),
)
def test_a_split_pe_is_its_naive_twin(
    seed: int, size: int, bits: tuple[int, int], length: int,
    accumulator: int, overflow: str, lanes: int, over: str,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    a, w = (rng.choice(_range(each), (2, length)) for each in bits)
    pe = IntMacPE(
        split_bits=size, split_over=over, lanes=lanes, accumulator_bits=accumulator,
        overflow=overflow,
    )  # fmt: skip
    expected = [
        pe_naive.split_mac(
            zip(x.tolist(), y.tolist(), strict=True),
            *bits, size, 8, accumulator, overflow, lanes, over == "lanes",
        )
        for x, y in zip(a, w, strict=True)
    ]  # fmt: skip
    assert split_mac_dot(a, w, *bits, pe).tolist() == expected


def test_parts_of_one_multiplier_are_added_before_the_accumulator() -> None:
    """+100 and -100 in one clock leave 0; one after the other the first sum saturates at 31."""
    narrow = {"split_bits": 4, "accumulator_bits": 6}
    a, w = [7, -8, 0, 0], [7, 7, 0, 0]
    assert split_mac_dot(a, w, 4, 4, IntMacPE(**narrow)) == 49 - 56
    assert split_mac_dot(a, w, 4, 4, IntMacPE(**narrow, split_over="axes")) == 31 - 56
    assert split_mac_dot(a, w, 8, 8, IntMacPE(**narrow)) == 31 - 56


def test_wide_operands_take_the_whole_multiplier() -> None:
    rng = np.random.default_rng(7)
    a, w = rng.integers(-128, 128, (2, 3, 40))
    for over in ("lanes", "axes"):
        pe = IntMacPE(split_bits=2, split_over=over, accumulator_bits=16)
        plain = IntMacPE(accumulator_bits=16)
        assert split_mac_dot(a, w, 8, 8, pe).tolist() == int_mac_dot(a, w, plain).tolist()


@pytest.mark.parametrize("most", [6, 8, 12, 16])
def test_products_have_the_small_multipliers_that_their_digits_take(most: int) -> None:
    """Those of the widest operand are all there are; a power of two follows the published rule."""
    for size in (each for each in range(1, most + 1) if most % each == 0):
        pe = IntMacPE(activation_bits=most, weight_bits=most, split_bits=size)
        whole = digits([0], most, size).shape[-1]
        for bits in range(1, most + 1):
            ways, other = pe.split_for(bits, most)
            taken = digits([0], bits, size).shape[-1]
            assert other == 1
            assert ways * taken <= whole < (ways + 1) * taken
            if most in (8, 16) and bits in (1, 2, 4, 8, 16):
                assert ways == most // max(bits, size)


def test_bad_input_is_named() -> None:
    for size, wide in ((3, 8), (4, 6), (4, 9)):
        with pytest.raises(
            BitlatheError, match=rf"split_bits is {size}, of which weight_bits {wide}"
        ):
            IntMacPE(activation_bits=12, weight_bits=wide, split_bits=size)
    with pytest.raises(BitlatheError, match="split_bits is missing"):
        split_mac_dot([1], [1], 4, 4, IntMacPE())
    with pytest.raises(BitlatheError, match="weight_bits"):
        split_mac_dot([1], [1], 8, 9, IntMacPE(split_bits=4))
    with pytest.raises(BitlatheError, match=r"activations: 8 at index \(0,\) does not fit"):
        split_mac_dot([8], [1], 4, 4, IntMacPE(split_bits=4))
    assert digits(np.zeros((0,), np.int64), 8, 2).shape == (0, 4)
