"""Guided search finds the front that the full grid knows, within a tenth of its cost."""

import csv
import random

import pytest

from bitlathe.reports.explore import run_sweep
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


def objectives(out, names=("energy", "seconds")):
    return [tuple(float(r[name]) for name in names) for r in rows(out)]


def front_box(points):
    """Return the corner of the front's own box: each objective at its worst on the front.

    A reference at the far corner of the whole space would flatter any search.
    """
    best = [p for p in set(points) if not any(dominates(q, p) for q in set(points))]
    return max(x for x, _ in best), max(y for _, y in best)


def dominates(q, p):
    return q != p and q[0] <= p[0] and q[1] <= p[1]


def sampled(points, count, seeds=(1, 2, 3)):
    return [random.Random(seed).sample(points, count) for seed in seeds]


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
    done = run_sweep(search(tmp_path, seed), tmp_path / "out", jobs=1, evaluator=FrontEvaluator())
    assert done.points == done.evaluated <= 500
    found = objectives(tmp_path / "out")
    assert set(found) <= set(grid)
    corner = front_box(grid)
    whole = hypervolume(grid, corner)
    assert whole > 0
    lost = 1 - hypervolume(found, corner) / whole
    assert lost <= 0.05
    by_chance = [1 - hypervolume(drawn, corner) / whole for drawn in sampled(grid, 500)]
    assert lost < 0.5 * sum(by_chance) / 3


REAL_SPACE = """\
arch: bitmod
models: llama-2-7b
phases: decode
contexts: 256
axes:
  array.rows: {from: 8, to: 80, step: 8}
  array.columns: [4, 8, 12, 16, 20, 24, 32, 40, 48, 64]
  dram.bits_per_clock: [64, 128, 256, 512, 1024]
  buffers.weight.size_kib: [128, 256, 512, 1024, 2048]
  technology.clock_ghz: [0.5, 1.0]
"""
WORKLOADS_SPACE = """\
arch: bitmod
models: [opt-1.3b, llama-2-7b]
phases: [prefill, decode]
contexts: 256
axes:
  array.rows: {from: 8, to: 64, step: 8}
  array.columns: [4, 8, 16, 32]
  dram.bits_per_clock: [64, 128, 256, 512]
  buffers.weight.size_kib: [128, 256, 512, 1024, 2048]
schemes: {linear: [int8@channel, bitmod_fp4@g128/int8]}
"""


def by_workload(out, names):
    found = {}
    for row in rows(out):
        point = tuple(float(row[name]) for name in names)
        found.setdefault((row["model"], row["phase"]), []).append(point)
    return found


def share_of_fronts(every, found):
    """Return the least share of hypervolume over the workloads."""
    shares = []
    for workload, points in every.items():
        corner = front_box(points)
        shares.append(hypervolume(found[workload], corner) / hypervolume(points, corner))
    return min(shares)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "names"),
    [
        (REAL_SPACE, ("area_um2.total", "seconds")),
        (WORKLOADS_SPACE, ("area_um2.total", "seconds")),
        (WORKLOADS_SPACE, ("energy_pj.total", "area_um2.total")),
    ],
)
def test_the_fronts_of_5000_simulated_points_on_each_workload(tmp_path, text, names):
    """95 % of each workload's hypervolume with a tenth of the points; chance does not get there."""
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    size = run_sweep(path, tmp_path / "grid", jobs=1).points
    assert 5000 <= size <= 5120
    every = by_workload(tmp_path / "grid", names)
    for seed in range(1, 6):
        path.write_text(
            f"{text}sampling: {{nsga2: {{budget: {size // 10}, seed: {seed}, "
            f"objectives: {list(names)}}}}}\n"
        )
        assert size // 10 - 4 < run_sweep(path, tmp_path / str(seed), jobs=1).points <= size // 10
        assert share_of_fronts(every, by_workload(tmp_path / str(seed), names)) >= 0.95
    count = size // 10 // len(every)
    by_chance = [
        share_of_fronts(every, {w: random.Random(s).sample(p, count) for w, p in every.items()})
        for s in range(10)
    ]
    assert sum(by_chance) / 10 < 0.9


WORKLOADS = """\
arch: chip
models: [small, large]
phases: [prefill, decode]
axes:
  array.rows: [8, 32, 64, 128]
  array.columns: {from: 8, to: 128, factor: 2}
  dram.bits_per_clock: {from: 32, to: 512, factor: 2}
  buffers.weight.size_kib: {from: 128, to: 4096, factor: 2}
  technology.clock_ghz: [0.5, 1.0]
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_workload_gets_its_front_not_the_cheapest_alone(tmp_path, seed):
    """Every chip runs on all four; the workloads' costs lie orders of magnitude apart."""
    path = tmp_path / "sweep.yaml"
    path.write_text(WORKLOADS)
    evaluator, names = FrontEvaluator(), ("energy", "seconds")
    assert run_sweep(path, tmp_path / "grid", jobs=1, evaluator=evaluator).points == 4800
    path.write_text(
        f"{WORKLOADS}sampling: {{nsga2: {{budget: 482, seed: {seed}, "
        "objectives: [energy, seconds]}}\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=evaluator)
    assert done.points == 480  # the last two do not cover a chip
    every, found = (by_workload(tmp_path / name, names) for name in ("grid", "out"))
    count = dict.fromkeys(every, 120)
    assert {workload: len(points) for workload, points in found.items()} == count
    chance = {w: random.Random(seed).sample(points, 120) for w, points in every.items()}
    assert share_of_fronts(every, chance) < 0.9 < share_of_fronts(every, found)


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
