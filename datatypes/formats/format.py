"""A number format is a table: the values its codes stand for. Everything else is derived.

``encode`` is the nearest value under a named rule; floating-point tricks elsewhere are only a
faster way to the same table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..base.arrays import as_float, check_whole, flat_numbers, is_torch
from ..base.errors import BitlatheError, unknown_name
from . import rounding as rd

if TYPE_CHECKING:
    from ..terms.terms import Term

MAX_BITS = 16
MAX_MEMBERS = 256
# powers of two that float64 holds with room for products and sums
MAX_POWER = 500
MAX_EXPONENT_BITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class GridTable:
    """The finite values of a format, ascending and distinct, as the rounding code wants them.

    Attributes
    ----------
    values : (n,) float64
    codes : (n,) int64
        Code of each value (that of +0 for zero).
    midpoints : (n - 1,) float64
        The largest float64 at most half-way between neighbours.
    exact : (n - 1,) bool
        Whether a midpoint is half-way itself; no float64 is where it is not.
    """

    values: NDArray[np.float64]
    codes: NDArray[np.int64]
    midpoints: NDArray[np.float64]
    exact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Format:
    """A finite set of values, by code.

    Attributes
    ----------
    name : str
    bits : int
        Width of a code; the table has ``2**bits`` entries.
    values : (2**bits,) float64
        Value of each code, in code order. NaN marks a NaN code or an unused one.
    unused : tuple of int
        The codes that stand for nothing (NaN in `values`, but not a NaN).
    overflow_value : float or None
        Magnitude at which the next value above `max` would lie if the format went on; the
        threshold of overflow is half-way to it. None, and at the lower end of an unsigned format:
        one more step like that at the end.
    source : str
        Where the grid comes from.
    """

    name: str
    bits: int
    values: NDArray[np.float64]
    unused: tuple[int, ...] = ()
    overflow_value: float | None = None
    source: str = ""
    table: GridTable = field(init=False, repr=False)
    negative_zero: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = flat_numbers(self.values, f"format {self.name!r}").copy()
        check_whole(f"format {self.name!r}: bits", self.bits, 1, MAX_BITS)
        if values.shape != (1 << self.bits,):
            raise BitlatheError(
                f"format {self.name!r}: {values.size} values given, {self.bits} bits have "
                f"{1 << self.bits} codes; mark spare codes with NaN"
            )
        values.flags.writeable = False
        codes = np.flatnonzero(np.isfinite(values))
        if codes.size == 0:
            raise BitlatheError(f"format {self.name!r}: no finite value")
        minus_zero = [int(c) for c in codes if values[c] == 0 and np.signbit(values[c])]
        plus_zero = any(values[c] == 0 and not np.signbit(values[c]) for c in codes)
        if plus_zero:
            codes = codes[~((values[codes] == 0) & np.signbit(values[codes]))]
        order = np.argsort(values[codes], kind="stable")
        distinct, first = np.unique(values[codes[order]], return_index=True)
        kept = codes[order][first].astype(np.int64)
        midpoints, exact = rd.half_way(distinct)
        table = GridTable(values=distinct, codes=kept, midpoints=midpoints, exact=exact)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "table", table)
        object.__setattr__(
            self, "negative_zero", minus_zero[0] if minus_zero and plus_zero else None
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Format):
            return NotImplemented
        return (self.name, self.bits) == (other.name, other.bits) and (
            self.values.tobytes() == other.values.tobytes()
        )

    def __hash__(self) -> int:
        # equal formats have equal names; the values of 16 bits are many
        return hash((self.name, self.bits))

    @property
    def signed(self) -> bool:
        """Whether any value is negative."""
        return bool(self.table.values[0] < 0)

    @property
    def max(self) -> float:
        """Largest finite value."""
        return float(self.table.values[-1])

    @property
    def min(self) -> float:
        """Smallest (most negative) finite value."""
        return float(self.table.values[0])

    @property
    def max_abs(self) -> float:
        """Largest finite magnitude: what an absmax scale maps the group's maximum to."""
        return max(abs(self.max), abs(self.min))

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive value."""
        positive = self.table.values[self.table.values > 0]
        return float(positive[0]) if positive.size else float("nan")

    @property
    def nan_codes(self) -> tuple[int, ...]:
        """Codes that stand for NaN."""
        missing = np.flatnonzero(np.isnan(self.values))
        return tuple(int(c) for c in missing if int(c) not in self.unused)

    @property
    def inf_codes(self) -> tuple[int, ...]:
        """Codes that stand for an infinity, plus before minus."""
        return tuple(int(c) for c in np.flatnonzero(np.isinf(self.values)))

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Smallest unsigned dtype that holds a code."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    def encode(
        self,
        x: ArrayLike,
        rounding: str = "even",
        overflow: str = "saturate",
        nan: str = "raise",
        seed: int | None = None,
    ) -> NDArray[Any]:
        """Return the code of the value nearest each element, under a named rule.

        Parameters
        ----------
        x : array_like, any shape, real
        rounding : str
            Nearest with ties to the ``even`` code, ``away`` from zero, toward ``zero``,
            ``down`` or ``up``; or ``truncate`` (toward zero), ``odd``, ``stochastic``.
        overflow : str
            What a value that rounds beyond the grid becomes: ``saturate``, ``inf``, ``nan`` or
            ``raise``.
        nan : str
            ``raise`` refuses NaN and infinity, naming the first index. ``propagate`` gives NaN
            the NaN code and hands infinities to `overflow`.
        seed : int, optional
            For ``stochastic``.

        Returns
        -------
        unsigned integers of the shape of x

        Raises
        ------
        BitlatheError
            Unknown rule; NaN where there is no NaN code; an overflow the format cannot express.

        Examples
        --------
        >>> from bitlathe.datatypes.formats.catalogue import format
        >>> format("fp4_e2m1").encode([0.3, -2.4, 100.0]).tolist()
        [1, 12, 7]
        """
        rd.check_rounding(rounding, seed)
        _check("overflow rule", overflow, rd.OVERFLOWS)
        _check("nan rule", nan, rd.NANS)
        from .casts import encode

        compiled = encode(self, x, rounding, overflow)
        if compiled is not None:
            return np.asarray(compiled)
        y = _as_float64(x, self.name)
        finite = np.isfinite(y)
        if nan == "raise":
            rd.refuse_nonfinite(y, self.name)
        safe = np.where(np.isnan(y), self.table.values[0], y)
        codes = self.table.codes[self._index(safe, rounding, seed)]
        if self.negative_zero is not None:
            codes = np.where(np.signbit(y) & (self.values[codes] == 0), self.negative_zero, codes)
        if overflow != "saturate":
            codes = self._overflowed(safe, codes, rounding, overflow)
        if not finite.all():
            codes = self._with_nan(y, codes)
        return np.asarray(codes.astype(self.code_dtype))[()]

    def decode(self, codes: ArrayLike, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return the value of each code.

        Parameters
        ----------
        codes : array_like of int, any shape
        dtype : numpy dtype
            Of the result, float64 by default.

        Raises
        ------
        BitlatheError
            If a code is outside the table.
        """
        from .casts import decode

        c = self._codes(codes)
        compiled = decode(self, c, np.dtype(dtype))
        if compiled is not None:
            return np.asarray(compiled)
        return np.asarray(self.values.astype(dtype)[c.astype(np.intp)])[()]

    def round(
        self,
        x: ArrayLike,
        rounding: str = "even",
        overflow: str = "saturate",
        nan: str = "raise",
        seed: int | None = None,
    ) -> NDArray[np.float64]:
        """Return the value nearest each element: ``decode(encode(x, ...))``."""
        return self.decode(self.encode(x, rounding, overflow, nan, seed))

    def terms(self, code: int) -> "list[Term]":
        """Return the bit-serial terms (sign, exp, bsig) of one code, zero terms left out.

        They are those of the value rounded to the fixed point of a bit-serial PE where a format
        spans more than that holds (NF4, FP8): small values then have none. `terms.term_table`
        tells the unit, and in ``exact`` and ``max_error`` what is lost.

        Raises
        ------
        BitlatheError
            If the code is outside the table, or the format too wide for a bit-serial PE.
        """
        from ..terms.terms import terms_of_format

        c = self._codes(code)
        if c.ndim:
            raise BitlatheError(f"format {self.name!r}: terms are those of one code, got {c.shape}")
        return list(terms_of_format(self)[int(c)])

    @property
    def integer_grid(self) -> bool:
        """Whether every value is an integer code as it stands (INT and UINT formats)."""
        v = self.table.values
        return bool(v.size > 1 and (np.diff(v) == 1).all() and (v == np.rint(v)).all())

    def overflows(self, x: NDArray[Any], rounding: str = "even") -> NDArray[np.bool_]:
        """Return which of finite values round past an end of the grid."""
        y = x.astype(np.float64)
        return self._beyond(y, rounding, -1) | self._beyond(y, rounding, 0)

    def tie_up(self, rounding: str) -> NDArray[np.bool_]:
        """Return, for each midpoint of `table`, whether a value on it goes to the upper one."""
        return self.table.exact & rd.tie_goes_up(self.table.values, self.table.codes, rounding)

    def _codes(self, codes: ArrayLike) -> NDArray[Any]:
        """Return codes as an array; what is outside the table is refused."""
        top = self.values.size - 1
        try:
            c = np.asarray(codes)
        except (TypeError, ValueError):
            c = np.asarray(None)
        if c.size and c.dtype.kind not in "iu":
            raise BitlatheError(
                f"format {self.name!r}: codes must be integers 0..{top}, got "
                f"{type(codes).__name__ if c.dtype.kind == 'O' else c.dtype}"
            )
        if c.size and (c.min() < 0 or c.max() > top):
            raise BitlatheError(
                f"format {self.name!r}: codes must be integers 0..{top}, got {c.dtype} from "
                f"{c.min()} to {c.max()}"
            )
        return c

    def _index(self, y: NDArray[np.float64], rounding: str, seed: int | None) -> NDArray[np.int64]:
        t = self.table
        if rounding == "stochastic":
            return rd.stochastic_index(y, t.values, seed)
        if rounding in rd.DIRECTED:
            return rd.directed_index(y, t.values, t.codes, rounding)
        return rd.nearest_index(y, t.midpoints, self.tie_up(rounding))

    def _beyond(self, y: NDArray[np.float64], rounding: str, end: int) -> NDArray[np.bool_]:
        """Say which y round past the grid's upper (end = -1) or lower (end = 0) end."""
        values = self.table.values
        sign = 1.0 if end == -1 else -1.0
        edge = sign * values[end]
        inner = values[-2] if end == -1 else values[min(1, values.size - 1)]
        following = edge + (abs(values[end] - inner) if values.size > 1 else 1.0)
        # an overflow value is that of magnitudes: an unsigned grid has none at its lower end
        if self.overflow_value is not None and (end == -1 or self.signed):
            following = self.overflow_value
        magnitude = sign * y
        if rounding in ("truncate", "odd"):
            return np.isinf(magnitude) & (magnitude > 0)
        half = (edge + following) / 2
        tie_leaves = {
            "even": bool(self.table.codes[end] % 2),
            "away": True,
            "zero": False,
            "down": end == 0,
            "up": end == -1,
        }.get(rounding, False)
        return np.asarray((magnitude > half) | ((magnitude == half) & tie_leaves))

    def _overflowed(
        self, y: NDArray[np.float64], codes: NDArray[np.int64], rounding: str, overflow: str
    ) -> NDArray[np.int64]:
        above = self._beyond(y, rounding, -1)
        below = self._beyond(y, rounding, 0)
        if not (above.any() or below.any()):
            return codes
        if overflow == "raise":
            where = np.unravel_index(int(np.argmax(above | below)), y.shape)
            raise BitlatheError(
                f"format {self.name!r}: {y[where]} at index {tuple(int(i) for i in where)} is "
                f'beyond {self.min:g}..{self.max:g}; scale it, or pass overflow="saturate"'
            )
        if overflow == "nan":
            return np.where(above | below, self._nan_codes_for(y), codes)
        plus = [c for c in self.inf_codes if self.values[c] > 0]
        minus = [c for c in self.inf_codes if self.values[c] < 0]
        if (above.any() and not plus) or (below.any() and not minus):
            raise BitlatheError(
                f'format {self.name!r} has no infinity for overflow="inf"; use "saturate"'
                + (', or "nan"' if self.nan_codes else "")
            )
        codes = np.where(above, plus[0] if plus else 0, codes)
        return np.where(below, minus[0] if minus else 0, codes)

    def _nan_codes_for(self, y: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the NaN code with the sign of each y (the quiet one of all ones if any)."""
        nans = self.nan_codes
        if not nans:
            raise BitlatheError(
                f'format {self.name!r} has no NaN: clean the input, or choose overflow="saturate"'
            )
        sign_bit = 1 << (self.bits - 1)
        plus = [c for c in nans if not c & sign_bit] or list(nans)
        minus = [c for c in nans if c & sign_bit] or list(nans)
        return np.where(np.signbit(y), quiet(minus), quiet(plus)).astype(np.int64)

    def _with_nan(self, y: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
        bad = np.isnan(y)
        return np.where(bad, self._nan_codes_for(y), codes) if bad.any() else codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Several formats of one width; each group takes the one with the least error.

    Attributes
    ----------
    name : str
    formats : tuple of Format
        In the order of the search: the first wins among equals, another must be strictly better.
    source : str
    """

    name: str
    formats: tuple[Format, ...]
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if len(self.formats) > MAX_MEMBERS:
            raise BitlatheError(
                f"mixture {self.name!r}: {len(self.formats)} members, must be at most "
                f"{MAX_MEMBERS}: a group says in a byte which one it took"
            )
        widths = sorted({f.bits for f in self.formats})
        if len(widths) != 1:
            raise BitlatheError(
                f"mixture {self.name!r}: members must share one width, got {widths or 'no members'}"
            )

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self.formats[0].bits

    @property
    def selector_bits(self) -> int:
        """Bits a group spends on saying which member it took."""
        return (len(self.formats) - 1).bit_length()


def quiet(codes: Sequence[int]) -> int:
    """Return the quiet NaN among NaN codes: the smallest whose top mantissa bit is set."""
    if len(codes) == 1:
        return codes[0]
    span = max(codes) ^ min(codes)
    top = 1 << (span.bit_length() - 1) if span else 0
    return min((c for c in codes if c & top), default=codes[0])


def int_format(
    bits: int, signed: bool = True, full: bool = False, name: str = "", source: str = ""
) -> Format:
    """Make an integer format in two's complement (or unsigned).

    Parameters
    ----------
    bits : int
        2..16 signed, 1..16 unsigned.
    signed : bool
    full : bool
        Keep -2**(bits-1). By default the range is symmetric, +-(2**(bits-1) - 1), and that code
        is unused.
    name, source : str, optional

    Examples
    --------
    >>> int_format(3).values.tolist()
    [0.0, 1.0, 2.0, 3.0, nan, -3.0, -2.0, -1.0]
    """
    check_whole("int_format: bits", bits, 2 if signed else 1, MAX_BITS)
    codes = np.arange(1 << bits, dtype=np.float64)
    unused: tuple[int, ...] = ()
    if signed:
        codes[codes >= 1 << (bits - 1)] -= 1 << bits
        if not full:
            codes[1 << (bits - 1)] = np.nan
            unused = (1 << (bits - 1),)
    return Format(
        name=name or f"{'int' if signed else 'uint'}{bits}",
        bits=bits,
        values=codes,
        unused=unused,
        source=source,
    )


def float_format(
    e: int,
    m: int,
    bias: int | None = None,
    specials: str = "none",
    signed: bool = True,
    name: str = "",
    source: str = "",
) -> Format:
    """Make a binary floating-point format with subnormals.

    Value of code (s, E, M): ``(-1)**s * 2**(1 - bias) * M / 2**m`` for E = 0, else
    ``(-1)**s * 2**(E - bias) * (1 + M / 2**m)``.

    Parameters
    ----------
    e, m : int
        Exponent bits (1..9) and mantissa bits (>= 0).
    bias : int, optional
        ``2**(e-1) - 1``; one more for ``fnuz``.
    specials : str
        ``none``: every code is finite. ``ieee``: the top exponent holds infinities and NaN.
        ``fn``: only the code of all ones is NaN, no infinity. ``fnuz``: the code of -0 is NaN.
    signed : bool
    name, source : str

    Examples
    --------
    >>> float_format(2, 1).values[:8].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    _check("specials", specials, ("none", "ieee", "fn", "fnuz"))
    check_whole("float_format: e", e, 1, MAX_EXPONENT_BITS)
    check_whole("float_format: m", m, 0, MAX_BITS)
    bits = e + m + signed
    if bits > MAX_BITS:
        raise BitlatheError(f"float_format: e={e}, m={m} come to more than {MAX_BITS} bits")
    shift = (1 << (e - 1)) - 1 + (specials == "fnuz") if bias is None else bias
    check_whole("float_format: bias", shift, (1 << e) - MAX_POWER, MAX_POWER - m)
    codes = np.arange(1 << (e + m), dtype=np.int64)
    exponent, mantissa = codes >> m, codes & ((1 << m) - 1)
    significand = np.where(exponent == 0, mantissa, mantissa + (1 << m)).astype(np.float64)
    magnitude = np.ldexp(significand, (np.maximum(exponent, 1) - shift - m).astype(np.int32))
    overflow_value = float(np.ldexp(1.0, (1 << e) - shift))
    if specials == "ieee":
        top = exponent == (1 << e) - 1
        overflow_value = float(np.ldexp(1.0, (1 << e) - 1 - shift))
        magnitude = np.where(top, np.where(mantissa == 0, np.inf, np.nan), magnitude)
    elif specials == "fn":
        overflow_value = float(magnitude[-1])
        magnitude[-1] = np.nan
    values = np.concatenate([magnitude, -magnitude]) if signed else magnitude
    if specials == "fnuz":
        values[1 << (e + m)] = np.nan
    suffix = {"none": "", "ieee": "_ieee", "fn": "fn", "fnuz": "fnuz"}[specials]
    return Format(
        name=name or f"fp{bits}_e{e}m{m}{suffix}",
        bits=bits,
        values=values,
        overflow_value=overflow_value,
        source=source,
    )


def codebook(
    name: str, values: Iterable[float], bits: int | None = None, source: str = ""
) -> Format:
    """Make a format from a list of values in code order; spare codes are left unused.

    Examples
    --------
    >>> codebook("ternary", [0, 1, -1]).bits
    2
    """
    given = flat_numbers(values, f"codebook {name!r}")
    if not given.size:
        raise BitlatheError(f"codebook {name!r}: give at least one value")
    if not np.isfinite(given).all():
        place = int(np.argmin(np.isfinite(given)))
        raise BitlatheError(f"codebook {name!r}: value {place} is {given[place]}, not a number")
    width = max(1, (given.size - 1).bit_length()) if bits is None else bits
    check_whole(f"codebook {name!r}: bits", width, 1, MAX_BITS)
    if given.size > 1 << width:
        raise BitlatheError(f"codebook {name!r}: {given.size} values do not fit {width} bits")
    table = np.full(1 << width, np.nan)
    table[: given.size] = given
    return Format(
        name=name,
        bits=width,
        values=table,
        unused=tuple(range(given.size, 1 << width)),
        source=source,
    )


def sign_magnitude(name: str, magnitudes: Sequence[float], source: str = "") -> Format:
    """Make a signed format from magnitudes by code; the sign is the top bit, -0 stays -0."""
    values = flat_numbers(magnitudes, f"format {name!r}")
    bits = (values.size - 1).bit_length() + 1
    if values.size != 1 << (bits - 1):
        raise BitlatheError(f"format {name!r}: {values.size} magnitudes are not a power of two")
    return Format(name=name, bits=bits, values=np.concatenate([values, -values]), source=source)


def with_special(fmt: Format, value: float, name: str = "") -> Format:
    """Add a value to a format in the code of -0, or else in its first unused code.

    Examples
    --------
    >>> with_special(float_format(2, 0), 6.0).values.tolist()
    [0.0, 1.0, 2.0, 4.0, 6.0, -1.0, -2.0, -4.0]
    """
    if not np.isfinite(flat_numbers([value], "with_special")).all():
        raise BitlatheError(f"with_special: {value} is not a finite value")
    code = fmt.negative_zero
    if code is None:
        if not fmt.unused:
            raise BitlatheError(
                f"with_special: format {fmt.name!r} has neither a -0 nor an unused code to spare"
            )
        code = fmt.unused[0]
    values = fmt.values.copy()
    values[code] = value
    return Format(
        name=name or f"{fmt.name}{value:+g}",
        bits=fmt.bits,
        values=values,
        unused=tuple(c for c in fmt.unused if c != code),
        source=fmt.source,
    )


def _check(kind: str, name: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if name not in known:
        raise BitlatheError(unknown_name(kind, name, known))


def _as_float64(x: Any, name: str) -> NDArray[np.float64]:
    if is_torch(x):
        return as_float(x, f"format {name!r}")[0].astype(np.float64)
    try:
        a = np.asarray(x)
        if a.dtype.kind in "USc":
            raise TypeError
        return a.astype(np.float64)
    except (TypeError, ValueError):
        kind = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise BitlatheError(f"format {name!r}: numbers expected, got {kind}") from None
