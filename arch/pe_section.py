"""The ``pe`` section of a chip: kind, arithmetic, registers; its cost from a table or given."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.yamlfile import Record
from .components import PEComponent, pe_component
from .fields import NonNegative, PositiveInt
from .numerics import PENumerics, numerics_of
from .pe import PE_KINDS, AntPE, IntMacPE, OlivePE, PEKind
from .priced import made_for


class Numerics(Record):
    """Arithmetic of a bit-serial PE: a preset, and the fields of `PENumerics` that differ."""

    preset: Literal["hpca25", "aligned", "exact"] = "aligned"
    guard_bits: int | None = None
    reference: Literal["lanes", "lanes_and_accumulator"] | None = None
    gate_zero_terms: bool | None = None
    alignment: Literal["floor", "sticky"] | None = None
    rounding: Literal["floor", "nearest_even"] | None = None
    overflow: Literal["wrap", "saturate"] | None = None
    accumulator_bits: int | None = None
    sum_bits: int | None = None
    exponent_bits: int | None = None

    @property
    def record(self) -> PENumerics:
        """The numerics as `sim.pe` takes them."""
        given = self.model_dump(exclude={"preset"}, exclude_none=True)
        base = numerics_of(self.preset)
        return replace(base, name="custom", **given) if given else base


def _numerics(value: Any) -> Any:
    return {"preset": value} if isinstance(value, str) else value


def _names(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# keys of the `pe` section that describe its arithmetic, by kind: key -> field of the kind's record
_MAC_KEYS = ("activation_bits", "weight_bits", "accumulator_bits", "overflow")
PE_KEYS: dict[str, tuple[str, ...]] = {
    "bit_serial": (
        *("activation", "numerics", "scale_bits", "group_gap"),
        *("skip_zero_terms", "skip_sync", "skip_weights"),
    ),
    "int_mac": _MAC_KEYS,
    "fp_mac": ("activation", "weight", "product", "accumulator", "overflow"),
    "lut": ("table", "accumulator"),
    "ant": _MAC_KEYS,
    "olive": _MAC_KEYS,
}


class PE(Record):
    """The processing element: kind, arithmetic, registers; its cost from a table or given here.

    Keys that are left out take the value of the kind's record (`arch.pe`); keys of other kinds
    are refused. ``lanes`` are the inputs of a table for kind ``lut``. ``unpriced`` are keys that
    are taken though the component was not made for them.
    """

    kind: Literal["bit_serial", "int_mac", "fp_mac", "lut", "ant", "olive"]
    lanes: PositiveInt = 1
    activation: str | None = None
    numerics: Annotated[Numerics | None, BeforeValidator(_numerics)] = None
    scale_bits: int | None = None
    group_gap: int | None = None
    skip_zero_terms: bool | None = None
    skip_sync: Literal["lane", "row", "column", "array"] | None = None
    skip_weights: Literal["gaussian", "student_t"] | None = None
    activation_bits: int | None = None
    weight_bits: int | None = None
    accumulator_bits: int | None = None
    overflow: Literal["wrap", "saturate", "inf"] | None = None
    weight: str | None = None
    product: str | None = None
    accumulator: str | None = None
    table: str | None = None
    double_buffered_operand: bool = True
    drain_register: bool = True
    component: str | None = None
    energy_pj: NonNegative | None = None
    area_um2: NonNegative | None = None
    leakage_mw: NonNegative | None = None
    table_addition_pj: NonNegative | None = None
    unpriced: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()

    @model_validator(mode="after")
    def _of_its_kind(self) -> PE:
        mine = PE_KEYS[self.kind]
        others = {key for keys in PE_KEYS.values() for key in keys} - set(mine)
        for key in sorted(others):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"{key} is no key of kind {self.kind!r}, whose keys are {', '.join(mine)}"
                )
        for key in self.unpriced:
            if key not in mine:
                raise ValueError(f"unpriced: {key!r} is not one of {', '.join(mine)}")
        if self.table_addition_pj is not None and self.kind != "lut":
            raise ValueError("table_addition_pj is a key of kind 'lut'; leave it out")
        try:
            pe_record(self)
        except BitlatheError as err:  # it names the record's field: the key is the same
            raise ValueError(re.sub(r"^\w+\.", "", str(err))) from None
        return self

    @property
    def skips(self) -> bool:
        """Whether clocks of zero terms are left out."""
        return bool(self.skip_zero_terms)

    @model_validator(mode="after")
    def _has_costs(self) -> PE:
        if self.component is None and (self.energy_pj is None or self.area_um2 is None):
            raise ValueError("give 'component', or both 'energy_pj' (per clock) and 'area_um2'")
        if self.component is not None:
            pe_component(self.component)
        return self

    @property
    def own_costs(self) -> bool:
        """Whether energy and area are figures of the chip's own, not a component's."""
        return self.energy_pj is not None and self.area_um2 is not None

    @property
    def part(self) -> PEComponent | None:
        """The component that prices the PE, if one does."""
        return None if self.own_costs or not self.component else pe_component(self.component)

    @property
    def cell_leakage_mw(self) -> float:
        """Leakage of one PE; none of a PE with figures of its own that do not give it."""
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
        return pe_component(self.component or "").energy_pj

    @property
    def cell_area_um2(self) -> float:
        """Area of one PE."""
        if self.area_um2 is not None:
            return self.area_um2
        return pe_component(self.component or "").area_um2


@cache
def pe_record(pe: PE, *, as_kind: bool = False) -> PEKind:
    """Return the record of a chip's PE, as the functions of `sim.pe` take it.

    Ports that the section does not name are those of its component, or, ``as_kind``, of its kind.

    Raises
    ------
    BitlatheError
        A width out of range, an unknown format.
    """
    given = {key: getattr(pe, key) for key in PE_KEYS[pe.kind] if getattr(pe, key) is not None}
    given.pop("skip_weights", None)
    if pe.part and not as_kind:
        given = made_for(pe.part, pe.kind) | given
    if pe.numerics is not None:
        given["numerics"] = pe.numerics.record
    if pe.kind in ("ant", "olive"):
        mac = IntMacPE(**{"weight_bits": 4, **given, "lanes": pe.lanes})
        return AntPE(mac=mac) if pe.kind == "ant" else OlivePE(mac=mac)
    lanes = "inputs" if pe.kind == "lut" else "lanes"
    return PE_KINDS[pe.kind](**{**given, lanes: pe.lanes})
