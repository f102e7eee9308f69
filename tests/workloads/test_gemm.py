import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import Gemm, load_model
from naive import workloads_naive

small = st.integers(1, 7)


@given(
    small, small, small, st.integers(1, 3), st.sampled_from([None, "n", "k"]), small,
    st.integers(0, 9), st.none() | st.integers(1, 9),
)  # fmt: skip
def test_macs_under_mask_and_window_match_a_loop(m, n, k, batch, causal, rows, before, window):
    sizes = {"m": m, "n": n, "k": k, "batch": batch, "causal": causal, "rows_per_token": rows,
             "visible_before": before, "window": window if causal else None}  # fmt: skip
    macs = workloads_naive.visible_macs(**sizes)
    if macs:
        assert Gemm(name="g", count=5, **sizes).macs == macs
    else:
        with pytest.raises(BitlatheError, match="layer 'g': no row sees anything: window is"):
            Gemm(name="g", count=5, **sizes)


@given(st.data(), small, small, small, st.integers(0, 9), st.none() | st.integers(1, 9))
def test_a_block_sees_what_its_rows_see(data, m, cut, rows_per_token, before, window):
    """The smallest range that holds what the rows see; rows past everything see an empty one."""
    first = data.draw(st.integers(0, m - 1))
    rows = data.draw(st.integers(1, m - first))
    mask = {"rows_per_token": rows_per_token, "visible_before": before, "window": window}
    assume(workloads_naive.seen_entries(0, m, cut, **mask))
    seen = workloads_naive.seen_entries(first, rows, cut, **mask)
    for causal, sizes in (("n", {"n": cut, "k": 3}), ("k", {"n": 3, "k": cut})):
        low, high = Gemm(name="g", m=m, causal=causal, **sizes, **mask).seen(first, rows)
        assert set(range(low, high)) == seen


def test_without_a_mask_a_block_sees_everything():
    assert Gemm(name="g", m=9, n=5, k=7).seen(2, 3) == (0, 5)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_band_in_closed_form(tokens, window):
    """W(W+1)/2 + (S-W) W pairs of S tokens with a window of W, no wider than the square."""
    wide = min(window, tokens)
    gemm = Gemm(name="g", m=tokens, n=tokens, k=1, causal="n", window=window)
    assert gemm.macs == wide * (wide + 1) // 2 + (tokens - wide) * wide


def test_derived_sizes():
    gemm = Gemm(name="g", m=3, n=5, k=7, batch=2, count=4)
    assert (gemm.macs, gemm.weight_elements, gemm.output_elements) == (210, 70, 30)
    assert gemm.distinct_input_elements == 42
    assert Gemm(name="g", m=3, n=5, k=7, batch=2, input_elements=8).distinct_input_elements == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"m": 0}, "m is 0, must be a whole number of at least 1"),
        ({"n": -2}, "n is -2"),
        ({"k": 2.5}, "k is 2.5, must be a whole number of at least 1"),
        ({"batch": True}, "batch is True"),
        ({"count": 2**63}, "below 2^63"),
        ({"m": 2**40, "k": 2**40}, "64-bit counters"),
        ({"kind": "lstm"}, "kind is 'lstm'; it must be one of 'linear'"),
        ({"causal": "m"}, "causal is 'm'"),
        ({"stationary": "input"}, "stationary is 'input'"),
        ({"visible_before": -1}, "visible_before is -1"),
        ({"input_elements": 0}, "input_elements is 0"),
        ({"m": 6, "sequences": 4}, "sequences is 4, which does not divide the 6 rows"),
        ({"sequences": 0}, "sequences is 0, must be a whole number of at least 1"),
        ({"window": 4}, "window is 4, but there is no mask"),
        ({"window": 0, "causal": "n"}, "window is 0, must be a whole number of at least 1"),
        ({"m": 6, "sequences": 2, "causal": "n"}, "use batch for the others"),
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


@pytest.mark.parametrize(
    ("model", "roles"),
    [
        ("opt-125m", {"linear", "head", "scores", "mix"}),
        ("resnet-18", {"conv", "linear"}),
        ("bert-base", {"linear", "scores", "mix"}),
    ],
)
def test_a_layers_role_is_told_by_its_product(model: str, roles: set[str]) -> None:
    gemms = load_model(model).gemms()
    assert {gemm.role for gemm in gemms} == roles
    for gemm in gemms:
        assert (gemm.role == "head") == (gemm.name == "lm_head")
        assert (gemm.role in ("scores", "mix")) == (gemm.stationary == "kv_cache")


def test_an_attention_product_of_any_name_is_no_head() -> None:
    assert Gemm(name="lm_head", m=1, n=2, k=3, kind="attention_qk").role == "scores"


@pytest.mark.parametrize("causal", ["n", "k"])
@pytest.mark.parametrize("window", [None, 3, 9])
@pytest.mark.parametrize(("per_token", "before"), [(1, 0), (3, 0), (2, 5)])
def test_visible_blocks_hold_what_their_rows_see(
    causal: str, window: int | None, per_token: int, before: int
) -> None:
    """Row by row: the entries that each row of a block sees, and no block that sees none."""
    sizes = {"n": 14, "k": 20} if causal == "n" else {"n": 20, "k": 14}
    gemm = Gemm(
        name="x", m=17, **sizes, kind="attention_qk", causal=causal, window=window,
        rows_per_token=per_token, visible_before=before,
    )  # fmt: skip
    for rows in (1, 4, 17, 40):
        blocks = iter(gemm.visible_blocks(rows))
        for first in range(0, 17, rows):
            seen = set()
            for row in range(first, min(first + rows, 17)):
                position = before + row // per_token
                low = 0 if window is None else max(0, position - window + 1)
                seen.update(range(low, min(position + 1, 14)))
            if not seen:
                continue
            block = next(blocks)
            assert (block.low, block.high) == (min(seen), max(seen) + 1)
            assert block.m == min(rows, 17 - first)
            extent = {"n": block.n, "k": block.k}
            assert extent.pop(causal) == len(seen)
            assert extent.popitem()[1] == 20
        assert next(blocks, None) is None
