"""Each line of the page's table of schemes, against a few lines of numpy."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.tests.datatypes.formats.test_tapered import posit_code, takum_code
from bitlathe.tests.naive import block_formats_naive as naive

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PAGE = (Path(bl.__file__).parent / "docs" / "block-formats.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## What others do, in a line each")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+?) \| `([^`]+)` \| ?([\d.]*) \|$", SECTION, re.MULTILINE)
RNG = np.random.default_rng(5)
W = (RNG.standard_t(5, size=(4, 256)) * 0.02).astype(np.float32)
W[1, :32] = np.abs(W[1, :32])
X = RNG.normal(size=(96, 256)) @ RNG.normal(size=(256, 256)) / 16
X[:, 9] *= 30
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
E2M1 = np.concatenate([-E2M1[:0:-1], E2M1])


def near(y, table):
    """The nearest of a table's numbers."""
    table = np.sort(np.asarray(table, np.float64))
    middles = (table[1:] + table[:-1]) / 2
    return table[np.searchsorted(middles, y)]


def by_group(size, make, x=W):
    """What a function makes of each group, a row of a matrix."""
    groups = x.astype(np.float64).reshape(-1, size)
    return make(groups).reshape(x.shape)


def amax(groups):
    return np.abs(groups).max(axis=1, keepdims=True)


def f32(x):
    return np.asarray(x, np.float32).astype(np.float64)


def f16(x):
    return np.asarray(x, np.float16).astype(np.float64)


def under(groups, scales, table=E2M1):
    return near(groups / scales, table) * scales


def floor_log2(x):
    return np.frexp(x)[1] - 1.0


def mx(exponent):
    """E2M1 in groups of 32 under powers of two of their largest magnitudes."""
    return lambda: by_group(32, lambda g: under(g, np.exp2(exponent(amax(g)))))


def mx_searched():
    """The power of two of least error for ranges from a quarter to 1.5 of the largest."""

    def make(g):
        top = floor_log2(amax(g) * np.array([1.5, 1, 0.5, 0.25])) - 2
        tried = [under(g, np.exp2(top[:, k : k + 1])) for k in range(4)]
        best = np.argmin([((t - g) ** 2).sum(axis=1) for t in tried], axis=0)
        return np.stack(tried)[best, np.arange(len(g))]

    return by_group(32, make)


def scaled(table, size=16, tensor=False, elements=E2M1):
    """Elements under scales of a table, these under a float32 of the tensor or not."""

    def find():
        top = elements.max()
        t = f32(f32(np.abs(W).max()) / f32(top * max(table))) if tensor else 1.0
        return by_group(size, lambda g: under(g, f32(t * near(f32(amax(g) / top) / t, table)),
                                              elements))  # fmt: skip

    return find


def unsigned(e, m, bias=None):
    """Unsigned floats, all codes finite."""
    bias = 2 ** (e - 1) - 1 if bias is None else bias
    whole = np.arange(2 ** (e + m))
    exponent, mantissa = np.maximum(whole >> m, 1), whole % 2**m + 2**m * (whole >> m > 0)
    return np.ldexp(mantissa, exponent - bias - m)


def overflow_aware():
    """Exponents up, halved below 3.5, under the significand of each tile's largest / 1.5."""

    def make(g):
        t = amax(g) / 1.5
        y = (g / (np.floor(t / np.exp2(floor_log2(t)) * 256) / 256)).reshape(-1, 16)
        s = np.exp2(np.ceil(np.log2(amax(y))) - 2)
        s = np.where(amax(y) / s < 3.5, s / 2, s)
        return under(y, s).reshape(g.shape) * g / y.reshape(g.shape)

    return by_group(128, make)


def four_over_six():
    t = f32(np.abs(W).max() / f32(6 * 256))
    e4m3 = unsigned(4, 3)[:-1]

    def make(g):
        six, four = (f32(t * near(f32(f32(amax(g) / top) / t), e4m3)) for top in (6, 4))
        a, b = under(g, six), under(g, four)
        better = ((b - g) ** 2).sum(axis=1) < ((a - g) ** 2).sum(axis=1)
        return np.where(better[:, None], b, a)

    return by_group(16, make)


def blocks(make, size, *facts):
    return lambda: np.array(
        [make(b, *facts) for b in W.astype(np.float64).reshape(-1, size).tolist()]
    ).reshape(W.shape)


def block_float(bits, size):
    """A sign and so many bits under the exponent of the largest, which rounding may cut."""

    def make(g):
        step = np.exp2(floor_log2(amax(g)) - (bits - 1))
        return np.clip(np.rint(g / step), 1 - 2**bits, 2**bits - 1) * step

    return lambda: by_group(size, make)


def anda():
    step = np.exp2(floor_log2(amax(W.astype(np.float64).reshape(-1, 64))) - 5)
    return (np.trunc(W.reshape(-1, 64) / step) * step).reshape(W.shape)


def hif8():
    """Three mantissa bits to exponent 3, two to 7, one to 15, none to -22."""
    sizes = [0.0, *np.exp2(np.arange(-22.0, -15))]
    for e in range(-15, 16):
        bits = 3 if abs(e) < 4 else 2 if abs(e) < 8 else 1
        sizes += [2.0**e * (1 + k / 2**bits) for k in range(2**bits)]
    sizes = np.array(sizes[:-1])  # the largest is infinity
    return np.sign(W) * near(np.abs(W), sizes)


def posit_value(code, bits, exponent_bits=2):
    sign = -1 if code >> (bits - 1) else 1
    text = f"{(code if sign > 0 else 2**bits - code):0{bits}b}"[1:]
    if "1" not in text:
        return 0.0
    run = len(text) - len(text.lstrip(text[0]))
    rest = text[run + 1 :].ljust(exponent_bits, "0")
    regime = run - 1 if text[0] == "1" else -run
    fraction = rest[exponent_bits:] or "0"
    exponent = regime * 2**exponent_bits + int(rest[:exponent_bits], 2)
    return sign * 2.0**exponent * (1 + int(fraction, 2) / 2 ** len(fraction))


def posits(bits):
    return lambda: np.vectorize(lambda y: posit_value(posit_code(float(y), bits, 2), bits))(W)


def logarithms():
    """Signs and exponents in eighths, rounded in the exponent, under fp16 scales of rows."""

    def make(g):
        s = f16(f32(amax(g) / 2 ** (127 / 8)))
        return np.sign(g) * np.exp2(np.clip(np.rint(8 * np.log2(np.abs(g) / s)), 0, 127) / 8) * s

    return by_group(256, make)


def takums():
    codes = np.vectorize(lambda y: takum_code(float(y), 8))(W)
    return bl.format("takum8").values[codes]  # values: test_values_are_the_published_ones


def learned(x, weights):
    """Nearest of 16 entries; clusters of least error by dynamic programming over sorted x."""
    order = np.argsort(x, kind="stable")
    y, weights = x[order], weights[order]
    n = len(y)
    parts = (np.cumsum(np.r_[0, part]) for part in (weights * y, weights * y * y, weights))
    sums = [e[None, :] - e[:, None] for e in parts]  # from row to column
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(sums[2] > 0, sums[1] - sums[0] ** 2 / sums[2], np.inf)
    least, cuts = cost[0], []
    for _ in range(15):
        total = least[:, None] + cost
        cuts.append(np.argmin(total, axis=0))
        least = total.min(axis=0)
    places, at = [n], n
    for cut in reversed(cuts):
        at = cut[at]
        places.insert(0, at)
    places.insert(0, 0)
    runs = [slice(a, b) for a, b in pairwise(places)]
    return near(x, f16([np.average(y[run], weights=weights[run]) for run in runs]))


def books(rows):
    def find():
        each = W.astype(np.float64).reshape(rows, -1)
        return np.stack([learned(row, np.ones_like(row)) for row in each]).reshape(W.shape)

    return find


def any4():
    """Groups of 64 brought to 0 .. 15, then a book for each row."""
    g = W.astype(np.float64).reshape(4, -1, 64)
    low = f16(g.min(axis=2, keepdims=True))
    s = f16((g.max(axis=2, keepdims=True) - g.min(axis=2, keepdims=True)) / 15)
    squares = np.square(X).mean(axis=0).reshape(1, -1, 64)
    scaled, costs = ((g - low) / s).reshape(4, -1), (s * s * squares).reshape(4, -1)
    rows = [learned(x, c) for x, c in zip(scaled, costs, strict=True)]
    return (np.stack(rows).reshape(g.shape) * s + low).reshape(W.shape)


def with_zero(table, size):
    """Values with a zero point, scale and zero point in float16."""
    width, least = max(table) - min(table), min(table)

    def make(g):
        low, high = g.min(axis=1, keepdims=True), g.max(axis=1, keepdims=True)
        s = f16(f32((high - low) / width))
        z = f16(least - low / s)
        return (near(g / s + z, table) - z) * s

    return lambda: by_group(size, make)


def q4_1():
    def make(g):
        low, high = g.min(axis=1, keepdims=True), g.max(axis=1, keepdims=True)
        s, m = f16(f32((high - low) / 15)), f16(low)
        return np.clip(np.rint((g - m) / s), 0, 15) * s + m

    return by_group(32, make)


def super_blocks(values):
    """Multiples from 0 to 63 of a float16 for each 8 groups."""
    eights = values.reshape(-1, 8)
    d = f16(f32(eights.max(axis=1, keepdims=True) / f32(63)))
    return (np.clip(np.rint(eights / d), 0, 63) * d).reshape(-1, 1)


def q4_k():
    def make(g):
        low = np.minimum(g.min(axis=1, keepdims=True), 0)
        s, m = super_blocks((g.max(axis=1, keepdims=True) - low) / 15), super_blocks(-low)
        return np.clip(np.rint((g + m) / s), 0, 15) * s - m

    return by_group(32, make)


def q6_k():
    def make(g):
        top = np.take_along_axis(g, np.abs(g).argmax(axis=1, keepdims=True), 1)
        wide = np.abs(top).reshape(-1, 16)
        d = f16(f32(wide.max(axis=1, keepdims=True) / f32(32 * 127)))
        s = (np.clip(np.rint(-top.reshape(-1, 16) / 32 / d), -128, 127) * d).reshape(-1, 1)
        return np.clip(np.rint(g / s), -32, 31) * s

    return by_group(16, make)


def integers(size, bits=4, scale=f16, x=W):
    top = 2 ** (bits - 1) - 1

    def make(g):
        s = scale(f32(amax(g) / f32(top)))
        return np.clip(np.rint(g / s), -top, top) * s

    return by_group(size, make, x)


def hessian():
    h = X.T @ X
    return h + 0.01 * np.diag(h).mean() * np.eye(len(h))


def spqr():
    """A hundredth of the weights, those that cost most by OBQ's formula, apart."""
    cost = (W - integers(32)) ** 2 / np.diag(np.linalg.inv(hessian()))
    apart = cost >= np.sort(cost, axis=None)[-(W.size // 100)]
    return gptq(np.where(apart, 0, W)) + np.where(apart, f16(W), 0)


def gptq(x=W):
    """The authors' loop: columns of the largest inputs first, errors carried on."""
    h = hessian()
    order = np.argsort(-np.diag(h), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    w, done = x.astype(np.float64)[:, order], np.zeros(x.shape)
    scale = np.repeat(f16(f32(amax(x.reshape(-1, 32)) / f32(7))).reshape(4, 8), 32, axis=1)
    for j, column in enumerate(order):
        s = scale[:, column]
        done[:, column] = np.clip(np.rint(w[:, j] / s), -7, 7) * s
        error = (w[:, j] - done[:, column]) / upper[j, j]
        w[:, j:] -= error[:, None] * upper[j, j:]
    return done


def awq():
    """The power of the inputs' mean magnitude that errs least on the outputs."""
    tried = []
    for i in range(20):
        s = np.maximum(np.abs(X).mean(axis=0) ** (i / 20), 1e-4)
        s = (s / np.sqrt(s.max() * s.min())).astype(np.float32)
        tried.append(integers(32, x=W * s) / s.astype(np.float64))
    exact = X @ W.T.astype(np.float64)
    return min(tried, key=lambda made: np.square(X @ made.T - exact).sum())


def llm_int8():
    apart = (np.abs(X) >= 20).any(axis=0)
    made = W.astype(np.float16).astype(np.float64)
    made[:, ~apart] = integers(int((~apart).sum()), 8, x=np.ascontiguousarray(W[:, ~apart]))
    return made


def easyquant():
    """Weights three deviations off the mean in float16, what is left without them."""
    w = W.astype(np.float64)
    apart = np.abs(w - w.mean()) >= 3 * w.std()
    return np.where(apart, f16(w), integers(32, x=np.where(apart, 0, W).astype(np.float32)))


def largest(one_of, wide):
    """So many of the largest weights by `wide`, what is left without them."""

    def matrix():
        apart = np.abs(W) >= np.sort(np.abs(W), axis=None)[-(W.size // one_of)]
        found = integers(32, x=np.where(apart, 0, W).astype(np.float32))
        found[apart] = wide(W[apart])
        return found

    return matrix


def fp8(x):
    """Sixteen E4M3 under their largest / 448."""
    both = np.array([*naive.E4M3, *(-v for v in naive.E4M3)])
    found = np.zeros(x.shape)
    for start in range(0, x.size, 16):
        part = x[start : start + 16]
        s = f32(np.abs(part).max() / f32(448))
        found[start : start + 16] = both[np.abs(part[:, None] / s - both).argmin(axis=1)] * s
    return found


def two_of_four():
    order = np.argsort(-np.abs(W.reshape(-1, 4)), axis=1, kind="stable")
    kept = np.zeros((W.size // 4, 4), bool)
    np.put_along_axis(kept, order[:, :2], True, 1)
    kept = kept.reshape(W.shape)
    found = np.zeros(W.shape)
    found[kept] = integers(32, x=W[kept].reshape(4, -1)).reshape(-1)
    return found


def m_ant():
    def make(g):
        best, least = np.zeros_like(g), np.full(len(g), np.inf)
        for a in range(0, 128, 8):
            sizes = a * np.arange(8) + 2.0 ** np.arange(8)
            made = under(g, f16(f32(amax(g) / f32(sizes[-1]))), np.concatenate([-sizes, sizes]))
            error = ((made - g) ** 2).sum(axis=1)
            best[error < least], least = made[error < least], np.minimum(error, least)
        return best

    return by_group(64, make)


def bidirectional():
    """Magnitudes of six bits, whose flag shifts them by three places."""
    sizes = np.arange(64.0)
    table = np.concatenate([sizes, 8 * sizes])
    table = np.unique(np.concatenate([table, -table]))

    def make(g):
        # the exponent of the largest lies three places above the shared one
        return under(g, np.exp2(floor_log2(amax(g)) - 8), table)

    return by_group(32, make)


def static():
    return np.clip(np.rint(W / f16(0.001)), -127, 127) * f16(0.001)


def delayed():
    e4m3 = unsigned(4, 3)[:-1]
    return under(W, f32(0.25 / 448), np.concatenate([-e4m3, e4m3]))


def hadamard():
    """Weights times Sylvester's matrix with the method's own signs, and back."""
    turn = np.array([[1.0]])
    while len(turn) < 256:
        turn = np.kron(turn, [[1, 1], [1, -1]])
    signs = bl.calibrate(W, X, "hadamard", "int4@g32", activation_scheme="none").rotation.signs
    turn = np.diag(signs) @ turn / 16
    return integers(32, x=W.astype(np.float64) @ turn) @ turn.T


def drawn():
    """One of both neighbors, with the odds of how near they are: within four deviations."""
    s = np.repeat(f16(f32(amax(W.reshape(-1, 32)) / f32(7))), 32, axis=1).reshape(W.shape)
    y = np.clip(W / s, -7, 7)
    low = np.floor(y)
    up = np.rint(bl.quantize(W, "int4@g32", rounding="stochastic", seed=1).dequantize() / s) - low
    assert set(up.reshape(-1)) == {0, 1}
    odds = y - low
    assert abs((up - odds).sum()) < 4 * np.sqrt((odds * (1 - odds)).sum())
    return (low + up) * s


KNOWN = {
    "MXFP4, OCP's floor": mx(lambda a: floor_log2(a) - 2),
    "MXFP4, exponents up": mx(lambda a: np.ceil(np.log2(a)) - 2),
    "MXFP4, largest rounded first": mx(lambda a: floor_log2(a * 8 / 7) - 2),
    "MXFP4, nothing clips": mx(lambda a: np.ceil(np.log2(a / 6))),
    "MXFP4, nearest power of two": mx(lambda a: np.rint(np.log2(a / 6))),
    "MXFP4, power of two below": mx(lambda a: floor_log2(a / 6)),
    "MXFP4, searched": mx_searched,
    "MXFP4, overflow-aware under significands of tiles (2603.08713)": overflow_aware,
    "NVFP4, four over six": four_over_six,
    "UE5M3 scales": scaled(unsigned(5, 3)),
    "E3M4 scales": scaled(unsigned(3, 4), tensor=True),
    "E6M2 scales": scaled(np.ldexp(4 + np.arange(255) % 4, np.arange(255) // 4 - 50)),
    "FP6 scales": scaled(unsigned(3, 2), tensor=True),
    "HiFloat8": hif8,
    "HiF4": blocks(naive.hif4, 64),
    "MSFP12": block_float(3, 16),
    "MSFP14": block_float(5, 16),
    "12 bits under a 5-bit exponent": block_float(11, 16),
    "posit8": posits(8),
    "posit16": posits(16),
    "LNS8": logarithms,
    "takum8": takums,
    "learned book of a row": books(4),
    "groups in one range, a learned book of a row (any4)": any4,
    "learned book of the tensor": books(1),
    "E2M1 with a zero point": with_zero(E2M1, 32),
    "integers with a float zero point (HQQ)": with_zero(np.arange(16.0), 64),
    "Q4_1": q4_1,
    "Q4_K": q4_k,
    "Q6_K": q6_k,
    "GPTQ": gptq,
    "AWQ": awq,
    "static scales of activations": static,
    "FP8, delayed scales": delayed,
    "activations by token": lambda: integers(256, 8),
    "keys by channel (KV cache)": lambda: integers(4, x=np.ascontiguousarray(W.T)).T,
    "values by token (KV cache)": lambda: integers(32),
    "inputs with outliers in fp16 (LLM.int8)": llm_int8,
    "weights with outliers in fp16": easyquant,
    "the largest hundredth in fp16, the rest to nearest": largest(100, f16),
    "the largest fiftieth in FP8, the rest to nearest": largest(50, fp8),
    "costly weights in fp16, the rest by GPTQ (SpQR)": spqr,
    "2:4 and INT4": two_of_four,
    "Hadamard rotation": hadamard,
    "stochastic rounding": drawn,
    "MX9": blocks(naive.micro_exponents, 16, 7),
    "MX6": blocks(naive.micro_exponents, 16, 4),
    "M2XFP, weights": blocks(naive.m2xfp, 32),
    "M2XFP, activations": blocks(naive.m2xfp_activation, 32),
    "MX+, 4 bits": blocks(naive.mx_plus, 32, naive.E2M1),
    "MX+, 6 bits": blocks(naive.mx_plus, 32, naive.E2M3),
    "M-ANT": m_ant,
    "Anda": anda,
    "BBFP(6, 3)": bidirectional,
}  # fmt: skip


@pytest.fixture(scope="module")
def names():
    """What lines of the page may name."""
    found = {"bl": bl, "w": W, "x": X, "Scheme": bl.Scheme}
    exec(re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)[1], found)
    return found


def test_the_page_and_this_file_have_the_same_lines():
    assert [name for name, *_ in ROWS] == list(KNOWN)


@pytest.mark.parametrize(("name", "cell", "bits"), ROWS)
def test_a_line_is_what_numpy_says(name, cell, bits, names):
    made = eval(cell, names) if "(" in cell else bl.quantize(W, cell)
    found = np.asarray(made.dequantize(), np.float64)
    if bits:
        assert float(made.scheme.bits_per_element(4096, 4096)) == pytest.approx(
            float(bits), abs=6e-5
        )
    np.testing.assert_allclose(found, KNOWN[name](), rtol=4e-7)
