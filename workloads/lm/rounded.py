"""Modules of a decoder that round: weights, what enters them, keys and values."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...datatypes.base.errors import BitlatheError
from ...datatypes.quantize import quantize
from ...datatypes.schemes.scheme import Scheme
from ...datatypes.tensors.tensor import QuantizedTensor
from .decoder import Block
from .formats import Activations, Cache, Formats
from .layers import linears


class RoundedInputs:
    """How the inputs of one layer are rounded.

    Parameters
    ----------
    activations : Activations
    sample : (samples, inputs) Tensor
        Inputs of the unquantized model, for static scales.
    """

    def __init__(self, activations: Activations, sample: Tensor) -> None:
        self.activations = activations
        self.fixed: QuantizedTensor | None = None
        self.end = np.float32(np.inf)
        if activations.static:
            values = sample.numpy()
            if activations.percentile < 100:
                self.end = _ends(values.reshape(1, -1), activations.percentile)[0, 0]
            self.fixed = quantize(np.clip(values, -self.end, self.end), activations.scheme)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (tokens, inputs) x as it is rounded."""
        try:
            return self._rounded(x)
        except BitlatheError as problem:
            raise BitlatheError(f"inputs in {self.activations.scheme}: {problem}") from None

    def _rounded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        scheme, percentile = self.activations.scheme, self.activations.percentile
        if self.fixed is not None:
            given = np.clip(x, -self.end, self.end)
            return np.asarray(
                quantize(
                    given, scheme, scales=self.fixed.scales, zeros=self.fixed.zeros
                ).dequantize(np.float32)
            )
        if percentile < 100:
            ends = _ends(x, percentile)
            x = np.clip(x, -ends, ends)
        return np.asarray(quantize(x, scheme).dequantize(np.float32))


def _ends(x: NDArray[np.float32], percentile: float) -> NDArray[np.float32]:
    """Return (tokens, 1) percentiles of the magnitudes of (tokens, inputs) x."""
    return np.quantile(np.abs(x), percentile / 100, axis=1, keepdims=True).astype(np.float32)


class RoundedLinear(nn.Module):
    """A linear layer whose inputs are rounded first."""

    def __init__(self, linear: nn.Linear, inputs: RoundedInputs) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.inputs = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the (tokens, outputs) outputs of (tokens, inputs) x."""
        made = torch.from_numpy(self.inputs(x.numpy()))
        return nn.functional.linear(made, self.weight, self.bias)


class RoundedCache:
    """How the keys and values of a block are rounded."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __call__(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return (heads, tokens, head_dim) keys and values as they are stored."""
        cache = self.cache
        return (
            _stored(keys, "keys", cache.keys, cache.keys_by),
            _stored(values, "values", cache.values, cache.values_by),
        )


def _stored(x: Tensor, what: str, scheme: Scheme | None, by: str) -> Tensor:
    if scheme is None:
        return x
    array = np.ascontiguousarray(x.numpy())
    try:
        made = quantize(array, scheme, axis=1 if by == "channel" else 2).dequantize(np.float32)
    except BitlatheError as problem:
        raise BitlatheError(f"{what} in {scheme}: {problem}") from None
    return torch.from_numpy(np.ascontiguousarray(made))


def round_layers(
    layers: nn.ModuleList, formats: Formats, inputs: Mapping[str, Tensor]
) -> dict[str, float]:
    """Put formats into a decoder's blocks, in place; return the bits per weight of each layer.

    Parameters
    ----------
    layers : torch.nn.ModuleList
    formats : Formats
    inputs : mapping of str to (samples, inputs) Tensor
        What enters each layer of the unquantized model.

    Raises
    ------
    BitlatheError
        Raised if a rule is about no layer, or a scheme cannot take what it is of.
    """
    names = [(i, name) for i, block in enumerate(layers) for name, _ in linears(block)]
    schemes = formats.by_layer(names)
    bits: dict[str, float] = {}
    for name, linear in list(linears(layers)):
        scheme = schemes[name]
        try:
            if scheme is not None:
                made = quantize(linear.weight, scheme, axis=-1)
                linear.weight.copy_(made.dequantize())
                bits[name] = made.bits_per_element
            if formats.activations is not None:
                above, _, last = name.rpartition(".")
                rounded = RoundedLinear(linear, RoundedInputs(formats.activations, inputs[name]))
                setattr(layers.get_submodule(above), last, rounded)
        except BitlatheError as problem:
            raise BitlatheError(f"layer {name!r}: {problem}") from None
    if formats.cache is not None:
        round_cache(layers, formats.cache)
    return bits


def round_cache(layers: nn.ModuleList, cache: Cache) -> None:
    """Store keys and values of a decoder's blocks in formats, in place."""
    for block in layers:
        cast(Block, block).self_attn.cache = RoundedCache(cache)
