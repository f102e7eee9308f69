"""Axes without multicast: what their units take alike is read once for each of them."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.best import OBJECTIVES
from bitlathe.mapping.certify import chip_data
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search
from map_cases import compiled_and_plain, every_mapping, least_of, random_bits, random_chip

BITS = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8), partial=32)


def apart(chip: Hierarchy, name: str = "x") -> Hierarchy:
    """The same chip, one axis without multicast."""
    axes = tuple(replace(axis, multicast=axis.name != name) for axis in chip.axes)
    return replace(chip, axes=axes)


def two_cores(dim: str, *, multicast: bool) -> Hierarchy:
    port = (Port(direction="both", width_bits=Fraction(64)),)
    return Hierarchy(
        memories=(
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=port),
            Memory(name="own", holds=OPERANDS, size_bits=8 * 4096, ports=port, per=("cores",)),
        ),
        axes=(Axis(name="cores", size=2, dims=(dim,), multicast=multicast),),
    )


@pytest.mark.parametrize("seed", range(6))
def test_compiled_cost_is_the_plain_one(seed: int) -> None:
    rng = random.Random(seed)
    compared = 0
    while compared < 20:
        chip, bits = apart(random_chip(rng, large=True)), random_bits(rng)
        layer = Loops.product(*(rng.randint(1, 40) for _ in range(3)), rng.choice([1, 1, 2]))
        found = compiled_and_plain(rng, layer, bits, chip)
        if found is None:
            continue
        mapping, cycles, energy_pj, plain = found
        assert cycles == plain.cycles, mapping.text(layer.sizes)
        assert energy_pj == pytest.approx(plain.total_pj, rel=1e-12)
        compared += 1


@pytest.mark.parametrize("seed", [1, 2, 5, 7])
def test_search_finds_the_best_of_every_mapping(seed: int) -> None:
    rng = random.Random(seed)
    chip, bits = apart(random_chip(rng)), random_bits(rng)
    layer = Loops.product(*rng.sample([1, 2, 3, 3], 3))
    for objective in OBJECTIVES:
        expected = least_of(layer, bits, chip, objective, every_mapping(layer, chip))
        if expected is None:
            with pytest.raises(BitlatheError, match="too small"):
                search(layer, bits, chip, objective)
            continue
        found = search(layer, bits, chip, objective)
        at = {"cycles": "cycles", "energy": "total_pj", "edp": "edp"}[objective]
        assert getattr(found.cost, at) == pytest.approx(getattr(expected, at), rel=1e-9)
        shared = search(layer, bits, replace(chip, axes=apart(chip, "").axes), objective)
        assert getattr(shared.cost, at) <= getattr(found.cost, at) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("dim", "multicast", "read"),
    [
        ("m", True, (1, 1)),  # tokens divided: the weights are shared
        ("m", False, (2, 1)),
        ("n", True, (1, 1)),  # outputs divided: the inputs are
        ("n", False, (1, 2)),
        ("k", False, (1, 1)),  # each has its own inputs and weights; sums meet on their way
    ],
)
def test_a_shared_operand_is_read_once_or_once_a_core(dim, multicast, read) -> None:
    layer, chip = Loops.product(8, 8, 8), two_cores(dim, multicast=multicast)
    best = search(layer, BITS, chip, "cycles")
    assert best.mapping.spatial[0].size == 2
    moved = {
        (row.operand, row.kind): (row.parent_elements, row.child_elements)
        for row in accesses(layer, best.mapping, chip)
        if row.parent == "dram"
    }
    taken = {"m": (2, 1), "n": (1, 2), "k": (1, 1)}[dim]
    for operand, parent, child in zip(("weight", "input"), read, taken, strict=True):
        assert moved[operand, "fetch"] == (64 * parent, 64 * child)
    assert moved["output", "write"] == (64, 128 if dim == "k" else 64)


def test_what_is_not_counted_is_refused() -> None:
    chip = two_cores("m", multicast=False)
    with pytest.raises(BitlatheError, match=r"cores.multicast is false, which certificates do not"):
        chip_data(chip)
    rows = Axis(name="rows", size=2, dims=("n",))
    with pytest.raises(BitlatheError, match="'cores' has no multicast, and memory 'own' outside"):
        replace(
            chip,
            axes=(*chip.axes, rows),
            memories=(chip.memories[0], replace(chip.memories[1], per=("rows",))),
        )
