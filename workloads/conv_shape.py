"""The sizes of a convolution."""

from dataclasses import dataclass

from ..datatypes.base.errors import BitlatheError
from .sizes import check_size

_LARGEST_KERNEL = 2**16  # taps are counted one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvShape:
    """The sizes of one two-dimensional convolution; pairs are (height, width).

    Attributes
    ----------
    in_channels, out_channels : int
        Channels; both multiples of ``groups``.
    size : tuple of int
        Height and width of the input.
    kernel, stride, padding, dilation : tuple of int
        The filter; padding is added on both sides.
    groups : int
        1 for a full convolution, ``in_channels`` for a depthwise one.
    """

    in_channels: int
    out_channels: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for field in ("in_channels", "out_channels", "groups"):
            check_size(field, getattr(self, field))
        for field in ("size", "kernel", "stride", "dilation", "padding"):
            pair = getattr(self, field)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise BitlatheError(f"{field} is {pair!r}; it must be a pair (height, width).")
            for value in pair:
                check_size(field, value, least=0 if field == "padding" else 1)
        for field in ("in_channels", "out_channels"):
            if getattr(self, field) % self.groups:
                raise BitlatheError(
                    f"{field} is {getattr(self, field)}, which {self.groups} groups do not divide."
                )
        if min(self.output_size) < 1:
            raise BitlatheError(
                f"the filter of {self.kernel} with dilation {self.dilation} is larger than the "
                f"padded input of {self.size} with padding {self.padding}."
            )
        if max(self.kernel) > _LARGEST_KERNEL:
            raise BitlatheError(f"kernel is {self.kernel}; at most {_LARGEST_KERNEL} is supported.")
        if min(self.touched_size) < 1:
            raise BitlatheError(
                f"the filter of {self.kernel} with stride {self.stride} reads nothing but the "
                f"padding of {self.padding} around the input of {self.size}."
            )

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the result: floor((H + 2P - D*(F-1) - 1)/S) + 1."""
        high, wide = (
            (self.size[i] + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in (0, 1)
        )
        return high, wide

    @property
    def touched_size(self) -> tuple[int, int]:
        """Rows and columns of the input that the filter reads somewhere, padding left out."""
        high, wide = (self._touched(axis) for axis in (0, 1))
        return high, wide

    def _touched(self, axis: int) -> int:
        """Count the positions of one axis that some output reads.

        Tap f of output o reads position o*S + f*D - P. Taps whose first position leaves the same
        rest r when divided by S read positions q*S + r, each for as many consecutive q as there
        are outputs: intervals of q, by rising start, of which the union is counted.
        """
        size, stride, outputs = self.size[axis], self.stride[axis], self.output_size[axis]
        count, counted_to = 0, dict[int, int]()
        for tap in range(self.kernel[axis]):
            first, rest = divmod(tap * self.dilation[axis] - self.padding[axis], stride)
            start = max(first, counted_to.get(rest, 0))
            end = min(first + outputs, (size - 1 - rest) // stride + 1)
            if end > start:
                count += end - start
                counted_to[rest] = end
        return count
