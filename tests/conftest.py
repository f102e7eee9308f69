"""Settings shared by all tests, made before numba is imported."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# beside the tree, where `make clean` finds it, not in __pycache__ folders
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".numba_cache"))

# nothing from, or into, the user's folder; what a process found it has at hand
os.environ.setdefault("BITLATHE_KEEP_MAPPINGS", "0")

settings.register_profile("bitlathe", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("bitlathe")

# Of a fresh checkout: one process compiles the search of mappings, which most tests of chips need,
# while the others run what needs none. Then what takes long, and last many short files.
ORDER = (
    "tests/mapping/test_search.py",
    "tests/datatypes/",
    "tests/test_",
    "tests/reports/explore/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in `ORDER`, all others after those, otherwise as they were found."""
    order = dict(zip(ORDER, range(len(ORDER)), strict=True))
    items.sort(
        key=lambda item: next((n for start, n in order.items() if item.nodeid.startswith(start)), 9)
    )


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Close what a test has drawn: figures of many tests of one process take memory, and warn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
