"""Random chains, chips and tilings, and the same as plain data for `naive.fused_naive`."""

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from typing import Any

from bitlathe.arch.hierarchy import OPERANDS, Hierarchy
from bitlathe.mapping.best import Best
from bitlathe.mapping.fused.chain import SOFTMAX, Chain, Lanes, Mask, activation
from bitlathe.mapping.fused.near import NearChip, PortAt, near_chip, why_not
from bitlathe.mapping.fused.products import Asked, BlockProduct, ProductOf
from bitlathe.mapping.fused.tiling import Tiling
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.proof.fused.totals import Made
from bitlathe.mapping.search import search as search_mapping
from bitlathe.workloads.vector_step import OPERATIONS
from map_cases import random_chip
from naive import fused_naive


def found_once() -> Callable[..., Best]:
    kept: dict[Any, Best] = {}

    def found(loops: Any, bits: Any, hierarchy: Any, objective: Any) -> Best:
        key = repr((loops, bits, hierarchy, objective))
        if key not in kept:
            kept[key] = search_mapping(loops, bits, hierarchy, objective)
        return kept[key]

    return found


def random_near(rng: random.Random) -> NearChip:
    while True:
        hierarchy = random_chip(rng, large=True)
        if why_not(hierarchy) is None:
            return near_chip(hierarchy)


def random_bits(rng: random.Random) -> OperandBits:
    bits = [Fraction(rng.choice([4, 8, 16, 17]), rng.choice([1, 1, 4])) for _ in OPERANDS]
    return OperandBits(
        weight=bits[0],
        input=bits[1],
        output=bits[2],
        partial=rng.choice([20, 32]),
        step_cycles=Fraction(rng.choice([1, 2, 5]), rng.choice([1, 2])),
    )


def random_chain(rng: random.Random) -> Chain:
    token = rng.choice([1, 1, 2, 3])
    tokens, middle = rng.randint(1, 9), rng.randint(1, 24)
    mask = None
    if rng.random() < 0.6:
        before = rng.randint(0, middle)
        window = rng.choice([None, rng.randint(1, 8)])
        if window is None or before - window < middle - 1:
            mask = Mask(rows_per_token=token, before=before, window=window)
    steps = rng.choice([SOFTMAX, SOFTMAX, activation(("silu", "multiply"))])
    if rng.random() < 0.4:
        steps = steps._replace(quantize=OPERATIONS["quantize"], group=rng.choice([0, 3]))
    return Chain(
        m=tokens * token,
        middle=middle,
        out=rng.randint(1, 6),
        inner=rng.randint(1, 6),
        instances=rng.choice([1, 2, 3, 11]),
        matrices=rng.choice([1, 1, 2]),
        first=random_bits(rng),
        second=random_bits(rng),
        steps=steps,
        mask=mask,
    )


def random_lanes(rng: random.Random) -> Lanes:
    return Lanes(
        lanes=rng.choice([1, 2, 7, 64]),
        special_cycles=rng.choice([1, 4]),
        add_pj=0.5,
        multiply_pj=1.25,
        special_pj=2.0,
        overlap=rng.random() < 0.8,
    )


def random_tiling(rng: random.Random, chain: Chain, lanes: Lanes) -> Tiling:
    places = rng.choice([1, 2])
    spilled = chain.spills and chain.middle > 1 and rng.random() < 0.6
    return Tiling(
        rows=chain.rows_per_token * rng.randint(1, 9),
        columns=rng.randint(1, chain.middle - 1 if spilled else 24),
        places=places,
        ahead=lanes.overlap and rng.random() < 0.6,
        held=0 if spilled else rng.choice(range(places + 1)),
        spilled=spilled,
    )


def made_up(rng: random.Random, near: NearChip) -> ProductOf:
    """Return products whose costs are drawn: the schedule takes them as they are."""
    found: dict[Asked, BlockProduct] = {}

    def product(asked: Asked) -> BlockProduct:
        if asked not in found:
            found[asked] = BlockProduct(
                cycles=rng.randint(1, 60),
                step_cycles=Fraction(rng.randint(1, 60), 7),
                accesses={
                    at: (rng.randint(0, 5), rng.randint(0, 5), rng.randint(0, 9))
                    for at in near.ports
                },
                array_pj=rng.randint(1, 9) / 4,
                memory_pj=rng.randint(8, 16) / 4,
                written_pj=rng.randint(1, 8) / 4,
            )
        return found[asked]

    return product


def plain_steps(chain: Chain) -> dict[str, Any]:
    """Return the steps as the twin takes them: its own softmax, or a gated SiLU."""
    if chain.steps.state:
        return fused_naive.SOFTMAX
    silu = ((1, 2, 2), (0, 0, 0))
    nothing = ((0, 0, 0), (0, 0, 0))
    carry = ((1, 0, 0), (0, 0, 0))
    return {
        "alone": silu, "first": silu, "later": silu, "carry": carry, "finish": nothing, "state": 0
    }  # fmt: skip


def plain(chain: Chain, near: NearChip, lanes: Lanes, product: ProductOf) -> tuple[Any, ...]:
    """Return chain, chip, lanes and products as plain data."""
    bits = [
        {operand: getattr(each, operand) for operand in OPERANDS}
        for each in (chain.first, chain.second)
    ]
    mask = chain.mask and (chain.mask.rows_per_token, chain.mask.before, chain.mask.window)
    quantizes = chain.steps.quantize == OPERATIONS["quantize"]
    asked = {name: getattr(chain, name) for name in ("m", "middle", "out", "inner")}
    asked |= {
        "instances": chain.instances,
        "matrices": chain.matrices,
        "mask": mask,
        "first": bits[0],
        "second": bits[1],
        "partial": Fraction(chain.second.partial),
        "steps": plain_steps(chain),
        "quantize": ((2, 1, 0), (0, 0, 1)) if quantizes else None,
        "group": chain.steps.group,
    }
    chip = chip_ports(near)
    figures = ("lanes", "special_cycles", "add_pj", "multiply_pj", "special_pj")

    def run(*of: Any) -> tuple[Any, ...]:
        each = product(Asked(*of))
        return each.cycles, each.step_cycles, each.accesses, each.array_pj, each.memory_pj

    return asked, chip, {name: getattr(lanes, name) for name in figures}, run


def chip_ports(near: NearChip) -> dict[str, Any]:
    """Return the latency of the outermost memory, its ports and those of the near memories."""
    whole = near.whole
    return {
        "latency": whole.memories[0].latency_cycles,
        "outer": {operand: _ports(whole, whole.memories[0].name, operand) for operand in OPERANDS},
        "near": {
            operand: _ports(whole, whole.chain(operand)[1].name, operand) for operand in OPERANDS
        },
    }


def _ports(whole: Hierarchy, name: str, operand: str) -> dict[str, Any]:
    memory, found = whole.memory(name), {}
    for way in ("read", "write"):
        i = memory.port(way, operand)  # type: ignore[arg-type]
        port = memory.ports[i]
        pj = port.read_pj if way == "read" else port.write_pj
        found[way] = PortAt(name, i), port.width_bits, port.burst_bits, pj
    return found


def enlarged(hierarchy: Hierarchy, change: Callable[[Any], Any]) -> Hierarchy:
    """Return a chip with its chip-wide memories changed."""
    return replace(
        hierarchy,
        memories=tuple(memory if memory.per else change(memory) for memory in hierarchy.memories),
    )


def as_made(made: BlockProduct) -> Made:
    """What a product costs, as the checker has it."""
    ports: Any = {tuple(at): each for at, each in made.accesses.items()}
    pj = Fraction(made.array_pj), Fraction(made.memory_pj)
    return Made(made.cycles, made.step_cycles, ports, *pj)


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places of all numbers, texts and truths in plain data."""
    if isinstance(data, dict | list):
        pairs = data.items() if isinstance(data, dict) else enumerate(data)
        return [path for key, each in pairs for path in places(each, (*at, key))]
    return [at]


def with_other(data: dict[str, Any], path: tuple[Any, ...], by: int) -> dict[str, Any] | None:
    """The data with one figure changed; None where it is no number."""
    found = deepcopy(data)
    inner: Any = found
    for key in path[:-1]:
        inner = inner[key]
    value = inner[path[-1]]
    if isinstance(value, bool):
        inner[path[-1]] = not value
    elif isinstance(value, int):
        inner[path[-1]] = value + by
    elif isinstance(value, str) and value[:1].isdigit():
        inner[path[-1]] = str(Fraction(value) + by)
    else:
        return None
    return found


def figures(data: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    """Places of all figures under some keys of plain data."""
    every = [path for name in names for path in places(data[name], (name,))]
    return [path for path in every if with_other(data, path, 1) is not None]


def every_tiling(chain: Chain, lanes: Lanes) -> list[Tiling]:
    """All tilings of the space, written down anew: rows in whole tokens."""
    token, found = chain.rows_per_token, []
    tokens = -(-chain.m // token)
    for rows in {min(chain.m, token * each) for each in sizes(tokens)}:
        for columns in sizes(chain.middle):
            found += [
                Tiling(rows=rows, columns=columns, places=places, ahead=ahead, held=held)
                for places in (1, 2)
                for ahead in ((False, True) if lanes.overlap else (False,))
                for held in range(places + 1)
            ]
            if chain.mask is None and not chain.steps.state and columns < chain.middle:
                found += [
                    Tiling(rows=rows, columns=columns, places=places, ahead=ahead, spilled=True)
                    for places in (1, 2)
                    for ahead in ((False, True) if lanes.overlap else (False,))
                ]
    return found


def sizes(size: int) -> set[int]:
    counts = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256}
    return {-(-size // count) for count in counts}
