"""A tiny random BERT encoder and its forward pass in plain numpy, token by token."""

import math

import numpy as np

HIDDEN, INNER, HEADS, LAYERS, WORDS, POSITIONS, EPS = 12, 20, 3, 2, 30, 16, 1e-3


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights under Hugging Face names."""
    rng = np.random.default_rng(seed)
    sizes = {"word": WORDS, "position": POSITIONS, "token_type": 2}
    made = {f"embeddings.{k}_embeddings.weight": (n, HIDDEN) for k, n in sizes.items()}
    made |= {f"embeddings.LayerNorm.{k}": (HIDDEN,) for k in ("weight", "bias")}
    linears = {
        **{f"attention.self.{k}": (HIDDEN, HIDDEN) for k in ("query", "key", "value")},
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (INNER, HIDDEN),
        "output.dense": (HIDDEN, INNER),
    }
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        for name, shape in linears.items():
            made |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            made |= {f"{at}.{name}.weight": (HIDDEN,), f"{at}.{name}.bias": (HIDDEN,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in made.items()}


def states(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Return (tokens, hidden) in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    size = HIDDEN // HEADS

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        scaled = (x - x.mean()) / np.sqrt(x.var() + EPS)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])

    out = []
    for position, i in enumerate(ids):
        x = w["embeddings.word_embeddings.weight"][i]
        x = x + w["embeddings.position_embeddings.weight"][position]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        out.append(norm("embeddings.LayerNorm", x))
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        q, k, v = (
            [linear(f"{at}.attention.self.{n}", x).reshape(HEADS, size) for x in out]
            for n in ("query", "key", "value")
        )
        for t, x in enumerate(list(out)):
            mixed = []
            for head in range(HEADS):
                scores = np.array([q[t][head] @ key[head] / math.sqrt(size) for key in k])
                share = np.exp(scores) / np.exp(scores).sum()
                mixed.append(sum(s * value[head] for s, value in zip(share, v, strict=True)))
            y = x + linear(f"{at}.attention.output.dense", np.concatenate(mixed))
            y = norm(f"{at}.attention.output.LayerNorm", y)
            inner = gelu(linear(f"{at}.intermediate.dense", y))
            out[t] = norm(f"{at}.output.LayerNorm", y + linear(f"{at}.output.dense", inner))
    return np.array(out)
