"""The machine of a mapping against a plain simulation, folded and not; hand cases."""

import random
from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.cost import cost
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from bitlathe.mapping.operands import OperandBits
from bitlathe.sim.cycle.nest.run import NestRun, run_nest
from naive import nest_machine_naive
from worked_example import BITS, LAYER, port
from worked_example import chip as example_chip
from worked_example import nest as example_nest

Case = tuple[Loops, OperandBits, Mapping, Hierarchy]


def random_ports(rng: random.Random) -> tuple[Port, ...]:
    def port(direction: str) -> Port:
        width = Fraction(rng.choice([2, 8, 12, 32, 100]), rng.choice([1, 1, 3]))
        return Port(direction=direction, width_bits=width)  # type: ignore[arg-type]

    return (port("both"),) if rng.random() < 0.4 else (port("read"), port("write"))


def random_case(rng: random.Random, most: int) -> Case:
    """A layer of sizes up to ``most``, imperfect tiles in any order, memories at random places."""
    layer = Loops.product(*(rng.randint(1, most) for _ in range(3)), rng.choice([1, 1, 2]))
    dims = list(layer.sizes)
    axes = [Axis(name=name, size=4, dims=tuple(dims)) for name in ("x", "y")]
    spatial = [
        Unroll(axis.name, dim, rng.choice([1, 2]))
        for axis in axes
        for dim in rng.sample(dims, rng.choice([0, 1]))
    ]
    together = Mapping(levels=(), spatial=tuple(spatial))
    loops = []
    for dim in dims:
        least = together.unrolled(dim)
        tiles = sorted({rng.randint(least, most) for _ in range(rng.randint(0, 2))}, reverse=True)
        loops.append([Loop(dim, tile) for tile in [*tiles, least]])
    nest = []
    while any(loops):
        nest.append(rng.choice([some for some in loops if some]).pop(0))
    bounds = [0, *sorted(rng.randint(0, len(nest)) for _ in range(rng.randint(0, 3))), len(nest)]
    memories, levels, per = [], [], ()
    for i in range(len(bounds) - 1):
        if i:
            per = tuple(sorted({*per, *rng.sample(["x", "y"], rng.choice([0, 0, 1]))}))
        kept = tuple(op for op in OPERANDS if i == 0 or rng.random() < 0.6) or ("weight",)
        memories.append(
            Memory(
                name=f"m{i}",
                holds=kept,
                size_bits=1 << 30 if i and rng.random() < 0.7 else None,
                ports=random_ports(rng),
                per=per,
                latency_cycles=rng.choice([0, 0, 3, 20]),
            )
        )
        if i and memories[-1].size_bits is None:
            memories[-1] = replace(memories[-1], words=1 << 20)
        doubled = tuple(op for op in kept if i and rng.random() < 0.6)
        inside = tuple(nest[bounds[i] : bounds[i + 1]])
        levels.append(Level(memory=f"m{i}", keeps=kept, loops=inside, doubled=doubled))
    bits = OperandBits(
        weight=Fraction(rng.choice([4, 17, 33]), rng.choice([1, 4])),
        input=Fraction(8),
        output=Fraction(rng.choice([8, 16])),
        partial=24,
        step_cycles=Fraction(rng.choice([1, 1, 3, 8]), rng.choice([1, 2])),
        input_code=Fraction(rng.choice([8, 7])),
    )
    mapping = Mapping(levels=tuple(levels), spatial=tuple(spatial))
    return layer, bits, mapping, Hierarchy(memories=tuple(memories), axes=tuple(axes))


def naive(case: Case) -> tuple[int, dict[str, Fraction]]:
    layer, bits, mapping, chip = case
    machine = nest_machine_naive.Machine(
        dict(layer.sizes),
        layer.indexes,
        [(loop.dim, loop.tile) for loop in mapping.loops],
        [(each.axis, each.dim, each.size) for each in mapping.spatial],
        {op: [tuple(place) for place in mapping.chain(op)] for op in OPERANDS},
        {
            memory.name: {
                "per": memory.per,
                "ports": [
                    (p.direction, p.width_bits, p.operands, p.burst_bits) for p in memory.ports
                ],
                "latency": memory.latency_cycles,
                "words": memory.words,
            }
            for memory in chip.memories
        },
        chip.axis_names,
        lambda op, partial, code: (bits.code if code else bits.of)(op, partial=partial),
        bits.step_cycles,
        chip.staying,
    )
    cycles = ceil(machine.run())
    return cycles, {cause: clocks for cause, clocks in machine.stalls.items() if clocks}


def same(found: NestRun, cycles: int, stalls: dict[str, Fraction]) -> bool:
    return (found.cycles, {k: v for k, v in found.stalls.items() if k != "rounding"}) == (
        cycles,
        stalls,
    )


def with_bursts(case: Case, rng: random.Random) -> Case:
    """The outermost memory moves whole bursts."""
    *rest, chip = case
    first, *others = chip.memories
    ports = tuple(replace(port, burst_bits=rng.choice([5, 16, 64, 300])) for port in first.ports)
    memories = (replace(first, ports=ports), *others)
    return *rest, replace(chip, memories=memories)  # type: ignore[return-value]


SEEDS = [pytest.param(seed, marks=pytest.mark.slow if seed > 7 else ()) for seed in range(40)]


@pytest.mark.parametrize("seed", SEEDS)
def test_folded_is_unfolded_is_a_plain_simulation(seed: int) -> None:
    """Clocks and every cause; the run itself asserts that all transfers that are counted move."""
    rng = random.Random(seed)
    for _ in range(15):
        case = random_case(rng, 4)
        cycles, stalls = naive(case)
        for fold in (False, True):
            found = run_nest(*case, fold=fold)
            assert same(found, cycles, stalls), (fold, case[2].text(case[0].sizes), found, stalls)
            assert sum(found.stalls.values()) == found.cycles - found.compute_cycles


def test_bursts_are_those_of_a_plain_simulation_and_of_the_formula() -> None:
    rng = random.Random(5)
    dearer = 0
    for _ in range(20):
        plain = random_case(rng, 4)
        case = with_bursts(plain, rng)
        cycles, stalls = naive(case)
        found, formula, without = run_nest(*case), cost(*case), cost(*plain)
        assert same(found, cycles, stalls), case
        assert found.busy == {load.name: load.busy for load in formula.ports}
        assert found.cycles >= formula.cycles >= without.cycles
        dearer += formula.cycles > without.cycles
    assert dearer > 10


def staying(case: Case, rng: random.Random) -> Case:
    """Some operands lie behind the outermost memory."""
    layer, bits, mapping, chip = case
    some = [op for op in OPERANDS if len(mapping.chain(op)) > 1 and rng.random() < 0.6]
    return layer, bits, mapping, replace(chip, staying=tuple(some))


def test_what_stays_on_the_chip_moves_nothing() -> None:
    """As a plain simulation has it; never below the formula, nor that above what all moves take."""
    rng = random.Random(11)
    saved = 0
    for _ in range(40):
        plain = random_case(rng, rng.choice([3, 4, 9]))
        case = staying(plain, rng)
        formula, without = cost(*case), cost(*plain)
        for fold in (False, True):
            found = run_nest(*case, fold=fold)
            if max(case[0].sizes.values()) < 5:
                assert same(found, *naive(case)), case[2].text(case[0].sizes)
            assert found.cycles >= formula.cycles
            assert found.busy == {load.name: load.busy for load in formula.ports}
        assert formula.cycles <= without.cycles
        saved += formula.cycles < without.cycles
    assert saved > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_folded_is_unfolded_on_more_steps(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        case = random_case(rng, 20)
        assert run_nest(*case) == run_nest(*case, fold=False), case[2].text(case[0].sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_port_and_no_formula_is_beaten(seed: int) -> None:
    """The formula takes of the machine's rules only what each transfer must wait for."""
    rng = random.Random(1000 + seed)
    for _ in range(20):
        case = random_case(rng, 12)
        found, formula = run_nest(*case), cost(*case)
        assert found.cycles >= formula.cycles >= formula.lower_bound_cycles
        assert found.first_load_cycles >= formula.first_load_cycles
        assert found.busy == {load.name: load.busy for load in formula.ports}


@pytest.mark.parametrize("seed", SEEDS)
def test_more_of_anything_is_hardly_ever_slower(seed: int) -> None:
    """A wider port, a faster step, no latency: transfers that come earlier may meet others."""
    rng = random.Random(2000 + seed)
    worse = 0
    for _ in range(15):
        layer, bits, mapping, chip = random_case(rng, 12)
        before = run_nest(layer, bits, mapping, chip).cycles
        at = rng.randrange(len(chip.memories))
        memories = list(chip.memories)
        memories[at] = replace(
            memories[at],
            ports=tuple(
                replace(port, width_bits=2 * port.width_bits) for port in memories[at].ports
            ),
        )
        prompt = tuple(replace(memory, latency_cycles=0) for memory in chip.memories)
        for better in (
            (bits, replace(chip, memories=tuple(memories))),
            (bits, replace(chip, memories=prompt)),
            (replace(bits, step_cycles=bits.step_cycles / 2), chip),
        ):
            worse += run_nest(layer, better[0], mapping, better[1]).cycles > 1.005 * before
    assert worse <= 1


@pytest.mark.parametrize(
    ("registers", "shared", "cycles"),
    [(2, False, 4_200_472), (1, False, 4_315_138), (2, True, 8_369_673)],
)
def test_worked_example(registers: int, shared: bool, cycles: int) -> None:
    """The formula has 4,200,457, 4,315,138 and 8,369,671 (`tests/mapping/test_cost.py`)."""
    found = run_nest(LAYER, BITS, example_nest(registers=registers), example_chip(shared=shared))
    assert found.cycles == cycles
    if registers == 1:  # 16,383 loads of 8 clocks in a window of 1, beside the first load's 8
        assert found.stalls["weights.read weight"] == 7 * 16_383 + 8


def test_one_memory_and_no_stall() -> None:
    """2 x 3 x 4 steps of 3/2 clocks, and the last result's write."""
    chip = Hierarchy(
        memories=(Memory(name="m", holds=OPERANDS, size_bits=None, ports=(port("both", 64),)),),
        axes=(Axis(name="x", size=1, dims=("n",)),),
        fill_cycles=5,
    )
    mapping = Mapping(
        levels=(
            Level(memory="m", keeps=OPERANDS, loops=tuple(Loop(dim, 1) for dim in ("m", "n", "k"))),
        )
    )
    bits = OperandBits(
        weight=Fraction(8), input=Fraction(8), output=Fraction(8), step_cycles=Fraction(9, 2)
    )
    found = run_nest(Loops.product(2, 3, 4), bits, mapping, chip)
    assert found.cycles == 24 * 9 // 2 + 1 + 5
    assert found.stalls == {"m.port array": 1, "fill": 5}
    assert (found.first_load_cycles, found.last_store_cycles) == (0, 1)
