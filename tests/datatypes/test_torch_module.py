"""Formats inside torch modules."""

import numpy as np
import pytest
import torch

import bitlathe as bl
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.torch_module import fake_quantize, quantize_module
from quantized_cases import weights


def test_fake_quantization_passes_the_gradient_through():
    x = torch.from_numpy(weights((4, 32))).requires_grad_()
    y = fake_quantize(x, "int3@g16")
    np.testing.assert_array_equal(y.detach().numpy(), quantize(x.detach(), "int3@g16").dequantize())
    (3 * y).sum().backward()
    assert (x.grad == 3).all()


def test_linear_layers_of_a_module_are_replaced():
    model = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    before = [p.detach().clone() for p in model.parameters()]
    bits = quantize_module(model, lambda name, _: "int4@g16" if name == "0" else None)
    assert bits == {"0": 5.0}
    expected = quantize(before[0], "int4@g16").dequantize()
    assert torch.equal(model[0].weight.detach(), expected)
    assert torch.equal(model[2].weight.detach(), before[2])
    assert torch.equal(model[0].bias.detach(), before[1])
    with pytest.raises(bl.BitlatheError, match=r"no torch\.nn\.Linear"):
        quantize_module(torch.nn.ReLU(), "int4")


def test_a_module_is_quantized_whole_or_not_at_all():
    model = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.Linear(8, 4))
    with torch.no_grad():
        model[1].weight[2, 3] = np.nan
    before = model[0].weight.detach().clone()
    with pytest.raises(bl.BitlatheError, match=r"layer '1'.*nan at index"):
        quantize_module(model, "int4@g16")
    assert torch.equal(model[0].weight.detach(), before)


def test_torch_functions_take_formats_too():
    x = torch.from_numpy(weights((4, 256)))
    fmt = bl.format("bitmod_fp4")
    expected = quantize(x, "bitmod_fp4").dequantize()
    assert torch.equal(fake_quantize(x, fmt), expected)
    model = torch.nn.Linear(256, 4)
    with torch.no_grad():
        model.weight.copy_(x)
    quantize_module(model, fmt)
    assert torch.equal(model.weight.detach(), expected)
