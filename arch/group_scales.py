"""Scales of groups along K, level by level, and what of a chip multiplies by them.

A scale that covers all of K is applied to a result and binds nothing here. A finer one multiplies
sums of groups: in the PEs (``pe.operators.group``, a bit-serial PE's rescale unit), ahead of the
array (a decoder that multiplies weights), or in the vector unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..datatypes.formats.format import Format
from ..datatypes.schemes.granularity import Granularity
from ..datatypes.schemes.levels import Level
from ..datatypes.schemes.scale_format import ScaleFormat
from ..datatypes.schemes.scheme import Scheme
from .formats import Operand
from .grids import grids, odd_and_largest
from .pe_base import PESection

_SIGNIFICANDS = {"fp32": 24, "fp16": 11, "bf16": 8}
E4M3_SIGNIFICAND = 4
_OUTER = {"row": 11, "tensor": 24}  # FP16 and FP32 (`ScaleFormat.outer`)


class GroupScale(NamedTuple):
    """A level of scales that divides K.

    Attributes
    ----------
    columns : int
        Elements along K that share one.
    significand : int
        Bits of the multiplier that applies it; 1: a power of two. Sums of powers of two, one a bit
        plane, have as many as summands.
    integer : bool
        Whether it is an integer.
    """

    columns: int
    significand: int
    integer: bool


def group_scales(stored: Operand, k: int, run: int = 0) -> tuple[GroupScale, ...]:
    """Return the levels of an operand's scales, and of its minima, that divide K; finest first.

    Parameters
    ----------
    stored : Operand
    k : int
        Elements along K.
    run : int
        Elements along K that lie in one row, where several rows do; 0: all of them.

    Examples
    --------
    >>> group_scales(Operand(scheme="nvfp4"), 64)
    (GroupScale(columns=16, significand=4, integer=False),)
    >>> [scale.columns for scale in group_scales(Operand(scheme="q4_k"), 512)]
    [32, 256, 32, 256]
    """
    return tuple(scale for scale in _levels(stored, run) if 0 < scale.columns < k)


def result_scales(stored: Operand, k: int, run: int = 0) -> tuple[GroupScale, ...]:
    """Return the levels of an operand's scales that cover all of K and take a product.

    They multiply results. Powers of two do not: they are added to exponents.

    Parameters
    ----------
    stored : Operand
    k, run : int
        As `group_scales`.

    Examples
    --------
    >>> result_scales(Operand(scheme="int8@channel"), 64)
    (GroupScale(columns=0, significand=11, integer=False),)
    >>> result_scales(Operand(scheme="int4@g32"), 64)
    ()
    """
    return tuple(
        scale
        for scale in _levels(stored, run)
        if not 0 < scale.columns < k and scale.significand > 1
    )


def _levels(stored: Operand, run: int) -> list[GroupScale]:
    scheme = stored.scheme
    if scheme is None:
        return []
    if scheme.levels:
        beside = scheme.offset.levels if _has_minimum(scheme) and scheme.offset else ()
        return [
            _of_level(level, _shared(level.granularity, run)) for level in (*scheme.levels, *beside)
        ]
    if not scheme.scale_bits:
        return []
    finest = _of_format(_shared(scheme.granularity, run), scheme.scale_format)
    outer = _OUTER.get(scheme.scale_format.outer)
    return [finest] if outer is None else [finest, GroupScale(0, outer, False)]


def _shared(granularity: Granularity, run: int) -> int:
    """Return the elements along K that share a scale, in rows of ``run``; 0: all of them."""
    if not run or not (granularity.rows or granularity.columns):
        return granularity.columns
    return min(granularity.columns or run, run)


def _has_minimum(scheme: Scheme) -> bool:
    return scheme.offset is not None and scheme.offset.kind == "minimum"


def adds_inputs(stored: Operand) -> bool:
    """Return whether groups have a minimum, which multiplies the sum of their inputs."""
    return stored.scheme is not None and _has_minimum(stored.scheme)


def _of_level(level: Level, columns: int) -> GroupScale:
    fmt = level.format
    if not isinstance(fmt, Format) or level.name in _SIGNIFICANDS:
        return GroupScale(columns, _SIGNIFICANDS.get(level.name, 24), False)
    values = fmt.values[np.isfinite(fmt.values)]
    odd, _ = odd_and_largest(values)
    return GroupScale(columns, max(1, odd.bit_length()), bool((values % 1 == 0).all()))


def _of_format(columns: int, scale: ScaleFormat) -> GroupScale:
    if scale.power or scale.kind == "step":
        return GroupScale(columns, 1, False)
    if scale.kind == "int":
        return GroupScale(columns, scale.bits, True)
    if scale.kind == "e4m3":
        return GroupScale(columns, E4M3_SIGNIFICAND, False)
    summands = getattr(scale, "summands", None)
    return GroupScale(columns, summands or _SIGNIFICANDS[scale.name], False)


def fits(limit: int | None, scale: GroupScale) -> bool:
    """Return whether a multiplier of so many significant bits (None: any) applies a scale."""
    return limit is None or scale.significand <= limit


def decoded(pe: PESection, weight: Operand, scale: GroupScale) -> bool:
    """Return whether decoders at the border multiply weights by a scale.

    An integer port takes products of integers that fit it; those of dual grain do by its rule.

    Parameters
    ----------
    pe : PESection
    weight : Operand
        Of a linear layer or convolution.
    scale : GroupScale
        One of its levels.
    """
    decoder, scheme = pe.decoder, weight.scheme
    if decoder is None or scheme is None or not fits(decoder.scale_bits, scale):
        return False
    port = pe.record.ports.get("weight_bits")
    if port is None:
        return True
    if not scale.integer:
        return False
    largest = max(odd_and_largest(values)[1] for values, _ in grids(scheme))
    within: bool = largest * ((1 << scale.significand) - 1) < 1 << (port - 1)
    return within or scheme.coder_facts.name == "dgq"


def in_pe(pe: PESection, weight: Operand, scale: GroupScale) -> bool:
    """Return whether the PEs multiply a group's sum by a scale.

    Parameters
    ----------
    pe : PESection
    weight : Operand
    scale : GroupScale
        A level of the weights' scales, or of the inputs'.
    """
    if pe.operators is not None:
        return bool(pe.operators.group) and fits(pe.operators.scale_bits, scale)
    width: int = pe.record.ports.get("scale_bits", 0)
    return scale.integer and 0 < weight.integer_scale_bits <= width
