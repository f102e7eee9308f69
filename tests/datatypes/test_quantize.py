"""`quantize`: any shape, axis and dtype; what is refused, and how."""

import dataclasses
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import torch

import bitlathe as bl
from bitlathe.datatypes.coding.job import GroupedMatrix, Job
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.layout import Layout
from bitlathe.datatypes.schemes.scheme import Scheme
from quantized_cases import weights


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("text", ["bitmod_fp4@g8", "int4_asym@g8", "int4@b2x3"])
def test_any_axis_is_the_last_axis_of_a_transposed_tensor(text, axis):
    x = weights((4, 10, 6))
    q = quantize(x, text, axis=axis)
    moved = quantize(np.ascontiguousarray(np.moveaxis(x, axis, -1)), text)
    np.testing.assert_array_equal(q.dequantize(), np.moveaxis(moved.dequantize(), -1, axis))
    np.testing.assert_array_equal(q.codes, np.moveaxis(moved.codes, -1, axis))
    assert q.codes.shape == x.shape
    assert quantize(x[::2, ::-1, 1:], text, axis=axis).shape == (2, 10, 5)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4"])
def test_any_float_dtype_gives_the_codes_of_its_values(dtype):
    narrow = weights((4, 64)).astype(ml_dtypes.bfloat16).astype(np.float32)
    narrow = narrow.astype(np.float16).astype(np.float32)
    x = narrow.astype(dtype)
    q, base = quantize(x, "bitmod_fp4@g32"), quantize(x.astype(np.float32), "bitmod_fp4@g32")
    np.testing.assert_array_equal(q.codes, base.codes)
    assert q.dequantize().dtype == (np.float64 if dtype is np.float64 else np.float32)


EIGHT = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float6_e2m3fn", "float4_e2m1fn"]


@pytest.mark.parametrize("name", EIGHT)
def test_floats_of_eight_bits_and_fewer_are_read_as_float32(name):
    x = (weights((4, 64)) * 20).astype(getattr(ml_dtypes, name))
    q = quantize(x, "int4@g32")
    base = quantize(x.astype(np.float32), "int4@g32")
    np.testing.assert_array_equal(q.codes, base.codes)
    np.testing.assert_array_equal(q.dequantize(), base.dequantize())
    if hasattr(torch, name) and name.startswith("float8"):
        t = torch.from_numpy(x.view(np.uint8)).view(getattr(torch, name))
        back = quantize(t, "int4@g32").dequantize()
        assert back.dtype == torch.float32
        np.testing.assert_array_equal(back.numpy(), base.dequantize())
        codes = single("fp4_e2m1").encode(t)
        np.testing.assert_array_equal(codes, single("fp4_e2m1").encode(x.astype(np.float32)))


@pytest.mark.filterwarnings("ignore:.*beta state", "ignore:.*prototype stage")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.eye(4).to_sparse(), r"torch\.sparse_coo is not dense; pass x\.to_dense"),
        (lambda: torch.eye(4).to_sparse_csr(), "is not dense"),
        (lambda: torch.eye(4).to_mkldnn(), "is not dense"),
        (lambda: torch.empty(4, 4, device="meta"), "meta device has no values"),
        (lambda: torch.eye(4).to(torch.complex64), "complex64 is not supported"),
        (
            lambda: torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
            "float4_e2m1fn_x2 is not supported",
        ),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "x.unbind"),
        (lambda: torch.nn.Linear(2, 2), "real numbers is needed, got Linear"),
    ],
)
def test_torch_tensors_without_plain_values_are_refused(make, message):
    given = make()
    with pytest.raises(bl.BitlatheError, match=f"^quantize: .*{message}"):
        quantize(given, "int4")


def test_numpy_takes_a_quantized_tensor_for_its_values():
    x = weights((6, 40))
    q = quantize(x, "int4@g16")
    np.testing.assert_array_equal(np.asarray(q), q.dequantize())
    np.testing.assert_array_equal(np.array(q, np.float64), q.dequantize().astype(np.float64))
    np.testing.assert_array_equal(q @ x.T, q.dequantize() @ x.T)
    np.testing.assert_array_equal(x - q, x - q.dequantize())
    assert np.asarray(quantize(x.astype(np.float64), "int4@g16")).dtype == np.float64
    np.testing.assert_array_equal(
        np.asarray(quantize(torch.from_numpy(x), "int4@g16")), q.dequantize()
    )
    with pytest.raises(ValueError, match="no copy=False"):
        np.array(q, copy=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_in_torch_out(dtype):
    x = torch.from_numpy(weights((4, 64))).to(dtype)
    q = quantize(x, "int4_asym@g32")
    y = q.dequantize()
    assert y.dtype == dtype
    expected = quantize(
        x.to(torch.float64 if dtype == torch.float64 else torch.float32).numpy(), "int4_asym@g32"
    )
    np.testing.assert_array_equal(q.codes, expected.codes)
    assert torch.equal(y, torch.from_numpy(expected.dequantize()).to(dtype))


@pytest.mark.parametrize("name", catalogue.names())
def test_a_format_of_the_catalogue_means_what_its_name_means(name):
    made = bl.format(name)
    assert Scheme.parse(made) == Scheme.parse(name)
    if not isinstance(made, Scheme):
        assert str(Scheme.of(made, "g16")) == str(Scheme.parse(f"{name}@g16"))
    x = np.abs(weights((2, 64)))
    np.testing.assert_array_equal(quantize(x, made).dequantize(), quantize(x, name).dequantize())


def test_a_format_of_ones_own_goes_straight_in():
    ternary = codebook("ternary", [0, 1, -1])
    q = quantize(weights((2, 8)), Scheme.of(ternary, "g4"))
    assert q.bits_per_element == 2 + 16 / 4
    assert set(np.unique(np.abs(q.dequantize() / np.repeat(q.scales, 4, axis=1)))) <= {0, 1}


def test_stochastic_quantization_repeats_with_its_seed():
    x = weights((8, 64))
    one = quantize(x, "int4@g64", rounding="stochastic", seed=3)
    np.testing.assert_array_equal(
        one.codes, quantize(x, "int4@g64", rounding="stochastic", seed=3).codes
    )
    assert (one.codes != quantize(x, "int4@g64", rounding="stochastic", seed=4).codes).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize(3.0, "int4"), "scalar"),
        (lambda: quantize(weights((2, 3)), "int4", axis=2), r"axis is 2.*\(2, 3\)"),
        (lambda: quantize(weights((2, 3)), "int4", axis="x"), "axis is 'x'"),
        (lambda: quantize(["a"], "int4"), "real numbers"),
        (lambda: quantize(np.zeros(3, complex), "int4"), "real numbers"),
        (lambda: quantize([[1.0], [2.0, 3.0]], "int4"), "real numbers"),
        (lambda: quantize(weights((2, 3)), "uint4"), "unsigned.*int4_asym"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="evne"), "did you mean 'even'"),
        (lambda: quantize(weights((2, 3)), "int4", nan="drop"), "nan rule"),
        (lambda: quantize(weights((2, 3)), "int4+mse", importance=[1, 2]), "3 finite weights"),
        (
            lambda: quantize(weights((2, 1)), "int4+mse", importance=[1e300]),
            "as float32 has them",
        ),
        (lambda: quantize(np.full((1, 2), 1e5), "bitmod_fp4+paper"), "float16"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="stochastic"), "seed"),
        (lambda: quantize(weights((2, 3)), 4), "a scheme is a string"),
        (lambda: quantize(weights((2, 3)), []), "a scheme is a string.*list"),
        (lambda: quantize(weights((2, 3)), None), "a scheme is a string.*NoneType"),
        (lambda: quantize(weights((2, 3)), "int4", rounding=None), "unknown rounding mode None"),
        (lambda: quantize(weights((2, 3)), "int4", rounding=3), "unknown rounding mode 3"),
        (lambda: quantize(weights((2, 3)), "int4", nan=None), "unknown nan rule None"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="stochastic", seed=-1), "seed is -1"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="stochastic", seed=1.5), "seed is 1.5"),
        (lambda: quantize(weights((2, 3)), "int4", seed="x"), "seed is 'x'"),
        (lambda: quantize(weights((2, 3)), "int4", axis=True), "axis is True"),
        (lambda: quantize(weights((2, 3)), "int4+mse", importance=["a"] * 3), "importance: .*real"),
        (lambda: quantize(weights((2, 3)), "int4_asym+paper", rounding="up"), "has its own rule"),
        (lambda: quantize(weights((2, 3)), "bcq3", rounding="down"), "has its own rule"),
        (lambda: quantize(weights((2, 3)), "olive4", rounding="zero"), "has its own rule"),
        (lambda: quantize(weights((2, 3)), "uint1"), "such as int2_asym"),
        (
            lambda: quantize(np.array([1e300, 1.0]), "bitmod_fp4@g128"),
            "does not fit fp32; divide the tensor",
        ),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(bl.BitlatheError, match=message):
        call()


def test_a_block_is_no_taller_than_the_tensor():
    x = weights((16, 64))
    q = quantize(x, "int4@b1000000000x1000000000")
    np.testing.assert_array_equal(q.codes, quantize(x, "int4@tensor").codes)


@pytest.mark.parametrize("text", ["int4@g128", "bitmod_fp4@g128/int8", "int4_asym@g128"])
def test_ragged_rows_are_coded_where_they_stand(text):
    x = weights((512, 1000))
    q = quantize(x, text)  # compiled, once
    assert q.layout.ragged
    tracemalloc.start()
    quantize(x, text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # codes are a quarter of float32, and scales and scratch come on top; a copy of x would not fit
    assert peak < 0.7 * x.nbytes


def test_groups_are_cut_once_however_often_they_are_asked_for():
    x = weights((4, 100))
    layout = Layout.of(x.shape, None, Scheme.parse("int4@g32").granularity)
    blocks = GroupedMatrix(matrix=x, layout=layout, importance=np.arange(100, dtype=np.float32))
    job = Job(data=blocks, scheme=Scheme.parse("int4@g32"), rounding="stochastic", seed=1)
    assert job.groups is dataclasses.replace(job, rounding="even").groups
    np.testing.assert_array_equal(job.weights[3], [*range(96, 100), *[0] * 28])
    assert GroupedMatrix(matrix=x, layout=layout).weights[3].tolist() == [1] * 4 + [0] * 28
    whole = Layout.of((4, 96), None, Scheme.parse("int4@g32").granularity)
    assert GroupedMatrix(matrix=x[:, :96], layout=whole).weights is None
