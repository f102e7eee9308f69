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


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Close what a test has drawn: figures of many tests of one process take memory, and warn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
