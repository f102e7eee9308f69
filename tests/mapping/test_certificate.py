"""Certificates of mappings: what they say is true, and what is not true is refused."""

import json
import random
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.best import OBJECTIVES, Best
from bitlathe.mapping.certify import certificate, chip_data, layer_data
from bitlathe.mapping.cost import Cost
from bitlathe.mapping.nest import Loops, Mapping
from bitlathe.mapping.proof import count, record
from bitlathe.mapping.proof.check import Verdict, check
from bitlathe.mapping.proof.record import ProofError
from bitlathe.mapping.search import search
from map_cases import compiled_and_plain, every_mapping, least_of, random_bits, random_chip


def counted(layer: Any, bits: Any, chip: Any, mapping: Mapping) -> count.Cost:
    return count.cost(
        record.layer_of(layer_data(layer, bits)),
        record.chip_of(chip_data(chip), "chip"),
        record.nest_of(mapping.to_dict()),
    )


def assert_same_cost(found: count.Cost, plain: Cost) -> None:
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
        layer = Loops.product(*(rng.randint(1, 40) for _ in range(3)), rng.choice([1, 1, 2]))
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is not None:
            assert_same_cost(counted(layer, bits, chip, found[0]), found[3])
            compared += 1


def made(
    seed: int, objective: str, *, large: bool = False, budget: int = 4000
) -> tuple[Any, Any, Any, Best, dict[str, Any]] | None:
    """A random layer on a random chip, the best mapping, and its certificate; None if none fits."""
    rng = random.Random(seed)
    chip, bits = random_chip(rng, large=large), random_bits(rng)
    sizes = (rng.randint(2, 24) for _ in range(3)) if large else rng.sample([1, 2, 3, 3], 3)
    layer = Loops.product(*sizes, rng.choice([1, 1, 2]) if large else 1)
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


@pytest.mark.parametrize("seed", [1, 2, 4, 5, 6, 7, 11, 41])
def test_what_is_proven_is_the_best_of_every_mapping(seed: int) -> None:
    """All mappings of small spaces, one by one: the proof closes on the best of them."""
    for objective in OBJECTIVES:
        found = made(seed, objective, budget=10**9)
        if found is None:
            continue
        layer, bits, chip, _, data = found
        best = least_of(layer, bits, chip, objective, every_mapping(layer, chip))
        assert best is not None
        at = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}[objective]
        verdict = checked(data)
        assert float(verdict.bound) == pytest.approx(getattr(best, at), rel=1e-12)
        assert verdict.value == verdict.bound


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(8))
def test_the_search_and_the_proof_agree(seed: int, objective: str) -> None:
    """Branch and bound without compiled code never proves more than the search found."""
    found = made(seed, objective, large=True, budget=600)
    if found is None:
        return
    best, verdict = found[3], checked(found[4])
    at = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}[objective]
    assert float(verdict.value) == pytest.approx(getattr(best.cost, at), rel=1e-12)
    assert verdict.bound <= verdict.value


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


def same_or_refused(data: dict[str, Any], verdict: Verdict) -> bool:
    try:
        return checked(data).bound == verdict.bound
    except ProofError:
        return True


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_figure_may_be_another(objective: str) -> None:
    """Each number of cost, bound, traffic and proof, one more and one less.

    Where a part is split is no figure: elsewhere the same may follow.
    """
    found = made(3, objective, large=True, budget=60)
    assert found is not None
    data, refused = found[4], 0
    verdict = checked(data)
    for part in ("cost", "bound", "traffic", "proof"):
        for path in paths(data[part], (part,)):
            value = at(data, path)
            others: list[Any] = []
            if isinstance(value, int):
                others = [value + 1, value - 1]
            elif isinstance(value, str) and value[0].isdecimal():
                others = [str(Fraction(value) + 1), str(Fraction(value) - Fraction(1, 999))]
            for other in others:
                said = changed(data, path, other)
                if part == "proof" and path[-1] == 2 and len(at(data, path[:-1])) == 5:
                    assert same_or_refused(said, verdict)
                    continue
                with pytest.raises(ProofError):
                    checked(said)
                refused += 1
    assert refused > 40


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["map", *arguments])


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    of = ("--arch", "bitmod", "--gemm", "16x256x256")
    written = run(*of, "--certificate", str(file))
    assert written.exit_code == 0
    assert "x of the space's optimum" in written.stderr
    alone = run("--check", str(file))
    assert (alone.exit_code, alone.stdout.count("\n")) == (0, 1)
    assert run("--check", str(file), *of).exit_code == 0
    other = run("--check", str(file), *of, "--set", "array.rows=16")
    assert other.exit_code == 1
    assert "is not that of --arch" in other.stderr
    data = json.loads(file.read_text())
    data["cost"]["cycles"] -= 1
    file.write_text(json.dumps(data))
    damaged = run("--check", str(file))
    assert damaged.exit_code == 1
    assert "cost.cycles is" in damaged.stderr
