"""What term skipping gains on a tensor: its weights as the PE's integers, and their clocks."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....datatypes.base.errors import BitlatheError
from ....datatypes.formats.format import Mixture
from ....datatypes.tensors.tensor import QuantizedTensor
from ....datatypes.terms.table import term_table
from ...pe.weights import WeightDecoder, weight_decoder
from .model import SCOPES, TileArray, group_clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippingGain:
    """Clocks with all terms over clocks with skipping, for every scope of synchronization.

    Attributes
    ----------
    terms : int
        Clocks per chunk without skipping.
    zero_terms : float
        Share of terms that are zero.
    ideal : float
        Gain if every non-zero term took one lane clock and nothing ever waited.
    lane, row, column, array : float
        Gain with that scope (`TileArray.scope`); the distance to `ideal` is what chunks of zeros
        and synchronization cost.
    """

    scheme: str
    terms: int
    zero_terms: float
    ideal: float
    lane: float
    row: float
    column: float
    array: float


def pe_integers(q: QuantizedTensor) -> tuple[NDArray[np.int64], WeightDecoder]:
    """Return a quantized tensor as the integers a bit-serial PE is fed, and their decoder.

    Parameters
    ----------
    q : QuantizedTensor

    Returns
    -------
    integers : (rows, columns) ndarray of int64
        The quantized axis last.
    decoder : WeightDecoder

    Raises
    ------
    BitlatheError
        Schemes whose weights a bit-serial PE does not take.
    """
    if not q.scheme.coder_facts.alone:
        raise BitlatheError(f"{q.scheme}: its weights have no bit-serial terms of one schedule")
    codes = q.layout.split(q.matrix)
    if q.zero_points is not None:
        top = (1 << q.scheme.element_bits) - 1
        whole = codes.astype(np.int64) - q.zero_points.astype(np.int64)[:, None]
        return q.layout.join(whole), weight_decoder(term_table(np.arange(-top, top + 1)))
    formats = q.scheme.formats
    tables = [term_table(f.values, f.bits) for f in formats]
    unit = min(t.unit for t in tables)
    whole = np.zeros(codes.shape, np.int64)
    for member, table in enumerate(tables):
        mine = slice(None) if q.selectors is None else q.selectors == member
        whole[mine] = table.grid[codes[mine]] * round(table.unit / unit)
    element = formats[0] if len(formats) == 1 else Mixture(name=str(q.scheme), formats=formats)
    return q.layout.join(whole), weight_decoder(element)


def skipping_gain(q: QuantizedTensor, array: TileArray) -> SkippingGain:
    """Return what leaving out zero terms gains on a tile array, for every scope.

    Parameters
    ----------
    q : QuantizedTensor
        Weights, one row per output channel.
    array : TileArray
        Its rows, lanes and group size count; its own scope and skipping do not.

    Examples
    --------
    >>> import numpy as np
    >>> from bitlathe.datatypes.quantize import quantize
    >>> q = quantize(np.eye(8, dtype=np.float32), "int4@channel")
    >>> gain = skipping_gain(q, TileArray(rows=4, cols=4, lanes=2))
    >>> gain.terms, gain.zero_terms, round(gain.array, 3)
    (2, 0.875, 1.333)
    """
    integers, decoder = pe_integers(q)
    mask = decoder.man[decoder.rows(integers)] != 0
    dense = int(group_clocks(mask, replace(array, skip_zero_terms=False)).sum())
    clocks = {}
    for scope in SCOPES:
        skipping = replace(array, skip_zero_terms=True, skip_zero_activations=False, scope=scope)
        clocks[scope] = int(group_clocks(mask, skipping).sum())
    kept = float(mask.mean())
    return SkippingGain(
        scheme=str(q.scheme),
        terms=decoder.terms,
        zero_terms=1.0 - kept,
        ideal=1.0 / kept if kept else float("inf"),
        **{scope: dense / spent for scope, spent in clocks.items()},
    )
