"""A tiny random language model in Hugging Face files, and its forward pass in plain numpy."""

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"]
BASE = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 40,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-4,
    "rope_theta": 50.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**BASE, "model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "llama3": {
        **BASE,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_scaling": LLAMA3,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    },
    "linear": {
        **BASE,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_scaling": {"type": "linear", "factor": 2.0},
    },
    "mistral": {
        **BASE,
        "model_type": "mistral",
        "architectures": ["MistralForCausalLM"],
        "sliding_window": None,
    },
    "qwen2": {
        **BASE,
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "head_dim": 6,
    },
    "qwen3": {**BASE, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
}


def tensors(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights under Hugging Face names."""
    rng = np.random.default_rng(seed)
    hidden, inner, vocabulary = (
        config[k] for k in ("hidden_size", "intermediate_size", "vocab_size")
    )
    wide = config["num_attention_heads"] * config["head_dim"]
    narrow = config["num_key_value_heads"] * config["head_dim"]
    qwen2 = config["model_type"] == "qwen2"
    attention = config.get("attention_bias", False)
    linears = {
        "self_attn.q_proj": (wide, hidden, attention or qwen2),
        "self_attn.k_proj": (narrow, hidden, attention or qwen2),
        "self_attn.v_proj": (narrow, hidden, attention or qwen2),
        "self_attn.o_proj": (hidden, wide, attention),
        "mlp.gate_proj": (inner, hidden, config.get("mlp_bias", False)),
        "mlp.up_proj": (inner, hidden, config.get("mlp_bias", False)),
        "mlp.down_proj": (hidden, inner, config.get("mlp_bias", False)),
    }
    norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
    if config["model_type"] == "qwen3":
        norms |= {f"self_attn.{p}_norm": config["head_dim"] for p in "qk"}
    made = {"model.embed_tokens.weight": rng.standard_normal((vocabulary, hidden))}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        for name, (rows, columns, bias) in linears.items():
            made[f"{at}.{name}.weight"] = rng.standard_normal((rows, columns)) / columns**0.5
            if bias:
                made[f"{at}.{name}.bias"] = rng.standard_normal(rows)
        for name, size in norms.items():
            made[f"{at}.{name}.weight"] = 1 + 0.3 * rng.standard_normal(size)
    made["model.norm.weight"] = 1 + 0.3 * rng.standard_normal(hidden)
    if not config["tie_word_embeddings"]:
        made["lm_head.weight"] = rng.standard_normal((vocabulary, hidden))
    return {name: value.astype(np.float32) for name, value in made.items()}


def write(folder: Path, config: dict[str, Any], seed: int = 0) -> Path:
    """Write config.json, model.safetensors and a tokenizer of sixteen one-letter words."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    save_file(tensors(config, seed), folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean() + eps) * weight


def _angles(config: dict[str, Any]) -> list[float]:
    rules = config.get("rope_scaling") or {}
    out = []
    for i in range(config["head_dim"] // 2):
        angle = config["rope_theta"] ** (-2 * i / config["head_dim"])
        kind = rules.get("rope_type", rules.get("type"))
        if kind == "linear":
            angle /= rules["factor"]
        if kind == "llama3":
            wave, length = 2 * np.pi / angle, rules["original_max_position_embeddings"]
            slow, fast = length / rules["low_freq_factor"], length / rules["high_freq_factor"]
            if wave > slow:
                angle /= rules["factor"]
            elif wave >= fast:
                s = (length / wave - rules["low_freq_factor"]) / (
                    rules["high_freq_factor"] - rules["low_freq_factor"]
                )
                angle = (1 - s) * angle / rules["factor"] + s * angle
        out.append(angle)
    return out


def _rotate(x: np.ndarray, position: int, angles: list[float]) -> np.ndarray:
    out, half = x.copy(), len(x) // 2
    for i, angle in enumerate(angles):
        c, s = np.cos(position * angle), np.sin(position * angle)
        out[i], out[i + half] = x[i] * c - x[i + half] * s, x[i + half] * c + x[i] * s
    return out


def logits(config: dict[str, Any], weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Return (tokens, vocabulary) logits, token by token and head by head, in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size, eps, angles = config["head_dim"], config["rms_norm_eps"], _angles(config)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0)

    states = [w["model.embed_tokens.weight"][i].copy() for i in ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        queries, keys, values = [], [], []
        for position, x in enumerate(states):
            h = _norm(x, w[f"{at}.input_layernorm.weight"], eps)
            parts = {}
            for p, count in (("q", heads), ("k", shared), ("v", shared)):
                parts[p] = linear(f"{at}.self_attn.{p}_proj", h).reshape(count, size)
                if f"{at}.self_attn.{p}_norm.weight" in w:
                    gain = w[f"{at}.self_attn.{p}_norm.weight"]
                    parts[p] = np.array([_norm(v, gain, eps) for v in parts[p]])
            queries.append([_rotate(v, position, angles) for v in parts["q"]])
            keys.append([_rotate(v, position, angles) for v in parts["k"]])
            values.append(parts["v"])
        for t, x in enumerate(states):
            mixed = []
            for head in range(heads):
                group = head * shared // heads
                scores = [queries[t][head] @ keys[u][group] / size**0.5 for u in range(t + 1)]
                share = np.exp(scores - np.max(scores))
                share /= share.sum()
                mixed.append(sum(s * values[u][group] for u, s in enumerate(share)))
            summed = x + linear(f"{at}.self_attn.o_proj", np.concatenate(mixed))
            h = _norm(summed, w[f"{at}.post_attention_layernorm.weight"], eps)
            gate = linear(f"{at}.mlp.gate_proj", h)
            h = gate / (1 + np.exp(-gate)) * linear(f"{at}.mlp.up_proj", h)
            states[t] = summed + linear(f"{at}.mlp.down_proj", h)
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return np.array([head @ _norm(x, w["model.norm.weight"], eps) for x in states])
