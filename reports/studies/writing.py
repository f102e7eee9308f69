"""What published studies write to a folder: a page, its charts, rows and all of it as JSON."""

import base64
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError, to_install

Draw = Callable[[Path], None]
FRAME = Path(__file__).with_name("page_frame.html")


def write_study(
    folder: Path,
    template: Path,
    *,
    rows: Sequence[Mapping[str, Any]],
    content: Mapping[str, Any],
    charts: Mapping[str, Draw],
    words: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``report.html``, the charts, ``rows.csv`` and ``study.json``; return their paths.

    Parameters
    ----------
    folder : Path
    template : Path
        What the page has in `FRAME`. It gets the content, the words and ``images`` by the names
        of the charts.
    rows : sequence of mappings
        Of ``rows.csv``; all have the keys of the first.
    content : mapping
        Of ``study.json``.
    charts : mapping of str to callable
        What draws each chart to a path, by the name of its file.
    words : mapping, optional
        What the page alone gets.

    Raises
    ------
    BitlatheError
        The folder cannot be written, or the packages of the [report] extra are missing.
    """
    try:
        from jinja2 import Environment, FileSystemLoader
    except ImportError:
        raise BitlatheError(f"the page needs jinja2: {to_install('jinja2', 'report')}.") from None
    files = ("report.html", *(f"{name}.png" for name in charts), "rows.csv", "study.json")
    paths = {name: folder / name for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in charts.items():
            draw(paths[f"{name}.png"])
        with paths["rows.csv"].open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        paths["study.json"].write_text(json.dumps(content, indent=1), encoding="utf-8")
        images = {
            name: base64.b64encode(paths[f"{name}.png"].read_bytes()).decode() for name in charts
        }
        pages = Environment(autoescape=True, loader=FileSystemLoader(FRAME.parent))
        page = pages.from_string(template.read_text(encoding="utf-8"))
        text = page.render(**content, **(words or {}), images=images)
        paths["report.html"].write_text(text, encoding="utf-8")
    except OSError as err:
        raise BitlatheError(f"cannot write to {folder}: {err.strerror}.") from None
    return list(paths.values())
