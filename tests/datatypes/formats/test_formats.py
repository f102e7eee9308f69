"""Formats: values from the specifications, every code, laws of rounding, exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.constructors import codebook, float_format, int_format, with_special
from bitlathe.datatypes.formats.format import Format, Mixture
from bitlathe.datatypes.formats.rounding import NEAREST, round_integer
from bitlathe.datatypes.kernels.base.tables import cuts_of
from bitlathe.datatypes.schemes.scheme import Scheme

SMALL = [
    n
    for n in catalogue.names()
    if isinstance(catalogue.element(n), Format) and catalogue.element(n).bits <= 8
]
REQUIRED = (
    [f"int{b}" for b in range(2, 9)]
    + [f"int{b}_asym" for b in range(2, 9)]
    + [
        f"bitmod_fp{b}_{k}"
        for b in (3, 4)
        for k in ["er_pos", "er_neg", "ea_pos", "ea_neg", "er", "ea"]
    ]
    + [f"mx_bitmod_{k}" for k in ("fp3", "fp4", "int3", "int4")]
    + [
        "fp3_e2m0",
        "fp4_e2m1",
        "fp4_e1m2",
        "fp4_e3m0",
        "fp5_e2m2",
        "fp5_e3m1",
        "fp6_e2m3",
        "fp6_e3m2",
        "fp8_e4m3",
    ]
    + [
        "fp8_e5m2",
        "fp16",
        "bf16",
        "e8m0",
        "nf3",
        "nf4",
        "flint3",
        "flint4",
        "pot4",
        "apot4",
        "bitmod_fp3",
        "bitmod_fp4",
    ]
    + [
        "ant3",
        "ant4",
        "mxfp4",
        "mxfp6_e2m3",
        "mxfp6_e3m2",
        "mxfp8_e4m3",
        "mxfp8_e5m2",
        "mxint8",
        "nvfp4",
    ]
    + ["olive4", "bcq2", "bcq3", "bcq4", "dgq4"]
)


@pytest.mark.parametrize("name", REQUIRED)
def test_the_catalogue_has_every_promised_name(name):
    made = bl.format(name)
    assert isinstance(made, Format | Mixture | Scheme)
    assert Scheme.parse(name).element_bits >= 2


@pytest.mark.parametrize(
    ("name", "largest", "smallest"),
    [
        # OFP8 v1.0, table 1; MX v1.0, tables 4 and 5
        ("fp8_e4m3", 448.0, 2.0**-9),
        ("fp8_e5m2", 57344.0, 2.0**-16),
        ("fp6_e2m3", 7.5, 0.125),
        ("fp6_e3m2", 28.0, 0.0625),
        ("fp4_e2m1", 6.0, 0.5),
        ("e8m0", 2.0**127, 2.0**-127),
        ("fp16", 65504.0, 2.0**-24),
        ("bf16", 3.3895313892515355e38, 2.0**-133),
        ("fp8_e4m3fnuz", 240.0, 2.0**-10),
        ("fp8_e5m2fnuz", 57344.0, 2.0**-17),
        ("mxint8", 127 / 64, 1 / 64),
    ],
)
def test_extremes_are_those_of_the_specifications(name, largest, smallest):
    fmt = single(name)
    assert (fmt.max, fmt.smallest_subnormal) == (largest, smallest)


def test_bitmod_types_put_the_special_value_into_minus_zero():
    assert single("bitmod_fp3_er_neg").values.tolist() == [0, 1, 2, 4, -3, -1, -2, -4]
    assert single("bitmod_fp4_ea_pos").values[8] == 8
    order = [
        f.grid.values[np.argmax(np.abs(f.grid.values))] for f in bl.format("bitmod_fp3").formats
    ]
    assert [f.name.removeprefix("bitmod_fp3_") for f in bl.format("bitmod_fp3").formats] == [
        "er_pos",
        "er_neg",
        "ea_pos",
        "ea_neg",
    ]
    assert order[2:] == [6, -6]


@pytest.mark.parametrize("name", SMALL)
def test_every_code_decodes_and_encodes_back(name):
    fmt = catalogue.element(name)
    codes = fmt.grid.codes
    np.testing.assert_array_equal(fmt.encode(fmt.decode(codes)), codes)
    assert set(fmt.nan_codes).isdisjoint(fmt.unused)
    spare = (~np.isfinite(fmt.values)).sum() - len(fmt.inf_codes)
    assert spare == len(fmt.nan_codes) + len(fmt.unused)


@pytest.mark.parametrize("rounding", ["even", "away", "zero", "down", "up", "truncate", "odd"])
@pytest.mark.parametrize("name", ["fp4_e2m1", "bitmod_fp3_er_pos", "int4", "nf4", "flint4"])
def test_rounding_is_that_of_exact_rationals(name, rounding):
    fmt = single(name)
    v = fmt.grid.values
    rng = np.random.default_rng(1)
    x = np.concatenate([v, (v[:-1] + v[1:]) / 2, rng.uniform(1.3 * v[0], 1.3 * v[-1], 40), [-0.0]])
    for value, code in zip(x, fmt.encode(x, rounding=rounding), strict=True):
        assert int(code) in exact_codes(fmt, Fraction(float(value)), rounding), value


def exact_codes(fmt, x, rounding):
    """Return the allowed codes (two for a zero) of a rational, by brute force."""
    table = [(Fraction(v), c) for c, v in enumerate(fmt.values) if np.isfinite(v)]
    if rounding in NEAREST:
        least = min(abs(v - x) for v, _ in table)
        near = sorted({v for v, _ in table if abs(v - x) == least})
    else:
        toward = [v for v, _ in table if (0 <= v <= x or x <= v <= 0)]
        beyond = [v for v, _ in table if (v >= x if x >= 0 else v <= x)]
        near = (
            [max(toward, key=abs)]
            if toward
            else [min((v for v, _ in table), key=lambda v: abs(v - x))]
        )
        if rounding == "odd" and beyond and x not in near:
            near = sorted({near[0], min(beyond, key=abs)})
    parity = {v: {c % 2 for w, c in table if w == v} for v in near}
    if len(near) == 2:
        low, high = near
        small = min(near, key=abs)
        picks = {"down": low, "up": high, "zero": small, "away": max(near, key=abs)}
        if rounding in ("even", "odd"):
            want = 0 if rounding == "even" else 1
            fitting = [v for v in near if parity[v] == {want}]
            near = fitting if len(fitting) == 1 else [small]
        else:
            near = [picks[rounding]]
    return [c for v, c in table if v == near[0]]


@pytest.mark.parametrize("rounding", NEAREST)
@settings(max_examples=60)
@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=9, unique=True
    ),
    narrow=st.booleans(),
)
def test_ties_of_any_float64_are_those_of_exact_rationals(rounding, values, narrow):
    """The middle of two float64 often is none; its neighbors decide which value is nearer."""
    v = np.array(values)
    if narrow:  # neighbors as close as float64 has them
        with np.errstate(over="ignore"):
            v = np.concatenate([v, np.nextafter(v, np.inf), v * 1.5])
        v = v[np.isfinite(v)]
    fmt = codebook("own", np.unique(v + 0.0))
    with np.errstate(over="ignore"):
        middles = fmt.grid.values[:-1] / 2 + fmt.grid.values[1:] / 2
        x = np.concatenate([middles, np.nextafter(middles, -np.inf), np.nextafter(middles, np.inf)])
    x = x[np.isfinite(x)]
    for value, code in zip(x, fmt.encode(x, rounding=rounding), strict=True):
        assert int(code) in exact_codes(fmt, Fraction(float(value)), rounding), value


def test_a_middle_that_float64_lacks_is_compared_exactly():
    low, high, x = -1.341219714076669, -0.5855288241233366, -0.9633742691000029
    assert Fraction(x) - Fraction(low) < Fraction(high) - Fraction(x)  # by 3e-16
    assert codebook("own", [low, high]).encode(x) == 0
    # the values of NF3 are float64 quantiles; four of its seven middles are none
    assert single("nf3").grid.exact.sum() == 3
    exact = [n for n in SMALL if not single(n).grid.exact.all()]
    assert exact == ["nf3", "lns4", "lns8"]  # the others' thresholds are roots of 2


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=9, unique=True),
    up=st.booleans(),
)
def test_float32_cuts_compare_as_the_exact_middle_does(values, up):
    v = np.unique(np.array(values) + 0.0)
    cuts = cuts_of(v, np.full(v.size - 1, up))
    for low, high, cut in zip(v[:-1], v[1:], cuts, strict=True):
        middle = (Fraction(low) + Fraction(high)) / 2
        near = np.float32(float(middle))
        for y in (near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, -near)):
            above = Fraction(float(y)) >= middle if up else Fraction(float(y)) > middle
            assert (y > cut) == above


def test_ties_go_where_the_mode_says():
    fmt = int_format(4)
    x = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    assert fmt.round(x).tolist() == [-2, -2, 0, 0, 2, 2]
    assert fmt.round(x, rounding="down").tolist() == [-3, -2, -1, 0, 1, 2]
    assert fmt.round(x, rounding="up").tolist() == [-2, -1, 0, 1, 2, 3]
    assert fmt.round(x, rounding="zero").tolist() == [-2, -1, 0, 0, 1, 2]
    assert fmt.round(x, rounding="away").tolist() == [-3, -2, -1, 1, 2, 3]
    assert fmt.round(x, rounding="truncate").tolist() == [-2, -1, 0, 0, 1, 2]
    assert fmt.round(x, rounding="odd").tolist() == [-3, -1, -1, 1, 1, 3]


@pytest.mark.parametrize("rounding", [*NEAREST, "truncate", "odd"])
def test_integer_rounding_is_rounding_on_a_wide_integer_grid(rounding):
    x = np.arange(-60, 61) / 8
    np.testing.assert_array_equal(round_integer(x, rounding), int_format(8).round(x, rounding))


def test_stochastic_rounding_is_seeded_and_unbiased():
    fmt, x = single("fp4_e2m1"), np.full(40_000, 2.25)
    first = fmt.round(x, rounding="stochastic", seed=7)
    np.testing.assert_array_equal(first, fmt.round(x, rounding="stochastic", seed=7))
    assert set(np.unique(first)) == {2.0, 3.0}
    assert abs(first.mean() - 2.25) < 0.01  # 4.6 standard errors
    with pytest.raises(ValueError, match="seed"):
        fmt.round(x, rounding="stochastic")


def test_overflow_rules():
    e4m3, e5m2, fp4 = single("fp8_e4m3"), single("fp8_e5m2"), single("fp4_e2m1")
    assert e4m3.round(464.0, overflow="nan") == 448  # a tie with 480, 448 is even
    assert np.isnan(e4m3.round(np.nextafter(464, 465), overflow="nan"))
    assert e5m2.round(61440.0, overflow="inf") == np.inf
    assert e5m2.round(-61440.0, overflow="inf") == -np.inf
    assert e5m2.round(np.nextafter(61440.0, 0), overflow="inf") == 57344
    assert e5m2.round(1e9) == 57344
    with pytest.raises(ValueError, match=r"index \(1,\).*beyond"):
        fp4.encode([1.0, 7.5], overflow="raise")
    with pytest.raises(ValueError, match="no infinity"):
        fp4.encode([9.0], overflow="inf")


@pytest.mark.parametrize("name", ["int4", "fp4_e2m1", "bitmod_fp4_er_pos", "nf4", "fp8_e4m3"])
@settings(max_examples=40)
@given(x=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_rounding_is_monotone_idempotent_and_nearest(name, x):
    fmt = single(name)
    x = np.sort(np.array(x))
    y = fmt.round(x)
    assert (np.diff(y) >= 0).all()
    np.testing.assert_array_equal(fmt.round(y), y)
    distance = np.abs(fmt.grid.values[None, :] - x[:, None]).min(axis=1)
    np.testing.assert_array_equal(np.abs(y - x), distance)


def test_symmetric_grids_keep_the_sign_of_zero():
    fmt = single("fp4_e2m1")
    assert fmt.encode([-0.0, -0.1, 0.1]).tolist() == [8, 8, 0]


def test_nonfinite_input_is_refused_by_its_first_index():
    with pytest.raises(ValueError, match=r"nan at index \(1, 0\)"):
        single("fp8_e5m2").encode([[1.0, 2.0], [np.nan, np.inf]])


def test_constructors_refuse_what_is_not_a_format():
    for make in (
        lambda: int_format(1),
        lambda: int_format(17),
        lambda: float_format(0, 3),
        lambda: float_format(8, 8),
        lambda: float_format(4, 3, specials="ocp"),
        lambda: codebook("x", []),
        lambda: codebook("x", [1, np.nan]),
        lambda: codebook("x", [1, np.inf]),
        lambda: codebook("x", ["a"]),
        lambda: codebook("x", ["1"]),
        lambda: codebook("x", None),
        lambda: codebook("x", [[1, 2]]),
        lambda: codebook("x", range(9), bits=3),
        lambda: codebook("x", [1], bits="3"),
        lambda: codebook("x", [1], bits=0),
        lambda: int_format("4"),
        lambda: int_format(True),
        lambda: float_format("a", 1),
        lambda: float_format(2, 1, bias=1.5),
        lambda: float_format(8, 4, bias=-400),
        lambda: Format(name="x", bits=1, values=["a", "b"]),
        lambda: with_special(single("fp3_e2m0"), "5"),
        lambda: with_special(codebook("x", [1, 2]), 3.0),
        lambda: with_special(single("fp3_e2m0"), np.inf),
        lambda: Mixture(name="m", formats=(int_format(3), int_format(4))),
        lambda: Mixture(name="m", formats=()),
        lambda: single("int4").decode([16]),
        lambda: single("int4").decode([0.5]),
        lambda: single("int4").decode(["a"]),
        lambda: single("int4").decode([[1], [1, 2]]),
        lambda: single("int4").encode(["a"]),
        lambda: single("int4").encode([[1], [1, 2]]),
        lambda: single("int4").encode([1j]),
        lambda: single("int4").encode([1], rounding=None),
        lambda: single("int4").encode([1], rounding="stochastic", seed=-1),
        lambda: bl.format(None),
        lambda: bl.format(["int4"]),
        lambda: single("bitmod_fp4"),
        lambda: bl.format("bitmod_pf4"),
        lambda: single("int4").encode([1], rounding="evne"),
    ):
        with pytest.raises(bl.BitlatheError):
            make()


def test_names_are_read_in_capitals_and_with_spaces():
    assert bl.format(" INT4_Asym ") is bl.format("int4_asym")
    assert bl.format("MXFP4") == bl.format("mxfp4")
    with pytest.raises(bl.BitlatheError, match="got NoneType None"):
        bl.format(None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
def test_torch_tensors_are_encoded(dtype):
    x = torch.tensor([0.3, -2.4, 100.0]).to(dtype)
    fmt = single("fp4_e2m1")
    np.testing.assert_array_equal(fmt.encode(x), fmt.encode(x.to(torch.float64).numpy()))


def test_unknown_names_come_with_the_nearest_known():
    with pytest.raises(ValueError, match="did you mean 'bitmod_fp4'"):
        bl.format("bitmod_pf4")


def test_formats_compare_by_value_and_can_be_keys():
    assert int_format(4) == int_format(4)
    assert len({int_format(4), int_format(4), int_format(4, full=True)}) == 2
    assert int_format(4).values.flags.writeable is False


@pytest.mark.parametrize("code", [-1, 16, "a", 1.0, [1, 2], None, True])
def test_terms_are_those_of_a_code_of_the_table(code):
    with pytest.raises(bl.BitlatheError, match=r"format 'int4'"):
        single("int4").terms(code)
    assert single("int4").terms(np.uint8(15)) == single("int4").terms(15)


def test_terms_of_a_code_sum_to_its_value():
    fmt = single("bitmod_fp3_ea_neg")
    for code, value in enumerate(fmt.values):
        assert sum((-1) ** s * 2**e * 2**b for s, e, b in fmt.terms(code)) == value


def test_float_parameters_are_read_off_the_grid():
    assert single("fp8_e4m3").grid.float_parameters == (4, 3, 7)
    assert single("fp8_e5m2").grid.float_parameters == (5, 2, 15)
    assert single("fp4_e2m1").grid.float_parameters == (2, 1, 1)
    assert single("fp6_e3m2").grid.float_parameters == (3, 2, 3)
    assert single("nf4").grid.float_parameters is None
    assert single("int4").grid.float_parameters is None
