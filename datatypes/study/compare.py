"""A datatype study in one call: schemes against tensors, error and bits of each."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.dtypes import is_small_float
from ..base.errors import BitlatheError
from ..coding.coders import coder_of
from ..formats.format import Format, Mixture
from ..quantize import quantize
from ..schemes.layout import Axis, Layout
from ..schemes.scheme import Scheme
from ..tensors.packing import stored_bytes
from .metrics import ErrorMetrics, ErrorSums, error_sums

ALL = "all tensors"
BY_NAME = "by name"
# elements quantized at once: the memory taken beside the tensor does not grow with it
BLOCK = 1 << 22


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
    """Return whether a (...) array is a weight to quantize: real, two axes or more, not empty."""
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    floating = floating or is_small_float(array.dtype)
    return floating and array.ndim >= 2 and array.size > 0


def compare(
    arrays: Mapping[str, NDArray[Any]],
    schemes: Iterable[str | Scheme | Format | Mixture],
    axis: Axis = None,
    everything: bool = False,
) -> list[Row]:
    """Quantize every tensor in every scheme.

    Parameters
    ----------
    arrays : mapping of name to array
        Vectors, integers and empty arrays are passed over unless `everything` is set.
    schemes : iterable of str, Scheme, Format or Mixture
    axis : int, tuple of int or None
        Along which groups run, as for `quantize`: of convolutions along (in x height x width).
    everything : bool

    Returns
    -------
    list of Row
        Scheme by scheme, tensors in their order; with more than one tensor, each scheme ends
        with a row of totals named `ALL`.

    Raises
    ------
    BitlatheError
        Raised if no tensor is left to quantize, or one cannot be; the message names it.
    """
    chosen = _chosen(arrays, everything)
    parsed = [Scheme.parse(s) for s in schemes]
    return [row for s in parsed for row in _rows(chosen, dict.fromkeys(chosen, s), axis)]


def compare_by_name(
    arrays: Mapping[str, NDArray[Any]],
    scheme_of: Callable[[str], Scheme | None],
    axis: Axis = None,
) -> list[Row]:
    """Quantize every tensor in a scheme of its own.

    Parameters
    ----------
    arrays : mapping of name to (...) array
        Vectors, integers and empty arrays are passed over.
    scheme_of : callable
        The scheme of a tensor by its name; None passes over it.
    axis : int, tuple of int or None

    Returns
    -------
    list of Row
        As `compare` returns them; the scheme of the totals is `BY_NAME` where there are several.

    Raises
    ------
    BitlatheError
        Raised if no tensor is left to quantize, or one cannot be; the message names it.
    """
    schemes = {name: scheme for name in arrays if (scheme := scheme_of(name)) is not None}
    chosen = _chosen({name: arrays[name] for name in schemes}, everything=False)
    return _rows(chosen, schemes, axis)


def _chosen(arrays: Mapping[str, NDArray[Any]], everything: bool) -> dict[str, NDArray[Any]]:
    """Return the (...) arrays that are quantized; or refuse where none is."""
    chosen = {k: v for k, v in arrays.items() if everything or quantizable(v)}
    if not chosen:
        shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in list(arrays.items())[:5])
        raise BitlatheError(
            "no tensor to quantize: weights are floating-point arrays of two or more dimensions; "
            f"the file has {shapes or 'no tensors'}"
        )
    return chosen


def _rows(
    arrays: Mapping[str, NDArray[Any]], schemes: Mapping[str, Scheme], axis: Axis
) -> list[Row]:
    rows: list[Row] = []
    noise = signal = 0.0
    bits = 0
    for name, x in arrays.items():
        scheme = schemes[name]
        sums = _measured(name, x, scheme, axis)
        found, layout = sums.metrics(), Layout.of(x.shape, axis, scheme.granularity)
        noise += found.relative_mse * sums.power if sums.power else 0.0
        signal += sums.power
        bits += scheme.total_bits(layout.columns, layout.rows)
        rows.append(_row(name, scheme, layout, found))
    if len(rows) > 1:
        rows.append(_total(rows, noise, signal, bits))
    return rows


def _measured(name: str, x: NDArray[Any], scheme: Scheme, axis: Axis) -> ErrorSums:
    """Quantize a tensor, by blocks of rows where that changes nothing; measure the errors."""
    layout = Layout.of(x.shape, axis, scheme.granularity)
    ends = _ends(x, scheme, layout)
    whole = [slice(0, x.shape[0])]
    blocks = whole if ends is None else list(_blocks(x.shape, scheme, layout))
    said: list[tuple[str, str]] = []

    def pairs() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for block in blocks:
            part = x[block] if ends is None else np.concatenate([x[block], ends])
            rows = f", rows {block.start}..{block.stop - 1}" if len(blocks) > 1 else ""
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    q = quantize(part, scheme, axis=axis)
                except BitlatheError as problem:
                    raise BitlatheError(f"tensor {name!r}{rows}: {problem}") from None
            said.extend((rows, str(warning.message)) for warning in caught)
            yield x[block], np.asarray(q)[: block.stop - block.start]

    sums = error_sums(pairs())
    if said:
        rows, message = said[0]
        more = f" (and {len(said) - 1} more warnings of other rows)" if len(said) > 1 else ""
        warnings.warn(f"tensor {name!r}{rows}: {message}{more}", stacklevel=5)
    return sums


def _ends(x: NDArray[Any], scheme: Scheme, layout: Layout) -> NDArray[Any] | None:
    """Return the rows that must go along with a block of others, that it be quantized the same.

    No row where rows do not share a scale. Where they do (of the tensor, of a column, or the
    second level of NVFP4), two: the largest and the least element of each column, on which it
    depends. None where blocks would change the result, or are not worth it.
    """
    tall, shared = scheme.granularity.rows, scheme.scale_format.shared
    if layout.axis == 0 or layout.rows * layout.columns <= BLOCK:
        return None
    if tall and not shared:
        return np.zeros((0, *x.shape[1:]), x.dtype)
    if shared and scheme.levels:
        return None
    simple = len(scheme.formats) == 1 and scheme.clip == "absmax" and not scheme.paper
    if tall > 1 or not simple or coder_of(scheme).searches:
        return None
    ends = np.stack([x.max(axis=0), x.min(axis=0)])
    return ends if np.isfinite(ends).all() else None


def _blocks(shape: tuple[int, ...], scheme: Scheme, layout: Layout) -> Iterator[slice]:
    """Cut the first axis into blocks of about `BLOCK` elements."""
    inner = layout.rows // shape[0]
    # blocks of scales are not cut
    tall = max(scheme.granularity.rows, 1)
    unit = tall // math.gcd(tall, inner)
    step = max(BLOCK // (inner * layout.columns) // unit, 1) * unit
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _row(name: str, scheme: Scheme, layout: Layout, found: ErrorMetrics) -> Row:
    return Row(
        tensor=name,
        scheme=str(scheme),
        elements=layout.rows * layout.columns,
        bits_per_element=float(scheme.bits_per_element(layout.columns, layout.rows)),
        nbytes=stored_bytes(scheme, layout),
        relative_mse=found.relative_mse,
        sqnr_db=found.sqnr_db,
        max_abs=found.max_abs,
        **_terms(scheme),
    )


def _total(rows: list[Row], noise: float, signal: float, bits: int) -> Row:
    first, alike = rows[0], len({r.scheme for r in rows}) == 1
    elements = sum(r.elements for r in rows)
    relative = noise / signal if signal else 0.0
    return Row(
        tensor=ALL,
        scheme=first.scheme if alike else BY_NAME,
        elements=elements,
        bits_per_element=bits / elements,
        nbytes=sum(r.nbytes for r in rows),
        relative_mse=relative,
        sqnr_db=float(-10 * np.log10(relative)) if relative else float("inf"),
        max_abs=max(r.max_abs for r in rows),
        terms_per_weight=first.terms_per_weight if alike else None,
        term_error=first.term_error if alike else None,
    )


def _terms(scheme: Scheme) -> dict[str, Any]:
    try:
        return {"terms_per_weight": scheme.terms_per_weight, "term_error": scheme.term_error}
    except BitlatheError:
        return {"terms_per_weight": None, "term_error": None}
