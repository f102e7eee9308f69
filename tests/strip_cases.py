"""Random chains of convolutions, and strips of them."""

import random
from fractions import Fraction

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.fused.near import NearChip
from bitlathe.mapping.fused.strips import Conv, ConvChain, StripTiling
from bitlathe.workloads.conv_shape import ConvShape
from bitlathe.workloads.vector_step import OPERATIONS, Operation
from fused_cases import random_bits, random_near


def shared_near(rng: random.Random) -> NearChip:
    """A chip on which inputs and results have one near memory."""
    while True:
        near = random_near(rng)
        if near.memory("input") is near.memory("output"):
            return near


def random_shape(rng: random.Random, channels: int, size: tuple[int, int]) -> ConvShape:
    """A convolution that reads a map; one in three is depthwise."""
    while True:
        deep = rng.random() < 0.3
        try:
            return ConvShape(
                in_channels=channels,
                out_channels=channels if deep else rng.randint(1, 4),
                groups=channels if deep else 1,
                size=size,
                kernel=(rng.randint(1, 4), rng.randint(1, 3)),
                stride=(rng.randint(1, 2), rng.randint(1, 2)),
                padding=(rng.randint(0, 2), rng.randint(0, 1)),
                dilation=(rng.choice([1, 1, 2]), 1),
            )
        except BitlatheError:
            continue


def random_convs(rng: random.Random, most: int = 14) -> ConvChain:
    size, channels = (rng.randint(4, most), rng.randint(3, 6)), rng.randint(1, 4)
    layers = []
    for _ in range(rng.choice([2, 2, 3])):
        shape = random_shape(rng, channels, size)
        work = rng.choice([Operation(), OPERATIONS["relu"], OPERATIONS["quantize"]])
        groups = Fraction(bool(work.row_specials), rng.randint(1, 5))
        layers.append(Conv(shape=shape, bits=random_bits(rng), work=work, groups=groups))
        size, channels = shape.output_size, shape.out_channels
    return ConvChain(
        layers=tuple(layers), images=rng.choice([1, 1, 2, 7]), added=rng.choice([0, 0, 1, 2])
    )


def random_strips(rng: random.Random, chain: ConvChain) -> StripTiling:
    return StripTiling(
        rows=rng.randint(1, chain.rows),
        kept=tuple(rng.random() < 0.6 for _ in chain.layers),
        places=rng.choice([1, 2]),
        held=rng.random() < 0.6,
    )
