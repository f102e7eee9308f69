"""Twins of `kernels.grids.groups` on a GPU: the same codes, scales and choices, bit for bit.

Values that codes stand for are not made here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...base.errors import BitlatheError
from ..base.tables import Book, groups_of, ordered_cuts, value_table
from ..grids.groups import Bytes, Groups, Matrix
from . import group_kernels as kernels
from .launch import blocks_for, empty, lies_on_device, require_device, to_device
from .tiles import Launch, row_tiles, run_tiles

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
    """Return a matrix as it is, on the host or on the device, checked.

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
    return to_device(x) if lies_on_device(x) else x


def on_host(found: Groups) -> Groups:
    """Return groups with what lies on the device copied from there."""
    parts = {each.name: getattr(found, each.name) for each in fields(found)}
    there = {name: part.copy_to_host() for name, part in parts.items() if lies_on_device(part)}
    return replace(found, **there)


def _nothing(x: Any, group: int) -> Groups:
    """Return the groups of a matrix without elements."""
    shape = x.shape[0], groups_of(x.shape[1], group)
    none = np.zeros(shape, np.uint8)
    return Groups(codes=np.zeros(x.shape, np.uint8), scales=none.astype(np.float32), choices=none)


def _made(
    launch: Launch,
    roles: str,
    inputs: Sequence[Any],
    results: Sequence[tuple[tuple[int, ...], Any]],
) -> list[Any]:
    """Return what kernels make of the rows of a matrix, where it lies.

    Parameters
    ----------
    launch : callable
        Starts them; see `tiles.run_tiles`.
    roles : str
        Of the inputs, as in `tiles.row_tiles`.
    inputs : sequence of array
        The matrix is the first.
    results : sequence of (shape, dtype)
        A row for each row of the matrix.
    """
    if lies_on_device(inputs[0]):
        made = [empty(shape, dtype) for shape, dtype in results]
        launch([to_device(each) for each in inputs], made, 0)
        return made
    made = [np.empty(shape, dtype) for shape, dtype in results]
    run_tiles(launch, roles, inputs, row_tiles(inputs, roles, made))
    return made


def _start_choose(books: Sequence[Book], group: int, scale: str) -> Launch:
    """Return what starts the search of scales and choices, tables of the books behind the rows."""

    def launch(given: list[Any], results: list[Any], stream: Any) -> None:
        x, cuts, labels, tables, tops, leaves = given
        scales, choices = results[:2]
        count = scales.shape[0] * scales.shape[1]
        grid = blocks_for(count, kernels.SLOTS), kernels.SLOTS * kernels.SUMS
        kernels.choose_kernel[(*grid, stream)](
            x, cuts, labels, tables, tops, leaves, group, scale == "fp16", scales, choices
        )

    return launch


def _start_code(given: Sequence[Any], group: int, codes: Any, stream: Any) -> None:
    """Start the coding of rows: given are they, cuts, labels, scales, choices."""
    x = given[0]
    grid = (blocks_for(x.shape[1], THREADS), blocks_for(x.shape[0], 1)), THREADS
    kernels.code_kernel[(*grid, stream)](*given, group, codes)


def _tables(x: Any, books: Sequence[Book], group: int) -> tuple[Any, ...]:
    """Return what the search takes beside the matrix: cuts, labels, values, tops, leaves.

    Raises
    ------
    BitlatheError
        One of several books has too many codes.
    """
    cuts, labels, tables, tops = tables_of(books)
    if len(books) > 1 and tables.shape[1] > kernels.MOST_VALUES:
        raise BitlatheError(f"cuda: books of a mixture have at most {kernels.MOST_VALUES} codes")
    return cuts, labels, tables, tops, leaves_of(min(group, x.shape[1]))


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
        return found.scales, found.choices  # type: ignore[return-value]
    inputs = held, *_tables(held, books, group)
    shape = x.shape[0], groups_of(x.shape[1], group)
    results = (shape, np.float32), (shape, np.uint8)
    scales, choices = _made(_start_choose(books, group, scale), "rhhhhh", inputs, results)
    return scales, choices


def codebooks_given(
    x: Matrix, books: Sequence[Book], group: int, scales: Matrix, choices: Bytes
) -> Groups:
    """Code each group with a given book under a given scale; see `groups.codebooks_given`."""
    held = _held(x)
    codes = _nothing(x, group).codes
    if math.prod(x.shape):
        cuts, labels, _, _ = tables_of(books)
        inputs = held, cuts, labels, scales, choices

        def launch(given: list[Any], results: list[Any], stream: Any) -> None:
            _start_code(given, group, results[0], stream)

        codes = _made(launch, "rhhrr", inputs, [(tuple(x.shape), np.uint8)])[0]
    return Groups(codes=codes, scales=scales, choices=choices)


def codebooks(x: Matrix, books: Sequence[Book], group: int, scale: str = "fp32") -> Groups:
    """Code each group with the book of least squared error; see `groups.codebooks`.

    A matrix that lies on the device, such as a tensor of torch, is not copied, and what is
    returned lies there too.
    """
    held = _held(x)
    if not math.prod(x.shape):
        return _nothing(x, group)
    find = _start_choose(books, group, scale)

    def launch(given: list[Any], results: list[Any], stream: Any) -> None:
        find(given, results, stream)
        _start_code((*given[:3], *results[:2]), group, results[2], stream)

    shape = x.shape[0], groups_of(x.shape[1], group)
    results = (shape, np.float32), (shape, np.uint8), (tuple(x.shape), np.uint8)
    inputs = held, *_tables(held, books, group)
    scales, choices, codes = _made(launch, "rhhhhh", inputs, results)
    return Groups(codes=codes, scales=scales, choices=choices)


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
    top = int(np.float32(largest).view(np.int32))
    facts = group, top, mantissa_bits, RULES.index(rule)
    cuts, labels, _, _ = tables_of((book,))

    def launch(given: list[Any], results: list[Any], stream: Any) -> None:
        rows, *tables, choices = given
        exponents, codes, scales = results
        grid = blocks_for(math.prod(scales.shape), kernels.SLOTS), kernels.SLOTS * kernels.SUMS
        kernels.power_kernel[(*grid, stream)](rows, *facts, scales, exponents)
        _start_code((rows, *tables, scales, choices), group, codes, stream)

    results = (shape, np.uint8), (tuple(x.shape), np.uint8), (shape, np.float32)
    inputs = held, cuts, labels, np.zeros(shape, np.uint8)
    exponents, codes, _ = _made(launch, "rhhr", inputs, results)
    return Groups(codes=codes, scales=exponents)
