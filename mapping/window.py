"""Windows: outputs and taps that slide over one dimension of a convolution's input.

Output ``p`` and tap ``r`` read the pixel ``p * stride + r * dilation - padding``. Outside 0 to
``size - 1`` lies the border, which no memory stores. What a block of outputs and taps has of the
input are the pixels that it reads, each once: where taps leave no gaps, those are
``(outputs - 1) * stride + (taps - 1) * dilation + 1`` side by side, but for the border.

Sets of pixels are integers: bit ``x`` stands for the pixel ``x`` after the first of the block.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple


class Clip(NamedTuple):
    """How many of a block's pixels, counted from its first and from its last, are border."""

    below: int
    above: int


INSIDE = Clip(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Two dimensions that together index one of the input.

    Attributes
    ----------
    out, tap : str
        Dimensions of the outputs, and of the kernel's taps.
    size : int
        Stored pixels.
    stride, dilation, padding : int
        Pixels from output to output, and from tap to tap; border pixels ahead of the first.
    """

    out: str
    tap: str
    size: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0

    def bordered(self, outputs: int, taps: int) -> "Window":
        """Return the window of a layer whose border is stored."""
        return replace(self, size=self.span(outputs, taps), padding=0)

    def low(self, out: int, tap: int) -> int:
        """Return the pixel of an output and a tap; negative, or ``size`` or more, in the border."""
        return out * self.stride + tap * self.dilation - self.padding

    def span(self, outputs: int, taps: int) -> int:
        """Return the pixels from the first to the last of a block, gaps and border included.

        Examples
        --------
        >>> Window(out="p", tap="r", size=9, stride=2).span(3, 2)
        6
        """
        return (outputs - 1) * self.stride + (taps - 1) * self.dilation + 1

    def clip(self, low: int, outputs: int, taps: int) -> Clip:
        """Return what lies in the border of a block whose first pixel is ``low``."""
        high = low + self.span(outputs, taps)
        return Clip(max(0, -low), max(0, high - self.size))

    def pixels(self, outputs: Iterable[int], taps: Iterable[int]) -> int:
        """Return the set of pixels that outputs and taps of a block read, border included."""
        row = found = 0
        for out in outputs:
            row |= 1 << out * self.stride
        for tap in taps:
            found |= row << tap * self.dilation
        return found

    def touched(self, outputs: int, taps: int) -> int:
        """Return how many stored pixels all outputs and taps read.

        Examples
        --------
        >>> Window(out="p", tap="r", size=7, stride=2, padding=1).touched(4, 3)
        7
        """
        clip = self.clip(self.low(0, 0), outputs, taps)
        pixels = self.pixels(range(outputs), range(taps))
        return stored(pixels, clip, self.span(outputs, taps)).bit_count()


def stored(pixels: int, clip: Clip, span: int) -> int:
    """Return a set of pixels without the border: bits ``below`` to ``span - above - 1``."""
    inside = span - clip.below - clip.above
    return pixels >> clip.below & ((1 << inside) - 1) if inside > 0 else 0
