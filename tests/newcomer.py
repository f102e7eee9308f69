"""What a newcomer does by the docs alone: install, then all of docs/first-session.md.

``python tests/newcomer.py [--wheel FILE]`` copies the checkout, makes an empty environment of the
Python it is run with, installs there as the page says (or the wheel), and runs the page's files,
commands and programs in an empty folder, the commands as the shell finds them there. What they
print must be what the page shows.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "first-session.md"
# run by the new environment's Python: the page with commands as programs of their own
FOLLOW = "import sys; sys.path.insert(0, sys.argv[1]); import newcomer; newcomer.follow()"


def examples() -> ModuleType:
    """Return docs/blocks.py as a module."""
    spec = importlib.util.spec_from_file_location("blocks", ROOT / "docs" / "blocks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["blocks"] = module
    spec.loader.exec_module(module)
    return module


def commands() -> list[str]:
    """Return all commands of the page, in their order."""
    blocks = examples().blocks(PAGE.read_text(encoding="utf-8"))
    console = "".join(block.text for block in blocks if block.kind == "console")
    return re.findall(r"^\$ (.*)$", console, re.MULTILINE)


def install() -> str:
    """Return the page's command that installs the package."""
    (found,) = (line for line in commands() if line.startswith("pip install"))
    return found


def _command(line: str) -> str:
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"$ {line}\n{done.stdout}{done.stderr}")
    return done.stdout


def follow() -> None:
    """Run the page in the environment of this Python."""
    blocks = examples()
    blocks._command = _command
    print(blocks.check(PAGE), "outputs are as the page shows them")


def main(wheel: Path | None) -> None:
    """Install and follow, in a folder that is removed."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        venv.create(place / "env", with_pip=True)
        where = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NUMBA"))}
        where |= {
            "PATH": f"{place / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "NUMBA_CACHE_DIR": str(place / "kernels"),
            "BITLATHE_CACHE": str(place / "cache"),
            "PIP_QUIET": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        line, here = install(), place
        if wheel is None:
            leave = shutil.ignore_patterns(".*", "build", "runs", "_build", "*.egg-info")
            here = shutil.copytree(ROOT, place / "bitlathe", ignore=leave)
        else:
            line = line.replace("'.[", f"'{wheel.resolve()}[")
        subprocess.run(line, shell=True, cwd=here, env=where, check=True)
        code = ["python", "-c", FOLLOW, str(ROOT / "tests")]
        subprocess.run(code, cwd=place, env=where, check=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    if given and (len(given) != 2 or given[0] != "--wheel"):
        sys.exit(__doc__)
    main(Path(given[1]) if given else None)
