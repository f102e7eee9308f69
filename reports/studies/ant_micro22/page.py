"""Show the study: page, charts and rows in a folder, tables on the terminal."""

from functools import partial
from pathlib import Path

from ...terminal import print_table
from ..writing import write_study
from .charts import draw_energy, draw_time
from .study import ENERGIES, FIGURES, Reproduction


def write(study: Reproduction, folder: Path) -> list[Path]:
    """Write ``report.html``, two PNG charts, ``rows.csv`` and ``study.json``; return their paths.

    Raises
    ------
    BitlatheError
        The folder cannot be written, or the packages of the [report] extra are missing.
    """
    printed = [row for row in study.rows if row["agrees"] is not None]
    return write_study(
        folder,
        Path(__file__).parent / "page.html",
        rows=study.rows,
        content=study.plain(),
        charts={"time": partial(draw_time, study), "energy": partial(draw_energy, study)},
        words={"figures": FIGURES, "printed": printed},
    )


def print_tables(study: Reproduction) -> None:
    """Print rows, means and objections, and how many rows agree."""
    print_table(
        study.rows,
        title="Over AdaFloat: published | reproduced | corrected (true kernels, SRAM leakage)",
        columns=[
            *("network", "chip", "published_cycles", "cycles"),
            *("published_time", "time", "corrected_time"),
            *(f"{form}{part}" for part in ENERGIES for form in ("published_", "", "corrected_")),
            "agrees",
        ],
    )
    print_table(study.means, title="Means as the study prints them")
    print_table(study.corrected_means, title="Geometric means over all networks, corrected")
    print_table(
        study.objections,
        title="Objections, each switched off alone: geometric means, and over the published form",
        columns=["title", "chip", "time", "energy", "time_ratio", "energy_ratio"],
    )
    print_table(study.mean_objections, title="Objections to the means")
    printed = [row for row in study.rows if row["agrees"] is not None]
    agree = sum(row["agrees"] for row in printed)
    print(f"{agree} of {len(printed)} rows with published figures agree with them.")
