"""What the search gains each chip, and BitMoD over the others, by kind of layer.

``python -m bitlathe.reports.studies.mappers.kinds [MODEL [CONTEXT]]``
"""

import sys
from collections.abc import Sequence
from typing import Any

from ....arch import load_arch
from ....datatypes.base.errors import BitlatheError
from ....sim import simulate
from ....workloads import Model, load_model
from ...terminal import print_table
from .layers import PRODUCTS_ALONE
from .study import OWN, RULE

CHIPS = (OWN, "ant-fp16", "olive-fp16", "fp16")
PLACES = (("prefill", 1), ("decode", 64))
Totals = dict[str, tuple[int, float]]


def kind_rows(
    model: Model, context: int, places: Sequence[tuple[str, int]] = PLACES
) -> list[dict[str, Any]]:
    """Return what each kind of layer takes under the rule and under the search, chip by chip.

    Parameters
    ----------
    model : Model
    context : int
        Tokens.
    places : sequence of (str, int)
        Phases and batches.

    Returns
    -------
    list of dict
        Clocks and energy under the rule over those under the search; then those over BitMoD's,
        under either. Kinds are names of layers; the analytic rung, products alone.
    """
    rows = []
    for phase, batch in places:
        found = {
            (chip, mapper): _totals(chip, model, phase, context, batch, mapper)
            for chip in CHIPS
            for mapper in (RULE, "search")
        }
        for kind in found[OWN, RULE]:
            for chip in CHIPS:
                rule, best = found[chip, RULE][kind], found[chip, "search"][kind]
                row: dict[str, Any] = {"phase": phase, "layers": kind, "chip": chip}
                row |= {"clocks, rule / search": rule[0] / best[0]}
                row |= {"energy, rule / search": rule[1] / best[1]}
                for words, mapper, own in (("rule", RULE, rule), ("search", "search", best)):
                    base = found[OWN, mapper][kind]
                    row[f"clocks over {OWN}, {words}"] = own[0] / base[0]
                    row[f"energy over {OWN}, {words}"] = own[1] / base[1]
                rows.append(row)
    return rows


def _totals(chip: str, model: Model, phase: str, context: int, batch: int, mapper: str) -> Totals:
    """Return clocks and energy of all layers of a name."""
    arch = load_arch(chip, PRODUCTS_ALONE)
    run = simulate(arch, model, phase, context, batch, "analytic", mapper)
    totals: Totals = {}
    for layer in run.layers:
        cycles, energy_pj = totals.get(layer.name, (0, 0.0))
        more = layer.energy_pj["total"] * layer.count
        totals[layer.name] = cycles + layer.cycles * layer.count, energy_pj + more
    return totals


def main(arguments: list[str]) -> None:
    """Print the table of a model."""
    name, context = (arguments + ["llama-2-7b", "2048"][len(arguments) :])[:2]
    try:
        rows = kind_rows(load_model(name), int(context))
    except (BitlatheError, ValueError) as err:
        sys.exit(str(err))
    print_table(rows, title=f"{name}, context {context}")


if __name__ == "__main__":
    main(sys.argv[1:])
