"""What tells schemes of one text apart, for what is kept of measures."""

import pytest

from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.schemes.granularity import Granularity
from bitlathe.datatypes.schemes.levels import Level
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.reports.explore.identity import own_files
from bitlathe.workloads.lm.cache import scheme_key

BLOCK = """name: mine
element: fp4_e2m1
scales:
  - {group: g8, format: {values: [1, 1.25]}, search: true}
  - {group: g32, format: e8m0}
"""
BOOK = "values: [-1, 0, 1]\n"


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (BLOCK, "g8", "g16"),
        (BLOCK, "1.25", "1.5"),
        (BLOCK, "e8m0", "fp16"),
        (BLOCK, "search: true", "search: false"),
        (BLOCK, "fp4_e2m1", "int4"),
        (BOOK, "0, 1]", "0, 2]"),
        (BOOK, "]\n", "]\nper_byte: 5\n"),
        (BOOK, "]\n", "]\nthresholds: [-0.25, 0.25]\n"),
    ],
)
def test_a_file_that_changed_is_another_scheme(tmp_path, text, old, new):
    file = tmp_path / "mine.yaml"
    found = []
    for content in (text, text.replace(old, new), text):
        file.write_text(content)
        found.append((scheme_key(Scheme.parse(str(file))), own_files([str(file)])))
    assert found[0] == found[2]
    for one, other in zip(found[0], found[1], strict=True):
        assert one != other


def test_formats_of_ones_own_at_a_level_tell_schemes_apart():
    eight = Granularity.parse("g8")
    keys = [
        scheme_key(
            Scheme.nested("int4", [Level.of(eight, codebook("f", [1, top])), ("g32", "fp16")])
        )
        for top in (1.25, 1.5)
    ]
    assert keys[0]["scheme"] == keys[1]["scheme"]
    assert keys[0] != keys[1]


def test_names_say_all_and_fp32_has_a_key():
    assert Scheme.parse("q4_k").unsaid == Scheme.parse("int4@g32").unsaid == []
    assert scheme_key(Scheme.parse("fp32")) != scheme_key(Scheme.parse("fp16"))
    assert scheme_key(Scheme.parse("fp32"))["scheme"] == "fp32"
