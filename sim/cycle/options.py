"""What the cycle rung counts, and how far it looks ahead."""

from dataclasses import dataclass

from ...datatypes.base.numbers import whole_number

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
        Recognize periodic steady states. Without it every tile is simulated; same figures.
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
            given = whole_number(f"{name} (double buffering)", getattr(self, name), 2)
            object.__setattr__(self, name, given)
