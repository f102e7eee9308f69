"""The released quantizer's arithmetic, against a copy of what it does."""

import numpy as np
import pytest
import torch

from bitlathe.datatypes.quantize import quantize
from oracles import released_bitmod


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("std", [0.001, 0.02, 1.0, 400.0])
def test_paper_mode_is_the_released_quantizer_bit_for_bit(bits, std):
    rng = np.random.default_rng(bits)
    x = (rng.standard_t(5, (96, 256)) * std).astype(np.float16)
    x[0] = 0
    x[1, :128] = np.float16(1e-6)
    groups = torch.from_numpy(x.reshape(-1, 128))
    theirs, choice = released_bitmod.bitmod(groups, bits)
    text = f"bitmod_fp{bits}@g128+paper"
    lost = bool((choice < 0).any())
    if lost:
        with pytest.warns(UserWarning, match="came out as zeros"):
            q = quantize(x, text)
    else:
        q = quantize(x, text)
    np.testing.assert_array_equal(
        q.dequantize().astype(np.float16).reshape(-1, 128), theirs.numpy()
    )
    np.testing.assert_array_equal(q.choices.reshape(-1), choice.clamp(min=0).numpy())
    assert lost == (std == 400.0)


@pytest.mark.parametrize("bits", [3, 4])
def test_paper_mode_of_asymmetric_integers(bits):
    x = (np.random.default_rng(5).standard_normal((64, 128)) * 0.02).astype(np.float16)
    theirs = released_bitmod.asymmetric(torch.from_numpy(x), bits)
    q = quantize(x, f"int{bits}_asym@g128+paper")
    np.testing.assert_array_equal(q.dequantize().astype(np.float16), theirs.numpy())


@pytest.mark.parametrize("name", ["fp3", "fp4", "int3", "int4"])
@pytest.mark.parametrize("std", [1e-6, 0.02, 1.0, 8000.0])
def test_paper_mode_of_the_mx_variant(name, std):
    x = np.random.default_rng(6).standard_t(5, (48, 256)) * std
    x = x.clip(-65000, 65000).astype(np.float16)
    x[0], x[1, :40], x[2, 5] = 0, np.float16(6e-8), np.float16(65504)
    x[3] = (np.arange(-128, 128) / 64 * 0.25).astype(np.float16)  # ties
    theirs = released_bitmod.mx(
        torch.from_numpy(x.reshape(-1, 32)), int(name[-1]), integers=name.startswith("int")
    )
    q = quantize(x, f"mx_bitmod_{name}+paper")
    assert q.total_bits == x.size * int(name[-1]) + x.size // 32 * 8
    np.testing.assert_array_equal(q.dequantize().astype(np.float16).reshape(-1, 32), theirs.numpy())
    # large enough for the compiled path of values
    wide = np.tile(x, (32, 1))
    np.testing.assert_array_equal(
        quantize(wide, f"mx_bitmod_{name}+paper").dequantize()[:48], q.dequantize()
    )


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("std", [0.001, 0.02])
def test_exact_mode_errs_no_more_than_paper_mode(bits, std):
    x = (np.random.default_rng(8).standard_normal((64, 512)) * std).astype(np.float16)
    wide = x.astype(np.float64)

    def error(text):
        return ((wide - quantize(x, text).dequantize()) ** 2).sum()

    assert error(f"bitmod_fp{bits}@g128") <= error(f"bitmod_fp{bits}@g128+paper")
