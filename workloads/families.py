"""Catalogue of the transformer families: what a ``model_type`` stands for.

Facts follow the model and configuration classes of the same names in Hugging Face transformers
5.24 (key names, defaults, windows, biases, normalizations, heads); ``defaults`` are its values for
keys that config.json files leave out. Every family is tested against the parameter total of a
published model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .gemm import HEAD


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
    """Keys of a mixture of experts; ``stepped`` if some layers may be dense.

    The number of experts stands under either of two names, whichever a class calls its own.
    """

    total: str = "num_experts"
    other_total: str = "num_local_experts"
    active: str = "num_experts_per_tok"
    inner: str = "moe_intermediate_size"
    shared_inner: str | None = None
    stepped: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which layers attend to a sliding window, and where its length stands.

    ``sliding_window`` gives the length, ``default`` is it where the key is left out. ``flag`` is
    a key that must be true. ``by_type``: ``layer_types`` decides where it is given. Otherwise
    ``layers`` says which layers i, counted from 0, with n from the key ``count_key``, or
    ``count``: all, those from n on, even ones below n, all but each n-th.
    """

    default: int | None = 4096
    flag: str | None = None
    by_type: bool = False
    layers: Literal["all", "from", "even_below", "but_each"] = "all"
    count_key: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A matrix behind the last layer.

    ``stage``: "head" reads what the last layer leaves, "tail:x" what "head:x" leaves. ``outputs``
    are the hidden width, the vocabulary, the labels, or two. ``tokens``: all, one of each
    sequence, or as many as logits are wanted of. ``norm``: a layer norm follows.
    """

    name: str
    stage: str = "head"
    outputs: Literal["hidden", "vocabulary", "labels", "pair"] = "labels"
    tokens: Literal["all", "one", "logits"] = "one"
    bias: bool = True
    norm: bool = False


# By the end of the class's name in ``architectures``; the first stands where none is given.
_LM_HEAD = Output(name=HEAD, outputs="vocabulary", tokens="logits", bias=False)
_SCORE = Output(name="score", bias=False)
_DECODER_HEADS: Mapping[str, tuple[Output, ...]] = {
    "ForCausalLM": (_LM_HEAD,),
    "LMHeadModel": (_LM_HEAD,),
    "Model": (),
    "ForSequenceClassification": (_SCORE,),
    "ForTokenClassification": (replace(_SCORE, tokens="all", bias=True),),
}
_PHI_HEADS = {**_DECODER_HEADS, "ForCausalLM": (replace(_LM_HEAD, bias=True),)}
_POOLER = Output(name="pooler", stage="head:pooled", outputs="hidden")
_WORDS = (
    Output(name="mlm_transform", stage="head:words", outputs="hidden", tokens="all", norm=True),
    Output(name="mlm_decoder", stage="tail:words", outputs="vocabulary", tokens="all"),
)
_CLASSIFIER = Output(name="classifier")
_BERT_HEADS: Mapping[str, tuple[Output, ...]] = {
    "Model": (_POOLER,),
    "ForMaskedLM": _WORDS,
    "ForPreTraining": (
        _POOLER,
        *_WORDS,
        Output(name="seq_relationship", stage="tail:pooled", outputs="pair"),
    ),
    "ForSequenceClassification": (_POOLER, replace(_CLASSIFIER, stage="tail:pooled")),
    "ForTokenClassification": (replace(_CLASSIFIER, tokens="all"),),
    "ForQuestionAnswering": (replace(_CLASSIFIER, name="qa_outputs", tokens="all"),),
}
_VIT_HEADS: Mapping[str, tuple[Output, ...]] = {
    "ForImageClassification": (_CLASSIFIER,),
    "Model": (_POOLER,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the models of one ``model_type`` are built.

    Biases and ``qk_norm`` are true, false, or the key that says so (with its default).
    ``norm_vectors`` is 1 for an RMS norm and 2 for a layer norm with a bias. Norm counts are per
    layer, after the last layer, and behind the embeddings. ``grouped``: the keys
    ``num_key_value_heads`` and ``head_dim`` are read. ``refused`` are keys that, when set, make
    another model than this.
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
    heads: Mapping[str, tuple[Output, ...]] = field(default_factory=lambda: _DECODER_HEADS)
    tied: bool = False
    norms: int = 2
    norm_vectors: int = 1
    final_norms: int = 1
    embedding_norms: int = 0
    qk_norm: bool | tuple[str, bool] = False
    parallel: bool = False
    positions_learned: bool = False
    position_offset: int = 0
    token_types: bool = False
    narrow_embedding: str | None = None
    inner_factor: int | None = None
    experts: Experts | None = None
    window: Window | None = None
    refused: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


_QWEN_WINDOW = Window(
    flag="use_sliding_window", by_type=True, layers="from", count_key="max_window_layers", count=28
)
_GEMMA = {"head_dim": 256}
_BOTH_WAYS = ("use_bidirectional_attention",)
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
        narrow_embedding="word_embed_proj_dim",
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
        heads=_PHI_HEADS,
        norms=1,
        norm_vectors=2,
        qk_norm=("qk_layernorm", False),
        parallel=True,
    ),
    "phi3": Family(
        projections=("qkv_proj",), mlp=("gate_up_proj", "down_proj"), window=Window(default=None)
    ),
    "llama": Family(qkv_bias=_ATTENTION, output_bias=_ATTENTION, mlp_bias=("mlp_bias", False)),
    "mistral": Family(window=Window(), defaults={"num_key_value_heads": 8}),
    "mixtral": Family(
        window=Window(default=None),
        experts=Experts(
            total="num_local_experts",
            other_total="num_experts",
            inner="intermediate_size",
            stepped=False,
        ),
        defaults={"num_key_value_heads": 8},
    ),
    "qwen2": Family(qkv_bias=True, window=_QWEN_WINDOW, defaults={"num_key_value_heads": 32}),
    "qwen2_moe": Family(
        qkv_bias=("qkv_bias", True),
        window=replace(_QWEN_WINDOW, layers="even_below"),
        experts=Experts(shared_inner="shared_expert_intermediate_size"),
        defaults={"num_key_value_heads": 16, "shared_expert_intermediate_size": 5632},
    ),
    "qwen3": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        qk_norm=True,
        window=_QWEN_WINDOW,
        defaults={"num_key_value_heads": 32, "head_dim": 128},
    ),
    "qwen3_moe": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        qk_norm=True,
        window=Window(flag="use_sliding_window"),
        experts=Experts(),
        defaults={"num_key_value_heads": 4},
    ),
    "gemma": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        tied=True,
        refused=_BOTH_WAYS,
        defaults={**_GEMMA, "num_key_value_heads": 16},
    ),
    "gemma2": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        tied=True,
        norms=4,
        window=Window(by_type=True, layers="but_each", count=2),
        refused=_BOTH_WAYS,
        defaults={**_GEMMA, "num_key_value_heads": 4},
    ),
    "gemma3_text": Family(
        qkv_bias=_ATTENTION,
        output_bias=_ATTENTION,
        tied=True,
        norms=4,
        qk_norm=True,
        window=Window(by_type=True, layers="but_each", count_key="sliding_window_pattern", count=6),
        refused=_BOTH_WAYS,
        defaults={
            **_GEMMA,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
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
        heads=_BERT_HEADS,
        tied=True,
        norm_vectors=2,
        final_norms=0,
        embedding_norms=1,
        positions_learned=True,
        token_types=True,
        refused=("is_decoder",),
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
        heads=_VIT_HEADS,
        norm_vectors=2,
        positions_learned=True,
        defaults={"image_size": 224, "patch_size": 16, "num_channels": 3},
    ),
}

# Models around a text model that is run alone: where its configuration stands in theirs.
AROUND_TEXT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("audioflamingo3", "blip-2", "deepseek_vl", "fast_vlm", "gemma3", "glmasr"),
            *("got_ocr2", "idefics2", "idefics3", "instructblip", "internvl", "janus"),
            *("lighton_ocr", "llava", "llava_next", "llava_next_video", "llava_onevision"),
            *("mistral3", "musicflamingo", "ovis2", "paligemma", "perception_lm", "qwen2_audio"),
            *("qwen3_asr", "shieldgemma2", "smolvlm", "video_llama_3", "video_llava", "vipllava"),
            "voxtral",
        ),
        "text_config",
    ),
    "internvl_chat": "llm_config",
}
