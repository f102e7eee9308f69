"""OCP MX formats bit for bit: scales, codes and values against exact fractions and gfloat."""

from functools import cache

import gfloat
import gfloat.formats as gf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.datatypes import quantize as module
from bitlathe.datatypes.coding.coders import encode_fast
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from oracles import microscaling as ocp

# blocks at both ends of the range are meant here
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*underflows in e8m0", "ignore:.*comes back as infinity"
)
RULES = {"floor": "", "ceil": "/e8m0_ceil", "even": "/e8m0_even", "rceil": "/e8m0_rceil"}
ROUNDINGS = ("even", "away", "zero", "down", "up", "truncate", "odd")
GFLOAT = {
    "mxfp4": gf.format_info_ocp_e2m1,
    "mxfp6_e2m3": gf.format_info_ocp_e2m3,
    "mxfp6_e3m2": gf.format_info_ocp_e3m2,
    "mxfp8_e4m3": gf.format_info_ocp_e4m3,
    "mxfp8_e5m2": gf.format_info_ocp_e5m2,
    "mxint8": gf.format_info_ocp_int8,
}


def beside(x):
    """Values and the float32 just below and above them."""
    x = np.asarray(x, np.float32)
    with np.errstate(over="ignore"):
        near = [x, np.nextafter(x, np.float32(-np.inf)), np.nextafter(x, np.float32(np.inf))]
    found = np.concatenate(near)
    return found[np.isfinite(found)]


def hard_blocks(element):
    """Blocks of 32 at every edge of the rules, positive and negative."""
    rng = np.random.default_rng(11)
    top, m = float(element.largest), element.mantissa_bits
    grid = np.arange(0, 2 ** (m + 3)) * 2.0 ** -(m + 2)  # values, midpoints, quarters
    edges = beside([1, 1.5, 2 - 2.0 ** -(m + 1), 2, top, top * (1 + 2.0 ** -(m + 2)), 1.75])
    makers = [np.zeros(32), np.full(32, -0.0), rng.choice([-1, 1], 32) * 2.0**-149]
    makers += [np.r_[e, rng.choice(grid, 31)] for e in edges]
    # ties and their neighbors under a scale that a first element of 2**emax sets to 1
    chosen = rng.permutation(grid[: 2 ** (m + 2)])[:30]
    ties = beside(chosen)
    small = beside(chosen * 2.0 ** (1 - element.bias if element.exponent_bits else 0))
    for pool in (ties, small):
        for start in range(0, pool.size, 31):
            makers.append(np.resize(np.r_[2.0**element.emax, pool[start : start + 31]], 32))
    makers += [rng.standard_normal(32) * 2.0 ** rng.integers(-20, 3, 32) for _ in range(6)]
    blocks = np.array(makers, np.float64)
    signs = rng.choice([-1.0, 1.0], blocks.shape)
    scaled = []
    for power in (0, -127, -140, 121):
        with np.errstate(over="ignore", under="ignore"):
            x = (blocks * signs * 2.0**power).astype(np.float32)
        scaled.append(x[np.isfinite(x).all(axis=1)])
    largest = float(np.finfo(np.float32).max)
    huge = np.clip(rng.standard_normal((4, 32)) * 2.0**127, -largest, largest)
    huge[0, 3] = largest
    return np.concatenate([*scaled, huge.astype(np.float32)])


@cache
def by_the_text(bits, name, rule, rounding):
    rows = np.frombuffer(bits, np.float32).reshape(-1, 32)
    blocks = (ocp.block(row, ocp.ELEMENTS[name], rule, rounding) for row in rows)
    return tuple(zip(*blocks, strict=True))


def agree(q, x, name, rule, rounding):
    scales, codes, values = by_the_text(x.tobytes(), name, rule, rounding)
    np.testing.assert_array_equal(q.raw[:, 0], scales)
    finite = np.isfinite(x).all(axis=1)
    np.testing.assert_array_equal(q.codes[finite], np.array(codes)[finite])
    back = q.dequantize()
    with np.errstate(over="ignore"):
        wanted = np.array(values).astype(np.float32)
    np.testing.assert_array_equal(back, wanted)
    np.testing.assert_array_equal(np.signbit(back[finite]), np.signbit(wanted[finite]))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ocp.ELEMENTS)
def test_every_scale_rule_equals_the_text(name, rule, compiled, monkeypatch):
    x = hard_blocks(ocp.ELEMENTS[name])
    used = []

    def chosen(job):
        used.append(encode_fast(job, min_size=1) if compiled else None)
        return used[-1]

    monkeypatch.setattr(module, "encode_fast", chosen)
    q = quantize(x, name + RULES[rule])
    assert (used[0] is not None) == compiled
    agree(q, x, name, rule, "even")


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", ocp.ELEMENTS)
def test_every_rounding_equals_the_text(name, rounding, monkeypatch):
    x = hard_blocks(ocp.ELEMENTS[name])[::2]
    agree(quantize(x, name, rounding=rounding), x, name, "floor", rounding)
    monkeypatch.setattr(module, "encode_fast", lambda job: encode_fast(job, min_size=1))
    agree(quantize(x, name, rounding=rounding), x, name, "floor", rounding)


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=32, max_size=32),
    st.integers(1, 254),
    st.integers(0, 20),
    st.sampled_from(list(ocp.ELEMENTS)),
    st.sampled_from(list(RULES)),
)
@settings(max_examples=80, deadline=None)
def test_random_bits_equal_the_text(bits, exponent, spread, name, rule):
    raw = np.array(bits, np.uint32)
    # exponents within `spread` of one another, so that elements are seen and not only zeros
    field = np.clip(exponent - (raw >> 23) % (spread + 1), 0, 254).astype(np.uint32)
    x = ((raw & np.uint32(0x807FFFFF)) | (field << np.uint32(23))).view(np.float32)[None]
    agree(quantize(x, name + RULES[rule]), x, name, rule, "even")


def test_what_is_not_finite_makes_its_block_nan():
    for name in ocp.ELEMENTS:
        for bad in (np.nan, np.inf, -np.inf):
            x = np.ones((3, 32), np.float32)
            x[1, 5] = bad
            agree(quantize(x, name, nan="propagate"), x, name, "floor", "even")


@pytest.mark.parametrize("mode", ["even", "away", "truncate"])
@pytest.mark.parametrize("name", GFLOAT)
def test_blocks_equal_gfloat(name, mode):
    rounding = {
        "even": gfloat.RoundMode.TiesToEven,
        "away": gfloat.RoundMode.TiesToAway,
        "truncate": gfloat.RoundMode.TowardZero,
    }[mode]
    info = gfloat.BlockFormatInfo(name, GFLOAT[name], 32, gf.format_info_ocp_e8m0)
    x = hard_blocks(ocp.ELEMENTS[name])[::3]
    # its floating-point log2 and its -128/64 are the two differences; see docs/datatypes.md
    amax = np.abs(x).max(axis=1).astype(np.float64)
    exact = np.frexp(amax)[1] - 1 == np.floor(np.log2(np.where(amax > 0, amax, 1)))
    inside = (amax * 64 < 127.5 * 2.0 ** (np.frexp(amax)[1] - 1)) | (name != "mxint8")
    q = quantize(x, name, rounding=mode)
    for row in np.flatnonzero(exact & inside):
        wide = x[row].astype(np.float64)
        found = gfloat.quantize_block(info, wide, gfloat.compute_scale_amax, rounding)
        np.testing.assert_array_equal(q[row : row + 1].dequantize()[0], found.astype(np.float32))


def test_bits_of_a_block():
    # OCP MX v1.0, section 5.1: a block of 32 takes 32 elements and 8 bits of scale
    for name, bits in zip(ocp.ELEMENTS, (4, 6, 6, 8, 8, 8), strict=True):
        assert Scheme.parse(name).total_bits(32) == 32 * bits + 8
