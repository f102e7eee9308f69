"""The table of checks names tests that exist, with the counts that stand in their names."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[2] / "docs" / "checks.md"
ROWS = [
    line.strip("| \n").split(" | ")
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and "::test_" in line
]


def functions(file):
    """Names of the functions of the test files of a name."""
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in FOLDER.parents[1].rglob(file)]
    return {n.name for tree in trees for n in tree.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_rows_name_tests_and_their_counts(row):
    assert len(row) == 4
    _, _, cases, tests = row
    for file, name in re.findall(r"`(test_\w+\.py)::(test_\w+)`", tests):
        assert name in functions(file)
        counted = re.search(r"on_(\d{4})_", name)
        if counted:
            assert f"{int(counted[1]):,}" in cases


def test_the_page_covers_every_file_of_the_bottom():
    named = set(re.findall(r"test_\w+\.py", PAGE.read_text(encoding="utf-8")))
    bottom = {p.name for p in FOLDER.rglob("test_array_*.py")} - {Path(__file__).name}
    bottom |= {p.name for p in FOLDER.parent.glob("cuda/test_cuda_*.py")}
    assert bottom <= named
