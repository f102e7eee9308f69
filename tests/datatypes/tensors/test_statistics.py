"""Statistics of the bit-serial terms of a tensor."""

import pytest

import bitlathe as bl
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors import statistics as tensor_terms
from quantized_cases import weights


def test_terms_of_a_tensor_are_those_of_its_codes():
    x = weights((4, 64))
    q = quantize(x, "bitmod_fp3@g16")
    members = bl.format("bitmod_fp3").formats
    count = sum(
        len(members[m].terms(int(c)))
        for m, row in zip(q.choices.reshape(-1), q.codes.reshape(-1, 16), strict=True)
        for c in row
    )
    assert q.terms().terms_per_weight * x.size == pytest.approx(count)
    assert Scheme.parse("bitmod_fp4@g128").terms_per_weight == 2
    assert [Scheme.parse(f"int{b}").terms_per_weight for b in (8, 6, 4)] == [4, 3, 2]
    assert Scheme.parse("int4_asym").terms_per_weight == 3
    assert quantize(x, "int4_asym@g16").terms().clocks_per_weight == 3


@pytest.mark.parametrize("text", ["int2_asym@g128", "int4_asym@g128", "olive4"])
def test_shares_of_integers_are_divided_once(text):
    for rows in range(1, 24):  # a mean over one kind of integers moves the last digit of some
        found = quantize(weights((rows, 97)), text).terms()
        terms = sum(count * of for count, of in enumerate(found.histogram))
        places = rows * 97 * found.clocks_per_weight
        assert found.zero_terms == 1.0 - terms / places


def test_terms_on_a_fixed_point_say_so():
    x = weights((4, 64))
    assert (quantize(x, "int4").terms().exact, quantize(x, "int4").terms().max_error) == (True, 0)
    for text, error in (("fp8_e4m3", 2.0), ("nf4", 0.0038876980543136597)):
        found = quantize(x, text).terms()
        assert (found.exact, found.max_error) == (False, error)
        assert Scheme.parse(text).term_error == error
    assert Scheme.parse("int4_asym").term_error == 0


@pytest.mark.parametrize(
    "text",
    ["int4@g32", "bitmod_fp3@g20", "int4_asym@g7", "olive4@g9", "olive3", "nf4@b2x16", "mxfp4"],
)
def test_statistics_of_terms_are_the_same_in_parts(text, monkeypatch):
    q = quantize(weights((24, 70)), text)
    whole = q.terms()
    for part in (1, 100, 1000):
        monkeypatch.setattr(tensor_terms, "PART", part)
        assert q.terms() == whole
    assert whole.weights == q.size
    assert sum(whole.histogram) == q.size
