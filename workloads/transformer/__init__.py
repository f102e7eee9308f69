"""Transformers: layers of parts, what each part stores and computes, products of a forward pass."""

from .attention import Attention
from .cross import CrossAttention
from .diffusion import JointAttention, JointMlp, SingleBlock
from .disentangled import DisentangledAttention
from .experts import Experts
from .forward import DEFAULT_CONTEXT, Forward, Group
from .latent import Indexer, LatentAttention
from .matrix import Matrix, Product, Table
from .mlp import Mlp
from .network import Head, Image, Layers, Stem, Transformer
from .part import Part
from .pooling import Pooling
from .products import Staged
from .recurrent import Recurrent
from .streams import AltUp, LayerInput, LowRank

__all__ = [
    "DEFAULT_CONTEXT",
    "AltUp",
    "Attention",
    "CrossAttention",
    "DisentangledAttention",
    "Experts",
    "Forward",
    "Group",
    "Head",
    "Image",
    "Indexer",
    "JointAttention",
    "JointMlp",
    "LatentAttention",
    "LayerInput",
    "Layers",
    "LowRank",
    "Matrix",
    "Mlp",
    "Part",
    "Pooling",
    "Product",
    "Recurrent",
    "SingleBlock",
    "Staged",
    "Stem",
    "Table",
    "Transformer",
]
