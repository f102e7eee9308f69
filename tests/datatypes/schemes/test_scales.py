"""Scales as they are stored: how near, how far, what says NaN, what a scale of 0 becomes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.coding import coders as coding
from bitlathe.datatypes.formats.catalogue import ENTRIES, single
from bitlathe.datatypes.schemes.coders import CODERS
from bitlathe.datatypes.schemes.granularity import Granularity
from bitlathe.datatypes.schemes.layout import Layout
from bitlathe.datatypes.schemes.scales import PLANE_MAX, SCALES, FloatScale, PlaneScale

GRID = single("fp4_e2m1").grid
LAYOUT = Layout.of((2, 12), -1, Granularity(rows=1, columns=4))  # 2 rows of 3 groups
REAL = st.lists(st.floats(2.0**-8, 2.0**8, width=32) | st.just(0.0), min_size=6, max_size=6).map(
    lambda v: np.array(v, np.float32)
)
PLAIN = [s for s in SCALES.values() if not isinstance(s, PlaneScale)]
SIGNED = [s for s in SCALES.values() if isinstance(s, FloatScale | PlaneScale)]
# largest ratio of a scale as stored to the real one, either way
RATIO = {
    **dict.fromkeys(("fp32", "fp16"), 1 + 2.0**-10),
    "bf16": 1 + 2.0**-7,
    **dict.fromkeys(("pot", "m2"), np.sqrt(2) * (1 + 2.0**-10)),
    "e4m3": 1 + 2.0**-3,
}


def by_name(scale):
    return scale.name


def there_and_back(scale, real):
    amax = real * np.float32(GRID.max_abs)
    raw, outer = scale.store(real, amax, GRID, LAYOUT)
    assert raw.dtype == outer.dtype == np.uint32
    assert raw.max() < 1 << max(scale.bits, 1)
    assert outer.size == {"none": 0, "row": LAYOUT.down, "tensor": 1}[scale.outer]
    return scale.read(raw, outer, GRID, LAYOUT)


@pytest.mark.parametrize("name", RATIO)
@given(real=REAL)
def test_a_scale_is_stored_near_the_one_wanted(name, real):
    # within the reach of 16 steps of m2 and of the normal numbers of E4M3 under the largest
    real = np.where(real > 0, np.maximum(real, real.max() / 2.0**13), 0).astype(np.float32)
    found, wanted = there_and_back(SCALES[name], real), real > 0
    ratio = found[wanted] / real[wanted]
    assert ((ratio <= RATIO[name]) & (ratio >= 1 / RATIO[name])).all()


@pytest.mark.parametrize("bits", range(2, 9))
@given(real=REAL)
def test_integer_scales_are_within_half_a_unit_of_their_row(bits, real):
    found = there_and_back(SCALES[f"int{bits}"], real).reshape(2, 3)
    rows = real.reshape(2, 3)
    unit = rows.max(axis=1, keepdims=True) / ((1 << bits) - 1)
    # a scale above 0 is at least one unit; the unit itself is rounded to float16
    least = np.where((rows > 0) & (rows < unit / 2), unit, rows)
    assert (np.abs(found - least) <= unit / 2 + rows.max() * 2.0**-10).all()


@pytest.mark.parametrize("rule", ["floor", "ceil", "rceil"])
@given(real=REAL)
def test_powers_of_the_ocp_rules_are_those_of_their_definition(rule, real):
    name = "e8m0" if rule == "floor" else f"e8m0_{rule}"
    found = there_and_back(SCALES[name], real)
    amax = real.astype(np.float64) * GRID.max_abs
    for scale, top in zip(found, amax, strict=True):
        if top == 0:
            assert scale == np.float32(2.0**-127)
            continue
        below = 2.0 ** np.floor(np.log2(top)) / 4  # E2M1 reaches 4 in its top binade
        if rule == "floor":
            wanted = below
        elif rule == "ceil":
            wanted = 2 * below if top / 4 > below else below
        else:
            wanted = min(p for p in (below / 2, below, 2 * below) if top <= p * GRID.max_abs)
        assert scale == wanted


@pytest.mark.parametrize("scale", PLAIN, ids=by_name)
@given(real=REAL)
def test_groups_of_zeros_have_finite_scales_and_others_none_of_zero(scale, real):
    found = there_and_back(scale, real)
    assert np.isfinite(found).all()
    if scale.outer == "none":
        assert (found[real > 0] > 0).all()


@pytest.mark.parametrize("scale", PLAIN, ids=by_name)
def test_what_says_nan_is_read_as_nan(scale):
    if scale.nan_pattern is None:
        assert scale.kind in ("none", "int", "step")
        return
    outer = np.ones(1, np.float32).view(np.uint32)
    raw = np.full(6, scale.nan_pattern, np.uint32)
    assert np.isnan(scale.read(raw, outer, GRID, LAYOUT)).all()


@pytest.mark.parametrize("scale", [s for s in PLAIN if s.bits], ids=by_name)
def test_a_scale_beyond_the_limit_is_refused_by_its_group(scale):
    real = np.ones(6)
    real[4] = 2.0**200
    with pytest.raises(BitlatheError, match=r"^the scale of group 4, 1\.60694e\+60, does not fit"):
        scale.store(real, real * GRID.max_abs, GRID, LAYOUT)
    assert scale.fits(real, real * GRID.max_abs, GRID).tolist() == [True] * 4 + [False, True]


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp32"])
def test_floats_fit_up_to_where_they_round_to_infinity(name):
    scale = SCALES[name]
    limit = scale.layout.limit
    real = np.array([np.nextafter(limit, 0), limit])
    assert scale.fits(real, np.ones(2), GRID).tolist() == [True, False]
    assert scale.fits_signed(-real).tolist() == [True, False]


@pytest.mark.parametrize("scale", SIGNED, ids=by_name)
@given(alpha=st.lists(st.floats(-(2.0**15), 2.0**15), min_size=1))
def test_signed_scales_lose_no_more_than_their_summands_leave(scale, alpha):
    wanted = np.array(alpha)[:, None]
    assert scale.fits_signed(wanted).all()
    found = scale.read_signed(scale.store_signed(wanted))
    if isinstance(scale, PlaneScale):
        left, least = (np.sqrt(2) - 1) ** scale.summands, 2.0**-95
    else:
        left, least = 2.0 ** -(scale.layout.mantissa_bits + 1), 2.0**-24
    assert (np.abs(found - wanted) <= left * np.abs(wanted) + least).all()
    assert (found * wanted >= 0).all()


def test_sums_of_powers_end_at_the_largest_of_them():
    top = 2.0**PLANE_MAX
    assert SCALES["pot1"].fits_signed(np.array([top, -top, 2 * top])).tolist() == [
        True,
        True,
        False,
    ]


def test_every_coder_has_facts_and_behavior():
    assert set(CODERS) == set(coding.CODERS) >= {e.coder for e in ENTRIES.values()}
    kinds = {"levels", *(s.kind for s in SCALES.values())}
    assert all(set(c.scales) <= kinds for c in CODERS.values())
    assert all(set(c.paper) <= set(SCALES) for c in CODERS.values())
    papers = {name for name, facts in CODERS.items() if facts.paper}
    assert papers == set(coding.RELEASED)
