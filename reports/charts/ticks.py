"""Ticks of charts: round numbers, few enough that their words do not run into each other."""

from collections.abc import Callable, Sequence
from math import ceil, floor, isfinite, log10

CHARACTER = 0.62  # width of a digit, as a share of the size of the type
GAP = 1.2  # room between two words, likewise

_STEPS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    tuple(k / 10 for k in range(10, 100, 2)),
)


def words_of(value: float) -> str:
    """Return a number for people.

    Examples
    --------
    >>> words_of(12500), words_of(0.25)
    ('12,500', '0.25')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` round numbers of a logarithmic scale, evenly chosen.

    Examples
    --------
    >>> log_ticks(90, 1100), log_ticks(24, 90)
    ([100.0, 200.0, 500.0, 1000.0], [25.0, 40.0, 60.0])
    """
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    best: list[float] = []
    for steps in _STEPS:
        found = [float(f"{s * 10.0**e:.6g}") for e in decades for s in steps]
        found = [v for v in found if low <= v <= high]
        if len(found) > most and len(best) >= 2:
            break
        best = found
        if len(best) >= most - 1:
            break
    return best if len(best) <= most else best[:: -(-len(best) // most)]


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` multiples of a round step (or two, where no step gives fewer).

    Examples
    --------
    >>> linear_ticks(0, 0.23), linear_ticks(-1, 1)
    ([0.0, 0.05, 0.1, 0.15, 0.2], [-1.0, -0.5, 0.0, 0.5, 1.0])
    """
    if not (isfinite(high - low) and high > low):
        return [low]
    power = 10.0 ** floor(log10((high - low) / max(most, 1)))
    for step in (power * s for s in (1, 2, 5, 10, 20, 50)):
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        if last - first < most:
            return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    return [low, high]


def fitting_ticks(
    low: float, high: float, *, log: bool, room: float, size: float = 9.0
) -> list[float]:
    """Return ticks of a horizontal axis whose words stay apart.

    Parameters
    ----------
    low, high : float
        Ends of the axis.
    log : bool
        Whether it is logarithmic.
    room : float
        Length of the axis in points.
    size : float
        Size of the type in points.

    Examples
    --------
    >>> fitting_ticks(5e3, 2e6, log=True, room=150)
    [10000.0, 100000.0, 1000000.0]
    >>> fitting_ticks(5e3, 2e6, log=True, room=110)
    [10000.0, 1000000.0]
    """
    make: Callable[[float, float, int], list[float]] = log_ticks if log else linear_ticks
    place: Callable[[float], float] = log10 if log else float
    length = place(high) - place(low)
    found: list[float] = []
    for most in (5, 4, 3, 2):
        found = make(low, high, most)
        if length <= 0 or apart([place(v) / length * room for v in found], found, size):
            return found
    return found if length <= 0 else [found[0], found[-1]][: 2 if len(found) > 1 else 1]


def apart(places: Sequence[float], values: Sequence[float], size: float) -> bool:
    """Whether the words of values, centered at places in points, leave room between them."""
    halves = [len(words_of(v)) * CHARACTER * size / 2 for v in values]
    return all(
        places[i + 1] - places[i] >= halves[i] + halves[i + 1] + GAP * size * 0.5
        for i in range(len(values) - 1)
    )
