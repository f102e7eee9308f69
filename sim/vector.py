"""The vector unit: clocks, traffic and energy of what stands between matrix products.

A step is one pass: what it reads comes from DRAM through the unit's memory, what it leaves goes
back the same way, in whole bursts where the chip gives ``dram.burst_bits``, which take clocks and
energy; results that stream out of the array are taken on their way. Its clocks are
those of the busiest of lanes, DRAM and ports, and the DRAM's latency where it reads.

Beside the array: of ``n`` equal pieces, each done by the array in ``a`` clocks and then by the unit
in ``v``, the last is done after ``max(na, nv) + min(a, v)`` clocks (two machines in a row, equal
jobs), and not before DRAM has moved the bits of both. Behind the array's last piece the unit has
one whole piece to do, in whole clocks, accesses and bursts, and waits for the latency of what it
reads of the array's results: neither gets less the more pieces there are, so that a smaller batch
is never slower. What this adds to the array's clocks is the step's time; with one piece, or a unit
that does not overlap, all of it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from ..arch.formats import Operand
from ..arch.hierarchy import Hierarchy, Memory
from ..arch.schema import Arch
from ..arch.vector import VectorUnit
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.numbers import ceil_div
from ..workloads.vector_step import (
    OPERATIONS,
    QUANTIZE,
    Operation,
    Tensor,
    VectorStep,
    summed,
    work,
)
from .chip import Chip
from .energy import timed_energy_pj
from .policy import formats_of
from .run import STALL_CAUSES, LayerRun, with_total

VECTOR = "vector"
"""The unit's name among what is busy, what takes energy and what the array waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a step asks of a chip.

    Attributes
    ----------
    lane_cycles, dram_cycles, port_cycles : int
        Clocks in which the lanes, the DRAM, and the busiest port of the unit's memory work.
    latency_cycles : int
        Clocks until the first bit arrives.
    read_bits, write_bits : int
        What passes DRAM.
    accesses : tuple of (str, int)
        Accesses of the memory by direction.
    energy_pj : dict of str to float
        By component, without what runs with the clocks.
    exact_cycles : Fraction
        Clocks of lanes, DRAM and ports if none of their operations, accesses and bursts had to be
        whole ones.
    """

    lane_cycles: int
    dram_cycles: int
    port_cycles: int
    latency_cycles: int
    read_bits: int
    write_bits: int
    accesses: tuple[tuple[str, int], ...]
    energy_pj: dict[str, float]
    exact_cycles: Fraction

    @property
    def work_cycles(self) -> int:
        """Clocks in which lanes, DRAM and ports work."""
        return max(self.lane_cycles, self.dram_cycles, self.port_cycles)

    @property
    def cycles(self) -> int:
        """Clocks of the step alone on the chip."""
        return self.work_cycles + self.latency_cycles


def format_of(arch: Arch, tensor: Tensor) -> Operand:
    """Return the format in which a chip stores a tensor."""
    return arch.formats.stored(tensor.kind, tensor.operand, tensor.product, tensor.layers)


def stored_bits(arch: Arch, tensor: Tensor) -> Fraction:
    """Return the bits of a tensor as the chip stores such an operand."""
    if tensor.bits_each is not None:
        return tensor.elements * tensor.bits_each
    stored = format_of(arch, tensor)
    rows = ceil_div(tensor.elements, tensor.width)
    return tensor.elements * Fraction(stored.bits_per_element(tensor.width, rows))


def _learned_bits(arch: Arch, step: VectorStep) -> int:
    """Return the bits of scales and shifts that a step reads; none if the chip states no format."""
    if arch.formats.norm is None:
        return 0
    return math.ceil(step.learned * arch.formats.norm.weight.bits_per_element(step.learned or 1, 1))


def _bits(arch: Arch, tensors: Iterable[Tensor]) -> int:
    """Return the bits of all of some tensors, as the chip stores them."""
    return math.ceil(sum((stored_bits(arch, each) for each in tensors), Fraction(0)))


def _states(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield those that are kept between passes."""
    return (each for each in tensors if each.kept)


def _quantizing(arch: Arch, step: VectorStep) -> Iterator[Operation]:
    """Yield the work of storing what a step makes in another format than results have.

    Linear layers make keys and values, and what layers add to.
    """
    for tensor in (*step.writes, *step.makes):
        stored = format_of(arch, tensor)
        linear = tensor.kind == "norm" or tensor.operand == "weight"
        plain = formats_of(arch, "linear" if linear else tensor.kind).output
        if stored.label != plain.label:
            groups = ceil_div(tensor.width, group_size(stored, tensor.width))  # the last is short
            rows = ceil_div(tensor.elements, tensor.width) * groups
            yield work(QUANTIZE, tensor.elements, rows)


def group_size(stored: Operand, width: int) -> int:
    """Return the elements that share a scale, of rows of ``width``; in a column, its tokens."""
    granularity = None if stored.scheme is None else stored.scheme.granularity
    if granularity is not None and stored.scales_columns:
        return min(width, granularity.rows or width)
    return min(width, getattr(granularity, "columns", None) or width)


def check_operations(arch: Arch, step: VectorStep) -> None:
    """Refuse a step with an operation that the chip's vector unit does not do.

    Parameters
    ----------
    arch : Arch
        One that has a vector unit.
    step : VectorStep

    Raises
    ------
    BitlatheError
        It says which operation of which step, and what the unit does.
    """
    does = None if arch.vector_unit is None else arch.vector_unit.operations
    if does is None:
        return
    for name in does:
        if name not in OPERATIONS:
            raise BitlatheError(
                f"vector.operations: {unknown_name('operation', name, OPERATIONS)}."
            )
    named = [name for name in step.operations if name not in does]
    if QUANTIZE not in does and any(True for _ in _quantizing(arch, step)):
        named.append(QUANTIZE)
    if named:
        raise BitlatheError(
            f"{arch.name}: {step.name!r} takes {' and '.join(dict.fromkeys(named))}, which no unit "
            f"of the chip can do; vector.operations are {', '.join(does) or 'none'}: add it there, "
            "or leave the key out for a unit that does all."
        )


def unit_memory(unit: VectorUnit, hierarchy: Hierarchy) -> Memory:
    """Return the memory that the unit stands beside.

    Raises
    ------
    BitlatheError
        No memory on the chip holds results.
    """
    if unit.memory is not None:
        return hierarchy.memory(unit.memory)
    for memory in hierarchy.memories[1:]:
        if "output" in memory.holds and not memory.per:
            return memory
    raise BitlatheError("vector: no memory on the chip holds results; give one.")


@lru_cache(maxsize=128)
def pass_of(chip: Chip, step: VectorStep, *, stays: bool = False) -> Pass:
    """Return what a step asks of a chip that has a vector unit, found once.

    Parameters
    ----------
    chip : Chip
    step : VectorStep
    stays : bool
        Whether what it works on stays on the chip: nothing but a state passes DRAM, and what is
        stored beside (`on_chip`).
    """
    arch, unit, hierarchy = chip.arch, chip.vector, chip.hierarchies[0]
    check_operations(arch, step)
    lane, totals = (
        unit.lane(arch.technology.node_nm),
        summed([step.totals, *_quantizing(arch, step)]),
    )
    dram, memory = hierarchy.memories[0], unit_memory(unit, hierarchy)
    dram_wide, dram_down = dram.ports[0].width_bits.as_integer_ratio()
    adds, multiplies = totals.adds + totals.row_adds, totals.multiplies + totals.row_multiplies
    specials = totals.specials + totals.row_specials
    learned = _learned_bits(arch, step)
    read, written = _bits(arch, step.reads) + learned, _bits(arch, step.writes)
    stored = _bits(arch, _states(step.makes))
    outside = (read, written + stored)
    if stays:
        left = _bits(arch, _states(step.writes)) + stored
        outside = _bits(arch, _states(step.reads)) + learned, left
    burst = arch.dram.burst_bits or 1
    bursts = [ceil_div(bits, burst) * burst for bits in outside]
    ends, busy = [], dict.fromkeys(range(len(memory.ports)), 0)
    bits_of = dict.fromkeys(busy, 0)
    incoming = "input" if "input" in memory.holds else "output"
    for way, operand, bits in (
        ("write", incoming, outside[0]), ("read", incoming, read),
        ("write", "output", written), ("read", "output", outside[1]),
    ):  # fmt: skip
        index = memory.port(way, operand)  # type: ignore[arg-type]
        port = memory.ports[index]
        wide, down = port.width_bits.as_integer_ratio()
        accesses = ceil_div(bits * down, wide)
        busy[index] += accesses
        bits_of[index] += bits
        ends.append((way, accesses, accesses * (port.read_pj if way == "read" else port.write_pj)))
    lane_work = adds + multiplies + specials * lane.special_cycles
    work_pj = adds * lane.add_pj + multiplies * lane.multiply_pj + specials * lane.special_pj
    return Pass(
        lane_cycles=ceil_div(lane_work, unit.lanes),
        dram_cycles=ceil_div(sum(bursts) * dram_down, dram_wide),
        port_cycles=max(busy.values()),
        latency_cycles=dram.latency_cycles if outside[0] else 0,
        read_bits=outside[0],
        write_bits=outside[1],
        accesses=tuple(
            (f"{memory.name}_{way}", sum(n for has, n, _ in ends if has == way))
            for way in ("read", "write")
        ),
        energy_pj={
            VECTOR: arch.accounting.layout_factor * work_pj,
            "sram_read": math.fsum(pj for way, _, pj in ends if way == "read"),
            "sram_write": math.fsum(pj for way, _, pj in ends if way == "write"),
            "dram": bursts[0] * arch.dram.read_bit_pj + bursts[1] * arch.dram.write_bit_pj,
        },
        exact_cycles=max(
            Fraction(lane_work, unit.lanes),
            Fraction(sum(outside) * dram_down, dram_wide),
            *(bits / memory.ports[i].width_bits for i, bits in bits_of.items() if bits),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Clocks of steps that follow the array piece by piece.

    Attributes
    ----------
    work : int
        In which lanes, DRAM and ports work on all pieces.
    exact : Fraction
        Those if none of their operations, accesses and bursts had to be whole ones.
    piece : int
        In which they work on one piece alone.
    latency : int
        Until the first bits arrive of what the array makes, and they read.
    ahead : int
        Until the first bits arrive of what can be read ahead, while the array works.
    """

    work: int = 0
    exact: Fraction = Fraction(0)
    piece: int = 0
    latency: int = 0
    ahead: int = 0

    def and_then(self, asked: Pass, piece: Pass, *, streams: bool) -> "Following":
        """Return the clocks with those of another step.

        Parameters
        ----------
        asked, piece : Pass
            Of the step, and of one of its pieces.
        streams : bool
            Whether it takes results out of the array, and reads nothing that the array makes.
        """
        return Following(
            work=self.work + asked.work_cycles,
            exact=self.exact + asked.exact_cycles,
            piece=self.piece + piece.work_cycles,
            latency=self.latency + (0 if streams else asked.latency_cycles),
            ahead=self.ahead + (asked.latency_cycles if streams else 0),
        )


def time_beside(array: int, steps: Following, pieces: int, dram: int) -> int:
    """Return the clocks of products and steps that follow piece by piece.

    Parameters
    ----------
    array : int
        Clocks of the products.
    steps : Following
        Those of the steps.
    pieces : int
        Equal parts of both.
    dram : int
        Clocks in which DRAM moves the bits of both.

    Examples
    --------
    >>> steps = Following(work=60, exact=Fraction(60), piece=15)
    >>> time_beside(100, steps, 4, 0), time_beside(40, steps, 4, 0), time_beside(100, steps, 4, 150)
    (115, 70, 150)
    """
    up, down = steps.exact.as_integer_ratio()
    behind = max(array + steps.piece, ceil_div(array * down + up * pieces, pieces * down))
    return max(max(behind, steps.work + steps.ahead) + steps.latency, dram)


@lru_cache(maxsize=128)
def piece_of(step: VectorStep) -> VectorStep:
    """Return one of the pieces of a step, in whole elements; what its norms hold is read for it."""

    def part(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        return tuple(
            each._replace(elements=ceil_div(each.elements, step.pieces)) for each in tensors
        )

    return replace(
        step,
        rows=ceil_div(step.rows, step.pieces),
        elements=ceil_div(step.elements, step.pieces),
        pieces=1,
        reads=part(step.reads),
        writes=part(step.writes),
        makes=part(step.makes),
    )


def with_vector(
    chip: Chip, steps: Sequence[VectorStep], layers: Sequence[LayerRun]
) -> tuple[LayerRun, ...]:
    """Return layers with the steps of the vector unit, each behind what it works on.

    Parameters
    ----------
    chip : Chip
        One that has a vector unit.
    steps : sequence of VectorStep
        In the order of execution.
    layers : sequence of LayerRun
        The products on the array.
    """
    found, known = list(layers), _Known.of(layers)
    beside: dict[str, _Beside] = {}
    for step in steps:
        at = _last(found, step.after)
        made = [each for each in found if each.unit is None and _maker(each) in step.after]
        stays = bool(made) and not any(each.dram_bits["output"] for each in made)
        on = on_chip(step, made)
        asked = pass_of(chip, on, stays=stays)
        product = _product_behind(beside, found, step, at)
        if step.pieces > 1 and chip.vector.overlap and not product.fused:
            piece = pass_of(chip, piece_of(on), stays=stays)
            exposed = product.follow(asked, piece, step)
        else:
            exposed = product.wait(asked)
        beside[step.name] = product
        place = 0 if at is None else at + 1
        while place < len(found) and found[place].unit is not None:
            place += 1  # steps that came before
        found.insert(place, _layer_run(chip, step, asked, exposed, known))
    return tuple(found)


class _Beside:
    """Products and the steps that follow them; gives what each step adds to the array's clocks.

    Steps of several pieces follow the array piece by piece, together, and share the lanes with the
    products by its scales; one of a single piece starts
    when all before it is done, and so does one that follows a fused group, in which the unit works.
    """

    def __init__(self, layers: Iterable[LayerRun], count: int) -> None:
        each = list(layers)
        self.fused = any(layer.fused is not None for layer in each)
        self.array = sum(layer.cycles * layer.count for layer in each) // count
        self.dram = sum(layer.dram_cycles * layer.count for layer in each) // count
        self.lanes = sum((layer.scale_cycles or 0) * layer.count for layer in each) // count
        self.steps, self.pieces, self.alone, self.time = Following(), 0, 0, self.array

    def follow(self, asked: Pass, piece: Pass, step: VectorStep) -> int:
        self.steps = self.steps.and_then(asked, piece, streams=step.streams)
        self.pieces = min(step.pieces, self.pieces or step.pieces)
        self.lanes += asked.lane_cycles
        return self._added(asked)

    def wait(self, asked: Pass) -> int:
        self.alone += asked.cycles
        return self._added(asked)

    def _added(self, asked: Pass) -> int:
        self.dram += asked.dram_cycles
        together = max(time_beside(self.array, self.steps, max(1, self.pieces), 0), self.lanes)
        before, self.time = self.time, max(together + self.alone, self.dram, self.time)
        return self.time - before


def _product_behind(
    beside: dict[str, _Beside], layers: Sequence[LayerRun], step: VectorStep, at: int | None
) -> _Beside:
    """Return the products that a step follows, with the steps that follow them already."""
    for name in reversed(step.after):
        if name in beside:
            return beside[name]
    made = [] if at is None else [each for each in layers if _maker(each) == _maker(layers[at])]
    found = _Beside((each for each in made if each.unit is None), step.count)
    for each in made:
        beside[_maker(each)] = found
    return found


def _maker(layer: LayerRun) -> str:
    """Return the name of what made a layer's results: of a fused group its last product."""
    if layer.fused is None:
        return layer.name
    return str(layer.fused.get("maker", layer.fused["layers"][-1]))


def on_chip(step: VectorStep, made: Sequence[LayerRun]) -> VectorStep:
    """Return a step whose tensors that pass DRAM, where results stay on the chip, are `kept`.

    It finds on the chip what the products ahead of it left there, and no more: the stream that
    layers add to is stored where it is made and read from DRAM by the next sum.

    Parameters
    ----------
    step : VectorStep
    made : sequence of LayerRun
        The products whose results it works on.
    """
    if all(each.dram_bits["output"] for each in made):
        return step
    streaming = step.after[-1] if step.streams else None
    held = sum(
        each.m * each.n * each.batch * each.count for each in made if _maker(each) != streaming
    )
    reads = list[Tensor]()
    for tensor in step.reads:
        needed = 0 if tensor.kept else tensor.elements * step.count
        reads.append(tensor if needed <= held else tensor._replace(kept=True))
        held -= needed if needed <= held else 0
    writes, makes = (
        tuple(each._replace(kept=True) if _is_stream(each) else each for each in some)
        for some in (step.writes, step.makes)
    )
    return replace(step, reads=tuple(reads), writes=writes, makes=makes)


def _is_stream(tensor: Tensor) -> bool:
    """Return whether a tensor is what layers add to."""
    return (tensor.kind, tensor.operand) == ("norm", "input")


def _last(layers: Sequence[LayerRun], names: Sequence[str]) -> int | None:
    """Return the place of the last of some layers; None where there is none of them."""
    places = [i for i, layer in enumerate(layers) if _maker(layer) in names]
    return places[-1] if places else None


@dataclass(frozen=True, slots=True)
class _Known:
    """What a run finds of its layers: causes of stalls, what binds."""

    causes: bool
    binds: bool

    @classmethod
    def of(cls, layers: Sequence[LayerRun]) -> "_Known":
        return cls(
            any(layer.stalls is not None for layer in layers),
            any(layer.binds is not None for layer in layers),
        )


def _layer_run(chip: Chip, step: VectorStep, asked: Pass, exposed: int, known: _Known) -> LayerRun:
    busy = {
        VECTOR: asked.lane_cycles,
        chip.hierarchies[0].memories[0].name: asked.dram_cycles,
        unit_memory(chip.vector, chip.hierarchies[0]).name: asked.port_cycles,
    }
    return LayerRun(
        name=step.name,
        count=step.count,
        m=step.rows,
        n=ceil_div(step.elements, step.rows),
        k=1,
        batch=1,
        compute_cycles=0,
        dram_cycles=asked.dram_cycles,
        stall_cycles=exposed,
        cycles=exposed,
        utilization=0.0,
        dram_bits={"weight": 0, "input": asked.read_bits, "output": asked.write_bits},
        sram_accesses=dict(asked.accesses),
        energy_pj=with_total({"pe": 0.0, **asked.energy_pj, **timed_energy_pj(chip, exposed)}),
        stalls={**dict.fromkeys(STALL_CAUSES, 0), VECTOR: exposed} if known.causes else None,
        binds=max(busy, key=lambda name: busy[name]) if known.binds else None,
        busy_cycles=busy,
        unit=VECTOR,
    )
