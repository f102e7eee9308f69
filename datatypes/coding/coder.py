"""What a coder is: how codes are found, what they stand for, what a bit-serial PE sees of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What `kernels.streams.dequantize.dequantize` takes of a tensor; see there."""

    tables: Floats
    scales: Floats
    choices: NDArray[Any] | None = None
    zeros: NDArray[Any] | None = None
    pairs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """The numbers that a bit-serial PE is fed for some groups of a tensor, in units of the scale.

    Attributes
    ----------
    values : (n,) float64
        Every number there may be.
    places : callable
        Takes the (k, size) codes of a slice of groups, returns places among `values`.
    bits : int or None
        Width of the format whose values they are; None for integers as they stand.
    groups : (groups,) bool or None
        The groups; None for all.
    occurring : bool
        Whether only values that occur make up the grid, beside 0 and 1.
    """

    values: NDArray[np.float64]
    places: Callable[[Codes, slice], NDArray[np.integer[Any]]]
    bits: int | None = None
    groups: NDArray[np.bool_] | None = None
    occurring: bool = False


def no_kernel(_: Job) -> None:
    """Return None: no kernel codes a whole job."""


def stored_scales(coded: Coded) -> Floats:
    """Return the (groups,) scales that stored patterns stand for."""
    scheme, raw = coded.scheme, coded.scales[:, 0]
    grid = scheme.formats[0].grid
    return scheme.scale_format.read(raw, coded.outer_scales, grid, coded.layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coder:
    """One way to code groups of numbers.

    Attributes
    ----------
    encode : callable
        Codes a job, in numpy and the kernels of its searches.
    values : callable
        ``values(coded, codes, scales, dtype)``: what (groups, size) codes stand for under the
        scales as used, one rounding to the dtype each.
    tables : callable
        ``tables(coded, scales, dtype)``: the same for the compiled kernel.
    integers : callable or None
        What a bit-serial PE sees of a tensor; None where it sees no terms.
    ends : callable
        Of a scheme: the largest magnitude a code stands for, in scales, and in steps of the end of
        the grid.
    compiled : callable
        Codes a large job with one kernel; returns None where no kernel fits.
    scales : callable
        Scales as used, (groups,), or (groups, planes) for sums of signed scales.
    own_rounding : bool
        Whether it has its own rounding rule and takes no rounding mode.
    measures_outputs : bool
        Whether its searches can measure the outputs of a layer whose inputs are known.
    searches : bool
        Whether a search finds scales, so that they depend on more than the ends of a group.
    outer_is_step : bool
        Whether the second-level scale of a row is the step of its integer scales, not the largest.
    through_half : bool
        Whether values are rounded to float16.
    has_tables : bool
        Whether the compiled kernel makes its values.
    """

    encode: Callable[[Job], Coded]
    values: Callable[[Coded, Codes, Floats, np.dtype[Any]], Floats]
    tables: Callable[[Coded, Floats, np.dtype[Any]], Tables]
    integers: Callable[[Coded], list[Integers]] | None
    ends: Callable[[Scheme], tuple[float, float]]
    compiled: Callable[[Job], Coded | None] = no_kernel
    scales: Callable[[Coded], Floats] = stored_scales
    own_rounding: bool = False
    measures_outputs: bool = True
    searches: bool = False
    outer_is_step: bool = False
    through_half: bool = False
    has_tables: bool = True


def integer_ends(scheme: Scheme) -> tuple[float, float]:
    """Return the ends of unsigned integers: the largest code, as magnitude and as steps."""
    top = float((1 << scheme.element_bits) - 1)
    return top, top
