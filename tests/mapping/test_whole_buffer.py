"""What an operand takes and how often it is fetched: equal to counting it byte by byte."""

from fractions import Fraction

import hypothesis.strategies as st
from hypothesis import assume, given, settings

from bitlathe.mapping.whole_buffer import Capacity, Traffic, operand_bytes, whole_buffer
from bitlathe.workloads import Gemm
from naive import refetch_naive

BITS = st.sampled_from([Fraction(3), Fraction(4), Fraction(17, 4), Fraction(25, 3), Fraction(16)])


@settings(max_examples=500)
@given(*[st.integers(1, 60)] * 2, *[st.integers(1, 25)] * 2)
def test_fetches_equal_a_walk_through_the_buffers(weights, inputs, weight_room, input_room):
    once = Traffic(weight_bytes=weights, input_bytes=inputs, output_bytes=1, products=3)
    found = whole_buffer(once, Capacity(weight=weight_room, input=input_room))
    moved = found.weight_moved_bytes, found.input_moved_bytes
    assert moved == refetch_naive.fetched(weights, inputs, weight_room, input_room)
    assert (found.weight_bits, found.input_bits) == (24 * moved[0], 24 * moved[1])


@settings(max_examples=300)
@given(*[st.integers(1, 20)] * 2, *[st.integers(1, 25)] * 2, st.integers(1, 4))
def test_pooled_operands_are_walked_through_as_one(
    weights, inputs, weight_room, input_room, products
):
    once = Traffic(weight_bytes=weights, input_bytes=inputs, output_bytes=1, products=products)
    found = whole_buffer(once, Capacity(weight=weight_room, input=input_room), pooled=True)
    expected = refetch_naive.fetched(products * weights, products * inputs, weight_room, input_room)
    assert (found.weight_bits, found.input_bits) == tuple(8 * size for size in expected)


@settings(max_examples=300)
@given(
    *[st.integers(1, 12)] * 3,
    st.tuples(BITS, BITS, BITS),
    st.sampled_from([None, "n", "k"]),
    st.integers(1, 3),
    st.integers(0, 6),
    st.one_of(st.none(), st.integers(1, 8)),
)
def test_operands_are_counted_element_by_element(m, n, k, bits, causal, per_token, before, window):
    mask = {"causal": causal, "per_token": per_token, "before": before}
    mask["window"] = window if causal else None
    weights, inputs, outputs, seen = refetch_naive.operands(m, n, k, bits, **mask)
    assume(seen)  # a window that slid past all there is
    gemm = Gemm(
        name="x", m=m, n=n, k=k, causal=causal, rows_per_token=per_token, visible_before=before,
        window=mask["window"],
    )  # fmt: skip
    found = operand_bytes(gemm, *bits)
    assert (found.weight_bytes, found.input_bytes, found.output_bytes) == (weights, inputs, outputs)
    assert found.visible == seen
    plain = operand_bytes(gemm, *bits, masked=False)
    expected = refetch_naive.operands(m, n, k, bits)
    assert (plain.weight_bytes, plain.input_bytes, plain.output_bytes, plain.visible) == expected
