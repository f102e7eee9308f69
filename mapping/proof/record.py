"""What a certificate says, read strictly: every key is known, every number exact.

A number is an integer, or text such as ``"1045/256"``; floating point appears nowhere.
"""

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

OPERANDS = ("weight", "input", "output")
DIRECTIONS = ("read", "write", "both")
PRODUCT = ("m", "n", "k", "b")
CONVOLUTION = ("m", "n", "c", "p", "q", "r", "s", "g")
DIMS = tuple(dict.fromkeys(PRODUCT + CONVOLUTION))
KINDS = dict(zip("mpqnkcrsbg", (0, 0, 0, 1, 2, 2, 2, 2, 3, 3), strict=True))
"""Whose loops stand together; an operand is indexed by all kinds but one, the last by itself"""
OTHER = {"weight": 0, "input": 1, "output": 2}
"""The kind of the dimensions that do not index an operand"""
OBJECTIVES = ("cycles", "energy", "edp")
LARGEST = 10**40  # more digits than any figure of a real layer has
LARGEST_SIZE = 1 << 24
Loop = tuple[str, int]
Unroll = tuple[str, str, int]
_NUMBER = re.compile(r"-?\d{1,400}(/[1-9]\d{0,400})?")


class ProofError(Exception):
    """A certificate that does not hold; the text says what, in a sentence."""


def take(data: Any, where: str, keys: str) -> list[Any]:
    """Return the values of an object that has these keys, and no others.

    Parameters
    ----------
    data : object
        What was read.
    where : str
        Its place in the file.
    keys : str
        The names, with spaces between them.

    Raises
    ------
    ProofError
        It is something else.
    """
    names = keys.split()
    if not isinstance(data, dict):
        raise ProofError(f"{where} is {short(data)}; it must have the keys {', '.join(names)}.")
    for name in [*data, *names]:
        if name not in data or name not in names:
            what = "is missing" if name in names else "is not one of its keys"
            raise ProofError(f"{where}: {name!r} {what}; its keys are {', '.join(names)}.")
    return [data[name] for name in names]


def short(data: Any) -> str:
    """Return a value as text of at most forty letters."""
    text = repr(data)
    return text if len(text) <= 40 else f"{text[:37]}..."


def listed(data: Any, where: str) -> list[Any]:
    """Return a list as it is, or refuse what is none.

    Raises
    ------
    ProofError
        It is something else.
    """
    if not isinstance(data, list):
        raise ProofError(f"{where} is {short(data)}; it must be a list.")
    return data


def texts(data: Any, where: str, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return a list of names, each once, of those that are known, in the order of these.

    Raises
    ------
    ProofError
        It is something else.
    """
    names = listed(data, where)
    for name in names:
        if not isinstance(name, str) or (known is not None and name not in known):
            among = "a name" if known is None else f"one of {', '.join(known)}"
            raise ProofError(f"{where} has {short(name)}; it must be {among}.")
    if len(set(names)) != len(names):
        raise ProofError(f"{where} names one thing twice; each must be there once.")
    if known is not None and names != (order := [name for name in known if name in names]):
        raise ProofError(f"{where} is out of order; it must be {', '.join(order)}.")
    return tuple(names)


def text(data: Any, where: str) -> str:
    """Return text as it is, or refuse what is none.

    Raises
    ------
    ProofError
        It is something else.
    """
    if not isinstance(data, str):
        raise ProofError(f"{where} is {short(data)}; it must be text.")
    return data


def whole(data: Any, where: str, least: int = 0) -> int:
    """Return a whole number of at least ``least``.

    Raises
    ------
    ProofError
        It is something else.
    """
    if isinstance(data, bool) or not isinstance(data, int) or not least <= data <= LARGEST:
        raise ProofError(
            f"{where} is {short(data)}; it must be a whole number of at least {least}."
        )
    return data


def extent(data: Any, where: str) -> int:
    """Return a size of a layer or an axis, of which all elements can be gone through.

    Raises
    ------
    ProofError
        It is none, or too large for that.
    """
    size = whole(data, where, 1)
    if size > LARGEST_SIZE:
        raise ProofError(f"{where} is {short(data)}; this checker takes up to {LARGEST_SIZE}.")
    return size


def exact(data: Any, where: str, *, positive: bool = False) -> Fraction:
    """Return a rational number that is not negative.

    Raises
    ------
    ProofError
        It is something else.
    """
    if isinstance(data, int) and not isinstance(data, bool):
        data = str(data) if abs(data) <= LARGEST else "too long"
    if not isinstance(data, str) or not _NUMBER.fullmatch(data):
        raise ProofError(f'{where} is {short(data)}; it must be a number such as 3 or "7/2".')
    value = Fraction(data)
    if value < 0 or (positive and not value):
        raise ProofError(f"{where} is {short(data)}; it must be more than 0.")
    return value


def truth(data: Any, where: str) -> bool:
    """Return true or false, or refuse what is neither.

    Raises
    ------
    ProofError
        It is something else.
    """
    if not isinstance(data, bool):
        raise ProofError(f"{where} is {short(data)}; it must be true or false.")
    return data


class Window(NamedTuple):
    """Outputs and taps (dimensions, by number) that slide over ``size`` pixels of the input.

    Output x and tap y read the pixel ``x * stride + y * dilation - padding``; others than 0 to
    ``size - 1`` are the border, which is stored nowhere.
    """

    out: int
    tap: int
    size: int
    stride: int
    dilation: int
    padding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A product, or a convolution: extents of its dimensions; bits of elements; a step's clocks.

    ``dims``: m, n, k and, of a batch, b; or images m, outputs n and inputs c of a group, rows p and
    columns q of the output, r and s of the kernel, and, of several, groups g. ``stored``, ``code``:
    bits of an element of each operand, with and without its share of scales.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    windows: tuple[Window, ...]
    stored: dict[str, Fraction]
    code: dict[str, Fraction]
    partial: Fraction
    step_cycles: Fraction

    def indexed(self, operand: str) -> frozenset[int]:
        """Return the dimensions that index an operand."""
        return _indexed(self.dims, operand)

    def of_kind(self, kind: int) -> tuple[int, ...]:
        """Return the dimensions of a kind."""
        return _of_kind(self.dims, kind)

    def plain(self, own: frozenset[int]) -> tuple[int, ...]:
        """Return the dimensions of an operand that are in no window of it."""
        return _plain(self.windows, own)

    def slid(self, own: frozenset[int]) -> tuple[Window, ...]:
        """Return the windows of which both dimensions index an operand."""
        return _slid(self.windows, own)

    def bits(self, operand: str, *, partial: bool, code: bool) -> Fraction:
        """Return the bits of an element, of its code alone, or of an unfinished sum."""
        return self.partial if partial else (self.code if code else self.stored)[operand]


@cache
def _indexed(dims: tuple[str, ...], operand: str) -> frozenset[int]:
    return frozenset(d for d, dim in enumerate(dims) if KINDS[dim] != OTHER[operand])


@cache
def _slid(windows: tuple[Window, ...], own: frozenset[int]) -> tuple[Window, ...]:
    return tuple(window for window in windows if set(window[:2]) <= own)


@cache
def _plain(windows: tuple[Window, ...], own: frozenset[int]) -> tuple[int, ...]:
    gone = {d for window in _slid(windows, own) for d in window[:2]}
    return tuple(d for d in sorted(own) if d not in gone)


@cache
def _of_kind(dims: tuple[str, ...], kind: int) -> tuple[int, ...]:
    return tuple(d for d, dim in enumerate(dims) if KINDS[dim] == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One access of ``width`` bits a clock, whole bursts of so many; energies in pJ an access."""

    direction: str
    width: Fraction
    read_pj: Fraction
    write_pj: Fraction
    operands: tuple[str, ...]
    burst_bits: int | None = None

    def clocks(self, elements: int, bits: Fraction) -> int:
        """Return the clocks, an access each, of a transfer of elements of so many bits."""
        every, parts = elements * bits.numerator, bits.denominator
        if self.burst_bits is not None:
            every, parts = -(-every // (parts * self.burst_bits)) * self.burst_bits, 1
        return -(-every * self.width.denominator // (parts * self.width.numerator))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """A memory; ``per``: axes along which each unit has its own copy.

    ``keep_halo``: of a tile of inputs right behind the one before along a window, only the pixels
    come that the one before does not have. ``decode_pj``: of each weight that is read from it,
    beside the port's energy.
    """

    name: str
    holds: tuple[str, ...]
    size_bits: int | None
    words: int | None
    ports: tuple[Port, ...]
    per: tuple[str, ...]
    double_buffered: bool
    optional: tuple[str, ...]
    latency: int
    keep_halo: bool
    decode_pj: Fraction

    def decoding_pj(self, operand: str, *, reads: bool) -> Fraction:
        """Return the energy of decoding an element that is read from it, or written."""
        return self.decode_pj if reads and operand == "weight" else Fraction(0)

    def port(self, operand: str, *, reads: bool) -> int:
        """Return the number of the port that an operand goes through."""
        way = "read" if reads else "write"
        return next(
            i
            for i, port in enumerate(self.ports)
            if port.direction in (way, "both") and operand in port.operands
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Units side by side, and the dimensions that they unroll."""

    name: str
    size: int
    dims: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Memories, outermost first, axes, and the energies of units, tables and clocks in pJ."""

    memories: tuple[Memory, ...]
    axes: tuple[Axis, ...]
    units: tuple[str, ...]
    unit_pj: Fraction
    table_cycles: int
    table_units: tuple[str, ...]
    table_pj: Fraction
    static_pj: Fraction
    fill_cycles: int

    def memory(self, name: str) -> Memory:
        """Return a memory by its name."""
        return next(memory for memory in self.memories if memory.name == name)

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A memory, the operands it keeps, those of two tiles, and the loops right inside it."""

    memory: str
    keeps: tuple[str, ...]
    doubled: tuple[str, ...]
    loops: tuple[Loop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """A mapping: levels, outermost first, and (axis, dimension, size) of what is unrolled."""

    levels: tuple[Level, ...]
    spatial: tuple[Unroll, ...]


def layer_of(data: Any) -> Layer:
    """Return the layer of plain data.

    Raises
    ------
    ProofError
        It is something else.
    """
    dims, windows, bits, code, partial, step = take(
        data, "layer", "sizes windows bits code_bits partial_bits step_cycles"
    )
    known = [list(some[: len(some) - left]) for some in (PRODUCT, CONVOLUTION) for left in (0, 1)]
    if not isinstance(dims, dict) or list(dims) not in known:
        raise ProofError(
            f"layer.sizes is {short(dims)}; it must have m, n, k and, of a batch, b; or, of a "
            "convolution, m, n, c, p, q, r, s and, of groups, g."
        )
    sizes = tuple(extent(size, f"layer.sizes.{dim}") for dim, size in dims.items())
    stored, codes = bits_of(bits, code, "layer")
    return Layer(
        dims=tuple(dims),
        sizes=sizes,
        windows=_windows(windows, tuple(dims)),
        stored=stored,
        code=codes,
        partial=exact(partial, "layer.partial_bits", positive=True),
        step_cycles=exact(step, "layer.step_cycles", positive=True),
    )


def bits_of(bits: Any, code: Any, where: str) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
    """Return an element's bits by operand, all of them and those of its code, of plain data.

    Raises
    ------
    ProofError
        They are something else, or a code has more bits than its element.
    """
    names = " ".join(OPERANDS)
    stored, codes = (
        {
            operand: exact(value, f"{where}.{key}.{operand}", positive=True)
            for operand, value in zip(OPERANDS, take(some, f"{where}.{key}", names), strict=True)
        }
        for key, some in (("bits", bits), ("code_bits", code))
    )
    for operand in OPERANDS:
        if codes[operand] > stored[operand]:
            raise ProofError(f"{where}.code_bits.{operand} is more than all of an element's bits.")
    return stored, codes


def _windows(data: Any, dims: tuple[str, ...]) -> tuple[Window, ...]:
    """Return a convolution's windows: p with r, and q with s."""
    pairs = [("p", "r"), ("q", "s")] if "p" in dims else []
    rows = listed(data, "layer.windows")
    if len(rows) != len(pairs):
        raise ProofError(f"layer.windows has {len(rows)} entries; the layer has {len(pairs)}.")
    found = []
    for i, (row, (out, tap)) in enumerate(zip(rows, pairs, strict=True)):
        at = f"layer.windows[{i}]"
        size, stride, dilation, padding = take(row, at, "size stride dilation padding")
        found.append(
            Window(
                out=dims.index(out),
                tap=dims.index(tap),
                size=extent(size, f"{at}.size"),
                stride=extent(stride, f"{at}.stride"),
                dilation=extent(dilation, f"{at}.dilation"),
                padding=whole(padding, f"{at}.padding"),
            )
        )
    return tuple(found)


def chip_of(data: Any, where: str) -> Chip:
    """Return the chip of plain data.

    Raises
    ------
    ProofError
        It is something else.
    """
    keys = "memories axes units unit_pj table_cycles table_units table_pj static_pj fill_cycles"
    memories, axes, units, unit_pj, cycles, tables, table_pj, static_pj, fill = take(
        data, where, keys
    )
    lanes = []
    for i, each in enumerate(listed(axes, f"{where}.axes")):
        at = f"{where}.axes[{i}]"
        name, size, dims = take(each, at, "name size dims")
        lanes.append(
            Axis(name=text(name, at), size=extent(size, f"{at}.size"), dims=texts(dims, at, DIMS))
        )
    names = tuple(axis.name for axis in lanes)
    found = [
        _memory(each, f"{where}.memories[{i}]", names)
        for i, each in enumerate(listed(memories, f"{where}.memories"))
    ]
    every = [memory.name for memory in found] + list(names)
    if len(set(every)) != len(every):
        raise ProofError(f"{where}: two of its memories and axes have one name; names must differ.")
    chip = Chip(
        memories=tuple(found),
        axes=tuple(lanes),
        units=texts(units, f"{where}.units", names),
        unit_pj=exact(unit_pj, f"{where}.unit_pj"),
        table_cycles=whole(cycles, f"{where}.table_cycles"),
        table_units=texts(tables, f"{where}.table_units", names),
        table_pj=exact(table_pj, f"{where}.table_pj"),
        static_pj=exact(static_pj, f"{where}.static_pj"),
        fill_cycles=whole(fill, f"{where}.fill_cycles"),
    )
    _check_chains(chip, where)
    return chip


def _memory(data: Any, where: str, axes: tuple[str, ...]) -> Memory:
    keys = "name holds size_bits words ports per double_buffered optional latency_cycles keep_halo"
    name, holds, size, words, ports, per, double, optional, latency, halo, decode = take(
        data, where, f"{keys} decode_pj"
    )
    found = []
    for i, each in enumerate(listed(ports, f"{where}.ports")):
        at = f"{where}.ports[{i}]"
        way, width, read, write, operands, burst = take(
            each, at, "direction width_bits read_pj write_pj operands burst_bits"
        )
        found.append(
            Port(
                direction=texts([way], at, DIRECTIONS)[0],
                width=exact(width, f"{at}.width_bits", positive=True),
                read_pj=exact(read, f"{at}.read_pj"),
                write_pj=exact(write, f"{at}.write_pj"),
                operands=texts(operands, at, OPERANDS),
                burst_bits=None if burst is None else whole(burst, f"{at}.burst_bits", 1),
            )
        )
    held = texts(holds, f"{where}.holds", OPERANDS)
    for operand in held:
        for way in DIRECTIONS[:2]:
            serving = [p for p in found if p.direction in (way, "both") and operand in p.operands]
            if len(serving) != 1:
                raise ProofError(
                    f"{where} has {len(serving)} ports that {way} {operand}s; not one."
                )
    return Memory(
        name=text(name, f"{where}.name"),
        holds=held,
        size_bits=None if size is None else whole(size, f"{where}.size_bits", 1),
        words=None if words is None else whole(words, f"{where}.words", 1),
        ports=tuple(found),
        per=texts(per, f"{where}.per", axes),
        double_buffered=truth(double, f"{where}.double_buffered"),
        optional=texts(optional, f"{where}.optional", held),
        latency=whole(latency, f"{where}.latency_cycles"),
        keep_halo=truth(halo, f"{where}.keep_halo"),
        decode_pj=exact(decode, f"{where}.decode_pj"),
    )


def _check_chains(chip: Chip, where: str) -> None:
    if not chip.memories or set(chip.memories[0].holds) != set(OPERANDS):
        raise ProofError(f"{where}: the outermost memory must hold weight, input and output.")
    first = chip.memories[0]
    if first.per or first.optional or (first.size_bits, first.words) != (None, None):
        raise ProofError(f"{where}: the outermost memory must have no bound, copies or bypass.")
    for operand in OPERANDS:
        chain = [memory for memory in chip.memories if operand in memory.holds]
        for outer, inner in pairwise(chain):
            if not set(outer.per) <= set(inner.per):
                raise ProofError(f"{where}: copies of {inner.name!r} must lie along {outer.per}.")


def nest_of(data: Any, where: str = "mapping") -> Nest:
    """Return the mapping of plain data."""
    levels, spatial = take(data, where, "levels spatial")
    found = []
    for i, each in enumerate(listed(levels, f"{where}.levels")):
        at = f"{where}.levels[{i}]"
        memory, keeps, loops, doubled = take(each, at, "memory keeps loops doubled")
        held = texts(keeps, f"{at}.keeps", OPERANDS)
        inside = [_sized(loop, f"{at}.loops", 2) for loop in listed(loops, f"{at}.loops")]
        found.append(
            Level(
                memory=text(memory, f"{at}.memory"),
                keeps=held,
                doubled=texts(doubled, f"{at}.doubled", held),
                loops=tuple((dim, tile) for dim, tile in inside),
            )
        )
    unrolls = [_sized(each, f"{where}.spatial", 3) for each in listed(spatial, f"{where}.spatial")]
    return Nest(
        levels=tuple(found), spatial=tuple((axis, dim, size) for axis, dim, size in unrolls)
    )


def _sized(data: Any, where: str, many: int) -> list[Any]:
    parts = listed(data, where)
    if len(parts) != many:
        raise ProofError(f"{where} has {short(data)}; it must have {many - 1} names and a size.")
    return [*(text(part, where) for part in parts[:-1]), whole(parts[-1], where, 1)]


def load(content: str) -> Any:
    """Return the data of JSON text, of which no object has a key twice and no number is a float.

    Raises
    ------
    ProofError
        It is not JSON, or has such a key or number.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ProofError("an object of the file has a key twice; each must be there once.")
        return found

    def inexact(number: str) -> Any:
        raise ProofError(f'the file has {number}, a floating point number; give it as "p/q".')

    try:
        return json.loads(
            content, object_pairs_hook=once, parse_float=inexact, parse_constant=inexact
        )
    except (ValueError, RecursionError) as err:
        raise ProofError(f"the file is not JSON ({err}); it must be a certificate.") from None
