"""The schedule that the mapper of the BitFusion lineage chooses for a layer, and what it costs."""

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div
from .layer import SquareLayer
from .machine import Costs, Machine
from .rules import Rule

LOOPS = ("images", "output_columns", "output_rows", "in_channels", "out_channels")
FLOWS = ("is", "os", "ws")
_CODES = {"os": 1, "ws": 2, "cheapest": 3}

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A layer in tiles: clocks, and the bits that SRAMs and DRAM read and write.

    Attributes
    ----------
    tile : tuple of int
        Images, output size, input and output channels of a tile.
    order : tuple of str
        The tile loops, outermost first.
    dataflow : {"is", "os", "ws"}
        Of the array within a tile.
    compute_cycles, stall_cycles : int
        Clocks of work; clocks that DRAM adds to them.
    weight_read, weight_write, input_read, input_write, output_read, output_write : int
        Bits that each SRAM reads and writes.
    dram_read, dram_write : int
        Bits that DRAM reads and writes.
    """

    tile: tuple[int, int, int, int]
    order: tuple[str, ...]
    dataflow: str
    compute_cycles: int
    stall_cycles: int
    weight_read: int
    weight_write: int
    input_read: int
    input_write: int
    output_read: int
    output_write: int
    dram_read: int
    dram_write: int

    @property
    def cycles(self) -> int:
        """Clocks in all."""
        return self.compute_cycles + self.stall_cycles

    def energy_pj(self, costs: Costs) -> dict[str, Fraction]:
        """Return the energy by component, exact.

        ``work`` and ``pe_leakage`` are those of the PEs, ``sram_read`` and ``sram_write`` the bits
        that go through the SRAMs' ports, ``dram`` those that DRAM reads and writes.
        """
        return {
            "work": self.compute_cycles * costs.work,
            "pe_leakage": self.cycles * costs.pe_leakage,
            "sram_read": self._ports("read", costs),
            "sram_write": self._ports("write", costs),
            "sram_leakage": self.cycles * costs.sram_leakage,
            "dram": self.dram_read * costs.dram_read + self.dram_write * costs.dram_write,
            "dram_background": self.cycles * costs.dram_background,
        }

    def _ports(self, way: str, costs: Costs) -> Fraction:
        names = [f"{operand}_{way}" for operand in ("weight", "input", "output")]
        return sum((getattr(self, name) * getattr(costs, name) for name in names), Fraction(0))


@cache
def _orders() -> Ints:
    """Return the orders of the tile loops, one of each two that differ in pixels' order alone.

    Columns and rows of outputs have the same tiles: the later of the two can never be better.
    """
    orders = [order for order in permutations(range(5)) if order.index(1) < order.index(2)]
    return np.array(orders, np.int64)


def _halvings(extent: int, step: int = 1) -> Ints:
    """Return the tiles of an extent: a step times powers of two, the last one the extent.

    Examples
    --------
    >>> _halvings(27).tolist(), _halvings(96, 32).tolist(), _halvings(10, 32).tolist()
    ([1, 2, 4, 8, 16, 27], [32, 64, 96], [10])
    """
    steps = ceil_div(extent, step)
    tiles = [min(extent, step << i) for i in range((steps - 1).bit_length() + 1)]
    return np.array(tiles, np.int64)


def _array(layer: SquareLayer, machine: Machine, rule: Rule) -> tuple[tuple[int, ...], ...]:
    """Return what the array takes at once (outputs, channels, along K) and what is padded to."""
    rows, columns = machine.rows, machine.columns
    by_weight, by_input = machine.split(layer)
    padded = columns if rule.column_tiles else 1
    if rule.fused:
        deep = rows * by_input * by_weight
        return (1, columns, deep), (deep, 1, padded)
    pads = rows * by_weight, columns * by_input, padded
    if rule.dataflow == "os":
        return (rows * by_input, columns * by_weight, 1), pads
    return (1, columns * by_weight, rows * by_input), pads


def _scaled(costs: Costs) -> NDArray[np.float64]:
    """Return the costs of bits, of a clock and of a clock of work, in whole units where possible.

    Whole ones make sums exact below 2^53, and ties ties.
    """
    names = [field.name for field in fields(costs)][:8]
    clock = costs.pe_leakage + costs.sram_leakage + costs.dram_background
    values = [*(Fraction(getattr(costs, name)) for name in names), clock, Fraction(costs.work)]
    scale = math.lcm(*(value.denominator for value in values))
    return np.array([float(value * scale) for value in values], np.float64)


def best_schedule(layer: SquareLayer, machine: Machine, rule: Rule, costs: Costs) -> Schedule:
    """Return the fastest schedule of a layer; of equally fast ones the one of least energy.

    Tiles are powers of two; half of an SRAM holds a tile, the other half takes the next. With
    F products of a PE at once: tiles of weights, inputs and outputs, their DRAM traffic under all
    120 orders of the tile loops, the ports' traffic by dataflow, and clocks = work + what DRAM
    takes beyond it + first load and last store, are in `tile_kernels`, by the published models
    that `rules` names.

    Parameters
    ----------
    layer : SquareLayer
    machine : Machine
    rule : Rule
        One of `rules.RULES`, or one of its switches changed.
    costs : Costs
        What chooses among equally fast schedules.

    Raises
    ------
    BitlatheError
        No tile fits half of each SRAM, or an operand is wider than the multiplier.
    """
    from . import tile_kernels as kernels

    im2col = rule.im2col == "always" or layer.im2col
    in_columns = rule.column_tiles and not im2col
    extents = (layer.images, layer.output_size, layer.in_channels, layer.out_channels)
    steps = (1, 1, 1, machine.columns if in_columns else 1)
    units, pads = _array(layer, machine, rule)
    limits = (machine.weight_bits // 2, machine.input_bits // 2, machine.output_bits // 2)
    best = np.zeros(kernels.FIGURES, np.int64)
    kernels.search(
        np.array(extents, np.int64),
        tuple(map(_halvings, extents, steps)),
        (
            *layer.sides, layer.stride, layer.input_bits, layer.weight_bits, rule.output_bits,
            int(not im2col),
        ),
        units,
        pads,
        (_CODES[rule.dataflow], int(rule.sums_read_back), int(rule.last_store_copied)),
        (*limits, machine.port_bits),
        _orders(),
        np.ascontiguousarray(_orders()[::7]),
        _scaled(costs),
        best,
    )  # fmt: skip
    found = best.tolist()
    if not found[kernels.T_B]:
        raise _too_large(layer, machine)
    return _schedule(found)


def _schedule(found: list[int]) -> Schedule:
    tile, (order, flow, *figures) = found[:4], found[4:]
    names = [field.name for field in fields(Schedule)][3:]
    return Schedule(
        tile=(tile[0], tile[1], tile[2], tile[3]),
        order=tuple(LOOPS[int(loop)] for loop in _orders()[order]),
        dataflow=FLOWS[flow],
        **dict(zip(names, figures, strict=True)),
    )


def _too_large(layer: SquareLayer, machine: Machine) -> BitlatheError:
    held = ", ".join(
        f"{name} {getattr(machine, f'{name}_bits') / 8192:g} KiB"
        for name in ("weight", "input", "output")
    )
    return BitlatheError(
        f"layer {layer.name!r}: the smallest tile (kernel {layer.kernel}, one image, pixel and "
        f"input channel) does not fit half of each SRAM ({held}); use larger buffers."
    )
