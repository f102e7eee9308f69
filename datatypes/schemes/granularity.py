"""What shares a scale, and how that is written."""

import re
from dataclasses import dataclass

from ..base.numbers import ceil_div, whole_number

GRANULARITIES = ("tensor", "channel", "input", "gN (groups of N)", "bRxC (blocks)")
_LONGEST = 1 << 40
DIGITS = 10
_LENGTH = rf"[1-9]\d{{0,{DIGITS - 1}}}"
_NAMED = {(0, 0): "tensor", (1, 0): "channel", (0, 1): "input"}
_BY_NAME = {v: k for k, v in _NAMED.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Granularity:
    """What shares a scale: blocks of `rows` x `columns`; 0 means the whole extent.

    Rows run over output channels (every axis but the quantized one), columns along the quantized
    axis: a channel is 1 x 0, a group of n is 1 x n, an input channel 0 x 1, the tensor 0 x 0.
    """

    rows: int
    columns: int

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            whole_number(f"granularity: {name}", getattr(self, name), 0, _LONGEST)

    @classmethod
    def parse(cls, text: str) -> "Granularity | None":
        """Read a granularity as `str` writes it; None for any other text.

        Examples
        --------
        >>> Granularity.parse("b4x16")
        Granularity(rows=4, columns=16)
        """
        if text in _BY_NAME:
            rows, columns = _BY_NAME[text]
            return cls(rows=rows, columns=columns)
        if found := re.fullmatch(f"g({_LENGTH})", text):
            return cls(rows=1, columns=int(found[1]))
        if found := re.fullmatch(f"b({_LENGTH})x({_LENGTH})", text):
            return cls(rows=int(found[1]), columns=int(found[2]))
        return None

    def __str__(self) -> str:
        if (self.rows, self.columns) in _NAMED:
            return _NAMED[self.rows, self.columns]
        return f"g{self.columns}" if self.rows == 1 else f"b{self.rows}x{self.columns}"

    def blocks(self, rows: int, axis_length: int) -> tuple[int, int]:
        """Return how many blocks a rows x axis_length matrix has, the last ones may be short."""
        sizes = ((rows, self.rows or rows), (axis_length, self.columns or axis_length))
        down, across = (ceil_div(size, block) if block else 0 for size, block in sizes)
        return down, across
