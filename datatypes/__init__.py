"""Numbers: formats, rounding, scales, quantized tensors, mixtures, bit-serial terms.

The functions ``format`` and ``quantize`` are exported by the package's root;
``datatypes.quantize`` is always the module.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base.errors import BitlatheError
    from .checkpoints.checkpoint import quantize_checkpoint, read_checkpoint
    from .checkpoints.rules import Rules
    from .formats.catalogue import names
    from .formats.constructors import (
        codebook,
        float_format,
        int_format,
        sign_magnitude,
        with_special,
    )
    from .formats.files import load_format
    from .formats.format import Format, Mixture
    from .schemes.scheme import Scheme
    from .tensors.gguf_file import read_gguf, write_gguf
    from .tensors.tensor import QuantizedTensor
    from .weights.read import read_tensors

# public name -> the module that holds it; loaded on first use
_HOME = {
    "BitlatheError": "base.errors",
    "Format": "formats.format",
    "Mixture": "formats.format",
    "QuantizedTensor": "tensors.tensor",
    "Rules": "checkpoints.rules",
    "Scheme": "schemes.scheme",
    "codebook": "formats.constructors",
    "float_format": "formats.constructors",
    "int_format": "formats.constructors",
    "load_format": "formats.files",
    "names": "formats.catalogue",
    "quantize_checkpoint": "checkpoints.checkpoint",
    "read_checkpoint": "checkpoints.checkpoint",
    "read_gguf": "tensors.gguf_file",
    "read_tensors": "weights.read",
    "sign_magnitude": "formats.constructors",
    "with_special": "formats.constructors",
    "write_gguf": "tensors.gguf_file",
}

__all__ = [
    "BitlatheError",
    "Format",
    "Mixture",
    "QuantizedTensor",
    "Rules",
    "Scheme",
    "codebook",
    "float_format",
    "int_format",
    "load_format",
    "names",
    "quantize_checkpoint",
    "read_checkpoint",
    "read_gguf",
    "read_tensors",
    "sign_magnitude",
    "with_special",
    "write_gguf",
]


if not TYPE_CHECKING:  # a type checker would take every misspelled name for one of these

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
