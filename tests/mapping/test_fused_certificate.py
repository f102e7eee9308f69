"""Certificates of fused chains: what they say is true, and what is not true is refused."""

import json
import random
import re
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES
from bitlathe.mapping.fused.certify import about_data, fused_certificate
from bitlathe.mapping.fused.chain import Chain, Lanes
from bitlathe.mapping.fused.cost import cost
from bitlathe.mapping.fused.near import NearChip
from bitlathe.mapping.fused.products import Asked, BlockProduct, block_product
from bitlathe.mapping.fused.search import search
from bitlathe.mapping.fused.search import tilings as searched_tilings
from bitlathe.mapping.proof.check import Verdict
from bitlathe.mapping.proof.fused.check import Fusion
from bitlathe.mapping.proof.fused.floors import SEGMENTS, once_bits, traffic_floor
from bitlathe.mapping.proof.fused.parts import BOUNDS
from bitlathe.mapping.proof.fused.record import Tiling
from bitlathe.mapping.proof.fused.totals import FusedCost, cost_of
from bitlathe.mapping.proof.record import ProofError
from bitlathe.mapping.proof.verify import check
from fused_cases import (
    as_made,
    figures,
    found_once,
    made_up,
    random_chain,
    random_lanes,
    random_near,
    random_tiling,
    with_other,
)

FEW_PARTS = 2
Case = tuple[Chain, NearChip, Lanes]


def fusion(chain: Chain, near: NearChip, lanes: Lanes, objective: str = "edp") -> Fusion:
    return Fusion.of_data(**about_data(chain, near, lanes), objective=objective)


def costed(of: Fusion, tiling: Tiling, product: Any) -> FusedCost:
    """What a tiling costs whose products take what is said of them."""
    clocks, *total = of.asks(tiling, lambda each: as_made(product(Asked(*each))), walked=True)
    return cost_of(of.near, total[0], clocks, total[1])


def random_case(rng: random.Random) -> Case:
    return random_chain(rng), random_near(rng), random_lanes(rng)


@pytest.mark.parametrize("seed", range(8))
def test_the_checkers_own_walk_is_the_cost(seed: int) -> None:
    """Random chains, masks, tilings, sums spilled too; the two share no code."""
    rng, compared = random.Random(f"walk {seed}"), 0
    while compared < 15:
        chain, near, lanes = random_case(rng)
        tiling, product = random_tiling(rng, chain, lanes), made_up(rng, near)
        of, own = fusion(chain, near, lanes), Tiling(**tiling.to_dict())
        own = own._replace(rows=min(own.rows, chain.m), columns=min(own.columns, chain.middle))
        try:
            expected = cost(chain, tiling, near, lanes, product)
        except BitlatheError:
            assert of.problem(own, frozenset())
            continue
        assert of.problem(own, frozenset()) is None
        found = costed(of, own, product)
        assert found.cycles == expected.cycles
        assert found.compute == expected.compute_cycles
        assert found.lanes == expected.busy_cycles["vector"]
        for at, both in expected.accesses.items():
            assert found.ports[tuple(at)][:2] == both
        assert found.outer_bits == expected.outer_bits
        pj = {**expected.energy_pj, "outermost": expected.energy_pj["dram"]}
        pj["memories"] = pj["sram_read"] + pj["sram_write"]
        for name, exactly in found.energy_pj.items():
            assert float(exactly) == pytest.approx(pj[name], rel=1e-12, abs=1e-9)
        compared += 1


def test_the_checkers_space_is_that_of_the_search() -> None:
    rng = random.Random("space")
    for _ in range(25):
        case = random_case(rng)
        of = fusion(*case)
        theirs = {Tiling(**each.to_dict()) for each in searched_tilings(case[0], *case[1:])}
        mine = list(of.tilings())
        assert len(mine) == len(set(mine))
        assert set(mine) == theirs


@cache
def proven(seed: int, objective: Any, budget: int = 4000) -> tuple[Case, dict[str, Any]]:
    """A random chain whose best schedule is certified."""
    rng, kept = random.Random(f"proven {seed}"), found_once()
    while True:
        case = random_case(rng)
        chain = replace(case[0], m=min(case[0].m, 4), middle=min(case[0].middle, 8))
        chain = replace(chain, mask=None if rng.random() < 0.5 else chain.mask)
        try:
            found = search(chain, *case[1:], objective, map_product=kept)
        except BitlatheError:
            continue
        data = fused_certificate(
            chain, *case[1:], found, objective=objective, budget=budget, map_product=kept
        )
        return (chain, *case[1:]), data


def checked(data: dict[str, Any]) -> Verdict:
    return check(json.dumps(data))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "seed", [2, 6, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 1, 3, 4, 5, 7))]
)
def test_no_schedule_is_below_what_is_proven(seed: int, objective: Any) -> None:
    """Every tiling of the space, its products under their best mapping for three objectives."""
    (chain, near, lanes), data = proven(seed, objective)
    verdict, kept, best = checked(data), found_once(), list[Fraction]()
    of = fusion(chain, near, lanes, objective)
    lowest = traffic_floor(of.chain, of.near.whole)[0]
    for each in searched_tilings(chain, near, lanes):
        own = Tiling(**each.to_dict())
        bounds = [of.bound(own, formula) for formula in ("sums", "walk")]
        for aim in OBJECTIVES:

            def product(asked: Asked, aim: Any = aim) -> BlockProduct:
                loops, bits, chip = asked.loops(chain), asked.bits(chain), asked.chip(chain, near)
                return block_product(kept(loops, bits, chip, aim), near)

            found = costed(of, own, product)
            assert all(bound <= found.of(objective) * (1 + Fraction(1, 10**12)) for bound in bounds)
            assert sum(found.outer_bits.values()) >= lowest
            best.append(found.of(objective))
    assert verdict.bound <= min(best) * (1 + Fraction(1, 10**12))
    assert verdict.bound <= verdict.value
    assert float(verdict.value / verdict.bound) < 1.1
    if objective == "cycles":
        assert verdict.bound == verdict.value
    assert {part["formula"] for part in data["parts"]} <= set(BOUNDS)


def test_traffic_of_long_chains_in_small_memories_is_above_each_operand_once() -> None:
    """The floor by segments: more than once, less than what any tiling moves."""
    rng, above = random.Random("segments"), 0
    while above < 3:
        chain, near, lanes = random_case(rng)
        chain = replace(chain, m=3000, middle=4000, inner=64, out=64, mask=None)
        of = fusion(chain, near, lanes)
        bits, formula, once = traffic_floor(of.chain, of.near.whole)
        assert once == once_bits(of.chain) <= bits
        if formula != SEGMENTS:
            continue
        above += 1
        for each in list(of.tilings())[::40]:
            moved = of.jobs(each, of.floor).total().bits
            assert sum(moved.values()) * chain.instances >= bits


def test_no_figure_may_be_another() -> None:
    """Figures of schedule, cost, bound, traffic, parts and proofs, one more or one less."""
    _, data = proven(FEW_PARTS, "edp")
    rng = random.Random("figures")
    checked(data)

    some = figures(data, "schedule", "cost", "bound", "traffic")
    own = [path for path in figures(data, "proofs") if "proof" not in path]
    some += rng.sample(figures(data, "parts"), 45) + rng.sample(own, 5)
    for path in some:
        other = with_other(data, path, rng.choice([1, -1]))
        assert other is not None
        with pytest.raises(ProofError):
            checked(other)
    assert len(some) > 100


def test_other_dataflows_are_proven_beside() -> None:
    """The bound is the least of all; of the others no part may be missing or another."""
    (chain, near, lanes), data = proven(FEW_PARTS, "cycles")
    rng, kept = random.Random("beside"), found_once()
    found = search(chain, near, lanes, "cycles", map_product=kept)
    other = next(each for each in iter(lambda: random_near(rng), None) if fits(chain, each, lanes))
    both = fused_certificate(chain, near, lanes, found, map_product=kept, others=[(chain, other)])
    best = search(chain, other, lanes, "cycles", map_product=kept)
    verdict, alone = checked(both), checked(data)
    assert verdict.parts > alone.parts
    assert verdict.bound <= min(alone.value, cost_of_found(chain, best, other, lanes))
    assert (verdict.dataflows, alone.dataflows) == (2, 1)
    assert " parts of 2 dataflows checked)" in str(verdict)
    for few in ({"others": []}, {"others": both["others"] * 2}, {"dataflows": 1}):
        with pytest.raises(ProofError, match=r"others has \d entries; the chip has \d dataflows"):
            checked({**both, **few})
    wrong = deepcopy(both)
    wrong["others"][0]["parts"].pop()
    with pytest.raises(ProofError, match=r"others\[0\]: parts has"):
        checked(wrong)
    both["others"][0]["parts"][0]["bound"] += 1
    with pytest.raises(ProofError, match=r"others\[0\]: parts\[0\].bound"):
        checked(both)


def fits(chain: Chain, near: NearChip, lanes: Lanes) -> bool:
    """Whether a chip has a tiling of a chain."""
    return next(iter(searched_tilings(chain, near, lanes)), None) is not None


def cost_of_found(chain: Chain, found: Any, near: NearChip, lanes: Lanes) -> int:
    """Clocks of a schedule that was found."""
    made = {asked: block_product(best, near) for asked, best in found.products.items()}
    return cost(chain, found.tiling, near, lanes, made.__getitem__).cycles


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    """Without --arch; against what was asked; a changed copy is refused with status 1."""
    run, file = CliRunner(), tmp_path / "fused.json"
    asked = [
        "map",
        "--arch",
        "bitmod",
        "--model",
        "llama-2-7b",
        "--context",
        "64",
        "--layer",
        "attention_qk+av",
    ]
    made = run.invoke(main, [*asked, "--objective", "edp", "--certificate", str(file)])
    assert made.exit_code == 0
    assert "x of the space's optimum" in made.output
    told = run.invoke(main, ["map", "--check", str(file)])
    assert told.exit_code == 0
    assert told.output.startswith("edp: 1.00 x of the space's optimum")
    assert run.invoke(main, [*asked, "--check", str(file)]).output == told.output
    other = [each.replace("64", "65") for each in asked]
    assert run.invoke(main, [*other, "--check", str(file)]).exit_code == 1
    data = json.loads(file.read_text())
    analytic, rung = re.findall(r"([0-9,]+) of the (?:analytic|cycle) rung", made.output)
    played = int(rung.replace(",", ""))
    assert played >= int(analytic.replace(",", "")) == data["cost"]["cycles"]
    data["cost"]["cycles"] -= 1
    file.write_text(json.dumps(data))
    refused = run.invoke(main, ["map", "--check", str(file)])
    assert refused.exit_code == 1
    assert "cost.cycles" in refused.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model llama-2-7b --layer a+b --arch bitmod", "Known: attention_qk+av, gate_proj"),
        ("--model resnet-18 --layer a+b --arch bitmod", "Known: layer1.0.conv1+conv2, "),
        ("--model opt-1.3b --layer attention_qk+av --arch hpca25/fp16", "vector unit"),
        ("--model llama-2-7b --layer attention_qk+av --arch eyeriss-like", "cannot be fused"),
        (
            "--model mobilenet-v2 --layer block2.expand+depthwise+project --arch edge-npu "
            "--set memories.sram.size_kib=4",
            "take 373636 bits (inputs 43009, map 1 258049, map 2 43009, results 10753, weights "
            "18816), and it has 32768, 340868 too few.",
        ),
    ],
)
def test_what_cannot_be_fused_is_said(words: str, said: str) -> None:
    found = CliRunner().invoke(main, ["map", *words.split()])
    assert found.exit_code == 2
    assert said in found.output
    assert found.output.count("\n") < 4
