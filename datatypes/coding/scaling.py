"""From the range of a group to the scale that is stored, and from that to the one that is used.

`store` makes bit patterns, `effective` reads them. Quantisation always encodes with what
`effective` returns, so a tensor read back from a file gives the very same numbers.
Exponents come from ``frexp``, never from a floating-point logarithm, which is wrong just below
powers of two.
"""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..formats.catalogue import single
from ..formats.format import Format
from ..schemes.layout import Layout
from ..schemes.scales import ScaleFormat

Floats = NDArray[np.floating[Any]]
Raw = NDArray[np.uint32]

BIAS = 127
NAN_EXPONENT = 255
STEP_MAX = 15
# kinds of scales that are powers of two
POWERS = ("ocp", "pot", "bitmod_mx")
# largest exponent of a power of two in a sum of them (`bcq`)
PLANE_MAX = 31
E4M3_MAX = 448.0
# half-way between the largest number and the next: from here on scales round to infinity
LIMITS = {"fp16": 65520.0, "bf16": (2 - 2.0**-8) * 2.0**127, "fp32": (2 - 2.0**-24) * 2.0**127}


def exponent_of(x: Floats) -> NDArray[np.int64]:
    """Return floor(log2(x)) for x > 0, exactly; 0 gives -1."""
    return np.asarray(np.frexp(x)[1], np.int64) - 1


def ocp_exponent(amax: Floats, fmt: Format, rule: str) -> NDArray[np.int64]:
    """Return the shared exponent of a block under a named E8M0 rule.

    Parameters
    ----------
    amax : (groups,) float
        Largest magnitude of each block.
    fmt : Format
    rule : str
        ``floor``: that of amax less the format's own (OCP MX v1.0, 6.3). ``ceil``: rounded up to
        a power of two. ``even``: amax rounded half up to the format's mantissa first. ``rceil``:
        the least exponent at which nothing clips.

    Returns
    -------
    (groups,) int64
    """
    mantissa, exponent = np.frexp(amax)
    own_mantissa, own_exponent = np.frexp(fmt.max_abs)
    if rule == "rceil":
        found = exponent.astype(np.int64) - int(own_exponent) + (mantissa > own_mantissa)
        return np.asarray(found)
    found = exponent.astype(np.int64) - int(own_exponent)
    if rule == "ceil":
        return np.asarray(found + (mantissa > 0.5))
    if rule == "even":
        return np.asarray(found + (2 * mantissa >= 2 - 2.0 ** -(fmt.grid.top_mantissa_bits + 1)))
    return np.asarray(found)


def power_of_two(real: Floats, rule: str) -> NDArray[np.int64]:
    """Return the exponent of a real scale rounded in the log domain; nearest splits at sqrt(2)."""
    mantissa, exponent = np.frexp(real)
    lower = exponent.astype(np.int64) - 1
    up = {
        "floor": np.zeros(real.shape, np.bool_),
        "ceil": mantissa > 0.5,
        "nearest": mantissa >= np.sqrt(0.5),
    }[rule]
    return np.asarray(lower + up)


def block_exponent(
    real: Floats, amax: Floats, fmt: Format, scale: ScaleFormat
) -> NDArray[np.int64]:
    """Return the exponents of powers of two for scales, as wanted, of whatever size."""
    if scale.kind == "ocp":
        return ocp_exponent(amax, fmt, scale.rule)
    return power_of_two(real, scale.rule) if scale.kind == "pot" else exponent_of(amax)


def fits(real: Floats, amax: Floats, fmt: Format, scale: ScaleFormat) -> NDArray[np.bool_]:
    """Return which scales can be stored without overflow.

    A power of two that is cut to 2**127 fits where it is no lower than OCP's floor rule has it.

    Parameters
    ----------
    real, amax, fmt, scale
        As for `store`, of any shape.
    """
    if scale.kind == "none":
        return np.ones(real.shape, np.bool_)
    finite = np.isfinite(real) & np.isfinite(amax)
    if scale.kind in POWERS:
        wide = np.where(finite, amax, 0)
        floor = exponent_of(wide) if scale.kind == "bitmod_mx" else ocp_exponent(wide, fmt, "floor")
        return np.asarray(finite & (floor <= BIAS))
    limit = LIMITS[{"float": scale.name, "e4m3": "fp32"}.get(scale.kind, "fp16")]
    with np.errstate(over="ignore"):  # of float32, that of fp32 is infinity
        return np.asarray(finite & (real < real.dtype.type(limit)))


def refuse_scale(group: int, value: float, scale: ScaleFormat, wider: bool = True) -> NoReturn:
    """Raise the error of a scale that is too large to be stored.

    Parameters
    ----------
    group : int
    value : float
        The scale wanted.
    scale : ScaleFormat
    wider : bool
        Whether the scheme takes float scales.
    """
    where = {
        "float": scale.name,
        "e4m3": "the fp32 scale of the tensor",
        "planes": f"{scale.name}, sums of powers of two up to 2^{PLANE_MAX}",
    }.get(scale.kind, "the fp16 scale of its row")
    if scale.kind in POWERS:
        where = f"{scale.name}, powers of two up to 2^{BIAS}"
    halves = scale.name == "fp16" or scale.outer == "row" or scale.kind == "planes"
    remedy = "store scales as /bf16 or /fp32, or " if halves and wider else ""
    raise BitlatheError(
        f"the scale of group {group}, {value:g}, does not fit {where}; {remedy}divide the tensor "
        "by a constant first"
    )


def store(
    real: Floats, amax: Floats, fmt: Format, scale: ScaleFormat, layout: Layout
) -> tuple[Raw, Raw]:
    """Return the bit patterns of the scales and of the second-level scales.

    Parameters
    ----------
    real : (groups,) float
        Scale wanted: range of the group over that of the grid.
    amax : (groups,) float
        Range of the group itself, from which OCP rules take their exponent.
    fmt : Format
    scale : ScaleFormat
    layout : Layout

    Returns
    -------
    raw : (groups,) uint32
    outer : (0,), (1,) or (down,) uint32

    Raises
    ------
    BitlatheError
        If a scale is too large for its format.
    """
    none = np.zeros(0, np.uint32)
    if scale.kind == "none":
        return np.zeros(real.shape, np.uint32), none
    fit = fits(real, amax, fmt, scale)
    if not fit.all():
        at = int(np.argmin(fit))
        refuse_scale(at, float(real[at]), scale)
    if scale.kind == "float":
        return float_bits(real, scale.name, amax > 0), none
    if scale.kind in POWERS:
        exponent = np.where(amax > 0, block_exponent(real, amax, fmt, scale), -BIAS)
        return (np.clip(exponent, -BIAS, BIAS) + BIAS).astype(np.uint32), none
    if scale.kind == "e4m3":
        return store_e4m3(real, tensor_scale(real, amax, fmt), amax > 0)
    tops = real.reshape(layout.down, layout.across).max(axis=1)
    outer = float_bits(tops, "fp16")
    top = np.repeat(bits_to_float(outer, "fp16"), layout.across)
    if scale.kind == "step":
        # against the row's maximum before rounding: its own group must come out at 2**0
        own = np.repeat(tops, layout.across).astype(np.float64)
        ratio = np.divide(own, real, out=np.full(real.shape, 2.0**20), where=real > 0)
        steps = power_of_two(np.maximum(ratio, 1.0), scale.rule)
        return np.clip(steps, 0, STEP_MAX).astype(np.uint32), outer
    levels = (1 << scale.bits) - 1
    unit = top / levels
    count = np.rint(np.divide(real, unit, out=np.zeros(real.shape), where=unit > 0))
    return np.clip(count, amax > 0, levels).astype(np.uint32), outer


def tensor_scale(real: Floats, amax: Floats, fmt: Format) -> np.float32:
    """Return NVFP4's scale of the tensor: it maps the largest block scale to 448.

    One division, absmax / (448 * largest element), where every block scale is a block's absmax
    over that of the format.
    """
    if np.array_equal(real, amax / amax.dtype.type(fmt.max_abs)):
        return np.float32(amax.max(initial=0.0) / amax.dtype.type(E4M3_MAX * fmt.max_abs))
    return np.float32(real.max(initial=0.0) / E4M3_MAX)


def store_e4m3(real: Floats, whole: np.float32, wanted: NDArray[np.bool_]) -> tuple[Raw, Raw]:
    """Return E4M3 codes of the block scales under the scale of the tensor, and that one's bits."""
    positive = np.maximum(whole, np.float32(np.finfo(np.float32).smallest_subnormal))
    grid = single("fp8_e4m3")
    codes = grid.encode(np.asarray(real, np.float64) / np.float64(positive))
    raw = np.where((codes == 0) & wanted, 1, codes)
    return raw.astype(np.uint32), np.array([positive]).view(np.uint32)


def float_bits(real: Floats, name: str, wanted: NDArray[np.bool_] | None = None) -> Raw:
    """Return the bit patterns of scales rounded to nearest even, infinity from `LIMITS` on.

    Where `wanted` (by default: where the scale is positive) none becomes 0, but the smallest
    positive number.
    """
    wide = np.asarray(real)
    with np.errstate(over="ignore", under="ignore"):
        if name == "fp32":
            bits = wide.astype(np.float32).view(np.uint32)
        elif name == "fp16":
            bits = wide.astype(np.float16).view(np.uint16).astype(np.uint32)
        else:
            bits = np.asarray(single("bf16").encode(wide, overflow="inf", nan="propagate"))
    lost = (bits == 0) & (wide > 0 if wanted is None else wanted)
    return np.asarray(np.where(lost, 1, bits), np.uint32)


def bits_to_float(raw: Raw, name: str) -> NDArray[np.float32]:
    """Return the float32 value of fp32, fp16 or bf16 bit patterns."""
    if name == "fp32":
        return raw.view(np.float32)
    if name == "fp16":
        return raw.astype(np.uint16).view(np.float16).astype(np.float32)
    return (raw << np.uint32(16)).view(np.float32)


def effective(
    raw: Raw, outer: Raw, fmt: Format, scale: ScaleFormat, layout: Layout
) -> NDArray[np.float32]:
    """Return the scales that stored patterns stand for.

    Returns
    -------
    (groups,) float32
        NaN where a group was given up to NaN.
    """
    if scale.kind == "none":
        return np.ones(raw.shape, np.float32)
    if scale.kind == "float":
        return bits_to_float(raw, scale.name)
    if scale.kind in POWERS:
        unit = np.float32(2 / fmt.max_abs if scale.kind == "bitmod_mx" else 1.0)
        powers = np.ldexp(unit, np.arange(NAN_EXPONENT, dtype=np.int32) - BIAS)
        return np.asarray(np.append(powers, np.float32(np.nan))[raw])
    if scale.kind == "e4m3":
        grid = single("fp8_e4m3")
        return np.asarray(grid.values.astype(np.float32)[raw] * outer.view(np.float32)[0])
    top = np.repeat(bits_to_float(outer, "fp16"), layout.across)
    if scale.kind == "step":
        return np.ldexp(top, -raw.astype(np.int32))
    return raw.astype(np.float32) * (top / np.float32((1 << scale.bits) - 1))
