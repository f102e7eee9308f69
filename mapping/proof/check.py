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
from .figures import (
    Work,
    check_needed,
    check_steps,
    chip_figures,
    layer_figures,
    mapping_figures,
)
from .floor import TrafficFloor, dram_bits, traffic_floor
from .legal import problem
from .record import (
    OBJECTIVES,
    Chip,
    Layer,
    Nest,
    ProofError,
    chip_of,
    exact,
    layer_of,
    listed,
    nest_of,
    short,
    take,
    text,
    whole,
)
from .space import Storage, Way, storages, ways
from .tree import Part
from .ways import WayFloors

VERSION = 5
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
    version, about, objective, layer, chips, space, mapping, figures, costs, bound, proof, \
        traffic = take(top, "the certificate", KEYS)  # fmt: skip
    if version != VERSION or isinstance(version, bool):
        raise ProofError(f"certificate is {short(version)}; this checker knows version {VERSION}.")
    if objective not in OBJECTIVES:
        raise ProofError(f"objective is {short(objective)}; it must be one of {OBJECTIVES}.")
    product = layer_of(layer)
    for name, said, known in (("about", about, ABOUT), ("space", space, space_of(product))):
        if said != known:
            raise ProofError(f"{name} does not say what this checker checks: {short(said)}.")
    some = [chip_of(chip, f"chips[{i}]") for i, chip in enumerate(listed(chips, "chips"))]
    check_steps(product)
    for i, chip in enumerate(some):
        check_needed([Work(product, chip.unit_pj)], chip, f"chips[{i}]")
    at, nest, found = _mapping(product, some, mapping)
    _check_cost(costs, found)
    value, least = found.of(objective), exact(bound, "bound")
    if not least:
        raise ProofError("bound is 0; it must be more than 0.")
    derived, parts = Checker(product, objective, least).proof(some, proof)
    if derived is None or min(derived, value) != least:
        raise ProofError(
            f"bound is {short(bound)}; the parts prove "
            f"{'nothing' if derived is None else min(derived, value)}, which it must be."
        )
    moved, lowest = dram_bits(product, some[at], nest), traffic_floor(product, some[at])
    _check_traffic(traffic, moved, lowest)
    same(figures, figures_data(product, some, at, nest), "figures")
    return Verdict(
        objective=objective,
        value=value,
        bound=least,
        parts=parts,
        dataflows=len(some),
        traffic_bits=moved,
        floor_bits=lowest.bits,
        floor=lowest.formula,
        about=(layer_line(product, some[at].unit_pj), *chips_lines(some)),
    )


def space_of(layer: Layer) -> dict[str, str]:
    """Return in words the space that a certificate of a layer is about."""
    return OF_CONVOLUTIONS if layer.windows else SPACE


def _mapping(layer: Layer, chips: list[Chip], data: Any) -> tuple[int, Nest, Cost]:
    """Return the chip's number, the mapping and its cost."""
    at, levels, spatial = take(data, "mapping", "chip levels spatial")
    if whole(at, "mapping.chip") >= len(chips):
        raise ProofError(f"mapping.chip is {at}; there are {len(chips)} chips.")
    nest = nest_of({"levels": levels, "spatial": spatial})
    wrong = problem(layer, chips[at], nest)
    if wrong:
        raise ProofError(f"the mapping: {wrong}")
    return at, nest, cost(layer, chips[at], nest)


def cost_data(found: Cost) -> dict[str, Any]:
    """Return a cost as plain data: exact numbers as integers and text."""
    return {
        "cycles": found.cycles,
        "compute_cycles": str(found.compute),
        "stall_cycles": str(found.stall),
        "first_load_cycles": found.first_load,
        "last_store_cycles": found.last_store,
        "ports": [
            {
                "memory": memory,
                "port": port,
                "reads": reads,
                "writes": writes,
                "busy_cycles": busy,
                "stall_cycles": str(stall),
            }
            for (memory, port), (reads, writes, busy, stall) in found.ports.items()
        ],
        "energy_pj": {name: str(pj) for name, pj in found.energy_pj.items()},
        "total_pj": str(found.total_pj),
    }


def figures_data(layer: Layer, chips: list[Chip], at: int, nest: Nest) -> dict[str, Any]:
    """Return what follows from a layer, the chips, and the mapping on one of them (`figures`).

    Parameters
    ----------
    layer : Layer
    chips : list of Chip
    at : int
        The chip of the mapping.
    nest : Nest
        The mapping.
    """
    return {
        "layer": layer_figures(Work(layer, chips[at].unit_pj)),
        "chips": [chip_figures([Work(layer, chip.unit_pj)], chip) for chip in chips],
        "mapping": mapping_figures(layer, chips[at], nest),
    }


def _check_cost(said: Any, found: Cost) -> None:
    same(said, cost_data(found), "cost")


def traffic_data(moved: Fraction, lowest: TrafficFloor) -> dict[str, Any]:
    """Return the traffic of a mapping and its floor as plain data."""
    return {
        "bits": str(moved),
        "floor_bits": lowest.bits,
        "formula": lowest.formula,
        "once_bits": str(lowest.once),
    }


def _check_traffic(said: Any, moved: Fraction, lowest: TrafficFloor) -> None:
    same(said, traffic_data(moved, lowest), "traffic")


def same(said: Any, derived: Any, where: str) -> None:
    """Refuse data that is not exactly what was derived; the sentence names the entry.

    Raises
    ------
    ProofError
        Something differs.
    """
    if isinstance(derived, dict):
        values = take(said, where, " ".join(derived))
        for (name, value), one in zip(derived.items(), values, strict=True):
            same(one, value, f"{where}.{name}")
    elif isinstance(derived, list):
        if len(listed(said, where)) != len(derived):
            raise ProofError(f"{where} has {len(said)} entries; there are {len(derived)}.")
        for i, value in enumerate(derived):
            same(said[i], value, f"{where}[{i}]")
    elif type(said) is not type(derived) or said != derived:
        raise ProofError(f"{where} is {short(said)}; derived anew it is {derived}.")


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

    def proof(self, chips: list[Chip], data: Any) -> tuple[Fraction | None, int]:
        """Return the least bound of all parts of all chips, and how many parts there are.

        Raises
        ------
        ProofError
            A part is missing, or something is said of one that does not hold.
        """
        rows = listed(data, "proof")
        expected = [(i, j) for i, chip in enumerate(chips) for j in range(len(storages(chip)))]
        if len(rows) != len(expected):
            raise ProofError(
                f"proof has {len(rows)} entries; the chips have {len(expected)} storages."
            )
        found: list[Fraction] = []
        for (i, j), row in zip(expected, rows, strict=True):
            where = f"proof[{len(found)}]"
            at, number, trees, rest = take(row, where, "chip storage ways rest")
            if (whole(at, where), whole(number, where)) != (i, j):
                raise ProofError(f"{where} is of chip {at}, storage {number}; it must be {i}, {j}.")
            storage = storages(chips[i])[j]
            with_tree, without = self._bounds(chips[i], storage, trees, where)
            same(rest, str(min(without)) if without else None, f"{where}.rest")
            found.append(min(with_tree + without))
        return min(found, default=None), self.parts

    def _bounds(
        self, chip: Chip, storage: Storage, data: Any, where: str
    ) -> tuple[list[Fraction], list[Fraction]]:
        """Return the bounds of the ways to unroll that have a tree, and of all others."""
        trees: dict[Way, Any] = {}
        for i, row in enumerate(listed(data, f"{where}.ways")):
            at = f"{where}.ways[{i}]"
            way, tree = take(row, at, "way tree")
            key = tuple(_unroll(each, at) for each in listed(way, at))
            if key in trees:
                raise ProofError(f"{at} is a way that is there before; each must be there once.")
            trees[key] = tree
        quick = WayFloors(self.layer, chip, storage)
        with_tree, without = list[Fraction](), list[Fraction]()
        said, order = list(trees), list[Way]()
        for way in ways(self.layer, chip):
            tree = trees.pop(way, None)
            if tree is None:
                self.parts += 1
                pair = quick.floor(way, energy=self.objective != "cycles")
                without.append(pair.of(self.objective))
            else:
                order.append(way)
                unrolled = Unrolled(self.layer, chip, storage, way)
                part = Part(unrolled=unrolled, sides=unrolled.sides())
                with_tree.append(self.tree(part, tree))
        if trees:
            raise ProofError(f"{where}.ways has {short(next(iter(trees)))}, which is no way.")
        if said != order:
            raise ProofError(f"{where}.ways is out of order; it must be that of the space.")
        return with_tree, without

    def tree(self, part: Part, data: Any, depth: int = 0) -> Fraction:
        """Return the least bound of the parts of a tree; the claimed one where nothing fits.

        Raises
        ------
        ProofError
            The tree is not one, or says of a part what does not hold.
        """
        if not isinstance(data, list) or not data or depth > LARGEST_DEPTH:
            raise ProofError(f"a part of the proof is {short(data)}; it must be a list.")
        if data[0] in ("floor", "room", "all"):
            self.parts += 1
            return self._leaf(part, data)
        tier, d, tile, small, large = self._split(part, data)
        halves = part.split(tier, d, tile)
        if None in halves or not part.has_tile(tier, d, tile):
            raise ProofError(
                f"a split of the proof is at {tile}, which is not one of several tiles."
            )
        return min(
            self.tree(half, tree, depth + 1)
            for half, tree in zip(halves, (small, large), strict=True)
            if half is not None
        )

    def _split(self, part: Part, data: list[Any]) -> tuple[int, int, int, Any, Any]:
        if len(data) != 5:
            raise ProofError(f"a split of the proof is {short(data)}; it must have five entries.")
        tier, dim, tile, small, large = data
        dims = self.layer.dims
        if text(dim, "a split's dimension") not in dims:
            raise ProofError(f"a split of the proof is over {short(dim)}; the layer has {dims}.")
        if not 1 <= whole(tier, "a split's tier") < len(part.unrolled.groups):
            raise ProofError(f"a split of the proof is at tier {tier}; the chip has no such.")
        return tier, dims.index(dim), whole(tile, "a split's tile", 1), small, large

    def _leaf(self, part: Part, data: list[Any]) -> Fraction:
        kind, *said = data
        choices, part = part.choices, part.narrowed()
        if kind == "all":
            if said or not part.single:
                raise ProofError('a part of the proof is "all"; it must have one choice of tiles.')
            return min(
                (value for value, _ in part.mappings(self.objective, self.least)),
                default=self.least,
            )
        if not said or isinstance(said[-1], bool) or said[-1] != choices:
            raise ProofError(
                f"a part of the proof is of {short(said[-1:])} choices of tiles; it has {choices}."
            )
        if kind == "room":
            if said[1:] or part.floors():
                raise ProofError("a part of the proof has room, against what it says.")
            return self.least
        bound = part.floor(self.objective)
        if bound is None:
            raise ProofError('a part of the proof has no room; it must say "room".')
        if len(said) != 2 or isinstance(said[0], bool) or said[0] != floor(bound):
            raise ProofError(
                f"a part of the proof has the floor {short(said)}; the formula gives "
                f"{floor(bound)}."
            )
        return bound


def _unroll(data: Any, where: str) -> tuple[str, str, int]:
    parts = listed(data, where)
    if len(parts) != 3:
        raise ProofError(f"{where} unrolls {short(data)}; it must have axis, dimension and size.")
    return text(parts[0], where), text(parts[1], where), whole(parts[2], where, 1)
