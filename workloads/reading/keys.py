"""What the keys of a config.json say beyond the sizes: other parts, typing errors, what is unused.

A key that would change the model and is not understood is an error; one that the model class does
not have either, or that says nothing about sizes, is noted.
"""

from collections.abc import Container, Iterator
from difflib import get_close_matches

from ...datatypes.base.errors import BitlatheError
from ..config import Config
from ..families import FAMILIES, Family
from ..families.facts import all_names
from .windows import FULL

# Keys by which other model classes say that they are built in another way, and what they build.
_OTHER_PARTS = {
    **dict.fromkeys(
        (
            *("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
            *("num_experts_per_tok", "num_experts_per_token", "moe_intermediate_size"),
            *("n_shared_experts", "num_shared_experts", "shared_expert_intermediate_size"),
            *("first_k_dense_replace", "interleave_moe_layer_step"),
        ),
        "a mixture of experts",
    ),
    **dict.fromkeys(
        ("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"),
        "latent attention",
    ),
    **dict.fromkeys(
        (
            *("num_kv_heads", "n_kv_heads", "n_head_kv", "num_query_groups", "multi_query"),
            *("multi_query_group_num", "num_key_value_groups"),
        ),
        "key/value heads by another name than 'num_key_value_heads'",
    ),
    **dict.fromkeys(
        (
            *("full_attention_interval", "linear_num_value_heads", "layers_block_type"),
            *("mamba_d_state", "ssm_state_size", "state_size", "attn_layer_period"),
            *("attn_layer_indices", "full_attn_idxs", "mamba_n_heads", "mamba_expand"),
            *("linear_num_key_heads", "linear_num_heads", "linear_attn_config"),
        ),
        "layers other than attention",
    ),
    **dict.fromkeys(("attention_chunk_size",), "attention within chunks"),
    **dict.fromkeys(
        ("num_kv_shared_layers", "hidden_size_per_layer_input", "altup_num_inputs", "laurel_rank"),
        "layers that share or add inputs",
    ),
    **dict.fromkeys(("block_configs",), "layers that differ"),
    **dict.fromkeys(
        ("is_encoder_decoder", "add_cross_attention", "cross_attention_layers"),
        "attention to another part",
    ),
    "is_decoder": "a decoder",
    "use_bidirectional_attention": "attention both ways",
}
_FURTHER_TOKENS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")
_LIKE = 0.85  # similarity (difflib) from which a key is taken for a mistyped one


def check_keys(config: Config, name: str, family: Family) -> Iterator[str]:
    """Yield what of a configuration is not used, one sentence each.

    Raises
    ------
    BitlatheError
        A key that makes another model than one of this family, or that looks mistyped.
    """
    for key, value in family.only.items():
        if config.get(key) not in (None, value):
            raise config.error(
                f"{key!r} is {config.get(key)!r}; of {name} models only {value!r} is supported.",
                key,
            )
    mine = family.read_keys()
    absent = [key for key in mine if key not in config.data]
    for key, value in config.data.items():
        if key in mine or key in family.plain or not value:
            continue
        near = get_close_matches(key, absent, n=1, cutoff=_LIKE)
        if key in _OTHER_PARTS and (key in family.refused or key not in _REFUSED_BY_SOME):
            raise _other_part(config, name, key)
        if key in _ELSEWHERE:
            if not _says_nothing(key, value):
                yield f"{key!r} is ignored, as by the model class: {name} models have no such key."
        elif near:
            raise config.error(
                f"unknown key {key!r}. Is it meant to be {near[0]!r}, which is not given?", key
            )
    for key in _FURTHER_TOKENS:
        if config.data.get(key):
            yield (
                f"the layers that predict further tokens ({key!r} is {config.data[key]!r}) are "
                "left out, as by the model class."
            )


_POSITIONS = {
    name for family in FAMILIES.values() for name in all_names(family.keys.positions)
}  # all classes have them
_ELSEWHERE = (
    frozenset[str]().union(*map(Family.read_keys, FAMILIES.values()))
    - _POSITIONS
    - {"rope_parameters"}
)
_REFUSED_BY_SOME = frozenset(key for family in FAMILIES.values() for key in family.refused)


def _says_nothing(key: str, value: object) -> bool:
    """Return whether a key of other families asks for what a model without it does anyway."""
    return key == "layer_types" and isinstance(value, list) and set(map(str, value)) == {FULL}


def _other_part(config: Config, name: str, key: str) -> BitlatheError:
    return config.error(
        f"{key!r} is {config.data[key]!r}: it stands for {_OTHER_PARTS[key]}, which {name} models "
        "do not have. Give the model_type of its own class; if the model does without, remove it.",
        key,
    )


def parts_left_out(config: Config, text_key: str, towers: Container[str]) -> Iterator[str]:
    """Yield a sentence on the parts around a text model: those that are left out, if any.

    Parameters
    ----------
    config : Config
        That of the whole model.
    text_key : str
        The key of its text model.
    towers : container of str
        Names of the towers that are read.
    """
    kinds = []
    found = False
    for key, value in config.data.items():
        if key.endswith("_config") and key != text_key and isinstance(value, dict):
            kind = value.get("model_type")
            if key.removesuffix("_config") in towers:
                found = True
            elif key not in ("quantization_config", "generation_config"):
                kinds.append(f"{key} ({kind})" if isinstance(kind, str) else key)
    if found and not kinds:
        return
    others = ", ".join(kinds) or "what else it has"
    where = f", {text_key!r}," if text_key in config.data else ""
    yield (
        f"of this {config.data['model_type']} model only the text part{where} is read; "
        f"left out: {others}, and what joins them to the text."
    )
