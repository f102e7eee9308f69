"""Settings shared by all tests, made before numba is imported."""

import hashlib
import os
from pathlib import Path

from hypothesis import settings

# numba's disk cache checks only the file that holds a kernel, not the helpers it inlines:
# key the cache by the whole source tree.
ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("arch", "datatypes", "mapping", "reports", "sim", "workloads")
SOURCES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
TREE = hashlib.sha256(b"".join(p.read_bytes() for p in SOURCES)).hexdigest()[:16]
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba_cache" / TREE))

settings.register_profile("bitlathe", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("bitlathe")
