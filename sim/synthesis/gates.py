"""Gates run clock by clock, many streams of operands at once, and how often each net toggles."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...datatypes.base.errors import BitlatheError
from ..rtl.rows import Int64Array
from ..rtl.verilog import Design
from .flow import Netlist
from .liberty import Library
from .liberty_text import Tree

Words = npt.NDArray[np.uint64]
LANES = 64  # streams in a word
ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


class Batch(NamedTuple):
    """Gates of one kind and level: their function, nets of their inputs and of their output."""

    tree: Tree
    inputs: dict[str, Int64Array]
    output: Int64Array


class Circuit(NamedTuple):
    """A netlist in the order that it is evaluated in.

    ``nets`` is their number; nets 0 and 1 are constants. ``registers`` are cells, by name of the
    kind, with (n,) nets of each pin; ``drivers`` is the cell and pin that drive each net.
    """

    nets: int
    number: dict[object, int]
    batches: list[Batch]
    registers: list[tuple[str, dict[str, Int64Array]]]
    drivers: dict[int, tuple[str, str]]


def evaluate(tree: Tree, read: Callable[[str], Words]) -> Words:
    """Return the value of a function of (n, words) pins."""
    kind = tree[0]
    if kind == "pin":
        return read(str(tree[1]))
    first = evaluate(tree[1], read)  # type: ignore[arg-type]
    if kind == "not":
        return ~first
    second = evaluate(tree[2], read)  # type: ignore[arg-type]
    return first & second if kind == "and" else first | second if kind == "or" else first ^ second


def _pins_of(tree: Tree) -> set[str]:
    if tree[0] == "pin":
        return {str(tree[1])}
    return set().union(*(_pins_of(part) for part in tree[1:]))  # type: ignore[arg-type]


def circuit_of(netlist: Netlist, library: Library) -> Circuit:
    """Return a netlist levelized.

    Raises
    ------
    BitlatheError
        A register with clear or preset, or a loop of gates.
    """
    number: dict[object, int] = {"0": 0, "1": 1}
    nets = 2

    def numbered(bit: object) -> int:
        nonlocal nets
        if bit == "x":
            return 0
        if bit not in number:
            number[bit] = nets
            nets += 1
        return number[bit]

    level: dict[int, int] = {0: 0, 1: 0}
    for direction, bits in netlist.ports.values():
        for bit in bits:
            at = numbered(bit)
            if direction == "input":
                level[at] = 0
    waiting, registers = [], dict[str, list[dict[str, int]]]()
    drivers: dict[int, tuple[str, str]] = {}
    for name, pins in netlist.cells:
        cell, wired = library.cells[name], {pin: numbered(bit) for pin, bit in pins.items()}
        for output in cell.outputs:
            if output.name in wired:
                drivers[wired[output.name]] = (name, output.name)
        if cell.next_state is not None:
            registers.setdefault(name, []).append(wired)
            for output in cell.outputs:
                if output.name in wired:
                    level[wired[output.name]] = 0
        elif cell.outputs:
            waiting += [(name, out.name, wired) for out in cell.outputs if out.name in wired]
        else:
            raise BitlatheError(f"{library.name}: cell {name!r} has no function to be run by")
    batches = _levelized(waiting, level, library)
    packed = [
        (name, {pin: np.array([each[pin] for each in found]) for pin in found[0]})
        for name, found in registers.items()
    ]
    return Circuit(nets, number, batches, packed, drivers)


def _levelized(
    waiting: list[tuple[str, str, dict[str, int]]], level: dict[int, int], library: Library
) -> list[Batch]:
    """Return gates in batches of one level, kind and output; ``level`` is that of each net."""
    needs = {
        key: sorted(_pins_of(tree))
        for key, tree in {
            (name, out): library.cells[name].pins[out].function for name, out, _ in waiting
        }.items()
        if tree is not None
    }
    groups: dict[tuple[int, str, str], list[dict[str, int]]] = {}
    while waiting:
        later = []
        for name, out, wired in waiting:
            inputs = [wired[pin] for pin in needs[name, out]]
            if all(each in level for each in inputs):
                deep = 1 + max((level[each] for each in inputs), default=0)
                level[wired[out]] = deep
                groups.setdefault((deep, name, out), []).append(wired)
            else:
                later.append((name, out, wired))
        if len(later) == len(waiting):
            raise BitlatheError(f"{len(later)} gates of a loop without a register")
        waiting = later
    found = []
    for (_, name, out), members in sorted(groups.items(), key=lambda item: item[0]):
        tree = library.cells[name].pins[out].function
        assert tree is not None
        nets = {pin: np.array([each[pin] for each in members]) for pin in needs[name, out]}
        found.append(Batch(tree, nets, np.array([each[out] for each in members])))
    return found


class Activity(NamedTuple):
    """What a run showed: toggles of each net in all streams, and clocks times streams counted.

    ``taken`` are the (clocks, streams) rows that were offered, ``seen`` the (clocks, streams, bits)
    of watched ports.
    """

    toggles: Int64Array
    clocks: int
    taken: Int64Array
    seen: dict[str, npt.NDArray[np.uint8]]


def pack_streams(bits: npt.NDArray[np.uint8]) -> Words:
    """Return (streams, bits) zeros and ones as (bits, words), a stream a bit of a word."""
    streams = -(-bits.shape[0] // LANES) * LANES
    padded = np.zeros((bits.shape[1], streams), np.uint8)
    padded[:, : bits.shape[0]] = bits.T
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def unpack_streams(words: Words, streams: int) -> npt.NDArray[np.uint8]:
    """Return (bits, words) as (streams, bits)."""
    flat = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
    return np.unpackbits(flat, axis=1, bitorder="little")[:, :streams].T


def run_gates(
    circuit: Circuit,
    netlist: Netlist,
    library: Library,
    design: Design,
    rows: Mapping[str, npt.NDArray[np.uint8]],
    *,
    clocks: int,
    warm_up: int = 0,
    watch: tuple[str, ...] = (),
) -> Activity:
    """Run gates over streams of operands.

    Parameters
    ----------
    circuit, netlist, library, design
        The design, its gates, and those levelized.
    rows : dict of str to (rows, streams, bits) ndarray of uint8
        Bits of each input port; a stream's row stays until it is taken. After the last one the
        inputs are 0.
    clocks : int
        Clocks to run after one of reset.
    warm_up : int
        Clocks in whose toggles nobody is interested.
    watch : tuple of str
        Output ports to record.
    """
    count, streams = next(iter(rows.values())).shape[:2]
    whole = np.concatenate(
        [rows[port.name] for port in design.inputs]
        + [np.zeros((count, streams, 0), np.uint8)], axis=2
    )  # fmt: skip
    whole = np.concatenate([whole, np.zeros((1, *whole.shape[1:]), np.uint8)])
    ports = {
        name: np.array([0 if b == "x" else circuit.number[b] for b in bits])
        for name, (_, bits) in netlist.ports.items()
    }
    # an input that no gate reads may have lost its net; it is in the ports all the same
    order = np.concatenate([ports[port.name] for port in design.inputs])
    words = -(-streams // LANES)
    value = np.zeros((circuit.nets, words), np.uint64)
    value[1] = ONES
    mask = pack_streams(np.ones((streams, 1), np.uint8))[0]
    toggles = np.zeros(circuit.nets, np.int64)
    at, index = np.zeros(streams, np.int64), np.arange(streams)
    seen: dict[str, list[npt.NDArray[np.uint8]]] = {name: [] for name in watch}
    offers = []
    settled = value.copy()
    for clock in range(-1, clocks):
        if "rst" in ports:
            value[ports["rst"]] = ONES if clock < 0 else 0
        offered = whole[np.minimum(at, count), index]
        value[order] = pack_streams(offered if clock >= 0 else 0 * offered)
        _settle(circuit, value)
        if clock >= warm_up:
            toggles += np.bitwise_count((value ^ settled) & mask).sum(axis=1, dtype=np.int64)
        settled = value.copy()  # before registers take what is to be
        for name in watch if clock >= 0 else ():
            seen[name].append(unpack_streams(value[ports[name]], streams))
        if clock >= 0:
            offers.append(at.copy())
            taken = offered[:, 0] == 0
            if design.ready is None:
                taken[:] = True
            else:
                taken |= unpack_streams(value[ports[design.ready]], streams)[:, 0] == 1
            at += taken
        _step(circuit, value, library)
    return Activity(
        toggles,
        (clocks - warm_up) * streams,
        np.array(offers),
        {name: np.stack(each) for name, each in seen.items()},
    )


def _settle(circuit: Circuit, value: Words) -> None:
    for tree, inputs, output in circuit.batches:
        value[output] = evaluate(tree, lambda pin, nets=inputs: value[nets[pin]])  # type: ignore[misc]


def _step(circuit: Circuit, value: Words, library: Library) -> None:
    """Give registers their next values."""
    after = []
    for name, pins in circuit.registers:
        cell = library.cells[name]
        assert cell.next_state is not None
        after.append(evaluate(cell.next_state, lambda pin, nets=pins: value[nets[pin]]))  # type: ignore[misc]
    for (name, pins), state in zip(circuit.registers, after, strict=True):
        cell = library.cells[name]
        for output in cell.outputs:
            if output.name in pins and output.function is not None:
                kept = output.function == ("pin", cell.state[0])
                value[pins[output.name]] = state if kept else ~state
