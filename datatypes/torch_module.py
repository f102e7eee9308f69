"""Formats inside torch modules: straight-through fake quantisation, weights replaced in place."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .errors import BitlatheError
from .format import Format, Mixture
from .quantize import quantize
from .scheme import Scheme
from .tensor import QuantizedTensor

AnyScheme = str | Scheme | Format | Mixture


class _StraightThrough(torch.autograd.Function):
    """Quantise forwards; hand the gradient through unchanged backwards."""

    @staticmethod
    def forward(_ctx: Any, x: torch.Tensor, scheme: Scheme, axis: int) -> torch.Tensor:
        made: torch.Tensor = quantize(x, scheme, axis=axis).dequantize()
        return made

    @staticmethod
    def backward(_ctx: Any, *gradients: Any) -> tuple[Any, None, None]:
        return gradients[0], None, None


def fake_quantize(x: torch.Tensor, scheme: AnyScheme, axis: int = -1) -> torch.Tensor:
    """Return the dequantised values of x, with the straight-through gradient.

    Parameters
    ----------
    x : torch.Tensor
        float16, bfloat16, float32 or float64, on any device (the work is done on the CPU).
    scheme : str, Scheme, Format or Mixture
        See `quantize`.
    axis : int
        Along which groups run.
    """
    made: torch.Tensor = _StraightThrough.apply(  # type: ignore[no-untyped-call]
        x, Scheme.parse(scheme), axis
    )
    return made


def quantize_module(
    module: nn.Module,
    scheme: AnyScheme | Callable[[str, nn.Module], AnyScheme | None],
) -> dict[str, float]:
    """Replace the weights of a model's linear layers by their quantised values, in place.

    All of them or, on an error, none.

    Parameters
    ----------
    module : torch.nn.Module
    scheme : str, Scheme, Format, Mixture or callable
        The scheme of all linear layers; or a function of (name, layer) that returns one, or None
        to leave a layer alone.

    Returns
    -------
    dict of str to float
        Bits per weight of each layer that was changed, by name.

    Raises
    ------
    BitlatheError
        If the module has no linear layer, or a weight cannot be quantised.
    """
    layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
    if not layers:
        raise BitlatheError(
            f"quantize_module: {type(module).__name__} has no torch.nn.Linear to quantise"
        )
    made: dict[str, QuantizedTensor] = {}
    for name, layer in layers.items():
        chosen = scheme(name, layer) if callable(scheme) else scheme
        if chosen is None:
            continue
        try:
            made[name] = quantize(layer.weight, chosen)
        except BitlatheError as problem:
            raise BitlatheError(f"layer {name!r}: {problem}") from None
    with torch.no_grad():
        for name, q in made.items():
            layers[name].weight.copy_(q.dequantize())
    return {name: q.bits_per_element for name, q in made.items()}
