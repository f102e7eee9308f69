"""Speed of the arrays.

Run by ``python -m pytest tests/benchmarks/bench_array.py -s``.

Ratios are to work done on the same machine in the same run.
"""

import time

import numba
import numpy as np
import pytest

from bitlathe.arch.pe import FpMacPE, IntMacPE
from bitlathe.sim.array.systolic.clock import check_operands, simulate_systolic
from bitlathe.sim.array.systolic.kernels import add_product
from bitlathe.sim.array.systolic.model import systolic
from bitlathe.sim.array.tile.clock import simulate_tile_array
from bitlathe.sim.array.tile.model import TileArray, tile_count
from bitlathe.sim.pe.bit_serial import bitserial_dot


def best(function, times=5):
    """Return the fewest CPU seconds of several calls; the first is not counted."""
    function()
    spent = []
    for _ in range(times):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


def copy_rate():
    """Elements of int64 copied per second, out of cache: what one move per PE would reach."""
    source = np.zeros(8 << 20, np.int64)
    target = np.empty_like(source)
    return source.size / best(lambda: np.copyto(target, source))


@numba.njit
def add_in_place(acc, x, y, whole, floating, times):
    """The additions of an array whose operands stand still."""
    for _ in range(times):
        for i in range(acc.shape[0]):
            for j in range(acc.shape[1]):
                acc[i, j] = add_product(acc[i, j], x[i, j], y[i, j], whole, floating)


def arithmetic_rate(a, b, pe):
    """PE additions per second of 32 x 32 PEs that neither move nor count anything."""
    left, right, rules = check_operands(a[:32, :32], b[:32, :32], pe)
    acc = np.zeros((32, 32), left.dtype)
    return 1024 * 4000 / best(lambda: add_in_place(acc, left, right, *rules, 4000))


PES = {
    "exact integers": (np.int8, None),
    "float32": (np.float32, None),
    "INT8 into 20 bits, saturating": (np.int8, IntMacPE(accumulator_bits=20)),
    "FP16 into FP32, fused": (np.float16, FpMacPE()),
    "FP16, product and sum rounded to FP16": (
        np.float16,
        FpMacPE(product="fp16", accumulator="fp16"),
    ),
}


@pytest.mark.parametrize("name", PES)
@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_pe_updates_per_second(flow, name):
    kind, pe = PES[name]
    rng = np.random.default_rng(0)
    whole = np.issubdtype(kind, np.integer)
    a, b = (
        (rng.integers(-128, 128, (256, 256)) if whole else rng.standard_normal((256, 256)))
        .astype(kind) for _ in range(2)
    )  # fmt: skip
    run = simulate_systolic(a, b, 32, 32, flow, pe=pe)
    seconds = best(lambda: simulate_systolic(a, b, 32, 32, flow, pe=pe))
    rate = run.pe_updates / seconds
    print(
        f"\n{flow} {name}: {rate / 1e6:.0f} million PE updates/s, "
        f"{rate / copy_rate():.2f} of the element copies/s, "
        f"{rate / arithmetic_rate(a, b, pe):.2f} of the bare additions/s, "
        f"{run.cycles / seconds / 1e6:.2f} million clocks/s"
    )
    assert rate > 50e6


def test_closed_forms_take_microseconds():
    array = TileArray(rows=32, cols=32)
    flat = best(lambda: systolic(2048, 4096, 4096, 32, 32, "ws", "physical"))
    tile = best(lambda: tile_count(2048, 4096, 4096, array, 2))
    print(f"\nsystolic {flat * 1e6:.1f} us, bit-serial tile {tile * 1e6:.1f} us")
    assert max(flat, tile) < 200e-6


def test_bit_serial_tile_rate():
    rng = np.random.default_rng(0)
    acts = rng.standard_normal((16, 512)).astype(np.float16)
    weights = rng.integers(-127, 128, (64, 512))
    array = TileArray(rows=16, cols=16)
    parts = acts.reshape(16, 1, 4, 128), weights.reshape(1, 64, 4, 128)
    for numerics in ("hpca25", "aligned", "exact"):
        seconds = best(lambda n=numerics: simulate_tile_array(acts, weights, array, "int8", n))
        alone = best(lambda n=numerics: bitserial_dot(*parts, "int8", n))
        macs = acts.shape[0] * weights.size
        print(
            f"\ntile int8 {numerics}: {macs / seconds / 1e6:.1f} million MACs/s clock by clock, "
            f"{alone / seconds:.2f} of the rate of the PEs alone"
        )
        assert macs / seconds > 1e6
