"""The accuracy axis of a sweep that measured none, and the table of what was used.

A model whose weights are at hand gets its own perplexity, if that is asked for. The others get a
proxy, labelled as one wherever it is shown: the error of each format on reference weights, those
of MiniLM-L6 (float32, unquantised) where the package of the [studies] extra is installed, else
seeded Gaussian ones. No model gets a figure that was measured on another without saying so.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.schemes.scheme import Scheme
from ...workloads.accuracy import CONTEXT, TOKENS, UNQUANTISED, Accuracy, accuracy, remarks
from ...workloads.lm import Checkpoint, checkpoint_names, find_checkpoint
from ...workloads.lm.kept import code_digest
from ...workloads.minilm import WEIGHTS_SHA256, minilm_weights
from ..explore.evaluate import own_formats
from ..explore.tables import write_csv
from .columns import PROXIES
from .frame import Frame
from .fronts import accuracy_column
from .origin import Origin

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
TABLE = "accuracy.csv"
KEYS = ("model", "scheme", "measure", "value", "proxy", "of")
CACHE_NAME = "accuracy.json"
SEED, GAUSSIAN_SHAPE = 0, (512, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Weights that formats are measured on: matrices of outputs by inputs, and their identity.

    ``column`` is where a report keeps the error, and so how it is labelled.
    """

    title: str
    column: str
    identity: str
    matrices: tuple[NDArray[np.float32], ...]


def reference_weights() -> Reference:
    """Return MiniLM's encoder matrices if installed and unchanged, else Gaussian weights."""
    weights = minilm_weights()
    if weights is not None:
        return Reference(
            title="the encoder weights of MiniLM-L6",
            column="weight_error.minilm",
            identity=WEIGHTS_SHA256,
            matrices=tuple(weights.values()),
        )
    rng = np.random.default_rng(SEED)
    rows, columns = GAUSSIAN_SHAPE
    return Reference(
        title=f"Gaussian weights, {rows} x {columns}, seed {SEED}",
        column="weight_error.gaussian",
        identity=f"gaussian-{rows}x{columns}-{SEED}",
        matrices=(rng.standard_normal(GAUSSIAN_SHAPE, dtype=np.float32),),
    )


def relative_error(scheme: str, reference: Reference) -> float:
    """Return the relative error of a scheme: ||W - Q(W)|| / ||W|| over all reference matrices.

    Raises
    ------
    BitlatheError
        The scheme is unknown or cannot take the weights' shape.
    """
    from ...datatypes.quantize import quantize

    error = power = 0.0
    for matrix in reference.matrices:
        difference = quantize(matrix, scheme).dequantize() - matrix
        error += float(np.square(difference, dtype=np.float64).sum())
        power += float(np.square(matrix, dtype=np.float64).sum())
    return float(np.sqrt(error / power))


def measure(
    schemes: Iterable[str], folder: Path, out: Path | None = None
) -> tuple[dict[str, float], Reference]:
    """Return the relative error of each scheme and the reference weights.

    Schemes that cannot be measured (bits stated without a format, say) are left out. Results are
    kept in ``accuracy.json`` of the folder by scheme, weights and the code of the formats.

    Parameters
    ----------
    schemes : iterable of str
        Scheme strings.
    folder : Path
        The sweep's folder, whose ``accuracy.json`` may know some.
    out : Path, optional
        Where to write ``accuracy.json``: the same folder without it.
    """
    reference = reference_weights()
    identity = f"{reference.identity} {code_digest(('datatypes',))}"
    files = own_formats(schemes := sorted(set(schemes)))
    known = _read_cache(folder / CACHE_NAME, identity, files)
    errors: dict[str, float] = {}
    for scheme in schemes:
        if scheme in known:
            errors[scheme] = known[scheme]
            continue
        try:
            errors[scheme] = relative_error(scheme, reference)
        except BitlatheError:
            continue
    if errors:
        content = {"identity": identity, "errors": errors, **({"files": files} if files else {})}
        text = json.dumps(content, indent=1, sort_keys=True)
        ((out or folder) / CACHE_NAME).write_text(text + "\n", encoding="utf-8")
    return errors, reference


def _read_cache(path: Path, identity: str, files: Mapping[str, str]) -> dict[str, float]:
    """Return the errors that are known; ``files``: digests of formats that stand in files."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("identity") != identity:
        return {}
    errors, then = content.get("errors"), content.get("files", {})
    if not (isinstance(errors, dict) and isinstance(then, dict)):
        return {}
    return {
        str(k): float(v)
        for k, v in errors.items()
        if isinstance(v, int | float) and then.get(k) == files.get(k)
    }


# -- own measures ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the perplexity of a sweep's models is measured; see `bitlathe.workloads.accuracy`."""

    tokens: int = TOKENS
    context: int = CONTEXT
    text: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A sweep's rows with an accuracy axis, and what a reader must know of it.

    ``unquantised`` holds, by model, the measure of the model as it is stored; ``proxy`` says what
    a proxy is of, and is empty without one.
    """

    frame: Frame
    remarks: tuple[str, ...] = ()
    unquantised: Mapping[str, Accuracy] = field(default_factory=dict)
    proxy: str = ""

    def baseline(self, measure: str) -> dict[str, float]:
        """Return what each unquantised model has of a measure, where that says something."""
        if measure != "perplexity":
            return {}
        return {model: row.perplexity for model, row in self.unquantised.items()}


def with_accuracy(
    frame: Frame,
    part: Path,
    folder: Path,
    origin: Origin,
    wanted: Wanted | None,
    progress: Progress | None = None,
) -> Measured:
    """Add what is known of accuracy to rows that carry no measure of it.

    What is used is written to ``accuracy.csv``, a line for each model and format.

    Parameters
    ----------
    frame : Frame
        Rows with a column ``format``.
    part : Path
        Where ``accuracy.csv`` and ``accuracy.json`` are written.
    folder : Path
        The report's, where ``accuracy.json`` may be already.
    origin : Origin
        Where relative paths of models start, and what files of formats held.
    wanted : Wanted or None
        Measure the perplexity of models whose weights are at hand; None: proxies alone.
    progress : callable, optional

    Returns
    -------
    Measured
        The frame has the columns ``perplexity``, ``loss_nats`` and ``kl_nats`` where a model was
        measured, and the reference's ``weight_error`` where none was.
    """
    given = accuracy_column(frame)
    if given is not None:
        words = _GIVEN if given in PROXIES else ""
        return Measured(frame=frame, remarks=(words,) if words else (), proxy=words)
    if "format" not in frame.texts or not frame.varies("format"):
        return Measured(frame=frame)
    own: dict[str, list[Accuracy]] = {}
    remarks: list[str] = []
    if wanted is not None:
        frame, own, remarks = _with_perplexity(frame, origin, wanted, progress)
    frame, lines, more = _with_proxy(frame, part, folder, origin, own)
    lines = [_line(model, row) for model, rows in own.items() for row in rows] + lines
    if lines:
        figures = [f.name for f in fields(Accuracy) if f.name not in {*KEYS, "window_nll"}]
        write_csv(part / TABLE, iter(lines), [*KEYS, *figures])
    return Measured(
        frame=frame,
        remarks=(*remarks, *more),
        proxy=more[0] if more else "",
        unquantised={model: rows[0] for model, rows in own.items()},
    )


_GIVEN = "Accuracy is a proxy, a relative error; it is no perplexity and no score of the models."


def _line(model: str, row: Accuracy) -> dict[str, Any]:
    """Return a model's own measure as a line of the table."""
    used = {"measure": "perplexity", "value": row.perplexity, "proxy": False, "of": row.text}
    return {**asdict(row), **used, "model": model}


def _with_proxy(
    frame: Frame, part: Path, folder: Path, origin: Origin, own: Mapping[str, Any]
) -> tuple[Frame, list[dict[str, Any]], list[str]]:
    """Give models without a measure of their own the error of their formats on the reference."""
    bare = ~_rows_of(frame, own) if own else np.ones(frame.count, dtype=bool)
    if not bare.any():
        return frame, [], []
    formats = frame.texts["format"]
    used = [formats.levels[code] for code in np.unique(formats.codes[bare])]
    asked = [name for name in used if not origin.is_changed(name)]
    errors, reference = measure(asked, folder, part)
    if not errors:
        return frame, [], []
    by_level = np.array([errors.get(name, np.nan) for name in formats.levels])
    values = np.where(bare, by_level[formats.codes], np.nan)
    start = "Accuracy is" if bare.all() else "For models without weights at hand accuracy is"
    words = [
        f"{start} a proxy: the relative error of each weight format on {reference.title}. It is no "
        "perplexity and no score of the models shown."
    ]
    missing = [name for name in used if name not in errors]
    if missing:
        words.append(f"No accuracy proxy for: {', '.join(missing)}.")
    frame = frame.with_numbers(reference.column, values)
    known = {"measure": reference.column, "proxy": True, "of": reference.title}
    lines = [
        {"model": model, "scheme": scheme, "value": errors[scheme], **known}
        for model, scheme in _pairs(frame, bare)
        if scheme in errors
    ]
    return frame, lines, words


def _pairs(frame: Frame, rows: NDArray[np.bool_]) -> list[tuple[str, str]]:
    """Return the models and formats that meet in some rows, in order of appearance."""
    models, formats = frame.texts.get("model"), frame.texts["format"]
    if models is None:
        return [("", formats.levels[c]) for c in np.unique(formats.codes[rows])]
    met = np.unique(np.column_stack([models.codes, formats.codes])[rows], axis=0)
    return [(models.levels[m], formats.levels[f]) for m, f in met.tolist()]


def _with_perplexity(
    frame: Frame, origin: Origin, wanted: Wanted, progress: Progress | None
) -> tuple[Frame, dict[str, list[Accuracy]], list[str]]:
    """Measure the models whose weights are at hand, each in the formats it meets."""
    models = frame.texts.get("model")
    own: dict[str, list[Accuracy]] = {}
    words: list[str] = []
    for name in models.levels if models is not None else ():
        place, reason = _checkpoint_of(name, origin.home)
        if place is None:
            words += [reason] if reason else []
            continue
        own[name], unread = _measure_model(frame, name, place, origin, wanted, progress)
        words += _perplexity_words(name, own[name], unread)
    if not own:
        words.append(
            "No model of this sweep has its weights at hand, so no perplexity is measured."
        )
        return frame, own, words
    found = {(name, row.scheme): row for name, rows in own.items() for row in rows}
    for column in ("perplexity", "loss_nats", "loss_se_nats", "kl_nats"):
        frame = frame.with_numbers(column, _values(frame, found, column))
    error = frame.numbers["perplexity"] * frame.numbers["loss_se_nats"]
    return frame.with_numbers("perplexity_se", error), own, words


def _checkpoint_of(name: str, home: Path | None) -> tuple[Checkpoint | None, str]:
    """Return a model's weights; or None and, if weights were to be expected, why."""
    beside = home / name if home is not None else Path(name)
    place = beside if os.path.exists(beside) else Path(name)  # Path's may raise
    try:
        return find_checkpoint(place if os.path.exists(place) else name), ""
    except BitlatheError as problem:
        expected = name in checkpoint_names() or (
            os.path.isdir(place) and any(place.glob("*.safetensors"))
        )
        return None, f"No perplexity of {name}: {problem}" if expected else ""


def _measure_model(
    frame: Frame,
    name: str,
    place: Checkpoint,
    origin: Origin,
    wanted: Wanted,
    progress: Progress | None,
) -> tuple[list[Accuracy], list[str]]:
    """Return the measures of a model in its formats, and the formats that cannot be read."""
    formats = frame.texts["format"]
    used = [formats.levels[c] for c in np.unique(formats.codes[_rows_of(frame, {name})])]
    schemes = {}
    for text in used:
        if origin.is_changed(text):
            continue
        try:
            schemes[text] = Scheme.parse(text)
        except BitlatheError:
            continue
    rows = accuracy(
        place,
        schemes.values(),
        tokens=wanted.tokens,
        context=wanted.context,
        text=wanted.text,
        progress=progress,
    )
    named = zip([UNQUANTISED, *schemes], rows, strict=True)
    return [replace(row, scheme=text) for text, row in named], [t for t in used if t not in schemes]


def _perplexity_words(name: str, rows: Sequence[Accuracy], unread: Sequence[str]) -> list[str]:
    first = rows[0]
    words = [
        f"Perplexity of {name}: measured on {first.tokens:,} tokens of {first.text}, context "
        f"{first.context}; {first.perplexity:.4g} unquantised. {' '.join(remarks(rows))}"
    ]
    if unread:
        words.append(f"No perplexity of {name} for: {', '.join(unread)}.")
    return words


def _rows_of(frame: Frame, models: Iterable[str]) -> NDArray[np.bool_]:
    column, wanted = frame.texts["model"], set(models)
    chosen = np.array([name in wanted for name in column.levels])
    return np.asarray(chosen[column.codes])


def _values(
    frame: Frame, found: Mapping[tuple[str, str], Accuracy], column: str
) -> NDArray[np.float64]:
    """Return a measure by row; rows whose scheme is not to be ranked have none."""
    models, formats = frame.texts["model"], frame.texts["format"]
    table = np.full((len(models.levels), len(formats.levels)), np.nan)
    for i, model in enumerate(models.levels):
        for j, text in enumerate(formats.levels):
            row = found.get((model, text))
            figure = None if row is None or not row.ranked else getattr(row, column)
            if figure is not None:
                table[i, j] = figure
    return np.asarray(table[models.codes, formats.codes])
