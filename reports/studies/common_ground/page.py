"""Show the common ground: page, chart and rows in a folder, tables on the terminal."""

from functools import partial
from pathlib import Path

from ...terminal import print_table
from ..writing import write_study
from .charts import draw_summary
from .study import Reproduction


def write(study: Reproduction, folder: Path) -> list[Path]:
    """Write ``report.html``, a PNG chart, ``rows.csv`` and ``study.json``; return their paths.

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
        charts={"summary": partial(draw_summary, study)},
    )


def print_tables(study: Reproduction) -> None:
    """Print what is left of each headline, the chips, and what each study assumed."""
    print_table(study.headlines, title="What is left of each headline")
    print_table(study.summary, title="Over FP16 at equal PE area, geometric means over the models")
    print_table(study.assumptions, title="What each study assumed")
