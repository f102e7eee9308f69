"""What `bitlathe map` shows of fused layers of any kind: rows, sentences, plain data."""

from collections.abc import Sequence
from typing import Any

from ..mapping.best import Best
from ..mapping.fused.cost import FusedCost
from ..mapping.fused.search import Found
from ..mapping.fused.strip_search import FoundStrips
from ..mapping.nest import Loops


def line_of(loops: Loops, best: Best) -> str:
    """Return a product's mapping in a line."""
    rows = best.mapping.rows(loops.sizes)
    return "; ".join(f"{row.what} {row.detail}".strip() for row in rows)


def port_rows(cost: FusedCost) -> list[dict[str, Any]]:
    """Return what goes through each port."""
    return [
        {"memory": at.memory, "port": at.port, "reads": reads, "writes": writes}
        for at, (reads, writes) in cost.accesses.items()
    ]


def cost_lines(cost: FusedCost, found: Found | FoundStrips) -> list[str]:
    """Return clocks, energy and the search in a sentence each."""
    energy = ", ".join(f"{name} {pj / 1e6:,.3f}" for name, pj in cost.energy_pj.items())
    bits = ", ".join(f"{name} {float(b) / 8e6:,.3f}" for name, b in cost.outer_bits.items())
    return [
        f"clocks: {cost.cycles:,} (at least {cost.lower_bound_cycles:,} under this tiling); "
        f"steps {float(cost.compute_cycles):,.0f}",
        f"energy (uJ): {energy}",
        f"DRAM traffic (MB): {bits}",
        f"schedule: the best of {found.tilings:,} tilings, {found.tilings_costed:,} of them "
        f"costed in {found.search_seconds:.3f} s, the others bounded",
        *_not_proven(found),
    ]


def _not_proven(found: Found | FoundStrips) -> list[str]:
    """Return how far from proven the products' mappings may be, in a sentence if any is not."""
    some = [each for each in found.products.values() if not each.optimal]
    far = [each.within for each in some if each.within is not None]
    if not some:
        return []
    known = f"; {len(far)} of them within {max(far):.4f} x of what no mapping of theirs undercuts"
    return [
        f"products: the mappings of {len(some)} of {len(found.products)} are not proven"
        f"{known if far else ''}, so the schedule is the best with such products"
    ]


def cost_data(names: Sequence[str], cost: FusedCost, found: Found | FoundStrips) -> dict[str, Any]:
    """Return plain data: the layers, the figures, the tiling, the mappings of its products."""
    return {
        "layers": list(names),
        "cycles": cost.cycles,
        "lower_bound_cycles": cost.lower_bound_cycles,
        "compute_cycles": float(cost.compute_cycles),
        "energy_pj": dict(cost.energy_pj),
        "dram_bits": {name: float(bits) for name, bits in cost.outer_bits.items()},
        "tilings": found.tilings,
        "tilings_costed": found.tilings_costed,
        "search_seconds": found.search_seconds,
        "tiling": found.tiling.to_dict(),
        "products": [
            {
                "asked": list(asked),
                "mapping": best.mapping.to_dict(),
                "optimal": best.optimal,
                "within": best.within,
            }
            for asked, best in found.products.items()
        ],
        "ports": port_rows(cost),
    }


def about_each(sides: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what certificates may be about, of a chain by dataflow: one, and then all others."""
    return [
        {
            **side,
            "others": [
                {"chain": other["chain"], "chip": other["chip"]}
                for other in sides
                if other["chip"] != side["chip"]
            ],
        }
        for side in sides
    ]
