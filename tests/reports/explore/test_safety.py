"""What may happen to a running sweep: reports beside it, a vanished store, killed processes."""

import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from importlib import import_module
from multiprocessing import active_children

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import Store, read_results, run_sweep
from bitlathe.reports.explore.accuracy import measure_accuracy
from bitlathe.reports.explore.runner import InlineExecutor
from bitlathe.reports.page import report
from naive.sweep_model import PlainEvaluator

PLAIN = PlainEvaluator()
REAL = (
    "arch: bitmod\nmodels: [opt-125m]\ncontexts: 16\nmapper: whole-buffer\n"
    "axes: {dram.bits_per_clock: {from: 64, to: 103, step: 1}}\n"
)


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep file; return its path."""

    def write(rows="{from: 1, to: 40, step: 1}", columns="[1, 2, 4]"):
        path = tmp_path / "sweep.yaml"
        path.write_text(
            "arch: chip\nmodels: [net]\nphases: [prefill, decode]\n"
            f"axes: {{array.rows: {rows}, array.columns: {columns}}}\n"
        )
        return path

    return write


def tables(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in {".csv", ".parquet"}}


def lines(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stop_after(count):
    def stop(done, total):
        if done >= count:
            raise KeyboardInterrupt

    return stop


# -- reports beside a sweep ---------------------------------------------------------------------


def test_a_report_beside_a_running_sweep_leaves_its_files_alone(tmp_path):
    """Reports at the first chunks: no table of the sweep's is written, removed or half removed."""
    pytest.importorskip("matplotlib")
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    path.write_text(REAL)
    said, seen = [], []
    part = out / ".results.csv.1.part"  # as of this sweep, in the making

    def meanwhile(done, total):
        if not seen:
            part.write_text("half")
        if len(seen) == 3:
            return
        paths = report(out, measure_accuracy(out), say=said.append)
        seen.append((done, part.exists(), (out / "results.csv") in paths))

    done = run_sweep(path, out, jobs=1, progress=meanwhile)
    assert len(seen) > 2
    assert {kept for _, kept, _ in seen} == {True}
    assert {listed for *_, listed in seen} == {False}
    assert any(line.startswith("A sweep is running here") for line in said)
    assert f"{seen[0][0]} of {done.points} points are done: the sweep is not finished." in said
    assert done.rows == len(lines(out / "results.csv")) == 80
    run_sweep(path, tmp_path / "alone", jobs=1)
    alone = tables(tmp_path / "alone")
    assert {name: tables(out)[name] for name in alone} == alone


def test_a_sweep_and_reports_in_processes_of_their_own(tmp_path):
    """As on a desk: the sweep in one window, reports again and again in another."""
    pytest.importorskip("matplotlib")
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    path.write_text(REAL.replace("to: 103", "to: 263"))
    run = "from bitlathe.cli import main; main()"
    command = [sys.executable, "-c", run, "sweep", str(path), "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        reports = 0
        while program.poll() is None:
            try:
                report(out, measure_accuracy(out))
                reports += 1
            except BitlatheError as err:  # before the first point
                assert "holds no" in str(err)  # noqa: PT017
        assert program.returncode == 0, program.stderr.read()
    assert reports > 0
    assert len(lines(out / "results.csv")) == 400


def test_tables_grow_with_the_store(tmp_path):
    """An early report, a sweep that goes on and is killed again, a second report."""
    pytest.importorskip("matplotlib")
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    path.write_text(REAL)
    rows = []
    for count in (1, 9):
        with pytest.raises(KeyboardInterrupt):
            run_sweep(path, out, jobs=1, progress=stop_after(count))
        report(out, measure_accuracy(out))
        with Store(out, readonly=True) as store:
            rows.append((len(lines(out / "results.csv")), store.count()))
        held = json.loads((out / "provenance.json").read_text())["tables"]
        assert (held["rows"], held["of"]) == (rows[-1][0], 80)
    assert [written for written, _ in rows] == [stored for _, stored in rows]
    assert rows[0][0] < rows[1][0]
    before = (out / "results.csv").stat().st_mtime_ns
    report(out, measure_accuracy(out))
    assert (out / "results.csv").stat().st_mtime_ns == before, "nothing new: nothing written"


def test_counts_and_rows_are_of_one_moment(sweep, tmp_path):
    """Points that arrive between two looks must not make failures out of nothing."""
    out = tmp_path / "out"
    run_sweep(sweep(rows="[1, 2]"), out, jobs=1, evaluator=PlainEvaluator(fail_rows=2))
    with Store(out, readonly=True) as reader:
        with reader.snapshot():
            before = reader.counts()
            run_sweep(sweep(rows="[1, 2, 3, 4]"), out, jobs=1, evaluator=PLAIN)
            assert reader.counts() == before == {"done": 6, "refused": 6}
            assert len(list(reader.rows())) == 12
        assert sum(reader.counts().values()) == 24


def test_an_interrupted_report_leaves_the_old_page(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    path.write_text(REAL.replace("to: 103", "to: 67"))
    run_sweep(path, out, jobs=1)
    report(out, measure_accuracy(out))
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("bitlathe.reports.page.report"), "render", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report(out, measure_accuracy(out))
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    assert not [p for p in out.iterdir() if p.is_dir()], "no half report is left"


def test_pictures_that_are_no_longer_made_are_kept_as_old(tmp_path):
    pytest.importorskip("matplotlib")
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    path.write_text(REAL.replace("to: 103", "to: 67"))
    run_sweep(path, out, jobs=1)
    report(out, measure_accuracy(out))
    (out / "accuracy_edp.png").write_text("of a sweep with accuracy")
    said = []
    report(out, measure_accuracy(out), say=said.append)
    assert (out / "accuracy_edp.old.png").read_text() == "of a sweep with accuracy"
    assert "This report no longer makes accuracy_edp.png; kept as accuracy_edp.old.png." in said


# -- the store ----------------------------------------------------------------------------------


def broken_by(sweep, out, deed, after=8):
    """Return the message of a sweep to whose folder something happens, and the points done then."""
    seen = []

    def meanwhile(done, total):
        if done >= after and not seen:
            seen.append(done)
            deed()

    with pytest.raises(BitlatheError) as caught:
        run_sweep(sweep(), out, jobs=1, evaluator=PLAIN, progress=meanwhile)
    return str(caught.value), seen[0]


def test_a_folder_that_is_deleted_is_noticed_and_written_again(sweep, tmp_path):
    out = tmp_path / "out"
    text, done = broken_by(sweep, out, lambda: shutil.rmtree(out))
    assert f"was deleted while the sweep ran. {done} finished points have been written" in text
    again = run_sweep(sweep(), out, jobs=1, evaluator=PLAIN)
    assert (again.reused, again.points) == (done, 240)
    run_sweep(sweep(), tmp_path / "alone", jobs=1, evaluator=PLAIN)
    assert tables(out) == tables(tmp_path / "alone")


def test_a_store_that_is_deleted_alone_is_noticed_too(sweep, tmp_path):
    out = tmp_path / "out"

    def remove():
        for path in out.glob("sweep.sqlite*"):
            path.unlink()

    text, done = broken_by(sweep, out, remove)
    assert "was deleted while the sweep ran" in text
    assert run_sweep(sweep(), out, jobs=1, evaluator=PLAIN).reused == done


def test_a_store_deleted_after_the_last_point_is_noticed(sweep, tmp_path):
    """Else: status 0, tables complete, and nothing for the next run."""
    out = tmp_path / "out"
    text, done = broken_by(sweep, out, lambda: shutil.rmtree(out), after=240)
    assert f"was deleted while the sweep ran. {done} finished" in text
    assert done == 240
    assert run_sweep(sweep(), out, jobs=1, evaluator=PLAIN).evaluated == 0


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="only Linux tells where a file went")
def test_a_folder_that_is_renamed_is_noticed_and_named(sweep, tmp_path):
    out, there = tmp_path / "out", tmp_path / "there"
    text, done = broken_by(sweep, out, lambda: out.rename(there))
    assert f"was moved to {there / 'sweep.sqlite'} while the sweep ran" in text
    assert "Its finished points are in it there; move it back" in text
    assert not (out / "sweep.sqlite").exists()
    assert run_sweep(sweep(), there, jobs=1, evaluator=PLAIN).reused == done


def test_a_store_in_the_place_of_another_is_left_alone(sweep, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    run_sweep(sweep(rows="[1]"), other, jobs=1, evaluator=PLAIN)
    held = (other / "sweep.sqlite").read_bytes()

    def swap():
        out.rename(tmp_path / "first")
        other.rename(out)

    text, _ = broken_by(sweep, out, swap)
    assert "was replaced by another file while the sweep ran" in text
    assert "6 finished points are safe in it, the others are lost" in text
    assert (out / "sweep.sqlite").read_bytes() == held


@pytest.mark.parametrize("name", ["sweep.sqlite", "sweep.sqlite-wal"])
def test_a_store_that_is_cut_short_is_noticed(sweep, tmp_path, name):
    """What is said to be safe is what another program finds in the file."""
    out = tmp_path / "out"
    text, done = broken_by(sweep, out, lambda: os.truncate(out / name, 0))
    assert "was cut short while the sweep ran" in text
    found = 0
    try:
        with closing(sqlite3.connect(out / "sweep.sqlite")) as db:
            found = db.execute("SELECT count(*) FROM points JOIN results USING (key)").fetchone()[0]
    except sqlite3.Error:
        pass
    # the log has all of the file so far, and the file next to nothing without its log
    assert found == (done if name == "sweep.sqlite" else 0)
    said = "None of the finished points can be read from it" if not found else f"{found} finished"
    assert said in text


def test_a_lock_that_is_deleted_is_taken_again(sweep, tmp_path):
    out = tmp_path / "out"

    def meanwhile(done, total):
        (out / "sweep.lock").unlink(missing_ok=True)

    assert run_sweep(sweep(), out, jobs=1, evaluator=PLAIN, progress=meanwhile).rows == 240


def test_of_two_sweeps_the_one_without_the_lock_stops(sweep, tmp_path, monkeypatch):
    """The lock is deleted, another program takes the folder: the first one must not write on."""
    from bitlathe.reports.explore import lock as room

    monkeypatch.setattr(room, "LOCK_SECONDS", 0.3)
    out, locks = tmp_path / "out", []

    def take():
        (out / "sweep.lock").unlink()
        locks.append(room.FolderLock(out))

    text, _ = broken_by(sweep, out, take)
    assert "another sweep" in text
    locks[0].release()
    assert run_sweep(sweep(), out, jobs=1, evaluator=PLAIN).rows == 240


# -- processes ----------------------------------------------------------------------------------


def workers():
    """Return the pool's processes: children of this one that multiprocessing made to work."""
    command = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=", "-o", "args="]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "spawn_main" in line]


class Sniper(threading.Thread):
    """Sends a signal to a random worker again and again, a set number of times."""

    def __init__(self, shots, pause, sent=signal.SIGKILL):
        super().__init__(daemon=True)
        self.hits, self.done = 0, threading.Event()
        self._shots, self._pause, self._sent = shots, pause, sent
        self._random = random.Random(5)

    def run(self):
        while self.hits < self._shots and not self.done.wait(self._random.uniform(*self._pause)):
            if found := workers():
                os.kill(self._random.choice(found), self._sent)
                self.hits += 1


def shot_at(path, out, shots, pause, **options):
    sniper = Sniper(shots, pause, options.pop("sent", signal.SIGKILL))
    sniper.start()
    try:
        evaluator = PlainEvaluator(delay=0.005)
        done = run_sweep(path, out, jobs=2, evaluator=evaluator, **options)
    finally:
        sniper.done.set()
        sniper.join()
    return done, sniper.hits


@pytest.mark.parametrize(
    ("shots", "rows"), [(6, 120), pytest.param(30, 700, marks=pytest.mark.slow)]
)
def test_workers_killed_from_outside_cost_no_point(sweep, tmp_path, shots, rows):
    """Whichever worker dies, idle or not: no point is blamed, and tables are the same."""
    path = sweep(rows=f"{{from: 1, to: {rows}, step: 1}}")
    done, hits = shot_at(path, tmp_path / "out", shots, (0.3, 0.9))
    assert hits > shots / 3
    assert (done.rows, done.failures) == (rows * 6, 0)
    run_sweep(path, tmp_path / "alone", jobs=1, evaluator=PLAIN)
    assert tables(tmp_path / "out") == tables(tmp_path / "alone")


class BreaksAsItIsHandedTo(InlineExecutor):
    """A pool whose worker dies while another is started: its pipes close under the start."""

    def submit(self, *what, **more):
        self._broken = "a process ended"
        raise OSError("handle is closed")


def test_a_pool_that_breaks_as_it_is_handed_a_chunk_costs_no_point(sweep, tmp_path, monkeypatch):
    path = sweep()
    pools = [BreaksAsItIsHandedTo(), BreaksAsItIsHandedTo()]

    def open_pool(jobs):
        return pools.pop() if pools else InlineExecutor()

    monkeypatch.setattr("bitlathe.reports.explore.sweep.process_pool", open_pool)
    done = run_sweep(path, tmp_path / "out", jobs=2, evaluator=PLAIN)
    assert not pools
    assert (done.rows, done.failures) == (240, 0)


def test_a_point_is_blamed_for_the_third_death_alone_and_not_before(sweep, tmp_path):
    """Dies in its chunk of four, with it alone, in its half, and then twice on its own."""
    path = sweep(rows="[4]", columns="[1, 2]")
    for times, failures in ((5, 0), (99, 2)):
        evaluator = PlainEvaluator(
            kill_rows=4, kill_flag=str(tmp_path / f"flag{times}"), kill_times=times
        )
        done = run_sweep(path, tmp_path / f"out{times}", jobs=2, evaluator=evaluator)
        assert (done.rows, done.failures) == (4 - failures, failures)
    assert "died 3 times" in lines(tmp_path / "out99" / "failures.csv")[0]["error"]


def test_a_worker_that_is_stopped_is_ended_and_costs_no_point(sweep, tmp_path):
    path = sweep(rows="{from: 1, to: 120, step: 1}")
    done, hits = shot_at(
        path, tmp_path / "out", 1, (1.0, 1.5), sent=signal.SIGSTOP, timeout=2.0
    )  # fmt: skip
    assert hits == 1
    assert (done.rows, done.failures) == (720, 0)


def test_a_point_that_never_ends_meets_the_limit_and_is_named(sweep, tmp_path):
    path = sweep(rows="[1, 2, 3]")
    others = set(active_children())
    done = run_sweep(
        path, tmp_path / "out", jobs=2, evaluator=PlainEvaluator(hang_rows=2), timeout=1.0
    )
    assert (done.points, done.rows, done.failures) == (18, 16, 2)
    failed = lines(tmp_path / "out" / "failures.csv")
    assert {(r["array.rows"], r["array.columns"], r["status"]) for r in failed} == {
        ("2", "1", "crashed")
    }
    assert {r["error"] for r in failed} == {
        "no result within 1 s, the time limit of a point (--timeout)"
    }
    end = time.monotonic() + 60
    while (left := set(active_children()) - others) and time.monotonic() < end:
        time.sleep(0.05)  # another thread may be about to note their end
    assert not left, "this program would never end"
    # with more patience, or a mended model, it is tried again
    assert run_sweep(path, tmp_path / "out", jobs=1, evaluator=PLAIN).rows == 18


def test_slow_points_within_the_limit_are_no_failures(sweep, tmp_path):
    """A chunk of four takes longer than the limit of one: it is cut, not blamed."""
    path = sweep(rows="[1, 2]", columns="[1]")
    evaluator = PlainEvaluator(delay=0.8)
    done = run_sweep(path, tmp_path / "out", jobs=2, evaluator=evaluator, timeout=1.6)
    assert (done.rows, done.failures) == (4, 0)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_zero(sweep, tmp_path, timeout):
    with pytest.raises(BitlatheError, match=r"timeout: .* seconds; give a number above 0"):
        run_sweep(sweep(), tmp_path / "out", evaluator=PLAIN, timeout=timeout)


def test_no_limit_is_promised_for_processes_of_others(sweep, tmp_path):
    with pytest.raises(BitlatheError, match="timeout: a limit ends processes of this sweep"):
        run_sweep(sweep(), tmp_path / "out", evaluator=PLAIN, timeout=5, dask="tcp://nowhere:1")
    assert not (tmp_path / "out").exists()


def test_an_empty_name_is_no_folder(sweep, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BitlatheError, match="out: an empty name; give a folder"):
        run_sweep(sweep(), "", evaluator=PLAIN)
    assert not list(tmp_path.glob("sweep.sqlite*"))


def test_readers_see_what_is_there(sweep, tmp_path):
    """The rows that `read_results` yields are of the moment it began."""
    out = tmp_path / "out"
    run_sweep(sweep(rows="[1]"), out, jobs=1, evaluator=PLAIN)
    rows = read_results(out)
    next(rows)
    run_sweep(sweep(rows="[1, 2]"), out, jobs=1, evaluator=PLAIN)
    assert len(list(rows)) == 5
