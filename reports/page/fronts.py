"""The trade-offs a report shows, and which points are on their Pareto fronts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..explore.accuracy import PROXIES
from ..explore.pareto import pareto_front
from .columns import ACCURACY
from .frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """Two columns set against each other; less is better in both."""

    name: str
    title: str
    x: str
    y: str


def accuracy_columns(frame: Frame) -> list[str]:
    """Return the measures of accuracy to chart: each row's most telling one, and no more."""
    found, bare = [], np.ones(frame.count, dtype=bool)
    for name in ACCURACY:
        known = np.isfinite(frame.numbers.get(name, np.full(frame.count, np.nan)))
        if (known & bare).any():
            found.append(name)
            bare &= ~known
    return found


def accuracy_column(frame: Frame) -> str | None:
    """Return the most telling measure of accuracy that the rows carry."""
    return next(iter(accuracy_columns(frame)), None)


NAMES = (
    *("accuracy_area", "accuracy_latency", "accuracy_edp"),
    *("proxy_area", "proxy_latency", "proxy_edp"),
    *("latency_area", "energy_latency", "energy_area"),
)
AREA, ENERGY, LATENCY, EDP = "area_um2.total", "energy_pj.total", "seconds", "edp_pj_s"
HELD = 1.25  # a column whose largest value is less than this above its smallest is held fixed


def tradeoffs(frame: Frame) -> tuple[Tradeoff, ...]:
    """Return the trade-offs to show: against accuracy where it varies, and area where it does."""
    energy = Tradeoff(name="energy_latency", title="Energy against latency", x=LATENCY, y=ENERGY)
    measures = [name for name in accuracy_columns(frame) if frame.varies(name)]
    if measures:
        several = len(measures) > 1
        first, *others = [t for name in measures for t in _accuracy(frame, name, several=several)]
        known: tuple[Tradeoff, ...] = (first, energy, *others)
    elif _held(frame, AREA):
        known = (energy,)
    else:
        known = (
            Tradeoff(name="latency_area", title="Latency against area", x=AREA, y=LATENCY),
            energy,
            Tradeoff(name="energy_area", title="Energy against area", x=AREA, y=ENERGY),
        )
    return tuple(t for t in known if t.x in frame.numbers and t.y in frame.numbers)


def _accuracy(frame: Frame, measure: str, *, several: bool) -> tuple[Tradeoff, ...]:
    """Return a measure of accuracy against area (latency where area is held) and energy × delay."""
    proxy = several and measure in PROXIES
    name, title = ("proxy", "Accuracy (a proxy)") if proxy else ("accuracy", "Accuracy")
    cost, x = ("latency", LATENCY) if _held(frame, AREA) else ("area", AREA)
    return (
        Tradeoff(name=f"{name}_{cost}", title=f"{title} against {cost}", x=x, y=measure),
        Tradeoff(name=f"{name}_edp", title=f"{title} against energy × delay", x=EDP, y=measure),
    )


def _held(frame: Frame, name: str) -> bool:
    """Whether a column stays nearly the same: a chart against it would show nothing."""
    values = frame.numbers.get(name, np.empty(0))
    values = values[np.isfinite(values)]
    return bool(len(values) > 1 and 0 < values.max() < HELD * values.min())


def shown(frame: Frame, tradeoff: Tradeoff) -> NDArray[np.bool_]:
    """Tell which rows a chart of a trade-off shows: those that have both values."""
    points = np.column_stack([frame.numbers[tradeoff.x], frame.numbers[tradeoff.y]])
    return np.asarray(np.isfinite(points).all(axis=1))


def on_front(frame: Frame, tradeoff: Tradeoff) -> NDArray[np.bool_]:
    """Tell which rows are on the front of a trade-off among the rows of their workload.

    Rows that lack one of the two values are on no front.
    """
    points = np.column_stack([frame.numbers[tradeoff.x], frame.numbers[tradeoff.y]])
    complete = shown(frame, tradeoff)
    mask = np.zeros(frame.count, dtype=bool)
    for group in frame.groups():
        rows = group[complete[group]]
        mask[rows] = pareto_front(points[rows])
    return mask
