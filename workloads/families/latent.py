"""Families with latent attention: DeepSeek and those after it."""

from collections.abc import Mapping
from dataclasses import replace

from .facts import CompressedFacts, ExpertFacts, Keys, LatentFacts, MlpFacts
from .family import Family, sizes
from .llama import MLP_BIAS

# Keys of these files that say nothing about sizes: num_key_value_heads is the number of heads,
# head_dim that of the turned elements.
_PLAIN = ("num_key_value_heads", "head_dim", "qk_head_dim", "rope_interleave", "moe_layer_freq")
_EXPERTS = ExpertFacts(
    total=("n_routed_experts", "num_local_experts", "num_experts"),
    layers="after_first",
    shared_count="n_shared_experts",
)


def _widths(query_rank: int, rank: int, nope: int, rope: int, value: int) -> dict[str, int]:
    """Return a class's widths of latent attention, by key."""
    return {
        "q_lora_rank": query_rank,
        "kv_lora_rank": rank,
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "v_head_dim": value,
    }


_V3 = Family(
    attention=LatentFacts(),
    experts=_EXPERTS,
    plain=_PLAIN,
    defaults={
        **_widths(1536, 512, 128, 64, 128),
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048,
        "n_shared_experts": 1,
        "first_k_dense_replace": 3,
    },
    sizes=sizes(7168, 61, 128, 18432, 129280),
)
_INDEX = {"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048}

LATENT: Mapping[str, Family] = {
    "deepseek_v3": _V3,
    "kimi_k2": _V3,
    "sarvam_mla": replace(
        _V3,
        renamed={"num_experts": "n_routed_experts", "num_shared_experts": "n_shared_experts"},
        defaults={
            **_V3.defaults,
            "q_lora_rank": None,
            "n_routed_experts": 128,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(4096, 32, 64, 16384, 262144),
    ),
    "deepseek_v32": replace(
        _V3,
        attention=LatentFacts(indexed=True),
        plain=(*_PLAIN, "layer_types"),
        defaults={**_V3.defaults, **_INDEX},
    ),
    "glm_moe_dsa": replace(
        _V3,
        attention=LatentFacts(indexed=True, indexer_types=True),
        plain=(*_PLAIN, "layer_types"),
        defaults={
            **_V3.defaults,
            **_widths(2048, 512, 192, 64, 256),
            **_INDEX,
            "index_n_heads": 32,
        },
        sizes=sizes(6144, 78, 64, 12288, 154880),
    ),
    "glm4_moe_lite": replace(
        _V3,
        defaults={
            **_widths(768, 512, 192, 64, 256),
            "n_routed_experts": 64,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1536,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(2048, 47, 20, 10240, 154880),
    ),
    "deepseek_v2": replace(
        _V3,
        mlp=MlpFacts(bias=MLP_BIAS),
        defaults={
            **_widths(1536, 512, 128, 64, 128),
            "n_routed_experts": 64,
            "moe_intermediate_size": 1407,
            "n_shared_experts": 2,
            "first_k_dense_replace": 0,
        },
        sizes=sizes(4096, 32, 32, 11008, 102400),
    ),
    "deepseek_v4": Family(
        attention=CompressedFacts(),
        experts=ExpertFacts(total=_EXPERTS.total, shared=1),
        connected=True,
        mlp=MlpFacts(bias=MLP_BIAS),
        plain=(
            *("num_key_value_heads", "attention_bias", "first_k_dense_replace"),
            *("num_hash_layers", "mlp_layer_types", "qk_nope_head_dim", "v_head_dim"),
            *("n_shared_experts", "intermediate_size", "kv_lora_rank"),
        ),
        defaults={
            "head_dim": 512,
            "q_lora_rank": 1024,
            "num_experts_per_tok": 6,
            "n_routed_experts": 256,
            "moe_intermediate_size": 2048,
            "o_groups": 8,
            "o_lora_rank": 1024,
            "sliding_window": 128,
            "index_n_heads": 64,
            "index_head_dim": 128,
            "index_topk": 512,
            "hc_mult": 4,
            "hc_sinkhorn_iters": 20,
        },
        sizes=sizes(4096, 43, 64, 2048, 129280),
    ),
    "longcat_flash": Family(
        attention=LatentFacts(),
        experts=ExpertFacts(
            total=("n_routed_experts", "num_local_experts"),
            active=("moe_topk", "num_experts_per_tok"),
            inner="expert_ffn_hidden_size",
            layers="even_beside",
            idle="zero_expert_num",
        ),
        keys=Keys(layers="num_layers", inner="ffn_hidden_size"),
        layers_each=2,
        renamed={
            "intermediate_size": "ffn_hidden_size",
            "moe_intermediate_size": "expert_ffn_hidden_size",
        },
        plain=_PLAIN,
        defaults={
            **_widths(1536, 512, 128, 64, 128),
            "n_routed_experts": 512,
            "moe_topk": 12,
            "expert_ffn_hidden_size": 2048,
            "zero_expert_num": 256,
        },
        sizes={**sizes(6144, 28, 64, 12288, 131072), "num_layers": 28, "ffn_hidden_size": 12288},
    ),
    "youtu": Family(
        attention=LatentFacts(),
        tied=True,
        plain=_PLAIN,
        defaults=_widths(1536, 512, 128, 64, 128),
        sizes=sizes(2048, 32, 16, 6144, 128256),
    ),
    "minicpm3": Family(
        attention=LatentFacts(),
        mlp=MlpFacts(bias=MLP_BIAS),
        tied=True,
        plain=_PLAIN,
        defaults={**_widths(768, 256, 64, 32, 64), "v_head_dim": None},
        sizes=sizes(2560, 62, 40, 6400, 73448),
    ),
}
