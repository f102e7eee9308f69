"""Sweeps on a real Dask scheduler with real worker processes, one of them killed midway."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import cluster as sweep_cluster
from bitlathe.reports.explore import run_sweep
from bitlathe.reports.explore import runner as sweep_runner
from bitlathe.reports.explore.cluster import Cluster
from naive.sweep_model import PlainEvaluator

pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("default")  # Dask's own

TESTS = Path(__file__).parents[2]


def start(tmp_path, name, *arguments):
    quiet = {
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
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


def scheduler(tmp_path):
    """Start a scheduler; return its process and address."""
    local = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    program = start(tmp_path, "scheduler", "scheduler", *local)
    deadline, log = time.monotonic() + 30, tmp_path / "scheduler.log"
    while not (found := re.search(r"tcp://127\.0\.0\.1:\d+", log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return program, found[0]


def start_worker(tmp_path, address, number):
    one = ("--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
    return start(tmp_path, f"worker{number}", "worker", address, *one)


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler and two workers; return its address and the workers' processes."""
    program, address = scheduler(tmp_path)
    programs = [program]
    try:
        programs += [start_worker(tmp_path, address, i) for i in range(2)]
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
        "arch: [bitmod, ant]\nmodels: opt-125m\n"
        "mapper: [search, whole-buffer]\n"
        "schemes: {linear: [int8@channel, int4_asym@g128]}\n"
    )
    run_sweep(simulated, tmp_path / "sim-dask", dask=address)
    run_sweep(simulated, tmp_path / "sim-one", jobs=1)
    run_sweep(simulated, tmp_path / "sim-two", jobs=2)
    tables = exports(tmp_path / "sim-one")
    assert tables["results.csv"].count(b"\n") > 10
    assert tables == exports(tmp_path / "sim-two") == exports(tmp_path / "sim-dask")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "foo://x:1"])
def test_no_scheduler_is_a_user_error(address):
    with pytest.raises(BitlatheError, match="no scheduler answers there"):
        Cluster(address, timeout="1s")


def test_an_address_that_is_none_leaves_no_traceback(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("arch: bitmod\nmodels: opt-1.3b\n")
    command = "from bitlathe.cli import main; main()"
    arguments = ["sweep", path, "--out", tmp_path / "out", "--dask", "nonsense"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=19,  # a client of this address takes 20 s to end, with a traceback
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --dask nonsense: no scheduler answers there")
    assert done.stderr.count("\n") == 1


def test_a_cluster_without_workers_is_said_and_given_up(tmp_path, capsys, monkeypatch):
    program, address = scheduler(tmp_path)
    monkeypatch.setattr(sweep_runner, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(sweep_cluster, "WORKER_SECONDS", 1.0)
    try:
        with pytest.raises(BitlatheError, match=f"{address}: the scheduler has no workers.*in 1 s"):
            run_sweep(
                write(tmp_path, 4), tmp_path / "out", dask=address, evaluator=PlainEvaluator()
            )
        assert capsys.readouterr().err == f"waiting for workers at {address}\n"
        monkeypatch.setattr(sweep_cluster, "WORKER_SECONDS", 30.0)
        worker = start_worker(tmp_path, address, 0)
        killed = []

        def kill(done, total):
            if not killed:
                monkeypatch.setattr(sweep_cluster, "WORKER_SECONDS", 1.0)
                worker.kill()
                killed.append(worker.wait())

        with pytest.raises(BitlatheError, match=r"no workers.*Finished points are safe"):
            run_sweep(
                write(tmp_path, 60),
                tmp_path / "out",
                dask=address,
                evaluator=PlainEvaluator(delay=0.02),
                progress=kill,
            )
        assert killed
    finally:
        program.kill()
        program.wait()
