"""Layers of a model under the rule and the searches, and the floors of their DRAM traffic.

``python -m bitlathe.reports.studies.mappers.layers [CHIP [MODEL [PHASE [CONTEXT [BATCH]]]]]``
"""

import sys
from typing import Any

from ....arch import load_arch
from ....datatypes.base.errors import BitlatheError
from ....mapping.best import Best
from ....mapping.floors import nest_floor_bits, traffic_bits, traffic_floor_bits
from ....mapping.mapped import Asked
from ....mapping.mappers import NEST_MAPPERS
from ....sim.map_layer import layer_on
from ....workloads import load_model
from ...terminal import print_table

MAPPERS = ("nest-whole-buffer", "nest-output-tiled", "search", "search-energy", "search-cycles")
MEGABYTE = 8e6

PRODUCTS_ALONE = {"vector.lanes": 0}


def layer_rows(
    chip: str, model: str, phase: str = "prefill", context: int = 2048, batch: int = 1
) -> list[dict[str, Any]]:
    """Return what the layers of a model cost under each mapper, and all of them together.

    Parameters
    ----------
    chip, model, phase, context, batch
        As `sim.simulate` takes them. The chip has one dataflow.

    Returns
    -------
    list of dict
        A row a layer and mapper: Mclk, energy in uJ, their product, DRAM traffic in MB, and over
        the floors of loop nests and of any schedule; then a row a mapper for all layers.
    """
    arch, network = load_arch(chip, PRODUCTS_ALONE), load_model(model)
    rows: list[dict[str, Any]] = []
    totals = {name: [0.0] * 5 for name in MAPPERS}
    for gemm in network.gemms(phase, context, batch):
        asked = layer_on(arch, network, gemm.name, phase, context, batch)
        of = (asked.layer, asked.bits, asked.hierarchies[0])
        floors = [nest_floor_bits(*of)[0], traffic_floor_bits(*of)[0]]
        for name in MAPPERS:
            best = NEST_MAPPERS[name].map(*of)
            figures = [*_figures(asked, best), *floors]
            totals[name] = [a + gemm.count * b for a, b in zip(totals[name], figures, strict=True)]
            rows.append(_row(f"{gemm.name} x {gemm.count}", name, figures))
    return rows + [_row("all", name, figures) for name, figures in totals.items()]


def _figures(asked: Asked, best: Best) -> list[float]:
    bits = traffic_bits(asked.layer, asked.bits, best.mapping, asked.hierarchies[0])
    return [float(best.cost.cycles), best.cost.total_pj, float(bits)]


def _row(layer: str, mapper: str, figures: list[float]) -> dict[str, Any]:
    cycles, energy, bits, nest, floor = figures
    return {
        "layer": layer,
        "mapper": mapper,
        "Mclk": cycles / 1e6,
        "uJ": energy / 1e6,
        "Mclk x mJ": cycles / 1e6 * energy / 1e9,
        "DRAM MB": bits / MEGABYTE,
        "over nests' floor": bits / nest,
        "over any floor": bits / floor,
    }


def main(arguments: list[str]) -> None:
    """Print the table of a chip's layers."""
    chip, model, phase, context, batch = (
        arguments + ["bitmod", "llama-2-7b", "prefill", "2048", "1"][len(arguments) :]
    )
    try:
        rows = layer_rows(chip, model, phase, int(context), int(batch))
    except (BitlatheError, ValueError) as err:
        sys.exit(str(err))
    print_table(rows, title=f"{model} on {chip}, {phase}, context {context}, batch {batch}")


if __name__ == "__main__":
    main(sys.argv[1:])
