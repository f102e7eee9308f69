"""The schema of a sweep file: what it may say."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ...arch.formats import LAYER_KINDS, Kind
from ...datatypes.base.yamlfile import Record
from .ranges import in_unit, range_values, takes_unit

KINDS = LAYER_KINDS


def _values(value: Any) -> Any:
    """Read a list, a range or a single value as a list."""
    if isinstance(value, dict) and "from" in value:
        return range_values(value)
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
    seen: dict[str, Any] = {}
    for value in values:
        text = canonical(_same(value))
        if text in seen:
            again = "" if repr(seen[text]) == repr(value) else f" (as {seen[text]!r})"
            raise ValueError(f"{value!r} stands twice in the list{again}; every value once")
        seen[text] = value
    return values


def _same(value: Any) -> Any:
    """Return a value so that equal ones are alike: 1.0 as 1."""
    if isinstance(value, list):
        return [_same(item) for item in value]
    if isinstance(value, dict):
        return {key: _same(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


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


def axis_keys(name: str) -> tuple[str, ...]:
    """Return the keys of an axis: ``array.rows, array.columns`` moves two keys together."""
    return tuple(part.strip() for part in name.split(","))


def _plain_numbers(axes: Any) -> Any:
    """Read ``64 KiB`` as 64, ``250 MHz`` as 0.25, in lists and ranges of what has a unit."""
    if not isinstance(axes, dict):
        return axes
    return {name: _in_units(axis_keys(name), value) for name, value in axes.items()}


def _in_units(keys: Sequence[str], value: Any) -> Any:
    if len(keys) > 1 and isinstance(value, list):
        return [
            [_in_units([key], item) for key, item in zip(keys, row, strict=True)]
            if isinstance(row, list) and len(row) == len(keys)
            else row
            for row in value
        ]
    name = keys[0]
    if not takes_unit(name):
        return value
    if isinstance(value, dict):
        return {key: end if key == "factor" else in_unit(name, end) for key, end in value.items()}
    if isinstance(value, list):
        return [in_unit(name, item) for item in value]
    return in_unit(name, value)


Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy's generator takes


def _by_kind(value: Any) -> Any:
    if isinstance(value, str | list):
        shown = ", ".join(map(str, value if isinstance(value, list) else [value]))
        raise ValueError(
            f"a format belongs to a kind of layer; write schemes: {{linear: [{shown}]}} (kinds: "
            f"{', '.join(KINDS)})"
        )
    return value


class RandomSampling(Record):
    """Points drawn from the grid without replacement."""

    samples: Whole = Field(description="points that are drawn")
    seed: int = Field(description="seed of the draw")


def _objectives(value: Any) -> Any:
    return dict.fromkeys(map(str, value), "min") if isinstance(value, list) else value


class GuidedSampling(Record):
    """NSGA-II (Optuna) over chips and schemes, each evaluated on every workload of the sweep.

    ``budget`` counts evaluations, that is points; ``population`` the chips asked for at once (None:
    by the budget).
    """

    budget: Whole = Field(description="points that are evaluated")
    seed: Seed = Field(description="seed of the search")
    objectives: Annotated[dict[Name, Literal["min", "max"]], BeforeValidator(_objectives)] = Field(
        description="result columns to make least or most: a list, or {name: min or max}"
    )
    population: Annotated[int, Field(ge=4, le=10_000)] | None = Field(
        default=None, description="chips asked for at once; by the budget if left out"
    )

    @model_validator(mode="after")
    def _some(self) -> "GuidedSampling":
        if not self.objectives:
            raise ValueError("give at least one objective, for example {energy_pj: min}")
        return self


class Sampling(Record):
    """Which points of the grid are evaluated: all of them, or one of the two below."""

    random: RandomSampling | None = Field(
        default=None, description="points drawn without replacement"
    )
    nsga2: GuidedSampling | None = Field(
        default=None, description="a guided search (NSGA-II of Optuna)"
    )

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
            f" objectives: {{energy_pj: min, seconds: min}}}}}}, not {value!r}"
        )
    return value


class Iso(Record):
    """A resource held at a target while one key of the chip is solved for.

    The largest whole number (or the closest value, for keys that take fractions) between ``low``
    and ``high`` (``from`` and ``to`` in the file) that keeps the resource at or under the target.
    """

    resource: Name = Field(description="result column that is held, as area_um2")
    target: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="what it may be at most, in the column's unit"
    )
    solve: Name = Field(description="key of the chip that is solved for")
    low: Annotated[float, Field(gt=0, alias="from")] = Field(
        default=1.0, description="least value tried"
    )
    high: Annotated[float, Field(gt=0, alias="to")] = Field(
        default=4096.0, description="largest value tried"
    )

    @model_validator(mode="before")
    @classmethod
    def _size(cls, data: Any) -> Any:
        if isinstance(data, dict) and takes_unit(name := str(data.get("solve"))):
            return {k: in_unit(name, v) if k in ("from", "to") else v for k, v in data.items()}
        return data

    @model_validator(mode="after")
    def _upwards(self) -> "Iso":
        if self.low >= self.high:
            raise ValueError(f"from {self.low:g} must be below to {self.high:g}")
        return self


class AccuracyAsked(Record):
    """How `bitlathe report` measures the perplexity of models whose weights are at hand.

    ``text`` is a UTF-8 file, relative to the sweep file; see `bitlathe.workloads.accuracy`.
    """

    tokens: Whole = Field(default=8000, description="tokens of text to measure on")
    context: Annotated[int, Field(ge=2, le=2**20)] = Field(
        default=512, description="tokens of a window"
    )
    text: Name | None = Field(
        default=None, description="UTF-8 file of text, relative to the sweep's"
    )


class SweepFile(Record):
    """What a sweep file may say."""

    title: str = Field(default="", description="title of the report")
    description: str = Field(default="", description="text of the report")
    arch: Names = Field(description="chips: names or files")
    models: Names = Field(description="models: names or files")
    phases: Phases = Field(default=["prefill", "decode"], description="prefill, decode")
    contexts: Contexts = Field(
        default=[None], description="tokens in view; null: the model's default"
    )
    batches: Wholes = Field(default=[1], description="sequences, or images, at once")
    causal: Switches = Field(default=[False], description="whether masked scores are left out")
    axes: Annotated[dict[Name, Axis], BeforeValidator(_plain_numbers)] = Field(
        default={}, description="keys of the chip and the values that each takes"
    )
    schemes: Annotated[dict[Kind, Names], BeforeValidator(_by_kind)] = Field(
        default={}, description="formats of weights by kind of layer"
    )
    fidelity: str = Field(default="analytic", description="rung: analytic or cycle")
    mapper: Names = Field(default=["auto"], description="mappers: search and its kin, or rules")
    fusion: Switches = Field(default=[True], description="whether layers may be fused on the chip")
    constraints: Annotated[list[str], BeforeValidator(_values)] = Field(
        default=[], description="what a point must meet, as area_um2 <= 2e6"
    )
    sampling: Annotated[Sampling, BeforeValidator(_sampling)] = Field(
        default=Sampling(), description="grid, or a random or guided choice of points"
    )
    iso: Iso | None = Field(default=None, description="hold a resource while one key is solved for")
    accuracy: AccuracyAsked | None = Field(
        default=None, description="how the report measures perplexity"
    )
    layers: bool = Field(default=False, description="keep a table of layers beside that of points")
