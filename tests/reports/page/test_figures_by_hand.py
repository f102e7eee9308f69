"""Small figures of reports by hand: units, samples, holes, what is not ranked."""

from dataclasses import replace

import numpy as np
import pytest

from bitlathe.reports.explore.accuracy import Measures
from bitlathe.reports.explore.rows import roofline
from bitlathe.reports.page.accuracy import by_pair
from bitlathe.reports.page.columns import RESULTS
from bitlathe.reports.page.frame import Frame
from bitlathe.reports.page.page import sample
from bitlathe.reports.page.series import MOST, places
from bitlathe.reports.studies.drawing import means
from bitlathe.sim.run import LayerRun, Run
from bitlathe.workloads.accuracy import Accuracy

LAYER = LayerRun(
    name="q", count=3, m=2, n=4, k=8, batch=1, compute_cycles=5, dram_cycles=6, stall_cycles=2,
    cycles=7, utilization=0.123456789, dram_bits={"weight": 800, "input": 80, "output": 8},
    sram_accesses={}, energy_pj={"pe": 1.5, "total": 2.5},
)  # fmt: skip
RUN = Run(
    arch="a", model="m", phase="decode", context=1, batch=1, fidelity="cycle", mapper="x",
    clock_ghz=1.0, area_um2={"total": 1.0}, layers=(LAYER,),
)  # fmt: skip


def test_a_layer_of_the_roofline_has_bytes_and_figures_of_one_instance() -> None:
    """888 bits are 111 bytes; without a mask the product does 2 x 4 x 8 = 64 of them."""
    assert roofline(RUN, {}) == [["q", 3, 64, 111.0, 7, 2, 0.12346, 2.5]]


@pytest.mark.parametrize(
    ("name", "stored", "shown"),
    [
        ("seconds", 0.25, 250.0),
        ("energy_pj.total", 3e9, 3.0),
        ("edp_pj_s", 2e9, 2.0),
        ("area_um2.total", 5e6, 5.0),
        ("dram_bits.total", 8 * 2**20, 1.0),
        ("dram_gb_per_s", 32.0, 32.0),
    ],
)
def test_units_are_those_of_the_labels(name: str, stored: float, shown: float) -> None:
    """250 ms, 3 mJ, 2 mJ s, 5 mm2, 1 MiB: by the units' definitions."""
    unit = {"seconds": "ms", "energy_pj.total": "mJ", "edp_pj_s": "mJ s", "area_um2.total": "mm²",
            "dram_bits.total": "MiB", "dram_gb_per_s": "GB/s"}[name]  # fmt: skip
    assert RESULTS[name].unit == unit
    assert stored * RESULTS[name].scale == pytest.approx(shown, rel=1e-12)


def test_a_name_that_a_row_lacks_is_empty_and_not_another() -> None:
    frame = Frame.of([{"arch": "a"}, {"model": "m"}, {"arch": "b"}])
    assert [frame.row(i).get("arch") for i in range(3)] == ["a", None, "b"]
    assert frame.texts["arch"].levels == ("a", "b", "")


def test_of_too_many_rows_to_keep_an_even_share_is_kept() -> None:
    frame = Frame.of([{"arch": str(i)} for i in range(100)])
    keep = np.zeros(100, dtype=bool)
    keep[:50] = True
    assert sample(frame, keep, 5).tolist() == [0, 10, 20, 30, 40]
    assert sample(frame, keep, 60).tolist() == [*range(50), *range(50, 100, 5)]
    assert sample(frame, keep, 100).tolist() == list(range(100))


def test_the_commonest_names_have_marks() -> None:
    rows = [{"arch": f"c{k:02}"} for k in range(MOST + 2) for _ in range(1 if k < 2 else 3)]
    known = places(Frame.of(rows), "arch")
    assert len(known) == MOST
    assert "c00" not in known
    assert list(known.values()) == list(range(MOST))


def test_what_is_not_to_be_ranked_has_no_figure() -> None:
    measure = Accuracy(
        model="m", scheme="int8", text="t", tokens=9, context=3, perplexity=4.0, loss_nats=0.5,
        loss_se_nats=0.1, kl_nats=0.2, ranked=True, window_nll=(), bits_per_weight=8.0,
        top1_agreement=1.0, weight_error=0.0, output_error=0.0,
    )  # fmt: skip
    frame = Frame.of([{"model": "m", "format": "int8"}, {"model": "m", "format": "int4"}])
    other = replace(measure, scheme="int4", ranked=False)
    values = by_pair(frame, Measures(own={"m": (measure, other)}).figures("perplexity"))
    assert values[0] == 4.0
    assert np.isnan(values[1])


def test_means_of_studies_are_geometric() -> None:
    """The root of 2 x 8 is 4, not their mean 5."""
    rows = [{"phase": "p", "seconds": 2.0}, {"phase": "p", "seconds": 8.0}]
    assert means(rows, ("phase",), "seconds") == {("p",): pytest.approx(4.0)}
