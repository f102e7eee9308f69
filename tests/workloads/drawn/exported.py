"""Walk what torch.export makes of classes of transformers, and keep their products.

Needs transformers 5.24 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.exported [TYPE ...]    # writes exported.json

Each kept configuration (models.json) is built with random weights and exported for a few tokens;
linear layers, products of two tensors, fused attention and convolutions of the graph are listed
with their shapes. Outer products (a depth of 1: angles of positions) are none of a model's.
"""

import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from ...naive.exported_walk import products

KEPT, WRITTEN = (Path(__file__).with_name(name) for name in ("models.json", "exported.json"))
TOKENS, SOURCE = 6, 8


def inputs_of(model: torch.nn.Module, config: Any) -> dict[str, torch.Tensor]:
    """Return the inputs of a model: words, an image or a sound, and a source besides."""
    name = model.main_input_name
    if name == "pixel_values":
        side = config.image_size
        return {name: torch.zeros(1, config.num_channels, side, side)}
    ids = torch.ones(1, TOKENS, dtype=torch.long)
    if name == "input_features":
        long = 2 * config.max_source_positions
        return {name: torch.zeros(1, config.num_mel_bins, long), "decoder_input_ids": ids}
    if config.is_encoder_decoder:
        return {"input_ids": torch.ones(1, SOURCE, dtype=torch.long), "decoder_input_ids": ids}
    return {"input_ids": ids}


def exported(given: dict[str, Any]) -> list[list[int]]:
    """Return the products of a configuration's class, as [m, n, k, batch, count]."""
    own = {k: v for k, v in given.items() if k not in ("model_type", "architectures")}
    config = CONFIG_MAPPING[given["model_type"]](**own)
    config._attn_implementation = "eager"
    config._experts_implementation = "batched_mm"
    config.use_cache = False
    model = getattr(transformers, given["architectures"][0])(config).eval()
    with torch.no_grad():
        program = torch.export.export(model, (), inputs_of(model, config), strict=False)
    found = Counter(each for each in products(program.graph) if each[2] > 1)
    return sorted([*sizes, count] for sizes, count in found.items())


def write(found: dict[str, Any]) -> None:
    """Write what is found so far."""
    about = (
        f"What torch.export {torch.__version__.partition('+')[0]} makes of the classes of "
        f"transformers {transformers.__version__} of models.json: products of {TOKENS} tokens (and "
        f"{SOURCE} of a source, or an image or a sound) as [m, n, k, batch, count]; experts of "
        "each token apart (python -m bitlathe.tests.workloads.drawn.exported)."
    )
    rows = (
        f"{json.dumps(n)}: {json.dumps(v, separators=(',', ':'))}" for n, v in sorted(found.items())
    )
    WRITTEN.write_text(
        f'{{"about": {json.dumps(about)},\n"models": {{\n' + ",\n".join(rows) + "\n}}\n"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(60)
    found: dict[str, Any] = json.loads(WRITTEN.read_text())["models"] if sys.argv[1:] else {}
    for name, truth in json.loads(KEPT.read_text())["models"].items():
        if sys.argv[1:] and truth["config"]["model_type"] not in sys.argv[1:]:
            continue
        try:
            found[name] = exported(truth["config"])
            write(found)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            print(f"{name}: {type(error).__name__}: {first[:120]}", flush=True)


if __name__ == "__main__":
    main()
