"""Chains of convolutions, cut into strips: rows of the last results, and what those need.

Strips run one after another, from the top of each image. Of a strip each layer makes the rows that
the next one reads and that are not there; what it makes never leaves the chip. Rows that two strips
read, the halo, are kept until the second has read them, or made (or fetched) again, map by map.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import whole_number
from ...workloads.conv_shape import ConvShape
from ...workloads.sizes import check_size
from ...workloads.vector_step import Operation
from ..operands import OperandBits
from .near import NearChip
from .tiling import Need, overfull

NOTHING = Operation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution of a chain.

    Attributes
    ----------
    shape : ConvShape
    bits : OperandBits
        Stored bits of its operands, the clocks of its steps.
    unit_pj : float or None
        Energy of a unit of the array in a clock of a step; None: the chip's.
    work : Operation
        What the vector unit does with each result, as it comes out of the array, and with each
        group of them that it quantizes.
    groups : Fraction
        Such groups, by result; 0 where it quantizes none.
    """

    shape: ConvShape
    bits: OperandBits
    unit_pj: float | None = None
    work: Operation = NOTHING
    groups: Fraction = Fraction(0)

    @property
    def row_inputs(self) -> int:
        """Elements of a row of all its input channels."""
        return self.shape.in_channels * self.shape.size[1]

    @property
    def row_results(self) -> int:
        """Results of a row, in all channels."""
        return self.shape.out_channels * self.shape.output_size[1]

    @property
    def weights(self) -> int:
        """Elements of its filters."""
        high, wide = self.shape.kernel
        return self.shape.out_channels * self.shape.in_channels // self.shape.groups * high * wide

    @property
    def reach(self) -> int:
        """Rows from the first tap of an output to the last."""
        return (self.shape.kernel[0] - 1) * self.shape.dilation[0] + 1

    def read(self, first: int, last: int) -> tuple[int, int]:
        """Return the rows of its input from the first tap of some outputs up to the last.

        Rows of the border are left out, rows that a stride goes past are not.

        Parameters
        ----------
        first, last : int
            Rows of outputs ``first`` to ``last - 1``; none: nothing is read.
        """
        if last <= first:
            return 0, 0
        shape = self.shape
        low = first * shape.stride[0] - shape.padding[0]
        high = (last - 1) * shape.stride[0] - shape.padding[0] + self.reach
        low, high = max(low, 0), min(high, shape.size[0])
        return (low, high) if low < high else (0, 0)

    def border(self, first: int, last: int) -> tuple[int, int]:
        """Return the rows above its input, and below, among those that outputs' taps span.

        Parameters
        ----------
        first, last : int
            Rows of outputs ``first`` to ``last - 1``, one at least.
        """
        low = first * self.shape.stride[0] - self.shape.padding[0]
        high = (last - 1) * self.shape.stride[0] - self.shape.padding[0] + self.reach
        span = high - low
        return min(span, max(0, -low)), min(span, max(0, high - self.shape.size[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvChain:
    """Convolutions of which each reads the results of the one before, and nothing else does.

    Attributes
    ----------
    layers : tuple of Conv
        Two or more.
    images : int
        One after another.
    added : int
        Tensors as large as the last results, stored like them, that the last layer's steps read
        from the outermost memory: of a residual sum.
    """

    layers: tuple[Conv, ...]
    images: int = 1
    added: int = 0

    def __post_init__(self) -> None:
        check_size("chain: images", self.images)
        if len(self.layers) < 2:
            raise BitlatheError("chain: one convolution is no chain; give two or more.")
        for maker, reader in zip(self.layers, self.layers[1:], strict=False):
            made = maker.shape.out_channels, *maker.shape.output_size
            read = reader.shape.in_channels, *reader.shape.size
            if made != read:
                raise BitlatheError(
                    f"chain: a convolution makes {made} (channels, rows, columns) and the next "
                    f"reads {read}; they must be equal."
                )

    @property
    def rows(self) -> int:
        """Rows of the last results."""
        return self.layers[-1].shape.output_size[0]

    def halo(self, i: int) -> bool:
        """Return whether strips share rows of what layer ``i`` reads."""
        return self.layers[i].reach > self.layers[i].shape.stride[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StripTiling:
    """How a chain of convolutions is cut, and what lies where.

    Attributes
    ----------
    rows : int
        Of the last results in a strip; the last strip may be short.
    kept : tuple of bool
        Of what each layer reads, the chain's inputs first: whether the halo stays for the next
        strip; else its rows are made, or fetched, again.
    places : int
        1, or 2 where the next strip's inputs come while one is worked on, and results leave while
        the next are made; of filters that are not held the next layer's have a place of their own.
    held : bool
        Whether all filters stay from the first strip to the last; else each layer's come with
        every strip.
    """

    rows: int
    kept: tuple[bool, ...]
    places: int = 1
    held: bool = True

    def __post_init__(self) -> None:
        whole_number("strips: rows", self.rows, 1, None)
        whole_number("strips: places", self.places, 1, 2)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "kept": list(self.kept)}


class Strip(NamedTuple):
    """What a strip asks for, in rows.

    Attributes
    ----------
    loaded : int
        Of the chain's inputs, fetched.
    there : tuple of int
        Of what each layer reads: all that is there while the layer works.
    made : tuple of int
        Of what each layer makes.
    border : tuple of (int, int)
        Of the border that each layer reads, above its input and below.
    """

    loaded: int
    there: tuple[int, ...]
    made: tuple[int, ...]
    border: tuple[tuple[int, int], ...]


def strips(chain: ConvChain, tiling: StripTiling) -> list[Strip]:
    """Return the strips of an image, from top to bottom.

    Parameters
    ----------
    chain : ConvChain
    tiling : StripTiling
    """
    found, many = list[Strip](), len(chain.layers)
    known = [0] * many  # rows of what each layer reads that were there
    for top in range(0, chain.rows, tiling.rows):
        low, high = top, min(top + tiling.rows, chain.rows)
        there, made, border = [0] * many, [0] * many, [(0, 0)] * many
        for i in range(many - 1, -1, -1):
            made[i] = max(0, high - low)
            if made[i]:
                border[i] = chain.layers[i].border(low, high)
            low, high = chain.layers[i].read(low, high)
            there[i] = high - low
            if tiling.kept[i]:
                low = max(low, known[i])
                known[i] = max(known[i], high)
        found.append(Strip(max(0, high - low), tuple(there), tuple(made), tuple(border)))
    return found


def needs(
    chain: ConvChain, tiling: StripTiling, some: list[Strip], spilling: frozenset[int] = frozenset()
) -> Iterator[Need]:
    """Yield the tiles that lie in the near memories.

    Parameters
    ----------
    chain : ConvChain
    tiling : StripTiling
    some : list of Strip
        Its strips.
    spilling : frozenset of int
        Layers of which the near memory has sums before they are finished.
    """
    first, last, places = chain.layers[0], chain.layers[-1], tiling.places
    rows = max(strip.there[0] for strip in some)
    if tiling.kept[0] and places == 2:
        ends = [*some[1:], *some[:1]] if chain.images > 1 else some[1:]
        rows = max((a.there[0] + b.loaded for a, b in zip(some, ends, strict=False)), default=rows)
        places_of_inputs = 1
    else:
        places_of_inputs = places
    yield Need("input", "inputs", rows * first.row_inputs, first.bits.input, places_of_inputs)
    for i, (maker, reader) in enumerate(zip(chain.layers, chain.layers[1:], strict=False)):
        bits = max(Fraction(maker.bits.output), Fraction(reader.bits.input))
        bits = max(bits, Fraction(maker.bits.partial)) if i in spilling else bits
        high = max(strip.there[i + 1] for strip in some)
        yield Need("output", f"map {i + 1}", high * reader.row_inputs, bits, 1)
    elements = min(tiling.rows, chain.rows) * last.row_results
    bits = Fraction(last.bits.output)
    widest = max(bits, Fraction(last.bits.partial))
    spills = len(chain.layers) - 1 in spilling
    yield Need("output", "results", elements, widest if spills else bits, places)
    if chain.added:
        yield Need("input", "added results", chain.added * elements, bits, places)
    if tiling.held:
        for i, layer in enumerate(chain.layers):
            yield Need("weight", f"weights {i + 1}", layer.weights, layer.bits.weight, 1)
        return
    largest = max(chain.layers, key=lambda layer: layer.weights * layer.bits.weight)
    yield Need("weight", "weights", largest.weights, largest.bits.weight, places)


def problem(
    chain: ConvChain,
    tiling: StripTiling,
    near: NearChip,
    spilling: frozenset[int] = frozenset(),
) -> str | None:
    """Return what keeps strips from running on a chip, in a sentence; None if nothing does.

    Parameters
    ----------
    chain : ConvChain
    tiling : StripTiling
    near : NearChip
    spilling : frozenset of int
        As of `needs`.
    """
    shared = near.memory("input")
    if shared is not near.memory("output"):
        return (
            f"inputs wait in {shared.name!r} and results in {near.memory('output').name!r}, and "
            "what one convolution leaves the next must find in one memory."
        )
    if tiling.places == 2 and not shared.double_buffered:
        return f"memory {shared.name!r} is not double-buffered; it holds one tile of inputs."
    some = strips(chain, tiling)
    return overfull(needs(chain, tiling, some, spilling), near, f"strips of {tiling.rows} rows")
