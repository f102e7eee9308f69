"""Grids: which are equal, and the facts that follow from the values of codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.constructors import MAX_POWER, codebook, float_format
from bitlathe.datatypes.formats.floats import SPECIALS, FloatLayout
from bitlathe.datatypes.formats.format import Format
from bitlathe.datatypes.formats.grid import Grid, quiet

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf]), st.just(np.nan), st.floats(-8, 8)
)


@st.composite
def facts(draw):
    """Return the arguments of a grid of 2 bits."""
    values = [1.0, *draw(st.lists(VALUES, min_size=3, max_size=3))]
    spare = [code for code, value in enumerate(values) if np.isnan(value)]
    unused = tuple(code for code in spare if draw(st.booleans()))
    top = draw(st.sampled_from([None, 16.0, 32.0]))
    return {"bits": 2, "by_code": np.array(values), "unused": unused, "overflow_value": top}


def key(given):
    return (given["bits"], given["by_code"].tobytes(), given["unused"], given["overflow_value"])


@given(one=facts(), other=facts())
def test_grids_are_equal_if_every_fact_is(one, other):
    same = key(one) == key(other)
    assert (Grid(**one) == Grid(**other)) is same
    assert len({Grid(**one), Grid(**other)}) == 2 - same
    assert Grid(**one) == Grid(**one)
    assert hash(Grid(**one)) == hash(Grid(**one))


@pytest.mark.parametrize(
    "change", [{"overflow_value": 17.0}, {"unused": (3,)}, {"name": "b"}, {"bits": 3}]
)
def test_formats_that_differ_in_one_fact_are_not_equal(change):
    plain = {"name": "a", "bits": 2, "values": [0.0, 1.0, 2.0, np.nan]}
    if "bits" in change:
        change = change | {"values": [0.0, 1.0, 2.0, np.nan] * 2}
    one, other = Format(**plain), Format(**(plain | change))
    assert one != other
    assert len({one, other}) == 2
    assert one == Format(**plain, source="elsewhere")


def test_a_format_that_is_not_the_catalogues_is_not_taken_for_it():
    known = single("fp8_e4m3")
    twin = Format(name=known.name, bits=8, values=known.values, overflow_value=1000.0)
    assert catalogue.entry_of(known) is not None
    assert catalogue.entry_of(twin) is None
    x = [470.0]
    assert np.isnan(known.round(x, overflow="nan"))
    assert twin.round(x, overflow="nan") == 448.0


def test_unused_codes_must_be_spare_ones():
    for unused in ((0,), (4,), (-1,), (0.5,)):
        with pytest.raises(BitlatheError, match="format 'a': unused codes"):
            Format(name="a", bits=2, values=[0.0, 1.0, 2.0, np.nan], unused=unused)


class Counted(int):
    """An integer that may be compared so many times, all of them together."""

    left = 0

    def __eq__(self, other):
        Counted.left -= 1
        assert Counted.left >= 0, "codes are searched one by one"
        return int(self) == other

    __hash__ = int.__hash__


def test_codes_of_nan_take_no_search_for_each_code():
    values = np.full(1 << 16, np.nan)
    values[:3] = 0.0, 1.0, 2.0
    unused = tuple(Counted(code) for code in range(10, 1 << 16))
    Counted.left = 4 * len(unused)
    fmt = Format(name="wide", bits=16, values=values, unused=unused)
    assert fmt.nan_codes == tuple(range(3, 10))
    assert np.isnan(fmt.round(np.nan, nan="propagate"))


def test_a_format_of_16_bits_has_its_facts_from_a_list_of_values():
    fmt = codebook("mine", [0.0, 1.0, -1.0], bits=16)
    assert (fmt.nan_codes, fmt.unused[0], len(fmt.unused)) == ((), 3, (1 << 16) - 3)


@given(st.lists(VALUES, min_size=8, max_size=8).filter(lambda v: np.isfinite(v).any()))
def test_facts_are_those_of_loops_over_the_codes(values):
    grid = Grid(bits=3, by_code=np.array(values))
    finite = sorted({v + 0.0 for v in values if np.isfinite(v)})
    assert grid.values.tolist() == finite
    assert (grid.min, grid.max, grid.signed) == (finite[0], finite[-1], finite[0] < 0)
    first = {}
    for code, value in enumerate(values):
        if value != 0 or not np.signbit(value):
            first.setdefault(value, code)
    for value, code in zip(grid.values, grid.codes, strict=True):
        minus = values.index(0.0) if value == 0 else None  # none but -0: its first code
        assert code == first.get(value, minus)
    assert grid.nan_codes == tuple(c for c, v in enumerate(values) if np.isnan(v))
    assert grid.inf_codes == tuple(c for c, v in enumerate(values) if np.isinf(v))


@pytest.mark.parametrize("name", ["fp4_e2m1", "nf4", "uint4", "int4", "fp8_e4m3", "pot4"])
@pytest.mark.parametrize("rounding", ["even", "away", "zero", "down", "up", "truncate"])
def test_overflow_is_rounding_on_a_grid_with_one_more_value(name, rounding):
    grid = single(name).grid
    step = grid.values[-1] - grid.values[-2]
    top = grid.max + step if grid.overflow_value is None else grid.overflow_value
    x = np.array([grid.max, (grid.max + top) / 2, np.nextafter((grid.max + top) / 2, np.inf)])
    leaves = {"away": True, "up": True, "even": bool(grid.codes[-1] % 2)}.get(rounding, False)
    wanted = [False, leaves, rounding != "truncate"]
    assert grid.overflows(x, rounding).tolist() == wanted


@st.composite
def layouts(draw):
    e, m = draw(st.integers(1, 8)), draw(st.integers(0, 6))
    bias = draw(st.integers(max(-50, (1 << e) - MAX_POWER), 50))
    specials, signed = draw(st.sampled_from(SPECIALS)), draw(st.booleans())
    if (e, specials) == (1, "ieee") or (e, m, specials) == (1, 0, "fn"):
        specials = "none"  # no binade would be left
    signed |= specials == "fnuz"
    return FloatLayout(
        exponent_bits=e, mantissa_bits=m, bias=bias, specials=specials, signed=signed
    )


@given(layouts())
def test_facts_of_floats_are_those_of_their_values(layout):
    values = layout.values()
    fmt = float_format(
        layout.exponent_bits, layout.mantissa_bits, layout.bias, layout.specials, layout.signed
    )
    assert values.tobytes() == fmt.values.tobytes()
    assert (layout.max, layout.bits) == (np.nanmax(values[np.isfinite(values)]), fmt.bits)
    assert values[layout.top] == layout.max < layout.limit < layout.overflow_value
    if layout.quiet_nan is not None and layout.mantissa_bits and layout.specials != "fnuz":
        nans = [c for c in fmt.nan_codes if c <= layout.top + (1 << layout.mantissa_bits)]
        assert layout.quiet_nan == quiet(nans)
    if layout.signed and layout.mantissa_bits and layout.specials == "none":
        whole = (layout.exponent_bits, layout.mantissa_bits, layout.bias)
        assert fmt.grid.float_parameters == whole


def test_a_nan_in_the_place_of_minus_zero_needs_a_sign():
    with pytest.raises(BitlatheError, match="fnuz makes a NaN of -0"):
        float_format(4, 3, specials="fnuz", signed=False)


def test_patterns_of_quiet_nans_are_those_of_the_standards():
    def layout(e, m, specials="ieee"):
        return FloatLayout(
            exponent_bits=e, mantissa_bits=m, bias=(1 << (e - 1)) - 1, specials=specials
        )

    assert layout(8, 23).quiet_nan == 0x7FC00000
    assert layout(5, 10).quiet_nan == 0x7E00
    assert layout(8, 7).quiet_nan == 0x7FC0
    assert layout(4, 3, "fn").quiet_nan == 0x7F
    assert layout(8, 23).max == np.finfo(np.float32).max
    assert layout(5, 10).limit == 65520.0


def test_books_of_two_roundings_are_two():
    grid = single("int4").grid
    assert grid.book("even") is grid.book("even")
    assert grid.book("even").cuts != grid.book("up").cuts
