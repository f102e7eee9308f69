"""A mapping: the loops of a layer, where each memory keeps what, and what is done in parallel.

A mapping is one nest of temporal loops, outermost first, with the memories between them, and the
dimensions that are unrolled over the chip's axes below all of it. A memory that stands between two
loops keeps one tile of each of its operands through the loops inside it. The same memory may stand
at two places of the nest for two operands.
"""

from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from math import prod
from textwrap import shorten
from typing import Any, NamedTuple

from ..datatypes.base.notebook import html
from ..datatypes.base.numbers import ceil_div
from ..workloads.conv_shape import ConvShape
from ..workloads.gemm import Gemm
from ..workloads.sizes import check_size
from .window import Window

PARTS = {"m": ("p", "q"), "k": ("c", "r", "s")}
"""What a convolution has of a product's dimensions: an axis that takes ``k`` takes c, r and s."""


def dims_of(dims: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dimensions that an axis unrolls which takes ``dims``: with their parts.

    Examples
    --------
    >>> dims_of(("k", "n"))
    ('k', 'c', 'r', 's', 'n')
    """
    return tuple(each for dim in dims for each in (dim, *PARTS.get(dim, ())))


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
    windows : tuple of Window
        Pairs of dimensions of the input that index it together.
    """

    sizes: Table[str, int]
    indexes: Table[str, tuple[str, ...]]
    windows: tuple[Window, ...] = ()

    @classmethod
    def product(cls, m: int, n: int, k: int, batch: int = 1) -> "Loops":
        """Return the loops of a product of (m, k) inputs with (n, k) weights.

        Parameters
        ----------
        m, n, k : int
            Tokens, outputs, inputs.
        batch : int
            Products that share nothing, as experts or heads do: dimension ``b``.

        Examples
        --------
        >>> Loops.product(2, 3, 4).macs
        24
        """
        return cls.batched(m, n, k, own=batch)

    @classmethod
    def batched(cls, m: int, n: int, k: int, *, own: int = 1, sharing: int = 1) -> "Loops":
        """Return the loops of products of (m, k) inputs with (n, k) weights.

        Parameters
        ----------
        m, n, k : int
            Tokens, outputs, inputs of one product.
        own : int
            Sets of products with weights of their own: experts, sequences with their keys or
            values, heads. Dimension ``b``.
        sharing : int
            Products of a set, which share its weights: sequences of a prefill, query heads that
            read the same keys or values. Dimension ``h``.

        Examples
        --------
        >>> layer = Loops.batched(2, 3, 4, own=8, sharing=4)
        >>> layer.indexes["weight"], layer.macs
        (('b', 'n', 'k'), 768)
        """
        outer = {dim: size for dim, size in (("b", own), ("h", sharing)) if size != 1}
        sizes = {"m": m, "n": n, "k": k} | outer
        for dim, size in sizes.items():
            check_size(f"dimension {dim}", size)
        return cls(
            sizes=sizes,
            indexes={
                "weight": (*(dim for dim in outer if dim == "b"), "n", "k"),
                "input": (*outer, "m", "k"),
                "output": (*outer, "m", "n"),
            },
        )

    @classmethod
    def conv(cls, shape: ConvShape, images: int = 1) -> "Loops":
        """Return the loops of a convolution.

        Dimensions: images m, outputs n and inputs c of a group, rows p and columns q of the
        output, rows r and columns s of the kernel, and the groups g where there are several.

        Examples
        --------
        >>> shape = ConvShape(in_channels=8, out_channels=8, size=(7, 7), kernel=(3, 3), groups=8)
        >>> Loops.conv(shape).sizes
        {'m': 1, 'n': 1, 'c': 1, 'p': 5, 'q': 5, 'r': 3, 's': 3, 'g': 8}
        """
        groups = {"g": shape.groups} if shape.groups > 1 else {}
        sizes = {
            "m": check_size("images", images),
            "n": shape.out_channels // shape.groups,
            "c": shape.in_channels // shape.groups,
            **dict(zip("pqrs", (*shape.output_size, *shape.kernel), strict=True)),
            **groups,
        }
        windows = tuple(
            Window(
                out="pq"[i],
                tap="rs"[i],
                size=shape.size[i],
                stride=shape.stride[i],
                dilation=shape.dilation[i],
                padding=shape.padding[i],
            )
            for i in (0, 1)
        )
        return cls(
            sizes=sizes,
            indexes={
                "weight": (*groups, "n", "c", "r", "s"),
                "input": (*groups, "m", "c", "p", "q", "r", "s"),
                "output": (*groups, "m", "n", "p", "q"),
            },
            windows=windows,
        )

    @classmethod
    def of(cls, gemm: Gemm) -> "Loops":
        """Return the loops of a model's layer without a mask: a convolution's, or a product's."""
        if gemm.conv is None:
            return cls.product(gemm.m, gemm.n, gemm.k, gemm.batch)
        return cls.conv(gemm.conv, gemm.sequences)

    def bordered(self) -> "Loops":
        """Return the layer with the border of a convolution stored, as part of its input."""
        if not self.windows:
            return self
        sizes = self.sizes
        windows = tuple(each.bordered(sizes[each.out], sizes[each.tap]) for each in self.windows)
        return replace(self, windows=windows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer, those with the border of a convolution included."""
        return prod(self.sizes.values())

    def elements(self, operand: str) -> int:
        """Return the distinct elements of an operand: of an input, the pixels that are read."""
        slid = self.windows if operand == "input" else ()
        pairs = {dim for window in slid for dim in (window.out, window.tap)}
        plain = prod(self.sizes[dim] for dim in self.indexes[operand] if dim not in pairs)
        return plain * prod(w.touched(self.sizes[w.out], self.sizes[w.tap]) for w in slid)


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

    def __repr__(self) -> str:
        memories = " > ".join(dict.fromkeys(level.memory for level in self.levels))
        at_once = ", ".join(f"{each.size} {each.dim} on {each.axis}" for each in self.spatial)
        parts = [memories, f"{len(self.loops)} loops", at_once]
        return f"Mapping({shorten('; '.join(filter(None, parts)), 100, placeholder=' ...')})"

    def _repr_html_(self) -> str:
        rows: list[dict[str, Any]] = []
        for level in self.levels:
            rows.append({"nest": level.memory, "": f"keeps {', '.join(level.keeps)}"})
            rows += [{"nest": f"for {loop.dim}", "": f"by {loop.tile:,}"} for loop in level.loops]
        rows += [{"nest": f"{s.dim} on {s.axis}", "": f"{s.size} at once"} for s in self.spatial]
        return html("Mapping", {}, rows)

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
