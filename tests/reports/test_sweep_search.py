"""Guided search finds the front that the full grid knows, within a tenth of its cost."""

import csv

import pytest

from bitlathe.reports.sweep import run_sweep
from naive.sweep_model import FrontEvaluator, PlainEvaluator

pytest.importorskip("optuna")

SPACE = """\
arch: chip
models: net
phases: prefill
axes:
  array.rows: {from: 8, to: 80, step: 8}
  array.columns: {from: 8, to: 80, step: 8}
  dram.bits_per_clock: [32, 64, 128, 256, 512]
  buffers.weight.size_kib: {from: 64, to: 1024, factor: 2}
  technology.clock_ghz: [0.5, 1.0]
"""


def rows(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def objectives(out):
    return [(float(r["energy"]), float(r["seconds"])) for r in rows(out)]


def hypervolume(points, reference):
    """Area that points dominate up to a reference, by a plain sweep from left to right."""
    volume, lowest = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < lowest:
            volume += (reference[0] - x) * (lowest - y)
            lowest = y
    return volume


def search(tmp_path, seed, budget=500, name="guided"):
    path = tmp_path / f"{name}{seed}.yaml"
    path.write_text(
        SPACE + f"sampling: {{nsga2: {{budget: {budget}, seed: {seed}, objectives: "
        "[energy, seconds]}}\n"
    )
    return path


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    (folder / "sweep.yaml").write_text(SPACE)
    run_sweep(folder / "sweep.yaml", folder / "out", jobs=1, evaluator=FrontEvaluator())
    return objectives(folder / "out")


def test_hypervolume_of_plain_cases():
    assert hypervolume([(1, 1)], (2, 2)) == 1
    assert hypervolume([(0, 1), (1, 0)], (2, 2)) == 3
    assert hypervolume([(0, 1), (1, 0), (1, 1), (3, -1)], (2, 2)) == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_95_percent_of_the_hypervolume_in_a_tenth_of_the_evaluations(tmp_path, grid, seed):
    assert len(grid) == 5000
    reference = (max(e for e, _ in grid), max(s for _, s in grid))
    done = run_sweep(search(tmp_path, seed), tmp_path / "out", jobs=1, evaluator=FrontEvaluator())
    assert done.points == done.evaluated <= 500
    found = objectives(tmp_path / "out")
    assert set(found) <= set(grid)
    # against the front's own box: a reference at the far corner would flatter any search
    front_box = (
        min(e for e, s in grid if s == min(t for _, t in grid)),
        min(s for e, s in grid if e == min(f for f, _ in grid)),
    )
    for corner in (reference, front_box):
        assert hypervolume(found, corner) >= 0.95 * hypervolume(grid, corner)


def test_the_search_is_the_same_with_any_runner_and_from_the_store(tmp_path):
    path = search(tmp_path, 5, budget=120)
    evaluator = FrontEvaluator()
    run_sweep(path, tmp_path / "one", jobs=1, evaluator=evaluator)
    run_sweep(path, tmp_path / "two", jobs=2, evaluator=evaluator)
    first = (tmp_path / "one" / "results.csv").read_bytes()
    assert first == (tmp_path / "two" / "results.csv").read_bytes()
    again = run_sweep(path, tmp_path / "one", jobs=1, evaluator=evaluator)
    assert (again.evaluated, again.rows) == (0, 120)
    assert (tmp_path / "one" / "results.csv").read_bytes() == first


def test_constraints_failures_and_small_spaces_end(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(
        "arch: chip\nmodels: net\nphases: [decode]\n"
        "axes: {array.rows: [1, 2, 4, 8, 16], array.columns: [1, 2, 4, 8]}\n"
        "constraints: [array.rows * array.columns <= 32, area_um2 >= 2]\n"
        "sampling: {nsga2: {budget: 1000, seed: 1, objectives: {cost: min, area_um2: max}}}\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=PlainEvaluator(fail_rows=2))
    shapes = {(int(r["array.rows"]), int(r["array.columns"])) for r in rows(tmp_path / "out")}
    wanted = {
        (r, c)
        for r in (1, 4, 8, 16)
        for c in (1, 2, 4, 8)
        if 2 <= r * c <= 32
    }  # fmt: skip
    assert shapes == wanted
    assert done.failures == 4
