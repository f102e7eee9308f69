"""`bitlathe reproduce`: one study, or all of them, as tables, JSON and folders."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.reports.studies import published


def fake(name: str) -> published.Published:
    def write(result: SimpleNamespace, folder: Path) -> list[Path]:
        folder.mkdir(parents=True)
        (folder / "report.html").write_text(name)
        return [folder / "report.html"]

    return published.Published(
        reproduce=lambda show: SimpleNamespace(plain=lambda: [name]),
        write=write,
        print_tables=lambda result: print(f"tables of {name}"),
    )


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "STUDIES", {"one": fake("one"), "two": fake("two")})


def told(*args: str) -> str:
    done = CliRunner().invoke(main, ["reproduce", *args])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_study(tmp_path: Path) -> None:
    assert told("one") == "tables of one\n"
    assert json.loads(told("one", "--json")) == ["one"]
    out = tmp_path / "out"
    assert told("two", "--out", str(out)).split()[-1] == str(out / "report.html")


def test_all_of_them(tmp_path: Path) -> None:
    assert json.loads(told("all", "--json")) == {"one": ["one"], "two": ["two"]}
    out = tmp_path / "out"
    words = told("all", "--out", str(out))
    assert words.index("tables of one") < words.index("tables of two")
    assert [(out / name / "report.html").read_text() for name in ("one", "two")] == ["one", "two"]


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        done = CliRunner().invoke(main, ["reproduce", "one", "--out", str(place)])
        assert done.exit_code == 2
        assert "is a file, not a folder" in done.output
        assert "tables of one" not in done.output


def test_what_the_page_needs_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitlathe.cli.reports.find_spec", lambda name: None)
    assert told("one") == "tables of one\n"  # without a page it needs nothing
    done = CliRunner().invoke(main, ["reproduce", "one", "--out", str(tmp_path / "out")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --out: the page needs matplotlib: pip install")


def test_an_unknown_one() -> None:
    done = CliRunner().invoke(main, ["reproduce", "three"])
    assert done.exit_code == 2
    assert "unknown study 'three'. Known: all, one, two" in done.output
