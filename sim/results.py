"""How results are stored: as the products that read them take them, if a unit can quantize them.

An array leaves results in the chip's format of results. What a product reads as it lies is stored
in the groups of that operand, and on a chip with a vector unit in its format, for which the unit
quantizes it on its way out. Keys and values always are. Without a unit results stay as they left
the array, and the run names the step as work that is not counted. What products read in several
formats is stored in each of them, and each reads its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..arch.formats import Operand, countable
from ..arch.schema import SPLITTING, Arch
from ..datatypes.base.numbers import ceil_div
from ..workloads.conv import ConvNet
from ..workloads.gemm import Gemm
from ..workloads.model import Model
from ..workloads.shares import (
    Around,
    Neighbours,
    Read,
    Share,
    Shares,
    Way,
    around,
    read_as,
    taken_by,
)
from ..workloads.transformer import Staged
from ..workloads.transformer.matrix import Product
from ..workloads.vector_step import QUANTIZE, Tensor, VectorStep
from .policy import format_kind, formats_for
from .vector import format_of, group_size, stored_bits

MANY_TOKENS = 2**20  # scales along so many tokens weigh next to nothing
Bits = tuple[Fraction, Fraction]
"""Mean stored bits of a result, and of its code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a chip stores results in a pass.

    Attributes
    ----------
    arch : Arch
    grows : bool
        Whether the pass adds tokens to a cache that is there. A token brings no scale of its own
        where values are scaled along the tokens, nor to what all of them share: it takes what an
        element of many tokens does.
    by_rows : bool
        Whether a rule stores each row by itself (`LayerBits.of`).
    """

    arch: Arch
    grows: bool = False
    by_rows: bool = False

    def bits(self, stored: Operand, length: int, rows: int) -> Bits:
        """Return the bits of an element of rows of a length, and of its code."""
        each = stored.row_bits if self.by_rows else stored.bits_per_element
        return each(length, rows), stored.code_bits

    def plain(self, gemm: Gemm, elements: int) -> Bits:
        """Return the bits of so many of a product's results, where they are stored as they come."""
        rows, length = gemm.stored("output")
        stored = formats_for(self.arch, gemm).output
        return self.bits(stored, ceil_div(length * elements, gemm.output_elements), rows)

    def read(self, read: Read) -> Bits:
        """Return the bits of an operand."""
        rows, length = read.gemm.stored(read.operand)
        if self.grows and read.operand == "weight" and read.gemm.stationary == "kv_cache":
            if read.gemm.role == "mix":
                length = MANY_TOKENS
            else:
                rows = MANY_TOKENS
        return self.bits(self.operand(read), length, rows)

    def operand(self, read: Read) -> Operand:
        """Return the format of an operand."""
        found: Operand = getattr(formats_for(self.arch, read.gemm), read.operand)
        return found

    def ways(self, share: Share) -> list[Way]:
        """Return how a share is read, once for each format; of one format that of the most bits."""
        found: dict[frozenset[str], Way] = {}
        for way in share.ways:
            labels = frozenset(self.operand(read).label for read in way)
            found[labels] = max(found.get(labels, way), way, key=lambda each: self.of_way(each)[0])
        return list(found.values())

    def of_way(self, way: Way) -> Bits:
        """Return the mean bits of the pieces in which results are read."""
        return _mean([(self.read(read), read.elements) for read in way])

    def quantized(self, gemm: Gemm, share: Share) -> list[Way]:
        """Return how a share is read in other formats than the array leaves."""
        if share.cached:
            return []
        plain = formats_for(self.arch, gemm).output.label
        return [
            way
            for way in self.ways(share)
            if any(self.operand(read).label != plain for read in way)
        ]

    def share(self, gemm: Gemm, share: Share) -> Bits:
        """Return the bits of a share of a product's results."""
        if share.stream is not None:
            stored = self.arch.formats.stored(share.stream.kind, share.stream.operand)
            rows, length = gemm.stored("output")
            return self.bits(stored, length, rows)
        ways = self.ways(share)
        asks = self.arch.vector_unit is None and self.quantized(gemm, share)
        if not ways or asks:
            return self.plain(gemm, share.elements)
        parts = [self._part(share, way, len(ways)) for way in ways]
        sums = [sum((each[i] for each in parts), Fraction(0)) for i in (0, 1)]
        return countable(sums[0]), sums[1]

    def _part(self, share: Share, way: Way, formats: int) -> Bits:
        """Return the bits of a share in one of its formats, by element of all of it."""
        stored, code = self.of_way(way)
        read = sum(each.elements for each in way)
        part = min(Fraction(1), Fraction(read, share.elements)) if formats > 1 else Fraction(1)
        return stored * part, code * part

    def shares(self, gemm: Gemm, shares: Shares) -> Bits:
        """Return the mean bits of all of a product's results."""
        return _mean([(self.share(gemm, share), share.elements) for share in shares])


def _mean(some: Sequence[tuple[Bits, int]]) -> Bits:
    total = sum(many for _, many in some)
    stored, code = (
        sum((bits[i] * many for bits, many in some), Fraction(0)) / total for i in (0, 1)
    )
    return countable(stored), code


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The bits of the results of a pass's products: of each, and of all that are alike."""

    each: Mapping[Gemm, Bits]
    alike: Mapping[Gemm, Bits]

    def of(self, gemm: Gemm) -> Bits | None:
        """Return the mean bits of a product's results, and of their codes; None: not known."""
        if gemm.count > 1 and self.alike:
            return self.alike.get(replace(gemm, name="", count=1))
        return self.each.get(replace(gemm, count=1))


UNKNOWN = Results(each={}, alike={})


def results_of(
    arch: Arch,
    model: Model,
    staged: Staged,
    *,
    grows: bool = False,
    by_rows: bool = False,
    mapper: str = "",
) -> tuple[Results, Staged]:
    """Return the bits of results, and a pass whose vector steps move and quantize them so.

    Chips that count as a published study does write what their study says: plain results.

    Parameters
    ----------
    arch : Arch
    model : Model
    staged : Staged
        The pass.
    grows : bool
        Whether it adds tokens to a cache that is there.
    by_rows : bool
        Whether a rule stores each row by itself (`LayerBits.of`).
    mapper : str
        How layers are laid on the chip.
    """
    if arch.published_accounting or mapper in SPLITTING:
        return UNKNOWN, staged
    rule, found = Rule(arch=arch, grows=grows, by_rows=by_rows), read_as(staged)
    each = {gemm: _of_all(rule, gemm, some) for gemm, some in found.items()}
    alike = dict[Gemm, Bits]()
    if isinstance(model.shape, ConvNet):  # equal layers run once, whatever their names
        together: dict[Gemm, list[tuple[Bits, int]]] = {}
        for gemm, bits in each.items():
            key = replace(gemm, name="")
            together.setdefault(key, []).append((bits, found[gemm].total()))
        alike = {gemm: _mean(some) for gemm, some in together.items()}
    steps = [*_resolved(rule, staged, each), *_quantizing(rule, found)]
    return Results(each=each, alike=alike), replace(staged, steps=tuple(steps))


def cached_bits(rule: Rule, products: Sequence[Product]) -> Fraction | None:
    """Return the mean bits of an element that a part keeps: of its keys and values.

    Parameters
    ----------
    rule : Rule
    products : sequence of Product
        Those of a part; None is returned where they make neither keys nor values.
    """
    kept = [
        (rule.share(product.gemm, share), share.elements)
        for product, shares in Neighbours(products, ()).shares()
        for share in shares
        if share.cached
    ]
    return _mean(kept)[0] if kept else None


def _of_all(rule: Rule, gemm: Gemm, some: Counter[Shares]) -> Bits:
    return _mean([(rule.shares(gemm, shares), count) for shares, count in some.items()])


def _quantizing(rule: Rule, found: Mapping[Gemm, Counter[Shares]]) -> Iterator[VectorStep]:
    """Yield the work of storing results in another format than the array leaves."""
    for gemm, some in found.items():
        for shares, count in some.items():
            for share in shares:
                ways = rule.quantized(gemm, share)
                if ways and not share.made:
                    yield _quantize(rule, gemm, share.elements, [way[0] for way in ways], count)


def _quantize(
    rule: Rule, gemm: Gemm, elements: int, reads: Sequence[Read], count: int
) -> VectorStep:
    """Return the work of storing results in the formats of some operands."""
    lengths = (read.gemm.stored(read.operand)[1] for read in reads)
    sizes = (
        group_size(rule.operand(read), length) for read, length in zip(reads, lengths, strict=True)
    )
    rows = sum(ceil_div(elements, size) for size in sizes)
    return VectorStep(
        name=f"{gemm.name}_{QUANTIZE}",
        operations=(QUANTIZE,),
        rows=rows,
        elements=elements * len(reads),
        after=(gemm.name,),
        streams=True,
        pieces=rows,
        count=count,
    )


def _resolved(rule: Rule, staged: Staged, each: Mapping[Gemm, Bits]) -> Iterator[VectorStep]:
    """Yield steps that read tensors as they were written, and leave them as they are read."""
    made = {gemm.name: (gemm, bits) for gemm, bits in each.items()}
    left = dict[str, Fraction]()
    resolved = (own for step in staged.steps for own in _by_layer(rule, staged, step))
    for step in resolved:
        if not staged.before:
            yield step
            continue
        writes = tuple(own for each in step.writes for own in _as_read(rule, staged, step, each))
        known = [each.bits_each for each in writes if each.bits_each is not None]
        if len(step.writes) == 1 and known:
            left[step.name] = max(known)
        reads = (_as_made(tensor, made, left) for tensor in step.reads)
        yield replace(step, reads=tuple(reads), writes=writes)


def _by_layer(rule: Rule, staged: Staged, step: VectorStep) -> Iterator[VectorStep]:
    """Yield a step in the formats of the products around it, of layers with others apart.

    What fused groups may take (softmax, what streams) stays one step, of the mean bits.
    """
    formats = rule.arch.formats
    if not (formats.rules or formats.router or formats.lm_head):  # each kind has one format
        yield step
        return
    found = Counter[VectorStep]()
    alike = dict[tuple[str, ...], VectorStep]()
    for near in around(staged, step):
        comes = near.makers[-1].name if near.makers and step.streams else ""  # read by none
        makers = [each for each in near.makers if each.name != comes]
        reads, writes, makes = (
            [_of_products(rule, step, each, beside) for each in some]
            for some, beside in (
                (step.reads, makers), (step.writes, near.readers), (step.makes, near.readers)
            )
        )  # fmt: skip
        reads = [each[:1] for each in reads]  # stored once: in the format of the most bits
        makes = [
            each or _cached(rule, near, tensor)
            for each, tensor in zip(makes, step.makes, strict=True)
        ]
        if not any((*reads, *writes, *makes)):
            continue  # of other layers, whose steps have the same name
        own = replace(
            step,
            reads=_or_else(reads, step.reads),
            writes=_or_else(writes, step.writes),
            makes=_or_else(makes, step.makes),
        )
        labels = tuple(
            format_of(rule.arch, each).label for each in (*own.reads, *own.writes, *own.makes)
        )
        found[alike.setdefault(labels, own)] += near.layers
    total = found.total()
    if len(found) < 2:
        yield next(iter(found), step)
    elif _may_be_fused(step) or step.count % total:
        yield _mean_step(rule, found)
    else:
        for own, layers in found.items():
            yield replace(own, count=step.count * layers // total)


def _may_be_fused(step: VectorStep) -> bool:
    return (step.streams and bool(step.operations)) or "softmax" in step.operations


def _or_else(found: Sequence[Sequence[Tensor]], plain: Sequence[Tensor]) -> tuple[Tensor, ...]:
    pairs = zip(found, plain, strict=True)
    return tuple(each for own, other in pairs for each in own or (other,))


def _of_products(
    rule: Rule, step: VectorStep, tensor: Tensor, near: Sequence[Gemm]
) -> Sequence[Tensor]:
    """Return a tensor as those products' operand, once a format, the most bits first.

    Empty where it is none of theirs.
    """
    if tensor.kept or tensor.kind == "norm" or tensor.operand == "weight":
        return ()
    operand, rows = tensor.operand, ceil_div(tensor.elements, tensor.width)
    fits = [each for each in near if each.stored(operand)[1] == tensor.width]
    many = sum(each.m * each.batch * each.count for each in fits)
    if step.rows != many and not any(step.rows == each.m * each.batch for each in fits):
        return ()
    formats = {each: getattr(formats_for(rule.arch, each), operand) for each in fits}
    fits.sort(key=lambda each: -formats[each].bits_per_element(tensor.width, rows))
    by_label = {formats[each].label: each for each in reversed(fits)}
    own = format_of(rule.arch, tensor).label
    return [
        tensor if label == own else _as_operand_of(tensor, each)
        for label, each in reversed(by_label.items())
    ]


def _as_operand_of(tensor: Tensor, gemm: Gemm) -> Tensor:
    kind: Any = format_kind(gemm)
    return tensor._replace(kind=kind, product=gemm.name, layers=gemm.layers)


def _cached(rule: Rule, near: Around, tensor: Tensor) -> Sequence[Tensor]:
    """Return new keys and values, each as attention reads them; empty where one format has both."""
    if (tensor.kind, tensor.operand) != ("attention", "weight"):
        return ()
    parts = {
        role: sum(each.m * each.batch * getattr(each, name) for each in near.makers)
        for role, name in (("scores", "keys"), ("mix", "values"))
    }
    readers = {role: next((g for g in near.attending if g.role == role), None) for role in parts}
    found = [
        _as_operand_of(tensor, gemm)._replace(elements=elements)
        for (role, elements), gemm in zip(parts.items(), readers.values(), strict=True)
        if gemm is not None and elements
    ]
    whole = sum(each.elements for each in found) == tensor.elements
    own = format_of(rule.arch, tensor).label
    return found if whole and any(format_of(rule.arch, e).label != own for e in found) else ()


def _mean_step(rule: Rule, found: Counter[VectorStep]) -> VectorStep:
    """Return the step of most layers, its tensors of the mean bits of all."""
    most, total = max(found, key=lambda each: found[each]), found.total()

    def mean(name: str) -> tuple[Tensor, ...]:
        some = [getattr(each, name) for each in found]
        if len({len(each) for each in some}) > 1:  # formats of which only some layers have more
            bits = (
                sum((stored_bits(rule.arch, each) for each in tensors), Fraction(0)) * layers
                for tensors, layers in zip(some, found.values(), strict=True)
            )
            first = getattr(most, name)[0]
            return (first._replace(bits_each=sum(bits, Fraction(0)) / total / first.elements),)
        columns = zip(*some, strict=True)
        return tuple(
            tensor._replace(
                bits_each=sum(
                    (
                        stored_bits(rule.arch, each) / each.elements * layers
                        for each, layers in zip(column, found.values(), strict=True)
                    ),
                    Fraction(0),
                )
                / total
            )
            for tensor, column in zip(getattr(most, name), columns, strict=True)
        )

    return replace(most, reads=mean("reads"), writes=mean("writes"))


def _as_read(rule: Rule, staged: Staged, step: VectorStep, tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor that a step leaves, once for each format of the products that read it."""
    found: dict[str, Tensor] = {}
    for gemm in taken_by(staged.before, step) if tensor.operand == "input" else ():
        read = Read(gemm, "input")
        if read.elements == tensor.elements and not tensor.kept:
            label = rule.operand(read).label
            kind: Any = format_kind(gemm)
            own = tensor._replace(kind=kind, product=gemm.name, layers=gemm.layers)
            found.setdefault(label, own._replace(bits_each=rule.read(read)[0]))
    yield from found.values() or [tensor]


def _as_made(
    tensor: Tensor,
    made: Mapping[str, tuple[Gemm, Bits]],
    left: Mapping[str, Fraction],
) -> Tensor:
    """Return a tensor that a step reads as what made it stored it, where that is known."""
    plain = tensor._replace(maker="")
    if tensor.maker in left:
        return plain._replace(bits_each=left[tensor.maker])
    if tensor.kept or tensor.operand != "output" or tensor.maker not in made:
        return plain
    gemm, (bits, _) = made[tensor.maker]
    return plain._replace(bits_each=bits) if gemm.output_elements == tensor.elements else plain
