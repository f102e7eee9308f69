"""The best mapping of a layer on a chip, found once: results kept by what decides them.

Layer, bits, hierarchy, objective, constraints and budget are the key, in a file named after the
sources that decide what is found (`datatypes.base.kept_lines`).
"""

from functools import cache

from ..arch.hierarchy import Hierarchy
from ..datatypes.base.kept_lines import Kept, key_of
from ..datatypes.base.sources import PACKAGE, digest_of
from .best import Best, Objective, best_of
from .budget import budget_nodes
from .constraints import Constraints
from .nest import Loops
from .operands import OperandBits

_BASE = ("numbers", "compiled", "inner_kernels")
FREE = Constraints()


def best_mapping(
    layer: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    objective: Objective = "cycles",
    *,
    constraints: Constraints = FREE,
    keep: bool = True,
) -> Best:
    """Return the best mapping of a layer, searched the first time and looked up from then on.

    The search spends as many nodes as `budget.budget_nodes` says.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    hierarchy : Hierarchy
    objective : {"cycles", "energy", "edp"}
        What is least.
    constraints : Constraints
        What the mapping must keep to.
    keep : bool
        Whether to look among the results on disk, and to add to them. Without it, or with
        ``BITLATHE_KEEP_MAPPINGS=0``, they are kept in this process only.

    Returns
    -------
    Best
        With the figures of the search that found it, whenever that was.

    Raises
    ------
    BitlatheError
        No mapping fits, or something is wrong with the arguments.
    """
    budget = budget_nodes()
    key = key_of(layer, bits, hierarchy, objective, constraints, budget)

    def searched() -> Best:
        from .search import search  # loads the compiler, which a kept result does not need

        return search(layer, bits, hierarchy, objective, constraints=constraints, budget=budget)

    return KEPT.get(key, searched, keep=keep)


@cache
def sources_digest() -> str:
    """Return the digest of the sources that decide what is found."""
    base = [PACKAGE / "datatypes" / "base" / f"{name}.py" for name in _BASE]
    files = [*(PACKAGE / "mapping").glob("*.py"), PACKAGE / "arch" / "hierarchy.py"]
    return digest_of([*files, *base], PACKAGE)


KEPT = Kept("mappings", sources_digest, Best.to_dict, best_of)
"""The best mappings that were found."""
