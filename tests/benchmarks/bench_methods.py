"""Speed of calibration: one layer of 4096 x 4096 weights on 256 tokens, by each method.

Run ``python tests/benchmarks/bench_methods.py [METHOD ...]``; methods with a goal by default. Times
are CPU seconds of the process on one thread, of two runs the smaller, after one of a small layer
to compile. Method and schemes are the defaults of `bitlathe.calibrate`.
"""

import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.table import METHODS

WIDTH, TOKENS = 4096, 256
GOALS = {"awq": 20, "dgq": 30, "shiftadd": 60, "gptq": 30}  # CPU seconds


def layer(outputs, inputs, tokens):
    """Return weights, and correlated inputs of which a few are large."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((outputs, inputs)).astype(np.float32)
    x = rng.standard_normal((tokens, inputs)) @ (
        rng.standard_normal((inputs, inputs)) / inputs**0.5
    )
    x[:, rng.choice(inputs, inputs // 512 or 1, replace=False)] *= 20
    return w, x


def main():
    """Print a row for each method."""
    small, whole = layer(16, 256, 32), layer(WIDTH, WIDTH, TOKENS)
    print("| method | scheme | goal, CPU s | CPU s | error | rounded |\n|---|---|---|---|---|---|")
    for method in sys.argv[1:] or GOALS:
        calibrate(*small, method)
        seconds = []
        for _ in range(2):
            start = time.process_time()
            made = calibrate(*whole, method)
            seconds.append(time.process_time() - start)
        row = METHODS[method]
        inputs = "" if row.activation_scheme == "none" else f", inputs {row.activation_scheme}"
        print(
            f"| `{method}` | `{row.scheme}`{inputs} | {GOALS.get(method, '-')} "
            f"| {min(seconds):.1f} | {made.relative_error:.3g} | {made.rounded_error:.3g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
