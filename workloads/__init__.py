"""What runs: layers as matrix products, transformer and convolution models."""

from .conv import ConvNet
from .conv_shape import ConvShape
from .gemm import Gemm
from .model import Model, load_model, model_names
from .products import Entry, Products
from .sources import Source, stored_formats
from .step import Step
from .traced import from_onnx, from_torch
from .transformer import Transformer

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
