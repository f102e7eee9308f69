"""The disk cache of compiled kernels, seen from one process after another."""

import os
import subprocess
import sys

PROGRAM = """
from bitlathe.datatypes.compiled import compiled, sources_stamp
import bitlathe.datatypes.compiled as module
from pathlib import Path

module.sources_stamp = lambda: sources_stamp(Path(r"{package}"))
import sys
sys.path.insert(0, r"{package}")
from room.kernel import outer
print(outer(1), sum(outer.stats.cache_hits.values()))
"""
KERNEL = """
from bitlathe.datatypes.compiled import compiled
from .helper import inner

@compiled
def outer(x):
    return inner(x) + 1
"""
HELPER = """
from numba import njit

@njit
def inner(x):
    return x * {factor}
"""


def run(package, factor):
    helper = package / "room" / "helper.py"
    if f"* {factor}" not in (helper.read_text() if helper.exists() else ""):
        helper.write_text(HELPER.format(factor=factor))
    env = {**os.environ, "NUMBA_CACHE_DIR": str(package / "cache")}
    program = [sys.executable, "-c", PROGRAM.format(package=package)]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=True)
    return tuple(int(word) for word in done.stdout.split())


def test_a_change_in_another_file_recompiles_and_none_does_not(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").touch()
    (tmp_path / "room" / "kernel.py").write_text(KERNEL)
    assert run(tmp_path, 10) == (11, 0)
    assert run(tmp_path, 10) == (11, 1)  # from the disk
    assert run(tmp_path, 200) == (201, 0)
