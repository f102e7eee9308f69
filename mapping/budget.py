"""The nodes that a search spends at most: said once for all searches that a run makes.

A node is a tile that was bounded, or what takes as long (docs/mapping.md). Nodes are counted, not
seconds, so that the same is found on any machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..datatypes.base.errors import BitlatheError

BUDGET = 1 << 22  # nodes: some eight seconds
_NODES = ContextVar("nodes", default=BUDGET)


def budget_nodes() -> int:
    """Return the nodes that a search spends at most here: `BUDGET`, unless `node_budget` says."""
    return _NODES.get()


@contextmanager
def node_budget(nodes: int | None) -> Iterator[None]:
    """Give every search inside the block another budget; None leaves it as it is.

    Parameters
    ----------
    nodes : int or None
        More never finds less.

    Raises
    ------
    BitlatheError
        It is less than 1.

    Examples
    --------
    >>> with node_budget(1 << 25):
    ...     budget_nodes()
    33554432
    """
    if nodes is not None and nodes < 1:
        raise BitlatheError(f"budget is {nodes}; give a whole number of nodes of at least 1.")
    before = _NODES.set(budget_nodes() if nodes is None else nodes)
    try:
        yield
    finally:
        _NODES.reset(before)
