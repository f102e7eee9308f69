"""How checkpoints store weights: quantization_config as formats of a chip."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.arch.stored import runnable
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.workloads import load_model

SMALL = json.loads((Path(__file__).parent / "small_models.json").read_text())["models"]
LLAMA = {"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 4,
         "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 384,
         "vocab_size": 512}  # fmt: skip
MOE = {**LLAMA, "model_type": "qwen3_moe", "head_dim": 64, "num_experts": 4,
       "num_experts_per_tok": 2, "moe_intermediate_size": 128, "mlp_only_layers": [0]}  # fmt: skip
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}


def compressed(weights, more=None, **beside):
    group = {"weights": weights, "input_activations": more, "targets": ["Linear"]}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, **beside}


@pytest.mark.parametrize(
    ("given", "weight", "inputs", "cache"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4@g128", None, None),
        ({"quant_method": "gptq", "bits": 3, "group_size": -1, "sym": False}, "int3_asym@channel",
         None, None),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": True},
         "int4_asym@g64", None, None),
        ({"quant_method": "mxfp4"}, "mxfp4", None, None),
        ({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
         "fp8_e4m3@b128x128", "fp8_e4m3@g128", None),
        ({"quant_method": "bitnet"}, "int2@tensor", "int8@channel", None),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
         "nf4@g64", None, None),
        (compressed(INT4), "int4@g128", None, None),
        (compressed({**INT4, "symmetric": False, "group_size": 32}), "int4_asym@g32", None, None),
        (compressed({"num_bits": 8, "type": "float", "strategy": "channel"},
                    {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
                    kv_cache_scheme={"num_bits": 8, "type": "float", "strategy": "tensor"}),
         "fp8_e4m3@channel", "fp8_e4m3@channel", "fp8_e4m3@tensor"),
        (compressed({"num_bits": 4, "type": "float", "strategy": "tensor_group",
                     "group_size": 16}), "nvfp4", None, None),
    ],
)  # fmt: skip
def test_methods(given, weight, inputs, cache):
    model = load_model({**LLAMA, "quantization_config": given})
    stored = model.stored
    assert (stored.weight, stored.input, stored.cache) == (weight, inputs, cache)
    assert stored.method == given["quant_method"]
    (note,) = model.notes
    assert f"weights are stored as {weight}" in note
    settings = model.stored_formats
    assert settings["formats.linear.weight"] == weight
    assert settings.get("formats.linear.input") == inputs
    held = {"scheme": cache, "calibrated": True}  # the checkpoint has their scales
    assert settings.get("formats.attention.weight") == (cache and held)
    load_arch("fp16", {"formats.rules": settings["formats.rules"]})  # rules are legal


@pytest.mark.parametrize(
    "given",
    [
        {"quant_method": "gptq"},  # no bits
        {"quant_method": "gptq", "bits": 4.5},
        {"quant_method": "aqlm"},
        {"quant_method": None},
        {},
        {"quant_method": "compressed-tensors", "config_groups": {}},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {}, "b": {}}},
        compressed({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": 3}),
        compressed({"num_bits": 5, "type": "float"}),
        compressed(None),
        {"quant_method": "fp8", "weight_block_size": [0, 128]},
        {"quant_method": "fp8", "weight_block_size": [128]},
        {"quant_method": "fp8", "weight_block_size": 128},
        {"quant_method": "gptq", "bits": 4, "group_size": "128 or so"},
        {"quant_method": "gptq", "bits": 4, "group_size": 0},
        {"quant_method": "awq", "bits": 4, "group_size": -2},
        {"quant_method": ["gptq"]},
    ],
)
def test_what_is_not_understood_is_told(given):
    model = load_model({**LLAMA, "quantization_config": given})
    assert model.stored is None
    assert "is not used" in model.notes[0]
    with pytest.raises(BitlatheError) as caught:
        _ = model.stored_formats
    assert str(caught.value) == f"{model.name}: {model.notes[0]}"


def bits(run):
    return {
        (layer.name, layer.count): layer.dram_bits["weight"] / (layer.n * layer.k * layer.batch)
        for layer in run.layers
        if layer.unit is None
    }


def run(config, given):
    model = load_model({**config, "quantization_config": given})
    chip = load_arch("fp16", model.stored_formats)
    return bl.simulate(chip, model, "decode", 16, fidelity="analytic", mapper="whole-buffer")


def test_gpt_oss_stores_experts_in_mxfp4_and_the_rest_in_16_bits():
    given = {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
    ]}  # fmt: skip
    config = {**MOE, "model_type": "gpt_oss", "num_local_experts": 4, "intermediate_size": 128}
    for key in ("num_experts", "mlp_only_layers", "moe_intermediate_size"):
        config.pop(key)
    found = bits(run(config, given))
    width = float(Scheme.parse("mxfp4").bits_per_element(256))
    experts = {value for (name, _), value in found.items() if name.startswith("expert_")}
    assert experts == {width}
    others = {name: v for (name, _), v in found.items() if name in ("q_proj", "router", "lm_head")}
    assert others == {"q_proj": 16, "router": 16, "lm_head": 16}


def test_modules_that_are_left_alone():
    """A regular expression, a layer's module, a name alone; the router always."""
    given = compressed(INT4, ignore=["lm_head", "re:.*self_attn.*", "model.layers.2.mlp.down_proj"])
    found = bits(run(LLAMA, given))
    four = float(Scheme.parse("int4@g128").bits_per_element(256))
    assert found["q_proj", 3] == found["q_proj", 1] == found["lm_head", 1] == 16
    assert found["up_proj", 4 - 1] == found["up_proj", 1] == four  # layer 2 is told apart
    assert found["down_proj", 1] == 16
    assert found["down_proj", 3] == pytest.approx(four)
    mixed = bits(run(MOE, {"quant_method": "awq", "modules_to_not_convert": ["o_proj"]}))
    assert mixed["router", 3] == 16
    assert mixed["o_proj", 4] == 16
    assert mixed["q_proj", 4] == float(Scheme.parse("int4_asym@g128").bits_per_element(256))


def test_the_head_where_it_is_quantized():
    assert bits(run(LLAMA, compressed(INT4)))["lm_head", 1] == float(
        Scheme.parse("int4@g128").bits_per_element(256)
    )
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    assert bits(run(LLAMA, gptq))["lm_head", 1] == 16
    assert bits(run(LLAMA, {**gptq, "lm_head": True}))["lm_head", 1] < 5


@pytest.mark.parametrize("name", [name for name in SMALL if name.endswith("-0")])
def test_any_model_has_rules_that_a_chip_can_read(name):
    given = {"quant_method": "gptq", "bits": 4, "group_size": 8, "modules_to_not_convert": ["0"]}
    model = load_model({**SMALL[name]["config"], "quantization_config": given})
    rules = model.stored_formats["formats.rules"]
    names = {part_matrix.name for part, _ in model.shape.parts()
             for part_matrix, _ in part.matrices()}  # fmt: skip
    for rule in rules:
        assert set(rule.get("names", ())) <= names
    load_arch("fp16", {"formats.rules": rules})


def test_a_chip_that_takes_no_16_bits_says_so():
    model = load_model({**LLAMA, "quantization_config": {"quant_method": "awq"}})
    with pytest.raises(BitlatheError, match="cannot take 'fp16' as weights"):
        load_arch("bitmod", model.stored_formats)


def test_the_command_takes_the_formats_of_the_checkpoint(tmp_path):
    path = tmp_path / "mine.json"
    given = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    path.write_text(json.dumps({**LLAMA, "quantization_config": given}))
    asked = ["simulate", "--arch", "fp16", "--model", str(path), "--context", "16", "--json",
             "--fidelity", "analytic", "--mapper", "whole-buffer"]  # fmt: skip
    found = {}
    for whose in ("chip", "checkpoint"):
        result = CliRunner().invoke(main, [*asked, "--formats", whose])
        assert result.exit_code == 0, result.output
        found[whose] = json.loads(result.stdout)["formats"]["linear"]["weight"]
    assert found == {"chip": "fp16", "checkpoint": "int4@g128"}
    over = CliRunner().invoke(
        main, [*asked, "--formats", "checkpoint", "--set", "formats.linear.weight=int3@channel"]
    )
    assert json.loads(over.stdout)["formats"]["linear"]["weight"] == "int3@channel"
    asked[2] = "bitmod"  # whose PEs take no fp16 weights: the head is in the chip's own
    result = CliRunner().invoke(main, [*asked, "--formats", "checkpoint"])
    assert result.exit_code == 0, result.output
    assert "lm_head: the checkpoint keeps weights in fp16, which the PEs of bitmod" in result.stderr
    assert json.loads(result.stdout)["formats"]["linear"]["weight"] == "int4@g128"
    stored = load_model(path).stored_formats
    settings, notes = runnable(load_arch("bitmod"), stored)
    head = next(rule for rule in settings["formats.rules"] if rule.get("kind") == "lm_head")
    assert head["weight"] == {"scheme": "bitmod_fp4@g128/int8"}
    assert len(notes) == 1
    assert runnable(load_arch("fp16"), stored) == (stored, [])
    quiet = CliRunner().invoke(
        main, [*asked, "--formats", "checkpoint", "--set", "formats.rules=[]"]
    )
    assert (quiet.exit_code, "lm_head" in quiet.stderr) == (0, False)
    shown = CliRunner().invoke(main, ["models", str(path)])
    assert "weights are stored as int4@g128" in shown.output
    refused = CliRunner().invoke(main, [*asked, "--formats", "mine"])
    assert refused.exit_code == 2
    assert "--formats: unknown value 'mine'" in refused.output
