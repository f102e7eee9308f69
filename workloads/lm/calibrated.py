"""Calibrated layers in a decoder: modules that compute as they do."""

import torch
from torch import Tensor, nn

from ...datatypes.base.errors import BitlatheError
from ...datatypes.methods.layer import QuantizedLinear


class CalibratedLinear(nn.Module):
    """A linear layer that computes as a `QuantizedLinear` does, in float32, with its bias.

    Parameters
    ----------
    layer : QuantizedLinear
    bias : (outputs,) Tensor or None
    """

    def __init__(self, layer: QuantizedLinear, bias: Tensor | None) -> None:
        super().__init__()
        self.layer = layer
        self.bias = bias
        self.weight = torch.from_numpy(layer.dequantize()).float()
        self.plain = (
            layer.divisors is None and layer.rotation is None and layer.activation_scheme is None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the (tokens, outputs) outputs of (tokens, inputs) x."""
        if self.plain:
            return nn.functional.linear(x, self.weight, self.bias)
        made = torch.from_numpy(self.layer.forward(x.numpy())).float()
        return made if self.bias is None else made + self.bias


def put_layer(layers: nn.Module, name: str, layer: QuantizedLinear) -> None:
    """Put a calibrated layer in the place of the linear one of a name.

    Raises
    ------
    BitlatheError
        Raised if there is no such linear layer, or it is of another size.
    """
    above, _, last = name.rpartition(".")
    try:
        parent = layers.get_submodule(above)
        old = parent.get_submodule(last)
    except AttributeError:
        raise BitlatheError(f"the model has no layer {name!r}") from None
    if not isinstance(old, nn.Linear) or tuple(old.weight.shape) != (layer.outputs, layer.inputs):
        raise BitlatheError(
            f"layer {name!r}: {layer.outputs} x {layer.inputs} was calibrated, the model's is other"
        )
    setattr(parent, last, CalibratedLinear(layer, old.bias))
