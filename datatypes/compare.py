"""A datatype study in one call: schemes against tensors, error and bits of each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import is_small_float
from .errors import BitlatheError
from .format import Format, Mixture
from .metrics import ErrorMetrics, error_metrics
from .quantize import quantize
from .scheme import Scheme

ALL = "all tensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One tensor, or all together, in one scheme.

    Attributes
    ----------
    tensor : str
        Name; `ALL` for the row of totals.
    scheme : str
    elements : int
    bits_per_element : float
        Everything counted.
    nbytes : int
        Bytes of the packed streams.
    relative_mse, sqnr_db, max_abs : float
        See `ErrorMetrics`; in the row of totals, of all elements together.
    terms_per_weight : int or None
        Clocks a bit-serial PE spends per chunk; None where the scheme has no terms.
    term_error : float or None
        Largest change of a value of the format in becoming terms; see `Scheme.term_error`.
    """

    tensor: str
    scheme: str
    elements: int
    bits_per_element: float
    nbytes: int
    relative_mse: float
    sqnr_db: float
    max_abs: float
    terms_per_weight: int | None
    term_error: float | None


def quantizable(array: NDArray[Any]) -> bool:
    """Say whether a tensor is a weight one would quantise: real, two axes or more, not empty."""
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    floating = floating or is_small_float(array.dtype)
    return floating and array.ndim >= 2 and array.size > 0


def compare(
    arrays: Mapping[str, NDArray[Any]],
    schemes: Iterable[str | Scheme | Format | Mixture],
    axis: int = -1,
    everything: bool = False,
) -> list[Row]:
    """Quantise every tensor in every scheme.

    Parameters
    ----------
    arrays : mapping of name to array
        Vectors, integers and empty arrays are passed over unless `everything` is set.
    schemes : iterable of str, Scheme, Format or Mixture
    axis : int
        Along which groups run.
    everything : bool

    Returns
    -------
    list of Row
        Scheme by scheme, tensors in their order; with more than one tensor, each scheme ends
        with a row of totals named `ALL`.

    Raises
    ------
    BitlatheError
        No tensor left to quantise, or a tensor that cannot be; the message names it.
    """
    chosen = {k: v for k, v in arrays.items() if everything or quantizable(v)}
    if not chosen:
        shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in list(arrays.items())[:5])
        raise BitlatheError(
            "no tensor to quantise: weights are floating-point arrays of two or more dimensions; "
            f"the file has {shapes or 'none at all'}"
        )
    return list(_rows(chosen, [Scheme.parse(s) for s in schemes], axis))


def _rows(arrays: Mapping[str, NDArray[Any]], schemes: list[Scheme], axis: int) -> Iterator[Row]:
    for scheme in schemes:
        rows: list[Row] = []
        noise = signal = 0.0
        bits = 0
        for name, x in arrays.items():
            try:
                q = quantize(x, scheme, axis=axis)
            except BitlatheError as problem:
                raise BitlatheError(f"tensor {name!r}: {problem}") from None
            found = error_metrics(x, q.dequantize())
            power = float((np.asarray(x, np.float64) ** 2).sum())
            noise += found.relative_mse * power if power else 0.0
            signal += power
            bits += q.total_bits
            rows.append(_row(name, scheme, q.size, q.bits_per_element, q.nbytes, found))
        yield from rows
        if len(rows) > 1:
            yield _total(scheme, rows, noise, signal, bits)


def _row(
    name: str, scheme: Scheme, elements: int, bits: float, nbytes: int, found: ErrorMetrics
) -> Row:
    return Row(
        tensor=name,
        scheme=str(scheme),
        elements=elements,
        bits_per_element=bits,
        nbytes=nbytes,
        relative_mse=found.relative_mse,
        sqnr_db=found.sqnr_db,
        max_abs=found.max_abs,
        **_terms(scheme),
    )


def _total(scheme: Scheme, rows: list[Row], noise: float, signal: float, bits: int) -> Row:
    elements = sum(r.elements for r in rows)
    relative = noise / signal if signal else 0.0
    return Row(
        tensor=ALL,
        scheme=str(scheme),
        elements=elements,
        bits_per_element=bits / elements,
        nbytes=sum(r.nbytes for r in rows),
        relative_mse=relative,
        sqnr_db=float(-10 * np.log10(relative)) if relative else float("inf"),
        max_abs=max(r.max_abs for r in rows),
        **_terms(scheme),
    )


def _terms(scheme: Scheme) -> dict[str, Any]:
    try:
        return {"terms_per_weight": scheme.terms_per_weight, "term_error": scheme.term_error}
    except BitlatheError:
        return {"terms_per_weight": None, "term_error": None}
