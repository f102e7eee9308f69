"""Closed forms of a bit-serial tile array: clocks of one product, dense or with term skipping.

Rows share weights (output channels), columns share activations (tokens); every PE has ``lanes``
lanes and takes one term of each of its weights per clock. Without skipping the clocks follow from
the sizes alone, in a handful of integer operations. With skipping they depend on the data: the
clocks of every group come from the terms, the rest is a short recursion over groups.

Sources: pipeline depth, group rescale and lanes from BitMoD (arXiv 2411.11745), section IV.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....datatypes.base.errors import BitlatheError, unknown_name
from ....datatypes.base.numbers import ceil_div, whole_number
from ..counts import OperandCounts, check_counter
from ..groups import clocks_after_first

SCOPES = ("lane", "row", "column", "array")
MAX_LANES = 16
MAX_RESCALE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TileArray:
    """A bit-serial tile array.

    Attributes
    ----------
    rows, cols : int
        PEs: output channels and tokens served at once.
    lanes : int
        Weights per PE and clock, 1..16.
    group_size : int or None
        Weights per scale; None is one group of all K. A last group may be shorter.
    rescale_cycles : int
        Clocks of the rescale unit per group, the bits of the scale; 0 without the unit.
    pipeline_cycles : int
        Clocks from entering a PE to its accumulator.
    group_gap : int
        Clocks between groups.
    drain_register : bool
        Results leave, one row per clock, beside the next tile.
    skip_zero_terms : bool
        Leave out clocks whose terms are zero; a chunk takes at least one clock.
    skip_zero_activations : bool
        Also count terms as zero that meet a zero activation.
    scope : {"lane", "row", "column", "array"}
        What steps from chunk to chunk together when terms are skipped. ``lane``: nothing, every
        lane runs alone. ``row``: the PEs of a row, which share a term stream. ``column``: the PEs
        of a column, which share activations. ``array``: all rows. At the end of each group all
        wait for the slowest.
    """

    rows: int
    cols: int
    lanes: int = 4
    group_size: int | None = 128
    rescale_cycles: int = 8
    pipeline_cycles: int = 6
    group_gap: int = 0
    drain_register: bool = True
    skip_zero_terms: bool = False
    skip_zero_activations: bool = False
    scope: str = "array"

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[int, int | None]] = {
            "rows": (1, None),
            "cols": (1, None),
            "lanes": (1, MAX_LANES),
            "pipeline_cycles": (1, None),
            "rescale_cycles": (0, MAX_RESCALE),
            "group_gap": (0, 1 << 20),
        }
        if self.group_size is not None:
            bounds["group_size"] = (1, None)
        for name, (low, high) in bounds.items():
            object.__setattr__(self, name, whole_number(name, getattr(self, name), low, high))
        if self.scope not in SCOPES:
            raise BitlatheError(unknown_name("scope", str(self.scope), SCOPES))
        if self.skip_zero_activations and not self.skip_zero_terms:
            raise BitlatheError("skip_zero_activations needs skip_zero_terms")

    def groups_of(self, k: int) -> tuple[int, int, int]:
        """Return (groups, weights of each full group, weights of the last group)."""
        size = min(self.group_size or k, k)
        groups = ceil_div(k, size)
        return groups, size, k - (groups - 1) * size


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCount:
    """What one product costs on a bit-serial tile array.

    Attributes
    ----------
    cycles : int
        Clocks from the first term entering to the last result leaving.
    issue_cycles : int
        Clocks in which terms enter.
    tiles, row_folds, column_folds : int
        ceil(N / rows) * ceil(M / cols) and its factors.
    utilization : float
        macs * (issue clocks per chunk of a dense array) / (cycles * PEs * lanes); above 1 is
        possible where terms are skipped.
    """

    cycles: int
    issue_cycles: int
    tiles: int
    row_folds: int
    column_folds: int
    macs: int
    sram_reads: OperandCounts
    sram_writes: OperandCounts
    utilization: float


def _folds(m: int, n: int, array: TileArray) -> tuple[int, int, int]:
    """Return (row folds, column folds, rows used by the last row fold)."""
    row_folds, column_folds = ceil_div(n, array.rows), ceil_div(m, array.cols)
    return row_folds, column_folds, n - (row_folds - 1) * array.rows


def _finish(
    m: int, n: int, k: int, array: TileArray, terms: int, cycles: int, issue: int
) -> TileCount:
    """Wrap clocks into a record with the accesses that do not depend on them."""
    row_folds, column_folds, _ = _folds(m, n, array)
    macs = m * n * k
    reads = OperandCounts(input=m * k * row_folds, weight=n * k * column_folds, output=0)
    lane_clocks = cycles * array.rows * array.cols * array.lanes
    check_counter(f"lane clocks of the product {m} x {n} x {k}", lane_clocks)
    check_counter(f"term products of the product {m} x {n} x {k}", macs * terms)
    check_counter(f"SRAM reads of the product {m} x {n} x {k}", reads.total)
    return TileCount(
        cycles=cycles,
        issue_cycles=issue,
        tiles=row_folds * column_folds,
        row_folds=row_folds,
        column_folds=column_folds,
        macs=macs,
        sram_reads=reads,
        sram_writes=OperandCounts(input=0, weight=0, output=m * n),
        utilization=macs * terms / lane_clocks,
    )


def tile_count(m: int, n: int, k: int, array: TileArray, terms: int) -> TileCount:
    """Count clocks of the product (m, k) x (k, n) without term skipping, in closed form.

    A group of g weights issues for T = terms * ceil(g / lanes) clocks. Its sum is handed to the
    rescale unit at

        h_i = max(h_{i-1} + T_i + gap, free_{i-1}),    h_0 = T_0 + pipeline,

    where free is the clock at which the unit is done with the group before: k clocks after its
    hand-over, for the last group of a tile also not before the drain is empty. In a tile all
    terms but the first are known sums, so a tile advances the pair (hand-over, drain) by a
    max-plus map with constants; only the rows used by a tile vary, with period ``row_folds``.

    Parameters
    ----------
    m, n, k : int
        Tokens, outputs and inputs.
    array : TileArray
        With ``skip_zero_terms`` False.
    terms : int
        Clocks per chunk, a property of the weight format.

    Returns
    -------
    TileCount

    Raises
    ------
    BitlatheError
        Sizes below 1, an array that skips terms, counters past 2^53.

    Examples
    --------
    >>> chip = TileArray(rows=32, cols=32)
    >>> tile_count(256, 4096, 4096, chip, terms=2).cycles
    2097198
    """
    m, n, k = whole_number("m", m, 1), whole_number("n", n, 1), whole_number("k", k, 1)
    terms = whole_number("terms", terms, 1)
    if array.skip_zero_terms:
        raise BitlatheError(
            "clocks with term skipping depend on the weights: use `group_clocks` and `tile_cycles`"
        )
    groups, size, last = array.groups_of(k)
    full_t, last_t = terms * ceil_div(size, array.lanes), terms * ceil_div(last, array.lanes)
    row_folds, column_folds, last_rows = _folds(m, n, array)
    tiles, unit, gap = row_folds * column_folds, array.rescale_cycles, array.group_gap
    first_t = full_t if groups > 1 else last_t
    # W: from the first hand-over of a tile to its last; A: issue of its first group
    W = clocks_after_first(groups, full_t, last_t, gap=gap, unit=unit)
    A = first_t + gap
    start = first_t + array.pipeline_cycles + W + unit
    cycles = start + _steps(array, row_folds, column_folds, last_rows, A, W) + last_rows
    issue = tiles * ((groups - 1) * full_t + last_t)
    return _finish(m, n, k, array, terms, cycles, issue)


def _steps(
    array: TileArray, row_folds: int, column_folds: int, last_rows: int, A: int, W: int
) -> int:
    """Return the clocks from the first tile's results being ready to the last tile's.

    One step per tile after the first. ``after_full`` steps follow a tile of all rows,
    ``after_last`` steps follow a last row fold.
    """
    unit, R = array.rescale_cycles, array.rows
    after_full, after_last = column_folds * (row_folds - 1), column_folds - 1
    if not array.drain_register:
        full, short = max(A, unit + R), max(A, unit + last_rows)
        return after_full * (full + W) + after_last * (short + W)
    if row_folds == 1:
        return after_last * max(A + W, W + unit, last_rows)
    if unit <= A and R <= A + W:
        return (after_full + after_last) * (A + W)
    # Either the unit binds (A < unit), or the drain does (R > A + W): then a step after a short
    # drain starts from a blocked unit and cannot reach A + W, unless no step before it waited
    # for the drain either. Both ways cost the same per column fold, so the longer one stays.
    blocked = after_full * max(R, W + unit) + after_last * max(last_rows, W + unit)
    flowing = after_last * row_folds * (A + W) + (row_folds - 1) * R
    return max(blocked, flowing)


def group_clocks(
    weight_terms: NDArray[np.bool_],
    array: TileArray,
    activations_nonzero: NDArray[np.bool_] | None = None,
    m: int = 1,
) -> NDArray[np.int64]:
    """Return the issue clocks of every group of every tile, from the terms that are not zero.

    Parameters
    ----------
    weight_terms : (N, K, terms) ndarray of bool
        Which terms of each weight are not zero.
    array : TileArray
    activations_nonzero : (M, K) ndarray of bool, optional
        Needed with ``skip_zero_activations``.
    m : int
        Tokens; taken from the activations where they are given.

    Returns
    -------
    (column_folds, row_folds, groups) ndarray of int64
        In the order in which tiles run: column folds outer, row folds inner.

    Raises
    ------
    BitlatheError
        Shapes that do not match, or an array that skips zero activations without activations.
    """
    if weight_terms.ndim != 3 or 0 in weight_terms.shape:
        raise BitlatheError(
            f"weight_terms: shape (N, K, terms) without zeros is needed, got {weight_terms.shape}"
        )
    n, k, _ = weight_terms.shape
    if activations_nonzero is not None and activations_nonzero.shape[1:] != (k,):
        raise BitlatheError(
            f"activations_nonzero: shape (M, {k}) is needed, got {activations_nonzero.shape}"
        )
    active = activations_nonzero if array.skip_zero_activations else None
    if array.skip_zero_activations and activations_nonzero is None:
        raise BitlatheError("skip_zero_activations needs the activations")
    tokens = m if activations_nonzero is None else activations_nonzero.shape[0]
    row_folds, column_folds, _ = _folds(tokens, n, array)
    groups, size, _ = array.groups_of(k)
    clocks = np.empty((column_folds, row_folds, groups), np.int64)
    for g in range(groups):
        part = slice(g * size, min((g + 1) * size, k))
        for i in range(row_folds):
            need = _chunks(weight_terms[i * array.rows : (i + 1) * array.rows, part], array.lanes)
            for j in range(column_folds):
                if active is None:
                    if j == 0:
                        clocks[:, i, g] = _one_group(need[:, None], array)
                    continue
                live = _chunks(
                    active[j * array.cols : (j + 1) * array.cols, part, None], array.lanes
                )
                clocks[j, i, g] = _one_group(need[:, None] & live[None], array)
    return clocks


def _chunks(terms: NDArray[np.bool_], lanes: int) -> NDArray[np.bool_]:
    """(rows, k, terms) -> (rows, chunks, lanes, terms), the last chunk filled with zeros."""
    rows, k, count = terms.shape
    short = -k % lanes
    padded = np.pad(terms, ((0, 0), (0, short), (0, 0)))
    return padded.reshape(rows, (k + short) // lanes, lanes, count)


def _one_group(need: NDArray[np.bool_], array: TileArray) -> int:
    """Clocks of one group; ``need`` is (rows, columns, chunks, lanes, terms)."""
    if not array.skip_zero_terms:
        return int(need.shape[2] * need.shape[4])
    if array.scope == "lane":
        return int(np.maximum(need.sum(4), 1).sum(2).max())
    slots: NDArray[np.bool_] = np.any(
        need, axis=3
    )  # rows, columns, chunks, terms: the clocks a PE cannot leave out
    if array.scope == "column":
        return int(np.maximum(slots.sum(3), 1).max(0).sum(1).max())
    stream = np.maximum(
        np.any(slots, axis=1).sum(2), 1
    )  # rows, chunks: PEs of a row share a stream
    return int(stream.sum(1).max() if array.scope == "row" else stream.max(0).sum())


def tile_cycles(clocks: NDArray[np.int64], n: int, array: TileArray) -> tuple[int, int]:
    """Return (cycles, stall cycles) for given issue clocks of every group.

    Parameters
    ----------
    clocks : (column_folds, row_folds, groups) ndarray of int64
        As `group_clocks` makes them.
    n : int
        Outputs; the last row fold may use fewer rows.

    Notes
    -----
    Stalls are clocks in which the pipeline stands still because the rescale unit or the drain
    behind it is not free.
    """
    column_folds, row_folds, groups = clocks.shape
    used = [array.rows] * (row_folds - 1) + [n - (row_folds - 1) * array.rows]
    handed = array.pipeline_cycles - array.group_gap
    free = drained = 0
    for column in range(column_folds):
        for row in range(row_folds):
            for group, issue in enumerate(clocks[column, row].tolist()):
                handed = max(handed + issue + array.group_gap, free)
                free = handed + array.rescale_cycles
                if group == groups - 1:
                    ready = max(free, drained)
                    drained = ready + used[row]
                    free = ready if array.drain_register else drained
    unhindered = int(clocks.sum()) + array.group_gap * (clocks.size - 1) + array.pipeline_cycles
    return drained, handed - unhindered


def tile_count_skipping(
    weight_terms: NDArray[np.bool_],
    array: TileArray,
    activations_nonzero: NDArray[np.bool_] | None = None,
    m: int = 1,
) -> TileCount:
    """Count the clocks of a product whose terms are known.

    Parameters
    ----------
    weight_terms : (N, K, terms) ndarray of bool
        Which terms of each weight are not zero.
    array, activations_nonzero, m
        As in `group_clocks`.
    """
    clocks = group_clocks(weight_terms, array, activations_nonzero, m)
    n, k, terms = weight_terms.shape
    tokens = m if activations_nonzero is None else activations_nonzero.shape[0]
    cycles, _ = tile_cycles(clocks, n, array)
    return _finish(tokens, n, k, array, terms, cycles, int(clocks.sum()))
