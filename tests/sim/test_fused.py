"""Fused attention and MLPs in runs: never worse than apart, accounted for, left alone where due."""

import math
import random
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.cli import main
from bitlathe.mapping.best import Best, Objective
from bitlathe.mapping.fused.chain import Chain, Lanes
from bitlathe.mapping.fused.demand import demand
from bitlathe.mapping.fused.kept_results import FUSIONS
from bitlathe.mapping.fused.near import NearChip
from bitlathe.mapping.fused.products import Asked, BlockProduct, block_product
from bitlathe.mapping.fused.search import Found, spilling
from bitlathe.mapping.fused.tiling import Tiling, problem
from bitlathe.mapping.kept_results import best_mapping
from bitlathe.mapping.mappers import ORDERS
from bitlathe.sim.fused import chains
from bitlathe.sim.fused.apart import least_run
from bitlathe.sim.fused.choose import NO_BETTER, choice, chosen
from bitlathe.sim.fused.conv_chains import conv_groups
from bitlathe.sim.fused.groups import groups_of, left_of
from bitlathe.sim.fused.listed import edges_of
from bitlathe.sim.run import LayerRun, Run
from bitlathe.sim.rung import Rung
from bitlathe.workloads import Gemm, load_model
from bitlathe.workloads.traced import from_torch
from bitlathe.workloads.vector_step import Tensor, VectorStep
from fused_cases import every_tiling

STEP = {"prefill": [[24, 8]], "decode": [40, {"context": 17, "sequences": 3}]}
TINY = {
    "model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96,
    "vocab_size": 100, "sliding_window": 20,
}  # fmt: skip
MOE = {
    "model_type": "mixtral", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 100, "num_local_experts": 4,
    "num_experts_per_tok": 2,
}  # fmt: skip
ROUTED: dict[str, dict[str, int]] = {
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen2_moe": {
        "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 40,
        "shared_expert_intermediate_size": 56,
    },
}  # fmt: skip


def block(i: int, stride: int, out: int) -> list[dict[str, Any]]:
    """Return an inverted residual block; of stride 1 with the sum behind it."""
    deep = {"kernel": 3, "padding": 1, "groups": 24, "stride": stride, "activation": "relu6"}
    layers: list[dict[str, Any]] = [
        {"name": f"{i}.wide", "out_channels": 24, "kernel": 1, "activation": "relu6"},
        {"name": f"{i}.deep", "out_channels": 24, **deep},
        {"name": f"{i}.thin", "out_channels": out, "kernel": 1},
    ]
    before = f"{i - 1}.sum" if i else "stem"
    added = {"name": f"{i}.sum", "type": "add", "from": [f"{i}.thin", before]}
    return layers + [added] * (stride == 1)


NET: dict[str, Any] = {
    "input": [3, 12, 10],
    "layers": [
        {"name": "stem", "out_channels": 8, "kernel": 3, "padding": 1, "activation": "relu"},
        *block(0, 1, 8), *block(1, 1, 8), *block(2, 1, 8), *block(3, 2, 12),
        {"name": "pool", "type": "global_pool"},
        {"name": "head", "type": "linear", "out_channels": 10},
    ],
}  # fmt: skip
CASES: tuple[dict[str, Any], ...] = (
    {"model": "opt-125m", "context": 64, "batch": 2},
    {"model": "opt-125m", "phase": "decode", "context": 96, "batch": 3},
    {"model": TINY, "context": 48, "causal": True},
    {"model": MOE, "context": 5, "batch": 3},
    {"model": "gemma-3-1b", "step": STEP},
    {"model": NET, "batch": 3},
)
RANKS = {
    "search": lambda run: run.cycles * run.energy_pj["total"],
    "search-cycles": lambda run: run.cycles,
    "search-energy": lambda run: run.energy_pj["total"],
}


def fused_in(layers: tuple[LayerRun, ...]) -> list[LayerRun]:
    return [layer for layer in layers if layer.fused is not None]


def fused_of(run: Run) -> list[LayerRun]:
    return fused_in(run.layers)


@pytest.mark.parametrize("mapper", RANKS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_run_is_never_worse_fused_and_never_faster_in_cycles_than_in_closed_form(
    case: int, mapper: str
) -> None:
    runs = {}
    for rung in ("analytic", "cycle"):
        how: dict[str, Any] = {"arch": "bitmod", "fidelity": rung, "mapper": mapper, **CASES[case]}
        fused, apart = bl.simulate(**how), bl.simulate(**how, fusion=False)
        assert not fused_of(apart)
        assert RANKS[mapper](fused) <= RANKS[mapper](apart)
        assert fused_of(fused)
        runs[rung] = fused
        for layer in fused.layers:
            accounted(layer, rung)
    assert runs["analytic"].cycles <= runs["cycle"].cycles


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_models_are_never_worse_fused(seed: int) -> None:
    """Dense and routed MLPs, all searches, both rungs, both phases; no work is lost."""
    rng, groups = random.Random(f"models {seed}"), 0
    for _ in range(8):
        kind = rng.choice(["llama", "mixtral", "qwen2_moe", "gpt_neox", "falcon"])
        heads = rng.choice([2, 4])
        model = {
            "model_type": kind, "hidden_size": rng.choice([32, 64, 96]), "vocab_size": 50,
            "num_hidden_layers": rng.randint(1, 3), "num_attention_heads": heads,
            "num_key_value_heads": rng.choice([1, heads]),
            "intermediate_size": rng.choice([48, 96, 160]), **ROUTED.get(kind, {}),
        }  # fmt: skip
        how: dict[str, Any] = {
            "phase": rng.choice(["prefill", "decode"]), "context": rng.choice([1, 7, 33]),
            "batch": rng.choice([1, 3]), "fidelity": rng.choice(["analytic", "cycle"]),
            "mapper": rng.choice([*RANKS]),
        }  # fmt: skip
        chip = rng.choice(["bitmod", "ant", "olive", "fp16", "bitmod-int6"])
        network = load_model(model)
        fused, apart = (bl.simulate(chip, network, **how, fusion=on) for on in (True, False))
        assert RANKS[how["mapper"]](fused) <= RANKS[how["mapper"]](apart)
        for layer in fused.layers:
            accounted(layer, how["fidelity"])
        products = [[each for each in run.layers if each.unit is None] for run in (fused, apart)]
        macs = [sum(each.dense_macs * each.count for each in some) for some in products]
        assert macs[0] == macs[1]
        groups += len(fused_of(fused))
    assert groups


def accounted(layer: LayerRun, rung: str) -> None:
    energy = layer.energy_pj
    assert math.isclose(energy["total"], math.fsum(energy.values()) - energy["total"])
    assert layer.cycles == layer.compute_cycles + layer.stall_cycles
    if rung == "cycle":
        assert layer.stalls is not None
        assert sum(layer.stalls.values()) == layer.stall_cycles
        assert min(layer.stalls.values()) >= 0
    if layer.fused is not None:
        assert layer.busy_cycles is not None
        assert layer.fused["lower_bound_cycles"] <= layer.cycles
        assert max(layer.busy_cycles.values()) <= layer.cycles
        assert 0 < layer.utilization <= 1


@pytest.mark.parametrize(
    ("mapper", "size_kib", "tokens", "inner"),
    [
        ("search-cycles", 2, 2, 4),
        *(
            pytest.param(mapper, size, 5, 40, marks=pytest.mark.slow)
            for mapper in ("search-cycles", "search-energy")
            for size in (2, 16)
        ),
    ],
)
def test_a_run_is_the_best_of_every_schedule_of_its_graph(
    mapper: str, size_kib: int, tokens: int, inner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tiling of every group, or its layers apart: none makes the graph's run better."""
    model = load_model({
        "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 20,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": inner,
    })  # fmt: skip
    chip = bl.load_arch("bitmod", {"buffers.io.size_kib": size_kib, "buffers.io.port_bits": 256})

    def run() -> Run:
        return bl.simulate(chip, model, context=tokens, fidelity="analytic", mapper=mapper)

    found, seen = run(), list[tuple[Chain, NearChip, Lanes, Objective]]()
    forced: dict[Chain, Tiling | None] = {}
    products: dict[Asked, dict[Chain, Best]] = {}

    def mapped(chain: Chain, near: NearChip, objective: Objective, asked: Asked) -> Best:
        kept = products.setdefault(asked, {})
        if chain not in kept:
            near_memories = asked.chip(chain, near)
            kept[chain] = best_mapping(
                asked.loops(chain), asked.bits(chain), near_memories, objective
            )
        return kept[chain]

    def as_forced(chain: Chain, near: NearChip, lanes: Lanes, objective: Objective) -> Found:
        seen.append((chain, near, lanes, objective))
        tiling = forced.get(chain)
        if tiling is None or problem(chain, tiling, near):
            raise bl.BitlatheError("apart")
        used: dict[Asked, Best] = {}

        def product(asked: Asked) -> BlockProduct:
            used[asked] = mapped(chain, near, objective, asked)
            return block_product(used[asked], near)

        asked = demand(chain, tiling, near, lanes, product)
        if problem(chain, tiling, near, spilling(chain, near, asked, used)):
            raise bl.BitlatheError("apart")
        return Found(tiling=tiling, products=used, tilings=1, tilings_costed=1, search_seconds=0.0)

    monkeypatch.setattr(chains, "best_fusion", as_forced)
    monkeypatch.setattr(chains, "least_fusion", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(
        "bitlathe.sim.fused.choose.chosen", lambda made, _, layers_of, *__, **___: layers_of(made)
    )
    apart = RANKS[mapper](run())
    every = {chain: every_tiling(chain, lanes) for chain, _, lanes, _ in list(seen)}
    assert len(every) == 2
    least, picked = apart, dict[Chain, Tiling]()
    for chain, some in every.items():
        gains = {}
        for tiling in some:
            forced = {chain: tiling}
            gains[tiling] = RANKS[mapper](run()) - apart
        best = min(gains, key=lambda each: gains[each])
        if gains[best] < 0:
            least, picked[chain] = least + gains[best], best
    forced = picked
    assert RANKS[mapper](run()) == pytest.approx(least, rel=1e-12)  # groups add up
    assert RANKS[mapper](found) == pytest.approx(least, rel=1e-12)
    assert len(fused_of(found)) == len(picked) > 0


def test_a_group_names_its_layers_and_stands_in_their_place() -> None:
    how: dict[str, Any] = {"model": "opt-125m", "context": 64, "fidelity": "analytic"}
    fused, apart = bl.simulate("bitmod", **how), bl.simulate("bitmod", **how, fusion=False)
    names = [layer.name for layer in apart.layers]
    groups = {
        "attention_qk+av": ["attention_qk", "softmax", "attention_av"],
        "fc1+fc2": ["fc1", "activation", "fc2"],
    }
    assert {group.name: (group.fused or {})["layers"] for group in fused_of(fused)} == groups
    for name, layers in groups.items():
        at = names.index(layers[0])
        assert names[at : at + 3] == layers
        names[at : at + 3] = [name]
        assert name in fused.table()
    assert [layer.name for layer in fused.layers] == names
    gone = {*groups, *groups["attention_qk+av"], *groups["fc1+fc2"], "fc2_residual", "fc2_norm"}
    others = [layer for layer in apart.layers if layer.name not in gone]
    assert [layer for layer in fused.layers if layer.name not in gone] == others


def test_equal_chains_of_convolutions_stand_once_with_the_steps_between_them() -> None:
    how: dict[str, Any] = {"arch": "bitmod", "model": NET, "fidelity": "analytic"}
    fused, apart = bl.simulate(**how), bl.simulate(**how, fusion=False)
    chains = fused_of(fused)
    assert [(each.name, each.count) for each in chains] == [
        ("0.wide+deep+thin", 3),
        ("3.wide+deep+thin", 1),
    ]
    assert chains[0].fused is not None
    assert chains[0].fused["layers"] == [
        *("0.wide", "0.wide.relu6", "0.deep", "0.deep.relu6", "0.thin", "0.sum")
    ]
    units = [each.name for each in fused.layers if each.unit is not None]
    assert units == ["stem.relu", "pool"]
    macs = [
        sum(each.dense_macs * each.count for each in run.layers if each.unit is None)
        for run in (fused, apart)
    ]
    assert macs[0] == macs[1]
    moved = sum(chains[0].dram_bits.values()) * 3
    gone = [each for each in apart.layers if each.name.startswith("0.")]
    assert moved < sum(sum(each.dram_bits.values()) * each.count for each in gone)
    # its inputs, and what is added
    assert chains[0].dram_bits["output"] == 8 * 12 * 10 * 16
    assert chains[0].dram_bits["input"] >= 2 * 8 * 12 * 10 * 16


def test_chains_are_fused_with_the_steps_that_quantize_their_results() -> None:
    """FP16 out of the array, INT8 into the next: the unit's work on a strip, between and behind."""
    arch = bl.load_arch("edge-npu", {"formats.linear.output": "fp16"})
    run = bl.simulate(arch, NET, fidelity="analytic")
    chain = next(each for each in run.layers if each.fused is not None)
    assert chain.fused is not None
    quantized = [f"{name}_quantize" for name in ("0.wide", "0.deep", "0.thin")]
    assert set(quantized) <= set(chain.fused["layers"])
    assert [each.name for each in run.layers if "_quantize" in each.name] == ["stem_quantize"]
    apart = bl.simulate(arch, NET, fidelity="analytic", fusion=False)
    work = [
        math.fsum(each.energy_pj.get("vector", 0.0) * each.count for each in some.layers)
        for some in (run, apart)
    ]
    assert work[0] == pytest.approx(work[1])  # no halo is made again


def test_chips_with_decoders_fuse_what_loads_no_table() -> None:
    """Attention, whose keys and values pass no decoder; an MLP, whose weights are decoded alike."""

    def run(**decoder: Any) -> tuple[bl.Arch, bl.Run, dict[str, LayerRun]]:
        own = {"pe.decoder": {"operators": {"fp16_multiply": 1}, **decoder}} if decoder else {}
        arch = bl.load_arch("fp16", {"dram.gb_per_s": 2, **own})
        found = bl.simulate(arch, TINY, context=48, fidelity="analytic")
        return arch, found, {each.name: each for each in fused_in(found.layers)}

    mlp = "gate_proj+up_proj+down_proj"
    (_, _, plain), (arch, _, decoded) = run(), run(entries=0)
    assert set(decoded) == set(plain)
    more = decoded[mlp].energy_pj["pe"] - plain[mlp].energy_pj["pe"]
    assert more >= 3 * 64 * 96 * arch.decoded_pj * (1 - 1e-9)  # each weight once at least
    assert more < 48 * 3 * 64 * 96 * arch.decoded_pj
    _, loaded, fused = run(entries=16)
    assert set(fused) == set(plain) - {mlp}
    assert "pass decoders, whose table is loaded" in loaded.unfused[mlp]


def test_a_traced_network_is_fused_as_its_configuration_is() -> None:
    """Chains of convolutions, residual sums with them; an MLP; a gated one is told to be apart."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Conv2d(4, 24, 1), nn.Conv2d(24, 4, 1)
            self.deep = nn.Conv2d(24, 24, 3, padding=1, groups=24)

        def forward(self, x: Any) -> Any:
            inner = nn.functional.relu6(self.up(x))
            return x + self.down(nn.functional.relu6(self.deep(inner)))

    stem = {"name": "stem", "out_channels": 4, "kernel": 3, "padding": 1}
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Block(), Block())
    traced = from_torch(net, torch.empty(1, 3, 12, 12))
    layers = [stem, *(each for i in (0, 1) for each in block(i, 1, 4))]
    known = load_model({"model_type": "convnet", "input": [3, 12, 12], "layers": layers})
    runs = [bl.simulate("edge-npu", each, fidelity="analytic") for each in (traced, known)]
    assert [run.cycles for run in runs] == [runs[1].cycles] * 2
    assert [run.energy_pj["total"] for run in runs] == [runs[1].energy_pj["total"]] * 2
    assert any(layer.fused for layer in runs[0].layers)
    assert not runs[0].unfused
    mlp = nn.Sequential(nn.Linear(8, 96), nn.GELU(), nn.Linear(96, 8))
    run = bl.simulate("bitmod", from_torch(mlp, torch.empty(64, 8)), fidelity="analytic")
    assert [layer.name for layer in run.layers] == ["0+2"]


def test_a_traced_gated_mlp_costs_what_the_readers_does() -> None:
    """Gate, up, product, down: one step joins the two, whatever calls the graph makes of it."""
    torch = pytest.importorskip("torch")
    nn, config = torch.nn, {**TINY, "model_type": "llama", "hidden_act": "silu"}

    class Gated(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, joined: Any) -> None:
            super().__init__()
            self.gate_proj, self.up_proj = (nn.Linear(64, 96, bias=False) for _ in range(2))
            self.down_proj, self.joined = nn.Linear(96, 64, bias=False), joined

        def forward(self, x: Any) -> Any:
            return self.down_proj(self.joined(self.gate_proj(x), self.up_proj(x)))

    def layers(model: Any, fusion: bool, output: str, **how: Any) -> list[LayerRun]:
        arch = bl.load_arch("edge-npu", {"formats.linear.output": output})
        run = bl.simulate(arch, model, fidelity="analytic", fusion=fusion, **how)
        names = ("gate_proj", "up_proj", "activation", "down_proj", "up_proj.multiply")
        own = (each for each in run.layers if each.fused or each.name in names)
        mine = [each for each in own if not each.name.startswith("attention")]
        return [replace(each, name="", count=1, fused=None, tiles=None) for each in mine]

    def traced(joined: Any) -> Any:
        return from_torch(Gated(joined), torch.empty(1, 48, 64))

    silu = nn.functional.silu
    one, long = (
        traced(joined)
        for joined in (lambda gate, up: silu(gate) * up, lambda x, up: x * x.sigmoid() * up)
    )
    for fusion, output, many in ((True, "int8@tensor", 1), (False, "int8@tensor", 4),
                                 (True, "fp16", 4)):  # fmt: skip
        wanted = layers(config, fusion, output, context=48)
        assert len(wanted) == many
        assert layers(one, fusion, output) == wanted
        assert layers(long, fusion, output) == wanted
    for changed in (
        lambda gate, up: silu(gate).roll(1, -1) * up,
        lambda gate, up: silu(gate) * up.roll(1, 1),
        lambda gate, up: silu(gate) * up + silu(gate).mean(),
        lambda gate, up: silu(gate) * up[:, :1],
        lambda gate, up: silu(gate) * up.softmax(-1),
    ):
        model = traced(changed)
        assert len(layers(model, True, "int8@tensor")) > 1
        (sentence,) = bl.simulate("bitmod", model, fidelity="analytic").unfused.values()
        assert "no step is known that joins the two alone" in sentence


def test_what_moves_elements_between_two_layers_keeps_them_apart() -> None:
    """Of traced networks: convolutions, an MLP, attention, whose sizes fit all the same."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, first: Any, between: Any, last: Any) -> None:
            super().__init__()
            self.first, self.between, self.last = first, between, last

        def forward(self, x: Any) -> Any:
            return self.last(self.between(self.first(x)))

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, between: Any) -> None:
            super().__init__()
            self.between = between

        def forward(self, q: Any, k: Any, v: Any) -> Any:
            return self.between(q @ k.mT) @ v

    def groups(net: Any, *shape: int, inputs: int = 1) -> list[str]:
        model = from_torch(net, *(torch.empty(*shape) for _ in range(inputs)))
        staged, alone = model.staged(), model.each_alone()
        assert alone is not None
        single = alone.staged()
        chains = [group.name for _, _, group in conv_groups(single.before, single.steps)]
        edges = edges_of(model, staged)
        found = groups_of(model.products(staged), model.vector_steps(staged), edges)
        return chains + [group.name for group in found]

    def convs(change: Any) -> list[str]:
        return groups(Net(nn.Conv2d(4, 8, 1), change, nn.Conv2d(8, 4, 3, padding=1)), 1, 4, 6, 6)

    def mlp(change: Any) -> list[str]:
        return groups(Net(nn.Linear(8, 32), change, nn.Linear(32, 8)), 32, 8)

    def attention(change: Any) -> list[str]:
        return groups(Attention(change), 2, 8, 8, inputs=3)

    def softmax(scores: Any) -> Any:
        return scores.softmax(-1)

    def cut(x: Any) -> Any:
        return nn.functional.pad(x[..., 1:], (0, 1))

    def turned(x: Any) -> Any:
        return torch.cat([x[:, 1:], x[:, :1]], 1)

    def each(kind: Any, act: Any, *moves: Any) -> list[list[str]]:
        return [kind(lambda x, move=move: move(act(x))) for move in moves] + [
            kind(lambda x, move=move: act(move(x))) for move in moves
        ]

    moves = [lambda x: x.mT, lambda x: x.roll(1, -1), lambda x: x.flip(-2), cut, turned]
    for kind, act, name in (
        (convs, nn.functional.relu, "first+last"),
        (mlp, nn.functional.gelu, "first+last"),
        (attention, softmax, "attention_qk+av"),
    ):
        assert each(kind, act, lambda x: x) == [[name]] * 2
        assert each(kind, act, *moves) == [[]] * 10
    assert attention(lambda x: x.softmax(-2)) == []
    last = Net(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1), lambda x: x.mT.relu())
    found = from_torch(last, torch.empty(1, 4, 6, 6)).each_alone()
    assert found is not None
    (chain,) = conv_groups(found.staged().before, found.staged().steps)
    assert chain[2].steps == ((), ())  # its results are moved ahead of the step


def test_the_command_names_what_is_fused() -> None:
    command = "simulate --arch bitmod --model opt-125m --context 64 --fidelity analytic"
    fused, apart = (
        CliRunner().invoke(main, [*command.split(), *more]).output for more in ([], ["--no-fusion"])
    )
    assert "fused on the chip: attention_qk, softmax, attention_av; fc1, activation, fc2\n" in fused
    assert "fused" not in apart


def test_scores_never_touch_dram_and_keys_come_once_for_each_block_of_rows() -> None:
    run = bl.simulate("bitmod", **CASES[0], fidelity="analytic", mapper="search")
    group = fused_of(run)[0]
    assert group.fused is not None
    tiling, heads, tokens, width = group.fused["tiling"], 12 * 2, 64, 64
    passes = 1 if tiling["held"] else math.ceil(tokens / tiling["rows"])
    # INT8 in channels: of a key one 16-bit scale for 64 elements, of a value one for all tokens
    stored = 8 + 16 / 64
    assert group.dram_bits["weight"] == passes * heads * tokens * width * (stored + stored)
    assert group.dram_bits["input"] == group.dram_bits["output"] == heads * tokens * width * 16


@pytest.mark.parametrize(
    ("settings", "binds"),
    [
        ({}, "dram"),
        # the array's products take more clocks than the unit's lanes work, their steps fewer
        ({"dram.gb_per_s": 60}, "vector"),
        ({"dram.gb_per_s": 200, "vector.lanes": 256}, "array"),
    ],
)
def test_a_group_is_bound_by_what_works_longest_waits_left_out(
    settings: dict[str, Any], binds: str
) -> None:
    chip = bl.load_arch("bitmod", settings)
    run = bl.simulate(chip, "opt-125m", context=64, fidelity="analytic", mapper="search")
    group = next(each for each in fused_of(run) if each.name == "attention_qk+av")
    heads, tokens, width = 12, 64, 64
    # an element: 3 additions, a product, a function of 4 clocks; a row: a function
    lanes = heads * tokens * (tokens * (3 + 1 + 4) + 4) / chip.vector.lanes
    macs = 2 * heads * tokens * tokens * width
    a_clock = chip.array.rows * chip.array.columns * chip.pe.lanes / 4  # of an INT8 weight: 4 terms
    stored = heads * tokens * width * (2 * 16 + 2 * (8 + 16 / 64))  # a scale a key, a value
    moved = stored / (8 * chip.dram.gb_per_s / chip.technology.clock_ghz)
    worked = {"array": macs / a_clock, "vector": lanes, "dram": moved}
    assert group.busy_cycles is not None
    for unit, clocks in worked.items():
        assert clocks <= group.busy_cycles[unit] <= clocks * 1.02  # tiles in whole clocks
    assert group.binds == binds == max(worked, key=worked.__getitem__)
    assert sum(run.binds.values()) == run.cycles


@pytest.mark.parametrize(
    "how",
    [
        {"arch": "hpca25/bitmod-lossy"},
        {"arch": "bitmod", "mapper": "whole-buffer"},
        {"arch": "bitmod", "mapper": "nest-whole-buffer"},
        {"arch": bl.load_arch("bitmod", {"vector.lanes": 0})},
        {"arch": "bitmod", "bandwidth": True},
    ],
)
def test_other_runs_keep_layers_apart(how: dict[str, Any]) -> None:
    assert not fused_of(bl.simulate(**how, model="opt-125m", context=32))


def test_a_chip_without_room_keeps_layers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_small(*_: Any) -> None:
        raise bl.BitlatheError("too small to fuse")

    monkeypatch.setattr("bitlathe.sim.fused.chains.best_fusion", too_small)
    how: dict[str, Any] = {"model": "opt-125m", "context": 32, "fidelity": "analytic"}
    apart = bl.simulate("bitmod", **how, fusion=False)
    found = bl.simulate("bitmod", **how)
    assert found.layers == apart.layers
    assert apart.unfused == {}
    assert found.unfused == dict.fromkeys(("attention_qk+av", "fc1+fc2"), "too small to fuse")


def test_a_run_says_by_how_much_a_memory_is_too_small_to_fuse() -> None:
    wide = TINY | {"intermediate_size": 2048, "hidden_size": 4096, "num_hidden_layers": 1}
    chip = bl.load_arch("bitmod", {"buffers.io.size_kib": 32})
    run = bl.simulate(chip, wide, "decode", 16, fidelity="analytic", mapper="search-cycles")
    # a row's inputs and results of 16 bits, sums and a block's of 21; gate, up, product
    needed = 4096 * (16 + 16 + 21 + 21) + 3 * 16
    assert run.unfused["gate_proj+up_proj+down_proj"] == (
        f"memory 'io' is too small to fuse: blocks of 1 x 1 take {needed} bits (inputs 65536, "
        "middle 32, middle as input 16, results 65536, a block's sums 86016, sums 86016), and it "
        f"has 262144, {needed - 262144} too few. These are the least blocks."
    )
    assert run.to_dict()["unfused"] == run.unfused


def test_groups_that_take_more_of_both_are_not_searched_and_the_run_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = TINY | {"intermediate_size": 8192, "hidden_size": 4096, "num_hidden_layers": 1}
    how: dict[str, Any] = {
        "model": wide,
        "context": 256,
        "fidelity": "analytic",
        "mapper": "search",
    }
    runs, searched = list[Run](), list[int]()
    FUSIONS.forget()
    for least in (chains.least_fusion, lambda *_: (0.0, 0.0)):
        monkeypatch.setattr(chains, "least_fusion", least)
        runs.append(bl.simulate("bitmod", **how))
        searched.append(len(FUSIONS._found))
    assert searched == [1, 2]
    assert runs[0].layers == runs[1].layers
    assert runs[0].unfused == runs[1].unfused == {"gate_proj+up_proj+down_proj": NO_BETTER}


def test_attention_that_is_surely_better_fused_is_not_mapped_alone_and_the_run_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it takes alone at least is no more than what it takes under a mapping, on any rung."""
    floors, mapped = dict[str, LayerRun](), set[str]()

    def least(chip: Any, gemm: Gemm, *of: Any) -> LayerRun | None:
        found = least_run(chip, gemm, *of)
        assert found is not None
        return floors.setdefault(gemm.name, found)

    def alone(rung: Rung, chip: Any, gemm: Gemm, *of: Any, **how: Any) -> LayerRun:
        mapped.add(gemm.name)
        return rung_mapped(rung, chip, gemm, *of, **how)

    rung_mapped = Rung.mapped
    for case, rung in product(CASES[:3], ("analytic", "cycle")):
        of: dict[str, Any] = {"arch": "bitmod", "fidelity": rung, **case}
        with monkeypatch.context() as patch:
            patch.setattr(Rung, "mapped", alone)
            patch.setattr("bitlathe.sim.fused.choose.least_run", least)
            run = bl.simulate(**of)
        assert len(floors) == 2 * (1 + (case["model"] is TINY))  # of each kind of attention
        assert mapped
        assert not mapped & floors.keys()
        for layer in bl.simulate(**of, fusion=False).layers:
            if layer.name in floors:
                floor = floors[layer.name]
                assert floor.cycles <= layer.cycles <= 3 * floor.cycles
                assert floor.dram_cycles <= layer.dram_cycles
                assert floor.energy_pj["total"] <= layer.energy_pj["total"] * (1 + 1e-12)
        with monkeypatch.context() as patch:
            patch.setattr("bitlathe.sim.fused.choose.least_run", lambda *_: None)
            assert bl.simulate(**of) == run
        floors.clear()
        mapped.clear()


def test_products_that_are_stored_in_different_formats_are_left_apart() -> None:
    rules = [{"names": "gate_proj", "weight": "int8@channel"}]
    chip = bl.load_arch("bitmod", {"formats.rules": rules})
    run = bl.simulate(chip, TINY, "decode", 16, fidelity="analytic", mapper="search-cycles")
    (why,) = [why for name, why in run.unfused.items() if name.startswith("gate_proj")]
    assert why == "the operands of gate_proj and up_proj are not stored alike."


def test_each_attention_of_a_step_is_fused_or_apart() -> None:
    model = load_model("gemma-3-1b")
    fused = bl.simulate("bitmod", model, step=STEP, fidelity="analytic").layers
    apart = bl.simulate("bitmod", model, step=STEP, fidelity="analytic", fusion=False).layers

    def count(layers: tuple[LayerRun, ...], name: str) -> int:
        return sum(each.count for each in layers if each.name.startswith(name))

    groups = sum(each.count for each in fused_in(fused) if each.name.startswith("attention"))
    assert 0 < groups < count(apart, "attention_qk")
    assert count(fused, "attention_qk") == count(apart, "attention_qk")
    for name in ("softmax", "attention_av"):
        assert count(fused, name) + groups == count(apart, name)


def gemms() -> tuple[Gemm, Gemm, VectorStep]:
    scores = Gemm(name="attention_qk", m=8, n=16, k=4, batch=2, kind="attention_qk", count=3)
    mix = replace(scores, name="attention_av", n=4, k=16, kind="attention_av")
    softmax = VectorStep(
        name="softmax",
        operations=("softmax",),
        rows=16,
        elements=256,
        after=("attention_qk",),
        count=3,
    )
    return scores, mix, softmax


def test_groups_are_what_follows_each_other() -> None:
    scores, mix, softmax = gemms()
    (group,) = groups_of([scores, mix], [softmax])
    assert (group.into, group.out, group.step) == ((scores,), mix, softmax)
    none: list[tuple[list[Gemm], list[VectorStep]]] = [
        ([mix, scores], [softmax]),  # the mix is another's
        ([scores, replace(mix, batch=1)], [softmax]),
        ([scores, mix], []),
        ([scores, mix], [replace(softmax, count=2)]),
        ([scores, mix], [replace(softmax, operations=("tanh", "softmax"))]),
        ([scores, mix], [softmax, replace(softmax, name="x", operations=("add",))]),
    ]
    for products, steps in none:
        assert not list(groups_of(products, steps))


def test_groups_are_taken_while_the_run_gets_better() -> None:
    def layer(cycles: int, energy: float) -> LayerRun:
        return LayerRun(
            name="x", count=1, m=1, n=1, k=1, batch=1, compute_cycles=0, dram_cycles=0,
            stall_cycles=cycles, cycles=cycles, utilization=0.0, dram_bits={}, sram_accesses={},
            energy_pj={"total": energy},
        )  # fmt: skip

    made: list[Any] = [
        ("saves", layer(-3, -1.0)),
        ("wastes", layer(2, 5.0)),
        ("trades", layer(2, -9.0)),
    ]

    def layers_of(some: Any) -> tuple[LayerRun, ...]:
        return (layer(20, 20.0), *(each for _, each in some))

    def taken(some: list[Any], objective: Any) -> int:
        gains = [(each.cycles, each.energy_pj["total"]) for _, each in some]
        assert len(chosen(some, [(0, 0.0)] * len(some), layers_of, objective)) - 1 <= len(some)
        return len(chosen(some, gains, layers_of, objective)) - 1

    found = {name: taken(made, name) for name in ("cycles", "energy", "edp")}
    assert found == {"cycles": 1, "energy": 2, "edp": 2}
    many = made * 6
    found = {name: taken(many, name) for name in ("cycles", "energy")}
    assert found == {"cycles": 6, "energy": 12}


def test_of_many_groups_the_best_choice_is_found() -> None:
    rng = random.Random("choice")
    for _ in range(60):
        gains = [(rng.randint(-9, 9), float(rng.randint(-9, 9))) for _ in range(rng.randint(0, 8))]
        base = (100, float(rng.choice([80, 100, 700])))
        for objective, rank in ORDERS.items():
            every = [
                rank(base[0] + sum(g[0] for g in some), base[1] + sum(g[1] for g in some))
                for size in range(len(gains) + 1)
                for some in combinations(gains, size)
            ]
            found = choice(gains, base, objective)
            sums = [sum(gains[i][part] for i in found) for part in (0, 1)]
            assert rank(base[0] + int(sums[0]), base[1] + sums[1])[0] == min(every)[0]


def test_an_mlp_is_what_its_step_joins() -> None:
    gate = Gemm(name="gate", m=6, n=10, k=4, count=3)
    up, down = replace(gate, name="up"), replace(gate, name="down", n=4, k=10)
    vector = Tensor(60, 10)
    step = VectorStep(
        name="activation", operations=("silu", "multiply"), rows=6, elements=60,
        after=("gate", "up"), streams=True, pieces=60, reads=(vector,), count=3,
    )  # fmt: skip
    edges = [("gate", "down"), ("up", "down")]
    (group,) = groups_of([gate, up, down], [step], edges)
    assert (group.name, group.gemms, group.rows) == ("gate+up+down", (gate, up, down), 6)
    both = replace(gate, n=20)
    alone = replace(step, after=("gate",), reads=())
    (one,) = groups_of([both, down], [alone], edges[:1])
    assert one.gemms == (both, down)
    none: list[tuple[list[Gemm], list[VectorStep], list[tuple[str, str]]]] = [
        ([gate, up, down], [step], []),
        ([gate, up, down], [step], [*edges, ("up", "other")]),  # another reads it
        ([gate, up, replace(down, k=9)], [step], edges),
        ([gate, replace(up, k=5), down], [step], edges),
        ([gate, up, down], [replace(step, operations=("cutoff", "silu"))], edges),  # of whole rows
        ([gate, up, down], [step, replace(step, name="x", operations=("add",))], edges),
        ([gate, up, down], [replace(step, streams=False)], edges),
        ([gate, up, replace(down, count=2)], [step], edges),
    ]
    for products, steps, joined in none:
        assert not list(groups_of(products, steps, joined))


def test_experts_leave_their_rows_of_the_step() -> None:
    more = [
        Gemm(name=name, m=3, n=n, k=k, count=2) for name, n, k in (("up", 8, 4), ("down", 4, 8))
    ]
    less = [replace(gemm, m=2, count=6) for gemm in more]
    step = VectorStep(
        name="activation", operations=("silu",), rows=9, elements=72, after=("up",), streams=True,
        pieces=72, makes=(Tensor(72, 8),), count=2,
    )  # fmt: skip
    groups = [*groups_of([*more, *less], [step], [("up", "down")])]
    assert [group.rows * group.count for group in groups] == [6, 12]
    left = left_of(step, groups[:1])
    assert left == replace(step, rows=6, elements=48, pieces=48, makes=(Tensor(48, 8),))
    assert left_of(step, groups) is None
    assert left_of(step, []) == step
