"""Schemes of nested scales at random, and what the slow twin takes of a scheme."""

import math
from itertools import zip_longest

import numpy as np

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.tests.naive import levels_naive as naive

ELEMENTS = (
    "fp4_e2m1", "int4", "int4_full", "uint4", "nf3", "int3", "fp3_e2m0", "uint2", "bitmod_fp3",
    "ant4", "fp6_e3m2", "int8_full", "e0m2",
)  # fmt: skip
CHAINS = (
    ("g2", "g4", "g16"), ("g4", "g8", "channel"), ("g8", "g16", "tensor"), ("g3", "g12", "b2x24"),
    ("b2x4", "b4x8", "tensor"), ("input", "tensor"), ("g16", "b8x16"),
    ("channel", "tensor"), ("tensor",),
)  # fmt: skip
SCALES = (
    "fp32", "fp16", "bf16", "fp8_e4m3", "ue4m3fn", "ue5m3", "ue3m3", "uint4", "uint6", "uint8",
    "e8m0", "e8m0_ceil", "e8m0_even", "e8m0_rceil", "e1m0", "e2m0", "e0m2", "e6m2", "ue2m3_floor",
    "ue4m3fn_ceil", "int6_full_signed", "fp16_signed", "e1m0_search", "e0m2_search",
    "e8m0_search", "uint2_search", "fp8_e5m2", "nf4", "flint4", "e0m8_significand",
    "e0m2_significand",
)  # fmt: skip
OFFSETS = ("fp32", "fp16", "bf16", "uint4", "uint6", "int6", "ue3m3", "fp8_e4m3", "uint8")


def random_scheme(rng, elements=ELEMENTS):
    """A scheme of the grammar of levels; drawn until one is allowed."""
    while True:
        text = _drawn(rng, elements)
        try:
            made = Scheme.parse(text)
        except BitlatheError:
            continue
        if made.levels:
            return made


def _drawn(rng, elements):
    groups = CHAINS[rng.integers(len(CHAINS))]
    count = int(rng.integers(1, len(groups) + 1))
    text = str(rng.choice(elements))
    text += "".join(f"@{g}/{rng.choice(SCALES)}" for g in groups[:count])
    if rng.random() < 0.4:
        text += str(rng.choice(["-", "~"])) + str(rng.choice(OFFSETS))
        for g in groups[1 : int(rng.integers(1, len(groups) + 1))]:
            text += f"@{g}/{rng.choice(OFFSETS)}"
    return text


def _table(fmt):
    return [float(v) if math.isfinite(v) else None for v in fmt.values]


def _level(level, above=None):
    size = (level.granularity.rows, level.granularity.columns)
    values = None if level.format is None else _table(level.format)
    anchor = level.anchor if above is None else level.anchor_under(above)
    return naive.Level(size, values, level.rule, level.search, level.signed, anchor)


def twin(x, scheme):
    """The matrix by the slow twin, the scheme told in plain data."""
    members = [
        {
            "values": _table(f),
            "negative_zero": f.negative_zero,
            "mantissa_bits": f.grid.top_mantissa_bits,
        }
        for f in scheme.formats
    ]
    offset = scheme.offset
    told = offset and (offset.kind, [_level(level) for level in offset.levels], _digits(offset))
    levels = [_level(*pair) for pair in zip_longest(scheme.levels, scheme.levels[1:])]
    return naive.quantize(x, members, levels, told)


def _digits(offset):
    """Mantissa bits and largest number of float zero points; None of all others."""
    name = offset.levels[0].name
    if offset.kind != "zero" or len(offset.levels) > 1:
        return None
    return {"fp16": (10, 65504.0), "bf16": (7, 255 * 2.0**120), "fp32": (23, 3.4e38)}.get(name)


def codes_of(levels, raws, layout):
    """Patterns by (level, group), as the twin tells them: a float32 is its own code."""
    found = {}
    for k, (level, raw) in enumerate(zip(levels, raws, strict=True)):
        told = raw.view(np.float32).astype(float) if level.format is None else raw
        found |= {(k, at): value for at, value in enumerate(told.tolist())}
    return found
