"""Damaged inputs for every reader: each is accepted or refused in words and memory, none hangs."""

from importlib.util import find_spec

import pytest

from fuzz import harness
from fuzz.readers import READERS

FEW, MANY = 14, 1500
# the extras they are read with
NEEDS = {"language model's folder": "tokenizers", ".gguf": "gguf", ".onnx": "onnx"}
KINDS = [kind for kind in READERS if kind not in NEEDS or find_spec(NEEDS[kind])]


def test_some_two_hundred_inputs_are_accepted_or_refused():
    rows = harness.run(0, FEW, KINDS)
    assert harness.failures(rows) == []
    assert len(rows) == FEW * len(KINDS)
    assert {row[2] for row in rows} == {"accepted", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_inputs_are_accepted_or_refused(kind):
    rows = harness.run(0, MANY, [kind])
    assert harness.failures(rows) == []
    assert len(rows) == MANY


def test_the_harness_tells_a_failure_from_a_refusal(tmp_path):
    """What it is for: exceptions, silence, floods of words, memory, a process that ends."""
    from bitlathe.datatypes.base.errors import BitlatheError
    from fuzz.readers import Reader, outcome_of

    def reading(act):
        return outcome_of(Reader(make=lambda rng, folder: None, read=act), None)[0]

    def refuse(words):
        raise BitlatheError(words)

    assert reading(lambda _: 1) == "accepted"
    assert reading(lambda _: refuse("a.yaml:1:1: not this")) == "refused"
    assert reading(lambda _: refuse("")) == "failed"
    assert reading(lambda _: refuse("word\n" * 10_000)) == "refused"  # cut to what can be read
    assert reading(lambda _: {}["gone"]) == "failed"
    assert reading(lambda _: bytes(-1)) == "failed"
    good = ["chip", 0, "refused", "", 0.1, 100.0]
    assert harness.failures([good]) == []
    assert harness.failures([[*good[:5], 2049.0]])
    assert harness.failures(harness.run(0, 1, ["no such kind"]))


def test_inputs_are_the_same_each_time(tmp_path):
    import random

    for kind in ("chip", ".gguf", "scheme", "model, JSON"):
        made = []
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir(exist_ok=True)
            path = READERS[kind].make(random.Random(f"{kind} 7"), folder)
            made.append(path if isinstance(path, str) else path.read_bytes())
        assert made[0] == made[1]
