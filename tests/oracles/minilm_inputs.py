"""Inputs of MiniLM's linear layers: a plain forward pass of the BERT encoder in torch."""

import zipfile

import torch
from safetensors.torch import load
from torch.nn import functional

from bitlathe.workloads import minilm

HEADS, LAYERS, WIDTH, VOCABULARY = 12, 6, 384, 30522


def layer_inputs(sequences=2, length=128, seed=0):
    """Return {weight name: (tokens, inputs) float32} for random token ids.

    BERT as published (arXiv 1810.04805): sums of embeddings, attention, GELU by erf, layer norms
    after each residual sum.
    """
    archive = minilm._archive()
    with zipfile.ZipFile(archive) as zipped:
        tensors = load(zipped.read(minilm.WEIGHTS_FILE))
    seen = {}

    def linear(name, x):
        seen[f"{name}.weight"] = x.reshape(-1, x.shape[-1]).numpy()
        return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name, x):
        gain, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return functional.layer_norm(x, (WIDTH,), gain, bias, eps=1e-12)

    def heads(x):
        return x.reshape(sequences, length, HEADS, -1).transpose(1, 2)

    ids = torch.randint(1000, VOCABULARY, (sequences, length), generator=torch.manual_seed(seed))
    where = "embeddings."
    x = tensors[f"{where}word_embeddings.weight"][ids]
    x = x + tensors[f"{where}position_embeddings.weight"][:length]
    x = norm(f"{where}LayerNorm", x + tensors[f"{where}token_type_embeddings.weight"][0])
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        q, k, v = (heads(linear(f"{at}.attention.self.{n}", x)) for n in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed.transpose(1, 2).reshape(sequences, length, WIDTH)
        mixed = linear(f"{at}.attention.output.dense", mixed)
        x = norm(f"{at}.attention.output.LayerNorm", x + mixed)
        wide = functional.gelu(linear(f"{at}.intermediate.dense", x))
        x = norm(f"{at}.output.LayerNorm", x + linear(f"{at}.output.dense", wide))
    return seen
