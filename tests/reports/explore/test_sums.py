"""Rows are the same on every Python: no result hangs on the order or the way of adding floats."""

import builtins
import math
import sys

import pytest

from bitlathe.arch import load_arch
from bitlathe.reports.explore.rows import layer_table, result_row
from bitlathe.sim import simulate

ROOMS = ("arch", "mapping", "sim", "workloads", "reports.sweep", "datatypes")


@pytest.fixture
def no_float_sums(monkeypatch):
    """Let `sum` in the rooms that make results refuse three floats or more.

    Python 3.12 compensates the rounding of `sum` and 3.11 does not; `math.fsum` rounds once on
    both. Of two floats all three agree.
    """

    def checked(values, /, start=0):
        values = list(values)
        floats = [value for value in values if isinstance(value, float)]
        if len(floats) > 2 and builtins.sum(values, start) != math.fsum(values):
            raise AssertionError(f"a sum of floats that depends on how it is added: {values}")
        return builtins.sum(values, start)

    for name, module in list(sys.modules.items()):
        if any(name.startswith(f"bitlathe.{room}") for room in ROOMS):
            monkeypatch.setattr(module, "sum", checked, raising=False)


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("arch", ["bitmod", "fp16", "ant", "hpca25/bitmod-lossy"])
@pytest.mark.usefixtures("no_float_sums")
def test_no_figure_of_a_row_is_a_plain_sum_of_floats(arch, fidelity):
    """Sizes between those of the SRAM table, so that its interpolation is in it too."""
    for kib in (100, 300, 700):
        chip = load_arch(arch, {"buffers.weight.size_kib": kib, "buffers.io.size_kib": kib + 8})
        for model, phase in (("opt-125m", "prefill"), ("opt-1.3b", "decode")):
            run = simulate(chip, model, phase, 64, fidelity=fidelity)
            result_row(run, chip)
            layer_table(run)
