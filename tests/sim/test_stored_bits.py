"""What chips say an operand takes, beside the bits of that very tensor quantized."""

from functools import lru_cache

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.arch import load_arch, resolve
from bitlathe.arch.formats import Formats
from bitlathe.arch.loader import arch_names
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.sim.policy import CacheBits, formats_for, layer_bits
from bitlathe.workloads import load_model

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
    arch = resolve(chip, phase=phase, model="")
    gemms = model.gemms(phase, context, SEQUENCES)
    assert {gemm.name for gemm in gemms} == set(shapes)
    cache, compared = CacheBits.of(arch, gemms, phase), 0
    for gemm in gemms:
        formats, found = formats_for(arch, gemm), layer_bits(arch, gemm, None, cache)
        for operand, (rows, columns) in shapes[gemm.name].items():
            stored, cached = getattr(formats, operand), gemm.keys + gemm.values
            if stored.bits is None and not (operand == "output" and cached):
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
    assert compared >= (20 if stated else 68)


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
