"""A chip and the bits of operands as the arrays that the compiled search takes, whatever the sizes.

Layers with the same dimensions and bits share them: they are made once for all.
"""

from collections.abc import Mapping as Table
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError
from . import cost_kernels as kernels
from .constraints import Constraints
from .cost import decodes
from .operands import OperandBits
from .space import tiers_of

Ints = NDArray[np.int64]
ORDERS: Ints = np.array(list(permutations(range(3))), np.int64)
COUNTER_BITS = 62
Dims = tuple[str, ...]
KINDS: tuple[tuple[int, bool, tuple[str, str]], ...] = (
    (kernels.FETCH, False, ("read", "write")),
    (kernels.FINISHED, False, ("write", "read")),
    (kernels.PARTIAL, True, ("write", "read")),
    (kernels.READBACK, True, ("read", "write")),
)
"""Kinds of transfers: number, whether of unfinished sums, what they do at parent and child."""


@dataclass(frozen=True, slots=True)
class Move:
    """A transfer between a memory and the next one inside, or the array: None."""

    operand: str
    parent: Memory
    child: Memory | None
    stage: int


@lru_cache(maxsize=256)
def _allowed(tiers: tuple[tuple[str, ...], ...], constraints: Constraints) -> NDArray[np.bool_]:
    found = np.zeros((len(tiers), len(ORDERS), 8), np.bool_)
    for g, names in enumerate(tiers):
        for i, order in enumerate(ORDERS.tolist()):
            for live in range(8):
                some = [d for d in order if live >> d & 1]
                none = [d for d in range(3) if not live >> d & 1]
                found[g, i, live] = order == some + none and constraints.allows(
                    list(names), ["mnk"[kind] for kind in some]
                )
    return found


class Frame:
    """Everything about a chip and bits that depends on neither sizes nor unrolling of a layer.

    Parameters
    ----------
    indexes : tuple of (str, tuple of str)
        The dimensions that index each operand.
    dims : tuple of str
        Of the layer.
    bits : OperandBits
    hierarchy : Hierarchy
    storage : tuple of tuple of Memory
        The memories that keep each operand, in the order of `OPERANDS`.
    constraints : Constraints
        What orders must keep to.

    Attributes
    ----------
    tiers : tuple of tuple of Memory
    tier : dict of str to int
        The place of each memory's tier.
    ports : list of (str, int)
    places : list of (int, str, str)
        Tier, memory and operand.
    moves : list of Move
    pers : list of tuple of str
        Axes along which something has copies.
    pace : (int, int)
    move_rows, ends, pj, place_rows, held_ratio, room : arrays
        As `cost_kernels` and `room_kernels` take them.
    doublable : int
        Places that may be doubled, as a mask.
    end_ports : list of list of list of int
        Ports by move, kind and end.
    rooms : list of int
        Bits, or words, of each memory, by name.
    held_ratios : list of (int, int)
        Bits of a finished element, as a ratio, by place.
    unbounded : list of bool
        Of each memory, by name, whether it has no bound.
    kept_by_tier : dict of str to tuple of bool
        Of each dimension, whether the tiers below the outermost keep an operand that has it.
    most, slowest, latest : int
        The largest numerator or denominator of a width; clocks of an element, and of a latency, at
        most.
    """

    def __init__(
        self,
        indexes: tuple[tuple[str, Dims], ...],
        dims: Dims,
        bits: OperandBits,
        hierarchy: Hierarchy,
        storage: tuple[tuple[Memory, ...], ...],
        constraints: Constraints,
    ) -> None:
        self.bits, self.hierarchy, self.dims = bits, hierarchy, dims
        self.storage = dict(zip(OPERANDS, storage, strict=True))
        self._indexes = dict(indexes)
        self.tiers = tiers_of(hierarchy)
        self.tier = {m.name: i for i, tier in enumerate(self.tiers) for m in tier}
        self.ports = sorted(
            (memory.name, i) for memory in hierarchy.memories for i in range(len(memory.ports))
        )
        self.places = sorted(
            (self.tier[memory.name], memory.name, operand)
            for operand in OPERANDS
            for memory in self.storage[operand][1:]
        )
        self.moves = [
            Move(operand, parent, child, stage if child else -1)
            for operand in OPERANDS
            for stage, (parent, child) in enumerate(
                zip(self.storage[operand], (*self.storage[operand][1:], None), strict=True)
            )
        ]
        known = {memory.per for memory in hierarchy.memories} | {hierarchy.axis_names}
        self.pers = sorted(known | {self._apart(move) for move in self.moves})
        self.pace = bits.step_cycles.as_integer_ratio()
        names = tuple(tuple(memory.name for memory in tier) for tier in self.tiers)
        self.allowed = _allowed(names, constraints)
        self._pack_moves()
        self._pack_places()
        self.end_ports: list[list[list[int]]] = self.ends[..., kernels.PORT].tolist()
        self.rooms: list[int] = self.room.tolist()
        self.held_ratios: list[list[int]] = self.held_ratio[:, 0].tolist()
        self.unbounded = [size == np.iinfo(np.int64).max for size in self.rooms]
        self.kept_by_tier = {dim: self._kept(dim) for dim in dims}
        ratios = self.ends[..., kernels.UP : kernels.DOWN + 1].reshape(-1, 2)
        self.most = max(int(ratios.max()), int(self.held_ratio.max(initial=1)))
        slowest = 1 + int((ratios[:, 0] // ratios[:, 1]).max())
        self.slowest = slowest * (1 + int(self.ends[..., kernels.BURST_UP].max()))
        self.latest = max(memory.latency_cycles for memory in hierarchy.memories)

    def _kept(self, dim: str) -> tuple[bool, ...]:
        """Return whether each tier below the outermost keeps an operand that has a dimension."""
        return tuple(
            any(m in self.storage[op] and dim in self._indexes[op] for m in tier for op in OPERANDS)
            for tier in self.tiers[1:]
        )

    def _apart(self, move: Move) -> tuple[str, ...]:
        """Return the axes whose units read what a parent gives one by one."""
        inner = move.child.per if move.child else self.hierarchy.axis_names
        return self.hierarchy.read_apart(move.parent.per, inner)

    def _mask(self, operand: str) -> int:
        return sum(1 << self.dims.index(dim) for dim in self._indexes[operand])

    def _pack_moves(self) -> None:
        many = len(self.moves)
        self.move_rows = np.zeros((many, kernels.MOVE_COLUMNS), np.int64)
        self.ends = np.zeros((many, 4, 2, kernels.END_COLUMNS), np.int64)
        self.ends[..., kernels.PORT] = -1
        self.ends[..., kernels.UP : kernels.DOWN + 1] = 1
        self.pj = np.zeros((many, 4, 2, 2))
        for t, move in enumerate(self.moves):
            child = move.child
            place = 0
            if child is not None:
                place = self.places.index((self.tier[child.name], child.name, move.operand))
            self.move_rows[t] = (
                OPERANDS.index(move.operand),
                self._mask(move.operand),
                self.tier[child.name] if child else len(self.tiers),
                place,
                move.stage if move.operand != "output" else -1,
                move.parent.latency_cycles if child else 0,
            )
            for kind, partial, ways in KINDS:
                if (kind == kernels.FETCH) == (move.operand != "output"):
                    self._pack_ends(t, move, kind, partial, ways)

    def _pack_ends(
        self, t: int, move: Move, kind: int, partial: bool, ways: tuple[str, str]
    ) -> None:
        bits, outer = self.bits, move.parent.per
        stored, width = bits.of(move.operand, partial=partial), self.width(move, partial=partial)
        inner = move.child.per if move.child else self.hierarchy.axis_names
        reached = outer if kind == kernels.READBACK else inner
        apart = self._apart(move) if kind == kernels.FETCH else ()
        self.ends[t, kind, 0, kernels.OWN : kernels.APART] = self.pers.index(apart or outer)
        self.ends[t, kind, 0, kernels.APART] = bool(apart)
        self.ends[t, kind, 1, kernels.OWN] = self.pers.index(inner)
        self.ends[t, kind, 1, kernels.REACHED] = self.pers.index(reached)
        for end, memory in enumerate((move.parent, move.child)):
            if memory is None:
                continue
            i = memory.port(ways[end], move.operand)  # type: ignore[arg-type]
            port = memory.ports[i]
            pj = port.read_pj if ways[end] == "read" else port.write_pj
            at = self.ends[t, kind, end]
            at[kernels.PORT] = self.ports.index((memory.name, i))
            piece = port.width_bits if port.burst_bits is None else Fraction(port.burst_bits)
            ratio = _ratio(width, piece)
            if port.burst_bits is not None:
                clocks = (piece / port.width_bits).as_integer_ratio()
                at[kernels.BURST_UP], at[kernels.BURST_DOWN] = clocks
            if max(ratio).bit_length() > COUNTER_BITS:
                raise BitlatheError(
                    f"memory {memory.name!r}: a port of {float(port.width_bits):g} bits a clock "
                    f"takes {move.operand}s at {ratio[0]}/{ratio[1]} clocks an element, which the "
                    "search's 64-bit counters do not hold; give a rounder width."
                )
            at[kernels.UP], at[kernels.DOWN] = ratio
            beside = 0.0 if stored == width else float((stored - width) / port.width_bits)
            decoded = (
                memory.decode_pj if decodes(memory, move.operand, ways[end] == "read") else 0.0
            )
            self.pj[t, kind, end] = pj, beside * pj + decoded

    def width(self, move: Move, *, partial: bool) -> Fraction:
        """Return the bits of an element on the way: its code where the array or registers end."""
        if move.child is None or move.child.words is not None:
            return self.bits.code(move.operand, partial=partial)
        return self.bits.of(move.operand, partial=partial)

    def _pack_places(self) -> None:
        many = len(self.places)
        names = sorted(memory.name for memory in self.hierarchy.memories)
        self.place_rows = np.zeros((many, 6), np.int64)
        self.held_ratio = np.ones((many, 2, 2), np.int64)
        self.room = np.full(len(names), np.iinfo(np.int64).max, np.int64)
        self.doublable = 0
        for memory in self.hierarchy.memories:
            for size in (memory.size_bits, memory.words):
                if size is not None:
                    self.room[names.index(memory.name)] = size
        for i, (tier, name, operand) in enumerate(self.places):
            memory = self.hierarchy.memory(name)
            chain = [each.name for each in self.storage[operand]]
            inside = chain[chain.index(name) + 1 :]
            self.place_rows[i] = (
                names.index(name),
                tier,
                self._mask(operand),
                self.pers.index(memory.per),
                OPERANDS.index(operand),
                self.tier[inside[0]] if inside else len(self.tiers),
            )
            if memory.words is None:
                for partial in (False, True):
                    width = self.bits.of(operand, partial=partial and operand == "output")
                    self.held_ratio[i, int(partial)] = width.as_integer_ratio()
            self.doublable |= (1 << i) if memory.double_buffered else 0


def _ratio(one: Fraction, other: Fraction) -> tuple[int, int]:
    """Return the quotient of two positive numbers in lowest terms, in whole numbers throughout."""
    up, down = one.numerator * other.denominator, one.denominator * other.numerator
    common = gcd(up, down)
    return up // common, down // common


@lru_cache(maxsize=512)
def _kept_frame(
    indexes: tuple[tuple[str, Dims], ...],
    dims: Dims,
    bits: OperandBits,
    hierarchy: Hierarchy,
    storage: tuple[tuple[Memory, ...], ...],
    constraints: Constraints,
) -> Frame:
    return Frame(indexes, dims, bits, hierarchy, storage, constraints)


def frame_of(
    indexes: Table[str, Dims],
    dims: Dims,
    bits: OperandBits,
    hierarchy: Hierarchy,
    storage: Table[str, tuple[Memory, ...]],
    constraints: Constraints,
) -> Frame:
    """Return the frame of layers of some dimensions, made once.

    Parameters
    ----------
    indexes : dict of str to tuple of str
    dims, bits, hierarchy, constraints
        As `Frame` takes them.
    storage : dict of str to tuple of Memory
        The memories that keep each operand.
    """
    held = tuple(storage[operand] for operand in OPERANDS)
    return _kept_frame(tuple(indexes.items()), dims, bits, hierarchy, held, constraints)
