"""Chips of every PE kind on both rungs: clocks are those of the PE's own record."""

import pytest

import bitlathe as bl
from bitlathe.arch import Arch, load_arch
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.chip import Chip
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.cycle.options import CycleOptions
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.workloads import Gemm

COST = {"energy_pj": 0.2, "area_um2": 400.0}
IDEAL = CycleOptions(memory=False, pipeline=False, rescale=False)


def chip(kind: str, weight: str, stored: str, /, **keys: object) -> Arch:
    """A shipped chip with other PEs; ports are made for the formats of that chip too."""
    formats = {"weight": weight, "input": stored, "output": stored}
    return load_arch(
        "bitmod" if kind == "bit_serial" else "fp16",
        {"pe": {"kind": kind, **COST, **keys}, "formats.linear": formats}
        | {"formats.attention": {**formats, "weight": {"scheme": weight, "calibrated": True}}},
    )


@pytest.mark.parametrize(
    ("arch", "terms"),
    [
        (chip("bit_serial", "int6@g128/int8", "fp16", lanes=4), 3),
        (chip("bit_serial", "nf4@g64", "bf16", lanes=2, activation="bf16"), 4),
        (chip("int_mac", "int4_asym@g128", "int8@channel", lanes=8), 1),
        (chip("fp_mac", "nf4@g64", "fp16", lanes=2), 1),
        (chip("lut", "bcq3", "fp16", lanes=8), 3),
        (chip("ant", "ant4@g128", "int8@channel", lanes=2), 1),
        (chip("olive", "olive4", "int8@channel"), 1),
    ],
    ids=lambda v: v.pe.kind if isinstance(v, Arch) else None,
)
def test_clocks_of_a_tile_are_those_of_the_pe(arch: Arch, terms: int) -> None:
    rows, columns = arch.array.rows, arch.array.columns
    for k in (1, 100, 256):
        gemm = Gemm(name="x", m=2 * columns, n=3 * rows - 1, k=k)
        bits = LayerBits.of(arch, arch.formats.linear, gemm)
        run = run_layer(Chip.of(arch), gemm, bits)
        clocks = arch.pe.record.clocks(k, terms)
        assert run.compute_cycles == 2 * 3 * clocks
        cycle = run_layer_cycle(Chip.of(arch), gemm, bits, options=IDEAL)
        waits = cycle.stalls.get("vector", 0)  # for groups whose scales no PE multiplies by
        assert cycle.cycles - waits == run.compute_cycles
        assert (waits > 0) == (k > 128 and arch.pe.kind in ("int_mac", "lut"))


def test_a_whole_model_runs_on_integer_and_table_pes() -> None:
    for arch in (chip("int_mac", "int8@channel", "int8@channel"), chip("lut", "bcq2", "fp16")):
        for fidelity in ("analytic", "cycle"):
            run = bl.simulate(arch, "opt-1.3b", "decode", 64, fidelity=fidelity)
            assert run.cycles > 0


def test_what_a_kind_cannot_take_is_refused_by_name() -> None:
    with pytest.raises(BitlatheError, match=r"formats\.linear\.weight: a PE of kind int_mac"):
        chip("int_mac", "nf4@g64", "int8@channel")
    with pytest.raises(BitlatheError, match=r"formats\.linear\.input: .* as activations"):
        chip("fp_mac", "int8@channel", "fp8_e4m3@channel")
