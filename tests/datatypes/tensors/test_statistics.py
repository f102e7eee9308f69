"""Statistics of the bit-serial terms of a tensor."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors import statistics as tensor_terms
from bitlathe.datatypes.terms.table import term_table
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


@pytest.mark.parametrize(("text", "step"), [("mxfp4_plus", 0.5), ("mxfp6_plus", 0.125)])
def test_terms_of_finer_elements_are_the_fewest_powers_of_two(text, step):
    """Sums of the powers of two that the schedule's clocks reach, all of them tried."""
    q = quantize(weights((6, 70)), text)
    found, least = q.terms(), {0: 0}
    assert (found.exact, found.clocks_per_weight) == (True, q.scheme.terms_per_weight)
    bsig = term_table(q.scheme.coder_facts.elements(q.scheme.formats[0])).bsig
    for clock in bsig.tolist():
        powers = [sign << (exp + clock) for exp in range(4) for sign in (1, -1)]
        sums = [(a + b, n + 1) for a, n in least.items() for b in powers]
        for total, n in sums:
            least[total] = min(n, least.get(total, n))
    scales = np.repeat(q.scales, 32, axis=1)[:, :70].astype(float)
    whole = (np.abs(q.dequantize()) / scales / step).astype(int)
    assert (whole * scales * step == np.abs(q.dequantize())).all()
    counts = np.bincount([least[w] for w in whole.reshape(-1).tolist()], minlength=1)
    assert found.histogram[: counts.size] == tuple(counts.tolist())
    assert not any(found.histogram[counts.size :])


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
