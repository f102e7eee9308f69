"""Families of the shape of Llama: RMS norms, gated MLPs, grouped heads."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .facts import AttentionFacts, MlpFacts, Window
from .family import Family, sizes
from .outputs import DECODER, LM_HEAD

ATTENTION = ("attention_bias", False)
"""The rule of many classes: ``attention_bias``, false where it is left out."""

BIASED = AttentionFacts(qkv_bias=ATTENTION, output_bias=ATTENTION)
MLP_BIAS = ("mlp_bias", False)
PARTIAL = "partial_rotary_factor"
_FEW_WORDS = replace(LM_HEAD, outputs="output_vocab_size")

_LLAMA = Family(
    attention=BIASED, mlp=MlpFacts(bias=MLP_BIAS), sizes=sizes(4096, 32, 32, 11008, 32000)
)

LLAMA: Mapping[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "exaone": replace(
        _LLAMA,
        renamed={"num_layers": "num_hidden_layers", "activation_function": "hidden_act"},
        defaults={"num_key_value_heads": 8},
        sizes=sizes(4096, 32, 32, 14336, 102400),
    ),
    "helium": replace(
        _LLAMA,
        attention=replace(BIASED, output_bias=False),
        defaults={"num_key_value_heads": 20, "head_dim": 128},
        sizes=sizes(2560, 24, 20, 7040, 48000),
    ),
    "hyperclovax": replace(_LLAMA, norms_behind=("use_post_norm", True)),
    "granite_swa": replace(
        _LLAMA,
        attention=replace(BIASED, head_dim=None, sinks=True, rotary_layers="thetas"),
        window=Window(default=128, types="layer_types", layers="behind_each", count=4),
        tied=True,
        defaults={"num_key_value_heads": 4},
        sizes=sizes(2560, 24, 20, 8192, 100352),
    ),
    "nanochat": Family(
        attention=replace(BIASED, qk_norm=True, qk_norm_vectors=0),
        mlp=MlpFacts(names=("fc1", "fc2"), gated=False, activation="relu2"),
        embedding_norms=1,
        norm_vectors=0,
        sizes=sizes(768, 12, 6, 8192, 50304),
    ),
    "iquestcoder": replace(
        _LLAMA,
        defaults={"num_key_value_heads": 8, "head_dim": 128},
        sizes=sizes(5120, 80, 40, 27648, 76800),
    ),
    "cwm": replace(
        _LLAMA,
        window=Window(default=8192, types="layer_types", layers="behind_each", count=4),
        defaults={"num_key_value_heads": 8, "head_dim": 128},
        sizes=sizes(6144, 64, 48, 21504, 128256),
    ),
    "hunyuan_v1_dense": replace(
        _LLAMA,
        attention=replace(BIASED, qk_norm=True),
        mlp=MlpFacts(),
        sizes=sizes(4096, 32, 32, 11008, 290943),
    ),
    "ministral": Family(
        window=Window(types="layer_types"),
        defaults={"num_key_value_heads": 8},
        sizes=sizes(4096, 32, 32, 14336, 32000),
    ),
    "mistral": Family(
        window=Window(),
        defaults={"num_key_value_heads": 8},
        sizes=sizes(4096, 32, 32, 14336, 32000),
    ),
    "ministral3": Family(
        window=Window(default=None),
        defaults={"num_key_value_heads": 8, "head_dim": 128},
        sizes=sizes(4096, 34, 32, 14336, 131072),
    ),
    "phi3": Family(
        attention=AttentionFacts(projections=("qkv_proj",), rotary_key=PARTIAL),
        mlp=MlpFacts(names=("gate_up_proj", "down_proj")),
        window=Window(default=None),
        sizes=sizes(3072, 32, 32, 8192, 32064),
    ),
    "mllama_text_model": Family(
        attention=AttentionFacts(head_dim=None),
        crossed="cross_attention_layers",
        more_words=8,
        tied_by_key=False,
        defaults={
            "num_key_value_heads": 8,
            "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
        },
        sizes=sizes(4096, 40, 32, 14336, 128256),
    ),
    "smollm3": Family(
        attention=replace(BIASED, rotary_layers="listed"),
        mlp=MlpFacts(bias=MLP_BIAS),
        window=Window(
            default=None, flag="use_sliding_window", types="layer_types", layers="unturned"
        ),
        tied=True,
        defaults={"num_key_value_heads": 4},
        sizes=sizes(2048, 36, 16, 11008, 128256),
    ),
    "internlm3": Family(
        attention=AttentionFacts(qkv_bias=("qkv_bias", False), output_bias=("bias", False)),
        mlp=MlpFacts(bias=("bias", False)),
        renamed={"attention_bias": "qkv_bias", "mlp_bias": "bias"},
        defaults={"num_key_value_heads": 2, "head_dim": 128},
    ),
    "seed_oss": Family(
        attention=AttentionFacts(
            qkv_bias=("attention_bias", True), output_bias=("attention_out_bias", False)
        ),
        mlp=MlpFacts(bias=MLP_BIAS),
        defaults={"num_key_value_heads": 8, "head_dim": 128},
        sizes=sizes(4096, 64, 80, 27648, 155136),
    ),
    "arcee": Family(
        attention=BIASED,
        mlp=MlpFacts(
            names=("up_proj", "down_proj"), gated=False, bias=MLP_BIAS, activation="relu2"
        ),
        sizes=sizes(2560, 32, 32, 18432, 32000),
    ),
    "apertus": Family(
        attention=replace(BIASED, qk_norm=True),
        mlp=MlpFacts(names=("up_proj", "down_proj"), gated=False, activation="xielu"),
        sizes=sizes(4096, 32, 32, 14336, 131072),
    ),
    "apertus1p5_text": Family(
        attention=replace(BIASED, qk_norm=True),
        mlp=MlpFacts(names=("up_proj", "down_proj"), gated=False, activation="xielu"),
        outputs={
            **DECODER,
            "ForCausalLM": (_FEW_WORDS,),
            "ForConditionalGeneration": (_FEW_WORDS,),
        },
        sizes=sizes(4096, 32, 32, 14336, 266752),
    ),
    "bitnet": Family(
        attention=replace(BIASED, sub_norm=True),
        mlp=MlpFacts(activation="relu2", sub_norm=True),
        defaults={"num_key_value_heads": 5},
        sizes=sizes(2560, 30, 20, 6912, 128256),
    ),
    "glm": Family(
        attention=AttentionFacts(
            qkv_bias=("attention_bias", True), rotary=Fraction(1, 2), rotary_key=PARTIAL
        ),
        mlp=MlpFacts(names=("gate_up_proj", "down_proj")),
        defaults={"num_key_value_heads": 2, "head_dim": 128},
        sizes=sizes(4096, 40, 32, 13696, 151552),
    ),
    "olmo": Family(
        attention=BIASED,
        norm="layer_norm",
        norm_vectors=0,
        sizes=sizes(4096, 32, 32, 11008, 50304),
    ),
    "nemotron": Family(
        attention=replace(BIASED, rotary=Fraction(1, 2), rotary_key=PARTIAL),
        mlp=MlpFacts(
            names=("up_proj", "down_proj"), gated=False, bias=MLP_BIAS, activation="relu2"
        ),
        norm="layer_norm",
        norm_vectors=2,
        sizes=sizes(6144, 32, 48, 24576, 256000),
    ),
    "jais2": Family(
        attention=AttentionFacts(
            qkv_bias=("attention_bias", True), output_bias=("attention_bias", True)
        ),
        mlp=MlpFacts(
            names=("up_proj", "down_proj"),
            gated=False,
            bias=("mlp_bias", True),
            activation="relu2",
        ),
        norm="layer_norm",
        norm_vectors=2,
        defaults={"num_key_value_heads": 26},
        sizes=sizes(3328, 32, 26, 26624, 150272),
    ),
    "ernie4_5": Family(
        attention=AttentionFacts(qkv_bias=("use_bias", False), output_bias=("use_bias", False)),
        mlp=MlpFacts(bias=("use_bias", False)),
        tied=True,
        defaults={"num_key_value_heads": 2, "head_dim": 128},
        sizes=sizes(1024, 18, 16, 3072, 103424),
    ),
    "glm4": Family(
        attention=AttentionFacts(
            qkv_bias=("attention_bias", True), rotary=Fraction(1, 2), rotary_key=PARTIAL
        ),
        mlp=MlpFacts(names=("gate_up_proj", "down_proj")),
        norms=4,
        defaults={"num_key_value_heads": 2, "head_dim": 128},
        sizes=sizes(4096, 40, 32, 13696, 151552),
    ),
    "glm4v_text": Family(
        attention=AttentionFacts(
            head_dim=None, qkv_bias=True, rotary=Fraction(1, 2), rotary_key=PARTIAL
        ),
        mlp=MlpFacts(names=("gate_up_proj", "down_proj")),
        norms=4,
        defaults={"num_key_value_heads": 2},
        sizes=sizes(4096, 40, 32, 13696, 151552),
    ),
    "olmo2": Family(
        attention=replace(BIASED, qk_norm=True, qk_norm_over="all"),
        sizes=sizes(4096, 32, 32, 11008, 50304),
    ),
    "olmo3": Family(
        attention=replace(BIASED, qk_norm=True, qk_norm_over="all"),
        window=Window(types="layer_types", layers="but_each", count=4),
        sizes=sizes(4096, 32, 32, 11008, 50304),
    ),
    "exaone4": Family(
        attention=AttentionFacts(qk_norm=True, rotary_layers="windowed"),
        window=Window(
            types="layer_types", layers="but_each", count_key="sliding_window_pattern", count=4
        ),
        defaults={"num_key_value_heads": 32},
        sizes=sizes(4096, 32, 32, 16384, 102400),
    ),
    "cohere": Family(
        attention=replace(BIASED, qk_norm=("use_qk_norm", False), qk_norm_over="each"),
        tied=True,
        norms=1,
        norm="layer_norm",
        parallel=True,
        sizes=sizes(8192, 40, 64, 22528, 256000),
    ),
    "cohere2": Family(
        attention=replace(BIASED, rotary_layers="windowed"),
        window=Window(
            types="layer_types", layers="but_each", count_key="sliding_window_pattern", count=4
        ),
        tied=True,
        norms=1,
        norm="layer_norm",
        parallel=True,
        sizes=sizes(8192, 40, 64, 22528, 256000),
    ),
}
