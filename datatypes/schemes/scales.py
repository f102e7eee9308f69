"""How a scale is stored: one record a format of scales, from the real scale to bits and back.

`store` makes bit patterns, `read` reads them. Quantization always encodes with what `read`
returns, so a tensor read back from a file gives the very same numbers.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ..formats.catalogue import single
from ..formats.floats import FloatLayout
from ..formats.grid import Grid
from .layout import Layout
from .patterns import LAYOUTS, Floats, Raw, bits_to_float, float_bits
from .powers import exponent_of, ocp_exponent, power_of_two
from .scale_format import ScaleFormat

BIAS = 127
NAN_EXPONENT = 255
STEP_MAX = 15
# of sums of powers of two: a byte each, sign (1 bit) and exponent (7 bits), of which 0 is absent
PLANE_BIAS = 96
PLANE_MIN, PLANE_MAX = 1 - PLANE_BIAS, 31
E4M3 = "fp8_e4m3"


class NoScale(ScaleFormat):
    """No scale: codes stand for values of the grid."""

    __slots__ = ()
    kind = "none"
    _stored_in = ""

    def fits(self, real: Floats, amax: Floats, grid: Grid) -> NDArray[np.bool_]:
        """Return that all (groups,) scales do."""
        del amax, grid
        return np.ones(real.shape, np.bool_)

    def _patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        del amax, tops, grid
        return np.zeros(real.shape, np.uint32)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        del tops, grid
        return np.ones(raw.shape, np.float32)


class FloatScale(ScaleFormat):
    """A binary float, rounded to nearest even."""

    __slots__ = ()
    kind = "float"

    @property
    def layout(self) -> FloatLayout:
        """The facts of the float."""
        return LAYOUTS[self.name]

    @property
    def nan_pattern(self) -> int | None:
        """The bit pattern by which a stored scale says NaN."""
        return self.layout.quiet_nan

    @property
    def _stored_in(self) -> str:
        """What a scale that is too large does not fit, for errors."""
        return self.name

    def _limit(self, grid: Grid) -> float:
        """Return the smallest scale that is too large."""
        del grid
        return self.layout.limit

    def _patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        del tops, grid
        return float_bits(real, self.name, amax > 0)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        del tops, grid
        return bits_to_float(raw, self.name)

    def fits_signed(self, alpha: Floats) -> NDArray[np.bool_]:
        """Return which (...) signed scales can be stored without overflow."""
        return np.asarray(np.abs(alpha) < self.layout.limit)

    def store_signed(self, alpha: Floats) -> Raw:
        """Return the patterns of (...) signed scales; small ones may become 0."""
        flat = np.abs(alpha).reshape(-1)
        sign = np.signbit(alpha).reshape(-1).astype(np.uint32)
        bits = float_bits(flat, self.name, np.zeros(flat.shape, np.bool_))
        return np.asarray(bits | (sign << np.uint32(self.bits - 1))).reshape(alpha.shape)

    def read_signed(self, raw: Raw) -> NDArray[np.float64]:
        """Return the signed scales that (...) patterns stand for, exactly."""
        flat = np.ascontiguousarray(raw).reshape(-1)
        return bits_to_float(flat, self.name).reshape(raw.shape).astype(np.float64)


class PowerScale(ScaleFormat):
    """A power of two with an exponent of 8 bits, from the real scale."""

    __slots__ = ()
    kind = "pot"
    power = True
    nan_pattern = NAN_EXPONENT

    @property
    def _stored_in(self) -> str:
        """What a scale that is too large does not fit, for errors."""
        return f"{self.name}, powers of two up to 2^{BIAS}"

    def _exponent(self, real: Floats, amax: Floats, grid: Grid) -> NDArray[np.int64]:
        """Return the (groups,) exponents wanted, of whatever size."""
        del amax, grid
        return power_of_two(real, self.rule)

    def _least_exponent(self, amax: Floats, grid: Grid) -> NDArray[np.int64]:
        """Return the (groups,) exponents below which no scale may be cut: OCP's floor rule."""
        return ocp_exponent(amax, grid, "floor")

    def _unit(self, grid: Grid) -> float:
        """Return what the power of two is a multiple of."""
        del grid
        return 1.0

    def fits(self, real: Floats, amax: Floats, grid: Grid) -> NDArray[np.bool_]:
        """Return which of (groups,) scales fit: of powers cut to 2**127, those not too low."""
        finite = np.isfinite(real) & np.isfinite(amax)
        floor = self._least_exponent(np.where(finite, amax, 0), grid)
        return np.asarray(finite & (floor <= BIAS))

    def _patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        del tops
        exponent = np.where(amax > 0, self._exponent(real, amax, grid), -BIAS)
        return np.asarray((np.clip(exponent, -BIAS, BIAS) + BIAS).astype(np.uint32))

    @property
    def every(self) -> Raw:
        """Every pattern of a scale that is positive, the largest scale first."""
        return np.arange(2 * BIAS, -1, -1, dtype=np.uint32)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        del tops
        unit = np.float32(self._unit(grid))
        with np.errstate(over="ignore"):  # of the largest, where the unit is 2
            powers = np.ldexp(unit, np.arange(NAN_EXPONENT, dtype=np.int32) - BIAS)
        return np.asarray(np.append(powers, np.float32(np.nan))[raw])


class OcpScale(PowerScale):
    """A power of two from the exponent of the group's maximum and of the grid's."""

    __slots__ = ()
    kind = "ocp"

    def _exponent(self, real: Floats, amax: Floats, grid: Grid) -> NDArray[np.int64]:
        """Return the (groups,) exponents wanted, of whatever size."""
        del real
        return ocp_exponent(amax, grid, self.rule)


class BitmodMxScale(PowerScale):
    """A power of two from the exponent of the group's maximum; the grid reaches to 2."""

    __slots__ = ()
    kind = "bitmod_mx"

    def _exponent(self, real: Floats, amax: Floats, grid: Grid) -> NDArray[np.int64]:
        """Return the (groups,) exponents wanted, of whatever size."""
        del real, grid
        return exponent_of(amax)

    def _least_exponent(self, amax: Floats, grid: Grid) -> NDArray[np.int64]:
        """Return the (groups,) exponents below which no scale may be cut."""
        del grid
        return exponent_of(amax)

    def _unit(self, grid: Grid) -> float:
        """Return what the power of two is a multiple of."""
        return 2 / grid.max_abs


class RowScale(ScaleFormat):
    """A count under an fp16 scale of the row of groups."""

    __slots__ = ()
    outer = "row"
    _stored_in = "the fp16 scale of its row"

    def _store(self, real: Floats, amax: Floats, grid: Grid, layout: Layout) -> tuple[Raw, Raw]:
        del grid
        tops = real.reshape(layout.down, layout.across).max(axis=1)
        outer = float_bits(tops, "fp16")
        stored = np.repeat(bits_to_float(outer, "fp16"), layout.across)
        counts = self._counts(real, np.repeat(tops, layout.across), stored, amax > 0)
        return counts.astype(np.uint32), outer

    def tops(self, outer: Raw, layout: Layout) -> NDArray[np.float32]:
        """Return the stored scale of the row of each of the (groups,) groups."""
        return np.repeat(bits_to_float(outer, "fp16"), layout.across)

    def _patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        del grid
        return np.asarray(self._counts(real, tops, tops, amax > 0).astype(np.uint32))

    @abstractmethod
    def _counts(
        self, real: Floats, top: Floats, stored: Floats, wanted: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return the stored counts of (groups,) scales.

        `top` is the largest scale of each group's row, `stored` that one as stored; `wanted` says
        where no scale may become 0.
        """


class StepScale(RowScale):
    """The row's scale over a power of two."""

    __slots__ = ()
    kind = "step"

    def _counts(
        self, real: Floats, top: Floats, stored: Floats, wanted: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return how many halvings below the row's scale each one is."""
        del stored, wanted
        # against the row's maximum before rounding: its own group must come out at 2**0
        own = top.astype(np.float64)
        ratio = np.divide(own, real, out=np.full(real.shape, 2.0**20), where=real > 0)
        return np.clip(power_of_two(np.maximum(ratio, 1.0), self.rule), 0, STEP_MAX)

    @property
    def every(self) -> Raw:
        """Every pattern, the largest scale first."""
        return np.arange(STEP_MAX + 1, dtype=np.uint32)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        del grid
        return np.asarray(np.ldexp(tops, -raw.astype(np.int32)))


class IntScale(RowScale):
    """An integer multiple of the row's scale over the largest integer."""

    __slots__ = ()
    kind = "int"

    @property
    def levels(self) -> int:
        """The largest multiple."""
        return (1 << self.bits) - 1

    def _counts(
        self, real: Floats, top: Floats, stored: Floats, wanted: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return the multiples of the row's unit."""
        del top
        unit = stored / self.levels
        count = np.rint(np.divide(real, unit, out=np.zeros(real.shape), where=unit > 0))
        return np.clip(count, wanted, self.levels)

    @property
    def every(self) -> Raw:
        """Every pattern of a scale that is positive, the largest scale first."""
        return np.arange(self.levels, 0, -1, dtype=np.uint32)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        del grid
        return np.asarray(raw.astype(np.float32) * (tops / np.float32(self.levels)))


class E4m3Scale(ScaleFormat):
    """FP8 E4M3 under an fp32 scale of the tensor, which maps the largest scale to 448 (NVFP4)."""

    __slots__ = ()
    kind = "e4m3"
    largest: ClassVar[float] = 448.0
    outer = "tensor"
    _stored_in = "the fp32 scale of the tensor"

    @property
    def nan_pattern(self) -> int | None:
        """The bit pattern by which a stored scale says NaN."""
        nans = single(E4M3).grid.quiet_nans
        return nans[0] if nans else None

    def _limit(self, grid: Grid) -> float:
        """Return the smallest scale that is too large."""
        del grid
        return LAYOUTS["fp32"].limit

    def _store(self, real: Floats, amax: Floats, grid: Grid, layout: Layout) -> tuple[Raw, Raw]:
        whole = self._of_tensor(real, amax, grid)
        positive = np.maximum(whole, np.float32(np.finfo(np.float32).smallest_subnormal))
        outer = np.array([positive]).view(np.uint32)
        return self._patterns(real, amax, self.tops(outer, layout), grid), outer

    def tops(self, outer: Raw, layout: Layout) -> NDArray[np.float32]:
        """Return the scale of the tensor for each of the (groups,) groups."""
        return np.repeat(outer.view(np.float32), layout.groups)

    def _patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        del grid
        codes = single(E4M3).encode(np.asarray(real, np.float64) / tops.astype(np.float64))
        return np.asarray(np.where((codes == 0) & (amax > 0), 1, codes).astype(np.uint32))

    @property
    def every(self) -> Raw:
        """Every pattern of a scale that is positive, the largest scale first."""
        positive = single(E4M3).values > 0
        return np.flatnonzero(positive)[::-1].astype(np.uint32)

    def _of_tensor(self, real: Floats, amax: Floats, grid: Grid) -> np.float32:
        """Return the scale of the tensor.

        One division, absmax / (`largest` * largest element), where every block scale is a block's
        absmax over that of the format.
        """
        top = self.largest
        if np.array_equal(real, amax / amax.dtype.type(grid.max_abs)):
            return np.float32(amax.max(initial=0.0) / amax.dtype.type(top * grid.max_abs))
        return np.float32(real.max(initial=0.0) / top)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        del grid
        return np.asarray(single(E4M3).values.astype(np.float32)[raw] * tops)


class RoomyE4m3Scale(E4m3Scale):
    """The same with the largest scale at 256, so that a block may take one of 3/2 of its own."""

    __slots__ = ()
    largest = 256.0


class PlaneScale(ScaleFormat):
    """Signed sums of powers of two, one scale for each bit plane of a group."""

    __slots__ = ()
    kind = "planes"
    narrow = True

    @property
    def _stored_in(self) -> str:
        """What a scale that is too large does not fit, for errors."""
        return f"{self.name}, sums of powers of two up to 2^{PLANE_MAX}"

    @property
    def summands(self) -> int:
        """Powers of two in a sum, a byte each."""
        return self.bits // 8

    def fits_signed(self, alpha: Floats) -> NDArray[np.bool_]:
        """Return which (...) signed scales can be stored without overflow.

        A sum of K powers of two leaves at most (sqrt(2) - 1)^K of a scale within their range.
        """
        rest = np.abs(alpha - self.read_signed(self.store_signed(alpha)))
        small = np.abs(alpha) <= 2.0**PLANE_MAX
        left = (np.sqrt(2) - 1) ** self.summands * np.abs(alpha)
        return np.asarray(small | (rest <= left))

    def store_signed(self, alpha: Floats) -> Raw:
        """Return the patterns of (...) signed scales; what is nearer to 0 than to 2^-95 is 0."""
        rest = alpha.astype(np.float64).copy()
        raw = np.zeros(alpha.shape, np.uint32)
        for k in range(self.summands):
            mantissa, exponent = np.frexp(np.abs(rest))
            power = np.clip(exponent - 1 + (mantissa >= np.sqrt(0.5)), PLANE_MIN, PLANE_MAX)
            absent = np.abs(rest) <= 2.0 ** (PLANE_MIN - 1)
            field = np.where(absent, 0, power + PLANE_BIAS).astype(np.uint32)
            sign = np.where(absent, 0, np.signbit(rest)).astype(np.uint32)
            raw |= (field | (sign << np.uint32(7))) << np.uint32(8 * k)
            rest -= np.where(absent, 0.0, np.copysign(np.ldexp(1.0, power), rest))
        return raw

    def read_signed(self, raw: Raw) -> NDArray[np.float64]:
        """Return the signed scales that (...) patterns stand for, exactly."""
        total = np.zeros(raw.shape)
        for k in range(self.summands):
            byte = (raw >> np.uint32(8 * k)) & np.uint32(255)
            field = (byte & np.uint32(127)).astype(np.int32)
            term = np.ldexp(np.where(byte >> np.uint32(7), -1.0, 1.0), field - PLANE_BIAS)
            total += np.where(field > 0, term, 0.0)
        return total


SignedScale = FloatScale | PlaneScale
_OCP = "OCP MX v1.0; ceil, even, rceil: torchao and microxcaling"
_ZEROQUANT = "ZeroQuant-FP, arXiv 2307.09782"
_LISTED: tuple[ScaleFormat, ...] = (
    NoScale(name="none", bits=0),
    FloatScale(name="fp32", bits=32),
    FloatScale(name="fp16", bits=16),
    FloatScale(name="bf16", bits=16),
    OcpScale(name="e8m0", bits=8, rule="floor", source=_OCP),
    OcpScale(name="e8m0_ceil", bits=8, rule="ceil", source=_OCP),
    OcpScale(name="e8m0_even", bits=8, rule="even", source=_OCP),
    OcpScale(name="e8m0_rceil", bits=8, rule="rceil", source=_OCP),
    PowerScale(name="pot", bits=8, rule="nearest", source=_ZEROQUANT),
    PowerScale(name="pot_ceil", bits=8, rule="ceil", source=f"{_ZEROQUANT}, M1"),
    PowerScale(name="pot_floor", bits=8, rule="floor", source=_ZEROQUANT),
    StepScale(name="m2", bits=4, rule="nearest", source=_ZEROQUANT),
    StepScale(name="m2_ceil", bits=4, rule="ceil"),
    StepScale(name="m2_floor", bits=4, rule="floor"),
    BitmodMxScale(name="mxbm", bits=8, source="BitMoD's MX baseline"),
    E4m3Scale(name="e4m3", bits=8, source="NVFP4"),
    RoomyE4m3Scale(name="e4m3_256", bits=8, source="four over six, arXiv 2512.02010"),
    *(IntScale(name=f"int{b}", bits=b, source="VS-Quant") for b in range(2, 9)),
    *(PlaneScale(name=f"pot{k}", bits=8 * k, source="ShiftAddLLM") for k in (1, 2, 3)),
)
SCALES: Final[dict[str, ScaleFormat]] = {s.name: s for s in _LISTED}
