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


@pytest.mark.parametrize(
    ("scheme", "low", "high"),
    [("int3@g16+p80", -3.5, 3.5), ("fp4_e2m1@g16+p80", -7, 7), ("int3_asym@g16+p80", -0.5, 7.5)],
)
def test_clipped_gradients_stop_where_elements_are_cut_off(scheme, low, high):
    x = torch.from_numpy(weights((4, 32))).requires_grad_()
    q = quantize(x.detach(), scheme)
    steps = x.detach().numpy().reshape(8, 16) / q.scales.reshape(-1, 1)
    steps += 0 if q.zeros is None else q.zeros.reshape(-1, 1)
    inside = ((steps >= low) & (steps <= high)).reshape(4, 32)
    assert 0 < (~inside).sum() < 40
    fake_quantize(x, scheme, gradient="clipped").sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), inside)
    # under the whole range nothing is cut, whatever the scale was rounded to
    beside = ("uint4@g16/fp16-fp16", "uint4@g16/uint6@channel/fp16~fp16", "if4@g16/ue4m3~fp16")
    for whole in ("int3@g16", "bitmod_fp4@g16", "olive4@g16", "bcq3@g16", "int4_asym@g16", *beside):
        x.grad = None
        fake_quantize(x, whole, gradient="clipped").sum().backward()
        assert x.grad.numpy().mean() > 0.95
    # the sign of a scale turns its grid around: one side ends at 8 steps, the other at 7
    q = quantize(x.detach(), "int4_full@g16/fp16_signed")
    steps = x.detach().numpy().reshape(8, 16) / q.scales.reshape(-1, 1)
    x.grad = None
    fake_quantize(x, q.scheme, gradient="clipped").sum().backward()
    np.testing.assert_array_equal(x.grad.numpy().reshape(8, 16), (steps >= -8.5) & (steps <= 7.5))
    with pytest.raises(bl.BitlatheError, match=r"unknown gradient 'none'"):
        fake_quantize(x, "int4", gradient="none")


def test_fake_quantization_draws_as_quantize_does():
    x = torch.from_numpy(weights((4, 32)))
    for seed in (0, 1):
        drawn = fake_quantize(x, "int3@g16", rounding="stochastic", seed=seed)
        assert torch.equal(
            drawn, quantize(x, "int3@g16", rounding="stochastic", seed=seed).dequantize()
        )
    assert not torch.equal(drawn, fake_quantize(x, "int3@g16", rounding="stochastic", seed=0))
    mean = (
        sum(fake_quantize(x, "int3@g16/fp32", rounding="stochastic", seed=s) for s in range(200))
        / 200
    )
    # a step is a third of the group's maximum, a draw's deviation at most half of it
    bound = 5 * x.reshape(8, 16).abs().amax(1, keepdim=True) / 3 / 2 / 200**0.5
    assert ((mean - x).reshape(8, 16).abs() < bound).all()
    with pytest.raises(bl.BitlatheError, match="needs a seed"):
        fake_quantize(x, "int4", rounding="stochastic")


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
    with pytest.raises(bl.BitlatheError, match=r"a torch\.nn\.Module is needed, got NoneType"):
        quantize_module(None, "int4")


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
