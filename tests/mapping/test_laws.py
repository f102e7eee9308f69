"""What no chip can do: get slower by more of anything, or faster than its steps and its ports."""

import random
from dataclasses import replace
from fractions import Fraction
from math import ceil, prod

import pytest

from bitlathe.arch.hierarchy import OPERANDS
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.cost import cost
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.search import search
from law_cases import BETTER, memories_changed, random_case


@pytest.mark.parametrize("better", BETTER)
def test_more_is_never_slower(better: str) -> None:
    rng = random.Random(better)
    for _ in range(30):
        case = random_case(rng)
        before, after = search(*case), search(*BETTER[better](case))
        assert after.cost.cycles <= before.cost.cycles, case


@pytest.mark.parametrize("better", [each for each in BETTER if each != "a faster step"])
def test_more_never_takes_more_energy(better: str) -> None:
    """An access costs the same, however wide: energy of clocks is left out."""
    rng = random.Random(better)
    for _ in range(25):
        case = random_case(rng)
        before, after = (search(*each, "energy") for each in (case, BETTER[better](case)))
        assert after.cost.total_pj <= before.cost.total_pj * (1 + 1e-12), case


def test_two_batches_take_no_longer_in_one() -> None:
    rng = random.Random(10)
    for _ in range(12):
        layer, bits, chip = random_case(rng)
        m, n, k = layer.sizes.values()
        more = rng.randint(1, 20)
        one, other, both = (
            search(Loops.product(rows, n, k), bits, chip).cost.cycles
            for rows in (m, more, m + more)
        )
        assert both <= one + other, (layer, chip)


def test_a_port_half_as_wide_takes_more_accesses() -> None:
    rng = random.Random(11)
    for _ in range(12):
        layer, bits, chip = random_case(rng)
        found = search(layer, bits, chip)
        halved = memories_changed(
            lambda memory: replace(
                memory,
                ports=tuple(replace(port, width_bits=port.width_bits / 2) for port in memory.ports),
            )
        )((layer, bits, chip))[2]
        after = cost(layer, bits, found.mapping, halved)
        pairs = list(zip(found.cost.ports, after.ports, strict=True))
        for wide, narrow in pairs:
            before, now = wide.reads + wide.writes, narrow.reads + narrow.writes
            assert before <= now <= 2 * before
            assert wide.busy <= narrow.busy <= 2 * wide.busy
        assert any(
            wide.busy < narrow.busy
            for wide, narrow in zip(found.cost.ports, after.ports, strict=True)
        )


def test_fewer_tokens_are_never_slower_here() -> None:
    # one random layer in some thousand is, by a clock or two: docs/mapping.md says why
    rng = random.Random(8)
    for _ in range(12):
        layer, bits, chip = random_case(rng)
        m, n, k = layer.sizes.values()
        cycles = [search(Loops.product(some, n, k), bits, chip).cost.cycles for some in (m, m + 1)]
        assert cycles[0] <= cycles[1], (layer, chip)


def test_never_faster_than_steps_and_compulsory_traffic() -> None:
    rng = random.Random(9)
    for _ in range(25):
        layer, bits, chip = random_case(rng)
        found = search(layer, bits, chip)
        units = prod(axis.size for axis in chip.axes)
        assert found.cost.cycles >= layer.macs * bits.step_cycles / units
        once = sum(
            Fraction(layer.macs, layer.sizes[dim]) * bits.of(operand)
            for operand, dim in (("weight", "m"), ("input", "n"), ("output", "k"))
        )
        assert found.cost.cycles >= ceil(once / chip.memories[0].ports[0].width_bits)
        from_dram = {
            row.operand
            for row in accesses(layer, found.mapping, chip)
            if row.parent == "dram" and row.visits
        }
        assert from_dram == set(OPERANDS)
