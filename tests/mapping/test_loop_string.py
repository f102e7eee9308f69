"""Mappings as Timeloop and DOSA print them: what a line means, and what is wrong with one."""

import random
from fractions import Fraction

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.cost import cost
from bitlathe.mapping.legal import doubled, footprints, problems
from bitlathe.mapping.loop_string import mapping_of_string
from bitlathe.mapping.nest import Level, Loop, Loops, Mapping, Unroll
from bitlathe.mapping.operands import OperandBits
from bitlathe.workloads.conv_shape import ConvShape

BITS = OperandBits(weight=Fraction(8), input=Fraction(8), output=Fraction(8))
PORTS = (Port(direction="both", width_bits=Fraction(64)),)


def memory(name: str, holds: tuple[str, ...], size: int | None = None, **more: object) -> Memory:
    return Memory(name=name, holds=holds, size_bits=size, ports=PORTS, **more)


def gemmini(scratch_bits: int = 1 << 21) -> Hierarchy:
    """DRAM, a scratchpad for weights and inputs, accumulators, a weight in each PE."""
    return Hierarchy(
        memories=(
            memory("dram", OPERANDS),
            memory("scratch", ("weight", "input"), scratch_bits),
            memory("accumulator", ("output",), 1 << 20),
            memory("register", ("weight",), words=2, per=("rows", "columns")),
        ),
        axes=(Axis(name="rows", size=16, dims=("k",)), Axis(name="columns", size=16, dims=("n",))),
    )


DOSA = "L3[WIO] C3 K48 - L2[WI] N1 K16X - L1[O] C16 P64 C16X - L0[W] P2"


def test_a_line_of_dosa_is_the_nest_it_says() -> None:
    """C = 3 x 16 x 16 inputs, K = 48 x 16 outputs, P = 64 x 2 tokens, 16 x 16 PEs."""
    layer = Loops.product(128, 768, 768)
    mapping = mapping_of_string(DOSA, layer, gemmini())
    assert mapping == Mapping(
        levels=(
            Level(memory="dram", keeps=OPERANDS, loops=(Loop("k", 256), Loop("n", 16))),
            Level(memory="scratch", keeps=("weight", "input")),
            Level(memory="accumulator", keeps=("output",), loops=(Loop("k", 16), Loop("m", 2))),
            Level(memory="register", keeps=("weight",), loops=(Loop("m", 1),)),
        ),
        spatial=(Unroll("rows", "k", 16), Unroll("columns", "n", 16)),
    )
    assert problems(layer, BITS, mapping, gemmini()) == ()
    bounds = [bound.blocks for bound in mapping.bounds(layer.sizes)]
    assert bounds == [3, 48, 16, 64, 2]
    assert cost(layer, BITS, mapping, gemmini()).compute_cycles == 128 * 768 * 768 // 256


def test_memories_go_by_name_and_lower_case_is_taken() -> None:
    named = DOSA.replace("L3", "dram").replace("L2", "scratch").replace("L0", "register").lower()
    layer = Loops.product(128, 768, 768)
    told = mapping_of_string(named.replace("k16x", "k16@columns"), layer, gemmini())
    assert told == mapping_of_string(DOSA, layer, gemmini())


def test_convolutions_have_all_seven_letters_and_the_last_block_may_be_short() -> None:
    shape = ConvShape(
        in_channels=20, out_channels=40, size=(9, 9), kernel=(3, 3), padding=(1, 1), stride=(2, 2)
    )
    layer = Loops.conv(shape, images=2)
    line = "L3[WIO] P2 K3 N2 - L2[WI] C2 K16X - L1[O] R3 S3 P3 Q5 C16X - L0[W]"
    mapping = mapping_of_string(line, layer, gemmini())
    assert mapping.bounds(layer.sizes)[:2] == ((2, 3, 2), (3, 16, 8))
    assert mapping.spatial == (Unroll("rows", "c", 16), Unroll("columns", "n", 16))
    assert problems(layer, BITS, mapping, gemmini()) == ()


def test_tiles_are_doubled_where_there_is_room() -> None:
    """256 x 16 weights and 128 x 256 inputs of a byte take 36 KiB, weights twice 40, all 72."""
    layer = Loops.product(128, 768, 768)
    for kib, twice in ((36, ()), (40, ("weight",)), (71, ("weight",)), (72, ("weight", "input"))):
        chip = gemmini(8 * 1024 * kib)
        mapping = mapping_of_string(DOSA, layer, chip)
        held = doubled(layer, BITS, mapping, chip)
        assert problems(layer, BITS, held, chip) == ()
        assert held.levels[1].doubled == twice
        assert held.levels[0].doubled == ()
        assert footprints(layer, BITS, mapping, chip)["scratch"]["input"].elements == 128 * 256


def test_random_nests_are_read_as_they_are_written() -> None:
    """Bounds of random perfect nests, back to the tiles that they came from."""
    rng = random.Random(5)
    letters = {"m": "P", "n": "K", "k": "C"}
    for _ in range(200):
        factors = [(rng.choice("mnk"), rng.randint(2, 3)) for _ in range(rng.randint(0, 8))]
        sizes = {"m": 1, "n": 1, "k": 1}
        tiles = []
        for dim, bound in reversed(factors):
            tiles.append(Loop(dim, sizes[dim]))
            sizes[dim] *= bound
        tiles.reverse()
        cut = rng.randint(0, len(factors))
        words = [f"{letters[dim]}{bound}" for dim, bound in factors]
        outer, inner = " ".join(words[:cut]), " ".join(words[cut:])
        line = f"L3[WIO] {outer} - L2[WI] - L1[O] - L0[W] {inner}"
        mapping = mapping_of_string(line, Loops.product(**sizes), gemmini())
        assert list(mapping.loops) == tiles
        assert len(mapping.levels[0].loops) == cut


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("L2[WI]", "L2(WI)", "'L2(WI) N1 K16X' is not a level; write the memory"),
        ("L2[WI]", "L7[WI]", "the chip has no memory 'L7'; it has L3 (dram), L2 (scratch), L1"),
        ("L2[WI]", "L2[WX]", "L2[WX] keeps 'X'; operands are W (weights), I (inputs) and O"),
        ("K48", "48K", "'48K' at L3 is not a bound; write a dimension and a number"),
        ("K48", "Z48", "'Z48' at L3: the layer has no dimension Z; it has P (m), K (n), C (k)."),
        ("N1", "N2", "'N2' at L2: the layer has no dimension N"),
        ("K48", "K0", "'K0' at L3 has a bound of 0; give at least 1."),
        ("P2", "", "P's bounds multiply to 64, and the layer has 128 of dimension m"),
        ("C3", "C4", "C4 at L3 does not fit: 768 of dimension k in blocks of 256 are 3, not 4"),
        ("K16X", "K16@lanes", "the chip has no axis 'lanes'; it has rows, columns."),
        ("K16X", "K16@rows", "no axis unrolls n there; rows takes k; columns takes n."),
        ("P2", "P2 P1X", "no axis unrolls m there"),
        ("K48", "K24 K2X", "the axes have no room for"),
        (
            "P2",
            "P2 C1X",
            "each unit of rows has a copy of 'register'; unroll k at a memory outside",
        ),
    ],
)
def test_what_does_not_fit_is_named(old: str, new: str, says: str) -> None:
    with pytest.raises(BitlatheError) as error:
        mapping_of_string(DOSA.replace(old, new), Loops.product(128, 768, 768), gemmini())
    assert says in str(error.value)
    assert str(error.value).startswith("mapping string: ")
