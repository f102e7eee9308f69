"""Weights as a bit-serial PE sees them: integers on its grid, and the terms of each.

The decoder of a PE takes more than one format's values where the hardware does: integers come in
two's complement of their full width, and BitMoD's basic, extra-resolution and extra-asymmetry types
share one decoder per width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arch.grids import has_terms
from ...datatypes.base.errors import BitlatheError
from ...datatypes.formats.format import Format, Mixture
from ...datatypes.schemes.coders import CODERS
from ...datatypes.terms.schedule import TWO_BIT_FAMILIES, TermSchedule, schedule_of_grid, term_rows
from ...datatypes.terms.table import MAX_BITS, TermTable, term_table
from ...datatypes.terms.term import MAX_BSIG
from .operands import as_array, first_index

# Short names of the two BitMoD decoders, on top of the catalogue's.
ALIASES = {"fp3": "fp3_e2m0", "fp4": "fp4_e2m1"}


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class WeightDecoder:
    """Terms of every integer that a format may feed to a bit-serial PE.

    Parameters
    ----------
    name : str
        Format, for errors.
    schedule : TermSchedule
        Rule and significances.
    low : int
        Integer of the first row.
    grid : (n,) ndarray of int64
        The integers ``low, low + 1, ...``.
    valid : (n,) ndarray of bool
        Which of them the decoder knows.
    exp, man : (n, terms) ndarray of int8
        Exponent of each term, and its sign with its bit: -1, 0 or 1.
    """

    name: str
    schedule: TermSchedule
    low: int
    grid: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    exp: npt.NDArray[np.int8]
    man: npt.NDArray[np.int8]

    @property
    def terms(self) -> int:
        """Clocks per chunk."""
        return self.schedule.count

    def rows(self, weights: npt.ArrayLike, argument: str = "weights") -> npt.NDArray[np.int32]:
        """Return the decoder's row of each of (...) weights.

        Raises
        ------
        BitlatheError
            If a weight is not an integer on the grid; the first index is named.
        """
        array = as_array(weights, argument)
        if array.dtype.kind == "f":
            bad = ~np.isfinite(array) | (array != np.rint(np.where(np.isfinite(array), array, 0)))
            if bad.any():
                self._refuse(array, bad, argument)
        elif array.dtype.kind not in "iu":
            raise BitlatheError(
                f"{argument}: integers on the PE's grid are needed, got {array.dtype}"
            )
        from .bit_serial_kernels import decoder_rows

        whole = np.ascontiguousarray(array if array.dtype.kind == "i" else array.astype(np.int64))
        rows = np.empty(whole.shape, dtype=np.int32)
        wrong = decoder_rows(whole.reshape(-1), self.low, self.valid, rows.reshape(-1))
        if wrong >= 0:
            bad = np.zeros(whole.size, dtype=np.bool_)
            bad[wrong] = True
            self._refuse(array, bad.reshape(whole.shape), argument)
        return rows

    def _refuse(self, array: npt.NDArray[Any], bad: npt.NDArray[np.bool_], argument: str) -> None:
        index = first_index(bad)
        known = self.grid[self.valid]
        if len(known) == known[-1] - known[0] + 1:
            right = f"{known[0]}..{known[-1]}"
        else:
            right = ", ".join(str(int(v)) for v in known)
        raise BitlatheError(
            f"{argument}: {array[index]} at index {index} is not on the PE's grid of {self.name}; "
            f"its integers are {right}"
        )


def _decoder_integers(table_grid: Sequence[int], schedule: TermSchedule) -> set[int]:
    """Integers the hardware decodes for a grid: at least the grid itself."""
    integers = set(table_grid)
    low, high = min(integers), max(integers)
    if schedule.rule == "booth":
        width = max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1
        integers |= set(range(-(1 << (width - 1)), 1 << (width - 1)))
    for family in TWO_BIT_FAMILIES:
        if schedule.rule == "two_bit" and {abs(i) for i in integers} <= family:
            return {s * m for m in family for s in (-1, 1)}
    return integers


@lru_cache(maxsize=256)
def _decoder(
    name: str, grid: frozenset[int], max_bsig: int, schedule: TermSchedule | None = None
) -> WeightDecoder:
    schedule = schedule or schedule_of_grid(grid, max_bsig)
    integers = _decoder_integers(sorted(grid), schedule)
    low, high = min(integers), max(integers)
    dense = np.arange(low, high + 1, dtype=np.int64)
    valid = np.isin(dense, list(integers))
    sign, exp, man = term_rows(np.where(valid, dense, 0).tolist(), schedule)
    return WeightDecoder(
        name=name,
        schedule=schedule,
        low=low,
        grid=dense,
        valid=valid,
        exp=exp,
        man=np.where(sign == 1, -man, man).astype(np.int8),
    )


def _formats(element: Format | Mixture) -> Sequence[Format]:
    return element.formats if isinstance(element, Mixture) else (element,)


def _members(format: "str | Format | Mixture | TermTable") -> tuple[str, Sequence[Format]]:
    from ...datatypes.formats import catalogue

    if isinstance(format, str):
        name = ALIASES.get(format, format)
        if name not in catalogue.names() or not CODERS[catalogue.entry(name).coder].alone:
            raise BitlatheError(
                f"format {format!r} is not one the bit-serial PE takes. It takes: "
                f"{', '.join(supported_formats())}"
            )
        return format, _formats(catalogue.element(name))
    if isinstance(format, Format | Mixture):
        return format.name, _formats(format)
    raise BitlatheError(
        f"format: a name, a Format, a Mixture or a TermTable is needed, got {type(format).__name__}"
    )


def weight_decoder(
    format: "str | Format | Mixture | TermTable", max_bsig: int = MAX_BSIG
) -> WeightDecoder:
    """Return the decoder of a format: the integers on the PE's grid and their terms.

    Parameters
    ----------
    format : str, Format, Mixture or TermTable
        A name of the catalogue (or ``fp3``, ``fp4`` for BitMoD's decoders), or the thing itself.
        A mixture gets one decoder for all its members.
    max_bsig : int
        Largest significance of the PE.

    Returns
    -------
    WeightDecoder

    Raises
    ------
    BitlatheError
        If the name is unknown, the format is wider than 8 bits, or its terms would make a zero
        that it does not have; the error lists those that fit.
    """
    if isinstance(format, TermTable):
        return _decoder("table", frozenset(format.grid[format.valid].tolist()), max_bsig)
    name, members = _members(format)
    if any(f.bits > MAX_BITS for f in members):
        raise BitlatheError(
            f"the bit-serial PE does not take {name!r}: {members[0].bits} bits, at most {MAX_BITS} "
            f"fit. It takes: {', '.join(supported_formats())}"
        )
    if not all(map(has_terms, members)):
        raise BitlatheError(
            f"the bit-serial PE does not take {name!r}: it has no zero, and small values rounded "
            f"to the PE's fixed point would be 0. It takes: {', '.join(supported_formats())}"
        )
    tables = [term_table(f.values, f.bits, max_bsig=max_bsig) for f in members]
    unit = min(t.unit for t in tables)
    grid = frozenset(int(g * (t.unit / unit)) for t in tables for g in t.grid[t.valid].tolist())
    # members that agree on their schedule keep it: FP3 with -3 and 3 does not become INT4
    agreed = {(t.schedule, t.unit) for t in tables}
    return _decoder(name, grid, max_bsig, agreed.pop()[0] if len(agreed) == 1 else None)


@lru_cache(maxsize=1)
def supported_formats() -> tuple[str, ...]:
    """Return the names of the catalogue's formats that a bit-serial PE takes."""
    from ...datatypes.formats import catalogue

    names = (n for n in catalogue.names() if CODERS[catalogue.entry(n).coder].alone)
    supported = [n for n in names if all(map(has_terms, _formats(catalogue.element(n))))]
    return (*ALIASES, *supported)
