"""What a certificate of convolutions in strips says, read strictly, and their products."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, NamedTuple

from ..fused.record import Priced, Work6
from ..record import LARGEST_SIZE, Count, Extent, Layer, Window

Pair = tuple[Extent, Extent]
Border = Annotated[int, 0, LARGEST_SIZE]


class Asked(NamedTuple):
    """The product of a strip: which layer, how many rows of its results.

    ``above``, ``below``: rows of the border among those from its first tap to its last.
    """

    layer: int
    rows: Count
    above: int
    below: int


class Tiling(NamedTuple):
    """How a chain is cut, as docs/mapping.md says under Fused convolutions.

    ``rows``: of the last results in a strip; ``kept``: of what each layer reads, whether rows that
    two strips share stay; ``places``: of inputs and results; ``held``: whether filters stay.
    """

    rows: Count
    kept: tuple[bool, ...]
    places: Annotated[int, 1, 2]
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv:
    """A convolution of a chain; pairs are of rows and columns.

    ``stored``: bits, clocks of a step, energy of a unit; ``work``: operations of the vector unit
    on each result and on each group of them that it quantizes; ``quantized``: groups by result.
    """

    channels: Extent
    outputs: Extent
    groups: Extent
    size: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[Border, Border]
    stored: Priced
    work: Work6
    quantized: Fraction

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        if self.channels % self.groups or self.outputs % self.groups:
            return f": {self.groups} groups do not divide its channels and outputs."
        return " makes no results: its kernel is larger." if min(self.made) < 1 else None

    @property
    def made(self) -> tuple[int, int]:
        """Rows and columns of its results."""
        high, wide = (
            (self.size[i] + 2 * self.padding[i] - self.reach(i)) // self.stride[i] + 1
            for i in (0, 1)
        )
        return high, wide

    def reach(self, i: int) -> int:
        """Return rows, or columns, from the first tap of an output to its last."""
        return (self.kernel[i] - 1) * self.dilation[i] + 1

    @property
    def row_inputs(self) -> int:
        """Elements of a row of its inputs."""
        return self.channels * self.size[1]

    @property
    def row_results(self) -> int:
        """Elements of a row of its results."""
        return self.outputs * self.made[1]

    @property
    def weights(self) -> int:
        """Elements of its filters."""
        return self.outputs * (self.channels // self.groups) * self.kernel[0] * self.kernel[1]

    def read(self, low: int, high: int) -> tuple[int, int]:
        """Return the rows that rows ``low`` to ``high - 1`` of results read, gaps included."""
        if low >= high:
            return 0, 0
        first = max(low * self.stride[0] - self.padding[0], 0)
        last = (high - 1) * self.stride[0] - self.padding[0] + self.reach(0)
        last = min(last, self.size[0])
        return (first, last) if first < last else (0, 0)

    def border(self, low: int, high: int) -> tuple[int, int]:
        """Return the rows outside its input, above and below, that rows of results span."""
        first = low * self.stride[0] - self.padding[0]
        after = (high - 1) * self.stride[0] - self.padding[0] + self.reach(0)
        every = range(first, after)
        return sum(row < 0 for row in every), sum(row >= self.size[0] for row in every)

    def layer(self, rows: int, above: int, below: int) -> Layer:
        """Return the product of some rows of results: one of pixels where there is one tap.

        Of the rows that they span so many are border.
        """
        wide = self.made[1]
        if self.kernel == self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1:
            product = rows * wide, self.outputs, self.channels
            return Layer(dims=("m", "n", "k"), sizes=product, windows=(), of=self.stored)
        high = (rows - 1) * self.stride[0] + self.reach(0)
        sizes = (1, self.outputs // self.groups, self.channels // self.groups)
        dims = ("m", "n", "c", "p", "q", "r", "s") + ("g",) * (self.groups > 1)
        every = (*sizes, rows, wide, *self.kernel) + (self.groups,) * (self.groups > 1)
        windows = (
            Window(3, 5, high - above - below, self.stride[0], self.dilation[0], above),
            Window(4, 6, self.size[1], self.stride[1], self.dilation[1], self.padding[1]),
        )
        return Layer(dims=dims, sizes=every, windows=windows, of=self.stored)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """Convolutions in a row, of so many images; ``added``: tensors that the last results take."""

    layers: tuple[Conv, ...]
    images: Extent
    added: int

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        if len(self.layers) < 2:
            return ".layers has less than two convolutions, which are no chain."
        for i, (maker, reader) in enumerate(pairwise(self.layers), 1):
            if (maker.outputs, maker.made) != (reader.channels, reader.size):
                return f".layers[{i}] does not read what the one before it makes."
        return None

    @property
    def rows(self) -> int:
        """Rows of the last results."""
        return self.layers[-1].made[0]
