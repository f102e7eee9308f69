"""Several cores on a chip: one is none, more are never slower, what they share, what it takes."""

from fractions import Fraction

import pytest

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.arch.silicon import areas_um2, leakages_mw
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import Gemm

LAYERS = [
    Gemm(name="wide", m=4, n=96, k=64),
    Gemm(name="long", m=48, n=4, k=64),
    Gemm(name="heads", m=4, n=32, k=16, batch=4),
]
CHIP = """
technology: {node_nm: 28, clock_ghz: 1.0, device: lop, temperature_k: 300}
memories:
  - {name: dram, component: ddr4_2666, gb_per_s: 32}
  - {name: shared, holds: [weight, input, output], size_kib: 64, ports: [{read: 256}, {write: 256}]}
  - name: own
    per: core
    holds: [weight, input, output]
    size_kib: 8
    ports: [{read: 256}, {write: 256}]
array: {kind: systolic, rows: 8, columns: 8, dataflow: os}
CORES
pe: {kind: int_mac, energy_pj: 0.187, area_um2: 162.2}
formats:
  linear: {weight: int8@channel, input: int8@tensor, output: int8@tensor}
  attention: {weight: int8@channel, input: int8@tensor, output: int8@tensor}
"""


@pytest.fixture
def chip(tmp_path):
    def made(cores):
        path = tmp_path / "chip.yaml"
        path.write_text(CHIP.replace("CORES", f"cores: {cores}" if cores else ""))
        return load_arch(path)

    return made


def run(chip, mapper="search-cycles"):
    return bl.simulate(chip, LAYERS, fidelity="analytic", mapper=mapper)


def test_one_core_is_a_chip_without_the_key(chip):
    one, none = run(chip("1")), run(chip(""))
    for a, b in zip(one.layers, none.layers, strict=True):
        assert (a.cycles, a.energy_pj, a.dram_bits) == (b.cycles, b.energy_pj, b.dram_bits)
    assert one.area_um2 == none.area_um2


def test_area_and_leakage_are_those_of_all_cores(chip):
    one, four = chip("1"), chip("4")
    for of in (areas_um2, leakages_mw):
        a, b = of(one), of(four)
        assert b["pe_array"] == pytest.approx(4 * a["pe_array"])
        assert b["own"] == pytest.approx(4 * a["own"])
        assert b["shared"] == a["shared"]


def test_more_cores_are_never_slower(chip):
    for multicast in ("true", "false"):
        runs = [
            run(chip(f"{{size: {n}, dims: [m, n, k, b], multicast: {multicast}}}"))
            for n in (1, 2, 3, 4)
        ]
        for layers in zip(*(each.layers for each in runs), strict=True):
            cycles = [layer.cycles for layer in layers]
            assert cycles == sorted(cycles, reverse=True)
        assert runs[-1].cycles < 0.5 * runs[0].cycles


def test_each_layer_is_divided_along_its_best_dimension(chip):
    found = run(chip("{size: 4, dims: [m, n, b]}"))
    divided = {
        layer.name: [dim for axis, dim, _ in layer.mapping[0]["nest"]["spatial"] if axis == "cores"]
        for layer in found.layers
    }
    assert divided["wide"] == ["n"]  # of four tokens each core would have one
    assert divided["long"] == ["m"]


def test_reading_once_a_core_is_never_better(chip):
    for mapper, of in (
        ("search-cycles", lambda r: r.cycles),
        ("search-energy", lambda r: r.energy_pj["total"]),
    ):
        shared, apart = (
            run(chip(f"{{size: 4, dims: [m, n], multicast: {said}}}"), mapper)
            for said in ("true", "false")
        )
        assert of(shared) <= of(apart) * (1 + 1e-12)
        assert shared.energy_pj["sram_read"] < apart.energy_pj["sram_read"]


def test_inputs_may_be_divided(chip):
    """Along k each core has its own part of each sum; `tests/mapping` counts how they meet."""
    (layer,) = bl.simulate(
        chip("{size: 2, dims: [k]}"),
        [Gemm(name="deep", m=8, n=8, k=512)],
        fidelity="analytic",
        mapper="search-cycles",
    ).layers
    alone = bl.simulate(
        chip("1"), [Gemm(name="deep", m=8, n=8, k=512)], fidelity="analytic", mapper="search-cycles"
    ).layers[0]
    assert layer.compute_cycles == Fraction(alone.compute_cycles, 2)
    assert layer.dram_bits == alone.dram_bits


def test_bad_cores_are_said_with_their_line(chip):
    for said, error in (
        ("0", "cores.size: input should be greater than 0"),
        ("{size: 2, dims: [x]}", "unknown dimension 'x'"),
        ("{size: 2, cast: true}", "unknown key 'cores.cast'"),
        ("{size: 2, multicast: 1}", "cores.multicast: input should be a valid boolean"),
    ):
        with pytest.raises(BitlatheError) as found:
            chip(said)
        assert "chip.yaml:12:" in str(found.value), found.value
        assert error in str(found.value)
