"""Rows with an accuracy axis: what was measured of their models and formats, joined to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..explore.accuracy import PROXIES, Measures, Pair
from ..explore.tables import write_csv
from .frame import Frame
from .fronts import accuracy_column

TABLE = "accuracy.csv"
_GIVEN = "Accuracy is a proxy, a relative error; it is no perplexity and no score of the models."


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A sweep's rows with an accuracy axis, and what a reader must know of it.

    ``measures`` are those that were joined to the rows; ``proxy`` says what a proxy is of, and is
    empty without one.
    """

    frame: Frame
    remarks: tuple[str, ...] = ()
    measures: Measures = field(default_factory=Measures)
    proxy: str = ""

    def baseline(self, measure: str) -> dict[str, float]:
        """Return what each unquantized model has of a measure, where that says something."""
        if measure != "perplexity":
            return {}
        return {model: row.perplexity for model, row in self.measures.unquantized.items()}


def with_accuracy(frame: Frame, measures: Measures, part: Path) -> Measured:
    """Add what was measured to rows that carry no measure of accuracy.

    What is used is written to ``accuracy.csv``, a line for each model and format.

    Parameters
    ----------
    frame : Frame
        Rows with a column ``format``.
    measures : Measures
        What was measured.
    part : Path
        Where ``accuracy.csv`` is written.

    Returns
    -------
    Measured
        The frame has the columns ``perplexity``, ``loss_nats`` and ``kl_nats`` where a model was
        measured, and the reference's ``weight_error`` where none was.
    """
    given = accuracy_column(frame)
    if given is not None:
        words = _GIVEN if given in PROXIES else ""
        return Measured(frame=frame, remarks=(words,) if words else (), proxy=words)
    if "format" not in frame.texts or not frame.varies("format"):
        return Measured(frame=frame)
    if measures.own:
        for column in ("perplexity", "loss_nats", "loss_se_nats", "kl_nats"):
            frame = frame.with_numbers(column, by_pair(frame, measures.figures(column)))
        error = frame.numbers["perplexity"] * frame.numbers["loss_se_nats"]
        frame = frame.with_numbers("perplexity_se", error)
    if measures.errors:
        known = {pair: measures.errors.get(pair[1], np.nan) for pair in measures.bare}
        frame = frame.with_numbers(measures.column, by_pair(frame, known))
    if lines := measures.lines():
        write_csv(part / TABLE, iter(lines), measures.columns())
    return Measured(frame=frame, remarks=measures.remarks, measures=measures, proxy=measures.proxy)


def by_pair(frame: Frame, figures: Mapping[Pair, float]) -> NDArray[np.float64]:
    """Return a figure of each row's model and format; NaN where there is none."""
    models, formats = frame.texts.get("model"), frame.texts["format"]
    names = ("",) if models is None else models.levels
    table = np.array([[figures.get((m, f), np.nan) for f in formats.levels] for m in names])
    codes = np.zeros(frame.count, dtype=np.int32) if models is None else models.codes
    return np.asarray(table[codes, formats.codes], dtype=np.float64)
