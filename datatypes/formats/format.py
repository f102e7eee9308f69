"""A number format is a table: the values its codes stand for. Everything else is derived.

``encode`` is the nearest value under a named rule; floating-point tricks elsewhere are only a
faster way to the same table.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..base.errors import BitlatheError
from ..base.notebook import axes_of, frame, html
from ..base.numbers import whole_number
from ..terms.table import terms_of_format
from ..terms.term import Term
from . import casts
from .grid import MAX_BITS, Grid

MAX_MEMBERS = 256
_SHOWN = 64  # rows of a format's values in a notebook


@dataclass(frozen=True, slots=True, kw_only=True)
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
    thresholds : (n - 1,) float64 or None
        Where nearest rounding turns from a value to the next, for the n distinct finite values in
        ascending order: the largest float64 that is at most the threshold. None: half-way.
    ties : (n - 1,) bool or None
        Whether a threshold is that float64, so that a number on it is a tie; where not, such a
        number goes to the lower value. None: everywhere.
    per_byte : int
        Codes that are stored together in one byte, as digits of a number whose base is the count
        of codes in use: five of three codes, 1.6 bits each. 0: each code by itself.
    """

    name: str
    bits: int = field(compare=False)
    values: NDArray[np.float64] = field(compare=False)
    unused: tuple[int, ...] = field(default=(), compare=False)
    overflow_value: float | None = field(default=None, compare=False)
    source: str = field(default="", compare=False)
    thresholds: NDArray[np.float64] | None = field(default=None, compare=False)
    ties: NDArray[np.bool_] | None = field(default=None, compare=False)
    per_byte: int = 0
    grid: Grid = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            grid = Grid(
                bits=self.bits,
                by_code=self.values,
                unused=self.unused,
                overflow_value=self.overflow_value,
                thresholds=self.thresholds,
                ties=self.ties,
            )
        except BitlatheError as problem:
            raise BitlatheError(f"format {self.name!r}: {problem}") from None
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "values", grid.by_code)
        if self.per_byte:
            self._check_digits()

    def _check_digits(self) -> None:
        """Refuse digits that are not all codes from 0, or do not fit a byte."""
        whole_number(f"format {self.name!r}: per_byte", self.per_byte, 1, 8)
        base = (1 << self.bits) - len(self.unused)
        if self.unused != tuple(range(base, 1 << self.bits)):
            raise BitlatheError(f"format {self.name!r}: per_byte needs codes in use from 0 on")
        if base**self.per_byte > 256:
            raise BitlatheError(
                f"format {self.name!r}: per_byte: {self.per_byte} codes of {base} make "
                f"{base**self.per_byte} numbers; a byte has 256"
            )

    @property
    def digits(self) -> tuple[int, int] | None:
        """Base and count of the digits that a byte holds; None where each code has its own bits."""
        return ((1 << self.bits) - len(self.unused), self.per_byte) if self.per_byte else None

    def __repr__(self) -> str:
        finite = int(np.isfinite(self.values).sum())
        return f"Format({self.name!r}, {self.bits} bits, {finite} finite values)"

    def _repr_html_(self) -> str:
        facts = {"bits": self.bits, "largest": self.max, "least": self.min, "from": self.source}
        rows = self.rows()
        return html(f"Format {self.name}", facts, rows if len(rows) <= _SHOWN else [])

    def rows(self) -> list[dict[str, Any]]:
        """Return its codes, their bits and their values, a record each."""
        return [
            {"code": code, "binary": f"{code:0{self.bits}b}", "value": float(value)}
            for code, value in enumerate(self.values)
        ]

    def to_frame(self) -> Any:
        """Return a pandas data frame of codes and their values.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        return frame(self.rows())

    def plot(self, axes: Any = None) -> Any:
        """Draw the finite values on a number line; return the axes.

        Parameters
        ----------
        axes : matplotlib axes, optional
            Where to draw; new ones if left out.
        """
        axes = axes_of(axes, 1.3)
        finite = np.unique(self.values[np.isfinite(self.values)])
        axes.plot(finite, np.zeros(len(finite)), "|", color="#0072B2", markersize=18)
        axes.set(yticks=[], title=f"{self.name}: {len(finite)} values in {self.bits} bits")
        axes.spines[["top", "left", "right"]].set_visible(False)
        return axes

    @property
    def listed(self) -> tuple[Any, ...]:
        """Its values in code order, a list that is empty where there are too many; what else it is.

        What tells formats of one name and width apart: for keys of what is kept of a measure.
        """
        values = [] if self.bits > MAX_BITS else self.values.tolist()
        thresholds = () if self.thresholds is None else (self.thresholds.tolist(),)
        return values, *thresholds, *((self.per_byte,) if self.per_byte else ())

    @property
    def signed(self) -> bool:
        """Whether any value is negative."""
        return self.grid.signed

    @property
    def max(self) -> float:
        """Largest finite value."""
        return self.grid.max

    @property
    def min(self) -> float:
        """Smallest (most negative) finite value."""
        return self.grid.min

    @property
    def max_abs(self) -> float:
        """Largest finite magnitude: what an absmax scale maps the group's maximum to."""
        return self.grid.max_abs

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive value."""
        return self.grid.smallest_subnormal

    @property
    def nan_codes(self) -> tuple[int, ...]:
        """Codes that stand for NaN."""
        return self.grid.nan_codes

    @property
    def inf_codes(self) -> tuple[int, ...]:
        """Codes that stand for an infinity, plus before minus."""
        return self.grid.inf_codes

    @property
    def negative_zero(self) -> int | None:
        """Code of -0 where there is a +0 as well."""
        return self.grid.negative_zero

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Smallest unsigned dtype that holds a code."""
        return self.grid.code_dtype

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
        x : (...) array_like, real
        rounding : str
            Nearest with ties to the ``even`` code, ``away`` from zero, toward ``zero``,
            ``down`` or ``up``. For any value: ``floor`` (down), ``ceil`` (up), ``truncate``
            (toward zero), ``outward`` (away from zero), ``odd``, ``stochastic``.
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
        (...) unsigned integers, of `code_dtype`

        Raises
        ------
        BitlatheError
            Unknown rule; NaN where there is no NaN code; an overflow the format cannot express.

        Examples
        --------
        >>> from bitlathe.datatypes.formats.constructors import float_format
        >>> float_format(2, 1).encode([0.3, -2.4, 100.0]).tolist()
        [1, 12, 7]
        """
        return casts.encode(self.grid, x, rounding, overflow, nan, seed, name=self.name)

    def decode(self, codes: ArrayLike, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return the value of each code.

        Parameters
        ----------
        codes : (...) array_like of int
        dtype : numpy dtype
            Of the result, float64 by default.

        Raises
        ------
        BitlatheError
            Raised if a code is outside the table.
        """
        return casts.decode(self.grid, codes, np.dtype(dtype), self.name)

    def round(
        self,
        x: ArrayLike,
        rounding: str = "even",
        overflow: str = "saturate",
        nan: str = "raise",
        seed: int | None = None,
    ) -> NDArray[np.float64]:
        """Return the value nearest each element: ``decode(encode(x, ...))``.

        Parameters
        ----------
        x : (...) array_like, real
        rounding, overflow, nan, seed
            See `encode`.

        Returns
        -------
        (...) float64

        Raises
        ------
        BitlatheError
            See `encode`.
        """
        return self.decode(self.encode(x, rounding, overflow, nan, seed))

    def terms(self, code: int) -> list[Term]:
        """Return the bit-serial terms (sign, exp, bsig) of one code, zero terms left out.

        Where a format spans more than the fixed point of a bit-serial PE (NF4, FP8), they are those
        of the value rounded to it, and small values have none. `terms.table.term_table` states the
        unit, and in ``exact`` and ``max_error`` what is lost.

        Raises
        ------
        BitlatheError
            Raised if the code is outside the table, or the format too wide for a bit-serial PE.
        """
        c = casts.checked_codes(self.grid, code, self.name)
        if c.ndim:
            raise BitlatheError(f"format {self.name!r}: terms are those of one code, got {c.shape}")
        return list(terms_of_format(self)[int(c)])


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

        if len({f.digits for f in self.formats}) != 1:
            raise BitlatheError(
                f"mixture {self.name!r}: members must be packed alike; their per_byte differ"
            )

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self.formats[0].bits

    @property
    def digits(self) -> tuple[int, int] | None:
        """See `Format.digits`."""
        return self.formats[0].digits

    @property
    def selector_bits(self) -> int:
        """Bits a group spends on saying which member it took."""
        return (len(self.formats) - 1).bit_length()
