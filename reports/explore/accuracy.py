"""Measure the accuracy of a sweep's models and formats: the one place that does.

A model whose weights are at hand gets its own perplexity, if that is asked for. The others get a
proxy, labeled as one wherever it is shown: the error of each format on reference weights, those
of MiniLM-L6 (float32, unquantized) where the package of the [studies] extra is installed, else
seeded Gaussian ones. No model gets a figure that was measured on another without saying so.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.yamlfile import parse_yaml
from ...datatypes.schemes.scheme import Scheme
from ...workloads.accuracy import CONTEXT, TOKENS, UNQUANTIZED, Accuracy, accuracy, remarks
from ...workloads.lm import Checkpoint, checkpoint_names, find_checkpoint
from ...workloads.lm.cache import code_digest
from ...workloads.minilm import WEIGHTS_SHA256, minilm_weights
from .identity import own_files
from .origin import Origin
from .store import Store
from .sweepfile import AccuracyAsked
from .tables import Finished, constraints_of

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
Pair = tuple[str, str]  # a model and a weight format of its linear layers
Row = Mapping[str, Any]
CACHE_NAME = "accuracy.json"
SEED, GAUSSIAN_SHAPE = 0, (512, 4096)
# errors, not scores of the models shown
PROXIES = ("output_error", "weight_error", "weight_error.minilm", "weight_error.gaussian")
# measures of accuracy that a row may carry, the most telling one first; less is better in each
MEASURES = ("perplexity", "kl_nats", "loss_nats", *PROXIES)
_KEYS = ("model", "scheme", "measure", "value", "proxy", "of")  # the first columns of the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Weights that formats are measured on: matrices of outputs by inputs, and their identity.

    ``column`` is where a report keeps the error, and so how it is labeled.
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


def measure(schemes: Iterable[str], folder: Path) -> tuple[dict[str, float], Reference]:
    """Return the relative error of each scheme and the reference weights.

    Schemes that cannot be measured (bits stated without a format, say) are left out. Results are
    kept in ``accuracy.json`` of the folder by scheme, weights and the code of the formats.

    Parameters
    ----------
    schemes : iterable of str
        Scheme strings.
    folder : Path
        The sweep's folder.
    """
    reference = reference_weights()
    identity = f"{reference.identity} {code_digest(('datatypes',))}"
    files = own_files(schemes := sorted(set(schemes)))
    known = _read_cache(folder / CACHE_NAME, identity, files)
    errors: dict[str, float] = {}
    for scheme in schemes:
        if scheme in known:
            errors[scheme] = known[scheme]
            continue
        with suppress(BitlatheError):
            errors[scheme] = relative_error(scheme, reference)
    if errors:
        content = {"identity": identity, "errors": errors, **({"files": files} if files else {})}
        _write_cache(folder / CACHE_NAME, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return errors, reference


def _write_cache(path: Path, text: str) -> None:
    """Keep the errors; where that cannot be done they are measured again next time."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


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


# -- what a sweep's models and formats are worth ------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the perplexity of a sweep's models is measured; see `bitlathe.workloads.accuracy`."""

    tokens: int = TOKENS
    context: int = CONTEXT
    text: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What is known of the accuracy of models in formats, and what a reader must know of it.

    ``own`` holds the measures of models that were run, in each format they meet, the model as it is
    stored first. ``errors`` are those of formats on reference weights, for the ``bare`` models and
    their formats: a proxy, called ``column``, of weights called ``title``.
    """

    own: Mapping[str, tuple[Accuracy, ...]] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    bare: tuple[Pair, ...] = ()
    column: str = ""
    title: str = ""
    proxy: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def unquantized(self) -> dict[str, Accuracy]:
        """The measure of each model as it is stored."""
        return {model: rows[0] for model, rows in self.own.items()}

    def figures(self, name: str) -> dict[Pair, float]:
        """Return a measure of models that were run; schemes that are not to be ranked have none."""
        found = {
            (model, row.scheme): getattr(row, name)
            for model, rows in self.own.items()
            for row in rows
            if row.ranked
        }
        return {pair: value for pair, value in found.items() if value is not None}

    def lines(self) -> list[dict[str, Any]]:
        """Return a line for each model and format: its measure, or the proxy."""
        lines = [_line(model, row) for model, rows in self.own.items() for row in rows]
        known = {"measure": self.column, "proxy": True, "of": self.title}
        return lines + [
            {"model": model, "scheme": scheme, "value": self.errors[scheme], **known}
            for model, scheme in self.bare
            if scheme in self.errors
        ]

    @staticmethod
    def columns() -> list[str]:
        """Return the columns of `lines`."""
        known = [f.name for f in fields(Accuracy) if f.name not in {*_KEYS, "window_nll"}]
        return [*_KEYS, *known]


def _line(model: str, row: Accuracy) -> dict[str, Any]:
    """Return a model's own measure as a line of the table."""
    used = {"measure": "perplexity", "value": row.perplexity, "proxy": False, "of": row.text}
    return {**asdict(row), **used, "model": model}


def measure_accuracy(
    folder: str | Path, wanted: Wanted | None = None, progress: Progress | None = None
) -> Measures:
    """Measure what a sweep's rows carry no accuracy of.

    Parameters
    ----------
    folder : str or Path
        What ``bitlathe sweep --out`` wrote. Errors on reference weights are kept in it,
        perplexities in the user's cache.
    wanted : Wanted, optional
        How to measure the perplexity of models whose weights are at hand, in place of what the
        sweep file's key ``accuracy`` says. Without either, accuracy is a proxy.
    progress : callable, optional
        ``progress(items, label)`` yields the items and may show how far it is.

    Raises
    ------
    BitlatheError
        The folder holds no sweep; the text or a model's weights cannot be read.
    """
    folder = Path(folder)
    with Store(folder, readonly=True) as store, store.snapshot():
        origin = Origin.of(store)
        rows = Finished(store, constraints_of(store)).placed()
        pairs = pairs_of((row for _, row in rows), origin)
        wanted = wanted or _stated(str(store.facts("file").get("text", "")), origin.home)
    return measure_pairs(pairs, folder, origin, wanted, progress)


def _stated(text: str, home: Path | None) -> Wanted | None:
    """Return what a sweep file's key ``accuracy`` asks for."""
    try:
        data = parse_yaml(text, "sweep file").data
    except BitlatheError:
        return None
    stated = data.get("accuracy") if isinstance(data, dict) else None
    if stated is None:
        return None
    asked = AccuracyAsked.model_validate(stated)
    place = None if asked.text is None else (home or Path()) / asked.text
    return Wanted(tokens=asked.tokens, context=asked.context, text=place)


def pairs_of(rows: Iterable[Row], origin: Origin | None = None) -> list[Pair]:
    """Return the models and formats that meet in rows, both in order of appearance.

    None of them where rows carry a measure of accuracy, or formats do not vary.
    """
    origin = origin or Origin()
    models: dict[str, None] = {}
    formats: dict[str, None] = {}
    met: dict[Pair, None] = {}
    for row in rows:
        if any(_is_finite(row.get(name)) for name in MEASURES):
            return []
        pair = str(row.get("model") or ""), format_of(row, origin)
        models[pair[0]] = formats[pair[1]] = met[pair] = None
    if len(formats) < 2:
        return []
    return [(m, f) for m in models for f in formats if (m, f) in met]


def format_of(row: Row, origin: Origin) -> str:
    """Return the weight format of linear layers: from the row, or its chip's own."""
    given = row.get("format") or row.get("scheme.linear")
    keys = (str(row.get(name) or "") for name in ("arch", "phase", "model"))
    return str(given) if given else origin.linear_format(*keys)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def measure_pairs(
    pairs: Sequence[Pair],
    folder: Path,
    origin: Origin | None = None,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> Measures:
    """Measure models in the formats they meet.

    Parameters
    ----------
    pairs : sequence of (model, scheme)
        From `pairs_of`.
    folder : Path
        Where errors on reference weights are kept.
    origin : Origin, optional
        Where relative paths of models start, and what files of formats held.
    wanted : Wanted, optional
        Measure the perplexity of models whose weights are at hand; None: proxies alone.
    progress : callable, optional
    """
    origin = origin or Origin()
    own, words = _run_models(pairs, origin, wanted, progress) if pairs and wanted else ({}, [])
    bare = tuple(pair for pair in pairs if pair[0] not in own)
    used = list(dict.fromkeys(scheme for _, scheme in bare))
    asked = [scheme for scheme in used if not origin.is_changed(scheme)]
    errors, reference = measure(asked, folder) if asked else ({}, None)
    if not errors or reference is None:
        return Measures(own=own, remarks=tuple(words))
    start = "For models without weights at hand accuracy is" if own else "Accuracy is"
    proxy = (
        f"{start} a proxy: the relative error of each weight format on {reference.title}. It is no "
        "perplexity and no score of the models shown."
    )
    words.append(proxy)
    if missing := [scheme for scheme in used if scheme not in errors]:
        words.append(f"No accuracy proxy for: {', '.join(missing)}.")
    return Measures(
        own=own,
        errors=errors,
        bare=bare,
        column=reference.column,
        title=reference.title,
        proxy=proxy,
        remarks=tuple(words),
    )


def _run_models(
    pairs: Sequence[Pair], origin: Origin, wanted: Wanted, progress: Progress | None
) -> tuple[dict[str, tuple[Accuracy, ...]], list[str]]:
    """Measure the models whose weights are at hand, each in the formats it meets."""
    own: dict[str, tuple[Accuracy, ...]] = {}
    words: list[str] = []
    for name in dict.fromkeys(model for model, _ in pairs if model):
        checkpoint, reason = _checkpoint_of(name, origin.home)
        if checkpoint is None:
            words += [reason] if reason else []
            continue
        used = [scheme for model, scheme in pairs if model == name]
        own[name], unread = _run_model(checkpoint, used, origin, wanted, progress)
        words += _perplexity_words(name, own[name], unread)
    if not own:
        words.append(
            "No model of this sweep has its weights at hand, so no perplexity is measured."
        )
    return own, words


def _run_model(
    checkpoint: Checkpoint,
    used: Sequence[str],
    origin: Origin,
    wanted: Wanted,
    progress: Progress | None,
) -> tuple[tuple[Accuracy, ...], list[str]]:
    """Return the measures of a model in its formats, and the formats that cannot be read."""
    schemes = {}
    for text in used:
        if not origin.is_changed(text):
            with suppress(BitlatheError):
                schemes[text] = Scheme.parse(text)
    rows = accuracy(
        checkpoint,
        schemes.values(),
        tokens=wanted.tokens,
        context=wanted.context,
        text=wanted.text,
        progress=progress,
    )
    named = zip([UNQUANTIZED, *schemes], rows, strict=True)
    made = tuple(replace(row, scheme=text) for text, row in named)
    return made, [text for text in used if text not in schemes]


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


def _perplexity_words(name: str, rows: Sequence[Accuracy], unread: Sequence[str]) -> list[str]:
    first = rows[0]
    words = [
        f"Perplexity of {name}: measured on {first.tokens:,} tokens of {first.text}, context "
        f"{first.context}; {first.perplexity:.4g} unquantized. {' '.join(remarks(rows))}"
    ]
    if unread:
        words.append(f"No perplexity of {name} for: {', '.join(unread)}.")
    return words
