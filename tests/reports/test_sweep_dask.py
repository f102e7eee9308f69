"""Sweeps on a real Dask scheduler with real worker processes, one of them killed midway."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitlathe.datatypes.errors import BitlatheError
from bitlathe.reports.sweep import run_sweep
from bitlathe.reports.sweep.cluster import Cluster
from naive.sweep_model import PlainEvaluator

pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("default")  # Dask's own

TESTS = Path(__file__).parents[1]


def start(tmp_path, name, *arguments):
    quiet = {
        "PYTHONPATH": str(TESTS),
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "dask"),
    }
    with (tmp_path / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            env=os.environ | quiet,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler and two workers; return its address and the workers' processes."""
    programs = []
    try:
        local = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        programs.append(start(tmp_path, "scheduler", "scheduler", *local))
        deadline, address = time.monotonic() + 30, None
        while address is None:
            assert time.monotonic() < deadline, (tmp_path / "scheduler.log").read_text()
            found = re.search(r"tcp://127\.0\.0\.1:\d+", (tmp_path / "scheduler.log").read_text())
            address = found and found[0]
            time.sleep(0.05)
        for i in range(2):
            one = ("--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
            programs.append(start(tmp_path, f"worker{i}", "worker", address, *one))
        yield address, programs[1:]
    finally:
        for program in programs:
            program.kill()
            program.wait()


def write(tmp_path, rows):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: chip\nmodels: net\nbatches: [1, 2]\n"
        f"axes: {{array.rows: {{from: 1, to: {rows}, step: 1}}, array.columns: [1, 2, 4]}}\n"
    )
    return path


def exports(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in {".csv", ".parquet"}}


def test_a_lost_worker_costs_nothing_and_tables_are_byte_identical(cluster, tmp_path):
    address, workers = cluster
    path = write(tmp_path, 60)
    killed_at = []

    def kill_midway(done, total):
        if done >= total // 4 and not killed_at:
            killed_at.append(done)
            workers[0].send_signal(signal.SIGKILL)

    evaluator = PlainEvaluator(delay=0.005)
    done = run_sweep(
        path, tmp_path / "dask", dask=address, evaluator=evaluator, progress=kill_midway
    )
    assert killed_at
    assert killed_at[0] < done.points
    assert workers[0].wait(timeout=10) == -signal.SIGKILL
    assert (done.rows, done.failures) == (60 * 3 * 4, 0)
    run_sweep(path, tmp_path / "one", jobs=1, evaluator=PlainEvaluator())
    assert exports(tmp_path / "dask") == exports(tmp_path / "one")
    simulated = tmp_path / "simulated.yaml"
    simulated.write_text(
        "arch: [bitmod, ant]\nmodels: opt-1.3b\naxes: {array.rows: [16, 32, 64, 128]}\n"
        "schemes: {linear: [int8@channel, int4_asym@g128]}\n"
    )
    run_sweep(simulated, tmp_path / "sim-dask", dask=address)
    run_sweep(simulated, tmp_path / "sim-one", jobs=1)
    run_sweep(simulated, tmp_path / "sim-two", jobs=2)
    tables = exports(tmp_path / "sim-one")
    assert tables["results.csv"].count(b"\n") > 20
    assert tables == exports(tmp_path / "sim-two") == exports(tmp_path / "sim-dask")


def test_no_scheduler_is_a_user_error():
    with pytest.raises(BitlatheError, match="no scheduler answers there"):
        Cluster("tcp://127.0.0.1:9", timeout="1s")
