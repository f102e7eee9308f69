"""Notebooks made from the gallery: ``python docs/notebooks.py`` writes ``docs/notebooks``."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOTEBOOKS = {
    "formats": ("Formats: values, errors, codes", "formats_*.py"),
    "chips": ("Chips: clocks, energy, area", "chips_*.py"),
    "layers": ("Layers: arrays, mappings, models", "[amp]*_*.py"),
}


def notebook(title: str, scripts: Sequence[Path]) -> dict[str, Any]:
    """Return a notebook: a title, then text and code of each script."""
    cells = [_text(f"# {title}\n\nMade from the gallery by `python docs/notebooks.py`.")]
    for script in scripts:
        source = script.read_text(encoding="utf-8")
        tree = ast.parse(source)
        name, _, rest = (ast.get_docstring(tree) or "").partition("\n")
        cells.append(_text(f"## {name}\n\n{rest.lstrip('=').strip()}"))
        code = "\n".join(source.split("\n")[tree.body[0].end_lineno :]).strip()
        cells.append({**_cell("code", code), "execution_count": None, "outputs": []})
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _text(text: str) -> dict[str, Any]:
    return _cell("markdown", text)


def _cell(kind: str, text: str) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)}


def made() -> dict[str, str]:
    """Return the text of each notebook, by the name of its file."""
    return {
        f"{name}.ipynb": json.dumps(
            notebook(title, sorted((HERE / "gallery").glob(pattern))), indent=1
        )
        + "\n"
        for name, (title, pattern) in NOTEBOOKS.items()
    }


if __name__ == "__main__":
    (HERE / "notebooks").mkdir(exist_ok=True)
    for file, text in made().items():
        (HERE / "notebooks" / file).write_text(text, encoding="utf-8")
