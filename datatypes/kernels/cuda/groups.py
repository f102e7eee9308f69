"""Twins of `kernels.grids.groups` on a GPU: the same codes, scales and choices, bit for bit.

Values that codes stand for are not made here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...base.errors import BitlatheError
from ..base.tables import Book, groups_of, ordered_cuts, value_table
from ..grids.groups import Bytes, Groups, Matrix
from . import group_kernels as kernels
from .launch import blocks_for, empty, lies_on_device, require_device, run, to_device

HIGHEST: Final = np.iinfo(np.int32).max
RULES: Final = ("floor", "ceil", "even", "rceil")
THREADS: Final = 256


def tables_of(books: Sequence[Book]) -> tuple[NDArray[Any], NDArray[Any], Matrix, Matrix]:
    """Return the cuts, labels, values by code and tops of books, each filled up to the longest."""
    pairs = [ordered_cuts(book) for book in books]
    longest = max(len(cuts) for cuts, _ in pairs)
    cuts = np.full((len(books), longest), HIGHEST, np.int32)
    labels = np.zeros((len(books), longest + 1), np.int32)
    values = [value_table(book) for book in books]
    tables = np.zeros((len(books), max(v.size for v in values)), np.float32)
    for i, (places, codes) in enumerate(pairs):
        cuts[i, : len(places)] = places
        labels[i, : len(places) + 1] = codes or range(len(places) + 1)
        tables[i, : values[i].size] = values[i]
    return cuts, labels, tables, np.array([book.top for book in books], np.float32)


def leaves_of(size: int) -> NDArray[np.int64]:
    """Return the blocks of numpy's pairwise summation: (start, length, sums joined behind it)."""

    def halves(start: int, count: int) -> Iterator[list[int]]:
        if count <= 128:
            yield [start, count, 0]
            return
        half = count // 2
        half -= half % 8
        yield from halves(start, half)
        *rest, last = halves(start + half, count - half)
        yield from rest
        yield [*last[:2], last[2] + 1]

    return np.array(list(halves(0, size)), np.int64)


def _held(x: Any) -> Any:
    """Return a matrix on the device; it is copied there unless it lies there already.

    Raises
    ------
    BitlatheError
        If there is no CUDA device, or the matrix is not one of float32.
    """
    require_device()
    if len(x.shape) != 2 or not str(x.dtype).endswith("float32"):
        raise BitlatheError(
            "device 'cuda': x: a (rows, k) matrix of float32 is needed, got "
            f"{tuple(x.shape)} of {x.dtype}"
        )
    return to_device(x)


def _back(x: Any, found: Groups) -> Groups:
    """Return what was found where the matrix came from: on the host, or on the device."""
    if lies_on_device(x):
        return found
    parts = {
        name: part.copy_to_host()
        for name in ("codes", "scales", "choices")
        if (part := getattr(found, name)) is not None
    }
    return replace(found, **parts)


def _nothing(x: Any, group: int) -> Groups:
    """Return the groups of a matrix without elements."""
    shape = x.shape[0], groups_of(x.shape[1], group)
    none = np.zeros(shape, np.uint8)
    return Groups(codes=np.zeros(x.shape, np.uint8), scales=none.astype(np.float32), choices=none)


def _choose(x: Any, books: Sequence[Book], group: int, scale: str) -> tuple[Any, Any]:
    """Return the scales and the choices of a matrix on the device, there."""
    cuts, labels, tables, tops = tables_of(books)
    if len(books) > 1 and tables.shape[1] > kernels.MOST_VALUES:
        raise BitlatheError(f"cuda: books of a mixture have at most {kernels.MOST_VALUES} codes")
    shape = x.shape[0], groups_of(x.shape[1], group)
    scales, choices = empty(shape, np.float32), empty(shape, np.uint8)
    inputs = x, cuts, labels, tables, tops, leaves_of(min(group, x.shape[1]))
    grid = blocks_for(shape[0] * shape[1], kernels.SLOTS), kernels.SLOTS * kernels.SUMS
    run(kernels.choose_kernel, grid, inputs, (group, scale == "fp16"), (scales, choices))
    return scales, choices


def _code(x: Any, books: Sequence[Book], group: int, scales: Any, choices: Any) -> Any:
    """Return the codes of a matrix on the device, there."""
    rows, k = x.shape
    codes = empty((rows, k), np.uint8)
    cuts, labels, _, _ = tables_of(books)
    grid = (blocks_for(k, THREADS), blocks_for(rows, 1)), THREADS
    run(kernels.code_kernel, grid, (x, cuts, labels, scales, choices), (group,), (codes,))
    return codes


def choose(
    x: Matrix, books: Sequence[Book], group: int, scale: str = "fp32"
) -> tuple[Matrix, Bytes]:
    """Return the scales and the choices that `codebooks` finds.

    Raises
    ------
    BitlatheError
        If there is no CUDA device, or one of several books has more than 64 codes.
    """
    held = _held(x)
    if not math.prod(x.shape):
        found = _nothing(x, group)
    else:
        scales, choices = _choose(held, books, group, scale)
        found = _back(x, Groups(codes=choices, scales=scales, choices=choices))
    return found.scales, found.choices  # type: ignore[return-value]


def codebooks_given(
    x: Matrix, books: Sequence[Book], group: int, scales: Matrix, choices: Bytes
) -> Groups:
    """Code each group with a given book under a given scale; see `groups.codebooks_given`."""
    held = _held(x)
    codes = _nothing(x, group).codes
    if math.prod(x.shape):
        codes = _code(held, books, group, scales, choices)
        codes = codes if lies_on_device(x) else codes.copy_to_host()
    return Groups(codes=codes, scales=scales, choices=choices)


def codebooks(x: Matrix, books: Sequence[Book], group: int, scale: str = "fp32") -> Groups:
    """Code each group with the book of least squared error; see `groups.codebooks`.

    A matrix that lies on the device, such as a tensor of torch, is not copied, and what is
    returned lies there too.
    """
    held = _held(x)
    if not math.prod(x.shape):
        return _nothing(x, group)
    scales, choices = _choose(held, books, group, scale)
    codes = _code(held, books, group, scales, choices)
    return _back(x, Groups(codes=codes, scales=scales, choices=choices))


def mx(
    x: Matrix,
    book: Book,
    largest: float,
    mantissa_bits: int,
    group: int = 32,
    rule: str = "floor",
) -> Groups:
    """Code blocks of elements under a shared E8M0 scale; see `groups.mx` and `groups.mx_integer`.

    Parameters
    ----------
    x : (rows, k) float32
    book : Book
        The element's values.
    largest : float
        Its largest value.
    mantissa_bits : int
    group : int
    rule : str
        ``floor``, ``ceil``, ``even`` or ``rceil``.
    """
    held = _held(x)
    if not math.prod(x.shape):
        none = _nothing(x, group)
        return Groups(codes=none.codes, scales=none.scales.astype(np.uint8))
    shape = x.shape[0], groups_of(x.shape[1], group)
    scales, exponents = empty(shape, np.float32), empty(shape, np.uint8)
    top = int(np.float32(largest).view(np.int32))
    grid = blocks_for(shape[0] * shape[1], kernels.SLOTS), kernels.SLOTS * kernels.SUMS
    facts = group, top, mantissa_bits, RULES.index(rule)
    run(kernels.power_kernel, grid, (held,), facts, (scales, exponents))
    codes = _code(held, (book,), group, scales, np.zeros(shape, np.uint8))
    return _back(x, Groups(codes=codes, scales=exponents))
