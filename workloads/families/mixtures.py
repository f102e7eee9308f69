"""Families of which some or all layers are mixtures of experts."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .facts import AttentionFacts, ExpertFacts, MlpFacts, Window
from .family import Family, sizes
from .llama import ATTENTION, BIASED, MLP_BIAS, PARTIAL
from .outputs import DECODER, LM_HEAD

_LOCAL = ("num_local_experts", "num_experts")

_ROUTED = ExpertFacts(
    total=("n_routed_experts", "num_local_experts"),
    layers="after_first",
    shared_count="n_shared_experts",
)
_GLM = Family(
    attention=AttentionFacts(
        qkv_bias=ATTENTION,
        rotary=Fraction(1, 2),
        rotary_key=PARTIAL,
        qk_norm=("use_qk_norm", False),
        uneven=True,
    ),
    experts=_ROUTED,
    defaults={
        "num_key_value_heads": 8,
        "n_routed_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 1408,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    },
    sizes=sizes(4096, 46, 96, 10944, 151552),
)
_GRANITE = Family(
    attention=replace(BIASED, head_dim=None),
    mlp=MlpFacts(names=("input_linear", "output_linear")),
    experts=ExpertFacts(total=_LOCAL, inner="intermediate_size"),
    sizes=sizes(4096, 32, 32, 11008, 32000),
    defaults={"num_local_experts": 8, "num_experts_per_tok": 2},
)
SHARED = ExpertFacts(
    total=_LOCAL, inner="intermediate_size", shared_inner="shared_intermediate_size"
)
"""Granite's experts beside a shared one."""
GRANITE_SHARED = replace(_GRANITE, experts=SHARED)

MIXTURES: Mapping[str, Family] = {
    "granitemoe": _GRANITE,
    "granitemoeshared": GRANITE_SHARED,
    "ernie4_5_moe": Family(
        attention=AttentionFacts(
            head_dim=None, qkv_bias=("use_bias", False), output_bias=("use_bias", False)
        ),
        mlp=MlpFacts(bias=("use_bias", False)),
        experts=ExpertFacts(
            total=("moe_num_experts", "num_experts"),
            active=("moe_k", "num_experts_per_tok"),
            layers="between",
            shared_count="moe_num_shared_experts",
            router_bias=True,
        ),
        outputs={**DECODER, "ForCausalLM": (replace(LM_HEAD, bias=("use_bias", False)),)},
        tied=True,
        defaults={
            "num_key_value_heads": 4,
            "moe_num_experts": 64,
            "moe_k": 6,
            "moe_intermediate_size": 1536,
            "moe_num_shared_experts": 2,
        },
        sizes=sizes(2560, 28, 20, 12288, 103424),
    ),
    "mixtral": Family(
        window=Window(default=None),
        experts=ExpertFacts(total=_LOCAL, inner="intermediate_size"),
        defaults={"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
        sizes=sizes(4096, 32, 32, 14336, 32000),
    ),
    "phimoe": Family(
        attention=BIASED,
        window=Window(default=None),
        experts=ExpertFacts(total=_LOCAL, inner="intermediate_size"),
        outputs={
            **DECODER,
            "ForCausalLM": (replace(LM_HEAD, bias=("lm_head_bias", False)),),
        },
        norm="layer_norm",
        norm_vectors=2,
        defaults={"num_key_value_heads": 8, "num_local_experts": 16, "num_experts_per_tok": 2},
        sizes=sizes(4096, 32, 32, 6400, 32064),
    ),
    "olmoe": Family(
        attention=replace(BIASED, qk_norm=True, qk_norm_over="all"),
        experts=ExpertFacts(inner="intermediate_size"),
        defaults={"num_experts": 64, "num_experts_per_tok": 8},
        sizes=sizes(2048, 16, 16, 2048, 50304),
    ),
    "flex_olmo": Family(
        attention=replace(BIASED, head_dim=None, qk_norm=True, qk_norm_over="all"),
        experts=ExpertFacts(inner="intermediate_size"),
        defaults={"num_experts": 7, "num_experts_per_tok": 5},
        sizes=sizes(4096, 32, 32, 11008, 100352),
    ),
    "minimax_m2": Family(
        attention=AttentionFacts(qk_norm=True, qk_norm_over="all", rotary_key="rotary_dim"),
        experts=ExpertFacts(total=_LOCAL, inner="intermediate_size"),
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_local_experts": 256,
            "num_experts_per_tok": 8,
        },
        sizes=sizes(3072, 62, 48, 1536, 200064),
    ),
    "gpt_oss": Family(
        attention=AttentionFacts(
            qkv_bias=("attention_bias", True), output_bias=("attention_bias", True), sinks=True
        ),
        window=Window(default=128, types="layer_types", layers="but_each", count=2),
        experts=ExpertFacts(
            total=_LOCAL,
            inner="intermediate_size",
            router_bias=True,
            bias=True,
        ),
        plain=("experts_per_token",),
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 64,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
        },
        sizes=sizes(2880, 36, 64, 2880, 201088),
    ),
    "glm4_moe": _GLM,
    "glm4v_moe_text": replace(
        _GLM,
        attention=AttentionFacts(
            qkv_bias=("attention_bias", True), rotary=Fraction(1, 2), rotary_key=PARTIAL
        ),
        sizes=sizes(4096, 46, 96, 10944, 151424),
    ),
    "solar_open": replace(
        _GLM,
        attention=AttentionFacts(qkv_bias=ATTENTION, rotary_key=PARTIAL),
        experts=replace(_ROUTED, layers="all"),
        plain=("first_k_dense_replace", "intermediate_size"),
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 128,
            "n_routed_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1280,
            "n_shared_experts": 1,
        },
        sizes=sizes(4096, 48, 64, 0, 196608),
    ),
    "sarvam_moe": replace(
        _GLM,
        attention=AttentionFacts(
            qkv_bias=ATTENTION, rotary_key=PARTIAL, qk_norm=("use_qk_norm", True)
        ),
        renamed={
            "num_experts": "n_routed_experts",
            "num_shared_experts": "n_shared_experts",
            "use_qkv_bias": "attention_bias",
        },
        defaults={
            "num_key_value_heads": 4,
            "head_dim": 64,
            "n_routed_experts": 128,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1024,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(4096, 19, 64, 8192, 262144),
    ),
    "dots1": Family(
        attention=replace(BIASED, qk_norm=True),
        window=Window(types="layer_types", layers="from", count_key="max_window_layers", count=62),
        experts=_ROUTED,
        defaults={
            "num_key_value_heads": 32,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 0,
        },
        sizes=sizes(4608, 62, 32, 10944, 152064),
    ),
    "exaone_moe": Family(
        attention=AttentionFacts(qk_norm=True, rotary_layers="windowed"),
        window=Window(
            types="layer_types", layers="but_each", count_key="sliding_window_pattern", count=4
        ),
        experts=ExpertFacts(total=_LOCAL, layers="after_first", shared_count="num_shared_experts"),
        defaults={
            "num_key_value_heads": 32,
            "num_experts": 64,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1024,
            "num_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(4096, 32, 32, 16384, 102400),
    ),
    "afmoe": Family(
        attention=AttentionFacts(
            qkv_bias=ATTENTION,
            output_bias=ATTENTION,
            qk_norm=True,
            gate="attention_gate_proj",
            rotary_layers="windowed",
        ),
        window=Window(
            default=1024,
            types="layer_types",
            layers="but_each",
            count_key="global_attn_every_n_layers",
            count=4,
        ),
        experts=ExpertFacts(
            layers="after_dense", shared_count="num_shared_experts", choice_bias=True
        ),
        norms=4,
        defaults={
            "head_dim": 128,
            "num_experts": 64,
            "num_experts_per_tok": 6,
            "num_shared_experts": 2,
            "moe_intermediate_size": 1408,
            "num_dense_layers": 1,
        },
        sizes=sizes(2048, 32, 16, 6144, 200192),
    ),
    "hy_v3": Family(
        attention=replace(BIASED, qk_norm=True),
        mlp=MlpFacts(bias=MLP_BIAS),
        experts=ExpertFacts(layers="after_first", shared_count="num_shared_experts"),
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_experts": 192,
            "num_experts_per_tok": 8,
            "num_shared_experts": 1,
            "moe_intermediate_size": 1536,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(4096, 80, 64, 13312, 120832),
    ),
    "cohere2_moe": Family(
        attention=replace(BIASED, rotary_layers="windowed_or_dense"),
        window=Window(
            types="layer_types",
            layers="but_each_behind_dense",
            count_key="sliding_window_pattern",
            count=4,
        ),
        experts=ExpertFacts(
            inner="intermediate_size",
            layers="after_first",
            dense_inner="prefix_dense_intermediate_size",
            shared_count="num_shared_experts",
        ),
        tied=True,
        norms=1,
        norm="layer_norm",
        parallel=True,
        defaults={"head_dim": 128, "num_experts": 8, "num_experts_per_tok": 2},
        sizes=sizes(8192, 40, 64, 22528, 256000),
    ),
    "mellum": Family(
        attention=replace(BIASED, qk_norm=True),
        window=Window(default=1024, types="layer_types", layers="none"),
        experts=ExpertFacts(total=_LOCAL, layers="after_first"),
        defaults={
            "num_key_value_heads": 4,
            "head_dim": 128,
            "num_experts": 64,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 896,
        },
        sizes=sizes(2304, 28, 32, 7168, 98304),
    ),
    "hunyuan_v1_moe": Family(
        attention=replace(BIASED, qk_norm=True),
        experts=ExpertFacts(
            total=_LOCAL,
            active=("num_experts_per_tok", "moe_topk"),
            inner="intermediate_size",
            shared=1,
        ),
        plain=("moe_intermediate_size", "num_shared_expert", "use_mixed_mlp_moe"),
        defaults={"num_experts": 1},
        sizes=sizes(4096, 32, 32, 11008, 290943),
    ),
    "mimo_v2_flash": Family(
        attention=AttentionFacts(
            value_dim="v_head_dim",
            qkv_bias=ATTENTION,
            rotary=Fraction("0.334"),
            windowed_kv_times=2,
            windowed_sinks=True,
        ),
        window=Window(
            default=129,
            before="sliding_window_size",
            types="layer_types",
            layers="but_each_and_first",
            count=6,
        ),
        experts=replace(_ROUTED, shared_count=None),
        plain=(
            *("n_group", "topk_group", "hybrid_layer_pattern", "moe_layer_freq"),
            "n_shared_experts",
        ),
        defaults={
            "num_key_value_heads": 4,
            "head_dim": 192,
            "v_head_dim": 128,
            "n_routed_experts": 256,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(4096, 48, 64, 16384, 152576),
    ),
    "llama4_text": Family(
        attention=replace(
            BIASED, qk_norm=("use_qk_norm", True), qk_norm_vectors=0, rotary_layers="listed"
        ),
        window=Window(
            key="attention_chunk_size",
            default=8192,
            chunked=True,
            types="layer_types",
            layers="turned",
        ),
        experts=ExpertFacts(
            total=_LOCAL,
            inner="intermediate_size",
            layers="interleaved",
            dense_inner="intermediate_size_mlp",
            shared=1,
        ),
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 16384,
        },
        sizes=sizes(5120, 48, 40, 8192, 202048),
    ),
}
