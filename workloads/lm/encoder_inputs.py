"""Weights of an encoder's linear layers beside what enters them."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from .encoder import load_encoder
from .layers import linears, sampled

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def layers_with_inputs(
    tensors: Mapping[str, NDArray[np.float32]], heads: int, ids: NDArray[np.int64]
) -> dict[str, Pair]:
    """Return (outputs, inputs) weights and (tokens, inputs) inputs of each linear layer.

    Parameters
    ----------
    tensors : mapping of str to (...) float32
        Of a BERT encoder, by their names in its file.
    heads : int
    ids : (passages, tokens) int64
        Token numbers.
    """
    encoder = load_encoder(dict(tensors), heads)
    passages = torch.from_numpy(ids)
    with torch.no_grad(), sampled(encoder.layers, passages.numel()) as take:
        for i, passage in enumerate(passages):
            take.at(i * ids.shape[1], ids.shape[1])
            encoder.embed(passage)
        inputs = {name: torch.cat(parts) for name, parts in take.parts.items()}
    return {
        name: (layer.weight.detach().numpy(), inputs[name].numpy())
        for name, layer in linears(encoder.layers)
    }
