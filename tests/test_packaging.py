"""The wheel holds what the tree holds: no package or data file is forgotten."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import bitlathe

ROOT = Path(__file__).resolve().parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
ROOMS = ("arch", "cli", "datatypes", "mapping", "reports", "sim", "workloads")
DATA = {".yaml", ".csv", ".json", ".html", ".js", ".css", ".v"}


def test_every_package_is_listed() -> None:
    found = {"bitlathe"} | {
        ".".join(["bitlathe", *p.parent.relative_to(ROOT).parts])
        for room in ROOMS
        for p in (ROOT / room).rglob("__init__.py")
    }
    assert found == set(CONFIG["packages"])


def test_every_data_file_is_covered() -> None:
    data = {p for room in ROOMS for p in (ROOT / room).rglob("*") if p.suffix in DATA}
    covered = {
        p
        for package, globs in CONFIG["package-data"].items()
        for glob in globs
        for p in ROOT.joinpath(*package.split(".")[1:]).glob(glob)
    }
    assert data <= covered, data - covered


def test_root_holds_only_the_face() -> None:
    assert {p.name for p in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_version_and_day_are_said_once() -> None:
    """The newest heading of the changelog and CITATION.cff bear the package's version."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", changelog, re.MULTILINE)
    assert len(released) == len(re.findall(r"^## ", changelog, re.MULTILINE))
    assert [day for _, day in released] == sorted((day for _, day in released), reverse=True)
    cited = dict(
        line.split(": ", 1)
        for line in (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
        if line.startswith(("version", "date-released"))
    )
    assert released[0] == (cited["version"], cited["date-released"].strip('"'))
    assert released[0][0] == bitlathe.__version__


def test_a_newcomer_has_under_ten_commands_from_installation_to_figure() -> None:
    """`make newcomer`, which the continuous integration runs, follows them in a bare place."""
    spec = importlib.util.spec_from_file_location("newcomer", ROOT / "tests" / "newcomer.py")
    assert spec is not None
    assert spec.loader is not None
    newcomer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(newcomer)
    words = [command.split()[:2] for command in newcomer.commands()]
    assert words[:2] == [["python3", "-m"], ["pip", "install"]]
    assert newcomer.install() == "pip install '.[report]'"
    wanted = ["formats", "quantize", "simulate", "simulate", "sweep", "report"]
    assert words[2:] == [["bitlathe", name] for name in wanted]
    assert len(words) < 10
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert any(step.startswith("make newcomer ") for step in steps)


def test_one_copy_of_the_package() -> None:
    where = Path(bitlathe.__file__).resolve().parent
    alias = {
        name
        for name, module in sys.modules.items()
        if (file := getattr(module, "__file__", None))
        and where in Path(file).resolve().parents
        and Path(file).resolve().parent.name in ROOMS
        and not name.startswith(("bitlathe.", "tests."))
    }
    assert not alias, alias


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


HEAVY = {"torch", "matplotlib", "numba", "networkx", "pandas", "plotly", "optuna", "rich"}


def test_import_is_light() -> None:
    assert not (HEAVY | {"numpy", "pydantic"}) & _modules_after("import bitlathe")


def test_the_analytic_rung_needs_no_heavy_package() -> None:
    run = "import bitlathe as bl; bl.simulate('hpca25/fp16', 'opt-1.3b', fidelity='analytic')"
    assert not HEAVY & _modules_after(run)
