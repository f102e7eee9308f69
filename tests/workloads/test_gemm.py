import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.errors import BitlatheError
from bitlathe.workloads import Gemm
from naive import workloads_naive

small = st.integers(1, 7)


@given(small, small, small, st.integers(1, 3), st.sampled_from([None, "n", "k"]), small, small)
def test_macs_under_a_causal_mask_match_a_loop(m, n, k, batch, causal, rows, before):
    sizes = {"m": m, "n": n, "k": k, "batch": batch, "causal": causal}
    gemm = Gemm(name="g", rows_per_token=rows, visible_before=before - 1, count=5, **sizes)
    assert gemm.macs == workloads_naive.visible_macs(
        **sizes, rows_per_token=rows, visible_before=before - 1
    )


def test_derived_sizes():
    gemm = Gemm(name="g", m=3, n=5, k=7, batch=2, count=4)
    assert (gemm.macs, gemm.weight_elements, gemm.output_elements) == (210, 70, 30)
    assert gemm.distinct_input_elements == 42
    assert Gemm(name="g", m=3, n=5, k=7, batch=2, input_elements=8).distinct_input_elements == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"m": 0}, "m is 0; it must be at least 1"),
        ({"n": -2}, "n is -2"),
        ({"k": 2.5}, "k is 2.5; it must be an integer"),
        ({"batch": True}, "batch is True"),
        ({"count": 2**63}, "below 2^63"),
        ({"m": 2**40, "k": 2**40}, "64-bit counters"),
        ({"kind": "lstm"}, "kind is 'lstm'; it must be one of 'linear'"),
        ({"causal": "m"}, "causal is 'm'"),
        ({"stationary": "input"}, "stationary is 'input'"),
        ({"visible_before": -1}, "visible_before is -1"),
        ({"input_elements": 0}, "input_elements is 0"),
    ],
)
def test_errors_name_the_layer_and_what_would_be_right(change, words):
    with pytest.raises(BitlatheError) as caught:
        Gemm(**{"name": "fc1", "m": 1, "n": 1, "k": 1, **change})
    assert "layer 'fc1'" in str(caught.value)
    assert words in str(caught.value)


def test_numpy_integers_are_integers():
    import numpy as np

    assert Gemm(name="g", m=np.int32(2**30), n=8, k=8).macs == 2**36
