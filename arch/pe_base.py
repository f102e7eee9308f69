"""What every processing element has: the base of its record, and of its section in a chip's file.

The record is the PE's arithmetic, whole and checked; the section is what a file says of it: keys
of the arithmetic that may be left out, registers, and the cost, from a table or given.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.numbers import ceil_div, whole_number
from ..datatypes.base.yamlfile import Record
from ..datatypes.schemes.scheme import Scheme
from .components import PEComponent, PEPart, pe_component
from .decoder import Decoder
from .fields import NonNegative, PositiveInt
from .formats import Operand
from .operators import Operators

SkipSync = Literal["lane", "row", "column", "array"]
SkipWeights = Literal["gaussian", "student_t"]
SplitOver = Literal["lanes", "axes"]
"""Multipliers that a PE splits into add up in one sum, or lengthen the array's sides."""
Split = tuple[int, int]
"""Multipliers side by side in place of one: along weights, and along activations."""


class PEKind(ABC):
    """The arithmetic of a PE: what it takes and gives, and its clocks.

    Attributes
    ----------
    kind : str
        Its name in architecture files.
    serial : bool
        Whether a chunk of weights takes a clock a term, and a scale a clock a bit.
    pipeline_cycles : int
        Clocks from operands to their sum.
    table_additions : int
        Additions that fill one look-up table.
    skip_zero_terms, skip_sync, skip_weights, group_gap
        See `pe.BitSerialPE`; other kinds skip nothing.
    """

    __slots__ = ()

    kind: ClassVar[str]
    serial: ClassVar[bool] = False
    pipeline_cycles: ClassVar[int] = 1  # a MAC with a registered result
    skip_zero_terms: bool = False
    skip_sync: SkipSync = "array"
    skip_weights: SkipWeights = "gaussian"
    group_gap: int = 0

    @property
    @abstractmethod
    def lanes(self) -> int:
        """Weights that a PE works on at once."""

    @property
    @abstractmethod
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""

    @property
    @abstractmethod
    def ports(self) -> dict[str, Any]:
        """The keys that decide which formats it takes, and their values."""

    @abstractmethod
    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether it can take weights of a scheme."""

    @abstractmethod
    def takes_activation(self, scheme: Scheme) -> bool:
        """Return whether it can take activations of a scheme."""

    def clocks(self, k: int, terms: int = 1) -> int:
        """Return the clocks of ``k`` products, each of ``terms``; no term skipped."""
        return terms * ceil_div(k, self.lanes)

    def step_clocks(self, weight: Operand) -> int:
        """Return the clocks of one chunk of weights: terms, or bit planes, or one."""
        return 1

    @property
    def split_over(self) -> SplitOver:
        """What the parts of a multiplier that splits lie along (`pe.IntMacPE`)."""
        return "lanes"

    def split(self, weight: Operand, activation: Operand) -> Split:
        """Return the multipliers side by side in place of one: along weights, and activations."""
        return 1, 1

    def value(self, key: str) -> Any:
        """Return the value of a key of its section."""
        return getattr(self, key)

    @property
    def table_additions(self) -> int:
        """Additions that fill one look-up table."""
        return 0

    def takes_scales_first(self, weight: Operand) -> bool:
        """Return whether inputs are scaled instead of sums, since scales change along K."""
        return False

    def fill_additions(self, weight: Operand) -> int:
        """Return the additions that fill the tables for one chunk of weights."""
        return self.table_additions

    @property
    def mac(self) -> Any:
        """The MAC that it is, or that follows its decoder; None if it adds in another way."""
        return None


def check_range(record: object, **bounds: tuple[int, int]) -> None:
    """Check that fields of a record are whole numbers within (least, most).

    Raises
    ------
    BitlatheError
        If one is not; the error names the field and its bounds.
    """
    for name, (low, high) in bounds.items():
        whole_number(f"{type(record).__name__}.{name}", getattr(record, name), low, high)


def check_name(record: object, name: str, known: Iterable[str]) -> None:
    """Check that a field of a record is one of the known names.

    Raises
    ------
    BitlatheError
        If it is not; the error names the field and the nearest name.
    """
    value = getattr(record, name)
    if value not in known:
        where = f"{type(record).__name__}.{name}"
        raise BitlatheError(f"{where}: {unknown_name('name', str(value), known)}")


def _names(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class PESection(Record):
    """The ``pe`` section of a chip: kind, arithmetic, registers; its cost from a table or given.

    Keys that are left out take the value of the component, or of the kind's record. ``unpriced``
    are keys that are taken though the component was not made for them. With ``area_source``
    ``synthesis`` the cost is that of the generated hardware (`arch.synthesized`).
    """

    made: ClassVar[type[PEKind]]

    kind: str = Field(description="what a PE does with a weight")
    lanes: PositiveInt = Field(
        default=1, description="products of one dot product that a PE takes at a time"
    )
    double_buffered_operand: bool = Field(
        default=True,
        description="systolic ws and is: a second register for the operand that is loaded next",
    )
    drain_register: bool = Field(
        default=True,
        description="systolic os: a second register, so that results leave beside the next product",
    )
    component: PEPart = Field(
        default=None,
        description="row of arch/components/pe.yaml that prices the PE, or FILE.yaml#NAME",
    )
    area_source: Literal["published", "synthesis"] = Field(
        default="published",
        description="what prices the PE: its component, or the synthesis of its generated hardware",
    )
    energy_pj: NonNegative | None = Field(
        default=None,
        description="dynamic energy of a PE in a clock of work, instead of the component's",
    )
    area_um2: NonNegative | None = Field(
        default=None, description="area of a PE, its registers included, instead of the component's"
    )
    leakage_mw: NonNegative | None = Field(
        default=None, description="leakage of a PE, instead of the component's"
    )
    table_addition_pj: NonNegative | None = Field(
        default=None, description="kind lut: energy of one addition that fills a look-up table"
    )
    decoder_um2: NonNegative | None = Field(
        default=None,
        description="area of a decoder of weights at the border, one for each that enters",
    )
    decoder: Decoder | None = Field(
        default=None,
        description="a decoder of weights at the border in operators, instead of its area",
    )
    operators: Operators | None = Field(
        default=None, description="operators that energy and area are counted in, from a table"
    )
    unpriced: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        default=(), description="keys that are taken though the component was not made for them"
    )

    @classmethod
    @cache
    def arithmetic_keys(cls) -> tuple[str, ...]:
        """Return the keys that describe the arithmetic of this kind."""
        return tuple(key for key in cls.model_fields if key not in PESection.model_fields)

    def record_of(self, given: dict[str, Any]) -> PEKind:
        """Return the record of these keys of the arithmetic."""
        return self.made(lanes=self.lanes, **given)  # type: ignore[call-arg]

    @property
    def record(self) -> PEKind:
        """The arithmetic: ports that the section does not name are those of its component."""
        return self._known_record

    @cached_property
    def _known_record(self) -> PEKind:
        return _record(self)

    @property
    def record_without_component(self) -> PEKind:
        """The arithmetic where what is left out is the kind's, whatever the component has."""
        return _record(self, of_component=False)

    @model_validator(mode="after")
    def _possible(self) -> PESection:
        mine = self.arithmetic_keys()
        for key in self.unpriced:
            if key not in mine:
                raise ValueError(f"unpriced: {key!r} is not one of {', '.join(mine)}")
        try:
            record = self.record
        except BitlatheError as err:  # it names the record's field: the key is the same
            raise ValueError(re.sub(r"^\w+\.", "", str(err))) from None
        if self.table_addition_pj is not None and not record.table_additions:
            raise ValueError("table_addition_pj is a key of kind 'lut'; leave it out")
        if self.decoder is not None and self.decoder_um2 is not None:
            raise ValueError("decoder: its operators give decoder_um2; leave that out")
        if self.area_source == "synthesis":
            for key in ("component", "energy_pj", "area_um2", "leakage_mw", "operators"):
                if getattr(self, key) is not None:
                    raise ValueError(
                        f"{key}: area_source is synthesis, which gives it; leave it out"
                    )
        elif self.operators is not None:
            given = [
                k for k in ("component", "energy_pj", "area_um2") if getattr(self, k) is not None
            ]
            if given:
                raise ValueError(f"operators: they stand for {given[0]}; leave one of them out")
        elif self.component is not None:
            pe_component(self.component)
        elif self.energy_pj is None or self.area_um2 is None:
            raise ValueError(
                "give 'component', or 'operators', or both 'energy_pj' (per clock) and 'area_um2'"
            )
        return self

    @property
    def own_costs(self) -> bool:
        """Whether the chip gives energy and area itself, instead of naming a component."""
        figures = self.energy_pj is not None and self.area_um2 is not None
        return figures or self.operators is not None

    @property
    def part(self) -> PEComponent | None:
        """The component that prices the PE, if one does."""
        return None if self.own_costs or not self.component else pe_component(self.component)

    @property
    def cell_leakage_mw(self) -> float:
        """Leakage of one PE; 0 if the chip gives energy and area but no leakage."""
        if self.leakage_mw is not None:
            return self.leakage_mw
        return self.part.leakage_mw if self.part else 0.0

    @property
    def addition_pj(self) -> float:
        """Energy of one addition that fills a look-up table; else that of a clock of work."""
        known = self.part.table_addition_pj if self.part else None
        for given in (self.table_addition_pj, known):
            if given is not None:
                return given
        return self.clock_energy_pj

    @property
    def clock_energy_pj(self) -> float:
        """Dynamic energy of one PE in one clock of work."""
        if self.energy_pj is not None:
            return self.energy_pj
        if self.operators is not None:
            return self.operators.clock_pj
        return pe_component(self.component or "").energy_pj

    @property
    def group_sum_pj(self) -> float:
        """Energy of what a PE does once for the sum of a group of weights: its scale."""
        return self.operators.group_pj if self.operators is not None else 0.0

    @property
    def cell_area_um2(self) -> float:
        """Area of one PE."""
        if self.area_um2 is not None:
            return self.area_um2
        if self.operators is not None:
            return self.operators.area_um2
        return pe_component(self.component or "").area_um2


@cache
def _record(pe: PESection, *, of_component: bool = True) -> PEKind:
    given = {key: getattr(pe, key) for key in pe.arithmetic_keys()}
    given = {key: value for key, value in given.items() if value is not None}
    if pe.part and of_component:
        given = pe.part.names_for(pe.kind) | given
    return pe.record_of(given)
