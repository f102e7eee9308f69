"""Points a second of analytic and cycle sweeps, the share that is not simulation, and memory.

    python tests/benchmarks/bench_sweep.py [ANALYTIC] [CYCLE] [JOBS] [SEARCHED]

Prints one JSON object. Each sweep runs twice, at a tenth of its points and at all of them; one of
`mapper: search` with no mapping kept yet (kernels are compiled before), and with all kept.

`overhead` is the share of the CPU time of all processes that is not spent evaluating points:
starting up, planning, keys, handing out, the store and the tables. `waiting` is the share of the
workers' time, from the first point to the last one stored, in which they evaluate nothing.
`peak_mib` is the largest memory of this process, `worker_peak_mib` that of its largest worker.
"""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitlathe.reports.explore import run_sweep
from bitlathe.reports.explore import runner as sweep_runner

FILE = """\
arch: bitmod
models: [opt-1.3b, llama-2-7b]
phases: [prefill, decode]
contexts: 256
axes:
  array.rows: {{from: 4, to: 80, step: 4}}
  array.columns: {{from: 4, to: 64, step: 4}}
  buffers.weight.size_kib: {{from: 256, to: 1024, factor: 2}}
  dram.bits_per_clock: {{from: 1, to: {widths}, step: 1}}
schemes: {{linear: [int8@channel, bitmod_fp4@g128/int8]}}
fidelity: {fidelity}
"""
PER_WIDTH = 2 * 2 * 20 * 16 * 3 * 2
SEARCHED = """\
arch: bitmod
models: llama-2-7b
phases: [prefill, decode]
contexts: 256
axes:
  array.rows: [16, 32, 64]
  buffers.weight.size_kib: [256, 512]
  dram.bits_per_clock: {{from: 64, to: {last}, step: 64}}
mapper: search
"""
TWICE = ("cold", "kept")
PER_STEP = 2 * 3 * 2
WARM_UP = "simulate --arch bitmod --model opt-125m --context 8 --fidelity analytic --mapper search"
SAMPLE = "sampling: {{random: {{samples: {points}, seed: 1}}}}\n"


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its finished children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def file_of(kind: str, points: int) -> str:
    """Return the sweep file of about so many points."""
    if kind == "search":
        return SEARCHED.format(last=64 * -(-points // PER_STEP))
    text = FILE.format(widths=-(-points // PER_WIDTH), fidelity=kind)
    return text + SAMPLE.format(points=points) if kind == "cycle" else text


def measure(kind: str, points: int, jobs: int) -> dict[str, float]:
    """Run one sweep; return its size, rate, overhead and memory."""
    spent, cpu = [0.0], [0.0]
    collect = sweep_runner.Runner._collect

    def counted(self, future, chunk, deliver):  # type: ignore[no-untyped-def]
        if future.exception() is None:
            spent[0] += future.result().seconds
            cpu[0] += future.result().cpu_seconds
        return collect(self, future, chunk, deliver)

    sweep_runner.Runner._collect = counted  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(file_of(kind, points))
        start, cpu_start = time.perf_counter(), cpu_seconds()
        done = run_sweep(path, Path(folder) / "out", jobs=jobs)
        total = time.perf_counter() - start
        for worker in multiprocessing.active_children():
            worker.join()
        cpu_total = cpu_seconds() - cpu_start
        size = (Path(folder) / "out" / "sweep.sqlite").stat().st_size
    sweep_runner.Runner._collect = collect  # type: ignore[method-assign]
    return {
        "points": done.points,
        "failures": done.failures,
        "seconds": round(total, 2),
        "points_per_second": round(done.evaluated / total, 1),
        "cpu_ms_per_point": round(1e3 * cpu_total / done.points, 3),
        "overhead": round(1 - cpu[0] / cpu_total, 3),
        "waiting": round(1 - spent[0] / (jobs * done.seconds), 3),
        "export_seconds": round(total - done.seconds, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "worker_peak_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "store_bytes_per_point": round(size / done.points),
    }


def main() -> None:
    """Measure each sweep in a process of its own, since peaks of memory never fall."""
    if sys.argv[-1] == "-":  # one measurement: KIND POINTS JOBS -
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
        return
    given = [int(text) for text in sys.argv[1:]]
    analytic, cycle, jobs, searched = [*given, *(100_000, 2_000, 2, 36)[len(given) :]]
    found: dict[str, dict[str, Any]] = {}
    for fidelity, points in (("analytic", analytic), ("cycle", cycle)):
        if points:
            found[fidelity] = {
                name: alone(fidelity, count, jobs)
                for name, count in (("tenth", points // 10), ("all", points))
            }
    with tempfile.TemporaryDirectory() as kept:
        folder = {"BITLATHE_CACHE": kept}
        command = [sys.executable, "-m", "bitlathe", *WARM_UP.split()]
        subprocess.run(command, capture_output=True, check=True, env={**os.environ, **folder})
        found["search"] = {name: alone("search", searched, jobs, folder) for name in TWICE}
    print(json.dumps({"jobs": jobs, **found}, indent=2))


def alone(kind: str, points: int, jobs: int, settings: Mapping[str, str] | None = None) -> Any:
    """Return one measurement, taken in a process with these settings of the environment."""
    arguments = [sys.executable, __file__, kind, str(points), str(jobs), "-"]
    environment = {**os.environ, **(settings or {})}
    run = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout)


if __name__ == "__main__":
    main()
