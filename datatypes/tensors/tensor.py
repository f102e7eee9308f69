"""Quantized tensors: codes, scales, zero points and choices, and what follows from them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.dtypes import float_name, numpy_float
from ..base.errors import BitlatheError
from ..base.notebook import axes_of, frame, html
from ..coding.coded import Coded
from ..coding.levels import offsets_of
from ..formats.format import Format, Mixture
from ..schemes.layout import Axis, Layout
from ..schemes.scheme import Scheme
from ..terms.statistics import TermStatistics
from .build import coded_from, joined, level_scales, shaped
from .dequantize import group_scales, outer_scales, values_of
from .packing import stored_bytes, streams_of
from .slicing import rows_of
from .statistics import statistics
from .store import load, save

_SHOWN = 32  # values of a format that a drawing names


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedTensor:
    """A tensor in a scheme. Made by `quantize`; read back from a file by `load`.

    Attributes
    ----------
    coded : Coded
        Codes, scales and what goes with them, as they are stored.
    dtype : str
        Of the tensor that was quantized.
    device : str or None
        Torch device it came from; None for numpy.
    """

    coded: Coded
    dtype: str = "float32"
    device: str | None = None

    @property
    def scheme(self) -> Scheme:
        """The scheme it was quantized in."""
        return self.coded.scheme

    @property
    def layout(self) -> Layout:
        """How the tensor is cut into groups."""
        return self.coded.layout

    @property
    def matrix(self) -> NDArray[Any]:
        """The (rows, columns) codes, the quantized axis last."""
        return self.coded.codes

    @property
    def raw(self) -> NDArray[np.uint32]:
        """Bit patterns of the stored scales, (groups, n); n is 1 but for sums of signed scales."""
        return self.coded.scales

    @property
    def outer(self) -> NDArray[np.uint32]:
        """Bit patterns of the second-level scales."""
        return self.coded.outer_scales

    @property
    def zero_points(self) -> NDArray[np.uint8] | None:
        """(groups,) zero points; None if the scheme has no zero points."""
        return self.coded.zeros

    @property
    def selectors(self) -> NDArray[np.uint8] | None:
        """(groups,) members of the mixture; None without a mixture."""
        return self.coded.choices

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.layout.shape

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The quantized axis; a tuple where several are quantized as one."""
        return self.layout.quantized

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
        return self._by_group(group_scales(self.coded))

    @property
    def zeros(self) -> NDArray[np.uint8] | None:
        """Zero points, shaped as `scales`; None if the scheme has no zero points."""
        return None if self.zero_points is None else self._by_group(self.zero_points)

    @property
    def choices(self) -> NDArray[np.uint8] | None:
        """Member of the mixture each group took, shaped as `scales`; None without a mixture."""
        return None if self.selectors is None else self._by_group(self.selectors)

    @property
    def outer_scales(self) -> NDArray[np.float32]:
        """Second-level scales: of each row, or of the tensor; empty without a second level.

        For integer group scales this is the largest scale of the row, which the integer
        ``2**bits - 1`` stands for (for dual grain, the step of one).
        """
        return outer_scales(self.coded)

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
        return streams_of(self.coded)

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
            Raised for any other dtype, or bfloat16 in numpy without the ml_dtypes package.
        """
        name = None if dtype is None else float_name(dtype)
        if self.device is None:
            return values_of(self.coded, numpy_float(name or self._work))
        from ..base.torch_bridge import to_torch

        name = name or self.dtype
        # torch rounds float32 to bfloat16 itself
        work = self._work if dtype is None else "float32" if name == "bfloat16" else name
        return to_torch(values_of(self.coded, np.dtype(work)), name, self.device)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values the codes stand for: ``np.asarray(q)``, ``q @ x`` and the like.

        Raises
        ------
        ValueError
            Raised if asked not to copy: the values are computed each time.
        """
        if copy is False:
            raise ValueError("the values of a quantized tensor are computed anew: no copy=False")
        return values_of(self.coded, numpy_float(self._work)).astype(
            dtype or self._work, copy=False
        )

    def terms(self) -> TermStatistics:
        """Return statistics of the bit-serial terms of the tensor's codes.

        Raises
        ------
        BitlatheError
            Raised for sums of signed scales, whose products are shifts by design, and for an
            empty tensor.
        """
        return statistics(self.coded)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "QuantizedTensor":
        """Return rows of the first axis: ``q[3]``, ``q[10:20]``, ``q[::2]``, ``q[[0, 5]]``.

        Raises
        ------
        BitlatheError
            Raised if the first axis is the quantized one, a block of several rows would be cut,
            or the rows do not exist.
        """
        return replace(self, coded=rows_of(self.coded, rows))

    def __iter__(self) -> Iterator["QuantizedTensor"]:
        return (self[row] for row in range(len(self)))

    def save(self, path: str | Path) -> None:
        """Write the packed streams to a safetensors file; nothing is pickled."""
        save(self.coded, self.dtype, path)

    @classmethod
    def of(
        cls,
        codes: Any,
        scales: Any = None,
        *,
        scheme: "str | Scheme | Format | Mixture",
        axis: Axis = None,
        zeros: Any = None,
        choices: Any = None,
        dtype: str = "float32",
    ) -> "QuantizedTensor":
        """Build a tensor from codes and scales that others made.

        Parameters
        ----------
        codes : (...) array_like of int
            In the shape of the tensor.
        scales : array_like or list of array_like
            Shaped as `scales`, or one number for all; a list holds the numbers of each level, the
            innermost first, as `level_scales` returns them. Left out where a scheme has none.
        scheme : str, Scheme, Format or Mixture
        axis : int, tuple of int or None
            See `quantize`.
        zeros : array_like or list of array_like, optional
            Zero points or minima; a list holds the numbers of each level.
        choices : array_like of int, optional
            Member of a mixture for each group.
        dtype : str
            Of the tensor that the codes stand for.

        Raises
        ------
        BitlatheError
            Raised if a part is missing, has the wrong shape, or a number that its format does not
            have.

        Examples
        --------
        >>> q = QuantizedTensor.of([[1, 2, 15, 8]], [[0.5]], scheme="int4_full@channel/fp16_signed")
        >>> q.dequantize().tolist()
        [[0.5, 1.0, -0.5, -4.0]]
        """
        parsed = Scheme.parse(scheme)
        coded = coded_from(parsed, codes, scales, axis, zeros, choices)
        return cls(coded=coded, dtype=float_name(dtype))

    @property
    def level_scales(self) -> list[NDArray[np.float32]]:
        """The numbers of each level of scales as stored, the innermost first, by group.

        Those of one level alone are the scales themselves; of integer scales the counts, and what
        the largest count stands for.
        """
        return level_scales(self.coded)

    @property
    def offsets(self) -> NDArray[np.float32] | None:
        """Minima or zero points of their own formats as used, shaped as `scales`; else None."""
        found = offsets_of(self.coded)
        return None if found is None else self._by_group(found)

    def append(self, other: "QuantizedTensor", axis: int = 0) -> "QuantizedTensor":
        """Return the tensor with another one after it along a free axis: a cache that grows.

        Parameters
        ----------
        other : QuantizedTensor
            In the same scheme; of the same shape but along the axis.
        axis : int
            Not a quantized one.

        Raises
        ------
        BitlatheError
            Raised if schemes or shapes differ, the axis is quantized, or rows share scales.

        Examples
        --------
        >>> from bitlathe.datatypes.quantize import quantize
        >>> cache = quantize(np.ones((2, 32)), "int8@g32")
        >>> cache.append(quantize(np.ones((1, 32)), "int8@g32")).shape
        (3, 32)
        """
        if not isinstance(other, QuantizedTensor):
            raise BitlatheError(
                f"append: a quantized tensor is needed, got {type(other).__name__}; quantize it in "
                f"{self.scheme} first"
            )
        return replace(self, coded=joined(self.coded, other.coded, axis))

    @classmethod
    def load(cls, path: str | Path) -> "QuantizedTensor":
        """Read a tensor that `save` wrote."""
        coded, dtype = load(path)
        return cls(coded=coded, dtype=dtype)

    @property
    def _work(self) -> str:
        """The dtype in which values are computed."""
        return "float64" if self.dtype == "float64" else "float32"

    def plot(self, axes: Any = None) -> Any:
        """Draw how often each value of the format is taken; return the axes.

        Parameters
        ----------
        axes : matplotlib axes, optional
            Where to draw; new ones if left out.
        """
        axes = axes_of(axes, 2.6)
        codes, counts = np.unique(self.matrix, return_counts=True)
        shares, places, label = counts / counts.sum(), codes, "code"
        if len(self.scheme.formats) == 1 and self.scheme.coder_facts.alone and len(codes) <= _SHOWN:
            values = self.scheme.formats[0].values[codes]
            order = np.argsort(values)
            places, shares, label = np.arange(len(codes)), shares[order], "value of the format"
            axes.set_xticks(places, [f"{value:.3g}" for value in values[order]], rotation=90)
        axes.bar(places, shares, color="#0072B2")
        axes.set(xlabel=label, ylabel="share of elements", title=str(self.scheme))
        return axes

    def to_frame(self) -> Any:
        """Return a pandas data frame of its scales: a row each, in the order of `scales`.

        Columns are the places along the axes of `scales`, ``scale``, and where the scheme has them
        ``zero`` and ``format``, the member of a mixture.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        scales = self.scales
        places = np.indices(scales.shape).reshape(scales.ndim, -1)
        found: dict[str, Any] = {f"axis {axis}": place for axis, place in enumerate(places)}
        found["scale"] = scales.ravel()
        if self.zeros is not None:
            found["zero"] = self.zeros.ravel()
        if self.choices is not None:
            names = np.array([fmt.name for fmt in self.scheme.formats])
            found["format"] = names[self.choices.ravel()]
        return frame(found)

    def _repr_html_(self) -> str:
        facts = {
            "shape": " x ".join(map(str, self.shape)),
            "bits per element": float(self.bits_per_element),
            "bytes": self.nbytes,
            "groups along axis": str(self.axis),
            "made from": self.dtype,
        }
        return html(f"QuantizedTensor in {self.scheme}", facts)

    def __repr__(self) -> str:
        return (
            f"QuantizedTensor('{self.scheme}', shape={self.shape}, axis={self.axis}, "
            f"{self.bits_per_element:.4g} bits per element)"
        )

    def _by_group(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return (groups, ...) facts in the shape of `scales`."""
        return shaped(x, self.layout, self.scheme.granularity)
