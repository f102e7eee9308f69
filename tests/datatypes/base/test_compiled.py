"""The disk cache of compiled kernels, seen from one process after another."""

import hashlib
import os
import pickle
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from llvmlite.binding import Linkage

from bitlathe.datatypes.base.compiled import compiled
from bitlathe.datatypes.base.inner_kernels import inner
from bitlathe.datatypes.base.jit import switched_off
from bitlathe.datatypes.base.turns import Turn

SWITCHES = ("BITLATHE_COMPILED", "NUMBA_DISABLE_JIT")

PROGRAM = """
import logging
import sys
logging.basicConfig(level="INFO", format="%(name)s %(message)s")
sys.path.insert(0, r"{package}")
from room.kernel import outer
print(outer(1), sum(outer.stats.cache_hits.values()))
"""
KERNEL = """
from bitlathe.datatypes.base.compiled import compiled
from .helper_kernels import inner

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
PART = """
from bitlathe.datatypes.base.inner_kernels import inner as part

@part
def times(x, factor):
    return x * factor

@part
def inner(x):
    return times(x, {factor}) + times(x, x) - times(x, 1)
"""


def make_room(package):
    (package / "room").mkdir()
    (package / "room" / "__init__.py").touch()
    (package / "room" / "kernel.py").write_text(KERNEL)


def run(package, factor, helper_text=HELPER, **options):
    process = start(package, factor, helper_text, **options)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    result, hits = (int(word) for word in output.split())
    if "preexec_fn" not in options:  # a log is a file, too
        said = [line for line in errors.splitlines() if line.startswith("bitlathe.compiles")]
        assert bool(said) == (hits == 0), errors
    return result, hits


def start(package, factor, helper_text=HELPER, **options):
    helper = package / "room" / "helper_kernels.py"
    text = helper_text.format(factor=factor)
    if text != (helper.read_text() if helper.exists() else ""):
        helper.write_text(text)
    # without files of bytecode: Python would take an old one for a file of equal time and size
    kept = {"NUMBA_CACHE_DIR": str(package / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **kept}
    program = [sys.executable, "-c", PROGRAM.format(package=package)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, env=env, **pipes, **options)


@pytest.mark.parametrize("text", [HELPER, PART], ids=["njit", "part"])
def test_a_change_in_another_file_recompiles_and_none_does_not(tmp_path, text):
    make_room(tmp_path)
    assert run(tmp_path, 10, text) == (11, 0)
    (tmp_path / "room" / "other_kernels.py").write_text(text.format(factor=7))
    (tmp_path / "room" / "kernel.py").touch()
    assert run(tmp_path, 10, text) == (11, 1)  # from the disk: these two change nothing
    assert run(tmp_path, 200, text) == (201, 0)


@pytest.mark.skipif(switched_off(), reason="kernels are plain Python")
def test_what_a_kernel_calls_is_its_own():
    """LLVM may then change how it is called, and leaves no function that nothing calls."""

    @inner
    def part(some, i):
        return some[i] * 2

    @compiled
    def outer(some):
        return part(some, 0) + part(some, 1)

    @compiled
    def outermost(some):
        return outer(some) + 1

    assert outermost(np.array([20, 3])) == 47
    (made,) = outermost.overloads.values()
    open_to_all = [each.name for each in made.library.get_defined_functions()
                   if each.linkage != Linkage.internal]  # fmt: skip
    assert len(open_to_all) == 3  # the kernel, and what Python and C call
    assert all("outermost" in name for name in open_to_all)


def test_what_is_a_kernels_own_has_names_of_no_other():
    """LLVM's loader goes by names: one kernel would call what another has changed for itself."""

    @compiled
    def ones(n):
        return np.ones(n)

    @compiled
    def zeros(n):
        return np.zeros((n, n))

    found = []
    for kernel in (ones, zeros):
        kernel(2)
        (made,) = kernel.overloads.values()
        found.append({each.name for each in made.library.get_defined_functions()})
    assert all(any("NRT" in name for name in names) for names in found)  # parts are left
    assert not found[0] & found[1]


MAKER = """
import os
from numba import njit
from bitlathe.datatypes.base.compiled import compiled

def made(by):
    @njit
    def inner(x):
        return x * by

    @njit
    def middle(x):
        return inner(x) + by

    @compiled
    def kernel(x):
        return middle(x) + 1

    return kernel

outer = made(int(os.environ["BY"]))
"""


def test_kernels_made_of_others_are_kept_by_what_those_close_over(tmp_path, monkeypatch):
    make_room(tmp_path)
    (tmp_path / "room" / "kernel.py").write_text(MAKER)
    for by, hits in ((2, 0), (5, 0), (2, 1), (5, 1)):
        monkeypatch.setenv("BY", str(by))
        assert run(tmp_path, 1) == (2 * by + 1, hits)


def test_a_part_is_compiled_once_whatever_the_constants_and_runs_in_python():
    @inner
    def scaled(x, factor):
        return x * factor

    @compiled
    def kernel(x):
        return scaled(x, 2) + scaled(x, 3) + scaled(x, x)

    assert kernel(10) == 150
    assert scaled(10, 2) == 20
    assert scaled("ab", 2) == "abab"  # plain Python
    if not switched_off():
        assert len(scaled.overloads) <= 1  # none where the kernel was kept by an earlier run


DAMAGE = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"garbage" * 99,
    "cut short": lambda content: content[:-1],
    "one bit flipped": lambda content: content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
    "of numba's own kind": lambda content: pickle.dumps("0.61.0") + content,
    "of another function": lambda content: hashlib.sha256(OTHER).digest() + OTHER,
}
OTHER = pickle.dumps(("another stamp", "another key", b"machine code"))


def test_a_damaged_kernel_is_compiled_again_and_kept(tmp_path):
    make_room(tmp_path)
    assert run(tmp_path, 10) == (11, 0)
    kept = list((tmp_path / "cache").rglob("*.kernel"))
    assert kept
    for name, damage in DAMAGE.items():
        for path in kept:
            path.write_bytes(damage(path.read_bytes()))
        assert run(tmp_path, 10) == (11, 0), name
    assert run(tmp_path, 10) == (11, 1)


def test_of_processes_that_start_together_one_compiles(tmp_path):
    make_room(tmp_path)
    both = [start(tmp_path, 10) for _ in range(2)]
    printed = sorted(process.communicate()[0].split() for process in both)
    assert printed == [["11", "0"], ["11", "1"]]
    assert not list((tmp_path / "cache").rglob("*.lock"))


def test_a_turn_is_waited_for(tmp_path):
    first, second = (Turn(tmp_path / "lock") for _ in range(2))
    assert not first.take()
    with ThreadPoolExecutor() as pool:
        taken = pool.submit(second.take)
        time.sleep(0.2)
        assert not taken.done()
        first.end()
        assert taken.result()
    second.end()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    make_room(tmp_path)
    no_room = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))}
    assert run(tmp_path, 10, **no_room) == (11, 0)  # each write is refused, as on a full disk
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    (tmp_path / "cache").rename(tmp_path / "gone")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert run(tmp_path, 10) == (11, 0)


QUANTIZE = """
import hashlib
import sys
import numpy as np
from bitlathe.datatypes.quantize import quantize

x = (np.random.default_rng(0).standard_normal((512, 512)) * 0.05).astype(np.float32)
digest = hashlib.sha256()
for scheme in ("int4@g128", "bitmod_fp4@g128/int8", "olive4@g128"):
    q = quantize(x, scheme)
    for name in sorted(q.packed):
        digest.update(q.packed[name].tobytes())
    digest.update(q.dequantize().tobytes())
print(digest.hexdigest(), "bitlathe.datatypes.base.compiled" in sys.modules)
"""


def test_without_compiled_kernels_numbers_are_the_same(tmp_path):
    def digest(**switch):
        env = {key: value for key, value in os.environ.items() if key not in SWITCHES}
        program = [sys.executable, "-c", QUANTIZE]
        done = subprocess.run(
            program, env=env | switch, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout.split()

    found, used = digest()
    assert used == "True"
    assert digest(BITLATHE_COMPILED="0") == [found, "False"]
    assert digest(NUMBA_DISABLE_JIT="1") == [found, "False"]


def test_the_simulator_runs_without_compiled_kernels():
    """A systolic array clock by clock: the sums of numpy."""
    program = """
import numpy as np
from bitlathe.sim.array.systolic.clock import simulate_systolic
from bitlathe.datatypes.base.compiled import compiled
a, b = np.arange(12).reshape(3, 4) - 5, np.arange(20).reshape(4, 5) - 9
outputs = simulate_systolic(a, b, 2, 2, "os").outputs
print((outputs == a @ b).all(), hasattr(compiled(abs), "py_func"))
"""
    env = {**os.environ, "BITLATHE_COMPILED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]
