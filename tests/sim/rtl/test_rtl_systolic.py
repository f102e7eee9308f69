"""Generated systolic arrays with control and buffers: results and clocks of the array's rung."""

from dataclasses import replace

import numpy as np
import pytest

from bitlathe.arch.pe import AntPE, FpMacPE, IntMacPE, LutPE, OlivePE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array.systolic.model import systolic
from bitlathe.sim.rtl.check import check_compiled, check_iverilog
from bitlathe.sim.rtl.generate import array_case, array_design
from bitlathe.sim.rtl.systolic import START, systolic_case, systolic_design
from rtl_cases import needs_cxxrtl, needs_iverilog

NARROW = IntMacPE(accumulator_bits=17, overflow="wrap", weight_bits=4)
SMALL = IntMacPE(activation_bits=4, weight_bits=3, accumulator_bits=9)
FP4 = FpMacPE(activation="fp4_e2m1", weight="fp4_e2m1", lanes=4)
APART = IntMacPE(split_bits=4, split_over="axes")
ARRAYS = {
    "3 x 2 integer": (IntMacPE(), (3, 2), "os"),
    "7 x 1 integer into 17, wrapping": (NARROW, (7, 1), "os"),
    "1 x 1 integer": (SMALL, (1, 1), "os"),
    "2 x 2 fp16 x int8 into fp16": (FpMacPE(weight="int8", accumulator="fp16"), (2, 2), "os"),
    "2 x 3 ant": (AntPE(), (2, 3), "os"),
    "3 x 2 olive": (OlivePE(), (3, 2), "os"),
    "2 x 3 integer, 3 lanes, into 17, wrapping": (replace(NARROW, lanes=3), (2, 3), "os"),
    "2 x 1 fp4, 4 lanes into fp32": (FP4, (2, 1), "os"),
    "2 x 3 ant, 4 lanes": (AntPE(mac=IntMacPE(lanes=4)), (2, 3), "os"),
    "3 x 2 olive, 3 lanes": (OlivePE(mac=IntMacPE(lanes=3)), (3, 2), "os"),
    "2 x 2 integer that splits for 2": (IntMacPE(split_bits=2), (2, 2), "os"),
    "2 x 3 ant that splits for 4, sums apart": (AntPE(mac=APART), (2, 3), "os"),
    "3 x 2 olive that splits for 4, sums apart": (OlivePE(mac=APART), (3, 2), "os"),
    "3 x 2 integer, weights stay": (IntMacPE(accumulator_bits=16), (3, 2), "ws"),
    "7 x 1 integer into 17, wrapping, weights stay": (NARROW, (7, 1), "ws"),
    "1 x 1 integer, weights stay": (SMALL, (1, 1), "ws"),
    "2 x 5 ant, weights stay": (AntPE(), (2, 5), "ws"),
    "3 x 2 olive, weights stay": (OlivePE(), (3, 2), "ws"),
}


@needs_iverilog
@pytest.mark.parametrize("name", ARRAYS)
def test_every_bit_and_clock_of_a_short_run(name: str) -> None:
    pe, sides, dataflow = ARRAYS[name]
    case = array_case(pe, "", sides, 200, 2, dataflow)
    found = check_iverilog(array_design(pe, "", sides, dataflow), case)
    assert found.agree, found.first
    assert found.numbers > 20


@pytest.mark.slow
@needs_cxxrtl
@pytest.mark.parametrize("name", ARRAYS)
def test_every_bit_and_clock_of_a_hundred_thousand(name: str) -> None:
    pe, sides, dataflow = ARRAYS[name]
    case = array_case(pe, "", sides, 80_000, 2, dataflow)
    found = check_compiled(array_design(pe, "", sides, dataflow), case)
    assert found.agree, found.first
    assert found.clocks >= 100_000


def test_the_clocks_are_those_of_the_closed_form() -> None:
    """The first product of a run: from the first word asked for to the last row of results."""
    for seed in range(5):
        case = systolic_case(IntMacPE(), 3, 2, 1, seed)
        fields = {name: np.asarray(each) for name, each in case.fields.items()}
        loads = int((fields["load_input"] | fields["load_weight"]).sum())
        folds = fields["in_valid"][loads:] == 1
        k = int(fields["length"][loads])
        starts = [fields[f"{name}_address"][loads:][folds] for name in ("input", "weight")]
        used = [fields[f"used_{name}"][loads:][folds] for name in ("rows", "columns")]
        m, n = (int(u[np.unique(s, return_index=True)[1]].sum())
                for s, u in zip(starts, used, strict=True))  # fmt: skip
        last = int(case.expected["row_valid"].clocks[-1])
        assert last + 1 - loads - START == systolic(m, n, k, 3, 2, "os", "physical").cycles


@needs_iverilog
@pytest.mark.parametrize("name", ["3 x 2 integer", "3 x 2 integer, weights stay"])
def test_a_wrong_weight_is_noticed(name: str) -> None:
    pe, sides, dataflow = ARRAYS[name]
    case = array_case(pe, "", sides, 60, 1, dataflow)
    wrong = np.asarray(case.fields["weights"]).copy()
    wrong[0, 0] ^= 1
    changed = case._replace(fields={**case.fields, "weights": wrong})
    assert not check_iverilog(array_design(pe, "", sides, dataflow), changed).agree


def test_arrays_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(BitlatheError, match="no systolic array is generated of 'lut' PEs"):
        array_design(LutPE(), "", (2, 2))
    with pytest.raises(BitlatheError, match=r"pe\.lanes is 4: .* or array\.dataflow: os"):
        array_design(IntMacPE(lanes=4), "", (2, 2), "ws")
    with pytest.raises(BitlatheError, match=r"pe\.kind: .* weight stationary array .* 'fp_mac'"):
        array_design(FpMacPE(), "", (2, 2), "ws")
    with pytest.raises(BitlatheError, match=r"array\.dataflow 'is': .* simulation alone"):
        array_design(IntMacPE(), "", (2, 2), "is")
    with pytest.raises(BitlatheError, match="columns"):
        systolic_design(IntMacPE(), 8, 9)
    with pytest.raises(BitlatheError, match=r"pe\.split_bits: no weight stationary array"):
        array_design(IntMacPE(split_bits=4), "", (2, 2), "ws")
