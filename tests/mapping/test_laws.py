"""What no chip can do: get slower by more of anything, or faster than its steps and its ports."""

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil, prod

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.cost import cost
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search

Case = tuple[Loops, OperandBits, Hierarchy]


def random_case(rng: random.Random) -> tuple[Loops, OperandBits, Hierarchy]:
    def ports() -> tuple[Port, ...]:
        width = Fraction(rng.choice([16, 40, 64, 100]))
        ways = ("both",) if rng.random() < 0.4 else ("read", "write")
        return tuple(
            Port(direction=way, width_bits=width, read_pj=1.0, write_pj=1.5)  # type: ignore[arg-type]
            for way in ways
        )

    buffers = rng.choice([[OPERANDS], [("weight",), ("input", "output")]])
    held = rng.choice([None, "weight", "output"])
    memories = [
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports()[:1]),
        *(
            Memory(
                name=f"buffer{i}",
                holds=holds,
                size_bits=rng.randint(300, 20000),
                ports=ports(),
                double_buffered=rng.random() < 0.5,
            )
            for i, holds in enumerate(buffers)
        ),
    ]
    memories[0] = replace(memories[0], ports=(replace(memories[0].ports[0], direction="both"),))
    if held:
        memories.append(
            Memory(
                name="register",
                holds=(held,),
                size_bits=None,
                words=rng.choice([1, 2]),
                ports=(Port(direction="both", width_bits=Fraction(64)),),
                per=("x", "y"),
                double_buffered=rng.random() < 0.5,
            )
        )
    axes = (
        Axis(name="x", size=rng.randint(1, 6), dims=("k",)),
        Axis(name="y", size=rng.randint(1, 6), dims=("n", "m")),
        Axis(name="lanes", size=rng.choice([1, 1, 2]), dims=("k",)),
    )
    bits = OperandBits(
        weight=Fraction(rng.choice([17, 24, 32]), 4),
        input=Fraction(8),
        output=Fraction(8),
        partial=24,
        step_cycles=Fraction(rng.choice([1, 3]), 2),
    )
    chip = Hierarchy(memories=tuple(memories), axes=axes, units=("x", "y"), unit_pj=0.5)
    return Loops.product(*(rng.randint(1, 60) for _ in range(3))), bits, chip


def _memory(change: Callable[[Memory], Memory]) -> Callable[[Case], Case]:
    def changed(case: Case) -> Case:
        layer, bits, chip = case
        return layer, bits, replace(chip, memories=tuple(change(m) for m in chip.memories))

    return changed


def _wider(memory: Memory) -> Memory:
    ports = tuple(
        replace(port, width_bits=port.width_bits * Fraction(5, 4)) for port in memory.ports
    )
    return replace(memory, ports=ports)


def _a_port_each_way(memory: Memory) -> Memory:
    ports = memory.ports
    if len(ports) > 1:
        return memory
    return replace(
        memory,
        ports=(replace(ports[0], direction="read"), replace(ports[0], direction="write")),
    )


def _axis(i: int) -> Callable[[Case], Case]:
    def longer(case: Case) -> Case:
        axes = list(case[2].axes)
        axes[i] = replace(axes[i], size=axes[i].size + 1)
        return *case[:2], replace(case[2], axes=tuple(axes))

    return longer


def _larger(memory: Memory) -> Memory:
    size = memory.size_bits
    return memory if size is None else replace(memory, size_bits=size + size // 3)


BETTER: dict[str, Callable[[Case], Case]] = {
    "wider ports": _memory(_wider),
    "larger buffers": _memory(_larger),
    "double buffering": _memory(lambda memory: replace(memory, double_buffered=True)),
    "a port for each direction": _memory(_a_port_each_way),
    "another row": _axis(0),
    "another column": _axis(1),
    "another lane": _axis(2),
    "fewer bits": lambda case: (
        case[0],
        replace(case[1], weight=case[1].weight - Fraction(1, 4)),
        case[2],
    ),
    "a faster step": lambda case: (case[0], replace(case[1], step_cycles=Fraction(1, 2)), case[2]),
}


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
        halved = _memory(
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


def test_fewer_tokens_are_never_slower() -> None:
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
