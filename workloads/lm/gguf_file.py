"""A Llama-like model in a GGUF file: its tensors under Hugging Face names, and its tokenizer."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError, cut, unknown_name
from ...datatypes.base.files import open_file, shown_path
from ...datatypes.weights.gguf_header import read_gguf_header
from ...datatypes.weights.mapped import mapped
from ...datatypes.weights.read import StoredTensor, open_tensors
from ..transformer import Attention, Transformer

# names of llama.cpp's GGUF -> names of Hugging Face's Llama
_OUTER = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_VOCABULARY = ("tokens", "merges", "token_type")
_CONTROL = 3  # token_type of tokens that no text produces


def gguf_tensors(path: Path, shape: Transformer) -> dict[str, StoredTensor]:
    """Return the tensors under their Hugging Face names; they are dequantized when they are read.

    GGUF files of Llama keep the rows of query and key in pairs (2i, 2i + 1) as ggml rotates them;
    they are put back into the two halves that Hugging Face rotates.

    Raises
    ------
    BitlatheError
        If the file cannot be read, or a tensor's name is not one of a Llama-like model.
    """
    attention = shape.only(Attention)
    heads = {"attn_q": attention.heads, "attn_k": attention.kv_heads}
    found: dict[str, StoredTensor] = {}
    for name, each in open_tensors(path).items():
        if name in _OUTER:
            found[_OUTER[name]] = each
            continue
        _, layer, part, kind = name.split(".") if name.count(".") == 3 else ("", "", name, "")
        if part not in _INNER:
            raise BitlatheError(f"{path}: " + unknown_name("tensor", part, _INNER))
        made = each
        if part in heads:
            made = replace(each, read=partial(_read_halves, each, heads[part]))
        found[f"layers.{layer}.{_INNER[part]}.{kind}"] = made
    return found


def _read_halves(tensor: StoredTensor, heads: int) -> NDArray[np.float32]:
    return _halves(tensor.read(), heads)


def _halves(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Return each head's rows 0, 1, 2, 3 ... as 0, 2, ... then 1, 3, ..."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


@lru_cache(maxsize=1)
def gguf_tokenizer(path: Path) -> Any:
    """Return the byte-pair tokenizer of a GGUF file, from its own vocabulary and merges.

    Raises
    ------
    BitlatheError
        The file's pre-tokenizer is not SmolLM's (digits one by one, then GPT-2's byte level), or
        its vocabulary is damaged.
    """
    with open_file(path, "GGUF file") as stream:
        facts = read_gguf_header(mapped(stream), shown_path(path)).facts
    kind = facts.get("tokenizer.ggml.pre")
    if kind != "smollm":
        raise BitlatheError(
            f"{path}: pre-tokenizer {kind!r}; only 'smollm' is known. Use a Hugging Face folder."
        )
    try:
        made = _byte_pairs(*(facts.get(f"tokenizer.ggml.{key}", ()) for key in _VOCABULARY))
    except Exception as problem:  # the library raises nothing narrower
        why = cut(str(problem), 200)
        raise BitlatheError(f"{shown_path(path)}: its vocabulary is damaged: {why}") from None
    return made


def _byte_pairs(tokens: Sequence[str], merges: Sequence[str], types: Sequence[int]) -> Any:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs: Any = [tuple(merge.split(" ", 1)) for merge in merges]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    control = [t for t, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    made.add_special_tokens([AddedToken(token, special=True) for token in control])
    return made
