"""Follow docs/recipes.md: apply each diff to a copy of the package, run what stands below it."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("arch", "cli", "datatypes", "mapping", "reports", "sim", "workloads")
FILES = ("__init__.py", "__main__.py", "py.typed", "pyproject.toml", "Makefile")
BESIDE = ("tests/quantized_cases.py", "tests/sim/pe/test_pe_kinds.py")
KERNELS = Path(os.environ.get("NUMBA_CACHE_DIR", ".numba_cache"))
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.M)[1:]}
RECIPES = [name for name, text in SECTIONS.items() if "```diff" in text]


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S)


def hunks(diff: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """File, old lines and new lines of each hunk; no old lines where the file is new."""
    for part in re.split(r"^--- ", diff, flags=re.M)[1:]:
        head, *found = re.split(r"^@@ .*\n", part, flags=re.M)
        name = head.split("+++ b/")[1].strip()
        for hunk in found:
            lines = hunk.splitlines()
            old, new = ([line[1:] for line in lines if line[:1] in signs] for signs in (" -", " +"))
            yield name, old, new


def apply(diff: str, folder: Path) -> None:
    """Apply a diff; a place is found by its lines, wherever they have moved to."""
    for name, old, new in hunks(diff):
        path = folder / name
        if not old:
            assert not path.exists(), name
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join([*new, ""]), encoding="utf-8")
            continue
        before, after = ("\n".join(["", *lines, ""]) for lines in (old, new))
        text = "\n" + path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has changed under its recipe:{before}"
        path.write_text(text.replace(before, after)[1:], encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, and of what recipes change beside it."""
    folder = tmp_path / "bitlathe"
    leave = shutil.ignore_patterns("__pycache__")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=leave)
    for name in (*FILES, *BESIDE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    take_kernels_along(folder)
    return folder


def take_kernels_along(folder: Path) -> None:
    """Give a copy the kernels that are kept for the package: those whose code it leaves are used.

    numba keeps those of a folder under its name and the SHA-1 of its path.
    """

    def kept(room: Path) -> str:
        return f"{room.name}_{hashlib.sha1(str(room).encode()).hexdigest()}"

    for room in [path for path in folder.rglob("*") if path.is_dir()]:
        known = KERNELS / kept(ROOT / room.relative_to(folder))
        if known.is_dir():
            shutil.copytree(known, folder / ".kernels" / kept(room))


def run(arguments: list[str], folder: Path) -> str:
    """Run Python in the copy; its output."""
    where = {"PYTHONPATH": str(folder.parent), "PYTHONWARNINGS": "error", "COLUMNS": "200"}
    where["NUMBA_CACHE_DIR"] = str(folder / ".kernels")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=os.environ | where, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_does_what_it_says(name: str, copy: Path) -> None:
    text = SECTIONS[name]
    for diff in blocks(text, "diff"):
        apply(diff, copy)
    examples = copy / "examples.txt"
    examples.write_text("".join(blocks(text, "python")), encoding="utf-8")
    run(["-m", "doctest", "-o", "ELLIPSIS", str(examples)], copy)
    for line in "".join(blocks(text, "sh")).splitlines():
        word, *rest = shlex.split(line)
        assert word in ("bitlathe", "python")
        run(["-m", "bitlathe", *rest] if word == "bitlathe" else rest, copy)


def test_recipes_go_together(copy: Path) -> None:
    for name in RECIPES:
        for diff in blocks(SECTIONS[name], "diff"):
            apply(diff, copy)
    for path in copy.rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_the_table_names_the_files_of_the_diffs() -> None:
    for name in RECIPES:
        link = f"](#{name.lower().replace(' ', '-')})"
        row = next(line for line in PAGE.splitlines() if line.startswith("|") and link in line)
        _, _, changed, new, _ = row.split("|")
        found = [hunk for diff in blocks(SECTIONS[name], "diff") for hunk in hunks(diff)]
        found = [hunk for hunk in found if not hunk[0].startswith("tests/")]
        assert {file for file, old, _ in found if old} == set(re.findall(r"`(.*?)`", changed))
        patterns = [n.replace("NAME", r"[\w-]+") for n in re.findall(r"`(.*?)`", new)]
        assert all(re.match("|".join(patterns), file) for file, old, _ in found if not old)


def test_what_the_page_names_is_there() -> None:
    for found in re.findall(r"`((?:tests|arch|datatypes|reports|sim)/[\w/.]+)`", PAGE):
        assert (ROOT / found).exists() or "NAME" in found, found
    assert RECIPES == ["A number format", "A coder", "A PE kind", "A chip", "A study"]
