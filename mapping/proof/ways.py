"""What no mapping of one storage and one way to unroll undercuts, in a few operations.

Every step takes its clocks; the array takes from, and leaves in, the innermost memories what it
works on in each step; everything passes from memory to memory once.
"""

from functools import cache
from itertools import pairwise
from math import ceil, floor, prod

from .bounds import UNIT, Pair, price
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
        self.once, self.step = 0, dict[str, tuple[int, int]]()
        for op in OPERANDS:
            chain, up = storage[op], op == "output"
            for outer, inner in pairwise(chain):
                both = self._pj(op, outer, reads=not up), self._pj(op, inner, reads=up)
                self.once += self.elements[op] * sum(both)
            first = again = self._pj(op, chain[-1], reads=not up)
            if up:
                back = (self._pj(op, chain[-1], reads=way, partial=True) for way in (True, False))
                again = sum(back)
            self.step[op] = first, again
        worked = (layer.step_cycles - chip.table_cycles) * chip.unit_pj
        self.static = floor(chip.static_pj * UNIT)
        table = chip.table_units, floor(chip.table_pj * UNIT)
        self.own = (chip.units, floor(worked * UNIT)), table
        self._busy = cache(self._busy_of)
        self._slid = cache(self._pixels_of)

    def _pj(self, operand: str, memory: Memory, *, reads: bool, partial: bool = False) -> int:
        """Return the energy of an element's accesses, rounded to no whole one."""
        bits = self.layer.bits(operand, partial=partial, code=False)
        return price(memory, operand, reads, bits, bits)[2]

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
            return Pair(cycles, 0)
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
        return Pair(cycles, energy_of)
