"""Scheme strings: what they mean, that they round-trip, that errors point at the place."""

import re

import ml_dtypes
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.constructors import int_format
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.datatypes.schemes.granularity import Granularity
from bitlathe.datatypes.schemes.scales import SCALES
from bitlathe.datatypes.schemes.scheme import Scheme

AS_WRITTEN = [
    "int4_asym@g128", "bitmod_fp3@g128/int8", "mxfp4", "nvfp4", "fp8_e4m3@channel", "fp16",
    "int4@g128+mse", "bitmod_fp4@g128+paper", "int4@b16x128/bf16+p99.9", "olive4", "dgq4",
    "olive3+mse", "bcq3", "bcq3/pot1",
    "mxfp4@g16", "mxfp4/e8m0_even", "int8@tensor/fp32", "int4@input",
]  # fmt: skip


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_canonical_strings_come_back_as_written(text):
    assert str(Scheme.parse(text)) == text


@given(
    name=st.sampled_from(catalogue.names()),
    shape=st.sampled_from(["", "@tensor", "@channel", "@input", "@g7", "@b2x9"]),
    scale=st.sampled_from(["", *(f"/{s}" for s in SCALES)]),
    options=st.sampled_from(["", "+mse", "+paper", "+p99.5", "+sigma3", "+paper+mse"]),
)
def test_every_scheme_that_parses_round_trips(name, shape, scale, options):
    try:
        made = Scheme.parse(name + shape + scale + options)
    except BitlatheError as problem:
        if "^" not in str(problem):
            raise
        return
    assert Scheme.parse(str(made)) == made
    assert str(Scheme.parse(str(made))) == str(made)
    assert made.total_bits(64, 4) >= 256 * made.code_bits


def test_spaces_around_and_capitals_do_not_matter():
    assert Scheme.parse(" INT4@G128 ") == Scheme.parse("int4@g128")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("bitmod_pf4", 0, "did you mean 'bitmod_fp4'"),
        ("int4@q128", 5, "did you mean 'g128'"),
        ("int4@g0", 5, "whole numbers 1..9999999999"),
        ("int4@b3", 5, "unknown granularity"),
        ("int4@g128/fp61", 10, "did you mean 'fp16'"),
        ("int4@g128+msee", 10, "did you mean 'mse'"),
        ("int4@g128+p101", 10, "above 0, at most 100"),
        ("int4@g128+sigma1000", 10, "above 0, below 1000"),
        ("int4@g99999999999999999999", 5, "whole numbers 1..9999999999"),
        ("int4@b4x0", 5, "whole numbers 1..9999999999"),
        ("olive3@channel/mxbm", 15, "a scale of their searched range"),
        ("mxfp6_e3m2@input/int7", 17, "fp6_e3m2@input/int7"),
        ("nvfp4/fp16", 6, "whole scheme with scales such as e4m3"),
        ("bitmod_fp4/mxbm+paper", 11, "single formats"),
        ("int4@g128+mse+mae", 14, "follows another"),
        ("int4@", 4, "nothing after '@'"),
        ("int4/fp16@g128", 9, "out of place"),
        ("int4@g1@g2", 7, "out of place"),
        ("int4 @g128", 4, "unexpected ' '"),
        ("@g128", 0, "starts with the name"),
        ("", 0, "empty"),
        ("int4@g128/pot3", 10, "bcq formats only"),
        ("bcq3/e8m0", 5, "sum of signed scales"),
        ("int4_asym@g128/e8m0", 15, "zero point"),
        ("dgq4/fp16", 5, "int2 to int8"),
        ("olive4@tensor", 7, "along a row"),
        ("bcq3+mse", 5, "searches its own range"),
        ("olive3+p99", 7, "searches its own range"),
        ("mxfp4+paper", 6, "authors' quantizer"),
        ("int4@g128+paper+mse", 10, "does not clip"),
        ("fp16+mse", 5, "no range to search"),
    ],
)
def test_the_caret_stands_under_the_wrong_character(text, column, message):
    with pytest.raises(BitlatheError) as caught:
        Scheme.parse(text)
    lines = str(caught.value).split("\n")
    assert message in lines[0]
    assert lines[1:] == [f"  {text}", f"  {' ' * column}^"]


def test_schemes_of_ones_own_formats():
    made = Scheme.of(int_format(4, full=True, name="int4full"), "g64", "bf16")
    assert str(made) == "int4full@g64/bf16"
    assert made.bits_per_element(128) == 4 + 0.25
    for wrong in (("h64", "fp16"), (64, "fp16"), ("g64", "fp17")):
        with pytest.raises(BitlatheError, match="unknown"):
            Scheme.of(int_format(4), *wrong)
    with pytest.raises(BitlatheError, match="sizes must be >= 0"):
        made.bits_per_element(-1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scale": "fp17"}, "unknown scale"),
        ({"coder": "tabel"}, "did you mean 'table'"),
        ({"coder": "bcq"}, "unsigned integers"),
        ({"element": catalogue.element("fp4_e2m1"), "coder": "olive"}, "for integers"),
        ({"element": catalogue.element("ant4"), "coder": "asym"}, "for integers"),
        ({"clip": "p101"}, "unknown clip"),
        ({"paper": 1}, "paper is 1"),
    ],
)
def test_a_scheme_made_by_hand_is_checked_too(change, says):
    facts = {
        "name": "int4",
        "element": catalogue.element("int4"),
        "granularity": Granularity(rows=1, columns=0),
        "scale": "fp16",
    }
    assert Scheme(**facts) == Scheme.parse("int4")
    with pytest.raises(BitlatheError, match=says):
        Scheme(**(facts | change))
    with pytest.raises(BitlatheError, match="columns is -1"):
        Granularity(rows=1, columns=-1)


def test_schemes_are_values():
    assert hash(Scheme.parse("mxfp4")) == hash(Scheme.parse("mxfp4@g32/e8m0"))
    assert Scheme.parse("mxfp4") == Scheme.parse("mxfp4@g32/e8m0")
    assert Scheme.parse("int4") != Scheme.parse("int4@g128")


def test_names_of_other_libraries_find_the_format():
    for theirs, ours in catalogue.ALIASES.items():
        assert theirs not in catalogue.ENTRIES
        assert bl.format(theirs) is bl.format(ours)
        scale = "" if ours == "fp32" else "@g32/e8m0"
        assert str(Scheme.parse(f"{theirs.upper()}{scale}")) == f"{ours}{scale}"
        for library in (ml_dtypes, torch):
            if (kind := getattr(library, theirs, None)) is not None and "x2" not in theirs:
                finfo = ml_dtypes.finfo if library is ml_dtypes else torch.finfo
                assert bl.format(ours).max == float(finfo(kind).max), theirs
    assert METHODS.keys() - {"rtn"} == set(catalogue._METHODS) <= catalogue.UNCLEAR.keys()
    for unclear, hint in catalogue.UNCLEAR.items():
        assert unclear not in catalogue.ENTRIES
        for ask in (bl.format, Scheme.parse):
            with pytest.raises(bl.BitlatheError, match=f"unknown format '{unclear}'") as problem:
                ask(unclear)
            assert hint in str(problem.value)
        for written in re.findall(r"written ([^\s,;]+)", hint):
            assert str(Scheme.parse(written)) == written
