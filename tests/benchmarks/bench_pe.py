"""Speed of the bit-exact PEs on one core, and of numpy doing the same sums inexactly.

Run ``python tests/benchmarks/bench_pe.py``. Times are CPU seconds of the process, the least of
several runs, checking and splitting of the operands included. Goal: at least 20 million bit-exact
MACs per second and core.
"""

import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from bitlathe.sim.pe.bit_serial import bitserial_dot
from bitlathe.sim.pe.dequantize import table_matmul
from bitlathe.sim.pe.mac import fp_mac_dot, int_mac_dot

GROUPS, LENGTH, RUNS = 20_000, 128, 7
GOAL = 20.0


def fastest(call: Callable[[], Any]) -> float:
    """Least CPU seconds of several runs, after one to compile."""
    call()
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    """Print one row per PE."""
    rng = np.random.default_rng(0)
    macs = GROUPS * LENGTH
    activations = rng.standard_normal((GROUPS, LENGTH)).astype(np.float16)
    wide = activations.astype(np.float32)
    fp4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 10, -1, -2, -3, -4, -6, -8, -12, 16, -16])
    weights = {
        "int8": rng.integers(-127, 128, (GROUPS, LENGTH)).astype(np.int8),
        "int6": rng.integers(-31, 32, (GROUPS, LENGTH)).astype(np.int8),
        "fp4": rng.choice(fp4, (GROUPS, LENGTH)).astype(np.int8),
    }
    floats = weights["int8"].astype(np.float32)
    jobs: dict[str, Callable[[], Any]] = {
        "numpy float32 product and sum (inexact)": lambda: (wide * floats).sum(-1),
    }
    for name, w in weights.items():
        for numerics in ("hpca25", "aligned", "exact"):
            jobs[f"bit_serial {name} {numerics}"] = lambda w=w, n=name, r=numerics: bitserial_dot(
                activations, w, n, r
            )
    jobs["bit_serial fp4 aligned, term skipping"] = lambda: bitserial_dot(
        activations, weights["fp4"], "fp4", skip_zero_terms=True
    )
    ints = weights["int8"].astype(np.int64)
    jobs["int_mac INT8 x INT8 into 32 bits"] = lambda: int_mac_dot(ints, ints)
    jobs["fp_mac FP16 into FP32, fused"] = lambda: fp_mac_dot(activations, activations)
    codes = rng.integers(0, 16, (512, 512)).astype(np.uint8)
    scales = np.ones((512, 4), np.float32)
    side = rng.standard_normal((32, 512)).astype(np.float16)
    grid = np.arange(16.0)
    table_seconds = fastest(lambda: table_matmul(side, codes, grid, scales))
    times = {name: fastest(job) for name, job in jobs.items()}
    copy = fastest(wide.copy)
    print(f"{macs:,} MACs in groups of {LENGTH}; a copy of the activations takes {copy:.2e} s")
    print(f"{'job':42s} {'million MAC/s':>13s} {'goal':>6s}")
    for name, seconds in times.items():
        rate = macs / seconds / 1e6
        print(f"{name:42s} {rate:13.1f} {rate / GOAL:5.1f}x")
    rate = 32 * 512 * 512 / table_seconds / 1e6
    print(f"{'grid-table product':42s} {rate:13.1f} {rate / GOAL:5.1f}x")


if __name__ == "__main__":
    main()
