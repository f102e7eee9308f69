"""Pins of number formats: what `quantize` makes of one small tensor in every kind of scheme.

The tensor itself is in the file of pins, bit by bit. Codes stand there as hexadecimal digits, a
row of the tensor a line; floats as ``float.hex``; scales also as the bits that are stored.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import bitlathe as bl

PATH = Path(__file__).parent / "formats.json"
INPUT = "input, float32"
ROWS, COLUMNS = 6, 300
SCHEMES = (
    # plain grids
    *("int2@tensor", "int3@channel", "int4@channel", "int4@g128", "int4@g128/bf16", "int8@channel"),
    *("int6@g128/int8", "int5@g64", "fp3_e2m0@g128", "fp4_e2m1@g128/fp16", "fp5_e2m2@g128"),
    *("fp8_e4m3@channel", "fp8_e5m2@channel/fp16", "fp6_e3m2@g32/e8m0_even", "fp16", "bf16"),
    # codebooks
    *("nf4", "nf4@g128/fp16", "nf4@g32/int6", "nf3@g100/pot", "flint4@g128", "pot4@g128/m2"),
    "apot4@channel/pot_ceil",
    # mixtures
    *("bitmod_fp3@g128/int8", "bitmod_fp4@g128/int8", "bitmod_fp4", "bitmod_fp3_er@g64/fp16"),
    *("bitmod_fp4_ea@g23", "ant3@g128", "ant4@g64/int6"),
    # zero points
    *("int2_asym@g128", "int4_asym@g32", "int4_asym@g128/int8", "int8_asym@channel/fp16"),
    # whole schemes
    *("mxfp4", "mxfp6_e2m3", "mxfp8_e4m3", "mxint8", "nvfp4", "mx_bitmod_fp3", "mx_bitmod_int4"),
    *("olive3", "olive4", "dgq4", "bcq2", "bcq3@channel", "bcq4", "bcq2@g64/fp16"),
    # ranges, blocks, the released quantizer
    *("int3@g128+mse", "bitmod_fp3@g128+mae", "int4_asym@g64+mse", "fp4_e2m1@channel+p99.5"),
    *("int4@b2x100", "int4_asym@b3x64+sigma3", "bitmod_fp4@b2x64", "bitmod_fp3@g128+paper"),
    *("int4_asym@g128+paper", "mx_bitmod_fp4+paper"),
)
OTHERWISE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mxfp4", {"rounding": "away"}),
    ("fp4_e2m1@g32", {"rounding": "stochastic", "seed": 7}),
    ("int4@channel", {"axis": 0}),
    ("int4@g128", {"dtype": "float64"}),
    ("bitmod_fp4@g128/int8", {"dtype": "float64"}),
    ("int3_asym@g128", {"dtype": "float16"}),
    ("bcq3", {"dtype": "float64"}),
    ("nf4", {"dtype": "float64"}),
)


def tensor() -> np.ndarray:
    """Return the tensor that is quantized, from the file of pins."""
    rows = json.loads(PATH.read_text(encoding="utf-8"))[INPUT]
    words = np.frombuffer(bytes.fromhex("".join(rows)), ">u4").astype(np.uint32)
    return words.view(np.float32).reshape(ROWS, COLUMNS)


def first_tensor() -> np.ndarray:
    """Make a tensor of zeros, ties, outliers and tails; used only where no file of pins exists."""
    rng = np.random.default_rng(2024)
    x = (rng.standard_normal((ROWS, COLUMNS)) * 0.02).astype(np.float32)
    x[0, [5, 64, 65, 131]] = [1.5, -0.7, 0.71, -2.25]
    x[1, :128], x[1, 128:140] = 0, -0.0
    x[2] = rng.integers(-24, 25, COLUMNS) / np.float32(32)
    x[3] = rng.standard_t(3, COLUMNS) * 0.05
    x[4] = np.abs(x[4]) + np.float32(0.01)
    x[4, 128:192] = 0.125
    x[5] *= np.exp2(rng.integers(-6, 7, COLUMNS)).astype(np.float32)
    return x


def digits(codes: np.ndarray, bits: int) -> list[str]:
    """Return codes as hexadecimal digits, a row a string."""
    wide = -(-bits // 4)
    return ["".join(f"{int(code):0{wide}x}" for code in row.reshape(-1)) for row in codes]


def exact(x: float) -> str:
    """Return a float as ``float.hex`` without the zeros it ends in: ``0x1.8p+2``."""
    return re.sub(r"\.?0+p", "p", float(x).hex())


def floats(x: np.ndarray) -> list[str]:
    """Return floats exactly, a row a string."""
    return [" ".join(exact(value) for value in row.reshape(-1)) for row in x]


def pinned_parts(q: Any, values: np.ndarray) -> dict[str, Any]:
    """Return all that is pinned of a quantized tensor and of its values."""
    values = np.ascontiguousarray(values)
    little = values.astype(values.dtype.newbyteorder("<"))
    found = {
        "scheme": str(q.scheme),
        "bits_per_element": str(Fraction(q.total_bits, q.size)),
        "streams": {name: len(stream) for name, stream in q.packed.items()},
        "codes": digits(q.codes, q.scheme.element_bits),
        "scales": floats(q.scales),
        "stored_scales": [" ".join(f"{int(word):x}" for word in np.ravel(q.raw))],
        "outer_scales": floats(q.outer_scales),
        "zeros": None if q.zeros is None else digits(q.zeros, 8),
        "choices": None if q.choices is None else digits(q.choices, 4),
        "values": f"{values.dtype} {hashlib.sha256(little.tobytes()).hexdigest()[:16]}",
        "sum": exact(math.fsum(float(value) for value in values.reshape(-1))),
    }
    return {key: value for key, value in found.items() if value not in (None, [])}


def quantized(x: np.ndarray, scheme: str, dtype: str = "float32", **options: Any) -> Any:
    """Return the tensor in a scheme; thirds of it where its dtype is wider."""
    given = x.astype(np.float64) / 3 if dtype == "float64" else x.astype(dtype)
    return bl.quantize(given, scheme, **options)


def found() -> dict[str, Any]:
    """Return the tensor and its pins by scheme, as they are now."""
    x = tensor() if PATH.exists() else first_tensor()
    return {INPUT: digits(x.view(np.uint32), 32), **dict(pins(x))}


def pins(x: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield (scheme and options, pins)."""
    for scheme in SCHEMES:
        q = quantized(x, scheme)
        yield scheme, pinned_parts(q, q.dequantize())
    for scheme, options in OTHERWISE:
        said = ", ".join(f"{key} {value}" for key, value in options.items())
        q = quantized(x, scheme, **options)
        yield f"{scheme}, {said}", pinned_parts(q, q.dequantize())
