"""Pins of layers under their best mappings: clocks of both rungs, energy, traffic, nests."""

from typing import Any

import bitlathe as bl

RUNS = (  # chip, model, phase, context, batch
    ("bitmod", "llama-2-7b", "decode", 256, 1),
    ("bitmod", "opt-125m", "prefill", 64, 2),
    ("ant", "resnet-18", "prefill", None, 1),
    ("gemmini-like", "opt-125m", "decode", 64, 1),
)
PRODUCTS_ALONE = {"vector.lanes": 0}
MAPPERS = ("search", "search-cycles")
LAYER = ("name", "count", "compute_cycles", "dram_cycles", "cycles", "dram_bits", "sram_accesses")
LAYER += ("energy_pj", "stalls", "binds")
PART = ("sizes", "times", "cycles", "lower_bound_cycles", "optimal", "nest")


def found() -> dict[str, Any]:
    """Return the figures of all runs under all searches, on both rungs."""
    runs = {}
    for chip, *how in RUNS:
        for mapper in MAPPERS:
            for rung in ("analytic", "cycle"):
                run = bl.simulate(bl.load_arch(chip, PRODUCTS_ALONE), *how, rung, mapper)
                key = " ".join(map(str, (chip, *how, mapper, rung)))
                runs[key] = {"cycles": run.cycles, "layers": [figures(x) for x in run.layers]}
    return runs


def figures(layer: Any) -> dict[str, Any]:
    """Return what is pinned of a layer: its figures and, of each product, its mapping."""
    parts = [{key: part[key] for key in PART} for part in layer.mapping]
    return {key: getattr(layer, key) for key in LAYER} | {"parts": parts}
