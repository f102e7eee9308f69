"""A layer under mappings: its products, the mapping of each, and the account of what they cost.

Both rungs execute the same mappings; they differ in the time that a nest takes. A layer is one
product, or several one after the other: under a causal mask the blocks of tokens that see a part
of the others.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any

from ..arch.dataflow import TILE
from ..arch.hierarchy import OPERANDS, Hierarchy
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from ..mapping.best import Best
from ..mapping.constraints import Constraints
from ..mapping.cost import DECODERS, Cost
from ..mapping.keep import NOTHING, Kept
from ..mapping.kept_results import best_mapping
from ..mapping.legal import footprints
from ..mapping.mappers import NEST_MAPPERS, NestMapper
from ..mapping.nest import Loops
from ..mapping.operands import OperandBits
from ..mapping.staying import leaves_unfinished, with_staying
from ..workloads.gemm import Gemm
from .chip import Chip
from .energy import timed_energy_pj
from .layer_bits import LayerBits
from .layout import cropped, token_rows
from .run import STALL_CAUSES, Filled, LayerRun, with_total

MOST_MASKED_BLOCKS = 16

Extents = tuple[int, int, int]
"""Tokens, outputs and inputs of a product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A product of a layer, its best mapping on a chip, and how often it runs."""

    loops: Loops
    bits: OperandBits
    hierarchy: Hierarchy
    best: Best
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NestTime:
    """Clocks of a nest, and those of its waits where the rung finds them.

    ``stalls`` by what the array waits for, as the rung names it, and by the causes of all layers
    (`run.STALL_CAUSES`); both sum to the clocks beyond the steps.
    """

    cycles: int
    waits: Mapping[str, Fraction] | None = None
    stalls: Mapping[str, Fraction] | None = None


TimeOfNest = Callable[[Part], NestTime]
"""What a rung is under mappings: the time of a product from its mapping."""


def nest_bits(chip: Chip, gemm: Gemm, bits: LayerBits) -> OperandBits:
    """Return the bits of a layer's operands, and the mean clocks of a step of the array.

    A step works on ``lanes`` weights of each PE. Its clocks are the terms of the weights; where
    groups end inside a chunk, terms are skipped, tables are filled, a group waits for the
    rescaling of the one before or the array for the vector unit that scales its sums, the mean over
    all of K of a fold of the array's rows.
    """
    found: OperandBits = _kept(_nest_bits, bits)(chip, gemm.k, bits)
    return found


def _kept(made: Any, bits: LayerBits) -> Any:
    """Return a function that keeps its results; of weights that were counted, one that does not.

    Their counts are large, and would be kept with them.
    """
    return made if bits.skipping is None else made.__wrapped__


@lru_cache(maxsize=256)
def _nest_bits(chip: Chip, k: int, bits: LayerBits) -> OperandBits:
    """Return the same of all layers of as many inputs, made once."""
    steps = ceil_div(k, chip.arch.pe.lanes)
    return OperandBits(
        weight=bits.weight,
        input=bits.input,
        output=bits.output,
        partial=chip.sum_bits,
        step_cycles=fold_cycles(chip, k, bits) / steps,
        weight_code=bits.code_of("weight"),
        input_code=bits.code_of("input"),
        output_code=bits.code_of("output"),
    )


def fold_cycles(chip: Chip, k: int, bits: LayerBits) -> Fraction:
    """Return the clocks in which a fold of the array's rows goes over ``k`` inputs.

    Not fewer than the vector unit takes to multiply by their scales, of all PEs of the array.
    """
    unit = chip.arch.vector_unit
    array = array_cycles(chip, k, bits)
    if unit is None or not bits.unit_work.operations:
        return array
    return max(array, bits.unit_work.operations * k * chip.arch.phase_pes / unit.lanes)


def array_cycles(chip: Chip, k: int, bits: LayerBits) -> Fraction:
    """Return the clocks in which a fold of the array's rows goes over ``k`` inputs, by itself."""
    arch, lanes = chip.arch, chip.arch.pe.lanes
    chunks = bits.chunks(k, lanes)
    if chip.flow is not TILE:
        return Fraction(chunks * bits.terms)
    filled = chunks * arch.fill_cycles(bits.table_additions)
    filled += bits.decoder.block_clocks(True) if bits.decoder else 0
    if bits.skipping is not None:
        fold = bits.skipping.fold(0, arch.array.rows, k)
        return Fraction(fold.issue + fold.rescale + filled)
    groups = bits.groups(k)
    a_group = ceil_div(chunks, groups) * bits.terms
    gap = chip.pe.group_gap if groups > 1 else 0
    waits = (groups - 1) * max(bits.rescale_bits - a_group, gap, 0)
    return Fraction(chunks * bits.terms + waits + filled)


def nest_hierarchy(chip: Chip, gemm: Gemm, bits: LayerBits, hierarchy: Hierarchy) -> Hierarchy:
    """Return a chip's memories with the energy of a unit in a clock of a step of this layer.

    A unit takes energy in clocks with a term, not while it waits, unless those without work do too
    (``accounting.idle_pes``); and once for each sum of a group of weights, for its scale. What
    leaves the buffer of weights passes the layer's decoders, whose table is loaded before.

    Parameters
    ----------
    chip : Chip
    gemm : Gemm
    bits : LayerBits
        The terms of the layer's weights.
    hierarchy : Hierarchy
        The chip's.
    """
    made = _kept(_nest_hierarchy, bits)
    found: Hierarchy = made(chip, gemm.k, gemm.batch, bits, hierarchy)
    return found


@lru_cache(maxsize=256)
def _nest_hierarchy(
    chip: Chip, k: int, batch: int, bits: LayerBits, hierarchy: Hierarchy
) -> Hierarchy:
    """Return the same of all layers of as many inputs and products, made once."""
    arch, rows = chip.arch, chip.arch.array.rows
    hierarchy = behind_decoders(chip, bits, hierarchy)
    scaled_pj = arch.accounting.layout_factor * arch.pe.group_sum_pj * bits.scaled_sums(k)
    scaled_pj += arch.unit_pj(*(float(k * each) for each in bits.unit_work))
    if bits.decoder is not None and bits.decoder.layer_clocks:
        hierarchy = _after_table(hierarchy, bits.decoder.layer_clocks * batch)
    if bits.table_additions != arch.pe.record.table_additions:
        hierarchy = _with_tables(
            hierarchy,
            arch.fill_cycles(bits.table_additions),
            arch.accounting.layout_factor * arch.table_addition_pj * bits.table_additions,
        )
    if arch.accounting.idle_pes:
        every = arch.phase_pes * scaled_pj / float(fold_cycles(chip, k, bits))
        return _with_unit_pj(hierarchy, hierarchy.unit_pj + every) if scaled_pj else hierarchy
    busy = Fraction(bits.chunks(k, arch.pe.lanes) * bits.terms)
    if bits.skipping is not None:
        busy = Fraction(bits.skipping.fold(0, rows, k).busy) / rows
    steps = ceil_div(k, arch.pe.lanes)
    stepping = fold_cycles(chip, k, bits) - steps * hierarchy.table_cycles
    unit_pj = hierarchy.unit_pj * float(busy / stepping)
    return _with_unit_pj(hierarchy, unit_pj + scaled_pj / float(stepping))


@lru_cache(maxsize=1024)
def _with_unit_pj(hierarchy: Hierarchy, unit_pj: float) -> Hierarchy:
    return replace(hierarchy, unit_pj=unit_pj)  # checked anew, so made once


def behind_decoders(chip: Chip, bits: LayerBits, hierarchy: Hierarchy) -> Hierarchy:
    """Return a chip's memories with what decodes a layer's weights, if anything does.

    Parameters
    ----------
    chip : Chip
    bits : LayerBits
    hierarchy : Hierarchy
        The chip's.
    """
    pj = chip.arch.decoded_pj if bits.decoder is not None else 0.0
    return _with_decoders(hierarchy, pj) if pj else hierarchy


@lru_cache(maxsize=64)
def _with_decoders(hierarchy: Hierarchy, pj: float) -> Hierarchy:
    memories = (
        replace(each, decode_pj=pj) if each.name == "weight" else each
        for each in hierarchy.memories
    )
    return replace(hierarchy, memories=tuple(memories))


@lru_cache(maxsize=64)
def _after_table(hierarchy: Hierarchy, clocks: int) -> Hierarchy:
    return replace(hierarchy, fill_cycles=hierarchy.fill_cycles + clocks)


@lru_cache(maxsize=64)
def _with_tables(hierarchy: Hierarchy, cycles: int, pj: float) -> Hierarchy:
    return replace(hierarchy, table_cycles=cycles, table_pj=pj)


def ways_of(chip: Chip, gemm: Gemm) -> list[Counter[Extents]]:
    """Return the ways to run a layer: products and how often; a masked layer in 1, 2, 4 ... blocks.

    Blocks are not smaller than the array's tokens; each sees all that its last token sees.
    """
    if gemm.causal is None:
        return [Counter([(gemm.m, gemm.n, gemm.k)])]
    whole = cropped(gemm)
    ways = [Counter([(whole.m, whole.n, whole.k)])]
    tokens = ceil_div(gemm.m, gemm.rows_per_token)
    blocks = 2
    while blocks <= MOST_MASKED_BLOCKS:
        rows = ceil_div(tokens, blocks) * gemm.rows_per_token
        if rows < min(gemm.m, token_rows(chip)):
            break
        ways.append(Counter((each.m, each.n, each.k) for each in gemm.visible_blocks(rows)))
        blocks *= 2
    return ways


def parts_of(
    chip: Chip, gemm: Gemm, bits: LayerBits, mapper: str, kept: Kept = NOTHING
) -> tuple[Part, ...]:
    """Return the products of a layer under their mappings, in the way that is best.

    Parameters
    ----------
    chip : Chip
    gemm : Gemm
    bits : LayerBits
        Stored bits per element.
    mapper : str
        One of `NEST_MAPPERS`.
    kept : Kept
        What stays on the chip around the layer.

    Raises
    ------
    BitlatheError
        A chip without a hierarchy of memories, or one in which no mapping fits.
    """
    chip = chip.split_for(bits.split)
    rule, stored = NEST_MAPPERS[mapper], nest_bits(chip, gemm, bits)
    chips = [nest_hierarchy(chip, gemm, bits, each) for each in chip.hierarchies]
    if kept != NOTHING:
        chips = _with_staying(gemm, chips, kept)
    ways = [
        tuple(
            _part(loops, stored, hierarchy, rule, times, finishes=kept.output)
            for loops, times in way
        )
        for hierarchy in chips
        for way in _loops_of(chip, gemm, rule, taps=not kept.input)
    ]
    some = [parts for parts in ways if not (kept.output and any(map(_spills, parts)))]
    if not some:
        raise BitlatheError(f"layer {gemm.name!r}: its results leave the buffer unfinished.")
    return min(some, key=lambda parts: rule.rank(_total(parts)))


def _with_staying(gemm: Gemm, chips: Sequence[Hierarchy], kept: Kept) -> list[Hierarchy]:
    """Return chips with what stays around a layer: those that have the room."""
    both = (("input", kept.input), ("output", kept.output))
    staying = tuple(operand for operand, stays in both if stays)
    made = (with_staying(each, staying, 8 * kept.kept_bytes) for each in chips)
    found = [each for each in made if each is not None]
    if not found:
        raise BitlatheError(
            f"layer {gemm.name!r}: what stays on the chip takes {kept.kept_bytes} bytes, more than "
            "the memory has."
        )
    return found


def _spills(part: Part) -> bool:
    return leaves_unfinished(part.loops, part.best.mapping, part.hierarchy)


def _loops_of(
    chip: Chip, gemm: Gemm, rule: NestMapper, *, taps: bool = True
) -> list[list[tuple[Loops, int]]]:
    """Return the ways to run a layer as loops; a convolution also as a product of its taps.

    The product has more multipliers at work where channels are few, and reads each input as often
    as taps do: DRAM holds the matrix that they make. Without ``taps`` it is left out.
    """
    if gemm.conv is not None and rule.rule is None and not taps:
        return [[(Loops.of(gemm), 1)]]
    ways = [
        [(Loops.product(*extents, batch=gemm.batch), times) for extents, times in way.items()]
        for way in ways_of(chip, gemm)
    ]
    searched = gemm.conv is not None and rule.rule is None
    return [[(Loops.of(gemm), 1)], *ways] if searched else ways


def _part(
    loops: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    rule: NestMapper,
    times: int,
    *,
    finishes: bool = False,
) -> Part:
    """Return a product under its mapping; ``finishes``: under one whose sums leave finished."""
    part = Part(
        loops=loops,
        bits=bits,
        hierarchy=hierarchy,
        best=rule.map(loops, bits, hierarchy),
        times=times,
    )
    if not finishes or not _spills(part):
        return part
    found = (replace(part, best=best) for best in _all_of_k_inside(loops, bits, hierarchy, rule))
    return min(
        (each for each in found if not _spills(each)),
        key=lambda each: rule.rank(_total((each,))),
        default=part,
    )


def _all_of_k_inside(
    loops: Loops, bits: OperandBits, hierarchy: Hierarchy, rule: NestMapper
) -> Iterator[Best]:
    """Yield the best mappings of which the loops of K right inside the outermost are innermost.

    And that of which there are none, all of K in the memory behind.
    """
    outermost, near = hierarchy.memories[0], hierarchy.chain("output")[1]
    whole = (f"{near.name}.{dim}=whole" for dim in loops.sizes if dim == "k")
    for text in (f"{outermost.name}.stationary=output", *whole):
        with suppress(BitlatheError):  # none that fits
            yield best_mapping(
                loops, bits, hierarchy, rule.objective, constraints=Constraints.of(text)
            )


def _total(parts: Sequence[Part]) -> tuple[int, float]:
    """Return clocks and energy of products one after the other."""
    cycles = sum(part.best.cost.cycles * part.times for part in parts)
    return cycles, math.fsum(part.best.cost.total_pj * part.times for part in parts)


def mapped_run(
    chip: Chip, gemm: Gemm, parts: Sequence[Part], time_of: TimeOfNest, *, count: int
) -> LayerRun:
    """Return the cost of a layer under the mappings of its products.

    Parameters
    ----------
    chip : Chip
    gemm : Gemm
    parts : sequence of Part
        What runs one after the other.
    time_of : callable
        A rung's time of a nest.
    count : int
        How many instances are alike.
    """
    times = [time_of(part) for part in parts]
    cycles = sum(time.cycles * part.times for part, time in zip(parts, times, strict=True))
    compute = math.ceil(sum(part.best.cost.compute_cycles * part.times for part in parts))
    busy = busy_cycles(parts)
    peak = chip.arch.phase_pes * chip.arch.pe.lanes
    terms = parts[0].bits.step_cycles
    return LayerRun(
        name=gemm.name,
        count=count,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        batch=gemm.batch,
        compute_cycles=compute,
        dram_cycles=busy[parts[0].hierarchy.memories[0].name],
        stall_cycles=cycles - compute,
        cycles=cycles,
        utilization=float(gemm.macs * terms / (peak * cycles)) if cycles else 0.0,
        dram_bits=dram_bits(parts),
        sram_accesses=sram_accesses(parts),
        energy_pj=_energy_pj(chip, parts, cycles),
        stalls=_stalls(parts, times, cycles - compute),
        binds=max(busy, key=lambda name: busy[name]),
        busy_cycles=busy,
        mapping=tuple(plain(part, time) for part, time in zip(parts, times, strict=True)),
        tiles=partial(filled, tuple(parts)),
    )


def filled(parts: Sequence[Part]) -> dict[str, Filled]:
    """Return what the tiles of a layer's products take of each memory on the chip at most.

    Parameters
    ----------
    parts : sequence of Part
        One after the other.
    """
    found: dict[str, Filled] = {}
    for part in parts:
        held = footprints(part.loops, part.bits, part.best.mapping, part.hierarchy)
        for memory in part.hierarchy.memories[1:]:
            if memory.words is None:
                bits = sum(each.bits for each in held[memory.name].values())
                most = max(bits, found[memory.name].bits if memory.name in found else 0)
                found[memory.name] = Filled(most, memory.size_bits)
    return found


def _stalls(parts: Sequence[Part], times: Sequence[NestTime], total: int) -> dict[str, int] | None:
    """Return whole clocks of stalls by cause, which sum to ``total``."""
    found = dict.fromkeys(STALL_CAUSES, Fraction(0))
    for part, time in zip(parts, times, strict=True):
        if time.stalls is None:
            return None
        for cause, clocks in time.stalls.items():
            found[cause] += clocks * part.times
    return whole_stalls(found, total)


def whole_stalls(found: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Return clocks by cause in whole ones that sum to ``total``."""
    bounds = [*accumulate(found.values(), initial=Fraction(0))]
    ends = [min(total, round(bound)) for bound in bounds[:-1]] + [total]
    return dict(zip(found, (b - a for a, b in pairwise(ends)), strict=True))


def plain(part: Part, time: NestTime) -> dict[str, Any]:
    """Return a product under its mapping as plain data."""
    best = part.best
    return {
        "sizes": dict(part.loops.sizes),
        "times": part.times,
        "cycles": time.cycles,
        "lower_bound_cycles": best.cost.lower_bound_cycles,
        "mappings_evaluated": best.mappings_evaluated,
        "search_seconds": best.search_seconds,
        "optimal": best.optimal,
        **({} if best.optimal else {"within": best.within}),
        **(
            {}
            if time.waits is None
            else {"waits": {name: float(clocks) for name, clocks in time.waits.items()}}
        ),
        "nest": best.mapping.to_dict(),
    }


def dram_bits(parts: Sequence[Part]) -> dict[str, int]:
    """Return the bits that pass DRAM by operand; unfinished sums count as outputs."""
    found = dict.fromkeys(OPERANDS, Fraction(0))
    for part in parts:
        for operand, bits in part.best.outer_bits.items():
            found[operand] += bits * part.times
    return {operand: math.ceil(bits) for operand, bits in found.items()}


def sram_accesses(parts: Sequence[Part]) -> dict[str, int]:
    """Return the accesses through the ports of the memories on the chip; registers left out."""
    found: dict[str, int] = {}
    for part in parts:
        for load in part.best.cost.ports:
            memory = part.hierarchy.memory(load.memory)
            if memory is part.hierarchy.memories[0] or memory.words is not None:
                continue
            for way, count in (("read", load.reads), ("write", load.writes)):
                name = f"{load.memory}_{way}"
                found[name] = found.get(name, 0) + count * part.times
    return found


def _port_clocks(part: Part) -> dict[str, int]:
    """Return the clocks of each memory's busiest port, and of the array's steps."""
    found = {"array": math.ceil(part.best.cost.compute_cycles)}
    for load in part.best.cost.ports:
        found[load.memory] = max(found.get(load.memory, 0), load.busy)
    return found


def busy_cycles(parts: Sequence[Part]) -> dict[str, int]:
    """Return the clocks in which the array works, and in which each memory's busiest port does."""
    total: Counter[str] = Counter()
    for part in parts:
        for name, clocks in _port_clocks(part).items():
            total[name] += clocks * part.times
    return dict(total)


def _energy_pj(chip: Chip, parts: Sequence[Part], cycles: int) -> dict[str, float]:
    """Return energy by component; what runs with the clocks follows the rung's."""
    energy: dict[str, list[float]] = {
        "pe": [],
        "sram_read": [],
        "sram_write": [],
        "dram": [],
    }
    for part in parts:
        outermost, *on_chip = (memory.name for memory in part.hierarchy.memories)
        cost, times = part.best.cost, part.times
        written = _written_pj(part.hierarchy, cost)
        read = math.fsum(cost.energy_pj[name] for name in on_chip) - written
        energy["pe"].append(cost.energy_pj["array"] * times)
        energy["pe"].append(cost.energy_pj.get(DECODERS, 0.0) * times)
        energy["dram"].append(cost.energy_pj[outermost] * times)
        energy["sram_write"].append(written * times)
        energy["sram_read"].append(max(0.0, read) * times)
    summed = {name: math.fsum(terms) for name, terms in energy.items()}
    return with_total({**summed, **timed_energy_pj(chip, cycles)})


def _written_pj(hierarchy: Hierarchy, cost: Cost) -> float:
    return math.fsum(
        load.writes * hierarchy.memory(load.memory).ports[load.port].write_pj
        for load in cost.ports
        if load.memory != hierarchy.memories[0].name
    )
