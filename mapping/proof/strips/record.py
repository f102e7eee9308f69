"""What a certificate of convolutions in strips says, read strictly, and their products."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from ..fused.record import Stored, Work, stored_of, work_of
from ..record import Layer, ProofError, Window, exact, extent, listed, short, take, truth, whole

SIZES = "channels outputs groups"
PAIRS = "size kernel stride dilation padding"


class Asked(NamedTuple):
    """The product of a strip: which layer, how many rows of its results.

    ``above``, ``below``: rows of the border among those from its first tap to its last.
    """

    layer: int
    rows: int
    above: int
    below: int


class Tiling(NamedTuple):
    """How a chain is cut, as docs/mapping.md says under Fused convolutions.

    ``rows``: of the last results in a strip; ``kept``: of what each layer reads, whether rows that
    two strips share stay; ``places``: of inputs and results; ``held``: whether filters stay.
    """

    rows: int
    kept: tuple[bool, ...]
    places: int
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv:
    """A convolution of a chain; pairs are of rows and columns.

    ``stored``: bits, clocks of a step, energy of a unit; ``work``: operations of the vector unit
    on each result and on each group of them that it quantizes; ``quantized``: groups by result.
    """

    channels: int
    outputs: int
    groups: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    stored: Stored
    work: Work
    quantized: Fraction

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
            return self._layer(("m", "n", "k"), (rows * wide, self.outputs, self.channels), ())
        high = (rows - 1) * self.stride[0] + self.reach(0)
        sizes = (1, self.outputs // self.groups, self.channels // self.groups)
        dims = ("m", "n", "c", "p", "q", "r", "s") + ("g",) * (self.groups > 1)
        every = (*sizes, rows, wide, *self.kernel) + (self.groups,) * (self.groups > 1)
        windows = (
            Window(3, 5, high - above - below, self.stride[0], self.dilation[0], above),
            Window(4, 6, self.size[1], self.stride[1], self.dilation[1], self.padding[1]),
        )
        return self._layer(dims, every, windows)

    def _layer(
        self, dims: tuple[str, ...], sizes: tuple[int, ...], windows: tuple[Window, ...]
    ) -> Layer:
        of = self.stored
        return Layer(
            dims=dims,
            sizes=sizes,
            windows=windows,
            stored=of.stored,
            code=of.code,
            partial=of.partial,
            step_cycles=of.step_cycles,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """Convolutions in a row, of so many images; ``added``: tensors that the last results take."""

    layers: tuple[Conv, ...]
    images: int
    added: int

    @property
    def rows(self) -> int:
        """Rows of the last results."""
        return self.layers[-1].made[0]


def chain_of(data: Any) -> Chain:
    """Return the chain of plain data.

    Raises
    ------
    ProofError
        It is something else.
    """
    layers, images, added = take(data, "chain", "layers images added")
    some = tuple(
        _conv(each, f"chain.layers[{i}]") for i, each in enumerate(listed(layers, "chain.layers"))
    )
    if len(some) < 2:
        raise ProofError("chain.layers has less than two convolutions, which are no chain.")
    for i, reader in enumerate(some[1:], 1):
        maker = some[i - 1]
        if (maker.outputs, maker.made) != (reader.channels, reader.size):
            raise ProofError(f"chain.layers[{i}] does not read what the one before it makes.")
    return Chain(
        layers=some, images=extent(images, "chain.images"), added=whole(added, "chain.added")
    )


def _conv(data: Any, where: str) -> Conv:
    channels, outputs, groups, *pairs, stored, work, quantized = take(
        data, where, f"{SIZES} {PAIRS} stored work quantized"
    )
    size, kernel, stride, dilation, padding = (
        _pair(each, f"{where}.{name}", 0 if name == "padding" else 1)
        for name, each in zip(PAIRS.split(), pairs, strict=True)
    )
    found = Conv(
        channels=extent(channels, f"{where}.channels"),
        outputs=extent(outputs, f"{where}.outputs"),
        groups=extent(groups, f"{where}.groups"),
        size=size,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        stored=stored_of(stored, f"{where}.stored"),
        work=work_of(work, f"{where}.work"),
        quantized=exact(quantized, f"{where}.quantized"),
    )
    if found.channels % found.groups or found.outputs % found.groups:
        raise ProofError(f"{where}: {found.groups} groups do not divide its channels and outputs.")
    if min(found.made) < 1:
        raise ProofError(f"{where} makes no results: its kernel is larger than its input.")
    return found


def _pair(data: Any, where: str, least: int) -> tuple[int, int]:
    if len(listed(data, where)) != 2:
        raise ProofError(f"{where} is {short(data)}; it must have rows and columns.")
    for each in data:
        if whole(each, where, least):
            extent(each, where)
    return data[0], data[1]


def tiling_of(data: Any, where: str, layers: int) -> Tiling:
    """Return the tiling of plain data.

    Raises
    ------
    ProofError
        It is none of a chain of so many layers.
    """
    rows, kept, places, held = take(data, where, " ".join(Tiling._fields))
    if len(listed(kept, f"{where}.kept")) != layers:
        raise ProofError(f"{where}.kept is {short(kept)}; it must have {layers} entries.")
    found = Tiling(
        whole(rows, f"{where}.rows", 1),
        tuple(truth(each, f"{where}.kept") for each in kept),
        whole(places, f"{where}.places", 1),
        truth(held, f"{where}.held"),
    )
    if found.places > 2:
        raise ProofError(f"{where}.places is {places}; there are 1 or 2.")
    return found


def asked_of(data: Any, where: str, layers: tuple[Conv, ...]) -> Asked:
    """Return the product of plain data.

    Raises
    ------
    ProofError
        It is none of a chain of these layers.
    """
    if len(listed(data, where)) != 4:
        raise ProofError(
            f"{where} is {short(data)}; it must have a layer, rows, and rows of the border above "
            "and below."
        )
    layer, rows, above, below = data
    if whole(layer, where) >= len(layers):
        raise ProofError(f"{where} is of layer {layer}; the chain has {len(layers)}.")
    conv = layers[layer]
    span = (extent(rows, where) - 1) * conv.stride[0] + conv.reach(0)
    if whole(above, where) + whole(below, where) > span:
        raise ProofError(f"{where} has {above + below} rows of the border; it spans {span} rows.")
    return Asked(layer, rows, above, below)
