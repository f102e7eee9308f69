"""bitlathe: bit-exact, cycle-level co-design toolkit for low-bit inference hardware.

The names below are loaded on first use (PEP 562), so ``import bitlathe`` stays cheap and the
root module holds no second copy of anything.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arch import Arch, load_arch
    from .datatypes import BitlatheError, Format, QuantizedTensor, Scheme, format, quantize
    from .sim import Run, simulate
    from .workloads import Gemm, Model, load_model

__version__ = "0.1.0"

# public name -> the module that holds it
_HOME = {
    "Arch": "arch",
    "BitlatheError": "datatypes.errors",
    "Format": "datatypes",
    "Gemm": "workloads",
    "Model": "workloads",
    "QuantizedTensor": "datatypes",
    "Run": "sim",
    "Scheme": "datatypes",
    "format": "datatypes.catalogue",
    "load_arch": "arch",
    "load_model": "workloads",
    "quantize": "datatypes.quantize",
    "simulate": "sim",
}
_ROOMS = ("arch", "datatypes", "mapping", "reports", "sim", "workloads")

__all__ = [
    "Arch",
    "BitlatheError",
    "Format",
    "Gemm",
    "Model",
    "QuantizedTensor",
    "Run",
    "Scheme",
    "format",
    "load_arch",
    "load_model",
    "quantize",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use."""
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_ROOMS])
