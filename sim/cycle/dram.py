"""The DRAM port at clock resolution.

DRAM is one port shared by all operands, first come first served. A transfer occupies it for whole
bursts and whole clocks; its data are usable a latency after its last clock, and transfers follow
one another without waiting for the latency.
"""

from dataclasses import dataclass
from fractions import Fraction

from ...arch.memories import RULE_BURST_BITS
from ...datatypes.base.numbers import ceil_div
from ..chip import Chip
from .options import CycleOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class DramPort:
    """The one DRAM port."""

    bits_per_clock: Fraction
    latency_cycles: int
    burst_bits: int

    @classmethod
    def of(cls, chip: Chip, options: CycleOptions) -> "DramPort":
        """Return the port of a chip, or one of another bandwidth."""
        return cls(
            bits_per_clock=Fraction(options.bits_per_clock or chip.dram_bits_per_clock),
            latency_cycles=chip.arch.dram_latency_cycles,
            burst_bits=chip.arch.dram.burst_bits or RULE_BURST_BITS,
        )

    def transfer_cycles(self, size_bytes: int) -> int:
        """Return the clocks a transfer occupies the port: whole bursts, whole clocks."""
        bits = ceil_div(8 * size_bytes, self.burst_bits) * self.burst_bits
        return ceil_div(bits * self.bits_per_clock.denominator, self.bits_per_clock.numerator)
