"""Products of exported programs against the readers of configurations.

Those of transformers' classes are kept (drawn/exported.json, drawn/exported.py); of modules of
torch's own parts they are exported here.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

import bitlathe as bl
from bitlathe.workloads import load_model

HERE = Path(__file__).parent / "drawn"
TRUTH = json.loads((HERE / "exported.json").read_text())["models"]
CONFIGS = json.loads((HERE / "models.json").read_text())["models"]
TOKENS, SOURCE = 6, 8


APART = {
    "deepseek_v4-drawn-0",  # one product of window and entries, each token's chosen entries apart
    "llama4_text-drawn-1",  # chunks shorter than the text are products of their own to the reader
    "glm_moe_dsa-drawn-1",  # latents expanded, where the reader takes the form of less work
}
BESIDE = (
    *("falcon_mamba", "gemma3n_text", "jamba", "kimi_linear", "lfm2_moe", "mamba", "olmo_hybrid"),
    *("minimax-drawn", "qwen3_5", "qwen3_next", "rwkv", "zamba2"),
)
"""Convolutions of single channels, states and mixes of streams are vector work to the reader."""


def alike(m, n, k, batch):
    """Return the sizes of a product, whichever side its rows stand on."""
    return min(m, n), max(m, n), k, batch


def program(name):
    found = Counter()
    for *sizes, count in TRUTH[name]:
        found[alike(*sizes)] += count
    return found


def read(name):
    """Return the reader's products as an eager program multiplies, and the work of experts.

    Head by head, and without masks.
    """
    model = load_model(CONFIGS[name]["config"])
    model = model.part("text") if model.sees_images else model  # the program was given none
    shape = model.shape
    context = None if shape.fixed_tokens else TOKENS
    source = SOURCE if shape.encoder is not None and not shape.encoder.fixed_tokens else None
    found, experts = Counter(), 0
    for gemm in model.gemms(context=context, source=source):
        each = gemm.rows_per_token
        if gemm.name.startswith("expert_"):
            experts += gemm.macs * gemm.count
        elif gemm.k > 1:
            found[alike(gemm.m // each, gemm.n, gemm.k, gemm.batch * each)] += gemm.count
    return found, experts


@pytest.mark.parametrize("name", sorted(TRUTH.keys() - APART))
def test_same_products(name):
    """One for one; of experts, which a program runs token by token, the multiply-accumulates."""
    (mine, experts), theirs = read(name), program(name)
    assert not mine - theirs
    if not name.startswith(BESIDE):
        rest = theirs - mine
        assert sum(m * n * k * batch * count for (m, n, k, batch), count in rest.items()) == experts


def test_most_types_are_compared():
    assert len(TRUTH) > 100


def blocks(torch, kind):
    """Return a model of torch's own parts, as GPT-2, Llama or BERT are built."""
    nn, functional = torch.nn, torch.nn.functional
    gated, causal = kind == "llama", kind != "bert"
    kv_heads = 2 if gated else 4

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            bias = not gated
            self.q, self.o = nn.Linear(32, 32, bias), nn.Linear(32, 32, bias)
            self.k, self.v = (nn.Linear(32, 8 * kv_heads, bias) for _ in "kv")
            self.up, self.down = nn.Linear(32, 48, bias), nn.Linear(48, 32, bias)
            self.gate = nn.Linear(32, 48, False) if gated else None
            self.norms = nn.ModuleList(nn.LayerNorm(32, bias=bias) for _ in range(2))

        def attend(self, x):
            q, k, v = (
                made(x).unflatten(-1, (-1, 8)).transpose(1, 2) for made in (self.q, self.k, self.v)
            )
            mix = functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=gated
            )
            return self.o(mix.transpose(1, 2).flatten(2))

        def feed(self, x):
            if self.gate is None:
                return self.down(functional.gelu(self.up(x)))
            return self.down(functional.silu(self.gate(x)) * self.up(x))

        def forward(self, x):
            if kind == "bert":
                x = self.norms[0](x + self.attend(x))
                return self.norms[1](x + self.feed(x))
            x = x + self.attend(self.norms[0](x))
            return x + self.feed(self.norms[1](x))

    return nn.Sequential(Block(), Block())


KEYS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 9,
        "intermediate_size": 48}  # fmt: skip
KINDS = {
    "llama": {**KEYS, "num_key_value_heads": 2, "architectures": ["LlamaModel"]},
    "opt": {**KEYS, "ffn_dim": 48, "architectures": ["OPTModel"], "activation_function": "gelu"},
    "bert": {**KEYS, "architectures": ["BertModel"]},
}


def worked(steps):
    """Count the elements that each operation works on."""
    found = Counter()
    for step in steps:
        for operation in step.operations:
            found[operation] += step.elements * step.count
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_modules_exported_and_traced_are_what_configurations_say(kind):
    """Products one for one; of what stands between them elements, rows and operations."""
    torch = pytest.importorskip("torch")

    from naive.exported_walk import products

    module, inputs = blocks(torch, kind).eval(), torch.ones(1, 6, 32)
    model = load_model({"model_type": kind, **KINDS[kind]})
    causal = kind != "bert"
    mine = Counter()
    staged = model.staged(context=6, causal=causal)
    for gemm in model.products(staged):
        if gemm.name != "pooler":
            each = gemm.rows_per_token
            sizes = alike(gemm.m // each, gemm.n, gemm.k, gemm.batch * each)
            mine[sizes] += gemm.count
    with torch.no_grad():
        graph = torch.export.export(module, (inputs,)).graph
    assert Counter(alike(*sizes) for sizes in products(graph)) == mine
    traced = bl.from_torch(module, inputs)
    theirs, ours = worked(traced.vector_steps(traced.staged())), worked(model.vector_steps(staged))
    assert all(theirs[name] == ours[name] for name in ("softmax", "gelu", "silu"))
    assert theirs["layer_norm"] == theirs["add"] == 2 * 2 * 6 * 32
