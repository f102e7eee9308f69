"""Running sweeps: resumption, failures, dying workers, identical tables whatever the runner."""

import csv
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bitlathe.datatypes.errors import BitlatheError
from bitlathe.reports.sweep import Store, read_results, run_sweep
from naive.sweep_model import PlainEvaluator

TESTS = Path(__file__).parents[1]
PLAIN = PlainEvaluator()


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep file; return its path."""

    def write(extra="", rows="[1, 2, 4, 8]", columns="[1, 2, 4]"):
        path = tmp_path / "sweep.yaml"
        path.write_text(
            f"arch: chip\nmodels: [net]\nphases: [prefill, decode]\nbatches: [1, 2]\n"
            f"axes: {{array.rows: {rows}, array.columns: {columns}}}\n{extra}"
        )
        return path

    return write


def table(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def expected_cost(row):
    rows, columns = int(row["array.rows"]), int(row["array.columns"])
    return int(row["batch"]) * 1000 / (rows * columns) + 0.1 * rows


def environment():
    return os.environ | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "default"}


def test_rows_are_the_product_with_the_right_values(sweep, tmp_path):
    done = run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=PLAIN)
    rows = table(tmp_path / "out")
    assert done.points == done.rows == done.evaluated == len(rows) == 4 * 3 * 2 * 2
    assert len({tuple(r.items()) for r in rows}) == 48
    assert all(float(r["cost"]) == expected_cost(r) for r in rows)
    order = [
        (int(r["array.rows"]), int(r["array.columns"]), r["phase"], int(r["batch"])) for r in rows
    ]
    assert order == sorted(order, key=lambda t: (t[0], t[1], t[2] == "decode", t[3]))
    assert [r["cost"] for r in map(dict, read_results(tmp_path / "out"))] == [
        float(r["cost"]) for r in rows
    ]


def test_a_second_run_evaluates_nothing_and_a_wider_one_only_the_rest(sweep, tmp_path):
    log = tmp_path / "log"
    evaluator = PlainEvaluator(log=str(log))
    run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=evaluator)
    first = (tmp_path / "out" / "results.csv").read_bytes()
    again = run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=evaluator)
    assert (again.evaluated, again.reused) == (0, 48)
    assert (tmp_path / "out" / "results.csv").read_bytes() == first
    wider = run_sweep(sweep(rows="[1, 2, 4, 8, 16]"), tmp_path / "out", jobs=1, evaluator=evaluator)
    assert (wider.points, wider.evaluated, wider.reused) == (60, 12, 48)
    assert len(log.read_text().splitlines()) == 60
    back = run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=evaluator)
    assert (back.points, back.evaluated) == (48, 0)
    assert (tmp_path / "out" / "results.csv").read_bytes() == first


def test_another_version_of_the_models_runs_everything_again(sweep, tmp_path):
    run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=PLAIN)
    newer = replace(PLAIN, version="plain-2")
    assert run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=newer).evaluated == 48


def test_failing_points_are_recorded_and_the_rest_goes_on(sweep, tmp_path):
    evaluator = PlainEvaluator(fail_rows=2, crash_rows=4)
    done = run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=evaluator)
    assert (done.rows, done.failures) == (24, 24)
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        failed = list(csv.DictReader(file))
    assert {(r["array.rows"], r["status"], r["error"]) for r in failed} == {
        ("2", "refused", "array.rows: 2 is impossible"),
        ("4", "crashed", "ZeroDivisionError: broken simulator"),
    }
    # impossible configurations stay impossible; a crash is tried again
    healed = run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=PLAIN)
    assert (healed.evaluated, healed.rows, healed.failures) == (12, 36, 12)


def test_results_that_are_not_finite_are_failures(sweep, tmp_path):
    class Infinite:
        version = "inf"
        columns = ("cost",)

        def key(self, point):
            return str(point.columns())

        def __call__(self, point):
            return {"cost": float("inf")}

    done = run_sweep(sweep(), tmp_path / "out", jobs=1, evaluator=Infinite())
    assert (done.rows, done.failures) == (0, 48)


def test_late_constraints_rule_rows_out_of_the_tables_only(sweep, tmp_path):
    path = sweep("constraints: [area_um2 <= 8, array.rows > 1]\n")
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=PLAIN)
    rows = table(tmp_path / "out")
    shapes = {(int(r["array.rows"]), int(r["array.columns"])) for r in rows}
    assert shapes == {(2, 1), (2, 2), (2, 4), (4, 1), (4, 2), (8, 1)}
    assert (done.points, done.rows, done.ruled_out) == (36, 24, 12)
    assert len(list(read_results(tmp_path / "out"))) == 24


def test_random_sampling_is_a_subset_of_the_grid(sweep, tmp_path):
    path = sweep("sampling: {random: {samples: 10, seed: 7}}\n")
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=PLAIN)
    assert done.points == 10
    run_sweep(sweep(), tmp_path / "all", jobs=1, evaluator=PLAIN)
    sampled = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert set(sampled) < set((tmp_path / "all" / "results.csv").read_text().splitlines())


def test_duckdb_pandas_and_sql_see_the_same_rows(sweep, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pandas = pytest.importorskip("pandas")
    out = tmp_path / "out"
    run_sweep(sweep(), out, jobs=1, evaluator=PLAIN)
    frame = pandas.read_csv(out / "results.csv")
    assert frame.equals(pandas.read_parquet(out / "results.parquet").astype(frame.dtypes.to_dict()))
    query = f"SELECT sum(cost) FROM '{out / 'results.parquet'}' WHERE phase = 'decode'"
    total = frame[frame.phase == "decode"].cost.sum()
    assert duckdb.sql(query).fetchall()[0][0] == pytest.approx(total, rel=1e-12)
    with Store(out) as store:
        view = store._db.execute('SELECT "array.rows", cost FROM runs ORDER BY ordinal').fetchall()
    assert view == list(zip(frame["array.rows"], frame.cost, strict=True))


def exports(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in {".csv", ".parquet"}}


def test_tables_are_byte_identical_with_any_executor(sweep, tmp_path):
    path = sweep(rows="{from: 1, to: 60, step: 1}")
    run_sweep(path, tmp_path / "one", jobs=1, evaluator=PLAIN)
    run_sweep(path, tmp_path / "two", jobs=2, evaluator=PLAIN)
    with ThreadPoolExecutor(3) as pool:
        run_sweep(path, tmp_path / "lent", executor=pool, evaluator=PLAIN)
        assert pool.submit(abs, -1).result() == 1  # the caller's executor is left open
    one = exports(tmp_path / "one")
    assert set(one) == {"results.csv", "results.parquet"}
    assert one == exports(tmp_path / "two") == exports(tmp_path / "lent")
    assert one["results.csv"].count(b"\n") == 60 * 3 * 4 + 1


def test_a_killed_worker_process_costs_nothing(sweep, tmp_path):
    evaluator = PlainEvaluator(delay=0.002, kill_rows=4, kill_flag=str(tmp_path / "flag"))
    done = run_sweep(sweep(), tmp_path / "out", jobs=2, evaluator=evaluator)
    assert (done.rows, done.failures) == (48, 0)
    assert (tmp_path / "flag").exists()


def test_a_point_that_always_kills_its_worker_is_recorded(sweep, tmp_path):
    path = sweep(rows="[1, 4]", columns="[1, 2]")
    path.write_text(
        path.read_text().replace("[prefill, decode]", "decode").replace("[1, 2]\naxes", "1\naxes")
    )
    done = run_sweep(path, tmp_path / "out", jobs=2, evaluator=PlainEvaluator(kill_rows=4))
    assert (done.points, done.rows, done.failures) == (4, 3, 1)
    assert "worker process died" in (tmp_path / "out" / "failures.csv").read_text()


def test_sigkill_twenty_times_ends_with_exactly_the_right_rows(sweep, tmp_path):
    path = sweep(rows="{from: 1, to: 100, step: 1}", columns="{from: 1, to: 15, step: 1}")
    out = tmp_path / "out"
    arguments = [sys.executable, "-m", "naive.sweep_crash", path, out, "20", "11", "1"]
    run = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=True, timeout=100
    )
    assert int(run.stdout) == 20  # every round was cut off: the sweep was never finished
    with Store(out) as store:
        saved = store.count()
    assert 0 < saved < 6000
    done = run_sweep(path, out, jobs=1, evaluator=PLAIN)
    assert done.points == done.rows == 6000
    assert done.reused >= saved  # nothing finished was lost
    run_sweep(path, tmp_path / "undisturbed", jobs=1, evaluator=PLAIN)
    assert exports(out) == exports(tmp_path / "undisturbed")
    with Store(out) as store:
        assert store._db.execute(
            "SELECT count(*), count(DISTINCT key) FROM results"
        ).fetchone() == (
            6000,
            6000,
        )


def children(pid):
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def stored(out):
    with Store(out, readonly=True) as store:
        return store.count()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_workers_end_with_a_killed_parent_and_its_sweep_goes_on(sweep, tmp_path):
    path = sweep(rows="{from: 1, to: 300, step: 1}")
    code = (
        "import sys\n"
        "from bitlathe.reports.sweep import run_sweep\n"
        "from naive.sweep_model import PlainEvaluator\n"
        "if __name__ == '__main__':\n"
        "    run_sweep(sys.argv[1], sys.argv[2], jobs=2, evaluator=PlainEvaluator(delay=0.05))\n"
    )
    script = tmp_path / "program.py"
    script.write_text(code)
    program = subprocess.Popen([sys.executable, script, path, tmp_path / "out"], env=environment())
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            workers = children(program.pid)
            if (tmp_path / "out" / "sweep.sqlite").exists() and len(workers) >= 3:
                break
            time.sleep(0.1)
        while time.monotonic() < deadline and not stored(tmp_path / "out"):
            time.sleep(0.1)
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    deadline = time.monotonic() + 15
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if alive(pid)]
    saved = stored(tmp_path / "out")
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=PLAIN)
    assert 0 < saved <= done.reused < 3600
    assert done.points == done.rows == 3600


def test_bad_arguments_are_user_errors(sweep, tmp_path):
    for jobs in (0, 10**9):
        with pytest.raises(BitlatheError, match=f"jobs: {jobs} processes"):
            run_sweep(sweep(), tmp_path / "out", jobs=jobs, evaluator=PLAIN)
    with pytest.raises(BitlatheError, match="cannot read this sweep file"):
        run_sweep(tmp_path / "none.yaml", tmp_path / "out", evaluator=PLAIN)
    with pytest.raises(BitlatheError, match="holds no sweep"):
        list(read_results(tmp_path / "nothing"))


def test_progress_is_reported(sweep, tmp_path):
    seen = []
    run_sweep(
        sweep("constraints: array.rows > 1\n"),
        tmp_path / "out",
        jobs=1,
        evaluator=PLAIN,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (48, 48)
    assert seen == sorted(seen)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_points(sweep, tmp_path):
    code = (
        "import resource, sys\n"
        "from bitlathe.reports.sweep import run_sweep\n"
        "from naive.sweep_model import PlainEvaluator\n"
        "run_sweep(sys.argv[1], sys.argv[2], jobs=1, evaluator=PlainEvaluator())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for rows in (600, 6000):
        path = sweep(rows=f"{{from: 1, to: {rows}, step: 1}}")
        run = subprocess.run(
            [sys.executable, "-c", code, path, tmp_path / str(rows)],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(run.stdout))
    assert peaks[1] < 1.1 * peaks[0]  # 7,200 and 72,000 points
