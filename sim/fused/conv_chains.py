"""Chains of convolutions that may be fused, and what they cost on a chip.

Two or three convolutions that follow each other, of which each is read by the next alone, with
nothing between but steps of the vector unit that take each result as it comes. The steps behind the
last are part of the chain if they do so, too, a residual sum among them: what it adds comes from
DRAM.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ...arch.hierarchy import Hierarchy
from ...datatypes.base.errors import BitlatheError
from ...mapping.best import Objective
from ...mapping.fused.chain import Lanes
from ...mapping.fused.kept_results import best_strips
from ...mapping.fused.near import NearChip, near_chip, why_not
from ...mapping.fused.products import BlockProduct, block_product, inside_of
from ...mapping.fused.strip_cost import AskedRows, asked_of
from ...mapping.fused.strip_search import FoundStrips, fused_cost, spilling
from ...mapping.fused.strips import Conv, ConvChain, needs, strips
from ...mapping.mappers import ORDERS
from ...workloads.gemm import Gemm
from ...workloads.shares import Read
from ...workloads.transformer.matrix import Product
from ...workloads.vector_step import OPERATIONS, QUANTIZE, Operation, VectorStep, summed
from ..chip import Chip
from ..mapped import NestTime, Part, TimeOfNest, behind_decoders, nest_bits, nest_hierarchy
from ..run import LayerRun
from .account import fused_run, searched
from .chains import DECODED, Bits, lanes_of, loads_table

LONGEST = 3
"""Convolutions of a chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvGroup:
    """Convolutions that may be fused.

    Attributes
    ----------
    gemms : tuple of Gemm
        In the order of execution.
    steps : tuple of tuple of VectorStep
        Of each, what works on its results and on nothing that another layer of the chain makes.
    """

    gemms: tuple[Gemm, ...]
    steps: tuple[tuple[VectorStep, ...], ...]

    @property
    def name(self) -> str:
        """Name of the group: of its convolutions, what they share once."""
        first, *others = (gemm.name for gemm in self.gemms)
        shared = first[: first.rfind(".") + 1]
        return "+".join([first, *(name.removeprefix(shared) for name in others)])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its layers, in the order of execution."""
        names = list[str]()
        for gemm, steps in zip(self.gemms, self.steps, strict=True):
            names += [gemm.name, *(step.name for step in steps)]
        return tuple(names)

    @property
    def alike(self) -> tuple[object, ...]:
        """What groups have in common that cost the same."""
        steps = tuple(replace(each, name="", after=()) for some in self.steps for each in some)
        return tuple(replace(gemm, name="", count=1) for gemm in self.gemms), steps


def conv_groups(
    products: Sequence[Product], steps: Sequence[VectorStep]
) -> Iterator[tuple[int, int, ConvGroup]]:
    """Yield the chains of a network: from which product, up to which, and the chain.

    Parameters
    ----------
    products : sequence of Product
        In the order of execution, each with what it reads.
    steps : sequence of VectorStep
        What stands between them.
    """
    readers: Mapping[str, set[str]] = defaultdict(set)
    for product in products:
        for name in (*product.inputs, *product.weights):
            readers[name].add(product.gemm.name)
    at = {product.gemm.name: i for i, product in enumerate(products)}
    behind: Mapping[str, list[VectorStep]] = defaultdict(list)
    for step in steps:
        for name in step.after:
            behind[name].append(step)
    for i in range(len(products)):
        gemms = [products[i].gemm]
        inner = list[tuple[VectorStep, ...]]()
        for j in range(i + 1, min(i + LONGEST, len(products))):
            maker, reader = products[j - 1].gemm, products[j]
            working = tuple(behind[maker.name])
            alone = readers[maker.name] == {reader.gemm.name} and not products[j - 1].leaves
            taken = reader.inputs == (maker.name,) and reader.direct
            if not (alone and taken and _follows(maker, reader.gemm)):
                break
            if any(step.after != (maker.name,) or not _streams(step, 0) for step in working):
                break
            if not all(_on_all(step, maker) for step in working):
                break
            gemms, inner = [*gemms, reader.gemm], [*inner, working]
            last = tuple(_taken(behind[reader.gemm.name], j, at, reader.gemm))
            yield i, j + 1, ConvGroup(gemms=tuple(gemms), steps=(*inner, last))


def _follows(maker: Gemm, reader: Gemm) -> bool:
    """Return whether a convolution reads another's results as they are: no pooling between."""
    return (
        maker.conv is not None
        and reader.conv is not None
        and reader.sequences == maker.sequences
        and maker.m * maker.n * maker.batch == Read(reader, "input").elements
        and maker.conv.output_size == reader.conv.size
    )


def _taken(
    some: Sequence[VectorStep], place: int, at: Mapping[str, int], last: Gemm
) -> Iterator[VectorStep]:
    """Yield the steps behind the last convolution that work on its results as they come."""
    for step in some:
        newest = max((at[name] for name in step.after), default=-1)
        if newest > place:
            continue  # it stands behind a later layer
        if newest < place or not _streams(step, len(step.reads)) or not _on_all(step, last):
            return
        yield step


def _on_all(step: VectorStep, maker: Gemm) -> bool:
    """Return whether a step works on all results of a product once, not on a part of them."""
    return step.elements == maker.output_elements


def _streams(step: VectorStep, reads: int) -> bool:
    """Return whether a step takes results as they come, beside so many tensors from memory.

    One by one, or in the groups of a position that it quantizes.
    """
    each = [OPERATIONS[name] for name in step.operations if name != QUANTIZE]
    return (
        step.streams
        and step.direct
        and not step.writes
        and not step.makes
        and len(step.reads) == reads
        and all(read.elements % step.elements == 0 and not read.kept for read in step.reads)
        and not any(work.row_adds or work.row_multiplies or work.row_specials for work in each)
    )


def _groups(steps: Sequence[VectorStep]) -> Fraction:
    """Return how many groups steps quantize, by result; those of none are none."""
    some = [step for step in steps if QUANTIZE in step.operations]
    return max((Fraction(step.rows, step.elements) for step in some), default=Fraction(0))


def _work(steps: Sequence[VectorStep]) -> Operation:
    return summed(OPERATIONS[name] for step in steps for name in step.operations)


def chain_of(chip: Chip, group: ConvGroup, bits: Bits, hierarchy: Hierarchy) -> ConvChain:
    """Return a group as a chain on a chip, with the stored bits and clocks of its layers.

    Parameters
    ----------
    chip : Chip
    group : ConvGroup
    bits : mapping of Gemm to LayerBits
    hierarchy : Hierarchy
        The chip's memories.
    """
    layers = []
    for gemm, steps in zip(group.gemms, group.steps, strict=True):
        assert gemm.conv is not None
        layers.append(
            Conv(
                shape=gemm.conv,
                bits=nest_bits(chip, gemm, bits[gemm]),
                unit_pj=nest_hierarchy(chip, gemm, bits[gemm], hierarchy).unit_pj,
                work=_work(steps),
                groups=_groups(steps),
            )
        )
    added = sum(read.elements // step.elements for step in group.steps[-1] for read in step.reads)
    return ConvChain(layers=tuple(layers), images=group.gemms[0].sequences, added=added)


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedConvs:
    """A chain on a chip under its best strips."""

    chain: ConvChain
    near: NearChip
    lanes: Lanes
    found: FoundStrips


def best_of(chip: Chip, group: ConvGroup, bits: Bits, objective: Objective) -> FusedConvs | str:
    """Return a chain in its best strips over a chip's dataflows; where none fit, why.

    Parameters
    ----------
    chip : Chip
        Split as the layers' multipliers are.
    group : ConvGroup
    bits : mapping of Gemm to LayerBits
    objective : {"cycles", "energy", "edp"}
        What is least.
    """
    lanes, reasons = lanes_of(chip), list[str]()
    best: tuple[tuple[float, float], int, FusedConvs] | None = None
    decoded = (behind_decoders(chip, bits[group.gemms[0]], each) for each in chip.hierarchies)
    for i, hierarchy in enumerate(decoded):
        reason = why_not(hierarchy)
        if reason is not None:
            reasons.append(f"{reason}.")
            continue
        near, chain = near_chip(hierarchy), chain_of(chip, group, bits, hierarchy)
        try:
            found = best_strips(chain, near, lanes, objective)
        except BitlatheError as error:  # too small for a row
            reasons.append(str(error).removeprefix("fusion: "))
            continue
        made = fused_cost(chain, near, lanes, found)
        at = ORDERS[objective](made.cycles, made.total_pj)
        if best is None or (at, i) < best[:2]:
            best = at, i, FusedConvs(chain=chain, near=near, lanes=lanes, found=found)
    return reasons[0] if best is None else best[2]


def conv_run(
    chip: Chip, group: ConvGroup, bits: Bits, objective: Objective, time_of_nest: TimeOfNest
) -> LayerRun | str:
    """Return the cost of a chain of convolutions on a chip; where it cannot be fused, why.

    Parameters
    ----------
    chip : Chip
    group : ConvGroup
    bits : mapping of Gemm to LayerBits
    objective : {"cycles", "energy", "edp"}
        What its strips make least.
    time_of_nest : callable
        The rung's time of a product under its mapping: of each strip's.
    """
    if len({bits[gemm].split for gemm in group.gemms}) > 1:
        return "multipliers split otherwise for one of its convolutions than for another."
    if any(map(loads_table, (bits[gemm] for gemm in group.gemms))):
        return DECODED
    chip = chip.split_for(bits[group.gemms[0]].split)
    fused = best_of(chip, group, bits, objective)
    if isinstance(fused, str):
        return fused
    chain, near, found = fused.chain, fused.near, fused.found
    parts, times = dict[AskedRows, Part](), dict[AskedRows, NestTime]()

    def product(asked: AskedRows) -> BlockProduct:
        best, layer = found.products[asked], chain.layers[asked.layer]
        if asked not in parts:
            parts[asked] = Part(
                loops=asked.loops(chain),
                bits=layer.bits,
                hierarchy=inside_of(near, layer.unit_pj),
                best=best,
                times=1,
            )
            times[asked] = time_of_nest(parts[asked])
        return block_product(best, near, times[asked].cycles)

    cost = fused_cost(chain, near, fused.lanes, found, product)
    runs: Counter[AskedRows] = Counter()
    cut = strips(chain, found.tiling)
    for strip in cut:
        for asked in asked_of(strip):
            runs[asked] += chain.images
    nests = [(replace(parts[each], times=many), times[each]) for each, many in runs.items()]
    maker = group.gemms[-1].name
    about = {"layers": list(group.names), "maker": maker, **searched(found)}
    spilled = spilling(chain, near, found.tiling, found.products.__getitem__)
    tiles = needs(chain, found.tiling, cut, spilled)
    return fused_run(chip, (group.name, 1), group.gemms, bits, near, cost, nests, tiles, about)
