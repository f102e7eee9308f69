"""The tools that run and measure Verilog: which are there, how to install those that are not."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from ...datatypes.base.errors import BitlatheError, to_install

HEADERS = "share/include/backends/cxxrtl/runtime"


def yosys_folder() -> Path | None:
    """Return the folder of the pyosys package; None where it is not installed."""
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def missing_for_cxxrtl() -> str | None:
    """Return how to install what compiled simulation lacks; None if nothing is missing."""
    if yosys_folder() is None:
        return f"needs pyosys: {to_install('pyosys', 'rtl')}"
    if shutil.which("g++") is None:
        return "needs a C++ compiler named g++: apt-get install g++"
    return None


def missing_for_iverilog() -> str | None:
    """Return how to install Icarus Verilog; None if it is there."""
    if shutil.which("iverilog") and shutil.which("vvp"):
        return None
    return "needs Icarus Verilog: apt-get install iverilog"


def run_tool(what: str, command: list[str], folder: Path, timeout_s: float = 600.0) -> str:
    """Run a program in a folder and return what it prints.

    Parameters
    ----------
    what : str
        Its name, for errors.
    command : list of str
    folder : Path
    timeout_s : float

    Raises
    ------
    BitlatheError
        It fails; the end of its output is quoted.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise BitlatheError(f"{what}: no end after {timeout_s:.0f} s") from None
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise BitlatheError(f"{what} failed with exit status {done.returncode}:\n{tail}")
    return done.stdout


def run_yosys(passes: list[str], folder: Path, timeout_s: float = 600.0) -> str:
    """Run passes of Yosys in a process of its own, in a folder; return its log.

    Raises
    ------
    BitlatheError
        pyosys is not installed, or a pass fails.
    """
    if yosys_folder() is None:
        raise BitlatheError(f"pyosys is not installed: {to_install('pyosys', 'rtl')}")
    lines = [
        "from pyosys import libyosys",
        "design = libyosys.Design()",
        f"for each in {passes!r}: design.run_pass(each)",
    ]
    return run_tool("yosys", [sys.executable, "-c", "\n".join(lines)], folder, timeout_s)
