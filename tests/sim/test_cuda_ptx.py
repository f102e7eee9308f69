"""The CUDA kernels compile to PTX and assemble, with the compiler from the package registry.

No device is needed. Numba reads the toolkit's place from CUDA_HOME when it is imported, so the
compilation runs in a process of its own, on a folder of links to the package's files.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPILE = """
import sys
from types import SimpleNamespace

import numba as nb
from numba import cuda
from numba.cuda import dispatcher

from bitlathe.sim.cuda import bit_serial, dequantise

# numba asks the device which architecture its helper functions are for, even without one
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(8, 0))

i32, i64, i8, u8 = nb.int32[:, ::1], nb.int64[::1], nb.int8[:, ::1], nb.uint8[:, ::1]
f32 = nb.float32[:, ::1]
out = nb.int64[::1]
kernels = {
    "bit_serial": (bit_serial.dots_kernel, (
        i32, i32, i32, i64, i64, i8, i8, i64, nb.int64, nb.boolean, nb.types.UniTuple(nb.int64, 9),
        out, out, out)),
    "dequantise": (dequantise.products_kernel, (f32, u8, f32, u8, f32, nb.int64, f32)),
}
for name, (kernel, signature) in kernels.items():
    ptx, _ = cuda.compile_ptx(kernel.py_func, nb.void(*signature), cc=(8, 0))
    with open(f"{sys.argv[1]}/{name}.ptx", "w") as file:
        file.write(ptx)
"""


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
    environment = os.environ | {"CUDA_HOME": str(home), "CUDA_PATH": str(home)}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    subprocess.run(
        [sys.executable, "-c", COMPILE, str(home)], env=environment, cwd=home, check=True
    )
    return folder, home


@pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="no compiler here")
@pytest.mark.parametrize("name", ["bit_serial", "dequantise"])
def test_kernel_compiles_and_assembles(compiled, name):
    folder, home = compiled
    text = (home / f"{name}.ptx").read_text()
    assert ".visible .entry" in text
    assert ".target sm_80" in text
    cubin = home / f"{name}.cubin"
    command = [folder / "bin" / "ptxas", "-arch=sm_80", home / f"{name}.ptx", "-o", cubin]
    subprocess.run(command, check=True)
    assert cubin.stat().st_size > 0


@pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="no compiler here")
def test_no_rounding_step_is_left_to_the_compiler(compiled):
    """Products go through float64, so even a fused multiply-add leaves every bit alone."""
    text = (compiled[1] / "dequantise.ptx").read_text()
    assert "fma.rn.f32" not in text
    assert "cvt.rn.f32.f64" in text
