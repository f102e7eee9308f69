"""What makes weights in fp16 of a calibrated layer's codes, as keys of a chip's ``pe.decoder``.

Codes that no scheme names (vectors of codebooks, books of outputs, sign planes times ranks, bent
grids) enter an array behind decoders that read tables, multiply and add for each weight.
"""

from collections.abc import Iterable
from typing import Any, Final

from ..base.numbers import ceil_div
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from .layer import QuantizedLinear
from .parts import LookupWeights, SignStack, VectorWeights

LOOK_UP: Final = 256  # entries of the table whose look-up is one operation
Decoder = dict[str, Any]


def decoder_of(layers: Iterable[QuantizedLinear]) -> Decoder:
    """Return the one decoder that all of some layers pass: as large as what each of them asks.

    Parameters
    ----------
    layers : iterable of QuantizedLinear

    Returns
    -------
    dict
        ``operators`` for each weight, ``entries`` of the tables that are loaded, and ``table_of``:
        what has such tables.
    """
    found: Decoder = {}
    for layer in layers:
        found = larger(found, _decoder(layer.weights))
    return found


def larger(one: Decoder, other: Decoder) -> Decoder:
    """Return a decoder that does what either of two does; an empty one does nothing."""
    if not one or not other:
        return one or other
    names = sorted({*one["operators"], *other["operators"]})
    most = {n: max(one["operators"].get(n, 0), other["operators"].get(n, 0)) for n in names}
    tables = {one["table_of"], other["table_of"]}
    return {
        "operators": most,
        "entries": max(one["entries"], other["entries"]),
        "table_of": "output" if "output" in tables else "layer",
    }


def _decoder(
    weights: QuantizedTensor | LookupWeights | VectorWeights | SignStack,
) -> Decoder:
    if isinstance(weights, VectorWeights):
        return _of_vectors(weights)
    if isinstance(weights, LookupWeights):
        operators = {"lut8_query": 1, "fp16_multiply": 1, "fp16_add": 1}
        return {"operators": operators, "entries": 1 << weights.bits, "table_of": "output"}
    if isinstance(weights, SignStack):
        products = sum(left.shape[1] for left in weights.left)
        operators = {"fp16_multiply": products, "fp16_add": max(products - 1, 0)}
        return {"operators": operators, "entries": 0, "table_of": "layer"}
    return _of_grid(weights.scheme)


def _of_vectors(weights: VectorWeights) -> Decoder:
    """Return an entry of each book for each weight, and their sum; books lie in one table."""
    books = [len(book) for book in weights.books]
    queries = sum(ceil_div(entries, LOOK_UP) for entries in books)
    operators = {"lut8_query": queries}
    if len(books) > 1:
        operators["fp16_add"] = len(books) - 1
    found = {"operators": operators, "entries": sum(books), "table_of": "layer"}
    if weights.apart is None:
        return found
    apart = _of_vectors(weights.apart)  # a column reads its own books or the others'
    return {**larger(found, apart), "entries": found["entries"] + apart["entries"]}


def _of_grid(scheme: Scheme) -> Decoder:
    """Return a look-up of a grid's values, and a product where a scale is not a whole row's."""
    size = scheme.granularity
    whole_rows = size.columns == 0
    operators = {"lut8_query": 1} | ({} if whole_rows else {"fp16_multiply": 1})
    return {"operators": operators, "entries": 1 << scheme.element_bits, "table_of": "layer"}
