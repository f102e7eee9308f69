"""Mappings as one line, as Timeloop and DOSA print them, read for a layer on a chip.

``L3[WIO] C3 K48 - L2[WI] N1 K16X - L1[O] C16 P64 C16X - L0[W] P2``: memories outermost first, with
the operands that they keep; behind each its loops, outermost first, a dimension and its bound. A
bound with ``X`` (or ``Y``, or ``@`` and the name of an axis) is unrolled. ``L0`` is the chip's
innermost memory; a memory's name is taken too.
"""

import re
from dataclasses import dataclass
from itertools import product
from math import prod

from ..arch.hierarchy import Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from .nest import Level, Loop, Loops, Mapping, Unroll, dims_of

OPERAND_LETTERS = {"W": "weight", "I": "input", "O": "output"}
CONV_LETTERS = {"N": "m", "K": "n", "C": "c", "P": "p", "Q": "q", "R": "r", "S": "s", "G": "g"}
PRODUCT_LETTERS = {"N": "h", "P": "m", "K": "n", "C": "k", "G": "b"}
_LEVEL = re.compile(r"(?P<name>[^\s\[\]]+)\s*\[(?P<keeps>[A-Za-z]*)\](?P<loops>.*)", re.DOTALL)
_FACTOR = re.compile(r"(?P<dim>[A-Za-z])(?P<bound>[0-9]+)(?P<where>[XYxy]|@\S+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factor:
    """A bound of a dimension: a loop, or unrolled over ``axes``, one of which has to be chosen."""

    text: str
    dim: str
    bound: int
    axes: tuple[str, ...] | None = None


_Levels = list[tuple[Memory, tuple[str, ...], list[_Factor]]]


def mapping_of_string(text: str, layer: Loops, hierarchy: Hierarchy) -> Mapping:
    """Return the mapping that a line stands for.

    Every tile is single: the line does not say otherwise (`mapping.legal.doubled`).

    Raises
    ------
    BitlatheError
        Something that is no level or bound, or does not fit the layer or the chip; it names the
        part of the line.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from bitlathe.arch.hierarchy import OPERANDS, Port
    >>> port = Port(direction="both", width_bits=Fraction(64))
    >>> dram = Memory(name="dram", holds=OPERANDS, size_bits=None, ports=(port,))
    >>> chip = Hierarchy(memories=(dram,), axes=())
    >>> mapping_of_string("L0[WIO] P2 K4 C8", Loops.product(2, 4, 8), chip).loops
    (Loop(dim='m', tile=1), Loop(dim='n', tile=1), Loop(dim='k', tile=1))
    """
    parts = [part for part in re.split(r"\s+-\s+", text.strip()) if part]
    levels = [_level(part, layer, hierarchy) for part in parts]
    factors = [factor for _, _, some in levels for factor in some]
    spatial = _assigned([factor for factor in factors if factor.axes], hierarchy)
    tiles = _tiles(factors, layer)
    found = []
    for memory, keeps, some in levels:
        loops = tuple(
            Loop(factor.dim, tiles[id(factor)])
            for factor in some
            if factor.axes is None and factor.bound > 1
        )
        found.append(Level(memory=memory.name, keeps=keeps, loops=loops))
    return Mapping(levels=tuple(found), spatial=spatial)


def _level(
    part: str, layer: Loops, hierarchy: Hierarchy
) -> tuple[Memory, tuple[str, ...], list[_Factor]]:
    match = _LEVEL.fullmatch(part.strip())
    if match is None:
        raise BitlatheError(
            f"mapping string: {part.strip()!r} is not a level; write the memory, the operands it "
            "keeps and its loops, such as 'L1[WI] C16 K4X', and ' - ' between levels."
        )
    memory = _memory(match["name"], hierarchy)
    keeps = []
    for letter in match["keeps"].upper():
        if letter not in OPERAND_LETTERS:
            raise BitlatheError(
                f"mapping string: {match['name']}[{match['keeps']}] keeps {letter!r}; operands "
                "are W (weights), I (inputs) and O (outputs)."
            )
        keeps.append(OPERAND_LETTERS[letter])
    factors = [
        _factor(word, match["name"], memory, layer, hierarchy) for word in match["loops"].split()
    ]
    return memory, tuple(keeps), factors


def _memory(name: str, hierarchy: Hierarchy) -> Memory:
    names = [memory.name for memory in hierarchy.memories]
    if name in names:
        return hierarchy.memory(name)
    number = re.fullmatch(r"[Ll]([0-9]+)", name)
    if number is None or int(number[1]) >= len(names):
        listed = ", ".join(f"L{len(names) - 1 - i} ({each})" for i, each in enumerate(names))
        raise BitlatheError(f"mapping string: the chip has no memory {name!r}; it has {listed}.")
    return hierarchy.memories[len(names) - 1 - int(number[1])]


def _factor(word: str, level: str, memory: Memory, layer: Loops, hierarchy: Hierarchy) -> _Factor:
    match, where = _FACTOR.fullmatch(word), f"mapping string: {word!r} at {level}"
    if match is None:
        raise BitlatheError(
            f"{where} is not a bound; write a dimension and a number, such as K16, or K16X where "
            "it is unrolled."
        )
    known = _letters(layer)
    letter, bound = match["dim"].upper(), int(match["bound"])
    if letter not in known:
        if letter in CONV_LETTERS and bound == 1:
            return _Factor(text=word, dim="", bound=1)
        listed = ", ".join(f"{each} ({dim})" for each, dim in known.items())
        raise BitlatheError(f"{where}: the layer has no dimension {letter}; it has {listed}.")
    if bound < 1:
        raise BitlatheError(f"{where} has a bound of 0; give at least 1.")
    if match["where"] is None:
        return _Factor(text=f"{word} at {level}", dim=known[letter], bound=bound)
    axes = _axes(match["where"], where, known[letter], memory, hierarchy)
    return _Factor(text=f"{word} at {level}", dim=known[letter], bound=bound, axes=axes)


def _axes(
    asked: str, where: str, dim: str, memory: Memory, hierarchy: Hierarchy
) -> tuple[str, ...]:
    """Return the axes that may unroll a bound: they take the dimension, below the memory."""
    named = asked.removeprefix("@") if asked.startswith("@") else None
    if named is not None and named not in hierarchy.axis_names:
        raise BitlatheError(
            f"{where}: the chip has no axis {named!r}; it has {', '.join(hierarchy.axis_names)}."
        )
    takes = [axis for axis in hierarchy.axes if dim in dims_of(axis.dims)]
    if named is not None:
        takes = [axis for axis in takes if axis.name == named]
    if not takes:
        listed = "; ".join(f"{axis.name} takes {', '.join(axis.dims)}" for axis in hierarchy.axes)
        raise BitlatheError(f"{where}: no axis unrolls {dim} there; {listed or 'there is none'}.")
    below = tuple(axis.name for axis in takes if axis.name not in memory.per)
    if not below:
        raise BitlatheError(
            f"{where}: each unit of {', '.join(axis.name for axis in takes)} has a copy of "
            f"{memory.name!r}; unroll {dim} at a memory outside."
        )
    return below


def _assigned(factors: list[_Factor], hierarchy: Hierarchy) -> tuple[Unroll, ...]:
    """Return the unrolled bounds on axes with room for them; innermost bounds first."""
    live = [factor for factor in reversed(factors) if factor.bound > 1]
    for choice in product(*(factor.axes or () for factor in live)):
        used = {
            axis.name: prod(
                f.bound for f, name in zip(live, choice, strict=True) if name == axis.name
            )
            for axis in hierarchy.axes
        }
        if all(used[axis.name] <= axis.size for axis in hierarchy.axes):
            return tuple(Unroll(axis, f.dim, f.bound) for f, axis in zip(live, choice, strict=True))
    asked = ", ".join(factor.text for factor in factors)
    sizes = ", ".join(
        f"{axis.name} has {axis.size} for {', '.join(axis.dims)}" for axis in hierarchy.axes
    )
    raise BitlatheError(f"mapping string: the axes have no room for {asked}: {sizes}.")


def _tiles(factors: list[_Factor], layer: Loops) -> dict[int, int]:
    """Return the extent of one iteration of each bound, by identity; refuse what falls short."""
    tiles: dict[int, int] = {}
    for dim, size in layer.sizes.items():
        mine = [factor for factor in factors if factor.dim == dim]
        inside = prod(factor.bound for factor in mine if factor.axes)
        loops = [factor for factor in mine if factor.axes is None]
        for factor in reversed(loops):
            tiles[id(factor)] = inside
            inside *= factor.bound
        if inside < size:
            letter = next(key for key, each in _letters(layer).items() if each == dim)
            told = f"{letter}'s bounds multiply to {inside}" if mine else f"{letter} has no bound"
            raise BitlatheError(
                f"mapping string: {told}, and the layer has {size} of dimension {dim}; let them "
                f"multiply to {size}."
            )
        extent = size
        for factor in loops:
            tile = tiles[id(factor)]
            blocks = ceil_div(extent, tile)
            if blocks != factor.bound:
                raise BitlatheError(
                    f"mapping string: {factor.text} does not fit: {extent} of dimension {dim} in "
                    f"blocks of {tile} are {blocks}, not {factor.bound}; write {blocks}."
                )
            extent = min(extent, tile)
    return tiles


def _letters(layer: Loops) -> dict[str, str]:
    """Return the letters of the dimensions that a layer has."""
    letters = CONV_LETTERS if layer.windows else PRODUCT_LETTERS
    return {letter: dim for letter, dim in letters.items() if dim in layer.sizes}
