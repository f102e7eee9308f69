"""Methods that keep weights apart, choose groups, bend grids, or store codes of their own."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods import (
    any4,
    bitstack,
    budget,
    curves,
    granularity,
    jlcm,
    lq_lora,
    sparse,
    vptq,
)
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.llm_fp4 import exponents_of, floats_like
from bitlathe.datatypes.methods.parts import Sparse, VectorWeights
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme


def layer(outputs=24, inputs=32, tokens=64, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(tokens, inputs)) @ random.normal(size=(inputs, inputs)) / 6
    return random.standard_t(4, size=(outputs, inputs)).astype(np.float32), x


def relative(made, w):
    return np.square(made - w).sum() / np.square(w.astype(float)).sum()


# -- EasyQuant


def test_outliers_are_those_beyond_so_many_deviations():
    w, _ = layer()
    mean, spread = np.mean(w, dtype=float), np.std(w, dtype=float)
    slow = [[abs(float(v) - mean) >= 3 * spread for v in row] for row in w]
    assert sparse.outliers(w, 3.0).tolist() == slow
    assert not sparse.outliers(np.ones((2, 3)), 0.0).any()


def test_easyquant_keeps_outliers_and_counts_value_and_place():
    w, x = layer()
    found = calibrate(w, x, "easyquant", "int4@channel")
    apart = sparse.outliers(w, 3.0)
    np.testing.assert_array_equal(found.dequantize()[apart], w[apart].astype(np.float16))
    rest = quantize(np.where(apart, 0, w), "int4@channel").dequantize(np.float64)
    np.testing.assert_array_equal(found.dequantize()[~apart], rest[~apart])
    assert found.total_bits == 24 * (32 * 4 + 16) + apart.sum() * (16 + 10)  # 768 places
    assert found.operations.fp16_products == apart.sum()


def test_range_and_isolation_each_help_and_together_most():
    w, x = layer(64, 128, seed=3)
    plain = relative(quantize(w, "int4@channel").dequantize(), w)
    ranged = relative(quantize(w, "int4@channel+mse").dequantize(), w)
    apart, both = (
        relative(calibrate(w, x, "easyquant", scheme).dequantize(), w)
        for scheme in ("int4@channel", "int4@channel+mse")
    )
    assert both < apart < plain
    assert both < ranged < plain


def test_easyquant_refuses_what_it_cannot_keep():
    w, x = layer()
    with pytest.raises(BitlatheError, match="sigmas: every weight lies 0 standard deviations"):
        calibrate(w, x, "easyquant", sigmas=0)
    with pytest.raises(BitlatheError, match="beyond fp16"):
        Sparse.of(np.array([[1e6, 1.0]]), np.array([[True, False]]))
    assert calibrate(w, x, "easyquant", sigmas=1000).chosen == "rtn"


# -- AdaDim, FineQuant


def test_adadim_is_the_better_of_groups_along_inputs_and_along_outputs():
    for seed, outlier in ((0, 1), (1, 30)):
        w, x = layer(seed=seed)
        x[:, 5] *= outlier
        exact = x @ w.astype(float).T
        along = quantize(w, "int3_asym@g8").dequantize(np.float64)
        across = quantize(np.ascontiguousarray(w.T), "int3_asym@g8").dequantize(np.float64).T
        errors = [
            np.square(x @ m.T - exact).sum() / np.square(exact).sum() for m in (along, across)
        ]
        found = calibrate(w, x, "adadim", "int3_asym@g8")
        assert found.relative_error == pytest.approx(min(errors))
        assert found.rounded_error == pytest.approx(errors[0])
        better = calibrate(w, x, "adadim", "int3_asym@g8", gptq=True)
        assert better.relative_error < found.relative_error


def test_the_chooser_takes_the_largest_groups_within_the_tolerance():
    w, x = layer(16, 256)
    w[:, :40] *= 6
    plain = {
        s: relative(quantize(w, f"int4@{s}").dequantize(), w) for s in ("channel", "g128", "g64")
    }
    for tolerance in (0.0, 0.2, 0.5, 2.0, 1e9):
        scheme, errors = granularity.choose_group(w, Scheme.parse("int4@g64"), tolerance)
        within = [s for s, e in plain.items() if e <= plain["g64"] * (1 + tolerance)]
        assert str(scheme.granularity) == within[0]
        assert list(errors) == [256, 128, 64]
    found = calibrate(w, x, "finequant", "int4@g64", tolerance=1e9)
    np.testing.assert_array_equal(
        found.dequantize(), quantize(w, "int4@channel").dequantize(np.float64)
    )


# -- curves


@given(
    kind=st.sampled_from(curves.KINDS),
    strength=st.floats(0.1, 10),
    x=st.floats(-1, 1).filter(lambda v: v == 0 or abs(v) > 1e-3),
)
def test_a_curve_after_its_inverse_is_the_identity(kind, strength, x):
    curve = curves.Curve(kind=kind, strength=strength)
    assert float(curve.bend(curve.unbend(np.array(x)))) == pytest.approx(x, rel=1e-9)
    assert float(curve.bend(np.array(1.0))) == pytest.approx(1.0)
    assert float(curve.bend(np.array(-x))) == -float(curve.bend(np.array(x)))


@pytest.mark.parametrize("power", [0.5, 0.7, 1.0])
def test_codes_of_nupes_are_rounded_powers(power):
    w, x = layer()
    found = calibrate(w, x, "nupes", "int4@channel/fp32", strengths=(power,))
    if found.chosen == "rtn":
        assert power == 1.0
        return
    q = found.tensor
    s = q.scales.reshape(-1, 1).astype(float)
    wanted = np.rint(7 * np.abs(w / s) ** power) * np.sign(w)
    np.testing.assert_array_equal(q.codes.astype(int) - 7, wanted)
    back = np.sign(wanted) * (np.abs(wanted) / 7) ** (1 / power) * s
    np.testing.assert_allclose(found.dequantize(), back, rtol=1e-6)
    assert found.total_bits == 24 * (32 * 4 + 32)


def test_the_error_has_one_least_power():
    w, _ = layer(64, 256, seed=2)
    scheme = Scheme.parse("int4@channel")
    powers = [i / 10 for i in range(2, 13)]
    errors = [
        curves.curve_error(w, curves.bent(scheme, curves.Curve(kind="power", strength=a)))
        for a in powers
    ]
    turns = [b > a for a, b in pairwise(errors)]
    assert turns == sorted(turns)  # falls, then rises
    assert 0.4 < powers[int(np.argmin(errors))] < 0.9


# -- budgets


@given(st.data())
def test_bits_are_shared_out_as_brute_force_does(data):
    choice = st.tuples(st.integers(1, 6), st.integers(0, 30).map(float))
    choices = data.draw(st.lists(st.lists(choice, min_size=1, max_size=3), min_size=1, max_size=5))
    least = sum(min(b for b, _ in each) for each in choices)
    limit = data.draw(st.integers(least, least + 12))
    taken = budget.allocate(choices, limit)
    picked = [each[t] for each, t in zip(choices, taken, strict=True)]
    assert sum(b for b, _ in picked) <= limit
    best = min(
        sum(e for _, e in combo) for combo in product(*choices) if sum(b for b, _ in combo) <= limit
    )
    assert sum(e for _, e in picked) == best


def test_large_budgets_are_exact_and_quick():
    random = np.random.default_rng(0)
    choices = []
    for _ in range(150):
        size, hard = int(random.integers(1, 9)) * 1000, float(random.lognormal())
        choices.append([(b * size, size * hard * 4.0**-b) for b in (2, 3, 4, 8)])
    limit = sum(each[1][0] for each in choices)
    taken = budget.allocate(choices, limit)
    used = sum(each[t][0] for each, t in zip(choices, taken, strict=True))
    assert limit - 5000 <= used <= limit
    error = sum(each[t][1] for each, t in zip(choices, taken, strict=True))
    assert error < sum(each[1][1] for each in choices)


def test_budgets_that_cannot_be_kept_are_refused():
    with pytest.raises(BitlatheError, match="budget: 3 bits; the fewest are 4"):
        budget.allocate([[(2, 1.0)], [(2, 1.0)]], 3)
    with pytest.raises(BitlatheError, match="choices: one or more"):
        budget.allocate([[(2, 1.0)], []], 30)


def test_importance_of_shiftadd_is_its_formula():
    w, x = layer(6, 8)
    h = x.T @ x
    h += 0.01 * np.diag(h).mean() * np.eye(8)
    root = np.linalg.cholesky(np.linalg.inv(h))
    scaled = [[w[i, j] / root[j, j] for j in range(8)] for i in range(6)]
    wanted = np.sqrt(np.square(scaled).sum()) * np.var(scaled)
    assert budget.shiftadd_importance(w.astype(float), x) == pytest.approx(wanted)


# -- LQ-LoRA, BitStack


def test_alternation_falls_to_the_pair_it_returns_and_beats_the_rest_alone():
    w, _ = layer(48, 64, seed=1)
    columns = np.linspace(0.5, 2, 64)
    q, low, errors = lq_lora.alternate(w.astype(float), Scheme.parse("nf3@g16"), 8, 50, columns)
    assert all(b < a for a, b in pairwise(errors))
    rest = (w - q.dequantize(np.float64) - low.matrix()) * columns
    assert np.square(rest).sum() == pytest.approx(errors[-1])
    plain = (w - quantize(w, "nf3@g16").dequantize(np.float64)) * columns
    singular = np.linalg.svd(plain, compute_uv=False)
    assert errors[-1] < np.square(singular[8:]).sum()


def test_bits_of_lq_lora_are_those_of_the_paper():
    assert round(lq_lora.stored_bits(3, 8, 64, 32, 256), 3) == 3.127
    assert round(lq_lora.stored_bits(4, 8, 64, 32, 256), 3) == 4.127
    w, x = layer()
    found = calibrate(w, x, "lq_lora", "nf4@g16", rank=2)
    assert found.total_bits == found.tensor.total_bits + 16 * 2 * (24 + 32)


def test_every_block_of_a_stack_takes_off_error_and_counts():
    w, x = layer(24, 32)
    whole = bitstack.stack(w.astype(float), 4, 4)
    errors = [relative(whole.first(n).matrix(), w) for n in range(5)]
    assert errors[0] == 1
    assert all(b < 0.7 * a for a, b in pairwise(errors))
    assert whole.block_bits == (24 * 32 + 16 * 4 * (24 + 32),) * 4
    assert whole.total_bits == sum(whole.block_bits)
    sign = np.unpackbits(whole.signs[0]).reshape(24, 32)
    u, v = whole.left[0].astype(float), whole.right[0].astype(float)
    for i, j in ((0, 0), (3, 7), (23, 31)):
        exact = sum(u[i, r] * v[r, j] for r in range(4)) * (-1 if sign[i, j] else 1)
        assert whole.block(0)[i, j] == pytest.approx(exact)
        assert bool(sign[i, j]) == (w[i, j] < 0)
    found = calibrate(w, x, "bitstack", blocks=2, rank=4)
    assert found.relative_error < calibrate(w, x, "bitstack", blocks=1, rank=4).relative_error


@given(st.integers(0, 400), st.integers(0, 2**31))
def test_any_budget_is_kept_to_a_block(limit, seed):
    random = np.random.default_rng(seed)
    gains = [sorted(random.random(4), reverse=True) for _ in range(3)]
    bits = [int(b) for b in random.integers(10, 40, 3)]
    taken = bitstack.share_out(gains, bits, limit)
    used = sum(n * b for n, b in zip(taken, bits, strict=True))
    assert used <= limit
    assert all(n == 4 for n in taken) or limit - used < max(bits)


# -- VPTQ and PV


def test_vectors_are_gathered_and_their_bits_counted():
    random = np.random.default_rng(0)
    book, rest = (random.normal(size=(n, 3)).astype(np.float16) for n in (5, 4))
    index = [random.integers(0, n, (4, 6)).astype(np.int32) for n in (5, 4)]
    made = VectorWeights(shape=(10, 6), books=(book, rest), indices=tuple(index))
    matrix = made.matrix()
    for i, j in product(range(10), range(6)):
        exact = Fraction(float(book[index[0][i // 3, j], i % 3])) + Fraction(
            float(rest[index[1][i // 3, j], i % 3])
        )
        assert Fraction(matrix[i, j]) == exact
    assert made.total_bits == 24 * 3 + 24 * 2 + 16 * 3 * 9


def test_products_with_entries_looked_up_are_those_of_the_gathered_weights():
    w, x = layer(12, 32)
    found = calibrate(w, x, "vptq", entries=8, length=4).weights
    y = np.random.default_rng(1).integers(-8, 9, 12).astype(float)  # a gradient's side: y @ W
    table = y.reshape(3, 4) @ found.books[0].astype(float).T  # (vectors, entries)
    looked_up = [sum(table[v, found.indices[0][v, j]] for v in range(3)) for j in range(32)]
    np.testing.assert_allclose(looked_up, y @ found.matrix(), rtol=1e-12)


def test_as_many_entries_as_vectors_lose_nothing_but_fp16():
    w, x = layer(8, 16)
    found = calibrate(w, x, "vptq", entries=32, length=4, rounds=0)
    np.testing.assert_array_equal(found.dequantize(), w.astype(np.float16))
    one = calibrate(w, x, "vptq", entries=1, length=3, rounds=3)
    assert len(np.unique(one.dequantize()[:3], axis=1)[0]) == 1
    assert one.total_bits == 16 * 3


def test_errors_carried_on_and_refined_are_less():
    w, x = layer(32, 48, 200)
    exact = x @ w.astype(float).T
    plain = calibrate(w, x, "vptq", entries=16)
    vectors = vptq.vectors_of(w.astype(float), 4).reshape(-1, 4)
    index = vptq.nearest(vectors, plain.weights.books[0].astype(float))
    alone = VectorWeights(
        shape=(32, 48), books=plain.weights.books, indices=(index.reshape(8, 48),)
    )
    error = np.square(x @ alone.matrix().T - exact).sum() / np.square(exact).sum()
    assert plain.relative_error < error
    refined = calibrate(w, x, "vptq", entries=16, refine=4)
    assert refined.relative_error < 0.95 * plain.relative_error
    two = calibrate(w, x, "vptq", entries=16, books=2)
    assert two.relative_error < 0.5 * plain.relative_error


def test_inputs_apart_have_a_book_of_their_own():
    w, x = layer(16, 24, 100)
    x[:, [3, 17]] *= 30
    w[:, [3, 17]] *= 3
    plain = calibrate(w, x, "vptq", entries=8)
    found = calibrate(w, x, "vptq", entries=8, outliers=0.05, outlier_entries=8, refine=3)
    made = found.weights
    assert made.columns.tolist() == [3, 17]  # 0.05 x 24, rounded up
    assert made.total_bits == 4 * 24 * 3 + 2 * 5 + 2 * 16 * 8 * 4
    exact = np.zeros((16, 24))
    for column in range(24):
        lone = column in (3, 17)
        own, at = (made.apart, [3, 17].index(column)) if lone else (made, column)
        at -= 0 if lone else (column > 3) + (column > 17)
        for row in range(16):
            exact[row, column] = own.books[0][own.indices[0][row // 4, at], row % 4]
    np.testing.assert_array_equal(made.matrix(), exact)
    # eight vectors for the two columns' eight: they are what they were
    np.testing.assert_array_equal(exact[:, [3, 17]], w[:, [3, 17]].astype(np.float16))
    assert found.relative_error < 0.1 * plain.relative_error


def test_a_book_fitted_to_outputs_is_that_of_least_squares():
    w, x = layer(8, 12, 40)
    random = np.random.default_rng(4)
    book = random.normal(size=(5, 2)).astype(np.float16)
    index = np.concatenate([np.arange(5), random.integers(0, 5, 43)]).reshape(4, 12)
    made = VectorWeights(shape=(8, 12), books=(book,), indices=(index.astype(np.int32),))
    found = vptq._fitted(w.astype(float), x.T @ x, made, 0)
    for part in range(2):  # of a vector: rows 0, 2, 4, 6, then 1, 3, 5, 7
        system = np.concatenate(
            [x @ np.eye(5)[index[v]] for v in range(4)]
        )  # outputs of a row by entries
        goal = np.concatenate([x @ w[2 * v + part] for v in range(4)])
        exact = np.linalg.lstsq(system, goal, rcond=None)[0]
        np.testing.assert_allclose(found.books[0][:, part], exact, rtol=2e-3, atol=1e-4)


# -- LLM-FP4


def test_floats_of_as_many_bits_are_tried():
    found = floats_like(Scheme.parse("fp4_e2m1@channel"))
    assert {e: s.name for e, s in found.items()} == {1: "fp4_e1m2", 2: "fp4_e2m1", 3: "fp4_e3m0"}
    grids = {e: sorted(set(np.abs(s.formats[0].values))) for e, s in found.items()}
    ratio = {e: [v / g[1] for v in g] for e, g in grids.items()}
    assert ratio[3] == [0, 1, 2, 4, 8, 16, 32, 64]
    assert ratio[2] == [0, 1, 2, 3, 4, 6, 8, 12]
    assert ratio[1] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_exponents_of_channels_are_whole_and_in_range():
    x = np.array([[8.0, 1.0, 0.1, 0.0, -3.0]])
    assert exponents_of(x, 2).tolist() == [0, 3, 3, 3, 1]
    assert exponents_of(x, 3).tolist() == [0, 3, 6, 7, 1]


def test_each_step_of_llm_fp4_pays():
    random = np.random.default_rng(0)
    x = random.normal(size=(128, 64)) * np.exp2(random.uniform(-3, 0, 64))
    x[:, 3] *= 20
    w = random.standard_t(4, size=(32, 64)) * np.exp2(random.uniform(-1, 1, (32, 1)))
    search = calibrate(w, x, "llm_fp4", shift=False)
    shift = calibrate(w, x, "llm_fp4")
    assert shift.chosen.startswith("search, shift")
    assert shift.relative_error < search.relative_error / 1.5
    assert search.relative_error < search.rounded_error / 1.4
    steps = -np.log2(shift.divisors)
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert 0 <= steps.min() < steps.max() <= 7
    # integers on the grid of halves, one scale for the inputs and one an output
    q = quantize(x[:4] / shift.divisors, shift.activation_scheme, scales=shift.activation_scale)
    codes = q.scheme.formats[0].values[q.codes] * 16
    weights = shift.tensor.scheme.formats[0].values[shift.tensor.codes] * 16
    whole = codes.astype(np.int64) @ weights.astype(np.int64).T
    scale = shift.tensor.scales.reshape(-1).astype(float) * np.float64(shift.activation_scale)
    np.testing.assert_allclose(shift.forward(x[:4]), whole * scale / 256, rtol=1e-12)


@pytest.mark.parametrize(
    ("method", "scheme", "options", "said"),
    [
        ("llm_fp4", "int4@channel", {}, "it needs a float with one scale an output"),
        ("adadim", "int4@tensor", {}, "its groups are those of single outputs"),
        ("adadim", "dgq4@g16", {}, "its groups cannot run along outputs"),
        ("nupes", "int4_asym@g8", {}, "it bends what symmetric integers of 2 to 8 bits round"),
        ("nupes", "int4@channel", {"strengths": (0,)}, "curve: a strength above 0"),
        ("compander", "int4@channel", {"strengths": ()}, "strengths: numbers from 0"),
        ("lq_lora", None, {"rank": 0}, "rank is 0"),
        ("vptq", None, {"length": 0}, "length is 0"),
        ("bitstack", None, {"blocks": 1.5}, "blocks"),
        ("finequant", None, {"tolerance": -1}, "tolerance: a number from 0"),
    ],
)
def test_bad_input_is_one_sentence(method, scheme, options, said):
    w, x = layer()
    with pytest.raises(BitlatheError, match=said) as problem:
        calibrate(w, x, method, scheme, **options)
    assert "\n" not in str(problem.value)


# -- any4, JLCM, SpQR


def test_books_of_outputs_are_counted():
    w, x = layer(8, 80)
    w[2] = 0.5
    found = calibrate(w, x, "any4", bits=3, group=32)
    assert found.total_bits == 8 * (80 * 3 + 16 * (8 + 2 * 3))  # the last group is short
    np.testing.assert_allclose(found.matrix()[2], 0.5)
    with pytest.raises(BitlatheError, match="fp16, whose largest is 65504"):
        calibrate(w * 1e6, x, "any4", "int4_asym@g32/fp32")
    with pytest.raises(BitlatheError, match="bits"):
        calibrate(w, x, "any4", bits=9)
    with pytest.raises(BitlatheError, match="book of 256 entries is larger than the 80 weight"):
        calibrate(w, x, "any4", bits=8)


def test_outputs_that_are_alike_share_a_book():
    """Even and odd outputs are of two kinds; each book is that of one of them."""
    random = np.random.default_rng(4)
    w = random.normal(size=(12, 64))
    w[1::2] = np.sign(w[1::2]) * (3 + w[1::2] / 50)
    x = random.normal(size=(40, 64)) * np.linspace(0.2, 2, 64)
    found = calibrate(w, x, "jlcm", bits=2, group=64, books=2)
    shelf = found.weights.shelf
    assert shelf.tolist() == [shelf[0], 1 - shelf[0]] * 6
    assert found.total_bits == 12 * (64 * 2 + 2 * 16 + 1) + 2 * 4 * 16
    one, own = (calibrate(w, x, "jlcm", bits=2, group=64, books=n) for n in (1, 99))
    assert one.weights.books.shape == (1, 4)
    assert one.total_bits == 12 * (64 * 2 + 2 * 16) + 4 * 16
    assert found.relative_error < 0.7 * one.relative_error
    each = calibrate(w, x, "any4", bits=2, group=64)  # the best book of every output
    np.testing.assert_array_equal(own.dequantize(), each.dequantize())
    with pytest.raises(BitlatheError, match="books is 0"):
        calibrate(w, x, "jlcm", books=0)
    with pytest.raises(BitlatheError, match="book of 256 entries is larger than the 64 weight"):
        calibrate(w, x, "jlcm", bits=8)


def test_books_and_who_reads_them_are_learned_in_turn():
    w, x = layer(16, 48)
    squares = np.square(x).mean(axis=0)
    options = jlcm.JlcmOptions(bits=2, group=16, books=3, rounds=25)
    ranged = any4.Ranged.of(w.astype(float), squares, options)
    books, shelf, errors = jlcm.shared_books(ranged, options)
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(errors))
    assert errors[-1] < errors[0]
    costs = np.array(  # plainly: what each book would cost each output
        [
            [
                sum(c * min((e - v) ** 2 for v in book) for e, c in zip(row, weight, strict=True))
                for book in books
            ]
            for row, weight in zip(ranged.elements, ranged.costs, strict=True)
        ]
    )
    assert shelf.tolist() == costs.argmin(axis=1).tolist()
    assert costs.min(axis=1).sum() == pytest.approx(errors[-1])


def test_costly_weights_are_kept_and_counted():
    w, x = layer(16, 64)
    base, found = (calibrate(w, x, m, "int4_asym@g16") for m in ("gptq", "spqr"))
    assert found.relative_error < base.relative_error
    assert found.total_bits == base.total_bits + 10 * (16 + 10)  # a hundredth of 1024 places
    assert calibrate(w, x, "spqr", "int4_asym@g16", share=0).chosen == "rtn"
    kept = calibrate(w[:10, :10], x[:, :10], "spqr", "int4_asym@g16", share=0.29)
    assert len(kept.sparse.values) == 29  # 0.29 x 100 is less in floats
    with pytest.raises(BitlatheError, match="share"):
        calibrate(w, x, "spqr", share=2)
