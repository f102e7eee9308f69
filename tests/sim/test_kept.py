"""Results that stay on the chip under searches: never worse, in rooms that are there."""

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

import bitlathe as bl
from bitlathe.arch import resolve
from bitlathe.mapping.cost import cost
from bitlathe.mapping.keep import Kept
from bitlathe.mapping.legal import problems
from bitlathe.mapping.mappers import NEST_MAPPERS
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.search import search
from bitlathe.mapping.staying import searched, with_staying
from bitlathe.sim.chip import Chip
from bitlathe.sim.kept import STAY_INSTEAD
from bitlathe.sim.mapped import nest_bits, parts_of
from bitlathe.sim.policy import layer_bits
from bitlathe.sim.results import results_of
from bitlathe.sim.run import Run
from bitlathe.sim.rung import RUNGS
from bitlathe.sim.vector import with_vector
from bitlathe.workloads import Gemm, from_torch, load_model
from bitlathe.workloads.in_place import without_a_place
from bitlathe.workloads.shares import Read

KEEPS = {"execution.keep_outputs": True}
NET: dict[str, Any] = {
    "input": [3, 16, 16],
    "layers": [
        {"name": "stem", "out_channels": 8, "kernel": 3, "padding": 1, "activation": "relu"},
        {"name": "wide", "out_channels": 24, "kernel": 1, "activation": "relu6"},
        {"name": "deep", "out_channels": 24, "kernel": 3, "padding": 1, "groups": 24},
        {"name": "thin", "out_channels": 8, "kernel": 1},
        {"name": "sum", "type": "add", "from": ["thin", "stem"]},
        {"name": "down", "out_channels": 16, "kernel": 3, "stride": 2, "padding": 1},
        {"name": "pool", "type": "global_pool"},
        {"name": "head", "type": "linear", "out_channels": 10},
    ],
}
RANKS = {
    "search": lambda run: run.cycles * run.energy_pj["total"],
    "search-cycles": lambda run: run.cycles,
    "search-energy": lambda run: run.energy_pj["total"],
}


def run_of(chip: str, model: Any, mapper: str, fidelity: str, **more: Any) -> tuple[Run, Run]:
    """A run without results that stay, and with."""
    how: dict[str, Any] = {"mapper": mapper, "fidelity": fidelity, "fusion": False, **more}
    kept = bl.simulate(bl.load_arch(chip, KEEPS), model, **how)
    return bl.simulate(chip, model, **how), kept


def read_and_left(run: Run) -> dict[str, tuple[bool, bool]]:
    """Of each layer whether inputs come from DRAM, and results go there."""
    return {
        each.name: (each.dram_bits["input"] > 0, each.dram_bits["output"] > 0)
        for each in run.layers
        if each.unit is None
    }


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("mapper", RANKS)
def test_a_run_is_never_worse_and_moves_less(mapper: str, fidelity: str) -> None:
    apart, kept = run_of("bitmod", NET, mapper, fidelity)
    assert kept.mapper == mapper
    assert kept.no_search is None
    assert kept.cycles <= apart.cycles
    assert kept.energy_pj["total"] <= apart.energy_pj["total"]
    assert RANKS[mapper](kept) < RANKS[mapper](apart)
    # not the stem's, which the sum reads later; nor what the sum works on
    assert read_and_left(kept) == {
        "stem": (True, True), "wide": (True, False), "deep": (False, False), "thin": (False, True),
        "down": (True, False), "head": (False, True),
    }  # fmt: skip
    accounted(kept)


def accounted(run: Run) -> None:
    for each in run.layers:
        assert each.cycles == each.compute_cycles + each.stall_cycles
        if run.fidelity == "cycle":
            assert each.stalls is not None
            assert sum(each.stalls.values()) == each.stall_cycles
        assert each.busy_cycles is not None
        if each.unit is None:
            assert max(each.busy_cycles.values()) <= each.cycles


LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 100,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def story(layers: int) -> list[tuple[str, list[str], list[str]]]:
    """The rows of a Llama one by one: what each reads, and leaves; what streams in is no reading.

    Tensors are named by the product that made them and the layer: with ``+`` the stream, with
    ``*`` what a step leaves in the place of results. The first norm is counted behind the last.
    """
    told, ahead, x = [("embedding", ["table"], ["+0"])], "+0", "+0"
    for i in range(layers):
        told += [(f"{n}_proj", [x], [f"{n}{i}"]) for n in "qkv"]
        told += [
            ("attention_qk", [f"q{i}"], [f"s{i}"]), ("softmax", [f"s{i}"], [f"s{i}*"]),
            ("attention_av", [f"s{i}*"], [f"a{i}"]), ("o_proj", [f"a{i}"], [f"o{i}"]),
            ("o_proj_residual", [ahead], [f"o{i}+"]), ("o_proj_norm", [f"o{i}"], [f"o{i}*"]),
            ("gate_proj", [f"o{i}*"], [f"g{i}"]), ("up_proj", [f"o{i}*"], [f"u{i}"]),
            ("activation", [f"g{i}"], []), ("down_proj", [f"u{i}"], [f"d{i}"]),
            ("down_proj_residual", [f"o{i}+"], [f"d{i}+"]),
            ("down_proj_norm", [f"d{i}"], [f"d{i}*"]),
        ]  # fmt: skip
        ahead, x = f"d{i}+", f"d{i}*"
    last = f"d{layers - 1}"
    return [*told, ("final_norm", [last], [f"{last}*n"]), ("lm_head", [f"{last}*n"], ["logits"])]


BUFFERS = [("whole-buffer", 512), ("whole-buffer", 24), ("whole-buffer", 12), ("search", 512)]


@pytest.mark.parametrize(("mapper", "kib"), BUFFERS)
def test_what_stays_of_a_transformer_by_a_plain_loop(mapper: str, kib: int) -> None:
    """DRAM of every row from where each tensor lies, and the room of those on the chip."""
    size = {"buffers.io.size_kib": kib}
    how: dict[str, Any] = {"mapper": mapper, "fidelity": "analytic", "fusion": False, "context": 48}
    apart, kept = (
        bl.simulate(bl.load_arch("bitmod", {**size, **also}), LLAMA, **how) for also in ({}, KEEPS)
    )
    assert kept.cycles < apart.cycles
    assert kept.energy_pj["total"] < apart.energy_pj["total"]
    layers = LLAMA["num_hidden_layers"]
    told, alone = story(layers), {each.name: each for each in apart.layers}
    moved: dict[str, list[int]] = {name: [0, 0] for name in alone}
    rows: dict[str, list[bool]] = {}
    for each in kept.layers:  # the instances of a product, in order: whether their results stay
        rows.setdefault(each.name, []).extend([not each.dram_bits["output"]] * each.count)
        for i, operand in enumerate(("input", "output")):
            moved[each.name][i] += each.dram_bits[operand] * each.count
    letters = {"qkv"[i]: f"{n}_proj" for i, n in enumerate("qkv")}
    letters |= {"s": "attention_qk", "a": "attention_av", "o": "o_proj", "g": "gate_proj"}
    letters |= {"u": "up_proj", "d": "down_proj"}

    def on_chip(tensor: str) -> bool:
        return tensor[-1] != "+" and tensor[0] in letters and tensor[1:2].isdigit() and (
            rows[letters[tensor[0]]][int(tensor[1])]
        )  # fmt: skip

    expected: dict[str, list[int]] = {name: [0, 0] for name in alone}
    bits: dict[str, int] = {}
    for name, reads, leaves in told:
        sizes = alone[name].dram_bits
        streams = name.endswith("_residual")
        for tensor in leaves:
            bits[tensor] = sizes["input" if streams else "output"]
            made = rows.get(letters.get(tensor[0], ""), [True] * layers)
            stored_by_product = streams and not made[int(tensor[1])]
            if not on_chip(tensor) and not stored_by_product:
                expected[name][1] += bits[tensor]
        expected[name][0] += sum(sizes["input"] for tensor in reads if not on_chip(tensor))
    assert moved == expected
    if mapper == "whole-buffer":  # a tensor lies there from the step that leaves it to its reader
        for i, (name, reads, leaves) in enumerate(told):
            later = {tensor for _, some, _ in told[i + 1 :] for tensor in some}
            ahead = {tensor for _, _, some in told[:i] for tensor in some}
            lie = {tensor for tensor in ahead & (later | {*reads}) if on_chip(tensor)}
            done, own = lie - later, {tensor for tensor in leaves if on_chip(tensor)}
            others, *room = (sum(bits[each] for each in some) for some in (lie & later, done, own))
            there = sum(room) if name in rows and name in letters.values() else max(room)
            assert others + there <= kib * 8192, i
    else:
        rule = bl.simulate(
            bl.load_arch("bitmod", KEEPS), LLAMA, **{**how, "mapper": "whole-buffer"}
        )
        dram = [sum(sum(each.dram_bits.values()) * each.count for each in run.layers)
                for run in (kept, rule)]  # fmt: skip
        assert dram[0] <= dram[1]


def test_cycle_is_never_below_analytic() -> None:
    runs = [run_of("bitmod", NET, "search", rung)[1] for rung in ("analytic", "cycle")]
    for one, other in zip(*(run.layers for run in runs), strict=True):
        assert one.unit or one.cycles <= other.cycles


def test_tiles_lie_in_the_room_that_is_left() -> None:
    """Recounted from each nest: tiles beside all that stays are no more than the buffer."""
    chip = Chip.of(resolve(bl.load_arch("bitmod"), phase="prefill", model="x"))
    gemm = load_model(NET).gemms()[1]
    bits, clocks = layer_bits(chip.arch, gemm), list[int]()
    (hierarchy,) = chip.hierarchies
    size = hierarchy.memory("io").size_bits
    assert size is not None
    for spare in (100, 3000, 60000):
        kept = Kept(output=True, kept_bytes=size // 8 - spare)
        (part,) = parts_of(chip, gemm, bits, "search-cycles", kept)
        taken, mapping = 8 * kept.kept_bytes, part.best.mapping
        for operand in ("input", "output"):
            place = next(each for each in mapping.chain(operand) if each.memory == "io")
            sizes = mapping.tile(part.loops.sizes, place.outside)
            tile = replace(part.loops, sizes=sizes).elements(operand)
            taken += math.ceil(tile * part.bits.of(operand)) * (2 if place.doubled else 1)
        assert taken <= size
        assert part.best.outer_bits["output"] == 0 < part.best.outer_bits["input"]
        clocks.append(part.best.cost.cycles)
    assert clocks == sorted(clocks, reverse=True)
    assert clocks[0] > clocks[-1]
    for many in (size // 8, size):
        with pytest.raises(bl.BitlatheError, match=f"takes {many} bytes, more than the memory has"):
            parts_of(chip, gemm, bits, "search", Kept(output=True, kept_bytes=many))


def test_a_search_counts_what_stays_at_no_less_than_it_costs() -> None:
    chip = Chip.of(resolve(bl.load_arch("bitmod"), phase="prefill", model="x"))
    bits = layer_bits(chip.arch, Gemm(name="x", m=40, n=96, k=130))
    stored = nest_bits(chip, Gemm(name="x", m=40, n=96, k=130), bits)
    layer, (plain,) = Loops.product(40, 96, 130), chip.hierarchies
    for staying in (("input",), ("output",), ("input", "output")):
        on = with_staying(plain, staying, 8 * 4000)
        assert on is not None
        found = search(layer, stored, on, "energy")
        counted = cost(layer, stored, found.mapping, searched(on))
        assert not found.optimal
        assert not problems(layer, stored, found.mapping, on)
        assert found.cost == cost(layer, stored, found.mapping, on)
        assert found.cost.cycles <= counted.cycles
        assert found.cost.total_pj < counted.total_pj
        assert {op for op, moved in found.outer_bits.items() if not moved} == set(staying)


def test_chips_and_mappers_that_cannot_say_so() -> None:
    refused = [
        ("gemmini-like", "search", "inputs and outputs do not share the memory behind 'dram'"),
        ("gemmini-like", "auto", "take the key out of the chip"),
        ("bitmod", "nest-whole-buffer", "which this rule does not count; use mapper 'search'"),
    ]
    for chip, mapper, says in refused:
        with pytest.raises(bl.BitlatheError, match=says):
            bl.simulate(bl.load_arch(chip, KEEPS), NET, mapper=mapper, fidelity="analytic")
    with pytest.raises(bl.BitlatheError, match="of layers that keep nothing"):
        bl.simulate(bl.load_arch("bitmod", KEEPS), NET, mapper="search", bandwidth=True)


def test_results_that_a_step_cannot_leave_in_their_place_go_to_dram() -> None:
    """A pool whose input is read later, too; three mixes of each token with the one before."""
    pool = {"name": "most", "type": "pool", "kernel": 3, "stride": 1, "padding": 1}
    sums = {"name": "sum", "type": "add", "from": ["a", "stem"]}
    ends = [{"name": "a", "out_channels": 8, "kernel": 1}, {**NET["layers"][-1], "name": "head"}]
    stem, last = NET["layers"][0], NET["layers"][-2]
    rwkv = {
        "model_type": "rwkv", "hidden_size": 64, "attention_hidden_size": 64, "vocab_size": 100,
        "intermediate_size": 128, "num_hidden_layers": 2, "context_length": 128,
    }  # fmt: skip
    cases: list[tuple[Any, set[str]]] = [
        ({**NET, "layers": [stem, pool, ends[0], last, ends[1]]}, set()),
        ({**NET, "layers": [stem, pool, ends[0], sums, last, ends[1]]}, {"stem"}),
        (LLAMA, set()),
        (rwkv, {"output", "ffn_receptance", "ffn_value"}),
    ]
    for net, barred in cases:
        model = load_model(net)
        assert without_a_place(model.staged()) == barred
        if barred:
            how: dict[str, Any] = {"mapper": "whole-buffer", "fidelity": "analytic"}
            left = read_and_left(bl.simulate(bl.load_arch("bitmod", KEEPS), model, **how))
            assert all(left[name][1] for name in barred)


def test_results_whose_elements_are_moved_do_not_stay() -> None:
    """Of traced networks, whose sizes fit all the same."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, between: Any) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 3, padding=1)
            self.between = between

        def forward(self, x: Any) -> Any:
            return self.last(self.between(self.first(x)))

    def stays(between: Any) -> bool:
        run = run_of(
            "bitmod", from_torch(Net(between), torch.empty(1, 4, 6, 6)), "search-energy", "analytic"
        )[1]
        return not read_and_left(run)["first"][1]

    assert stays(torch.relu)
    assert not stays(lambda x: x.roll(1, -1))
    assert not stays(lambda x: x.mT.relu())


def test_fused_groups_stay_where_keeping_is_no_better() -> None:
    """Short prompts stay; of longer ones attention is fused, then all that was."""
    for context, groups in ((48, 0), (512, 1), (1024, 2)):
        fused, kept = run_of("bitmod", LLAMA, "search", "analytic", context=context, fusion=True)
        assert RANKS["search"](kept) <= RANKS["search"](fused)
        assert sum(each.fused is not None for each in kept.layers) == groups
        assert (kept.layers == fused.layers) == (groups == 2)
        assert (STAY_INSTEAD in kept.unfused.values()) == (groups < 2)


@pytest.mark.parametrize("mapper", ["search", "search-cycles"])
def test_layers_are_fused_beside_others_whose_results_stay(mapper: str) -> None:
    """The best of every set of results that may stay, with the chain fused and apart, by hand."""
    fc = {"name": "fc", "type": "linear", "out_channels": 64}
    net = {**NET, "layers": [*NET["layers"][:5], NET["layers"][-2], fc, NET["layers"][-1]]}
    arch, how = bl.load_arch("bitmod", KEEPS), {"mapper": mapper, "fidelity": "analytic"}
    fused, found = (bl.simulate(each, net, **how) for each in ("bitmod", arch))
    model = load_model(net)
    staged = model.staged()
    chip = Chip.of(resolve(arch, phase="prefill", model="x"))
    results, staged = results_of(chip.arch, model, staged, mapper=mapper)
    gemms = [product.gemm for product in staged.before]
    bits = {gemm: layer_bits(chip.arch, gemm, None, results.of(gemm)) for gemm in gemms}
    (chain,) = (layer for layer in fused.layers if layer.fused)
    assert chain.fused is not None
    size = [math.ceil(g.output_elements * max(bits[g].output, 8) / 8) for g in gemms]

    def total(layers: Any) -> tuple[int, float]:
        cycles = sum(layer.cycles * layer.count for layer in layers)
        return cycles, math.fsum(layer.energy_pj["total"] * layer.count for layer in layers)

    def run(chained: bool, stay: set[str]) -> tuple[int, float]:
        layers, steps = [], list(staged.steps)
        inside = set(chain.fused["layers"]) if chained and chain.fused else set()
        for i, gemm in enumerate(gemms):
            came, leaves = i > 0 and gemms[i - 1].name in stay, gemm.name in stay
            room = size[i - 1] * came + size[i] * leaves
            kept = Kept(input=came, output=leaves, kept_bytes=room)
            if gemm.name not in inside:
                layers.append(RUNGS["analytic"].mapped(chip, gemm, bits[gemm], mapper, kept))
            elif gemm.name == chain.fused["layers"][0]:  # type: ignore[index]
                layers.append(chain)
        return total(with_vector(chip, [each for each in steps if each.name not in inside], layers))

    may = {True: ["fc"], False: ["wide", "deep", "fc"]}  # the pool, and the sum, move others
    rank = NEST_MAPPERS[mapper].rank
    least, best = total(fused.layers), (True, set[str]())
    assert run(True, set()) == pytest.approx(least)
    for chained, names in may.items():
        base = run(chained, set())
        for many in range(len(names) + 1):
            for some in combinations(names, many):
                now = run(chained, set(some))
                if now[0] <= base[0] and now[1] <= base[1] and rank(now) < rank(least):
                    least, best = now, (chained, set(some))
    assert best == (True, {"fc"})
    assert total(found.layers) == pytest.approx(least)
    assert [layer.name for layer in found.layers if layer.fused] == [chain.name]
    assert read_and_left(found)["head"] == (False, True)


def test_an_input_is_what_the_layer_before_leaves() -> None:
    """A stride that skips pixels leaves them where they are."""
    model = load_model(NET)
    assert [Read(gemm, "input").elements for gemm in model.gemms()] == [
        3 * 256, 8 * 256, 24 * 256, 24 * 256, 8 * 256, 16,
    ]  # fmt: skip
