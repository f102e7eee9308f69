"""fp32, the baseline without a table: against numpy's cast and exact fractions; where it goes."""

import copy
import pickle
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.arch.pe import BitSerialPE, FpMacPE, IntMacPE
from bitlathe.arch.supports import supports
from bitlathe.datatypes.formats.rounding import ROUNDINGS
from bitlathe.datatypes.study.compare import compare
from bitlathe.datatypes.torch_module import fake_quantize, quantize_module

FP32 = bl.format("fp32")
LARGEST = Fraction(float(np.finfo(np.float32).max))
UNIT = Fraction(1, 2**149)


def bits_of(x: float, rounding: str) -> int:
    """Round a finite number to binary32 in fractions, beyond the largest number to that."""
    negative = bool(np.signbit(x))
    size = min(abs(Fraction(x)), LARGEST)
    field = 1
    while size >= UNIT * 2 ** (field + 23):  # the binade: field 1 holds the subnormals as well
        field += 1
    step = UNIT * 2 ** (field - 1)
    whole, rest = divmod(size / step, 1)
    code = int(whole) + ((field - 1) << 23)
    odd, above = code % 2 == 1, {"floor": negative, "ceil": not negative, "up": not negative}
    grows = {
        "even": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and odd),
        "away": rest >= Fraction(1, 2),
        "zero": rest > Fraction(1, 2),
        "down": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and negative),
        "up": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and above["up"]),
        "floor": rest > 0 and negative,
        "ceil": rest > 0 and not negative,
        "truncate": False,
        "outward": rest > 0,
        "odd": rest > 0 and not odd,
    }[rounding]
    return code + int(grows) + (negative << 31)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        # halves and quarters of a step of float32
        st.integers(-(1 << 26), 1 << 26).map(lambda n: n / 8 * 2.0**-149),
        st.integers(1 << 25, 1 << 26).map(lambda n: n / 4 * 2.0**50),
    )
)
def test_every_rounding_is_that_of_exact_fractions(x):
    for rounding in set(ROUNDINGS) - {"stochastic"}:
        assert int(FP32.encode(x, rounding)) == bits_of(x, rounding), rounding


@pytest.mark.parametrize("size", [100, 1 << 17])
def test_nearest_even_is_numpys_cast(size):
    x = np.random.default_rng(0).integers(0, 1 << 63, size, np.uint64).view(np.float64)
    x = np.concatenate([x, -x])
    x = x[np.abs(x) < 3e38]
    assert np.array_equal(FP32.encode(x), x.astype(np.float32).view(np.uint32))
    assert np.array_equal(FP32.round(x), x.astype(np.float32))


def test_stochastic_rounding_is_the_number_on_average():
    x = np.full(40000, 1 + 2.0**-25)  # a quarter of a step above 1
    up = FP32.round(x, "stochastic", seed=0) > 1
    assert abs(up.mean() - 0.25) < 0.01
    assert np.array_equal(FP32.round([2.0, -0.5], "stochastic", seed=0), [2.0, -0.5])


def test_what_lies_beyond_follows_the_rule():
    x = np.array([1e39, -1e39, 3.4028235677973366e38, 3.4028235677973362e38])  # half-way, below
    assert FP32.round(x).tolist() == [FP32.max, FP32.min, FP32.max, FP32.max]
    assert FP32.round(x, overflow="inf").tolist() == [np.inf, -np.inf, np.inf, FP32.max]
    assert np.isnan(FP32.round(x, overflow="nan")).tolist() == [True, True, True, False]
    with pytest.raises(bl.BitlatheError, match=r"1e\+39 at index \(0,\) is beyond"):
        FP32.encode(x, overflow="raise")
    with pytest.raises(bl.BitlatheError, match="codes must be integers"):
        FP32.decode(1 << 32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_tensor_is_what_it_was(tmp_path, dtype):
    x = np.random.default_rng(1).normal(size=(6, 50)).astype(dtype)
    q = bl.quantize(x, "float32")
    assert (str(q.scheme), q.total_bits, q.packed["codes"].size) == ("fp32", 32 * 300, 1200)
    assert np.array_equal(q.dequantize("float32"), x.astype(np.float32))
    q.save(tmp_path / "x.safetensors")
    loaded = bl.QuantizedTensor.load(tmp_path / "x.safetensors")
    assert np.array_equal(loaded.codes, q.codes)
    assert loaded.scheme == q.scheme
    assert np.array_equal(q.append(q)[6:].dequantize(), q.dequantize())
    again = bl.QuantizedTensor.of(q.codes, scheme="fp32")
    assert np.array_equal(again.dequantize(), q.dequantize("float32"))


def test_nan_and_infinity_stay_where_they_are():
    x = np.array([[np.nan, np.inf, -np.inf, 1.5]], np.float32)
    found = bl.quantize(x, "fp32", nan="propagate").dequantize()
    assert np.array_equal(found, x, equal_nan=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(bl.quantize([[1e39]], "fp32", overflow="inf").dequantize())
    with pytest.warns(UserWarning, match=r"1 value\(s\) lie beyond"):
        bl.quantize([[1e39]], "fp32")


def test_it_is_a_row_of_every_comparison():
    x = {"w": np.random.default_rng(2).normal(size=(4, 32)).astype(np.float32)}
    (row,) = compare(x, ["fp32"])
    assert (row.bits_per_element, row.relative_mse, row.terms_per_weight) == (32, 0, None)
    layer = torch.nn.Linear(32, 4)
    before = layer.weight.detach().clone()
    assert quantize_module(layer, "fp32") == {"": 32.0}
    assert torch.equal(layer.weight, before)
    y = torch.tensor([[1.0, 1e38]], requires_grad=True)
    fake_quantize(y, "fp32", gradient="clipped").sum().backward()
    assert torch.equal(y.grad, torch.ones(1, 2))


def test_chips_store_it_and_ports_of_its_width_take_it():
    wide = FpMacPE(activation="fp32", weight="fp32")
    assert supports(wide, "fp32", "fp32")
    assert supports(wide, "fp16", None)
    for pe in (FpMacPE(), IntMacPE(), BitSerialPE()):
        assert not supports(pe, "fp32", None)
    arch = bl.load_arch("ant", {"formats.linear.output": "fp32"})
    halved = bl.load_arch("ant", {"formats.linear.output": "fp16"})
    model = [{"name": "a", "m": 16, "k": 64, "n": 32}]
    more, less = (bl.simulate(a, model, fidelity="analytic") for a in (arch, halved))
    moved = [run.layers[0].dram_bits["output"] for run in (more, less)]
    assert moved[0] == 2 * moved[1] > 0


REFUSED = {
    "fp32@g32/fp16": "fp32 is a baseline, whose values are as they are: it takes no scale",
    "fp32@g16/fp8_e4m3@tensor/fp32": "fp32 is a baseline, whose values are as they are",
    "fp32+mse": "without a scale there is no range to search",
    "fp64": "the widest format is fp32",
}


@pytest.mark.parametrize("scheme", REFUSED)
def test_what_needs_a_table_is_refused(scheme):
    with pytest.raises(bl.BitlatheError, match=REFUSED[scheme]):
        bl.quantize(np.ones((2, 32)), scheme)


def test_a_table_of_it_is_refused_and_it_is_one_record():
    for ask in (lambda: FP32.values, lambda: FP32.grid.midpoints, lambda: FP32.terms(0)):
        with pytest.raises(bl.BitlatheError, match=r"fp32 has 2\^32 values, of which no table"):
            ask()
    assert pickle.loads(pickle.dumps(FP32)) == FP32
    assert copy.deepcopy(FP32) == FP32
    assert bl.format("fp16") != FP32
    assert hash(FP32) == hash(bl.format("float32"))
    with pytest.raises(AttributeError):
        FP32.nothing  # noqa: B018


def test_a_notebook_shows_some_of_its_codes():
    rows = FP32.to_frame()
    assert rows.value[rows.code == 0x3F800000].tolist() == [1.0]
    assert "fp32" in FP32._repr_html_()
    assert repr(FP32) == "Format('fp32', 32 bits, 4278190080 finite values)"
