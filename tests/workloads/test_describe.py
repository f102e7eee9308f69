"""`bitlathe models NAME`: rows that sum to the model, figures by hand, a drawing."""

import json

import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.workloads import load_model, model_names
from bitlathe.workloads.describe import block, figures, layer_rows, lines, matrix_rows


@pytest.mark.parametrize("name", model_names())
def test_matrices_sum_to_the_weights_and_layers_to_the_depth(name):
    model = load_model(name)
    assert sum(row["elements"] for row in matrix_rows(model)) == model.weight_count
    if layers := layer_rows(model):
        assert sum(row["layers"] for row in layers) == model.shape.depth


def test_the_figures_of_a_token_by_hand():
    """32 layers, 8 K/V heads of 128; every matrix once, scores and mix of 32 heads."""
    found = figures(load_model("llama-3.1-8b"), 1000)
    assert found["cache_elements_per_token"] == 32 * 2 * 8 * 128
    assert found["cache_bytes_per_token"] == 131_072
    assert found["cache_elements"] == 1000 * 32 * 2 * 8 * 128
    assert found["macs"] == found["weight_elements"] + 32 * 2 * 32 * 128 * 1000


def test_states_are_told_of_models_that_have_them():
    """Mamba keeps, in both layers, 4 inputs of 128 channels and a state of 128 x 16."""
    keys = {"vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    taps = {"state_size": 16, "conv_kernel": 4, "time_step_rank": 4}
    mamba = load_model({"model_type": "mamba", **keys, **taps})
    kept = 2 * 128 * (16 + 4)
    assert lines(mamba)[-1] == f"states: {kept:,} elements of a sequence of any length"
    assert not any("states" in line for line in lines(load_model("llama-3.1-8b")))


@pytest.mark.parametrize("name", ["llama-2-7b", "resnet-18", "vit-base", "mixtral-8x7b"])
def test_a_block_is_whole_and_has_no_circle(name):
    from bitlathe.reports.charts.block import drawing, ranks

    nodes, edges = block(load_model(name))
    names = [node["name"] for node in nodes]
    assert {end for edge in edges for end in edge} <= set(names)
    rows = ranks(names, edges)
    assert all(rows[tail] < rows[head] for tail, head in edges)
    drawn = drawing(nodes, edges)
    for line in drawn:
        assert len(line) <= 100 or line.count("[") == 1
    cells = [cell for line in drawn for cell in line.split("[")[1:]]
    assert sorted(cell.split()[0] for cell in cells) == sorted(names)
    assert drawn.count("  |") == max(rows.values())


def test_the_command(tmp_path):
    picture = tmp_path / "block.svg"
    done = CliRunner().invoke(main, ["models", "gemma-3-1b", "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    assert "999,885,952 parameters" in done.output
    assert "softmax_local" in picture.read_text()
    plain = CliRunner().invoke(main, ["models", "gemma-3-1b", "--json", "--context", "100"])
    assert json.loads(plain.stdout)["cache_elements"] == 100 * 26 * 2 * 256
    for place in (str(tmp_path), "block"):
        done = CliRunner().invoke(main, ["models", "gemma-3-1b", "--plot", place])
        assert done.exit_code == 2
        assert "name a file that ends in .png" in done.output
    assert "name a model" in CliRunner().invoke(main, ["models", "--plot", "x.png"]).output


def test_a_model_is_named_once_and_short_ones_need_no_context():
    """GPT-2 has positions for 1,024 tokens: 24 x 768 keys and values of each."""
    named, described = (
        CliRunner().invoke(main, ["models", *how]) for how in (["gpt2"], ["--describe", "gpt2"])
    )
    assert named.exit_code == 0, named.output
    assert named.output == described.output
    assert f"{24 * 768 * 1024:,} at 1,024 tokens" in named.output
    assert f"{2 * 24 * 768:,} bytes a token" in named.output
    assert "\n[attention_qk 1 x 64 x 12 + softmax]\n" in named.output
    both = CliRunner().invoke(main, ["models", "gpt2", "--describe", "phi-2"])
    assert both.exit_code == 2
    assert "a model is named already, gpt2" in both.output
