"""Binary floating point as a record of facts: where the bits of a code go, and what follows."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPECIALS = ("none", "ieee", "fn", "fnuz")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatLayout:
    """A binary floating-point format with subnormals.

    Attributes
    ----------
    exponent_bits, mantissa_bits : int
    bias : int
    specials : str
        ``none``: every code is finite. ``ieee``: the top exponent holds infinities and NaN.
        ``fn``: only the code of all ones is NaN, no infinity. ``fnuz``: the code of -0 is NaN.
    signed : bool
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: str = "none"
    signed: bool = True

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self.exponent_bits + self.mantissa_bits + self.signed

    @property
    def top(self) -> int:
        """Code of the largest finite value."""
        beyond = {"ieee": 1 << self.mantissa_bits, "fn": 1}.get(self.specials, 0)
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1 - beyond

    @property
    def max(self) -> float:
        """Largest finite value."""
        return self._magnitude(self.top)

    @property
    def overflow_value(self) -> float:
        """Where the value after `max` would lie."""
        return self._magnitude(self.top + 1)

    def _magnitude(self, code: int) -> float:
        exponent, mantissa = divmod(code, 1 << self.mantissa_bits)
        hidden = (exponent > 0) << self.mantissa_bits
        power = max(exponent, 1) - self.bias - self.mantissa_bits
        return math.ldexp(hidden + mantissa, power)

    @property
    def quiet_nan(self) -> int | None:
        """Code of the quiet NaN without a sign; None where there is no NaN."""
        all_ones = (1 << (self.exponent_bits + self.mantissa_bits)) - 1
        payload = (1 << max(self.mantissa_bits - 1, 0)) - 1
        codes = {"ieee": all_ones & ~payload, "fn": all_ones, "fnuz": all_ones + 1}
        return codes.get(self.specials)

    @property
    def limit(self) -> float:
        """Half-way from `max` to `overflow_value`: from here on values round beyond the format."""
        return (self.max + self.overflow_value) / 2

    def values(self) -> NDArray[np.float64]:
        """Return the (2**bits,) values in code order."""
        e, m = self.exponent_bits, self.mantissa_bits
        codes = np.arange(1 << (e + m), dtype=np.int64)
        exponent, mantissa = codes >> m, codes & ((1 << m) - 1)
        significand = np.where(exponent == 0, mantissa, mantissa + (1 << m)).astype(np.float64)
        power = np.maximum(exponent, 1) - self.bias - m
        magnitude = np.ldexp(significand, power.astype(np.int32))
        if self.specials == "ieee":
            top = exponent == (1 << e) - 1
            magnitude = np.where(top, np.where(mantissa == 0, np.inf, np.nan), magnitude)
        elif self.specials == "fn":
            magnitude[-1] = np.nan
        values = np.concatenate([magnitude, -magnitude]) if self.signed else magnitude
        if self.specials == "fnuz":
            values[1 << (e + m)] = np.nan
        return values
