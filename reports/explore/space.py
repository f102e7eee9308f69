"""The space of points that a sweep file spans, and its constraints."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.yamlfile import Document, parse_yaml, validate
from ...mapping.mappers import NEST_MAPPERS
from .expressions import Expression, Verdict, parse_expression, verdict
from .points import POINT_COLUMNS, Point, column_of
from .sweepfile import SweepFile, axis_keys

MAX_SPACE = 2**63 - 1
WORKLOAD = ("model", "phase", "context", "batch", "causal")
_FIXED = ("arch", "mapper", "fusion", *WORKLOAD)

# which of some keys the chip of a point has, with their values
ChipValues = Callable[[Point, Collection[str]], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Space:
    """The product of a sweep's lists, in a fixed order: chips outermost, causal innermost.

    The workloads (model, phase, context, batch, causal) are the innermost dimensions: the points
    of one chip with its settings, its mapper and its fusion, a candidate, stand together.
    """

    file: SweepFile
    document: Document
    early: tuple[Expression, ...] = ()
    late: tuple[Expression, ...] = ()
    chip_keys: tuple[str, ...] = ()
    chip_values: ChipValues | None = None

    @cached_property
    def dimensions(self) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """Names and values, outermost first; an axis of several keys is one dimension."""
        file = self.file
        schemes = {f"formats.{kind}.weight": values for kind, values in file.schemes.items()}
        named = {
            "arch": file.arch,
            **file.axes,
            **schemes,
            "mapper": file.mapper,
            "fusion": file.fusion,
            "model": file.models,
            "phase": file.phases,
            "context": file.contexts,
            "batch": file.batches,
            "causal": file.causal,
        }
        return tuple((name, tuple(values)) for name, values in named.items())

    @property
    def settings(self) -> list[tuple[str, ...]]:
        """The keys of the chip that each axis sets."""
        return [axis_keys(name) for name, _ in self.dimensions if name not in _FIXED]

    @cached_property
    def size(self) -> int:
        """The number of points before constraints."""
        return math.prod(len(values) for _, values in self.dimensions)

    @cached_property
    def workloads(self) -> int:
        """The number of points of one chip with its settings."""
        return math.prod(len(values) for name, values in self.dimensions if name in WORKLOAD)

    @property
    def columns(self) -> list[str]:
        """The columns that a point has."""
        swept = (column_of(key) for keys in self.settings for key in keys)
        return [*POINT_COLUMNS, *swept, *self.chip_keys]

    @property
    def chip_dimensions(self) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """The dimensions of the chip, those of the workload left out."""
        return self.dimensions[: -len(WORKLOAD)]

    @property
    def candidates(self) -> int:
        """The number of chips with their settings."""
        return self.size // self.workloads

    def candidate(self, places: Sequence[int]) -> int:
        """Return the number of the candidate at a place on each dimension of the chip."""
        number = 0
        for (_, values), place in zip(self.chip_dimensions, places, strict=True):
            number = number * len(values) + place
        return number

    def places(self, candidate: int) -> tuple[int, ...]:
        """Return the place of a candidate on each dimension of the chip."""
        places = []
        for _, values in reversed(self.chip_dimensions):
            candidate, place = divmod(candidate, len(values))
            places.append(place)
        return tuple(reversed(places))

    @cached_property
    def _axes(self) -> tuple[tuple[tuple[str, ...], tuple[Any, ...]], ...]:
        """Keys and values of each dimension, innermost first."""
        return tuple((axis_keys(name), values) for name, values in reversed(self.dimensions))

    def point(self, index: int) -> Point:
        """Return the point with an index."""
        chosen: dict[str, Any] = {}
        for keys, values in self._axes:
            index, place = divmod(index, len(values))
            if len(keys) == 1:
                chosen[keys[0]] = values[place]
            else:
                chosen.update(zip(reversed(keys), reversed(values[place]), strict=True))
        known = {name: chosen.pop(name) for name in _FIXED}
        return Point(
            **known,
            fidelity=self.file.fidelity,
            layers=self.file.layers,
            settings=tuple(reversed(chosen.items())),
            iso=self.file.iso,
        )

    def row(self, point: Point) -> dict[str, Any]:
        """Return a point's columns: what it sets, and the chip's keys that constraints read."""
        return point.columns() | dict(self.chip_row(point))

    def chip_row(self, point: Point) -> Mapping[str, Any]:
        """Return the chip's keys that constraints read beside what a point sets."""
        if self.chip_keys and self.chip_values is not None:
            return self.chip_values(point, self.chip_keys)
        return {}

    def verdict(self, point: Point) -> Verdict:
        """Return whether a point meets the constraints that it alone decides, as `expr.verdict`."""
        return verdict(self.early, self.row(point)) if self.early else True


def parse_sweep(text: str, source: str) -> Space:
    """Parse the text of a sweep file; `constrained` adds what needs to know the chips.

    Parameters
    ----------
    text : str
        The YAML text.
    source : str
        The file's name, as errors shall show it.

    Raises
    ------
    BitlatheError
        With file, line, column and remedy for each problem.
    """
    document = parse_yaml(text, source)
    if not isinstance(document.data, dict):
        raise BitlatheError(f"{source}:1:1: a sweep file is a mapping of keys to values.")
    if not {"arch", "models"} & document.data.keys() and "technology" in document.data:
        raise BitlatheError(
            f"{source}: this file is a chip, not a sweep: simulate it (bitlathe simulate --arch "
            f"{source} --model MODEL), or name it as the arch of a sweep file."
        )
    file = validate(SweepFile, document)
    _check_axes(file, document)
    space = Space(file=file, document=document)
    if space.size > MAX_SPACE:
        raise BitlatheError(f"{source}: a space of {space.size:.3g} points is beyond 2^63.")
    guided = file.sampling.nsga2
    if guided is not None and guided.budget < space.workloads:
        raise BitlatheError(
            f"{document.where(('sampling', 'nsga2', 'budget'))}: a budget of {guided.budget} does "
            f"not cover one chip: it is evaluated on {space.workloads} workloads (models x phases "
            "x contexts x batches x causal)."
        )
    return space


def constrained(
    space: Space,
    results: Sequence[str],
    chip_keys: Collection[str] = (),
    chip_values: ChipValues | None = None,
) -> Space:
    """Return the space with its constraints, after a check of every name in the file.

    Parameters
    ----------
    space : Space
        From `parse_sweep`.
    results : sequence of str
        The result columns that constraints, objectives and ``iso`` may name.
    chip_keys : collection of str
        The keys of the chips that constraints may name beside the axes.
    chip_values : callable, optional
        Takes a point and keys, returns those that the point's chip has, with their values.
    """
    file, where = space.file, space.document.where
    solved = {file.iso.solve} if file.iso else set()
    own = {*space.columns, *results, *solved}
    constraints = tuple(
        parse_expression(text, own | set(chip_keys), where(("constraints", i)), condition=True)
        for i, text in enumerate(file.constraints)
    )
    numbers = [name for name in results if not name.startswith("scheme.")]
    for loc, name in _result_names(file):
        parse_expression(name, numbers, where(loc))
    read = {name for c in constraints for name in c.names if f"{name}.total" not in own}
    space = replace(space, chip_keys=tuple(sorted(read - own)), chip_values=chip_values)
    unknown = solved | ({"context"} if None in file.contexts else set())
    if not set(file.mapper) <= NEST_MAPPERS.keys():  # rules and auto: the chip may have its own
        unknown.add("mapper")
    decided = set(space.columns) - unknown
    for constraint in constraints:
        _check_switches(space, constraint, results)
    return replace(
        space,
        early=tuple(c for c in constraints if c.names <= decided),
        late=tuple(c for c in constraints if not c.names <= decided),
    )


def _check_switches(space: Space, constraint: Expression, results: Sequence[str]) -> None:
    """Refuse a constraint that takes for a yes or no what is a number or a name."""
    row = space.row(space.point(0))
    for name in sorted(constraint.switches):
        total = f"{name}.total"
        value = 0 if name in results or total in results else row.get(name, True)
        if not isinstance(value, bool):
            raise BitlatheError(
                f"{constraint.place}: {constraint.text!r}: {name!r} is neither true nor false; "
                f"compare it with something, as in {name} <= 64."
            )


def _result_names(file: SweepFile) -> list[tuple[tuple[str, ...], str]]:
    names: list[tuple[tuple[str, ...], str]] = []
    if file.sampling.nsga2:
        loc = ("sampling", "nsga2", "objectives")
        names += [((*loc, name), name) for name in file.sampling.nsga2.objectives]
    if file.iso:
        names.append((("iso", "resource"), file.iso.resource))
    return names


def _check_axes(file: SweepFile, document: Document) -> None:
    """Refuse keys that are set twice and values that do not match an axis of several keys.

    A key above or below another sets it too: ``array`` holds ``array.rows``.
    """
    taken = {f"formats.{kind}.weight": f"schemes.{kind}" for kind in file.schemes}
    if file.iso:
        _refuse_overlap(file.iso.solve, "iso.solve", taken, document.where(("iso", "solve")))
        taken[file.iso.solve] = "iso.solve"
    for name, values in file.axes.items():
        where = document.where(("axes", name))
        keys = axis_keys(name)
        for key in keys:
            _refuse_overlap(key, "axes", taken, where)
            taken[key] = f"axes.{name}"
        for value in values:
            if len(keys) > 1 and not (isinstance(value, list) and len(value) == len(keys)):
                raise BitlatheError(
                    f"{where}: axes.{name}: each value is a list of {len(keys)} (one per key), "
                    f"not {value!r}."
                )
            if len(keys) == 1 and (isinstance(value, list) or value is None):
                raise BitlatheError(
                    f"{where}: axes.{name}: {value!r} is no value; for keys that move together "
                    "write 'array.rows, array.columns': [[16, 64], [64, 16]]."
                )


def _refuse_overlap(key: str, what: str, taken: Mapping[str, str], where: str) -> None:
    for other, setter in taken.items():
        if key == other:
            raise BitlatheError(
                f"{where}: {what}: {key!r} is also set by {setter}; remove one of the two."
            )
        above, below = sorted((key, other), key=len)
        if below.startswith(f"{above}."):
            raise BitlatheError(
                f"{where}: {what}: {key!r} and {other!r} (set by {setter}) hold one another: a row "
                "would say what only one of the two decided. Remove one of the two, or write the "
                f"values of {above!r} out in full."
            )
