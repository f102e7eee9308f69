"""What a certificate says: its records, whose annotations are the schema, and their reader.

A number is an integer, or text such as ``"1045/256"``; floating point appears nowhere. Every key
of a record is there and no other; ``problem`` says in a sentence what annotations cannot.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from types import GenericAlias, NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

OPERANDS = ("weight", "input", "output")
PRODUCT = ("m", "n", "k", "b")
CONVOLUTION = ("m", "n", "c", "p", "q", "r", "s", "g")
DIMS = tuple(dict.fromkeys(PRODUCT + CONVOLUTION))
KINDS = dict(zip("mpqnkcrsbg", (0, 0, 0, 1, 2, 2, 2, 2, 3, 3), strict=True))
"""Whose loops stand together; an operand is indexed by all kinds but one, the last by itself"""
OTHER = {"weight": 0, "input": 1, "output": 2}
"""The kind of the dimensions that do not index an operand"""
OBJECTIVES = ("cycles", "energy", "edp")
LARGEST = 10**40  # more digits than any figure of a real layer has
LARGEST_SIZE = 1 << 24  # all elements of a dimension can be gone through
_NUMBER = re.compile(r"-?\d{1,400}(/[1-9]\d{0,400})?")

Count = Annotated[int, 1]
Extent = Annotated[int, 1, LARGEST_SIZE]
Positive = Annotated[Fraction, "more than 0"]
Operands = Annotated[tuple[str, ...], OPERANDS]
ByOperand = Annotated[dict[str, Positive], OPERANDS]
Loop = tuple[str, Count]
Unroll = tuple[str, str, Count]


class ProofError(Exception):
    """A certificate that does not hold; the text says what, in a sentence."""


def short(data: Any) -> str:
    """Return a value as text of at most forty letters."""
    text = str(data) if isinstance(data, Fraction) else repr(data)
    return text if len(text) <= 40 else f"{text[:37]}..."


def refuse(where: str, data: Any, wanted: str) -> ProofError:
    """Return the error that something is not what it must be."""
    return ProofError(f"{where} is {short(data)}; it must be {wanted}.")


def take(data: Any, where: str, names: list[str]) -> list[Any]:
    """Return the values of an object that has these keys, and no others.

    Parameters
    ----------
    data : object
        What was read.
    where : str
        Its place in the file.
    names : list of str

    Raises
    ------
    ProofError
        It is something else.
    """
    if not isinstance(data, dict):
        raise refuse(where, data, f"an object with the keys {', '.join(names)}")
    for name in [*data, *names]:
        if name not in data or name not in names:
            what = "is missing" if name in names else "is not one of its keys"
            raise ProofError(f"{where}: {name!r} {what}; its keys are {', '.join(names)}.")
    return [data[name] for name in names]


def read(kind: Any, data: Any, where: str) -> Any:
    """Return plain data as a value of a kind.

    Parameters
    ----------
    kind : type
        A record, read from an object, or, a named tuple, from a list; a tuple, from a list; int,
        Fraction, str, bool, a literal, or what may be None. Annotated: bounds of an int, that a
        fraction is not 0, names that a tuple or a dict is of, in their order.
    data : object
        What was read.
    where : str
        Its place in the file.

    Raises
    ------
    ProofError
        It is something else.
    """
    limits: tuple[Any, ...] = getattr(kind, "__metadata__", ())
    kind = get_args(kind)[0] if limits else kind
    if NoneType in get_args(kind):
        return None if data is None else read(get_args(kind)[0], data, where)
    return _READERS.get(get_origin(kind) or kind, _record)(kind, limits, data, where)


def _literal(kind: Any, _: Any, data: Any, where: str) -> Any:
    if not isinstance(data, str) or data not in get_args(kind):
        raise refuse(where, data, f"one of {', '.join(get_args(kind))}")
    return data


def _plain(kind: Any, _: Any, data: Any, where: str) -> Any:
    if type(data) is not kind:
        raise refuse(where, data, "text" if kind is str else "true or false")
    return data


def _whole(_: Any, limits: tuple[Any, ...], data: Any, where: str) -> int:
    least, most = limits[0] if limits else 0, limits[1] if len(limits) > 1 else LARGEST
    if type(data) is not int or not least <= data <= LARGEST:
        raise refuse(where, data, f"a whole number of at least {least}")
    if data > most:
        raise ProofError(f"{where} is {short(data)}; this checker takes up to {most}.")
    return data


def _fraction(_: Any, positive: Any, data: Any, where: str) -> Fraction:
    if type(data) is int:
        data = str(data) if abs(data) <= LARGEST else "too long"
    if not isinstance(data, str) or not _NUMBER.fullmatch(data):
        raise refuse(where, data, 'a number such as 3 or "7/2"')
    value = Fraction(data)
    if isinstance(data, str) and str(value) != data:
        raise refuse(where, data, f"written as {short(value)}")
    if value < 0 or (positive and not value):
        raise refuse(where, data, "more than 0")
    return value


def _dict(kind: Any, limits: Any, data: Any, where: str) -> dict[str, Any]:
    both = zip(limits[0], take(data, where, list(limits[0])), strict=True)
    return {name: read(get_args(kind)[1], value, f"{where}.{name}") for name, value in both}


def _tuple(kind: Any, limits: Any, data: Any, where: str) -> tuple[Any, ...]:
    inside = get_args(kind)
    if not isinstance(data, list):
        raise refuse(where, data, "a list")
    if inside[-1] is Ellipsis:
        found = tuple([read(inside[0], each, f"{where}[{i}]") for i, each in enumerate(data)])
        if limits and found != tuple(name for name in limits[0] if name in found):
            raise refuse(where, data, f"of {', '.join(limits[0])}, each once, in this order")
        return found
    if len(data) != len(inside):
        raise ProofError(f"{where} is {short(data)}; it must have {len(inside)} entries.")
    return tuple([read(of, each, where) for of, each in zip(inside, data, strict=True)])


def _record(kind: Any, _: Any, data: Any, where: str) -> Any:
    hints = _hints(kind)
    if isinstance(data, list) and hasattr(kind, "_fields"):
        listed = GenericAlias(tuple, tuple(hints.values()))
        found = kind(*_tuple(listed, (), data, where))
    else:
        both = zip(hints, take(data, where, list(hints)), strict=True)
        found = kind(**{name: read(hints[name], each, f"{where}.{name}") for name, each in both})
    wrong = found.problem() if hasattr(kind, "problem") else None
    if wrong:
        raise ProofError(f"{where}{wrong}")
    return found


_hints = cache(lambda kind: get_type_hints(kind, include_extras=True))
_READERS: dict[Any, Callable[[Any, Any, Any, str], Any]] = {
    Any: lambda _kind, _limits, data, _where: data,
    Literal: _literal,
    str: _plain,
    bool: _plain,
    int: _whole,
    Fraction: _fraction,
    dict: _dict,
    tuple: _tuple,
}


class Slide(NamedTuple):
    """Pixels of an input, and how outputs and taps slide over them (`Window`)."""

    size: Extent
    stride: Extent
    dilation: Extent
    padding: int


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


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Bits of an element of each operand, with and without its share of scales; clocks of a step.

    ``partial_bits``: of an unfinished sum.
    """

    bits: ByOperand
    code_bits: ByOperand
    partial_bits: Positive
    step_cycles: Positive

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        more = [op for op in OPERANDS if self.code_bits[op] > self.bits[op]]
        return f".code_bits.{more[0]} is more than all of an element's bits." if more else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A product, or a convolution: extents of its dimensions; bits of elements; a step's clocks.

    ``dims``: m, n, k and, of a batch, b; or images m, outputs n and inputs c of a group, rows p and
    columns q of the output, r and s of the kernel, and, of several, groups g.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    windows: tuple[Window, ...]
    of: Stored

    @property
    def stored(self) -> dict[str, Fraction]:
        """Bits of an element of each operand."""
        return self.of.bits

    @property
    def partial(self) -> Fraction:
        """Bits of an unfinished sum."""
        return self.of.partial_bits

    @property
    def step_cycles(self) -> Fraction:
        """Clocks of a step."""
        return self.of.step_cycles

    def indexed(self, operand: str) -> frozenset[int]:
        """Return the dimensions that index an operand."""
        return _indexed(self.dims, operand)

    def of_kind(self, kind: int) -> tuple[int, ...]:
        """Return the dimensions of a kind."""
        return tuple(d for d, dim in enumerate(self.dims) if KINDS[dim] == kind)

    def plain(self, own: frozenset[int]) -> tuple[int, ...]:
        """Return the dimensions of an operand that are in no window of it."""
        return _split(self.windows, own)[0]

    def slid(self, own: frozenset[int]) -> tuple[Window, ...]:
        """Return the windows of which both dimensions index an operand."""
        return _split(self.windows, own)[1]

    def bits(self, operand: str, *, partial: bool, code: bool) -> Fraction:
        """Return the bits of an element, of its code alone, or of an unfinished sum."""
        each = self.of.code_bits if code else self.of.bits
        return self.of.partial_bits if partial else each[operand]


@cache
def _indexed(dims: tuple[str, ...], operand: str) -> frozenset[int]:
    return frozenset(d for d, dim in enumerate(dims) if KINDS[dim] != OTHER[operand])


@cache
def _split(
    windows: tuple[Window, ...], own: frozenset[int]
) -> tuple[tuple[int, ...], tuple[Window, ...]]:
    slid = tuple(window for window in windows if set(window[:2]) <= own)
    return tuple(sorted(own.difference(*(window[:2] for window in slid)))), slid


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One access of ``width_bits`` a clock, whole bursts of so many; pJ of an access."""

    direction: Literal["read", "write", "both"]
    width_bits: Positive
    read_pj: Fraction
    write_pj: Fraction
    operands: Operands
    burst_bits: Count | None

    def problem(self) -> str | None:
        """Return what of it is needless, or None."""
        return None if self.operands else " serves no operand; leave it out."

    def serves(self, *, reads: bool) -> tuple[str, ...]:
        """Return the operands that are read, or written, through it."""
        both = self.direction in ("read" if reads else "write", "both")
        return self.operands if both else ()

    def clocks(self, elements: int, bits: Fraction) -> int:
        """Return the clocks, an access each, of a transfer of elements of so many bits."""
        every, parts = elements * bits.numerator, bits.denominator
        if self.burst_bits is not None:
            every, parts = -(-every // (parts * self.burst_bits)) * self.burst_bits, 1
        return -(-every * self.width_bits.denominator // (parts * self.width_bits.numerator))

    def pj(self, *, reads: bool) -> Fraction:
        """Return the energy of an access."""
        return self.read_pj if reads else self.write_pj


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """A memory; ``per``: axes along which each unit has its own copy.

    ``keep_halo``: of a tile of inputs right behind the one before along a window, only the pixels
    come that the one before does not have. ``decode_pj``: of each weight that is read from it,
    beside the port's energy.
    """

    name: str
    holds: Operands
    size_bits: Count | None
    words: Count | None
    ports: tuple[Port, ...]
    per: tuple[str, ...]
    double_buffered: bool
    optional: Operands
    latency_cycles: int
    keep_halo: bool
    decode_pj: Fraction

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        for operand in self.holds:
            for reads, way in ((True, "read"), (False, "write")):
                if len(some := self._serving(operand, reads)) != 1:
                    return f" has {len(some)} ports that {way} {operand}s; it must be one."
        gone = set(self.optional) - set(self.holds)
        return f".optional has {min(gone)}, which it does not hold." if gone else None

    def _serving(self, operand: str, reads: bool) -> list[int]:
        return [i for i, port in enumerate(self.ports) if operand in port.serves(reads=reads)]

    def decoding_pj(self, operand: str, *, reads: bool) -> Fraction:
        """Return the energy of decoding an element that is read from it, or written."""
        return self.decode_pj if reads and operand == "weight" else Fraction(0)

    def port(self, operand: str, *, reads: bool) -> int:
        """Return the number of the port that an operand goes through."""
        return self._serving(operand, reads)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Units side by side, and the dimensions that they unroll."""

    name: str
    size: Extent
    dims: Annotated[tuple[str, ...], DIMS]


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

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        axes = self.axis_names
        names = [*(memory.name for memory in self.memories), *axes]
        if len(set(names)) != len(names):
            return ": two of its memories and axes have one name; names must differ."
        for some in (self.units, self.table_units, *(each.per for each in self.memories)):
            if some != tuple(name for name in axes if name in some):
                return f" has {short(some)}; it must be of axes, in order: {', '.join(axes)}."
        if self.table_units and not self.table_pj:
            return " has tables that take no energy, so that units of them are needless."
        return self._chained()

    def _chained(self) -> str | None:
        if not self.memories or self.memories[0].holds != OPERANDS:
            return ": the outermost memory must hold weight, input and output."
        first = self.memories[0]
        if first.per or first.optional or (first.size_bits, first.words) != (None, None):
            return ": the outermost memory must have no bound, copies or bypass."
        for operand in OPERANDS:
            chain = [memory for memory in self.memories if operand in memory.holds]
            for outer, inner in pairwise(chain):
                if not set(outer.per) <= set(inner.per):
                    return f": copies of {inner.name!r} must lie along {outer.per}."
        return None

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
    keeps: Operands
    doubled: Operands
    loops: tuple[Loop, ...]

    def problem(self) -> str | None:
        """Return what of it cannot be, or None."""
        gone = set(self.doubled) - set(self.keeps)
        return f".doubled has {min(gone)}, which it does not keep." if gone else None


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
    names = list(_hints(Stored))
    sizes, slides, *values = take(data, "layer", ["sizes", "windows", *names])
    known = [list(some[: len(some) - left]) for some in (PRODUCT, CONVOLUTION) for left in (0, 1)]
    if not isinstance(sizes, dict) or list(sizes) not in known:
        raise refuse(
            "layer.sizes", sizes, "of m, n, k and, of a batch, b; or, of a convolution, of m, n, "
            "c, p, q, r, s and, of groups, g",
        )  # fmt: skip
    dims = tuple(sizes)
    found: tuple[Slide, ...] = read(tuple[Slide, ...], slides, "layer.windows")
    pairs = [("p", "r"), ("q", "s")] if "p" in dims else []
    if len(found) != len(pairs):
        raise ProofError(f"layer.windows has {len(found)} entries; the layer has {len(pairs)}.")
    return Layer(
        dims=dims,
        sizes=tuple(read(Extent, size, f"layer.sizes.{dim}") for dim, size in sizes.items()),
        windows=tuple(
            Window(dims.index(out), dims.index(tap), *slide)
            for (out, tap), slide in zip(pairs, found, strict=True)
        ),
        of=read(Stored, dict(zip(names, values, strict=True)), "layer"),
    )


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
