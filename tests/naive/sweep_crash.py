"""Run one sweep many times, each killed with SIGKILL at a random moment; then say so.

Called as a program: SWEEP_FILE OUT ROUNDS SEED JOBS. Imports once, then forks for each round, so
that the kills fall on the work and not on imports. A spare process group takes the workers along
only when they fail to end by themselves.
"""

import os
import random
import signal
import sys
import time

from bitlathe.reports.explore import run_sweep
from naive.sweep_model import PlainEvaluator


def main():
    path, out, rounds, seed, jobs = sys.argv[1:6]
    rng = random.Random(int(seed))
    killed = 0
    for _ in range(int(rounds)):
        child = os.fork()
        if child == 0:
            run_sweep(path, out, jobs=int(jobs), evaluator=PlainEvaluator(delay=0.0005))
            os._exit(0)
        time.sleep(rng.uniform(0.0, 0.5))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    print(killed)


if __name__ == "__main__":
    main()
