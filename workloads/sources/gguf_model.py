"""Models in GGUF: the keys of a config.json from its facts, and how each tensor is stored.

Facts are those that llama.cpp writes (``gguf-py/gguf/constants.py``, ``convert_hf_to_gguf.py``),
read from the header; weights are not read.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...datatypes.base.errors import BitlatheError, shown, unknown_name
from ...datatypes.base.files import open_file, shown_path
from ...datatypes.weights.gguf_header import GgufHeader, read_gguf_header
from ...datatypes.weights.mapped import mapped
from ..config import Config
from .weights import Weights

# ggml's types by number (ggml.h)
TYPES: Mapping[int, str] = {
    **dict(enumerate(("F32", "F16", "Q4_0", "Q4_1"))),
    **dict(enumerate(("Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K"), 6)),
    **dict(enumerate(("Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL"), 14)),
    **dict(enumerate(("IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64"), 21)),
    **{29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"},
}
_SIZES = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
}
_WINDOW = {"sliding_window": "attention.sliding_window"}
_ROUTED = {"num_experts_per_tok": "expert_used_count"}
_EXPERTS = _ROUTED | {
    "num_experts": "expert_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}
_LOCAL_EXPERTS = _ROUTED | {"num_local_experts": "expert_count"}
_SHARED = _ROUTED | {
    "n_routed_experts": "expert_count",
    "n_shared_experts": "expert_shared_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "first_k_dense_replace": "leading_dense_block_count",
}
_LATENT = {
    **{key: name for key, name in _SIZES.items() if key != "head_dim"},
    **_SHARED,
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Architecture:
    """How an architecture of llama.cpp is written as a configuration.

    ``keys`` are those of config.json, with the fact that holds each; ``tensors`` those that say
    whether the first layer has a tensor.
    """

    model_type: str
    keys: Mapping[str, str] = field(default_factory=lambda: _SIZES)
    tensors: Mapping[str, str] = field(default_factory=dict)


_BIAS = {"attention_bias": "attn_q.bias"}
_NO_HEAD_DIM = {key: fact for key, fact in _SIZES.items() if key != "head_dim"}
_GPT2 = {
    "n_embd": "embedding_length",
    "n_layer": "block_count",
    "n_head": "attention.head_count",
    "n_inner": "feed_forward_length",
    "n_positions": "context_length",
}
_ARCHITECTURES: Mapping[str, _Architecture] = {
    "llama": _Architecture(model_type="llama", tensors=_BIAS | {"mlp_bias": "ffn_up.bias"}),
    "qwen2": _Architecture(model_type="qwen2"),
    "qwen2moe": _Architecture(
        model_type="qwen2_moe",
        keys=_SIZES
        | _EXPERTS
        | {"shared_expert_intermediate_size": "expert_shared_feed_forward_length"},
    ),
    "qwen3": _Architecture(model_type="qwen3", tensors=_BIAS),
    "qwen3moe": _Architecture(model_type="qwen3_moe", keys=_SIZES | _EXPERTS, tensors=_BIAS),
    "gemma": _Architecture(model_type="gemma"),
    "gemma2": _Architecture(model_type="gemma2", keys=_SIZES | _WINDOW),
    "gemma3": _Architecture(model_type="gemma3_text", keys=_SIZES | _WINDOW),
    "phi2": _Architecture(model_type="phi"),
    "phi3": _Architecture(
        model_type="phi3",
        keys=_NO_HEAD_DIM | _WINDOW,
    ),
    "gpt2": _Architecture(model_type="gpt2", keys=_GPT2),
    "gptneox": _Architecture(
        model_type="gpt_neox",
        keys={k: fact for k, fact in _NO_HEAD_DIM.items() if k != "num_key_value_heads"},
    ),
    "starcoder2": _Architecture(model_type="starcoder2", keys=_NO_HEAD_DIM),
    "stablelm": _Architecture(model_type="stablelm"),
    "command-r": _Architecture(model_type="cohere"),
    "cohere2": _Architecture(model_type="cohere2", keys=_SIZES | _WINDOW),
    "arcee": _Architecture(model_type="arcee", tensors=_BIAS),
    "exaone4": _Architecture(model_type="exaone4", keys=_SIZES | _WINDOW),
    "glm4": _Architecture(model_type="glm4", tensors=_BIAS),
    "olmo2": _Architecture(model_type="olmo2"),
    "granite": _Architecture(model_type="granite"),
    "smollm3": _Architecture(model_type="smollm3"),
    "seed_oss": _Architecture(model_type="seed_oss"),
    "gpt-oss": _Architecture(
        model_type="gpt_oss",
        keys=_SIZES
        | _LOCAL_EXPERTS
        | _WINDOW
        | {"intermediate_size": "expert_feed_forward_length"},
    ),
    "olmoe": _Architecture(
        model_type="olmoe", keys=_NO_HEAD_DIM | _ROUTED | {"num_experts": "expert_count"}
    ),
    "phimoe": _Architecture(model_type="phimoe", keys=_NO_HEAD_DIM | _LOCAL_EXPERTS | _WINDOW),
    "minimax-m2": _Architecture(
        model_type="minimax_m2",
        keys=_SIZES | _LOCAL_EXPERTS | {"intermediate_size": "expert_feed_forward_length"},
    ),
    "glm4moe": _Architecture(
        model_type="glm4_moe",
        keys=_SIZES | _SHARED,
        tensors=_BIAS | {"use_qk_norm": "attn_q_norm.weight"},
    ),
    "deepseek2": _Architecture(model_type="deepseek_v2", keys=_LATENT),
}
_SIGMOID = 2  # of expert_gating_func: DeepSeek's third version on
_FEW = 4  # formats that a note names


def read_gguf(path: Path) -> tuple[Config, Weights, tuple[str, ...]]:
    """Return the configuration of a GGUF file, what its tensors are, and how they are stored.

    Of a model in several files (``-00001-of-00003.gguf``) the others are read as well.

    Raises
    ------
    BitlatheError
        Raised if a file is missing or damaged, its architecture is not known, or layers differ.
    """
    place = shown_path(path)
    header = _header(path)
    weights = _weights(path, header)
    facts = header.facts
    name = str(facts.get("general.architecture"))
    if name not in _ARCHITECTURES:
        problem = unknown_name("architecture", name, _ARCHITECTURES)
        raise BitlatheError(f"{place}: {problem}. Give the model's config.json instead.")
    reader = _Facts(place, f"{name}.", facts)
    config = _config(reader, _ARCHITECTURES[name], weights)
    weights, notes = _without_extra_layers(reader, config, weights)
    matrices = [each[0] for each in weights.matrices()]
    counted = Counter(weights.formats[each] for each in matrices).most_common()
    stored = ", ".join(f"{count} as {kind}" for kind, count in counted[:_FEW])
    notes += (
        f"its {len(matrices)} matrices are stored {stored}; a chip or a sweep sets the formats.",
    )
    return Config(data=config, source=place, text="", place=place), weights, notes


def _header(path: Path) -> GgufHeader:
    with open_file(path, "GGUF file") as file:
        return read_gguf_header(mapped(file), shown_path(path))


def _weights(path: Path, header: GgufHeader) -> Weights:
    tensors = list(header.tensors)
    for other in _other_parts(path, header):
        tensors += _header(other).tensors
    for tensor in tensors:
        if tensor.kind not in TYPES:
            raise BitlatheError(
                f"{shown_path(path)}: tensor {shown(tensor.name)} has unknown type {tensor.kind}."
            )
    return Weights(
        place=shown_path(path),
        shapes={tensor.name: tensor.shape for tensor in tensors},
        formats={tensor.name: TYPES[tensor.kind] for tensor in tensors},
    )


def _other_parts(path: Path, header: GgufHeader) -> Iterator[Path]:
    count = header.facts.get("split.count", 1)
    if type(count) is not int or count < 2:
        return
    named = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\.gguf", path.name)
    if named is None or int(named[2]) != 1:
        raise BitlatheError(
            f"{shown_path(path)}: it is one of {count} parts of a model; give the first one, "
            f"named ...-00001-of-{count:05}.gguf."
        )
    for part in range(2, count + 1):
        other = path.with_name(f"{named[1]}-{part:05}-of-{named[3]}.gguf")
        if not other.is_file():
            raise BitlatheError(f"{shown_path(path)}: {other.name}, a part of it, is missing.")
        yield other


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts of an architecture, by their names without its own."""

    place: str
    prefix: str
    facts: Mapping[str, Any]

    def get(self, key: str) -> Any:
        """Return a fact as plain data, None if it is not there; one value of layers alike."""
        value = self.facts.get(self.prefix + key)
        if isinstance(value, np.ndarray | list):
            found = {int(each) for each in value}
            if len(found) > 1:
                raise BitlatheError(
                    f"{self.place}: {self.prefix}{key} differs between layers "
                    f"({', '.join(map(str, sorted(found)))}); give the model's config.json instead."
                )
            value = found.pop() if found else None
        return value


def _config(facts: _Facts, architecture: _Architecture, weights: Weights) -> dict[str, Any]:
    """Return the keys of a config.json."""
    keys = dict(architecture.keys)
    found: dict[str, Any] = {"model_type": architecture.model_type}
    if architecture.model_type == "llama" and facts.get("expert_count"):
        found["model_type"], keys = "mixtral", keys | _LOCAL_EXPERTS
    for key, fact in keys.items():
        if (value := facts.get(fact)) is not None:
            found[key] = value
    shapes = weights.shapes
    if "token_embd.weight" in shapes:
        found["vocab_size"] = shapes["token_embd.weight"][0]
    found["tie_word_embeddings"] = "output.weight" not in shapes
    for key, tensor in architecture.tensors.items():
        found[key] = f"blk.0.{tensor}" in shapes
    heads, hidden = found.get("num_attention_heads"), found.get("hidden_size")
    if "num_key_value_heads" in keys:
        found.setdefault("num_key_value_heads", heads)
    if "head_dim" in keys and "head_dim" not in found and heads and hidden:
        found["head_dim"] = hidden // heads
    if "sliding_window" in keys:
        found["sliding_window"] = found.get("sliding_window") or None  # 0 stands for none
    if architecture.model_type == "deepseek_v2":
        _latent(facts, found)
    return found


def _without_extra_layers(
    facts: _Facts, config: dict[str, Any], weights: Weights
) -> tuple[Weights, tuple[str, ...]]:
    """Leave out layers that predict further tokens, which the count of layers includes."""
    extra, layers = facts.get("nextn_predict_layers"), config.get("num_hidden_layers")
    if not extra or type(layers) is not int or not 0 < extra < layers:
        return weights, ()
    config["num_hidden_layers"] = layers - extra
    left_out = tuple(f"blk.{layers - extra + i}." for i in range(extra))
    kept = {name: shape for name, shape in weights.shapes.items() if not name.startswith(left_out)}
    note = f"{extra} of its {layers} layers predict further tokens, and are left out."
    return replace(weights, shapes=kept), (note,)


def _latent(facts: _Facts, found: dict[str, Any]) -> None:
    """Add the head sizes of latent attention, which newer files give under names of their own."""
    if facts.get("expert_gating_func") == _SIGMOID:
        found["model_type"] = "deepseek_v3"
    key = facts.get("attention.key_length_mla") or facts.get("attention.key_length")
    value = facts.get("attention.value_length_mla") or facts.get("attention.value_length")
    rotary = found.get("qk_rope_head_dim")
    if key and rotary:
        found["qk_nope_head_dim"] = key - rotary
    if value:
        found["v_head_dim"] = value
    found["num_key_value_heads"] = found.get("num_attention_heads")
    found.setdefault("q_lora_rank", None)
