"""Certificates of convolutions in strips: what they say is true; what is not true is refused."""

import json
import random
import re
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
from bitlathe.mapping.fused.certify_strips import strips_certificate, strips_data
from bitlathe.mapping.fused.chain import Lanes
from bitlathe.mapping.fused.near import NearChip
from bitlathe.mapping.fused.products import BlockProduct, block_product, inside_of
from bitlathe.mapping.fused.strip_cost import AskedRows, cost, demand
from bitlathe.mapping.fused.strip_search import search, spilling
from bitlathe.mapping.fused.strip_search import tilings as searched_tilings
from bitlathe.mapping.fused.strips import ConvChain, problem
from bitlathe.mapping.proof.fused.totals import FusedCost, cost_of
from bitlathe.mapping.proof.record import ProofError
from bitlathe.mapping.proof.strips.check import Strips
from bitlathe.mapping.proof.strips.record import Tiling
from bitlathe.mapping.proof.verify import check
from fused_cases import as_made, figures, found_once, made_up, random_lanes, with_other
from strip_cases import random_convs, random_strips, shared_near

Case = tuple[ConvChain, NearChip, Lanes]
CLOSE = 1 + Fraction(1, 10**12)


def random_case(rng: random.Random, most: int = 14) -> Case:
    return random_convs(rng, most), shared_near(rng), random_lanes(rng)


def strips(case: Case, objective: str = "edp") -> Strips:
    return Strips.of_data(**strips_data(*case), objective=objective)


def own(tiling: Any) -> Tiling:
    return Tiling(tiling.rows, tiling.kept, tiling.places, tiling.held)


def costed(of: Strips, tiling: Any, product: Any) -> FusedCost:
    """What strips cost whose products take what is said of them."""
    clocks, total, times = of.asks(
        own(tiling), lambda each: as_made(product(AskedRows(*each))), walked=True
    )
    return cost_of(of.near, total, clocks, times)


def test_the_checkers_own_walk_is_the_cost() -> None:
    """Random chains, images, strips; the two share no code."""
    rng = random.Random("strips walked anew")
    for _ in range(120):
        chain, near, lanes = case = random_case(rng)
        tiling, product = random_strips(rng, chain), made_up(rng, near)
        asked = demand(chain, tiling, near, lanes, product)
        expected, found = cost(chain, tiling, near, asked), costed(strips(case), tiling, product)
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


def test_the_checkers_space_is_that_of_the_search() -> None:
    rng, some = random.Random("strips space"), 0
    for _ in range(40):
        case = random_case(rng)
        theirs = {own(each) for each in searched_tilings(case[0], case[1])}
        mine = list(strips(case).tilings())
        assert len(mine) == len(set(mine))
        assert set(mine) == theirs
        some += len(mine)
    assert some > 200


@cache
def proven(seed: int, objective: Any) -> tuple[Case, dict[str, Any]]:
    """A random chain whose best strips are certified."""
    rng, kept = random.Random(f"proven strips {seed}"), found_once()
    while True:
        case = random_case(rng, 6)
        case = (replace(case[0], layers=case[0].layers[:2]), *case[1:])
        try:
            found = search(*case, objective, map_product=kept)
        except BitlatheError:
            continue
        return case, strips_certificate(*case, found, objective=objective, map_product=kept)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 9))]
)
def test_no_strips_are_below_what_is_proven(seed: int, objective: Any) -> None:
    """Every tiling of the space, its products under their best mapping for three objectives."""
    (chain, near, lanes), data = proven(seed, objective)
    verdict, kept = check(json.dumps(data)), found_once()
    of, best = strips((chain, near, lanes), objective), list[Fraction]()
    for each in searched_tilings(chain, near):
        bounds = [of.bound(own(each), formula) for formula in ("sums", "walk")]
        for aim in OBJECTIVES:

            def mapped(asked: AskedRows, aim: Any = aim) -> Any:
                layer = chain.layers[asked.layer]
                return kept(asked.loops(chain), layer.bits, inside_of(near, layer.unit_pj), aim)

            def product(asked: AskedRows, mapped: Any = mapped) -> BlockProduct:
                return block_product(mapped(asked), near)

            found = costed(of, each, product)
            assert all(bound <= found.of(objective) * CLOSE for bound in bounds)
            assert sum(found.outer_bits.values()) >= of.lowest_traffic()[0]
            if problem(chain, each, near, spilling(chain, near, each, mapped)) is None:
                best.append(found.of(objective))
    assert verdict.bound <= min(best) * CLOSE
    assert verdict.bound <= verdict.value
    assert float(verdict.value / verdict.bound) < 1.1


def test_no_figure_may_be_another() -> None:
    """Figures of schedule, cost, bound, traffic, parts and proofs, one more or one less."""
    _, data = proven(0, "edp")
    rng = random.Random("figures of strips")
    some = figures(data, "schedule", "cost", "bound", "traffic")
    some += rng.sample(figures(data, "parts"), 12) + rng.sample(figures(data, "proofs"), 8)
    for path in some:
        other = with_other(data, path, rng.choice([1, -1]))
        assert other is not None
        with pytest.raises(ProofError):
            check(json.dumps(other))
    assert len(some) >= 80


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    """Without --arch; against what was asked; a changed copy is refused with status 1."""
    run, file = CliRunner(), tmp_path / "strips.json"
    asked = [
        "map",
        "--arch",
        "edge-npu",
        "--model",
        "mobilenet-v2",
        "--layer",
        "block17.expand+depthwise",
    ]
    made = run.invoke(main, [*asked, "--parts", "20", "--certificate", str(file)])
    assert made.exit_code == 0, made.output
    assert "x of the space's optimum" in made.output
    told = run.invoke(main, ["map", "--check", str(file)])
    assert told.exit_code == 0
    assert run.invoke(main, [*asked, "--check", str(file)]).output == told.output
    other = [each.replace("block17", "block14") for each in asked]
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
