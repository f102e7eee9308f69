"""DRAM traffic against clocks of a product: all mappings of which none has fewer of both.

``python -m bitlathe.reports.studies.mappers.trade [CHIP [MxNxK]]``

The front of clocks and energy on the same chip where nothing but DRAM takes energy, 1 pJ a bit: of
the whole space of the search, proven. Beside the traffic stands that over the floor of loop nests
in the chip's buffers, and which bound that is (`mapping.floors.nest_floor_bits`).
"""

import sys
from dataclasses import replace
from typing import Any

from ....arch import Arch, load_arch
from ....arch.hierarchy import Hierarchy
from ....datatypes.base.errors import BitlatheError
from ....mapping.floors import nest_floor_bits
from ....mapping.search import front
from ....sim.map_layer import product_on
from ...terminal import print_table

MEGABYTE = 8e6


def trade_rows(chip: Arch, m: int, n: int, k: int) -> list[dict[str, Any]]:
    """Return clocks and DRAM traffic of a product's mappings, the fewest clocks first.

    Parameters
    ----------
    chip : Arch
        With one dataflow.
    m, n, k : int
        Tokens, outputs, inputs.

    Returns
    -------
    list of dict
        Clocks in 1e6, traffic in 1e6 bytes, in whole accesses; how many times the floor that is,
        and the floor's name.
    """
    asked = product_on(chip, m, n, k)
    hierarchy = asked.hierarchies[0]
    floor, bound = nest_floor_bits(asked.layer, asked.bits, hierarchy)
    rows = []
    for best in front(asked.layer, asked.bits, only_traffic(hierarchy)):
        moved = best.cost.energy_pj["total"]
        row = {"Mclk": best.cost.cycles / 1e6, "DRAM MB": moved / MEGABYTE}
        rows.append({**row, "over the floor": moved / floor, "floor": bound})
    return rows


def only_traffic(hierarchy: Hierarchy) -> Hierarchy:
    """Return a chip where DRAM takes 1 pJ for each bit of an access, and nothing else any.

    Parameters
    ----------
    hierarchy : Hierarchy
    """
    memories = []
    for i, memory in enumerate(hierarchy.memories):
        each = [float(port.width_bits) if i == 0 else 0.0 for port in memory.ports]
        ports = zip(memory.ports, each, strict=True)
        free = tuple(replace(port, read_pj=pj, write_pj=pj) for port, pj in ports)
        memories.append(replace(memory, ports=free))
    return replace(hierarchy, memories=tuple(memories), unit_pj=0.0, table_pj=0.0, static_pj=0.0)


def main(arguments: list[str]) -> None:
    """Print the front of a product on a chip."""
    name, gemm = (arguments + ["bitmod", "2048x4096x4096"][len(arguments) :])[:2]
    try:
        m, n, k = map(int, gemm.lower().split("x"))
    except ValueError:
        sys.exit(f"{gemm!r}: write MxNxK, each a whole number above 0.")
    try:
        rows = trade_rows(load_arch(name), m, n, k)
    except BitlatheError as err:
        sys.exit(str(err))
    print_table(rows, title=f"{gemm} on {name}: clocks against DRAM traffic")


if __name__ == "__main__":
    main(sys.argv[1:])
