"""Layers under the mapper of the BitFusion lineage, as runs: closed forms, one layer by itself."""

import math
from collections.abc import Mapping
from typing import Any

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from ..mapping.bitfusion import RULES, Costs, Machine, Schedule, SquareLayer, best_schedule
from ..mapping.keep import Plan, layer_counts
from ..workloads.gemm import Gemm
from .chip import Chip
from .layer_bits import LayerBits
from .run import LayerRun, with_total

_OTHER = "mapper 'search'"


def square_layer(gemm: Gemm, bits: LayerBits, *, first: bool = False) -> SquareLayer:
    """Return a product as the mapper takes it: a convolution by its sides, all else as one pixel.

    Operands have the bits of their codes; masks are ignored: all products are computed.

    Parameters
    ----------
    gemm : Gemm
    bits : LayerBits
    first : bool
        Whether it is a network's first layer, of which a convolution is laid out by im2col.

    Raises
    ------
    BitlatheError
        A convolution whose output or stride is not square, or that is dilated.
    """
    widths: dict[str, Any] = {
        f"{name}_bits": math.ceil(bits.code_of(name)) for name in ("input", "weight")
    }
    if gemm.conv is None:
        return SquareLayer(
            name=gemm.name, in_channels=gemm.k, out_channels=gemm.n, images=gemm.m, **widths
        )
    shape = gemm.conv
    for what, (high, wide) in (
        ("output", shape.output_size),
        ("stride", shape.stride),
    ):
        if high != wide:
            raise BitlatheError(
                f"layer {gemm.name!r}: {what} {high} x {wide} is not square, and this mapper knows "
                f"square ones only; use {_OTHER}."
            )
    if shape.dilation != (1, 1):
        raise BitlatheError(
            f"layer {gemm.name!r}: dilation {shape.dilation}, and this mapper knows none; use "
            f"{_OTHER}."
        )
    return SquareLayer(
        name=gemm.name,
        kernel=shape.kernel[0],
        kernel_width=shape.kernel[1],
        output_size=shape.output_size[0],
        stride=shape.stride[0],
        in_channels=shape.in_channels // shape.groups,
        out_channels=gemm.n,
        images=gemm.sequences,
        im2col=first,
        **widths,
    )


def run_layers(
    chip: Chip, plan: Plan, bits: Mapping[Gemm, LayerBits], mapper: str
) -> tuple[LayerRun, ...]:
    """Return the layers of a plan, each under its best schedule.

    Parameters
    ----------
    chip : Chip
    plan : Plan
    bits : mapping of Gemm to LayerBits
    mapper : str
        A name of `mapping.bitfusion.RULES`.

    Raises
    ------
    BitlatheError
        A chip or a layer that the mapper does not know, a tile that fits no SRAM.
    """
    machine, costs = Machine.of(chip.arch), Costs.of(chip.arch)
    found = []
    for place, ((gemm, _), count) in enumerate(layer_counts(plan).items()):
        layer = square_layer(gemm, bits[gemm], first=place == 0 and gemm.conv is not None)
        schedule = best_schedule(layer, machine, RULES[mapper], costs)
        peak = machine.rows * machine.columns * math.prod(machine.split(layer))
        found.append(_run(chip, gemm, schedule, costs, count=count, peak=peak))
    return tuple(found)


def _run(
    chip: Chip, gemm: Gemm, schedule: Schedule, costs: Costs, *, count: int, peak: int
) -> LayerRun:
    """Return a layer's run: its products (groups, heads) one after the other."""
    products, moved = gemm.batch, schedule.dram_read + schedule.dram_write
    weights, inputs = schedule.weight_write, schedule.input_write
    return LayerRun(
        name=gemm.name,
        count=count,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        batch=products,
        compute_cycles=products * schedule.compute_cycles,
        dram_cycles=math.ceil(products * moved / chip.dram_bits_per_clock),
        stall_cycles=products * schedule.stall_cycles,
        cycles=products * schedule.cycles,
        utilization=gemm.macs / (peak * products * schedule.cycles),
        dram_bits={
            "weight": products * weights,
            "input": products * inputs,
            "output": products * (moved - weights - inputs),
        },
        sram_accesses={
            f"{name}_{way}": products
            * ceil_div(getattr(schedule, f"{name}_{way}"), buffer.port_bits)
            for name, buffer in chip.sram.items()
            for way in ("read", "write")
        },
        energy_pj=_energy_pj(schedule, costs, products),
    )


def _energy_pj(schedule: Schedule, costs: Costs, products: int) -> dict[str, float]:
    """Return the energy by the components of all runs."""
    parts = {key: float(products * pj) for key, pj in schedule.energy_pj(costs).items()}
    found = {
        "pe": parts["work"],
        **{key: parts[key] for key in ("sram_read", "sram_write", "dram")},
    }
    found["leakage"] = parts["pe_leakage"] + parts["sram_leakage"]
    if parts["dram_background"]:
        found["dram_background"] = parts["dram_background"]
    return with_total(found)
