"""What follows from layer, chip and mapping, so that each of their figures shows in another one.

A certificate states these figures and the checker derives them again: how large the operands are,
what each port needs to pass each of them once, how many ways a chip has, what a mapping's loops
and tiles take. What neither these nor the cost depend on has no place in a file (`needless`).
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from .count import Counted
from .record import OPERANDS, Axis, Chip, Layer, Memory, Nest, Port, ProofError, Window
from .space import extents, needs, storages, ways


class Work(NamedTuple):
    """A layer of a certificate, and the energy of a unit in a clock of its steps."""

    layer: Layer
    unit_pj: Fraction


def elements(layer: Layer, operand: str) -> int:
    """Return the elements of an operand; of an input with windows all of its pixels."""
    own = layer.indexed(operand)
    return prod(layer.sizes[d] for d in layer.plain(own)) * prod(
        window.size for window in layer.slid(own)
    )


def reach(layer: Layer, window: Window) -> int:
    """Return the pixels that neighbouring outputs of a window may have in common."""
    return max(0, (layer.sizes[window.tap] - 1) * window.dilation + 1 - window.stride)


def layer_figures(work: Work) -> dict[str, Any]:
    """Return what follows from a layer.

    Multiplications; of each operand elements, their bits and those of their codes, and of outputs
    while they are unfinished; of each window pairs of output and tap on the border, and pixels
    from the first that is read to the last; energy of the units that do all of it.
    """
    layer = work.layer
    macs = prod(layer.sizes)
    return {
        "multiplications": macs,
        "operands": [
            [operand, many, str(many * layer.stored[operand]), str(many * layer.code[operand])]
            for operand in OPERANDS
            for many in [elements(layer, operand)]
        ],
        "unfinished_bits": str(elements(layer, "output") * layer.partial),
        "windows": [_window(layer, window) for window in layer.windows],
        "step_cycles": str(macs * layer.step_cycles),
        "units_pj": str(macs * layer.step_cycles * work.unit_pj),
    }


def _window(layer: Layer, window: Window) -> list[int]:
    taps = range(layer.sizes[window.tap])
    first = range(-window.padding, layer.sizes[window.out] * window.stride - window.padding,
                  window.stride)  # fmt: skip
    border = 0
    for tap in taps:
        at = tap * window.dilation
        inside = range(max(first.start, _up(-at, first)), window.size - at, window.stride)
        border += len(first) - len(range(inside.start, min(inside.stop, first.stop), first.step))
    return [border, first[-1] + (len(taps) - 1) * window.dilation - first[0] + 1]


def _up(low: int, first: range) -> int:
    """Return the least start of a window, of those at every stride, that is not below ``low``."""
    return first.start + max(0, -(-(low - first.start) // first.step)) * first.step


def chip_figures(works: Sequence[Work], chip: Chip) -> dict[str, Any]:
    """Return what follows from a chip for some layers.

    Storages, and ways to unroll each layer; the clocks of all layers where every unit always works,
    and pJ of a clock of it; of each axis units and tables along it, and of its dimensions the
    extents that it unrolls; of each memory its copies along each axis, places for tiles, bits and
    words in all copies, storages that keep each operand, and each operand once through each port.
    """
    kept = storages(chip)
    steps = sum(prod(work.layer.sizes) * work.layer.step_cycles for work in works)
    along = _along(chip, chip.units)
    tables = prod(_along(chip, chip.table_units))
    return {
        "storages": len(kept),
        "ways": [len(ways(work.layer, chip)) for work in works],
        "full_cycles": str(steps / prod(along) + chip.fill_cycles),
        "full_clock_pj": str(chip.static_pj + prod(along) * chip.unit_pj),
        "table_cycles": tables * chip.table_cycles,
        "table_pj": str(tables * chip.table_pj),
        "axes": [
            {
                "axis": axis.name,
                "units": along[i],
                "tables": _along(chip, chip.table_units)[i],
                "extents": [[dim, *_extents(works, axis, dim)] for dim in axis.dims],
            }
            for i, axis in enumerate(chip.axes)
        ],
        "memories": [
            {
                "memory": memory.name,
                "copies": _along(chip, memory.per),
                "tiles": copies * (1 + memory.double_buffered),
                "bits": None if memory.size_bits is None else memory.size_bits * copies,
                "words": None if memory.words is None else memory.words * copies,
                "kept": [
                    [operand, sum(memory in each[operand] for each in kept)]
                    for operand in memory.holds
                ],
                "halo_pixels": [
                    reach(work.layer, window) * memory.keep_halo
                    for work in works
                    for window in work.layer.windows
                ],
                "once": list(_once(works, memory)),
            }
            for memory in chip.memories
            for copies in [prod(_along(chip, memory.per))]
        ],
    }


def _along(chip: Chip, names: tuple[str, ...]) -> list[int]:
    return [axis.size if axis.name in names else 1 for axis in chip.axes]


def _extents(works: Sequence[Work], axis: Axis, dim: str) -> list[int]:
    """Return how many extents an axis has of a dimension of each layer, and the largest."""
    found = []
    for layer, _ in works:
        size = dict(zip(layer.dims, layer.sizes, strict=True)).get(dim, 1)
        some = extents(size, axis.size)
        found += [len(some), some[-1]]
    return found


def _once(works: Sequence[Work], memory: Memory) -> Iterator[list[Any]]:
    """Yield port, way, operand; clocks with latency, pJ, bursts of all its elements once."""
    for i, port in enumerate(memory.ports):
        for reads in (True, False):
            if port.direction in ("both", "read" if reads else "write"):
                way, price = ("read", port.read_pj) if reads else ("write", port.write_pj)
                for operand in port.operands:
                    many = sum(elements(work.layer, operand) for work in works)
                    clocks = sum(
                        (_clocks(port, work.layer, operand) for work in works), Fraction(0)
                    )
                    pj = clocks * price + many * memory.decoding_pj(operand, reads=reads)
                    row = [i, way, operand, str(clocks + memory.latency * reads), str(pj)]
                    yield [*row, port.burst_bits and str(clocks * port.width / port.burst_bits)]


def _clocks(port: Port, layer: Layer, operand: str) -> Fraction:
    """Return the clocks of an operand once, those of whole bursts."""
    bits = elements(layer, operand) * layer.stored[operand]
    if port.burst_bits is not None:
        bits = Fraction(-(-bits // port.burst_bits) * port.burst_bits)
    return bits / port.width


def mapping_figures(layer: Layer, chip: Chip, nest: Nest) -> dict[str, Any]:
    """Return what follows from a mapping.

    Of each loop, outermost first, iterations of a whole block and the extent of the last of them;
    of each unrolling units in use, idle ones of its axis, and steps that the dimension takes at
    least; of each operand in each memory elements and bits of a tile, bits of its tiles, and what
    of the memory that leaves.
    """
    counted = Counted(layer, chip, nest)
    block, loops = dict(zip(layer.dims, layer.sizes, strict=True)), list[list[Any]]()
    for level in nest.levels:
        for dim, tile in level.loops:
            times = -(-block[dim] // tile)
            loops.append([level.memory, dim, times, block[dim] - (times - 1) * tile])
            block[dim] = min(tile, block[dim])
    held, tiles, free = needs(counted), list[list[Any]](), dict[str, int | None]()
    for level in nest.levels:
        memory = chip.memory(level.memory)
        for operand in level.keeps:
            many, bits = held[level.memory, operand]
            times = 1 + (operand in level.doubled)
            most = (memory.size_bits, times * bits) if memory.words is None else (
                memory.words, times * many)  # fmt: skip
            left = free.get(memory.name, most[0])
            free[memory.name] = None if left is None else left - most[1]
            tiles.append([memory.name, operand, many, bits, times * bits, free[memory.name]])
    most_of = {axis.name: axis.size for axis in chip.axes}
    sizes = dict(zip(layer.dims, layer.sizes, strict=True))
    return {
        "loops": loops,
        "unrolled": [
            [axis, dim, size, most_of[axis] - size, -(-sizes[dim] // size)]
            for axis, dim, size in nest.spatial
        ],
        "tiles": tiles,
    }


def check_steps(layer: Layer) -> None:
    """Refuse a stride between outputs, or a dilation of taps, where there is one.

    Raises
    ------
    ProofError
        There is such a one.
    """
    for window in layer.windows:
        for at, step, name in (
            (window.out, window.stride, "stride"),
            (window.tap, window.dilation, "dilation"),
        ):
            if layer.sizes[at] == 1 and step != 1:
                raise ProofError(
                    f"layer.windows: the {name} of {layer.dims[at]}, of which there is one, must "
                    "be 1, since nothing depends on it."
                )


def check_needed(works: Sequence[Work], chip: Chip, where: str) -> None:
    """Refuse what is said of a chip that no figure depends on.

    Raises
    ------
    ProofError
        There is something; the sentence says what it must be instead.
    """
    wrong = next(_needless(works, chip), None)
    if wrong:
        raise ProofError(f"{where}: {wrong}, since nothing depends on it.")


def _said(works: Sequence[Work]) -> tuple[set[str], bool]:
    """Return the dimensions of more than one step, and whether outputs share pixels."""
    dims = {
        dim for layer, _ in works for dim, n in zip(layer.dims, layer.sizes, strict=True) if n > 1
    }
    return dims, any(reach(layer, window) for layer, _ in works for window in layer.windows)


def _needless(works: Sequence[Work], chip: Chip) -> Iterator[str]:
    dims, shared = _said(works)
    for axis in chip.axes:
        gone = [dim for dim in axis.dims if dim not in dims]
        if gone:
            yield f"dimension {gone[0]} of axis {axis.name!r} must be left out"
    if chip.table_units and not (chip.table_pj or chip.table_cycles):
        yield "table_units must be left out"
    for i, memory in enumerate(chip.memories):
        if not i and not memory.double_buffered:
            yield f"double_buffered of {memory.name!r} must be true"
        if memory.keep_halo and not (i and shared and "input" in memory.holds):
            yield f"keep_halo of {memory.name!r} must be false"
        if memory.decode_pj and "weight" not in memory.holds:
            yield f"decode_pj of {memory.name!r} must be 0"
        for n, port in enumerate(memory.ports):
            if not set(port.operands) <= set(memory.holds):
                yield f"port {n} of {memory.name!r} must have operands that it holds alone"
            if (port.read_pj, port.write_pj)[port.direction == "read"] and port.direction != "both":
                yield f"pJ of what port {n} of {memory.name!r} does not do must be 0"


def pared(works: Sequence[Work], data: dict[str, Any]) -> dict[str, Any]:
    """Return a chip's plain data without what nothing depends on (`check_needed`)."""
    dims, shared = _said(works)
    tables = data["table_units"] if data["table_pj"] or data["table_cycles"] else []
    return {
        **data,
        "axes": [
            {**axis, "dims": [dim for dim in axis["dims"] if dim in dims]} for axis in data["axes"]
        ],
        "table_units": tables,
        "memories": [
            {
                **memory,
                "double_buffered": memory["double_buffered"] or not i,
                "keep_halo": bool(
                    memory["keep_halo"] and i and shared and "input" in memory["holds"]
                ),
                "decode_pj": memory["decode_pj"] if "weight" in memory["holds"] else 0,
                "ports": [
                    {
                        **port,
                        "read_pj": port["read_pj"] if port["direction"] != "write" else 0,
                        "write_pj": port["write_pj"] if port["direction"] != "read" else 0,
                        "operands": [op for op in port["operands"] if op in memory["holds"]],
                    }
                    for port in memory["ports"]
                ],
            }
            for i, memory in enumerate(data["memories"])
        ],
    }
