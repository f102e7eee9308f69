"""Run the tests with the oldest versions that pyproject.toml allows, or with the newest.

``python tests/versions.py oldest|newest [--folder DIR] [pytest arguments]`` makes an environment of
the Python it is run with, installs all requirements but torch there, and runs the tests that do not
need torch.
"""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("weights", "report", "search", "cluster", "parquet")
TESTERS = ("duckdb", "gfloat", "hypothesis", "import-linter", "ml_dtypes", "mypy", "pandas",
           "pytest", "pytest-cov", "pytest-xdist", "ruff", "types-PyYAML")  # fmt: skip


def requirements() -> list[str]:
    """Return the requirements of the package and of its tests, without torch's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = [*project["dependencies"], *(line for group in GROUPS for line in extras[group])]
    found += [line for line in extras["dev"] if re.match(r"[\w-]+", line)[0] in TESTERS]
    return list(dict.fromkeys(found))


def oldest(requirement: str) -> str:
    """Return a requirement of the lower bound itself: ``numpy>=2.0`` becomes ``numpy==2.0``."""
    return requirement.replace(">=", "==")


def without_torch() -> list[str]:
    """Return the files of tests that import torch nowhere."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    needs = re.compile(
        r"^\s*(?:import torch|from torch|from oracles|import tokenizers)", re.MULTILINE
    )
    return [str(f) for f in files if not needs.search(f.read_text(encoding="utf-8"))]


def main(which: str, folder: Path, options: list[str]) -> int:
    """Install and test; return pytest's status."""
    place = folder / f"{which}-{sys.version_info.major}.{sys.version_info.minor}"
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    wanted = requirements()
    core = [r for r in wanted if not r.startswith(TESTERS)]
    if which == "oldest":
        wanted = [oldest(r) if r in core else r for r in wanted]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *wanted], check=True)
    subprocess.run([*pip, "--no-deps", "-e", str(ROOT)], check=True)
    shown = ",".join(re.match(r"[\w-]+", r)[0] for r in core)
    code = (
        "import importlib.metadata as m, sys; print(sys.version.split()[0], "
        f"*(f'{{n}} {{m.version(n)}}' for n in '{shown}'.split(',')), sep=', ')"
    )
    subprocess.run([python, "-c", code], check=True)
    # old libraries and what they use, which is not old, tell of each other
    calm = ["-W", "ignore::DeprecationWarning"] if which == "oldest" else []
    program = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *calm, *options]
    files = [] if any("test" in option for option in options) else without_torch()
    return subprocess.run([*program, *files], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in ("oldest", "newest"):
        sys.exit(__doc__)
    kind, arguments = arguments[0], arguments[1:]
    home = ROOT / "runs" / "versions"
    if arguments[:1] == ["--folder"]:
        home, arguments = Path(arguments[1]), arguments[2:]
    sys.exit(main(kind, home, arguments))
