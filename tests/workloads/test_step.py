"""What a server computes at once: pieces of prompts, sequences that decode, both together."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import Step, load_model
from bitlathe.workloads.transformer.forward import Group

NAMES = ("gemma-3-1b", "mixtral-8x7b", "llama-3.2-1b", "opt-125m", "qwen3-30b-a3b")


def macs(gemms):
    return sum(gemm.macs * gemm.count for gemm in gemms)


@pytest.mark.parametrize("name", NAMES)
def test_whole_prompts_are_a_causal_prefill(name):
    model = load_model(name)
    for logits in ("all", "last"):
        step = model.step(prefill=[(1200, 0)] * 3, logits=logits)
        assert step == model.gemms("prefill", 1200, 3, causal=True, logits=logits)


@pytest.mark.parametrize("name", NAMES)
def test_equal_sequences_that_decode_are_a_batch(name):
    model = load_model(name)
    assert model.step(decode=[1500] * 4) == model.gemms("decode", 1500, 4)


small = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 700)), max_size=4)


@given(st.sampled_from(NAMES), small, st.lists(st.integers(1, 900), max_size=4))
def test_attention_of_a_step_is_that_of_its_sequences(name, prefill, decode):
    """Linear layers see all tokens at once; attention of a sequence ignores the others."""
    if not prefill and not decode:
        return
    model = load_model(name)
    together = model.step(prefill, decode)
    apart = [model.step(prefill=[each]) for each in prefill]
    apart += [model.step(decode=[each]) for each in decode]
    attention = [macs(g for g in gemms if g.stationary == "kv_cache") for gemms in apart]
    assert macs(g for g in together if g.stationary == "kv_cache") == sum(attention)
    assert macs(together) == sum(macs(gemms) for gemms in apart)
    tokens = sum(new for new, _ in prefill) + len(decode)
    rows = {g.m for g in together if g.kind == "linear" and not g.name.startswith("expert_")}
    assert rows == {tokens, len(prefill) + len(decode)}


@given(st.sampled_from(NAMES), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_chunks_of_a_prompt_are_the_prompt(name, chunks):
    """A window is a band, however the prompt is cut."""
    model = load_model(name)
    cached, total = 0, 0
    for new in chunks:
        total += macs(model.step(prefill=[(new, cached)], logits="all"))
        cached += new
    assert total == macs(model.gemms("prefill", cached, causal=True, logits="all"))


@given(st.sampled_from(NAMES), st.integers(1, 8), st.integers(0, 600))
def test_verified_tokens_see_what_single_ones_would(name, more, cached):
    model = load_model(name)
    at_once = model.step(decode=[cached + more], decode_tokens=more)
    one_by_one = [model.step(decode=[cached + i]) for i in range(1, more + 1)]
    assert macs(at_once) == sum(macs(gemms) for gemms in one_by_one)
    head = [g.m for g in at_once if g.name == "lm_head"]
    assert head == [more]


def test_keys_seen_by_hand():
    """gemma-3-1b, window 512: 3 tokens behind 600 see 512 + 2 keys, two sequences stay apart."""
    step = load_model("gemma-3-1b").step(prefill=[(3, 600)], decode=[600, 600, 100])
    local = {g.n: g for g in step if g.name == "attention_qk_local"}
    assert {n: (g.m, g.batch) for n, g in local.items()} == {514: (12, 1), 512: (4, 2), 100: (4, 1)}
    assert (local[514].visible_before, local[514].window) == (511, 512)
    assert local[514].macs == 3 * 4 * 512 * 256
    full = {g.n: (g.m, g.batch) for g in step if g.name == "attention_qk"}
    assert full == {603: (12, 1), 600: (4, 2), 100: (4, 1)}
    assert [g.m for g in step if g.name in ("q_proj", "lm_head")] == [6, 4]


def test_a_mixed_batch_shares_its_weights():
    model = load_model("llama-3.2-1b")
    mixed = Counter({replace(g, m=1): g.count for g in model.step([(64, 10)], [99] * 7)
                     if g.stationary == "weight"})  # fmt: skip
    alone = Counter({replace(g, m=1): g.count for g in model.gemms("decode") if
                     g.stationary == "weight"})  # fmt: skip
    assert mixed == alone


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [
        ("gpt2", {}, "a step of nothing"),
        ("gpt2", {"prefill": [(0, 3)]}, "prefill[0]: new is 0"),
        ("gpt2", {"prefill": [(4, 3), (4, -1)]}, "prefill[1]: cached is -1"),
        ("gpt2", {"prefill": [7]}, "prefill[0] is 7; give (new tokens, cached tokens)"),
        ("gpt2", {"decode": [5, 0]}, "decode[1] is 0"),
        (
            "gpt2",
            {"decode": [3], "decode_tokens": 4},
            "fewer than the 4 new tokens of decode_tokens",
        ),
        ("gpt2", {"prefill": [(500, 600)]}, "1024 tokens only"),
        ("gpt2", {"decode": [5], "logits": "none"}, "unknown logits"),
        ("bert-base", {"prefill": [(5, 0)]}, "encoder-only"),
        ("resnet-18", {"decode": [5]}, "generates tokens"),
        ("bert-base", {"prefill": [[5, 0]]}, "a step needs a model that generates tokens"),
    ],
)
def test_steps_a_model_cannot_make(name, step, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(name).step(**step)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ") or "logits" in str(caught.value)


CACHE = {  # elements by hand: layers x tokens x heads x dimension, keys and values
    "llama-3.1-8b": 32 * 1000 * 8 * 128 * 2,
    "gemma-3-1b": (4 * 1000 + 22 * 512) * 256 * 2,
    "phi-2": 32 * 1000 * 32 * 80 * 2,
}


@pytest.mark.parametrize("name", CACHE)
def test_elements_of_the_cache(name):
    assert load_model(name).cache_elements(1000) == CACHE[name]


def test_a_model_that_keeps_nothing():
    assert load_model("resnet-18").cache_elements(10) == 0


def test_sequences_alike_are_counted_and_not_listed():
    step = Step(
        prefill=[{"new": 3, "cached": 2, "sequences": 2**40}],
        decode=[{"context": 9, "sequences": 2**40}, 9],
    )
    assert step.forward.groups == (
        Group(new=3, cached=2, sequences=2**40),
        Group(new=1, cached=8, sequences=2**40 + 1),
    )
    assert step.forward.sequences == step.sequences == 2**41 + 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{decode: [5], routing: all}", "1:15: routing: must be a list (got 'all')."),
        ("{decode: 300}", "1:2: decode: must be a list (got 300)."),
        ("{prefill: [[5]]}", "1:12: prefill.0: write [new, cached] tokens"),
        ("{prefill: [7]}", "1:12: prefill.0: write [new, cached] tokens"),
        ("hello", "1:1: must be a mapping of keys to values."),
    ],
)
def test_what_a_file_cannot_say(text, words, tmp_path):
    (tmp_path / "step.yaml").write_text(text)
    with pytest.raises(BitlatheError) as caught:
        Step.read(tmp_path / "step.yaml")
    assert f"step.yaml:{words}" in str(caught.value)
