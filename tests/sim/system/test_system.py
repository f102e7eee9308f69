"""Models on systems: one chip is the plain chip; shares, exchanges and stages add up; laws."""

import json
import math

import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe import BitlatheError
from bitlathe.arch import load_arch
from bitlathe.arch.system import Links, load_system
from bitlathe.cli import main

RULE = {"fidelity": "analytic", "mapper": "whole-buffer"}
MODELS = ("llama-3.2-1b", "qwen3-30b-a3b", "bert-base", "vit-base", "resnet-18")


def system(chip="bitmod", size_gib=None, **degrees):
    links = degrees.pop("links", None)
    arch = load_arch(chip, {} if size_gib is None else {"dram.size_gib": size_gib})
    found = load_system("bitmod-pair", arch).divided(**degrees)
    return found if links is None else found.model_copy(update={"links": links})


def run(model="llama-3.2-1b", phase="decode", context=256, batch=1, step=None, **degrees):
    if step is not None:
        return bl.simulate(system(**degrees), model, step=step, **RULE)
    return bl.simulate(system(**degrees), model, phase, context, batch, **RULE)


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("model", MODELS)
def test_one_chip_is_the_plain_chip(model, fidelity):
    how = {"fidelity": fidelity, "mapper": "whole-buffer", "batch": 2}
    alone = bl.simulate("bitmod", model, **how)
    found = bl.simulate(system(), model, **how)
    (share,) = found.shares
    assert share.runs[0][0].to_dict() == alone.to_dict()
    assert (found.cycles, found.interval_cycles) == (alone.cycles, alone.cycles)
    assert found.energy_pj == {**alone.energy_pj, "links": 0.0}
    assert found.binds == alone.binds
    assert found.model_flops_utilization == pytest.approx(alone.utilization, rel=1e-12)
    assert found.time_to_first_token_s == alone.time_to_first_token_s
    assert dict(found.area_um2) == alone.area_um2
    assert (found.collectives, found.replicated, found.bubble) == ((), {}, 0)


def _routed(share):
    """Return the multiplications of routers, which are on every chip of a tensor group."""
    return sum(
        layer.m * layer.n * layer.k * layer.count * times
        for one, times in share.runs
        for layer in one.layers
        if layer.name == "router"
    )


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("model", ["llama-3.2-1b", "mixtral-8x7b", "qwen3-30b-a3b"])
@pytest.mark.parametrize(
    "degrees",
    [{"tensor": 2}, {"pipeline": 3}, {"data": 3}, {"tensor": 4, "pipeline": 2, "data": 2}],
)
def test_work_of_all_chips_is_that_of_the_model(model, phase, degrees):
    found, alone = run(model, phase, 64, 6, **degrees), run(model, phase, 64, 6)
    kept = sum(each.chips for each in found.shares)
    assert kept == found.chips == math.prod(degrees.values())
    work, whole = (sum(s.macs * s.chips for s in each.shares) for each in (found, alone))
    extra = sum(_routed(s) * s.chips for s in found.shares) - _routed(alone.shares[0])
    assert work == whole + extra
    stored = sum(s.parameters * s.chips for s in found.shares) / degrees.get("data", 1)
    assert stored == alone.shares[0].parameters + sum(found.replicated.values())
    assert sum(s.sequences * s.chips for s in found.shares if s.stage == 0) == 6 * degrees.get(
        "tensor", 1
    )
    assert found.tokens == alone.tokens == (6 if phase == "decode" else 6 * 64)


def test_an_all_reduce_ends_each_part_and_vocabularies_are_gathered():
    found = run(tensor=2, batch=3)
    counts = {each.name: (each.kind, each.count, each.bits) for each in found.collectives}
    stream = 3 * 2048 * 16
    assert counts == {
        "embedding_reduce": ("all_reduce", 1, stream),
        "o_proj_reduce": ("all_reduce", 16, stream),
        "down_proj_reduce": ("all_reduce", 16, stream),
        "lm_head_gather": ("all_gather", 1, 3 * 128256 * 16),
    }
    (share,) = found.shares
    assert found.cycles == share.cycles + sum(c.total["cycles"] for c in found.collectives)
    sent = 33 * 2 * stream + 3 * 128256 * 16  # 2 (p - 1) N, and (p - 1) N of the gather
    assert found.link_bits == sent
    assert found.energy_pj["links"] == pytest.approx(1.17 * sent)


def test_parts_side_by_side_are_summed_once():
    found = run("phi-2", tensor=2)
    assert [c.count for c in found.collectives if c.name == "fc2_reduce"] == [32]
    assert not [c for c in found.collectives if c.name == "dense_reduce"]


def test_experts_of_other_chips_are_reached_all_to_all():
    found = run("mixtral-8x7b", batch=8, expert=4)
    both = [c for c in found.collectives if c.kind == "all_to_all"]
    assert [c.name for c in both] == ["expert_dispatch", "expert_combine"]
    assert all(c.count == 32 and c.bits == 2 * 2 * 4096 * 16 and c.chips == 4 for c in both)


def test_stages_overlap_on_micro_batches():
    alone, found = run(phase="prefill", batch=8), run(phase="prefill", batch=8, pipeline=4)
    assert found.parallel["micro_batches"] == 4
    assert alone.cycles > found.cycles > found.interval_cycles >= max(found.stage_cycles)
    assert 0 < found.bubble < 1
    equal = run(phase="prefill", batch=8, pipeline=4, micro_batches=8)
    assert equal.parallel["micro_batches"] == 8
    one = run(phase="prefill", batch=8, pipeline=4, micro_batches=1)
    sends = sum(c.total["cycles"] for c in one.collectives)
    assert one.cycles == sum(one.stage_cycles) + sends
    assert one.bubble == pytest.approx(1 - sum(one.stage_cycles) / 4 / one.cycles)


def test_generation_waits_for_the_token_of_the_step_before():
    found = run(pipeline=4)
    assert found.interval_cycles > found.cycles  # one sequence: stages in turn, and the way back
    full = run(pipeline=4, batch=4)
    assert full.interval_cycles < full.cycles + 1000


@pytest.mark.parametrize("topology", ["ring", "all_to_all"])
@pytest.mark.parametrize("degrees", [{"tensor": 4}, {"pipeline": 4}, {"tensor": 2, "expert": 2}])
def test_faster_links_are_never_slower(topology, degrees):
    model = "qwen3-30b-a3b" if "expert" in degrees else "llama-3.2-1b"
    times = []
    for speed, wait in ((0.1, 5000), (1, 5000), (1, 50), (100, 50), (1e6, 0)):
        links = Links(gb_per_s=speed, latency_ns=wait, energy_pj_per_bit=1, topology=topology)
        found = run(model, batch=4, links=links, **degrees)
        times.append((found.cycles, found.interval_cycles))
    for one in zip(*times, strict=True):
        assert list(one) == sorted(one, reverse=True)


def test_waiting_chips_leak():
    found, alone = run(phase="prefill", batch=2, pipeline=2), run(phase="prefill", batch=2)
    chips = 2 * load_arch("bitmod").technology.clock_ghz
    leakage = alone.energy_pj["leakage"] / alone.cycles
    assert found.energy_pj["leakage"] == pytest.approx(leakage * found.cycles * chips)
    assert found.idle_pj["leakage"] > 0


def test_what_does_not_fit_the_dram_is_said_by_how_much():
    fits = run(size_gib=1, tensor=2)
    (share,) = fits.shares
    assert fits.notes == ()
    needed = (share.weight_bits + share.cache_bits) / 8 / 2**30
    short = run(size_gib=0.25, tensor=2)
    assert short.notes[-1].startswith(f"a chip needs {needed:.2f} GiB of DRAM (weights ")
    assert short.notes[-1].endswith(f"{needed - 0.25:.2f} GiB too little.")


def test_a_state_is_stored_as_it_is_moved():
    """In each layer 32 channels of 4 numbers and 4 inputs of the taps, in 16 bits as results."""
    mamba = {
        "model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4,
        "expand": 2, "conv_kernel": 4, "time_step_rank": 2, "vocab_size": 30,
    }  # fmt: skip
    (share,) = run(mamba, batch=3).shares
    assert share.cache_bits == 16 * 3 * 2 * 32 * (4 + 4)


def test_weights_and_cache_are_stored_in_the_chips_formats():
    found = run(context=100, batch=3)
    (share,) = found.shares
    model = bl.load_model("llama-3.2-1b")
    linear = sum(
        m.elements * n * c for part, c in model.shape.stored_parts() for m, n in part.matrices()
    )
    scheme = load_arch("bitmod").formats.linear.weight
    others = model.parameter_count - linear  # table, tied to the head, and norms: fp16
    low, high = (linear * scheme.bits_per_element(k, 1) + 16 * others for k in (8192, 2048))
    assert low <= share.weight_bits <= high
    assert share.cache_bits == pytest.approx(8 * 3 * model.cache_elements(100), rel=0.3)


def test_what_does_not_divide_is_said():
    notes = run("qwen2.5-0.5b", tensor=7).notes
    assert (
        "each of 2 K/V heads is stored on 3 to 4 of 7 chips, which share its query heads." in notes
    )
    notes = run(tensor=3, pipeline=3).notes
    assert (
        "8 K/V heads on 3 chips: 3 at most, 2 at least; the largest share bounds the time." in notes
    )
    assert (
        "16 layers on 3 stages: 6 at most, 5 at least; the largest share bounds the time." in notes
    )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"data": 4}, "batch is 1, but data 4 x expert 1 = 4 chips have sequences of their own"),
        ({"micro_batches": 2}, "micro_batches is 2, but a chip may have 1 of the 1 sequences"),
        ({"tensor": 64}, "tensor is 64, but there are 32 attention heads; use at most 32"),
        (
            {"model": "resnet-18", "phase": "prefill", "context": None, "pipeline": 2},
            "is no transf",
        ),
        ({"data": 2, "step": {"decode": [9, 9]}}, "step: its sequences are not divided"),
    ],
)
def test_what_cannot_be_is_said(how, said):
    with pytest.raises(BitlatheError) as error:
        run(**how)
    assert said in str(error.value)


def test_images_are_divided_by_data():
    found, alone = (
        run("resnet-18", "prefill", None, 5, data=2),
        run("resnet-18", "prefill", None, 5),
    )
    assert [(s.chips, s.sequences) for s in found.shares] == [(1, 3), (1, 2)]
    assert found.cycles < alone.cycles
    assert found.tokens == 5


def test_a_step_runs_on_tensors_and_stages():
    step = {"prefill": [[64, 0]], "decode": [100, 200]}
    alone, found = run(step=step), run(step=step, tensor=2, pipeline=2)
    assert found.cycles < alone.cycles
    assert found.batch == alone.batch == 3
    assert found.tokens == alone.tokens == 66


def test_formats_of_single_layers_hold_for_shares():
    rules = {"formats.rules": [{"layers": [0, 1], "weight": "int8@channel"}]}
    chip = load_arch("bitmod", rules)
    alone = bl.simulate(chip, "llama-3.2-1b", "decode", 64, **RULE)
    pair = load_system("bitmod-pair", chip)
    one = bl.simulate(pair.divided(), "llama-3.2-1b", "decode", 64, **RULE)
    assert (one.cycles, one.energy_pj["dram"]) == (alone.cycles, alone.energy_pj["dram"])
    two = bl.simulate(pair, "llama-3.2-1b", "decode", 64, **RULE)
    plain = run(tensor=2, context=64)
    assert two.cycles > plain.cycles
    assert two.shares[0].weight_bits > plain.shares[0].weight_bits
    with pytest.raises(BitlatheError, match=r"formats.rules.0.layers: a system whose chips have"):
        bl.simulate(pair.divided(pipeline=2), "llama-3.2-1b", "decode", 64, **RULE)


def test_a_step_stands_alone():
    with pytest.raises(BitlatheError, match="step: it says phase, context"):
        bl.simulate(system(tensor=2), "llama-3.2-1b", "decode", step={"decode": [9]}, **RULE)


def test_a_million_copies_take_no_longer_than_one():
    found, alone = run(data=2**20, batch=2**20), run()
    assert (found.cycles, found.shares[0].chips) == (alone.cycles, 2**20)


def test_a_system_is_shown():
    shown = CliRunner().invoke(main, ["archs", "bitmod-pair"])
    assert "2 of bitmod" in shown.output
    assert "links, tensor: ring, 100 GB/s each way, 20 ns, 1.17 pJ a bit" in shown.output
    area = 2 * bl.simulate("bitmod", "resnet-18", **RULE).area_um2["total"] / 1e6
    assert f"area {area:,.3f} mm2" in shown.output
    set_here = ["archs", "bitmod-pair", "--set", "dram.size_gib=4"]
    assert "DRAM: 64 GB/s, 8 GiB" in CliRunner().invoke(main, set_here).output
    plain = json.loads(CliRunner().invoke(main, ["archs", "bitmod-pair", "--json"]).output)
    assert plain["links"]["topology"] == "ring"


def test_the_command_prints_and_gives_json(tmp_path):
    options = ["--model", "llama-3.2-1b", "--phase", "decode", "--fidelity", "analytic"]
    asked = ["simulate", "--arch", "bitmod-pair", *options, "--mapper", "whole-buffer"]
    shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0
    assert "o_proj_reduce" in shown.output
    plain = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    assert plain["cycles"] == run(tensor=2).cycles
    assert plain["shares"][0]["chips"] == 2
    assert "time_to_first_token_s" not in plain  # a decode
    assert plain["energy_per_token_pj"] == plain["energy_pj"]["total"] / plain["tokens"]
    assert plain["parallel"]["tensor"] == 2
    other = CliRunner().invoke(main, [*asked, "--json", "--set", "dram.gb_per_s=64"])
    assert json.loads(other.output)["cycles"] < plain["cycles"]
    refused = CliRunner().invoke(main, [*asked, "--bandwidth"])
    assert refused.exit_code == 2
    assert "--bandwidth: of one chip" in refused.output
    path = tmp_path / "zero.yaml"
    path.write_text("chip: bitmod\nchips: 0\nlinks: {}\n")
    refused = CliRunner().invoke(main, ["simulate", "--arch", str(path), *options])
    assert refused.exit_code == 2
    assert f"{path}:2:1: chips" in refused.output
