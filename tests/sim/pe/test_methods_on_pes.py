"""Each calibration method's `forward` beside what a PE computes of what the layer stores.

Integer products are equal to the last bit, times their scales; floating-point PEs stay within the
roundings of their order of accumulation; vectors and sign planes are added up in fractions.
"""

from fractions import Fraction

import numpy as np
import pytest

from bitlathe.arch.pe import FpMacPE, IntMacPE, LutPE
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.datatypes.quantize import quantize
from bitlathe.sim.pe.dequantize import table_matmul
from bitlathe.sim.pe.mac import fp_mac_dot, int_mac_dot, lut_matmul

OUTPUTS, INPUTS, TOKENS = 8, 32, 5
UNIT = 2.0**-24  # half a step of fp32


def layer(method, scheme, inputs="none", **options):
    random = np.random.default_rng(1)
    x = random.normal(size=(48, INPUTS)) @ random.normal(size=(INPUTS, INPUTS)) / 6
    x[:, 5] *= 8
    w = random.standard_t(4, size=(OUTPUTS, INPUTS)).astype(np.float32)
    made = calibrate(w, x, method, scheme, activation_scheme=inputs, **options)
    return made, x[:TOKENS].astype(np.float16).astype(np.float64)


def entering(made, x):
    """Return x behind divisors and rotation, and the columns that are kept apart."""
    x = x if made.divisors is None else x / made.divisors.astype(np.float64)
    x = x if made.rotation is None else made.rotation.apply(x)
    if made.outliers is None:
        return x, 0.0
    apart = x[:, made.outliers] @ made.outlier_weights.astype(np.float64).T
    return np.delete(x, made.outliers, axis=1), apart


def added(made, x):
    """Return what stands beside the quantized matrix, of rounded inputs."""
    extra = 0.0 if made.low_rank is None else x @ made.low_rank.matrix().T
    return extra if made.sparse is None else extra + x @ made.sparse.matrix().T


INTEGERS = {
    "rtn": ("int4@channel", {}),
    "gptq": ("int4@channel", {}),
    "awq": ("int4@channel", {}),
    "smoothquant": ("int8@channel", {}),
    "hadamard": ("int4@channel", {}),
    "orthogonal": ("int4@channel", {}),
    "llm_int8": ("int8@channel", {"threshold": 12}),
    "easyquant": ("int4@channel", {}),
    "finequant": ("int4@channel", {}),
    "spqr": ("int4@channel", {"share": 0.05}),
    "lq_lora": ("int4@channel", {"rank": 2}),
}


@pytest.mark.parametrize("method", INTEGERS)
def test_integer_products_are_those_of_the_mac(method):
    scheme, options = INTEGERS[method]
    made, x = layer(method, scheme, "int8@channel", **options)
    given, apart = entering(made, x)
    q, w = quantize(given, "int8@channel"), made.tensor
    codes, weights = (t.scheme.formats[0].values[t.codes].astype(np.int64) for t in (q, w))
    pe = IntMacPE(weight_bits=8)
    whole = int_mac_dot(codes[:, None, :], weights[None], pe)
    np.testing.assert_array_equal(whole, codes @ weights.T)
    scales = q.scales.astype(np.float64) * w.scales.reshape(-1).astype(np.float64)
    wanted = whole * scales + apart + added(made, q.dequantize(np.float64))
    np.testing.assert_allclose(made.forward(x), wanted, rtol=1e-12, atol=1e-12)
    if made.low_rank is None and made.sparse is None and made.outliers is None:
        np.testing.assert_array_equal(np.rint(made.forward(x) / scales), whole)


def test_groups_along_outputs_scale_the_activations_before_the_mac():
    made, x = layer("adadim", "int3@channel", "none")
    w = quantize(made.dequantize(), "int3@input")  # the same weights, groups along outputs
    assert w.scales.shape == (1, INPUTS)
    codes = w.scheme.formats[0].values[w.codes]
    scaled = x * w.scales.astype(np.float64)
    np.testing.assert_allclose(
        scaled @ codes.T, x @ w.dequantize(np.float64).T, rtol=1e-12, atol=1e-12
    )


def test_dual_grain_is_an_integer_product_of_eight_bits():
    made, x = layer("dgq", "dgq4@g16", "int8@tensor")
    given, _ = entering(made, x)
    q, w = quantize(given, "int8@tensor"), made.tensor
    codes = q.scheme.formats[0].values[q.codes].astype(np.int64)
    steps = w.codes.reshape(OUTPUTS, 2, 16).astype(np.int64) - w.zeros[..., None]
    weights = (steps * w.raw.reshape(OUTPUTS, 2, 1).astype(np.int64)).reshape(OUTPUTS, INPUTS)
    whole = int_mac_dot(codes[:, None, :], weights[None], IntMacPE(weight_bits=8))
    scales = float(q.scales.reshape(-1)[0]) * w.outer_scales.astype(np.float64)
    np.testing.assert_allclose(made.forward(x), whole * scales, rtol=1e-12, atol=1e-12)


TABLES = {
    "nupes": "int4@channel/fp32",
    "compander": "int4@channel/fp32",
}


@pytest.mark.parametrize("method", TABLES)
def test_bent_grids_are_looked_up_and_added_in_fp32(method):
    made, x = layer(method, TABLES[method])
    w = made.tensor
    found = table_matmul(
        x.astype(np.float32), w.codes, w.scheme.formats[0].values, w.scales, group=INPUTS
    )
    size = np.abs(x) @ np.abs(made.matrix()).T
    assert (np.abs(found - made.forward(x)) <= (INPUTS + 2) * UNIT * size).all()


def test_shifted_fp4_weights_are_fp8_and_add_up_in_fp32():
    made, x = layer("zeroquant_fp", "fp4_e2m1@g16/m2", "fp8_e4m3@channel", rank=2)
    q, w = quantize(x, "fp8_e4m3@channel"), made.tensor
    scales = w.scales.reshape(OUTPUTS, 2).astype(np.float64)
    top = scales.max(axis=1, keepdims=True)
    shift = np.rint(np.log2(scales / top)).astype(int)
    values = w.scheme.formats[0].values[w.codes].reshape(OUTPUTS, 2, 16)
    weights = np.ldexp(values, shift[..., None] + 5).reshape(OUTPUTS, INPUTS)
    known = set(single("fp8_e4m3").values.tolist())
    assert set(weights.reshape(-1).tolist()) <= known
    codes = q.scheme.formats[0].values[q.codes]
    pe = FpMacPE(activation="fp8_e4m3", weight="fp8_e4m3")
    found = fp_mac_dot(codes[:, None, :], weights[None], pe)
    scale = q.scales.astype(np.float64) * top.reshape(-1) / 32
    exact = made.forward(x) - added(made, q.dequantize(np.float64))
    size = np.abs(codes) @ np.abs(weights).T * scale
    assert (np.abs(found * scale - exact) <= (INPUTS + 2) * UNIT * size).all()


def test_products_of_searched_fp4_are_exact():
    made, x = layer("llm_fp4", "fp4_e2m1@channel", "fp4_e2m1@tensor")
    given, _ = entering(made, x)
    q = quantize(given, made.activation_scheme, scales=made.activation_scale)
    w = made.tensor
    codes, weights = (t.scheme.formats[0].values[t.codes] * 16 for t in (q, w))
    whole = int_mac_dot(
        codes[:, None, :].astype(np.int64),
        weights[None].astype(np.int64),
        IntMacPE(activation_bits=16, weight_bits=16),
    )
    scales = made.activation_scale * w.scales.reshape(-1).astype(np.float64) / 256
    np.testing.assert_allclose(made.forward(x), whole * scales, rtol=1e-12, atol=1e-12)


def powers(scale):
    """Return the signed powers of two that add up to a number: its canonical digits."""
    whole, found, place = int(Fraction(scale) * 2**40), [], -40
    while whole:
        if whole & 1:
            digit = 2 - (whole & 3)
            found.append((digit, place))
            whole -= digit
        whole, place = whole >> 1, place + 1
    return found


def test_sign_planes_under_sums_of_powers_are_the_tables_of_shiftadd():
    made, x = layer("shiftadd", f"bcq2@g{INPUTS}/pot2")
    w = made.tensor
    scales = w.scales.reshape(OUTPUTS, 2).astype(np.float64)
    terms = [[(s, e, p) for p in range(2) for s, e in powers(scales[n, p])] for n in range(OUTPUTS)]
    count = max(map(len, terms))
    planes = np.zeros((OUTPUTS, count, INPUTS // 8), np.int64)
    exponents = np.full((OUTPUTS, count), -64)
    for n, row in enumerate(terms):
        for t, (sign, exponent, plane) in enumerate(row):
            bits = (w.codes[n] >> plane) & 1
            bits = bits if sign > 0 else 1 - bits
            planes[n, t] = np.packbits(bits.astype(np.uint8), bitorder="little")
            exponents[n, t] = exponent
    whole = np.rint(x * 4) / 4  # of which tables are exact
    found = lut_matmul(whole, planes, exponents, LutPE())
    size = np.abs(whole) @ np.ones((INPUTS, 1)) @ np.abs(scales).sum(axis=1)[None] * 2
    spare = np.abs(whole).sum(axis=1, keepdims=True) * count * 2.0**-64
    allowed = spare + (count * INPUTS // 8 + 2) * UNIT * size
    assert (np.abs(found - made.forward(whole)) <= allowed).all()


def test_scales_of_columns_are_those_of_inputs_before_their_tables():
    """A table a plane, of scaled inputs; they and three levels of sums are rounded to fp16."""
    made, x = layer("shiftadd", f"bcq2@b{OUTPUTS}x1/pot2")
    w = made.tensor
    scales = w.scales.reshape(INPUTS, 2).T.astype(np.float64)
    found = np.zeros((TOKENS, OUTPUTS))
    for plane in range(2):
        bits = ((w.codes >> plane) & 1).astype(np.uint8).reshape(OUTPUTS, -1, 8)
        keys = np.packbits(bits, axis=2, bitorder="little").reshape(OUTPUTS, 1, -1)
        given = (x * scales[plane]).astype(np.float16).astype(np.float64)
        found += lut_matmul(given, keys.astype(np.int64), np.zeros((OUTPUTS, 1), int), LutPE())
    size = np.abs(x) @ np.abs(scales).sum(axis=0)  # four roundings of fp16, and those of fp32
    assert (np.abs(found - made.forward(x)) < 4.1 * 2.0**-11 * size[:, None]).all()


def test_vectors_add_inputs_before_they_multiply():
    made, x = layer("vptq", "int2_asym@g16", entries=8, length=4)
    book, index = made.weights.books[0], made.weights.indices[0]
    for n in (0, 5):
        sums = [Fraction(0)] * len(book)
        for j in range(INPUTS):
            sums[index[n // 4, j]] += Fraction(x[0, j])
        exact = sum((s * Fraction(float(book[c, n % 4])) for c, s in enumerate(sums)), Fraction(0))
        assert made.forward(x)[0, n] == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_books_of_outputs_add_inputs_before_they_multiply():
    made, x = layer("any4", "int4@g16", bits=3, group=16)
    weights = made.weights
    for n in (0, 7):
        exact = Fraction(0)
        for g in range(2):
            sums = [Fraction(0)] * 8
            for j in range(16 * g, 16 * g + 16):
                sums[weights.codes[n, j]] += Fraction(x[0, j])
            inner = sum(s * Fraction(float(v)) for s, v in zip(sums, weights.books[n], strict=True))
            exact += Fraction(float(weights.scales[n, g])) * inner
            exact += Fraction(float(weights.minima[n, g])) * sum(sums)
        assert made.forward(x)[0, n] == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_sign_planes_add_what_low_rank_multiplies():
    made, x = layer("bitstack", "int4@g16", blocks=2, rank=2)
    given, _ = entering(made, x)
    stack = made.weights
    for n in (0, 7):
        exact = Fraction(0)
        for b in range(2):
            minus = np.unpackbits(stack.signs[b]).reshape(OUTPUTS, INPUTS)[n]
            for r in range(2):
                inner = sum(
                    (-1 if minus[j] else 1)
                    * Fraction(float(stack.right[b][r, j]))
                    * Fraction(given[0, j])
                    for j in range(INPUTS)
                )
                exact += Fraction(float(stack.left[b][n, r])) * inner
        assert made.forward(x)[0, n] == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_every_method_is_here():
    others = ("adadim", "dgq", "zeroquant_fp", "llm_fp4", "shiftadd", "any4", "vptq", "bitstack")
    assert {*INTEGERS, *TABLES, *others} == set(METHODS)
