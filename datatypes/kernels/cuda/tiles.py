"""Kernels within a stated limit of memory: work in tiles, two of them on the device at once.

Each tile has a stream and a buffer of its own: while the kernel of one runs, the operands of the
next are copied, then the results of the first come back. A kernel that fits is one tile. What lies
on the device already is taken as it is and counts for nothing.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ...base.errors import BitlatheError
from ...base.numbers import ceil_div
from .launch import lies_on_device, require_device, to_device

ALIGNED = 256  # bytes; where arrays begin in a buffer
Array = NDArray[Any]
Launch = Callable[[list[Any], list[Any], Any], None]
"""Starts kernels: arguments in their order, results, stream."""


class Result(NamedTuple):
    """A result of a tile: its shape, its type, who takes it on the host; zero before, or not."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    take: Callable[[Array], None]
    zero: bool = False

    @property
    def nbytes(self) -> int:
        """Return the bytes it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Tile(NamedTuple):
    """A part of the work: what is copied to the device for it alone, and what comes back."""

    inputs: tuple[Any, ...]
    results: tuple[Result, ...]


def memory_limit() -> int:
    """Return how many bytes operands and results may take on the device.

    1,024 MiB, or ``BITLATHE_CUDA_MIB``.

    Raises
    ------
    BitlatheError
        The variable is not a number of MiB.
    """
    text = os.environ.get("BITLATHE_CUDA_MIB", "1024")
    if not (text.isdecimal() and int(text)):
        raise BitlatheError(
            f"BITLATHE_CUDA_MIB={text!r}: a whole number of MiB, 1 or more, is right"
        )
    return int(text) << 20


def taken(arrays: Sequence[Any]) -> int:
    """Return the bytes that arrays and results take in a buffer; 0 for what is on the device."""
    return sum(
        ceil_div(each.nbytes, ALIGNED) * ALIGNED for each in arrays if not lies_on_device(each)
    )


def allocate(nbytes: int) -> Any:
    """Return a buffer of bytes on the device: the one place where tiles get their memory."""
    return cuda.device_array(max(1, nbytes), np.uint8)  # type: ignore[no-untyped-call]


class Buffer:
    """A piece of the device's memory, and the arrays that lie in it one behind the other."""

    def __init__(self, nbytes: int, stream: Any) -> None:
        self.bytes, self.stream, self.used = allocate(nbytes), stream, 0

    def array(self, shape: Sequence[int], dtype: Any) -> Any:
        """Return the next array, which holds anything."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        first = self.used
        self.used += ceil_div(count * kind.itemsize, ALIGNED) * ALIGNED
        part = self.bytes[first : first + count * kind.itemsize]
        return part.view(kind).reshape(tuple(shape))

    def put(self, given: Any) -> Any:
        """Return an array of the host, copied; one on the device as it is."""
        if lies_on_device(given):
            return to_device(given)
        host = np.ascontiguousarray(given)
        if not host.size:
            return to_device(host)
        made = self.array(host.shape, host.dtype)
        made.copy_to_device(host, stream=self.stream)
        return made

    def result(self, wanted: Result) -> Any:
        """Return room for a result, cleared where that is asked for."""
        if wanted.zero:
            return self.put(np.zeros(wanted.shape, wanted.dtype))
        return self.array(wanted.shape, wanted.dtype)


def starting(
    kernel: Any, grid_of: Callable[[tuple[int, ...]], tuple[Any, Any]], scalars: Sequence[Any]
) -> Launch:
    """Return what starts one kernel for a tile: ``kernel(*inputs, *scalars, *results)``.

    Parameters
    ----------
    kernel : CUDA kernel
    grid_of : callable
        From the shape of the first result to (blocks, threads).
    scalars : sequence
    """

    def launch(given: list[Any], results: list[Any], stream: Any) -> None:
        blocks, threads = grid_of(tuple(results[0].shape))
        kernel[blocks, threads, stream](*given, *scalars, *results)

    return launch


def run_tiles(launch: Launch, roles: str, inputs: Sequence[Any], tiles: Sequence[Tile]) -> None:
    """Run tiles one after the other, the copies of each beside the kernel of the one before.

    Parameters
    ----------
    launch : callable
        Starts the kernels of a tile in its stream.
    roles : str
        A letter for each argument: ``h`` is one of `inputs`, on the device for all tiles; each
        other takes the next of its tile's.
    inputs : sequence of array
        The arguments, of which those held are copied once.
    tiles : sequence of Tile

    Raises
    ------
    BitlatheError
        There is no CUDA device.
    """
    require_device()
    held = [each for role, each in zip(roles, inputs, strict=True) if role == "h"]
    fixed = Buffer(taken(held), 0)
    kept = iter([fixed.put(each) for each in held])
    arguments = [next(kept) if role == "h" else None for role in roles]
    most = max((taken(tile.inputs) + taken(tile.results) for tile in tiles), default=0)
    buffers = [Buffer(most, cuda.stream()) for _ in tiles[:2]]  # type: ignore[no-untyped-call]
    running: tuple[Tile, list[Any], Any] | None = None
    for number, tile in enumerate(tiles):
        buffer = buffers[number % 2]
        buffer.used = 0
        own = iter([buffer.put(each) for each in tile.inputs])
        given = [next(own) if role != "h" else arguments[n] for n, role in enumerate(roles)]
        results = [buffer.result(each) for each in tile.results]
        launch(given, results, buffer.stream)
        if running is not None:
            _finish(*running)
        running = tile, results, buffer.stream
    if running is not None:
        _finish(*running)


def _finish(tile: Tile, results: list[Any], stream: Any) -> None:
    """Bring the results of a tile back, and wait until they are there."""
    found = []
    for wanted, made in zip(tile.results, results, strict=True):
        host = np.empty(wanted.shape, wanted.dtype)
        made.copy_to_host(host, stream=stream)
        found.append(host)
    stream.synchronize()
    for wanted, host in zip(tile.results, found, strict=True):
        wanted.take(host)


def _room(held: int, largest: Callable[[int, int], int], sides: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns of the work a tile has.

    Parameters
    ----------
    held : int
        Bytes of what all tiles need.
    largest : callable
        Bytes of a tile of so many rows and columns, at most.
    sides : (int, int)
        All rows and columns.

    Raises
    ------
    BitlatheError
        Not even one of each fits.
    """
    limit = memory_limit()
    if held + largest(*sides) <= limit:
        return sides
    rows, columns = sides
    while held + 2 * largest(rows, columns) > limit:
        if rows == columns == 1:
            least = held + 2 * largest(1, 1)
            raise BitlatheError(
                f"device 'cuda': one row of the operands, twice, and what all rows share take "
                f"{least:,} bytes, more than the {limit:,} allowed; set BITLATHE_CUDA_MIB to more "
                "MiB, or use device='cpu'"
            )
        # the side that can be cut with the smaller tile left
        by_row = largest(ceil_div(rows, 2), columns) if rows > 1 else None
        by_column = largest(rows, ceil_div(columns, 2)) if columns > 1 else None
        if by_column is None or (by_row is not None and by_row < by_column):
            rows = ceil_div(rows, 2)
        else:
            columns = ceil_div(columns, 2)
    return rows, columns


def _bytes(inputs: Sequence[Any], roles: str, role: str, count: int) -> int:
    """Return the bytes that the first ``count`` rows of all inputs of a role take in a buffer."""
    return taken([each[:count] for each, r in zip(inputs, roles, strict=True) if r == role])


def _held(inputs: Sequence[Any], roles: str) -> int:
    return taken([each for each, role in zip(inputs, roles, strict=True) if role == "h"])


def row_ranges(count: int, held: int, largest: Callable[[int], int]) -> list[slice]:
    """Return the rows of each tile: so many that two tiles fit, or all of them.

    Parameters
    ----------
    count : int
        All rows.
    held : int
        Bytes of what all tiles need.
    largest : callable
        Bytes of a tile of so many rows.

    Raises
    ------
    BitlatheError
        A single row does not fit.
    """
    step, _ = _room(held, lambda rows, _: largest(rows), (count, 1))
    return _ranges(count, step)


def _ranges(count: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _into(out: Array, place: Any) -> Callable[[Array], None]:
    def take(found: Array) -> None:
        out[place] = found

    return take


def row_tiles(
    inputs: Sequence[Any], roles: str, outputs: Sequence[Array], zero: bool = False
) -> list[Tile]:
    """Cut work whose every row stands alone.

    Parameters
    ----------
    inputs : sequence of (...) array
        Of role ``r``: a row for each row of the work; ``h``: needed whole.
    roles : str
        A letter for each input.
    outputs : sequence of (rows, ...) ndarray
        On the host.
    zero : bool
        Kernels find zeros in the outputs; otherwise they write all of them.

    Raises
    ------
    BitlatheError
        A single row does not fit.
    """

    def largest(rows: int) -> int:
        return _bytes(inputs, roles, "r", rows) + taken([out[:rows] for out in outputs])

    return [
        Tile(
            tuple(each[part] for each, role in zip(inputs, roles, strict=True) if role == "r"),
            tuple(Result(o[part].shape, o.dtype, _into(o, part), zero) for o in outputs),
        )
        for part in row_ranges(len(outputs[0]), _held(inputs, roles), largest)
    ]


def product_tiles(inputs: Sequence[Any], roles: str, out: Array) -> list[Tile]:
    """Cut a product of matrices into blocks of its output.

    Parameters
    ----------
    inputs : sequence of (...) array
        Of role ``r``: a row for each row of the output; ``c``: a row for each of its columns;
        ``h``: needed whole.
    roles : str
        A letter for each input.
    out : (rows, columns) ndarray
        On the host; kernels write all of it.

    Raises
    ------
    BitlatheError
        A single row and column do not fit.
    """

    def largest(rows: int, columns: int) -> int:
        sides = _bytes(inputs, roles, "r", rows) + _bytes(inputs, roles, "c", columns)
        return sides + ceil_div(rows * columns * out.itemsize, ALIGNED) * ALIGNED

    rows, columns = _room(_held(inputs, roles), largest, (out.shape[0], out.shape[1]))
    tiles = []
    for right in _ranges(out.shape[1], columns):
        for left in _ranges(out.shape[0], rows):
            part = {"r": left, "c": right}
            own = [e[part[r]] for e, r in zip(inputs, roles, strict=True) if r != "h"]
            shape = left.stop - left.start, right.stop - right.start
            result = Result(shape, out.dtype, _into(out, (left, right)))
            tiles.append(Tile(tuple(own), (result,)))
    return tiles


def pair_tiles(inputs: Sequence[Any], roles: str, outputs: Sequence[Array]) -> list[Tile]:
    """Cut dot products of pairs of rows: pairs are put in order by blocks of rows and columns.

    Parameters
    ----------
    inputs : sequence of (...) array
        Of role ``r``: rows of the left operand; ``c``: rows of the right one, called columns;
        ``i`` and ``j``: (pairs,) int64 numbers of row and column of each pair; ``h``: needed
        whole.
    roles : str
        A letter for each input.
    outputs : sequence of (pairs,) ndarray
        On the host; kernels write all of them.

    Raises
    ------
    BitlatheError
        A single pair does not fit.
    """
    named = dict(zip(roles, inputs, strict=True))
    row, column = named["i"], named["j"]
    sides = named["r"].shape[0], named["c"].shape[0]
    each = int(row.itemsize + column.itemsize + sum(out.itemsize for out in outputs))
    most = [int(np.bincount(index).max(initial=0)) for index in (row, column)]

    def largest(rows: int, columns: int) -> int:
        pairs = min(rows * columns, rows * most[0], columns * most[1], int(row.size))
        own = _bytes(inputs, roles, "r", rows) + _bytes(inputs, roles, "c", columns)
        return own + pairs * each + (2 + len(outputs)) * ALIGNED

    rows, columns = _room(_held(inputs, roles), largest, sides)
    if (rows, columns) == sides:
        whole = tuple(e for e, role in zip(inputs, roles, strict=True) if role != "h")
        every = slice(None)
        return [Tile(whole, tuple(Result(o.shape, o.dtype, _into(o, every)) for o in outputs))]
    block = column // columns * ceil_div(sides[0], rows) + row // rows
    order = np.argsort(block, kind="stable")
    ends = np.flatnonzero(np.diff(block[order])) + 1
    tiles = []
    for pairs in np.split(order, ends):
        top, left = int(row[pairs[0]]) // rows * rows, int(column[pairs[0]]) // columns * columns
        own = []
        for given, role in zip(inputs, roles, strict=True):
            if role == "r":
                own.append(given[top : top + rows])
            elif role == "c":
                own.append(given[left : left + columns])
            elif role in "ij":
                own.append(given[pairs] - (top if role == "i" else left))
        results = (Result(pairs.shape, o.dtype, _into(o, pairs)) for o in outputs)
        tiles.append(Tile(tuple(own), tuple(results)))
    return tiles


def run_product(launch: Launch, roles: str, inputs: Sequence[Any], out: Any) -> None:
    """Run a product of matrices in tiles; at once where its output lies on the device.

    Parameters
    ----------
    launch, roles, inputs
        As `run_tiles` and `product_tiles` take them.
    out : (rows, columns) array
        On the host, or on the device, where it then stays: all that is large lies there already.
    """
    if lies_on_device(out):
        require_device()
        launch([to_device(each) for each in inputs], [out], 0)
        return
    run_tiles(launch, roles, inputs, product_tiles(inputs, roles, out))
