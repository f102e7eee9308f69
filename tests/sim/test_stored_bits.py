"""What chips say an operand takes, beside the bits of that very tensor quantized."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.arch import load_arch, resolve
from bitlathe.arch.formats import Formats
from bitlathe.arch.loader import arch_names
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.sim.chip import Chip
from bitlathe.sim.policy import formats_for, layer_bits
from bitlathe.sim.results import results_of
from bitlathe.sim.vector import pass_of, stored_bits
from bitlathe.workloads import ConvShape, load_model
from bitlathe.workloads.conv import conv_gemm

TOKENS, SEQUENCES = 6, 2
LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 52,
    "max_position_embeddings": 64, "tie_word_embeddings": False,
}  # fmt: skip
CONVOLUTIONS = """
input: [3, 8, 6]
layers:
  - {name: stem, out_channels: 8, kernel: 3, padding: 1, stride: 2}
  - {name: depthwise, out_channels: 8, kernel: 3, padding: 1, groups: 8}
  - {name: point, out_channels: 20, kernel: 1}
  - {name: halves, out_channels: 12, kernel: [3, 2], groups: 2}
"""


@lru_cache(maxsize=1024)
def bits_of(scheme: Scheme, rows: int, columns: int) -> int:
    """Return the bits of a quantized matrix: those of the codes and scales that it holds."""
    x = np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)
    return bl.quantize(x, scheme).total_bits


def transformer_shapes(tokens: int, seen: int) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the tensors of a decoder's products by hand: rows, and elements of a row."""
    rows, heads = SEQUENCES * tokens, SEQUENCES * 4
    linear = {
        name: {"weight": (n, k), "input": (rows, k), "output": (rows, n)}
        for name, n, k in (
            ("q_proj", 32, 32), ("k_proj", 16, 32), ("v_proj", 16, 32), ("o_proj", 32, 32),
            ("gate_proj", 40, 32), ("up_proj", 40, 32), ("down_proj", 32, 40), ("lm_head", 52, 32),
        )
    }  # fmt: skip
    return linear | {
        "attention_qk": {
            "weight": (seen, 8), "input": (heads * tokens, 8),
            "output": (heads * tokens, seen),
        },
        "attention_av": {
            "weight": (8, seen), "input": (heads * tokens, seen),
            "output": (heads * tokens, 8),
        },
    }  # fmt: skip


CONV_SHAPES = {
    "stem": {"weight": (8, 27), "input": (SEQUENCES * 48, 3), "output": (SEQUENCES * 12, 8)},
    "depthwise": {"weight": (8, 9), "input": (SEQUENCES * 12, 8), "output": (SEQUENCES * 12, 8)},
    "point": {"weight": (20, 8), "input": (SEQUENCES * 12, 8), "output": (SEQUENCES * 12, 20)},
    "halves": {"weight": (12, 60), "input": (SEQUENCES * 12, 20), "output": (SEQUENCES * 4, 12)},
}


def check(chip, model, phase, shapes, context=None):
    """Count the operands whose bits are those of a tensor quantized; results read are not plain."""
    arch = resolve(chip, phase=phase, model="")
    staged = model.staged(phase, context, SEQUENCES)
    gemms = staged.gemms()
    assert {gemm.name for gemm in gemms} == set(shapes)
    results, _ = results_of(arch, model, staged, grows=phase == "decode", mapper=arch.mapper or "")
    read, compared = {tail for tail, _ in staged.edges()}, 0
    for gemm in gemms:
        formats, found = formats_for(arch, gemm), layer_bits(arch, gemm, None, results.of(gemm))
        for operand, (rows, columns) in shapes[gemm.name].items():
            stored = getattr(formats, operand)
            if stored.bits is None and not (operand == "output" and gemm.name in read):
                bits = getattr(found, operand) * rows * columns
                assert bits == bits_of(stored.scheme, rows, columns), (gemm.name, operand)
                compared += 1
    return compared


EVERY_KIND = {  # shares of a group, of some rows, of columns, of all; second levels; minima
    "linear": {
        "weight": "int4_asym@b4x16", "input": "int8@tensor",
        "output": "fp4_e2m1@g16/ue4m3fn@tensor/fp32",
    },
    "attention": {"weight": "int4@input", "input": "int6@b2x5", "output": "nvfp4"},
    "conv": {"weight": "ternary", "input": "int8@g3/int6", "output": "int4_asym@tensor"},
}  # fmt: skip


@pytest.mark.parametrize("name", [*arch_names(), "every kind"])
def test_operands_take_the_bits_of_quantized_tensors(name, tmp_path):
    path = tmp_path / "convolutions.yaml"
    path.write_text(CONVOLUTIONS)
    chip = load_arch("edge-npu" if name == "every kind" else name)
    if name == "every kind":  # no PE takes all of them
        chip = chip.model_copy(update={"formats": Formats(**EVERY_KIND)})
    decoder, compared = load_model(LLAMA), 0
    compared += check(chip, decoder, "prefill", transformer_shapes(TOKENS, TOKENS), TOKENS)
    compared += check(chip, decoder, "decode", transformer_shapes(1, TOKENS), TOKENS)
    compared += check(chip, load_model(path), "prefill", CONV_SHAPES)
    stated = any(each.weight.bits or each.output.bits for each in chip.formats.layers)
    assert compared >= (15 if stated else 51)


READ_AS = {
    "q_proj": ("attention_qk", "input"), "k_proj": ("attention_qk", "weight"),
    "v_proj": ("attention_av", "weight"), "attention_av": ("o_proj", "input"),
    "up_proj": ("down_proj", "input"),
}  # fmt: skip
"""Whose operand a decoder's results are; a step of the vector unit reads the others."""
NETWORK = """
input: [3, 8, 8]
layers:
  - {name: a, out_channels: 8, kernel: 3, padding: 1, activation: relu}
  - {name: b, out_channels: 8, kernel: 3, padding: 1}
  - {name: sum, type: add, from: [a, b], activation: relu}
  - {name: c, out_channels: 12, kernel: 1}
  - {name: pooled, type: pool, kernel: 2}
  - {name: d, out_channels: 10, kernel: 3, padding: 1}
  - {name: classes, type: linear, out_channels: 10}
"""
NETWORK_READ_AS = {"a": ("b", "input"), "b": ("c", "input"), "d": ("classes", "input")}
"""The sum lies in the place of what b makes; a pool reads c, and d what the pool leaves."""


def read_bits(found, gemms, name, operand):
    """Return the bits of an operand that is read once, of a feature map all."""
    rows, length = gemms[name].stored(operand)
    products = gemms[name].batch if gemms[name].stationary == "kv_cache" else 1
    each = products if operand == "weight" else 1
    return getattr(found[name], operand) * rows * length * each


@pytest.mark.parametrize("name", [*arch_names(), "every kind"])
def test_results_are_written_as_they_are_read(name, tmp_path):
    path = tmp_path / "network.yaml"
    path.write_text(NETWORK)
    chip = load_arch("edge-npu" if name == "every kind" else name)
    if name == "every kind":
        chip = chip.model_copy(update={"formats": Formats(**EVERY_KIND)})
    arch = resolve(chip, phase="prefill", model="")
    if arch.vector_unit is None:  # studies, which say what is written
        return
    for model, read_as in ((load_model(LLAMA), READ_AS), (load_model(path), NETWORK_READ_AS)):
        staged = model.staged("prefill", TOKENS if model.depth else None, SEQUENCES)
        results, stored = results_of(arch, model, staged)
        gemms = {gemm.name: gemm for gemm in staged.gemms()}
        found = {n: layer_bits(arch, gemm, None, results.of(gemm)) for n, gemm in gemms.items()}
        for maker, (reader, operand) in read_as.items():
            written = found[maker].output * gemms[maker].output_elements
            assert written == read_bits(found, gemms, reader, operand), maker
    steps = {step.name: step for step in stored.steps}
    plain = formats_for(arch, gemms["c"]).output
    moved = {
        step: [stored_bits(arch, each) for each in (*steps[step].reads, *steps[step].writes)]
        for step in ("sum", "pooled")
    }
    assert moved["sum"] == [found["a"].output * gemms["a"].output_elements]
    assert moved["pooled"] == [
        plain.bits_per_element(12, SEQUENCES * 64) * gemms["c"].output_elements,
        read_bits(found, gemms, "d", "input"),
    ]


KNOWN = {"scheme": "int8@channel", "calibrated": True}


def chip_of_halves(**changed):
    """Return a chip that leaves 16 bits and reads 8, in groups of what it reads."""
    both = {"weight": "int8@channel", "input": "int8@channel", "output": "fp16"}
    own = {"formats.linear": both, "formats.attention": {**both, "weight": KNOWN}}
    return load_arch("edge-npu", {**own, **changed})


def test_the_unit_that_quantizes_is_counted_and_without_one_the_run_says_so():
    """8 bits are written where 8 are read; a scale of 16 bits for each row of what reads."""
    with_unit = bl.simulate(chip_of_halves(), LLAMA, context=TOKENS, fidelity="analytic")
    rows = {layer.name: layer for layer in with_unit.layers}
    quantized = {name.removesuffix("_quantize"): name for name in rows if "_quantize" in name}
    assert set(quantized) == {"q_proj", "attention_av"}  # the rest by steps that are there anyway
    work = 2 * TOKENS * 32 + TOKENS * 32  # largest and rounding; a product with the scale
    special = chip_of_halves().vector_unit.lane(28).special_cycles
    for maker, scales in (("q_proj", 4 * TOKENS), ("attention_av", TOKENS)):
        assert rows[quantized[maker]].busy_cycles["vector"] == -(-(work + scales * special) // 8)
    layers = bl.simulate(chip_of_halves(), LLAMA, context=TOKENS, fidelity="analytic", fusion=False)
    written = {layer.name: layer.dram_bits["output"] for layer in layers.layers}
    assert written["q_proj"] == TOKENS * 32 * 8 + 4 * TOKENS * 16
    assert written["attention_av"] == TOKENS * 32 * 8 + TOKENS * 16
    without = bl.simulate(chip_of_halves(vector=None), LLAMA, context=TOKENS, fidelity="analytic")
    written = {layer.name: layer.dram_bits["output"] for layer in without.layers}
    assert written["q_proj"] == written["attention_av"] == TOKENS * 32 * 16
    assert {"q_proj_quantize", "attention_av_quantize"} <= set(without.uncounted)


def test_scales_that_are_known_are_written_with_the_cache_and_not_with_a_token():
    """One token of each of two sequences: as a prompt 16 channels' scales each, and none later."""
    values = []
    for phase in ("prefill", "decode"):
        run = bl.simulate(
            chip_of_halves(), LLAMA, phase=phase, context=1, batch=SEQUENCES, fidelity="analytic",
            fusion=False,
        )  # fmt: skip
        values.append({layer.name: layer for layer in run.layers})
    codes = SEQUENCES * 16 * 8
    written = [layers["v_proj"].dram_bits["output"] for layers in values]
    assert written == [codes + SEQUENCES * 16 * 16, codes + 1]  # a part of a bit, rounded up
    read = [layers["attention_av"].dram_bits["weight"] for layers in values]
    assert read == [written[0]] * 2


def test_each_layers_cache_is_written_as_it_is_read():
    """Of two layers one attends in 4 bits; of 26 layers, which are written alike, 22 do."""
    rule = {"kind": "attention", "layers": [0], "weight": {**KNOWN, "scheme": "int4@tensor"}}
    chip = chip_of_halves(**{"formats.rules": [rule]})
    run = bl.simulate(chip, LLAMA, context=TOKENS, fidelity="analytic", fusion=False)
    keys = [layer for layer in run.layers if layer.name == "k_proj"]
    per_key = {layer.dram_bits["output"]: layer.count for layer in keys}
    assert per_key == {TOKENS * 16 * 4 + 2 * 16: 1, TOKENS * 16 * 8 + 2 * TOKENS * 16: 1}
    rule = {"kind": "attention", "names": ["*_local"], "weight": "int4"}
    arch = resolve(chip_of_halves(**{"formats.rules": [rule]}), phase="decode", model="")
    windows = load_model("gemma-3-1b")
    staged = windows.staged("decode", TOKENS)
    results, _ = results_of(arch, windows, staged, grows=True)
    (keys,) = (gemm for gemm in staged.gemms() if gemm.name == "k_proj")
    assert keys.count == 26
    code = Fraction(22 * 4 + 4 * 8, 26)
    assert results.of(keys) == (code + Fraction(16, 256), code)


ROWS_OF_32 = {bits: TOKENS * (32 * bits + 16) for bits in (4, 8)}
"""Bits of what a norm leaves of all tokens, a scale for each."""


@pytest.mark.parametrize(
    ("rule", "step", "operand", "said"),
    [
        ({"names": ["gate_proj", "up_proj"], "input": "int4@channel"},
         "o_proj_norm", "output", {ROWS_OF_32[4]: 2}),
        ({"names": ["gate_proj"], "input": "int4@channel"},  # up_proj reads 8 bits of it
         "o_proj_norm", "output", {ROWS_OF_32[4] + ROWS_OF_32[8]: 2}),
        ({"names": ["?_proj"], "layers": [0], "input": "int4@channel"},
         "down_proj_norm", "output", {ROWS_OF_32[4]: 1, ROWS_OF_32[8]: 1}),
        ({"kind": "lm_head", "input": "int4@channel"}, "final_norm", "output", {32 * 4 + 16: 1}),
        ({"kind": "attention", "names": ["attention_av"], "input": "int4@channel"},
         "softmax", "output", {4 * TOKENS * (TOKENS * 4 + 16): 2}),
        ({"kind": "attention", "names": ["attention_qk"], "output": "int8@channel"},
         "softmax", "input", {4 * TOKENS * (TOKENS * 8 + 16): 2}),
        ({"names": ["gate_proj"], "output": "int8@channel"},
         "activation", "input", {TOKENS * (40 * 8 + 16): 2}),
        ({"names": ["gate_proj"], "layers": [1], "output": "int8@channel"},
         "activation", "input", {TOKENS * (40 * 8 + 16 + 40 * 16) // 2: 2}),
    ],
)  # fmt: skip
def test_steps_read_and_leave_what_rules_say_of_the_products_beside(rule, step, operand, said):
    chip = chip_of_halves(**{"formats.rules": [rule]})
    run = bl.simulate(chip, LLAMA, context=TOKENS, fidelity="analytic", fusion=False)
    found = {each.dram_bits[operand]: each.count for each in run.layers if each.name == step}
    assert found == said


def test_what_is_read_in_two_formats_is_stored_and_quantized_in_each():
    """Two layers read 8 bits and 4 of one's results: 12 are written, and each reads its own."""
    layers = [
        {"name": name, "out_channels": many, "kernel": 1, "from": source}
        for name, many, source in (("a", 8, "input"), ("b", 8, "a"), ("c", 12, "a"))
    ]
    own = {"weight": "int8@channel", "input": "int8@channel", "output": "fp16"}
    rule = {"kind": "conv", "names": ["c"], "input": "int4@channel"}
    chip = chip_of_halves(**{"formats.conv": own, "formats.rules": [rule]})
    net = {"input": [3, 4, 4], "layers": layers}
    run = bl.simulate(chip, net, fidelity="analytic", fusion=False)
    rows = {layer.name: layer for layer in run.layers}
    pixels, elements = 16, 16 * 8
    read = {8: elements * 8 + pixels * 16, 4: elements * 4 + pixels * 16}
    assert rows["a"].dram_bits["output"] == sum(read.values())
    assert [rows[name].dram_bits["input"] for name in "bc"] == [read[8], read[4]]
    special = chip.vector_unit.lane(28).special_cycles
    work = 2 * (3 * elements + pixels * special)
    assert rows["a_quantize"].busy_cycles["vector"] == -(-work // chip.vector_unit.lanes)


@pytest.mark.parametrize(
    ("names", "output", "groups"),
    [
        (["attention_qk"], "fp16", (4, 8)), (["attention_av"], "fp16", (8, 4)),
        (["attention_*"], "fp16", (4, 4)), (["attention_qk"], "int8@channel", (4,)),
    ],
)  # fmt: skip
def test_keys_and_values_are_quantized_each_in_its_own_format(names, output, groups):
    """Where the array leaves another one; a special function for each scale of 4, or of 8."""
    rule = {"kind": "attention", "names": names, "weight": {**KNOWN, "scheme": "int8@g4"}}
    chip = chip_of_halves(**{"formats.rules": [rule], "formats.linear.output": output})
    arch, model = resolve(chip, phase="prefill", model=""), load_model(LLAMA)
    _, stored = results_of(arch, model, model.staged("prefill", TOKENS))
    (step,) = (each for each in stored.steps if each.name == "kv_cache")
    elements = TOKENS * 16
    lanes, special = arch.vector_unit.lanes, arch.vector_unit.lane(28).special_cycles
    work = sum(3 * elements + elements // group * special for group in groups)
    assert pass_of(Chip.of(arch), step).lane_cycles == -(-work // lanes)


@pytest.mark.parametrize("rule", [{"names": ["*down*"], "input": "int4@channel"},
                                  {"names": ["*gate*"], "output": "int8@channel"}])  # fmt: skip
def test_a_traced_mlp_moves_what_that_of_a_configuration_does(rule):
    """The gate is read by the product with it as its results lie, whatever has as many elements."""
    torch = pytest.importorskip("torch")

    class Gated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            into, back = (32, 40, False), (40, 32, False)
            self.gate, self.up = torch.nn.Linear(*into), torch.nn.Linear(*into)
            self.down = torch.nn.Linear(*back)

        def forward(self, x):
            gate = torch.nn.functional.silu(self.gate(x))
            return self.down(gate * self.up(x))

    traced = bl.workloads.from_torch(Gated(), torch.zeros(TOKENS, 32))
    chip = chip_of_halves(**{"formats.rules": [rule]})
    whole = bl.simulate(chip, LLAMA, context=TOKENS, fidelity="analytic", fusion=False)
    alone = bl.simulate(chip, traced, fidelity="analytic", fusion=False)
    of_whole, of_alone = (
        {each.name: each.dram_bits for each in run.layers} for run in (whole, alone)
    )
    for name in ("gate", "up", "down"):
        assert of_alone[name] == of_whole[f"{name}_proj"], name
    assert of_alone["up.multiply"] == of_whole["activation"]


def test_a_token_brings_its_part_of_the_scales_of_a_growing_cache():
    """Values along 64 tokens share 16 bits: a token brings a 64th; of all, nothing."""
    rule = {"kind": "attention", "names": ["attention_av"], "weight": "int8@g64"}
    attention = {"weight": "int8@tensor", "input": "int8@channel", "output": "fp16"}
    chip = chip_of_halves(**{"formats.rules": [rule], "formats.attention": attention})
    arch, model = resolve(chip, phase="decode", model=""), load_model(LLAMA)
    staged = model.staged("decode", 40)
    results, _ = results_of(arch, model, staged, grows=True)
    stored = {gemm.name: results.of(gemm)[0] for gemm in staged.gemms()}
    assert stored["v_proj"] == 8 + Fraction(16, 64)
    assert 8 < stored["k_proj"] < 8 + Fraction(1, 2**15)


SEEN = ConvShape(in_channels=8, out_channels=12, size=(6, 6), kernel=(3, 3))


@pytest.mark.parametrize(
    ("scheme", "scaled"),
    [("int8@tensor", 1), ("int8@channel", 9), ("int8@g3", 27), ("int8@g16", 9), ("int8@b4x8", 9)],
)
def test_scales_of_a_feature_map_end_sums_at_each_position(scheme, scaled):
    """A filter of 3 x 3 taps sees 9 positions, each with its own scales of 8 channels."""
    linear = {"weight": "int8@channel", "input": scheme, "output": scheme}
    chip = load_arch("edge-npu", {"formats.linear": linear, "formats.attention": linear})
    found = layer_bits(chip, conv_gemm(SEEN, "conv"))
    if scaled == 1:
        assert found.scaled_sums(72) == 1
    else:  # the vector unit scales them: a product and an addition each
        assert found.unit_work == (Fraction(scaled, 72), Fraction(scaled, 72))
    assert found.groups(72, of_inputs=True) * found.beside_codes(72, of_inputs=True) == (
        72 * (found.input - 8)
    )


def test_memories_move_the_bits_of_quantized_tensors(tmp_path):
    """Layers that fit their buffers whole: weights pass once, and results."""
    path = tmp_path / "convolutions.yaml"
    path.write_text(CONVOLUTIONS)
    chip = load_arch("ant")
    run = bl.simulate(chip, path, batch=SEQUENCES, fidelity="analytic", fusion=False)
    products = [layer for layer in run.layers if layer.unit is None]
    assert [layer.name for layer in products] == list(CONV_SHAPES)
    for layer in products:
        for operand in ("weight", "output"):
            scheme = getattr(chip.formats.linear, operand).scheme
            bits = bits_of(scheme, *CONV_SHAPES[layer.name][operand])
            assert layer.dram_bits[operand] == bits, (layer.name, operand)
