"""The sweep file: its schema, and the space of points it spans."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ...datatypes.errors import BitlatheError
from ...datatypes.yamlfile import Document, Record, parse_yaml, validate
from .expr import Expression, parse_expression

MAX_AXIS = 1_000_000
MAX_SPACE = 2**63 - 1
KINDS = ("linear", "attention", "lm_head", "conv")
# the columns of every point, in the order of the result tables
POINT_COLUMNS = ("arch", "model", "phase", "context", "batch", "causal", "fidelity", "mapper")
_FIXED = ("arch", "model", "phase", "context", "batch", "causal")


def _range_values(spec: dict[str, Any]) -> list[int | float]:
    """Return the values of ``{from, to, step}`` or ``{from, to, factor}``, both ends included."""
    allowed = {"from", "to", "step", "factor"}
    if set(spec) - allowed or "from" not in spec or "to" not in spec:
        raise ValueError("a range is written {from: 64, to: 1024, factor: 2} or with step")
    if ("step" in spec) == ("factor" in spec):
        raise ValueError("a range takes either 'step' or 'factor'")
    for key, number in spec.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{key!r} of a range must be a number, not {number!r}")
        if not abs(number) < 1e300:
            raise ValueError(f"{key!r} of a range must be below 1e300")
    low, high = spec["from"], spec["to"]
    if low > high:
        raise ValueError(f"a range goes upwards: from {low} is above to {high}")
    for key in spec.keys() & {"step", "factor"}:
        if spec[key] <= (0 if key == "step" else 1):
            raise ValueError(f"{key} must be above {0 if key == 'step' else 1}, not {spec[key]}")
    if "factor" in spec and low <= 0:
        raise ValueError(f"a range with 'factor' needs from above 0, not {low}")
    try:
        return _stepped(low, high, spec["step"]) if "step" in spec else _scaled(low, high, spec)
    except OverflowError:
        raise ValueError(
            f"too many values or too large ones from {low:.3g} to {high:.3g}"
        ) from None


Number = int | float


def _limit(high: Number) -> Number:
    return high + 1e-9 * abs(high) if isinstance(high, float) else high


def _stepped(low: Number, high: Number, step: Number) -> list[Number]:
    count = math.floor((_limit(high) - low) / step) + 1
    if count > MAX_AXIS:
        raise ValueError(f"a range of {float(count):.3g} values; at most {MAX_AXIS}")
    return [low + i * step for i in range(count)]


def _scaled(low: Number, high: Number, spec: dict[str, Any]) -> list[Number]:
    values, limit = [low], _limit(high)
    while (value := low * spec["factor"] ** len(values)) <= limit:
        if len(values) == MAX_AXIS:
            raise ValueError(f"a range of more than {MAX_AXIS} values")
        values.append(value)
    return values


def _values(value: Any) -> Any:
    """Read a list, a range or a single value as a list."""
    if isinstance(value, dict) and "from" in value:
        return _range_values(value)
    if not isinstance(value, list):
        return [value]
    return value


def canonical(value: Any) -> str:
    """Return one text per value: JSON with sorted keys and no blanks.

    Examples
    --------
    >>> canonical({"b": 1, "a": [0.5]})
    '{"a":[0.5],"b":1}'
    """
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def _distinct(values: list[Any]) -> list[Any]:
    if not values:
        raise ValueError("an empty list leaves no point; give at least one value")
    seen: set[str] = set()
    for value in values:
        text = canonical(value)
        if text in seen:
            raise ValueError(f"{value!r} stands twice in the list; every value once")
        seen.add(text)
    return values


Name = Annotated[str, Field(min_length=1, max_length=1000)]
Whole = Annotated[int, Field(gt=0, le=2**40)]
Names = Annotated[list[Name], BeforeValidator(_values), AfterValidator(_distinct)]
Wholes = Annotated[list[Whole], BeforeValidator(_values), AfterValidator(_distinct)]
Contexts = Annotated[list[Whole | None], BeforeValidator(_values), AfterValidator(_distinct)]
Phases = Annotated[
    list[Literal["prefill", "decode"]], BeforeValidator(_values), AfterValidator(_distinct)
]
Switches = Annotated[list[bool], BeforeValidator(_values), AfterValidator(_distinct)]
Axis = Annotated[list[Any], BeforeValidator(_values), AfterValidator(_distinct)]


class RandomSampling(Record):
    """Points drawn from the grid without replacement."""

    samples: Whole
    seed: int


def _objectives(value: Any) -> Any:
    return dict.fromkeys(value, "min") if isinstance(value, list) else value


class GuidedSampling(Record):
    """NSGA-II (Optuna) over the grid; ``budget`` counts the distinct points evaluated."""

    budget: Whole
    seed: int
    objectives: Annotated[dict[Name, Literal["min", "max"]], BeforeValidator(_objectives)]
    population: Annotated[int, Field(ge=4, le=10_000)] = 40

    @model_validator(mode="after")
    def _some(self) -> "GuidedSampling":
        if not self.objectives:
            raise ValueError("give at least one objective, for example {energy_pj: min}")
        return self


class Sampling(Record):
    """Which points of the grid are evaluated: all of them, or one of the two below."""

    random: RandomSampling | None = None
    nsga2: GuidedSampling | None = None

    @model_validator(mode="after")
    def _one(self) -> "Sampling":
        if self.random is not None and self.nsga2 is not None:
            raise ValueError("give one of 'random' and 'nsga2'")
        return self


def _sampling(value: Any) -> Any:
    if value == "grid":
        return {}
    if isinstance(value, str):
        raise ValueError(
            f"write grid, {{random: {{samples: 100, seed: 1}}}} or {{nsga2: {{budget: 500, seed: 1,"
            f" objectives: [energy_pj, seconds]}}}}, not {value!r}"
        )
    return value


class Iso(Record):
    """A resource held at a target while one key of the chip is solved for.

    The largest whole number (or the closest value, for keys that take fractions) between ``low``
    and ``high`` (``from`` and ``to`` in the file) that keeps the resource at or under the target.
    """

    resource: Name
    target: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    solve: Name
    low: Annotated[float, Field(gt=0, alias="from")] = 1.0
    high: Annotated[float, Field(gt=0, alias="to")] = 4096.0

    @model_validator(mode="after")
    def _upwards(self) -> "Iso":
        if self.low >= self.high:
            raise ValueError(f"from {self.low:g} must be below to {self.high:g}")
        return self


class AccuracyAsked(Record):
    """How `bitlathe report` measures the perplexity of models whose weights are at hand.

    ``text`` is a UTF-8 file, relative to the sweep file; see `bitlathe.workloads.accuracy`.
    """

    tokens: Whole = 8000
    context: Annotated[int, Field(ge=2, le=2**20)] = 512
    text: Name | None = None


class SweepFile(Record):
    """What a sweep file may say."""

    title: str = ""
    description: str = ""
    arch: Names
    models: Names
    phases: Phases = Field(default=["prefill", "decode"])
    contexts: Contexts = Field(default=[None])
    batches: Wholes = Field(default=[1])
    causal: Switches = Field(default=[False])
    axes: dict[Name, Axis] = Field(default={})
    schemes: dict[Literal["linear", "attention", "lm_head", "conv"], Names] = Field(default={})
    fidelity: str = "analytic"
    mapper: str = "whole-buffer"
    constraints: Annotated[list[str], BeforeValidator(_values)] = Field(default=[])
    sampling: Annotated[Sampling, BeforeValidator(_sampling)] = Sampling()
    iso: Iso | None = None
    accuracy: AccuracyAsked | None = None
    layers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One configuration: a chip with settings by dotted key, a model, a phase, how to run it."""

    arch: str
    model: str
    phase: str
    context: int | None
    batch: int
    fidelity: str
    mapper: str
    causal: bool = False
    layers: bool = False
    settings: tuple[tuple[str, Any], ...] = ()
    iso: Iso | None = None

    def columns(self) -> dict[str, Any]:
        """Return the point as a flat row; a setting that is a mapping becomes JSON text."""
        row: dict[str, Any] = {name: getattr(self, name) for name in POINT_COLUMNS}
        for key, value in self.settings:
            row[column_of(key)] = canonical(value) if isinstance(value, dict | list) else value
        return row


_SCHEME_COLUMNS = {f"formats.{kind}.weight": f"scheme.{kind}" for kind in KINDS}


def column_of(key: str) -> str:
    """Return the column of a dotted key of the chip; the weight formats are ``scheme.KIND``."""
    return _SCHEME_COLUMNS.get(key, key)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The product of a sweep's lists, in a fixed order: chips outermost, causal innermost."""

    file: SweepFile
    document: Document
    constraints: tuple[Expression, ...] = ()

    @cached_property
    def dimensions(self) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """Names and values, outermost first; an axis of several keys is one dimension."""
        file = self.file
        schemes = {f"formats.{kind}.weight": values for kind, values in file.schemes.items()}
        named = {
            "arch": file.arch,
            **file.axes,
            **schemes,
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

    @property
    def columns(self) -> list[str]:
        """The columns that a point has."""
        return [*POINT_COLUMNS, *(column_of(key) for keys in self.settings for key in keys)]

    def index(self, places: list[int]) -> int:
        """Return the index of the point at a place on each dimension."""
        index = 0
        for (_, values), place in zip(self.dimensions, places, strict=True):
            index = index * len(values) + place
        return index

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
            mapper=self.file.mapper,
            layers=self.file.layers,
            settings=tuple(reversed(chosen.items())),
            iso=self.file.iso,
        )

    @cached_property
    def early(self) -> tuple[Expression, ...]:
        """Constraints that a point alone decides."""
        return tuple(c for c in self.constraints if self._decided_by_point(c))

    @cached_property
    def late(self) -> tuple[Expression, ...]:
        """Constraints that need the results."""
        return tuple(c for c in self.constraints if not self._decided_by_point(c))

    def _decided_by_point(self, constraint: Expression) -> bool:
        solved = {self.file.iso.solve} if self.file.iso else set()
        unknown = {"context"} if None in self.file.contexts else set()
        return constraint.names <= set(self.columns) - solved - unknown

    def allowed(self, point: Point) -> bool:
        """Whether a point meets the constraints that it alone decides."""
        if not self.early:
            return True
        row = point.columns()
        return all(constraint(row) for constraint in self.early)

    def __iter__(self) -> Iterator[tuple[int, Point]]:
        """Yield every allowed point with its index, in order."""
        for index in range(self.size):
            point = self.point(index)
            if self.allowed(point):
                yield index, point


def axis_keys(name: str) -> tuple[str, ...]:
    """Return the keys of an axis: ``array.rows, array.columns`` moves two keys together."""
    return tuple(part.strip() for part in name.split(","))


def parse_sweep(text: str, source: str, results: Callable[[str], Sequence[str]]) -> Space:
    """Parse the text of a sweep file.

    Parameters
    ----------
    text : str
        The YAML text.
    source : str
        The file's name, as errors shall show it.
    results : callable
        Takes the fidelity, returns the result columns that constraints, objectives and ``iso``
        may name.

    Raises
    ------
    BitlatheError
        With file, line, column and remedy for each problem.
    """
    document = parse_yaml(text, source)
    if not isinstance(document.data, dict):
        raise BitlatheError(f"{source}:1:1: a sweep file is a mapping of keys to values.")
    file = validate(SweepFile, document)
    _check_axes(file, document)
    space = Space(file=file, document=document)
    columns = results(file.fidelity)
    known = [*space.columns, *columns, *([file.iso.solve] if file.iso else [])]
    constraints = []
    for i, constraint in enumerate(file.constraints):
        try:
            constraints.append(parse_expression(constraint, known))
        except BitlatheError as err:
            raise BitlatheError(f"{document.where(('constraints', i))}: {err}") from None
    for loc, name in _result_names(file):
        try:
            parse_expression(name, columns)
        except BitlatheError as err:
            raise BitlatheError(f"{document.where(loc)}: {err}") from None
    if space.size > MAX_SPACE:
        raise BitlatheError(f"{source}: a space of {space.size:.3g} points is beyond 2^63.")
    return Space(file=file, document=document, constraints=tuple(constraints))


def _result_names(file: SweepFile) -> list[tuple[tuple[str, ...], str]]:
    names: list[tuple[tuple[str, ...], str]] = []
    if file.sampling.nsga2:
        loc = ("sampling", "nsga2", "objectives")
        names += [((*loc, name), name) for name in file.sampling.nsga2.objectives]
    if file.iso:
        names.append((("iso", "resource"), file.iso.resource))
    return names


def _check_axes(file: SweepFile, document: Document) -> None:
    """Refuse keys that are set twice and values that do not match an axis of several keys."""
    taken = {f"formats.{kind}.weight": f"schemes.{kind}" for kind in file.schemes}
    if file.iso:
        taken[file.iso.solve] = "iso.solve"
    for name, values in file.axes.items():
        where = document.where(("axes", name))
        keys = axis_keys(name)
        for key in keys:
            if key in taken:
                raise BitlatheError(
                    f"{where}: axes: {key!r} is also set by {taken[key]}; remove one of the two."
                )
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
