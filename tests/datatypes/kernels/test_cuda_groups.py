"""Coding of groups on CUDA against the numba kernels: scales, choices and codes bit for bit."""

import numpy as np
import pytest

from bitlathe.datatypes import kernels
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.kernels.cuda.groups import leaves_of
from cuda_twins import bits, few_slots, on_device


@pytest.fixture
def cuda(monkeypatch):
    """The twins, on grids so small that blocks stride over what is left."""
    from bitlathe.datatypes.kernels.cuda import groups, launch

    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    monkeypatch.setattr(groups, "THREADS", 4)
    few_slots(monkeypatch)
    return groups


def matrix(seed, rows, k, spread=8.0):
    """Ordinary groups, groups of zeros, of subnormals, of one value; signed zeros; ties."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, k)) * 2.0 ** rng.uniform(-spread, spread, (rows, 1))
    x[0] = rng.integers(-6, 7, k) / 2
    x[1, : k // 2] = 0.0
    x[2] *= 2.0**-140
    x[3] = rng.choice([-0.0, 0.0, 1.0], k)
    return x.astype(np.float32)


def books(*names):
    return tuple(catalogue.single(name).grid.book("even") for name in names)


def members(name):
    return tuple(member.grid.book("even") for member in catalogue.element(name).formats)


def assert_groups(host, device):
    for field in ("scales", "codes", "choices"):
        one, other = getattr(host, field), getattr(device, field)
        if one is not None:
            assert one.dtype == other.dtype, field
            np.testing.assert_array_equal(bits(one), bits(other), err_msg=field)


@on_device
@pytest.mark.parametrize("scale", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["fp4_e2m1", "int4", "nf4", "fp6_e3m2"])
@pytest.mark.parametrize(("k", "group"), [(21, 8), (5, 5)])
def test_single_book_twin(cuda, name, scale, k, group):
    x = matrix(1, 5, k)
    assert_groups(kernels.codebooks(x, books(name), group, scale),
                  cuda.codebooks(x, books(name), group, scale))  # fmt: skip


@on_device
@pytest.mark.parametrize("scale", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("name", "k", "group"),
    [
        ("bitmod_fp4", 43, 16), ("bitmod_fp4", 300, 260),
        ("bitmod_fp3", 43, 16), ("bitmod_fp3", 9, 3),
    ],
)  # fmt: skip
def test_mixture_twin(cuda, name, scale, k, group):
    x = matrix(2, 5, k)
    host = kernels.codebooks(x, members(name), group, scale)
    assert k < 40 or len(np.unique(host.choices)) > 1
    assert_groups(host, cuda.codebooks(x, members(name), group, scale))


@on_device
def test_choices_among_equals_twin(cuda):
    """Few values on a coarse grid: many candidates have the same error, the first of them wins."""
    x = np.random.default_rng(3).integers(-3, 4, (8, 40)).astype(np.float32)
    given = members("bitmod_fp4")
    assert_groups(kernels.codebooks(x, given, 8), cuda.codebooks(x, given, 8))


@on_device
def test_given_scales_twin(cuda):
    x, given = matrix(4, 5, 21), members("bitmod_fp4")
    rng = np.random.default_rng(5)
    scales = (2.0 ** rng.integers(-20, 20, (5, 3))).astype(np.float32)
    choices = rng.integers(0, 4, (5, 3), np.uint8)
    assert_groups(kernels.codebooks_given(x, given, 8, scales, choices),
                  cuda.codebooks_given(x, given, 8, scales, choices))  # fmt: skip


@on_device
@pytest.mark.parametrize("rule", ["floor", "ceil", "even", "rceil"])
@pytest.mark.parametrize("name", ["fp4_e2m1", "fp6_e2m3", "fp6_e3m2", "fp8_e4m3", "fp8_e5m2"])
def test_shared_power_twin(cuda, name, rule):
    fmt = catalogue.single(name)
    parameters = fmt.grid.float_parameters
    for spread in (6.0, 120.0):
        x = matrix(6, 5, 19, spread)
        host = kernels.mx(x, *parameters, fmt.max, 8, rule)
        found = cuda.mx(x, *books(name), fmt.max, parameters[1], 8, rule)
        assert_groups(host, found)


@on_device
@pytest.mark.parametrize("rule", ["floor", "ceil", "even", "rceil"])
def test_shared_power_of_integers_twin(cuda, rule):
    x = matrix(7, 9, 19, 60.0)
    host = kernels.mx_integer(x, 8, rule)
    assert_groups(host, cuda.mx(x, *books("mxint8"), 127 / 64, 6, 8, rule))


@on_device
@pytest.mark.parametrize("name", ["int4", "bitmod_fp4"])
def test_matrix_on_the_device_stays_there_twin(cuda, name):
    from bitlathe.datatypes.kernels.cuda.launch import lies_on_device, to_device

    x, given = matrix(8, 5, 21), members(name) if name == "bitmod_fp4" else books(name)
    assert not lies_on_device(x)
    found = cuda.codebooks(to_device(x), given, 8, "fp16")
    host = kernels.codebooks(x, given, 8, "fp16")
    for field in ("scales", "codes", "choices"):
        one, other = getattr(host, field), getattr(found, field)
        assert lies_on_device(other), field
        if one is not None:
            np.testing.assert_array_equal(bits(one), bits(other.copy_to_host()), err_msg=field)


@on_device
def test_matrices_of_another_type_are_refused_twin(cuda):
    for x in (np.zeros((2, 3)), np.zeros(3, np.float32)):
        with pytest.raises(BitlatheError, match="matrix of float32 is needed, got"):
            cuda.codebooks(x, books("int4"), 2)


@on_device
def test_empty_groups(cuda):
    empty = cuda.codebooks(np.zeros((2, 0), np.float32), books("int4"), 8)
    assert empty.codes.shape == (2, 0)
    assert empty.scales.shape == (2, 0)


@pytest.mark.parametrize("size", [1, 7, 8, 128, 129, 200, 256, 1000, 4097])
def test_leaves_are_those_of_numpys_sum(size):
    """Added up in the order of the leaves, the sum is numpy's to the last bit."""
    x = np.random.default_rng(size).random(size)
    stack = []
    for start, count, joined in leaves_of(size):
        total = x[start : start + count].sum()
        for _ in range(joined):
            total = stack.pop() + total
        stack.append(total)
    assert stack == [x.sum()]
