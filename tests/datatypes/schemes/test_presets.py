"""Published block formats against direct readings of their papers, block by block."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.schemes.presets import PRESETS
from bitlathe.tests.naive import block_formats_naive as naive

RNG = np.random.default_rng(11)
X = (RNG.normal(size=(6, 256)) * np.exp2(RNG.integers(-6, 3, (6, 1)))).astype(np.float32)
X[2] *= RNG.random(256) < 0.2
X[3, :64] = 0


def by_block(make, size, *facts):
    blocks = X.astype(np.float64).reshape(-1, size).tolist()
    return np.array([make(block, *facts) for block in blocks]).reshape(X.shape)


def tensor_scale(top):
    return float(np.float32(np.abs(X).max()) / np.float32(top))


def half(x):
    return float(np.float16(x))


CASES = {
    "hif4": lambda: by_block(naive.hif4, 64),
    "m2xfp": lambda: by_block(naive.m2xfp, 32),
    "mx9": lambda: by_block(naive.micro_exponents, 16, 7),
    "mx6": lambda: by_block(naive.micro_exponents, 16, 4),
    "mx4": lambda: by_block(naive.micro_exponents, 16, 2),
    "msfp16": lambda: by_block(naive.msfp, 16, 7),
    "msfp12": lambda: by_block(naive.msfp, 16, 3),
    "razer": lambda: by_block(naive.razer, 16, tensor_scale(6 * 28)),
    "razer_activation": lambda: by_block(naive.razer_activation, 16, tensor_scale(6 * 448)),
    "nvif4": lambda: by_block(naive.nvif4, 16, tensor_scale(6 * 448), 6 / 7),
    "nvif4_two_scales": lambda: by_block(naive.nvif4, 16, tensor_scale(6 * 448), 1.0),
    "q4_0": lambda: by_block(naive.q4_0, 32, half),
}
BITS = {
    "hif4": 4.5, "m2xfp": 4.5, "mx9": 9, "mx6": 6, "mx4": 4, "msfp16": 8.5, "msfp12": 4.5,
    "razer": 4.5, "razer_activation": 4.5, "nvif4": 4.5, "nvif4_two_scales": 4.5, "q4_0": 4.5,
    "q4_1": 5, "q5_0": 5.5, "q5_1": 6, "q2_k": 2.625, "q3_k": 3.4375, "q4_k": 4.5, "q5_k": 5.5,
    "q6_k": 6.5625, "iq4_nl": 4.5,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_block_formats_are_what_their_papers_say(name):
    q = bl.quantize(X, name)
    np.testing.assert_allclose(q.dequantize(), CASES[name](), rtol=3e-7)


def test_the_scales_of_the_released_razer_are_written_in_a_file(tmp_path):
    """E4M3 from 2^-5 to 28, where the paper has E3M3: the same but for small groups."""
    scales = [v for v in naive.E4M3 if 2.0**-5 <= v <= 28]
    file = tmp_path / "released.yaml"
    file.write_text(
        "element: bitmod_fp4\nscales:\n"
        f"  - {{group: g16, format: {{values: {scales}}}}}\n  - {{group: tensor, format: fp32}}\n"
    )
    made = bl.quantize(X, str(file), rounding="down")
    plain = [*naive.E2M1, *(-v for v in naive.E2M1[1:])]
    books = [[*plain, v] for v in (5.0, -5.0, 8.0, -8.0)]
    wanted = by_block(naive.least_of, 16, tensor_scale(6 * 28), books, [0.0, *scales])
    np.testing.assert_allclose(made.dequantize(), wanted, rtol=3e-7)
    ours = bl.quantize(X, "razer", rounding="down").dequantize()
    assert (made.dequantize() != ours).any()
    assert len(scales) == 79
    assert made.scheme.scale_bits == 7


@pytest.mark.parametrize("name", PRESETS)
def test_names_of_block_formats_are_schemes(name):
    scheme = bl.Scheme.parse(name)
    assert str(scheme) == name
    assert scheme == bl.Scheme.parse(PRESETS[name].scheme)
    # a scale of the tensor is nothing beside many elements
    assert float(scheme.bits_per_element(256, 1 << 40)) == pytest.approx(BITS[name], rel=1e-12)
    assert bl.format(name) == scheme if name != "iq4_nl" else True
    assert PRESETS[name].source


def test_options_go_with_names_and_other_scales_do_not():
    assert str(bl.Scheme.parse("HIF4+p99.9")) == "hif4+p99.9"
    with pytest.raises(bl.BitlatheError, match="q4_0 is a whole scheme; with other scales write"):
        bl.Scheme.parse("q4_0@g64")
    with pytest.raises(bl.BitlatheError, match="did you mean 'hif4'"):
        bl.Scheme.parse("hiff4")
    assert str(bl.Scheme.parse("iq4_nl@g64")) == "iq4_nl@g64"
