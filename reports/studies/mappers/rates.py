"""Tokens a second of a model on a chip by batch and mapper; a prefill's clocks and DRAM traffic.

``python -m bitlathe.reports.studies.mappers.rates [CHIP [MODEL [CONTEXT]]]``

A prefill's traffic through linear layers stands beside what no loop nest moves less than in the
chip's buffers (`mapping.floors.nest_floor_bits`); attention is fused where the run is better so.
"""

import sys
from collections.abc import Sequence
from typing import Any

from ....arch import Arch, load_arch
from ....datatypes.base.errors import BitlatheError
from ....mapping.floors import nest_floor_bits
from ....sim import Run, simulate
from ....sim.map_layer import layer_on
from ....sim.simulation import FIDELITIES
from ....workloads import Model, load_model
from ...terminal import print_table
from .study import RULE

BATCHES = (1, 8, 16, 64)
DECODE_MAPPERS = (RULE, "search")
PREFILL_MAPPERS = (RULE, "search", "search-energy", "search-cycles")
GIGABYTE = 8e9


def decode_rows(
    chip: Arch, model: Model, context: int, mappers: Sequence[str] = DECODE_MAPPERS
) -> list[dict[str, Any]]:
    """Return tokens a second, clocks and energy of a token of decoding, by mapper and batch.

    Parameters
    ----------
    chip : Arch
    model : Model
    context : int
        Tokens that each sequence sees, the new one among them.
    mappers : sequence of str
    """
    rows = []
    for mapper in mappers:
        for batch in BATCHES:
            runs = _rungs(chip, model, "decode", context, batch, mapper)
            rates = {f"tokens/s, {rung}": run.tokens_per_second for rung, run in runs.items()}
            cycle = runs["cycle"]
            energy = (cycle.energy_per_token_pj or 0.0) * 1e-9
            row = {"mapper": mapper, "batch": batch, **rates}
            rows.append({**row, "Mclk": cycle.cycles / 1e6, "mJ a token": energy})
    return rows


def prefill_rows(
    chip: Arch, model: Model, context: int, mappers: Sequence[str] = PREFILL_MAPPERS
) -> list[dict[str, Any]]:
    """Return clocks on both rungs and DRAM traffic of a prefill of one sequence, by mapper.

    Parameters
    ----------
    chip : Arch
        With one dataflow.
    model : Model
    context : int
        Tokens of the prompt.
    mappers : sequence of str

    Returns
    -------
    list of dict
        Clocks in 1e9 and traffic in 1e9 bytes of the run; traffic of its linear layers, and how
        many times the floor of loop nests that is, and which bounds that floor is of. Linear layers
        that are fused send nothing to DRAM between them, and may move less.
    """
    rows = []
    floor, bounds = linear_floor_bits(chip, model, context)
    linear = {gemm.name for gemm in model.gemms("prefill", context) if gemm.kind == "linear"}
    for mapper in mappers:
        runs = _rungs(chip, model, "prefill", context, 1, mapper)
        clocks = {f"Gclk, {rung}": run.cycles / 1e9 for rung, run in runs.items()}
        run = runs["cycle"]
        row = {"mapper": mapper, **clocks, "DRAM GB": run.dram_bits["total"] / GIGABYTE}
        moved = sum(
            sum(layer.dram_bits.values()) * layer.count
            for layer in run.layers
            if linear & set(layer.fused["layers"] if layer.fused else (layer.name,))
        )
        row |= {"linear GB": moved / GIGABYTE, "floor GB": floor / GIGABYTE}
        rows.append({**row, "over the floor": moved / floor, "floor": ", ".join(bounds)})
    return rows


def linear_floor_bits(chip: Arch, model: Model, context: int) -> tuple[int, tuple[str, ...]]:
    """Return the DRAM bits that no nests of a prefill's linear layers undercut, and the bounds.

    Parameters
    ----------
    chip : Arch
    model : Model
    context : int
        Tokens of the prompt.
    """
    floor, bounds = 0, set[str]()
    logits = chip.accounting.logits
    for gemm in model.gemms("prefill", context, logits=logits):
        if gemm.kind == "linear":
            asked = layer_on(chip, model, gemm.name, "prefill", context, logits=logits)
            of = asked.layer, asked.bits, asked.hierarchies[0]
            least, bound = nest_floor_bits(*of)
            floor += gemm.count * least
            bounds.add(bound)
    return floor, tuple(sorted(bounds))


def _rungs(
    chip: Arch, model: Model, phase: str, context: int, batch: int, mapper: str
) -> dict[str, Run]:
    return {
        rung: simulate(chip, model, phase, context, batch, rung, mapper)
        for rung in reversed(FIDELITIES)
    }


def main(arguments: list[str]) -> None:
    """Print both tables of a chip and a model."""
    name, network, context = (arguments + ["bitmod", "llama-2-7b", "2048"][len(arguments) :])[:3]
    try:
        chip, model, tokens = load_arch(name), load_model(network), int(context)
        decode = decode_rows(chip, model, tokens)
        prefill = prefill_rows(chip, model, tokens)
    except (BitlatheError, ValueError) as err:
        sys.exit(str(err))
    print_table(decode, title=f"{network} on {name}, decode, context {context}")
    print_table(prefill, title=f"{network} on {name}, prefill of {context} tokens")


if __name__ == "__main__":
    main(sys.argv[1:])
