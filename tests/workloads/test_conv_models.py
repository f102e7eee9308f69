"""Convolution networks of Hugging Face files against their classes (conv_models.json)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model
from bitlathe.workloads.reading.convolutions import CONV_FAMILIES

TRUTH = json.loads((Path(__file__).parent / "conv_models.json").read_text())["models"]


def macs(model, **run):
    return sum(gemm.macs * gemm.count for gemm in model.gemms(**run))


@pytest.mark.parametrize("name", TRUTH)
def test_parameters_and_multiply_accumulates(name):
    truth = TRUTH[name]
    model = load_model(truth["config"])
    assert model.parameter_count == truth["parameters"]
    assert macs(model) == truth["macs"]
    assert macs(model, batch=3) == 3 * truth["macs"]
    assert model.family == truth["config"]["model_type"]


def test_every_family_is_held_to_its_class():
    assert {each["config"]["model_type"] for each in TRUTH.values()} == {*CONV_FAMILIES, "swin"}


def test_resnet_50_is_the_shipped_network():
    """The class puts the stride where torchvision does: 4.089 G multiply-accumulates."""
    named = {str(i): str(i) for i in range(1000)}
    config = {"model_type": "resnet", "id2label": named,
              "architectures": ["ResNetForImageClassification"]}  # fmt: skip
    mine, shipped = load_model(config), load_model("resnet-50")
    assert mine.parameter_count == shipped.parameter_count == 25_557_032
    assert macs(mine) == macs(shipped)
    sizes = [sorted((g.m, g.n, g.k, g.count) for g in each.gemms()) for each in (mine, shipped)]
    assert sizes[0] == sizes[1]


def test_mobilenet_v2_is_the_shipped_network():
    named = {str(i): str(i) for i in range(1000)}
    config = {"model_type": "mobilenet_v2", "id2label": named,
              "architectures": ["MobileNetV2ForImageClassification"]}  # fmt: skip
    mine, shipped = load_model(config), load_model("mobilenet-v2")
    assert mine.parameter_count == shipped.parameter_count
    assert macs(mine) == macs(shipped)


def test_a_factor_for_each_channel(tmp_path):
    """Squeeze and excitation: the map is read again, and a factor a channel."""
    model = load_model(TRUTH["efficientnet-0"]["config"])
    steps = {s.name: s for s in model.vector_steps(model.staged())}
    step = steps["blocks.0.scale"]
    assert (step.elements, sum(t.elements for t in step.reads)) == (32**3, 32**3 + 32)
    listed = {"input": [8, 4, 4], "layers": [
        {"name": "a", "out_channels": 8, "kernel": 1},
        {"name": "b", "out_channels": 8, "kernel": 1},
        {"name": "c", "type": "multiply", "from": ["a", "b"]}]}  # fmt: skip
    with pytest.raises(BitlatheError, match="of as many channels of one pixel"):
        load_model(listed)


@pytest.mark.parametrize("name", [name for name in TRUTH if name.startswith("swin")])
def test_matrices_of_windows(name):
    truth = TRUTH[name]
    shape = load_model(truth["config"]).shape
    gemms = [entry.gemm for entry in shape.entries if entry.gemm.stationary == "weight"]
    assert Counter((g.n, g.k) for g in gemms) == {(n, k): c for n, k, c in truth["matrices"]}


SWIN = TRUTH["swin-0"]["config"]
RESNET = TRUTH["ResNetModel-0"]["config"]
CONVNEXT = TRUTH["ConvNextModel-0"]["config"]


def test_widths_are_products_of_floats():
    """3.3 x 20 is 66, as in the class, though the float 3.3 is a little less than 33/10."""
    model = load_model({**SWIN, "embed_dim": 20, "num_heads": [2, 2], "depths": [1, 1],
                        "mlp_ratio": 3.3})  # fmt: skip
    assert {g.n for g in model.gemms() if g.name.endswith("mlp.fc1")} == {66, 132}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**RESNET, "depths": [1, 2]}, "'depths' lists 2 stages, 'hidden_sizes' 4"),
        ({**RESNET, "hidden_sizes": [8, 0, 8, 8]}, "'hidden_sizes' is [8, 0, 8, 8]"),
        ({**RESNET, "hidden_sizes": []}, "it must list an integer a stage"),
        ({**RESNET, "layer_type": "wide"}, "must be 'basic' or 'bottleneck'"),
        ({**RESNET, "layer_type": 3}, "'layer_type' is 3"),
        ({**RESNET, "hidden_act": "sine"}, "'sine'"),
        ({**CONVNEXT, "patch_size": 0}, "'patch_size' is 0"),
        ({**CONVNEXT, "patch_size": 4096}, "patch_embeddings"),
        ({"model_type": "mobilenet_v2", "depth_multiplier": 0}, "'depth_multiplier' is 0"),
        ({"model_type": "mobilenet_v2", "image_size": [64, 96]}, "'image_size' is [64, 96]"),
        ({"model_type": "efficientnet", "strides": [1, 2]}, "lists 2 stages, 'in_channels' 7"),
        ({"model_type": "efficientnet", "in_channels": [32] * 7}, "where 32 come in"),
        ({"model_type": "efficientnet", "kernel_sizes": ["3"] * 7}, "must list an integer a"),
        ({**SWIN, "num_heads": [2, 5]}, "names 5, which does not divide the 48 channels"),
        ({**SWIN, "num_heads": [2]}, "'depths' lists 2 stages, 'num_heads' 1"),
        ({**SWIN, "depths": [0, 2]}, "must list an integer a stage"),
        ({**SWIN, "window_size": 12}, "stage 1 has 9 x 9 patches"),
        ({**SWIN, "image_size": 52}, "does not divide the 'image_size' of 52"),
        ({**SWIN, "mlp_ratio": "4"}, "'mlp_ratio' is '4'"),
        ({**SWIN, "hidden_act": "sine"}, "sine"),
        ({"model_type": "swin", "windw_size": 7}, "Is it meant to be 'window_size'"),
        ({"model_type": "convnext", "hiden_sizes": [8]}, "Is it meant to be 'hidden_sizes'"),
    ],
)
def test_networks_that_cannot_be(config, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(config)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
