"""The CUDA kernels compile to PTX and assemble, with the compiler from the package registry.

No device is needed. Numba reads the toolkit's place from CUDA_HOME when it is imported, so the
compilation runs in a process of its own, on a folder of links to the package's files. The types
compiled for are those that the host functions launch the kernels with.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cuda_calls

COMPILE = """
import json
import sys
from importlib import import_module
from types import SimpleNamespace

import numba as nb
import numpy as np
from numba import cuda
from numba.cuda import dispatcher

from bitlathe.datatypes.kernels.cuda import counts, groups, launch, tiles
import cuda_calls as checks
from bitlathe.sim.cuda import given_kernels as given
from cuda_calls import CALLS, KERNELS


class Recorder:
    # Stands where a kernel is launched, keeps the types and the most threads it is launched with
    def __init__(self):
        self.types, self.threads = set(), 0

    def __getitem__(self, grid):
        self.threads = max(self.threads, int(np.prod(grid[1])))
        return lambda *a: self.types.add(tuple(nb.typeof(getattr(x, "array", x)) for x in a))


places = {name: (import_module(module), kernel) for name, (module, kernel) in KERNELS.items()}
kept = {name: getattr(*place) for name, place in places.items()}
seen = {name: Recorder() for name in KERNELS}

class Held:
    # Stands for an array on the device, or a part of a buffer there
    __cuda_ndarray__ = True

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.size = array.size
        self.is_c_contiguous = lambda: array.flags.c_contiguous

    def __getitem__(self, place):
        return Held(self.array[place])

    def view(self, kind):
        return Held(self.array.view(kind))

    def reshape(self, shape):
        return Held(self.array.reshape(shape))

    def copy_to_device(self, host, stream):
        self.array[...] = host

    def copy_to_host(self, host, stream):
        host[...] = self.array


nothing = SimpleNamespace(synchronize=lambda: None)
tiles.cuda = SimpleNamespace(stream=lambda: nothing)
tiles.allocate = lambda nbytes: Held(np.zeros(nbytes, np.uint8))
launch.to_device = groups.to_device = tiles.to_device = given.to_device = lambda array: array
given.empty = lambda shape, dtype: Held(np.zeros(shape, dtype))
for module in (counts, given, groups, launch, tiles):
    module.require_device = lambda: None
for name, (module, kernel) in places.items():
    setattr(module, kernel, seen[name])
    module.require_device = launch.require_device
for call in CALLS:
    call()
checks.given(Held)
for name in KERNELS:
    if len(seen[name].types) != 1:
        sys.exit(f"{name} is launched with {len(seen[name].types)} signatures: {seen[name].types}")

for sm in (80, 90):
    # numba asks the device which architecture its helper functions are for, even without one
    dispatcher.get_current_device = lambda sm=sm: SimpleNamespace(
        compute_capability=divmod(sm, 10)
    )
    for name, kernel in kept.items():
        (signature,) = seen[name].types
        function = cuda.jit(kernel.py_func).py_func
        ptx, _ = cuda.compile_ptx(function, nb.void(*signature), cc=divmod(sm, 10))
        with open(f"{sys.argv[1]}/{name}.sm_{sm}.ptx", "w") as file:
            file.write(ptx)
facts = {
    name: (seen[name].threads, kernel.targetoptions.get("max_registers", 255))
    for name, kernel in kept.items()
}
with open(f"{sys.argv[1]}/facts.json", "w") as file:
    json.dump(facts, file)
"""
NAMES = tuple(cuda_calls.KERNELS)
ALONE = ("bit_serial", "exact", "dequantize", "int", "flint", "pair", "lookups")  # share nothing
ANY = 255  # registers of a thread, unless its kernel takes fewer
pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="no compiler here"
)


def toolkit():
    """Folder of the CUDA toolkit that the package registry ships, or None."""
    found = importlib.util.find_spec("nvidia")
    for root in found.submodule_search_locations if found else ():
        for folder in sorted(Path(root).glob("cu1*"), reverse=True):
            if list(folder.glob("lib/libnvvm.so*")) and (folder / "bin" / "ptxas").exists():
                return folder
    return None


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = toolkit()
    if folder is None:
        pytest.skip("no CUDA compiler: install nvidia-cuda-nvcc to run this test")
    home = tmp_path_factory.mktemp("cuda")
    (home / "nvvm" / "lib64").mkdir(parents=True)
    library = min(folder.glob("lib/libnvvm.so*"))
    (home / "nvvm" / "lib64" / "libnvvm.so").symlink_to(library)
    (home / "nvvm" / "libdevice").symlink_to(folder / "nvvm" / "libdevice")
    tests = str(Path(cuda_calls.__file__).parent)
    paths = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        "CUDA_HOME": str(home), "CUDA_PATH": str(home), "PYTHONPATH": paths,
    }  # fmt: skip
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    command = [sys.executable, "-c", COMPILE, str(home)]
    run = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return folder, home


@pytest.fixture
def ptx(compiled):
    """The instructions of a kernel, without comments and declarations of its name."""

    def read(name):
        return (compiled[1] / f"{name}.sm_80.ptx").read_text()

    return read


def opcodes(text):
    """Every instruction's opcode with its types."""
    return re.findall(r"^\s+(?:@!?%p\d+\s+)?([a-z][a-z0-9_]*(?:\.[a-z0-9_:]+)*)\s", text, re.M)


def assert_a_block_fits(report, threads):
    """What a block of the largest launch takes: threads, registers (a warp's by the 256), bytes."""
    assert 0 < threads <= 1024
    registers = int(re.search(r"Used (\d+) registers", report)[1])
    warps = -(-threads // 32)
    assert warps * (-(-registers * 32 // 256) * 256) <= 65_536
    shared = re.search(r"(\d+) bytes smem", report)
    assert shared is None or int(shared[1]) <= 48 << 10


def test_a_block_that_does_not_fit_is_found():
    assert_a_block_fits("Used 64 registers, 49152 bytes smem", 1024)
    for report, threads in (
        ("Used 65 registers", 1024), ("Used 64 registers, 49153 bytes smem", 32),
        ("Used 20 registers", 1056),
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            assert_a_block_fits(report, threads)


@pytest.mark.parametrize("sm", [80, 90, 100])
@pytest.mark.parametrize("name", NAMES)
def test_kernel_compiles_and_assembles(compiled, name, sm):
    folder, home = compiled
    made = min(sm, 90)  # numba writes no newer PTX here; cards take that of older ones
    source = home / f"{name}.sm_{made}.ptx"
    text = source.read_text()
    assert ".visible .entry" in text
    assert f".target sm_{made}" in text
    cubin = home / f"{name}.cubin"
    threads, most = json.loads((home / "facts.json").read_text())[name]
    command = [folder / "bin" / "ptxas", "-v", f"-arch=sm_{sm}", f"-maxrregcount={most}", source,
               "-o", cubin]  # fmt: skip
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert cubin.stat().st_size > 0
    assert_a_block_fits(report, threads)
    if most == ANY:
        assert "0 bytes spill stores, 0 bytes spill loads" in report
    if name in ALONE:
        # nothing lives in thread-local memory, where it could be read before it is written
        assert "0 bytes stack frame" in report
        assert "smem" not in report


@pytest.mark.parametrize("name", ALONE)
def test_threads_share_nothing_and_wait_for_nothing(ptx, name):
    """What the simulator cannot show: shared or local memory, barriers, calls that may trap."""
    text = ptx(name)
    found = opcodes(text)
    assert "ld.param.u64" in found
    for word in ("bar", "barrier", "atom", "red", "call", "trap", "vote", "shfl"):
        assert not [o for o in found if o.split(".")[0] == word], word
    for space in (".shared", ".local"):
        assert space not in text


@pytest.mark.parametrize("name", ["bit_serial", "exact"])
def test_integer_kernels_use_no_float_and_shift_64_bits(ptx, name):
    found = opcodes(ptx(name))
    assert not [o for o in found if re.search(r"\.(f16|bf16|f32|f64)", o)]
    shifts = {o for o in found if o.split(".")[0] in ("shl", "shr")}
    assert shifts <= {"shl.b64", "shr.s64", "shr.u64"}
    assert "shl.b64" in shifts


def test_no_rounding_step_is_left_to_the_compiler(ptx):
    """Products are exact in float64, so even a fused multiply-add leaves every bit alone."""
    text = ptx("dequantize")
    found = opcodes(text)
    floats = {o for o in found if ".f32" in o or ".f64" in o}
    assert "cvt.rn.f32.f64" in floats
    names = ("add", "sub", "mul", "mad", "fma", "div")
    arithmetic = {o for o in floats if o.split(".")[0] in names}
    assert arithmetic  # all in float64, rounded to nearest
    assert all(o.endswith(".f64") for o in arithmetic)
    assert all(".rn." in o or o in ("add.f64", "mul.f64", "sub.f64") for o in arithmetic)
    for word in (".ftz", ".approx", ".rz", ".rm", ".rp", ".sat"):
        assert not [o for o in floats if word in o]


@pytest.mark.parametrize("name", NAMES)
def test_no_float32_product_is_fused_nor_flushed(ptx, name):
    """Products that are rounded to float32 are rounded on their own, subnormals are kept."""
    floats = {o for o in opcodes(ptx(name)) if ".f32" in o}
    assert not [o for o in floats if o.split(".")[0] in ("fma", "mad")]
    for word in (".ftz", ".approx", ".full", ".sat"):
        assert not [o for o in floats if word in o]
