"""Draw configurations of the model classes of transformers and compare what bitlathe reads.

Needs transformers 5.24 and torch, which are no dependencies of the tests:

    python -m bitlathe.tests.workloads.drawn.classes --draws 12            # compare, print a table
    python -m bitlathe.tests.workloads.drawn.classes --page docs/model-types.md
    python -m bitlathe.tests.workloads.drawn.classes --write TYPE ...      # keep truths of types

A configuration is compared as it was drawn, with keys left out, and as the class writes it, with
all of its keys: parameters and matrices of the class built on the ``meta`` device.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import transformers
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.pytorch_utils import Conv1D

from ....workloads import load_model
from ....workloads.families import FAMILIES
from ..test_against_transformers import matrices_of
from .configs import draw

KEPT = Path(__file__).with_name("models.json")
MAPPINGS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_MAPPING_NAMES",
)
UNEXPORTED = {
    "whisper": ("WhisperForConditionalGeneration",),
    "mllama_text_model": ("MllamaForCausalLM",),
}
PAGE = """# Types of models, tried

Random small configurations of every `model_type` that has a class of its own in transformers
{version}: sizes, flags, kinds of layers and the ending of the class drawn, optional keys left out
at random. Each was read twice, as drawn and as the class writes it with all its keys, and
compared with the class built on torch's `meta` device: parameters and the shapes of all matrices,
to the unit. *Built* counts the configurations, of twelve, that the class itself takes. This page
is made by `python -m bitlathe.tests.workloads.drawn.classes --page docs/model-types.md`; one
configuration of each type is kept with its truth and read by the tests. Multiply-accumulates,
caches and windows are compared on other configurations of the same types
([workloads.md](workloads.md#how-it-is-checked)).

| model_type | class, of others beside | built | equal |
|---|---|---|---|
"""
BIAS_ONCE = ("modernbert", "distilbert")
"""Masked language models that hold the bias of an untied output once; the others twice."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a class makes of a configuration."""

    drawn: dict
    written: dict
    model: torch.nn.Module
    parameters: int
    matrices: Counter
    expert_elements: int


def classes_of(kind: str) -> list[str]:
    """Return the classes of a model_type whose ends bitlathe knows, the usual one first."""
    known = tuple(FAMILIES[kind].outputs)
    named = [getattr(modeling_auto, mapping).get(kind) for mapping in MAPPINGS]
    each = [n for names in named for n in (names if isinstance(names, (list, tuple)) else [names])]
    found = [n for n in (*UNEXPORTED.get(kind, ()), *each) if n and n.endswith(known)]
    return [n for n in found if "LMHeadModel" in known or not n.endswith("LMHeadModel")]


def stands_alone(kind: str) -> bool:
    """Return whether a type has a class of its own that ends in no merger, as Qwen's towers do."""
    known = kind in CONFIG_MAPPING and FAMILIES[kind].image_keys.side is None
    return known and bool(classes_of(kind))


def truth_of(kind: str, seed: int) -> Truth:
    """Draw a configuration, and build its class."""
    rng = Random(f"{kind}{seed}")
    made = CONFIG_MAPPING[kind]
    drawn = draw(kind, made().to_dict(), rng)
    name = rng.choice([classes_of(kind)[0], rng.choice(classes_of(kind))])
    config = made(**drawn)
    config._attn_implementation = config._experts_implementation = "eager"
    written = json.loads(config.to_json_string(use_diff=False))
    with torch.device("meta"):
        model = getattr(transformers, name)(config).eval()
    outer = {"model_type": kind, "architectures": [name]}
    experts = sum(
        p.numel()
        for n, p in model.named_parameters()
        if _of_expert(n) and p.dim() > 1 and "bias" not in n
    )
    matrices: Counter = Counter()
    seen: set[int] = set()
    for where, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and not _of_expert(f"{where}."):
            shape = tuple(module.weight.shape)
            matrices[shape[::-1] if isinstance(module, Conv1D) else shape] += (
                id(module.weight) not in seen
            )
            seen.add(id(module.weight))
    return Truth(
        drawn={**drawn, **outer},
        written={**written, **outer},
        model=model,
        parameters=sum(p.numel() for p in model.parameters()),
        matrices=+matrices,
        expert_elements=experts,
    )


def _of_expert(name: str) -> bool:
    return "experts." in name and "shared_expert" not in name


def differences(kind: str, truth: Truth, config: dict) -> list[str]:
    """Return what bitlathe makes otherwise of a configuration, a phrase each."""
    try:
        model = load_model(config)
    except Exception as error:
        return [f"refused: {error}"]
    expected = truth.parameters - bias_held_twice(kind, config)
    found, experts = matrices_of(model.shape)
    elements = sum(n * k * count for (n, k), count in experts.items())
    wrong = []
    if model.parameter_count != expected:
        wrong.append(f"{model.parameter_count} parameters of {expected}")
    if truth.matrices - found:
        wrong.append(f"without {dict(truth.matrices - found)}")
    if elements != truth.expert_elements:
        wrong.append(f"{elements} elements of experts of {truth.expert_elements}")
    return wrong


def bias_held_twice(kind: str, config: dict) -> int:
    """Return the elements of a bias that a class holds twice: that of an untied output."""
    masked = config["architectures"][0].endswith("MaskedLM")
    untied = masked and config.get("tie_word_embeddings") is False
    return config["vocab_size"] if untied and kind not in BIAS_ONCE else 0


def compare(kind: str, draws: int, first: int) -> tuple[int, int, list[str]]:
    """Return how many configurations the class takes, how many agree, and what differs."""
    taken = agreed = 0
    wrong: list[str] = []
    for seed in range(first, first + draws):
        try:
            truth = truth_of(kind, seed)
        except Exception:
            continue
        taken += 1
        found = [
            f"{form}, seed {seed}: {each}"
            for form in ("drawn", "written")
            for each in differences(kind, truth, getattr(truth, form))
        ]
        agreed += not found
        wrong += found
    return taken, agreed, wrong


def kept(kind: str, seed: int) -> dict[str, object]:
    """Return a truth as it is kept in a file."""
    truth = truth_of(kind, seed)
    return {
        "config": truth.drawn,
        "parameters": truth.parameters - bias_held_twice(kind, truth.drawn),
        "matrices": sorted([n, k, count] for (n, k), count in truth.matrices.items()),
        "expert_elements": truth.expert_elements,
    }


def write(kinds: list[str], first: int) -> None:
    """Keep the first configuration of each type that its class takes."""
    data = json.loads(KEPT.read_text()) if KEPT.exists() else {"models": {}}
    for kind in kinds:
        for seed in range(first, first + 50):
            try:
                data["models"][f"{kind}-drawn-{seed}"] = kept(kind, seed)
                break
            except Exception as error:
                print(kind, seed, type(error).__name__)
    data["about"] = (
        "Random configurations, keys left out, and what the classes of transformers "
        f"{transformers.__version__} make of them (python -m bitlathe.tests.workloads.drawn.classes"
        " --write): parameters, linear matrices as [outputs, inputs, modules], elements of experts."
    )
    rows = (f"{json.dumps(n)}: {json.dumps(v)}" for n, v in sorted(data["models"].items()))
    KEPT.write_text(
        f'{{"about": {json.dumps(data["about"])},\n"models": {{\n' + ",\n".join(rows) + "\n}}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("types", nargs="*")
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    kinds = given.types or [kind for kind in FAMILIES if stands_alone(kind)]
    transformers.logging.set_verbosity(60)
    if given.write:
        write(kinds, given.first)
        return
    rows = []
    for kind in kinds:
        taken, agreed, wrong = compare(kind, given.draws, given.first)
        rows.append(f"| {kind} | {classes_of(kind)[0]} | {taken} | {agreed} |")
        print(rows[-1], flush=True)
        for each in wrong[:6]:
            print("   ", each[:300])
    if given.page:
        given.page.write_text(
            PAGE.format(version=transformers.__version__) + "\n".join(rows) + "\n"
        )


if __name__ == "__main__":
    main()
