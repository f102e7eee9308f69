"""The mappings of a run's layers as a sweep keeps them, and as rows of text.

What a search took (``search_seconds``) is left out: a store is the same whoever searched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...mapping.nest import Mapping, Row
from ...mapping.read import mapping_of
from ...sim.run import LayerRun, Run

OPERANDS = {name[0]: name for name in ("weight", "input", "output")}
Packed = list[Any]
"""Levels, then what is unrolled: lists of names and numbers, operands by their first letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """A product of a layer under its mapping.

    Attributes
    ----------
    times : int
        How often it runs in the layer.
    sizes : dict of str to int
        Extents of its dimensions.
    cycles : int
        Clocks of one run.
    optimal : bool
        Whether no other mapping is better; false where a limit ended the search.
    mapping : Mapping
    """

    times: int
    sizes: dict[str, int]
    cycles: int
    optimal: bool
    mapping: Mapping

    def rows(self) -> list[Row]:
        """Return the nest as rows of text."""
        return self.mapping.rows(self.sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNests:
    """What binds a layer, and the mappings of its products.

    Attributes
    ----------
    busy_cycles : dict of str to int
        Clocks in which the array works, and in which each memory's busiest port does.
    nests : tuple of Nest
    """

    busy_cycles: dict[str, int]
    nests: tuple[Nest, ...]


def kept(run: Run) -> list[Packed | None] | None:
    """Return the mappings of a run's products as plain data for the store, one entry each.

    None where no mapper chose any.
    """
    found = [_kept_layer(layer) for layer in run.layers if layer.unit is None]
    return found if any(found) else None


def _kept_layer(layer: LayerRun) -> Packed | None:
    if layer.mapping is None or layer.busy_cycles is None:
        return None
    names = ("times", "sizes", "cycles", "optimal")
    nests = [[*(part[name] for name in names), packed(part["nest"])] for part in layer.mapping]
    return [layer.busy_cycles, nests]


def layer_nests(entry: Packed) -> LayerNests:
    """Return what the store keeps of a layer (`kept`)."""
    busy, nests = entry
    return LayerNests(
        busy_cycles=busy,
        nests=tuple(
            Nest(
                times=times,
                sizes=sizes,
                cycles=cycles,
                optimal=optimal,
                mapping=mapping_of(unpacked(nest)),
            )
            for times, sizes, cycles, optimal, nest in nests
        ),
    )


def packed(nest: dict[str, Any]) -> Packed:
    """Return a mapping's plain data (`Mapping.to_dict`) in few characters.

    Examples
    --------
    >>> level = {"memory": "dram", "keeps": ["input"], "loops": [["m", 4]], "doubled": []}
    >>> packed({"levels": [level], "spatial": [["rows", "n", 2]]})
    [[['dram', 'i', '', [['m', 4]]]], [['rows', 'n', 2]]]
    """
    return [[_packed_level(**level) for level in nest["levels"]], nest["spatial"]]


def _packed_level(  # by keyword: what a level has beside these would be lost
    *, memory: str, keeps: Sequence[str], loops: Sequence[Any], doubled: Sequence[str]
) -> Packed:
    return [memory, _letters(keeps), _letters(doubled), loops]


def _letters(operands: Sequence[str]) -> str:
    return "".join(operand[0] for operand in operands)


def unpacked(nest: Packed) -> dict[str, Any]:
    """Return what `packed` was given."""
    levels, spatial = nest
    return {"levels": list(map(_level, levels)), "spatial": spatial}


def _level(level: Packed) -> dict[str, Any]:
    memory, keeps, doubled, loops = level
    names = {"keeps": list(_operands(keeps)), "doubled": list(_operands(doubled))}
    return {"memory": memory, "loops": loops, **names}


def _operands(letters: str) -> Iterator[str]:
    return (OPERANDS[letter] for letter in letters)
