"""Count what tiny instances of the classes of transformers multiply, by torch's own counter.

Needs transformers 5.24 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.counted [TYPE ...]     # writes counted.json

Each kept configuration (models.json) is built with random weights and run on a few tokens, and on
one token behind them where its class keeps a cache. Where a class takes a configuration but does
not run it (a rotation of other widths than the heads), the first drawn one that it runs is counted
and kept beside. Multiply-accumulates (FlopCounterMode / 2) of scans, of convolutions over time
and of mixed streams, which are no products of a layer, stand apart. Angles of positions, outer
products, are left out.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.pytorch_utils import Conv1D

from .classes import classes_of
from .configs import draw
from .exported import SOURCE, TOKENS, inputs_of

HERE = Path(__file__).parent
KEPT, WRITTEN = HERE / "models.json", HERE / "counted.json"
MIXERS = ("Mixer", "MambaLayer", "DeltaNet", "DeltaAttention", "ShortConv", "Lightning")
"""Parts of names of the classes whose products, but for matrices, are vector work to the reader."""
STREAMS = "Gemma3nTextDecoderLayer"
"""A layer that mixes streams itself."""
MROPE = {"rope_theta": 10000.0, "rope_type": "default", "mrope_section": [2, 3, 3]}
TURNED = {**MROPE, "mrope_section": [1, 1, 2], "partial_rotary_factor": 0.5}
FIXED: dict[str, dict[str, Any]] = {
    "qwen2_vl_text": {
        "num_attention_heads": 2, "hidden_size": 32, "num_key_value_heads": 1,
        "rope_parameters": MROPE,
    },
    "qwen2_5_vl_text": {
        "num_attention_heads": 4, "hidden_size": 64, "num_key_value_heads": 2,
        "rope_parameters": MROPE,
    },
    "glm4v_text": {
        "num_attention_heads": 2, "hidden_size": 32, "num_key_value_heads": 1,
        "rope_parameters": TURNED,
    },
    "glm4v_moe_text": {
        "num_attention_heads": 2, "hidden_size": 32, "num_key_value_heads": 1, "head_dim": 16,
        "rope_parameters": TURNED,
    },
    "bamba": {"num_hidden_layers": 3, "attn_layer_indices": [1]},
    "granitemoehybrid": {
        "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"],
    },
}  # fmt: skip
"""Sizes of types whose class shares a head's width among three axes, or is run with attention."""


def counted(model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[list[int], Any]:
    """Return the multiply-accumulates of a pass, those beside products, and what it returns."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = model(**inputs)
    flops = {name: sum(of.values()) for name, of in counter.get_flop_counts().items()}
    root = type(model).__name__
    modules = {f"{root}.{name}" if name else root: each for name, each in model.named_modules()}
    own = {name: flops[name] for name in modules if name in flops}
    for name in list(own):
        above = name.rpartition(".")[0]
        while above and above not in flops:
            above = above.rpartition(".")[0]
        if above:
            own[above] -= flops[name]
    angles = sum(n for name, n in own.items() if "Rotary" in type(modules[name]).__name__)
    beside = 0
    for name, n in own.items():
        places = [name[:end] for end, sign in enumerate(f"{name}.") if sign == "."]
        names = [type(modules[place]).__name__ for place in places]
        mixed = any(mixer in each for mixer in MIXERS for each in names) or names[-1] == STREAMS
        beside += n * (mixed and not isinstance(modules[name], (torch.nn.Linear, Conv1D)))
    return [(flops["Global"] - angles - beside) // 2, beside // 2], output


def runs_of(given: dict[str, Any]) -> dict[str, list[int]]:
    """Return what a pass over a prompt multiplies, and that of a token behind it."""
    own = {k: v for k, v in given.items() if k not in ("model_type", "architectures")}
    config = CONFIG_MAPPING[given["model_type"]](**own)
    config._attn_implementation = config._experts_implementation = "eager"
    model = getattr(transformers, given["architectures"][0])(config).eval()
    inputs = inputs_of(model, config)
    prefill, output = counted(model, inputs)
    runs = {"prefill": prefill}
    ids = "decoder_input_ids" if config.is_encoder_decoder else "input_ids"
    cache = next((k for k in ("cache", "state") if getattr(output, k, None) is not None), None)
    if cache is not None and ids in inputs:
        behind = {ids: inputs[ids][:, :1], cache: getattr(output, cache), "use_cache": True}
        if config.is_encoder_decoder:
            behind["encoder_outputs"] = (output.encoder_last_hidden_state,)
        runs["decode"], _ = counted(model, behind)
    return runs


def configurations(kind: str, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the configuration of a type that is kept, then others, drawn."""
    yield {**kept, **FIXED.get(kind, {})}
    made = CONFIG_MAPPING[kind]
    for seed in range(100):
        drawn = draw(kind, made().to_dict(), Random(f"{kind}{seed}"))
        outer = {"model_type": kind, "architectures": [classes_of(kind)[0]]}
        yield {**drawn, **FIXED.get(kind, {}), **outer}


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(60)
    torch.manual_seed(0)
    found: dict[str, Any] = json.loads(WRITTEN.read_text())["models"] if sys.argv[1:] else {}
    for name, truth in json.loads(KEPT.read_text())["models"].items():
        kept = truth["config"]
        if sys.argv[1:] and kept["model_type"] not in sys.argv[1:]:
            continue
        for config in configurations(kept["model_type"], kept):
            try:
                runs = runs_of(config)
            except Exception as error:
                why = (str(error).splitlines() or [""])[0]
                continue
            found[name] = runs if config == kept else {"config": config, **runs}
            break
        else:
            print(f"{name}: {why[:160]}", flush=True)
    about = (
        f"Multiply-accumulates of the classes of transformers {transformers.__version__} of "
        f"models.json (or of a configuration beside), as torch "
        f"{torch.__version__.partition('+')[0]} counts them (FlopCounterMode / 2) of tiny "
        f"instances: {TOKENS} tokens ({SOURCE} of a source; an image, a sound), then a token "
        "behind them; second those of scans, convolutions over time and mixes of streams "
        "(python -m bitlathe.tests.workloads.drawn.counted)."
    )
    rows = (
        f"{json.dumps(n)}: {json.dumps(v, separators=(',', ':'))}" for n, v in sorted(found.items())
    )
    WRITTEN.write_text(
        f'{{"about": {json.dumps(about)},\n"models": {{\n' + ",\n".join(rows) + "\n}}\n"
    )


if __name__ == "__main__":
    main()
