"""What no mapping of one storage and one way to unroll undercuts, in a few operations.

Every step takes its clocks; the array takes from, and leaves in, the innermost memories what it
works on in each step; everything passes from memory to memory once.
"""

from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import ceil, lcm, prod

from .bounds import ZERO, Pair
from .count import units
from .floor import elements
from .pixels import blocks, passing
from .record import OPERANDS, OTHER, Chip, Layer, Memory, Window
from .space import Storage, Way, steps_of


class WayFloors:
    """The floors of all ways to unroll under one storage.

    Parameters
    ----------
    layer : Layer
    chip : Chip
    storage : Storage
    """

    def __init__(self, layer: Layer, chip: Chip, storage: Storage) -> None:
        self.layer, self.chip = layer, chip
        self.elements = {op: elements(layer, op) for op in OPERANDS}
        self.once_pj = ZERO
        self.step_pj: dict[str, tuple[Fraction, Fraction]] = {}
        for op in OPERANDS:
            chain = storage[op]
            for outer, inner in pairwise(chain):
                both = ((outer, op != "output"), (inner, op == "output"))
                self.once_pj += self.elements[op] * sum(
                    self._pj(op, memory, reads=reads, partial=False) for memory, reads in both
                )
            if op == "output":
                finished = self._pj(op, chain[-1], reads=False, partial=False)
                back = (self._pj(op, chain[-1], reads=way, partial=True) for way in (True, False))
                self.step_pj[op] = finished, sum(back, ZERO)
            else:
                read = self._pj(op, chain[-1], reads=True, partial=False)
                self.step_pj[op] = read, read
        worked = (layer.step_cycles - chip.table_cycles) * chip.unit_pj
        prices = [self.once_pj, chip.static_pj, worked, chip.table_pj]
        prices += [pj for both in self.step_pj.values() for pj in both]
        self.scale = lcm(*(price.denominator for price in prices))
        self.once, self.static, *own = (int(price * self.scale) for price in prices[:4])
        self.own = tuple(zip((chip.units, chip.table_units), own, strict=True))
        self.step = {
            op: (int(once * self.scale), int(again * self.scale))
            for op, (once, again) in self.step_pj.items()
        }
        self._busy = cache(self._busy_of)
        self._slid = cache(self._pixels_of)

    def _pj(self, operand: str, memory: Memory, *, reads: bool, partial: bool) -> Fraction:
        """Return the energy of an element's accesses, rounded to no whole one."""
        port = memory.ports[memory.port(operand, reads=reads)]
        bits = self.layer.bits(operand, partial=partial, code=False)
        each = bits / port.width_bits * port.pj(reads=reads)
        return each + memory.decoding_pj(operand, reads=reads)

    def _busy_of(self, unrolls: tuple[tuple[str, int], ...], d: int, axes: tuple[str, ...]) -> int:
        step, size = prod(extent for _, extent in unrolls), self.layer.sizes[d]
        full = size // step * units(unrolls, axes, step)[0]
        return full + (units(unrolls, axes, size % step)[0] if size % step else 0)

    def _pixels_of(self, window: Window, outputs: int, taps: int) -> int:
        """Return the pixels of a window in all steps, each in every step that reads it."""
        sizes = self.layer.sizes
        steps = (blocks(sizes[window.out], outputs), blocks(sizes[window.tap], taps))
        return passing(window, *map(tuple, steps))

    def _taken(self, operand: str, steps: tuple[int, ...]) -> int:
        """Return the elements that all steps take, each tile once."""
        own = self.layer.indexed(operand)
        windows = self.layer.slid(own)
        if not windows:
            return self.elements[operand]
        found = prod(self.layer.sizes[d] for d in self.layer.plain(own))
        return found * prod(self._slid(w, steps[w.out], steps[w.tap]) for w in windows)

    def floor(self, way: Way, *, energy: bool) -> Pair:
        """Return clocks and energy of a way's mappings at least.

        Parameters
        ----------
        way : Way
        energy : bool
            Whether energy is asked for; else it is left at nothing.
        """
        layer, chip = self.layer, self.chip
        each_step = steps_of(layer, way)
        steps = [-(-size // u) for size, u in zip(layer.sizes, each_step, strict=True)]
        cycles = ceil(prod(steps) * layer.step_cycles) + chip.fill_cycles
        if not energy:
            return Pair(cycles, 0, 1)
        energy_of = self.once + cycles * self.static
        for op in OPERANDS:
            once, again = self.step[op]
            times = prod(steps[d] for d in layer.of_kind(OTHER[op]))
            energy_of += self._taken(op, each_step) * (once + again * (times - 1))
        unrolls = [tuple((a, u) for a, d, u in way if d == dim) for dim in layer.dims]
        for axes, each in self.own:
            if each:
                worked = prod(self._busy(some, d, axes) for d, some in enumerate(unrolls))
                energy_of += each * worked
        return Pair(cycles, energy_of, self.scale)
