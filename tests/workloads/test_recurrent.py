"""Layers that keep a state: their recurrences as loops, their traffic and state by hand."""

import json
import math
from pathlib import Path

import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model
from bitlathe.workloads.transformer import Recurrent
from bitlathe.workloads.vector_step import OPERATIONS

HERE = Path(__file__).parent
PUBLISHED = json.loads((HERE / "published_models.json").read_text())["models"]
SMALL = json.loads((HERE / "small_models.json").read_text())["models"]


def _counting(work):
    """Count the additions, multiplications and exponentials of a function of `Ops`."""
    done = {"adds": 0, "multiplies": 0, "specials": 0}

    class Ops:
        def add(self, a, b):
            done["adds"] += 1
            return a + b

        def mul(self, a, b):
            done["multiplies"] += 1
            return a * b

        def exp(self, a):
            done["specials"] += 1
            return math.exp(a)

    return work(Ops()), done


def _asked(rule, elements, rows):
    each = OPERATIONS[rule]
    return {
        "adds": each.adds * elements + each.row_adds * rows,
        "multiplies": each.multiplies * elements + each.row_multiplies * rows,
        "specials": each.specials * elements + each.row_specials * rows,
    }


@pytest.mark.parametrize(("keys", "values", "tokens"), [(4, 3, 2), (1, 1, 1), (5, 2, 7)])
def test_the_delta_rule_as_loops(keys, values, tokens):
    def work(ops):
        state = [[0.5] * values for _ in range(keys)]
        for t in range(tokens):
            k, q, v = [0.1 * (t + i) for i in range(keys)], [0.3] * keys, [1.0] * values
            decay, rate = 0.9, 0.5
            for j in range(values):
                read = out = 0.0
                for i in range(keys):
                    state[i][j] = ops.mul(decay, state[i][j])
                    read = ops.add(read, ops.mul(k[i], state[i][j]))
                delta = ops.mul(rate, ops.add(v[j], -read))
                for i in range(keys):
                    state[i][j] = ops.add(state[i][j], ops.mul(k[i], delta))
                    out = ops.add(out, ops.mul(q[i], state[i][j]))
        return out

    _, done = _counting(work)
    assert done == _asked("delta_rule", tokens * keys * values, tokens * values)
    assert OPERATIONS["channel_delta_rule"] == OPERATIONS["delta_rule"]  # a decay for each key


def test_a_decayed_sum_as_loops():
    """A head forgets at its own rate; of MiniMax-Text-01's, whose state is all that it keeps."""
    keys, values, tokens = 4, 3, 5

    def work(ops):
        state = [[0.5] * values for _ in range(keys)]
        for t in range(tokens):
            k, q, v = [0.1 * (t + i) for i in range(keys)], [0.3] * keys, [1.0] * values
            for j in range(values):
                out = 0.0
                for i in range(keys):
                    state[i][j] = ops.add(ops.mul(0.9, state[i][j]), ops.mul(k[i], v[j]))
                    out = ops.add(out, ops.mul(q[i], state[i][j]))
        return out

    _, done = _counting(work)
    assert done == _asked("decayed_sum", tokens * keys * values, tokens * values)
    config = {"model_type": "minimax", "hidden_size": 64, "num_hidden_layers": 4, "head_dim": 32,
              "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
              "vocab_size": 100, "block_size": 16}  # fmt: skip
    model = load_model(config)
    assert model.state_elements == 2 * 4 * 32 * 32
    assert model.cache_elements(10) == 2 * 10 * 2 * 2 * 32
    decode = _steps(model, model.staged("decode", 10))
    assert "conv" not in decode
    assert decode["decayed_sum"].elements == 4 * 32 * 32
    whole = _steps(model, model.staged("prefill", 40))["decayed_sum"]  # three blocks of 16
    assert (_kept(whole.reads), _kept(whole.writes)) == (2 * 4 * 32 * 32, 3 * 4 * 32 * 32)


@pytest.mark.parametrize("shared", [False, True])
def test_state_spaces_as_loops(shared):
    """Mamba has a decay for each element, Mamba-2 one for a head, made elsewhere."""
    channels, state, tokens = 3, 4, 5

    def work(ops):
        kept = [[0.0] * state for _ in range(channels)]
        for _ in range(tokens):
            for c in range(channels):
                x, step, skip = 0.2, 0.1, 1.5
                driven, out = ops.mul(step, x), 0.0
                for n in range(state):
                    decay = 0.9 if shared else ops.exp(ops.mul(step, -1.0))
                    kept[c][n] = ops.add(ops.mul(decay, kept[c][n]), ops.mul(0.3, driven))
                    out = ops.add(out, ops.mul(0.4, kept[c][n]))
                out = ops.add(out, ops.mul(skip, x))
        return out

    _, done = _counting(work)
    rule = "state_space" if shared else "selective_scan"
    assert done == _asked(rule, tokens * channels * state, tokens * channels)


def _steps(model, staged):
    return {step.name: step for step in model.vector_steps(staged)}


def _kept(tensors):
    return sum(each.elements for each in tensors if each.kept)


def test_qwen3_next_by_hand():
    """36 layers: 32 heads of 128 x 128, 8192 channels of 4 taps; 12 layers attend."""
    model = load_model(PUBLISHED["qwen3-next-80b-a3b"]["config"])
    state = 32 * 128 * 128
    assert model.state_elements == 36 * (state + 8192 * 4) == 20_054_016
    assert model.cache_elements(1000) == 12 * 1000 * 2 * 2 * 256
    decode = _steps(model, model.staged("decode", 500, 3))
    rule = decode["delta_rule"]
    assert (rule.count, rule.elements, rule.rows) == (36, 3 * state, 3 * 32 * 128)
    assert _kept(rule.reads) == _kept(rule.writes) == 3 * state
    conv = decode["conv"]
    assert conv.elements == 3 * 8192 * 4
    assert (_kept(conv.reads), _kept(conv.writes)) == (3 * 3 * 8192, 3 * 8192)
    prompt = _steps(model, model.staged("prefill", 200, 3))["delta_rule"]
    assert prompt.elements == 3 * 200 * state
    assert _kept(prompt.writes) == 3 * 4 * state  # 64 + 64 + 64 + 8 tokens
    assert _kept(prompt.reads) == 3 * 3 * state  # the first chunk finds nothing
    names = [g.name for g in model.gemms("decode", 500)]
    assert names.index("linear_in_proj_qkvz") < names.index("linear_out_proj")
    assert sum(g.count for g in model.gemms("decode", 500) if g.name == "q_proj") == 12


def test_pieces_of_a_prompt_read_the_state_that_is_there():
    model = load_model(PUBLISHED["qwen3.5-9b"]["config"])
    part = model.shape.only(Recurrent)
    step = model.shape.only(Recurrent).vector_steps
    whole = model.staged("prefill", 128)
    assert _kept(_steps(model, whole)["delta_rule"].reads) == part.memory_elements
    from bitlathe.workloads.transformer import Forward

    piece = {s.name: s for s in step(Forward.step([(64, 64), (1, 0)], [700, 700]))}
    read, written = piece["delta_rule"].reads, piece["delta_rule"].writes
    assert _kept(read) == (1 + 0 + 2) * part.memory_elements
    assert _kept(written) == (1 + 1 + 2) * part.memory_elements
    assert _kept(piece["conv"].reads) == (3 + 0 + 2 * 3) * part.channels
    assert _kept(piece["conv"].writes) == (3 + 1 + 2 * 1) * part.channels


def test_a_selective_scan_keeps_its_state_on_the_chip():
    """Mamba's scan writes the state once a pass, however long; the state is as wide as A."""
    config = {"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    model = load_model(config)
    assert model.state_elements == 2 * 128 * (16 + 4)
    assert model.cache_elements(5000) == 0
    step = _steps(model, model.staged("prefill", 1000))["selective_scan"]
    assert (_kept(step.reads), _kept(step.writes)) == (0, 128 * 16)
    assert step.elements == 1000 * 128 * 16


def test_decode_costs_the_same_at_any_context():
    model = load_model(PUBLISHED["mamba2-2.7b"]["config"])
    assert model.gemms("decode", 10) == model.gemms("decode", 100_000)
    assert _steps(model, model.staged("decode", 10)) == _steps(model, model.staged("decode", 9999))


@pytest.mark.parametrize("name", ["lfm2-0", "jamba-0", "mamba2-0", "kimi_linear-0"])
def test_small_hybrids_run_on_a_chip(name):
    """A state passes DRAM in every decode, in the format of results (16 bits on this chip)."""
    model = load_model(SMALL[name]["config"])
    run = bl.simulate("bitmod", model, phase="decode", context=24, mapper="whole-buffer")
    parts = [(part, n) for part, n in model.shape.parts() if isinstance(part, Recurrent)]
    rules = {part.rule for part, _ in parts}
    found = {layer.name: layer for layer in run.layers}
    for rule in rules - {"convolution"}:
        layer = found[rule]
        state = sum(part.memory_elements * n for part, n in parts if part.rule == rule)
        assert layer.dram_bits["output"] * layer.count >= 16 * state
    taps = found["conv"]
    channels = sum(part.channels * (part.taps - 1) * n for part, n in parts)
    assert taps.dram_bits["input"] * taps.count == 16 * channels


def test_a_graph_of_a_hybrid():
    graph = load_model(PUBLISHED["jamba-v0.1"]["config"]).graph()
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["x_proj"] == {"in_proj"}
    assert into["dt_proj"] == {"x_proj"}
    assert into["out_proj"] >= {"in_proj", "dt_proj"}


def _with(name, **more):
    """Return a configuration with other keys; without those that are None."""
    found = {**SMALL[name]["config"], **more}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (_with("qwen3_next-0", layer_types=["linear_attention"]), "names 1 layers, but there are"),
        (_with("lfm2-0", conv_L_cache=0), "'conv_L_cache' is 0; it must be from 1"),
        (_with("jamba-0", attn_layer_offset=9), "must be below 'attn_layer_period'"),
        (_with("mamba-0", time_step_rank="most"), "'time_step_rank' is 'most'"),
        (_with("mamba2-0", num_heads=3), "must make up"),
        (_with("mamba2-0", expand="two"), "'expand' is 'two'; it must be a number"),
        (_with("qwen3_next-0", linear_num_key_heads=3), "does not divide"),
        (_with("lfm2-0", layer_types=None, full_attn_idxs=7), "'full_attn_idxs' is 7"),
        (_with("kimi_linear-0", linear_attn_config={"num_heads": 0}), "'num_heads' is 0"),
        (_with("mamba-0", state_sizes=8, state_size=None), "'state_size'"),
        ({"model_type": "llama", "linear_attn_config": {"num_heads": 2}}, "other than attention"),
    ],
)
def test_hybrids_that_cannot_be(config, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(config)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kimi_by_its_published_keys():
    """The published file nests the sizes of its linear layers, and counts layers from 1."""
    plain = load_model(PUBLISHED["kimi-linear-48b"]["config"])
    dropped = ("layer_types", "mlp_layer_types", "linear_head_dim", "linear_num_heads")
    kept = {k: v for k, v in PUBLISHED["kimi-linear-48b"]["config"].items() if k not in dropped}
    kept["linear_attn_config"] = {
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
        "kda_layers": [i for i in range(1, 27) if i % 4],
        "head_dim": 128,
        "num_heads": 32,
        "short_conv_kernel_size": 4,
    }
    nested = load_model(kept)
    assert nested.state_elements == 20 * (32 * 128 * 128 + 3 * 4096 * 4)
    assert plain.state_elements == 21 * (32 * 128 * 128 + 3 * 4096 * 4)
    assert nested.cache_elements(1) == 7 * 576
