"""What charts and page say beside their points: titles of chips, and what all of it was run on."""

from dataclasses import replace

import numpy as np

from ..explore.accuracy import PROXIES
from ..explore.origin import Origin
from .accuracy import Measured
from .columns import ACCURACY, ERROR_OF, label_of
from .frame import Frame, Texts
from .fronts import Tradeoff, shown

FEW = 4  # values that are listed; more are counted
_CONDITIONS = ("arch", "context", "batch", "fidelity")


def titled(frame: Frame, origin: Origin) -> Frame:
    """Return the frame with chips by their titles; those that share one keep their names."""
    if "arch" not in frame.texts:
        return frame
    names = frame.texts["arch"].levels
    chips = [origin.chip(name) for name in names]
    titles = [(chip and chip.title) or name for name, chip in zip(names, chips, strict=True)]
    shown = tuple(
        title if titles.count(title) == 1 else name
        for name, title in zip(names, titles, strict=True)
    )
    return replace(
        frame, texts={**frame.texts, "arch": Texts(levels=shown, codes=frame.texts["arch"].codes)}
    )


def conditions(frame: Frame, measured: Measured, tradeoff: Tradeoff | None = None) -> list[str]:
    """Return what a chart's points were run on, and which points it lacks, a sentence each.

    Parameters
    ----------
    frame : Frame
        The rows, with chips by their titles.
    measured : Measured
        What is known of accuracy.
    tradeoff : Tradeoff, optional
        The columns that the chart shows; rows without one of the two are not in it. Without it,
        what holds for all rows.
    """
    if tradeoff is None:
        return _run_on(frame)
    mask = shown(frame, tradeoff)
    words = _run_on(frame.take(np.flatnonzero(mask)))
    if not mask.all():
        words.append(_left_out(frame.take(np.flatnonzero(~mask)), tradeoff))
    measures = {tradeoff.x, tradeoff.y}
    if measures & {*ACCURACY} - {*PROXIES}:
        words += [
            f"{model}: {row.tokens:,} tokens of {row.text}, in windows of {row.context}; "
            f"perplexity unquantized {row.perplexity:.4g} (dashed)."
            for model, row in measured.measures.unquantized.items()
        ]
    if any(ERROR_OF.get(name) in frame.numbers for name in measures & {*ERROR_OF}):
        words.append("Bars: one standard error of the growth over the unquantized model.")
    if measured.proxy and measures & {*PROXIES}:
        words.append(measured.proxy)
    return words


def _run_on(frame: Frame) -> list[str]:
    known = [(label_of(name).text, _words_of(frame, name)) for name in _CONDITIONS]
    parts = [f"{name[0].upper()}{name[1:]}: {words}" for name, words in known if words]
    return [". ".join(parts) + "."] if parts else []


def _left_out(rows: Frame, tradeoff: Tradeoff) -> str:
    """Say which points a chart lacks: how many, of which chips and formats, and what of them."""
    lacks = [
        label_of(name).text
        for name in (tradeoff.x, tradeoff.y)
        if np.isnan(rows.numbers.get(name, np.full(rows.count, np.nan))).any()
    ]
    whose = [
        f"{label_of(name).text} {_listed(values)}"
        for name in ("arch", "format")
        if (values := _values(rows, name))
    ]
    of = f" ({'; '.join(whose)})" if whose else ""
    count = f"{rows.count:,} points are" if rows.count > 1 else "One point is"
    return f"{count} not shown, for want of {' or '.join(lacks)}{of}."


def _words_of(frame: Frame, name: str) -> str:
    """Return the values of a column in words, and which models have none of it."""
    values = _values(frame, name)
    numbers = frame.numbers.get(name)
    if not values or numbers is None or not np.isnan(numbers).any():
        return _listed(values) if values else ""
    bare = frame.take(np.flatnonzero(np.isnan(numbers)))
    return f"{_listed(values)} (none for {_listed(_values(bare, 'model')) or 'some points'})"


def _values(frame: Frame, name: str) -> list[str]:
    if name in frame.texts:
        return [level for level in frame.texts[name].levels if level]
    values = frame.numbers.get(name, np.empty(0))
    return [f"{value:g}" for value in np.unique(values[np.isfinite(values)]).tolist()]


def _listed(values: list[str]) -> str:
    return ", ".join(values) if len(values) <= FEW else f"{len(values)} of them"


def with_formats(frame: Frame, origin: Origin) -> Frame:
    """Add the column ``format``: the weight format of linear layers, from the row or its chip.

    Rows of a sweep name their formats; those of other sources may leave them to the chip.
    """
    if "format" in frame.texts or "arch" not in frame.texts:
        return frame
    if "scheme.linear" in frame.texts:
        given = frame.texts["scheme.linear"]
        names = [given.levels[code] for code in given.codes]
    else:
        names = [""] * frame.count
    if not all(names):
        columns = [frame.texts.get(name) for name in ("arch", "phase", "model")]
        for i, name in enumerate(names):
            if not name:
                keys = [c.levels[c.codes[i]] if c is not None else "" for c in columns]
                names[i] = origin.linear_format(*keys)
    return frame.with_texts("format", names)
