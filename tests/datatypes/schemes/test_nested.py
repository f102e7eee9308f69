"""Schemes with formats of the user's own at any level: in Python and as files."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes import Mixture, Scheme, codebook, float_format
from bitlathe.datatypes.schemes.granularity import Granularity
from bitlathe.datatypes.schemes.levels import Level

X = (np.random.default_rng(0).normal(size=(8, 64)) * 0.02).astype(np.float32)
RATIOS = codebook("ratios", [1, 1.25, 1.5, 1.75])
FILE = """\
name: mine
element: {values: [0, 1, 2, 3, -0.0, -1, -2, -3]}
scales:
  - {group: g8, format: {values: [1, 1.25, 1.5, 1.75]}, search: true}
  - {group: g32, format: e8m0, rule: ceil}
zero: [{group: g8, format: int6}]
"""


def test_formats_of_the_users_own_stand_at_any_level(tmp_path):
    searched = Level.of(Granularity(rows=1, columns=8), RATIOS, search=True)
    mine = Scheme.nested("fp4_e2m1", [searched, ("g32", "e8m0_search")])
    named = Scheme.parse("fp4_e2m1@g8/e0m2_search@g32/e8m0_search")
    assert mine != named
    q = bl.quantize(X, mine)
    np.testing.assert_array_equal(q.dequantize(), bl.quantize(X, named).dequantize())
    assert mine.bits_per_element(64) == named.bits_per_element(64)
    q.save(tmp_path / "q.safetensors")
    back = bl.QuantizedTensor.load(tmp_path / "q.safetensors")
    assert back.scheme == mine
    np.testing.assert_array_equal(back.dequantize(), q.dequantize())


def test_what_names_say_is_the_same_in_pairs():
    for text, made in (
        (
            "fp4_e2m1@g16/ue4m3fn_ceil@tensor/fp32",
            Scheme.nested("fp4_e2m1", [("g16", "ue4m3fn_ceil"), ("tensor", "fp32")]),
        ),
        (
            "uint4@g32/uint6@channel/fp16-uint6@channel/fp16",
            Scheme.nested(
                "uint4",
                [("g32", "uint6"), ("channel", "fp16")],
                minimum=[("g32", "uint6"), ("channel", "fp16")],
            ),
        ),
        ("if4@g8/ue5m3~fp16", Scheme.nested("if4", [("g8", "ue5m3")], zero=[("g8", "fp16")])),
    ):
        assert Scheme.parse(text) == made
        assert str(made) == text


def test_a_scheme_as_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    scheme = Scheme.parse(path.as_posix())
    assert scheme == bl.format(path.as_posix())
    assert str(scheme) == path.as_posix()
    assert Scheme.parse(str(scheme)) == scheme
    assert float(scheme.bits_per_element(64)) == 3 + 2 / 8 + 8 / 32 + 6 / 8
    q = bl.quantize(X, path.as_posix())
    assert q.scales.shape == (8, 8)
    q.save(tmp_path / "q.safetensors")
    assert bl.QuantizedTensor.load(tmp_path / "q.safetensors").scheme == scheme
    (tmp_path / "values.yaml").write_text("values: [0, 1, 2, 4, -0.0, -1, -2, -4]\n")
    path.write_text("element: values.yaml\nscales: [{group: g8, format: ue4m3fn}]\n")
    assert Scheme.parse(path.as_posix()).element.name == "values"
    # a file of a format goes on as a name does
    text = f"{(tmp_path / 'values.yaml').as_posix()}@g8/ue4m3fn@tensor/fp32"
    assert str(Scheme.parse(text)) == text


WRONG = {
    "group: g32": (
        "group: g12",
        "mine.yaml:3:1: levels do not nest: scale e8m0_ceil is shared",
    ),
    "group: g8, format: {v": ("group: q8, format: {v", "mine.yaml:4:6: unknown granularity 'q8'"),
    "e8m0": ("e9m0", "mine.yaml:5:18: unknown format 'e9m0'; did you mean 'e8m0'"),
    "search: true": ("serch: true", "unknown key 'scales.0.serch'; did you mean 'search'?"),
    "int6": ("e8m0", "mine.yaml:6:1: zero e8m0: a zero needs a format with 0"),
    "rule: ceil": ("rule: sealing", "unknown rule 'sealing'"),
    "element: {values": ("element: {valeus", "unknown key 'valeus'; did you mean 'values'?"),
    "zero:": ("minimum: [{group: g8, format: fp16}]\nzero:", "a minimum or a zero point, not both"),
}


@pytest.mark.parametrize("old", WRONG)
def test_errors_name_the_line(old, tmp_path):
    new, sentence = WRONG[old]
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(bl.BitlatheError) as problem:
        Scheme.parse(path.as_posix())
    assert sentence in str(problem.value)


MIXED = """\
element:
  mixture:
    - fp4_e2m1
    - int4
    - {values: [0, 1, 2, 3, 4, 6, 8, 12, -0.0, -1, -2, -3, -4, -6, -8, -12]}
scales: [{group: g16, format: fp16}]
"""


def test_a_mixture_in_a_file(tmp_path):
    path = tmp_path / "mixed.yaml"
    path.write_text(MIXED)
    q = bl.quantize(X, path.as_posix())
    assert str(q.scheme) == path.as_posix()
    assert q.bits_per_element == 4 + 18 / 16
    last = codebook("last", [0, 1, 2, 3, 4, 6, 8, 12, -0.0, -1, -2, -3, -4, -6, -8, -12])
    made = Mixture(name="m", formats=(bl.format("fp4_e2m1"), bl.format("int4"), last))
    same = bl.quantize(X, Scheme.of(made, "g16", "fp16"))
    np.testing.assert_array_equal(q.dequantize(), same.dequantize())
    np.testing.assert_array_equal(q.choices, same.choices)
    q.save(tmp_path / "q.safetensors")
    assert bl.QuantizedTensor.load(tmp_path / "q.safetensors").scheme == q.scheme
    wider = MIXED.replace("format: fp16", "format: bf16")
    path.write_text(wider)
    assert bl.Scheme.parse(path.as_posix()).unsaid != q.scheme.unsaid
    for new, sentence in (
        ("- int5", r"yaml:2:3: mixture 'mixed': members must share one width, got \[4, 5\]"),
        ("- itn4", "yaml:4:7: unknown format 'itn4'; did you mean 'int4'"),
    ):
        path.write_text(MIXED.replace("- int4", new))
        with pytest.raises(bl.BitlatheError, match=sentence):
            Scheme.parse(path.as_posix())


def test_what_is_not_a_level_is_named():
    own = float_format(4, 3, signed=False, name="mine")
    for levels, sentence in (
        ([("g16", own), ("g24", "fp32")], "levels do not nest"),
        ([("g16", "fp9")], "unknown scale 'fp9'"),
        ([("h16", own)], "unknown granularity 'h16'"),
        ([own], "a level is a pair such as"),
        ([], "at least one level is needed"),
        ([("g32", "fp16")], "one level of fp16 is a plain scale; give it as scale='fp16'"),
        ([("g16", codebook("n", [0, -1]))], "its format has no positive value"),
        ([("g16", codebook("n", [1, 2.0**-150]))], "its format has values beyond float32"),
        ([("g16", "takum8"), ("tensor", "fp32")], "takum8: its format has values beyond float32"),
    ):
        with pytest.raises(bl.BitlatheError, match=sentence):
            Scheme.nested("int4", levels)
    with pytest.raises(bl.BitlatheError, match="unknown format"):
        Scheme.nested("int44", [("g16", own)])
    with pytest.raises(bl.BitlatheError, match="not both"):
        Scheme.nested("int4", [("g16", own)], minimum=[("g16", own)], zero=[("g16", own)])


def test_a_caret_stands_under_the_part_at_fault(tmp_path):
    path = tmp_path / "a-b~c.yaml"
    path.write_text("values: [0, 1, 2, 3]\n")
    for rest, part in (("@g8/fp16-takum8", "-"), ("@g8/fp16~ue8m1", "~"), ("@g8/ue8m1~fp16", "/u")):
        for name in ("uint4", path.as_posix()):
            with pytest.raises(bl.BitlatheError, match="beyond float32") as problem:
                Scheme.parse(name + rest)
            _, text, caret = str(problem.value).split("\n")
            assert caret.index("^") == text.index(part, 2 + len(name)) + 1


@pytest.mark.parametrize(
    ("scheme", "up", "down"),
    [("int4_full@g32/e8m0", 0.875, -1.0), ("int4@g32/e8m0", 1.75, -1.75)],
)
def test_the_floor_rule_takes_the_exponent_of_the_largest_magnitude(scheme, up, down):
    """Of -8 to 7 that is 3, of -7 to 7 it is 2: 1.99 lies in a block of 2^0, cut at 7/8 or 7/4."""
    x = np.zeros((2, 32), np.float32)
    x[:, 0] = 1.99, -1.99
    assert bl.quantize(x, scheme).dequantize()[:, 0].tolist() == [up, down]
