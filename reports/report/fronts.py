"""The trade-offs a report shows, and which points are on their Pareto fronts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..pareto import pareto_front
from .columns import ACCURACY
from .frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """Two columns set against each other; less is better in both."""

    name: str
    title: str
    x: str
    y: str


def accuracy_column(frame: Frame) -> str | None:
    """Return the measure of accuracy that the rows carry, the most telling one first."""
    for name in ACCURACY:
        if name in frame.numbers and np.isfinite(frame.numbers[name]).any():
            return name
    return None


def tradeoffs(frame: Frame) -> tuple[Tradeoff, ...]:
    """Return the trade-offs to show: against accuracy where it varies, else against area."""
    accuracy = accuracy_column(frame)
    energy = Tradeoff(
        name="energy_latency", title="Energy against latency", x="seconds", y="energy_pj.total"
    )
    if accuracy is not None and frame.varies(accuracy):
        known = (
            Tradeoff(
                name="accuracy_area",
                title="Accuracy against area",
                x="area_um2.total",
                y=accuracy,
            ),
            energy,
            Tradeoff(
                name="accuracy_edp",
                title="Accuracy against energy × delay",
                x="edp_pj_s",
                y=accuracy,
            ),
        )
    else:
        known = (
            Tradeoff(
                name="latency_area", title="Latency against area", x="area_um2.total", y="seconds"
            ),
            energy,
            Tradeoff(
                name="energy_area",
                title="Energy against area",
                x="area_um2.total",
                y="energy_pj.total",
            ),
        )
    return tuple(t for t in known if t.x in frame.numbers and t.y in frame.numbers)


def on_front(frame: Frame, tradeoff: Tradeoff) -> NDArray[np.bool_]:
    """Tell which rows are on the front of a trade-off among the rows of their workload.

    Rows that lack one of the two values are on no front.
    """
    points = np.column_stack([frame.numbers[tradeoff.x], frame.numbers[tradeoff.y]])
    complete = np.asarray(np.isfinite(points).all(axis=1))
    mask = np.zeros(frame.count, dtype=bool)
    for group in frame.groups():
        rows = group[complete[group]]
        mask[rows] = pareto_front(points[rows])
    return mask
