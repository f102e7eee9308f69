"""Quantized tensors from parts: codes and scales that others made, tensors joined to one."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..base.numbers import whole_number
from ..coding.coded import Coded
from ..coding.given import numbers_of, store_choices, store_scales, store_zeros
from ..schemes.granularity import Granularity
from ..schemes.layout import Axis, Layout
from ..schemes.scheme import Scheme
from .dequantize import group_scales, outer_scales


def coded_from(
    scheme: Scheme, codes: Any, scales: Any, axis: Axis, zeros: Any, choices: Any
) -> Coded:
    """Return the coded tensor of given parts, each of which must be as the scheme stores it.

    Parameters
    ----------
    scheme : Scheme
    codes : (...) array_like of int
        In the shape of the tensor.
    scales, zeros, choices : array_like or list of array_like or None
        See `QuantizedTensor.of`.
    axis : int, tuple of int or None

    Raises
    ------
    BitlatheError
        Raised if a part is missing or too much, or its shape or a number in it is wrong.
    """
    try:
        array = np.asarray(codes)
    except ValueError:
        raise BitlatheError("codes: lists of equal lengths are needed, as of an array") from None
    if array.dtype.kind not in "iu":
        raise BitlatheError(f"codes: whole numbers are needed, got an array of {array.dtype}")
    layout = Layout.of(array.shape, axis, scheme.granularity)
    _check_codes(scheme, array)
    none = np.zeros(0, np.uint32)
    empty = np.zeros((layout.groups, scheme.scales_per_group), np.uint32)
    coded = Coded(
        scheme=scheme,
        layout=layout,
        codes=np.ascontiguousarray(layout.matrix(array).astype(scheme.formats[0].code_dtype)),
        scales=empty,
        outer_scales=none,
    )
    if scheme.scale_format.bits:
        if scales is None:
            raise BitlatheError(f"scales: {scheme} stores scales; pass them")
        found = store_scales(scheme, layout, scales, exact=True)
        coded = replace(
            coded,
            scales=found.scales,
            outer_scales=found.outer_scales,
            upper_scales=found.upper_scales,
        )
    elif scales is not None:
        raise BitlatheError(f"scales: {scheme} has no scales; leave scales out")
    coded = _with_rest(coded, zeros, choices)
    if len(scheme.formats) > 1:
        _check_member_codes(coded)
    return coded


def _with_rest(coded: Coded, zeros: Any, choices: Any) -> Coded:
    """Return a coded tensor with its zero points, minima and choices."""
    scheme, layout = coded.scheme, coded.layout
    needed = bool(scheme.zero_bits or scheme.offset)
    if needed and zeros is None:
        kind = scheme.offset.kind if scheme.offset else "zero"
        raise BitlatheError(f"zeros: {scheme} stores a {kind} for each group; pass them")
    if zeros is not None:
        found = store_zeros(scheme, layout, zeros, exact=True)
        own = {"offsets": found} if scheme.offset else {"zeros": found}
        coded = replace(coded, **own)
    if choices is None and scheme.selector_bits:
        what = "the member" if len(scheme.formats) > 1 else "a byte for finer elements"
        raise BitlatheError(f"choices: {scheme} stores {what} of each group; pass them")
    if choices is not None:
        coded = replace(coded, choices=store_choices(scheme, layout, choices))
    return coded


def _check_codes(scheme: Scheme, codes: NDArray[Any]) -> None:
    """Refuse codes that the format does not have."""
    bits = scheme.element_bits
    wrong = (codes < 0) | (codes >= 1 << bits)
    what = f"codes of {scheme} are 0 to {(1 << bits) - 1}"
    plain = scheme.coder_facts.plain and len(scheme.formats) == 1 and scheme.formats[0].unused
    if not wrong.any() and plain:
        unused = np.zeros(1 << bits, np.bool_)
        unused[list(scheme.formats[0].unused)] = True
        wrong, what = unused[codes], f"{scheme.formats[0].name} has no value for it"
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), codes.shape)
        raise BitlatheError(f"codes: {codes[at]} at index {tuple(int(i) for i in at)}; {what}")


def _check_member_codes(coded: Coded) -> None:
    """Refuse codes that the member which their group takes does not have."""
    formats = coded.scheme.formats
    unused = np.zeros((len(formats), 1 << coded.scheme.element_bits), np.bool_)
    for member, fmt in enumerate(formats):
        unused[member, list(fmt.unused)] = True
    if not unused.any() or coded.choices is None:
        return
    codes = coded.layout.split(coded.codes)
    wrong = unused[coded.choices[:, None], codes]
    if (mask := coded.layout.mask()) is not None:
        wrong &= mask
    if wrong.any():
        group, place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        name = formats[coded.choices[group]].name
        raise BitlatheError(
            f"codes: {codes[group, place]} in group {group}; its member {name} has no value for it"
        )


def level_scales(coded: Coded) -> list[NDArray[np.float32]]:
    """Return the numbers of each level of scales as stored, the innermost first.

    Each has the shape of the scales of its level: the other axes of the tensor, then the groups
    of a row; (blocks down, blocks across) where blocks span rows.
    """
    scheme, layout = coded.scheme, coded.layout
    if scheme.levels:
        raws = [coded.scales[:, 0], *coded.upper_scales]
        pairs = zip(scheme.levels, raws, strict=True)
        return [shaped(level.decode(raw), layout, level.granularity) for level, raw in pairs]
    scale = scheme.scale_format
    if scale.outer == "none":
        return [shaped(group_scales(coded), layout, scheme.granularity)]
    inner = numbers_of(scale, coded.scales[:, 0])
    whole, row = Granularity(rows=0, columns=0), replace(scheme.granularity, columns=0)
    outer = shaped(outer_scales(coded), layout, whole if scale.outer == "tensor" else row)
    return [shaped(inner, layout, scheme.granularity), outer]


def shaped(x: NDArray[Any], layout: Layout, shape: Granularity) -> NDArray[Any]:
    """Return (groups, ...) facts in the shape of the scales that are shared so."""
    own = Layout.of(layout.shape, layout.quantized, shape)
    leading = own.others if shape.rows == 1 else (own.down,)
    return x.reshape(*leading, own.across, *x.shape[1:])


def joined(first: Coded, second: Coded, axis: int) -> Coded:
    """Return two tensors in one scheme as one, the second after the first along a free axis.

    Parameters
    ----------
    first, second : Coded
    axis : int
        Not a quantized one: the axis of tokens of a cache, the output channels of weights.

    Raises
    ------
    BitlatheError
        Raised if schemes or shapes differ, the axis is quantized, or rows share scales.
    """
    scheme, old = first.scheme, first.layout
    axis = _checked_axis(first, second, axis)
    scaled = bool(scheme.scale_format.bits)
    shape = list(old.shape)
    shape[axis] += second.layout.shape[axis]
    place = axis if axis < old.axis else axis - old.axes

    layout = Layout.of(tuple(shape), old.quantized, scheme.granularity)
    if not old.groups or not second.layout.groups:
        return replace(second if old.shape[axis] == 0 else first, layout=layout)

    def join(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        """Join what each row has equally many of."""
        pairs = ((a, old), (b, second.layout))
        parts = [x.reshape(*own.others, len(x) // own.rows, *x.shape[1:]) for x, own in pairs]
        return np.concatenate(parts, axis=place).reshape(-1, *a.shape[1:])

    def maybe(a: Any, b: Any) -> Any:
        return None if a is None else join(a, b)

    def each(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(join(one, other) for one, other in zip(a, b, strict=True))

    codes = join(first.codes, second.codes)
    if not scaled:
        none = np.zeros((layout.groups, 1), np.uint32)
        return replace(first, layout=layout, codes=codes, scales=none)
    outer = first.outer_scales
    if scheme.scale_format.outer == "row":
        outer = join(outer, second.outer_scales)
    return Coded(
        scheme=scheme,
        layout=layout,
        codes=codes,
        scales=join(first.scales, second.scales),
        outer_scales=outer,
        zeros=maybe(first.zeros, second.zeros),
        choices=maybe(first.choices, second.choices),
        upper_scales=each(first.upper_scales, second.upper_scales),
        offsets=each(first.offsets, second.offsets),
    )


def _checked_axis(first: Coded, second: Coded, axis: int) -> int:
    """Return the axis along which tensors are joined, counted from the first; or refuse."""
    scheme, old = first.scheme, first.layout
    if second.scheme != scheme:
        raise BitlatheError(f"append: {second.scheme} does not go on after {scheme}")
    count = len(old.shape)
    axis = whole_number(f"append: axis of a tensor of shape {old.shape}", axis, -count, count - 1)
    axis %= count
    if old.axis <= axis < old.axis + old.axes or old.quantized != second.layout.quantized:
        raise BitlatheError(
            f"append: axis {axis} is quantized, or not alike; tensors are joined along a free axis"
        )
    rest = [n for n, _ in enumerate(old.shape) if n != axis]
    if any(old.shape[n] != second.layout.shape[n] for n in rest):
        raise BitlatheError(
            f"append: shapes {old.shape} and {second.layout.shape} differ beyond axis {axis}"
        )
    tall = [scheme.granularity, *(level.granularity for level in _levels(scheme))]
    if (
        scheme.scale_format.bits and any(shape.rows != 1 for shape in tall)
    ) or scheme.scale_format.outer == "tensor":
        raise BitlatheError(
            f"append: rows of {scheme} share scales, which cannot go on; take groups and scales "
            "within a row, such as @g32 or @channel"
        )
    return axis


def _levels(scheme: Scheme) -> tuple[Any, ...]:
    return (*scheme.levels, *(scheme.offset.levels if scheme.offset else ()))
