"""Each calibration method's `forward` beside what a PE computes of what the layer stores.

Integer products are equal to the last bit, times their scales. Floating-point PEs add in the order
of the inputs and stay within the roundings of that order: one of the accumulator a product, and
those of fp16 that a decoder of weights makes, one an operation. What stands beside the product is
added in the same order by lanes that add in fp16.
"""

from fractions import Fraction

import numpy as np
import pytest

from bitlathe.arch import load_arch
from bitlathe.arch.pe import FpMacPE, IntMacPE, LutPE
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.datatypes.quantize import quantize
from bitlathe.sim.pe.dequantize import table_matmul
from bitlathe.sim.pe.mac import fp_mac_dot, int_mac_dot, lut_matmul

OUTPUTS, INPUTS, TOKENS = 8, 32, 5
UNIT = 2.0**-24  # half a step of fp32
HALF = 2.0**-11  # of fp16; below its normal numbers 2^-25 whatever the size
# PEs of fp16 products, half a step of their sums: that of the chip `codebook`, and fp32's
ADDERS = ((load_arch("codebook").pe.record, HALF), (FpMacPE(), UNIT))


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
    """Inputs take the scales of their columns, are rounded to fp16, and meet integers."""
    made, x = layer("adadim", "int3@channel", "none")
    assert made.chosen == "along outputs"
    w = made.tensor
    codes = w.scheme.formats[0].values[w.codes]
    scaled = (x * w.scales.astype(np.float64)).astype(np.float16).astype(np.float64)
    found = fp_mac_dot(scaled[:, None], codes[None], FpMacPE(weight="int4"))
    size = np.abs(x) @ np.abs(made.matrix()).T
    allowed = (HALF + (INPUTS + 2) * UNIT) * size + 2.0**-25 * np.abs(codes).sum(axis=1)
    assert (np.abs(found - made.forward(x)) <= allowed).all()


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


def half(values):
    """Return numbers as fp16 rounds them."""
    return np.asarray(values).astype(np.float16).astype(np.float64)


def vectors(made):
    """Return what the decoders make of vectors: entries of the book, cut at the last output."""
    (book,), (index,) = made.weights.books, made.weights.indices
    rows = [book[index[n // 4], n % 4] for n in range(OUTPUTS)]
    return half(np.stack(rows)), np.zeros((OUTPUTS, INPUTS)), 0


def books(made):
    """Return entries times scale plus minimum, each rounded, and what the roundings are of."""
    w = made.weights
    wide, low = (np.repeat(v.astype(float), w.group, axis=1) for v in (w.scales, w.minima))
    own = w.books if w.shelf is None else w.books[w.shelf]
    entries = np.take_along_axis(own, w.codes.astype(int), axis=1).astype(float)
    scaled = half(entries * wide)
    return half(scaled + low), np.abs(entries * wide) * 2 + np.abs(low), 1


def signs(made):
    """Return the sum of signed products of thin matrices, in fp16 throughout."""
    found, size, count = np.zeros((OUTPUTS, INPUTS)), np.zeros((OUTPUTS, INPUTS)), 0
    for sign, left, right in zip(
        made.weights.signs, made.weights.left, made.weights.right, strict=True
    ):
        minus = np.unpackbits(sign).reshape(OUTPUTS, INPUTS)
        for r in range(left.shape[1]):
            part = np.outer(left[:, r].astype(float), right[r].astype(float))
            found = half(found + half(np.where(minus, -part, part)))
            size, count = size + np.abs(part), count + 2
    return found, size, count


DECODED = {
    "vptq": (vectors, {"entries": 8, "length": 4}),
    "any4": (books, {"bits": 3, "group": 16}),
    "jlcm": (books, {"bits": 3, "group": 16, "books": 2}),
    "bitstack": (signs, {"blocks": 2, "rank": 2}),
}


@pytest.mark.parametrize("method", DECODED)
def test_codes_of_a_method_s_own_are_made_fp16_and_multiplied(method):
    decode, options = DECODED[method]
    made, x = layer(method, None, **options)
    given = half(entering(made, x)[0])  # a divisor may leave an input beside fp16's numbers
    weights, size, roundings = decode(made)
    whole = np.abs(given) @ np.abs(weights).T
    rounded = HALF * 1.01 * (whole + np.abs(given) @ size.T * roundings)
    tiny = 2.0**-25 * (np.abs(given).sum(axis=1)[:, None] * roundings + np.abs(weights).sum(axis=1))
    for pe, unit in ADDERS:
        found = fp_mac_dot(given[:, None], weights[None], pe)
        allowed = rounded + tiny + INPUTS * (unit * 1.02 * whole + 2.0**-25)
        assert (np.abs(found - made.forward(x)) <= allowed).all()
    assert (size == 0).all() or (weights != made.matrix()).any()  # where roundings are, they show


def test_grids_with_real_scales_are_looked_up_and_added_in_fp32():
    made, x = layer("lq_lora", "nf4@g16", rank=2)
    w = made.tensor
    grid, scales = w.scheme.formats[0].values, w.scales.reshape(OUTPUTS, 2)
    found = table_matmul(x.astype(np.float32), w.codes, grid, scales, group=16)
    size = np.abs(x) @ np.abs(made.matrix()).T
    exact = made.forward(x) - added(made, x)
    assert (np.abs(found - exact) <= (INPUTS + 2) * UNIT * size).all()


BESIDE = {
    "llm_int8": ("int8@channel", {"threshold": 12}),
    "lq_lora": ("int4@channel", {"rank": 2}),
    "zeroquant_fp": ("fp4_e2m1@g16/m2", {"rank": 2}),
    "easyquant": ("int4@channel", {"sigmas": 2}),
    "spqr": ("int4@channel", {"share": 0.05}),
}


@pytest.mark.parametrize("method", BESIDE)
def test_what_stands_beside_is_added_by_lanes_of_fp16_products(method):
    scheme, options = BESIDE[method]
    made, x = layer(method, scheme, **options)
    rest, between = x, 0.0
    for pe, unit in ADDERS:
        given = x
        if made.outliers is not None:
            given, weights = x[:, made.outliers], made.outlier_weights.astype(float)
            rest = np.delete(x, made.outliers, axis=1)
        elif made.sparse is not None:
            weights = made.sparse.matrix()
        else:  # two thin products; what goes between them is fp16
            right, weights = (v.astype(float) for v in (made.low_rank.right, made.low_rank.left))
            given = half(fp_mac_dot(x[:, None], right[None], pe))
            between = (
                (INPUTS * unit * 1.02 + HALF) * np.abs(x) @ np.abs(right).T @ np.abs(weights).T
            )
        found = fp_mac_dot(given[:, None], weights[None], pe)
        exact = made.forward(x) - rest @ made.matrix().T
        size = np.abs(given) @ np.abs(weights).T
        allowed = between + INPUTS * (unit * 1.02 * size + 2.0**-25) + 1e-9
        assert np.abs(exact).max() > 0
        assert (np.abs(found - exact) <= allowed).all()


def test_every_method_is_here():
    others = ("adadim", "dgq", "zeroquant_fp", "llm_fp4", "shiftadd")
    assert {*INTEGERS, *TABLES, *DECODED, *others} == set(METHODS)
