"""What a user fixes or forbids of a mapping: tiles, orders, stationary operands, unrolling, bypass.

An entry is text: ``io.k=whole`` or ``io.k=512`` (tile of a dimension in a memory),
``weight.order=n,k,m`` (loops right inside a memory, outermost first), ``dram.stationary=weight``
(the innermost of those loops does not index the operand, so that its tile inside stays),
``io.bypass=output`` (the operand goes past the memory), ``rows=k:32`` or ``rows=k:8,n:4`` or
``rows=none`` (what an axis unrolls). All but tiles and axes may be forbidden: ``!=`` for ``=``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from ..arch.hierarchy import OPERANDS, Hierarchy
from ..datatypes.base.errors import BitlatheError, unknown_name
from .nest import Loops, Unroll, dims_of

WHOLE = 0
INDEXES = {"weight": "nk", "input": "mk", "output": "mn"}
KINDS = ("order", "stationary", "bypass")
_ENTRY = re.compile(r"\s*([^.=!\s]+)(?:\.([^.=!\s]+))?\s*(!?=)\s*(\S+)\s*")
_SHAPES = (
    "give MEMORY.DIMENSION=TILE, MEMORY.order=n,k,m, MEMORY.stationary=OPERAND, "
    "MEMORY.bypass=OPERAND or AXIS=DIMENSION:SIZE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One constraint.

    Attributes
    ----------
    text : str
        As the user wrote it.
    where : str
        A memory or an axis.
    what : str
        A dimension, one of `KINDS`, or nothing for an axis.
    forbids : bool
        Whether it excludes what it says.
    size : int
        Elements of a tile; `WHOLE` for all of the dimension.
    names : tuple of str
        Dimensions of an order, or an operand.
    unrolls : tuple of (str, int)
        What an axis unrolls.
    """

    text: str
    where: str
    what: str = ""
    forbids: bool = False
    size: int = WHOLE
    names: tuple[str, ...] = ()
    unrolls: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a mapping must keep to; nothing without entries."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, *texts: str) -> "Constraints":
        """Return the constraints of texts.

        Raises
        ------
        BitlatheError
            A text that is none, or two that contradict each other; it quotes them.

        Examples
        --------
        >>> Constraints.of("io.k=whole", "rows=k:8,n:4").entries[1].unrolls
        (('k', 8), ('n', 4))
        """
        entries = tuple(map(_entry, texts))
        _contradiction(entries)
        return cls(entries=entries)

    def check(self, layer: Loops, hierarchy: Hierarchy) -> None:
        """Refuse entries that mean nothing for a layer on a chip.

        Raises
        ------
        BitlatheError
            It quotes the entry.
        """
        for entry in self.entries:
            problem = _problem(entry, layer, hierarchy)
            if problem:
                raise BitlatheError(f"constraint {entry.text!r}: {problem}")

    def stores(self, chains: dict[str, Sequence[str]]) -> bool:
        """Return whether the memories that keep each operand, by name, are as asked."""
        return all(
            (entry.where in chains[entry.names[0]]) == entry.forbids
            for entry in self.entries
            if entry.what == "bypass"
        )

    def unrolls(self, axis: str) -> tuple[Unroll, ...] | None:
        """Return what an axis must unroll, or None where it is free to."""
        for entry in self.entries:
            if not entry.what and entry.where == axis:
                return tuple(Unroll(axis, dim, size) for dim, size in entry.unrolls if size > 1)
        return None

    def tile(self, memories: Iterable[str], dim: str) -> int | None:
        """Return the tile that a dimension must have in one of some memories; None if it is free.

        Two that differ leave no tile: -1.
        """
        if not self.entries:
            return None
        names = set(memories)
        sizes = {e.size for e in self.entries if e.what == dim and e.where in names}
        if len(sizes) > 1:
            return -1
        return next(iter(sizes), None)

    def allows(self, memories: Iterable[str], loops: Sequence[str]) -> bool:
        """Return whether the loops inside some memories, outermost first, may have an order.

        ``loops``: m, n, k of a product; of a convolution m, which stands for images and the rows
        and columns of outputs, n, and k, for input channels and taps.
        """
        names = set(memories)
        return all(
            _agrees(entry, loops) != entry.forbids
            for entry in self.entries
            if entry.where in names and entry.what in ("order", "stationary")
        )


def _agrees(entry: Entry, loops: Sequence[str]) -> bool:
    if entry.what == "order":
        return list(loops) == [dim for dim in entry.names if dim in loops]
    return not loops or loops[-1] not in INDEXES[entry.names[0]]


def _entry(text: str) -> Entry:
    match = _ENTRY.fullmatch(text)
    if not match:
        raise BitlatheError(f"constraint {text!r} is not one; {_SHAPES}.")
    where, what, sign, value = match.groups()
    forbids = sign == "!="
    if what in KINDS:
        names = tuple(value.split(","))
        return Entry(text=text, where=where, what=what, forbids=forbids, names=names)
    if forbids:
        raise BitlatheError(
            f"constraint {text!r}: tiles and axes cannot be forbidden; use = instead of !=."
        )
    if what:
        return Entry(text=text, where=where, what=what, size=_tile(text, value))
    return Entry(text=text, where=where, unrolls=_unrolls(text, value))


def _tile(text: str, value: str) -> int:
    if value == "whole":
        return WHOLE
    if not value.isdecimal() or int(value) < 1:
        raise BitlatheError(
            f"constraint {text!r}: {value!r} is not a tile; give a whole number of at least 1, or "
            "'whole'."
        )
    return int(value)


def _unrolls(text: str, value: str) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    for part in [] if value == "none" else value.split(","):
        dim, _, size = part.partition(":")
        if not dim or not size.isdecimal() or int(size) < 1 or dim in dict(found):
            raise BitlatheError(
                f"constraint {text!r}: {part!r} is not an unrolling; give DIMENSION:SIZE, each "
                "dimension once, or 'none'."
            )
        found.append((dim, int(size)))
    return tuple(found)


def _contradiction(entries: Sequence[Entry]) -> None:
    for i, one in enumerate(entries):
        for other in entries[i + 1 :]:
            if (one.where, one.what) != (other.where, other.what):
                continue
            single = one.what not in KINDS or not (one.forbids or other.forbids)
            several = one.what in ("stationary", "bypass")  # one each of several operands
            same = one.names == other.names
            if (single and not several) or (same and one.forbids != other.forbids):
                raise BitlatheError(
                    f"constraints {one.text!r} and {other.text!r} contradict each other; leave "
                    "one out."
                )


def _problem(entry: Entry, layer: Loops, hierarchy: Hierarchy) -> str | None:
    """Return what is wrong with an entry for a layer on a chip, or None."""
    if not entry.what:
        return _axis_problem(entry, layer, hierarchy)
    names = tuple(memory.name for memory in hierarchy.memories)
    if entry.where not in names:
        return unknown_name("memory", entry.where, names) + "."
    if entry.what == "order":
        good = sorted(entry.names) == ["k", "m", "n"]
        return None if good else "an order has each of m, n and k once, outermost first."
    if entry.what in KINDS:
        return _operand_problem(entry, hierarchy)
    return _tile_problem(entry, layer, hierarchy)


def _operand_problem(entry: Entry, hierarchy: Hierarchy) -> str | None:
    operand, memory = entry.names[0], hierarchy.memory(entry.where)
    if len(entry.names) > 1 or operand not in OPERANDS:
        return unknown_name("operand", ",".join(entry.names), OPERANDS) + "."
    if entry.what == "bypass":
        if entry.forbids and operand not in memory.holds:
            return f"memory {memory.name!r} cannot hold {operand}s."
        if not entry.forbids and operand in memory.holds and operand not in memory.optional:
            return f"memory {memory.name!r} must keep {operand}s on their way."
    return None


def _tile_problem(entry: Entry, layer: Loops, hierarchy: Hierarchy) -> str | None:
    if entry.what not in layer.sizes:
        known = (*layer.sizes, *KINDS)
        return unknown_name("dimension", entry.what, known) + "."
    size = layer.sizes[entry.what]
    if entry.where == hierarchy.memories[0].name and entry.size not in (WHOLE, size):
        return f"memory {entry.where!r} is outermost, and holds all {size} of {entry.what}."
    if entry.size > size:
        return f"dimension {entry.what} has {size}; give at most {size}, or 'whole'."
    return None


def _axis_problem(entry: Entry, layer: Loops, hierarchy: Hierarchy) -> str | None:
    if entry.where not in hierarchy.axis_names:
        return unknown_name("axis", entry.where, hierarchy.axis_names) + "."
    axis = next(axis for axis in hierarchy.axes if axis.name == entry.where)
    for dim, size in entry.unrolls:
        if dim not in dims_of(axis.dims):
            known = ", ".join(dims_of(axis.dims))
            return f"axis {axis.name!r} cannot unroll {dim}; it takes {known}."
        if size > layer.sizes.get(dim, 1):
            most = layer.sizes.get(dim, 1)
            return f"dimension {dim} has {most}; unroll at most {most}."
    asked = prod(size for _, size in entry.unrolls)
    if asked > axis.size:
        return f"axis {axis.name!r} has {axis.size} units; unroll at most {axis.size}, not {asked}."
    return None
