"""What charts and page say beside their points: titles of chips, and what all of it was run on."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...workloads.accuracy import Accuracy
from .accuracy import Measured
from .columns import ACCURACY, ERROR_OF, PROXIES, label_of
from .frame import Frame, Texts
from .layers import title_of

FEW = 4  # values that are listed; more are counted
_CONDITIONS = ("arch", "context", "batch", "fidelity")


def titled(frame: Frame, home: Path | None) -> Frame:
    """Return the frame with chips by their titles; those that share one keep their names."""
    if "arch" not in frame.texts:
        return frame
    names = frame.texts["arch"].levels
    titles = [title_of(name, home) or name for name in names]
    shown = tuple(
        title if titles.count(title) == 1 else name
        for name, title in zip(names, titles, strict=True)
    )
    return replace(
        frame, texts={**frame.texts, "arch": Texts(levels=shown, codes=frame.texts["arch"].codes)}
    )


def conditions(frame: Frame, measured: Measured, measures: Iterable[str]) -> list[str]:
    """Return what a chart's points were run on, a sentence each.

    Parameters
    ----------
    frame : Frame
        The rows, with chips by their titles.
    measured : Measured
        What is known of accuracy.
    measures : iterable of str
        The columns that the chart shows.
    """
    known = [(label_of(name).text, _values(frame, name)) for name in _CONDITIONS]
    parts = [f"{name[0].upper()}{name[1:]}: {_listed(v)}" for name, v in known if v]
    words = [". ".join(parts) + "."] if parts else []
    shown = set(measures)
    if shown & {*ACCURACY} - {*PROXIES}:
        words += [_of_model(name, row) for name, row in measured.unquantised.items()]
    if shown & {*ERROR_OF} and any(ERROR_OF.get(name) in frame.numbers for name in shown):
        words.append("Bars: one standard error of the growth over the unquantised model.")
    if measured.proxy and shown & {*PROXIES}:
        words.append(measured.proxy)
    return words


def _of_model(model: str, row: Accuracy) -> str:
    return (
        f"{model}: {row.tokens:,} tokens of {row.text}, in windows of {row.context}; perplexity "
        f"unquantised {row.perplexity:.4g} (dashed)."
    )


def _values(frame: Frame, name: str) -> list[str]:
    if name in frame.texts:
        return [level for level in frame.texts[name].levels if level]
    values = frame.numbers.get(name, np.empty(0))
    return [f"{value:g}" for value in np.unique(values[np.isfinite(values)]).tolist()]


def _listed(values: list[str]) -> str:
    return "; ".join(values) if len(values) <= FEW else f"{len(values)} of them"
