"""Write what classes of transformers make of configurations that readers were not written with.

Needs transformers 5.24 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.others

The configurations stand in others.json, most as published models of these types have them, with
sizes, flags and defaults that no other file of these tests has. Each class is built on torch's
``meta`` device: parameters of the whole, and multiply-accumulates of 16 tokens (16 of a source, an
image, a sound) as torch counts them, scans left out. Of models with towers, parameters only.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .counted import counted

WRITTEN = Path(__file__).with_name("others.json")
TOKENS = 16
NOT_ON_META = ("deberta-v2",)
"""Types whose class looks at data while it runs."""


def inputs_of(model: torch.nn.Module, config: Any) -> dict[str, torch.Tensor]:
    """Return the inputs of a model: words, an image, or a sound."""
    name, ids = model.main_input_name, torch.ones(1, TOKENS, dtype=torch.long)
    if name == "pixel_values":
        side = config.image_size
        return {name: torch.empty(1, config.num_channels, side, side)}
    if name == "input_features":
        long = 2 * config.max_source_positions
        return {name: torch.empty(1, config.num_mel_bins, long), "decoder_input_ids": ids}
    return {"input_ids": ids, **({"decoder_input_ids": ids} if config.is_encoder_decoder else {})}


def truth(given: dict[str, Any]) -> dict[str, int]:
    """Return what a class makes of a configuration."""
    own = {k: v for k, v in given.items() if k not in ("model_type", "architectures")}
    config = CONFIG_MAPPING[given["model_type"]](**own)
    config._attn_implementation, config._experts_implementation = "eager", "batched_mm"
    with torch.device("meta"):
        model = getattr(transformers, given["architectures"][0])(config).eval()
        found = {"parameters": sum(each.numel() for each in model.parameters())}
        towers = any(key.endswith("_config") for key in given)
        if not towers and given["model_type"] not in NOT_ON_META:
            found["macs"] = counted(model, inputs_of(model, config))[0][0]
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(60)
    held = json.loads(WRITTEN.read_text())
    rows = []
    for name, each in held["models"].items():
        made = {"config": each["config"], **truth(each["config"])}
        rows.append(f"{json.dumps(name)}: {json.dumps(made, separators=(',', ':'))}")
    about = (
        "Configurations, most as published, and what the classes of transformers "
        f"{transformers.__version__} make of them on the meta device of torch "
        f"{torch.__version__.partition('+')[0]}: parameters, multiply-accumulates of {TOKENS} "
        "tokens, scans left out (python -m bitlathe.tests.workloads.drawn.others)."
    )
    body = ",\n".join(rows)
    WRITTEN.write_text(f'{{"about": {json.dumps(about)},\n"models": {{\n{body}\n}}}}\n')


if __name__ == "__main__":
    main()
