"""Which mapper lays a chip's layers: a search for loop nests, or a rule that needs no nest."""

from ..arch.hierarchies import hierarchies_of
from ..arch.schema import SPLITTING, Arch
from ..datatypes.base.errors import BitlatheError
from ..mapping.mappers import NEST_MAPPERS, SEARCHES
from ..mapping.staying import why_nothing_stays

AUTO = "auto"
RULES = ("whole-buffer", "hpca25-whole-buffer")
MAPPERS = (AUTO, *NEST_MAPPERS, *RULES, *SPLITTING)
"""``auto``: the chip's own, else ``search``, else, on chips that no nest describes, a rule."""


def why_no_search(arch: Arch) -> str | None:
    """Return the key of a chip that a mapping cannot describe, and why; None where it can."""
    if arch.published_accounting:
        return "accounting.study counts as a study without mappings does"
    if arch.execution.keep_outputs:
        reason = why_nothing_stays(hierarchies_of(arch)[0])
        if reason:
            return f"execution.keep_outputs: {reason}"
    if arch.execution.overlap_layers:
        return "execution.overlap_layers has tiles of two layers in the memories at once"
    if arch.array.timing == "scalesim":
        return "array.timing scalesim counts clocks as SCALE-Sim does"
    return None


def mapper_for(arch: Arch, mapper: str) -> str:
    """Return the mapper that runs on a chip.

    Parameters
    ----------
    arch : Arch
        The chip; one that names a mapper takes it for ``auto`` and ``whole-buffer``.
    mapper : str
        One of `MAPPERS`.

    Raises
    ------
    BitlatheError
        A search on a chip that a mapping cannot describe, a rule as nests where results stay.
    """
    reason = why_no_search(arch) if mapper in (AUTO, *NEST_MAPPERS) else None
    if reason and arch.memories and arch.mapper is None:
        raise BitlatheError(f"mapper {mapper!r}: {reason}; take the key out of the chip.")
    if mapper == AUTO:
        return arch.mapper or ("whole-buffer" if reason else "search")
    if arch.execution.keep_outputs and mapper in NEST_MAPPERS and mapper not in SEARCHES:
        raise BitlatheError(
            f"mapper {mapper!r}: execution.keep_outputs keeps results on the chip between layers, "
            "which this rule does not count; use mapper 'search' or take the key out of the chip."
        )
    if mapper in NEST_MAPPERS and reason:
        raise BitlatheError(
            f"mapper {mapper!r}: {reason}, which a mapping does not describe; use mapper "
            f"{arch.mapper or 'whole-buffer'!r} or take the key out of the chip."
        )
    return rule_of(arch, mapper)


def why_a_rule(arch: Arch, mapper: str) -> str | None:
    """Return why ``auto`` takes a rule on a chip; None where it searches, or the chip names one."""
    return why_no_search(arch) if mapper == AUTO and arch.mapper is None else None


def rule_of(arch: Arch, rule: str) -> str:
    """Return the rule that runs: a chip that names one takes it for ``whole-buffer`` too."""
    return arch.mapper or rule if rule == "whole-buffer" else rule
