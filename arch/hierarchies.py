"""The hierarchies of memories that a chip can be: one for each dataflow that it can choose."""

from .hierarchy import Hierarchy
from .long_form import long_hierarchies
from .schema import Arch
from .short_form import hierarchy_of


def hierarchies_of(arch: Arch) -> tuple[Hierarchy, ...]:
    """Return the memories and axes of a chip, one hierarchy for each of its dataflows.

    A layer runs under one of them; the mapper takes the best.

    Raises
    ------
    BitlatheError
        A chip that counts as a study does, or whose memories cannot feed its array.
    """
    return long_hierarchies(arch) if arch.memories else (hierarchy_of(arch),)
