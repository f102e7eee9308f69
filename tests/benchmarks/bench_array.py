"""Speed of the arrays, and what term skipping gains: ``python -m pytest tests/benchmarks/bench_array.py -s``.

Ratios are to work done on the same machine in the same run.
"""

import time
from dataclasses import replace

import numpy as np
import pytest

from bitlathe.sim.array.systolic_clock import simulate_systolic
from bitlathe.sim.array.systolic_model import systolic
from bitlathe.sim.array.tile_clock import nonzero_terms, simulate_tile_array
from bitlathe.sim.array.tile_model import SCOPES, TileArray, group_clocks, tile_count


def best(function, times=5):
    """Return the shortest of several wall times in seconds; the first call is not counted."""
    function()
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        spent.append(time.perf_counter() - start)
    return min(spent)


def copy_rate():
    """Elements of int64 copied per second, out of cache: what one move per PE would reach."""
    source = np.zeros(8 << 20, np.int64)
    target = np.empty_like(source)
    return source.size / best(lambda: np.copyto(target, source))


@pytest.mark.parametrize("kind", [np.int8, np.float32])
@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_pe_updates_per_second(flow, kind):
    rng = np.random.default_rng(0)
    a, b = (
        rng.integers(-8, 8, (256, 256)).astype(kind),
        rng.integers(-8, 8, (256, 256)).astype(kind),
    )
    run = simulate_systolic(a, b, 32, 32, flow)
    seconds = best(lambda: simulate_systolic(a, b, 32, 32, flow))
    rate = run.pe_updates / seconds
    naive = seconds / best(lambda: a.astype(np.float64) @ b.astype(np.float64))
    print(
        f"\n{flow} {np.dtype(kind).name}: {rate / 1e6:.0f} million PE updates/s, "
        f"{rate / copy_rate():.2f} of the element copies/s, {run.cycles / seconds / 1e6:.2f} "
        f"million clocks/s, {naive:.0f} times a numpy product"
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
    for numerics in ("aligned", "exact"):
        seconds = best(lambda n=numerics: simulate_tile_array(acts, weights, array, "int8", n), 3)
        macs = acts.shape[0] * weights.size
        print(f"\ntile int8 {numerics}: {macs / seconds / 1e6:.1f} million MACs/s clock by clock")
        assert macs / seconds > 1e6


def grids():
    """Yield (format, scale of the largest weight, grid) of the formats in the table."""
    yield "int8", 127, np.arange(-127, 128)
    yield "int6", 31, np.arange(-31, 32)
    yield "int4", 7, np.arange(-7, 8)
    yield "fp4", 12, np.array([s * v for v in (0, 1, 2, 3, 4, 6, 8, 12) for s in (-1, 1)])
    yield "fp3", 4, np.array([-4, -2, -1, 0, 1, 2, 4])


def test_gain_of_term_skipping():
    """Dense issue clocks / issue clocks with skipping, 32 channels, groups of 128, 4 lanes."""
    rng = np.random.default_rng(1)
    draws = {
        "gaussian": rng.standard_normal((128, 1024)),
        "student t, 4 degrees": rng.standard_t(4, (128, 1024)),
    }
    base = TileArray(rows=32, cols=32, skip_zero_terms=True)
    print()
    for name, weights in draws.items():
        for format, top, grid in grids():
            groups = weights.reshape(128, 8, 128)
            scaled = groups / np.abs(groups).max(-1, keepdims=True) * top
            order = np.sort(np.unique(grid))
            near = order[np.abs(scaled.reshape(-1, 1) - order).argmin(1)].reshape(128, 1024)
            terms = nonzero_terms(near, format)
            dense = int(group_clocks(terms, replace(base, skip_zero_terms=False)).sum())
            gain = {
                s: dense / int(group_clocks(terms, replace(base, scope=s)).sum()) for s in SCOPES
            }
            print(
                f"{name:21} {format:5} zero terms {1 - terms.mean():.2f}  "
                + "  ".join(f"{s} {g:.3f}" for s, g in gain.items())
            )
            assert gain["lane"] >= gain["row"] >= gain["array"] >= 1
