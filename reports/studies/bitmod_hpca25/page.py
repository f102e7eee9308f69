"""Show a reproduction: page, charts and rows in a folder, tables on the terminal."""

from functools import partial
from pathlib import Path

from ...terminal import print_table
from ..writing import write_study
from .charts import draw_energy, draw_speed
from .study import Reproduction, published


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
        content={
            "rows": study.rows,
            "headlines": study.headlines,
            "objections": study.objections,
        },
        charts={"speed": partial(draw_speed, study), "energy": partial(draw_energy, study)},
        words={"titles": {name: s["title"] for name, s in published()["settings"].items()}},
    )


def print_tables(study: Reproduction) -> None:
    """Print rows, headline averages and objections, and how many rows agree."""
    print_table(
        study.rows,
        title="published | reproduced | corrected (our chips, correct attention)",
        columns=[
            *("accelerator", "model", "phase", "published_cycles", "cycles", "corrected_cycles"),
            *("published_total_uj", "total_uj", "corrected_total_uj", "agrees"),
        ],
    )
    print_table(
        study.headlines,
        title="Headline averages",
        columns=[
            *("what", "design", "baseline", "workload", "published"),
            *("from_published_figures", "reproduced", "corrected"),
        ],
    )
    effects = [
        {"objection": o["title"], **e, "speedup_over_ant": o["speedup_over_ant"]}
        for o in study.objections
        for e in o["effects"]
    ]
    print_table(effects, title="Objections, each switched off alone: changed / published form")
    agree = sum(row["agrees"] for row in study.rows)
    print(f"{agree} of {len(study.rows)} rows agree with the published figures.")
