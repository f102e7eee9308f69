"""A mapping: the loops of a layer, where each memory keeps what, and what is done in parallel.

A mapping is one nest of temporal loops, outermost first, with the memories between them, and the
dimensions that are unrolled over the chip's axes below all of it. A memory that stands between two
loops keeps one tile of each of its operands through the loops inside it. The same memory may stand
at two places of the nest for two operands.
"""

from collections.abc import Mapping as Table
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from ..datatypes.base.numbers import ceil_div
from ..workloads.gemm import check_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Loops:
    """The loops of a layer: the size of each dimension, and the dimensions an operand has.

    Attributes
    ----------
    sizes : dict of str to int
        Extent of each dimension.
    indexes : dict of str to tuple of str
        Dimensions that index ``weight``, ``input`` and ``output``; one that does not index the
        output is summed over.
    """

    sizes: Table[str, int]
    indexes: Table[str, tuple[str, ...]]

    @classmethod
    def product(cls, m: int, n: int, k: int, batch: int = 1) -> "Loops":
        """Return the loops of a product of (m, k) inputs with (n, k) weights.

        Parameters
        ----------
        m, n, k : int
            Tokens, outputs, inputs.
        batch : int
            Products that share nothing. Those that share their weights are one of more tokens.

        Examples
        --------
        >>> Loops.product(2, 3, 4).macs
        24
        """
        sizes = {"m": m, "n": n, "k": k} | ({"b": batch} if batch > 1 else {})
        for dim, size in sizes.items():
            check_size(f"dimension {dim}", size)
        outer = ("b",) if batch > 1 else ()
        return cls(
            sizes=sizes,
            indexes={
                "weight": (*outer, "n", "k"),
                "input": (*outer, "m", "k"),
                "output": (*outer, "m", "n"),
            },
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        return prod(self.sizes.values())


@dataclass(frozen=True, slots=True)
class Loop:
    """A temporal loop: one iteration covers ``tile`` of a dimension; the last may be short."""

    dim: str
    tile: int


@dataclass(frozen=True, slots=True)
class Unroll:
    """``size`` units of an axis work on as many elements of a dimension at once."""

    axis: str
    dim: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A memory in the nest: the operands it keeps there, and the loops right inside it.

    ``doubled``: those of its operands whose next tile is fetched beside the one in use.
    """

    memory: str
    keeps: tuple[str, ...]
    loops: tuple[Loop, ...] = ()
    doubled: tuple[str, ...] = ()


class Place(NamedTuple):
    """A memory that keeps an operand, how many loops stand outside, whether its tile is doubled."""

    memory: str
    outside: int
    doubled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Levels, outermost first, and what is unrolled below all of them."""

    levels: tuple[Level, ...]
    spatial: tuple[Unroll, ...] = ()

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All temporal loops, outermost first."""
        return tuple(loop for level in self.levels for loop in level.loops)

    def chain(self, operand: str) -> tuple["Place", ...]:
        """Return where an operand is kept, outermost first."""
        places, outside = [], 0
        for level in self.levels:
            if operand in level.keeps:
                places.append(Place(level.memory, outside, operand in level.doubled))
            outside += len(level.loops)
        return tuple(places)

    def unrolled(self, dim: str) -> int:
        """Return how many elements of a dimension are worked on at once."""
        units = 1
        for each in self.spatial:
            if each.dim == dim:
                units *= each.size
        return units

    def tile(self, sizes: Table[str, int], outside: int) -> dict[str, int]:
        """Return the largest block of each dimension that is inside the outermost loops.

        Parameters
        ----------
        sizes : dict of str to int
            Extents of the layer's dimensions.
        outside : int
            How many of the outermost loops stand outside the block.
        """
        block = dict(sizes)
        for loop in self.loops[:outside]:
            block[loop.dim] = min(block[loop.dim], loop.tile)
        return block

    def text(self, sizes: Table[str, int]) -> str:
        """Return the nest as text: a line a memory or loop, bounds with the short last block."""
        return "\n".join("  " * row.depth + f"{row.what} {row.detail}" for row in self.rows(sizes))

    def bounds(self, sizes: Table[str, int]) -> tuple["Bound", ...]:
        """Return the bounds of all loops, outermost first."""
        block, found = dict(sizes), []
        for loop in self.loops:
            extent = block[loop.dim]
            tile = min(loop.tile, extent)
            found.append(Bound(ceil_div(extent, tile), tile, extent % tile or tile))
            block[loop.dim] = tile
        return tuple(found)

    def rows(self, sizes: Table[str, int]) -> list["Row"]:
        """Return the nest row by row: memories with what they keep, loops with their bounds."""
        bounds = iter(self.bounds(sizes))
        rows: list[Row] = []
        for level in self.levels:
            keeps = ", ".join(
                f"{operand} (two tiles)" if operand in level.doubled else operand
                for operand in level.keeps
            )
            rows.append(Row(len(rows), level.memory, f"keeps {keeps}"))
            for loop in level.loops:
                blocks, tile, last = next(bounds)
                short = f", the last of {last}" if last < tile else ""
                rows.append(Row(len(rows), f"for {loop.dim}", f"{blocks} x {tile}{short}"))
        for each in self.spatial:
            rows.append(Row(len(rows), f"{each.dim} on {each.axis}", f"{each.size} at once"))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `mapping_of` reads it."""
        return {
            "levels": [
                {
                    "memory": level.memory,
                    "keeps": list(level.keeps),
                    "loops": [[loop.dim, loop.tile] for loop in level.loops],
                    "doubled": list(level.doubled),
                }
                for level in self.levels
            ],
            "spatial": [[each.axis, each.dim, each.size] for each in self.spatial],
        }


class Bound(NamedTuple):
    """Iterations of a loop, the extent of one, and of the last, which may be short."""

    blocks: int
    tile: int
    last: int


class Row(NamedTuple):
    """A row of a nest as text: its depth, a memory, loop or axis, and what is to say of it."""

    depth: int
    what: str
    detail: str
