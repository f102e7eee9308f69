"""Tables of a sweep over models and chips: clocks, time, energy, tokens a second; and their chart.

``python -m bitlathe.reports.studies.model_costs FOLDER PICTURE.png``: the folder is what ``bitlathe
sweep`` wrote. A prefill makes the first token of an answer, a decode one further token.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....datatypes.base.errors import BitlatheError
from ....workloads import load_model
from ...charts.marks import mark
from ...charts.style import figure_style, save
from ...page.figures import finish
from ..drawing import Source, footer

Row = Mapping[str, Any]


def _tokens(row: Row) -> int:
    """Return the tokens that a pass computes."""
    return int(row["batch"] * (row["context"] if row["phase"] == "prefill" else 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a table shows of a phase: its words, its unit, and how a row gives it."""

    phase: str
    words: str
    unit: str
    of: Callable[[Row], float]


def _clocks(scale: float) -> Callable[[Row], float]:
    return lambda row: row["cycles"] / scale


def _joules(scale: float) -> Callable[[Row], float]:
    return lambda row: row["energy_pj.total"] * 1e-12 * scale


FIGURES = (
    Figure(phase="prefill", words="clocks", unit="10^9", of=_clocks(1e9)),
    Figure(phase="prefill", words="time to the first token", unit="s", of=lambda r: r["seconds"]),
    Figure(phase="prefill", words="energy", unit="J", of=_joules(1)),
    Figure(phase="decode", words="clocks of a token", unit="10^6", of=_clocks(1e6)),
    Figure(
        phase="decode",
        words="tokens a second",
        unit="1/s",
        of=lambda row: _tokens(row) / row["seconds"],
    ),
    Figure(
        phase="decode",
        words="energy of a token",
        unit="mJ",
        of=lambda row: row["energy_pj.total"] * 1e-9 / _tokens(row),
    ),
)


def tables(rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Return a table for each figure and each length: a row a model, a column a chip.

    Parameters
    ----------
    rows : sequence of mappings
        A sweep over chips, models, phases, contexts and batches.

    Returns
    -------
    dict
        By title. Models stand as in the sweep, with their parameters in 10^9.

    Raises
    ------
    BitlatheError
        The sweep has two points of a chip, a model and a phase at one length and batch.
    """
    made: dict[str, list[dict[str, Any]]] = {}
    for figure in FIGURES:
        places = {
            (row["context"], row["batch"]): None for row in rows if row["phase"] == figure.phase
        }
        for context, batch in places:
            of = [
                row
                for row in rows
                if (row["phase"], row["context"], row["batch"]) == (figure.phase, context, batch)
            ]
            at = f"{figure.phase}, {context} tokens, batch {batch}"
            title = f"{at}: {figure.words} ({figure.unit})"
            made[title] = _table(of, figure)
    return made


def _table(rows: Sequence[Row], figure: Figure) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        name, chip = row["model"], row["arch"]
        size = {"10^9 parameters": load_model(name).parameter_count / 1e9}
        line = lines.setdefault(name, {"model": name, **size})
        if chip in line:
            raise BitlatheError(
                f"two points of {name!r} on {chip!r}, {figure.phase}: sweep one format and mapper."
            )
        line[chip] = figure.of(row)
    return list(lines.values())


class Chart:
    """Figures against the parameters of a model: a panel each, a mark a chip."""

    def draw(self, source: Source, path: Path) -> None:
        """Draw the chart of a sweep's rows.

        Raises
        ------
        BitlatheError
            A sweep without both phases.
        """
        shown = [figure for figure in FIGURES if "clocks" not in figure.words]
        phases = {row["phase"] for row in source.rows}
        if phases != {"prefill", "decode"}:
            raise BitlatheError(f"the sweep has {', '.join(sorted(phases))}; sweep both phases.")
        plt = figure_style()
        figure, axes = plt.subplots(2, 2, figsize=(8.4, 6.6), squeeze=False, layout="constrained")
        chips = list(dict.fromkeys(row["arch"] for row in source.rows))
        handles: dict[str, Any] = {}
        for axis, each in zip(axes.flat, shown, strict=True):
            of = [row for row in source.rows if row["phase"] == each.phase]
            for k, chip in enumerate(chips):
                points = [
                    (load_model(row["model"]).parameter_count / 1e9, each.of(row))
                    for row in of
                    if row["arch"] == chip
                ]
                style = {**mark(k).style(5), "ls": "", "mec": "black", "mew": 0.4}
                handles[chip] = axis.plot(*zip(*points, strict=True), **style)[0]
            axis.set_title(f"{each.phase}: {each.words} ({each.unit})", loc="left")
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlabel("parameters (10⁹), log scale")
            axis.set_ylabel(f"{each.words} ({each.unit}), log scale")
            axis.grid(alpha=0.25, lw=0.5)
        figure.suptitle("What models take on shipped chips", x=0.01, ha="left", fontsize=11)
        models = ", ".join(dict.fromkeys(row["model"] for row in source.rows))
        said = footer(source.rows, source.origin)[1:]  # no means over models here
        finish(figure, handles, [f"A mark for each model: {models}.", *said])
        save(figure, path)


CHART = Chart()
