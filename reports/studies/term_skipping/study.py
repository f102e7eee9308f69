"""Draw what skipping zero terms gains, from the sweep of ``sweep.yaml``.

``python -m bitlathe.reports.studies.term_skipping FOLDER PICTURE.png``: the folder is what
``bitlathe sweep`` wrote. Prints the gains as a table as well.
"""

import sys
from collections.abc import Iterable, Mapping
from itertools import product
from math import exp, fsum, log
from pathlib import Path
from typing import Any

from ....datatypes.base.errors import BitlatheError
from ...charts.marks import mark
from ...charts.style import figure_style, save
from ...explore import read_results
from ...terminal import print_table

Row = Mapping[str, Any]
Gains = dict[tuple[str, str, str, str], float]
SYNCS = {"lane": "each lane alone", "row": "each row in step", "array": "the array in step"}
WEIGHTS = {"gaussian": "Gaussian", "student_t": "Student's t"}


def gains(rows: Iterable[Row], figure: str = "cycles") -> Gains:
    """Return how much less skipping takes than computing every term.

    Parameters
    ----------
    rows : iterable of mappings
        A sweep over formats, ``pe.skip_zero_terms``, ``pe.skip_sync`` and ``pe.skip_weights``.
    figure : str
        What is compared.

    Returns
    -------
    dict
        By (phase, format, what is in step, weights): dense over skipping, the geometric mean over
        models.

    Raises
    ------
    BitlatheError
        If a point that skips has no dense one.
    """
    dense: dict[tuple[str, str, str], float] = {}
    skipping: list[tuple[Row, tuple[str, str, str]]] = []
    for row in rows:
        run = row["phase"], row["scheme.linear"], row["model"]
        if row["pe.skip_zero_terms"]:
            skipping.append((row, run))
        else:
            dense[run] = float(row[figure])
    logs: dict[tuple[str, str, str, str], list[float]] = {}
    for row, run in skipping:
        if run not in dense:
            raise BitlatheError(f"no dense point for {', '.join(run)}: sweep it as well.")
        key = (*run[:2], row["pe.skip_sync"], row["pe.skip_weights"])
        logs.setdefault(key, []).append(log(dense[run] / float(row[figure])))
    return {key: exp(fsum(values) / len(values)) for key, values in logs.items()}


def draw(found: Gains, path: Path) -> None:
    """Draw the gains: a panel per phase, a place per format, a mark per level of step.

    Of phases without a gain of a hundredth, if others have one, the caption says so instead.
    """
    plt = figure_style()
    phases, formats = ([*dict.fromkeys(key[i] for key in found)] for i in (0, 1))
    most = {phase: max(v for key, v in found.items() if key[0] == phase) for phase in phases}
    flat = [phase for phase in phases if most[phase] < 1.01 <= max(most.values())]
    phases = [phase for phase in phases if phase not in flat]
    figure, axes = plt.subplots(
        1, len(phases), figsize=(9.5, 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, phase in zip(axes[0], phases, strict=True):
        axis.axhline(1, color="black", lw=0.8)
        for k, (sync, words) in enumerate(SYNCS.items()):
            for weights, name in WEIGHTS.items():
                places = [i for i, f in enumerate(formats) if (phase, f, sync, weights) in found]
                values = [found[phase, formats[i], sync, weights] for i in places]
                style = mark(k).style(6)
                style["mfc"] = style["color"] if weights == "gaussian" else "white"
                words_of = f"{words}, {name} weights"
                axis.plot([i + 0.2 * (k - 1) for i in places], values, label=words_of, **style)
        axis.set_title(phase, loc="left")
        axis.set_xticks(range(len(formats)), formats, rotation=40, ha="right")
        axis.grid(axis="y", alpha=0.25)
    axes[0][0].set_ylabel("speed over computing every term")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    said = "".join(f"; {phase}, not drawn, gains {most[phase] - 1:.1%} at most" for phase in flat)
    figure.suptitle(f"Skipping zero terms on a bit-serial array{said}", x=0.01, ha="left")
    save(figure, path)


def main() -> None:
    """Print and draw the gains of a sweep's folder."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bitlathe.reports.studies.term_skipping FOLDER PICTURE.png")
    try:
        rows = list(read_results(sys.argv[1]))
        found, energy = gains(rows), gains(rows, "energy_pj.pe")
        draw(found, Path(sys.argv[2]))
    except BitlatheError as err:
        sys.exit(str(err))
    formats = dict.fromkeys(key[1] for key in found)
    lines = []
    for phase, name in product(dict.fromkeys(key[0] for key in found), formats):
        line: dict[str, Any] = {"phase": phase, "format": name}
        for (weights, words), sync in product(WEIGHTS.items(), SYNCS):
            line[f"{sync}, {words}"] = found[phase, name, sync, weights]
        line["PE energy, array"] = energy[phase, name, "array", "gaussian"]
        lines.append(line)
    print_table(lines, title="Dense over skipping: clocks, and energy of the PEs")
