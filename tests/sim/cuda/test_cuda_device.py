"""The check of the CUDA kernels on a device, `make device`: its logic; all of it on a device."""

import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.kernels.cuda.launch import device_available

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tests" / "benchmarks" / "bench_device.py"
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
pytestmark = pytest.mark.skipif(SIMULATED, reason="starts the simulator itself")


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def in_simulator(*arguments):
    return command(*arguments, "--size", "small", NUMBA_ENABLE_CUDASIM="1")


def code_in_simulator(code, folder):
    """Run Python beside the script's folder, its first argument, with kernels simulated."""
    return subprocess.run(
        [sys.executable, "-c", code, SCRIPT.parent], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}, check=False,
    )  # fmt: skip


@pytest.fixture
def device():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("bench_device", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_device"] = module  # where its records look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_device"]


@pytest.mark.gpu
@pytest.mark.skipif(not device_available(), reason="no CUDA device")
def test_every_bit_is_equal_on_a_device(tmp_path):
    run = command("--out", tmp_path / "table.md")
    assert run.returncode == 0, run.stdout + run.stderr
    assert ", 0 different." in (tmp_path / "table.md").read_text()


@pytest.mark.skipif(device_available(), reason="there is a device")
def test_without_a_device_one_sentence_says_so(tmp_path):
    run = command("--out", tmp_path / "table.md")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("device check: no NVIDIA ")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "table.md").exists()
    made = subprocess.run(
        ["make", "device", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert made.returncode == 2
    assert made.stderr.startswith("device check: no NVIDIA ")


@pytest.mark.slow
def test_every_kernel_runs_and_the_table_says_what_where_and_when(tmp_path):
    out = tmp_path / "new" / "table.md"
    run = in_simulator("--out", out)
    assert run.returncode == 0, run.stderr
    text = out.read_text()
    assert text in run.stdout
    head, jobs, *_ = text.split("\n\n")
    assert head.startswith("none: numba's CUDA simulator; driver none; Python ")
    assert jobs.endswith(" 0 different.")
    first = text.split("|---|---|---|---|---|---|---|\n")[1].split("\n\n")[0]
    rows = [line.split(" | ") for line in first.splitlines()]
    assert len(rows) == int(jobs.split()[0])
    assert {row[0].split(",")[0].split()[-1] for row in rows} >= {"hpca25", "aligned", "exact"}
    assert all(int(row[1].replace(",", "")) > 0 and row[2] == "0" for row in rows)
    assert "copy within the device's memory" in text
    assert "| torch.matmul (cuBLAS)" in text


@pytest.mark.slow
def test_kernels_are_timed_where_they_are_launched(tmp_path):
    """In the simulator: each kernel's wrapper has seen launches and bytes."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import bench_device as b\n"
        "kernels = b.kernels_between_events()\n"
        "from cuda_calls import KERNELS\n"
        "seen = [0] * len(KERNELS)\n"
        "rest = [j for j in b.jobs(True) if not j.name.startswith('bit_serial')]\n"
        "from device_jobs import dot_jobs\n"
        "for job in [*list(dot_jobs(True))[:3], *rest]:\n"
        "    result = b.measure(job, kernels, runs=1)\n"
        "    assert 0 < result.kernel_s <= result.device_s and result.cpu_s > 0, job.name\n"
        "    seen = [s + (k.moved > 0) for s, k in zip(seen, kernels)]\n"
        "unseen = {name for name, s in zip(KERNELS, seen) if not s}\n"
        "assert seen[:3] == [4, 1, 4] and unseen == {'grains'}, (seen, unseen)\n"
    )
    run = code_in_simulator(code, tmp_path)
    assert run.returncode == 0, run.stderr


def test_the_edge_jobs_reach_the_edge(device):
    """5 bits of exponent: saturated sums stand at 31, wrapped ones have lost 32."""
    from device_jobs import edge_jobs

    wrapped, saturated = (job.run("cpu") for job in [*edge_jobs(True)][-2:])
    assert saturated.exponent.tolist() == [31] * 4
    assert set(np.abs(saturated.mantissa)) <= {7, 8}
    assert {1, -1} == set(np.sign(saturated.mantissa))
    assert np.all(np.abs(wrapped.value) < np.abs(saturated.value))


def test_a_single_different_bit_is_counted(device):
    host = np.array([0.0, 1.0, np.nan, 2.0])
    assert device.different_bits(host, host.copy()) == (4, 0)
    assert device.different_bits(host, np.array([-0.0, 1.0, np.nan, 2.0])) == (4, 1)
    assert device.different_bits(host, np.array([0, 1, -np.nan, np.nextafter(2, 3)])) == (4, 2)
    assert device.different_bits(np.arange(3), np.arange(3) - [0, 0, 1]) == (3, 1)
    assert device.different_bits(np.arange(3), np.arange(3, dtype=np.int32)) == (3, 3)
    assert device.different_bits(np.arange(3), np.arange(4)) == (3, 3)
    assert device.different_bits(np.int64(3), np.int64(3)) == (1, 0)


def fake(device, name, answers):
    """A job whose answer depends on the device."""

    def run(where):
        if isinstance(answers[where], Exception):
            raise answers[where]
        return (np.array(answers[where]),)

    return device.Job(name=name, macs=4, run=run)


def test_what_differs_or_fails_or_comes_too_late_is_told(device, monkeypatch):
    good = fake(device, "good", {"cpu": [1, 2], "cuda": [1, 2]})
    wrong = fake(device, "wrong", {"cpu": [1, 2], "cuda": [1, 3]})
    broken = fake(device, "broken", {"cpu": [1], "cuda": RuntimeError("first\nillegal address")})
    monkeypatch.setattr(device, "kernels_between_events", list)
    ran = [("good", 2, 0), ("wrong", 2, 1)]
    failed = "failed: broken: RuntimeError: illegal address"
    for alive, more, rest in (
        (True, [("good", 2, 0)], ""),
        (False, [], "; the device answers nothing any more, the jobs after it did not run"),
    ):
        given, written = iter([good, wrong, broken, good]), []
        monkeypatch.setattr(device, "answers", lambda alive=alive: alive)
        made = device.run_jobs(
            given, time.perf_counter(), write=lambda r, w=written: w.append(r.compared)
        )
        assert [(r.job.name, r.compared, r.different) for r in made.results] == ran + more
        assert made.incomplete == failed + rest
        assert not made.right
        # the table is written after each job: what is done is there, whatever comes later
        assert written[:2] == ["1 jobs, 2 numbers compared bit for bit, 0 different.",
                               "2 jobs, 4 numbers compared bit for bit, 1 different."]  # fmt: skip
    for result in made.results:
        result.kernel_s = 0.5
    assert "| wrong | 2 | 1 | 0.0 |" in "\n".join(device.table(made.results))
    monkeypatch.setattr(device, "LIMIT_SECONDS", -1.0)
    late = device.run_jobs(iter([good, wrong]), time.perf_counter())
    assert (late.results, late.incomplete) == ([], "left out after -1 s: good; wrong")


def test_what_is_not_measured_beside_the_kernels_is_told(device, monkeypatch):
    monkeypatch.setattr(device, "copy_bandwidth", lambda small: 1e9)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None)
    last = [*device.comparison()][-1]
    assert last.startswith("| torch.matmul (cuBLAS) | not measured: torch, ")
    assert last.endswith(" is not installed |")


def test_a_job_that_cannot_be_made_leaves_the_others(device, monkeypatch):
    import device_jobs

    def broken(small):
        raise MemoryError("no room")
        yield

    good = fake(device, "good", {"cpu": [1], "cuda": [1]})
    monkeypatch.setattr(device_jobs, "GROUPS", (broken, lambda small: iter([good])))
    monkeypatch.setattr(device, "kernels_between_events", list)
    monkeypatch.setattr(device, "answers", lambda: True)
    made = device.run_jobs(device_jobs.jobs(True), time.perf_counter())
    assert [r.job.name for r in made.results] == ["good"]
    assert made.incomplete == "failed: broken: MemoryError: no room"


def test_the_status_is_1_where_bits_differ(tmp_path):
    """A kernel made wrong on purpose, in the simulator: no exponent leaves it as it should."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import bench_device as b\n"
        "from bitlathe.sim.cuda import bit_serial_kernels as bit_serial\n"
        "right = bit_serial.dots\n"
        "def wrong(*arguments):\n"
        "    right(*arguments)\n"
        "    arguments[-2][0] += 1\n"
        "bit_serial.dots = wrong\n"
        "from device_jobs import dot_jobs\n"
        "three = list(dot_jobs(True))[:3]\n"
        "b.jobs = lambda small: iter(three)\n"
        "sys.argv = ['', '--size', 'small', '--measure', '{\"card\": \"c\", \"driver\": \"d\"}',"
        " '--out', 'table.md']\n"
        "sys.exit(b.main())\n"
    )
    run = code_in_simulator(code, tmp_path)
    assert run.returncode == 1, run.stderr
    text = (tmp_path / "table.md").read_text()
    assert "| bit_serial int8 aligned | 24 | 2 |" in text  # exponent and value of the first dot
    assert "| bit_serial int8 exact | 24 | 0 |" in text


def wheel(folder, name):
    """A wheel of one empty module."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


def test_wheels_of_a_folder_are_installed_without_a_network(device, tmp_path):
    wheel(tmp_path / "wheels", "bitlathe_probe")
    device.install(tmp_path / "wheels", tmp_path / "site")
    assert (tmp_path / "site" / "bitlathe_probe.py").exists()


def test_a_folder_without_usable_wheels_is_told(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        run = in_simulator("--out", tmp_path / "t.md", "--wheels", folder)
        assert run.returncode == 2
        assert run.stderr.endswith("no wheels there; name a folder with *.whl files\n")
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("no zip file")
    run = in_simulator("--out", tmp_path / "t.md", "--wheels", tmp_path)
    assert run.returncode == 2
    assert "pip could not install them: " in run.stderr
    assert run.stderr.count("\n") == 1


def test_packages_that_python_lacks_are_named(device, monkeypatch):
    monkeypatch.setattr(device, "NEEDED", ("numpy", "no_such_package"))
    with pytest.raises(device.CannotRunError, match=r"lacks no_such_package; name a folder with"):
        device.measured(None)


def test_a_compiler_among_the_wheels_is_laid_out_as_numba_looks_for_it(
    device, tmp_path, monkeypatch
):
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(device, "SYSTEM_TOOLKIT", tmp_path / "none")
    site, links = tmp_path / "site", tmp_path / "cuda"
    assert device.toolkit_home([str(site)], links) == {}
    (site / "nvidia" / "cu13" / "nvvm" / "libdevice").mkdir(parents=True)
    (site / "nvidia" / "cu13" / "lib").mkdir()
    (site / "nvidia" / "cu13" / "lib" / "libnvvm.so.4").write_text("cu13")
    assert device.toolkit_home([str(site)], links) == {}  # no runtime
    (site / "nvidia" / "cu13" / "lib" / "libcudart.so.13").write_text("cu13")
    assert device.toolkit_home([str(site)], links) == {"CUDA_HOME": str(links),
                                                       "CUDA_PATH": str(links)}  # fmt: skip
    assert (links / "nvvm" / "lib64" / "libnvvm.so").read_text() == "cu13"
    assert (links / "nvvm" / "libdevice").is_dir()
    assert (links / "lib64" / "libcudart.so.13").read_text() == "cu13"
    monkeypatch.setenv("CUDA_HOME", "/opt/cuda")  # a person's own choice stands
    assert device.toolkit_home([str(site)], tmp_path / "other") == {}


def test_wheels_of_cuda_12_are_found_in_their_folders_too(device, tmp_path, monkeypatch):
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(device, "SYSTEM_TOOLKIT", tmp_path / "none")
    nvidia, links = tmp_path / "nvidia", tmp_path / "cuda"
    for folder in ("cuda_nvcc/nvvm/libdevice", "cuda_nvcc/nvvm/lib64", "cuda_runtime/lib"):
        (nvidia / folder).mkdir(parents=True)
    (nvidia / "cuda_nvcc/nvvm/lib64/libnvvm.so").write_text("12")
    (nvidia / "cuda_runtime/lib/libcudart.so.12").write_text("12")
    assert device.toolkit_home([str(tmp_path)], links)["CUDA_HOME"] == str(links)
    assert (links / "nvvm" / "lib64" / "libnvvm.so").read_text() == "12"
    assert (links / "lib64" / "libcudart.so.12").exists()
