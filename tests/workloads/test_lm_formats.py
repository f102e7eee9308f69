"""Formats of a decoder: by layer, of activations, of keys and values."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads.accuracy import accuracy
from bitlathe.workloads.lm.formats import Formats, Rule
from naive import tiny_lm

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = tiny_lm.CONFIGS["llama"]
NAMES = [(i, name) for i in range(5) for name in ("self_attn.q_proj", "mlp.up_proj")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = tiny_lm.write(tmp_path_factory.mktemp("formats") / "model", CONFIG)
    rng = np.random.default_rng(5)
    (made / "words.txt").write_text(" ".join(rng.choice(tiny_lm.WORDS, 300)))
    return made


def measured(model, formats):
    return accuracy(
        model, [formats], tokens=40, context=11, text=model / "words.txt", cache=model / "kept"
    )[1]


@pytest.mark.parametrize(
    ("rules", "changed"),
    [
        (("0,-1=int8@channel",), {0: "both", 4: "both"}),
        (("up_proj=int8@channel",), dict.fromkeys(range(5), "up_proj")),
        (("1-3:q_*=int8@channel",), dict.fromkeys((1, 2, 3), "q_proj")),
        (("mlp=int8@channel",), dict.fromkeys(range(5), "up_proj")),
        (("self_attn.q_proj=int8@channel",), dict.fromkeys(range(5), "q_proj")),
        (("*=int8@channel", "1-4=int4@g8"), {0: "both"}),
    ],
)
def test_rules_are_about_layers_by_name_and_number(rules, changed):
    found = Formats.of("int4@g8", rules=rules).by_layer(NAMES)
    for block, name in NAMES:
        hit = changed.get(block) in ("both", name.rpartition(".")[2])
        assert str(found[f"{block}.{name}"]) == ("int8@channel" if hit else "int4@g8")


def test_schemes_by_layer_are_those_of_each_layer_alone(model):
    row = measured(model, Formats.of("int4@g8", rules=("0:down_proj=int8@channel", "1:mlp=none")))
    weights = tiny_lm.tensors(CONFIG)
    noise = power = bits = count = 0.0
    for name, w in weights.items():
        if ".layers." not in name or w.ndim != 2:
            continue
        scheme = "int8@channel" if ".0.mlp.down" in name else "int4@g8"
        power += np.square(w.astype(float)).sum()
        if ".1.mlp." in name:
            continue
        q = bl.quantize(w, scheme)
        noise += np.square(q.dequantize() - w.astype(float)).sum()
        bits, count = bits + q.total_bits, count + w.size
    assert row.weight_error == pytest.approx((noise / power) ** 0.5, rel=1e-5)
    assert row.bits_per_weight == pytest.approx(bits / count)


def inputs_of(formats, x, sample=None):
    """Return x as a layer's inputs are rounded."""
    from bitlathe.workloads.lm.rounded import RoundedInputs

    given = x if sample is None else sample
    return RoundedInputs(formats.activations, torch.from_numpy(given))(x)


def test_activations_per_token_per_tensor_and_cut():
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(7, 40)).astype(np.float32)
    sample = rng.standard_t(3, size=(64, 40)).astype(np.float32)
    token = inputs_of(Formats.of("none", "int8@channel"), x)
    np.testing.assert_array_equal(token, bl.quantize(x, "int8@channel").dequantize())
    cut = inputs_of(Formats.of("none", "int8@channel", percentile=90), x)
    for row, found in zip(x, cut, strict=True):
        end = np.quantile(np.abs(row), 0.9).astype(np.float32)
        wanted = bl.quantize(np.clip(row, -end, end)[None], "int8@channel").dequantize()[0]
        np.testing.assert_array_equal(found, wanted)
    static = inputs_of(Formats.of("none", "int8@tensor", static=True), x, sample)
    scale = np.float32(np.float16(np.abs(sample).max() / 127))
    wanted = np.clip(np.rint(x / scale), -127, 127) * scale
    np.testing.assert_array_equal(static, wanted)
    both = inputs_of(Formats.of("none", "int8@tensor", static=True, percentile=50), x, sample)
    end = np.quantile(np.abs(sample), 0.5).astype(np.float32)
    assert np.abs(both).max() <= end * (1 + 2**-10)
    assert np.square(both - x).sum() > np.square(static - x).sum()


def test_asymmetric_static_activations_keep_their_zero_point():
    rng = np.random.default_rng(1)
    sample = rng.uniform(-1, 7, size=(50, 8)).astype(np.float32)
    formats = Formats.of("none", "int4_asym@tensor", static=True)
    fixed = bl.quantize(sample, "int4_asym@tensor")
    one = inputs_of(formats, sample[:1], sample)
    np.testing.assert_array_equal(one, fixed.dequantize()[:1])


def test_keys_by_channel_and_values_by_token():
    from bitlathe.workloads.lm.rounded import RoundedCache

    rng = np.random.default_rng(2)
    k, v = rng.normal(size=(2, 2, 9, 16)).astype(np.float32)
    k[:, :, 3] *= 50
    formats = Formats.of("none", keys="int4_asym@g4", values="int8@channel", keys_by="channel")
    keys, values = RoundedCache(formats.cache)(torch.from_numpy(k), torch.from_numpy(v))
    for head in range(2):
        wanted = bl.quantize(np.ascontiguousarray(k[head].T), "int4_asym@g4").dequantize().T
        np.testing.assert_array_equal(keys[head].numpy(), wanted)
        wanted = bl.quantize(v[head], "int8@channel").dequantize()
        np.testing.assert_array_equal(values[head].numpy(), wanted)
    token = Formats.of("none", keys="int4_asym@g4").cache
    plain, same = RoundedCache(token)(torch.from_numpy(k), torch.from_numpy(v))
    small = np.arange(16) != 3  # what stands beside the large channel
    fine, coarse = (np.square((x.numpy() - k)[..., small]).sum() for x in (keys, plain))
    assert fine < 0.3 * coarse
    np.testing.assert_array_equal(same.numpy(), v)


def test_fine_formats_lose_nothing_and_coarse_ones_do(model):
    fine = measured(model, Formats.of("none", "fp16", "fp16", "fp16"))
    assert fine.bits_per_weight is None
    assert fine.weight_error == 0
    assert abs(fine.loss_nats) < 1e-3
    for coarse in (Formats.of("none", "int3@channel"), Formats.of("none", None, "int2@channel"),
                   Formats.of("none", None, None, "int2@channel")):  # fmt: skip
        assert measured(model, coarse).kl_nats > 10 * fine.kl_nats


def rounded_below_zero(what):
    from bitlathe.workloads.lm.rounded import RoundedCache

    formats, x = Formats.of("none", **{what: "uint4"}), -np.ones((2, 3, 8), np.float32)
    if formats.cache is None:
        return inputs_of(formats, x[0])
    return RoundedCache(formats.cache)(torch.from_numpy(x), torch.from_numpy(x))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Rule.parse("down_proj"), "rule 'down_proj': write"),
        (lambda: Rule.parse("x:down_proj=int8"), "rule 'x:down_proj=int8': write"),
        (lambda: Rule.parse("3-1=int8"), "layers 3-1 end before they begin"),
        (lambda: Rule.parse("down_proj=int88"), "int88"),
        (lambda: Formats.of("int4", static=True), "static and percentile are of activations"),
        (lambda: Formats.of("int4", "int8@channel", static=True), "write int8@tensor"),
        (lambda: Formats.of("int4", "int8@tensor", percentile=0), "percentile: a number above 0"),
        (lambda: Formats.of("int4", keys_by="channel"), "keys by channel: give the scheme"),
        (
            lambda: Formats.of("int4", keys="int8", keys_by="head"),
            "unknown grouping of keys 'head'",
        ),
        (lambda: Formats.of("int4", rules=("up=int8",)).by_layer(NAMES), "no layer has that name"),
        (lambda: Formats.of("int4", rules=("5=int8",)).by_layer(NAMES), "has blocks 0 to 4"),
        (lambda: Formats.of("int4", rules=("-6=int8",)).by_layer(NAMES), "has blocks 0 to 4"),
        (
            lambda: Formats.of("int4", rules=("-1-0=int8",)).by_layer(NAMES),
            "rule '-1-0=int8': blocks 4 to 0 end before they begin",
        ),
        (lambda: Formats.of("int4", "fp32", static=True), "fixed scales, fp32: it has no scales"),
        (
            lambda: Formats.of("int4", "kmeans3@tensor", static=True),
            "fixed scales, kmeans3@tensor: scales are found together with",
        ),
        (lambda: rounded_below_zero("activations"), "inputs in uint4@channel: format 'uint4' is"),
        (lambda: rounded_below_zero("keys"), "keys in uint4@channel: format 'uint4' is unsigned"),
        (lambda: rounded_below_zero("values"), "values in uint4@channel: format 'uint4' is uns"),
    ],
)
def test_mistakes_are_one_sentence(make, said):
    with pytest.raises(BitlatheError, match=said):
        make()
