"""IEEE binary32 as a format: codes by arithmetic, as no table of its 2^32 values is kept.

It is the baseline that other formats are measured against. Where a table is needed (a scale over
it, bit-serial terms, kernels of books), it is refused in a sentence.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from . import rounding as rd
from .format import Format
from .grid import Bools, Floats, Grid

IEEE = "IEEE 754 binary32"
MAX = float(np.finfo(np.float32).max)
_SIGN = 1 << 31
_INFINITY = 0x7F800000
_QUIET_NAN = 0x7FC00000
_NEXT = 2.0**128  # where the next value above the largest would lie
# the ends of the grid, by which overflow is decided: the largest number and the one below it
_ENDS = np.array([MAX, float(np.nextafter(np.float32(MAX), np.float32(0)))])
COUNT = 2 * 255 * 2**23 - 1  # distinct finite values: two signs, one zero
# codes that show a format whose values are too many to list
LANDMARKS = (0, 1, 0x800000, 0x3F800000, 0x7F7FFFFF, _INFINITY, _QUIET_NAN, _SIGN, 0xBF800000)
_OF_TABLES = ("by_code", "values", "codes", "midpoints", "exact")


def _no_table(name: str) -> NoReturn:
    if name in _OF_TABLES:
        raise BitlatheError(
            "fp32 has 2^32 values, of which no table is kept: it is a baseline without scales and "
            "bit-serial terms; take fp16, bf16 or fewer bits"
        )
    raise AttributeError(name)


class Binary32(Grid):
    """The grid of float32: all facts of a `Grid` but its tables."""

    def __init__(self) -> None:
        facts = {"bits": 32, "unused": (), "overflow_value": _NEXT, "thresholds": None}
        for name, fact in {**facts, "ties": None, "negative_zero": _SIGN}.items():
            object.__setattr__(self, name, fact)

    def __getattr__(self, name: str) -> Any:
        """Refuse what would be a table."""
        _no_table(name)

    def __repr__(self) -> str:
        return "Binary32()"

    def _facts(self) -> tuple[Any, ...]:
        return ("binary32",)

    @property
    def max(self) -> float:
        """Largest finite value."""
        return MAX

    @property
    def min(self) -> float:
        """Smallest (most negative) finite value."""
        return -MAX

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive value."""
        return 2.0**-149

    @property
    def integers(self) -> bool:
        """Whether every value is an integer code as it stands: no."""
        return False

    @property
    def nan_codes(self) -> tuple[int, ...]:
        """The quiet NaNs of both signs; there are 2^24 - 4 more."""
        return _QUIET_NAN, _QUIET_NAN | _SIGN

    @property
    def inf_codes(self) -> tuple[int, ...]:
        """Codes that stand for an infinity, plus before minus."""
        return _INFINITY, _INFINITY | _SIGN

    @property
    def quiet_nans(self) -> tuple[int, int]:
        """The quiet NaN without and with the sign bit."""
        return _QUIET_NAN, _QUIET_NAN | _SIGN

    @property
    def top_mantissa_bits(self) -> int:
        """Mantissa bits in the top binade."""
        return 23

    @property
    def float_parameters(self) -> tuple[int, int, int]:
        """Exponent bits, mantissa bits and bias."""
        return 8, 23, 127

    def codes_of(self, y: Floats, rounding: str, seed: int | None = None) -> NDArray[np.int64]:
        """Return the (...) bits of the float32 that y, of any shape (...), rounds to."""
        inside = np.clip(y, -MAX, MAX)
        near = inside.astype(np.float32)
        wide = near.astype(np.float64)
        below, above = np.float32(-np.inf), np.float32(np.inf)
        with np.errstate(over="ignore"):  # of the largest number, which is not taken
            low = np.where(wide > inside, np.nextafter(near, below), near)
            high = np.where(wide < inside, np.nextafter(near, above), near)
        found = np.where(_goes_up(inside, low, high, rounding, seed), high, low)
        # a number that rounds to 0 keeps its sign
        found = np.where(found == 0, np.copysign(found, inside), found)
        bits = np.ascontiguousarray(found.astype(np.float32)).view(np.uint32)
        return bits.reshape(y.shape).astype(np.int64)

    def values_of(self, codes: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the values of (...) codes."""
        bits = np.ascontiguousarray(codes, np.uint32)
        with np.errstate(over="ignore"):  # beyond float16
            return bits.view(np.float32).astype(dtype).reshape(np.shape(codes))

    def above(self, y: Floats, rounding: str) -> Bools:
        """Return which y, of any shape (...), round past the upper end of the grid."""
        return self._beyond(y, rounding, _ENDS, 1, _NEXT)

    def below(self, y: Floats, rounding: str) -> Bools:
        """Return which y, of any shape (...), round past the lower end of the grid."""
        return self._beyond(-y, rd.MIRRORED.get(rounding, rounding), _ENDS, 1, _NEXT)


def _goes_up(
    y: Floats, low: NDArray[Any], high: NDArray[Any], rounding: str, seed: int | None
) -> Bools:
    """Return which y, of any shape, go to the upper of the two float32 around them.

    Both differences from y to its neighbors are exact in float64: neighbors have 24 digits, y 53.
    """
    down, up = low.astype(np.float64), high.astype(np.float64)
    rest, left = y - down, up - y
    if rounding == "stochastic":
        width = np.where(up > down, up - down, 1.0)
        return np.asarray(rd.draws_of(seed, y.shape) < rest / width)
    odd = np.ascontiguousarray(low).view(np.uint32).reshape(y.shape) % 2 == 1
    to_upper = {
        "floor": False,
        "ceil": True,
        "truncate": y < 0,
        "outward": y > 0,
        "odd": ~odd,
        "even": odd,
        "away": y > 0,
        "zero": y < 0,
        "down": False,
        "up": True,
    }[rounding]
    if rounding in rd.DIRECTED:
        return np.asarray((rest > 0) & to_upper)
    return np.asarray((rest > left) | ((rest == left) & to_upper))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WideFormat(Format):
    """A format whose grid is no table."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", Binary32())
        object.__delattr__(self, "values")

    def __getattr__(self, name: str) -> Any:
        """Refuse what would be a table."""
        _no_table(name)

    def __repr__(self) -> str:
        return f"Format({self.name!r}, 32 bits, {COUNT + 1} finite values)"

    def rows(self) -> list[dict[str, Any]]:
        """Return codes that stand for all, their bits and their values, a record each."""
        values = self.grid.values_of(np.array(LANDMARKS, np.uint32), np.dtype(np.float64))
        return [
            {"code": code, "binary": f"{code:032b}", "value": float(value)}
            for code, value in zip(LANDMARKS, values, strict=True)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return binary32, (self.name,)


def binary32(name: str = "fp32") -> Format:
    """Return the format of IEEE 754 binary32.

    Examples
    --------
    >>> hex(binary32().encode(1.0)), binary32().decode(0x40490FDB).item()
    ('0x3f800000', 3.1415927410125732)
    """
    return WideFormat(name=name, bits=32, values=np.zeros(0), overflow_value=_NEXT, source=IEEE)
