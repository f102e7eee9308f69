"""Systolic arrays: closed forms, the clock-by-clock machine, the naive twin, SCALE-Sim parity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array.systolic.clock import simulate_systolic
from bitlathe.sim.array.systolic.model import scalesim_report, systolic
from naive import array_naive as naive

FLOWS = ("os", "ws", "is")
size = st.integers(1, 7)


def product(rng, m, n, k, kind):
    """Return random operands of one kind; integers that fill eight bits."""
    if kind == "int":
        return rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, n))
    return (
        rng.standard_normal((m, k)).astype(np.float32),
        rng.standard_normal((k, n)).astype(np.float32),
    )


def run_naive(a, b, rows, cols, flow, double, drain, adder=None, buffer=False):
    """Run the naive twin on lists of Python ints or numpy scalars."""
    adder = adder or naive.Adder()
    left = [[v if a.dtype == np.float32 else int(v) for v in row] for row in a]
    right = [[v if b.dtype == np.float32 else int(v) for v in row] for row in b]
    if flow == "os":
        return naive.output_stationary(left, naive.transpose(right), rows, cols, drain, adder)
    if flow == "ws":
        return naive.weight_stationary(left, right, rows, cols, double, adder, buffer)
    return naive.input_stationary(left, right, rows, cols, double, adder, buffer)


def assert_counts_agree(run, count):
    """Assert that the machine counted what the closed form says."""
    assert run.cycles == count.cycles
    assert run.macs == count.macs
    assert run.exposed_cycles == count.exposed_load_cycles + count.exposed_drain_cycles
    assert run.sram_reads == count.sram_reads
    assert run.sram_writes == count.sram_writes


def assert_closed_form(rng, m, n, k, rows, cols, flow):
    """Run a product with options drawn at random, and count it."""
    options = {
        "double_buffered_operand": bool(rng.integers(2)),
        "drain_register": bool(rng.integers(2)),
        "accumulator_buffer": bool(rng.integers(2)),
    }
    a, b = product(rng, m, n, k, "int")
    run = simulate_systolic(a, b, rows, cols, flow, **options)
    count = systolic(m, n, k, rows, cols, flow, "physical", **options)
    assert_counts_agree(run, count)
    np.testing.assert_array_equal(run.outputs, a @ b)


def test_closed_form_equals_the_machine_on_5000_random_cases():
    rng = np.random.default_rng(20)
    for case in range(5000):
        m, n, k = (int(v) for v in rng.integers(1, 20, 3))
        rows, cols = (int(v) for v in rng.integers(1, 10, 2))
        if case % 5 == 0:  # tall arrays and short streams: loads and drains that do not hide
            rows, m, k = int(rng.integers(6, 16)), int(rng.integers(1, 18)), case % 18 + 1
        assert_closed_form(rng, m, n, k, rows, cols, FLOWS[case % 3])


@pytest.mark.slow
def test_closed_form_equals_the_machine_on_3000_larger_cases():
    rng = np.random.default_rng(21)
    for case in range(3000):
        m, n, k = (int(v) for v in np.exp(rng.uniform(0, np.log(300), 3)))
        rows, cols = (int(v) for v in rng.integers(1, 65, 2))
        assert_closed_form(rng, m, n, k, rows, cols, FLOWS[case % 3])


@settings(max_examples=120)
@given(
    size,
    size,
    size,
    size,
    size,
    st.sampled_from(FLOWS),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["int", "float"]),
    st.integers(0, 99),
)
def test_machine_equals_its_naive_twin(
    m, n, k, rows, cols, flow, double, drain, buffer, kind, seed
):
    a, b = product(np.random.default_rng(seed), m, n, k, kind)
    run = simulate_systolic(
        a, b, rows, cols, flow, double_buffered_operand=double, drain_register=drain,
        accumulator_buffer=buffer,
    )  # fmt: skip
    slow = run_naive(a, b, rows, cols, flow, double, drain, buffer=buffer)
    assert run.cycles == slow.cycles
    assert run.macs == slow.macs
    assert dict(run.sram_reads) == {
        "input": slow.reads["a"],
        "weight": slow.reads["b"],
        "output": slow.reads["partial"],
    }
    assert run.sram_reads.total == sum(slow.reads.values())
    assert run.sram_writes.output == slow.writes
    expected = [[slow.out[i, j] for j in range(n)] for i in range(m)]
    np.testing.assert_array_equal(run.outputs, np.array(expected, dtype=run.outputs.dtype))


def test_one_fold_takes_the_clocks_of_the_specification():
    # r, c used of a larger array; t streamed
    for r, c, t in [(4, 4, 9), (1, 1, 1), (3, 5, 2), (8, 2, 1)]:
        plain = {"double_buffered_operand": False, "drain_register": False}
        assert systolic(r, c, t, 8, 8, "os", "physical", **plain).cycles == r + c + t - 2 + r
        assert systolic(t, c, r, 8, 8, "ws", "physical", **plain).cycles == r + t + r + c - 2
        assert systolic(c, t, r, 8, 8, "is", "physical", **plain).cycles == r + t + r + c - 2


def test_physical_counts_of_a_worked_example():
    # ws, K = 5 on 4 rows, N = 3 on 2 columns, M = 6: folds (4,2) (1,2) (4,1) (1,1)
    single = systolic(6, 3, 5, 4, 2, "ws", "physical", double_buffered_operand=False)
    assert single.cycles == (4 + 10) + (1 + 7) + (4 + 9) + (1 + 6)
    double = systolic(6, 3, 5, 4, 2, "ws", "physical")
    assert double.cycles == 4 + 10 + 7 + 9 + 6
    assert dict(double.sram_reads) == {"input": 60, "weight": 15, "output": 18}
    assert double.sram_writes.output == 36
    kept = systolic(6, 3, 5, 4, 2, "ws", "physical", accumulator_buffer=True)
    assert dict(kept.sram_reads) == {"input": 60, "weight": 15, "output": 0}
    assert kept.sram_writes == {"input": 0, "weight": 0, "output": 18}
    assert double.mapping_efficiency == 15 / 32
    assert double.utilization == 90 / (36 * 8)


@pytest.mark.parametrize("flow", FLOWS)
def test_scalesim_timing_equals_a_walk_over_its_folds(flow):
    rng = np.random.default_rng(7)
    for _ in range(400):
        m, n, k, rows, cols = (int(v) for v in rng.integers(1, 40, 5))
        clocks, inputs, weights, outputs, efficiency = naive.scalesim(m, n, k, rows, cols, flow)
        count = systolic(m, n, k, rows, cols, flow, "scalesim")
        assert count.cycles == clocks
        assert count.sram_reads == {"input": inputs, "weight": weights, "output": 0}
        assert count.sram_writes.output == outputs
        assert count.mapping_efficiency == pytest.approx(efficiency, rel=1e-12)


# What SCALE-Sim 3.0.0 (PyPI, with numpy 2.2) printed for GEMM layers on 8 rows x 6 columns,
# InterfaceBandwidth CALC: total cycles, mapping efficiency %, compute util %, IFMAP reads,
# filter reads, OFMAP writes
SCALESIM_LAYERS = ((20, 13, 11), (8, 8, 8), (5, 30, 17), (33, 9, 24))
SCALESIM_PRINTED = {
    "os": (
        (206, 60.18518518518518, 28.7842190016103, 660, 429, 386),
        (39, 66.66666666666666, 26.666666666666668, 128, 64, 92),
        (144, 62.5, 36.637931034482754, 425, 510, 220),
        (359, 61.875, 41.25000000000001, 1584, 1080, 437),
    ),
    "ws": (
        (239, 49.65277777777777, 22.0679012345679, 660, 143, 520),
        (55, 66.66666666666666, 16.161616161616163, 128, 64, 64),
        (374, 70.83333333333334, 11.805555555555555, 425, 510, 450),
        (317, 75.0, 42.672413793103445, 1584, 216, 891),
    ),
    "is": (
        (263, 57.291666666666664, 19.599780701754387, 220, 572, 520),
        (55, 66.66666666666666, 16.161616161616163, 64, 128, 64),
        (149, 59.02777777777778, 32.196969696969695, 85, 510, 450),
        (521, 91.66666666666666, 24.264705882352942, 792, 1296, 891),
    ),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_the_report_equals_what_scalesim_printed(flow):
    for (m, n, k), printed in zip(SCALESIM_LAYERS, SCALESIM_PRINTED[flow], strict=True):
        report = scalesim_report(m, n, k, 8, 6, flow)
        counts = report.input_reads, report.weight_reads, report.output_writes
        assert (report.total_cycles, *counts) == (printed[0], *printed[3:])
        assert 100 * report.mapping_efficiency == pytest.approx(printed[1], rel=1e-12)
        assert 100 * report.compute_utilization == pytest.approx(printed[2], rel=1e-12)
        assert systolic(m, n, k, 8, 6, flow).cycles == printed[0] + 1


def test_accesses_read_like_a_mapping_of_operands_and_like_their_total():
    counts = systolic(70, 50, 30, 8, 8, "ws", "physical").sram_reads
    assert list(counts) == ["input", "weight", "output"]
    assert sum(counts.values()) == counts.total == counts["total"] == int(counts)
    assert counts == counts.total
    assert counts == dict(counts)
    assert counts != dict(counts) | {"output": 0}
    assert counts != counts.total + 1
    assert len({counts, systolic(70, 50, 30, 8, 8, "ws", "physical").sram_reads}) == 1
    with pytest.raises(KeyError):
        counts["weights"]


@pytest.mark.parametrize("flow", ["ws", "is"])
def test_a_buffer_at_the_edge_keeps_partial_sums_off_the_scratchpad(flow):
    kinds = {}
    for buffer in (False, True):
        events = []
        a, b = np.ones((7, 22), int), np.ones((22, 14), int)
        options = {"accumulator_buffer": buffer}
        run = simulate_systolic(
            a, b, 5, 7, flow, sink=lambda e, seen=events: seen.extend(e[:, 1].tolist()), **options
        )
        count = systolic(7, 14, 22, 5, 7, flow, "physical", **options)
        assert run.sram_writes == count.sram_writes == (1 if buffer else 5) * 7 * 14
        assert run.sram_reads["output"] == count.sram_reads["output"] == (0 if buffer else 4 * 98)
        kinds[buffer] = events.count(3), events.count(4)
        assert kinds[buffer] == (run.sram_writes.total, run.sram_reads.output)


def test_scalesim_report_keeps_its_quirks_out_of_the_count():
    report = scalesim_report(70, 50, 30, 32, 16, "os")
    count = systolic(70, 50, 30, 32, 16, "os")
    assert report.total_cycles == count.cycles - 1
    assert report.output_writes == count.sram_writes.output + 12 * (32 + 16)
    length = 32 + 16 + 30 - 2
    assert report.compute_utilization == pytest.approx(count.mapping_efficiency * 30 / length)
    ws = scalesim_report(70, 50, 30, 32, 16, "ws")
    length = 2 * 32 + 16 + 70 - 2
    assert ws.compute_utilization == pytest.approx(ws.mapping_efficiency * 70 / (length + 15))


def test_float_results_are_rounded_in_the_order_of_the_hardware():
    # Down the rows of a fold first, then fold after fold: 2^24 + 1 = 2^24 in float32
    a = np.ones((1, 4), np.float32)
    b = np.array([[2.0**24], [1], [1], [1]], np.float32)
    assert simulate_systolic(a, b, 2, 1, "ws").outputs[0, 0] == 2.0**24 + 2
    assert simulate_systolic(a, b, 2, 1, "os").outputs[0, 0] == 2.0**24


def test_counters_hold_billions_and_refuse_beyond_two_to_53():
    big = systolic(2**16, 2**14, 2**14, 128, 128, "ws", "physical")
    assert big.macs == 2**44
    with pytest.raises(BitlatheError, match="past 2\\^53"):
        systolic(2**20, 2**20, 2**20, 128, 128)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1, 1, 1, 1), "m is 0, must be a whole number of at least 1"),
        ((1, 1, -3, 1, 1), "k is -3, must be a whole number of at least 1"),
        ((1, 1, 1, 1, 0), "cols is 0, must be a whole number of at least 1"),
        ((1, 1.5, 1, 1, 1), "n is 1.5, must be a whole number"),
        ((1, 1, 1, True, 1), "rows is True, must be a whole number"),
        ((1, 1, 1, 1, 1, "wss"), "did you mean 'ws'"),
        ((1, 1, 1, 1, 1, "ws", "scale"), "unknown timing 'scale'; did you mean 'scalesim'"),
    ],
)
def test_bad_sizes_and_names_are_told(arguments, words):
    with pytest.raises(BitlatheError, match=words):
        systolic(*arguments)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones((2, 3), int), np.ones((4, 2), int), "a has 3 columns, b has 4 rows"),
        (np.ones(3, int), np.ones((3, 2), int), "a must be a matrix"),
        (np.ones((0, 3), int), np.ones((3, 2), int), "a is empty"),
        (np.ones((2, 3)), np.ones((3, 2)), "not float64"),
        (np.ones((2, 3), int), np.ones((3, 2), np.float32), "both must be"),
        (
            np.array([[1, np.nan]], np.float32),
            np.ones((2, 1), np.float32),
            r"nan at index \(0, 1\)",
        ),
        (np.full((1, 2), 2**31), np.full((2, 1), 2**30), "accumulator of 63 bits"),
    ],
)
def test_bad_operands_are_told(a, b, words):
    with pytest.raises(BitlatheError, match=words):
        simulate_systolic(a, b, 2, 2)


def test_small_integers_are_widened_on_the_way_in():
    a, b = np.full((1, 9), 200, np.uint8), np.full((9, 1), 200, np.uint8)
    for flow in FLOWS:
        assert simulate_systolic(a, b, 2, 2, flow).outputs[0, 0] == 9 * 200 * 200
