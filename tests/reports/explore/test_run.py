"""Running sweeps: resumption, failures, dying workers, identical tables whatever the runner."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitlathe.arch import load_arch, resolve
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import Store, read_results, run_sweep
from bitlathe.reports.explore.evaluator import Evaluator
from naive.sweep_model import PlainEvaluator

TESTS = Path(__file__).parents[2]
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


def test_a_process_that_reads_the_program_anew_runs_no_sweep(sweep, tmp_path, monkeypatch):
    """As of a program that calls a sweep at its top: each of its processes would."""
    process = multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)  # as while one starts
    with pytest.raises(RuntimeError, match="bootstrapping phase"):
        multiprocessing.get_context("spawn").Process(target=abs).start()
    with pytest.raises(BitlatheError, match=r"calls it under if __name__ == '__main__':"):
        run_sweep(sweep(), tmp_path / "out", jobs=2, evaluator=PLAIN)
    assert not (tmp_path / "out").exists()


def test_a_program_that_sweeps_at_its_top_is_told_at_the_first_start(sweep, tmp_path):
    code = (
        "import sys\nprint('read', flush=True)\n"
        "from bitlathe.reports.explore import run_sweep\n"
        "from naive.sweep_model import PlainEvaluator\n"
        "run_sweep(sys.argv[1], sys.argv[2], jobs=2, evaluator=PlainEvaluator())\n"
    )
    script = tmp_path / "program.py"
    script.write_text(code)
    command = [sys.executable, script, sweep(), tmp_path / "out"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert ended.stdout.count("read") <= 3, "once here, once in each process"
    assert ended.stderr.count("Traceback") == 1
    assert "calls it under if __name__ == '__main__':" in ended.stderr.splitlines()[-1]


def table(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def expected_cost(row):
    rows, columns = int(row["array.rows"]), int(row["array.columns"])
    return int(row["batch"]) * 1000 / (rows * columns) + 0.1 * rows


def environment():
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        "PYTHONWARNINGS": "default",
    }


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
    class Infinite(Evaluator):
        version = "inf"

        def columns(self, fidelity):
            return ("cost",)

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
    assert (done.points, done.rows, done.ruled_out) == (36, 24, 24)
    assert len(list(read_results(tmp_path / "out"))) == 24


def test_points_of_which_a_constraint_cannot_be_computed_are_failures(sweep, tmp_path):
    """Of the point (12 % 4 is fine, 12 % 0 is not) and of results (the root of a negative one)."""
    path = sweep(
        "constraints:\n- 12 % (array.rows - 2) == 0\n- sqrt(area_um2 - 3) < 5\n",
        rows="[1, 2, 4]",
    )
    out = tmp_path / "out"
    done = run_sweep(path, out, jobs=1, evaluator=PLAIN)
    with (out / "failures.csv").open(newline="") as file:
        failed = {
            (int(r["array.rows"]), int(r["array.columns"]), r["status"], r["error"])
            for r in csv.DictReader(file)
        }
    modulo = f"{path}:7:3: '12 % (array.rows - 2) == 0': division by zero."
    roots = [
        (
            rows,
            columns,
            "refused",
            f"{path}:8:3: 'sqrt(area_um2 - 3) < 5': sqrt of {area} is no number.",
        )
        for rows, columns, area in ((1, 1, "-2.0"), (1, 2, "-1.0"))
    ]
    assert failed == {*((2, columns, "refused", modulo) for columns in (1, 2, 4)), *roots}
    assert (done.points, done.rows, done.failures, done.ruled_out) == (36, 16, 20, 0)
    assert {(r["array.rows"], r["array.columns"]) for r in table(out)} == {
        ("1", "4"), ("4", "1"), ("4", "2"), ("4", "4"),
    }  # fmt: skip
    assert len(list(read_results(out))) == 16
    # another sweep in the folder does not inherit the verdicts
    again = run_sweep(sweep(rows="[1, 2, 4]"), out, jobs=1, evaluator=PLAIN)
    assert (again.rows, again.failures, again.evaluated) == (36, 0, 12)
    assert not (out / "failures.csv").exists()


@pytest.mark.parametrize("sampling", ["", "sampling: {random: {samples: 10, seed: 1}}\n"])
def test_points_ruled_out_before_they_run_are_counted(sweep, tmp_path, sampling):
    path = sweep("constraints: [array.rows > 99]\n" + sampling)
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=PLAIN)
    assert (done.points, done.rows, done.ruled_out) == (0, 0, 48)
    assert not done.failed


def test_a_sweep_without_one_result_has_failed(sweep, tmp_path):
    path = sweep(rows="[2]")
    done = run_sweep(path, tmp_path / "out", jobs=1, evaluator=PlainEvaluator(fail_rows=2))
    assert done.failed


def test_a_second_sweep_at_the_same_time_is_refused_and_readers_are_not(sweep, tmp_path):
    out = tmp_path / "out"
    seen = []

    def meanwhile(done, total):
        with pytest.raises(
            BitlatheError, match=rf"another sweep \(pid {os.getpid()}\) or its report is writing"
        ):
            run_sweep(path, out, jobs=1, evaluator=PLAIN)
        seen.append(len(list(read_results(out))))

    path = sweep()
    done = run_sweep(path, out, jobs=1, evaluator=PLAIN, progress=meanwhile)
    assert seen[-1] == done.rows == 48
    assert run_sweep(path, out, jobs=1, evaluator=PLAIN).reused == 48  # and it is free again


def test_the_table_runs_is_there_before_the_sweep_ends(sweep, tmp_path):
    out, counts = tmp_path / "out", []

    def count(done, total):
        with Store(out, readonly=True) as store:
            counts.append(store._db.execute("SELECT count(cost) FROM runs").fetchone()[0])

    run_sweep(sweep(), out, jobs=1, evaluator=PLAIN, progress=count)
    assert 0 < counts[0] < 48


def test_what_a_killed_export_left_goes(sweep, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    left = [".results.csv.123.part", ".layers.parquet.9.part", ".failures.csv.77.part"]
    for name in (*left, ".mine.part"):
        (out / name).write_text("half a row")
    run_sweep(sweep(), out, jobs=1, evaluator=PLAIN)
    assert [p.name for p in out.glob(".*")] == [".mine.part"]


def test_tables_and_report_of_another_sweep_are_kept_as_old_ones_when_one_begins(sweep, tmp_path):
    out = tmp_path / "out"
    of_sweep = {"results.csv", "results.parquet", "failures.csv", "provenance.json"}
    of_report = {"report.html", "pareto.csv", "accuracy.csv", "energy_latency.png", "proxy_edp.svg"}
    kept = {"accuracy.json", "gains.png", "notes.html"}
    evaluator = PlainEvaluator(fail_rows=2)
    run_sweep(sweep(), out, jobs=1, evaluator=evaluator)
    for name in of_report | kept:
        (out / name).write_text("x")

    def names():
        return {p.name for p in out.iterdir() if not p.name.startswith("sweep.")}

    run_sweep(sweep(), out, jobs=1, evaluator=evaluator)
    assert names() == of_sweep | of_report | kept  # the same sweep: all of it still holds

    def stop(done, total):
        raise KeyboardInterrupt

    said, path = [], sweep(rows="[1, 3]")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(path, out, jobs=1, evaluator=PLAIN, progress=stop, say=said.append)
    old = {"".join((Path(n).stem, ".old", Path(n).suffix)) for n in of_sweep | of_report}
    assert names() == kept | old | {"provenance.json"}  # which says what began
    assert (out / "energy_latency.old.png").read_text() == "x"
    assert len(said) == 1
    assert all(name in said[0] for name in old)
    # nor do later ones delete it
    for rows, mark in (("[5]", "old2"), ("[6]", "old3")):
        (out / "energy_latency.png").write_text(mark)
        run_sweep(sweep(rows=rows), out, jobs=1, evaluator=PLAIN, say=said.append)
        assert (out / f"energy_latency.{mark}.png").read_text() == mark
        assert f"energy_latency.{mark}.png" in said[-1]
    assert (out / "energy_latency.old.png").read_text() == "x"
    assert "old.old" not in " ".join(names())


def test_a_report_from_before_the_results_is_said_to_be_old(sweep, tmp_path):
    out, said = tmp_path / "out", []

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep(), out, jobs=1, evaluator=PLAIN, progress=stop)
    (out / "report.html").write_text("of some points")
    run_sweep(sweep(), out, jobs=1, evaluator=PLAIN, say=said.append)
    assert "report.html and its pictures are from before these results" in said[0]
    run_sweep(sweep(), out, jobs=1, evaluator=PLAIN, say=said.append)
    assert len(said) == 1  # nothing new


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


@pytest.mark.parametrize(
    ("kills", "columns"), [(20, 15), pytest.param(30, 40, marks=pytest.mark.slow)]
)
def test_a_runner_killed_again_and_again_ends_with_exactly_the_right_rows(
    sweep, tmp_path, kills, columns
):
    rows = 400 * columns  # 100 rows x columns x 2 phases x 2 batches
    path = sweep(rows="{from: 1, to: 100, step: 1}", columns=f"{{from: 1, to: {columns}, step: 1}}")
    out = tmp_path / "out"
    arguments = [sys.executable, "-m", "naive.sweep_crash", path, out, str(kills), "11", "1"]
    run = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=True, timeout=200
    )
    assert int(run.stdout) == kills  # every round was cut off: the sweep was never finished
    with Store(out) as store:
        saved = store.count()
    assert 0 < saved < rows
    done = run_sweep(path, out, jobs=1, evaluator=PLAIN)
    assert done.points == done.rows == rows
    assert done.reused >= saved  # nothing finished was lost
    run_sweep(path, tmp_path / "undisturbed", jobs=1, evaluator=PLAIN)
    assert exports(out) == exports(tmp_path / "undisturbed")
    with Store(out) as store:
        counts = "SELECT count(*), count(DISTINCT key) FROM results"
        assert store._db.execute(counts).fetchone() == (rows, rows)


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
        "from bitlathe.reports.explore import run_sweep\n"
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


def test_exit_status_and_dry_runs_on_the_command_line(tmp_path):
    path, out = tmp_path / "sweep.yaml", tmp_path / "out"
    chip = resolve(load_arch("fp16"), phase="decode", model="opt-1.3b")
    columns = chip.array.columns
    path.write_text(
        "arch: [bitmod, fp16]\nmodels: opt-1.3b\nphases: decode\nschemes: {linear: fp16}\n"
        f"constraints: 1 / (array.columns - {columns}) ** 2 > 0\n"
    )

    def sweep(*arguments):
        return CliRunner().invoke(main, ["sweep", str(path), *map(str, arguments)])

    shown = sweep("--dry-run")
    assert (shown.exit_code, "2 arch x 1 scheme.linear" in shown.output) == (0, True)
    assert sweep().exit_code == 2
    done = sweep("--out", out, "--jobs", 1)
    assert done.exit_code == 1  # one is impossible, of the other the constraint divides by zero
    assert "2 failed" in done.output
    assert "Error: no point has results; failures.csv says why for each." in done.output
    path.write_text(path.read_text().replace(f"- {columns})", f"- {columns + 1})"))
    assert sweep("--out", out, "--jobs", 1).exit_code == 0


def test_ctrl_c_while_workers_start_says_how_to_go_on(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-1.3b\naxes: {array.rows: {from: 1, to: 4000, step: 1}}\n"
    )
    command = [sys.executable, "-c", "from bitlathe.cli import main; main()", "sweep"]
    program = subprocess.Popen(
        [*command, path, "--out", tmp_path / "out", "--jobs", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while len(children(program.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors.strip() == (
        f"Stopped. Finished points are safe in {tmp_path / 'out'}; run the same command to go on."
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_points(sweep, tmp_path):
    code = (
        "import resource, sys\n"
        "from bitlathe.reports.explore import run_sweep\n"
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
