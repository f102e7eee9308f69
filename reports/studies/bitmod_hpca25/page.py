"""Show a reproduction: page, charts and rows in a folder, tables on the terminal."""

import base64
import csv
import json
from pathlib import Path

from ....datatypes.base.errors import BitlatheError, to_install
from ...terminal import print_table
from .charts import draw_energy, draw_speed
from .study import Reproduction, published

TEMPLATE = Path(__file__).parent / "page.html"


def write(study: Reproduction, folder: Path) -> list[Path]:
    """Write ``report.html``, two PNG charts, ``rows.csv`` and ``study.json``; return their paths.

    Raises
    ------
    BitlatheError
        The folder cannot be written, or the packages of the [report] extra are missing.
    """
    try:
        from jinja2 import Environment
    except ImportError:
        raise BitlatheError(f"the page needs jinja2: {to_install('jinja2', 'report')}.") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {
            name: folder / name
            for name in ("report.html", "speed.png", "energy.png", "rows.csv", "study.json")
        }
        draw_speed(study, paths["speed.png"])
        draw_energy(study, paths["energy.png"])
        with paths["rows.csv"].open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, study.rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(study.rows)
        content = {
            "rows": study.rows,
            "headlines": study.headlines,
            "objections": study.objections,
        }
        paths["study.json"].write_text(json.dumps(content, indent=1), encoding="utf-8")
        images = {
            name: base64.b64encode(paths[f"{name}.png"].read_bytes()).decode()
            for name in ("speed", "energy")
        }
        template = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
        titles = {name: s["title"] for name, s in published()["settings"].items()}
        page = template.render(**content, images=images, titles=titles)
        paths["report.html"].write_text(page, encoding="utf-8")
    except OSError as err:
        raise BitlatheError(f"cannot write to {folder}: {err.strerror}.") from None
    return list(paths.values())


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
