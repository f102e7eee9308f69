"""The grid of a format: what its codes stand for, and every fact that follows from that."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.arrays import flat_numbers
from ..base.errors import BitlatheError
from ..base.numbers import half_way, whole_number
from . import rounding as rd
from .floats import FloatLayout

if TYPE_CHECKING:
    from ..kernels.base.tables import Book

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_BITS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The values of a format, by code and in ascending order.

    Two grids are equal if every fact is: width, values bit for bit, unused codes, overflow value.

    Attributes
    ----------
    bits : int
        Width of a code.
    by_code : (2**bits,) float64
        Value of each code. NaN marks a NaN code or an unused one.
    unused : tuple of int
        The codes that stand for nothing (NaN in `by_code`, but not a NaN).
    overflow_value : float or None
        See `Format`.
    thresholds : (n - 1,) float64 or None
    ties : (n - 1,) bool or None
        See `Format`.
    values : (n,) float64
        The finite values, ascending and distinct.
    codes : (n,) int64
        Code of each of `values` (that of +0 for zero).
    midpoints : (n - 1,) float64
        The largest float64 at most half-way between neighbors; the thresholds where there are some.
    exact : (n - 1,) bool
        Whether a midpoint is half-way itself; no float64 is where it is not.
    negative_zero : int or None
        Code of -0 where there is a +0 as well.
    """

    bits: int
    by_code: Floats
    unused: tuple[int, ...] = ()
    overflow_value: float | None = None
    thresholds: Floats | None = None
    ties: Bools | None = None
    values: Floats = field(init=False, repr=False)
    codes: Ints = field(init=False, repr=False)
    midpoints: Floats = field(init=False, repr=False)
    exact: Bools = field(init=False, repr=False)
    negative_zero: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_code = flat_numbers(self.by_code, "values").copy()
        whole_number("bits", self.bits, 1, MAX_BITS)
        if by_code.shape != (1 << self.bits,):
            raise BitlatheError(
                f"{by_code.size} values given, {self.bits} bits have {1 << self.bits} codes; "
                "mark spare codes with NaN"
            )
        codes = np.flatnonzero(np.isfinite(by_code))
        if codes.size == 0:
            raise BitlatheError("no finite value")
        unused = np.asarray(self.unused)
        spare = np.flatnonzero(np.isnan(by_code))
        if unused.size and (unused.dtype.kind not in "iu" or not np.isin(unused, spare).all()):
            raise BitlatheError("unused codes must be codes whose value is NaN")
        zero = by_code[codes] == 0
        minus = zero & np.signbit(by_code[codes])
        both = bool(minus.any() and (zero & ~minus).any())
        negative_zero = int(codes[minus][0]) if both else None
        if both:
            codes = codes[~minus]
        values, first = np.unique(by_code[codes], return_index=True)
        midpoints, exact = self._thresholds(values)
        facts = {
            "by_code": by_code,
            "values": values,
            "codes": codes[first].astype(np.int64),
            "midpoints": midpoints,
            "exact": exact,
        }
        for name, array in facts.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "negative_zero", negative_zero)

    def _thresholds(self, values: Floats) -> tuple[Floats, Bools]:
        """Return midpoints and where they are exact, of the values or as they were given."""
        if self.thresholds is None:
            return half_way(values)
        given = flat_numbers(self.thresholds, "thresholds").astype(np.float64)
        exact = np.ones(given.shape, np.bool_) if self.ties is None else np.array(self.ties, bool)
        if given.shape != (values.size - 1,) or exact.shape != given.shape:
            raise BitlatheError(
                f"{given.size} thresholds given, {values.size} distinct values have "
                f"{values.size - 1} between them"
            )
        within = (values[:-1] <= given) & (given <= values[1:])
        if not within.all():
            at = int(np.argmin(within))
            raise BitlatheError(
                f"threshold {at} is {given[at]:g}, must lie from {values[at]:g} to "
                f"{values[at + 1]:g}, the values that it parts"
            )
        return given, exact

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self is other or (hash(self) == hash(other) and self._facts() == other._facts())

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[Any, ...]:
        own = b"" if self.thresholds is None else self.midpoints.tobytes() + self.exact.tobytes()
        return self.bits, self.unused, self.overflow_value, self.by_code.tobytes(), own

    @property
    def signed(self) -> bool:
        """Whether any value is negative."""
        return self.min < 0

    @property
    def max(self) -> float:
        """Largest finite value."""
        return float(self.values[-1])

    @property
    def min(self) -> float:
        """Smallest (most negative) finite value."""
        return float(self.values[0])

    @property
    def max_abs(self) -> float:
        """Largest finite magnitude: what an absmax scale maps the group's maximum to."""
        return max(abs(self.max), abs(self.min))

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive value."""
        positive = self.values[self.values > 0]
        return float(positive[0]) if positive.size else float("nan")

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Smallest unsigned dtype that holds a code."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def integers(self) -> bool:
        """Whether every value is an integer code as it stands (INT and UINT formats)."""
        v = self.values
        return bool(v.size > 1 and (np.diff(v) == 1).all() and (v == np.rint(v)).all())

    @cached_property
    def nan_codes(self) -> tuple[int, ...]:
        """Codes that stand for NaN."""
        missing = np.isnan(self.by_code)
        missing[np.array(self.unused, np.intp)] = False
        return tuple(np.flatnonzero(missing).tolist())

    @cached_property
    def inf_codes(self) -> tuple[int, ...]:
        """Codes that stand for an infinity, plus before minus."""
        return tuple(np.flatnonzero(np.isinf(self.by_code)).tolist())

    @cached_property
    def quiet_nans(self) -> tuple[int, int] | None:
        """The quiet NaN without and with the sign bit; None where there is no NaN."""
        nans, sign_bit = self.nan_codes, 1 << (self.bits - 1)
        if not nans:
            return None
        plus = [c for c in nans if not c & sign_bit] or nans
        minus = [c for c in nans if c & sign_bit] or nans
        return quiet(plus), quiet(minus)

    @cached_property
    def top_mantissa_bits(self) -> int:
        """Mantissa bits in the top binade: E2M1 has 1, E4M3 has 3."""
        floor = 2.0 ** float(np.frexp(self.max)[1] - 1)
        return (int((self.values >= floor).sum()) - 1).bit_length()

    @cached_property
    def float_parameters(self) -> tuple[int, int, int] | None:
        """Exponent bits, mantissa bits and bias of a signed binary float grid, else None.

        None as well without mantissa bits: the even code of a tie is not that of the even multiple.
        """
        return None if self.negative_zero is None else self._binary(self.bits - 1)

    @cached_property
    def unsigned_float_parameters(self) -> tuple[int, int, int] | None:
        """What `float_parameters` is of a signed grid, of one without a sign, such as UE4M3."""
        return None if self.signed else self._binary(self.bits)

    def _binary(self, bits: int) -> tuple[int, int, int] | None:
        """Return exponent bits, mantissa bits and bias of magnitudes of so many bits, or None."""
        mantissa = self.top_mantissa_bits
        exponent = bits - mantissa
        fraction, power = np.frexp(self.smallest_subnormal)
        if exponent < 1 or mantissa < 1 or float(fraction) != 0.5 or self.thresholds is not None:
            return None
        bias = 2 - mantissa - int(power)
        whole = FloatLayout(exponent_bits=exponent, mantissa_bits=mantissa, bias=bias).values()
        finite = np.isfinite(self.by_code)
        fits = np.array_equal(whole[: self.by_code.size][finite], self.by_code[finite])
        return (exponent, mantissa, bias) if fits else None

    def tie_up(self, rounding: str) -> Bools:
        """Return whether a number on each of the (n - 1,) midpoints goes to the upper neighbor."""
        found = self.exact & rd.tie_goes_up(self.values, self.codes, rounding)
        if self.thresholds is None:
            return found
        # a value stays what it is, also where it is a threshold
        stays = found & (self.midpoints != self.values[:-1])
        return np.asarray(stays | (self.midpoints == self.values[1:]))

    def book(self, rounding: str) -> "Book":
        """Return the grid as the compiled kernels want it, under a nearest rounding.

        Of a grid with its own thresholds they have no book.
        """
        return _book(self, rounding)

    def index(self, y: Floats, rounding: str, seed: int | None = None) -> Ints:
        """Return the place among `values` of what each y rounds to.

        Parameters
        ----------
        y : (...) float64
            Without NaN.
        rounding : str
            One of `rounding.ROUNDINGS`.
        seed : int, optional
            For ``stochastic``.

        Returns
        -------
        (...) int64
        """
        if rounding == "stochastic":
            return rd.stochastic_index(y, self.values, seed)
        if rounding in rd.DIRECTED:
            return rd.directed_index(y, self.values, self.codes, rounding)
        return rd.nearest_index(y, self.midpoints, self.tie_up(rounding))

    def codes_of(self, y: Floats, rounding: str, seed: int | None = None) -> Ints:
        """Return the (...) codes that y, of any shape and without NaN, rounds to; see `index`."""
        codes = self.codes[self.index(y, rounding, seed)]
        if self.negative_zero is None:
            return codes
        minus = np.signbit(y) & (self.by_code[codes] == 0)
        return np.where(minus, self.negative_zero, codes)

    def values_of(self, codes: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the values of (...) codes, rounded to a float dtype."""
        return np.asarray(self.by_code.astype(dtype)[codes.astype(np.intp)])

    def overflows(self, x: NDArray[Any], rounding: str = "even") -> Bools:
        """Return which of (...) finite values round past an end of the grid."""
        y = x.astype(np.float64)
        return self.above(y, rounding) | self.below(y, rounding)

    def above(self, y: Floats, rounding: str) -> Bools:
        """Return which y, of any shape (...), round past the upper end of the grid."""
        return self._beyond(y, rounding, self.values[::-1], self.codes[-1], self.overflow_value)

    def below(self, y: Floats, rounding: str) -> Bools:
        """Return which y, of any shape (...), round past the lower end of the grid."""
        # an overflow value is that of magnitudes: an unsigned grid has none at its lower end
        following = self.overflow_value if self.signed else None
        mirrored = rd.MIRRORED.get(rounding, rounding)
        return self._beyond(-y, mirrored, -self.values, self.codes[0], following)

    @staticmethod
    def _beyond(
        y: Floats, rounding: str, values: Floats, code: int, following: float | None
    ) -> Bools:
        """Return which y round past the first of descending values, whose code is given."""
        # IEEE 754, 7.4: a mode that rounds back to the largest number does not overflow
        if rounding in ("truncate", "floor", "odd"):
            return np.isposinf(y)
        edge = values[0]
        if rounding in ("ceil", "outward"):
            return np.asarray(y > edge)
        if following is None:
            following = edge + (edge - values[1] if values.size > 1 else 1.0)
        half = (edge + following) / 2
        tie_leaves = {"even": bool(code % 2), "away": True, "up": True}.get(rounding, False)
        return np.asarray((y > half) | ((y == half) & tie_leaves))


@lru_cache(maxsize=256)
def _book(grid: Grid, rounding: str) -> "Book":
    from ..kernels.base.tables import make_book  # loaded on use, as the kernels it is for

    return make_book(grid.values, grid.codes, grid.tie_up(rounding), grid.negative_zero)


def quiet(codes: Sequence[int]) -> int:
    """Return the quiet NaN among NaN codes: the smallest whose top mantissa bit is set."""
    if len(codes) == 1:
        return codes[0]
    span = max(codes) ^ min(codes)
    top = 1 << (span.bit_length() - 1) if span else 0
    return min((c for c in codes if c & top), default=codes[0])
