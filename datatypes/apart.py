"""Outliers apart: the largest elements in a format of their own, with their places; the rest coded.

Elements of the largest magnitudes are kept beside the tensor, in any scheme (fp16 by default), each
with its place among all, in ceil(log2 size) bits; where they stood the tensor holds 0, so that its
ranges are those of the rest. It is what the dense-and-sparse split of SqueezeLLM does (Kim et al.,
arXiv 2306.07629); SpQR, which takes a layer's inputs, is a method (`methods.spqr`). Everything is
counted and stored.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .base.arrays import as_float
from .base.errors import BitlatheError
from .base.files import shown_path
from .base.numbers import share_of
from .formats.format import Format, Mixture
from .quantize import quantize
from .schemes.scheme import Scheme
from .tensors.packing import pack, packed_size, streams_of, unpack
from .tensors.store import assemble, checksum, header_of, read_checked
from .tensors.tensor import QuantizedTensor
from .weights.safetensors_file import Stored, write_stored

KIND, VERSION = "bitlathe.ApartTensor", "1"
PLACES = "places"
PARTS = ("rest", "kept")
MAX_ELEMENTS = 1 << 32  # that places of 32 bits tell apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApartTensor:
    """A tensor whose outliers are stored beside it. Made by `quantize_apart`.

    Attributes
    ----------
    rest : QuantizedTensor
        (...): all elements, 0 in place of outliers.
    kept : QuantizedTensor
        (n,): the outliers, in the order of their places.
    places : (n,) int64
        Of each in the flattened tensor, ascending.
    """

    rest: QuantizedTensor
    kept: QuantizedTensor
    places: NDArray[np.int64]

    def __repr__(self) -> str:
        return (
            f"ApartTensor({str(self.rest.scheme)!r}, {self.places.size} in "
            f"{str(self.kept.scheme)!r}, shape={self.shape}, "
            f"{self.bits_per_element:.4g} bits per element)"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.rest.shape

    @property
    def place_bits(self) -> int:
        """Bits of an outlier's place."""
        return max(self.rest.size - 1, 0).bit_length()

    @property
    def total_bits(self) -> int:
        """Stored bits: the rest and the outliers with their scales, and places."""
        return self.rest.total_bits + self.kept.total_bits + self.places.size * self.place_bits

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element of the tensor, everything counted."""
        return self.total_bits / self.rest.size if self.rest.size else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the packed streams, each ending on a whole byte."""
        places = packed_size(self.places.size, self.place_bits)
        return self.rest.nbytes + self.kept.nbytes + places

    def dequantize(self, dtype: str | None = None) -> Any:
        """Return the values, outliers in their places; see `QuantizedTensor.dequantize`."""
        wanted = dtype or self.rest.dtype
        values = np.array(self.rest.dequantize(wanted))
        values.reshape(-1)[self.places] = np.asarray(self.kept.dequantize(wanted))
        return values

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.dequantize(), dtype)

    def save(self, path: str | Path) -> None:
        """Write the tensor, packed to the last bit.

        Raises
        ------
        BitlatheError
            Raised if the file cannot be written.
        """
        streams: dict[str, NDArray[np.uint8]] = {}
        facts = {"kind": KIND, "version": VERSION}
        for name, part in zip(PARTS, (self.rest, self.kept), strict=True):
            own = streams_of(part.coded)
            streams |= {f"{name}.{stream}": packed for stream, packed in own.items()}
            facts[name] = json.dumps(header_of(part.coded, part.dtype))
        if self.place_bits:
            streams[PLACES] = pack(self.places.astype(np.uint32), self.place_bits)
        facts["sha256"] = checksum(facts, streams)
        write_stored({name: Stored.of(s) for name, s in streams.items()}, facts, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "ApartTensor":
        """Read a tensor that `save` wrote.

        Raises
        ------
        BitlatheError
            Raised if the file is missing, has changed since, or holds something else.
        """
        streams, facts = read_checked(path, KIND, VERSION, "a tensor with outliers")
        try:
            rest, kept = (_part(name, facts, streams) for name in PARTS)
            made = cls(rest=rest, kept=kept, places=np.zeros(kept.size, np.int64))
            if made.place_bits:
                packed = streams.get(PLACES, np.zeros(0, np.uint8))
                found = unpack(packed, made.place_bits, kept.size).astype(np.int64)
                made = cls(rest=rest, kept=kept, places=found)
            _check_places(made)
        except (ValueError, TypeError, RecursionError) as problem:
            raise BitlatheError(f"{shown_path(path)}: damaged: {problem}") from None
        return made


def _part(name: str, facts: dict[str, str], streams: dict[str, Any]) -> QuantizedTensor:
    """Return one of the two tensors of a file."""
    start = f"{name}."
    own = {key.removeprefix(start): s for key, s in streams.items() if key.startswith(start)}
    coded, dtype = assemble(json.loads(facts.get(name, "")), own)
    return QuantizedTensor(coded=coded, dtype=dtype)


def _check_places(made: ApartTensor) -> None:
    """Refuse places that are not ascending, or beyond the tensor."""
    places = made.places
    if len(made.kept.shape) != 1 or (np.diff(places) <= 0).any():
        raise BitlatheError("places of outliers are not ascending")
    if places.size and places[-1] >= made.rest.size:
        raise BitlatheError(f"a place {places[-1]} lies beyond {made.rest.size} elements")


def quantize_apart(
    x: Any,
    scheme: str | Scheme | Format | Mixture,
    share: float | None = None,
    threshold: float | None = None,
    kept: str | Scheme | Format | Mixture = "fp16",
    importance: ArrayLike | None = None,
    **options: Any,
) -> ApartTensor:
    """Keep the largest elements apart, and quantize the others.

    Parameters
    ----------
    x : (..., length) array_like or torch tensor
    scheme : str, Scheme, Format or Mixture
        Of the rest.
    share : float, optional
        Of the elements that are outliers, 0 to 1, rounded down; 0.01 by default.
    threshold : float, optional
        In its place: least magnitude of an outlier.
    kept : str, Scheme, Format or Mixture
        Of the outliers; groups count these.
    importance : (length,) array_like, optional
        Weight of each position's square along the last axis: outliers are the largest by it, and
        errors in searches of the rest count by it.
    **options
        Of `quantize`, for the rest; not ``activations``, and nothing from outside.

    Returns
    -------
    ApartTensor

    Raises
    ------
    BitlatheError
        Raised if share or threshold is wrong, or both are given, an outlier does not fit its
        format, or as `quantize` raises.

    Examples
    --------
    >>> q = quantize_apart([[1.0, -40.0, 0.5, 3.0]], "int4", share=0.25)
    >>> q.dequantize().round(2).tolist(), q.places.tolist(), q.bits_per_element
    ([[0.86, -40.0, 0.43, 3.0]], [1], 12.5)
    """
    of_wholes = ("activations", "scales", "zeros", "choices", *["axis"] * (importance is not None))
    wrong = next((name for name in of_wholes if name in options), None)
    if wrong:
        raise BitlatheError(f"quantize_apart: {wrong} is of whole tensors; leave it out")
    array, dtype, _ = as_float(x, "quantize_apart")
    if not 0 < array.size <= MAX_ELEMENTS:
        raise BitlatheError(
            f"quantize_apart: a tensor of 1 to 2^32 elements is needed, got shape {array.shape}"
        )
    size = np.abs(array.astype(np.float64))
    if importance is not None:
        length = array.shape[-1] if array.ndim else 1
        weight = as_float(importance, "importance")[0].astype(np.float64)
        if weight.shape != (length,) or not np.isfinite(weight).all() or (weight < 0).any():
            raise BitlatheError(
                f"importance: {length} finite weights >= 0 are needed, got an array of shape "
                f"{weight.shape}"
            )
        size = size * np.sqrt(weight)
        options["importance"] = importance
    places = _largest(size.reshape(-1), share, threshold)
    form = Scheme.parse(kept)
    bare = form.scale_format.kind == "none" and len(form.formats) == 1
    apart = quantize(array.reshape(-1)[places], form, overflow="raise" if bare else None)
    rest = array.copy()
    rest.reshape(-1)[places] = 0
    q = quantize(rest, scheme, **options)
    return ApartTensor(rest=QuantizedTensor(coded=q.coded, dtype=dtype), kept=apart, places=places)


def _largest(
    size: NDArray[np.float64], share: float | None, threshold: float | None
) -> NDArray[np.int64]:
    """Return the places of the largest of (n,) magnitudes, ascending; the first of equals."""
    if share is not None and threshold is not None:
        raise BitlatheError("quantize_apart: share and threshold are two ways; pass one")
    name, given = ("share", share) if threshold is None else ("threshold", threshold)
    given = 0.01 if given is None else given
    real = isinstance(given, int | float) and not isinstance(given, bool)
    if not real or not 0 <= given <= (1 if name == "share" else np.inf):
        wanted = "from 0 to 1" if name == "share" else "of 0 or more"
        raise BitlatheError(f"quantize_apart: {name} is {given!r}, must be a number {wanted}")
    if name == "threshold":
        return np.flatnonzero(size >= given)
    order = np.argsort(-np.nan_to_num(size, nan=0.0), kind="stable")
    return np.sort(order[: share_of(given, size.size)]).astype(np.int64)
