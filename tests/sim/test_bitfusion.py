"""Models under mapper `bitfusion`: layers are the mapper's schedules, with what is refused."""

from fractions import Fraction

import pytest

from bitlathe.arch import load_arch
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.bitfusion import RULES, Costs, Machine, SquareLayer, best_schedule
from bitlathe.sim import simulate
from bitlathe.workloads import Gemm
from bitlathe.workloads.conv import conv_gemm
from bitlathe.workloads.conv_shape import ConvShape

CHIP = load_arch("isca18/bf-e")
CONV = ConvShape(
    in_channels=6, out_channels=8, size=(9, 9), kernel=(3, 3), padding=(1, 1), groups=2
)


def run(model, chip=CHIP, **options):
    return simulate(chip, model, **{"fidelity": "analytic", **options})


def test_layers_are_schedules() -> None:
    """Formats of single layers by rules; groups one after the other; the first by im2col."""
    rules = [{"names": ["fc"], "weight": {"bits": 2.0}, "input": {"bits": 4.0}}]
    chip = load_arch(CHIP, {"formats.rules": rules})
    first, conv, fc = run(
        [conv_gemm(CONV, "a", 4), conv_gemm(CONV, "b", 4), Gemm(name="fc", m=4, n=50, k=70)], chip
    ).layers
    sides = {"kernel": 3, "output_size": 9, "in_channels": 3, "out_channels": 4, "images": 4}
    layers = [
        SquareLayer(name="a", **sides, input_bits=8, weight_bits=8, im2col=True),
        SquareLayer(name="b", **sides, input_bits=8, weight_bits=8),
        SquareLayer(
            name="c", images=4, in_channels=70, out_channels=50, input_bits=4, weight_bits=2
        ),
    ]
    for layer, times, ran in zip(layers, (2, 2, 1), (first, conv, fc), strict=True):
        found = best_schedule(layer, Machine.of(chip), RULES["bitfusion"], Costs.of(chip))
        assert (ran.cycles, ran.stall_cycles) == (times * found.cycles, times * found.stall_cycles)
        assert sum(ran.dram_bits.values()) == times * (found.dram_read + found.dram_write)
        exact = times * sum(found.energy_pj(Costs.of(chip)).values(), Fraction(0))
        assert ran.energy_pj["total"] == pytest.approx(float(exact), rel=1e-12)
        assert ran.sram_accesses["weight_read"] == times * -(-found.weight_read // 32)
        assert 0 < ran.utilization <= 1
    assert first.compute_cycles < conv.compute_cycles  # 27 products on 16 rows; 9 times 3


def test_shipped_models_run() -> None:
    for model in ("resnet-18", "opt-125m"):
        assert run(model, context=None if model == "resnet-18" else 16).cycles > 0
    assert run("resnet-18").mapper == "bitfusion"


def test_the_way_out_that_a_refusal_names_leads_out() -> None:
    tall = ConvShape(in_channels=3, out_channels=4, size=(9, 7), kernel=(3, 3))
    found = simulate(CHIP, [conv_gemm(tall, "t")], mapper="search", fidelity="analytic")
    assert found.layers[0].mapping is not None


def test_what_is_refused() -> None:
    tall = ConvShape(in_channels=3, out_channels=4, size=(9, 7), kernel=(3, 3))
    wide = ConvShape(in_channels=3, out_channels=4, size=(9, 9), kernel=(3, 3), dilation=(2, 2))
    layer = [Gemm(name="fc", m=1, n=8, k=8)]
    for model, chip, options, words in (
        ([conv_gemm(tall, "t")], CHIP, {}, "'t': output 7 x 5 is not square"),
        ([conv_gemm(wide, "w")], CHIP, {}, r"'w': dilation \(2, 2\)"),
        (layer, CHIP, {"fidelity": "cycle"}, "closed form: use fidelity 'analytic'"),
        (layer, "bitmod", {"mapper": "bitfusion"}, "gives weight, io; give it those three"),
        (layer, "tpu-like", {"mapper": "bitfusion"}, "gives memories"),
        (
            layer,
            load_arch(CHIP, {"dram.burst_bits": 512}),
            {},
            "bursts of 512 bits, and this mapper",
        ),
        (layer, load_arch(CHIP, {"dram.latency_cycles": 9}), {}, "a latency of 9 clocks"),
        (layer, load_arch(CHIP, {"execution.overlap_layers": True}), {}, "overlap_layers"),
        (layer, load_arch(CHIP, {"buffers.weight.size_kib": 0.001}), {}, "'fc': the smallest tile"),
    ):
        with pytest.raises(BitlatheError, match=words):
            run(model, chip, **options)
    with pytest.raises(BitlatheError, match=r"split_bits .* 1\.\.8"):
        load_arch(CHIP, {"pe.split_bits": 9})
    part = {"kind": "int_mac", "component": "int8_mac_45nm", "split_bits": 2}
    with pytest.raises(BitlatheError, match=r"pe\.split_bits: no component"):
        load_arch(CHIP, {"pe": part, "technology.clock_ghz": 0.25})
