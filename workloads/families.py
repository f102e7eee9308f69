"""Catalogue of the transformer families: what a ``model_type`` stands for.

Facts follow the model classes of the same names in Hugging Face transformers (key names,
defaults, biases, normalisations); `defaults` are its values for keys that published config.json
files of the family leave out. Every family is held to the parameter total of a published model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Names under which a family's config.json gives the sizes."""

    hidden: str = "hidden_size"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    inner: str = "intermediate_size"
    positions: str = "max_position_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """Keys of a mixture of experts."""

    total: str
    active: str = "num_experts_per_tok"
    inner: str = "intermediate_size"
    shared_inner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the models of one ``model_type`` are built.

    Biases are true, false, or the key that says so (with its default). ``norm_vectors`` is 1 for
    an RMS norm and 2 for a layer norm with a bias. Norm counts are per layer, after the last
    layer, and behind the embeddings.
    """

    kind: Literal["decoder", "encoder", "vision"] = "decoder"
    keys: Keys = Keys()
    projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    mlp: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    mlp_matrices: int = 3
    grouped: bool = True
    qkv_bias: bool | tuple[str, bool] = False
    output_bias: bool | tuple[str, bool] = False
    mlp_bias: bool | tuple[str, bool] = False
    head_bias: bool = False
    tied: bool = False
    norms: int = 2
    norm_vectors: int = 1
    final_norms: int = 1
    embedding_norms: int = 0
    qk_norm: bool = False
    parallel: bool = False
    positions_learned: bool = False
    position_offset: int = 0
    pooler: bool = False
    inner_factor: int | None = None
    experts: Experts | None = None
    window_every: int | None = None
    window_flag: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


_QWEN_MOE = {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": False}
_GEMMA = {"head_dim": 256}
_ATTENTION = ("attention_bias", False)

FAMILIES: Mapping[str, Family] = {
    "opt": Family(
        keys=Keys(inner="ffn_dim"),
        output="out_proj",
        mlp=("fc1", "fc2"),
        mlp_matrices=2,
        grouped=False,
        qkv_bias=("enable_bias", True),
        output_bias=("enable_bias", True),
        mlp_bias=("enable_bias", True),
        tied=True,
        norm_vectors=2,
        positions_learned=True,
        position_offset=2,
    ),
    "gpt2": Family(
        keys=Keys(
            hidden="n_embd",
            layers="n_layer",
            heads="n_head",
            inner="n_inner",
            positions="n_positions",
        ),
        projections=("c_attn",),
        output="c_proj",
        mlp=("c_fc", "mlp_c_proj"),
        mlp_matrices=2,
        grouped=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        tied=True,
        norm_vectors=2,
        positions_learned=True,
        inner_factor=4,
    ),
    "phi": Family(
        output="dense",
        mlp=("fc1", "fc2"),
        mlp_matrices=2,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        head_bias=True,
        norms=1,
        norm_vectors=2,
        parallel=True,
    ),
    "phi3": Family(projections=("qkv_proj",), mlp=("gate_up_proj", "down_proj")),
    "llama": Family(qkv_bias=_ATTENTION, output_bias=_ATTENTION, mlp_bias=("mlp_bias", False)),
    "mistral": Family(),
    "mixtral": Family(experts=Experts(total="num_local_experts")),
    "qwen2": Family(qkv_bias=True, window_flag="use_sliding_window"),
    "qwen2_moe": Family(
        qkv_bias=True,
        window_flag="use_sliding_window",
        experts=Experts(
            total="num_experts",
            inner="moe_intermediate_size",
            shared_inner="shared_expert_intermediate_size",
        ),
        defaults=_QWEN_MOE,
    ),
    "qwen3": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        qk_norm=True,
        window_flag="use_sliding_window",
        defaults={"head_dim": 128},
    ),
    "qwen3_moe": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        qk_norm=True,
        window_flag="use_sliding_window",
        experts=Experts(total="num_experts", inner="moe_intermediate_size"),
        defaults=_QWEN_MOE,
    ),
    "gemma": Family(qkv_bias=_ATTENTION, output_bias=_ATTENTION, tied=True, defaults=_GEMMA),
    "gemma2": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        tied=True,
        norms=4,
        window_every=2,
        defaults=_GEMMA,
    ),
    "gemma3_text": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        tied=True,
        norms=4,
        qk_norm=True,
        window_every=6,
        defaults={
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "vocab_size": 262208,
        },
    ),
    "bert": Family(
        kind="encoder",
        projections=("query", "key", "value"),
        output="dense",
        mlp=("intermediate", "output"),
        mlp_matrices=2,
        grouped=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        norm_vectors=2,
        final_norms=0,
        embedding_norms=1,
        positions_learned=True,
        pooler=True,
        defaults={"type_vocab_size": 2},
    ),
    "vit": Family(
        kind="vision",
        projections=("query", "key", "value"),
        output="dense",
        mlp=("intermediate", "output"),
        mlp_matrices=2,
        grouped=False,
        qkv_bias=("qkv_bias", True),
        output_bias=True,
        mlp_bias=True,
        norm_vectors=2,
        positions_learned=True,
        defaults={"image_size": 224, "patch_size": 16, "num_channels": 3},
    ),
}
