"""Where a user's results are kept between runs."""

import os
from pathlib import Path


def kept_folder() -> Path:
    """Return ``$BITLATHE_CACHE``, else ``$XDG_CACHE_HOME/bitlathe``, else ``~/.cache/bitlathe``."""
    if chosen := os.environ.get("BITLATHE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bitlathe"
