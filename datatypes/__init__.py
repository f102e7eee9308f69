"""Numbers: formats, rounding, scales, quantised tensors, mixtures, bit-serial terms.

The functions ``format``, ``quantize`` and ``compare`` are taken from the modules
``catalogue``, ``quantize`` and ``compare`` (the package exports the first two at its root):
``datatypes.format``, ``datatypes.quantize`` and ``datatypes.compare`` are always modules.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalogue import names
    from .errors import BitlatheError
    from .format import (
        Format,
        Mixture,
        codebook,
        float_format,
        int_format,
        sign_magnitude,
        with_special,
    )
    from .io import read_tensors
    from .scheme import Scheme
    from .tensor import QuantizedTensor
    from .userformat import load_format

# public name -> the module that holds it; loaded on first use
_HOME = {
    "BitlatheError": "errors",
    "Format": "format",
    "Mixture": "format",
    "QuantizedTensor": "tensor",
    "Scheme": "scheme",
    "codebook": "format",
    "float_format": "format",
    "int_format": "format",
    "load_format": "userformat",
    "names": "catalogue",
    "read_tensors": "io",
    "sign_magnitude": "format",
    "with_special": "format",
}

__all__ = [
    "BitlatheError",
    "Format",
    "Mixture",
    "QuantizedTensor",
    "Scheme",
    "codebook",
    "float_format",
    "int_format",
    "load_format",
    "names",
    "read_tensors",
    "sign_magnitude",
    "with_special",
]


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one of these

    def __getattr__(name):
        """Load a public name, or a module of this room, on first use."""
        from importlib import import_module

        if name in _HOME:
            return getattr(import_module(f".{_HOME[name]}", __name__), name)
        if not name.startswith("_"):
            try:
                return import_module(f".{name}", __name__)
            except ModuleNotFoundError as problem:
                if problem.name != f"{__name__}.{name}":
                    raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
