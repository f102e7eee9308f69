"""Show the study: page, charts and rows in a folder, tables on the terminal."""

from functools import partial
from pathlib import Path

from ...terminal import print_table
from ..writing import write_study
from .charts import draw_ratios, draw_scaling
from .study import Reproduction, by_chip


def write(study: Reproduction, folder: Path) -> list[Path]:
    """Write ``report.html``, two PNG charts, ``rows.csv`` and ``study.json``; return their paths.

    Raises
    ------
    BitlatheError
        The folder cannot be written, or the packages of the [report] extra are missing.
    """
    return write_study(
        folder,
        Path(__file__).parent / "page.html",
        rows=study.rows,
        content=study.plain(),
        charts={"ratios": partial(draw_ratios, study), "scaling": partial(draw_scaling, study)},
        words={"by_chip": by_chip(study.rows)},
    )


def print_tables(study: Reproduction) -> None:
    """Print networks, means, chips and objections, and how many networks agree."""
    print_table(
        study.networks,
        title="Over Eyeriss: published | reproduced | corrected (the networks that Eyeriss runs)",
        columns=[
            *("network", "published_cycles", "cycles", "published_milliwatts", "milliwatts"),
            *("published_speed", "speed", "corrected_speed"),
            *("published_energy", "energy", "corrected_energy", "agrees"),
        ],
    )
    means = [
        {"mean": f"{key} over Eyeriss", **{form: of[key] for form, of in study.means.items()}}
        for key in ("speed", "energy")
    ]
    print_table(means, title="Geometric means")
    print_table(by_chip(study.rows), title="Clocks by chip: rows x columns, DRAM port")
    print_table(
        study.objections,
        title="Objections, each switched off alone: means, and over the published form",
        columns=["title", "speed", "energy", "speed_ratio", "energy_ratio"],
    )
    agree = sum(line["agrees"] for line in study.networks)
    print(
        f"{agree} of {len(study.networks)} networks agree with the published figures; "
        f"{len(study.rows)} rows of layers: --json, or rows.csv in --out."
    )
