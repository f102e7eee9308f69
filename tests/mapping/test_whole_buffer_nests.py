"""The published rules as loop nests: legal, and with the traffic of the rules."""

import random
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

import bitlathe
from bitlathe.arch.hierarchies import hierarchies_of
from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.accesses import accesses
from bitlathe.mapping.cost import cost
from bitlathe.mapping.legal import problems
from bitlathe.mapping.mappers import NEST_MAPPERS
from bitlathe.mapping.nest import Loops, Mapping
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.whole_buffer import (
    Capacity,
    Traffic,
    operand_bytes,
    output_tiled,
    whole_buffer,
)
from bitlathe.workloads.gemm import Gemm
from naive.chip_bits import operand_bits

GOLDEN = Path(__file__).parents[1] / "golden"
CHIPS = ["bitmod", "ant", "olive", "fp16", "systolic-ws", "systolic-os"]
RULES = ["nest-whole-buffer", "nest-output-tiled"]
FLOWS = {  # what rows and columns unroll, what stays in the PEs
    "tile": ("n", "m", "output"),
    "ws": ("k", "n", "weight"),
    "is": ("k", "m", "input"),
}


def dram_bits(layer: Loops, bits: OperandBits, mapping: Mapping, chip: Hierarchy) -> Fraction:
    return sum(
        (
            row.parent_elements * bits.of(row.operand, partial=row.partial)
            for row in accesses(layer, mapping, chip)
            if row.parent == "dram"
        ),
        Fraction(0),
    )


def chip_of(rng: random.Random, flow: str, sizes: dict[tuple[str, ...], int]) -> Hierarchy:
    """A chip of a dataflow with buffers of so many bits for some operands each."""
    rows, columns, stays = FLOWS[flow]
    port = (Port(direction="both", width_bits=Fraction(64), read_pj=1.0, write_pj=1.0),)
    buffers = [
        Memory(
            name=f"buffer{i}",
            holds=holds,
            size_bits=size,
            ports=port,
            double_buffered=rng.random() < 0.7,
        )
        for i, (holds, size) in enumerate(sizes.items())
    ]
    lanes, two = rng.choice([1, 2, 4]), rng.random() < 0.5
    words = 1 if stays == "output" else lanes
    register = Memory(
        name="register",
        holds=(stays,),
        size_bits=None,
        words=words * (2 if two else 1),
        ports=port,
        per=("rows", "columns"),
        double_buffered=two,
    )
    return Hierarchy(
        memories=(
            Memory(name="dram", holds=OPERANDS, size_bits=None, ports=port),
            *buffers,
            register,
        ),
        axes=(
            Axis(name="rows", size=rng.randint(1, 8), dims=(rows,)),
            Axis(name="columns", size=rng.randint(1, 8), dims=(columns,)),
            Axis(name="lanes", size=lanes, dims=("k",)),
        ),
    )


def random_case(rng: random.Random) -> tuple[Gemm, OperandBits]:
    """A product whose rows take whole bytes, so that the rule in bytes has nothing to pad."""
    m, n, k = rng.randint(1, 90), 8 * rng.randint(1, 12), 8 * rng.randint(1, 12)
    bits = OperandBits(
        weight=Fraction(rng.choice([16, 17, 24, 33]), 4) if k % 32 == 0 else Fraction(4),
        input=Fraction(rng.choice([8, 16])),
        output=Fraction(8),
        partial=32,
    )
    return Gemm(name="layer", m=m, n=n, k=k), bits


def at_once(chip: Hierarchy, dim: str, size: int) -> int:
    units = 1
    for axis in chip.axes:
        units *= axis.size if axis.dims == (dim,) else 1
    return min(units, size)


@pytest.mark.parametrize("seed", range(150))
def test_whole_buffer_moves_what_the_rule_says(seed: int) -> None:
    """Two buffers, blocks that fit over all of K: the rule, of whole rows beside the results."""
    rng = random.Random(seed)
    gemm, bits = random_case(rng)
    layer = Loops.product(gemm.m, gemm.n, gemm.k)
    row = {"weight": int(gemm.k * bits.weight), "input": int(gemm.k * bits.input)}
    chip = chip_of(rng, "tile", {("weight",): 8, ("input", "output"): 8})
    n, m = at_once(chip, "n", gemm.n), at_once(chip, "m", gemm.m)
    block = {"weight": 2 * n * row["weight"], "input": 2 * m * row["input"] + 8 * m * n}
    weight_size = rng.randint(block["weight"], block["weight"] + gemm.n * row["weight"])
    io_size = rng.randint(block["input"], block["input"] + gemm.m * row["input"])
    memories = [
        replace(memory, size_bits={"buffer0": weight_size, "buffer1": io_size}[memory.name])
        if memory.size_bits
        else memory
        for memory in chip.memories
    ]
    chip = replace(chip, memories=tuple(memories))
    best = NEST_MAPPERS["nest-whole-buffer"].map(layer, bits, chip)
    assert problems(layer, bits, best.mapping, chip) == ()
    assert best.cost == cost(layer, bits, best.mapping, chip)
    once = operand_bytes(gemm, bits.weight, bits.input, bits.output)
    group = next(  # the most rows of inputs that fit beside a tile of their results
        g
        for g in range(gemm.m, 0, -1)
        if g * row["input"] + min(g, m) * n * int(bits.output) <= io_size
    )
    rule = whole_buffer(
        once,
        Capacity(
            weight=weight_size // row["weight"] * row["weight"] // 8,
            input=group * row["input"] // 8,
        ),
    )
    assert dram_bits(layer, bits, best.mapping, chip) == rule.total_bits


@pytest.mark.parametrize("seed", range(60))
def test_cut_blocks_leave_room_for_waiting_sums(seed: int) -> None:
    """Weights that do not fit over all of K: sums of each group wait beside its inputs."""
    rng = random.Random(seed)
    gemm, bits = random_case(rng)
    gemm = replace(gemm, k=32 * rng.randint(3, 6), n=8 * rng.randint(3, 8), m=rng.randint(9, 90))
    layer = Loops.product(gemm.m, gemm.n, gemm.k)
    chip = chip_of(rng, "tile", {("weight",): 8, ("input", "output"): 8})
    n, lanes = at_once(chip, "n", gemm.n), chip.axes[2].size
    weight_size = 2 * ceil(n * lanes * bits.weight) + rng.randint(0, 100)
    row = gemm.k * int(bits.input) + n * bits.partial
    io_size = rng.randint(row, gemm.m * row)
    sizes = {"buffer0": weight_size, "buffer1": io_size}
    chip = replace(
        chip,
        memories=tuple(
            replace(memory, size_bits=sizes[memory.name], double_buffered=True)
            if memory.size_bits
            else memory
            for memory in chip.memories
        ),
    )
    best = NEST_MAPPERS["nest-whole-buffer"].map(layer, bits, chip)
    assert problems(layer, bits, best.mapping, chip) == ()
    reads = ceil(gemm.m / (io_size // row))  # of the weights
    elements = {operand: layer.elements(operand) for operand in OPERANDS}
    expected = (
        reads * elements["weight"] * bits.weight
        + elements["input"] * bits.input
        + elements["output"] * bits.output
    )
    found = dram_bits(layer, bits, best.mapping, chip)
    assert found <= expected
    resident = best.mapping.levels[1].keeps
    assert resident == ("weight",) or found == expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("seed", range(25))
def test_rules_are_legal_on_random_chips(seed: int, flow: str, rule: str) -> None:
    """Any buffers: a legal nest in which finished results leave once, or a sentence."""
    rng = random.Random(seed)
    gemm, bits = random_case(rng)
    layer = Loops.batched(
        gemm.m, gemm.n, gemm.k, own=rng.choice([1, 3]), sharing=rng.choice([1, 2])
    )
    sizes: dict[tuple[str, ...], int] = rng.choice(
        [
            dict.fromkeys([OPERANDS], rng.randint(200, 60000)),
            {("weight",): rng.randint(100, 30000), ("input", "output"): rng.randint(100, 30000)},
            {(operand,): rng.randint(100, 30000) for operand in OPERANDS},
        ]
    )
    chip = chip_of(rng, flow, sizes)
    try:
        best = NEST_MAPPERS[rule].map(layer, bits, chip)
    except BitlatheError as err:
        assert "is too small: its tiles take" in str(err)  # noqa: PT017
        return
    assert problems(layer, bits, best.mapping, chip) == ()
    for row in accesses(layer, best.mapping, chip):
        if row.parent == "dram" and row.operand == "output":
            assert not row.partial
            assert row.parent_elements == layer.elements("output")
    plain = NEST_MAPPERS["nest-whole-buffer"]
    if rule == "nest-output-tiled":
        try:
            whole = plain.map(layer, bits, chip)
        except BitlatheError:
            return
        found = dram_bits(layer, bits, best.mapping, chip)
        assert found <= dram_bits(layer, bits, whole.mapping, chip)


LAYERS = [(2048, 4096, 4096), (2048, 4096, 11008), (256, 11008, 4096), (16, 4096, 11008)]


@pytest.mark.parametrize("name", CHIPS)
def test_shipped_chips_run_the_rules(name: str) -> None:
    """Groups of whole rows beside results never move less than the rule; tiles of sums as much."""
    path = GOLDEN / f"{name}.yaml"
    arch = bitlathe.load_arch(path if path.exists() else name)
    for m, n, k in LAYERS:
        layer, chip = Loops.product(m, n, k), hierarchies_of(arch)[0]
        bits = operand_bits(arch, arch.formats.linear, m, n, k)
        gemm = Gemm(name="layer", m=m, n=n, k=k)
        once = operand_bytes(gemm, bits.weight, bits.input, bits.output)
        weight, inputs, sums = (chip.chain(op)[1].size_bits or 0 for op in OPERANDS)
        found = {}
        for mapper in RULES:
            best = NEST_MAPPERS[mapper].map(layer, bits, chip)
            assert problems(layer, bits, best.mapping, chip) == ()
            found[mapper] = dram_bits(layer, bits, best.mapping, chip)
        rule = whole_buffer(once, Capacity(weight=weight // 8, input=inputs // 8))
        assert found[RULES[0]] >= moved(rule, layer, bits)
        least = found[RULES[0]]
        if not (rule.weights_fit or rule.inputs_fit):
            # the rule counts sums of 32 bits
            tiled = output_tiled(once, gemm, io_buffer_bytes=sums // 8 * 32 // bits.partial)
            least = min(least, moved(tiled, layer, bits))
        assert found[RULES[1]] == least


def moved(traffic: Traffic, layer: Loops, bits: OperandBits) -> Fraction:
    """The bits that a rule moves, rows not padded to bytes."""
    reads = {"weight": traffic.weight_reads, "input": traffic.input_reads, "output": 1}
    return sum((reads[op] * layer.elements(op) * bits.of(op) for op in OPERANDS), Fraction(0))


def test_a_sentence_for_what_a_rule_does_not_lay_out() -> None:
    rng = random.Random(1)
    bits = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8))
    chip = chip_of(rng, "tile", {("weight",): 4000, ("input", "output"): 4000})
    shared = replace(chip.memories[1], name="second", holds=OPERANDS, size_bits=99999)
    deep = replace(chip, memories=(chip.memories[0], shared, *chip.memories[1:]))
    rule = NEST_MAPPERS["nest-whole-buffer"]
    with pytest.raises(BitlatheError, match=r"one buffer for each .* weights pass dram, sec"):
        rule.map(Loops.product(8, 8, 8), bits, deep)
    with pytest.raises(BitlatheError, match=r"keeps whole rows of K .* memory .buffer"):
        rule.map(Loops.product(8, 8, 80000), bits, chip)
    conv = Loops(sizes={"p": 2}, indexes=dict.fromkeys(OPERANDS, ("p",)))
    with pytest.raises(BitlatheError, match="this layer has p"):
        rule.map(conv, bits, chip)
