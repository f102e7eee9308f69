"""Bit-serial terms: exact for every code, with the clocks that the published formats have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.format import Mixture
from bitlathe.datatypes.terms.schedule import schedule_of_grid, terms_of_integer
from bitlathe.datatypes.terms.statistics import term_statistics
from bitlathe.datatypes.terms.table import (
    integer_term_count,
    term_count,
    term_table,
    terms_of_format,
)
from bitlathe.datatypes.terms.term import Term, booth_digits
from naive import pe_naive


def held():
    """Every single format of the catalogue with at most eight bits, mixtures by their members."""
    found = {}
    for name in catalogue.names():
        element = catalogue.element(name)
        for fmt in element.formats if isinstance(element, Mixture) else (element,):
            if fmt.bits <= 8:
                found[fmt.name] = fmt
    return found


HELD = held()

# BitMoD (2411.11745), table of term counts: clocks per chunk.
PUBLISHED = {
    "int8": 4,
    "int7": 4,
    "int6": 3,
    "int5": 3,
    "int4": 2,
    "int3": 2,
    "fp4_e2m1": 2,
    "fp3_e2m0": 2,
    "bitmod_fp3_er_pos": 2,
    "bitmod_fp3_er_neg": 2,
    "bitmod_fp3_ea_pos": 2,
    "bitmod_fp3_ea_neg": 2,
    "bitmod_fp4_er_pos": 2,
    "bitmod_fp4_er_neg": 2,
    "bitmod_fp4_ea_pos": 2,
    "bitmod_fp4_ea_neg": 2,
}
INEXACT = {"nf3", "nf4", "e8m0", "hif8", "posit8", "takum8", "lns4", "lns8"}


def is_exact(name):
    """Ten bit positions hold a format; FP8 needs more, but for the one with three exponent bits."""
    return name not in INEXACT and (not name.startswith("fp8") or name == "fp8_e3m4_ieee")


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_formats_take_the_published_clocks(name):
    assert term_count(HELD[name]) == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted(HELD))
def test_every_code_is_the_sum_of_its_terms(name):
    fmt = HELD[name]
    table = term_table(fmt.values, fmt.bits)
    rows = terms_of_format(fmt)
    for code, value in enumerate(fmt.values):
        if not np.isfinite(value):
            assert rows[code] == ()
            continue
        total = sum((-1) ** t.sign * 2**t.exp * 2**t.bsig for t in rows[code])
        assert total == table.grid[code]
        assert all(0 <= t.exp <= 3 and 0 <= t.bsig <= 6 for t in rows[code])
        assert len(rows[code]) <= table.count
        if is_exact(name):
            assert total * table.unit == value
    assert table.exact == is_exact(name)


@pytest.mark.parametrize("bits", range(2, 9))
def test_booth_equals_the_triplet_table_on_all_integers(bits):
    count = (bits + 1) // 2
    table = term_table(np.arange(-(1 << (bits - 1)), 1 << (bits - 1)), bits)
    for value in range(-(1 << (bits - 1)), 1 << (bits - 1)):
        row = value + (1 << (bits - 1))
        expected = pe_naive.booth_terms(value, count)
        fields = zip(table.sign[row], table.exp[row], table.man[row], table.bsig, strict=True)
        assert [tuple(map(int, f)) for f in fields] == expected


@pytest.mark.parametrize("magnitude", sorted(pe_naive.TWO_BIT))
@pytest.mark.parametrize("sign", [1, -1])
def test_two_bit_rule_equals_the_table(magnitude, sign):
    expected = [Term(s, e, b) for s, e, m, b in pe_naive.two_bit_terms(sign * magnitude) if m]
    assert list(terms_of_integer(sign * magnitude, "two_bit")) == expected


@given(st.integers(-(2**20), 2**20))
def test_booth_digits_reconstruct(value):
    digits = booth_digits(value, 11)
    assert sum(d * 4**i for i, d in enumerate(digits)) == value
    assert set(digits) <= {-2, -1, 0, 1, 2}


@given(st.sets(st.integers(0, 96), min_size=1, max_size=9))
def test_no_shorter_schedule_reaches_an_arbitrary_grid(magnitudes):
    grid = {s * m for m in magnitudes | {0} for s in (-1, 1)}
    schedule = schedule_of_grid(grid)
    if schedule.rule != "minimal":
        return
    for value in grid:
        assert sum(t.value for t in terms_of_integer(value, schedule.bsig)) == value
    if schedule.count == 2:
        one = [{0, *(s << (e + b) for e in range(4) for s in (1, -1))} for b in range(7)]
        assert not any(grid <= reached for reached in one)


def test_fixed_point_of_nf4_is_within_half_a_unit():
    table = term_table(HELD["nf4"].values, 4)
    assert table.unit == 2.0**-7
    assert 0 < table.max_error <= table.unit / 2


def test_fp8_is_exact_on_a_pe_that_shifts_further():
    fmt = HELD["fp8_e4m3"]
    table = term_table(fmt.values, 8, max_bsig=16)
    assert table.exact
    for code in np.flatnonzero(table.valid):
        assert sum(t.value for t in table.terms(int(code))) * table.unit == fmt.values[code]


def test_statistics_count_terms_and_bits():
    table = term_table(np.arange(-8, 8), 4)
    codes = np.array([[8, 9], [11, 1]])  # 0, 1, 3 = 4 - 1, -7 = -8 + 1
    stats = term_statistics(table, codes)
    assert stats.weights == 4
    assert stats.histogram == (1, 1, 2)
    assert stats.terms_per_weight == 5 / 4
    assert stats.zero_terms == 1 - 5 / 8
    assert stats.bit_sparsity == 1 - (0 + 1 + 2 + 3) / 16  # 4-bit magnitudes, because of -8


def test_integer_ranges_after_a_zero_point():
    assert integer_term_count(-15, 15) == 3
    assert integer_term_count(-7, 7) == 2
    assert integer_term_count(0, 255) == 5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: term_table(np.arange(1024.0), 10), "at most 8 bits"),
        (lambda: term_table([]), "one or more codes"),
        (lambda: term_table([np.nan]), "finite value"),
        (lambda: term_table([1.0], fixed_bits=1), "fixed_bits"),
        (lambda: terms_of_integer(7, "two_bit"), "two-bit"),
        (lambda: terms_of_integer(9, "booth", 2), "-8..7"),
        (lambda: terms_of_integer(11, (0, 0)), "not a sum"),
        (lambda: terms_of_integer(7, "minimal"), "tuple of significances"),
        (lambda: term_table(np.arange(4.0)).terms(4), "codes are 0..3"),
        (lambda: term_statistics(term_table(np.arange(4.0)), [4]), "codes are 0..3"),
        (lambda: term_statistics(term_table(np.arange(4.0)), []), "empty"),
        (lambda: term_statistics(term_table(np.arange(4.0)), [0.5]), "integers"),
        (lambda: term_statistics(term_table([0.0, np.nan]), [1]), "NaN"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(BitlatheError, match=words):
        call()
