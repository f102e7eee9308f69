"""Shares of models: they sum to the whole; what is on several chips is what must be."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import Transformer, load_model, model_names
from bitlathe.workloads.exchanges import exchanges, exchanges_of_list
from bitlathe.workloads.recurrent_share import share_of
from bitlathe.workloads.sharding import Place, held, shard
from bitlathe.workloads.slices import slices
from bitlathe.workloads.transformer import Forward, Recurrent
from bitlathe.workloads.transformer.disentangled import DisentangledAttention
from bitlathe.workloads.transformer.expert_share import ExpertShare
from bitlathe.workloads.transformer.routing import rows_of
from bitlathe.workloads.transformer.shared_block import SharedBlock
from naive.sharding_naive import dense_holdings, stored

TRANSFORMERS = [n for n in model_names() if isinstance(load_model(n).shape, Transformer)]
MLA = {
    "model_type": "deepseek_v3", "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 8, "q_lora_rank": 12, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 8, "vocab_size": 60, "intermediate_size": 48,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 12,
    "n_shared_experts": 1, "first_k_dense_replace": 1,
}  # fmt: skip


def dense(heads=8, kv_heads=2, inner=36, words=50, layers=4):
    return {
        "model_type": "llama", "hidden_size": 16, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": 4,
        "intermediate_size": inner, "vocab_size": words, "tie_word_embeddings": False,
    }  # fmt: skip


def mixture(experts=8, active=2, heads=4, kv_heads=4):
    return {
        "model_type": "mixtral", "hidden_size": 16, "num_hidden_layers": 4,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "intermediate_size": 20, "vocab_size": 48, "num_local_experts": experts,
        "num_experts_per_tok": active,
    }  # fmt: skip


def places(tensor=1, pipeline=1, expert=1):
    for stage in slices(pipeline):
        for mine in slices(expert):
            for each in slices(tensor):
                yield Place(tensor=each, stage=stage, expert=mine, group_rows=expert)


def macs(model, *how, **more):
    return sum(g.macs * g.count for g in model.gemms(*how, **more))


def by_name(model, *how, **more):
    found = Counter()
    for g in model.gemms(*how, **more):
        found[g.name] += g.macs * g.count
    return found


@given(
    kv_heads=st.integers(1, 4),
    group=st.integers(1, 4),
    inner=st.integers(1, 9),
    words=st.integers(1, 9),
    chips=st.integers(1, 9),
)
def test_matrices_are_divided_as_a_walk_of_their_elements_says(
    kv_heads, group, inner, words, chips
):
    heads = kv_heads * group
    assume(chips <= min(heads, inner, words))
    model = load_model(dense(heads, kv_heads, inner, words, layers=1))
    holdings = dense_holdings(16, heads, kv_heads, 4, inner, words, chips)
    total, once = stored(holdings)
    whole, shares = held(model.shape), Counter()
    for place, mine in zip(places(tensor=chips), holdings, strict=True):
        share = held(shard(model, place).shape)
        # the same chips, though those of one head may stand in another order
        shares += share
        assert {name: share[name] for name in ("gate_proj", "down_proj", "words", "lm_head")} == {
            name: len(mine[name]) for name in ("gate_proj", "down_proj", "words", "lm_head")
        }
    assert {name: shares[name] for name in total} == dict(total)
    assert {name: whole[name] for name in once} == dict(once)
    assert shares["vectors"] == chips * whole["vectors"]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_stored_parameters_are_listed_by_matrix(name):
    model = load_model(name)
    assert sum(held(model.shape).values()) == model.parameter_count


@pytest.mark.parametrize(
    ("config", "degrees"),
    [
        (config, degrees)
        for config in (dense(), dense(8, 8), mixture(), MLA, {**MLA, "q_lora_rank": None})
        for degrees in ((2, 1), (3, 1), (1, 3), (4, 3), (8, 2), (5, 2))
        if degrees[0] <= config["num_attention_heads"]
    ],
)
@pytest.mark.parametrize("how", [("prefill", 9, 2), ("decode", 9, 2)])
def test_products_of_all_chips_are_those_of_the_model(config, degrees, how):
    model = load_model(config)
    tensor, pipeline = degrees
    whole, total = by_name(model, *how), Counter()
    for place in places(tensor, pipeline):
        total += by_name(shard(model, place), *how)
    on_all = {"router", "q_a_proj", "kv_a_proj_with_mqa"}
    kv_heads = config.get("num_key_value_heads", tensor)
    for name, count in whole.items():
        times = tensor if name in on_all else 1
        if name in ("k_proj", "v_proj") and tensor > kv_heads:
            times = total[name] / count
            assert times == tensor / kv_heads
        assert total[name] == times * count, name


@pytest.mark.parametrize("degrees", [(1, 1, 2), (2, 2, 3), (1, 2, 8)])
@pytest.mark.parametrize("config", [mixture(), MLA])
@pytest.mark.parametrize("tokens", [1, 3, 50])
def test_experts_of_all_chips_do_the_visits_of_all_tokens(config, degrees, tokens):
    """Each chip has its own tokens; the experts of all chips together see those of all."""
    model, (tensor, pipeline, expert) = load_model(config), degrees
    whole = by_name(model, "prefill", tokens, expert)
    total = Counter()
    for place in places(tensor, pipeline, expert):
        total += by_name(shard(model, place), "prefill", tokens, 1)
    for name, count in whole.items():
        on_all = {"router", "q_a_proj", "kv_a_proj_with_mqa"}
        assert total[name] == (tensor if name in on_all else 1) * count, name


def test_experts_are_stored_once_and_the_rest_on_each_chip():
    model = load_model(mixture())
    shares = [held(shard(model, place).shape) for place in places(expert=3)]
    whole, total = held(model.shape), sum(shares, Counter())
    for name in whole:
        assert total[name] == (1 if name.startswith("expert_") else 3) * whole[name]
    experts = [shard(model, place).shape.only(ExpertShare) for place in places(expert=3)]
    assert [each.own.of(each.mixture.total) for each in experts] == [3, 3, 2]


@pytest.mark.parametrize("config", [dense(), dense(8, 8), mixture()])
def test_caches_of_all_chips_are_the_models_times_its_replicas(config):
    model = load_model(config)
    for tensor, pipeline in ((1, 2), (2, 1), (2, 4), (4, 1)):
        kept = sum(shard(model, p).cache_elements(7) for p in places(tensor, pipeline))
        times = max(1, tensor / config["num_key_value_heads"])
        assert kept == times * model.cache_elements(7)


def test_latents_are_cached_on_each_chip():
    model = load_model(MLA)
    kept = [shard(model, place).cache_elements(7) for place in places(tensor=4)]
    assert kept == [model.cache_elements(7)] * 4


def test_the_first_share_is_the_largest():
    for config in (dense(9, 3), dense(8, 1), mixture(), MLA):
        model = load_model(config)
        for tensor in (1, 2, 3, 4):
            done = [macs(shard(model, p), "decode", 9) for p in places(tensor)]
            assert done[0] == max(done)


SMALL = json.loads((Path(__file__).parent / "small_models.json").read_text())["models"]


UNDIVIDED = (DisentangledAttention,)
HERE = Path(__file__).parent
DRAWN = json.loads((HERE / "drawn" / "models.json").read_text())["models"]
IMAGES = json.loads((HERE / "diffusion_models.json").read_text())["models"]
TOWERS = json.loads((HERE / "towers.json").read_text())["models"]
CONVS = json.loads((HERE / "conv_models.json").read_text())["models"]
SD3_BLOCKS = IMAGES["sd3-1"]["config"]["num_layers"]
SWIN_DEPTHS = CONVS["swin-0"]["config"]["depths"]
TIMES = {f"{kind}_linear_{i}" for kind in ("time", "guidance", "pooled_text") for i in (1, 2)}
ON_EACH = {
    "rwkv-drawn-1": {"ffn_receptance"},
    "zamba2-drawn-1": {"gate_up_proj_adapter_left", "linear", "in_proj"},  # B and C, of one group
    "flux-0": {
        "norm1_linear", "norm1_context_linear", "norm_linear", "norm_out_linear", "proj_out",
        "context_embedder", "patch_embedding", *TIMES,
    },
    "dit-0": {
        "norm1_linear", "norm1_time_linear_1", "norm1_time_linear_2", "proj_out_1", "proj_out_2",
        "patch_embedding",
    },
    "pixart-0": {
        "adaln_single_linear", "caption_linear_1", "caption_linear_2", "patch_embedding",
        "proj_out", "time_linear_1", "time_linear_2",
    },
    "mllama-0": set(),
    "deepseek_v4-drawn-0": {
        "attn_hc", "ffn_hc", "hc_head", "router", "q_a_proj", "kv_proj", "compressor_kv_proj",
        "compressor_gate_proj", "index_kv_proj", "index_gate_proj", "index_q_proj",
        "index_weights_proj", "index_scores",
    },
}  # fmt: skip
"""Products that each of two chips does for itself, whole or in part."""


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_family_is_divided_or_says_why_not(name):
    """All shares store what the model does, and none of it less often; they have products."""
    try:
        model = load_model(SMALL[name]["config"])
    except BitlatheError:
        pytest.skip("not read")
    if not isinstance(model.shape, Transformer):
        pytest.skip("no transformer")
    whole, degrees = held(model.shape), (2, 2)
    assert sum(whole.values()) == model.shape.parameter_count()
    if model.shape.encoder is not None:
        degrees = (2, 1)
    elif any(isinstance(part, UNDIVIDED) for part, _ in model.shape.parts()):
        with pytest.raises(BitlatheError, match=r"not known how chips share the layers' [A-Z]"):
            list(shards(model, 2))
        degrees = (1, 2)
    found = list(shards(model, *degrees))
    assert not whole - sum((held(each.shape) for each in found), Counter())
    if model.shape.encoder is None:
        tokens = None if model.shape.fixed_tokens else 9
        assert all(each.staged("prefill", tokens).gemms() for each in found)


def is_recurrent(name):
    model = load_model(SMALL[name]["config"])
    shape = model.shape
    return isinstance(shape, Transformer) and any(
        isinstance(p, Recurrent) for p, _ in shape.parts()
    )


@pytest.mark.parametrize("name", sorted(filter(is_recurrent, SMALL)))
def test_states_are_divided_once(name):
    """States, and what is made for a head or read of one, sum to the whole; keys may be copied."""
    model = load_model(SMALL[name]["config"])
    part = next(p for p, _ in model.shape.parts() if isinstance(p, Recurrent))
    chips = 2 if part.rule in ("selective_scan", "convolution") else min(2, part.key_heads)
    shares = [share_of(part, each) for each in slices(chips)]
    assert sum(each.memory_elements for each in shares) == part.memory_elements
    assert sum(each.channels for each in shares) == part.channels
    assert sum(each.out.inputs for each in shares) == part.out.inputs
    for i, matrix in enumerate(part.inputs):
        made = [each.inputs[i].outputs for each in shares]
        assert sum(made) == matrix.outputs or made == [matrix.outputs] * chips
    done = Counter()
    for each in shards(model, chips):
        done += by_name(each, "decode", 9)
    whole = by_name(model, "decode", 9)
    for matrix in (part.out, *(m for m in part.inputs if m.name != "linear_f_a_proj")):
        copied = done[matrix.name] - whole[matrix.name]
        assert copied in (0, (chips - 1) * whole[matrix.name])
    assert done[part.out.name] == whole[part.out.name]


@pytest.mark.parametrize(
    ("name", "summed"),
    [
        ("mamba-0", {"x_proj_reduce", "out_proj_reduce"}),
        ("mamba2-1", {"gate_norm_reduce", "out_proj_reduce"}),
        ("lfm2-0", {"conv_out_proj_reduce", "out_proj_reduce", "w2_reduce"}),
    ],
)
def test_what_chips_sum_that_share_a_state(name, summed):
    model = load_model(SMALL[name]["config"])
    place = next(places(tensor=2))
    run = Forward.decode(9, 3)
    found = {x.name: x for x in exchanges(model.shape, shard(model, place).shape, place, run)}
    assert found.keys() == summed | {"embedding_reduce", "lm_head_gather"}
    if name == "mamba-0":
        part = model.shape.only(Recurrent)
        assert found["x_proj_reduce"].elements == 3 * part.behind[0][0].outputs
        assert found["x_proj_reduce"].count == model.shape.depth


def test_heads_of_one_group_are_copied_keys():
    """Mamba-2 with one group: B and C on each chip, heads divided."""
    config = {
        "model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 40,
        "num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 4,
    }  # fmt: skip
    model = load_model(config)
    part = model.shape.only(Recurrent)
    for chips in (2, 3, 8):
        shares = [share_of(part, each) for each in slices(chips)]
        assert sum(each.heads for each in shares) == 8
        for each in shares:
            assert each.inputs[0].outputs == 2 * 8 * each.heads + 2 * 4 + each.heads
            assert each.other_parameters == (8 * each.heads + 8) * 5 + 11 * each.heads
    with pytest.raises(BitlatheError, match="there are 8 heads of a state; use at most 8"):
        share_of(part, next(iter(slices(9))))


def shards(model, tensor=1, pipeline=1):
    return (shard(model, place) for place in places(tensor, pipeline))


def named(name):
    return load_model({**DRAWN, **IMAGES, **TOWERS, **CONVS}[name]["config"])


@pytest.mark.parametrize("name", ON_EACH)
def test_blocks_of_other_kinds_are_divided(name):
    """Heads and inner elements sum to the whole, and nothing is stored less often than once."""
    model = named(name)
    tokens = None if model.shape.fixed_tokens else 9
    whole, done, stored_by_all = by_name(model, "prefill", tokens), Counter(), Counter()
    for each in shards(model, 2):
        done += by_name(each, "prefill", tokens)
        stored_by_all += held(each.shape)
    assert {each for each, count in whole.items() if done[each] != count} == ON_EACH[name]
    assert all(whole[each] < done[each] <= 2 * whole[each] for each in ON_EACH[name])
    assert not held(model.shape) - stored_by_all


@pytest.mark.parametrize(
    ("name", "chips", "reduced", "gathered"),
    [
        # sums: two of image and of text in each block, the last block's text left out; two of
        # what steers. Gathered: two embeddings, two steers a block, of the end, what leaves
        ("sd3-1", 3, 2 + 2 * SD3_BLOCKS + 2 * (SD3_BLOCKS - 1), 2 + 2 * SD3_BLOCKS + 2),
        ("swin-0", 2, 2 * sum(SWIN_DEPTHS), 1 + len(SWIN_DEPTHS) - 1),  # no labels
        ("unet-0", 3, None, None),
    ],
)
def test_networks_of_products_are_divided(name, chips, reduced, gathered):
    """Shares sum to the whole, product by product; what chips put together is counted."""
    model = named(name)
    parts = list(shards(model, chips))
    for each in zip(model.shape.entries, *(part.shape.entries for part in parts), strict=True):
        whole, *own = (entry.gemm for entry in each)
        assert sum(g.macs for g in own) == whole.macs
        assert sum(g.weight_elements for g in own) == whole.weight_elements
        assert max(g.macs for g in own) < whole.macs
    joints, kinds = parts[0].shape.joints, Counter()
    for joint in joints:
        kinds[joint.kind] += joint.count
    if reduced is not None:
        assert (kinds["all_reduce"], kinds["all_gather"]) == (reduced, gathered)
    steps = [each.vector_steps(each.staged()) for each in (model, *parts)]
    assert len({sum(s.count for s in each) for each in steps}) == 1
    softmax = [sum(s.elements * s.count for s in each if "softmax" in s.name) for each in steps]
    assert sum(softmax[1:]) == softmax[0] > 0
    found = list(exchanges_of_list(parts[0].shape, 2))
    assert [x.elements for x in found] == [2 * joint.elements for joint in joints]
    for how in ({"pipeline": 2}, {"expert": 2}):
        with pytest.raises(BitlatheError, match=r"by tensor only|0 mixtures of experts"):
            [shard(model, each) for each in places(**how)]


def test_a_network_has_fewer_heads_than_chips():
    with pytest.raises(BitlatheError, match=r"tensor is 3, but there are 2 parts of 'transformer"):
        list(shards(named("sd3-0"), 3))


def test_a_shared_block_sums_what_its_mlp_reads():
    model = named("zamba2-drawn-1")
    place = next(places(tensor=2))
    run = Forward.decode(9, 3)
    found = [x.name for x in exchanges(model.shape, shard(model, place).shape, place, run)]
    block = next(p for p, _ in model.shape.parts() if isinstance(p, SharedBlock))
    assert f"{block.attention.output}_reduce" in found
    assert f"{block.exits[-1]}_reduce" in found


@pytest.mark.parametrize("tokens", [1, 7, 60])
def test_chips_that_share_experts_take_loads_of_ones_own(tokens):
    """Chip by chip, the experts that it has in a row get the rows that a walk over all finds."""
    loads = [40, 1, 3, 20, 2, 2, 10, 5]
    model = load_model(mixture()).routed(loads)
    rows = rows_of(loads, mixture()["num_experts_per_tok"], 3 * tokens)
    assert sum(rows) == mixture()["num_experts_per_tok"] * 3 * tokens
    whole, total, first = by_name(model, "prefill", tokens, 3), Counter(), 0
    for place in places(expert=3):
        share = shard(model, place)
        mine = place.expert.of(8)
        found = Counter()
        for gemm in share.gemms("prefill", tokens, 1):
            if gemm.name == "expert_down_proj":
                found[gemm.m] += gemm.count // model.depth
        assert found == Counter(n for n in rows[first : first + mine] if n)
        first += mine
        total += by_name(share, "prefill", tokens, 1)
    assert total == whole


def test_stages_have_layers_as_they_stand():
    model = load_model("gemma-3-1b")  # every sixth of 26 layers sees all tokens
    order = [layers.parts[0].window for layers in model.shape.in_order]
    found = []
    for place in places(pipeline=4):
        stage = shard(model, place).shape
        found.append([layers.parts[0].window for layers in stage.in_order])
    assert [len(each) for each in found] == [7, 7, 6, 6]
    assert [window for stage in found for window in stage] == order
    assert len(set(order)) == 2


def test_one_chip_has_the_model():
    model = load_model("llama-2-7b")
    assert shard(model, Place()) is model
    assert shard(load_model("resnet-18"), Place()).name == "resnet-18"


def test_a_tied_head_is_stored_with_the_table_where_one_chip_has_both():
    model = load_model({**dense(), "tie_word_embeddings": True})
    whole = held(model.shape)
    within = sum((held(shard(model, p).shape) for p in places(tensor=2)), Counter())
    assert (within["words"], within["lm_head"]) == (whole["words"], 0)
    apart = sum((held(shard(model, p).shape) for p in places(pipeline=2)), Counter())
    assert (apart["words"], apart["lm_head"]) == (whole["words"], whole["words"])


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        (
            "llama-2-7b",
            {"tensor": 33},
            "tensor is 33, but there are 32 attention heads; use at most 32",
        ),
        ("llama-2-7b", {"pipeline": 33}, "pipeline is 33, but there are 32 layers; use at most 32"),
        ("llama-2-7b", {"expert": 2}, "0 mixtures of experts (the model has none); use at most 1"),
        ("mixtral-8x7b", {"expert": 9}, "expert is 9, but there are 8 experts; use at most 8"),
        ("resnet-18", {"tensor": 2}, "is no transformer, whose layers are not divided"),
    ],
)
def test_what_cannot_be_divided_is_said(name, how, said):
    with pytest.raises(BitlatheError) as error:
        [shard(load_model(name), place) for place in places(**how)]
    assert said in str(error.value)


def test_groups_that_end_within_a_head_are_not_divided():
    """Six heads in four groups: stages have all of them, chips that share them would lose two."""
    own = {"num_attention_heads": 6, "head_dim": 4, "o_groups": 4, "num_hidden_layers": 2,
           "layer_types": None, "mlp_layer_types": None}  # fmt: skip
    model = load_model({**DRAWN["deepseek_v4-drawn-0"]["config"], **own})
    found = sum((held(each.shape) for each in shards(model, 1, 2)), Counter())
    assert not held(model.shape) - found
    with pytest.raises(BitlatheError, match="6 heads in 4 groups; use 1"):
        list(shards(model, 2))
