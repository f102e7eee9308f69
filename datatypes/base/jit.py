"""Whether compiled kernels are used. Without them numpy and plain Python give the same numbers."""

import os
from functools import cache
from importlib.util import find_spec

SWITCH = "BITLATHE_COMPILED"
_OFF = {"0", "no", "off", "false"}


def switched_off() -> bool:
    """Whether the environment says to do without: ``BITLATHE_COMPILED=0``, numba's own switch."""
    ours = os.environ.get(SWITCH, "1").strip().lower()
    numbas = os.environ.get("NUMBA_DISABLE_JIT", "").strip()
    return ours in _OFF or numbas not in {"", "0"}


@cache
def have_numba() -> bool:
    """Whether the compiled kernels can be used."""
    return not switched_off() and find_spec("numba") is not None
