"""The ``memories`` section of a chip: any hierarchy below the DRAM, outermost first."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from ..datatypes.base.yamlfile import Record
from .components import RegisterPart
from .dataflow import FlowName
from .fields import NonNegative, PositiveInt, SizeKiB
from .memories import OperandName

Way = Literal["read", "write", "both"]
WAYS: tuple[Way, ...] = ("read", "write", "both")
CORES, ROWS, COLUMNS = "cores", "rows", "columns"
PER = {"core": (CORES,), "pe": (CORES, ROWS, COLUMNS)}
SIZES = ("size_kib", "size_bytes", "words")
_FIGURES = ("read_pj_per_bit", "write_pj_per_bit", "leakage_mw", "area_um2")
OF_PE = "pe"
"""As a component: the cost stands in the figures of the PE."""
PE_WORDS = 2
"""Words of an operand a lane that a PE has of its own: the one in use and the next."""


def _names(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else _names(value)


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is listed twice; once will do")
    return names


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise ValueError(
            f"{text!r} is not a name: lower-case letters, digits and _, a letter first"
        )
    return text


Operands = Annotated[tuple[OperandName, ...], BeforeValidator(_listed), AfterValidator(_once)]
Flows = Annotated[tuple[FlowName, ...], BeforeValidator(_listed), AfterValidator(_once)]


class PortEntry(Record):
    """One port: its direction and bits an access, and the operands it serves; all if left out."""

    model_config = ConfigDict(populate_by_name=True)

    read: PositiveInt | None = Field(
        default=None, description="bits of an access of a port that reads"
    )
    write: PositiveInt | None = Field(
        default=None, description="bits of an access of a port that writes"
    )
    both: PositiveInt | None = Field(
        default=None, description="bits of an access of a port that does either"
    )
    operands: Operands | None = Field(
        default=None, alias="for", description="operands that it serves; all if left out"
    )

    @model_validator(mode="after")
    def _one_way(self) -> PortEntry:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a port of {' and '.join(given) or 'no direction'}; give one of read, write and "
                "both, with its bits"
            )
        if self.operands == ():
            raise ValueError("for: no operands; name some, or leave it out")
        return self

    @property
    def way(self) -> Way:
        """Its direction."""
        return next(way for way in WAYS if getattr(self, way) is not None)

    @property
    def width_bits(self) -> int:
        """Bits of an access."""
        found: int = getattr(self, self.way)
        return found


PortsField = Annotated[
    Annotated[tuple[PortEntry, ...], BeforeValidator(_names), Tag("Ports")]
    | Annotated[Literal["auto"], Tag("Auto")],
    Discriminator(lambda value: "Auto" if isinstance(value, str) else "Ports"),
]


class Level(Record):
    """A memory on the chip, or one of which each core, or each unit of some axes, has a copy.

    ``bits``: width of a word, for memories of unfinished sums, and for registers. ``bypass``:
    operands that the mapper may let past it. ``dataflow``: those in which it is used; all if left
    out. ``keep_halo``: of a convolution, the next tile of inputs fetches its new pixels only.
    ``ports``: ``auto`` are as wide as the array needs. Costs are those of a row of a table
    (``component``), of the PE (``component: pe``), given here, or ``unpriced``.
    """

    name: Annotated[str, AfterValidator(_name)] = Field(
        description="name in tables: lower-case letters, digits and _"
    )
    holds: Operands = Field(description="operands that it may hold: weight, input, output")
    bypass: Operands = Field(default=(), description="operands that the mapper may let past it")
    per: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_once)] = Field(
        default=(), description="copies: one a core, a pe, or one along some axes"
    )
    size_kib: SizeKiB | None = Field(
        default=None, description="size of a copy; or size_bytes, or words"
    )
    size_bytes: PositiveInt | None = Field(
        default=None, description="size of a copy; or size_kib, or words"
    )
    words: PositiveInt | None = Field(
        default=None, description="size of a copy in words; or size_kib, or size_bytes"
    )
    bits: PositiveInt | None = Field(
        default=None, description="width of a word, for unfinished sums and registers"
    )
    banks: PositiveInt | Literal["auto"] = Field(
        default="auto",
        description="equal SRAM banks accessed together; auto: the fewest that meet the clock",
    )
    ports: PortsField = Field(
        default="auto", description="ports by direction and bits; auto: as wide as the array needs"
    )
    double_buffered: bool = Field(
        default=True, description="the next piece comes in beside the one in use"
    )
    keep_halo: bool = Field(
        default=False,
        description="of a convolution the next tile of inputs fetches its new pixels only",
    )
    dataflow: Flows = Field(
        default=(), description="dataflows in which it is used; all if left out"
    )
    component: RegisterPart = Field(
        default=None,
        description="table that prices it, or FILE.yaml#NAME; pe: its cost is in the PE's figures",
    )
    unpriced: bool = Field(default=False, description="costs nothing, on purpose")
    read_pj_per_bit: NonNegative | None = Field(
        default=None, description="energy of a bit read, instead of a table's"
    )
    write_pj_per_bit: NonNegative | None = Field(
        default=None, description="energy of a bit written, instead of a table's"
    )
    leakage_mw: NonNegative | None = Field(
        default=None, description="leakage of a copy, instead of a table's"
    )
    area_um2: NonNegative | None = Field(
        default=None, description="area of a copy, instead of a table's"
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> Level:
        given = [key for key in SIZES if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{self.name} has {' and '.join(given) or 'no size'}; give one of "
                f"{', '.join(SIZES)}"
            )
        if self.size_kib is not None and self.size_kib * 1024 < 1:
            raise ValueError(f"size_kib: {self.size_kib:g} KiB is less than a byte; give more")
        return self

    @model_validator(mode="after")
    def _holds_something(self) -> Level:
        if not self.holds:
            raise ValueError("holds: no operands; name those that it may hold")
        if self.keep_halo and "input" not in self.holds:
            raise ValueError(f"keep_halo: of memories that hold input; {self.name} does not")
        for key, operands in (("bypass", self.bypass), *self._served()):
            for operand in operands:
                if operand not in self.holds:
                    raise ValueError(
                        f"{key}: {self.name} does not hold {operand}; it holds "
                        f"{', '.join(self.holds)}"
                    )
        return self

    def _served(self) -> list[tuple[str, tuple[str, ...]]]:
        ports = () if isinstance(self.ports, str) else self.ports
        return [(f"ports.{i}.for", port.operands or ()) for i, port in enumerate(ports)]

    @model_validator(mode="after")
    def _ports_serve_all(self) -> Level:
        if isinstance(self.ports, str):
            return self
        for operand in self.holds:
            for way in ("read", "write"):
                count = sum(
                    port.way in (way, "both") and operand in (port.operands or self.holds)
                    for port in self.ports
                )
                if count != 1:
                    raise ValueError(
                        f"ports: {self.name} has {count or 'no'} port{'s'[: count > 1]} to {way} "
                        f"{operand}; give one, or tell them apart by 'for'"
                    )
        return self

    @model_validator(mode="after")
    def _priced_once(self) -> Level:
        own = [key for key in _FIGURES if getattr(self, key) is not None]
        missing = [key for key in _FIGURES if getattr(self, key) is None]
        if own and missing:
            raise ValueError(f"costs given instead of a table's: give {', '.join(missing)} too")
        ways = [bool(own), self.component is not None, self.unpriced]
        if sum(ways) > 1:
            raise ValueError(
                f"{self.name} has two prices; give one of 'component', costs of its own, and "
                "'unpriced: true'"
            )
        return self

    @property
    def size_bits(self) -> int | None:
        """Size of one copy in bits; None where it is given in words."""
        if self.size_bytes is not None:
            return 8 * self.size_bytes
        return None if self.size_kib is None else 8 * int(self.size_kib * 1024)

    @property
    def capacity_words(self) -> int | None:
        """Words of one copy, where its words have a width; None where bits are what counts."""
        if self.words is not None or self.bits is None:
            return self.words
        return (self.size_bits or 0) // self.bits

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes along which each unit has a copy."""
        return tuple(axis for name in self.per for axis in PER.get(name, (name,)))

    @property
    def figures(self) -> tuple[float, float, float, float] | None:
        """Energy of a bit read and written, leakage and area, where they are given here."""
        if self.read_pj_per_bit is None:
            return None
        read, write, leakage, area = (float(getattr(self, key)) for key in _FIGURES)
        return read, write, leakage, area

    @property
    def of_pe(self) -> bool:
        """Whether its cost stands in the figures of the PE: registers of which nothing is said."""
        free = self.component in (None, OF_PE) and self.figures is None and not self.unpriced
        return self.words is not None and free

    def used_in(self, dataflow: str) -> bool:
        """Return whether it is used in a dataflow."""
        return not self.dataflow or dataflow in self.dataflow


def _levels(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


LevelsField = Annotated[tuple[Level, ...], BeforeValidator(_levels)]
