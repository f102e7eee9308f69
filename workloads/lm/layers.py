"""Errors of a module's linear layers: of their weights, and of their outputs on real inputs."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

SAMPLES = 256  # tokens whose activations are kept


def linears(layers: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the linear layers of a module by name."""
    return ((n, m) for n, m in layers.named_modules() if isinstance(m, nn.Linear))


class Sampled:
    """Which rows of the activations to keep, and those kept by layer."""

    def __init__(self, tokens: int, samples: int = SAMPLES) -> None:
        self.step = max(1, tokens // samples)
        self.rows: list[int] = []
        self.parts: dict[str, list[Tensor]] = {}

    def at(self, start: int, length: int) -> None:
        """Choose among the next ``length`` tokens, ``start`` being the first one's number."""
        places = range(start, start + length)
        self.rows = [i for i, p in enumerate(places) if p % self.step == self.step // 2]


@contextmanager
def sampled(layers: nn.Module, tokens: int, samples: int = SAMPLES) -> Iterator[Sampled]:
    """Keep about ``samples`` rows of what enters each linear layer while the context lasts."""
    kept = Sampled(tokens, samples)
    hooks = []
    for name, layer in linears(layers):

        def keep(_layer: nn.Module, entering: tuple[Tensor], name: str = name) -> None:
            kept.parts.setdefault(name, []).append(entering[0][kept.rows])

        hooks.append(layer.register_forward_pre_hook(keep))
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def layer_errors(
    true: nn.Module, made: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[float, float]:
    """Return the relative errors of all weights together and of the layers' outputs.

    Parameters
    ----------
    true, made : torch.nn.Module
        The same layers, unquantized and quantized.
    inputs : mapping of str to (samples, inputs) Tensor
        Activations that enter each linear layer of the unquantized ones.

    Returns
    -------
    weight_error : float
        ||Q(W) - W|| / ||W|| over all weights.
    output_error : float
        Root of the mean over layers of ||X (Q(W) - W)^T||^2 / ||X W^T||^2, with X rounded first
        where the layer rounds it.
    """
    noise = power = 0.0
    outputs = []
    for name, layer in linears(true):
        part: Any = made.get_submodule(name)
        difference = part.weight - layer.weight
        noise += float(difference.square().sum())
        power += float(layer.weight.square().sum())
        x = inputs[name]
        right = (x @ layer.weight.T).square().sum()
        # of layers that do more than multiply, such as rounding inputs, the outputs themselves
        gap = x @ difference.T if isinstance(part, nn.Linear) else part(x) - layer(x)
        outputs.append(float(gap.square().sum() / right))
    return math.sqrt(noise / power), math.sqrt(sum(outputs) / len(outputs))
