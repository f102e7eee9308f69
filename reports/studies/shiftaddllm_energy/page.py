"""Show the study: page, chart and rows in a folder, tables on the terminal."""

from functools import partial
from pathlib import Path

from ...terminal import print_table
from ..writing import write_study
from .charts import draw_energies
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
        charts={"energies": partial(draw_energies, study)},
    )


def print_tables(study: Reproduction) -> None:
    """Print energies, objections, the array under a search, and how many figures agree."""
    columns = ["model", "method", "published_mj", "reproduced_mj", "corrected_mj"]
    print_table(study.rows, title="Energy of a token", columns=columns)
    print_table(
        study.objections,
        title="Objections, each switched off alone: Llama-2-7B over ShiftAddLLM at 3 bits",
        columns=["title", "fp16_ratio", "optq3_ratio", "lut_gemm3_ratio"],
    )
    print_table(study.simulated, title="FP16 on the same array, mapped by a search")
    found = [row["agrees"] for row in study.rows if row["agrees"] is not None]
    print(f"{sum(found)} of {len(found)} published energies agree.")
