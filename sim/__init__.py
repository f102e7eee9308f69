"""What happens: processing elements, arrays, memory, the engine that runs a mapped layer."""

from typing import TYPE_CHECKING, Any

from .entry import simulate
from .run import LayerRun, Run
from .system.run import SystemRun

if TYPE_CHECKING:
    from .array.systolic.model import systolic
    from .pe.bit_serial import bitserial_dot

__all__ = ["LayerRun", "Run", "SystemRun", "bitserial_dot", "simulate", "systolic"]

# name -> module; loaded on use, since the kernels bring numba
_LAZY = {"bitserial_dot": ".pe.bit_serial", "systolic": ".array.systolic.model"}


def __getattr__(name: str) -> Any:
    """Load a name that needs numba on first use (PEP 562)."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
