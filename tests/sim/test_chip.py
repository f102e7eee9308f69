"""A chip as layers use it: what it looks up is what the architecture says."""

import math

import pytest

from bitlathe.arch import load_arch, resolve
from bitlathe.sim.chip import Chip

ONE_EACH = {"size_kib": 64}
BUFFERS = {
    "two": {"weight": ONE_EACH, "io": ONE_EACH},
    "three": {"weight": ONE_EACH, "input": ONE_EACH, "output": ONE_EACH},
    "one": {"shared": {"size_kib": 256}},
}
SYSTOLIC = {"array.kind": "systolic", "array.dataflow": "ws", "array.accumulator_buffer": True}


@pytest.mark.parametrize("name", ["bitmod", "ant", "hpca25/bitmod-lossy"])
def test_buffers_ports_and_area_are_the_chips(name: str) -> None:
    arch = resolve(load_arch(name), phase="prefill", model="opt-125m")
    chip = Chip.of(arch)
    assert tuple(chip.sram) == arch.buffers.priced
    for buffer, sram in chip.sram.items():
        assert (sram.port_bits, sram.banks) == (arch.port_bits(buffer), arch.banks(buffer))
        assert sram.cost == arch.sram_cost(buffer)
        assert sram.size_bytes == arch.buffers.named(buffer).size_bytes
    buffers = {f"{b}_buffer": sram.cost.area_um2 for b, sram in chip.sram.items()}
    parts = {"pe_array": arch.pes * arch.pe_area_um2, **buffers}
    parts |= {"decoders": 244 * 13.53} if name == "ant" else {}
    if arch.vector_unit:
        parts["vector_unit"] = arch.vector_area_um2
    assert chip.area_um2 == {**parts, "total": math.fsum(parts.values())}
    leakage = math.fsum(sram.cost.leakage_mw for sram in chip.sram.values())
    assert chip.leakage_mw == leakage + arch.pe_leakage_mw + arch.vector_leakage_mw


@pytest.mark.parametrize(
    ("buffers", "beside_inputs"), [("two", True), ("three", False), ("one", True)]
)
def test_sums_wait_where_results_are(buffers: str, beside_inputs: bool) -> None:
    chip = Chip.of(load_arch("bitmod", {"buffers": BUFFERS[buffers]}))
    assert chip.sums is chip.holding("output")
    assert chip.sums_beside_inputs == beside_inputs


@pytest.mark.parametrize(("timing", "home"), [("physical", "accumulator"), ("scalesim", "io")])
def test_an_accumulator_buffer_holds_the_sums(timing: str, home: str) -> None:
    given = {**SYSTOLIC, "array.timing": timing, "buffers.accumulator": ONE_EACH}
    given["buffers.accumulator"] = {"size_kib": 128}
    chip = Chip.of(load_arch("bitmod", given))
    assert chip.sums.name == home


def test_an_access_fills_its_port_and_wakes_the_banks_it_needs() -> None:
    """512 bits in 16 banks of 32: 33 bits are one access of 2 banks, 513 two of 17."""
    sram = Chip.of(load_arch("bitmod")).sram["weight"]
    assert (sram.port_bits, sram.banks) == (512, 16)
    assert [sram.accesses(bits) for bits in (0, 33, 512, 513)] == [0, 1, 1, 2]
    assert [sram.banks_enabled(bits) for bits in (0, 33, 512, 513)] == [0, 2, 16, 17]
    assert sram.word_write_pj == pytest.approx(sram.cost.write_pj / 8)
