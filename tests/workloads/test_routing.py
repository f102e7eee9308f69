"""Routing of one's own: loads of experts, against plain draws, and blocks of a cache."""

import random
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model
from bitlathe.workloads.transformer.routing import chances, even_spread, spread_of

LOADS = st.lists(st.sampled_from([0, 1, 2, 5, 50, 10**9]), min_size=1, max_size=40)


@given(LOADS, st.integers(1, 40), st.integers(1, 60))
@settings(deadline=None, derandomize=True)
def test_visits_are_all_there(loads, active, tokens):
    assume(sum(load > 0 for load in loads) >= active)
    chance = chances(loads, active)
    assert sum(chance) == active
    assert all(0 <= p <= 1 for p in chance)
    assert all((p > 0) == (load > 0) for p, load in zip(chance, loads, strict=True))
    spread = spread_of(loads, active, tokens)
    assert sum(rows * experts for rows, experts in spread) == tokens * active
    assert all(1 <= rows <= tokens and experts > 0 for rows, experts in spread)
    assert list(spread) == sorted(spread, reverse=True)
    assert active <= sum(experts for _, experts in spread) <= sum(load > 0 for load in loads)


@given(st.integers(1, 40), st.data(), st.integers(1, 80), st.integers(1, 9))
@settings(deadline=None, derandomize=True)
def test_equal_loads_are_uniform_routing(experts, data, tokens, load):
    active = data.draw(st.integers(1, experts))
    assert spread_of([load] * experts, active, tokens) == even_spread(experts, active, tokens)


def drawn(chance, rng):
    """Draw the experts of a token: systematic sampling, which has exactly these chances."""
    at, total, found = Fraction(rng.randrange(1 << 30), 1 << 30), Fraction(0), []
    for expert, p in enumerate(chance):
        if total <= at + len(found) < total + p:
            found.append(expert)
        total += p
    return found


@pytest.mark.parametrize(
    ("loads", "active", "tokens"),
    [([8, 4, 2, 1, 1], 2, 3), ([100, 1, 1, 1, 1, 1], 1, 6), ([3, 2, 2, 2, 1, 1, 1, 1], 2, 5)],
)
def test_experts_in_use_by_drawing_routes(loads, active, tokens):
    rng, chance = random.Random(1), chances(loads, active)
    passes, reached, visits = 400, 0, [0] * len(loads)
    for _ in range(passes):
        found = [drawn(chance, rng) for _ in range(tokens)]
        assert all(len(each) == active for each in found)
        reached += len({expert for each in found for expert in each})
        for each in found:
            for expert in each:
                visits[expert] += 1
    in_use = sum(experts for _, experts in spread_of(loads, active, tokens))
    assert abs(reached / passes - in_use) < 0.5 + 0.2  # rounded, and of as many draws
    for p, n in zip(chance, visits, strict=True):
        assert n / (passes * tokens) == pytest.approx(float(p), abs=0.05)


def test_multiply_accumulates_stay():
    model = load_model("mixtral-8x7b")
    skewed = model.routed([40, 20, 10, 10, 5, 5, 5, 5])

    def macs(of, **run):
        return sum(gemm.macs * gemm.count for gemm in of.gemms(**run))

    assert macs(model, context=100) == macs(skewed, context=100)
    rows = [(g.m, g.count) for g in skewed.gemms(context=100) if g.name == "expert_up_proj"]
    assert rows == [(80, 32), (40, 32), (20, 64), (10, 128)]
    assert skewed.parameter_count == model.parameter_count
    assert model.routed([1] * 8).gemms(context=100) == model.gemms(context=100)


@pytest.mark.parametrize(
    ("model", "loads", "words"),
    [
        ("mixtral-8x7b", [1, 2], "routing gives 2 loads, but there are 8 experts"),
        ("mixtral-8x7b", [1] + [0] * 7, "a token visits 2 experts, but fewer have a load above 0"),
        ("mixtral-8x7b", [1] * 7 + [-1], "routing[7] is -1"),
        ("mixtral-8x7b", [1] * 7 + [0.5], "routing[7] is 0.5"),
        ("llama-2-7b", [1], "routing is of mixtures of experts; this model has none"),
        ("resnet-18", [1], "a mixture of experts takes it, not a conv"),
    ],
)
def test_routings_that_cannot_be(model, loads, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(model).routed(loads)
    assert words in str(caught.value)


def test_a_step_takes_both():
    loads = [40, 20, 10, 10, 5, 5, 5, 5]
    step = {"prefill": [[100, 0]], "decode": [{"context": 33, "sequences": 3}], "routing": loads}
    how = {"fidelity": "analytic", "mapper": "whole-buffer"}
    run = bl.simulate("bitmod", "mixtral-8x7b", step={**step, "block_tokens": 16}, **how)
    rows = [each.m for each in run.layers if each.name == "expert_up_proj"]
    assert rows == [rows for rows, _ in spread_of(loads, 2, 103)]
    blocks = run.step["cache_blocks"]
    assert (blocks["blocks"], blocks["used_tokens"]) == (7 + 3 * 3, 100 + 3 * 33)
    assert blocks["held_elements"] == 16 * 16 * 32 * 2 * 8 * 128
    assert blocks["waste"] == pytest.approx(1 - 199 / 256)
    plain = bl.simulate("bitmod", "mixtral-8x7b", step=step, **how)
    assert "cache_blocks" not in plain.step
    assert plain.cycles == run.cycles


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"routing": [1, "a"]}, "routing.1"),
        ({"routing": "all"}, "routing"),
        ({"block_tokens": 0}, "block_tokens"),
        ({"block_tokens": 1.5}, "block_tokens"),
    ],
)
def test_steps_that_cannot_be(more, words):
    with pytest.raises(BitlatheError) as caught:
        bl.simulate("bitmod", "mixtral-8x7b", step={"decode": [5], **more}, fidelity="analytic")
    assert words in str(caught.value)


def test_experts_that_give_back_what_they_get():
    """Of 4 experts and 4 idle ones a token visits 3, in the mean 1.5 that work."""
    sizes = {"model_type": "longcat_flash", "hidden_size": 64, "num_layers": 2, "vocab_size": 90,
             "num_attention_heads": 4, "ffn_hidden_size": 96, "expert_ffn_hidden_size": 32,
             "n_routed_experts": 4, "moe_topk": 3, "q_lora_rank": 16, "kv_lora_rank": 16,
             "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}  # fmt: skip
    mixed = load_model({**sizes, "zero_expert_num": 4})
    plain = load_model({**sizes, "zero_expert_num": 0})
    assert mixed.parameter_count == plain.parameter_count + 2 * 4 * 64  # the routers' rows
    worked = [g for g in mixed.gemms("decode", 9, 40) if g.name == "expert_down_proj"]
    assert sum(g.m * g.count for g in worked) == 2 * 40 * 3 // 2
    own = mixed.routed([1, 1, 1, 1, 0, 0, 0, 3]).gemms("decode", 9, 40)
    assert sum(g.m * g.count for g in own if g.name == "expert_down_proj") == 2 * 80
    with pytest.raises(BitlatheError, match="gives 4 loads, but there are 8 experts"):
        mixed.routed([1] * 4)
