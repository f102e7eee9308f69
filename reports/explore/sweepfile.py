"""The schema of a sweep file: what it may say."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ...datatypes.base.yamlfile import Record
from .ranges import is_size, range_values, size_kib

KINDS = ("linear", "attention", "lm_head", "conv")


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


def _sizes(axes: Any) -> Any:
    """Read ``64 KiB`` as 64 in lists and ranges of sizes."""
    if not isinstance(axes, dict):
        return axes
    return {name: _in_kib(axis_keys(name), value) for name, value in axes.items()}


def _in_kib(keys: Sequence[str], value: Any) -> Any:
    if len(keys) > 1 and isinstance(value, list):
        return [
            [_in_kib([key], item) for key, item in zip(keys, row, strict=True)]
            if isinstance(row, list) and len(row) == len(keys)
            else row
            for row in value
        ]
    if not is_size(keys[0]):
        return value
    if isinstance(value, dict):
        return {key: end if key == "factor" else size_kib(end) for key, end in value.items()}
    return [size_kib(item) for item in value] if isinstance(value, list) else size_kib(value)


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

    samples: Whole
    seed: int


def _objectives(value: Any) -> Any:
    return dict.fromkeys(map(str, value), "min") if isinstance(value, list) else value


class GuidedSampling(Record):
    """NSGA-II (Optuna) over chips and schemes, each evaluated on every workload of the sweep.

    ``budget`` counts evaluations, that is points; ``population`` the chips asked for at once (None:
    by the budget).
    """

    budget: Whole
    seed: Seed
    objectives: Annotated[dict[Name, Literal["min", "max"]], BeforeValidator(_objectives)]
    population: Annotated[int, Field(ge=4, le=10_000)] | None = None

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
            f" objectives: {{energy_pj: min, seconds: min}}}}}}, not {value!r}"
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

    @model_validator(mode="before")
    @classmethod
    def _size(cls, data: Any) -> Any:
        if isinstance(data, dict) and is_size(str(data.get("solve"))):
            return {k: size_kib(v) if k in ("from", "to") else v for k, v in data.items()}
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
    axes: Annotated[dict[Name, Axis], BeforeValidator(_sizes)] = Field(default={})
    schemes: Annotated[
        dict[Literal["linear", "attention", "lm_head", "conv"], Names], BeforeValidator(_by_kind)
    ] = Field(default={})
    fidelity: str = "analytic"
    mapper: Names = Field(default=["auto"])
    fusion: Switches = Field(default=[True])
    constraints: Annotated[list[str], BeforeValidator(_values)] = Field(default=[])
    sampling: Annotated[Sampling, BeforeValidator(_sampling)] = Sampling()
    iso: Iso | None = None
    accuracy: AccuracyAsked | None = None
    layers: bool = False
