"""Searches of ranges under scales as stored: never worse than none, equal to trying every scale."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.coding import job as coding
from bitlathe.datatypes.coding import table
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.schemes.scales import SCALES
from bitlathe.datatypes.schemes.scheme import Scheme

FORMATS = (
    *("int2", "int3", "int4", "int8", "fp4_e2m1", "fp6_e3m2", "fp8_e4m3", "nf3", "nf4", "flint4"),
    *("bitmod_fp3", "bitmod_fp4", "ant4", "int2_asym", "int4_asym", "int8_asym", "mxint8", "nvfp4"),
    *("bitmod_fp4_ea_pos", "apot4", "olive3", "olive4"),
)
SHAPES = ("@tensor", "@channel", "@g7", "@g16", "@g32", "@b2x16", "@input")
STORED = tuple(f"/{name}" for name in SCALES if not name.startswith("pot") and name != "none")
SEARCHED = ("+mse", "+mae", "+search", "+4over6")


def known(text):
    try:
        return Scheme.parse(text)
    except bl.BitlatheError:
        return None


def tensor(kind, rows, columns, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns)) * 10.0 ** float(rng.integers(-4, 2))
    if kind == "tails":
        x = rng.standard_t(2, (rows, columns))
    elif kind == "dyadic":
        x = rng.integers(-32, 33, (rows, columns)) / 8
    elif kind == "sparse":
        x *= rng.random((rows, columns)) < 0.1
    elif kind == "binades":
        x *= np.exp2(rng.integers(-12, 9, (rows, columns)))
    elif kind == "above":
        x = np.abs(x) + 1
    return x.astype(np.float32)


def errors(x, q, power):
    """Error of each group: differences in the precision of the tensor, as searches see them."""
    rest = np.abs((x - q.dequantize()).astype(np.float64)) ** power
    layout = q.layout
    return layout.split(layout.matrix(rest)).sum(axis=1)


@pytest.mark.filterwarnings("ignore:.*underflows in")
@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(FORMATS),
    shape=st.sampled_from(SHAPES),
    scale=st.sampled_from(("", *STORED)),
    clip=st.sampled_from(SEARCHED),
    kind=st.sampled_from(("normal", "tails", "dyadic", "sparse", "binades", "above")),
    size=st.tuples(st.integers(1, 5), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_no_group_errs_more_with_a_search(name, shape, scale, clip, kind, size, seed):
    text = (name if name in ("mxint8", "nvfp4") else name + shape) + scale
    if known(text) is None or known(text + clip) is None:
        return
    x = tensor(kind, *size, seed)
    power = 1 if clip == "+mae" else 2
    with_one, without = (errors(x, bl.quantize(x, s), power) for s in (text + clip, text))
    # sums of the same squares in another order
    assert (with_one <= without * (1 + 1e-12)).all()


SMALL = ("e4m3", "e4m3_256", "int2", "int3", "m2", "m2_ceil", "e8m0", "pot", "pot_floor")


@pytest.mark.parametrize("name", ["int3", "fp4_e2m1", "ant4"])
@pytest.mark.parametrize("stored", SMALL)
def test_a_search_of_every_scale_errs_as_little_as_any_stored_scale(name, stored, monkeypatch):
    monkeypatch.setattr(coding, "SEARCH_MIN", 0)  # compiled, as for large tensors
    x = tensor("tails", 3, 24, len(stored))
    text = f"{name}@g8/{stored}"
    plain, found = bl.quantize(x, text), bl.quantize(x, f"{text}+search")
    np.testing.assert_array_equal(found.outer, plain.outer)
    scale, groups = found.scheme.scale_format, x.reshape(-1, 8)
    tops = scale.tops(found.outer, found.layout)
    got = errors(x, found, 2)
    for g, values in enumerate(groups):
        least = min(
            nearest_error(values, fmt.grid.values, one)
            for fmt in found.scheme.formats
            for one in scale.scales(scale.every, np.repeat(tops[g], len(scale.every)), fmt.grid)
        )
        assert got[g] == pytest.approx(least, rel=1e-6, abs=1e-30)


def nearest_error(values, grid, scale):
    """Squared error of a group whose elements each take the nearest product of grid and scale."""
    rest = np.abs(values.astype(np.float64)[:, None] - grid * np.float64(scale))
    return float((rest.min(axis=1) ** 2).sum())


def four_over_six(block, tensor_max, room):
    """Error and scale of a block after the rules of the authors, in exact fractions."""
    grid = [Fraction(v).limit_denominator(2) for v in (0, 0.5, 1, 1.5, 2, 3, 4, 6)]
    e4m3 = [Fraction(float(v)) for v in bl.format("fp8_e4m3").grid.values if v >= 0]
    outer = Fraction(float(np.float32(tensor_max / np.float32(6 * room))))
    top = max(abs(Fraction(float(v))) for v in block)
    found = []
    for most in (6, 4):
        wanted = min(top / most / outer, Fraction(448))
        scale = min(e4m3, key=lambda s: (abs(s - wanted), s)) * outer
        error = sum(min((abs(Fraction(float(v))) - g * scale) ** 2 for g in grid) for v in block)
        found.append((error, scale))
    return found[1] if found[1][0] < found[0][0] else found[0]


@pytest.mark.parametrize(("name", "room"), [("nvfp4_4over6", 256), ("nvfp4_4over6_448", 448)])
def test_four_over_six_takes_the_better_of_both_scales(name, room):
    x = tensor("normal", 4, 64, 5)
    q = bl.quantize(x, name)
    assert q.scheme.bits_per_element(64, 4) == Scheme.parse("nvfp4").bits_per_element(64, 4)
    got = errors(x, q, 2)
    for g, block in enumerate(x.reshape(-1, 16)):
        error, scale = four_over_six(block, np.abs(x).max(), room)
        assert float(q.scales.reshape(-1)[g]) == pytest.approx(float(scale), rel=1e-6)
        assert got[g] == pytest.approx(float(error), rel=1e-5)
    assert got.sum() < errors(x, bl.quantize(x, "nvfp4"), 2).sum()


@pytest.mark.filterwarnings("ignore:.*underflows in")
@pytest.mark.parametrize("led", [False, True])
@pytest.mark.parametrize(
    "text",
    ["int3@g32+mse", "nf3@g20/fp32+mse", "bitmod_fp3@g32/int8+mse", "fp3_e2m0@g16/e4m3+search"],
)
def test_kernels_of_a_book_take_the_same_scales(text, led, monkeypatch):
    x = np.vstack([tensor(kind, 6, 96, 3) for kind in ("normal", "tails", "dyadic", "sparse")])
    x[0], x[1], x[2], x[3] = 0, 1e-42, -0.125, x[3] * np.float32(1e-33)
    x[4, ::7] = 60
    importance = np.random.default_rng(2).random(96) * 3 if led else None
    monkeypatch.setattr(coding, "SEARCH_MIN", 0)
    monkeypatch.setattr(table, "MIN_SIZE", 0)
    by_book = bl.quantize(x, text, importance=importance)
    for name in ("SEARCH_MIN", "MIN_SIZE"):
        monkeypatch.setattr(coding if name == "SEARCH_MIN" else table, name, 1 << 60)
        plain = bl.quantize(x, text, importance=importance)
        for field in ("matrix", "raw", "outer", "selectors"):
            np.testing.assert_array_equal(getattr(by_book, field), getattr(plain, field))


def test_second_level_scales_stand_as_they_are_without_a_search():
    x = tensor("tails", 6, 96, 1)
    for text in ("nvfp4", "int4@g16/int5", "bitmod_fp4@g16/int8", "int4_asym@g16/int4", "nf4/m2"):
        plain, found = bl.quantize(x, text), bl.quantize(x, f"{text}+mse")
        np.testing.assert_array_equal(found.outer, plain.outer)


def test_names_of_searches_come_back_as_they_are_written():
    for text in ("nvfp4_4over6", "nvfp4_4over6+mse", "int4@g16/e4m3+4over6", "nvfp4+search"):
        assert str(Scheme.parse(text)) == text
    mine = codebook("mine", [0, 1, -1, 4])
    assert str(Scheme.of(mine, "g16", "e8m0")) == "mine@g16/e8m0"
    with pytest.raises(bl.BitlatheError, match=r"\+search tries every scale: fp16 has too many"):
        Scheme.parse("int4@g128+search")
    with pytest.raises(bl.BitlatheError, match=r"without a zero point; int4_asym takes \+mse"):
        Scheme.parse("int4_asym@g128/int8+search")


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(
        ("int4_full", "int2_full", "bitmod_fp4_ea_pos", "bitmod_fp3_ea", "fp4_e2m1")
    ),
    kind=st.sampled_from(("normal", "tails", "dyadic", "above")),
    seed=st.integers(0, 99),
)
def test_the_side_that_decides_gives_the_least_scale_with_both_ends_inside(name, kind, seed):
    x = tensor(kind, 3, 20, seed)
    q = bl.quantize(x, f"{name}@g10/fp32+ends")
    formats = q.scheme.formats
    for g, group in enumerate(x.reshape(-1, 10)):
        fmt = formats[0 if q.selectors is None else q.selectors[g]]
        ends = float(group.max()) / fmt.max, float(group.min()) / fmt.min
        assert q.scales.reshape(-1)[g] == pytest.approx(max(*ends, 0), rel=3e-7)
    if len(formats) == 1:
        with_ends = errors(x, q, 2)
        plain = errors(x, bl.quantize(x, f"{name}@g10/fp32"), 2)
        same = fmt.max == -fmt.min
        assert not same or (with_ends == plain).all()


def test_options_of_the_range_are_refused_where_they_say_nothing():
    for text in ("int4@g32/ue5m3@tensor/fp32+ends", "nvfp4+ends", "mxfp4+ends"):
        if known(text) is not None:
            assert str(Scheme.parse(text)) == text
    for text in ("int4_asym@g32+ends", "olive4+ends", "dgq4+search", "fp16+ends"):
        with pytest.raises(bl.BitlatheError, match=r"\+|range"):
            Scheme.parse(text)
    with pytest.raises(bl.BitlatheError, match="is for a single scale"):
        Scheme.parse("int4@g32/ue5m3@tensor/fp32+4over6")
