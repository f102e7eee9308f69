"""Points a second of analytic and cycle sweeps, the share that is not simulation, and memory.

    python tests/benchmarks/bench_sweep.py [ANALYTIC] [CYCLE] [JOBS]

Prints one JSON object. Each sweep runs twice, at a tenth of its points and at all of them.

`overhead` is the share of the CPU time of all processes that is not spent evaluating points:
starting up, planning, keys, handing out, the store and the tables. `waiting` is the share of the
workers' time, from the first point to the last one stored, in which they evaluate nothing.
`peak_mib` is the largest memory of this process, `worker_peak_mib` that of its largest worker.
"""

import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
SAMPLE = "sampling: {{random: {{samples: {points}, seed: 1}}}}\n"


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its finished children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def measure(fidelity: str, points: int, jobs: int) -> dict[str, float]:
    """Run one sweep; return its size, rate, overhead and memory."""
    spent, cpu = [0.0], [0.0]
    collect = sweep_runner.Runner._collect

    def counted(self, future, chunk, deliver):  # type: ignore[no-untyped-def]
        if future.exception() is None:
            spent[0] += future.result().seconds
            cpu[0] += future.result().cpu_seconds
        return collect(self, future, chunk, deliver)

    sweep_runner.Runner._collect = counted  # type: ignore[method-assign]
    text = FILE.format(widths=-(-points // PER_WIDTH), fidelity=fidelity)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(text + SAMPLE.format(points=points) if fidelity == "cycle" else text)
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
        "points_per_second": round(done.evaluated / total),
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
    if len(sys.argv) == 5:  # one measurement: FIDELITY POINTS JOBS -
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
        return
    given = [int(text) for text in sys.argv[1:]]
    analytic, cycle, jobs = [*given, *(100_000, 2_000, 2)[len(given) :]]
    found = {}
    for fidelity, points in (("analytic", analytic), ("cycle", cycle)):
        for name, count in (("tenth", points // 10), ("all", points)):
            arguments = [sys.executable, __file__, fidelity, str(count), str(jobs), "-"]
            run = subprocess.run(arguments, capture_output=True, text=True, check=True)
            found.setdefault(fidelity, {})[name] = json.loads(run.stdout)
    print(json.dumps({"jobs": jobs, **found}, indent=2))


if __name__ == "__main__":
    main()
