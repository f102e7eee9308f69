"""N of M: of every M neighbors only N are kept, as quantized numbers and their places.

The kept ones are a tensor of their own, N/M as long along its last axis, in any scheme (groups
count kept elements); each has beside it its place among the M, in ceil(log2 M) bits, as sparse
tensor cores take them (2:4: Mishra et al., arXiv 2104.08378). Everything is counted and stored.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .base.arrays import as_float
from .base.errors import BitlatheError
from .base.files import shown_path
from .base.numbers import whole_number
from .formats.format import Format, Mixture
from .quantize import quantize
from .schemes.scheme import Scheme
from .tensors.packing import pack, packed_size, streams_of, unpack
from .tensors.store import assemble, checksum, header_of, read_checked
from .tensors.tensor import QuantizedTensor
from .weights.safetensors_file import Stored, write_stored

KIND, VERSION = "bitlathe.SparseTensor", "1"
LONGEST = 256  # neighbors of a block
PLACES = "places"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How many are kept of how many neighbors along the last axis.

    Attributes
    ----------
    kept, of : int
    """

    kept: int
    of: int

    def __post_init__(self) -> None:
        whole_number("pattern: M", self.of, 2, LONGEST)
        whole_number("pattern: N", self.kept, 1, self.of)

    @classmethod
    def parse(cls, text: "str | Pattern") -> "Pattern":
        """Read ``N:M``.

        Raises
        ------
        BitlatheError
            Raised if it is no pattern, or its numbers are out of range.
        """
        if isinstance(text, Pattern):
            return text
        found = re.fullmatch(
            r"([1-9]\d{0,3}):([1-9]\d{0,3})", text if isinstance(text, str) else ""
        )
        if found is None:
            raise BitlatheError(f"pattern {text!r}: write N:M, such as 2:4")
        return cls(kept=int(found[1]), of=int(found[2]))

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"

    @property
    def place_bits(self) -> int:
        """Bits of a kept element's place."""
        return (self.of - 1).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SparseTensor:
    """A tensor of which N of every M neighbors are stored. Made by `quantize_sparse`.

    Attributes
    ----------
    kept : QuantizedTensor
        (..., length * N / M): the elements that are kept, in their order.
    places : (..., length * N / M) uint8
        Place of each in its block, ascending within a block.
    pattern : Pattern
    """

    kept: QuantizedTensor
    places: NDArray[np.uint8]
    pattern: Pattern

    def __repr__(self) -> str:
        return (
            f"SparseTensor({str(self.kept.scheme)!r}, {str(self.pattern)!r}, shape={self.shape}, "
            f"{self.bits_per_element:.4g} bits per element)"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        *others, length = self.kept.shape
        return (*others, length // self.pattern.kept * self.pattern.of)

    @property
    def size(self) -> int:
        """Number of elements, those that are not kept among them."""
        return self.kept.size // self.pattern.kept * self.pattern.of

    @property
    def total_bits(self) -> int:
        """Stored bits: kept elements with their scales, and places."""
        return self.kept.total_bits + self.kept.size * self.pattern.place_bits

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element of the tensor, everything counted."""
        return self.total_bits / self.size if self.size else 0.0

    def dequantize(self, dtype: str | None = None) -> Any:
        """Return the values, 0 where nothing is kept; see `QuantizedTensor.dequantize`."""
        values = np.asarray(self.kept.dequantize(dtype or self.kept.dtype))
        blocks = (*self.shape[:-1], self.shape[-1] // self.pattern.of)
        found = np.zeros((*blocks, self.pattern.of), values.dtype)
        split = (*blocks, self.pattern.kept)
        np.put_along_axis(found, self.places.reshape(split).astype(int), values.reshape(split), -1)
        return found.reshape(self.shape)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.dequantize(), dtype)

    def save(self, path: str | Path) -> None:
        """Write the tensor, packed to the last bit.

        Raises
        ------
        BitlatheError
            Raised if the file cannot be written.
        """
        streams = streams_of(self.kept.coded)
        streams[PLACES] = pack(self.places.reshape(-1), self.pattern.place_bits)
        facts = {"kind": KIND, "version": VERSION, "pattern": str(self.pattern)}
        facts["kept"] = json.dumps(header_of(self.kept.coded, self.kept.dtype))
        facts["sha256"] = checksum(facts, streams)
        write_stored({name: Stored.of(s) for name, s in streams.items()}, facts, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "SparseTensor":
        """Read a tensor that `save` wrote.

        Raises
        ------
        BitlatheError
            Raised if the file is missing, has changed since, or holds something else.
        """
        streams, facts = read_checked(path, KIND, VERSION, "a sparse tensor")
        try:
            pattern = Pattern.parse(facts.get("pattern", ""))
            packed = streams.pop(PLACES, np.zeros(0, np.uint8))
            coded, dtype = assemble(json.loads(facts.get("kept", "")), streams)
            kept = QuantizedTensor(coded=coded, dtype=dtype)
            found = unpack(packed, pattern.place_bits, kept.size).astype(np.int64)
            _check_places(found, pattern, kept.shape)
        except (ValueError, TypeError, RecursionError) as problem:
            raise BitlatheError(f"{shown_path(path)}: damaged: {problem}") from None
        return cls(kept=kept, places=found.astype(np.uint8).reshape(kept.shape), pattern=pattern)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed streams, each ending on a whole byte."""
        return self.kept.nbytes + packed_size(self.kept.size, self.pattern.place_bits)


def _check_places(places: NDArray[np.int64], pattern: Pattern, shape: tuple[int, ...]) -> None:
    """Refuse places, of kept elements of a shape, that are no N of M."""
    if not shape or shape[-1] % pattern.kept:
        raise BitlatheError(f"{pattern} keeps whole blocks of {pattern.kept}, not of shape {shape}")
    blocks = places.reshape(-1, pattern.kept)
    if (blocks >= pattern.of).any() or (np.diff(blocks, axis=1) <= 0).any():
        raise BitlatheError(f"places are not ascending, below {pattern.of} in each block")


def quantize_sparse(
    x: Any,
    scheme: str | Scheme | Format | Mixture,
    pattern: str | Pattern = "2:4",
    importance: ArrayLike | None = None,
    **options: Any,
) -> SparseTensor:
    """Keep N of every M neighbors along the last axis, the largest, and quantize them.

    Parameters
    ----------
    x : (..., length) array_like or torch tensor
    scheme : str, Scheme, Format or Mixture
        Of the kept elements; groups count these.
    pattern : str or Pattern
        ``N:M``; the length must be whole blocks of M.
    importance : (length,) array_like, optional
        Weight of each position's square, such as the mean square of the inputs that meet it: what
        is kept is then what Wanda keeps (Sun et al., arXiv 2306.11695).
    **options
        Of `quantize`; not ``axis``, ``importance`` and ``activations``.

    Returns
    -------
    SparseTensor

    Raises
    ------
    BitlatheError
        Raised if blocks are cut short, or as `quantize` raises.

    Examples
    --------
    >>> q = quantize_sparse([[1.0, -4.0, 0.5, 3.0]], "fp16")
    >>> q.dequantize().tolist(), q.places.tolist(), q.bits_per_element
    ([[0.0, -4.0, 0.0, 3.0]], [[1, 3]], 9.0)
    """
    chosen = Pattern.parse(pattern)
    wrong = next((name for name in ("axis", "importance", "activations") if name in options), None)
    if wrong:
        raise BitlatheError(f"quantize_sparse: {wrong} is of whole tensors; leave it out")
    array, *_ = as_float(x, "quantize_sparse")
    length = array.shape[-1] if array.ndim else 0
    if not array.ndim or length % chosen.of:
        raise BitlatheError(
            f"quantize_sparse: {chosen} needs a last axis of whole blocks of {chosen.of}, got "
            f"shape {array.shape}"
        )
    size = np.abs(array.astype(np.float64))
    if importance is not None:
        weight = as_float(importance, "importance")[0].astype(np.float64)
        if weight.shape != (length,) or not np.isfinite(weight).all() or (weight < 0).any():
            raise BitlatheError(
                f"importance: {length} finite weights >= 0 are needed, got an array of shape "
                f"{weight.shape}"
            )
        size = size * np.sqrt(weight)
    blocks = (*array.shape[:-1], length // chosen.of, chosen.of)
    # NaN goes first, so that it is not left out but refused
    order = np.argsort(-np.nan_to_num(size, nan=np.inf).reshape(blocks), axis=-1, kind="stable")
    places = np.sort(order[..., : chosen.kept], axis=-1)
    shape = (*array.shape[:-1], length // chosen.of * chosen.kept)
    values = np.take_along_axis(array.reshape(blocks), places, -1).reshape(shape)
    q = quantize(values, scheme, axis=-1, **options)
    return SparseTensor(kept=q, places=places.astype(np.uint8).reshape(shape), pattern=chosen)
