"""The memory of a chip at clock resolution: DRAM transfers and double-buffered SRAM.

DRAM is one port shared by all operands, first come first served. A transfer occupies it for whole
bursts and whole clocks; its data are usable a latency after its last clock, and transfers follow
one another without waiting for the latency. A buffer is a ring of equal places: a place is asked
for again once what it held was last used.
"""

from dataclasses import dataclass
from fractions import Fraction

from ...arch.schema import Arch
from ...datatypes.base.errors import BitlatheError
from ...mapping.integers import ceil_div

PREFETCH_TRANSFERS = 8
"""Reads that may be under way or waiting in a buffer ahead of the tile that runs."""

OUTPUT_TILES = 8
"""Output tiles that may wait for DRAM before the array does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleOptions:
    """What the cycle rung counts, and how far it looks ahead.

    Attributes
    ----------
    memory : bool
        Time DRAM and SRAM ports. Without it every operand is there when asked for.
    pipeline : bool
        Count fill, drain, operand loads and pipeline latency of the array.
    rescale : bool
        Count the stalls of the group rescale unit.
    prefetch_transfers : int
        Reads ahead of the running tile, at least 2 (double buffering).
    output_tiles : int
        Output tiles waiting for DRAM, at least 2.
    bits_per_clock : int, optional
        DRAM bandwidth in place of the chip's.
    exposed_waits : bool
        Whether a wait for a transfer that was asked for while the array worked is allowed; the
        machine stops at the first one where not.
    fold : bool
        Recognise periodic steady states. Without it every tile is simulated; same figures.
    """

    memory: bool = True
    pipeline: bool = True
    rescale: bool = True
    prefetch_transfers: int = PREFETCH_TRANSFERS
    output_tiles: int = OUTPUT_TILES
    bits_per_clock: int | None = None
    exposed_waits: bool = True
    fold: bool = True

    def __post_init__(self) -> None:
        for name in ("prefetch_transfers", "output_tiles"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 2:
                raise BitlatheError(
                    f"{name} must be a whole number of at least 2 (double buffering), not {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class DramPort:
    """The one DRAM port."""

    bits_per_clock: Fraction
    latency_cycles: int
    burst_bits: int

    @classmethod
    def of(cls, arch: Arch, options: CycleOptions) -> "DramPort":
        """Return the port of a chip, or one of another bandwidth."""
        return cls(
            bits_per_clock=Fraction(options.bits_per_clock or arch.dram_bits_per_clock),
            latency_cycles=arch.dram_latency_cycles,
            burst_bits=arch.dram.burst_bits,
        )

    def transfer_cycles(self, size_bytes: int) -> int:
        """Return the clocks a transfer occupies the port: whole bursts, whole clocks."""
        bits = ceil_div(8 * size_bytes, self.burst_bits) * self.burst_bits
        return ceil_div(bits * self.bits_per_clock.denominator, self.bits_per_clock.numerator)


def ring_places(buffer_bytes: int, piece_bytes: int, most: int) -> int:
    """Return how many pieces a buffer holds at once: at least 1, at most ``most``."""
    return max(1, min(most, buffer_bytes // max(1, piece_bytes)))


def share(total: int, part: int, whole: int) -> int:
    """Return the bytes of a full block, rounded down; the last block takes what is left."""
    return total * part // whole
