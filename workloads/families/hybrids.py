"""Families with layers that do not attend: linear attention, state spaces, convolutions."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .family import AttentionFacts, ExpertFacts, Family, Keys, LatentFacts, MlpFacts, sizes
from .llama import BIASED, MLP_BIAS, PARTIAL
from .mixtures import GRANITE_SHARED, SHARED
from .recurrent import ConvolutionFacts, DeltaFacts, StateFacts

_LINEAR = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
_GATED = replace(BIASED, qk_norm=True, gated=True, rotary=Fraction(1, 4), rotary_key=PARTIAL)
_SHARED = ExpertFacts(shared_inner="shared_expert_intermediate_size", shared_gate=True)
_SPLIT = DeltaFacts(attending="intervals", projections="split")
_NEXT_PLAIN = ("output_gate_type", "attn_output_gate", "mamba_ssm_dtype")

_MAMBA = Family(
    keys=Keys(heads=(), inner=None),
    attention=None,
    mlp=None,
    recurrent=StateFacts(channels="intermediate_size", rank="time_step_rank"),
    tied=True,
    norms=1,
    plain=("d_model", "d_inner", "n_layer", "time_step_init_scheme"),
    defaults={"state_size": 16, "conv_kernel": 4, "expand": 2, "time_step_rank": "auto"},
)

_BAMBA_STATE = StateFacts(
    attending="indices",
    state="mamba_d_state",
    taps="mamba_d_conv",
    expand="mamba_expand",
    heads="mamba_n_heads",
    head_dim="mamba_d_head",
    groups="mamba_n_groups",
    chunk="mamba_chunk_size",
    bias=("mamba_proj_bias", False),
    conv_bias=("mamba_conv_bias", True),
)
_BAMBA_DEFAULTS = {
    "mamba_n_heads": 128,
    "mamba_n_groups": 1,
    "mamba_d_state": 256,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_chunk_size": 256,
}

HYBRIDS: Mapping[str, Family] = {
    "qwen3_next": Family(
        attention=_GATED,
        recurrent=DeltaFacts(attending="intervals", projections="fused"),
        experts=replace(_SHARED, layers="stepped"),
        plain=_NEXT_PLAIN,
        defaults={
            **_LINEAR,
            "num_key_value_heads": 2,
            "head_dim": 256,
            "num_experts": 512,
            "num_experts_per_tok": 10,
            "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512,
        },
        sizes=sizes(2048, 48, 16, 5632, 151936),
    ),
    "qwen3_5_text": Family(
        attention=_GATED,
        recurrent=_SPLIT,
        plain=_NEXT_PLAIN,
        defaults={**_LINEAR, "num_key_value_heads": 4, "head_dim": 256},
        sizes=sizes(4096, 32, 16, 12288, 248320),
    ),
    "qwen3_5_moe_text": Family(
        keys=Keys(inner=None),
        attention=_GATED,
        recurrent=_SPLIT,
        experts=_SHARED,
        plain=(*_NEXT_PLAIN, "intermediate_size"),
        defaults={
            **_LINEAR,
            "num_key_value_heads": 2,
            "head_dim": 256,
            "num_experts": 256,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512,
        },
        sizes=sizes(2048, 40, 16, 512, 248320),
    ),
    "kimi_linear": Family(
        attention=LatentFacts(turned=False),
        recurrent=DeltaFacts(attending="kimi", projections="channels"),
        experts=ExpertFacts(
            total=("num_experts", "num_local_experts"),
            active=("num_experts_per_token", "num_experts_per_tok"),
            layers="after_first",
            shared_count="num_shared_experts",
        ),
        tied_by_key=False,
        plain=("num_key_value_heads", "head_dim", "qk_head_dim", "moe_layer_freq"),
        defaults={
            "kv_lora_rank": 512,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
            "linear_head_dim": 128,
            "linear_num_heads": 32,
            "linear_conv_kernel_dim": 4,
            "num_experts": 256,
            "num_experts_per_token": 8,
            "moe_intermediate_size": 1024,
            "num_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
        sizes=sizes(2304, 27, 32, 9216, 163840),
    ),
    "olmo_hybrid": Family(
        attention=replace(BIASED, qk_norm=True, qk_norm_over="all", turned_where_given=True),
        recurrent=DeltaFacts(attending="fourths", projections="single"),
        defaults={"linear_conv_kernel_dim": 4},
        sizes=sizes(3840, 32, 30, 11008, 100352),
    ),
    "mamba": _MAMBA,
    "falcon_mamba": replace(
        _MAMBA,
        recurrent=StateFacts(channels="intermediate_size", rank="time_step_rank", normed="plain"),
    ),
    "mamba2": replace(
        _MAMBA,
        recurrent=StateFacts(heads="num_heads"),
        tied=False,
        plain=("intermediate_size", "d_model", "d_inner", "n_layer", "time_step_rank"),
        defaults={
            "state_size": 128,
            "conv_kernel": 4,
            "expand": 2,
            "num_heads": 128,
            "head_dim": 64,
            "n_groups": 8,
            "chunk_size": 256,
        },
    ),
    "jamba": Family(
        attention=AttentionFacts(rotary=None, head_dim=None),
        recurrent=StateFacts(
            attending="periods",
            state="mamba_d_state",
            taps="mamba_d_conv",
            expand="mamba_expand",
            rank="mamba_dt_rank",
            bias=("mamba_proj_bias", False),
            conv_bias=("mamba_conv_bias", True),
            normed="scaled",
        ),
        experts=ExpertFacts(inner="intermediate_size", layers="periods"),
        defaults={
            "num_key_value_heads": 8,
            "num_experts": 16,
            "num_experts_per_tok": 2,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "attn_layer_period": 8,
            "attn_layer_offset": 4,
            "mamba_d_state": 16,
            "mamba_d_conv": 4,
            "mamba_expand": 2,
            "mamba_dt_rank": "auto",
        },
        sizes=sizes(4096, 32, 32, 14336, 65536),
    ),
    "bamba": Family(
        attention=replace(BIASED, head_dim=None, rotary=Fraction(1, 2)),
        mlp=MlpFacts(bias=MLP_BIAS),
        recurrent=_BAMBA_STATE,
        defaults={"num_key_value_heads": 8, **_BAMBA_DEFAULTS},
        sizes=sizes(4096, 32, 32, 14336, 128000),
    ),
    "granitemoehybrid": replace(
        GRANITE_SHARED,
        attention=replace(BIASED, head_dim=None, turned_where=("position_embedding_type", "rope")),
        recurrent=replace(_BAMBA_STATE, attending="typed"),
        experts=replace(SHARED, layers="any", dense_inner="shared_intermediate_size"),
        defaults={
            **GRANITE_SHARED.defaults,
            **_BAMBA_DEFAULTS,
            "shared_intermediate_size": 1024,
        },
    ),
    "falcon_h1": Family(
        attention=BIASED,
        mlp=MlpFacts(bias=MLP_BIAS),
        recurrent=replace(
            _BAMBA_STATE,
            attending="beside",
            channels="mamba_d_ssm",
            out_bias=("projectors_bias", False),
            gate_norm=("mamba_rms_norm", False),
        ),
        plain=("mamba_norm_before_gate", "mamba_use_mlp"),
        defaults={"num_key_value_heads": 8, "mamba_d_ssm": 1024, **_BAMBA_DEFAULTS},
        sizes=sizes(4096, 32, 32, 14336, 128000),
    ),
    "nemotron_h": Family(
        attention=AttentionFacts(rotary=None),
        mlp=MlpFacts(
            names=("up_proj", "down_proj"),
            gated=False,
            bias=MLP_BIAS,
            activation="relu2",
            activation_keys=("mlp_hidden_act",),
        ),
        recurrent=StateFacts(
            attending="typed",
            state="ssm_state_size",
            expand=None,
            heads="mamba_num_heads",
            head_dim="mamba_head_dim",
        ),
        experts=ExpertFacts(
            total=("n_routed_experts", "num_local_experts"),
            shared_inner="moe_shared_expert_intermediate_size",
        ),
        blocks=True,
        only={"moe_latent_size": None},
        tied_by_key=False,
        plain=(
            *("num_hidden_layers", "expand", "n_shared_experts", "attention_bias"),
            *("n_group", "topk_group"),
        ),
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 128,
            "ssm_state_size": 128,
            "mamba_num_heads": 128,
            "mamba_head_dim": 64,
            "n_groups": 8,
            "conv_kernel": 4,
            "chunk_size": 128,
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 7688,
            "moe_shared_expert_intermediate_size": 7688,
        },
        sizes=sizes(4096, 4, 32, 21504, 131072),
    ),
    "lfm2": Family(
        keys=Keys(inner=("block_ff_dim", "intermediate_size")),
        attention=AttentionFacts(output="out_proj", head_dim=None, qk_norm=True),
        mlp=MlpFacts(names=("w1", "w3", "w2"), adjusted=True, activation_keys=()),
        recurrent=ConvolutionFacts(),
        tied=True,
        tied_keys=("tie_embedding",),
        plain=("block_dim", "conv_dim", "conv_dim_out", "block_norm_eps", "block_use_swiglu"),
        defaults={
            "num_key_value_heads": 8,
            "conv_L_cache": 3,
            "block_multiple_of": 256,
            "block_ffn_dim_multiplier": 1.0,
        },
        sizes=sizes(2560, 32, 32, 12288, 65536),
    ),
    "lfm2_moe": Family(
        attention=AttentionFacts(output="out_proj", head_dim=None, qk_norm=True),
        mlp=MlpFacts(names=("w1", "w3", "w2"), activation_keys=()),
        recurrent=ConvolutionFacts(),
        experts=ExpertFacts(layers="after_dense"),
        tied=True,
        tied_keys=("tie_embedding",),
        defaults={
            "num_key_value_heads": 8,
            "conv_L_cache": 3,
            "num_experts": 32,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1792,
            "num_dense_layers": 2,
        },
        sizes=sizes(2048, 32, 32, 7168, 65536),
    ),
}
