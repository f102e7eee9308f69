"""The hierarchy that the short form of a chip means."""

from fractions import Fraction
from pathlib import Path

import pytest

from bitlathe.arch import arch_names, load_arch
from bitlathe.arch.hierarchies import hierarchies_of
from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.arch.short_form import hierarchy_of
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.search import search
from naive.chip_bits import operand_bits

BOTH = (Port(direction="both", width_bits=Fraction(8)),)


def test_bitmod() -> None:
    found = hierarchy_of(load_arch("bitmod"))
    assert [(m.name, m.holds, m.size_bits, m.words) for m in found.memories] == [
        ("dram", OPERANDS, None, None),
        ("weight", ("weight",), 512 * 1024 * 8, None),
        ("io", ("input", "output"), 512 * 1024 * 8, None),
        ("sums", ("output",), None, 2),
    ]
    assert [(axis.name, axis.size, axis.dims) for axis in found.axes] == [
        ("rows", 32, ("n",)),
        ("columns", 32, ("m",)),
        ("lanes", 4, ("k",)),
    ]
    assert found.memory("dram").ports[0].width_bits == 256  # 32 GB/s at 1 GHz
    assert found.fill_cycles == 0


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    ("file", "setting", "kept", "words", "doubled", "fill"),
    [
        ("systolic-ws", {}, "weight", 2, True, 32 + 32 - 2),
        ("systolic-ws", {"array.rows": 8}, "weight", 2, True, 8 + 32 - 2),
        ("systolic-ws", {"pe.double_buffered_operand": False}, "weight", 1, False, 62),
        ("systolic-ws", {"array.dataflow": "is"}, "input", 2, True, 62),
        ("systolic-os", {}, "output", 2, True, 16 + 16 - 2),
        ("systolic-os", {"pe.drain_register": False}, "output", 1, False, 30),
    ],
)
def test_systolic_arrays_keep_an_operand_or_sums_and_fill_askew(
    file: str, setting: dict[str, object], kept: str, words: int, doubled: bool, fill: int
) -> None:
    """The last of R rows starts R - 1 clocks after the first, the last column C - 1 after that."""
    found = hierarchy_of(load_arch(load_arch(GOLDEN / f"{file}.yaml"), setting))
    inner = found.memories[-1]
    assert (inner.holds, inner.words, inner.double_buffered) == ((kept,), words, doubled)
    assert inner.per == ("rows", "columns")
    assert found.fill_cycles == fill
    sums = {axis.name: axis.dims for axis in found.axes if "k" in axis.dims}
    assert ("rows" in sums) is (file == "systolic-ws")  # summed down the columns, or in the PEs


@pytest.mark.parametrize("name", [n for n in arch_names() if "/" not in n])
def test_shipped_chips_have_a_hierarchy(name: str) -> None:
    arch = load_arch(name)
    found = hierarchies_of(arch)
    assert len(found) == len(arch.array.dataflows)
    for each in found:
        units = {axis.name: axis.size for axis in each.axes if axis.name in each.units}
        assert (units["rows"], units["columns"]) == (arch.array.rows, arch.array.columns)
        assert units.get("cores", 1) == arch.cores.size


def test_a_study_is_refused() -> None:
    with pytest.raises(BitlatheError, match="counts accesses as the study hpca25 does"):
        hierarchy_of(load_arch("hpca25/bitmod-lossy"))


def test_a_shared_buffer_gives_weights_and_inputs_of_a_step_at_once() -> None:
    """One memory holds both; its banks of weights and of the rest are as wide as each needs."""
    chip = load_arch(GOLDEN / "systolic-os.yaml")
    found = hierarchy_of(chip).memory("shared")
    assert found.holds == OPERANDS
    assert found.size_bits == 8 * chip.buffers.shared.size_bytes
    read = {p.operands: p for p in found.ports if p.direction == "read"}
    weight, rest = read["weight",], read["input", "output"]
    assert weight.width_bits == chip.widest_port("weight")
    assert rest.width_bits == chip.widest_port("io")
    cost = chip.sram_cost("shared")
    assert weight.read_pj + rest.read_pj == pytest.approx(cost.read_pj)
    narrow = load_arch(chip, {"buffers.shared.port_bits": 64})
    ports = hierarchy_of(narrow).memory("shared").ports
    assert [(p.direction, p.width_bits) for p in ports] == [("read", 64), ("write", 64)]


def test_pes_that_fill_tables_add_instead_of_working() -> None:
    """304 additions of a table for 8 inputs on the 32 PEs of a column: 10 clocks of each step.

    40 outputs are two folds of rows, which fill the tables of all columns twice.
    """
    chip = load_arch(
        "bitmod",
        {
            "technology": {"node_nm": 45, "clock_ghz": 0.25},
            "pe": {"kind": "lut", "lanes": 8, "component": "lut8_45nm"},
            "formats.linear.weight": "bcq3",
            "formats.attention.weight": "bcq4",
        },
    )
    rows, columns = chip.array.rows, chip.array.columns
    bits = operand_bits(chip, chip.formats.linear, columns, 40, 8)
    assert (rows, bits.step_cycles) == (32, 3 + 10)
    found = search(Loops.product(columns, 40, 8), bits, hierarchy_of(chip), "energy").cost
    worked, added = 40 * columns * 3 * 1.27, 2 * columns * 304 * 0.4
    assert found.energy_pj["array"] == pytest.approx(1.5 * (worked + added))


def test_pes_that_skip_terms_have_a_hierarchy() -> None:
    chip = load_arch("bitmod", {"pe.skip_zero_terms": True, "pe.unpriced": ["skip_zero_terms"]})
    assert hierarchy_of(chip).unit_pj == hierarchy_of(load_arch("bitmod")).unit_pj


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"memories": ()}, "the outermost memory must hold"),
        ({"axes": (Axis(name="rows", size=0, dims=("k",)),)}, "axis 'rows' has size 0"),
        ({"memories": ("per",)}, "unknown axis 'row'; did you mean 'rows'"),
        ({"memories": ("size",)}, "memory 'sram' has 0 bits; give more than 0"),
        ({"memories": ("port",)}, "memory 'sram' has a port of 0 bits; give more than 0"),
        ({"memories": ("none",)}, "memory 'sram' has 0 ports that read weights; give one"),
        ({"memories": ("twice",)}, "'dram' names two memories or axes"),
    ],
)
def test_impossible_hierarchies_say_why(changes: dict[str, tuple], says: str) -> None:
    dram = Memory(name="dram", holds=OPERANDS, size_bits=None, ports=BOTH)
    sram = {"name": "sram", "holds": ("weight",), "size_bits": 64, "ports": BOTH}
    kinds = {
        "per": {"per": ("row",)},
        "size": {"size_bits": 0},
        "port": {"ports": (Port(direction="both", width_bits=Fraction(0)),)},
        "none": {"ports": (Port(direction="write", width_bits=Fraction(8)),)},
        "twice": {"name": "dram"},
    }
    axes = changes.get("axes", (Axis(name="rows", size=4, dims=("k",)),))
    memories = [dram] + [
        Memory(**(sram | kinds[kind])) for kind in changes.get("memories", ("size",))
    ]
    if changes.get("memories") == () or "axes" in changes:
        memories = memories[:1] if "axes" in changes else []
    with pytest.raises(BitlatheError, match=says):
        Hierarchy(memories=tuple(memories), axes=axes)
