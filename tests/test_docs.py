"""Run the examples in every docstring, under the module's own import name."""

import doctest
import importlib
import pkgutil

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
