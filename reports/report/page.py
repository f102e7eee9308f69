"""The interactive page: one HTML file with its data, style and code inside, and no network."""

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ...datatypes.errors import BitlatheError
from ..style import PALETTE
from .columns import ACCURACY, WORKLOAD, is_result, label_of
from .frame import Floats, Frame
from .fronts import Tradeoff

HERE = Path(__file__).parent
SCRIPTS = ("base.js", "scatter.js", "details.js", "table.js", "page.js")
# what HTML could take for a tag, an entity or a line end inside a script element
_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def script_json(value: Any) -> str:
    r"""Return JSON that is safe inside a script element: no ``<``, ``>`` or ``&`` is left in it.

    Examples
    --------
    >>> script_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def _number(value: float) -> str:
    """Return a number as JSON: whole ones exactly, others to seven digits, NaN as null."""
    if not math.isfinite(value):
        return "null"
    return f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 else f"{value:.7g}"


def _column(frame: Frame, name: str) -> str:
    """Return a column as JSON: its names and, unless all are equal, a value per row."""
    label = label_of(name)
    facts: dict[str, Any] = {
        "name": name,
        "label": label.text,
        "unit": label.unit,
        "scale": label.scale,
        "result": is_result(name),
        "accuracy": name in ACCURACY,
    }
    if name in frame.texts:
        texts = frame.texts[name]
        facts |= {"levels": list(texts.levels), "values": texts.codes.tolist()}
        if not frame.varies(name):
            facts["values"] = [0]
        return script_json(facts)
    values: Floats = frame.numbers[name]
    kept = values if frame.varies(name) else values[:1]
    return f'{script_json(facts)[:-1]},"values":[{",".join(map(_number, kept.tolist()))}]}}'


def _data(frame: Frame, facts: dict[str, Any]) -> str:
    """Return the page's data as the text of a script element."""
    columns = ",".join(_column(frame, name) for name in frame.names if name != "status")
    return f'{script_json(facts)[:-1]},"columns":[{columns}]}}'


def _csp_hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def render(
    frame: Frame,
    *,
    title: str,
    description: str,
    notes: list[str],
    tradeoffs: tuple[Tradeoff, ...],
    layers: dict[int, list[list[Any]]],
) -> str:
    """Return the page as HTML.

    Names reach the page as data only: the template escapes what it prints, the embedded JSON
    holds no character that ends a script element, the code writes text and never markup, and a
    content security policy lets nothing run but the page's own script, by its hash.

    Parameters
    ----------
    frame : Frame
        The points shown.
    title, description : str
        Of the sweep.
    notes : list of str
        What a reader must know: proxies, points left out, failures.
    tradeoffs : tuple of Tradeoff
        The charts the page opens with.
    layers : dict
        Layers of points by row, for rooflines (`layers.layer_rows`).

    Raises
    ------
    BitlatheError
        jinja2 is not installed.
    """
    try:
        from jinja2 import Environment
        from markupsafe import Markup
    except ImportError:
        raise BitlatheError(
            "the page needs jinja2: install bitlathe with its [report] extra."
        ) from None
    facts = {
        "title": title,
        "count": frame.count,
        "palette": [*PALETTE[1:], PALETTE[0]],
        "workload": [name for name in WORKLOAD if name in frame.names],
        "charts": [{"title": t.title, "x": t.x, "y": t.y} for t in tradeoffs],
        "layers": {str(i): rows for i, rows in layers.items()},
    }
    parts = {name: (HERE / name).read_text(encoding="utf-8") for name in ("page.html", "page.css")}
    code = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{code}\n}})();\n'
    policy = (
        f"default-src 'none'; script-src {_csp_hash(script)}; "
        f"style-src {_csp_hash(parts['page.css'])}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(
        parts["page.html"]
    )
    return template.render(
        title=title,
        description=description,
        notes=notes,
        policy=Markup(policy),  # made here of hashes and constants
        css=Markup(parts["page.css"]),  # a file of this package
        script=Markup(script),  # files of this package
        data=Markup(_data(frame, facts)),  # escaped by script_json
    )


def sample(frame: Frame, keep: np.ndarray[Any, np.dtype[np.bool_]], most: int) -> Any:
    """Return at most ``most`` rows: those to keep first, the rest spread evenly, in order."""
    if frame.count <= most:
        return np.arange(frame.count)
    wanted, rest = np.flatnonzero(keep), np.flatnonzero(~keep)
    wanted = wanted[_even(len(wanted), most)]
    rest = rest[_even(len(rest), most - len(wanted))]
    return np.sort(np.concatenate([wanted, rest]))


def _even(count: int, most: int) -> Any:
    if count <= most:
        return np.arange(count)
    return np.arange(most) * count // max(most, 1)
