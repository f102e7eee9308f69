"""Quantised tensors: codes, scales, zero points and choices, and what can be asked of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.dtypes import float_name, numpy_float
from ..coding.scaling import bits_to_float
from ..schemes.layout import Layout
from ..schemes.scheme import Scheme
from .dequantize import group_scales, values_of
from .packing import pack, packed_size

if TYPE_CHECKING:
    from ..terms.statistics import TermStatistics


def stream_sizes(scheme: Scheme, layout: Layout) -> dict[str, tuple[int, int]]:
    """Return the streams a tensor is stored in: bits of an item, and how many items."""
    scale = scheme.scale_format
    outer = {"none": 0, "row": layout.down, "tensor": min(layout.groups, 1)}[scale.outer]
    sizes = {
        "codes": (scheme.element_bits, layout.rows * layout.columns),
        "scales": (scale.bits, layout.groups * scheme.scales_per_group),
        "outer": (scale.outer_bits, outer),
        "zeros": (scheme.zero_bits, layout.groups),
        "choices": (scheme.selector_bits, layout.groups),
    }
    return {name: (bits, count) for name, (bits, count) in sizes.items() if bits}


def stored_bytes(scheme: Scheme, layout: Layout) -> int:
    """Return the bytes of the packed streams; each ends on a whole byte."""
    return sum(packed_size(count, bits) for bits, count in stream_sizes(scheme, layout).values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedTensor:
    """A tensor in a scheme. Made by `quantize`; read back from a file by `load`.

    Attributes
    ----------
    scheme : Scheme
    layout : Layout
        How the tensor is cut into groups.
    matrix : (rows, columns) unsigned
        The codes, the quantised axis last.
    raw : (groups, n) uint32
        Bit patterns of the stored scales; n is 1 except for sums of signed scales.
    outer : (k,) uint32
        Bit patterns of the second-level scales.
    zero_points, selectors : (groups,) uint8 or None
    dtype : str
        Of the tensor that was quantised.
    device : str or None
        Torch device it came from; None for numpy.
    """

    scheme: Scheme
    layout: Layout
    matrix: NDArray[Any]
    raw: NDArray[np.uint32]
    outer: NDArray[np.uint32]
    zero_points: NDArray[np.uint8] | None = None
    selectors: NDArray[np.uint8] | None = None
    dtype: str = "float32"
    device: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.layout.shape

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The quantised axis; a tuple where several are quantised as one."""
        first, count = self.layout.axis, self.layout.axes
        return first if count == 1 else tuple(range(first, first + count))

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.layout.rows * self.layout.columns

    @property
    def codes(self) -> NDArray[Any]:
        """Codes in the shape of the tensor."""
        return self.layout.tensor(self.matrix)

    @property
    def scales(self) -> NDArray[np.floating[Any]]:
        """Scales as used, one per group, all levels multiplied.

        Shape: the other axes of the tensor, then the groups of a row; (blocks down, blocks
        across) where blocks span rows. Sums of signed scales have one more axis, the bit plane.
        """
        return self._by_group(group_scales(self))

    @property
    def zeros(self) -> NDArray[np.uint8] | None:
        """Zero points, shaped as `scales`; None if the scheme has none."""
        return None if self.zero_points is None else self._by_group(self.zero_points)

    @property
    def choices(self) -> NDArray[np.uint8] | None:
        """Member of the mixture each group took, shaped as `scales`; None without a mixture."""
        return None if self.selectors is None else self._by_group(self.selectors)

    @property
    def outer_scales(self) -> NDArray[np.float32]:
        """Second-level scales: of each row, or of the tensor; empty if there are none.

        For integer group scales this is the largest scale of the row, which the integer
        ``2**bits - 1`` stands for (for dual grain, the step of one).
        """
        if self.scheme.scale_format.outer == "tensor":
            return self.outer.view(np.float32)
        return bits_to_float(self.outer, "fp16")

    @property
    def total_bits(self) -> int:
        """Stored bits, everything counted."""
        return self.scheme.total_bits(self.layout.columns, self.layout.rows)

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element, everything counted."""
        return float(self.scheme.bits_per_element(self.layout.columns, self.layout.rows))

    @property
    def packed(self) -> dict[str, NDArray[np.uint8]]:
        """The streams that would be stored, each packed to the last bit.

        Keys among ``codes``, ``scales``, ``outer``, ``zeros``, ``choices``.
        """
        parts: dict[str, Any] = {
            "codes": self.matrix,
            "scales": self.raw,
            "outer": self.outer,
            "zeros": self.zero_points,
            "choices": self.selectors,
        }
        sizes = stream_sizes(self.scheme, self.layout)
        return {name: pack(parts[name], bits) for name, (bits, _) in sizes.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the packed streams; each stream ends on a whole byte."""
        return stored_bytes(self.scheme, self.layout)

    def dequantize(self, dtype: Any = None) -> Any:
        """Return the values the codes stand for.

        Parameters
        ----------
        dtype : str, numpy or torch dtype, optional
            float16, bfloat16, float32 or float64. float32 by default, float64 for a float64
            tensor; a torch tensor comes back as torch, in its own dtype and on its own device.
            What lies beyond its largest number becomes infinity.

        Returns
        -------
        array (or torch tensor) of the tensor's shape

        Raises
        ------
        BitlatheError
            For any other dtype, or bfloat16 in numpy without the ml_dtypes package.
        """
        name = None if dtype is None else float_name(dtype)
        if self.device is None:
            return values_of(self, numpy_float(name or self._work))
        from ..base.torch_bridge import to_torch

        name = name or self.dtype
        # torch rounds float32 to bfloat16 itself
        work = self._work if dtype is None else "float32" if name == "bfloat16" else name
        return to_torch(values_of(self, np.dtype(work)), name, self.device)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values the codes stand for: ``np.asarray(q)``, ``q @ x`` and the like.

        Raises
        ------
        ValueError
            If asked not to copy: the values are worked out anew.
        """
        if copy is False:
            raise ValueError("the values of a quantised tensor are worked out anew: no copy=False")
        return values_of(self, numpy_float(self._work)).astype(dtype or self._work, copy=False)

    def terms(self) -> "TermStatistics":
        """Return statistics of the bit-serial terms of the tensor's codes.

        Raises
        ------
        BitlatheError
            For sums of signed scales, whose products are shifts by design.
        """
        from .statistics import statistics

        return statistics(self)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "QuantizedTensor":
        """Return rows of the first axis: ``q[3]``, ``q[10:20]``, ``q[::2]``, ``q[[0, 5]]``.

        Raises
        ------
        BitlatheError
            If the first axis is the quantised one, or a block of several rows would be cut.
        """
        from .slicing import rows_of

        return rows_of(self, rows)

    def __iter__(self) -> Iterator["QuantizedTensor"]:
        return (self[row] for row in range(len(self)))

    def save(self, path: str | Path) -> None:
        """Write the packed streams to a safetensors file; nothing is pickled."""
        from .store import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "QuantizedTensor":
        """Read a tensor that `save` wrote."""
        from .store import load

        return load(path)

    @property
    def _work(self) -> str:
        """The dtype in which values are worked out."""
        return "float64" if self.dtype == "float64" else "float32"

    def __repr__(self) -> str:
        return (
            f"QuantizedTensor('{self.scheme}', shape={self.shape}, axis={self.axis}, "
            f"{self.bits_per_element:.4g} bits per element)"
        )

    def _by_group(self, x: NDArray[Any]) -> NDArray[Any]:
        layout = self.layout
        if self.scheme.granularity.rows == 1:
            return x.reshape(*layout.others, layout.across, *x.shape[1:])
        return x.reshape(layout.down, layout.across, *x.shape[1:])
