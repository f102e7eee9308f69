"""Decoding token by token costs what a causal prefill does, whatever the layers are made of."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.workloads import load_model
from bitlathe.workloads.transformer import Attention, Experts, LatentAttention, Recurrent

HERE = Path(__file__).parent
SMALL = json.loads((HERE / "small_models.json").read_text())["models"]
SMALL |= json.loads((HERE / "drawn" / "models.json").read_text())["models"]


def parts_of(model):
    return [part for part, _ in model.shape.parts()]


def adds_up(name):
    """Latent attention takes the cheaper of two forms, which differ by phase."""
    model = load_model(SMALL[name]["config"])
    return model.kind == "decoder" and not any(
        isinstance(part, LatentAttention) for part in parts_of(model)
    )


DECODERS = [name for name in SMALL if adds_up(name)]
KINDS = {
    "windows": lambda part: isinstance(part, Attention) and part.window is not None,
    "chunks": lambda part: isinstance(part, Attention) and part.chunk is not None,
    "mixtures": lambda part: isinstance(part, Experts),
    "states": lambda part: isinstance(part, Recurrent),
}


def macs(gemms):
    return sum(gemm.macs * gemm.count for gemm in gemms)


def check(config, tokens, batch):
    model = load_model(config)
    steps = sum(macs(model.gemms("decode", seen, batch)) for seen in range(1, tokens + 1))
    assert steps == macs(model.gemms("prefill", tokens, batch, causal=True, logits="all"))


@given(st.sampled_from(DECODERS), st.integers(1, 24), st.integers(1, 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_decoder(name, tokens, batch):
    check(SMALL[name]["config"], tokens, batch)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_layer(kind):
    models = {name: load_model(SMALL[name]["config"]) for name in DECODERS}
    names = [name for name, model in models.items() if any(map(KINDS[kind], parts_of(model)))]
    assert names
    for name in names[::5]:
        check(SMALL[name]["config"], 13, 2)


@given(
    st.sampled_from([name for name in DECODERS if "windows" in SMALL[name]]),
    st.integers(1, 40),
    st.integers(1, 40),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_windows_of_any_length(name, window, tokens):
    keys = ("sliding_window", "attention_chunk_size", "window_size", "local_attention")
    config = SMALL[name]["config"]
    check({**config, **{key: window for key in keys if key in config}}, tokens, 1)
