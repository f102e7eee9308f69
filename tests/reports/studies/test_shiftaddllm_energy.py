"""ShiftAddLLM's energies: every published figure, and the fast search beside plain loops."""

from itertools import product as every
from math import prod

import pytest

from bitlathe.arch import load_arch
from bitlathe.reports.studies.shiftaddllm_energy import as_published, page, study
from bitlathe.reports.studies.shiftaddllm_energy.as_published import CHIP, Machine, Operation

MACHINE = Machine.of(load_arch(CHIP))


@pytest.fixture(scope="module")
def rebuilt() -> study.Reproduction:
    return study.reproduce()


def divisions(size: int, parts: int) -> list[tuple[int, ...]]:
    return [t for t in every(range(1, size + 1), repeat=parts) if prod(t) == size]


def naive_energy_pj(o: Operation) -> float:
    """The authors' rule in plain loops, with the energies of the paper written out."""
    narrow = o.bits != 16
    words, pes = (2, 4 * 192) if narrow else (1, 192)
    width = (10 if o.kind == "shift" else o.bits) / 16
    work = {"multiply": 1.1, "add": 0.4, "shift": 0.15, "look_up": 0.37}[o.kind]
    far = 0 if o.stays or o.kind in ("add", "look_up") else 1
    found = []
    for (n0, n3), (m0, m1, m2, m3), (c0, c1, c2) in every(
        divisions(o.n, 2), divisions(o.m, 4), divisions(o.c, 3)
    ):
        if m0 > 16 * words or c0 >= 12 * words or m0 * c0 >= 960 * words or m1 * c1 >= pes:
            continue
        if n0 * (c0 * c1 + m0 * m1 * m2) >= 65536 * words:
            continue
        ins, weights, sums = o.n * o.c, o.m * o.c, o.n * o.m
        pj = 200 * far * (m3 * ins + n3 * weights + sums)
        pj += 22.2 * far * (m3 * m2 * ins + max(2 * (c2 - 1), 1) * sums)
        pj += 7.4 * far * (m3 * m2 * m1 * ins + n3 * weights)
        pj += 3.7 * max(c2 * (c1 - 1), 1) * sums
        pj += 3.7 * (o.m * ins + max(2 * c2 * c1 * (c0 - 1), 1) * sums) + 7.4 * o.n * weights
        clocks = n0 * n3 * m0 * m2 * m3 * c0 * c2
        found.append((pj * width + work * o.n * o.m * o.c, clocks))
    most_pj, most_clocks = max(e for e, _ in found), max(t for _, t in found)
    return min((e / most_pj + t / most_clocks, e) for e, t in found)[1]


@pytest.mark.parametrize(
    "operation",
    [
        Operation(kind="multiply", m=24, c=36),
        Operation(kind="multiply", m=24, c=36, bits=3),
        Operation(kind="add", m=32, c=18),
        Operation(kind="shift", n=12, m=3, c=24),
        Operation(kind="shift", n=12, m=3, c=24, stays=True),
        Operation(kind="look_up", n=6, m=2, c=16),
    ],
)
def test_an_operation_beside_plain_loops(operation: Operation) -> None:
    found = as_published.energy_pj(operation, MACHINE)
    assert found == pytest.approx(naive_energy_pj(operation), rel=1e-12)


def test_every_published_energy(rebuilt: study.Reproduction) -> None:
    printed = [row for row in rebuilt.rows if row["published_mj"] is not None]
    assert len(printed) == 28
    for row in printed:
        assert row["agrees"]
        assert row["reproduced_mj"] == pytest.approx(row["published_mj"], rel=2.5e-3)
    small = {row["method"]: row["reproduced_mj"] for row in rebuilt.rows[:4]}
    assert [round(v, 3) for v in small.values()] == [29.268, 13.77, 12.833, 11.687]


def test_a_planes_read_alone_is_more_than_the_published_total(
    rebuilt: study.Reproduction,
) -> None:
    """OPT-66B at 3 bits: 3 bits of 65e9 weights from DRAM take more than all that is printed."""
    blocks = 64 * 12 * 9216**2
    assert 3 * blocks * 12.5e-9 > 1990  # mJ
    rows = {(row["model"], row["method"]): row for row in rebuilt.rows}
    of = rows["opt-66b", "shiftadd3"]
    assert of["corrected_mj"] > 3 * blocks * 12.5e-9 > of["reproduced_mj"]
    assert rows["opt-66b", "fp16"]["corrected_mj"] == rows["opt-66b", "fp16"]["reproduced_mj"]


def test_objections_and_the_search(rebuilt: study.Reproduction) -> None:
    first, planes, sums, scales, every_one = rebuilt.objections
    assert first["fp16_ratio"] == pytest.approx(7.15, abs=0.1)
    assert planes["optq3_ratio"] < 1 < scales["optq3_ratio"] < first["optq3_ratio"]
    assert sums["optq3_ratio"] > first["optq3_ratio"]
    assert every_one["optq3_ratio"] == pytest.approx(0.990, abs=0.002)
    for line in rebuilt.simulated:  # the same traffic of weights, fewer accesses of the rest
        assert 0.94 < line["simulated_mj"] / line["reproduced_mj"] < 1


def test_the_page(rebuilt: study.Reproduction, tmp_path, capsys) -> None:
    paths = page.write(rebuilt, tmp_path)
    assert all(path.stat().st_size > 500 for path in paths)
    html = (tmp_path / "report.html").read_text()
    assert "29.268" in html
    page.print_tables(rebuilt)
    assert "28 of 28 published energies agree." in capsys.readouterr().out
