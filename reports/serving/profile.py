"""Profiles for LLMServingSim: a chip's layer times in the layout of those it measures on GPUs.

The layout is that of the simulator's documentation (casys-kaist/LLMServingSim, "Output bundle" and
"Adding new hardware", 2026): of one model on one hardware, ``dense.csv`` with times of layers by
tokens, ``per_sequence.csv`` by sequences, ``attention.csv`` by what is in view, and ``moe.csv`` by
tokens and experts; all times in microseconds, of one layer of each kind.
"""

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...sim import LayerRun, Run
from ...workloads import Step
from ...workloads.step import Generating, Piece
from .grid import Grid, Point

_PLACES = (
    (r"embedding", "embedding"),
    (r"final_norm", "final_layernorm"),
    (r"lm_head", "lm_head"),
    (r"qk_norm", "qk_norm"),
    (r"[qkv]_proj|qkv_proj|c_attn", "qkv_proj"),
    (r"rotary", "rotary_emb"),
    (r"kv_cache|softmax.*|attention.*", "attention"),
    (r".*_(residual|norms?)", "layernorm"),
    (r"router.*|experts?_.*", "moe"),
    (r"o_proj|out_proj|c_proj|dense", "o_proj"),
    (r"gate_proj|up_proj|gate_up_proj|fc1|c_fc", "gate_up_proj"),
    (r"activation", "act_fn"),
    (r"down_proj|fc2|mlp_c_proj", "down_proj"),
)
"""Names of layers here, and the name of LLMServingSim's catalog that they go by."""
_NORMS = 2  # the catalog's blocks call it before attention and before the MLP
_ONCE = ("embedding", "final_layernorm", "lm_head")
_OF_MLPS = ("gate_up_proj", "act_fn", "down_proj")
BY_SEQUENCE = ("lm_head", "sampler")
BY_VIEW = "attention"
EXPERTS = "moe"


def place_of(layer: str) -> str:
    """Return the catalog's name of a layer.

    Raises
    ------
    BitlatheError
        The catalog has no such layer.

    Examples
    --------
    >>> place_of("v_proj"), place_of("softmax"), place_of("expert_up_proj"), place_of("o_proj_norm")
    ('qkv_proj', 'attention', 'moe', 'layernorm')
    """
    for pattern, place in _PLACES:
        if re.fullmatch(pattern, layer):
            return place
    raise BitlatheError(
        f"layer {layer!r} has no place in an LLMServingSim profile, which knows attention with "
        "queries, keys and values, MLPs and experts; leave --profile out."
    )


def tokens_step(tokens: int, grid: Grid) -> Step:
    """Return a step of so many tokens, each of a sequence of its own that sees no other.

    They generate where the grid has as large a batch, and are prompts of one token beyond: a chip
    may be arranged otherwise for prompts.
    """
    if tokens <= max(grid.batches):
        return Step(decode=(Generating(context=1, sequences=tokens),))
    return Step(prefill=(Piece(new=1, sequences=tokens),))


def layer_times(run: Run) -> dict[str, Fraction]:
    """Return the microseconds of one layer of each kind; kinds that differ (windows) in the mean.

    The time of layers that are fused on the chip is that of the first of them, the others' is 0.

    Parameters
    ----------
    run : Run
        A run with its layers.

    Raises
    ------
    BitlatheError
        A layer that the catalog does not have.
    """
    clocks: Counter[str] = Counter()
    products: Counter[str] = Counter()
    for layer in run.layers:
        names = layers_of(layer)
        clocks[place_of(names[0])] += layer.cycles * layer.count
        for name in names[1:]:
            clocks[place_of(name)] += 0
        for name in names if layer.unit is None else ():
            products[name if name == "router" else place_of(name)] += layer.count
    per_us = Fraction(run.clock_ghz) * 1000
    return {place: total / per_us / _instances(place, products) for place, total in clocks.items()}


def layers_of(layer: LayerRun) -> list[str]:
    """Return the names of what runs as one layer: a group's, or its own alone."""
    return [layer.name] if layer.fused is None else list(layer.fused["layers"])


def _instances(place: str, products: Mapping[str, int]) -> int:
    """Return how many layers of a kind the model has, from how often products run."""
    if place in _ONCE:
        return 1
    if place == EXPERTS:
        return products["router"]
    if place in _OF_MLPS:
        return products["down_proj"]
    return products["o_proj"] * (_NORMS if place == "layernorm" else 1)


def token_rows(
    times: Mapping[str, Fraction], tokens: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows of ``dense.csv`` and ``per_sequence.csv`` from a step of `tokens_step`.

    Parameters
    ----------
    times : mapping of str to Fraction
        `layer_times` of the step.
    tokens : int
        Its tokens, each of a sequence of its own.
    """
    apart = {*BY_SEQUENCE, BY_VIEW, EXPERTS}
    dense = [
        {"layer": place, "tokens": tokens, "time_us": float(time)}
        for place, time in times.items()
        if place not in apart
    ]
    # choosing the next token is not modeled: it takes no time here
    alone = {"lm_head": times.get("lm_head", Fraction(0)), "sampler": Fraction(0)}
    by_sequence = [
        {"layer": place, "sequences": tokens, "time_us": float(time)}
        for place, time in alone.items()
    ]
    return dense, by_sequence


def attention_row(point: Point, times: Mapping[str, Fraction]) -> dict[str, Any]:
    """Return the row of ``attention.csv`` of a step.

    ``prefill_key`` is the mean key length of the prompt's new tokens: those cached, and half of
    the new ones. ``kv_decode`` are the tokens that a sequence has cached.
    """
    return {
        "layer": "attention",
        "prefill_chunk": point.chunk,
        "prefill_key": point.cached + point.chunk / 2 if point.chunk else 0.0,
        "n_decode": point.batch,
        "kv_decode": point.context - 1 if point.batch else 0,
        "decode_q_len": 1,
        "time_us": float(times[BY_VIEW]),
    }


def moe_row(run: Run, times: Mapping[str, Fraction], tokens: int) -> dict[str, Any]:
    """Return the row of ``moe.csv`` of a step: all experts on one chip.

    ``activated_experts`` are those that uniform routing reaches (`workloads`).

    Parameters
    ----------
    run : Run
        The step's run.
    times : mapping of str to Fraction
        Its `layer_times`.
    tokens : int
        Its tokens.
    """
    used = sum(each.count for each in run.layers if layers_of(each)[-1] == "expert_down_proj")
    layers = sum(each.count for each in run.layers if each.name == "router")
    return {
        "ep": 1,
        "tokens": tokens,
        "activated_experts": used // layers,
        "time_us": float(times[EXPERTS]),
    }
