"""Run the examples in every docstring, under the module's own import name."""

import doctest
import importlib
import pkgutil
import re
from functools import reduce
from pathlib import Path

import pytest

import bitlathe

SKIP = ("bitlathe.tests", "bitlathe.build", "bitlathe.sim.cuda", "bitlathe.__main__")
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(bitlathe.__path__, "bitlathe.")
    if not m.name.startswith(SKIP)
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name not in ("torch", "tokenizers"):  # of the extras
            raise
        pytest.skip(str(missing))
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_walk_found_the_modules() -> None:
    assert {"bitlathe.datatypes.formats.format", "bitlathe.sim.analytic"} <= set(MODULES)


ROOT = Path(bitlathe.__file__).parent
NAMED = re.compile(r"`((?:datatypes|mapping|reports|sim|workloads)(?:\.[a-z_]\w*)+)`")


def _there(name: str) -> bool:
    """Whether a dotted name, from the package's root, is a module or stands in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(["bitlathe", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        missing = object()
        return reduce(lambda at, p: getattr(at, p, missing), parts[cut:], module) is not missing
    return False


def test_names_in_sources_and_pages_are_there() -> None:
    rooms = ("arch", "cli", "datatypes", "mapping", "reports", "sim", "workloads", "docs")
    files = [p for room in rooms for p in (ROOT / room).rglob("*") if p.suffix in (".py", ".md")]
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert {(path, name) for path, name in named if not _there(name)} == set()
