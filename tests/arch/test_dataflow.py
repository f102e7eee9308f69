"""The four dataflows as records: what they unroll, what passes, what stays."""

import pytest

from bitlathe.arch import load_arch
from bitlathe.arch.dataflow import DATAFLOWS, SYSTOLIC, TILE


@pytest.mark.parametrize("flow", DATAFLOWS.values(), ids=DATAFLOWS)
def test_each_dimension_has_one_place(flow):
    assert {flow.rows, flow.columns, flow.streamed} == {"m", "n", "k"}
    size = flow.extents(m=2, n=3, k=5)
    assert sorted(size) == [2, 3, 5]
    sides = {d: flow.along(d, rows=7, columns=11) for d in "mnk"}
    assert (sides[flow.rows], sides[flow.columns], sides[flow.streamed]) == (7, 11, None)


def test_the_operand_that_stays_is_the_one_without_the_streamed_dimension():
    dimensions = {"weight": {"n", "k"}, "input": {"m", "k"}, "output": {"m", "n"}}
    for flow in DATAFLOWS.values():
        assert dimensions[flow.stationary] == {flow.rows, flow.columns}
        assert flow.sums_stay == (flow.loaded is None) == (flow.streamed == flow.lanes)


def test_an_array_knows_its_dataflow():
    assert load_arch("bitmod").array.flow is TILE
    for name, flow in SYSTOLIC.items():
        array = load_arch("bitmod").array.model_copy(update={"kind": "systolic", "dataflow": name})
        assert array.flow is flow
