"""Formats inside torch modules: straight-through fake quantization, weights replaced in place."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import nn

from .base.arrays import as_float
from .base.errors import BitlatheError, check_name
from .formats.format import Format, Mixture
from .quantize import quantize
from .schemes.layout import Axis
from .schemes.scheme import Scheme
from .tensors.reach import cut_off
from .tensors.tensor import QuantizedTensor

AnyScheme = str | Scheme | Format | Mixture
GRADIENTS: Final = ("straight", "clipped")


class _StraightThrough(torch.autograd.Function):
    """Quantize on the way forward; pass the gradient back unchanged, or 0 where asked for."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, call: Callable[..., Any], clipped: bool) -> Any:
        made: QuantizedTensor = call(x)
        if clipped:
            lost = cut_off(made.coded, as_float(x, "fake_quantize")[0])
            ctx.save_for_backward(torch.from_numpy(lost).to(x.device))
        return made.dequantize()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None, None]:
        lost = ctx.saved_tensors
        return gradients[0].masked_fill(lost[0], 0) if lost else gradients[0], None, None


def fake_quantize(
    x: torch.Tensor,
    scheme: AnyScheme,
    axis: Axis = None,
    rounding: str = "even",
    seed: int | None = None,
    gradient: str = "straight",
) -> torch.Tensor:
    """Return the dequantized values of x, with a gradient.

    Parameters
    ----------
    x : torch.Tensor
        float16, bfloat16, float32 or float64, on any device (the work is done on the CPU).
    scheme : str, Scheme, Format or Mixture
        See `quantize`.
    axis : int, tuple of int or None
        Along which groups run, as for `quantize`: of a tensor of four axes or more, None takes
        all but the first as one.
    rounding : str
        See `quantize`. ``stochastic`` gives x on average.
    seed : int, optional
        For ``stochastic``: another one for each step of a training, or the draws repeat.
    gradient : str
        ``straight`` passes every gradient (Bengio et al., arXiv 1308.3432). ``clipped`` stops
        those of elements that were cut off, more than half a step beyond the last value of their
        group, as a hard tanh does (Hubara et al., arXiv 1609.07061).

    Raises
    ------
    BitlatheError
        See `quantize`; or the gradient is unknown.
    """
    check_name("gradient", gradient, GRADIENTS)
    parsed = Scheme.parse(scheme)
    call = partial(quantize, scheme=parsed, axis=axis, rounding=rounding, seed=seed)
    made: torch.Tensor = _StraightThrough.apply(  # type: ignore[no-untyped-call]
        x, call, gradient == "clipped"
    )
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of a layer that multiplies: a matrix of outputs by the inputs of each.

    Attributes
    ----------
    layer : torch.nn.Module
        Passed to a user's function that chooses schemes.
    tensor : torch.Tensor
    axis : int or tuple of int
        The inputs: of a convolution channels, height and width.
    """

    layer: nn.Module
    tensor: torch.Tensor
    axis: int | tuple[int, ...]


def weights_of(module: nn.Module) -> dict[str, Weights]:
    """Return the weights of a model's linear and convolution layers, by the layer's name.

    Attention modules keep query, key and value in one matrix, named ``NAME.in_proj``.
    """
    found: dict[str, Weights] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            found[name] = Weights(layer=layer, tensor=layer.weight, axis=-1)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            axes = tuple(range(1, layer.weight.ndim))
            found[name] = Weights(layer=layer, tensor=layer.weight, axis=axes)
        elif isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None:
            own = f"{name}.in_proj".lstrip(".")
            found[own] = Weights(layer=layer, tensor=layer.in_proj_weight, axis=-1)
    return found


def _left(module: nn.Module, taken: Iterable[Weights]) -> list[str]:
    """Return the modules with matrices of weights that are not among those taken, with types."""
    known = {id(weights.tensor) for weights in taken}
    return [
        f"{name or 'the module'} ({type(layer).__name__})"
        for name, layer in module.named_modules()
        if any(each.ndim > 1 and id(each) not in known for each in layer.parameters(recurse=False))
    ]


def quantize_module(
    module: nn.Module,
    scheme: AnyScheme | Callable[[str, nn.Module], AnyScheme | None],
) -> dict[str, float]:
    """Replace the weights of a model's linear and convolution layers by their quantized values.

    All of them or, on an error, none; in place. Groups run over the inputs of an output channel:
    of a convolution along (in x height x width), as `simulate` counts them. Embeddings, norms,
    biases, transposed convolutions and recurrent layers keep their values; a warning names those
    with matrices of weights.

    Parameters
    ----------
    module : torch.nn.Module
    scheme : str, Scheme, Format, Mixture or callable
        The scheme of all these layers; or a function of (name, layer) that returns one, or None
        to leave a layer alone.

    Returns
    -------
    dict of str to float
        Bits per weight of each layer that was changed, by name; query, key and value of
        `torch.nn.MultiheadAttention` together as ``NAME.in_proj``.

    Raises
    ------
    BitlatheError
        Raised if the module has no such layer, or a weight cannot be quantized.
    """
    if not isinstance(module, nn.Module):
        raise BitlatheError(
            f"quantize_module: a torch.nn.Module is needed, got {type(module).__name__}"
        )
    layers = weights_of(module)
    if not layers:
        raise BitlatheError(
            f"quantize_module: {type(module).__name__} has no torch.nn.Linear or convolution to "
            "quantize"
        )
    made: dict[str, QuantizedTensor] = {}
    for name, weights in layers.items():
        chosen = scheme(name, weights.layer) if callable(scheme) else scheme
        if chosen is None:
            continue
        try:
            made[name] = quantize(weights.tensor, chosen, axis=weights.axis)
        except BitlatheError as problem:
            raise BitlatheError(f"layer {name!r}: {problem}") from None
    left = _left(module, layers.values())
    if left:
        told = f"{', '.join(left[:5])}{f' and {len(left) - 5} more' * (len(left) > 5)}"
        warnings.warn(f"quantize_module: weights left as they are: {told}", stacklevel=2)
    with torch.no_grad():
        for name, q in made.items():
            layers[name].tensor.copy_(q.dequantize())
    return {name: q.bits_per_element for name, q in made.items()}
