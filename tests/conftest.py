"""Settings shared by all tests, made before numba is imported."""

import os
from pathlib import Path

from hypothesis import settings

# beside the tree, where `make clean` finds it, not in __pycache__ folders
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".numba_cache"))

# nothing from, or into, the user's folder; what a process found it has at hand
os.environ.setdefault("BITLATHE_KEEP_MAPPINGS", "0")

settings.register_profile("bitlathe", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("bitlathe")
