"""What a way to store scales is: the base of the records in `schemes.scales`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..formats.grid import Grid
from .layout import Layout
from .patterns import LAYOUTS, Floats, Raw

OUTER_BITS: Final = {"none": 0, "row": 16, "tensor": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFormat(ABC):
    """How the scale of a group is stored.

    Attributes
    ----------
    name : str
        As written after ``/`` in a scheme string.
    bits : int
        Bits of one stored scale.
    rule : str
        Rounding of the exponent: ``floor``, ``ceil``, ``even``, ``rceil`` or ``nearest``.
    source : str
    kind : str
        One for each class of record below.
    outer : str
        Where the second-level scale lives: ``none``, ``row`` (one fp16 per row of groups) or
        ``tensor`` (one fp32).
    power : bool
        Whether a scale is a power of two.
    """

    name: str
    bits: int
    rule: str = ""
    source: str = ""
    kind: ClassVar[str]
    outer: ClassVar[str] = "none"
    power: ClassVar[bool] = False

    @property
    def outer_bits(self) -> int:
        """Bits of one second-level scale."""
        return OUTER_BITS[self.outer]

    @property
    def shared(self) -> bool:
        """Whether the scales of different rows hang on one another."""
        return self.outer == "tensor"

    @property
    def nan_pattern(self) -> int | None:
        """The bit pattern by which a stored scale says NaN; None if there is no such pattern."""
        return None

    @property
    @abstractmethod
    def _stored_in(self) -> str:
        """What a scale that is too large does not fit, for errors."""

    @property
    def narrow(self) -> bool:
        """Whether scales stored as bf16 or fp32 would reach further."""
        return self.name == "fp16" or self.outer == "row"

    def fits(self, real: Floats, amax: Floats, grid: Grid) -> NDArray[np.bool_]:
        """Return which (groups,) scales can be stored without overflow; arguments as of `store`."""
        finite = np.isfinite(real) & np.isfinite(amax)
        with np.errstate(over="ignore"):  # of float32, that of fp32 is infinity
            return np.asarray(finite & (real < real.dtype.type(self._limit(grid))))

    def _limit(self, grid: Grid) -> float:
        """Return the smallest scale that is too large."""
        del grid
        return LAYOUTS["fp16"].limit

    def store(self, real: Floats, amax: Floats, grid: Grid, layout: Layout) -> tuple[Raw, Raw]:
        """Return the bit patterns of the scales and of the second-level scales.

        Parameters
        ----------
        real : (groups,) float
            Scale wanted: range of the group over that of the grid.
        amax : (groups,) float
            Range of the group itself, from which OCP rules take their exponent.
        grid : Grid
        layout : Layout

        Returns
        -------
        raw : (groups,) uint32
        outer : (0,), (1,) or (down,) uint32

        Raises
        ------
        BitlatheError
            Raised if a scale is too large for its format.
        """
        fit = self.fits(real, amax, grid)
        if not fit.all():
            at = int(np.argmin(fit))
            self.refuse(at, float(real[at]))
        return self._store(real, amax, grid, layout)

    def _store(self, real: Floats, amax: Floats, grid: Grid, layout: Layout) -> tuple[Raw, Raw]:
        """Do what `store` does, of scales that fit."""
        outer = np.zeros(0, np.uint32)
        return self._patterns(real, amax, self.tops(outer, layout), grid), outer

    def patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        """Return the patterns of scales that fit, under second-level scales that stand already.

        Parameters
        ----------
        real, amax : (n,) float
            As of `store`. What is beyond the largest pattern gets that one.
        tops : (n,) float32
            As `tops` returns them.
        grid : Grid

        Returns
        -------
        (n,) uint32
        """
        return self._patterns(real, amax, tops, grid)

    def _patterns(self, real: Floats, amax: Floats, tops: Floats, grid: Grid) -> Raw:
        """Do what `patterns` does."""
        raise NotImplementedError("a group has a scale for each of its bit planes")

    @property
    def every(self) -> Raw:
        """Every pattern of a positive scale, (n,), the largest scale first.

        Raises
        ------
        NotImplementedError
            Raised by floats of 16 bits and more, which are too many.
        """
        raise NotImplementedError(f"{self.name}: too many scales to try each")

    def read(self, raw: Raw, outer: Raw, grid: Grid, layout: Layout) -> NDArray[np.float32]:
        """Return the scales that stored patterns stand for.

        Parameters
        ----------
        raw : (groups,) uint32
        outer : (0,), (1,) or (down,) uint32
            As `store` returns them.
        grid : Grid
        layout : Layout

        Returns
        -------
        (groups,) float32
            NaN where a group was given up to NaN.
        """
        return self.scales(raw, self.tops(outer, layout), grid)

    def tops(self, outer: Raw, layout: Layout) -> NDArray[np.float32]:
        """Return the second-level scale above each of (groups,) groups; 1 where there is none."""
        del outer
        return np.ones(layout.groups, np.float32)

    def scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        """Return the scales of (n,) patterns under (n,) second-level scales; see `read`."""
        return self._scales(raw, tops, grid)

    def _scales(self, raw: Raw, tops: Floats, grid: Grid) -> NDArray[np.float32]:
        """Do what `scales` does."""
        raise NotImplementedError("a group has a scale for each of its bit planes")

    def refuse(self, group: int, value: float, wider: bool = True) -> NoReturn:
        """Raise the error of a scale that is too large to be stored.

        Parameters
        ----------
        group : int
        value : float
            The scale wanted.
        wider : bool
            Whether the scheme takes float scales.

        Raises
        ------
        BitlatheError
            Raised always.
        """
        remedy = "store scales as /bf16 or /fp32, or " if self.narrow and wider else ""
        raise BitlatheError(
            f"the scale of group {group}, {value:g}, does not fit {self._stored_in}; "
            f"{remedy}divide the tensor by a constant first"
        )
