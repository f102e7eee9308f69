"""Systolic arrays made of the PEs of `sim.pe.mac`: the PE's bits, added in the array's order."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, OlivePE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.sim.array.systolic.clock import simulate_systolic
from bitlathe.sim.array.systolic.model import systolic
from bitlathe.sim.pe.mac import ant_dot, fp_mac_dot, int_mac_dot, olive_decode
from naive import array_naive, pe_naive

FLOWS = ("os", "ws", "is")
DOTS = {IntMacPE: int_mac_dot, FpMacPE: fp_mac_dot}
FINITE = {
    name: np.array([v for v in catalogue.element(name).values if np.isfinite(v)])
    for name in ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp4_e2m1")
}
FINITE["int8"] = np.arange(-127.0, 128.0)
INT_PES = [
    IntMacPE(),
    IntMacPE(accumulator_bits=17),
    IntMacPE(accumulator_bits=16, overflow="wrap"),
    IntMacPE(activation_bits=16, weight_bits=4, accumulator_bits=21),
    IntMacPE(activation_bits=4, weight_bits=2, accumulator_bits=5),
]
FP_PES = [
    FpMacPE(),
    FpMacPE(product="fp32"),
    FpMacPE(accumulator="fp16"),
    FpMacPE(product="fp16", accumulator="fp16", overflow="saturate"),
    FpMacPE(activation="bf16", weight="bf16"),
    FpMacPE(activation="bf16", weight="bf16", product="bf16", accumulator="bf16"),
    FpMacPE(activation="fp8_e4m3", weight="fp8_e4m3", accumulator="fp16"),
    FpMacPE(activation="fp8_e5m2", weight="fp8_e4m3", accumulator="bf16"),
    FpMacPE(activation="fp8_e4m3", weight="fp4_e2m1", accumulator="fp32"),
    FpMacPE(weight="int8"),
]
# Adders that numpy and ml_dtypes bring: each rounds the exact sum once, to nearest even
NUMPY = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def operands(rng, pe, m, n, k):
    """Operands of all magnitudes a PE takes."""
    if isinstance(pe, IntMacPE):
        left, right = (1 << (bits - 1) for bits in (pe.activation_bits, pe.weight_bits))
        return rng.integers(-left, left, (m, k)), rng.integers(-right, right, (k, n))
    a, b = rng.choice(FINITE[pe.activation], (m, k)), rng.choice(FINITE[pe.weight], (k, n))
    # mostly of one size, so that sums meet at all distances instead of one product winning
    a = np.where((np.abs(a) < 16) | (rng.random(a.shape) < 0.1), a, 1.0)
    return a, np.where((np.abs(b) < 16) | (rng.random(b.shape) < 0.1), b, -1.0)


def join(pe, total, part):
    """Add two sums in the accumulator's format, by numpy or Python integers."""
    if isinstance(pe, IntMacPE):
        half = 1 << (pe.accumulator_bits - 1)
        if pe.overflow == "saturate":
            return np.clip(total + part, -half, half - 1)
        return (total + part + half) % (2 * half) - half
    kind = NUMPY[pe.accumulator]
    with np.errstate(over="ignore", invalid="ignore"):
        added = (total.astype(kind) + part.astype(kind)).astype(np.float64)
    if pe.overflow == "saturate":
        return np.clip(added, -float(ml_dtypes.finfo(kind).max), float(ml_dtypes.finfo(kind).max))
    return added


def expected(pe, a, b, rows, flow):
    """Outputs by the PE's own function: along K, or fold after fold of ``rows`` along K."""
    dot = DOTS[type(pe)]
    step = a.shape[1] if flow == "os" else rows
    total = None
    for k in range(0, a.shape[1], step):
        part = dot(a[:, None, k : k + step], b.T[None, :, k : k + step], pe)
        total = part if total is None else join(pe, total, part)
    return total


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("pe", INT_PES + FP_PES, ids=str)
def test_outputs_have_the_bits_of_the_pe_in_100_random_cases(pe, flow):
    rng = np.random.default_rng(11)
    for _ in range(100):
        m, n, k = (int(v) for v in rng.integers(1, [12, 12, 30]))
        rows, cols = (int(v) for v in rng.integers(1, 9, 2))
        a, b = operands(rng, pe, m, n, k)
        run = simulate_systolic(a, b, rows, cols, flow, pe=pe)
        np.testing.assert_array_equal(run.outputs, expected(pe, a, b, rows, flow))
        assert run.cycles == systolic(m, n, k, rows, cols, flow, "physical").cycles


def adder_of(pe):
    """The PE's accumulator in Python integers or fractions."""
    if isinstance(pe, IntMacPE):
        bits, rule = pe.accumulator_bits, pe.overflow
        return array_naive.Adder(
            product=lambda t, x, w: pe_naive.int_mac([t, x], [1, w], bits, rule),
            sums=lambda t, part: pe_naive.int_mac([t, part], [1, 1], bits, rule),
        )
    saturate = pe.overflow == "saturate"

    def product(total, x, w):
        p = Fraction(x) * Fraction(w)
        if pe.product is not None:
            p = pe_naive.round_float(p, pe.product, saturate)
        return pe_naive.round_float(pe_naive.add(total, p), pe.accumulator, saturate)

    return array_naive.Adder(
        zero=Fraction(0),
        product=product,
        sums=lambda t, part: pe_naive.round_float(pe_naive.add(t, part), pe.accumulator, saturate),
    )


@settings(max_examples=150)
@given(
    st.sampled_from(INT_PES + FP_PES),
    st.sampled_from(FLOWS),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(1, 4)] * 2),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_machine_of_pes_equals_its_naive_twin(pe, flow, sizes, array, register, seed):
    m, n, k = sizes
    rows, cols = array
    a, b = operands(np.random.default_rng(seed), pe, m, n, k)
    run = simulate_systolic(
        a, b, rows, cols, flow, pe=pe, double_buffered_operand=register, drain_register=register
    )
    left, right, adder = a.tolist(), b.tolist(), adder_of(pe)
    if flow == "os":
        slow = array_naive.output_stationary(
            left, array_naive.transpose(right), rows, cols, register, adder
        )
    else:
        machine = {"ws": array_naive.weight_stationary, "is": array_naive.input_stationary}[flow]
        slow = machine(left, right, rows, cols, register, adder)
    assert (run.cycles, run.macs) == (slow.cycles, slow.macs)
    np.testing.assert_array_equal(
        run.outputs, [[float(slow.out[i, j]) for j in range(n)] for i in range(m)]
    )


def test_the_order_of_accumulation_is_the_dataflows():
    # 100 + 100 saturates at 127; the next -100 comes after it (os), or before it joins (ws, is)
    pe = IntMacPE(accumulator_bits=8)
    a, b = np.array([[100, 100, -100]]), np.ones((3, 1), int)
    assert simulate_systolic(a, b, 1, 1, "os", pe=pe).outputs[0, 0] == 27
    assert simulate_systolic(a, b, 3, 1, "ws", pe=pe).outputs[0, 0] == 27
    late = np.array([[100, 100, -100, -100]])
    for flow in ("ws", "is"):
        # folds (100, 100) and (-100, -100): 127 - 128
        run = simulate_systolic(late, np.ones((4, 1), int), 2, 1, flow, pe=pe)
        assert run.outputs[0, 0] == -1
    # 2**11 + 1 is lost in FP16; 1 + 1 in a fold of its own is not
    half = FpMacPE(accumulator="fp16")
    a = np.array([[2048.0, 0.0, 1.0, 1.0]])
    ones = np.ones((4, 1))
    assert simulate_systolic(a, ones, 2, 1, "os", pe=half).outputs[0, 0] == 2048
    assert simulate_systolic(a, ones, 2, 1, "ws", pe=half).outputs[0, 0] == 2050


def test_a_wide_accumulator_is_exact():
    rng = np.random.default_rng(5)
    a, b = rng.integers(-128, 128, (30, 70)), rng.integers(-128, 128, (70, 20))
    for flow in FLOWS:
        run = simulate_systolic(a, b, 7, 5, flow, pe=IntMacPE())
        np.testing.assert_array_equal(run.outputs, a @ b)


@pytest.mark.parametrize("flow", FLOWS)
def test_float32_without_a_pe_is_the_fp32_mac_with_rounded_products(flow):
    rng = np.random.default_rng(6)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((9, 23), (23, 8)))
    pe = FpMacPE(activation="fp32", weight="fp32", product="fp32")
    plain = simulate_systolic(a, b, 5, 3, flow).outputs
    np.testing.assert_array_equal(plain, simulate_systolic(a, b, 5, 3, flow, pe=pe).outputs)


@pytest.mark.parametrize("flow", FLOWS)
def test_decoders_of_ant_and_olive_stand_before_the_mac(flow):
    rng = np.random.default_rng(7)
    a = rng.integers(-128, 128, (6, 12))
    codes = rng.integers(0, 16, (12, 5))
    run = simulate_systolic(a, codes, 12, 4, flow, pe=AntPE())
    np.testing.assert_array_equal(run.outputs, ant_dot(a[:, None], codes.T[None]))
    pairs = rng.choice([0, 1, 5, 7, 9, 15], (12, 5))
    pairs[4], pairs[5] = 8, 5  # a victim and its outlier
    run = simulate_systolic(a, pairs, 4, 4, flow, pe=OlivePE())
    np.testing.assert_array_equal(run.outputs, a @ olive_decode(pairs.T).T)


@pytest.mark.parametrize(
    ("a", "b", "pe", "words"),
    [
        ([[200]], [[1]], IntMacPE(), r"a: 200 at index \(0, 0\) does not fit 8 bits"),
        ([[1]], [[9]], IntMacPE(weight_bits=4), r"b: 9 at index \(0, 0\) does not fit 4 bits"),
        ([[1.5]], [[1]], IntMacPE(), "a: integers are needed"),
        ([[1.0]], [[0.3]], FpMacPE(), "b: 0.3 at index .* is not a value of fp16"),
        ([[np.inf]], [[1.0]], FpMacPE(), "a: inf at index"),
        ([[1, 2]], [[1]], IntMacPE(), "do not chain"),
        ([1], [[1]], IntMacPE(), "a must be a matrix"),
        (np.ones((1, 2), int), np.ones((2, 0), int), OlivePE(), "b is empty"),
        ([[1]], [[1]], IntMacPE(lanes=4), "lanes=1 is right"),
        ([[1]], [[1]], BitSerialPE(), "simulate_tile_array"),
    ],
)
def test_operands_a_pe_cannot_take_are_told(a, b, pe, words):
    with pytest.raises(BitlatheError, match=words):
        simulate_systolic(a, b, 2, 2, pe=pe)
