"""Bit-parallel PEs on CUDA against their numba kernels; in the simulator where no device is."""

import numpy as np
import pytest

from bitlathe.arch.pe import AntPE, FpMacPE, IntMacPE, LutPE, OlivePE
from bitlathe.sim.pe import mac
from cuda_twins import assert_same, on_device


@pytest.fixture
def few_threads(monkeypatch):
    """Grids so small that threads stride over what is left."""
    from bitlathe.datatypes.kernels.cuda import launch
    from bitlathe.sim.cuda import mac_kernels

    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    for name in ("int_dots", "flint_dots", "pair_dots", "fp_dots", "build_tables"):
        run = getattr(mac_kernels, name)
        monkeypatch.setattr(mac_kernels, name, lambda *a, run=run, **k: run(*a, threads=2, **k))
    run = mac_kernels.lut_products
    monkeypatch.setattr(mac_kernels, "lut_products", lambda *a: run(*a, threads=(2, 1)))


def integers(seed, bits, shape):
    half = 1 << (bits - 1)
    return np.random.default_rng(seed).integers(-half, half, shape)


@on_device
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize(("lanes", "bits"), [(1, 32), (4, 18), (3, 12), (64, 16)])
def test_integer_twin(overflow, lanes, bits):
    pe = IntMacPE(lanes=lanes, accumulator_bits=bits, overflow=overflow, weight_bits=16)
    acts, weights = integers(1, 8, (7, 1, 19)), integers(2, 16, (1, 3, 19))
    assert_same(mac.int_mac_dot, acts, weights, pe)


@on_device
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("format", ["flint4", "int4", "flint3"])
def test_flint_twin(format):
    codes = np.random.default_rng(3).integers(0, 8 if format[-1] == "3" else 16, (3, 21))
    pe = AntPE(format=format, mac=IntMacPE(accumulator_bits=17, lanes=2, weight_bits=8))
    assert_same(mac.ant_dot, integers(4, 8, (4, 1, 21)), codes, pe)


def pairs(rng, rows, length):
    """Codes of outlier-victim pairs, each sort of pair; a last code without a partner."""
    codes = rng.integers(0, 16, (rows, length))
    for row in codes:
        for k in range(0, length - 1, 2):
            if row[k] == row[k + 1] == 8:
                row[k] = 1
            for one, other in ((k, k + 1), (k + 1, k)):
                if row[one] == 8 and row[other] & 7 == 0:
                    row[other] = 5
    if length % 2:
        codes[codes[:, -1] == 8, -1] = 7  # a victim needs its outlier
    return codes


@on_device
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("length", [1, 2, 23])
def test_outlier_victim_twin(length):
    codes = pairs(np.random.default_rng(5), 6, length)
    pe = OlivePE(mac=IntMacPE(accumulator_bits=16, lanes=3, weight_bits=8))
    assert_same(mac.olive_dot, integers(6, 8, (3, 1, length)), codes, pe)


@on_device
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("overflow", ["inf", "saturate"])
@pytest.mark.parametrize(
    ("activation", "weight", "product", "accumulator"),
    [("fp16", "fp16", None, "fp32"), ("fp8_e4m3", "fp4_e2m1", "fp16", "fp16"),
     ("bf16", "int8", None, "bf16"), ("fp32", "fp8_e5m2", "fp32", "fp32")],
)  # fmt: skip
def test_float_twin(activation, weight, product, accumulator, lanes, overflow):
    """Magnitudes over the formats' whole ranges: subnormals, cancelation, overflow, infinities."""
    pe = FpMacPE(activation=activation, weight=weight, product=product, accumulator=accumulator,
                 lanes=lanes, overflow=overflow)  # fmt: skip
    assert_same(
        mac.fp_mac_dot, floats(7, activation, (5, 1, 17)), floats(8, weight, (1, 4, 17)), pe
    )


def floats(seed, name, shape):
    """Values of a format: random significands, exponents from the lowest to the highest."""
    rng = np.random.default_rng(seed)
    bits, lowest, largest = mac.float_format(name)
    top = int(np.frexp(largest)[1]) - bits
    whole = rng.integers(-(1 << bits) + 1, 1 << bits, shape)
    exponent = rng.integers(lowest, top + 1, shape)
    exponent[rng.random(shape) < 0.4] = min(max(0, lowest), top)
    return np.clip(np.ldexp(whole.astype(float), exponent), -largest, largest)


@on_device
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize(("inputs", "table"), [(1, "fp16"), (3, "fp16"), (4, "bf16"), (5, "fp16")])
@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
def test_table_twin(inputs, table, accumulator):
    rng = np.random.default_rng(9)
    acts = floats(10, "fp16", (3, 13))
    pe = LutPE(inputs=inputs, table=table, accumulator=accumulator)
    planes = rng.integers(0, 1 << inputs, (5, 3, -(-13 // inputs)))
    assert_same(mac.lut_tables, acts, pe)
    assert_same(mac.lut_matmul, acts, planes, rng.integers(-64, 65, (5, 3)), pe)


@on_device
def test_empty_dots():
    assert mac.int_mac_dot(np.zeros((2, 0), int), np.zeros((2, 0), int), device="cuda").sum() == 0
    assert mac.fp_mac_dot(np.zeros((0, 4)), np.zeros((0, 4)), device="cuda").shape == (0,)
    out = mac.lut_matmul(np.zeros((2, 0)), np.zeros((3, 1, 0), int), np.zeros((3, 1), int),
                         device="cuda")  # fmt: skip
    assert out.tolist() == [[0.0] * 3] * 2
