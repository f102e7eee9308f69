"""Check a certificate of a mapping: everything in it is derived again and compared exactly.

The mapping's cost is counted from its loops (`count`, `cost`), the space is written down from the
chip (`space`), every part of it is there (`tree`), and the least of what the formulas say of the
parts (`bounds`, `ways`) is the bound that the certificate claims.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from .about import chips_lines, layer_line
from .bounds import Unrolled
from .cost import Cost, cost
from .figures import Work, chip_figures, layer_figures, mapping_figures
from .floor import dram_bits, traffic_floor
from .legal import problem
from .record import (
    OBJECTIVES,
    Chip,
    Layer,
    Nest,
    Positive,
    ProofError,
    Unroll,
    layer_of,
    read,
    refuse,
    short,
    take,
)
from .space import Storage, Way, storages, ways
from .tree import Part
from .ways import WayFloors

VERSION = 6
ABOUT = (
    "clocks of the analytic rung, which counts every port and window (docs/mapping.md), and "
    "energy; not the clocks of the cycle rung"
)
SPACE = {
    "storage": "each operand passes each memory that holds it, or goes past where it may",
    "ways": "each axis unrolls none, one or two of its dimensions, by every extent that is the "
    "least for its number of steps",
    "tiles": "one tile a tier, in each dimension a whole number of steps' tiles; every one that is "
    "the least for its number of blocks of the tier outside, the last of which may be short",
    "orders": "all of m, n and k between two tiers; a batch is outermost",
    "doubled": "every largest set of tiles for which there is room",
    "dataflows": "one chip of the list each",
}
OF_CONVOLUTIONS = {
    **SPACE,
    "tiles": f"{SPACE['tiles']}; columns q and taps r, s are whole in memories of the chip, and "
    "whole or a step's in those of units",
    "orders": "between two tiers all of images with rows p and columns q, outputs n, and inputs c "
    "with taps r, s, each in this order; groups are outermost",
}
KEYS = "certificate about objective layer chips space mapping figures cost bound proof traffic"
LARGEST_DEPTH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a certificate proves.

    Attributes
    ----------
    objective : str
    value, bound : Fraction
        What the mapping takes, and what no mapping of the space undercuts.
    parts : int
        Parts of the space, ways that were excluded at once included.
    dataflows : int
        Dataflows of the chip in which the layer, or the chain, is proven.
    traffic_bits, floor_bits : Fraction, int
        What the mapping moves through the outermost memory, and what no schedule undercuts.
    floor : str
        The formula of the latter.
    about : tuple of str
        Layer and chip, a line each (`about`).
    """

    objective: str
    value: Fraction
    bound: Fraction
    parts: int
    dataflows: int
    traffic_bits: Fraction
    floor_bits: int
    floor: str
    about: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: exact numbers as text, and their ratios."""
        return {
            "objective": self.objective,
            "value": str(self.value),
            "bound": str(self.bound),
            "times_optimum_at_most": float(self.value / self.bound),
            "parts": self.parts,
            "dataflows": self.dataflows,
            "traffic_bits": str(self.traffic_bits),
            "floor_bits": self.floor_bits,
            "floor": self.floor,
            "times_floor": float(self.traffic_bits / self.floor_bits),
            "about": list(self.about),
        }

    def __str__(self) -> str:
        ratio, traffic = self.value / self.bound, self.traffic_bits / self.floor_bits
        most = "" if ratio == 1 else "at most "
        flows = "" if self.dataflows == 1 else f" of {self.dataflows} dataflows"
        return (
            f"{self.objective}: {most}{above(ratio)} x of the space's optimum ({self.parts} parts"
            f"{flows} checked); traffic: {above(traffic)} x of the floor ({self.floor})"
        )


def above(ratio: Fraction) -> str:
    """Return a ratio rounded up to the least digits that tell it from 1.

    Examples
    --------
    >>> above(Fraction(1)), above(Fraction(10001, 10000)), above(Fraction(107, 100))
    ('1.00', '1.0001', '1.07')
    """
    digits = 2
    while ratio > 1 and digits < 6 and abs(ratio - 1) * 10**digits < 1:
        digits += 1
    scaled = -floor(-ratio * 10**digits)
    return f"{scaled // 10**digits}.{scaled % 10**digits:0{digits}d}"


def check_mapping(top: dict[str, Any]) -> Verdict:
    """Check a certificate of a mapping.

    Parameters
    ----------
    top : dict
        What its JSON says, as `mapping.certify` writes it.

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    said = said_of(top, "certificate", KEYS)
    objective, layer = said["objective"], layer_of(said["layer"])
    chips: tuple[Chip, ...] = read(tuple[Chip, ...], said["chips"], "chips")
    at, levels, spatial = take(said["mapping"], "mapping", ["chip", "levels", "spatial"])
    if read(int, at, "mapping.chip") >= len(chips):
        raise ProofError(f"mapping.chip is {at}; there are {len(chips)} chips.")
    nest: Nest = read(Nest, {"levels": levels, "spatial": spatial}, "mapping")
    wrong = problem(layer, chips[at], nest)
    if wrong:
        raise ProofError(f"the mapping: {wrong}")
    found = cost(layer, chips[at], nest)
    needed = derived(layer, chips, at, nest, found)
    for name, entry in needed.items():
        same(said[name], entry, name)
    value, least = found.of(objective), read(Positive, said["bound"], "bound")
    checker = Checker(layer, objective, least)
    same(least, min(value, checker.proof(chips, said["proof"])), "bound")
    about = layer_line(layer, chips[at].unit_pj), *chips_lines(chips)
    return verdict(said, needed, value, checker.parts, about)


def verdict(
    said: dict[str, Any],
    derived: dict[str, Any],
    value: Fraction,
    parts: int,
    about: tuple[str, ...],
) -> Verdict:
    """Return what a certificate proves that holds.

    Parameters
    ----------
    said, derived : dict
        The file, and what it must say of its traffic.
    value : Fraction
        What its mapping or schedule takes.
    parts : int
        Those that were checked.
    about : tuple of str
        Layer and chip, a line each.
    """
    traffic = derived["traffic"]
    return Verdict(
        objective=said["objective"],
        value=value,
        bound=Fraction(said["bound"]),
        parts=parts,
        dataflows=len(said["chips"]) if "chips" in said else said["dataflows"],
        traffic_bits=Fraction(traffic["bits"]),
        floor_bits=traffic["floor_bits"],
        floor=traffic["formula"],
        about=about,
    )


def said_of(top: dict[str, Any], kind: str, keys: str) -> dict[str, Any]:
    """Return what a certificate of a kind says by key: all of its keys, of the version known here.

    Raises
    ------
    ProofError
        It has other keys, another version, or no objective.
    """
    version = top[kind]
    if version != VERSION or isinstance(version, bool):
        raise ProofError(f"{kind} is {short(version)}; this checker knows version {VERSION}.")
    take(top, "the certificate", keys.split())
    if top["objective"] not in OBJECTIVES:
        raise refuse("objective", top["objective"], f"one of {', '.join(OBJECTIVES)}")
    return top


def derived(
    layer: Layer,
    chips: tuple[Chip, ...],
    at: int,
    nest: Nest,
    found: Cost,
) -> dict[str, Any]:
    """Return what a certificate must say beside what it is about, its bound and its proof.

    Parameters
    ----------
    layer : Layer
    chips : tuple of Chip
    at : int
        The chip of the mapping.
    nest : Nest
        The mapping.
    found : Cost
        Its cost.
    """
    lowest = traffic_floor(layer, chips[at])
    return {
        "about": ABOUT,
        "space": OF_CONVOLUTIONS if layer.windows else SPACE,
        "figures": {
            "layer": layer_figures(Work(layer, chips[at].unit_pj)),
            "chips": [chip_figures([Work(layer, chip.unit_pj)], chip) for chip in chips],
            "mapping": mapping_figures(layer, chips[at], nest),
        },
        "cost": found.data(),
        "traffic": {
            "bits": str(dram_bits(layer, chips[at], nest)),
            "floor_bits": lowest.bits,
            "formula": lowest.formula,
            "once_bits": str(lowest.once),
        },
    }


def same(said: Any, derived: Any, where: str) -> None:
    """Refuse data that is not exactly what was derived; the sentence names the entry.

    Raises
    ------
    ProofError
        Something differs.
    """
    if isinstance(derived, dict):
        values = take(said, where, list(derived))
        for (name, value), one in zip(derived.items(), values, strict=True):
            same(one, value, f"{where}.{name}")
    elif isinstance(derived, list) and isinstance(said, list) and len(said) == len(derived):
        for i, value in enumerate(derived):
            same(said[i], value, f"{where}[{i}]")
    elif isinstance(derived, list) and isinstance(said, list):
        raise ProofError(f"{where} has {len(said)} entries; derived anew there are {len(derived)}.")
    elif type(said) is not type(derived) or said != derived:
        raise ProofError(f"{where} is {short(said)}; derived anew it is {short(derived)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WayTree:
    """A way to unroll, and the tree of its parts."""

    way: tuple[Unroll, ...]
    tree: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The proof of a storage of a chip; ``rest``: the least floor of ways without a tree."""

    chip: int
    storage: int
    ways: tuple[WayTree, ...]
    rest: Positive | None


class Checker:
    """Derives the least of all parts' bounds.

    Parameters
    ----------
    layer : Layer
    objective : str
    least : Fraction
        The bound that is claimed: mappings whose floor reaches it are not costed.
    """

    def __init__(self, layer: Layer, objective: str, least: Fraction) -> None:
        self.layer, self.objective, self.least = layer, objective, least
        self.parts = 0

    def proof(self, chips: tuple[Chip, ...], data: Any) -> Fraction:
        """Return the least bound of all parts of all chips.

        Raises
        ------
        ProofError
            A part is missing, or something is said of one that does not hold.
        """
        rows: tuple[Row, ...] = read(tuple[Row, ...], data, "proof")
        every = [
            (i, j, each) for i, chip in enumerate(chips) for j, each in enumerate(storages(chip))
        ]
        if [(row.chip, row.storage) for row in rows] != [each[:2] for each in every]:
            raise ProofError(
                f"proof has {len(rows)} entries; it must have one for each storage of each chip, "
                f"{len(every)}, in order."
            )
        return min(
            self._row(chips[i], storage, row, f"proof[{n}]")
            for n, ((i, _, storage), row) in enumerate(zip(every, rows, strict=True))
        )

    def _row(self, chip: Chip, storage: Storage, row: Row, where: str) -> Fraction:
        """Return the least bound of the ways to unroll under a storage."""
        trees, every = {each.way: each.tree for each in row.ways}, ways(self.layer, chip)
        if [each.way for each in row.ways] != [way for way in every if way in trees]:
            raise ProofError(f"{where}.ways must be ways of the space, each once, in order.")
        quick, energy = WayFloors(self.layer, chip, storage), self.objective != "cycles"
        without = [
            quick.floor(way, energy=energy).of(self.objective) for way in every if way not in trees
        ]
        self.parts += len(without)
        same(row.rest, min(without, default=None), f"{where}.rest")
        return min(without + [self._way(chip, storage, *each) for each in trees.items()])

    def _way(self, chip: Chip, storage: Storage, way: Way, tree: Any) -> Fraction:
        unrolled = Unrolled(self.layer, chip, storage, way)
        return self.tree(Part(unrolled=unrolled, sides=unrolled.sides()), tree)

    def tree(self, part: Part, data: Any, depth: int = 0) -> Fraction:
        """Return the least bound of the parts of a tree; the claimed one where nothing fits.

        Raises
        ------
        ProofError
            The tree is not one, or says of a part what does not hold.
        """
        if not isinstance(data, list) or not data or depth > LARGEST_DEPTH:
            raise refuse("a part of the proof", data, "a list of its figures or halves")
        if data[0] in ("floor", "room", "all"):
            self.parts += 1
            return self._leaf(part, data)
        tier, dim, tile, *trees = read(tuple[int, str, int, Any, Any], data, "a split of the proof")
        dims = self.layer.dims
        if dim not in dims or not 1 <= tier < len(part.unrolled.groups):
            raise ProofError(f"a split of the proof is of {dim!r} at tier {tier}, which is none.")
        halves = part.split(tier, dims.index(dim), tile)
        if None in halves or not part.has_tile(tier, dims.index(dim), tile):
            raise ProofError(f"a split of the proof is at {tile}, not one of several tiles.")
        both = zip(halves, trees, strict=True)
        return min(self.tree(half, tree, depth + 1) for half, tree in both if half is not None)

    def _leaf(self, part: Part, data: list[Any]) -> Fraction:
        choices, part = part.choices, part.narrowed()
        if data[0] == "all":
            if not part.single:
                raise ProofError('a part of the proof is "all"; it must have one choice of tiles.')
            same(data, ["all"], "a part of the proof")
            some = part.mappings(self.objective, self.least)
            return min((value for value, _ in some), default=self.least)
        bound = part.floor(self.objective)
        leaf = ["room", choices] if bound is None else ["floor", floor(bound), choices]
        same(data, leaf, "a part of the proof")
        return self.least if bound is None else bound
