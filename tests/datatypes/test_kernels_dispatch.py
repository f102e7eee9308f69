"""`quantize` gives the same tensor whether numpy or the compiled kernels did the work."""

import numpy as np
import pytest

from bitlathe.datatypes import compiled
from bitlathe.datatypes.quantize import quantize

SCHEMES = [
    "bitmod_fp3@g128", "bitmod_fp4@g128/fp32", "bitmod_fp4@g128/int8", "ant4@g64", "nf4@g64",
    "int4@g128", "int4_asym@g128", "int3_asym@g50", "mxfp4",
    "nvfp4", "flint4@tensor", "int4@g128/bf16",
]  # fmt: skip


def tensors():
    rng = np.random.default_rng(11)
    heavy = rng.standard_t(3, (24, 500)).astype(np.float32)
    heavy[3] = 0
    heavy[4] = heavy[4, 0]
    heavy[5] = np.round(heavy[5] * 2) / 2
    return {
        "heavy": heavy,
        "narrow": (rng.standard_normal((40, 384)) * 0.02).astype(np.float32),
        "half": rng.standard_normal((16, 256)).astype(np.float16),
        "denormal": (rng.integers(-9, 9, (2, 256)) * 2.0**-149).astype(np.float32),
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_compiled_equals_numpy(scheme, monkeypatch):
    taken = []
    for coder in ("encode_table", "encode_asym"):
        real = getattr(compiled, coder)

        def spy(job, real=real):
            made = real(job)
            taken.append(made is not None)
            return made

        monkeypatch.setattr(compiled, coder, spy)
    for name, x in tensors().items():
        monkeypatch.setattr(compiled, "MIN_VALUES", 1 << 40)
        slow = quantize(x, scheme)
        assert not any(taken)
        monkeypatch.setattr(compiled, "MIN_VALUES", 1)
        fast = quantize(x, scheme)
        for field in ("codes", "scales", "zeros", "choices"):
            np.testing.assert_array_equal(
                getattr(fast, field), getattr(slow, field), err_msg=f"{name} {field}"
            )
        assert fast.dequantize().tobytes() == slow.dequantize().tobytes()
        if name == "narrow":
            assert any(taken), "the kernels were never asked"
        taken.clear()
