"""Transformers: layers of parts, what each part stores and computes, products of a forward pass."""

from .attention import Attention
from .experts import Experts
from .forward import DEFAULT_CONTEXT, Forward, Group
from .latent import Indexer, LatentAttention
from .matrix import Matrix, Product, Table
from .mlp import Mlp
from .network import Head, Image, Layers, Transformer
from .part import Part
from .products import Staged

__all__ = [
    "DEFAULT_CONTEXT",
    "Attention",
    "Experts",
    "Forward",
    "Group",
    "Head",
    "Image",
    "Indexer",
    "LatentAttention",
    "Layers",
    "Matrix",
    "Mlp",
    "Part",
    "Product",
    "Staged",
    "Table",
    "Transformer",
]
