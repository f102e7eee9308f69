"""The memories of a chip's schema: buffers on the chip, and the DRAM beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.yamlfile import Record
from .components import DramComponent, DramPart, dram_component
from .fields import NonNegative, Positive, PositiveInt, Rate, SizeKiB

_FIGURES = ("read_pj", "write_pj", "leakage_mw", "area_um2")


class Buffer(Record):
    """An on-chip buffer of equal SRAM banks that are accessed together.

    ``banks: auto`` are the fewest that meet the clock. ``double_buffered``: the next piece comes in
    beside the one in use; without it a piece has the whole buffer, and the next waits until the
    array is done with it. ``ports``: 2 reads and writes at once; 1 does one of them a clock. Costs
    are those of a row of a table (``component``), or given here: energies of a full-port access,
    leakage and area of the whole buffer, for the port that is stated.
    """

    meant: ClassVar[Mapping[str, str]] = {
        "size": "'size_kib'",
        "capacity": "'size_kib'",
        "width": "'port_bits'",
        "bandwidth": "'port_bits'",
    }

    size_kib: SizeKiB = Field(description="size; a number of KiB, or text as 512 KiB or 2 MiB")
    banks: PositiveInt | Literal["auto"] = Field(
        default="auto",
        description="equal SRAM banks accessed together; auto: the fewest that meet the clock",
    )
    component: str = Field(
        default="cacti7", description="table of arch/components/sram.yaml that prices it"
    )
    port_bits: PositiveInt | Literal["auto"] = Field(
        default="auto", description="bits of one access; auto: what the array needs"
    )
    double_buffered: bool = Field(
        default=True, description="the next piece comes in beside the one in use"
    )
    ports: Literal[1, 2] = Field(
        default=2, description="2: reads and writes at once; 1: one of them a clock"
    )
    read_pj: NonNegative | None = Field(
        default=None, description="energy of reading a full port, instead of the table's"
    )
    write_pj: NonNegative | None = Field(
        default=None, description="energy of writing a full port, instead of the table's"
    )
    leakage_mw: NonNegative | None = Field(
        default=None, description="leakage of the whole buffer, instead of the table's"
    )
    area_um2: NonNegative | None = Field(
        default=None, description="area of the whole buffer, instead of the table's"
    )

    @model_validator(mode="after")
    def _own_figures_are_whole(self) -> Buffer:
        missing = [key for key in _FIGURES if getattr(self, key) is None]
        if len(missing) == len(_FIGURES):
            return self
        if missing:
            raise ValueError(f"costs given instead of a table's: give {', '.join(missing)} too")
        if self.port_bits == "auto":
            raise ValueError("costs given instead of a table's hold for one width: give port_bits")
        return self

    @property
    def figures(self) -> dict[str, float] | None:
        """Costs that are given here instead of a table's."""
        if self.read_pj is None:
            return None
        return {key: getattr(self, key) for key in _FIGURES}

    @property
    def size_bytes(self) -> int:
        """Size in bytes, rounded down."""
        return int(self.size_kib * 1024)


BufferName = Literal["weight", "io", "input", "output", "shared", "accumulator"]
OperandName = Literal["weight", "input", "output"]
_LAYOUTS: tuple[dict[OperandName, BufferName], ...] = (
    {"weight": "weight", "input": "io", "output": "io"},
    {"weight": "weight", "input": "input", "output": "output"},
    {"weight": "shared", "input": "shared", "output": "shared"},
)
SHARES = (4, 2, 6, 1, 7)
"""Eighths of a shared buffer that weights may have, in the order in which they are tried."""


class Buffers(Record):
    """One buffer for weights and one for inputs and outputs; or one an operand; or one for all.

    ``accumulator`` holds the partial sums of a systolic array at its edge, beside any of these.
    """

    meant: ClassVar[Mapping[str, str]] = {
        "ifmap": "'input', or 'io' of inputs and outputs",
        "ofmap": "'output', or 'io' of inputs and outputs",
        "activation": "'io', or 'input' and 'output'",
        "activations": "'io', or 'input' and 'output'",
        "filter": "'weight'",
        "global": "'shared'",
        "l2": "a section 'memories', which has any number of levels",
    }

    weight: Buffer | None = Field(default=None, description="buffer of weights")
    io: Buffer | None = Field(default=None, description="buffer of inputs and results")
    input: Buffer | None = Field(default=None, description="buffer of inputs alone")
    output: Buffer | None = Field(default=None, description="buffer of results alone")
    shared: Buffer | None = Field(default=None, description="one buffer for all operands")
    accumulator: Buffer | None = Field(
        default=None,
        description="partial sums of a systolic array at its edge, beside any of these",
    )

    @model_validator(mode="after")
    def _one_layout(self) -> Buffers:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        sums = given == {"accumulator"}
        given.discard("accumulator")
        if (given or sums) and not any(given == set(layout.values()) for layout in _LAYOUTS):
            known = ", or ".join(", ".join(dict.fromkeys(each.values())) for each in _LAYOUTS)
            raise ValueError(f"buffers are {', '.join(sorted(given)) or 'none'}; give {known}")
        return self

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return any(getattr(self, name) is not None for name in type(self).model_fields)

    @property
    def layout(self) -> dict[OperandName, BufferName]:
        """The buffer that holds each operand.

        Raises
        ------
        BitlatheError
            Of a chip that gives memories instead.
        """
        for each in _LAYOUTS:
            if getattr(self, each["weight"]) and getattr(self, each["input"]):
                return each
        raise BitlatheError(
            "the chip gives memories, not buffers, and this mapper fills whole buffers; use mapper "
            "'search'."
        )

    @property
    def names(self) -> tuple[BufferName, ...]:
        """The buffers that hold operands."""
        return tuple(dict.fromkeys(self.layout.values())) if self.given else ()

    @property
    def priced(self) -> tuple[BufferName, ...]:
        """All buffers of the chip, that of partial sums with them."""
        return (*self.names, "accumulator") if self.accumulator else self.names

    def named(self, name: BufferName) -> Buffer:
        """Return one of the chip's buffers."""
        found: Buffer = getattr(self, name)
        return found

    def of(self, operand: OperandName) -> Buffer:
        """Return the buffer that holds an operand."""
        return self.named(self.layout[operand])

    @property
    def capacity_splits(self) -> tuple[tuple[int, int], ...]:
        """Bytes for weights and for inputs: one split, or each that a shared buffer may have."""
        if self.shared is None:
            return ((self.of("weight").size_bytes, self.of("input").size_bytes),)
        size = self.shared.size_bytes
        return tuple((size * part // 8, size - size * part // 8) for part in SHARES)


DRAM_PAIRS = (("bits_per_clock", "gb_per_s"), ("latency_cycles", "latency_ns"))
"""Pairs of keys of which a chip gives one: in clocks, or in time, independent of the clock."""


RULE_BURST_BITS = 512
"""A burst of a chip that gives none, under rules: BL8 on 64 pins (JEDEC DDR4)."""


class Dram(Record):
    """The DRAM: how fast bits move and what they cost.

    The bandwidth is ``bits_per_clock`` or ``gb_per_s`` (10^9 bytes a second), the latency
    ``latency_cycles`` or ``latency_ns``. Energies are those of ``component``, or given here for
    both directions or for each. ``background_mw`` is drawn whether bits move or not (standby and
    refresh). ``refresh_fraction`` of the time it refreshes and moves nothing. ``size_gib`` is what
    it holds: runs on systems of chips say what does not fit. A transfer is whole bursts of
    ``burst_bits``; left out, of `RULE_BURST_BITS` under rules, and whole clocks under mappings.
    What else is left out is the component's.
    """

    meant: ClassVar[Mapping[str, str]] = {
        "type": "'component'",
        "kind": "'component'",
        "bandwidth": "'gb_per_s'",
        "bandwidth_gb_s": "'gb_per_s'",
        "bandwidth_gbps": "'gb_per_s'",
        "gbps": "'gb_per_s'",
        "latency": "'latency_ns'",
        "energy": "'energy_pj_per_bit'",
    }

    name: str = Field(default="dram", description="name in tables")
    bits_per_clock: Positive | None = Field(
        default=None, description="bandwidth by the chip's clock; or gb_per_s"
    )
    gb_per_s: Rate | None = Field(
        default=None, description="bandwidth in 10^9 bytes a second; or bits_per_clock"
    )
    component: DramPart = Field(
        default=None,
        description="row of arch/components/dram.yaml that prices it, or FILE.yaml#NAME",
    )
    energy_pj_per_bit: NonNegative | None = Field(
        default=None, description="energy of a bit either way, instead of the component's"
    )
    read_pj_per_bit: NonNegative | None = Field(default=None, description="energy of a bit read")
    write_pj_per_bit: NonNegative | None = Field(
        default=None, description="energy of a bit written"
    )
    latency_cycles: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="clocks until the first bit arrives; or latency_ns"
    )
    latency_ns: NonNegative | None = Field(
        default=None, description="time until the first bit arrives; or latency_cycles"
    )
    burst_bits: PositiveInt | None = Field(
        default=None,
        description="bits of a burst; left out: 512 under rules, whole clocks under mappings",
    )
    size_gib: Positive | None = Field(
        default=None, description="what it holds: systems of chips say what does not fit"
    )
    background_mw: NonNegative | None = Field(
        default=None, description="standby and refresh, drawn whether bits move or not"
    )
    refresh_fraction: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = Field(
        default=0.0, description="share of the time in which it refreshes and moves nothing"
    )

    @model_validator(mode="after")
    def _one_of_each_pair(self) -> Dram:
        for clocks, time in DRAM_PAIRS:
            if getattr(self, clocks) is not None and getattr(self, time) is not None:
                raise ValueError(f"give {clocks!r} or {time!r}, not both")
        if self.bits_per_clock is None and self.gb_per_s is None:
            raise ValueError("give 'bits_per_clock' or 'gb_per_s'")
        return self

    @model_validator(mode="after")
    def _has_energy(self) -> Dram:
        each = self.read_pj_per_bit is not None and self.write_pj_per_bit is not None
        if self.component is None and self.energy_pj_per_bit is None and not each:
            raise ValueError(
                "give 'component', or 'energy_pj_per_bit', or both 'read_pj_per_bit' and "
                "'write_pj_per_bit'"
            )
        if self.component is not None:
            dram_component(self.component)
        return self

    def _bit_pj(self, direction: Literal["read", "write"]) -> float:
        for given in (getattr(self, f"{direction}_pj_per_bit"), self.energy_pj_per_bit):
            if given is not None:
                return float(given)
        return dram_component(self.component or "").bit_pj(direction)

    @property
    def part(self) -> DramComponent | None:
        """The component, if one is named."""
        return None if self.component is None else dram_component(self.component)

    @property
    def read_bit_pj(self) -> float:
        """Energy of one bit read from DRAM."""
        return self._bit_pj("read")

    @property
    def write_bit_pj(self) -> float:
        """Energy of one bit written to DRAM."""
        return self._bit_pj("write")
