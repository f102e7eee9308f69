"""The forward pass of a BERT encoder in float32, in plain torch; its mean as an embedding."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

from ...datatypes.base.errors import BitlatheError

_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "mix",
    "attention.output.LayerNorm": "mix_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "down_norm",
}


class Layer(nn.Module):
    """Attention over all tokens and MLP, each added to its input and normed."""

    def __init__(self, hidden: int, inner: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mix = (nn.Linear(hidden, hidden) for _ in range(4))
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.mix_norm, self.down_norm = nn.LayerNorm(hidden, eps), nn.LayerNorm(hidden, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return what (tokens, hidden) become."""
        q, k, v = (
            part(x).view(len(x), self.heads, -1).transpose(0, 1)[None]
            for part in (self.query, self.key, self.value)
        )
        mixed = scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).reshape(x.shape)
        x = self.mix_norm(x + self.mix(mixed))
        out: Tensor = self.down_norm(x + self.down(gelu(self.up(x))))
        return out


class Encoder(nn.Module):
    """A BERT encoder whose ``layers`` may be exchanged for quantized ones."""

    def __init__(self, sizes: Mapping[str, int], heads: int, eps: float) -> None:
        super().__init__()
        hidden = sizes["hidden"]
        self.words = nn.Embedding(sizes["words"], hidden)
        self.positions = nn.Embedding(sizes["positions"], hidden)
        self.types = nn.Embedding(sizes["types"], hidden)
        self.norm = nn.LayerNorm(hidden, eps)
        self.layers = nn.ModuleList(
            Layer(hidden, sizes["inner"], heads, eps) for _ in range(sizes["layers"])
        )

    def states(self, ids: Tensor, layers: nn.ModuleList | None = None) -> Tensor:
        """Return (tokens, hidden) of (tokens,) token numbers."""
        summed = self.words(ids) + self.positions(torch.arange(len(ids))) + self.types.weight[0]
        x: Tensor = self.norm(summed)
        for layer in self.layers if layers is None else layers:
            x = layer(x)
        return x

    def embed(self, ids: Tensor, layers: nn.ModuleList | None = None) -> Tensor:
        """Return the mean over tokens, of length 1, as sentence-transformers takes it."""
        return normalize(self.states(ids, layers).mean(0), dim=0)


def load_encoder(
    tensors: Mapping[str, NDArray[np.float32]], heads: int, eps: float = 1e-12
) -> Encoder:
    """Return a BERT encoder from its tensors under Hugging Face names; a pooler is left out.

    Parameters
    ----------
    tensors : mapping of str to (...) ndarray of float32
        Matrices (outputs, inputs) and vectors (outputs,).
    heads : int
    eps : float
        Of the layer norms.

    Raises
    ------
    BitlatheError
        Tensors are missing or of sizes that do not match.
    """
    outer = {
        "embeddings.word_embeddings.weight": "words.weight",
        "embeddings.position_embeddings.weight": "positions.weight",
        "embeddings.token_type_embeddings.weight": "types.weight",
        "embeddings.LayerNorm.weight": "norm.weight",
        "embeddings.LayerNorm.bias": "norm.bias",
    }
    state = {new: tensors[old] for old, new in outer.items() if old in tensors}
    for name, values in tensors.items():
        if name.startswith("encoder.layer."):
            number, _, rest = name.removeprefix("encoder.layer.").partition(".")
            part, _, kind = rest.rpartition(".")
            if part in _NAMES:
                state[f"layers.{number}.{_NAMES[part]}.{kind}"] = values
    layers = {name.split(".")[1] for name in state if name.startswith("layers.")}
    try:
        words = state["words.weight"]
        sizes = {
            "hidden": words.shape[1],
            "words": len(words),
            "positions": len(state["positions.weight"]),
            "types": len(state["types.weight"]),
            "inner": len(state["layers.0.up.weight"]),
            "layers": len(layers),
        }
        with torch.device("meta"):
            made = Encoder(sizes, heads, eps)
        owned = {
            k: torch.from_numpy(np.require(v, requirements=["C", "W"])) for k, v in state.items()
        }
        made.load_state_dict(owned, assign=True)
    except (KeyError, RuntimeError) as problem:
        raise BitlatheError(f"not a BERT encoder: {problem}") from None
    return made.eval().requires_grad_(False)
