"""The mapper of the BitFusion lineage: equal to brute force, and what it refuses."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bitlathe.arch import load_arch
from bitlathe.arch.pe import IntMacPE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.bitfusion import RULES, Costs, Machine, SquareLayer, best_schedule
from bitlathe.mapping.bitfusion.schedule import LOOPS
from naive import bitfusion_naive

MEMORIES = ("weight", "input", "output", "dram")
PORTS = [f"{memory}_{way}" for memory in MEMORIES for way in ("read", "write")]
COSTS = Costs(**{name: Fraction(i + 1) for i, name in enumerate(PORTS)}, work=Fraction(7))
BITS = st.sampled_from([1, 2, 3, 4, 8])
SMALL = st.integers(1, 3)


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    rule=st.sampled_from(sorted(RULES)),
    sizes=st.tuples(SMALL, SMALL, st.integers(1, 6), st.integers(1, 6)),
    window=st.tuples(SMALL, SMALL, st.integers(1, 2)),
    bits=st.tuples(BITS, BITS),
    im2col=st.booleans(),
    array=st.tuples(SMALL, SMALL),
    port=st.sampled_from([1, 24, 256]),
    sram=st.tuples(*[st.sampled_from([512, 4096, 16384])] * 3),
)
def test_brute_force(rule, sizes, window, bits, im2col, array, port, sram) -> None:
    (images, size, ic, oc), (kernel, width, stride) = sizes, window
    layer = SquareLayer(
        name="any", kernel=kernel, kernel_width=width, stride=stride, images=images,
        output_size=size, in_channels=ic, out_channels=oc,
        input_bits=bits[0], weight_bits=bits[1], im2col=im2col,
    )  # fmt: skip
    weights, inputs, outputs = sram
    machine = Machine(
        rows=array[0], columns=array[1], port_bits=port, weight_bits=weights, input_bits=inputs,
        output_bits=outputs, pe=IntMacPE(split_bits=2),
    )  # fmt: skip
    expected = bitfusion_naive.best(
        {
            "kernel": kernel, "width": width, "stride": stride, "images": images,
            "size": size, "ic": ic, "oc": oc,
            "a": bits[0], "w": bits[1], "im2col": im2col,
        },
        {
            "rows": array[0], "columns": array[1], "port": port, "weights": weights,
            "inputs": inputs, "outputs": outputs, "most": 8, "least": 2,
        },
        {
            "bitfusion": rule == "bitfusion", "im2col": rule != "bitfusion", "flow": rule[-2:],
            "output_bits": 32 if rule == "bitfusion" else 16,
        },
        {**{name: int(getattr(COSTS, name)) for name in PORTS}, "compute_cycles": 7, "clock": 0},
    )  # fmt: skip
    if expected is None:
        with pytest.raises(BitlatheError, match=r"'any'.*smallest tile"):
            best_schedule(layer, machine, RULES[rule], COSTS)
        return
    _, figures, tile, order, flow = expected
    found = best_schedule(layer, machine, RULES[rule], COSTS)
    assert {name: getattr(found, name) for name in figures} == figures
    names = dict(zip(bitfusion_naive.LOOPS, LOOPS, strict=True))
    assert found.tile == tile
    assert found.order == tuple(names[loop] for loop in order)
    assert found.dataflow == flow


LAYER = SquareLayer(name="fc", in_channels=64, out_channels=32, input_bits=4, weight_bits=4)
MACHINE = Machine.of(load_arch("isca18/bf-e"))


def test_energy_is_what_the_costs_say() -> None:
    found = best_schedule(LAYER, MACHINE, RULES["bitfusion"], COSTS)
    parts = found.energy_pj(COSTS)
    moved = sum((getattr(COSTS, name) * getattr(found, name) for name in PORTS), Fraction(0))
    assert sum(parts.values()) == moved + 7 * found.compute_cycles
    leaking = replace(COSTS, pe_leakage=Fraction(1, 3), dram_background=Fraction(1, 7))
    more = found.energy_pj(leaking)
    assert more["pe_leakage"] == Fraction(found.cycles, 3)
    assert more["dram_background"] == Fraction(found.cycles, 7)


def test_half_of_the_bits_take_a_quarter_of_the_clocks() -> None:
    """4 x 4 bits: four products a unit and clock."""
    sides = {"kernel": 3, "output_size": 8, "in_channels": 256, "out_channels": 64}
    wide, clocks = replace(MACHINE, port_bits=10**6), []
    for bits in (8, 4, 2):
        layer = SquareLayer(name="c", **sides, input_bits=bits, weight_bits=bits)
        found = best_schedule(layer, wide, RULES["bitfusion"], COSTS)
        clocks.append(found.compute_cycles)
    assert clocks[0] == 4 * clocks[1] == 16 * clocks[2] == layer.macs // (16 * 32)


def test_ports_of_two_widths_split_each_by_itself() -> None:
    """16 x 8 bits in parts of 4: 5 bits take 2 of 4 digits of the one, all 2 of the other."""
    pe = IntMacPE(activation_bits=16, weight_bits=8, split_bits=4)
    for bits, ways in ((4, (2, 4)), (5, (1, 2)), (8, (1, 2))):
        layer = replace(LAYER, input_bits=bits, weight_bits=bits)
        assert replace(MACHINE, pe=pe).split(layer) == ways


def test_what_is_refused() -> None:
    for key, value, words in (
        ("in_channels", 0, r"'fc': in_channels is 0, must be a whole number"),
        ("kernel", 2.0, r"'fc': kernel"),
        ("weight_bits", 17, r"'fc': weight_bits is 17, must be a whole number 1\.\.16"),
        ("images", 2**40, r"'fc': .* beyond the 2\^50"),
    ):
        with pytest.raises(BitlatheError, match=words):
            replace(LAYER, **{key: value})
    tiny: dict[str, Any] = {"weight_bits": 8, "input_bits": 8, "output_bits": 8}
    with pytest.raises(BitlatheError, match=r"'fc': the smallest tile .* larger buffers"):
        best_schedule(LAYER, replace(MACHINE, **tiny), RULES["bitfusion"], COSTS)
    for key in ("weight_bits", "input_bits"):
        with pytest.raises(BitlatheError, match=rf"'fc': {key} is 9, .* takes 8; use a wider"):
            best_schedule(replace(LAYER, **{key: 9}), MACHINE, RULES["bitfusion"], COSTS)
    for chip, words in (("bitmod", "gives weight, io"), ("tpu-like", "gives memories")):
        with pytest.raises(BitlatheError, match=words):
            Machine.of(load_arch(chip))
    narrow = load_arch("isca18/bf-e", {"dram.bits_per_clock": 19.2})
    with pytest.raises(BitlatheError, match=r"moves 19\.2 bits a clock"):
        Machine.of(narrow)
