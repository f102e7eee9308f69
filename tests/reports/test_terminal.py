"""Tables of text: no number is ever cut, whatever the width; headings keep their units."""

import io
import logging
import re
import sys
import threading

import pytest

from bitlathe.reports.explore.progress import Progress
from bitlathe.reports.terminal import (
    ProgressLines,
    heading,
    print_table,
    progress_bar,
    table_text,
    working,
)

LAYERS = [
    {"layer": "attention_qk", "count": 32, "shape": "256 x 11008 x 4096", "cycles": 2_111_301_632,
     "stall_cycles": 69_220_345, "utilization": 0.6919, "dram_mib": 7955.25,
     "energy_uj": 1584821.5},
    {"layer": "attention_av", "count": 32, "shape": "256 x 128 x 256 x 32", "cycles": 8_388_608,
     "stall_cycles": 0, "utilization": 1.0, "dram_mib": 224.2, "energy_uj": 48399.0},
]  # fmt: skip
NUMBERS = ("2,111,301,632", "69,220,345", "0.6919", "7,955", "1,584,822", "8,388,608", "224.2")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200, None])
def test_no_number_and_no_name_is_cut(width):
    text = table_text(LAYERS, title="Layers", width=width)
    for number in NUMBERS:
        assert re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,.])", text), number
    assert "…" not in text
    assert "..." not in text
    assert "attention_qk" in text
    assert "attention_av" in text
    if width is not None:
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [30, 44, 60, 80])
def test_names_are_folded_and_put_together_again(width):
    """Names alike in their first 60 characters stay two names at any width."""
    names = [f"model.layers.0.self_attn.{'q' * 40}.{k}.weight" for k in (1, 2)]
    rows = [{"tensor": name, "bits_per_element": 4.25, "sqnr_db": 19.87} for name in names]
    text = table_text(rows, width=width)
    assert text.count("4.25") == text.count("19.87") == 2
    joined = "".join(text.replace("4.25", "").replace("19.87", "").split())
    for name in names:
        assert name in joined


def test_columns_that_do_not_fit_go_below_with_the_first_one():
    rows = [{"name": f"n{i}", **{f"c{k}": 10**9 + k for k in range(6)}} for i in range(2)]
    text = table_text(rows, width=40)
    heads = [line.split() for line in text.splitlines() if line.startswith("name")]
    # 4 places for names, two and 13 for each number: two numbers in 34 places, three in 49
    assert heads == [["name", "c0", "c1"], ["name", "c2", "c3"], ["name", "c4", "c5"]]
    assert text.count("n0") == text.count("n1") == 3


def test_a_number_wider_than_the_terminal_is_whole():
    assert "123,456,789,012" in table_text([{"n": 123456789012}], width=5)


def test_numbers_stand_to_the_right_and_words_to_the_left():
    lines = table_text([{"name": "a", "n": 1}, {"name": "bcdef", "n": 1000}]).splitlines()
    assert lines == ["name       n", "------------", "a          1", "bcdef  1,000"]


def test_names_cannot_move_the_cursor():
    assert "\x1b" not in table_text([{"name": "\x1b[2Jgone\rx", "n": 1}])


def test_wide_characters_keep_columns_apart():
    """A Chinese character takes two places."""
    lines = table_text([{"name": "模型", "n": 1}, {"name": "abcd", "n": 2}]).splitlines()
    assert lines[2:] == ["模型  1", "abcd  2"]


@pytest.mark.parametrize(
    ("key", "words"),
    [("energy_uj", "energy uJ"), ("dram_mib", "DRAM MiB"), ("sqnr_db", "SQNR dB"),
     ("bits_per_element", "bits per element"), ("relative_mse", "relative MSE")],
)  # fmt: skip
def test_headings_keep_units(key, words):
    assert heading(key) == words


def test_a_pipe_gets_a_record_a_line_and_a_set_width_is_kept(capsys, monkeypatch):
    rows = [{"tensor": "t" * 300, "n": k} for k in range(2)]
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(rows)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:4]] == [
        ["t" * 300, "0"], ["t" * 300, "1"],
    ]  # fmt: skip
    monkeypatch.setenv("COLUMNS", "70")
    print_table(rows)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 70


def test_no_rows():
    assert table_text([], title="Nothing") == "Nothing"


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    seconds = iter(range(0, 1000, 8))
    lines = ProgressLines("points", 20, clock=lambda: next(seconds))
    assert list(lines.track("ab")) == ["a", "b"]
    lines.add(9)  # 24 s: too early, and a program's own stream
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    for _ in range(5):
        lines.add()
    assert capsys.readouterr().err == (
        "points: 12 of 20 after 32 s, some 21 s left\npoints: 16 of 20 after 64 s, some 16 s left\n"
    )
    open_end = ProgressLines("models", clock=lambda: next(seconds) * 4)
    open_end.add()
    assert capsys.readouterr().err == "models: 1 after 32 s\n"


def test_sweeps_and_long_commands_say_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    monkeypatch.setattr("bitlathe.reports.terminal.SAID_EVERY_S", 0)
    with Progress(None, 8) as bar:
        bar.add(2)
    with Progress(False, 8) as bar:
        bar.add(2)
    assert re.fullmatch(r"sweep, points: 2 of 8 after 0 s.*\n", capsys.readouterr().err)
    with progress_bar() as show:
        assert list(show([1, 2], "models")) == [1, 2]
    assert capsys.readouterr().err.startswith("models: 1 of 2 after 0 s")


def test_one_long_computation_says_for_how_long_and_what_it_searches(monkeypatch, capsys):
    searched = logging.getLogger("bitlathe.searches")
    said = threading.Event()

    class Stream(io.StringIO):
        def write(self, text):
            if "mappings 2" in text:
                said.set()
            return super().write(text)

    monkeypatch.setattr("bitlathe.reports.terminal.SAID_EVERY_S", 0.01)
    with working("map"):
        searched.info("mappings")
        assert not said.wait(0.05)
    assert capsys.readouterr().err == ""  # in a program's own stream nothing is said
    stream = Stream()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("sys.__stderr__", stream)
    with working("map"):
        for kind in ("mappings", "mappings", "fusions"):
            searched.info(kind)
        assert said.wait(10)
    assert re.search(r"map: \d+ s, searching mappings 2(, fusions 1)?\n", stream.getvalue())
    assert searched.handlers == []
    silent = len(stream.getvalue())
    searched.info("mappings")
    assert len(stream.getvalue()) == silent
