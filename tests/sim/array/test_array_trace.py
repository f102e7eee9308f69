"""Traces and pictures: every event where and when the closed form and the operands say."""

import csv
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array import clocks as array_clocks
from bitlathe.sim.array.picture import lines_of, stands_for
from bitlathe.sim.array.systolic.clock import simulate_systolic
from bitlathe.sim.array.systolic.model import lay_out, systolic
from bitlathe.sim.array.systolic.trace import (
    COLORS,
    COMPUTE,
    DRAIN,
    IDLE,
    LEGEND,
    LOAD,
    OVERLAP,
    draw,
    text_picture,
    timeline,
    trace,
    write_trace,
)
from bitlathe.sim.array.tile.clock import nonzero_terms, simulate_tile_array
from bitlathe.sim.array.tile.model import SCOPES, TileArray, group_clocks
from bitlathe.sim.array.tile.trace import (
    CHUNKS,
    PLAIN,
    STALL,
    TERM,
    WAIT,
    draw_tile,
    sample_operands,
    tile_text,
    tile_timeline,
    trace_tile,
    write_tile_trace,
)
from bitlathe.sim.pe.weights import weight_decoder
from gray import APART, lightness

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
    monkeypatch.setattr(array_clocks, "EVENT_ROWS", 50)
    a, b = operands(np.random.default_rng(3), 20, 9, 11)
    for flow in ("os", "ws", "is"):
        sizes, clocks = [], []

        def take(rows, sizes=sizes, clocks=clocks):
            sizes.append(len(rows))
            clocks.extend(rows[:, 0].tolist())

        run = simulate_systolic(a, b, 3, 2, flow, sink=take, detail="pes")
        assert len(sizes) > 5
        assert max(sizes) <= 50 + 8 * 12
        assert clocks == sorted(clocks)
        plain = simulate_systolic(a, b, 3, 2, flow)
        np.testing.assert_array_equal(run.outputs, plain.outputs)
        assert run.cycles == plain.cycles


def test_the_picture_shows_fill_stream_and_drain():
    line = timeline(6, 4, 7, 4, 4, "os")
    expected = systolic(6, 4, 7, 4, 4, "os", "physical")
    assert line.activity.shape == (16, expected.cycles)
    assert (line.activity >= COMPUTE).sum() == expected.macs
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


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_folds_windows_and_overlap_are_those_of_the_events(flow, tmp_path):
    """Every fold's first product, what is done at once, and a window, from the CSV file."""
    sizes = (9, 10, 7, 3, 4)
    trace(*sizes, flow, tmp_path / "t.csv")
    line = timeline(*sizes, flow)
    did = {}
    for e in read_events(tmp_path / "t.csv"):
        if e["event"] in ("mac", "shift_load", "shift_drain"):
            did.setdefault((e["row"], e["column"], e["clock"]), set()).add(e["event"])
    both = {at for at, kinds in did.items() if "mac" in kinds and len(kinds) > 1}
    found = {(pe // 4, pe % 4, clock) for pe, clock in np.argwhere(line.activity == OVERLAP)}
    assert found == both
    assert both
    # the stationary elements of a fold: a product at a PE with another one begins a fold
    shape = lay_out(*sizes, flow)
    runs = {}
    for row, column, clock in sorted(at for at, kinds in did.items() if "mac" in kinds):
        runs.setdefault((row, column), []).append(clock)
    firsts = {min(clocks[f * shape.streamed] for clocks in runs.values()
                  if len(clocks) == max(map(len, runs.values())))
              for f in range(len(line.folds))}  # fmt: skip
    assert set(line.folds.tolist()) == firsts
    some = timeline(*sizes, flow, clocks=(11, 40))
    np.testing.assert_array_equal(some.activity, line.activity[:, 11:40])
    np.testing.assert_array_equal(some.reads, line.reads[11:40])
    assert "11 to 39 shown" in some.title
    with pytest.raises(BitlatheError, match="clocks 500:600: the run has clocks 0 to"):
        timeline(*sizes, flow, clocks=(500, 600))


def test_of_a_large_array_a_line_is_a_row():
    """32 x 32 PEs: what most PEs of a row do, and whether any of them loads beside it."""
    line = timeline(40, 32, 64, 32, 32, "ws", clocks=(20, 120))
    assert line.folded
    assert line.activity.shape == (32, 100)
    assert len(line.folds) == 2
    assert (line.activity == OVERLAP).any()
    array = TileArray(rows=32, cols=32, lanes=4, group_size=128)
    tile = tile_timeline(32, 33, 256, array, "int4", clocks=(5, 250))
    assert tile.activity.shape == (32, 245)
    # no terms are skipped: two groups of 32 chunks of two clocks, in each of two tiles
    assert tile.groups.tolist() == [0, 64, 128, 192]
    assert tile.tiles.tolist() == [0, 128]
    assert set(tile.activity[:, 0].tolist()) == {TERM + 1}  # clock 5


def test_a_row_stands_for_most_of_its_pes():
    activity = np.array([[[0, 1], [2, 1], [2, 0]], [[0, 1], [1, 1], [2, 3]]], np.uint8)
    columns = stands_for(activity)
    np.testing.assert_array_equal(lines_of(activity, columns), [[2, 1], [2, 1]])


def test_spans_for_perfetto_are_the_picture(tmp_path):
    trace(3, 2, 2, 2, 2, "ws", tmp_path / "t.json")
    line = timeline(3, 2, 2, 2, 2, "ws")
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    found = np.zeros_like(line.activity)
    for e in events:
        if e["ph"] == "X":
            found[e["tid"], e["ts"] : e["ts"] + e["dur"]] = LEGEND.index(e["name"])
    np.testing.assert_array_equal(found, line.activity)
    threads = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert list(threads.values()) == ["PE 0,0", "PE 0,1", "PE 1,0", "PE 1,1"]
    assert [e["ts"] for e in events if e["ph"] == "i"] == line.folds.tolist()
    trace_tile(3, 5, 20, TILE, "int6", tmp_path / "tile.json")
    spans = json.loads((tmp_path / "tile.json").read_text())["traceEvents"]
    tile = tile_timeline(3, 5, 20, TILE, "int6")
    lasts = sum(e["dur"] for e in spans if e["ph"] == "X" and e["name"].startswith("term"))
    assert lasts == (tile.activity >= TERM).sum()


def test_trace_writes_a_picture_or_a_table(tmp_path):
    pytest.importorskip("matplotlib")
    text = trace(4, 3, 5, 3, 2, "is", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert text == trace(4, 3, 5, 3, 2, "is", None)
    assert "d draining" not in text  # is and ws leave sums at the edge, os loads nothing
    assert "l loading" not in trace(4, 3, 5, 3, 2, "os")
    assert "+" not in text
    assert trace(16, 16, 16, 16, 16, "os").endswith(" + stands for 10 to 32")
    assert trace(4, 3, 5, 3, 2, "is", tmp_path / "a.csv") == text
    assert (tmp_path / "a.csv").read_text().startswith("clock,event,")
    large = trace(300, 12, 12, 6, 6, "ws", tmp_path / "b.csv")
    assert large.startswith("300 x 12 x 12 on 6 x 6 PEs, ws: ")
    assert "\n" not in large


def test_pictures_are_told_apart_in_gray_and_their_legends_fit():
    pytest.importorskip("matplotlib")
    systolic = [lightness(color) for color in COLORS]
    assert min(a - b for a, b in pairwise(systolic)) > APART
    for light, dark in CHUNKS:
        tile = [PLAIN[WAIT], PLAIN[IDLE], light, dark, PLAIN[STALL]]
        assert min(a - b for a, b in pairwise(map(lightness, tile))) > APART
    for figure in (draw(timeline(6, 8, 4, 4, 4, "ws")), draw_tile(tile_timeline(2, 2, 8, TILE))):
        (legend,) = figure.legends
        assert legend.get_window_extent().width <= figure.bbox.width


def test_bad_requests_are_told(tmp_path):
    with pytest.raises(BitlatheError, match=r"must end in one of \.csv, \.json, \.png"):
        trace(2, 2, 2, 2, 2, "ws", tmp_path / "a.txt")
    with pytest.raises(BitlatheError, match="at most 256 rows of PEs and 400 clocks"):
        trace(2000, 2, 2, 2, 2)
    with pytest.raises(BitlatheError, match="cannot be written to"):
        trace(2, 2, 2, 2, 2, "ws", tmp_path / "no" / "a.csv")
    with pytest.raises(BitlatheError, match="did you mean 'os'"):
        trace(2, 2, 2, 2, 2, "oss")


TILE = TileArray(rows=3, cols=2, lanes=3, group_size=8, rescale_cycles=5, pipeline_cycles=4)


def tile_case(format="int6"):
    """Operands that fill four tiles and three groups, the last of each partial."""
    return sample_operands(3, 5, 20, format)


def tile_events(tmp_path, array, format="int6", detail="pes"):
    """Run a traced product; return its operands, its record and its events."""
    acts, weights = tile_case(format)
    run = write_tile_trace(tmp_path / "t.csv", acts, weights, array, format, "exact", detail=detail)
    return acts, weights, run, read_events(tmp_path / "t.csv")


def skipping(scope):
    """The array with skipping of terms and of zero activations."""
    options = {name: getattr(TILE, name) for name in TILE.__slots__}
    skip = {"scope": scope, "skip_zero_terms": True, "skip_zero_activations": True}
    return TileArray(**(options | skip))


@pytest.mark.parametrize("format", ["fp4_e2m1", "bitmod_fp4", "nf4", "hif8"])
def test_operands_of_a_picture_are_values_of_the_format(format):
    """Also where these are not all integers from the least to the largest one."""
    weights = sample_operands(2, 30, 20, format)[1]
    values = weight_decoder(format)
    known = set(values.grid[values.valid].tolist())
    assert set(weights.ravel().tolist()) <= known < set(range(min(known), max(known) + 1))
    shown = tile_timeline(2, 3, 20, TILE, format)
    assert (shown.activity >= TERM).any()  # terms are taken


@pytest.mark.parametrize("array", [TILE, *map(skipping, SCOPES)], ids=lambda a: a.scope)
def test_the_trace_of_a_tile_array_agrees_with_the_counts(array, tmp_path):
    acts, weights, run, events = tile_events(tmp_path, array)
    kinds = Counter(e["event"] for e in events)
    assert kinds["read_input"] == run.sram_reads.input
    assert kinds["read_weight"] == run.sram_reads.weight
    assert kinds["write_output"] == run.sram_writes.output == 15
    assert kinds["stall"] == run.stall_cycles
    assert kinds["wait"] == run.waiting_pe_cycles
    busy = {(e["clock"], e["row"], e["column"]) for e in events if e["event"] == "term"}
    assert len(busy) == run.busy_pe_cycles
    issue = {e["clock"] for e in events if e["event"] in ("term", "wait")}
    assert len(issue) == run.issue_cycles
    live = acts != 0 if array.skip_zero_activations else None
    clocks = group_clocks(nonzero_terms(weights, "int6"), array, live, 3)
    assert len(issue) == clocks.sum()
    groups = sum(min(3, 5 - i) * min(2, 3 - j) for i in (0, 3) for j in (0, 2)) * 3
    assert kinds["rescale"] == groups * array.rescale_cycles
    assert max(e["clock"] for e in events) == run.cycles - 1
    stamps = [e["clock"] for e in events]
    assert stamps == sorted(stamps)
    outputs = [
        (e["first_index"], e["second_index"]) for e in events if e["event"] == "write_output"
    ]
    assert sorted(outputs) == [(m, n) for m in range(3) for n in range(5)]


def wanted_terms(array, acts, weights, tile, group, i, j, format):
    """(k, term) that PE (i, j) has to take in a group, from the weights, in plain Python."""
    terms = nonzero_terms(weights, format)
    n, tokens = tile[0] + i, range(tile[1], min(tile[1] + array.cols, len(acts)))
    if array.scope in ("lane", "column"):
        tokens = [tile[1] + j]
    out = set()
    for start in range(8 * group, min(8 * group + 8, 20), array.lanes):
        for k in range(start, min(start + array.lanes, 8 * group + 8, 20)):
            for t in range(terms.shape[2]):
                live = any(acts[q, k] != 0 for q in tokens)
                if not array.skip_zero_terms or (live and terms[n, k, t]):
                    out.add((k if array.scope == "lane" else start, t))
    return out


@pytest.mark.parametrize("scope", SCOPES)
def test_every_term_a_pe_needs_enters_it_once_and_no_other_does(scope, tmp_path):
    array = skipping(scope)
    acts, weights, run, events = tile_events(tmp_path, array)
    clocks = group_clocks(nonzero_terms(weights, "int6"), array, acts != 0, 3)
    issued = sorted({e["clock"] for e in events if e["event"] in ("term", "wait")})
    taken = [e for e in events if e["event"] == "term"]
    start = 0
    for column, tokens in enumerate((0, 2)):
        for row, channels in enumerate((0, 3)):
            for group in range(3):
                mine = set(issued[start : start + clocks[column, row, group]])
                start += clocks[column, row, group]
                for i in range(min(3, 5 - channels)):
                    for j in range(min(2, 3 - tokens)):
                        seen = [
                            (e["first_index"], e["second_index"])
                            for e in taken
                            if e["clock"] in mine and (e["row"], e["column"]) == (i, j)
                        ]
                        tile = channels, tokens
                        expected = wanted_terms(array, acts, weights, tile, group, i, j, "int6")
                        assert sorted(seen) == sorted(expected)
    assert start == len(issued) == run.issue_cycles


def test_a_group_is_rescaled_then_drained_in_the_clocks_of_the_specification(tmp_path):
    array = TileArray(rows=2, cols=1)  # 4 lanes, groups of 128, 8 bits, 6 stages
    acts, weights = sample_operands(1, 2, 128, "int4")
    write_tile_trace(tmp_path / "t.csv", acts, weights, array, "int4", detail="pes")
    events = read_events(tmp_path / "t.csv")
    clocks = {kind: [e["clock"] for e in events if e["event"] == kind] for kind in
              ("term", "rescale", "write_output")}  # fmt: skip
    last = max(clocks["term"])
    assert last == 2 * 32 - 1
    # ready 5 + 1 + 8 clocks after the last term; two rows leave in the two clocks after that
    assert sorted(set(clocks["rescale"])) == list(range(last + 7, last + 15))
    assert clocks["write_output"] == [last + 15, last + 16]
    bits = [e["second_index"] for e in events if e["event"] == "rescale" and e["row"] == 0]
    assert bits == list(range(7, -1, -1))


def test_a_tile_trace_is_streamed_in_blocks_of_bounded_size(monkeypatch):
    monkeypatch.setattr(array_clocks, "EVENT_ROWS", 50)
    acts, weights = tile_case()
    for scope in SCOPES:
        array, sizes = skipping(scope), []

        def take(rows, sizes=sizes):
            sizes.append(len(rows))

        run = simulate_tile_array(acts, weights, array, "int6", "exact", sink=take, detail="pes")
        assert len(sizes) > 5
        assert max(sizes) <= 50 + 4 * 3 * 4
        plain = simulate_tile_array(acts, weights, array, "int6", "exact")
        np.testing.assert_array_equal(run.outputs, plain.outputs)
        assert (run.cycles, run.stall_cycles) == (plain.cycles, plain.stall_cycles)


def test_the_picture_of_a_tile_shows_terms_waits_stalls_rescaling_and_drain():
    array = skipping("row")
    line = tile_timeline(3, 5, 20, array, "int6")
    acts, weights = tile_case()
    run = simulate_tile_array(acts, weights, array, "int6")
    assert (line.activity >= TERM).sum() == run.busy_pe_cycles
    assert (line.activity == WAIT).sum() == run.waiting_pe_cycles > 0
    assert (line.activity == STALL).all(0).sum() == run.stall_cycles > 0
    assert (line.rescale >= 0).sum() == 4 * 3 * 5
    assert (line.drain >= 0).sum() == 2 * 5
    assert line.reads.sum() == run.sram_reads.total
    assert line.writes.sum() == 15
    text = tile_text(line).splitlines()
    assert text[3].split()[0] == "0,0"
    assert set(text[3].split()[1]) <= set(".sw012")
    for name in ("rescale", "drain", "reads", "writes"):
        assert any(row.strip().startswith(name) for row in text)


def test_the_command_draws_both_kinds_of_array(tmp_path):
    pytest.importorskip("matplotlib")
    tile = ["trace", "--kind", "tile", "--gemm", "3x5x20", "--array", "3x2", "--lanes", "3"]
    tile += ["--group", "8", "--format", "int6", "--skip", "row"]
    run = CliRunner().invoke(main, [*tile, "--out", str(tmp_path / "a.png")])
    assert run.exit_code == 0, run.output
    assert "terms skipped by row" in run.output
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    run = CliRunner().invoke(main, [*tile, "--out", str(tmp_path / "a.csv")])
    assert run.exit_code == 0
    assert "rescale" in (tmp_path / "a.csv").read_text()
    run = CliRunner().invoke(main, [*tile, "--clocks", "10:20", "--out", str(tmp_path / "b.png")])
    assert run.exit_code == 0, run.output
    assert "10 to 19 shown" in run.output
    run = CliRunner().invoke(main, ["trace", "--gemm", "3x2x2", "--array", "2x2"])
    assert run.exit_code == 0
    assert "computing" in run.output
    for words, message in (
        (["--kind", "tiles"], "--kind: systolic or tile"),
        (["--clocks", "5"], "--clocks '5': write FIRST:END"),
        (["--lanes", "2"], "--lanes: not an option of --kind systolic"),
        (["--kind", "tile", "--dataflow", "ws"], "--dataflow: not an option of --kind tile"),
        (["--kind", "tile", "--skip", "rows"], "did you mean 'row'"),
        (["--kind", "tile", "--format", "int9"], "int9"),
    ):
        run = CliRunner().invoke(main, ["trace", "--gemm", "2x2x2", *words])
        assert run.exit_code == 2
        assert message in run.output
    with pytest.raises(BitlatheError, match="at most 256 rows of PEs and 400 clocks"):
        trace_tile(200, 200, 200, TILE, "int6")
