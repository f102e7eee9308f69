"""The vector unit of a chip's schema: lanes that do what stands between matrix products."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from ..datatypes.base.yamlfile import Record
from .components import VectorPart, component_names, vector_component
from .fields import NonNegative, PositiveInt


class Lane(NamedTuple):
    """What a lane costs: energies of an operation on an element, area, leakage; and its clocks."""

    add_pj: float
    multiply_pj: float
    special_pj: float
    area_um2: float
    leakage_mw: float = 0.0
    special_cycles: int = 1


_FIGURES = ("add_pj", "multiply_pj", "special_pj", "area_um2")


def _listed(data: Any) -> Any:
    """Take the names of a list as they are, a single one as a list of it."""
    return (data,) if isinstance(data, str) else tuple(data) if isinstance(data, list) else data


class VectorUnit(Record):
    """The ``vector`` section: lanes, each with an adder, a multiplier and a table of functions.

    An addition (a maximum, a rounding) or a product of an element takes a clock of a lane, a
    special function (exponential, reciprocal, reciprocal square root) ``special_cycles``. The unit
    stands beside ``memory``, through whose ports it reads and writes: by default the outermost
    memory on the chip that holds results. With ``overlap`` it works beside the array. Costs of a
    lane are those of ``component``, or given here. Without lanes there is no unit, and what stands
    between matrix products is not counted.
    """

    lanes: Annotated[int, Field(ge=0)] = Field(description="elements worked on at once; 0: no unit")
    component: VectorPart = Field(
        default=None,
        description="row of arch/components/vector.yaml that prices a lane, or FILE.yaml#NAME",
    )
    memory: str | None = Field(
        default=None,
        description="memory whose ports it uses; the outermost that holds results if left out",
    )
    overlap: bool = Field(default=True, description="work beside the array where data allow it")
    operations: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = Field(
        default=None, description="operations that it does, such as softmax; all if left out"
    )
    special_cycles: PositiveInt | None = Field(
        default=None, description="clocks of a special function (exponential, reciprocal, root)"
    )
    add_pj: NonNegative | None = Field(
        default=None, description="energy of an addition, a maximum, a rounding"
    )
    multiply_pj: NonNegative | None = Field(default=None, description="energy of a product")
    special_pj: NonNegative | None = Field(default=None, description="energy of a special function")
    area_um2: NonNegative | None = Field(default=None, description="area of a lane")
    leakage_mw: NonNegative | None = Field(default=None, description="leakage of a lane")

    @model_validator(mode="after")
    def _priced(self) -> VectorUnit:
        missing = [key for key in _FIGURES if getattr(self, key) is None]
        if self.component is not None:
            vector_component(self.component)
        elif missing and self.lanes:
            known = ", ".join(component_names("vector"))
            raise ValueError(f"give 'component' ({known}), or {', '.join(missing)} of a lane too")
        return self

    def lane(self, node_nm: int) -> Lane:
        """Return the cost of a lane: figures given here, and the component's at a node."""
        found: dict[str, Any] = {}
        if self.component is not None:
            part = vector_component(self.component)
            found = {name: part.scale(name, node_nm) for name in (*_FIGURES, "leakage_mw")}
            found["special_cycles"] = part.special_cycles
        given = {name: getattr(self, name) for name in Lane._fields}
        return Lane(**found | {name: value for name, value in given.items() if value is not None})
