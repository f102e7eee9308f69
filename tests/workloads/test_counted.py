"""Multiply-accumulates of tiny instances of every class, as torch's own counter finds them.

The counts are kept (drawn/counted.json, drawn/counted.py): a prompt, and a token behind it.
"""

import json
from pathlib import Path

import pytest

from bitlathe.workloads import load_model
from bitlathe.workloads.families import FAMILIES
from bitlathe.workloads.transformer import LatentAttention

from .test_against_transformers import PUBLISHED, SMALL, TOWERS, latent_macs, square_macs

HERE = Path(__file__).parent / "drawn"
COUNTED = json.loads((HERE / "counted.json").read_text())["models"]
CONFIGS = json.loads((HERE / "models.json").read_text())["models"]
TOKENS, SOURCE = 6, 8
ELSEWHERE = {
    "deepseek_v4-drawn-0",  # entries that no token sees, and streams: test_compressed.py
}


def expanded_by_the_class(model, new, keys):
    """Return what a class multiplies more: all keys and values made anew, heads weighed.

    A mask hides from it what an indexer leaves out, of which the reader's decode has none.
    """
    more = 0
    for part, layers in model.shape.parts():
        if isinstance(part, LatentAttention):
            seen = min(keys, part.indexer.top) if part.indexer and new == 1 else keys
            mine = min(latent_macs(part, new * seen, seen, new))
            more += layers * (latent_macs(part, new * keys, keys, new)[0] - mine)
            if part.indexer and not part.indexer.shared:
                more += layers * part.indexer.heads * new * keys
    return more


@pytest.mark.parametrize("name", sorted(COUNTED.keys() - ELSEWHERE))
def test_as_torch_counts(name):
    truth = COUNTED[name]
    config = truth.get("config", CONFIGS[name]["config"])
    if config["model_type"] == "llama4_text":  # the class runs all experts on all tokens
        config = {**config, "num_experts_per_tok": config["num_local_experts"]}
    model = load_model(config)
    model = model.part("text") if model.sees_images else model  # the class was given none
    encoder = model.shape.encoder
    source = None if encoder is None or encoder.fixed_tokens else SOURCE
    seen = None if model.shape.fixed_tokens and encoder is None else TOKENS
    runs = {"prefill": (TOKENS, seen), "decode": (1, TOKENS + 1)}
    for phase in runs.keys() & truth.keys():
        new, context = runs[phase]
        gemms = model.gemms(phase, context, source=source)
        scans = [g for g in gemms if model.family.endswith("mamba") or model.family == "jamba"]
        ours = square_macs(gemms) - square_macs(g for g in scans if g.name == "dt_proj")
        assert ours + expanded_by_the_class(model, new, context or new) == truth[phase][0], phase


def test_every_family_is_counted():
    """Here, in the small and published configurations, or with a tower."""
    counted = {CONFIGS[name]["config"]["model_type"] for name in COUNTED}
    for each in (*SMALL.values(), *PUBLISHED.values(), *TOWERS.values()):
        if "macs" in each or "vision_macs" in each:
            parts = (each["config"].get(key, {}) for key in ("vision_config", "text_config"))
            counted |= {part.get("model_type") for part in (each["config"], *parts)}
    assert counted >= FAMILIES.keys() - {"kimi_k2"}  # has the class of deepseek_v3


OTHERS = json.loads((HERE / "others.json").read_text())["models"]


@pytest.mark.parametrize("name", OTHERS)
def test_models_that_readers_were_not_written_with(name):
    """As published, most of them, or with other sizes, flags and defaults (drawn/others.py)."""
    truth = OTHERS[name]
    config = truth["config"]
    if config["model_type"] == "llama4_text":
        config = {**config, "num_experts_per_tok": config["num_local_experts"]}
    model = load_model(config)
    assert model.parameter_count == truth["parameters"]
    if "macs" in truth:
        encoder = model.shape.encoder
        source = None if encoder is None or encoder.fixed_tokens else 16
        gemms = model.gemms(
            context=None if model.shape.fixed_tokens and encoder is None else 16, source=source
        )
        scans = [g for g in gemms if model.family.endswith("mamba") and g.name == "dt_proj"]
        assert square_macs(gemms) - square_macs(scans) == truth["macs"]
