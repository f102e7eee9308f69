"""The forward pass of a Llama-like decoder in float32, in plain torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from ...datatypes.base.errors import BitlatheError
from ...datatypes.weights.read import StoredTensor
from ..config import Config
from ..transformer import Attention as AttentionSizes
from ..transformer import Mlp as MlpSizes
from ..transformer import Transformer
from .checkpoint import Checkpoint


class Attention(nn.Module):
    """Causal attention with grouped key and value heads and rotary positions."""

    def __init__(self, shape: AttentionSizes, eps: float) -> None:
        super().__init__()
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.shape = shape
        # keys and values, (heads, tokens, head_dim) each, as they are stored; None: as they are
        self.cache: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        self.q_proj = nn.Linear(shape.hidden, wide, bias=shape.qkv_bias)
        self.k_proj = nn.Linear(shape.hidden, narrow, bias=shape.qkv_bias)
        self.v_proj = nn.Linear(shape.hidden, narrow, bias=shape.qkv_bias)
        self.o_proj = nn.Linear(wide, shape.hidden, bias=shape.output_bias)
        if shape.qk_norm:
            self.q_norm = nn.RMSNorm(shape.head_dim, eps)
            self.k_norm = nn.RMSNorm(shape.head_dim, eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the mix of (tokens, hidden); cos, sin : (tokens, head_dim)."""
        shape, tokens = self.shape, len(x)
        q = self.q_proj(x).view(tokens, shape.heads, shape.head_dim).transpose(0, 1)
        k = self.k_proj(x).view(tokens, shape.kv_heads, shape.head_dim).transpose(0, 1)
        v = self.v_proj(x).view(tokens, shape.kv_heads, shape.head_dim).transpose(0, 1)
        if shape.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = q * cos + _half_turn(q) * sin, k * cos + _half_turn(k) * sin
        if self.cache is not None:
            k, v = self.cache(k, v)
        shared = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(shared, 0), v.repeat_interleave(shared, 0)
        mixed = scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        out: Tensor = self.o_proj(mixed.transpose(0, 1).reshape(tokens, -1))
        return out


class Mlp(nn.Module):
    """Gated MLP: down(silu(gate x) * up x)."""

    def __init__(self, shape: MlpSizes) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.inner, bias=shape.bias)
        self.up_proj = nn.Linear(shape.hidden, shape.inner, bias=shape.bias)
        self.down_proj = nn.Linear(shape.inner, shape.hidden, bias=shape.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return what (tokens, hidden) become."""
        out: Tensor = self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One layer: attention and MLP, each behind a norm and added to its input."""

    def __init__(self, shape: Transformer, eps: float) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps)
        self.self_attn = Attention(shape.only(AttentionSizes), eps)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps)
        self.mlp = Mlp(shape.only(MlpSizes))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return what (tokens, hidden) become."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    """A decoder whose ``layers`` may be exchanged for quantized ones.

    Parameters
    ----------
    shape : Transformer
    eps : float
        Of the RMS norms.
    frequencies : (head_dim / 2,) array
        Angle of each pair of elements per position, in radians.
    """

    def __init__(self, shape: Transformer, eps: float, frequencies: NDArray[np.float64]) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Block(shape, eps) for _ in range(shape.depth))
        self.norm = nn.RMSNorm(shape.hidden, eps)
        self.lm_head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)

    def turns(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Return cosine and sine, (tokens, head_dim) each, of the rotary positions from 0."""
        angle = torch.from_numpy(np.outer(np.arange(tokens), self.frequencies)).repeat(1, 2)
        return angle.cos().float(), angle.sin().float()

    def hidden(self, ids: Tensor, layers: nn.ModuleList | None = None) -> Tensor:
        """Return (tokens, hidden), what the head reads, of (tokens,) token numbers.

        ``layers`` takes the place of the model's own ones if given.
        """
        cos, sin = self.turns(len(ids))
        x = self.embed_tokens(ids)
        for layer in self.layers if layers is None else layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits, (tokens, vocabulary), of (tokens,) token numbers."""
        out: Tensor = self.lm_head(self.hidden(ids))
        return out


def _half_turn(x: Tensor) -> Tensor:
    """Return (-b, a) for the halves (a, b) of the last axis."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


def rotary_frequencies(config: Config, head_dim: int) -> NDArray[np.float64]:
    """Return the angle per position of each pair, theta^(-2 i / head_dim), in radians.

    Of the scalings, ``linear`` (all divided by the factor) and ``llama3`` (the slow ones divided,
    those between blended; Llama 3.1's rule) are known.

    Raises
    ------
    BitlatheError
        Another scaling.
    """
    key = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    rules: Mapping[str, Any] = config.get(key) or {}
    theta = float(rules.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    plain: NDArray[np.float64] = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    kind = rules.get("rope_type", rules.get("type", "default"))
    if kind == "default":
        return plain
    if kind == "linear":
        return plain / float(rules["factor"])
    if kind != "llama3":
        raise config.error(
            f"scaling of rotary positions {kind!r}; known are default, linear and llama3.", key
        )
    length = float(rules["original_max_position_embeddings"])
    low, high = float(rules["low_freq_factor"]), float(rules["high_freq_factor"])
    turns = length * plain / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return plain * (blend + (1 - blend) / float(rules["factor"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A decoder whose weights lie in files until a part of it is loaded.

    Attributes
    ----------
    decoder : Decoder
        On torch's ``meta`` device, but for what was loaded.
    tensors : mapping of str to StoredTensor
        By the names that the decoder's state has.
    """

    decoder: Decoder
    tensors: Mapping[str, StoredTensor]

    def load(self, part: str = "") -> nn.Module:
        """Return a part by its name, such as ``layers.0``, with its weights in float32."""
        start = f"{part}." if part else ""
        read: dict[int, Tensor] = {}  # a tied head is the embedding's tensor, read once
        state = {}
        for name, lying in self.tensors.items():
            if name.startswith(start):
                if id(lying) not in read:
                    values = np.require(lying.read(), np.float32, ["C", "W"])
                    read[id(lying)] = torch.from_numpy(values)
                state[name.removeprefix(start)] = read[id(lying)]
        made = self.decoder.get_submodule(part)
        made.load_state_dict(state, assign=True)
        return made.eval().requires_grad_(False)

    def block(self, number: int) -> nn.Module:
        """Return a block with its weights."""
        return self.load(f"layers.{number}")

    def drop(self, part: str) -> None:
        """Leave nothing of a part in memory."""
        above, _, last = part.rpartition(".")
        setattr(self.decoder.get_submodule(above), last, nn.Identity())


def open_decoder(checkpoint: Checkpoint) -> Opened:
    """Return a checkpoint as a module whose parts are loaded one by one.

    Raises
    ------
    BitlatheError
        Tensors are missing, too many, or of another size than the configuration says.
    """
    config, shape = checkpoint.config, checkpoint.shape
    if (act := config.get("hidden_act")) not in (None, "silu"):
        raise config.error(f"hidden_act {act!r}; the forward pass knows 'silu'.", "hidden_act")
    eps = float(config.get("rms_norm_eps") or 1e-6)
    with torch.device("meta"):
        made = Decoder(shape, eps, rotary_frequencies(config, shape.only(AttentionSizes).head_dim))
    tensors = checkpoint.tensors()
    if shape.tied and "embed_tokens.weight" in tensors:
        tensors["lm_head.weight"] = tensors["embed_tokens.weight"]
    _check(tensors, made, checkpoint)
    return Opened(decoder=made, tensors=tensors)


def load_decoder(checkpoint: Checkpoint) -> Decoder:
    """Return a checkpoint as a module, in float32.

    Raises
    ------
    BitlatheError
        See `open_decoder`.
    """
    opened = open_decoder(checkpoint)
    opened.load()
    return opened.decoder


def _check(tensors: Mapping[str, StoredTensor], made: nn.Module, checkpoint: Checkpoint) -> None:
    wanted = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    place = checkpoint.files[0].parent
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise BitlatheError(f"{place}: no tensor {missing[0]!r} ({len(missing)} are missing).")
    if spare := sorted(tensors.keys() - wanted.keys()):
        raise BitlatheError(
            f"{place}: tensor {spare[0]!r} has no place in a {checkpoint.config.get('model_type')} "
            f"of this configuration ({len(spare)} such)."
        )
    for name, size in wanted.items():
        if tensors[name].shape != size:
            raise BitlatheError(
                f"{place}: tensor {name!r} is {list(tensors[name].shape)}; "
                f"the configuration says {list(size)}."
            )
