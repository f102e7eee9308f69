"""Diffusion transformers against their classes (diffusion_models.json)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import Products, load_model

HERE = Path(__file__).parent
TRUTH = json.loads((HERE / "diffusion_models.json").read_text())["models"]
PUBLISHED = json.loads((HERE / "published_models.json").read_text())["models"]
FLUX = PUBLISHED["flux.1-dev-transformer"]["config"]


def matrices_of(shape):
    if isinstance(shape, Products):
        own = [e.gemm for e in shape.entries if e.gemm.stationary == "weight"]
        return Counter((gemm.n, gemm.k) for gemm in own)
    found = Counter()
    for part, layers in shape.stored_parts():
        for matrix, instances in part.matrices():
            found[matrix.outputs, matrix.inputs] += instances * layers
    for matrix in (*shape.matrices_ahead(), *(head.matrix for head in shape.heads)):
        found[matrix.outputs, matrix.inputs] += 1
    return found


@pytest.mark.parametrize("name", TRUTH)
def test_parameters_matrices_and_multiply_accumulates(name):
    truth = TRUTH[name]
    model = load_model(truth["config"])
    assert model.parameter_count == truth["parameters"]
    expected = Counter({(n, k): c for n, k, c in truth["matrices"]})
    if name.startswith(("dit", "pixart")):  # patches are a convolution there
        patch = model.shape.patch_matrix
        expected[patch.outputs, patch.inputs] += 1
    assert matrices_of(model.shape) == expected
    # DiT's class embeds the time once more behind the last block, with the first one's matrices
    again = (256 + model.shape.hidden) * model.shape.hidden if name.startswith("dit") else 0
    for batch in (1, 3):
        macs = sum(gemm.macs * gemm.count for gemm in model.gemms(batch=batch))
        assert macs + batch * again == batch * truth["macs"]
    assert not model.notes


def test_flux_as_published():
    model = load_model(FLUX)
    assert model.parameter_count == PUBLISHED["flux.1-dev-transformer"]["parameters"]
    assert "images of 1024 x 1024 pixels and texts of 512 tokens" in model.notes[0]
    rows = {gemm.name: gemm.m for gemm in model.gemms()}
    assert (rows["to_q"], rows["add_q_proj"], rows["single_to_q"]) == (4096, 512, 4608)
    assert (rows["attention_qk"], rows["norm1_linear"], rows["proj_out"]) == (4608, 1, 4096)
    steps = {step.name: step for step in model.vector_steps(model.staged())}
    assert steps["final_norm"].rows == 4096
    assert steps["softmax"].elements == 24 * 4608**2
    assert (steps["softmax"].count, steps["ff_context_activation"].count) == (57, 19)


def test_both_streams_feed_each_other():
    graph = load_model(FLUX).graph()
    into = {node.name: {g.name for g in graph.predecessors(node)} for node in graph}
    assert into["attention_qk"] >= {"to_q", "add_q_proj", "to_k", "add_k_proj"}
    assert into["to_out"] == into["to_add_out"] == {"attention_av"}
    assert into["ff_context_in"] == {"to_out", "to_add_out"}
    assert into["single_proj_out"] == {"attention_av", "proj_mlp"}
    assert into["norm1_linear"] == into["time_linear_1"] == into["guidance_linear_1"] == set()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"_class_name": "UNet3DConditionModel"},
            "only FluxTransformer2DModel, DiTTransformer2DModel",
        ),
        ({"_class_name": 3}, "'_class_name' is 3"),
        ({**FLUX, "image_size": 1000}, "a token is 16 x 16 pixels, which must divide it"),
        ({**FLUX, "image_size": [1024]}, "give one integer or two [height, width]"),
        ({**FLUX, "num_layers": 0, "num_single_layers": 0}, "give layers"),
        ({**FLUX, "num_attention_heads": 0}, "'num_attention_heads' is 0"),
        ({**FLUX, "max_sequence_length": "long"}, "'max_sequence_length' is 'long'"),
    ],
)
def test_what_cannot_be_read(config, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(config)
    assert words in str(caught.value)


DIT, PIXART = TRUTH["dit-0"]["config"], TRUTH["pixart-0"]["config"]
UNET, SD3 = TRUTH["unet-0"]["config"], TRUTH["sd3-0"]["config"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**DIT, "norm_type": "layer_norm"}, "only 'ada_norm_zero' is supported"),
        ({**DIT, "patch_size": 3}, "does not divide the 'sample_size' of 8"),
        ({**DIT, "activation_fn": "geglu"}, "it must be 'gelu' or 'gelu-approximate'"),
        ({**DIT, "num_layers": 0}, "'num_layers' is 0"),
        ({**PIXART, "caption_channels": -1}, "'caption_channels' is -1"),
        ({**PIXART, "max_sequence_length": 0}, "'max_sequence_length' is 0"),
        ({**PIXART, "attention_type": "gated"}, "only 'default' is supported"),
        ({**UNET, "class_embed_type": "timestep"}, "only None is supported"),
        ({**UNET, "addition_embed_type": "image"}, "only None or 'text_time' is supported"),
        ({**UNET, "layers_per_block": [1]}, "it must list 2 positive integers"),
        ({**UNET, "transformer_layers_per_block": 10**12}, "at most 2,000 are supported"),
        ({**UNET, "block_out_channels": [16, 2**60]}, "must list some positive integers"),
        ({**UNET, "up_block_types": ["UpBlock2D"] * 3}, "must name UpBlock2D or CrossAttnUpBlock"),
        ({**UNET, "mid_block_type": "UNetMidBlock2D"}, "or null"),
        ({**UNET, "sample_size": 13}, "must be a multiple of 2"),
        ({**UNET, "norm_num_groups": 5}, "'norm_num_groups' (5)"),
        ({**SD3, "qk_norm": "layer_norm"}, "must be 'rms_norm' or null"),
        ({**SD3, "caption_projection_dim": 17}, "must be that of all heads, 16"),
        ({**SD3, "patch_size": 5}, "does not divide the 'sample_size' of 12"),
        ({**SD3, "dual_attention_layers": [3]}, "numbers of layers, 0 to 2"),
    ],
)
def test_blocks_that_are_not_read(config, words):
    with pytest.raises(BitlatheError) as caught:
        load_model(config)
    assert words in str(caught.value)


def test_dit_and_pixart_as_published():
    """DiT-XL/2 at 256 and 512 pixels, PixArt-alpha at 1024 (arXiv:2212.09748; 2310.00426)."""
    dit = load_model({"_class_name": "DiTTransformer2DModel"})
    rows = {gemm.name: (gemm.m, gemm.n, gemm.count) for gemm in dit.gemms()}
    assert rows["to_q"] == (256, 1152, 28)
    assert rows["norm1_linear"] == (1, 6 * 1152, 28)
    pixart = load_model({"_class_name": "PixArtTransformer2DModel", "caption_channels": 4096})
    assert "taken are texts of 120 tokens" in pixart.notes[0]
    gemms = {gemm.name: gemm for gemm in pixart.gemms()}
    assert (gemms["attention_qk"].m, gemms["attention_qk_text"].n) == (4096, 120)
    assert (gemms["attn2_to_k"].m, gemms["attn2_to_k"].count) == (120, 28)
    into = {node.name: set() for node in pixart.graph()}
    for a, b in pixart.graph().edges:
        into[b.name].add(a.name)
    assert into["attention_qk_text"] == {"attn2_to_q", "attn2_to_k"}
    assert into["attn2_to_q"] == {"to_out"}
    steps = {step.name: step for step in pixart.vector_steps(pixart.staged())}
    assert steps["softmax_text"].elements == 16 * 4096 * 120


def test_what_stands_between_the_products_of_a_unet():
    """Norms and gates of each resolution, counted by hand from the class's forward pass."""
    model = load_model(UNET)
    steps = [s for s in model.vector_steps(model.staged(batch=2)) if "ff.gelu" in s.name]
    assert sum(s.count for s in steps) == 16  # 3 down, 1 in the middle, 4 up, twice
    assert {(s.rows, s.elements) for s in steps} == {(2 * 36, 2 * 36 * 128)}
    softmax = [s for s in model.vector_steps(model.staged()) if "softmax" in s.name]
    seen = {(s.elements, s.rows): 0 for s in softmax}
    for step in softmax:
        seen[step.elements, step.rows] += step.count
    assert seen == {(4 * 36 * 36, 4 * 36): 16, (4 * 36 * 11, 4 * 36): 16}


def test_there_is_no_decoding():
    with pytest.raises(BitlatheError, match="vision-only"):
        load_model(FLUX).gemms("decode")
    with pytest.raises(BitlatheError, match="listed for prefill"):
        load_model(UNET).gemms("decode")
