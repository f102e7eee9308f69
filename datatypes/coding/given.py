"""Scales, zero points and choices from outside: as a scheme stores them, and codes under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.arrays import as_float
from ..base.errors import BitlatheError
from ..formats.catalogue import single
from ..schemes.granularity import Granularity
from ..schemes.layout import Layout
from ..schemes.levels import Level
from ..schemes.patterns import Raw, bits_to_float, float_bits
from ..schemes.scale_format import ScaleFormat
from ..schemes.scales import E4M3, BitmodMxScale, FloatScale, PlaneScale
from ..schemes.scheme import Scheme
from .level_scales import Tree, product, store_offsets, stored

Reals = NDArray[np.float64]
# coders whose scales and codes are found together take none from outside
TAKING = ("table", "asym", "levels", "offset")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Scales as a scheme stores them; the fields are those of `Coded`."""

    scales: Raw
    outer_scales: Raw
    upper_scales: tuple[Raw, ...] = ()


def by_group(name: str, given: Any, layout: Layout, shape: Granularity) -> Reals:
    """Return numbers of groups, from an array of the shape of `QuantizedTensor.scales`.

    Parameters
    ----------
    name : str
        For errors.
    given : (...) array_like
        Numbers that go with that shape by numpy's rules: one for all groups will do.
    layout : Layout
        Of the tensor.
    shape : Granularity
        What shares a number.

    Returns
    -------
    (groups,) float64

    Raises
    ------
    BitlatheError
        Raised if the shape does not go with the groups, or a number is not finite.
    """
    array = as_float(given, name)[0].astype(np.float64)
    own = Layout.of(layout.shape, layout.quantized, shape)
    wanted = (*(own.others if shape.rows == 1 else (own.down,)), own.across)
    if array.shape == (own.groups,):
        array = array.reshape(wanted)
    try:
        spread = np.broadcast_to(array, wanted)
    except ValueError:
        raise BitlatheError(
            f"{name}: an array of shape {wanted} is needed, one number for each {shape} group of "
            f"{layout.shape}, got {array.shape}"
        ) from None
    if not np.isfinite(spread).all():
        raise BitlatheError(f"{name}: all must be finite")
    return np.ascontiguousarray(spread).reshape(-1)


def store_scales(scheme: Scheme, layout: Layout, given: Any, exact: bool) -> Stored:
    """Return given scales as a scheme stores them.

    Parameters
    ----------
    scheme : Scheme
    layout : Layout
    given : array_like, or list of array_like
        Scales as used, shaped as `QuantizedTensor.scales`; or a list of the numbers of each level,
        the innermost first, as `QuantizedTensor.level_scales` returns them.
    exact : bool
        Whether scales that the formats do not have are refused rather than rounded.

    Raises
    ------
    BitlatheError
        Raised if a shape, a sign or a number of levels is wrong, or a scale does not fit.
    """
    if isinstance(given, list | tuple):
        return _by_level(scheme, layout, given)
    if scheme.levels:
        found = _nested(scheme, layout, by_group("scales", given, layout, scheme.granularity))
    elif scheme.scales_per_group > 1:
        return _planes(scheme, layout, given, exact)
    else:
        found = _plain(scheme, layout, by_group("scales", given, layout, scheme.granularity))
    if exact:
        _refuse_rounded(scheme, layout, given, found)
    return found


def _refuse_rounded(scheme: Scheme, layout: Layout, given: Any, found: Stored) -> None:
    used = scales_of(scheme, layout, found).astype(np.float64)
    wanted = by_group("scales", given, layout, scheme.granularity)
    wrong = _differ(wanted, used)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BitlatheError(
            f"scales: {wanted[at]:g} of group {at} cannot be stored in {scheme}, nearest is "
            f"{used[at]:g}; pass a list of the numbers of each level, or scales it has"
        )


def scales_of(scheme: Scheme, layout: Layout, found: Stored) -> NDArray[np.float32]:
    """Return the (groups,) scales that stored patterns stand for."""
    raw = np.ascontiguousarray(found.scales[:, 0])
    if scheme.levels:
        return product(scheme.levels, [raw, *found.upper_scales], layout)
    grid = scheme.formats[0].grid
    return scheme.scale_format.read(raw, found.outer_scales, grid, layout)


def _signless(real: Reals) -> None:
    if (real < 0).any():
        at = int(np.argmax(real < 0))
        raise BitlatheError(f"scales: {real[at]:g} of group {at}; scales must be 0 or more")


def _nested(scheme: Scheme, layout: Layout, real: Reals) -> Stored:
    """Store the products of levels: each level under those above it, the outermost first."""
    levels = scheme.levels
    if not levels[0].signed:
        _signless(real)
    tree = Tree.of(levels, layout)
    spans = tree.largest(np.abs(real))
    raws: list[Raw] = []
    above: NDArray[np.float32] | None = None
    for k in range(len(levels) - 1, -1, -1):
        anchors = [level.anchor_under(above) for level, above in pairwise(levels[: k + 1])]
        reach = float(np.prod(anchors))
        sign = real < 0 if k == 0 and levels[0].signed else None
        raw = stored(levels[k], spans[k], reach, above, 0, sign)
        with np.errstate(over="ignore"):
            own = levels[k].decode(raw) if above is None else levels[k].decode(raw) * above
        raws.insert(0, raw)
        above = tree.spread(k - 1, own) if k else None
    none = np.zeros(0, np.uint32)
    return Stored(scales=raws[0][:, None], outer_scales=none, upper_scales=tuple(raws[1:]))


def _plain(scheme: Scheme, layout: Layout, real: Reals) -> Stored:
    scale, grid = scheme.scale_format, scheme.formats[0].grid
    if scale.kind == "none":
        raise BitlatheError(f"scales: {scheme} has no scales; leave scales out")
    _signless(real)
    spans = real * grid.max_abs
    if scale.kind == "ocp":  # whose exponent is that of the span less the grid's
        spans = real * 2.0 ** (np.frexp(grid.max_abs)[1] - 1)
    if isinstance(scale, BitmodMxScale):
        spans = np.rint(real * grid.max_abs / 2 * 2.0**20) / 2.0**20
    raw, outer = scale.store(real, spans, grid, layout)
    return Stored(scales=raw[:, None], outer_scales=outer)


def _planes(scheme: Scheme, layout: Layout, given: Any, exact: bool) -> Stored:
    array = as_float(given, "scales")[0].astype(np.float64)
    scale = scheme.scale_format
    wanted = (layout.groups, scheme.scales_per_group)
    if array.size != np.prod(wanted):
        raise BitlatheError(
            f"scales: {scheme} over {layout.shape} has {wanted[0]} groups of {wanted[1]} signed "
            f"scales, got an array of shape {array.shape}"
        )
    assert isinstance(scale, FloatScale | PlaneScale)
    if not np.isfinite(array).all():
        raise BitlatheError("scales: all must be finite")
    signed = array.reshape(wanted)
    raw = scale.store_signed(signed)
    if exact:
        _same("scales", signed.reshape(-1), scale.read_signed(raw).reshape(-1), scale.name)
    return Stored(scales=raw, outer_scales=np.zeros(0, np.uint32))


def _by_level(scheme: Scheme, layout: Layout, given: Sequence[Any]) -> Stored:
    """Store the numbers of each level, which its format must have."""
    scale = scheme.scale_format
    count = len(scheme.levels) or 1 + (scale.outer != "none")
    if len(given) != count:
        raise BitlatheError(
            f"scales: {scheme} has {count} level(s) of scales, the list has {len(given)}; scales "
            "as used go in an array"
        )
    if scheme.levels:
        raws = store_numbers("scales", scheme.levels, layout, given)
        return Stored(
            scales=raws[0][:, None], outer_scales=np.zeros(0, np.uint32), upper_scales=raws[1:]
        )
    real = by_group("scales", given[0], layout, scheme.granularity)
    if count == 1:
        return _plain(scheme, layout, real)
    whole = Granularity(rows=0, columns=0)
    row = Granularity(rows=scheme.granularity.rows, columns=0)
    outer = by_group("scales", given[1], layout, whole if scale.outer == "tensor" else row)
    name = "fp32" if scale.outer == "tensor" else "fp16"
    stored_outer = float_bits(outer, name)
    _same("scales", outer, bits_to_float(stored_outer, name), name)
    return Stored(scales=_counts(scale, real)[:, None], outer_scales=stored_outer)


def _counts(scale: ScaleFormat, real: Reals) -> Raw:
    """Return the patterns of the inner numbers of a scale with a second level."""
    every = scale.every.astype(np.uint32)
    every = np.append(every, 0) if 0 not in every else every
    values = numbers_of(scale, every)
    order = np.argsort(values, kind="stable")
    place = np.clip(np.searchsorted(values[order], real), 0, len(order) - 1)
    found = every[order][place]
    _same("scales", real, values[order][place], scale.name)
    return np.asarray(found, np.uint32)


def numbers_of(scale: ScaleFormat, raw: Raw) -> NDArray[np.float32]:
    """Return what (n,) patterns are of themselves, without the second level."""
    if scale.kind == "int":
        return raw.astype(np.float32)
    if scale.kind == "step":
        return np.ldexp(np.float32(1), -raw.astype(np.int32))
    return np.asarray(single(E4M3).values.astype(np.float32)[raw])


def store_numbers(
    name: str, levels: Sequence[Level], layout: Layout, given: Sequence[Any]
) -> tuple[Raw, ...]:
    """Return the patterns of the numbers of each level, which its format must have.

    Parameters
    ----------
    name : str
        For errors.
    levels : sequence of Level
    layout : Layout
    given : sequence of array_like
        The innermost first.

    Raises
    ------
    BitlatheError
        Raised if a shape is wrong, or a format does not have a number.
    """
    raws = []
    for k, (level, numbers) in enumerate(zip(levels, given, strict=True)):
        place = f"{name}[{k}]" if len(levels) > 1 else name
        real = by_group(place, numbers, layout, level.granularity)
        raw = level.nearest(real, np.zeros(len(real), np.bool_))
        _same(place, real, level.decode(raw), level.name)
        raws.append(raw)
    return tuple(raws)


def _differ(wanted: Reals, found: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which numbers were not found, not even as float32 has them."""
    with np.errstate(over="ignore"):
        rounded = wanted.astype(np.float32)
    lost = ~np.isfinite(found) | ((found == 0) & (wanted != 0))
    return np.asarray(((found != wanted) & (found != rounded)) | lost)


def _same(place: str, wanted: Reals, found: NDArray[np.floating[Any]], name: str) -> None:
    wrong = _differ(wanted, found)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BitlatheError(
            f"{place}: {wanted[at]:g} is not a number of {name}, nearest is {found[at]:g}"
        )


def store_zeros(scheme: Scheme, layout: Layout, given: Any, exact: bool) -> Any:
    """Return given zero points or minima as a scheme stores them.

    Parameters
    ----------
    scheme : Scheme
    layout : Layout
    given : array_like, or list of array_like
        Shaped as the scales; a list holds the numbers of each level of minima or zero points.
    exact : bool
        Whether numbers that the format does not have are refused rather than rounded.

    Returns
    -------
    (groups,) uint8, or tuple of (k,) uint32
        What `Coded` has as ``zeros``, or as ``offsets``.

    Raises
    ------
    BitlatheError
        Raised if the scheme has neither, or a number does not fit.
    """
    if scheme.offset is not None:
        levels = scheme.offset.levels
        if isinstance(given, list | tuple):
            if len(given) != len(levels):
                raise BitlatheError(
                    f"zeros: {scheme} has {len(levels)} level(s) of {scheme.offset.kind}s, the "
                    f"list has {len(given)}"
                )
            return store_numbers("zeros", levels, layout, given)
        real = by_group("zeros", given, layout, scheme.granularity)
        raws, used = store_offsets(scheme.offset, real, layout)
        if exact:
            _same("zeros", real, used, str(scheme))
        return tuple(raws)
    if not scheme.zero_bits:
        raise BitlatheError(f"zeros: {scheme} has no zero points; leave zeros out")
    real = by_group("zeros", given, layout, scheme.granularity)
    top = (1 << scheme.zero_bits) - 1
    wrong = (real != np.rint(real)) | (real < 0) | (real > top)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BitlatheError(
            f"zeros: {real[at]:g} of group {at}; zero points of {scheme} are whole numbers from "
            f"0 to {top}"
        )
    return real.astype(np.uint8)


def store_choices(scheme: Scheme, layout: Layout, given: Any) -> NDArray[np.uint8]:
    """Return given members of a mixture, (groups,), from (...) numbers shaped as the scales.

    Of schemes with finer elements they are the bytes that tell these.

    Raises
    ------
    BitlatheError
        Raised if the scheme has no members to choose from, or there is no such member.
    """
    extra = scheme.coder_facts.extra_bits
    count = 1 << extra if extra else len(scheme.formats)
    if count == 1:
        raise BitlatheError(f"choices: {scheme} has one format; leave choices out")
    real = by_group("choices", given, layout, scheme.granularity)
    wrong = (real != np.rint(real)) | (real < 0) | (real >= count)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BitlatheError(
            f"choices: {real[at]:g} of group {at}; {'bytes' if extra else 'members'} of {scheme} "
            f"are 0 to {count - 1}"
        )
    return real.astype(np.uint8)


def refuse_unfit(scheme: Scheme, what: str) -> None:
    """Refuse schemes whose scales and codes are found together, or in an arithmetic of their own.

    Raises
    ------
    BitlatheError
        Raised if the scheme takes nothing from outside.
    """
    if scheme.coder not in TAKING or scheme.paper:
        raise BitlatheError(
            f"{what}: {scheme} finds its scales together with its codes; build it with "
            "QuantizedTensor.of"
        )
