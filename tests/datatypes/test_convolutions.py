"""Weights of convolutions: groups along (in x height x width), in `quantize` as in `simulate`."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import torch
from torch import nn

import bitlathe as bl
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.study.compare import compare
from bitlathe.datatypes.tensors.tensor import QuantizedTensor
from bitlathe.datatypes.torch_module import fake_quantize, quantize_module
from bitlathe.sim.policy import layer_bits
from bitlathe.workloads.conv import conv_gemm
from bitlathe.workloads.conv_shape import ConvShape
from quantized_cases import weights

MODEL = """
input: [16, 32, 32]
layers:
  - {name: conv, type: conv, out_channels: 32, kernel: 3, padding: 1}
"""


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (5, 1, 3, 3), (4, 3, 2, 3, 3), (2, 2, 1, 1)])
@pytest.mark.parametrize(
    "text", ["bitmod_fp4@g128/int8", "int4_asym@g20", "nvfp4", "olive4@g9", "bcq2@g16", "int4@b2x7"]
)
def test_all_axes_but_the_first_are_one(text, shape):
    x = weights(shape)
    flat = quantize(x.reshape(shape[0], -1), text)
    q = quantize(x, text)
    np.testing.assert_array_equal(q.codes, flat.codes.reshape(shape))
    np.testing.assert_array_equal(q.scales, flat.scales)
    np.testing.assert_array_equal(q.dequantize(), flat.dequantize().reshape(shape))
    assert q.total_bits == flat.total_bits
    assert q.axis == tuple(range(1, len(shape)))
    assert q.terms() == flat.terms() if not text.startswith("bcq") else True


def test_bits_are_those_of_a_simulated_layer(tmp_path):
    """4608 weights x 4 bits, 64 groups x (8 + 2) bits, 32 channels x 16 bits: 19,584.

    The rule stores each output channel in whole bytes: 32 x ceil(612 / 8) bytes = 19,712 bits.
    """
    text = "bitmod_fp4@g128/int8"
    q = quantize(weights((32, 16, 3, 3)), text)
    assert q.total_bits == 4608 * 4 + 32 * 2 * 10 + 32 * 16 == 19_584
    (tmp_path / "one.yaml").write_text(MODEL)
    assert bl.load_arch("bitmod").formats.linear.weight.label == text
    channel = Fraction(q.total_bits, 32)
    rule, mapping = (
        bl.simulate("bitmod", str(tmp_path / "one.yaml"), mapper=mapper).layers[0]
        for mapper in ("whole-buffer", "search")
    )
    assert rule.dram_bits["weight"] == 32 * 8 * ceil(channel / 8) == 19_712
    assert mapping.dram_bits["weight"] == 19_584


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_results_of_all_groups_share_scales_along_their_channels(groups):
    """64 results of 8 bits and two scales of 16 bits in each position, whatever the groups."""
    shape = ConvShape(in_channels=64, out_channels=64, size=(8, 8), kernel=(3, 3), groups=groups)
    arch = bl.load_arch("fp16", {"formats.linear.output": "int8@g32"})
    made = layer_bits(arch, conv_gemm(shape, "conv"))
    assert made.output == Fraction(64 * 8 + 2 * 16, 64)


def test_other_axes_can_be_asked_for():
    x = weights((6, 5, 3, 4))
    last = quantize(x, "int4@g4", axis=-1)
    np.testing.assert_array_equal(
        last.codes, quantize(x.reshape(-1, 4), "int4@g4").codes.reshape(x.shape)
    )
    # height, width, in, out: the first three axes are the inputs
    first = quantize(x, "int4@g8", axis=(0, 1, 2))
    moved = quantize(np.ascontiguousarray(x.reshape(90, 4).T), "int4@g8")
    np.testing.assert_array_equal(first.codes, moved.codes.T.reshape(x.shape))
    assert first.scales.shape == (4, 12)
    assert quantize(weights((3, 5, 8)), "int4@g4").axis == 2
    for wrong in ((), (0, 2), (1, 1), (2, 1), (1, 4), ("a",), (True, 2)):
        with pytest.raises(bl.BitlatheError, match="axis is"):
            quantize(x, "int4@g4", axis=wrong)


def test_output_channels_can_be_chosen_and_saved(tmp_path):
    x = weights((8, 4, 3, 3))
    q = quantize(x, "int4@g16/int6")
    y = q.dequantize()
    for key in (3, slice(2, 6), [7, 0]):
        np.testing.assert_array_equal(q[key].dequantize(), y[key])
    assert q[3].axis == (0, 1, 2)
    q.save(tmp_path / "q.safetensors")
    back = QuantizedTensor.load(tmp_path / "q.safetensors")
    assert (back.shape, back.axis) == (q.shape, q.axis)
    np.testing.assert_array_equal(back.dequantize(), y)
    with pytest.raises(bl.BitlatheError, match="first axis"):
        quantize(x, "int4@g16", axis=(0, 1))[2]


def test_a_study_counts_convolutions_so():
    x = weights((32, 16, 3, 3))
    row = compare({"conv": x}, ["bitmod_fp4@g128/int8"])[0]
    flat = compare({"conv": x.reshape(32, 144)}, ["bitmod_fp4@g128/int8"])[0]
    assert row == flat
    assert row.bits_per_element == 4.25


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 5), (6, 20)),
        (nn.Conv2d(4, 6, 3, groups=2), (6, 18)),
        (nn.Conv3d(2, 3, 2), (3, 16)),
    ],
)
def test_convolution_layers_of_a_module_are_replaced(layer, shape):
    model = nn.Sequential(layer, nn.ReLU())
    before = layer.weight.detach().clone()
    assert quantize_module(model, "int4@g8") == {
        "0": float(4 + Fraction(16 * -(-shape[1] // 8), shape[1]))
    }
    expected = quantize(before.reshape(shape), "int4@g8").dequantize().reshape(before.shape)
    assert torch.equal(layer.weight.detach(), expected)


def test_attention_keeps_its_joined_projection_apart():
    model = nn.MultiheadAttention(8, 2)
    before = model.in_proj_weight.detach().clone()
    assert set(quantize_module(model, "int4@g8")) == {"in_proj", "out_proj"}
    expected = quantize(before, "int4@g8").dequantize()
    assert torch.equal(model.in_proj_weight.detach(), expected)


def test_what_is_left_of_a_module_is_named():
    tied, again = nn.Linear(8, 4), nn.Embedding(4, 8)
    again.weight = tied.weight  # as a language model's head
    parts = [nn.Embedding(4, 8), nn.LSTM(8, 8), nn.LayerNorm(8), nn.Linear(8, 8), tied]
    model = nn.Sequential(*parts, again)
    kept = parts[0].weight.detach().clone()
    with pytest.warns(UserWarning, match=r"left as they are: 0 \(Embedding\), 1 \(LSTM\)$"):
        made = quantize_module(model, lambda name, _: None if name == "3" else "int4@g8")
    assert set(made) == {"4"}
    assert torch.equal(parts[0].weight.detach(), kept)
    with pytest.warns(UserWarning, match=r"4 \(Embedding\) and 2 more$"):
        quantize_module(nn.Sequential(*(nn.Embedding(2, 8) for _ in range(7)), tied), "int4@g8")


def test_fake_quantization_follows_the_same_rule():
    x = torch.from_numpy(weights((4, 2, 3, 3)))
    np.testing.assert_array_equal(fake_quantize(x, "int4@g9"), quantize(x, "int4@g9").dequantize())
