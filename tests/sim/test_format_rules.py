"""Formats of single layers: rules by kind, name and number, keys and values apart."""

import pytest

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.arch.formats import FormatRule
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.workloads import load_model

QUICK = {"fidelity": "analytic", "mapper": "whole-buffer"}
BASE = "bitmod_fp4@g128/int8"


def bits(scheme, k):
    return Scheme.parse(scheme).bits_per_element(k)


def run(rules, model="smollm2-135m", phase="decode", context=64, **more):
    chip = load_arch("bitmod", {"formats.rules": rules})
    return bl.simulate(chip, model, phase, context, **QUICK, **more)


def stored(found):
    """Return the weight bits of an element by name and count, of layers whose weights pass once."""
    return {
        (layer.name, layer.count): layer.dram_bits["weight"] / (layer.n * layer.k * layer.batch)
        for layer in found.layers
        if layer.unit is None
    }


def test_first_and_last_layers_in_eight_bits():
    """30 layers, 2 of them in INT8; the head and the rest as before."""
    found = stored(run([{"layers": [0, -1], "weight": "int8@channel"}]))
    assert found["q_proj", 2] == float(bits("int8@channel", 576))
    assert found["q_proj", 28] == pytest.approx(float(bits(BASE, 576)), rel=0.02)
    assert ("lm_head", 1) in found
    plain = stored(run([{"names": "nothing", "weight": "int8@channel"}]))
    assert found["lm_head", 1] == plain["lm_head", 1]
    assert ("q_proj", 30) in plain


def test_rules_add_up_to_the_same_model():
    """Weights of all layers in a format are those of the format for all, whoever asks for it."""
    everywhere = bl.simulate(
        load_arch("bitmod", {"formats.linear.weight": "int8@channel"}), "smollm2-135m", "decode",
        64, **QUICK,
    )  # fmt: skip
    rules = [
        {"layers": [[0, 9]], "weight": "int8@channel"},
        {"layers": [[10, -1]], "weight": "int8@channel"},
        {"kind": "lm_head", "weight": "int8@channel"},
    ]
    split = run(rules)
    total = {
        each: sum(layer.dram_bits["weight"] * layer.count for layer in result.layers)
        for each, result in (("all", everywhere), ("split", split))
    }
    assert total["all"] == total["split"]
    assert everywhere.cycles == split.cycles


def test_layers_of_different_kinds_keep_their_numbers():
    """Gemma 3 1B: layers 5, 11, 17 and 23 see all tokens, the other 22 a window."""
    model = load_model("gemma-3-1b")
    order = model.shape.in_order
    assert len(order) == 26
    full = [i for i, layers in enumerate(order) if layers.parts[0].window is None]
    assert full == [5, 11, 17, 23]
    apart = model.told_apart([frozenset({0, 5}), frozenset({5, 6})])
    sizes = sorted(layers.numbers for layers in apart.shape.layers)
    assert (0,) in sizes
    assert (5,) in sizes
    assert (6,) in sizes
    assert sorted(n for numbers in sizes for n in numbers) == list(range(26))
    assert apart.parameter_count == model.parameter_count
    plain, told = model.gemms("decode", 700), apart.gemms("decode", 700)
    assert sum(g.macs * g.count for g in plain) == sum(g.macs * g.count for g in told)
    assert {g.layers for g in plain} == {()}
    assert {n for g in told for n in g.layers} == set(range(26))


def test_layers_that_share_weights_stay_shared():
    config = {"model_type": "albert", "hidden_size": 64, "num_hidden_layers": 6, "vocab_size": 90,
              "num_attention_heads": 4, "intermediate_size": 96,
              "max_position_embeddings": 32}  # fmt: skip
    model = load_model(config)
    for groups in ([frozenset({0})], [frozenset({3}), frozenset({5})]):
        assert model.told_apart(groups).parameter_count == model.parameter_count


def test_keys_and_values_apart():
    """Keys in INT8, values in INT4: each is read in its own bits."""
    rules = [
        {"kind": "attention", "names": "attention_qk*", "weight": "int8@channel"},
        {"kind": "attention", "names": "attention_av*", "weight": "int4@g64"},
    ]
    found = stored(run(rules))
    assert found["attention_qk", 30] == float(bits("int8@channel", 64))
    assert found["attention_av", 30] == float(bits("int4@g64", 64))


def test_a_router_and_experts_apart():
    config = {"model_type": "qwen3_moe", "hidden_size": 256, "num_hidden_layers": 3,
              "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
              "intermediate_size": 256, "vocab_size": 512, "num_experts": 4,
              "num_experts_per_tok": 2, "moe_intermediate_size": 128}  # fmt: skip
    rules = [
        {"names": ["router"], "weight": "int8@channel"},
        {"names": "expert_*", "weight": "int3@channel"},
        {"names": "expert_down_proj", "weight": "int6@channel"},
    ]
    found = stored(run(rules, config))
    by_name = {name: each for (name, _), each in found.items()}
    assert by_name["router"] == float(bits("int8@channel", 256))
    assert by_name["expert_gate_proj"] == float(bits("int3@channel", 256))
    assert by_name["expert_down_proj"] == float(bits("int6@channel", 128))  # the later rule
    result = run(rules, config)
    assert result.formats["rules.1"]["weight"] == "int3@channel"
    assert result.to_dict()["formats"]["rules.0"]["input"] == "fp16"


def test_a_chip_without_rules_says_nothing_of_them():
    assert load_arch("bitmod").plain()["formats"]["rules"] is None
    found = bl.simulate("bitmod", "smollm2-135m", "decode", 64, **QUICK)
    assert set(found.formats) == {"linear", "attention", "lm_head"}
    assert load_arch("bitmod").formats.of("linear") == load_arch("bitmod").formats.linear


def test_numbers_of_layers():
    rule = FormatRule(layers=[0, -1, [2, 4], [-3, -2]], weight="fp16")
    assert rule.numbers(10) == {0, 9, 2, 3, 4, 7, 8}
    known = FormatRule(layers=[0, 3], names=["q_*"], weight="fp16")
    assert known.covers("linear", "q_proj", (0, 3))
    assert not known.covers("linear", "q_proj", (0, 1))
    assert not known.covers("linear", "q_proj", ())
    assert not known.covers("linear", "k_proj", (0,))
    assert not known.covers("attention", "q_proj", (0,))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{"layers": [30], "weight": "int8@channel"}], "rules.0.layers: 30 is not among the 30"),
        ([{"layers": [1, "q"], "weight": "int8@channel"}], "'q' is not a layer; list numbers of"),
        ([{"layers": 1.5, "weight": "int8@channel"}], "1.5 is not a layer; list numbers of layers"),
        ([{"layers": [True], "weight": "int8@channel"}], "true is not a layer"),
        ([{"layers": [-31], "weight": "int8@channel"}], "formats.rules.0.layers: -31 is not among"),
        ([{"layers": [[5, 2]], "weight": "int8@channel"}], "layers: [5, 2] is not among"),
        ([{"layers": [0]}], "give 'weight', 'input' or 'output'"),
        ([{"names": [], "weight": "int8@channel"}], "names"),
        ([{"kind": "gate", "weight": "int8@channel"}], "kind"),
        ([{"name": "router", "weight": "int8@channel"}], "name"),
        ([{"weight": "int99"}], "int99"),
        ([{"names": "q_proj", "weight": "fp16"}], "formats.rules.0.weight"),
    ],
)
def test_rules_that_cannot_be(rules, words):
    with pytest.raises(BitlatheError) as caught:
        run(rules)
    assert words in str(caught.value)


def test_layers_of_models_without_layers():
    with pytest.raises(BitlatheError, match=r"layers: 0 is not among the 0 layers"):
        run([{"layers": [0], "weight": "int8@channel"}], "resnet-18", "prefill", None)


def test_rules_that_name_nothing_are_told():
    rules = [
        {"names": ["q_prj", "nothing*"], "weight": "int8"},
        {"names": ["q_proj", "nothing"], "weight": "int8"},
        {"kind": "conv", "weight": "int8"},
        {"kind": "attention", "names": "q_proj", "weight": "int8"},
    ]
    arch = bl.load_arch("bitmod", {"formats.rules": rules})
    run = bl.simulate(arch, "opt-125m", "decode", 16, fidelity="analytic", mapper="whole-buffer")
    assert run.idle_rules == (
        "formats.rules.0 (linear q_prj, nothing*)",
        "formats.rules.3 (attention q_proj)",
    )
    assert bl.simulate("bitmod", "opt-125m", mapper="whole-buffer").idle_rules == ()


@pytest.mark.parametrize(
    ("keys", "values", "what"),
    [
        ("int8@channel", "int8@input", ()),  # of each token
        ("int4@b64x1", "int4@g64", ()),  # of each channel, over blocks of tokens
        ("int8@g32", "int8@b32x1", ()),  # of a token's groups
        ("int8@channel", "int8@channel", ("values",)),
        ("int8@input", "int8@g64", ("keys",)),
        ("int8@channel", "nvfp4", ("values",)),  # its outer scale is the tensor's
        ("int8@tensor", "int8@tensor", ("keys", "values")),
    ],
)
def test_scales_that_a_growing_cache_cannot_have(keys, values, what):
    """Refused with the key, unless the chip says that they are known beforehand; then told."""
    schemes = {"attention_qk": keys, "attention_av": values}

    def chip(**said):
        rules = [
            {"kind": "attention", "names": name, "weight": {"scheme": scheme, **said}}
            for name, scheme in schemes.items()
        ]
        return bl.load_arch("bitmod", {"formats.rules": rules})

    found = bl.simulate(chip(calibrated=True), "opt-125m", "decode", 16, **QUICK)
    assert [said.split()[0] for said in found.calibrated] == list(what)
    assert found.to_dict().get("calibrated", []) == list(found.calibrated)
    known = bl.simulate(chip(calibrated=True), "opt-125m", "prefill", 16, **QUICK)
    assert known.calibrated == ()  # the prompt's, which are there
    assert bl.simulate(chip(), "bert-base", "prefill", 16, **QUICK).calibrated == ()
    passes = [{"phase": "decode", "context": 16}, {"phase": "prefill", "context": 16},
              {"step": {"prefill": [[8, 8]]}}]  # fmt: skip
    for asked in passes[: 3 if what else 1]:
        if what:
            place = f"formats.rules.{int(what[0] == 'values')}.weight: {what[0]} in "
            with pytest.raises(BitlatheError, match=place) as refused:
                bl.simulate(chip(), "opt-125m", **asked, **QUICK)
            assert "a new token may change it" in str(refused.value)
            assert f"weight: {'int8@channel' if what[0] == 'keys' else 'int8@input'}" in str(
                refused.value
            )
        else:
            assert bl.simulate(chip(), "opt-125m", **asked, **QUICK).calibrated == ()


def test_a_cache_that_does_not_grow_may_have_any_scale():
    """Keys and values of a source are made once; those of an encoder are not kept."""
    rules = [
        {"kind": "attention", "names": f"attention_{which}_{end}", "weight": "int8@tensor"}
        for which in ("qk", "av")
        for end in ("cross", "encoder")
    ]
    each = [
        {"kind": "attention", "names": "attention_qk", "weight": "int8@channel"},
        {"kind": "attention", "names": "attention_av", "weight": "int8@input"},
    ]
    t5 = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 64,
          "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 96, "vocab_size": 100}  # fmt: skip
    chip = bl.load_arch("bitmod", {"formats.rules": [*rules, *each]})
    for phase in ("prefill", "decode"):
        assert bl.simulate(chip, t5, phase, 8, **QUICK).calibrated == ()
    own = {"formats.rules": each[:1], "formats.attention.weight": "int8@tensor"}
    chip = bl.load_arch("bitmod", own)
    with pytest.raises(BitlatheError, match=r"formats\.attention\.weight: values in int8@tensor"):
        bl.simulate(chip, t5, "decode", 8, **QUICK)
    known = {"scheme": "int8@channel", "calibrated": True}
    with pytest.raises(BitlatheError, match=r"linear\.weight: 'calibrated' is of keys and values"):
        bl.load_arch("bitmod", {"formats.linear.weight": known})


def priced(formats, model="llama-3.2-1b", phase="decode"):
    chip = load_arch("bitmod", {f"formats.{key}": value for key, value in formats.items()})
    return bl.simulate(chip, model, phase, 64, **QUICK)


def test_routers_have_formats_of_their_own():
    """As a rule about the router alone; a later rule goes ahead of the section."""
    own = stored(priced({"router.weight": "int8@channel"}, "qwen3-30b-a3b"))
    assert own["router", 48] == float(bits("int8@channel", 2048))
    assert own == stored(run([{"names": "router", "weight": "int8@channel"}], "qwen3-30b-a3b"))
    rule = [{"kind": "router", "weight": "int6@channel"}]
    both = priced({"router.weight": "int8@channel", "rules": rule}, "qwen3-30b-a3b")
    assert stored(both)["router", 48] == float(bits("int6@channel", 2048))
    labels = {kind: each["weight"] for kind, each in both.formats.items()}
    assert (labels["router"], labels["rules.0"]) == ("int8@channel", "int6@channel")
    assert "router" not in priced({}, "qwen3-30b-a3b").formats


def test_norms_have_formats_of_their_own():
    """Llama 3.2 1B: 33 norms of 2,048 scales; a stream of 64 x 2,048 numbers in the prompt."""
    plain, scales = (priced(f, phase="prefill") for f in ({}, {"norm.weight": "fp32"}))
    before, after = ({layer.name: layer for layer in r.layers} for r in (plain, scales))
    for name, layer in after.items():
        more = 32 * 2048 * name.endswith("_norm")
        assert layer.dram_bits["input"] == before[name].dram_bits["input"] + more, name
    assert scales.formats["norm"] == {"weight": "fp32", "input": "fp16"}
    wide = priced({"norm": {"weight": "fp32", "input": "fp32"}}, phase="prefill")
    stream = 64 * 2048 * 16  # more bits than in FP16
    changed = {
        layer.name: [
            layer.dram_bits[o] - after[layer.name].dram_bits[o] for o in ("input", "output")
        ]
        for layer in wide.layers
        if layer.dram_bits != after[layer.name].dram_bits
    }
    assert changed == {
        **{f"{name}_residual": [stream, 0] for name in ("o_proj", "down_proj")},
        **{f"{name}_norm": [stream, 0] for name in ("o_proj", "down_proj")},
        **{name: [0, stream] for name in ("o_proj", "down_proj")},
        "final_norm": [stream // 64, 0],  # of the last token
    }
    with pytest.raises(BitlatheError, match=r"unknown key .formats\.norm\.output."):
        priced({"norm": {"weight": "fp32", "output": "fp16"}})


@pytest.mark.parametrize(
    ("rule", "key", "value"),
    [
        ({"names": "attention_qk*", "weight": "int4@b64x1"}, 4 + 16 / 64, 8 + 16 / 1024),
        ({"names": "attention_qk*", "weight": "int8@g32"}, 8.5, 8 + 16 / 1024),
        ({"names": "attention_av*", "weight": "int8@input"}, 8 + 16 / 64, 8 + 16 / 64),
        ({"names": "attention_av*", "weight": "int8@b32x1"}, 8 + 16 / 64, 8.5),
        ({"names": "attention_av*", "weight": "int4@g64"}, 8 + 16 / 64, 4.25),
    ],
)
def test_scales_of_the_cache_go_either_way(rule, key, value):
    """Heads of 64 channels, 1,024 tokens: a scale of 16 bits for each block; clocks by bits."""
    found = run([{"kind": "attention", **rule}], "llama-3.2-1b", context=1024)
    layers = {layer.name: layer for layer in found.layers}
    for name, bits_each in (("attention_qk", key), ("attention_av", value)):
        layer = layers[name]
        elements = layer.n * layer.k * layer.batch
        assert layer.dram_bits["weight"] == pytest.approx(bits_each * elements, rel=1e-3)
        assert layer.cycles < 1.1 * bits_each * elements / 64 + 1000, name  # no rescaled sums
    for name, bits_each in (("k_proj", key), ("v_proj", min(value, 8.5))):
        written = layers[name].dram_bits["output"] / layers[name].n
        assert written == pytest.approx(bits_each, abs=0.02)


def test_blocks_of_several_outputs_share_a_scale():
    """FP8 in blocks of 128 x 128, as DeepSeek-V3 is stored: 16 bits for 16,384 weights."""
    chip = load_arch("fp16", {"formats.linear.weight": "fp8_e4m3@b128x128"})
    layers = bl.simulate(chip, "llama-3.2-1b", "decode", 64, **QUICK).layers
    q = next(layer for layer in layers if layer.name == "q_proj")
    stored = q.n * q.k * 8 + q.n * q.k // 128**2 * 16
    assert q.dram_bits["weight"] == pytest.approx(stored, rel=5e-4)  # whole bytes a tile
