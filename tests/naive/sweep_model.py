"""Stand-ins for the simulator in sweep tests: importable by worker processes, cheap, exact."""

import hashlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from bitlathe.reports.explore.evaluator import Evaluator
from bitlathe.reports.explore.points import Point


def point(value):
    """Return a point that sets the key ``a``."""
    return Point(
        arch="chip", model="net", phase="decode", context=None, batch=1, fidelity="analytic",
        mapper="whole-buffer", settings=(("a", value),),
    )  # fmt: skip


@dataclass(frozen=True)
class PlainEvaluator(Evaluator):
    """cost, time and area of a point by plain formulae; optional delay, failures, log of calls."""

    delay: float = 0.0
    log: str = ""
    fail_rows: int = -1
    crash_rows: int = -1
    kill_flag: str = ""
    kill_times: int = 1
    kill_rows: int = -1
    hang_rows: int = -1
    version: str = "plain-1"

    def columns(self, fidelity):
        return ["cost", "area_um2.total", "area_um2.cells"]

    def key(self, point):
        text = json.dumps([point.columns(), self.version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, point):
        from bitlathe.datatypes.base.errors import BitlatheError

        row = point.columns()
        rows, columns = row["array.rows"], row["array.columns"]
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{rows} {columns} {row['batch']}\n")
        if self.delay:
            time.sleep(self.delay)
        if rows == self.fail_rows:
            raise BitlatheError(f"array.rows: {rows} is impossible")
        if rows == self.crash_rows:
            raise ZeroDivisionError("broken simulator")
        if rows == self.kill_rows and columns == 1:
            self._die()
        if rows == self.hang_rows and columns == 1:
            time.sleep(3600)
        return {
            "cost": row["batch"] * 1000 / (rows * columns) + 0.1 * rows,
            "area_um2.total": float(rows * columns),
            "area_um2.cells": rows * columns,
        }

    def _die(self):
        """Kill this process; with a flag file, only so many times: each leaves a file."""
        if self.kill_flag:
            flag = Path(self.kill_flag)
            before = len(list(flag.parent.glob(f"{flag.name}*")))
            if before >= self.kill_times:
                return
            flag.with_name(flag.name + before * "+").touch()
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class FrontEvaluator(Evaluator):
    """Two objectives over five axes of a 5,000-point space, with a curved, uneven front.

    The workload scales what is computed and what is moved: ``large`` is ten times ``small``, and
    ``decode`` computes next to nothing.
    """

    version: str = "front-1"

    def columns(self, fidelity):
        return ["energy", "seconds"]

    def key(self, point):
        return hashlib.sha256(json.dumps(point.columns(), sort_keys=True).encode()).hexdigest()

    def __call__(self, point):
        row = point.columns()
        rows, columns = row["array.rows"], row["array.columns"]
        bits = row["dram.bits_per_clock"]
        size = row["buffers.weight.size_kib"]
        clock = row.get("technology.clock_ghz", 1.0)
        scale = 10 if row["model"] == "large" else 1
        refetch = 1 + (512 / size if size < 512 else 0)
        tokens = 300 if row["phase"] == "prefill" else 10
        compute = -(-4096 // rows) * -(-tokens // columns) * 64 * scale
        memory = 2.0**22 * refetch / bits * scale
        seconds = max(compute, memory) / clock + 0.1 * min(compute, memory)
        energy = 1e4 * (1 + clock**2) * (1 + rows * columns / 1500)  # wires, voltage
        energy += 2e4 * refetch * (1 + bits / 256) + 0.02 * size * seconds / 100
        return {"energy": energy, "seconds": seconds}
