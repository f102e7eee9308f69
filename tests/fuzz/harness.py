"""Read damaged inputs in a process of its own: ``python -m fuzz.harness FIRST COUNT [KIND ...]``.

One line of JSON an input, before and after it is read, so that the one that ends the process is
known: [kind, seed], then [kind, seed, outcome, why, seconds, MiB so far].
"""

import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 300  # a watch, not a measure: some inputs have kernels compiled
MIB = 2048
TESTS = Path(__file__).parents[1]


class TooSlow(BaseException):
    """Not an Exception: no reader may take it for damage of its file."""


def _stop(_signal, _frame):
    raise TooSlow


def main(first: int, count: int, kinds: list[str]) -> None:
    """Read ``count`` inputs of each kind."""
    from .readers import READERS, outcome_of

    # well above what is allowed: it protects the machine, and the failure is told
    resource.setrlimit(resource.RLIMIT_DATA, (4 * MIB << 20, 4 * MIB << 20))
    signal.signal(signal.SIGALRM, _stop)
    with tempfile.TemporaryDirectory() as name:
        for i, kind in enumerate(kinds or list(READERS)):
            reader, folder = READERS[kind], Path(name) / str(i)
            folder.mkdir()
            _warm_up(reader, kind, folder)
            for seed in range(first, first + count):
                made = reader.make(random.Random(f"{kind} {seed}"), folder)
                print(json.dumps([kind, seed]), flush=True)
                start = time.process_time()
                signal.setitimer(signal.ITIMER_REAL, SECONDS)
                try:
                    outcome, why = outcome_of(reader, made)
                except TooSlow:
                    outcome, why = "failed", f"over {SECONDS} seconds"
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                seconds = time.process_time() - start
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(json.dumps([kind, seed, outcome, why, seconds, peak]), flush=True)


def _warm_up(reader, kind, folder):
    """Import what the reader imports, so that the first input is not charged for it."""
    made = reader.make(random.Random(f"{kind} -1"), folder)
    from .readers import outcome_of

    outcome_of(reader, made)


def run(first: int, count: int, kinds: list[str] | None = None) -> list[list]:
    """Read inputs in a child process; return what became of each, one row an input."""
    program = [sys.executable, "-m", "fuzz.harness", str(first), str(count), *(kinds or [])]
    done = subprocess.run(program, cwd=TESTS, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    ended = [row for row in rows if len(row) > 2]
    begun = [row for row in rows if len(row) == 2]
    if done.returncode or len(begun) > len(ended):
        last = begun[-1] if begun else ["none", -1]
        why = f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
        ended.append([*last, "failed", why, 0.0, 0.0])
    return ended


def failures(rows: list[list]) -> list[list]:
    """Return inputs that were neither accepted nor refused, or took more than `MIB`."""
    return [row for row in rows if row[2] == "failed" or row[5] > MIB]


def table(rows: list[list]) -> str:
    """Return the figures of `docs/checks.md`."""
    lines = ["| input | tried | refused | accepted | anything else |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(row[0] for row in rows):
        own = [row[2] for row in rows if row[0] == kind]
        wrong = len(failures([row for row in rows if row[0] == kind]))
        lines.append(
            f"| {kind} | {len(own):,} | {own.count('refused'):,} | {own.count('accepted'):,} "
            f"| {wrong} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "table":
        ROWS = run(0, int(sys.argv[2]), sys.argv[3:])
        for row in failures(ROWS):
            print(row)
        print(table(ROWS))
        slowest, most = (max(row[i] for row in ROWS) for i in (4, 5))
        print(f"slowest {slowest:.2f} s, most memory {most:.0f} MiB")
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
