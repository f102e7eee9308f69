"""What a format's gain over others is worth once every layer has its best mapping.

``python -m bitlathe.reports.studies.mappers FOLDER PICTURE.png``: the folder is what ``bitlathe
sweep`` wrote. Prints the gains of BitMoD over the other chips under the rule and under the search,
and what the search gains each chip.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from pathlib import Path
from typing import Any

from ....datatypes.base.errors import BitlatheError
from ...charts.marks import mark
from ...charts.style import figure_style, save
from ...page.figures import finish
from ..drawing import Source, footer

Row = Mapping[str, Any]
OWN = "bitmod"
RULE = "nest-whole-buffer"
FIGURES = {"cycles": "clocks", "energy_pj.total": "energy", "dram_bits.total": "DRAM traffic"}


@dataclass(frozen=True, slots=True)
class Place:
    """A workload under a mapper: what rows of different chips are compared at."""

    phase: str
    context: int
    batch: int
    mapper: str


Gains = dict[tuple[str, Place], float]


def place_of(row: Row) -> Place:
    """Return the workload and the mapper of a row."""
    return Place(row["phase"], row["context"], row["batch"], row["mapper"])


def gains(rows: Iterable[Row], figure: str) -> Gains:
    """Return how many times as much of something other chips take as BitMoD does.

    Parameters
    ----------
    rows : iterable of mappings
        A sweep over chips and mappers.
    figure : str
        A column.

    Returns
    -------
    dict
        By chip and place: the geometric mean over the models of which both have a point.
    """
    found: dict[tuple[str, Place], dict[str, float]] = {}
    for row in rows:
        found.setdefault((row["arch"], place_of(row)), {})[row["model"]] = float(row[figure])
    means: Gains = {}
    for (chip, place), values in found.items():
        own = found.get((OWN, place), {})
        logs = [log(values[model] / own[model]) for model in values if model in own]
        if chip != OWN and logs:
            means[chip, place] = exp(fsum(logs) / len(logs))
    return means


def by_phase(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the gains of BitMoD over each chip in each phase: means over contexts and batches.

    Only of places that all mappers have.
    """
    mappers = mappers_of(rows)
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for figure, words in FIGURES.items():
        found = gains(rows, figure)
        for mapper in mappers:
            logs: dict[tuple[str, str], list[float]] = {}
            for (chip, place), gain in found.items():
                if place.mapper == mapper and _everywhere(found, chip, place, mappers):
                    logs.setdefault((place.phase, chip), []).append(log(gain))
            for (phase, chip), values in logs.items():
                line = lines.setdefault((phase, chip), {"phase": phase, "over": chip})
                line[f"{words}, {mapper}"] = exp(fsum(values) / len(values))
    return [lines[key] for key in sorted(lines, key=lambda key: (key[0] != "prefill", key[1]))]


def _everywhere(found: Gains, chip: str, place: Place, mappers: Sequence[str]) -> bool:
    return all(
        (chip, Place(place.phase, place.context, place.batch, mapper)) in found
        for mapper in mappers
    )


def mappers_of(rows: Sequence[Row]) -> list[str]:
    """Return the mappers of a sweep, the rule first."""
    return sorted({row["mapper"] for row in rows}, key=lambda name: (name != RULE, name))


def of_the_search(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return how many times as much each chip takes under the rule as under each search."""
    mappers = mappers_of(rows)
    values: dict[tuple[str, str, str, Place], dict[str, Row]] = {}
    for row in rows:
        at = Place(row["phase"], row["context"], row["batch"], "")
        values.setdefault((row["phase"], row["arch"], row["model"], at), {})[row["mapper"]] = row
    logs: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (phase, chip, _, _), of in values.items():
        if set(mappers) == set(of):
            for mapper in mappers[1:]:
                for figure, words in FIGURES.items():
                    ratio = log(float(of[RULE][figure]) / float(of[mapper][figure]))
                    line = logs.setdefault((phase, chip), {})
                    line.setdefault(f"{words}, {mapper}", []).append(ratio)
    return [
        {"phase": phase, "chip": chip}
        | {name: exp(fsum(each) / len(each)) for name, each in line.items()}
        for (phase, chip), line in sorted(logs.items(), key=lambda each: each[0][0] != "prefill")
    ]


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of the chart: a phase, what is along x, and what is held."""

    phase: str
    x: str
    held: str
    at: int

    def points(self, found: Gains, chip: str, mapper: str) -> list[tuple[int, float]]:
        """Return (x, gain) of a chip under a mapper."""
        return sorted(
            (getattr(place, self.x), gain)
            for (other, place), gain in found.items()
            if (other, place.phase, place.mapper) == (chip, self.phase, mapper)
            and getattr(place, self.held) == self.at
        )


PANELS = (Panel("prefill", "context", "batch", 1), Panel("decode", "batch", "context", 2048))


class Chart:
    """Gains of BitMoD over the other chips, a row of panels a phase, by mapper."""

    def draw(self, source: Source, path: Path) -> None:
        """Draw the chart of a sweep's rows.

        Raises
        ------
        BitlatheError
            A sweep without BitMoD and another chip.
        """
        found = {figure: gains(source.rows, figure) for figure in list(FIGURES)[:2]}
        chips = sorted({chip for chip, _ in found["cycles"]})
        if not chips:
            raise BitlatheError(f"no point of {OWN!r} and of another chip to compare: sweep both.")
        plt = figure_style()
        figure, axes = plt.subplots(2, 2, figsize=(8.4, 6.6), squeeze=False, layout="constrained")
        handles: dict[str, Any] = {}
        for row, panel in zip(axes, PANELS, strict=True):
            for axis, (name, of) in zip(row, found.items(), strict=True):
                for k, chip in enumerate(chips):
                    for mapper, words in ((RULE, "rule"), ("search", "search")):
                        points = panel.points(of, chip, mapper)
                        if points:
                            style = {**mark(k).style(5), "lw": 1.2}
                            style |= {"ls": "-"} if words == "search" else {"ls": "--", "mfc": "w"}
                            drawn = axis.plot(*zip(*points, strict=True), **style)[0]
                            handles[f"over {chip}, {words}"] = drawn
                held = f"{panel.held} {panel.at}"
                axis.set_title(f"{panel.phase}, {held}: {FIGURES[name]}", loc="left")
                axis.set_xscale("log", base=2)
                axis.set_xlabel(panel.x if panel.x == "batch" else "tokens of context")
                values = sorted({x for line in axis.lines for x in line.get_xdata()})
                axis.set_xticks(values, [str(x) for x in values])
                axis.set_ylim(bottom=0)
                axis.set_ylabel(f"{FIGURES[name]} over BitMoD's")
                axis.grid(alpha=0.25, lw=0.5)
        figure.suptitle(
            "What a better mapping leaves of a format's gain", x=0.01, ha="left", fontsize=11
        )
        finish(figure, handles, footer(source.rows, source.origin))
        save(figure, path)


CHART = Chart()
