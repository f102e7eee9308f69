"""Scales of a layer's operands: who multiplies by them, and what that takes of the vector unit.

A scale that covers all of K belongs to a result: not counted, but said (`remarks`). One that
divides K multiplies the sum of its group: in the PEs or decoders that the chip says do
(`arch.group_scales`), else in the vector unit, a product and an addition for each sum and level.
Scales of single inputs, which several outputs share, multiply inputs as they enter the array, once
for each block of outputs that the array takes at once, so that scaled inputs lie nowhere. Of nested
scales that decoders apply the unit makes one. All of this goes on beside the array: a layer takes
no fewer clocks than the lanes need, and with the steps that follow it no fewer than both do
(`vector`).

A column of a weight- or input-stationary array adds up inputs of several groups before anything
leaves it: there, such scales are refused. Runs of chips without a vector unit, products alone,
name them as not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from ..arch.formats import LayerFormats, Operand
from ..arch.group_scales import GroupScale, adds_inputs, decoded, group_scales, in_pe
from ..arch.schema import SPLITTING, Arch
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from ..workloads.gemm import Gemm


class UnitWork(NamedTuple):
    """Operations of the vector unit for each product of a layer."""

    adds: Fraction
    multiplies: Fraction

    @property
    def operations(self) -> Fraction:
        """Clocks of a lane."""
        return self.adds + self.multiplies

    def cycles(self, products: int, lanes: int) -> int:
        """Return the clocks of so many lanes for a layer of so many products."""
        return ceil(self.operations * products / lanes)


NO_WORK = UnitWork(Fraction(0), Fraction(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Who scales: the PEs (their operators for groups), the vector unit, or nothing there is."""

    unit: UnitWork = NO_WORK
    in_pes: bool = True
    missing: bool = False


def planes_of(weight: Operand) -> int:
    """Return the scales of a group: one a bit plane."""
    return 1 if weight.scheme is None else weight.scheme.scales_per_group


def scales_first(arch: Arch, weight: Operand, gemm: Gemm) -> bool:
    """Return whether inputs take the scales of weights, so that no sum is scaled.

    Queries take the scales of keys' channels, probabilities those of values' tokens, inputs of
    linear layers those of columns over several outputs.
    """
    cached = gemm.stationary == "kv_cache" and weight.scales_columns
    linear = gemm.kind == "linear" and arch.scales_inputs(weight)
    return cached or linear or arch.pe.record.takes_scales_first(weight)


def scaling_of(
    arch: Arch, formats: LayerFormats, gemm: Gemm, *, before: bool, run: int = 0
) -> Scaling:
    """Return who multiplies by the scales of a layer, and the vector unit's part.

    Parameters
    ----------
    arch : Arch
    formats : LayerFormats
    gemm : Gemm
    before : bool
        Whether inputs take the scales of weights (`scales_first`).
    run : int
        Inputs along K that lie in one row, of every of which groups are cut by themselves; 0: all.

    Raises
    ------
    BitlatheError
        If the array adds up groups before anything can scale their sums.
    """
    pe, weight, k = arch.pe, formats.weight, gemm.k
    if arch.published_accounting or arch.mapper in SPLITTING:
        return Scaling()
    if before and pe.record.takes_scales_first(weight):
        return Scaling()  # additions that fill its tables
    if before:
        return _inputs_scaled(arch, weight, gemm)
    border = not gemm.kind.startswith("attention")
    weights, inputs = group_scales(weight, k), group_scales(formats.input, k, run)
    entering = [scale for scale in weights if border and decoded(pe, weight, scale)]
    sums = [scale for scale in weights if scale not in entering]
    left = [scale for scale in sums if not in_pe(pe, weight, scale)]
    left_inputs = [scale for scale in inputs if not in_pe(pe, weight, scale)]
    if (left or left_inputs) and arch.vector_unit and not arch.array.flow.sums_stay:
        raise BitlatheError(_refusal(arch, gemm, weight if left else formats.input))
    products = _products_of_scales(arch, gemm, entering)
    if not (left or left_inputs or products):
        return Scaling()
    kept = not (left or left_inputs) or len(left) + len(left_inputs) < len(sums) + len(inputs)
    if arch.vector_unit is None:
        return Scaling(in_pes=kept, missing=True)
    runs = ceil_div(k, run) if run else 1
    scaled = planes_of(weight) * sum(ceil_div(k, scale.columns) for scale in left)
    scaled += sum(runs * ceil_div(run or k, scale.columns) for scale in left_inputs)
    each = Fraction(scaled, k)
    beside = Fraction(1, gemm.n) if left and adds_inputs(weight) else Fraction(0)
    return Scaling(unit=UnitWork(each + beside, each + products), in_pes=kept)


def _products_of_scales(arch: Arch, gemm: Gemm, entering: Sequence[GroupScale]) -> Fraction:
    """Return the products of scales by those above them, which decoders take as one, a product.

    One for each group that enters the array, anew for each block of tokens.
    """
    nested = [low for low, high in pairwise(entering) if high.columns > low.columns]
    if not nested:
        return Fraction(0)
    tokens = arch.array.flow.along("m", arch.array.rows, arch.array.columns) or gemm.m
    groups = sum(ceil_div(gemm.k, scale.columns) for scale in nested)
    return Fraction(groups * ceil_div(gemm.m, tokens), gemm.k * gemm.m)


def _inputs_scaled(arch: Arch, weight: Operand, gemm: Gemm) -> Scaling:
    """Return the work of multiplying inputs as they enter the array, block by block of outputs.

    Integer inputs are rounded again.
    """
    if arch.vector_unit is None:
        return Scaling(in_pes=False, missing=True)
    rows = arch.array.flow.along("n", arch.array.rows, arch.array.columns) or gemm.n
    shared = weight.scheme.granularity.rows if weight.scheme is not None else 0
    blocks = ceil_div(gemm.n, rows)
    if shared and shared % rows:
        blocks += ceil_div(gemm.n, shared) - 1  # blocks of the array that lie across two of them
    each = Fraction(blocks, gemm.n)
    integers = "activation_bits" in arch.pe.record.ports
    return Scaling(unit=UnitWork(each if integers else Fraction(0), each), in_pes=False)


def _refusal(arch: Arch, gemm: Gemm, stored: Operand) -> str:
    flow, rows = arch.array.flow.name, arch.array.rows
    way = "int8@tensor for inputs" if gemm.conv is not None else "int4@channel, say"
    return (
        f"{arch.name}: layer {gemm.name!r}: {stored.label} has scales for parts of its {gemm.k} "
        f"inputs, and a column of the array ({flow}) adds up {rows} inputs before anything can "
        f"multiply by one; use a scale for all of them ({way}), an array of kind 'tile' or "
        "dataflow 'os', whose sums the vector unit scales, or count in pe.operators.group what "
        "PEs take that scale."
    )
