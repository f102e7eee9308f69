"""What no mapping of a block's product undercuts, and what no schedule of a chain moves less.

The floor of a product: the least steps of any way to unroll; each operand once through the ports of
the near memories, or, where nothing behind them keeps it, once for all units that may share an
element, and an access a step at least; the energy of as many accesses, and of the units' work.
"""

from fractions import Fraction
from itertools import product
from math import ceil, prod

from ..floor import COMPULSORY, elements, multiplications
from ..record import KINDS, OPERANDS, Axis, Chip, Layer
from .near import Near
from .record import Chain
from .totals import Made

SEGMENTS = "segments of an execution, for the middle"
MOVED = tuple(Fraction(1 << (i // 2), 8) * (2 + i % 2) / 2 for i in range(16))
"""Bits of a segment, in those of full memories."""
Extents = tuple[int, ...]


class Floors:
    """The floors of products and convolutions on a chip's near memories.

    Parameters
    ----------
    near : Near
    """

    def __init__(self, near: Near) -> None:
        self.near, axes = near, near.inside.axes
        self.unrolls = _largest_unrolls(axes)
        self.spread = prod(axis.size for axis in axes if axis.name not in near.inside.units)

    def product(self, layer: Layer, unit_pj: Fraction) -> Made:
        """Return what no mapping of a layer undercuts.

        Parameters
        ----------
        layer : Layer
        unit_pj : Fraction
            Energy of a unit in a clock of its steps.
        """
        chip = self.near.inside
        one, macs = chip.memories[0], prod(layer.sizes)
        sizes = [prod(layer.sizes[d] for d in layer.of_kind(kind)) for kind in range(4)]
        steps = min(
            prod(-(-size // unroll) for size, unroll in zip(sizes, each, strict=True))
            for each in self.unrolls
        )
        ports: dict[tuple[str, int], tuple[int, int, int]] = {}
        memory_pj = Fraction(0)
        for operand in OPERANDS:
            count = elements(layer, operand)
            reads = operand != "output"
            i = one.port(operand, reads=reads)
            port = one.ports[i]
            code, stored = layer.of.code_bits[operand], layer.stored[operand]
            least = 0
            if reads and sum(operand in memory.holds for memory in chip.memories) == 1:
                inner = multiplications(layer) if layer.slid(layer.indexed(operand)) else macs
                count = max(count, -(-inner // _sharing(chip.axes, layer, operand)))
                least = steps if inner == macs else 0
            accesses = max(ceil(count * code / port.width_bits), least)
            memory_pj += (accesses + count * (stored - code) / port.width_bits) * port.pj(
                reads=reads
            )
            key = self.near.ports[i]
            before = ports.get(key, (0, 0, 0))
            ports[key] = (before[0] + accesses * reads, before[1] + accesses * (not reads),
                          before[2] + accesses)  # fmt: skip
        busy = -(-macs // self.spread) * (layer.step_cycles - chip.table_cycles)
        return Made(
            cycles=ceil(steps * layer.step_cycles),
            steps=steps * layer.step_cycles,
            ports=ports,
            array_pj=max(Fraction(0), busy * unit_pj),
            memory_pj=memory_pj,
        )


def _sharing(axes: tuple[Axis, ...], layer: Layer, operand: str) -> int:
    """Return the units that may take the same element.

    Those along axes of what does not index it; along axes of taps, too, as another output's tap may
    be on the same pixel.
    """
    own = layer.indexed(operand)
    taps = {window.tap for window in layer.slid(own)}
    other = {dim for d, dim in enumerate(layer.dims) if d not in own or d in taps}
    return prod(axis.size for axis in axes if other & set(axis.dims))


def _largest_unrolls(axes: tuple[Axis, ...]) -> list[Extents]:
    """Return the extents that axes unroll of dimensions of each kind together, the largest ones.

    Those that no other exceeds in all. Blocks of two dimensions of a kind are no fewer than those
    of their product.
    """
    found: set[Extents] = {(1, 1, 1, 1)}
    for axis in axes:
        own: set[Extents] = {(1, 1, 1, 1)}
        kinds = {KINDS[dim] for dim in axis.dims}
        for one, other in product(kinds, repeat=2):
            for extent in range(1, axis.size + 1):
                each = [1, 1, 1, 1]
                each[one] = extent
                each[other] = axis.size // extent if one != other else axis.size
                own.add(tuple(each))
        found = {
            tuple(x * y for x, y in zip(a, b, strict=True)) for a, b in product(found, _most(own))
        }
        found = _most(found)
    return sorted(found)


def _most(some: set[Extents]) -> set[Extents]:
    """Return the extents that no others exceed in all dimensions."""
    return {
        each
        for each in some
        if not any(
            other != each and all(x >= y for x, y in zip(other, each, strict=True))
            for other in some
        )
    }


def seen(chain: Chain) -> tuple[int, int, int]:
    """Return rows that see something, columns that are seen, and the pairs of these."""
    if chain.mask is None:
        return chain.m, chain.middle, chain.m * chain.middle
    per, before, window = chain.mask
    rows = pairs = columns = top = 0
    for token in range(-(-chain.m // per)):
        high = min(chain.middle, before + token + 1)
        low = 0 if window is None else max(0, before + token - window + 1)
        if low < high:
            own = min(per, chain.m - token * per)
            rows, pairs = rows + own, pairs + own * (high - low)
            columns, top = columns + max(0, high - max(low, top)), max(top, high)
    return rows, columns, pairs


def once_bits(chain: Chain) -> Fraction:
    """Return the bits of inputs, weights and results, each once, all instances together."""
    first, second = chain.products
    rows, columns, _ = seen(chain)
    weights = chain.matrices * chain.inner * first.bits["weight"]
    each = rows * (chain.inner * first.bits["input"] + chain.out * second.bits["output"])
    each += columns * (weights + chain.out * second.bits["weight"])
    return each * chain.instances


def traffic_floor(chain: Chain, chip: Chip) -> tuple[int, str, Fraction]:
    """Return the bits that pass the outermost memory at least, the formula, and all bits once.

    An element of the middle is finished a first time. In a segment in which X bits come while F
    were there, it either was begun before, and its sum is among the F + X bits, or all of a row of
    the inputs and of a column of weights are: with i and w bits of those at most (F + X)^2 / (4 i
    w) pairs. So that X (elements / (both) - 1) bits pass. It holds for every schedule that sums
    what it sums, also one that makes an element twice.
    """
    once = once_bits(chain)
    room = Fraction(0)
    first = chain.products[0]
    widest = {
        op: max(
            bits
            for each in chain.products
            for bits in (each.bits[op], each.partial_bits)[: 1 + (op == "output")]
        )
        for op in OPERANDS
    }
    for memory in chip.memories[1:]:
        copies = prod(axis.size for axis in chip.axes if axis.name in memory.per)
        if memory.words is not None:
            room += copies * memory.words * max(widest[op] for op in memory.holds)
        elif memory.size_bits is not None:
            room += copies * memory.size_bits
        else:
            return ceil(once), COMPULSORY, once
    row, column = chain.inner * first.bits["input"], chain.inner * first.bits["weight"]
    elements = seen(chain)[2] * chain.matrices * chain.instances
    best = 0
    for part in MOVED:
        moved = max(room, Fraction(1)) * part
        full = room + moved
        most = full**2 / (4 * row * column) + full / first.partial_bits
        best = max(best, int(moved * (elements / most - 1)))
    return (best, SEGMENTS, once) if best > once else (ceil(once), COMPULSORY, once)
