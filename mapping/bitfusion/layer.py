"""Layers as the BitFusion lineage has them: square convolutions, or products of one pixel."""

from dataclasses import dataclass

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import whole_number
from ...workloads.sizes import check_size

BITS_MOST = 16
_SIZES = ("images", "output_size", "stride", "kernel", "in_channels", "out_channels")


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareLayer:
    """A convolution whose output is square; a matrix product has kernel and output of 1.

    Attributes
    ----------
    name : str
        What errors call it.
    kernel, output_size, stride : int
        Both sides of each.
    kernel_width : int, optional
        Of a kernel that is not square, whose height ``kernel`` then is.
    in_channels, out_channels : int
        Of one group.
    images : int
        The batch; of a matrix product its rows.
    input_bits, weight_bits : int
        Bits of an element.
    im2col : bool
        Whether pixels of the kernel lie side by side along K, as rules with ``im2col: first`` lay
        the first layer of a network; else the array takes one tap of the kernel after the other.

    Raises
    ------
    BitlatheError
        A size that is not a whole number of at least 1, bits beyond 1..16.
    """

    name: str
    kernel: int = 1
    output_size: int = 1
    stride: int = 1
    kernel_width: int | None = None
    in_channels: int
    out_channels: int
    images: int = 1
    input_bits: int
    weight_bits: int
    im2col: bool = False

    def __post_init__(self) -> None:
        for key in _SIZES:
            check_size(f"layer {self.name!r}: {key}", getattr(self, key))
        if self.kernel_width is not None:
            check_size(f"layer {self.name!r}: kernel_width", self.kernel_width)
        for key in ("input_bits", "weight_bits"):
            whole_number(f"layer {self.name!r}: {key}", getattr(self, key), 1, BITS_MOST)
        if self.macs >= 2**50:
            raise BitlatheError(
                f"layer {self.name!r}: {self.macs:,} products, beyond the 2^50 whose bits 64-bit "
                "counters hold; use smaller sizes."
            )

    @property
    def macs(self) -> int:
        """Products of the layer."""
        high, wide = self.sides
        return self.images * self.output_size**2 * high * wide * self.channels

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.kernel, self.kernel if self.kernel_width is None else self.kernel_width

    @property
    def channels(self) -> int:
        """Pairs of an input and an output channel."""
        return self.in_channels * self.out_channels
