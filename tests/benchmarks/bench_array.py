"""Speed of the arrays, and what term skipping gains.

Run by ``python -m pytest tests/benchmarks/bench_array.py -s``.

Ratios are to work done on the same machine in the same run.
"""

import time

import numpy as np
import pytest

from bitlathe.datatypes.quantize import quantize
from bitlathe.sim.array.skipping import skipping_gain
from bitlathe.sim.array.systolic_clock import simulate_systolic
from bitlathe.sim.array.systolic_model import systolic
from bitlathe.sim.array.tile_clock import simulate_tile_array
from bitlathe.sim.array.tile_model import SCOPES, TileArray, tile_count
from bitlathe.workloads.minilm import minilm_weights

SCHEMES = (
    "int8@g128",
    "int6@g128",
    "int4@g128",
    "int4_asym@g128",
    "bitmod_fp4@g128",
    "bitmod_fp3@g128",
)


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
    print(
        f"\n{flow} {np.dtype(kind).name}: {rate / 1e6:.0f} million PE updates/s, "
        f"{rate / copy_rate():.2f} of the element copies/s, {run.cycles / seconds / 1e6:.2f} "
        f"million clocks/s"
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


def minilm():
    """Return four matrices of one layer of all-MiniLM-L6-v2, or None where not installed."""
    weights = minilm_weights()
    names = ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
    return weights and [weights[f"encoder.layer.3.{name}.weight"] for name in names]


def draws():
    """Yield (name, matrices) of the weights in the table."""
    rng = np.random.default_rng(1)
    yield "Gaussian", [rng.standard_normal((256, 1024)).astype(np.float32)]
    yield "Student t, 4 degrees", [rng.standard_t(4, (256, 1024)).astype(np.float32)]
    real = minilm()
    if real is not None:
        yield "MiniLM-L6 layer 3", real


@pytest.mark.parametrize("lanes", [4, 1])
def test_gain_of_term_skipping(lanes):
    """Issue clocks of all terms / issue clocks with skipping, 32 channels at once."""
    array = TileArray(rows=32, cols=32, lanes=lanes)
    print(f"\n{lanes} lanes | scheme | terms | zero terms | ideal | lane | row | column | array")
    for name, matrices in draws():
        for scheme in SCHEMES:
            gains = [skipping_gain(quantize(w, scheme), array) for w in matrices]
            size = np.array([w.size for w in matrices])

            def mean(field, gains=gains, size=size):
                """Harmonic mean by weights: total clocks over total clocks."""
                return size.sum() / sum(
                    s / getattr(g, field) for s, g in zip(size, gains, strict=True)
                )

            zero = sum(s * g.zero_terms for s, g in zip(size, gains, strict=True)) / size.sum()
            row = " | ".join(f"{mean(f):.2f}" for f in ("ideal", *SCOPES))
            print(f"{name} | {scheme} | {gains[0].terms} | {zero:.2f} | {row}")
            assert mean("ideal") >= mean("lane") >= mean("row") >= mean("array") >= 1
