"""Compiled group kernels against plain loops: codes, scales, choices and values, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from bitlathe.datatypes import kernels
from bitlathe.datatypes.formats.catalogue import element
from bitlathe.datatypes.formats.families import named
from bitlathe.datatypes.formats.format import Mixture
from bitlathe.datatypes.kernels.base import intrinsics, tables
from bitlathe.datatypes.kernels.base.tables import whole_steps
from naive import quantize_naive as naive
from oracles import released_bitmod

FP3 = (0.0, 1.0, 2.0, 4.0)
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
BASES = {"bitmod_fp3": (FP3, (3.0, 6.0)), "bitmod_fp4": (FP4, (5.0, 8.0))}
TINY = float(np.float32(2.0**-149))


def members(name):
    found = element(name)
    return found.formats if isinstance(found, Mixture) else (found,)


def book(fmt):
    t = fmt.grid
    return kernels.make_book(t.values, t.codes, fmt.grid.tie_up("even"), fmt.negative_zero)


def grid(fmt):
    pairs = [(float(v), int(c)) for v, c in zip(fmt.grid.values, fmt.grid.codes, strict=True)]
    return [v for v, _ in pairs], [c for _, c in pairs]


def samples():
    """Matrices that reach what matters: ties, zeros, denormals, constants, ragged groups."""
    rng = np.random.default_rng(7)
    ties = np.array([k / 4 for k in range(-32, 33)], np.float32)
    return {
        "gauss": rng.standard_normal((3, 300)).astype(np.float32),
        "ties": np.stack([ties, ties * 3]),
        "zeros": np.zeros((2, 40), np.float32),
        "constant": np.full((1, 33), np.float32(-0.7)),
        "denormal": (rng.integers(-50, 50, (2, 64)) * TINY).astype(np.float32),
        "tiny": (rng.standard_normal((2, 64)) * 1e-22).astype(np.float32),
        "huge": (rng.standard_normal((1, 64)) * 1e33).astype(np.float32),
        "mirror": np.concatenate([ties, -ties])[None, :],
        "minus_zero": np.array([[-0.0, 0.0, -1e-9, 1e-9, 1.0, -1.0]], np.float32),
        "one": np.array([[3.5]], np.float32),
    }


SAMPLES = samples()


def joined(rows, part):
    return [[v for group in row for v in group[part]] for row in rows]


def agree(found, rows, has_choice):
    np.testing.assert_array_equal(found.codes, joined(rows, 0))
    np.testing.assert_array_equal(found.values, np.array(joined(rows, 1), np.float32))
    np.testing.assert_array_equal(found.scales, [[g[2] for g in row] for row in rows])
    if has_choice:
        np.testing.assert_array_equal(found.choices, [[g[3] for g in row] for row in rows])


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("group", [16, 128])
@pytest.mark.parametrize("name", BASES)
def test_bitmod_equals_loops(name, group, sample):
    x = SAMPLES[sample]
    magnitudes, specials = BASES[name]
    rows = naive.search(x, [grid(f) for f in members(name)], group)
    agree(kernels.bitmod(x, magnitudes, specials, group), rows, has_choice=True)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", ["bitmod_fp4", "ant4", "nf4", "flint4", "fp6_e2m3"])
def test_codebooks_equal_loops(name, sample):
    x = SAMPLES[sample]
    formats = members(name)
    books = tuple(book(f) for f in formats)
    if len(formats) > 1:
        rows = naive.search(x, [grid(f) for f in formats], 20)
        # -0 differs only in code: members of ant4 have it, the loops' search does not
        if any(f.negative_zero is not None for f in formats):
            found = kernels.codebooks(x, books, 20)
            np.testing.assert_array_equal(found.values, np.array(joined(rows, 1), np.float32))
            np.testing.assert_array_equal(found.choices, [[g[3] for g in r] for r in rows])
        else:
            agree(kernels.codebooks(x, books, 20), rows, has_choice=True)
        return
    found = kernels.codebooks(x, books, 20)
    values, codes = grid(formats[0])
    for r, row in enumerate(x):
        wanted_codes, wanted = [], []
        for part in naive.split(row, 20):
            s = naive.scale_for(max(abs(v) for v in part), max(map(abs, values)), "fp32")
            c, v = naive.code_group(part, values, codes, s, formats[0].negative_zero)
            wanted_codes += c
            wanted += v
        np.testing.assert_array_equal(found.codes[r], wanted_codes)
        assert found.values[r].tobytes() == np.array(wanted, np.float32).tobytes()


@given(
    st.lists(st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99), min_size=1, max_size=70),
    st.integers(1, 40),
    st.sampled_from(["fp32", "fp16"]),
)
@settings(max_examples=60)
def test_bitmod_equals_loops_anywhere(values, group, scale):
    x = np.array([values], np.float32)
    if scale == "fp16" and np.abs(x).max() > 1e5:
        x = (x / np.float32(2.0**83)).astype(np.float32)
    rows = naive.search(x, [grid(f) for f in members("bitmod_fp4")], group, scale)
    agree(kernels.bitmod(x, FP4, (5.0, 8.0), group, scale), rows, has_choice=True)


@pytest.mark.parametrize("name", BASES)
def test_two_passes_equal_four_books(name):
    rng = np.random.default_rng(3)
    x = rng.standard_t(5, (64, 1000)).astype(np.float32)
    magnitudes, specials = BASES[name]
    books = tuple(book(f) for f in members(name))
    for scale in ("fp32", "fp16"):
        a = kernels.bitmod(x, magnitudes, specials, 128, scale)
        b = kernels.codebooks(x, books, 128, scale)
        for field in ("codes", "scales", "values", "choices"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
        assert set(np.unique(a.choices)) == {0, 1, 2, 3}
        again = kernels.codebooks_given(x, books, 128, a.scales, a.choices)
        np.testing.assert_array_equal(again.codes, a.codes)
        np.testing.assert_array_equal(again.values, a.values)


BOOKS = (
    [0.0, 1.0, 2.0, 3.0, 4.0],
    [-7.0, -2.5, -1.0, 0.25, 4.0],
    [-3.0, -1.0, 1.0, 3.0],
    [-6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0],
)


@pytest.mark.parametrize("sample", SAMPLES)
def test_books_of_all_shapes_equal_loops(sample):
    x = SAMPLES[sample]
    coded = [list(range(len(values))) for values in BOOKS]
    books = tuple(
        kernels.make_book(v, c, np.arange(1, len(v)) % 2 == 0)
        for v, c in zip(BOOKS, coded, strict=True)
    )
    rows = naive.search(x, list(zip(BOOKS, coded, strict=True)), 24)
    agree(kernels.codebooks(x, books, 24), rows, has_choice=True)


def test_ties_that_float32_sums_would_break_are_decided_exactly():
    rng = np.random.default_rng(6)
    half = rng.integers(-6 << 16, 6 << 16, (20, 64)) / 2.0**16
    half[:, 0] = 6
    # the errors with +v and -v are equal, their float32 sums are not
    x = rng.permuted(np.concatenate([half, -half], axis=1), axis=1).astype(np.float32)
    rows = naive.search(x, [grid(f) for f in members("bitmod_fp4")], 128)
    agree(kernels.bitmod(x, FP4, (5.0, 8.0), 128), rows, has_choice=True)
    books = tuple(book(f) for f in members("bitmod_fp4"))
    agree(kernels.codebooks(x, books, 128), rows, has_choice=True)


def test_long_groups_are_summed_in_runs():
    x = np.random.default_rng(2).standard_normal((3, 700)).astype(np.float32)
    rows = naive.search(x, [grid(f) for f in members("bitmod_fp4")], 700)
    agree(kernels.bitmod(x, FP4, (5.0, 8.0), 700), rows, has_choice=True)


@pytest.mark.parametrize("values", [FP4, tuple(range(8)), (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)])
def test_floats_are_known_and_rounded_as_by_thresholds(values):
    grid_values = tuple(np.float32(v) for v in values)
    odd = np.arange(len(values) - 1) % 2 == 1
    cuts = tuple(tables.cuts_of(np.array(values), odd))
    arithmetic = tables.grid_table(cuts, grid_values)
    chain = tables.grid_table(cuts, grid_values, signed=True)
    assert arithmetic[3]
    assert not chain[3]
    near = np.array([*cuts, *values, 1e-40, values[-1] * 2], np.float32)
    inf = np.float32(np.inf)
    near = np.unique([near, np.nextafter(near, inf), np.nextafter(near, np.float32(0))])
    assert [nearest(a, arithmetic) for a in near] == [nearest(a, chain) for a in near]


@njit
def nearest(a, table):
    return intrinsics.nearest(a, table)


def same_as_released(x, bits, group):
    """Compare with the released rules in torch float16; x is (groups, group) float16."""
    magnitudes, specials = BASES[f"bitmod_fp{bits}"]
    unit = 0.5 if bits == 4 else 1.0
    found = kernels.bitmod_paper(x.astype(np.float32), magnitudes, specials, group, unit)
    values, choice = released_bitmod.bitmod(torch.from_numpy(x), bits)
    np.testing.assert_array_equal(found.values, values.float().numpy())
    np.testing.assert_array_equal(found.choices[:, 0], choice.clamp(min=0).numpy())
    np.testing.assert_array_equal(found.scales[:, 0] == 0, choice.numpy() < 0)
    # codes and scales stand for the values
    grids = np.stack([f.values for f in members(f"bitmod_fp{bits}")])
    exact = grids[found.choices, found.codes] * found.scales
    np.testing.assert_array_equal(exact.astype(np.float16), found.values.astype(np.float16))


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("std", [1e-6, 0.001, 0.02, 1.0, 400.0])
def test_released_arithmetic_of_larger_tensors_equals_torch(bits, std):
    rng = np.random.default_rng(bits)
    x = (rng.standard_t(5, (400, 128)) * std).astype(np.float16)
    x[0] = 0
    x[1] = np.float16(1e-6)
    x[2:9] = rng.integers(-24, 25, (7, 128)) / 4
    same_as_released(x, bits, 128)


@given(
    st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.sampled_from([3, 4]),
)
def test_released_arithmetic_equals_torch_anywhere(values, bits):
    same_as_released(np.array([values], np.float16), bits, len(values))


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("sample", SAMPLES)
def test_integers_equal_loops(sample, bits):
    x = SAMPLES[sample]
    agree(kernels.symmetric(x, bits, 24), naive.symmetric(x, bits, 24), has_choice=False)
    rows = naive.asymmetric(x, bits, 24)
    found = kernels.asymmetric(x, bits, 24)
    agree(found, rows, has_choice=False)
    np.testing.assert_array_equal(found.zeros, [[g[3] for g in row] for row in rows])


MX = {
    "fp4_e2m1": (2, 1, 1, 6.0),
    "fp6_e2m3": (2, 3, 1, 7.5),
    "fp6_e3m2": (3, 2, 3, 28.0),
    "fp8_e4m3": (4, 3, 7, 448.0),
    "fp8_e5m2": (5, 2, 15, 57344.0),
}


@pytest.mark.parametrize("rule", ["floor", "ceil", "even", "rceil"])
@pytest.mark.parametrize("name", MX)
def test_mx_equals_loops(name, rule):
    e, m, bias, largest = MX[name]
    fmt = members(name)[0]
    values, codes = grid(fmt)
    wide = np.array([[1.9999999, 2.0**-130, 2.0**-128 * 1.5, 1.6e38]], np.float32).T
    for x in (*SAMPLES.values(), wide):
        rows = naive.mx(x, values, codes, fmt.negative_zero, largest, m, 32, rule)
        found = kernels.mx(x, e, m, bias, largest, 32, rule)
        np.testing.assert_array_equal(found.codes, joined(rows, 0))
        assert found.values.tobytes() == np.array(joined(rows, 1), np.float32).tobytes()
        np.testing.assert_array_equal(found.scales, [[g[2] for g in row] for row in rows])


@pytest.mark.parametrize("rule", ["floor", "ceil", "even", "rceil"])
def test_mx_integer_equals_loops(rule):
    values = [k / 64 for k in range(-127, 128)]
    codes = [k % 256 for k in range(-127, 128)]
    for name in ("ties", "denormal", "huge", "minus_zero"):
        x = SAMPLES[name][:, :40]
        rows = naive.mx(x, values, codes, None, 127 / 64, 6, 32, rule)
        found = kernels.mx_integer(x, 32, rule)
        np.testing.assert_array_equal(found.codes, joined(rows, 0))
        np.testing.assert_array_equal(found.values, np.array(joined(rows, 1), np.float32))
        np.testing.assert_array_equal(found.scales, [[g[2] for g in row] for row in rows])


@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (1, 1)])
def test_empty_and_single(shape):
    found = kernels.bitmod(np.ones(shape, np.float32), FP4, (5.0, 8.0), 128)
    assert found.codes.shape == shape
    assert found.scales.shape == (shape[0], min(shape[1], 1))
    assert kernels.mx(np.ones(shape, np.float32), 2, 1, 1, 6.0).values.sum() == np.prod(shape)


def everything(x, threads):
    four = tuple(book(f) for f in members("bitmod_fp3"))
    for made in (
        kernels.bitmod(x, FP3, (3.0, 6.0), 100, threads=threads),
        kernels.bitmod_paper(x, FP3, (3.0, 6.0), 100, threads=threads),
        kernels.codebooks(x, four, 100, threads=threads),
        kernels.symmetric(x, 4, 100, threads=threads),
        kernels.asymmetric(x, 3, 100, threads=threads),
        kernels.mx(x, 4, 3, 7, 448.0, threads=threads),
        kernels.mx_integer(x, threads=threads),
    ):
        yield made.codes.tobytes() + made.values.tobytes() + made.scales.tobytes()
    packed = kernels.pack_e2m1(x, threads=threads)
    yield packed.tobytes()
    yield kernels.unpack_e2m1(packed, x.size, threads=threads).tobytes()
    cast = kernels.encode_float(x, 4, 3, 7, 448.0, threads=threads)
    yield cast.tobytes()
    yield kernels.pack(cast, 3, threads=threads).tobytes()


def test_threads_do_not_change_a_bit():
    x = np.random.default_rng(1).standard_normal((37, 517)).astype(np.float32)
    one = list(everything(x, 1))
    for threads in (2, 3, 8):
        assert list(everything(x, threads)) == one


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_not_wanted_changes_nothing(threads):
    x = np.random.default_rng(5).standard_normal((70, 1000)).astype(np.float32)
    magnitudes, specials = (0, 0.5, 1, 1.5, 2, 3, 4, 6), (5.0, 8.0)
    whole = kernels.bitmod(x, magnitudes, specials, 96)
    codes = kernels.bitmod(x, magnitudes, specials, 96, threads=threads, values=False)
    assert codes.values is None
    np.testing.assert_array_equal(codes.codes, whole.codes)
    scales, choices = kernels.choose_bitmod(x, magnitudes, specials, 96, threads)
    np.testing.assert_array_equal(scales, whole.scales)
    np.testing.assert_array_equal(choices, whole.choices)
    given = kernels.bitmod_given(x, magnitudes, specials, 96, scales, choices, threads=threads)
    np.testing.assert_array_equal(given.codes, whole.codes)
    np.testing.assert_array_equal(given.values, whole.values)


def test_maxima_of_groups_and_finiteness():
    x = np.random.default_rng(6).standard_normal((9, 130)).astype(np.float32)
    maxima = [[np.abs(row[a : a + 60]).max() for a in (0, 60, 120)] for row in x]
    np.testing.assert_array_equal(kernels.absmax_groups(x, 60), maxima)
    large = np.zeros(100_003, np.float32)
    assert kernels.all_finite(large)
    assert kernels.all_finite(large[:0])
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        for at in (0, 70_000, 100_002):
            large[at] = value
            assert not kernels.all_finite(large)
            large[at] = 0


@pytest.mark.parametrize(("group", "columns"), [(16, 44), (9, 30), (256, 300)])
def test_errors_under_given_scales_are_numpys(group, columns):
    rng, fmt = np.random.default_rng(columns), members("fp4_e2m1")[0]
    x = rng.standard_normal((5, columns)).astype(np.float32)
    scales = np.exp2(rng.normal(size=(5, -(-columns // group)))).astype(np.float32)
    scales[1, 0], scales[2, 0] = 0, 1e-30
    codes, errors = kernels.errors_given(x, book(fmt), group, scales)
    beside = np.zeros(scales.shape, np.uint8)
    found = kernels.codebooks_given(x, (book(fmt),), group, scales, beside)
    np.testing.assert_array_equal(codes, found.codes)
    rest = np.pad((x - found.values).astype(np.float64), ((0, 0), (0, -columns % group)))
    np.testing.assert_array_equal(errors, (rest**2).reshape(5, -1, group).sum(axis=2))


@pytest.mark.parametrize("name", ["fp4_e2m1", "int4_full", "s1p2", "uint4"])
@pytest.mark.parametrize("group", [12, 18])
@pytest.mark.parametrize("kind", ["", "minimum", "zero"])
def test_quotients_beside_shifts_are_numpys(kind, group, name):
    rng, fmt = np.random.default_rng(3), named(name)
    x = rng.standard_normal((7, 70)).astype(np.float32) * 3
    x[2:4] = np.rint(x[2:4] * 8) / 8
    x[4], x[5, 1] = -0.0, 3e38
    scales = rng.normal(size=(7, -(-70 // group))).astype(np.float32)  # of either sign
    scales[1, 0], scales[2], scales[3], scales[5, 0] = 0, 0.5, -0.25, 1e-30
    shifts = (rng.normal(size=scales.shape) * (kind != "")).astype(np.float32)
    shifts[2:4] = np.rint(shifts[2:4] * 4) / 4
    s, m = (np.repeat(a, group, axis=1)[:, :70] for a in (scales, shifts))
    with np.errstate(over="ignore"):
        y = x + m if kind == "minimum" else x
        y = np.divide(y, s, out=np.zeros_like(y), where=s != 0)
    wanted = fmt.encode(y + m if kind == "zero" else y, nan="propagate")
    assert (whole_steps(book(fmt)) is None) == (name == "fp4_e2m1")
    found = kernels.codes_shifted(x, book(fmt), group, scales, shifts, kind)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("values", "codes", "ties"),
    [
        ([0, 1, 3], [0, 1, 2], [0, 1]),  # steps of two sizes
        ([0, 3, 6], [0, 1, 2], [0, 1]),  # not powers of two
        ([1, 2, 3], [0, 1, 2], [0, 1]),  # without 0
        ([0, 1, 2], [1, 0, 2], [0, 1]),  # other codes
        ([0, 1, 2], [0, 1, 2], [1, 1]),  # ties up
    ],
)
def test_other_grids_are_no_whole_steps(values, codes, ties):
    assert whole_steps(kernels.make_book(values, codes, np.array(ties, bool))) is None
