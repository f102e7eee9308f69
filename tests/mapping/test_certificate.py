"""Certificates of mappings: what they say is true, and what is not true is refused."""

import json
import random
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks.bench_mapping import int8_chip
from bitlathe.arch import load_arch
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.accesses import outermost_bits
from bitlathe.mapping.best import OBJECTIVES, Best
from bitlathe.mapping.certify import certificate, chip_data, layer_data
from bitlathe.mapping.cost import Cost, cost
from bitlathe.mapping.floors import compulsory_bits, traffic_floor_bits
from bitlathe.mapping.mapped import Asked
from bitlathe.mapping.nest import Loops, Mapping
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.proof import cost as proof_cost
from bitlathe.mapping.proof import record
from bitlathe.mapping.proof.check import Verdict
from bitlathe.mapping.proof.floor import dram_bits, traffic_floor
from bitlathe.mapping.proof.record import ProofError
from bitlathe.mapping.proof.verify import check
from bitlathe.mapping.search import search
from bitlathe.sim.map_layer import product_on
from map_cases import (
    compiled_and_plain,
    deeper_chip,
    every_convolution,
    every_mapping,
    least_of,
    random_bits,
    random_chip,
    random_conv,
    with_bursts,
    with_halos,
)


def records(
    layer: Any, bits: Any, chip: Any, mapping: Mapping
) -> tuple[record.Layer, record.Chip, record.Nest]:
    return (
        record.layer_of(layer_data(layer, bits)),
        record.read(record.Chip, chip_data(chip), "chip"),
        record.read(record.Nest, mapping.to_dict(), "mapping"),
    )


def counted(layer: Any, bits: Any, chip: Any, mapping: Mapping) -> proof_cost.Cost:
    return proof_cost.cost(*records(layer, bits, chip, mapping))


def assert_same_cost(found: proof_cost.Cost, plain: Cost) -> None:
    assert (found.cycles, found.compute) == (plain.cycles, plain.compute_cycles)
    assert found.stall == plain.stall_cycles
    assert (found.first_load, found.last_store) == (
        plain.first_load_cycles,
        plain.last_store_cycles,
    )
    ports = {(p.memory, p.port): (p.reads, p.writes, p.busy, p.stall) for p in plain.ports}
    assert found.ports == ports
    for name, pj in found.energy_pj.items():
        assert float(pj) == pytest.approx(plain.energy_pj[name], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_the_checkers_own_count_is_the_cost(seed: int) -> None:
    """Random tiles, orders, doublings and unrollings; the two counts share no code."""
    rng, compared = random.Random(seed), 0
    while compared < 12:
        chip, bits = random_chip(rng, large=True), random_bits(rng)
        chip = with_bursts(chip, rng.choice([16, 96, 512])) if rng.random() < 0.4 else chip
        layer = Loops.product(*(rng.randint(1, 40) for _ in range(3)), rng.choice([1, 1, 2]))
        if compared % 2:
            chip = with_halos(chip) if rng.random() < 0.5 else chip
            layer = random_conv(rng, 5, padding=rng.choice([0, 2]))
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is not None:
            mapping, plain = found[0], cost(layer, bits, found[0], chip)
            assert_same_cost(counted(layer, bits, chip, mapping), plain)
            moved = outermost_bits(layer, bits, mapping, chip)
            assert dram_bits(*records(layer, bits, chip, mapping)) == sum(moved.values())
            compared += 1


def made(
    seed: int,
    objective: str,
    *,
    large: bool = False,
    budget: int = 4000,
    burst: int = 0,
    conv: bool = False,
) -> tuple[Any, Any, Any, Best, dict[str, Any]] | None:
    """A random layer on a random chip, the best mapping, and its certificate; None if none fits."""
    rng = random.Random(seed)
    chip, bits = random_chip(rng, large=large), random_bits(rng)
    chip = with_bursts(chip, burst) if burst else chip
    sizes = (rng.randint(2, 24) for _ in range(3)) if large else rng.sample([1, 2, 3, 3], 3)
    layer = Loops.product(*sizes, rng.choice([1, 1, 2]) if large else 1)
    if conv:
        chip = with_halos(chip) if seed % 2 else chip
        layer = random_conv(rng, 4 if large else 2, padding=1)
        while not large and not 4 <= layer.macs <= 32:
            layer = random_conv(rng, 2, padding=1)
    try:
        best = search(layer, bits, chip, objective)  # type: ignore[arg-type]
    except BitlatheError:
        return None
    data = certificate(
        layer,
        bits,
        (chip,),
        best.mapping,
        chip,
        objective=objective,
        budget=budget,  # type: ignore[arg-type]
    )
    return layer, bits, chip, best, data


def checked(data: dict[str, Any]) -> Verdict:
    return check(json.dumps(data))


@pytest.mark.parametrize(
    ("seed", "burst"),
    [*((seed, 0) for seed in (2, 4, 6, 7, 41)), (1, 48), (5, 20), (11, 64)],
)
def test_what_is_proven_is_the_best_of_every_mapping(seed: int, burst: int) -> None:
    """All mappings of small spaces, one by one: the proof closes on the best of them."""
    for objective in OBJECTIVES:
        found = made(seed, objective, budget=10**9, burst=burst)
        if found is None:
            continue
        layer, bits, chip, _, data = found
        best = least_of(layer, bits, chip, objective, every_mapping(layer, chip))
        assert best is not None
        verdict = checked(data)
        assert float(verdict.bound) == pytest.approx(getattr(best, AT[objective]), rel=1e-12)
        assert verdict.value == verdict.bound


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=() if seed in (1, 10, 17) else pytest.mark.slow)
     for seed in (0, 1, 2, 3, 4, 6, 8, 9, 10, 12, 13, *range(17, 26))],
)  # fmt: skip
def test_what_is_proven_of_a_convolution_is_the_best_of_every_mapping(seed: int) -> None:
    """The border left out and halos kept: the search, which counts them, may find another."""
    for objective in OBJECTIVES:
        found = made(seed, objective, budget=10**9, conv=True)
        assert found is not None
        layer, bits, chip, _, data = found
        best = least_of(layer, bits, chip, objective, every_convolution(layer, chip))
        verdict = checked(data)
        assert float(verdict.bound) == pytest.approx(getattr(best, AT[objective]), rel=1e-12)
        assert verdict.value >= verdict.bound


AT = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", [0, 1, 2, 3, pytest.param(4, marks=pytest.mark.slow), 5, 6, 7])
def test_the_search_and_the_proof_agree(seed: int, objective: str) -> None:
    """Branch and bound without compiled code, to its end: nothing is better than what was found."""
    found = made(seed, objective, large=True, budget=8000)
    assert found is not None
    best, verdict = found[3], checked(found[4])
    assert float(verdict.value) == pytest.approx(getattr(best.cost, AT[objective]), rel=1e-12)
    assert verdict.bound == verdict.value


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]
)
def test_more_tiers_of_memories(seed: int, objective: str) -> None:
    """A second buffer, registers of several operands: to the end, or less is claimed."""
    rng = random.Random(seed)
    chip, bits = deeper_chip(rng), random_bits(rng)
    layer = Loops.product(*(rng.randint(2, 12) for _ in range(3)))
    best = search(layer, bits, chip, objective)  # type: ignore[arg-type]
    data = certificate(
        layer,
        bits,
        (chip,),
        best.mapping,
        chip,
        objective=objective,
        budget=4000,  # type: ignore[arg-type]
    )
    verdict = checked(data)
    assert float(verdict.value) == pytest.approx(getattr(best.cost, AT[objective]), rel=1e-12)
    assert verdict.bound <= verdict.value
    assert verdict.bound == verdict.value or seed not in (0, 1, 2, 8, 9)


@pytest.mark.parametrize("objective", ["cycles", "energy"])
def test_a_mapping_that_is_not_the_best_is_told_how_far_it_is(objective: str) -> None:
    """The best of clocks is certified for the other objectives, and the other way round."""
    layer, bits, chip, best, data = made(5, objective, large=True, budget=8000)  # type: ignore[misc]
    for other in OBJECTIVES:
        given = search(layer, bits, chip, other)
        said = certificate(
            layer,
            bits,
            (chip,),
            given.mapping,
            chip,
            objective=objective,
            budget=8000,  # type: ignore[arg-type]
        )
        verdict, own = checked(said), getattr(given.cost, AT[objective])
        assert verdict.bound == checked(data).bound
        assert float(verdict.value / verdict.bound) == pytest.approx(
            own / getattr(best.cost, AT[objective])
        )


def test_the_smaller_the_budget_the_less_is_claimed() -> None:
    bounds = []
    for budget in (1, 10, 100, 8000):
        found = made(1, "energy", large=True, budget=budget)
        assert found is not None
        bounds.append(checked(found[4]).bound)
    assert bounds == sorted(bounds)
    assert bounds[-1] == checked(found[4]).value


@pytest.mark.parametrize(
    ("name", "sizes", "objective"),
    [
        ("bitmod", (2048, 4096, 4096), "cycles"),
        ("bitmod", (256, 4096, 4096), "edp"),
        ("ant-fp16", (256, 4096, 4096), "edp"),
        ("int8", (256, 4096, 4096), "edp"),
        pytest.param("int8", (256, 4096, 4096), "energy", marks=pytest.mark.slow),
        pytest.param("bitmod", (256, 4096, 4096), "energy", marks=pytest.mark.slow),
        pytest.param("gemmini-like", (256, 1024, 1024), "energy", marks=pytest.mark.slow),
    ],
)
def test_layers_of_models_are_proven(
    name: str, sizes: tuple[int, int, int], objective: str
) -> None:
    """Products of Llama-2-7B, among others: nothing in the space is better."""
    if name == "int8":
        layer, chips = Loops.product(*sizes), (int8_chip(),)
        bits = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8))
        asked = Asked(layer=layer, bits=bits, hierarchies=chips)
    else:
        asked = product_on(load_arch(name), *sizes)
    found = asked.best(objective)  # type: ignore[arg-type]
    data = certificate(
        asked.layer, asked.bits, asked.hierarchies, found.mapping, found.hierarchy,
        objective=objective,  # type: ignore[arg-type]
    )  # fmt: skip
    verdict = checked(data)
    assert verdict.bound == verdict.value
    assert float(verdict.value) == pytest.approx(getattr(found.cost, AT[objective]), rel=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_floor_of_traffic(seed: int) -> None:
    """The exact one is below what mappings move, and near the one in floating point."""
    rng = random.Random(seed)
    chip, bits = random_chip(rng, large=True), random_bits(rng)
    layer = Loops.product(*(rng.randint(2, 500) for _ in range(3)), rng.choice([1, 2]))
    own = record.layer_of(layer_data(layer, bits))
    hardware = record.read(record.Chip, chip_data(chip), "chip")
    found, (plain, formula) = traffic_floor(own, hardware), traffic_floor_bits(layer, bits, chip)
    assert found.bits <= plain * 1.0001 + 1
    assert found.bits >= plain * 0.97
    if found.formula == formula:
        assert found.bits >= compulsory_bits(layer, bits)


def paths(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places of all numbers and texts in plain data."""
    if isinstance(data, dict):
        return [path for key in data for path in paths(data[key], (*at, key))]
    if isinstance(data, list):
        return [path for i, each in enumerate(data) for path in paths(each, (*at, i))]
    return [at]


def changed(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found: Any = deepcopy(data)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


@pytest.mark.parametrize(
    ("objective", "conv"), [*((each, False) for each in OBJECTIVES), ("edp", True)]
)
def test_no_figure_may_be_another(objective: str, conv: bool) -> None:
    """Each number of cost, bound, traffic and proof, one more and one less; some of what is asked.

    Also of layer, chip and mapping none may be another, whether the cost depends on it or not.
    """
    found = made(3, objective, large=True, budget=40, conv=conv)
    assert found is not None
    data, refused = found[4], 0
    assert checked(data).value
    given = [path for part in ("layer", "chips", "mapping") for path in paths(data[part], (part,))]
    derived = ("cost", "bound", "traffic", "proof")
    for some in (random.Random(3).sample(given, 40), *(paths(data[p], (p,)) for p in derived)):
        for path in some:
            value = at(data, path)
            others: list[Any] = []
            if isinstance(value, int):
                others = [value + 1, value - 1]
            elif isinstance(value, str) and value[0].isdecimal():
                others = [str(Fraction(value) + 1), str(Fraction(value) - Fraction(1, 999))]
            for other in others:
                said = changed(data, path, other)
                with pytest.raises(ProofError):
                    checked(said)
                refused += 1
    assert refused > 40


def test_figures_are_those_of_layer_chip_and_mapping() -> None:
    """Writer and checker share what derives figures, so they are derived here by hand."""
    found = made(3, "edp", large=True, budget=40)
    assert found is not None
    data = found[4]
    layer, chip, figures = data["layer"], data["chips"][0], data["figures"]
    sizes, own = layer["sizes"], figures["layer"]
    m, n, k = (sizes[dim] for dim in "mnk")
    many = {row[0]: row[1] for row in own["operands"]}
    assert many == {"weight": n * k, "input": m * k, "output": m * n}
    for operand, elements, stored, code in own["operands"]:
        assert Fraction(stored) / elements == Fraction(layer["bits"][operand])
        assert Fraction(code) / elements == Fraction(layer["code_bits"][operand])
    assert Fraction(own["step_cycles"]) == m * n * k * Fraction(layer["step_cycles"])
    most = {axis["name"]: axis["size"] for axis in chip["axes"]}
    for axis, dim, idle, steps in figures["mapping"]["unrolled"]:
        size = most[axis] - idle
        assert size * steps >= sizes[dim] > size * (steps - 1)
    for memory, row in zip(chip["memories"], figures["chips"][0]["memories"], strict=True):
        copies = 1
        for axis in memory["per"]:
            copies *= most[axis]
        assert row["tiles"] == copies * (2 if memory["double_buffered"] else 1)
        totals = [memory["size_bits"], memory["words"], memory["latency_cycles"]]
        assert row["bits_words_latency"] == [each and each * copies for each in totals]
        for port, (width, *_) in zip(memory["ports"], row["ports"], strict=True):
            assert Fraction(width) == Fraction(port["width_bits"]) * copies


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["map", *arguments])


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    of = ("--arch", "bitmod", "--gemm", "16x256x256")
    written = run(*of, "--certificate", str(file))
    assert written.exit_code == 0
    assert "x of the space's optimum" in written.stderr
    alone = run("--check", str(file))
    assert alone.exit_code == 0
    assert "layer: m 16, n 256, k 256; bits: weight 4." in alone.stdout
    assert "dataflow 1 of 1: rows 32 (n) x columns 32 (m) x lanes 4 (k)" in alone.stdout
    assert run("--check", str(file), *of).exit_code == 0
    assert json.loads(run("--check", str(file), "--json").stdout)["times_optimum_at_most"] == 1.0
    assert "needs a chip" in run("--check", str(file), "--gemm", "1x2x3").stderr
    other = run("--check", str(file), *of, "--set", "array.rows=16")
    assert other.exit_code == 1
    assert "is not that of --arch" in other.stderr
    data = json.loads(file.read_text())
    data["cost"]["cycles"] -= 1
    file.write_text(json.dumps(data))
    damaged = run("--check", str(file))
    assert damaged.exit_code == 1
    assert "cost.cycles is" in damaged.stderr
