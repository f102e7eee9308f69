"""Points a second of an analytic sweep, the runner's overhead, and memory, in one run.

    python tests/benchmarks/bench_sweep.py [POINTS] [JOBS]

Prints one JSON object. `overhead` is the share of the runner's time (planning, hand-out, store)
beyond the seconds that its workers spent in the simulator; `peak_mib` is the largest memory of this
process, at a tenth of the points and at all of them.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from bitlathe.reports.sweep import run_sweep
from bitlathe.reports.sweep import runner as sweep_runner

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
"""
PER_WIDTH = 2 * 2 * 20 * 16 * 3 * 2


def measure(points: int, jobs: int) -> dict[str, float]:
    """Run one sweep; return its size, rate and the overhead of the runner."""
    spent = [0.0]
    collect = sweep_runner.Runner._collect

    def counted(self, future, chunk, deliver):  # type: ignore[no-untyped-def]
        if future.exception() is None:
            spent[0] += future.result().seconds
        return collect(self, future, chunk, deliver)

    sweep_runner.Runner._collect = counted  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(FILE.format(widths=-(-points // PER_WIDTH)))
        start = time.perf_counter()
        done = run_sweep(path, Path(folder) / "out", jobs=jobs)
        total = time.perf_counter() - start
        size = (Path(folder) / "out" / "sweep.sqlite").stat().st_size
    sweep_runner.Runner._collect = collect  # type: ignore[method-assign]
    return {
        "points": done.points,
        "failures": done.failures,
        "seconds": round(total, 2),
        "export_seconds": round(total - done.seconds, 2),
        "points_per_second": round(done.evaluated / total),
        "overhead": round(1 - spent[0] / (jobs * done.seconds), 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "store_bytes_per_point": round(size / done.points),
    }


def main() -> None:
    """Measure a tenth of the points, then all of them."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    small = measure(points // 10, jobs)
    print(json.dumps({"jobs": jobs, "tenth": small, "all": measure(points, jobs)}, indent=2))


if __name__ == "__main__":
    main()
