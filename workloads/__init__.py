"""What runs: layers as matrix products, transformer and convolution models."""

from typing import TYPE_CHECKING, Any

from .conv import ConvNet
from .conv_shape import ConvShape
from .gemm import Gemm
from .load import load_model, model_names
from .model import Model
from .products import Entry, Products
from .sources import Source, stored_formats
from .traced import from_onnx, from_torch
from .transformer import Transformer

if TYPE_CHECKING:
    from .step import Step

__all__ = [
    "ConvNet",
    "ConvShape",
    "Entry",
    "Gemm",
    "Model",
    "Products",
    "Source",
    "Step",
    "Transformer",
    "from_onnx",
    "from_torch",
    "load_model",
    "model_names",
    "stored_formats",
]


def __getattr__(name: str) -> Any:
    """Import what reads a step on first use: it needs pydantic, and reading a model does not."""
    if name == "Step":
        from .step import Step

        return Step
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
