"""Time of the cycle rung: ``python -m pytest tests/benchmarks/bench_cycle.py``."""

import time

import pytest

from bitlathe.arch import load_arch, resolve
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.policy import layer_bits
from bitlathe.workloads import Gemm, load_model

SYSTOLIC = {"array.kind": "systolic", "array.rows": 32, "array.columns": 32, "array.dataflow": "ws"}
MACS = {
    "pe": {"kind": "int_mac", "energy_pj": 0.2, "area_um2": 400.0},
    **{
        f"formats.{kind}": dict.fromkeys(("weight", "input", "output"), "int8@channel")
        for kind in ("linear", "attention")
    },
}
WS = SYSTOLIC | MACS
LLAMA = "llama-2-7b"
# name: model, phase, context, settings of the chip, one decoder layer only, goal in seconds
CASES = {
    "resnet-18 on 32x32 ws": ("resnet-18", "prefill", None, WS, False, 0.1),
    "llama-2-7b layer, 256 tokens, 32x32 ws": (LLAMA, "prefill", 256, WS, True, 0.05),
    "llama-2-7b layer, 256 tokens, bitmod": (LLAMA, "prefill", 256, {}, True, 0.05),
    "llama-2-7b, prefill 2048, 32x32 ws": (LLAMA, "prefill", 2048, WS, False, 2.0),
    "llama-2-7b, prefill 2048, bitmod": (LLAMA, "prefill", 2048, {}, False, 2.0),
    "llama-2-7b, decode 2048, bitmod": (LLAMA, "decode", 2048, {}, False, 2.0),
}


def layers_of(name: str) -> tuple[Chip, list[Gemm]]:
    """Chip and layers of a case."""
    model, phase, context, settings, one, _ = CASES[name]
    chip = resolve(load_arch("bitmod", settings), phase=phase, model=model)
    gemms = load_model(model).gemms(phase=phase, context=context, batch=1, causal=False)
    return Chip.of(chip), [g for g in gemms if not (one and g.name == "lm_head")]


@pytest.mark.benchmark(timer=time.process_time)  # CPU seconds: other work does not count
@pytest.mark.parametrize("name", CASES)
def test_cycle_rung(benchmark, name: str) -> None:
    on, gemms = layers_of(name)
    bits = [layer_bits(on.arch, g) for g in gemms]

    def cycle() -> int:
        return sum(
            run_layer_cycle(on, g, b).cycles * g.count for g, b in zip(gemms, bits, strict=True)
        )

    cycles = benchmark(cycle)
    base = [run_layer(on, g, b) for g, b in zip(gemms, bits, strict=True)]
    analytic = sum(r.cycles * r.count for r in base)
    benchmark.extra_info.update(cycles=cycles, over_analytic=round(cycles / analytic, 4))
    print(f"\n{name}: {cycles:,} clocks, {cycles / analytic:.4f} x analytic, "
          f"{benchmark.stats['median'] * 1e3:.1f} ms")  # fmt: skip
    assert cycles >= analytic
    assert benchmark.stats["min"] < CASES[name][-1]
