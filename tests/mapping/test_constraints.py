"""Constraints against every mapping that keeps to them; what is refused, and how."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from click.testing import CliRunner

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.constraints import Constraints
from bitlathe.mapping.nest import Loops, Mapping
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search
from bitlathe.mapping.space import storages, tiers_of
from map_cases import every_mapping, least_of, random_bits, random_chip


def inside(mapping: Mapping, chip: Hierarchy, memory: str) -> tuple[int, list[str]]:
    """Return how many loops stand outside a memory's tier, and the dimensions right inside it."""
    tiers = [[each.name for each in tier] for tier in tiers_of(chip)]
    outside, loops = 0, []
    mine = next(tier for tier in tiers if memory in tier)
    before = [name for tier in tiers[: tiers.index(mine)] for name in tier]
    for level in mapping.levels:
        if level.memory in before:
            outside += len(level.loops)
        if level.memory in mine:
            loops += [loop.dim for loop in level.loops]
    return outside, loops


def keeps_to(text: str, mapping: Mapping, layer: Loops, chip: Hierarchy) -> bool:
    """Whether a mapping is as a constraint says; written down anew."""
    sign = "!=" if "!=" in text else "="
    left, value = text.split(sign)
    if "." not in left:
        asked = set() if value == "none" else {tuple(part.split(":")) for part in value.split(",")}
        has = {(u.dim, str(u.size)) for u in mapping.spatial if u.axis == left}
        return has == {pair for pair in asked if pair[1] != "1"}
    memory, what = left.split(".")
    if what == "bypass":
        gone = memory not in [place.memory for place in mapping.chain(value)]
        return gone == (sign == "=")
    outside, loops = inside(mapping, chip, memory)
    if what == "order":
        wanted = value.split(",")
        return (loops == sorted(loops, key=wanted.index)) == (sign == "=")
    if what == "stationary":
        stays = not loops or loops[-1] not in layer.indexes[value]
        return stays == (sign == "=")
    size = layer.sizes[what]
    return mapping.tile(layer.sizes, outside)[what] == (size if value == "whole" else int(value))


def random_constraint(rng: random.Random, layer: Loops, chip: Hierarchy) -> str:
    memory = rng.choice(chip.memories)
    inner = rng.choice(chip.memories[1:])
    sign = rng.choice(["=", "!="])
    axis = rng.choice(chip.axes)
    dim = rng.choice(axis.dims)
    most = min(axis.size, layer.sizes[dim])
    order = ",".join(rng.sample("mnk", 3))
    tile_dim = rng.choice("mnk")
    kinds = [
        f"{axis.name}={dim}:{rng.randint(1, most)}",
        f"{axis.name}=none",
        f"{inner.name}.{tile_dim}={rng.choice(['whole', rng.randint(1, layer.sizes[tile_dim])])}",
        f"{memory.name}.order{sign}{order}",
        f"{memory.name}.stationary{sign}{rng.choice(OPERANDS)}",
    ]
    kinds += [f"{m.name}.bypass{sign}{op}" for m in chip.memories[1:] for op in m.optional]
    return rng.choice(kinds)


def indexed_everywhere(text: str, layer: Loops, chip: Hierarchy) -> bool:
    """Whether a tile of a tier is its own, however operands go past memories."""
    memory, _, dim = text.partition("=")[0].partition(".")
    if dim not in layer.sizes:
        return True
    mine = next(tier for tier in tiers_of(chip) if memory in [each.name for each in tier])
    return all(
        any(each in storage[op] and dim in layer.indexes[op] for each in mine for op in OPERANDS)
        for storage in storages(chip)
    )


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=pytest.mark.slow if seed > 9 else ()) for seed in range(40)],
)
def test_the_best_of_those_that_keep_to_it(seed: int) -> None:
    rng = random.Random(seed)
    bits = random_bits(rng)
    layer = Loops.product(*rng.sample([1, 2, 2, 3], 3))
    chip = random_chip(rng)
    while len(chip.memories) > 3:
        chip = random_chip(rng)
    mappings = list(every_mapping(layer, chip))
    for _ in range(6):
        text = random_constraint(rng, layer, chip)
        if not indexed_everywhere(text, layer, chip):
            continue
        objective = rng.choice(["cycles", "energy"])
        kept = [each for each in mappings if keeps_to(text, each, layer, chip)]
        expected = least_of(layer, bits, chip, objective, iter(kept))
        constraints = Constraints.of(text)
        if expected is None:
            with pytest.raises(BitlatheError, match=r"too small|keeps to it"):
                search(layer, bits, chip, objective, constraints=constraints)
            continue
        found = search(layer, bits, chip, objective, constraints=constraints)
        assert keeps_to(text, found.mapping, layer, chip)
        at = {"cycles": "cycles", "energy": "total_pj"}[objective]
        assert getattr(found.cost, at) == pytest.approx(getattr(expected, at), rel=1e-9), text


PORTS = (Port(direction="both", width_bits=Fraction(8)),)
CHIP = Hierarchy(
    memories=(
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=PORTS),
        Memory(name="io", holds=("input", "output"), size_bits=300, ports=PORTS),
    ),
    axes=(Axis(name="rows", size=4, dims=("k",)),),
)
BITS = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8), partial=16)
LAYER = Loops.product(8, 8, 8)


def test_a_tile_outside_the_space_may_be_asked_for() -> None:
    """Of 8 the space has tiles of 8, 4, 3, 2 and 1; a user may want 5."""
    found = search(LAYER, BITS, CHIP, constraints=Constraints.of("io.m=5", "io.order=k,n,m"))
    outside, _ = inside(found.mapping, CHIP, "io")
    assert found.mapping.tile(LAYER.sizes, outside)["m"] == 5


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (("io",), "constraint 'io' is not one; give MEMORY.DIMENSION=TILE"),
        (("io.k=0",), "constraint 'io.k=0': '0' is not a tile"),
        (("io.k!=4",), "constraint 'io.k!=4': tiles and axes cannot be forbidden"),
        (("rows=k",), "constraint 'rows=k': 'k' is not an unrolling"),
        (("io.k=9",), "constraint 'io.k=9': dimension k has 8; give at most 8, or 'whole'."),
        (("io.x=2",), "constraint 'io.x=2': unknown dimension 'x'"),
        (("oi.k=2",), "constraint 'oi.k=2': unknown memory 'oi'. Known: dram, io."),
        (("row=k:2",), "constraint 'row=k:2': unknown axis 'row'; did you mean 'rows'"),
        (("rows=m:2",), "constraint 'rows=m:2': axis 'rows' cannot unroll m; it takes k"),
        (("rows=k:5",), "constraint 'rows=k:5': axis 'rows' has 4 units; unroll at most 4, not 5."),
        (("io.order=n,m",), "constraint 'io.order=n,m': an order has each of m, n and k once"),
        (("io.stationary=sums",), "constraint 'io.stationary=sums': unknown operand 'sums'"),
        (("io.bypass=input",), "memory 'io' must keep inputs on their way."),
        (("io.bypass!=weight",), "memory 'io' cannot hold weights."),
        (("dram.k=4",), "memory 'dram' is outermost, and holds all 8 of k."),
        (("io.k=2", "io.k=4"), "constraints 'io.k=2' and 'io.k=4' contradict each other"),
        (("rows=none", "rows=k:4"), "'rows=none' and 'rows=k:4' contradict each other"),
        (
            ("io.stationary=input", "io.stationary!=input"),
            "'io.stationary=input' and 'io.stationary!=input' contradict each other",
        ),
        (("io.m=whole", "io.k=whole", "io.n=whole"), "no mapping keeps to all of the constraints"),
        (("io.m=3", "rows=k:4", "io.k=3"), "constraint"),
    ],
)
def test_mistakes_are_named(texts: tuple[str, ...], says: str) -> None:
    with pytest.raises(BitlatheError) as error:
        search(LAYER, BITS, CHIP, constraints=Constraints.of(*texts))
    assert says in str(error.value)


def test_what_cannot_be_kept_to_is_named() -> None:
    chip = replace(CHIP, memories=(CHIP.memories[0], replace(CHIP.memories[1], size_bits=100)))
    with pytest.raises(BitlatheError) as error:
        search(LAYER, BITS, chip, constraints=Constraints.of("rows=none", "io.k=whole", "io.m=4"))
    assert "constraint" in str(error.value)
    assert "too small" not in str(error.value)


def test_the_command_keeps_to_them() -> None:
    command = ["map", "--arch", "bitmod", "--gemm", "16x256x256", "--constraint", "io.k=whole"]
    result = CliRunner().invoke(main, [*command, "--constraint", "rows=n:16"])
    assert result.exit_code == 0, result.output
    assert "16 at once" in result.output
    wrong = CliRunner().invoke(main, [*command, "--constraint", "io.k=64"])
    assert wrong.exit_code == 2
    assert "constraints 'io.k=whole' and 'io.k=64' contradict each other" in wrong.stderr
