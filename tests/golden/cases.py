"""What is pinned: chips and their runs, and the other pins; how they are written down."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bitlathe as bl

from . import formats, keys, searched

FOLDER = Path(__file__).parent
CHIPS = (
    *("bitmod", "bitmod-int6", "fp16", "ant", "olive", "systolic-ws", "systolic-os"),
    *(f"hpca25/{name}" for name in ("fp16", "ant", "olive", "bitmod-lossless", "bitmod-lossy")),
)
OTHERS = {"formats": formats, "keys": keys, "searched": searched}
PINS = (*CHIPS, *OTHERS)
RUNS = (  # model, phase, context, batch
    ("llama-2-7b", "prefill", 256, 1),
    ("llama-2-7b", "prefill", 2048, 1),
    ("llama-2-7b", "decode", 256, 1),
    ("llama-2-7b", "decode", 2048, 16),
    ("opt-125m", "prefill", 128, 4),
    ("gemma-3-1b", "prefill", 1024, 1),
    ("gemma-3-1b", "decode", 1024, 1),
    ("qwen3-30b-a3b", "prefill", 17, 1),
    ("qwen3-30b-a3b", "decode", 256, 16),
    ("bert-base", "prefill", 128, 1),
    ("resnet-18", "prefill", None, 1),
    ("mobilenet-v2", "prefill", None, 2),
)
RUNGS = ("analytic", "cycle")
LAYER = ("name", "count", "m", "n", "k", "batch", "compute_cycles", "dram_cycles", "stall_cycles")
LAYER += ("cycles", "utilization", "dram_bits", "sram_accesses", "energy_pj", "stalls")


def chip(name: str) -> Any:
    """Return a shipped chip without its vector unit, or one of this folder: products alone."""
    path = FOLDER / f"{name}.yaml"
    if path.exists() or name.startswith("hpca25/"):
        return bl.load_arch(path if path.exists() else name)
    return bl.load_arch(name, searched.PRODUCTS_ALONE)


def runs(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, figures) of a chip's pinned runs."""
    arch = chip(name)
    for model, phase, context, batch in RUNS:
        for rung in RUNGS:
            run = bl.simulate(arch, model, phase, context, batch, rung, "whole-buffer")
            layers = [{key: getattr(layer, key) for key in LAYER} for layer in run.layers]
            key = f"{model} {phase} {context} x {batch} {rung}"
            area = run.area_um2
            yield key, {"cycles": run.cycles, "area_um2": area, "layers": layers}


def found(name: str) -> dict[str, Any]:
    """Return a pin's figures as they are now."""
    return OTHERS[name].found() if name in OTHERS else dict(runs(name))


def path(name: str) -> Path:
    """Return the file of a pin."""
    return FOLDER / f"{name.replace('/', '-')}.json"


def read(name: str) -> dict[str, Any]:
    """Return a pin's figures as its file has them."""
    return json.loads(path(name).read_text(encoding="utf-8"))


def text(name: str, pinned: dict[str, Any]) -> str:
    """Return a pin as JSON, short lines for what changes together: a layer, a row of codes."""
    layered = name in (*CHIPS, "searched")
    return runs_text(pinned) if layered else json.dumps(pinned, indent=0) + "\n"


def runs_text(pinned: dict[str, Any]) -> str:
    """Return pinned runs as JSON, a layer a line."""
    lines = []
    for key, run in pinned.items():
        layers = ",\n  ".join(json.dumps(layer) for layer in run["layers"])
        head = json.dumps({k: v for k, v in run.items() if k != "layers"})[:-1]
        lines.append(f'{json.dumps(key)}: {head}, "layers": [\n  {layers}]}}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def differences(before: Any, after: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (place, before, after) of every figure that differs, is new or is gone."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            yield from differences(before.get(key), after.get(key), f"{at}/{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for i in range(max(len(before), len(after))):
            pair = [side[i] if i < len(side) else None for side in (before, after)]
            named = next((p for p in pair if isinstance(p, dict)), {})
            yield from differences(*pair, f"{at}/{named.get('name', i)}")
    elif before != after:
        yield at, before, after
