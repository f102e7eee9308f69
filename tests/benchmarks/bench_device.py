"""The CUDA kernels on a real device: the same bits as on the CPU, and how fast. ``make device``.

``python tests/benchmarks/bench_device.py --out FILE [--wheels FOLDER]`` needs an NVIDIA GPU, its
driver and Python. numba, numpy, pydantic and PyYAML are those of this Python, or come from the
wheels of a folder; no network is used. Exit status 0: every bit is equal; 1: some are not, or time
ran out; 2: it could not run, and one sentence says why.

The first half needs the standard library only. It finds the device, and runs this file once more
with everything in place that numba reads when it is imported.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

# whoever loads this file finds the jobs beside it, and the list of kernels among the tests
sys.path += [str(folder) for folder in Path(__file__).resolve().parents[:2]]
from device_jobs import Job, jobs

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("numpy", "numba", "pydantic", "yaml")
SYSTEM_TOOLKIT = Path("/usr/local/cuda")
# where NVIDIA's wheels put compiler, device library and runtime: of CUDA 13, and of CUDA 12
TOOLKIT_WHEELS = (
    ("nvidia/cu1*/lib/libnvvm.so*", "nvidia/cu1*/nvvm/libdevice", "nvidia/cu1*/lib/libcudart.so*"),
    ("nvidia/cuda_nvcc/nvvm/lib64/libnvvm.so*", "nvidia/cuda_nvcc/nvvm/libdevice",
     "nvidia/cuda_runtime/lib/libcudart.so*"),
)  # fmt: skip
CUBLAS = "torch.matmul (cuBLAS)"
LIMIT_SECONDS = 420.0
KILL_SECONDS = 475.0  # together with finding the device, under eight minutes


class CannotRunError(Exception):
    """Why the check cannot run, in one sentence."""


# --- the standard library's half ------------------------------------------------------------------


def simulated() -> bool:
    """Whether numba's CUDA simulator stands in for a device."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def device_facts() -> dict[str, str]:
    """Return card and driver, asked from the driver's own library."""
    if simulated():
        return {"card": "none: numba's CUDA simulator", "driver": "none"}
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise CannotRunError(
            "no NVIDIA driver: libcuda.so.1 cannot be loaded; an NVIDIA GPU is needed"
        ) from None
    count, handle, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    steps = (
        ("cuInit", (0,)),
        ("cuDeviceGetCount", (ctypes.byref(count),)),
        ("cuDeviceGet", (ctypes.byref(handle), 0)),
        ("cuDeviceGetName", (name, 256, handle)),
        ("cuDeviceTotalMem_v2", (ctypes.byref(memory), handle)),
        ("cuDriverGetVersion", (ctypes.byref(version),)),
    )
    for function, arguments in steps:
        code = getattr(driver, function)(*arguments)
        if code:
            raise CannotRunError(f"no NVIDIA GPU: {function} of the driver answers error {code}")
    cuda = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    return {
        "card": f"{name.value.decode()}, {memory.value / 2**30:.0f} GiB",
        "driver": f"{driver_version()} ({cuda})",
    }


def driver_version() -> str:
    """Return the version of the kernel's driver, or a question mark."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        words = []
    numbers = [w for w in words if w.count(".") >= 1 and w.replace(".", "").isdigit()]
    if numbers:
        return numbers[0]
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "?"


def install(folder: Path, site: Path) -> None:
    """Install every wheel of a folder into ``site``, without a network or a resolver."""
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if not wheels:
        raise CannotRunError(f"--wheels {folder}: no wheels there; name a folder with *.whl files")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += [
        "--disable-pip-version-check",
        "--upgrade",
        "--target",
        str(site),
        *map(str, wheels),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        last = (run.stderr.strip() or run.stdout.strip() or "no message").splitlines()[-1]
        raise CannotRunError(f"--wheels {folder}: pip could not install them: {last}")


def toolkit_home(paths: Sequence[str], links: Path) -> dict[str, str]:
    """Return CUDA_HOME for a compiler that came as wheels, where no toolkit is installed.

    Numba looks for ``nvvm/lib64``, ``nvvm/libdevice`` and ``lib64`` under it.
    """
    chosen = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if chosen or SYSTEM_TOOLKIT.exists():
        return {}
    for path, patterns in ((Path(p), patterns) for patterns in TOOLKIT_WHEELS for p in paths):
        found = [max(path.glob(pattern), default=None) for pattern in patterns]
        if None not in found:
            compiler, device, runtime = (str(place) for place in found)
            (links / "nvvm" / "lib64").mkdir(parents=True)
            (links / "nvvm" / "lib64" / "libnvvm.so").symlink_to(compiler)
            (links / "nvvm" / "libdevice").symlink_to(device)
            (links / "lib64").symlink_to(Path(runtime).parent)
            return {"CUDA_HOME": str(links), "CUDA_PATH": str(links)}
    return {}


def run_again(options: argparse.Namespace, facts: dict[str, str], folder: Path) -> int:
    """Run the measurements in a process that finds the package, the wheels and the compiler."""
    stage, site = folder / "stage", folder / "site"
    stage.mkdir()
    (stage / "bitlathe").symlink_to(ROOT)  # its own name, whatever the checkout's
    if options.wheels:
        install(options.wheels, site)
    paths = [str(stage), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment |= toolkit_home([str(site), *sys.path], folder / "cuda")
    environment.setdefault("NUMBA_CACHE_DIR", str(folder / "cache"))
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", json.dumps(facts)]
    command += ["--out", str(options.out), "--size", options.size, "--only", options.only]
    try:
        return subprocess.run(
            command, env=environment, timeout=KILL_SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        raise CannotRunError(f"a kernel or copy did not end within {KILL_SECONDS:.0f} s") from None


# --- measuring, from here on with numpy and the package -------------------------------------------


@dataclass
class Timed:
    """Stands where a kernel is launched; adds up its time on the device and its operands' bytes.

    Events are read when all is done, so that copies go on beside the kernel as without them.
    """

    kernel: Any
    place: Callable[[Any], None]
    events: list[tuple[Any, Any]] = field(default_factory=list)
    simulated_s: float = 0.0
    moved: int = 0

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        """Return the launch, between two events of its stream."""
        from numba import cuda

        stream = grid[2] if len(grid) > 2 else 0

        def launch(*arguments: Any) -> None:
            start, stop = cuda.event(), cuda.event()
            began = time.perf_counter()
            start.record(stream)
            self.kernel[grid](*arguments)
            stop.record(stream)
            self.simulated_s += time.perf_counter() - began if simulated() else 0.0
            self.events.append((start, stop))
            self.moved += sum(getattr(a, "nbytes", 0) for a in arguments)

        return launch

    def put_back(self) -> None:
        """Put the kernel back where it stood."""
        self.place(self.kernel)

    def clear(self) -> None:
        """Forget all launches."""
        self.events, self.simulated_s, self.moved = [], 0.0, 0

    @property
    def seconds(self) -> float:
        """Return the time between the events of all launches."""
        if simulated():
            return self.simulated_s
        for _, stop in self.events:
            stop.synchronize()
        return sum(start.elapsed_time(stop) for start, stop in self.events) / 1e3


@dataclass
class Result:
    """What a job gave: bits compared and different, and seconds on each side."""

    job: Job
    compared: int = 0
    different: int = 0
    kernel_s: float = field(default=float("inf"))
    device_s: float = field(default=float("inf"))
    cpu_s: float = field(default=float("inf"))
    moved: int = 0


def different_bits(host: Any, device: Any) -> tuple[int, int]:
    """Return how many numbers were compared, and how many differ in any bit."""
    import numpy as np

    one, other = np.ascontiguousarray(host), np.ascontiguousarray(device)
    if one.dtype != other.dtype or one.shape != other.shape:
        return one.size, one.size
    patterns = np.dtype(f"u{one.dtype.itemsize}")
    return one.size, int(np.count_nonzero(one.view(patterns) != other.view(patterns)))


def measure(job: Job, kernels: list[Timed], runs: int = 2) -> Result:
    """Run a job on both sides: the first run of each compiles, the fastest of the others counts."""
    result = Result(job)
    for turn in range(runs + 1):
        for kernel in kernels:
            kernel.clear()
        start = time.perf_counter()
        device = job.run("cuda")
        seconds = time.perf_counter() - start
        if turn:
            result.device_s = min(result.device_s, seconds)
            result.kernel_s = min(result.kernel_s, sum(k.seconds for k in kernels))
            result.moved = sum(k.moved for k in kernels)
    for _ in range(2):  # the first may compile
        start = time.perf_counter()
        host = job.on_cpu()
        result.cpu_s = min(result.cpu_s, time.perf_counter() - start)
    for one, other in zip(host, device, strict=True):
        compared, different = different_bits(one, job.part(other))
        result.compared += compared
        result.different += different
    return result


def copy_bandwidth(small: bool) -> float:
    """Return bytes a second, read and written, of a copy within the device's memory."""
    import numpy as np
    from numba import cuda

    size = 1 << (12 if small else 30)
    source, target = cuda.to_device(np.zeros(size, np.uint8)), cuda.device_array(size, np.uint8)
    best = float("inf")
    for _ in range(6):
        start, stop = cuda.event(), cuda.event()
        began = time.perf_counter()
        start.record()
        target.copy_to_device(source)
        stop.record()
        stop.synchronize()
        seconds = time.perf_counter() - began if simulated() else start.elapsed_time(stop) / 1e3
        best = min(best, seconds)
    return 2 * size / best


def torch_rates(small: bool) -> Iterator[tuple[str, float]]:
    """Yield million MACs a second of what torch does with the same sizes.

    Raises
    ------
    CannotRunError
        It is not there, or finds no device.
    """
    if importlib.util.find_spec("torch") is None:
        raise CannotRunError("torch, whose matmul is cuBLAS's, is not installed")
    import torch

    if not (torch.cuda.is_available() or simulated()):
        raise CannotRunError(f"torch {torch.__version__} finds no CUDA device")
    device = "cpu" if simulated() else "cuda"
    groups, length = (6, 20) if small else (1 << 18, 128)
    m, n, k, group = (3, 5, 24, 8) if small else (64, 4096, 4096, 128)
    torch.manual_seed(0)
    acts, weights = (torch.randn(groups, length, device=device) for _ in range(2))
    side, wide = (torch.randn(rows, k, device=device) for rows in (m, n))
    codes = torch.randint(0, 16, (n, k), device=device, dtype=torch.uint8)
    grid, scales = torch.randn(16, device=device), torch.rand(n, k // group, 1, device=device)

    half_side, half_wide = side.half(), wide.half()
    brain_side, brain_wide = side.bfloat16(), wide.bfloat16()

    def looked_up() -> Any:
        values = grid[codes.int()].reshape(n, k // group, group) * scales
        return side @ values.reshape(n, k).T

    size = f"{m} x {n} x {k}"
    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        "a product and a sum, groups, float32 (inexact)": (
            groups * length,
            lambda: (acts * weights).sum(-1),
        ),
        f"{CUBLAS}, {size}, float32": (m * n * k, lambda: side @ wide.T),
        f"{CUBLAS}, {size}, float16": (m * n * k, lambda: half_side @ half_wide.T),
        f"{CUBLAS}, {size}, bfloat16": (m * n * k, lambda: brain_side @ brain_wide.T),
        f"{CUBLAS}, weights looked up before, {size}, float32": (m * n * k, looked_up),
    }
    more, out, deep = (32, 16, 24) if small else (256, 4096, 11008)
    left, right = (
        torch.randint(-128, 128, (rows, deep), device=device, dtype=torch.int8)
        for rows in (more, out)
    )
    half_left, half_right = left.half(), right.half()
    size = f"{more} x {out} x {deep}"
    wide_left, wide_right, macs = left.float(), right.float(), more * out * deep
    calls[f"{CUBLAS}, {size}, float32"] = macs, lambda: wide_left @ wide_right.T
    calls[f"{CUBLAS}, {size}, float16"] = macs, lambda: half_left @ half_right.T
    calls[f"torch._int_mm (cuBLAS), {size}, int8 into int32"] = (
        macs, lambda: torch._int_mm(left, right.T))  # fmt: skip
    for name, (macs, call) in calls.items():
        best = float("inf")
        for _ in range(6):
            began = time.perf_counter()
            call()
            if not simulated():
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - began)
        yield f"{name}; torch {torch.__version__}", macs / best / 1e6


def table(results: list[Result]) -> list[str]:
    """Return one line of Markdown for each job."""
    lines = [
        "| job | numbers | different | kernel, million MAC/s | with transfers and checks "
        "| CPU, one core | kernel, GB/s of operands |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        seconds = r.kernel_s, r.device_s, r.cpu_s / r.job.share
        rate = [r.job.macs / s / 1e6 for s in seconds]
        lines.append(
            f"| {r.job.name} | {r.compared:,} | {r.different:,} | {rate[0]:,.1f} | {rate[1]:,.1f} "
            f"| {rate[2]:,.1f} | {r.moved / r.kernel_s / 1e9:,.1f} |"
        )
    return lines


def comparison() -> Iterator[str]:
    """Yield what the device does otherwise: a copy, and torch; or why one of them could not."""
    small = simulated()
    yield from ("| for comparison | |", "|---|---|")

    def copied() -> Iterator[str]:
        rate = copy_bandwidth(small) / 1e9
        yield f"| copy within the device's memory, read and written | {rate:,.0f} GB/s |"

    def multiplied() -> Iterator[str]:
        for name, rate in torch_rates(small):
            yield f"| {name} | {rate:,.0f} million MAC/s |"

    for each in (copied, multiplied):
        try:
            yield from each()
        except CannotRunError as err:
            yield f"| {CUBLAS} | not measured: {err} |"
        except Exception as err:
            yield f"| {each.__name__}: could not go on | {reason(err)} |"


def reason(err: Exception) -> str:
    """Return kind and last line of an error."""
    lines = str(err).strip().splitlines() or ["no message"]
    return f"{type(err).__name__}: {lines[-1].strip()}"


def kernels_between_events() -> list[Timed]:
    """Put every kernel of `sim.cuda` between two events, where its module launches it."""
    from cuda_calls import KERNELS

    places = [(import_module(module), name) for module, name in KERNELS.values()]
    kernels = [
        Timed(getattr(module, name), partial(setattr, module, name)) for module, name in places
    ]
    for kernel in kernels:
        kernel.place(kernel)
    return kernels


def answers() -> bool:
    """Return whether the device still copies: after an illegal access it never does again."""
    import numpy as np
    from numba import cuda

    sent = np.arange(8)
    try:
        cuda.synchronize()
        return bool((cuda.to_device(sent).copy_to_host() == sent).all())
    except Exception:
        return False


@dataclass
class Ran:
    """Jobs that ran, and why others did not."""

    results: list[Result] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def incomplete(self) -> str:
        """Return why jobs are missing, or an empty text."""
        late = f"left out after {LIMIT_SECONDS:.0f} s: {'; '.join(self.left_out)}"
        return "; ".join([*self.told, *([late] if self.left_out else [])])

    @property
    def compared(self) -> str:
        """Return how many numbers were compared, and how many differ, in words."""
        return (
            f"{len(self.results)} jobs, {sum(r.compared for r in self.results):,} numbers compared "
            f"bit for bit, {sum(r.different for r in self.results):,} different"
            f"{'; ' + self.incomplete if self.incomplete else ''}."
        )

    @property
    def right(self) -> bool:
        """Return whether all jobs ran, and no number differs."""
        return not self.incomplete and all(r.different == 0 for r in self.results)


def run_jobs(
    given: Iterator[Job],
    begin: float,
    only: str = "",
    runs: int = 2,
    write: Callable[[Ran], None] = lambda _: None,
) -> Ran:
    """Run jobs until the time since ``begin`` is over; after each of them, call ``write``.

    A job that fails is told, and the others run, unless the device answers nothing any more.
    """
    ran, kernels = Ran(), kernels_between_events()
    for job in given:
        if not any(word in job.name for word in only.split(",")):
            continue
        if time.perf_counter() - begin > LIMIT_SECONDS:
            ran.left_out.append(job.name)
            continue
        try:
            ran.results.append(measure(job, kernels, runs))
        except Exception as err:
            ran.told.append(f"failed: {job.name}: {reason(err)}")
            sys.stderr.write(f"{ran.told[-1]}\n")
            if not answers():
                ran.told.append(
                    "the device answers nothing any more, the jobs after it did not run"
                )
                break
            continue
        sys.stderr.write(f"{job.name}: {ran.results[-1].different} different\n")
        write(ran)
    for kernel in kernels:
        kernel.put_back()
    return ran


def measured(options: argparse.Namespace) -> int:
    """Run all jobs, print and write the table; return the exit status."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotRunError(
            f"{sys.executable} lacks {', '.join(missing)}; name a folder with their wheels: "
            "make device WHEELS=FOLDER"
        )
    import numba
    import numpy as np

    from bitlathe.datatypes.kernels.cuda.launch import device_available

    if not device_available():
        raise CannotRunError("numba finds no CUDA device, though the driver has one")
    facts, begin = json.loads(options.measure), time.perf_counter()
    small = options.size == "small"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    before: list[str] = []
    rest: list[str] = []

    def text_of(ran: Ran) -> str:
        head = (
            f"{facts['card']}; driver {facts['driver']}; Python {platform.python_version()}, numba "
            f"{numba.__version__}{numba_cuda()}, numpy {np.__version__}; "
            f"{datetime.now(UTC):%Y-%m-%d}, {time.perf_counter() - begin:.0f} s."
        )
        lines = [head, "", ran.compared, "", *before, *table(ran.results), "", *rest]
        return "\n".join(lines) + "\n"

    def write(ran: Ran) -> None:
        options.out.write_text(text_of(ran))

    right = True
    if not small:  # every kernel on a few numbers, before anything takes long
        quick = run_jobs(jobs(True), begin, options.only, 1)
        before += [f"Before, every job at a small size: {quick.compared}", ""]
        right = quick.right
        rest += comparison()
    ran = run_jobs(jobs(small), begin, options.only, 2, write)
    if not ran.results:
        raise CannotRunError(ran.incomplete or f"--only {options.only}: no job has such a name")
    if small:
        rest += comparison()
    write(ran)
    sys.stdout.write(f"{text_of(ran)}written to {options.out}\n")
    return int(not (ran.right and right))


def numba_cuda() -> str:
    """Return the version of numba's package for CUDA, where it is one of its own."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f", numba-cuda {version('numba-cuda')}"
    except PackageNotFoundError:
        return ""


def main() -> int:
    """Parse the arguments; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="file for the table")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install from")
    parser.add_argument(
        "--size", choices=("full", "small"), default="full", help="small: for tests"
    )
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="jobs whose names hold one of a,b,c"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.measure:
            return measured(options)
        with tempfile.TemporaryDirectory(prefix="device-") as folder:
            return run_again(options, device_facts(), Path(folder))
    except CannotRunError as err:
        sys.stderr.write(f"device check: {err}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
