"""Tables as the compiled kernels want them: float32 thresholds that already hold the tie rule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One codebook, ascending.

    Attributes
    ----------
    cuts : tuple of float32
        One between neighbouring values; the upper value is taken where ``y > cut``.
    values : tuple of float32
    codes : tuple of uint8
    top : float32
        Largest magnitude: what the absmax of a group is mapped to.
    zero, negative_zero : uint8
        Code of +0, and the code that negative values rounding to 0 get; equal where there is
        no -0.
    """

    cuts: tuple[np.float32, ...]
    values: tuple[np.float32, ...]
    codes: tuple[np.uint8, ...]
    top: np.float32
    zero: np.uint8
    negative_zero: np.uint8


def floor_float32(c: ArrayLike) -> NDArray[np.float32]:
    """Return the largest float32 that is at most each float64.

    Examples
    --------
    >>> float(floor_float32(0.1)) < 0.1
    True
    """
    exact = np.asarray(c, np.float64)
    near = exact.astype(np.float32)
    return np.asarray(np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near))


def cuts_of(values: NDArray[np.float64], tie_up: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return float32 cuts: ``y > cut`` says the same as comparing y with the exact midpoint.

    Parameters
    ----------
    values : (n,) float64
        Ascending.
    tie_up : (n - 1,) bool
        Whether a y on the midpoint goes to the upper value.
    """
    midpoints = (values[:-1] + values[1:]) / 2
    cut = floor_float32(midpoints)
    step_down = tie_up & (cut.astype(np.float64) == midpoints)
    return np.asarray(np.where(step_down, np.nextafter(cut, np.float32(-np.inf)), cut))


def make_book(
    values: ArrayLike, codes: ArrayLike, tie_up: ArrayLike, negative_zero: int | None = None
) -> Book:
    """Make a `Book` from ascending values, their codes and the tie rule of each midpoint.

    Parameters
    ----------
    values : (n,) float
        Distinct, ascending, finite.
    codes : (n,) int
        0..255.
    tie_up : (n - 1,) bool
    negative_zero : int, optional
        Code of -0, where there is one.
    """
    v = np.asarray(values, np.float64)
    at_zero = np.asarray(codes)[v == 0]
    zero = int(at_zero[0]) if at_zero.size else 0
    cut = cuts_of(v, np.asarray(tie_up, np.bool_))
    return Book(
        cuts=tuple(np.float32(c) for c in cut),
        values=tuple(np.float32(a) for a in v),
        codes=tuple(np.uint8(c) for c in np.asarray(codes)),
        top=np.float32(np.abs(v).max()),
        zero=np.uint8(zero),
        negative_zero=np.uint8(zero if negative_zero is None else negative_zero),
    )


def groups_of(k: int, group: int) -> int:
    """Return how many groups a row of ``k`` values has; the last may be short."""
    return -(-k // group) if k else 0
