"""Write a reproduction to a folder: page, charts, rows."""

import base64
import csv
import json
from pathlib import Path

from ....datatypes.base.errors import BitlatheError, to_install
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
