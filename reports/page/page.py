"""The interactive page: one HTML file with its data, style and code inside, and no network."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError, to_install
from ..charts.marks import MOST, OTHER, Mark, mark
from ..charts.style import PALETTE
from ..provenance import Facts, software
from .accuracy import Measured
from .columns import ACCURACY, ERROR_OF, WORKLOAD, is_result, label_of
from .facts import conditions
from .frame import Floats, Frame
from .fronts import Tradeoff
from .nests import nest_facts
from .series import places

Kept = Mapping[str, Any]
"""What is kept of the layers of a point, by its kind."""

HERE = Path(__file__).parent
SCRIPTS = ("base.js", "scatter.js", "details.js", "nests.js", "table.js", "page.js")
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


def _column(whole: Frame, frame: Frame, name: str, stored: Frame) -> str:
    """Return a column as JSON: its names and, unless all are equal, a value per row.

    What was chosen says which mark each of its values has, as a pair of value and place; names
    that are shown as others than the tables hold come with those.
    """
    label = label_of(name)
    facts: dict[str, Any] = {
        "name": name,
        "label": label.text,
        "unit": label.unit,
        "scale": label.scale,
        "result": is_result(name),
        "accuracy": name in ACCURACY,
        "error": ERROR_OF.get(name),
    }
    known = {} if is_result(name) else places(whole, name)
    if name in frame.texts:
        texts = frame.texts[name]
        facts |= {"levels": list(texts.levels), "values": texts.codes.tolist()}
        facts["marks"] = [[level, known[level]] for level in texts.levels if level in known]
        kept = stored.texts[name].levels
        if kept != whole.texts[name].levels:
            names = dict(zip(whole.texts[name].levels, kept, strict=True))
            facts["stored"] = [names[level] for level in texts.levels]
        if not frame.varies(name):
            facts["values"] = [0]
        return script_json(facts)
    facts["marks"] = [[json.loads(_number(value)), place] for value, place in known.items()]
    values: Floats = frame.numbers[name]
    given = values if frame.varies(name) else values[:1]
    return f'{script_json(facts)[:-1]},"values":[{",".join(map(_number, given.tolist()))}]}}'


def _data(whole: Frame, frame: Frame, stored: Frame, facts: dict[str, Any]) -> str:
    """Return the page's data as the text of a script element."""
    names = [name for name in frame.names if name != "status"]
    columns = ",".join(_column(whole, frame, name, stored) for name in names)
    return f'{script_json(facts)[:-1]},"columns":[{columns}]}}'


def _mark(known: Mark) -> dict[str, Any]:
    return {"color": known.color, "rings": known.rings}


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
    layers: Mapping[int, Kept],
    measured: Measured | None = None,
    index: NDArray[np.intp] | None = None,
    made: Facts | None = None,
    files: Sequence[str] = (),
) -> str:
    """Return the page as HTML.

    Names reach the page as data only: the template escapes what it prints, the embedded JSON
    holds no character that ends a script element, the code writes text and never markup, and a
    content security policy lets nothing run but the page's own script, by its hash.

    Parameters
    ----------
    frame : Frame
        All points, chips by their titles.
    title, description : str
        Of the sweep.
    notes : list of str
        What a reader must know: proxies, points left out, failures.
    tradeoffs : tuple of Tradeoff
        The charts the page opens with.
    layers : mapping
        What is kept of the layers of shown points, by row: ``roofline`` (`explore.rows.roofline`)
        and, where a mapper chose loop nests, ``mappings`` (`explore.nests.kept`).
    measured : Measured, optional
        What is known of accuracy.
    index : (rows,) int array, optional
        The rows shown; all without it.
    made : mapping, optional
        Provenance of the points.
    files : sequence of str
        Tables beside the page, which hold all points where it shows some.

    Raises
    ------
    BitlatheError
        jinja2 is not installed.
    """
    try:
        from jinja2 import Environment
        from markupsafe import Markup
    except ImportError:
        raise BitlatheError(f"the page needs jinja2: {to_install('jinja2', 'report')}.") from None
    shown = frame if index is None else frame.take(index)
    measured = measured or Measured(frame=frame)
    facts = {
        "title": title,
        "count": shown.count,
        "total": frame.count,
        "palette": PALETTE[1:],
        "marks": [_mark(mark(place)) for place in range(MOST)],
        "others": _mark(OTHER),
        "workload": [name for name in WORKLOAD if name in frame.names],
        "charts": [
            {
                "title": t.title,
                "x": t.x,
                "y": t.y,
                "conditions": conditions(frame, measured, t),
            }
            for t in tradeoffs
        ],
        "conditions": conditions(frame, measured),
        "unquantized": {name: measured.baseline(name) for name in ACCURACY},
        "layers": {str(i): kept["roofline"] for i, kept in layers.items()},
        "mappings": nest_facts(
            {i: kept["mappings"] for i, kept in layers.items() if "mappings" in kept}
        ),
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
        made=made,
        files=files if shown.count < frame.count else (),
        total=frame.count,
        points_by=software(made) if made else "",
        drawn_by=software(),
        policy=Markup(policy),  # made here of hashes and constants
        css=Markup(parts["page.css"]),  # a file of this package
        script=Markup(script),  # files of this package
        data=Markup(_data(frame, shown, measured.frame, facts)),  # escaped by script_json
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
