"""Speed of the search: ``python -m pytest -s tests/benchmarks/bench_mapping.py``.

Each figure is a rate, or a time as a multiple of that of a fixed piece of work on the same core.
"""

import cProfile
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from bitlathe.arch import load_arch
from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.arch.short_form import hierarchy_of
from bitlathe.mapping.best import OBJECTIVES, Objective
from bitlathe.mapping.cost import cost
from bitlathe.mapping.fused.kept_results import FLOORS, FUSIONS, WALKS
from bitlathe.mapping.kept_results import KEPT, best_mapping
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.packed import Packed
from bitlathe.mapping.search import search
from bitlathe.mapping.space import Ways, storages
from bitlathe.mapping.unrolled import Unrolled, new_front
from bitlathe.sim import simulate
from bitlathe.sim.cycle.nest.time import KEPT as TIMES
from bitlathe.sim.map_layer import product_on
from naive.chip_bits import operand_bits

LLAMA = ((4096, 4096), (11008, 4096), (4096, 11008), (32000, 4096))
MAPPINGS = 200_000
SWEPT = ("array.rows", "buffers.weight.size_kib", "dram.bits_per_clock")


OTHERS = {  # mappings of a product that they cost a CPU second, as once measured on other machines
    "ZigZag 3.9, 170 a second": 170,
    "AccelForge 1.0, 17 thousand a second": 17_000,
}


def rate_of(work: Callable[[], object], times: int) -> float:
    """Calls a CPU second."""
    started = time.process_time()
    for _ in range(times):
        work()
    return times / (time.process_time() - started)


def port(direction: str, width: int, pj: float) -> Port:
    return Port(direction=direction, width_bits=Fraction(width), read_pj=pj, write_pj=pj)  # type: ignore[arg-type]


def int8_chip() -> Hierarchy:
    """32x32 INT8, weight-stationary, two buffers of 512 KiB and DRAM of 256 bits a clock."""
    sram = (port("read", 1024, 20.0), port("write", 1024, 20.0))
    held = {"weights": ("weight",), "io": ("input", "output")}
    return Hierarchy(
        memories=(
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=(port("both", 256, 1000.0),)),
            *(
                Memory(name=name, holds=holds, size_bits=8 * 512 * 1024, ports=sram)
                for name, holds in held.items()
            ),
            Memory(
                name="register",
                holds=("weight",),
                size_bits=None,
                words=2,
                per=("rows", "columns"),
                ports=(port("read", 8, 0.01), port("write", 8, 0.01)),
            ),
        ),
        axes=(Axis(name="rows", size=32, dims=("k",)), Axis(name="columns", size=32, dims=("n",))),
        units=("rows", "columns"),
        unit_pj=0.5,
    )


def bits_on(name: str, m: int, n: int, k: int) -> tuple[Hierarchy, OperandBits]:
    if name == "int8":
        eight = Fraction(8)
        return int8_chip(), OperandBits(weight=eight, input=eight, output=eight)
    arch = load_arch(name)
    return hierarchy_of(arch), operand_bits(arch, arch.formats.linear, m, n, k)


@pytest.mark.parametrize("name", ["bitmod", "int8"])
def test_mappings_a_second(name: str) -> None:
    """All mappings of one unrolling, none left out by a bound, of which so many are costed.

    A mapping is costed when its clocks and energy are known exactly: tiles, orders of all loops and
    doublings. Compilation is left out, tiles that are gone through and bounded are not.
    """
    chip, bits = bits_on(name, 256, 4096, 4096)
    layer = Loops.product(256, 4096, 4096)
    packed, ways = Packed(layer, bits, chip, storages(chip)[0]), Ways(layer, chip.axes)
    steps = packed.bounds(ways)[0]
    number = int(steps.argmin())
    unrolled = Unrolled(packed, ways.way(number), 0, packed.units_pj(ways)[number])
    unrolled.fixed[3] = 0
    unrolled.search(0, 1, new_front(0))
    best = new_front(0)
    started = time.process_time()
    evaluated = unrolled.search(0, MAPPINGS, best)
    rate = evaluated / (time.process_time() - started)
    mapping = unrolled.mapping(best[1][0])
    plain = rate_of(lambda: cost(layer, bits, mapping, chip), 20)
    numbers = np.arange(1, 1 << 16, dtype=np.int64)
    divisions = rate_of(lambda: int((numbers[::-1] // numbers)[0]), 50) * numbers.size
    print(f"\n{name}: {rate:,.0f} mappings costed a CPU second, times those of others")
    print(f"{'the plain twin, mapping.cost, same run':48}{rate / plain:12,.0f}")
    print(f"{'64-bit divisions by numpy, same run':48}{rate / divisions:12.4f}")
    for tool, theirs in OTHERS.items():
        print(f"{tool:48}{rate / theirs:12,.0f}")


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["bitmod", "int8"])
def test_a_product(name: str, objective: Objective) -> None:
    """256x4096x4096, proven."""
    chip, bits = bits_on(name, 256, 4096, 4096)
    search(Loops.product(1, 1, 1), bits, chip)
    started = time.process_time()
    found = search(Loops.product(256, 4096, 4096), bits, chip, objective)
    seconds = time.process_time() - started
    print(f"\n{name}, {objective}: {seconds:.3f} CPU s, {found.mappings_evaluated:,} costed")


@pytest.mark.parametrize("name", ["edge-npu", "int8-three-level", "eyeriss-like"])
def test_a_token_on_deep_chips(name: str) -> None:
    """1x4096x4096 on chips of three and four levels, proven for clocks times energy."""
    asked = product_on(load_arch(name), 1, 4096, 4096, "decode")
    search(Loops.product(1, 1, 1), asked.bits, asked.hierarchies[0])
    started = time.process_time()
    found = search(asked.layer, asked.bits, asked.hierarchies[0], "edp")
    seconds = time.process_time() - started
    print(f"\n{name}: {seconds:.2f} CPU s, {found.mappings_evaluated:,} costed")


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("tokens", [2048, 1])
def test_a_model(tokens: int, objective: Objective, tmp_path, monkeypatch) -> None:
    """The distinct linear products of Llama-2-7B on bitmod: found, and looked up."""
    monkeypatch.setenv("BITLATHE_CACHE", str(tmp_path))
    monkeypatch.delenv("BITLATHE_KEEP_MAPPINGS", raising=False)
    cases = [(Loops.product(tokens, n, k), *bits_on("bitmod", tokens, n, k)) for n, k in LLAMA]
    search(Loops.product(1, 1, 1), cases[0][2], cases[0][1])
    times = []
    for _ in range(2):
        KEPT.forget()
        started = time.process_time()
        for layer, chip, bits in cases:
            best_mapping(layer, bits, chip, objective)
        times.append(time.process_time() - started)
    first, again = times
    print(
        f"\n{tokens} tokens, {objective}: {first:.3f} CPU s, kept {first / again:,.0f} times less"
    )


ROOMS = (  # of a profile, by the file of a function: the first that fits
    ("kernels", "kernels.py"),
    ("search", "mapping/"),
    ("run", "bitlathe/"),
)


def test_where_a_cold_point_goes(monkeypatch) -> None:
    """CPU of a cold sweep point, fused chains included: kernels apart from Python, as shares.

    As a multiple of the same points when all is found, and of divisions. Chips differ in rows,
    buffer and bandwidth, phases in turn; nothing is kept on disk. cProfile makes Python's share
    larger than it is: points are timed without.
    """
    monkeypatch.setenv("BITLATHE_KEEP_MAPPINGS", "0")
    axes = product((16, 64), (256, 512), (64, 128), ("prefill", "decode"))
    points = [(load_arch("bitmod", dict(zip(SWEPT, p, strict=False))), p[-1]) for p in axes]
    simulate("bitmod", "opt-125m", "prefill", 8, mapper="search", fidelity="analytic")

    def again() -> None:
        for arch, phase in points:
            simulate(arch, "llama-2-7b", phase, 256, mapper="search", fidelity="analytic")

    def run() -> None:
        for kept in (KEPT, FLOORS, FUSIONS, WALKS):
            kept.forget()
        again()

    cold, found = rate_of(run, 1) * len(points), rate_of(again, 1) * len(points)
    numbers = np.arange(1, 1 << 16, dtype=np.int64)
    divisions = rate_of(lambda: int((numbers[::-1] // numbers)[0]), 50) * numbers.size
    profile = cProfile.Profile()
    profile.runcall(run)
    shares = dict.fromkeys((*dict(ROOMS), "fused", "others"), 0.0)
    for (file, _, _), row in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        names = [name for name, part in ROOMS if part in file]
        name = names[0] if names else "others"
        shares["fused" if name == "search" and "/fused/" in file else name] += row[2]
    whole = sum(shares.values())
    text = ", ".join(f"{name} {share / whole:.0%}" for name, share in shares.items())
    print(
        f"\na cold point: {found / cold:.1f} points with all found, {divisions / cold / 1e6:.1f} M"
    )
    print(f"64-bit divisions by numpy of the same run; {text}")


FIRST_USE = """
import time
from bitlathe.sim import simulate

for fidelity in ("analytic", "cycle"):
    started = time.process_time()
    simulate("bitmod", "opt-125m", "decode", 8, fidelity=fidelity)
    print(f"{fidelity}: {time.process_time() - started:.2f} CPU s")
"""


@pytest.mark.parametrize("kernels", ["compiled", "kept"])
def test_first_use(kernels: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first simulation of a process: the search, then the machine of the cycle rung."""
    folder = tmp_path_factory.getbasetemp() / "first"
    cleared = {"NUMBA_CACHE_DIR": str(folder), "BITLATHE_KEEP_MAPPINGS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE],
        env={**os.environ, **cleared},
        capture_output=True,
        text=True,
        check=True,
    )
    print(f"\nkernels {kernels}: " + ", ".join(done.stdout.split("\n")[:2]))


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_a_kept_simulation(fidelity: str, phase: str, tmp_path, monkeypatch) -> None:
    """Llama-2-7B at 2048 tokens from a chip's file on: all searched, then all found on disk."""
    monkeypatch.setenv("BITLATHE_CACHE", str(tmp_path))
    monkeypatch.delenv("BITLATHE_KEEP_MAPPINGS", raising=False)
    simulate("bitmod", "opt-125m", phase, 8, fidelity=fidelity)  # loads the kernels
    times = []
    for _ in range(4):
        for kept in (KEPT, TIMES, FLOORS, FUSIONS, WALKS):
            kept.forget()
        started = time.process_time()
        simulate("bitmod", "llama-2-7b", phase, 2048, fidelity=fidelity)
        times.append(time.process_time() - started)
    first, again = times[0], min(times[1:])
    print(
        f"\n{fidelity}, {phase}: {first:.2f} CPU s, all kept {1e3 * again:.1f} CPU ms, "
        f"{first / again:.0f} times less"
    )
