"""Gates of a real library give the bits of the bit rung, in its clocks."""

import numpy as np
import pytest

from bitlathe.arch.pe import BitSerialPE, FpMacPE, IntMacPE
from bitlathe.arch.synthesized import pe_key, shipped
from bitlathe.sim.rtl.generate import pe_case, pe_design
from bitlathe.sim.rtl.tools import yosys_folder
from bitlathe.sim.synthesis.calibrate import PUBLISHED, published_design
from bitlathe.sim.synthesis.flow import PASSES, passes_of, synthesize
from bitlathe.sim.synthesis.gates import circuit_of, run_gates
from bitlathe.sim.synthesis.liberty import DEFAULT_LIBRARY, read_library
from bitlathe.sim.synthesis.measure import measure
from rtl_cases import CONFIGURATIONS

needs_gates = pytest.mark.skipif(
    yosys_folder() is None or not DEFAULT_LIBRARY.is_file(),
    reason="needs pyosys and qflow-tech-osu018",
)


def agrees(name: str, rows: int) -> bool:
    """Return whether gates of a configuration show every event of the bit rung."""
    pe, weight = CONFIGURATIONS[name]
    library, design = read_library(DEFAULT_LIBRARY), pe_design(pe, weight)
    case, given = pe_case(pe, weight, rows, seed=1), {}
    for port in design.inputs:
        fields = np.asarray(case.fields[port.name]).astype(np.int64)
        fields = fields.reshape(len(fields), -1)
        width = port.bits // fields.shape[1]
        bits = (fields[:, :, None] >> np.arange(width)) & 1
        given[port.name] = bits.astype(np.uint8).reshape(len(fields), 1, -1)
    watch = tuple(
        dict.fromkeys(p for e in design.events for p in (e.valid, *(v.name for v in e.values)))
    )
    netlist = synthesize(design, library)
    circuit = circuit_of(netlist, library)
    seen = run_gates(circuit, netlist, library, design, given, clocks=case.clocks, watch=watch).seen
    for event in design.events:
        wanted = case.expected[event.valid]
        clocks = np.flatnonzero(seen[event.valid][:, 0, 0])
        if not np.array_equal(clocks, wanted.clocks):
            return False
        for column, port in enumerate(event.values):
            bits = seen[port.name][clocks, 0].astype(np.int64)
            value = wanted.values[:, column] & ((1 << port.bits) - 1)
            if not np.array_equal((bits << np.arange(port.bits)).sum(1), value):
                return False
    return True


@needs_gates
def test_gates_of_an_integer_mac_give_every_bit_and_clock() -> None:
    assert agrees("integer 5 x 3 into 7, wrapping", 120)


@pytest.mark.slow
@needs_gates
@pytest.mark.parametrize(
    "name",
    ["bit-serial hpca25 int8", "bit-serial int6 skipping", "fp16 x int8 into fp16, saturating"],
)
def test_gates_give_every_bit_and_clock(name: str) -> None:
    assert agrees(name, 100)


@needs_gates
def test_published_blocks_fit_one_constant() -> None:
    """Area of the authors' four blocks within -6 and +4 %; with registers at borders, not fitted.

    The sheet's registers: 22 and 28 inside accumulate and dequantize, 70, 93, 26 and 24 at borders.
    """
    library = read_library(DEFAULT_LIBRARY)
    plain, held = (
        {top: synthesize(published_design(top, held=with_border), library) for top in PUBLISHED}
        for with_border in (False, True)
    )
    inside = [each.registers(library) for each in plain.values()]
    assert inside == [0, 0, 22, 28]
    borders = [held[top].registers(library) - n for top, n in zip(plain, inside, strict=True)]
    assert borders == [70, 93, 26, 24]
    sheet = sum(each.um2 for each in PUBLISHED.values())
    constant = sum(each.area(library) for each in plain.values()) / sheet
    assert constant == pytest.approx(shipped()[0].units_per_um2, rel=1e-5)
    for top, each in PUBLISHED.items():
        assert -0.06 < plain[top].area(library) / constant / each.um2 - 1 < 0.042
        assert held[top].area(library) / constant == pytest.approx(each.held_um2, rel=0.081)
    # the published start of the rescale unit clears nothing; a clear costs a tenth at most
    cleared = published_design("published_rescale", changed={"CLEARS": 1})
    ratio = synthesize(cleared, library).area(library) / plain["published_rescale"].area(library)
    assert 1.02 < ratio < 1.1
    lacking = published_design("published_accumulate", changed={"SHIFT_SUM": 1})
    more = synthesize(lacking, library).area(library) - plain["published_accumulate"].area(library)
    assert more / constant == pytest.approx(84.8, abs=0.1)


@pytest.mark.slow
@needs_gates
def test_the_shipped_results_are_what_is_measured() -> None:
    library, found = shipped()
    subjects = [("", IntMacPE(), ""), ("", BitSerialPE(), "bitmod_fp4")]
    _, results = measure(subjects, read_library(DEFAULT_LIBRARY), keep=False)
    if results.library.operands != library.operands:
        pytest.skip("the package with the operands is not installed")
    assert results.library.units_per_um2 == pytest.approx(library.units_per_um2, rel=1e-5)
    assert results.library.pj_per_pj == pytest.approx(library.pj_per_pj, rel=1e-5)
    for (_, pe, weight), seen in zip(subjects, results.pes, strict=True):
        for name, part in found[pe_key(pe), weight].parts.items():
            assert seen.parts[name].model_dump() == pytest.approx(part.model_dump(), rel=1e-5)


def test_trees_of_many_adders_are_mapped_without_a_search_for_shared_ones() -> None:
    few, many = (
        pe_design(FpMacPE(activation="fp4_e2m1", weight="fp4_e2m1", lanes=lanes), "")
        for lanes in (16, 32)
    )
    assert passes_of(few) == PASSES
    assert [one for one, other in zip(passes_of(many), PASSES, strict=True) if one != other] == [
        "synth -noshare -flatten -booth -top {top}"
    ]
