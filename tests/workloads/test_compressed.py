"""Attention to compressed tokens (DeepSeek-V4): token by token, and its class's multiplications.

``CLASS_MACS``: multiply-accumulates that torch 2.13 counts (FlopCounterMode / 2, eager attention)
of nine tokens in DeepseekV4ForCausalLM of transformers 5.24, with this configuration.
"""

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model

FAST, SLOW, NEAR = (
    "compressed_sparse_attention",
    "heavily_compressed_attention",
    "sliding_attention",
)
CONFIG = {
    "model_type": "deepseek_v4", "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 5,
    "moe_intermediate_size": 24, "num_attention_heads": 4, "head_dim": 16, "q_lora_rank": 12,
    "num_experts_per_tok": 2, "n_routed_experts": 4, "sliding_window": 4, "o_groups": 2,
    "o_lora_rank": 10, "index_n_heads": 3, "index_head_dim": 8, "index_topk": 2, "hc_mult": 3,
    "compress_rates": {FAST: 2, SLOW: 3}, "layer_types": [NEAR, FAST, SLOW, FAST, NEAR],
}  # fmt: skip
CLASS_MACS, CLASS_PARAMETERS = 762_336, 100_424
WHOLE = {"model_type": "deepseek_v4", "hidden_size": 4096, "num_hidden_layers": 43,
         "num_attention_heads": 64, "vocab_size": 129280}  # fmt: skip


def macs(gemms, *names):
    return sum(g.macs * g.count for g in gemms if not names or g.name in names)


def test_as_in_its_class():
    model = load_model(CONFIG)
    assert model.parameter_count == CLASS_PARAMETERS
    found = sum(g.m * g.n * g.k * g.batch * g.count for g in model.gemms(context=9))
    mixed = 5 * 2 * 9 * 3 * 3 * 32  # streams among themselves: work of a vector unit here
    unseen = 2 * 4 * (9 * 4 - 8 * 4) * 16 * 2  # entries of the first token, which sees none
    assert found + mixed + unseen == CLASS_MACS


def test_the_class_by_default():
    """284 billion parameters, as the class on torch's meta device has."""
    assert load_model(WHOLE).parameter_count == 284_325_869_015


@pytest.mark.parametrize(("cached", "new"), [(0, 1), (0, 9), (0, 24), (3, 1), (5, 7), (7, 6)])
def test_each_token_sees_what_is_complete(cached, new):
    step = load_model(CONFIG).step(prefill=[(new, cached)])
    places = range(cached, cached + new)
    seen = {
        "attention_qk": 5 * sum(min(4, p + 1) for p in places),
        "attention_qk_compressed": 2 * sum(min(2, (p + 1) // 2) for p in places)
        + sum((p + 1) // 3 for p in places),
    }
    for name, pairs in seen.items():
        mix = name.replace("qk", "av")
        assert macs(step, name) == macs(step, mix) == 4 * 16 * pairs
    assert macs(step, "index_scores") == 2 * 3 * 8 * sum((p + 1) // 2 for p in places)


def test_decoding_adds_up_to_the_prompt():
    model = load_model(CONFIG)
    each = (model.gemms("decode", c, logits="all") for c in range(1, 20))
    assert macs(model.gemms("prefill", 19, causal=True)) == sum(map(macs, each))
    two = macs(model.step(prefill=[(11, 0)], logits="all"))
    two += macs(model.step(prefill=[(8, 11)], logits="all"))
    assert two == macs(model.gemms("prefill", 19, causal=True))


def test_what_is_kept_and_what_stands_between():
    model = load_model(CONFIG)
    near, entries = 5 * 4 * 16, 2 * 4 * (16 + 8) + 3 * 16  # of nine tokens
    assert model.cache_elements(9) == near + entries
    assert model.state_elements == 2 * (2 * 2 * 3 * (16 + 8)) + 2 * 3 * 16
    steps = {s.name: s for s in model.vector_steps(model.staged(context=9, causal=True))}
    assert steps["compressor_entries"].writes[0].elements in (4 * 16, 3 * 16)
    assert steps["attn_hc_streams"].elements == 9 * 3 * 32 * (2 + 3)
    assert steps["rotary_back"].elements == 9 * 4 * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"o_groups": 3}, "does not divide the 4 heads of 16"),
        ({"layer_types": [NEAR] * 4 + ["full_attention"]}, "names 'full_attention'"),
        ({"layer_types": [[]] * 5}, "'layer_types' names []"),
        ({"layer_types": None, "compress_ratios": [0, 4, 128, 5, 0]}, "one of 0, 4, 128"),
        ({"compress_rates": 4}, "it must be an object"),
        ({"compress_rates": {FAST: 0}}, "is 0"),
        ({"partial_rotary_factor": 2}, "must be a share, as 0.5"),
        ({"hc_mult": 0}, "'hc_mult' is 0"),
    ],
)
def test_what_cannot_be_read(change, words):
    with pytest.raises(BitlatheError) as caught:
        load_model({**CONFIG, **change})
    assert words in str(caught.value)


def test_older_names_of_the_same():
    older = {k: v for k, v in CONFIG.items() if k not in ("layer_types", "compress_rates")}
    older |= {"compress_ratios": [0, 4, 128, 4, 0], "compress_rate_csa": 2, "compress_rate_hca": 3}
    assert load_model(older).shape == load_model(CONFIG).shape
