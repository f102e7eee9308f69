"""Traces and pictures: every event where and when the closed form and the operands say."""

import csv
from collections import Counter

import numpy as np
import pytest

from bitlathe.datatypes.errors import BitlatheError
from bitlathe.sim.array import systolic_clock
from bitlathe.sim.array.systolic_model import systolic
from bitlathe.sim.array.trace import (
    COMPUTE,
    DRAIN,
    IDLE,
    LOAD,
    text_picture,
    timeline,
    trace,
    write_trace,
)

SIZES = {"m": 5, "n": 7, "k": 6}


def read_events(path):
    """Return the rows of a trace, numbers as integers."""
    with path.open() as stream:
        return [
            {k: v if k == "event" else int(v) for k, v in row.items()}
            for row in csv.DictReader(stream)
        ]


def operands(rng, m, n, k):
    """Return random integer operands."""
    return rng.integers(-9, 9, (m, k)), rng.integers(-9, 9, (k, n))


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_the_trace_agrees_with_the_counts(flow, tmp_path):
    a, b = operands(np.random.default_rng(1), **SIZES)
    run = write_trace(tmp_path / "t.csv", a, b, 3, 4, flow, detail="pes")
    events = read_events(tmp_path / "t.csv")
    kinds = Counter(e["event"] for e in events)
    count = systolic(**SIZES, rows=3, cols=4, dataflow=flow, timing="physical")
    assert kinds["read_input"] == count.sram_reads.input
    assert kinds["read_weight"] == count.sram_reads.weight
    assert kinds["read_partial"] == count.sram_reads.output
    assert kinds["write_output"] == count.sram_writes.output
    assert kinds["mac"] == count.macs
    assert max(e["clock"] for e in events) == run.cycles - 1
    clocks = [e["clock"] for e in events]
    assert clocks == sorted(clocks)
    limits = {"read_input": ("m", "k"), "read_weight": ("k", "n"), "write_output": ("m", "n")}
    for event, names in limits.items():
        seen = {(e["first_index"], e["second_index"]) for e in events if e["event"] == event}
        whole = {(i, j) for i in range(SIZES[names[0]]) for j in range(SIZES[names[1]])}
        assert seen == whole


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_no_output_leaves_before_its_last_operands_arrived(flow, tmp_path):
    a, b = operands(np.random.default_rng(2), **SIZES)
    write_trace(tmp_path / "t.csv", a, b, 3, 4, flow)
    last_write, last_input, last_weight = {}, {}, {}
    for e in read_events(tmp_path / "t.csv"):
        where = e["first_index"], e["second_index"]
        if e["event"] == "write_output":
            last_write[where] = e["clock"]
        elif e["event"] == "read_input" and flow != "os":
            last_input.setdefault(where, e["clock"])
        elif e["event"] == "read_weight" and flow != "os":
            last_weight.setdefault(where, e["clock"])
    for (i, j), clock in last_write.items():
        assert all(clock >= last_input.get((i, x), 0) for x in range(SIZES["k"]))
        assert all(clock >= last_weight.get((x, j), 0) for x in range(SIZES["k"]))
    if flow == "os":  # (m, n) of the first fold: K clocks of stream, skewed by row and column
        first = min(last_write.values())
        assert first >= SIZES["k"] + 3 + 4 - 2


def test_a_trace_is_streamed_in_blocks_of_bounded_size(monkeypatch):
    monkeypatch.setattr(systolic_clock, "EVENT_ROWS", 50)
    a, b = operands(np.random.default_rng(3), 20, 9, 11)
    for flow in ("os", "ws", "is"):
        sizes, clocks = [], []

        def take(rows, sizes=sizes, clocks=clocks):
            sizes.append(len(rows))
            clocks.extend(rows[:, 0].tolist())

        run = systolic_clock.simulate_systolic(a, b, 3, 2, flow, sink=take, detail="pes")
        assert len(sizes) > 5
        assert max(sizes) <= 50 + 8 * 12
        assert clocks == sorted(clocks)
        plain = systolic_clock.simulate_systolic(a, b, 3, 2, flow)
        np.testing.assert_array_equal(run.outputs, plain.outputs)
        assert run.cycles == plain.cycles


def test_the_picture_shows_fill_stream_and_drain():
    line = timeline(6, 4, 7, 4, 4, "os")
    expected = systolic(6, 4, 7, 4, 4, "os", "physical")
    assert line.activity.shape == (16, expected.cycles)
    assert (line.activity == COMPUTE).sum() == expected.macs
    for i in range(4):  # PE (i, j) starts i + j clocks after PE (0, 0)
        for j in range(4):
            marks = line.activity[4 * i + j]
            assert (marks[: i + j] == IDLE).all()
            assert (marks[i + j : i + j + 7] == COMPUTE).all()
    assert line.writes.sum() == 24
    loading = timeline(3, 2, 2, 2, 2, "ws").activity
    assert (loading[:, 0] == [IDLE, IDLE, LOAD, LOAD]).all()
    assert (line.activity[0, -2:] == DRAIN).all()
    assert "0,3 ...####" in text_picture(line)


def test_trace_writes_a_picture_or_a_table(tmp_path):
    pytest.importorskip("matplotlib")
    text = trace(4, 3, 5, 3, 2, "is", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert text == trace(4, 3, 5, 3, 2, "is", None)
    assert trace(4, 3, 5, 3, 2, "is", tmp_path / "a.csv") == text
    assert (tmp_path / "a.csv").read_text().startswith("clock,event,")
    large = trace(300, 12, 12, 6, 6, "ws", tmp_path / "b.csv")
    assert large.startswith("300 x 12 x 12 on 6 x 6 PEs, ws: ")
    assert "\n" not in large


def test_bad_requests_are_told(tmp_path):
    with pytest.raises(BitlatheError, match=r"must end in one of \.csv, \.png"):
        trace(2, 2, 2, 2, 2, "ws", tmp_path / "a.txt")
    with pytest.raises(BitlatheError, match="at most 256 PEs and 400 clocks"):
        trace(2000, 2, 2, 2, 2)
    with pytest.raises(BitlatheError, match="cannot be written to"):
        trace(2, 2, 2, 2, 2, "ws", tmp_path / "no" / "a.csv")
    with pytest.raises(BitlatheError, match="did you mean 'os'"):
        trace(2, 2, 2, 2, 2, "oss")
