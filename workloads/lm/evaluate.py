"""Run a decoder with and without quantized layers over the same windows of text."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...datatypes.base.errors import BitlatheError
from .calibrated import put_layer
from .calibration import Calibration
from .decoder import Decoder
from .formats import Formats
from .layers import layer_errors, linears, sampled
from .rounded import round_cache, round_layers

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
ROWS = 128  # tokens whose logits are in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The unquantized model's run over some windows.

    Attributes
    ----------
    windows : (windows, context) int64
    hidden : (windows, context, hidden)
        What the head reads.
    nll : list of float
        Mean negative log-likelihood of a token in each window, in nats.
    inputs : dict of str to (about `layers.SAMPLES`, inputs)
        Activations that enter each linear layer, of tokens evenly spaced over the windows.
    """

    decoder: Decoder
    windows: Tensor
    hidden: Tensor
    nll: list[float]
    inputs: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A scheme's run; see `bitlathe.workloads.accuracy.Accuracy` for the figures."""

    bits_per_weight: float | None
    nll: list[float]
    kl_nats: float
    top1_agreement: float
    weight_error: float
    output_error: float


@torch.inference_mode()
def run_baseline(decoder: Decoder, windows: list[list[int]], progress: Progress) -> Baseline:
    """Run the unquantized model."""
    ids = torch.tensor(windows)
    states, nll = [], []
    with sampled(decoder.layers, ids.numel()) as take:
        for w, window in enumerate(progress(ids, "unquantized")):
            take.at(w * len(window), len(window))
            states.append(decoder.hidden(window))
            nll.append(_score(decoder, states[-1], None, window)[0])
        inputs = {name: torch.cat(parts) for name, parts in take.parts.items()}
    return Baseline(
        decoder=decoder, windows=ids, hidden=torch.stack(states), nll=nll, inputs=inputs
    )


@torch.inference_mode()
def run_formats(base: Baseline, formats: Formats, progress: Progress) -> Measured:
    """Run the model in formats; head and embedding stay.

    Raises
    ------
    BitlatheError
        A scheme cannot take a layer's shape, or a rule is about no layer.
    """
    layers = copy.deepcopy(base.decoder.layers)
    bits = round_layers(layers, formats, base.inputs)
    return _run(base, layers, bits, progress(base.windows, str(formats)))


@torch.inference_mode()
def run_calibrated(base: Baseline, calibration: Calibration, progress: Progress) -> Measured:
    """Run the model with calibrated layers.

    Raises
    ------
    BitlatheError
        A layer's file is missing or damaged, or the model has no such layer.
    """
    layers = copy.deepcopy(base.decoder.layers)
    bits = {}
    for name in calibration.files:
        layer = calibration.layer(name)
        if calibration.inputs is not None:
            layer = replace(layer, activation_scheme=calibration.inputs)
        put_layer(layers, name, layer)
        bits[name] = layer.bits_per_element
    if calibration.kv is not None:
        round_cache(layers, calibration.kv)
    return _run(base, layers, bits, progress(base.windows, calibration.title))


def _run(
    base: Baseline, layers: nn.ModuleList, bits: Mapping[str, float], windows: Iterable[Tensor]
) -> Measured:
    """Run the model with other layers, of which some are stored in bits per weight."""
    sizes = {n: m.weight.numel() for n, m in linears(base.decoder.layers) if n in bits}
    weight_error, output_error = layer_errors(base.decoder.layers, layers, base.inputs)
    nll, kl, same = [], 0.0, 0.0
    for window, before in zip(windows, base.hidden, strict=True):
        after = base.decoder.hidden(window, layers)
        loss, divergence, agreement = _score(base.decoder, after, before, window)
        nll.append(loss)
        kl += divergence / len(base.windows)
        same += agreement / len(base.windows)
    stored = sum(bits[k] * n for k, n in sizes.items())
    return Measured(
        bits_per_weight=stored / sum(sizes.values()) if sizes else None,
        nll=nll,
        kl_nats=kl,
        top1_agreement=same,
        weight_error=weight_error,
        output_error=output_error,
    )


def _score(
    decoder: Decoder, hidden: Tensor, reference: Tensor | None, ids: Tensor
) -> tuple[float, float, float]:
    """Return means over a window's predictions: -log p, KL(reference || hidden), equal argmax."""
    loss = divergence = same = 0.0
    count = len(ids) - 1
    for start in range(0, count, ROWS):
        rows = slice(start, min(start + ROWS, count))
        logs = decoder.lm_head(hidden[rows]).log_softmax(-1)
        targets = ids[rows.start + 1 : rows.stop + 1, None]
        loss -= float(logs.gather(1, targets).double().sum())
        if reference is not None:
            true = decoder.lm_head(reference[rows]).log_softmax(-1)
            divergence += float((true.exp() * (true - logs)).sum(-1).double().sum())
            same += float((true.argmax(-1) == logs.argmax(-1)).sum())
    if not math.isfinite(loss):
        raise BitlatheError("the model's log-likelihood is not finite with these weights.")
    return loss / count, divergence / count, same / count
