"""The memories of a chip's schema: buffers on the chip, and the DRAM beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..datatypes.yamlfile import Record
from .components import DramComponent, dram_component
from .fields import NonNegative, Positive, PositiveInt, SizeKiB


class Buffer(Record):
    """An on-chip buffer of equal SRAM banks that are accessed together.

    ``double_buffered``: the next piece comes in beside the one in use; without it a piece has the
    whole buffer, and the next waits until the array is done with it. ``ports``: 2 reads and writes
    at once; 1 does one of them a clock.
    """

    size_kib: SizeKiB
    banks: PositiveInt = 8
    component: str = "cacti7_hp"
    port_bits: PositiveInt | Literal["auto"] = "auto"
    double_buffered: bool = True
    ports: Literal[1, 2] = 2

    @property
    def size_bytes(self) -> int:
        """Size in bytes, rounded down."""
        return int(self.size_kib * 1024)


BufferName = Literal["weight", "io", "input", "output", "shared"]
OperandName = Literal["weight", "input", "output"]
_LAYOUTS: tuple[dict[OperandName, BufferName], ...] = (
    {"weight": "weight", "input": "io", "output": "io"},
    {"weight": "weight", "input": "input", "output": "output"},
    {"weight": "shared", "input": "shared", "output": "shared"},
)
SHARES = (4, 2, 6, 1, 7)
"""Eighths of a shared buffer that weights may have, in the order in which they are tried."""


class Buffers(Record):
    """One buffer for weights and one for inputs and outputs; or one an operand; or one for all."""

    weight: Buffer | None = None
    io: Buffer | None = None
    input: Buffer | None = None
    output: Buffer | None = None
    shared: Buffer | None = None

    @model_validator(mode="after")
    def _one_layout(self) -> Buffers:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if not any(given == set(layout.values()) for layout in _LAYOUTS):
            known = ", or ".join(", ".join(dict.fromkeys(each.values())) for each in _LAYOUTS)
            raise ValueError(f"buffers are {', '.join(sorted(given)) or 'none'}; give {known}")
        return self

    @property
    def layout(self) -> dict[OperandName, BufferName]:
        """The buffer that holds each operand."""
        return next(
            each
            for each in _LAYOUTS
            if getattr(self, each["weight"]) and getattr(self, each["input"])
        )

    @property
    def names(self) -> tuple[BufferName, ...]:
        """The buffers of the chip."""
        return tuple(dict.fromkeys(self.layout.values()))

    def named(self, name: BufferName) -> Buffer:
        """Return one of the chip's buffers."""
        found: Buffer = getattr(self, name)
        return found

    def of(self, operand: OperandName) -> Buffer:
        """Return the buffer that holds an operand."""
        return self.named(self.layout[operand])

    @property
    def rooms_bytes(self) -> tuple[tuple[int, int], ...]:
        """Bytes that weights and inputs may have: one choice, or the shares of a shared buffer."""
        if self.shared is None:
            return ((self.of("weight").size_bytes, self.of("input").size_bytes),)
        size = self.shared.size_bytes
        return tuple((size * part // 8, size - size * part // 8) for part in SHARES)


DRAM_PAIRS = (("bits_per_clock", "gb_per_s"), ("latency_cycles", "latency_ns"))
"""Keys of which a chip gives one: by clocks, or by time, which holds whatever the clock."""


class Dram(Record):
    """The DRAM: how fast bits move and what they cost.

    The bandwidth is ``bits_per_clock`` or ``gb_per_s`` (10^9 bytes a second), the latency
    ``latency_cycles`` or ``latency_ns``. Energies are those of ``component``, or given here for
    both directions or for each. ``background_mw`` is drawn whether bits move or not (refresh, idle
    interface).
    """

    bits_per_clock: Positive | None = None
    gb_per_s: Positive | None = None
    component: str | None = None
    energy_pj_per_bit: NonNegative | None = None
    read_pj_per_bit: NonNegative | None = None
    write_pj_per_bit: NonNegative | None = None
    latency_cycles: Annotated[int, Field(ge=0)] | None = None
    latency_ns: NonNegative | None = None
    burst_bits: PositiveInt = 512
    background_mw: NonNegative = 0.0

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
        part: DramComponent = dram_component(self.component or "")
        return part.bit_pj(direction)

    @property
    def read_bit_pj(self) -> float:
        """Energy of one bit read from DRAM."""
        return self._bit_pj("read")

    @property
    def write_bit_pj(self) -> float:
        """Energy of one bit written to DRAM."""
        return self._bit_pj("write")
