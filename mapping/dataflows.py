"""The best mapping of a layer over the dataflows that a chip can choose."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..arch.hierarchy import Hierarchy
from ..datatypes.base.errors import BitlatheError
from .best import Best, Objective


def best_dataflow(
    search: Callable[[Hierarchy], Best], hierarchies: Sequence[Hierarchy], objective: Objective
) -> tuple[Hierarchy, Best]:
    """Return the hierarchy under which a layer does best, and its mapping there.

    Parameters
    ----------
    search : callable
        The search of the layer on a hierarchy.
    hierarchies : sequence of Hierarchy
        One a dataflow; the first of equals is taken.
    objective : {"cycles", "energy", "edp"}
        What is least.

    Raises
    ------
    BitlatheError
        The layer fits under none: it says why under the first.
    """
    found: list[tuple[Hierarchy, Best]] = []
    problems: list[BitlatheError] = []
    for hierarchy in hierarchies:
        try:
            found.append((hierarchy, search(hierarchy)))
        except BitlatheError as err:
            problems.append(err)
    if not found:
        raise problems[0]
    hierarchy, best = min(found, key=lambda each: _rank(each[1], objective))
    return hierarchy, _proven(best, [each for _, each in found], objective)


def _proven(best: Best, found: Sequence[Best], objective: Objective) -> Best:
    """Return the best of some with what is known of all that were searched."""
    if all(each.optimal for each in found):
        return best
    bounds = [_rank(each, objective)[0] / each.within for each in found if each.within]
    if len(bounds) < len(found):
        return replace(best, optimal=False, within=None)
    within = max(1.0, _rank(best, objective)[0] / min(bounds))
    return replace(best, optimal=best.optimal and within == 1.0, within=within)


def _rank(best: Best, objective: Objective) -> tuple[float, float]:
    cycles, energy = best.cost.cycles, best.cost.total_pj
    return {
        "cycles": (cycles, energy),
        "energy": (energy, cycles),
        "edp": (best.cost.edp, energy),
    }[objective]
