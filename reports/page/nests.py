"""The mappings of the page's points as data for its script: texts that repeat stand there once."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...mapping.nest import Row
from ..explore.nests import Nest, Packed, layer_nests


def nest_facts(kept: Mapping[int, Sequence[Packed | None]]) -> dict[str, Any]:
    """Return the mappings of some points as the page's script reads them.

    Parameters
    ----------
    kept : mapping
        What the store keeps of the layers of a point (`explore.nests.kept`), by its place.

    Returns
    -------
    dict
        ``rows``: [depth, what, detail] of all nests; ``nests``: [sizes, places of their rows];
        ``points``: by place, a layer each, the clocks of what is busy and its products as [times,
        clocks, whether proven the best, place of the nest]. None for a layer without a mapping.
    """
    texts = _Texts()
    points = {
        str(place): [None if entry is None else texts.layer(entry) for entry in layers]
        for place, layers in kept.items()
    }
    return {"rows": list(texts.rows), "nests": texts.nests, "points": points}


class _Texts:
    """Rows and nests by their places; an equal one is kept once."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str, str], int] = {}
        self.nests: list[list[Any]] = []
        self._known: dict[Any, int] = {}

    def layer(self, entry: Packed) -> list[Any]:
        found = layer_nests(entry)
        parts = [[each.times, each.cycles, each.optimal, self._nest(each)] for each in found.nests]
        return [found.busy_cycles, parts]

    def _nest(self, nest: Nest) -> int:
        key = (*nest.sizes.items(), nest.mapping)
        if key not in self._known:
            self._known[key] = len(self.nests)
            sizes = ", ".join(f"{dim} {size:,}" for dim, size in nest.sizes.items())
            self.nests.append([sizes, [self._row(row) for row in nest.rows()]])
        return self._known[key]

    def _row(self, row: Row) -> int:
        return self.rows.setdefault((row.depth, row.what, row.detail), len(self.rows))
